/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decoder of the slots' profile, and the two lists in it: what is decoded survives being encoded again, and what comes
 * off a list is what it is said to be.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "slot/profile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PART_MAX = 64 };

static void take_all(int (*next)(const char **, char *, size_t), const char *list)
{
    const char *end = list + strlen(list);
    char part[PART_MAX];
    int r;
    while ((r = next(&list, part, sizeof part)) == 1) {
        assert(part[0] && strlen(part) < sizeof part && list <= end);
        const char *again = part;
        char same[PART_MAX];
        /* A space at the end of a name, which can be said only with a slash behind it, is lost the second time. */
        if (part[strlen(part) - 1] != ' ')
            assert(next(&again, same, sizeof same) == 1 && !strcmp(part, same) && !*again);
        if (next == profile_next_path)
            assert(part[0] == '/' && part[1] && !strstr(part, "//") && !strstr(part, "/../") && !strchr(part, ':'));
        else
            assert(!strpbrk(part, " ,/;()"));
    }
    assert(r != 0 || list == end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slot_profile profile;
    if (profile_decode(data, size, &profile)) {
        struct buf raw = BUF_INIT(2 * (size_t)PROFILE_BYTES_MAX);
        assert(profile_encode(&profile, &raw) == 0);
        assert(raw.len == size && memcmp(raw.data, data, size) == 0);
        buf_done(&raw);
        take_all(profile_next_path, profile.paths);
        take_all(profile_next_module, profile.preload);
    }
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    take_all(profile_next_path, text);
    take_all(profile_next_module, text);
    free(text);
    return 0;
}
