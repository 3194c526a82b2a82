/* SPDX-License-Identifier: Apache-2.0 */
/* A delta from outside, in pieces: whatever it is, what comes out is bounded, and the rest is an error. */
#include <assert.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/util.h"
#include "files/delta.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OUTCOME_MAX = 1 << 16 };

static int count(void *ctx, const void *data, size_t len, struct tw_error *error)
{
    size_t *total = ctx;
    assert(data && len > 0);
    *total += len;
    return *total > OUTCOME_MAX ? error_set(error, TW_RESOURCE_EXHAUSTED, "enough") : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char base[] = "the quick brown fox jumps over the lazy dog";
    static int fd = -1;
    size_t total = 0, piece = size ? 1 + data[0] % 64 : 1;
    struct tw_error error;
    if (fd < 0)
        fd = fd_sealed_memfd("base", base, sizeof base - 1);
    struct delta *delta = delta_begin(fd, sizeof base - 1, count, &total);
    int r = 0;
    for (size_t at = size ? 1 : 0; r == 0 && at < size; at += piece)
        r = delta_feed(delta, data + at, MIN(piece, size - at), &error);
    if (r == 0)
        (void)delta_end(delta, &error);
    delta_free(delta);
    return 0;
}
