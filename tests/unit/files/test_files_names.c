/* SPDX-License-Identifier: Apache-2.0 */
/* Which names there may be, and lists of them. */
#include <stdlib.h>

#include "fixture.h"

static enum tw_code put_named(struct fixture *f, const char *owner, const char *name)
{
    const struct tw_put_options o = {.size = sizeof o, .owner = owner, .name = name};
    struct tw_upload *u;
    if (tw_storage_put(f->s, &o, &u, &f->error) < 0)
        return f->error.code;
    return tw_upload_commit(u, NULL, &f->error) < 0 ? f->error.code : TW_OK;
}

static char *repeat(char c, size_t n)
{
    char *s = calloc(1, n + 1);
    assert_non_null(s);
    memset(s, c, n);
    return s;
}

static void test_names(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    const char *const good[] = {
        "a", "...", ".hidden", "a/b/c.txt", "a b", " ", "Ünïcödé/日本語", "a\\b", "%s'\";--", "a..b"};
    const char *const bad[] = {NULL, "", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "./a", "a/..", "a\nb", "a\x7f",
        "\xff", "\xc0\xaf",
        "a\xe2\x80\xae"
        "b",
        "\xed\xa0\x80", "\x1b[31m"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_int_equal(put_named(f, "ann", good[i]), TW_OK);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (put_named(f, "ann", bad[i]) != TW_INVALID_ARGUMENT)
            fail_msg("bad name %zu was taken", i);
    }
    char *part = repeat('x', 255), *long_part = repeat('x', 256), *owner = repeat('o', 256),
         *long_owner = repeat('o', 257);
    char *longest = repeat('y', 1024), *too_long = repeat('y', 1025);
    for (size_t i = 200; i < 1024; i += 200)
        longest[i] = too_long[i] = '/';
    assert_int_equal(put_named(f, owner, part), TW_OK);
    assert_int_equal(put_named(f, "ann", longest), TW_OK);
    assert_int_equal(put_named(f, "ann", long_part), TW_INVALID_ARGUMENT);
    assert_int_equal(put_named(f, "ann", too_long), TW_INVALID_ARGUMENT);
    assert_int_equal(put_named(f, long_owner, "a"), TW_INVALID_ARGUMENT);
    assert_int_equal(put_named(f, "a\nb", "a"), TW_INVALID_ARGUMENT);
    assert_int_equal(put_named(f, "\xff", "a"), TW_INVALID_ARGUMENT);
    assert_int_equal(fixture_stat(f, "ann").files, ARRAY_LEN(good) + 1);
    free(part), free(long_part), free(owner), free(long_owner), free(longest), free(too_long);
    fixture_assert_sound(f);
}

/* All names of a list, page by page, each with a comma behind. */
static void assert_list(struct fixture *f, struct tw_file_list_options o, const char *expected)
{
    char got[400] = "";
    CLEANUP_FREE char *cursor = NULL;
    size_t pages = 0;
    o.size = sizeof o;
    do {
        struct tw_file_list list;
        o.cursor = cursor;
        if (tw_storage_list(f->s, &o, &list, &f->error) < 0)
            fail_msg("list: %s", f->error.message);
        for (size_t i = 0; i < list.n; i++) {
            size_t len = strlen(got);
            snprintf(got + len, sizeof got - len, "%s%s%s,", o.any_owner ? list.files[i].owner : "",
                o.any_owner ? ":" : "", list.files[i].name);
        }
        if (o.limit)
            assert_true(list.n <= o.limit);
        assert_true(list.n > 0 || !list.cursor);
        free(cursor);
        cursor = STEAL(list.cursor);
        tw_file_list_done(&list);
        assert_true(++pages < 50);
    } while (cursor);
    assert_string_equal(got, expected);
}

