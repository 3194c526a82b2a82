/* SPDX-License-Identifier: Apache-2.0 */
/* The first line is a path, the rest are rules. The last rule decides: with one that takes everything nothing is left out. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "package/ignore.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ignore ignore = {0};
    unsigned line;
    const uint8_t *newline = size ? memchr(data, '\n', size) : NULL;
    size_t len = newline ? (size_t)(newline - data) : size;
    char *path = text_dup(data, len);
    size -= len + (newline != NULL);
    assert(path);
    enum ignore_result result = ignore_add(&ignore, newline ? newline + 1 : NULL, size, &line);
    assert(result != IGNORE_NO_MEMORY && result < IGNORE_RESULT_MAX);
    assert(result == IGNORE_OK || ignore.n_rules == 0);
    bool as_file = ignore_matches(&ignore, path, false), as_folder = ignore_matches(&ignore, path, true);
    if (ignore.n_rules == 1)
        assert(as_folder || !as_file);
    if (*path && strlen(path) <= IGNORE_PATH_MAX && ignore.n_rules < IGNORE_RULES_MAX) {
        assert(ignore_add(&ignore, "!**", 3, &line) == IGNORE_OK);
        assert(!ignore_matches(&ignore, path, false) && !ignore_matches(&ignore, path, true));
    }
    ignore_done(&ignore);
    free(path);
    return 0;
}
