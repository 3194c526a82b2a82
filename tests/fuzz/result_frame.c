/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a hostile task may write to its result pipe. The first byte is the size of the pieces: how the bytes were cut on
 * their way must not matter, and what is handed out must be JSON within its bound.
 */
#include <assert.h>
#include <string.h>

#include "base/json.h"
#include "slot/result_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_RESULT = 200 };

static void read_all(struct result_reader *r, const uint8_t *data, size_t size, size_t piece)
{
    result_reader_init(r, MAX_RESULT);
    for (size_t at = 0; at < size; at += piece)
        result_reader_feed(r, data + at, MIN(piece, size - at));
    result_reader_finish(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct result_reader pieces, whole;
    if (size == 0)
        return 0;
    read_all(&pieces, data + 1, size - 1, 1 + data[0] % 32u);
    read_all(&whole, data + 1, size - 1, size);
    assert(pieces.flaw == whole.flaw && pieces.too_large == whole.too_large);
    assert(pieces.result.len == whole.result.len && pieces.error.len == whole.error.len);
    assert(whole.result.len <= MAX_RESULT && whole.error.len <= RESULT_ERROR_MAX);
    assert(whole.result.len == 0 || json_is_valid(whole.result.data, whole.result.len));
    assert(!(whole.flaw || whole.too_large) || whole.result.len == 0);
    result_reader_done(&pieces);
    result_reader_done(&whole);
    return 0;
}
