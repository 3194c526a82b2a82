/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of inputs: folders of links to contents. */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files/inputs.h"

enum { MANY = 4 };

static enum tw_code make(struct fixture *f, uint64_t set, const struct inputs_wanted *wanted, size_t n)
{
    struct tw_file_info found[MANY] = {0};
    f->error = (struct tw_error){0};
    if (inputs_make(f->s, set, "", wanted, n, found, &f->error) < 0)
        return f->error.code;
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(found[i].owner, "");
        tw_file_info_done(&found[i]);
    }
    return TW_OK;
}

static void assert_text(struct fixture *f, const char *path, const char *text)
{
    char full[300], got[100] = "";
    struct stat st;
    snprintf(full, sizeof full, "%s/inputs/%s", f->path, path);
    FILE *file = fopen(full, "r");
    assert_non_null(file);
    assert_non_null(fgets(got, sizeof got, file));
    fclose(file);
    assert_string_equal(got, text);
    assert_int_equal(stat(full, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0444); /* sandboxes' users are others */
}

struct seen {
    size_t n;
    uint64_t last;
};

static void see(void *ctx, uint64_t set)
{
    struct seen *seen = ctx;
    seen->n++;
    seen->last = set;
}

static size_t count(struct fixture *f)
{
    struct seen seen = {0};
    assert_int_equal(inputs_list(f->s, see, &seen), 0);
    return seen.n;
}

static void test_a_set(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    assert_int_equal(fixture_put_text(f, "", "data/one", "first"), TW_OK);
    assert_int_equal(fixture_put_text(f, "", "two", "second"), TW_OK);
    struct tw_file_info two = fixture_find(f, "", "two");
    const struct inputs_wanted wanted[] = {
        {.name = "data/one"}, {.id = two.id}, {.name = "two", .path = "data/deep/two"}, {.id = two.id, .path = "x"}};
    assert_int_equal(make(f, 255, wanted, ARRAY_LEN(wanted)), TW_OK);
    tw_file_info_done(&two);
    /* Whatever becomes of the files. */
    assert_int_equal(fixture_put_text(f, "", "two", "another"), TW_OK);
    assert_int_equal(fixture_delete(f, "", "data/one"), TW_OK);
    (void)fixture_gc(f);
    fixture_close(f);
    fixture_open(f);
    assert_text(f, "00000000000000ff/data/one", "first");
    assert_text(f, "00000000000000ff/two", "second");
    assert_text(f, "00000000000000ff/data/deep/two", "second");
    assert_text(f, "00000000000000ff/x", "second");
    struct seen seen = {0};
    assert_int_equal(inputs_list(f->s, see, &seen), 0);
    assert_int_equal(seen.n, 1);
    assert_int_equal(seen.last, 255);
    assert_int_equal(inputs_remove(f->s, 255, &f->error), 0);
    assert_int_equal(inputs_remove(f->s, 255, &f->error), 0);
    assert_int_equal(count(f), 0);
    fixture_assert_sound(f);
}

static void test_all_or_nothing(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    assert_int_equal(fixture_put_text(f, "", "a", "first"), TW_OK);
    assert_int_equal(fixture_put_text(f, "other", "b", "second"), TW_OK);
    const struct {
        struct inputs_wanted second;
        enum tw_code code;
    } cases[] = {
        {{.name = "none"}, TW_NOT_FOUND},
        {{.name = "b"}, TW_NOT_FOUND}, /* somebody else's */
        {{.id = "00112233445566778899aabbccddeeff"}, TW_NOT_FOUND},
        {{.name = "a"}, TW_INVALID_ARGUMENT}, /* twice at one place */
        {{.name = "a", .path = "a/b"}, TW_INVALID_ARGUMENT},
        {{.name = "a", .path = "../b"}, TW_INVALID_ARGUMENT},
        {{.name = "a", .path = "/b"}, TW_INVALID_ARGUMENT},
        {{.name = "a", .path = "b/./c"}, TW_INVALID_ARGUMENT},
        {{.name = "a", .path = ""}, TW_INVALID_ARGUMENT},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct inputs_wanted wanted[] = {{.name = "a"}, cases[i].second};
        assert_int_equal(make(f, i + 1, wanted, 2), cases[i].code);
        assert_int_equal(count(f), 0);
    }
}

static void test_a_damaged_one_is_refused(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    assert_int_equal(fixture_put_text(f, "", "a", "first"), TW_OK);
    struct tw_file_info a = fixture_find(f, "", "a");
    fixture_corrupt(f, a.sha256, 1);
    tw_file_info_done(&a);
    assert_int_equal(fixture_fsck(f).damaged, 1);
    assert_int_equal(make(f, 1, &(struct inputs_wanted){.name = "a"}, 1), TW_DATA_LOSS);
    assert_int_equal(count(f), 0);
}

/* Before there is a storage: it becomes one of those later. */
static void test_prepared(void **state)
{
    struct fixture *f = *state;
    char path[200];
    struct stat st;
    assert_int_equal(inputs_prepare(f->path, path, sizeof path), 0);
    assert_int_equal(inputs_prepare(f->path, path, sizeof path), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0711);
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(inputs_prepare(f->path, path, 20), -ENAMETOOLONG);
    assert_int_equal(inputs_prepare("/nowhere/at/all", path, sizeof path), -ENOENT);
    fixture_open(f);
    assert_int_equal(fixture_put_text(f, "", "a", "first"), TW_OK);
    assert_int_equal(make(f, 1, &(struct inputs_wanted){.name = "a"}, 1), TW_OK);
    assert_text(f, "0000000000000001/a", "first");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_set, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_all_or_nothing, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_a_damaged_one_is_refused, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_prepared, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
