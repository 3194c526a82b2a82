/* SPDX-License-Identifier: Apache-2.0 */
/* A run on its way between two daemons; the first byte is the number of fds that came along. What is taken is written back. */
#include <assert.h>
#include <string.h>

#include "exec/handover.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct handover h;
    CLEANUP_BUF struct buf out = BUF_INIT(1 << 24);
    if (size == 0 || !handover_decode(data + 1, size - 1, data[0], &h))
        return 0;
    handover_encode(&h, &out);
    assert(!out.error && out.len == size - 1 && !memcmp(out.data, data + 1, out.len));
    return 0;
}
