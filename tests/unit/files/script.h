/* SPDX-License-Identifier: Apache-2.0 */
/* A few calls that change a storage, one after the other, and what has to be in it after so many of them. */
#ifndef FILES_SCRIPT_H
#define FILES_SCRIPT_H

#include "fixture.h"

enum { SCRIPT_CALLS = 5, SCRIPT_BYTES = 40000 };

/* The n-th call; the code of its error. */
static inline enum tw_code script_call(struct fixture *f, int n)
{
    static char data[SCRIPT_BYTES];
    struct tw_storage_gc_report report;
    fixture_fill(data, sizeof data, n == 2 ? 2 : 1);
    switch (n) {
    case 0: /* a new content */
        return fixture_put(f, "ann", "a", data, sizeof data);
    case 1: /* one that is there */
        return fixture_put(f, "ann", "b", data, sizeof data);
    case 2: /* the next version of a file */
        return fixture_put(f, "ann", "a", data, sizeof data);
    case 3: /* from here on nobody uses the first */
        return fixture_delete(f, "ann", "b");
    default:
        return tw_storage_gc(f->s, &report, &f->error) < 0 ? f->error.code : TW_OK;
    }
}

/* Is there what is to be there after n calls? */
static inline bool script_is_at(struct fixture *f, int n)
{
    static char first[SCRIPT_BYTES], second[SCRIPT_BYTES];
    fixture_fill(first, sizeof first, 1);
    fixture_fill(second, sizeof second, 2);
    enum tw_code a = n == 0 ? TW_NOT_FOUND : TW_OK, b = n == 2 || n == 3 ? TW_OK : TW_NOT_FOUND;
    struct tw_file_info info = {0};
    const struct tw_file_ref ref = {.owner = "ann", .name = "a"};
    uint64_t version = n == 0 ? 0 : n < 3 ? 1 : 2;
    bool at = (tw_storage_find(f->s, &ref, &info, &f->error) < 0 ? 0 : info.version) == version;
    tw_file_info_done(&info);
    return at && fixture_get(f, "ann", "a", n < 3 ? first : second, SCRIPT_BYTES) == a &&
        fixture_get(f, "ann", "b", first, SCRIPT_BYTES) == b;
}

/* Back to the beginning. */
static inline void script_reset(struct fixture *f)
{
    (void)fixture_delete(f, "ann", "a");
    (void)fixture_delete(f, "ann", "b");
    fixture_assert_sound(f);
    assert_int_equal(fixture_stat(f, NULL).blobs, 0);
}

#endif