static void test_lists(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    const char *const ann[] = {"b", "a", "data/2", "data/1", "data", "dataset", "é", "z"};
    for (size_t i = 0; i < ARRAY_LEN(ann); i++)
        assert_int_equal(put_named(f, "ann", ann[i]), TW_OK);
    assert_int_equal(put_named(f, "bob", "data/3"), TW_OK);
    assert_int_equal(put_named(f, "", "nobody's"), TW_OK);
    const char *all = "a,b,data,data/1,data/2,dataset,z,é,";
    for (size_t limit = 0; limit < 10; limit++)
        assert_list(f, (struct tw_file_list_options){.owner = "ann", .limit = limit}, all);
    for (size_t limit = 0; limit < 4; limit++) {
        struct tw_file_list_options o = {.owner = "ann", .prefix = "data/", .limit = limit};
        assert_list(f, o, "data/1,data/2,");
        o.any_owner = true;
        assert_list(f, o, "ann:data/1,ann:data/2,bob:data/3,");
    }
    assert_list(f, (struct tw_file_list_options){.owner = "ann", .prefix = "data"}, "data,data/1,data/2,dataset,");
    assert_list(f, (struct tw_file_list_options){.owner = "ann", .prefix = "\xc3"}, "é,");
    assert_list(f, (struct tw_file_list_options){.owner = "ann", .prefix = "\xff"}, "");
    assert_list(f, (struct tw_file_list_options){.owner = "ann", .prefix = "%"}, "");
    assert_list(f, (struct tw_file_list_options){.owner = NULL}, "nobody's,");
    assert_list(f, (struct tw_file_list_options){.owner = "carl"}, "");
    assert_list(f, (struct tw_file_list_options){.any_owner = true, .limit = 3},
        ":nobody's,ann:a,ann:b,ann:data,ann:data/1,ann:data/2,ann:dataset,ann:z,ann:é,bob:data/3,");
}

static void test_cursors(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    const char *const names[] = {"a", "b", "c"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_int_equal(put_named(f, "ann", names[i]), TW_OK);
    struct tw_file_list_options o = {.size = sizeof o, .owner = "ann", .limit = 2};
    struct tw_file_list list;
    assert_int_equal(tw_storage_list(f->s, &o, &list, &f->error), 0);
    assert_int_equal(list.n, 2);
    char *cursor = STEAL(list.cursor);
    tw_file_list_done(&list);
    /* It holds when the file it stands behind is gone, and leads nobody to another owner's files. */
    assert_int_equal(fixture_delete(f, "ann", "b"), TW_OK);
    o.cursor = cursor;
    assert_int_equal(tw_storage_list(f->s, &o, &list, &f->error), 0);
    assert_int_equal(list.n, 1);
    assert_string_equal(list.files[0].name, "c");
    assert_null(list.cursor);
    tw_file_list_done(&list);
    o.owner = "bob";
    assert_int_equal(tw_storage_list(f->s, &o, &list, &f->error), -1);
    assert_int_equal(f->error.code, TW_INVALID_ARGUMENT);
    free(cursor);
    o.owner = "ann";
    const char *const bad[] = {"x", ".", "616e6e", "616e6e.", "616e6e.6", "616E6E.61", "616e6e.6100", "00.61",
        "616e6e.2e2e", "616e6e.61.61", "616e6e.0a"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        o.cursor = bad[i];
        assert_int_equal(tw_storage_list(f->s, &o, &list, &f->error), -1);
        assert_int_equal(f->error.code, TW_INVALID_ARGUMENT);
        tw_file_list_done(&list);
    }
    CLEANUP_FREE char *huge = repeat('6', 100000);
    o.cursor = huge;
    assert_int_equal(tw_storage_list(f->s, &o, &list, &f->error), -1);
    o.cursor = NULL;
    o.prefix = huge;
    assert_int_equal(tw_storage_list(f->s, &o, &list, &f->error), -1);
    assert_int_equal(f->error.code, TW_INVALID_ARGUMENT);
}

static void test_owners(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    assert_int_equal(fixture_put_text(f, "ann", "a", "12345"), TW_OK);
    assert_int_equal(fixture_put_text(f, "ann", "b", "123"), TW_OK);
    assert_int_equal(fixture_put_text(f, "bob", "a", "1"), TW_OK);
    struct tw_owner_usage *owners;
    size_t n;
    assert_int_equal(tw_storage_owners(f->s, NULL, 10, &owners, &n, &f->error), 0);
    assert_int_equal(n, 2);
    assert_string_equal(owners[0].owner, "ann");
    assert_int_equal(owners[0].files, 2);
    assert_int_equal(owners[0].bytes, 8);
    tw_owner_usage_free(owners, n);
    assert_int_equal(tw_storage_owners(f->s, "ann", 10, &owners, &n, &f->error), 0);
    assert_int_equal(n, 1);
    assert_string_equal(owners[0].owner, "bob");
    tw_owner_usage_free(owners, n);
    /* Who has nothing is none. */
    assert_int_equal(fixture_delete(f, "bob", "a"), TW_OK);
    assert_int_equal(tw_storage_owners(f->s, "ann", 10, &owners, &n, &f->error), 0);
    assert_int_equal(n, 0);
    tw_owner_usage_free(owners, n);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {T(test_names), T(test_lists), T(test_cursors), T(test_owners)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
