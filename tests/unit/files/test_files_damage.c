/* SPDX-License-Identifier: Apache-2.0 */
/* Contents that are not what was put: found, told, marked, never given, and made good again. */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"

enum { LEN = 20000 };

static char data[LEN];
static char sha[TW_SHA256_LEN + 1], path[200];

static void begin(struct fixture *f)
{
    fixture_fill(data, LEN, 1);
    fixture_open(f);
    assert_int_equal(fixture_put(f, "ann", "a", data, LEN), TW_OK);
    assert_int_equal(fixture_put(f, "bob", "b", data, LEN), TW_OK);
    assert_int_equal(fixture_put_text(f, "ann", "other", "fine"), TW_OK);
    struct tw_file_info info = fixture_find(f, "ann", "a");
    strcpy(sha, info.sha256);
    tw_file_info_done(&info);
    fixture_blob_path(f, sha, path);
}

static void assert_lost(struct fixture *f)
{
    for (int i = 0; i < 2; i++) {
        const struct tw_file_ref ref = {.owner = i ? "bob" : "ann", .name = i ? "b" : "a"};
        struct tw_file *file;
        assert_int_equal(tw_storage_get(f->s, &ref, &file, &f->error), -1);
        assert_int_equal(f->error.code, TW_DATA_LOSS);
        struct tw_file_info info = fixture_find(f, ref.owner, ref.name);
        assert_true(info.is_damaged);
        tw_file_info_done(&info);
    }
    assert_int_equal(fixture_stat(f, NULL).damaged_blobs, 1);
    assert_int_equal(fixture_get_text(f, "ann", "other", "fine"), TW_OK);
}

static void test_found_on_read(void **state)
{
    struct fixture *f = *state;
    const size_t at[] = {0, LEN / 2, LEN - 1};
    begin(f);
    for (size_t i = 0; i < ARRAY_LEN(at); i++) {
        fixture_corrupt(f, sha, at[i]);
        /* In one piece not a byte is given; in several all but the last. */
        const struct tw_file_ref ref = {.owner = "ann", .name = "a"};
        struct tw_file *whole, *pieces;
        char *got = malloc(LEN);
        assert_non_null(got);
        assert_int_equal(tw_storage_get(f->s, &ref, &whole, &f->error), 0);
        assert_int_equal(tw_storage_get(f->s, &ref, &pieces, &f->error), 0);
        assert_int_equal(tw_file_read(pieces, got, LEN - 1, &f->error), LEN - 1);
        assert_int_equal(tw_file_read(pieces, got, LEN, &f->error), -1);
        assert_int_equal(f->error.code, TW_DATA_LOSS);
        assert_int_equal(tw_file_read(pieces, got, LEN, &f->error), -1);
        assert_int_equal(tw_file_read(whole, got, LEN, &f->error), -1);
        assert_int_equal(f->error.code, TW_DATA_LOSS);
        assert_int_equal(tw_file_verify(whole, &f->error), -1);
        tw_file_close(whole);
        tw_file_close(pieces);
        free(got);
        assert_lost(f);
        fixture_close(f);
        fixture_open(f);
        assert_lost(f);
        /* Whoever puts it again has made it good for all. */
        assert_int_equal(fixture_put(f, "carl", "c", data, LEN), TW_OK);
        assert_int_equal(fixture_get(f, "ann", "a", data, LEN), TW_OK);
        assert_int_equal(fixture_stat(f, NULL).damaged_blobs, 0);
    }
    fixture_assert_sound(f);
}

static void test_verify(void **state)
{
    struct fixture *f = *state;
    begin(f);
    fixture_corrupt(f, sha, 5);
    const struct tw_file_ref ref = {.owner = "ann", .name = "a"};
    struct tw_file *file;
    assert_int_equal(tw_storage_get(f->s, &ref, &file, &f->error), 0);
    assert_int_equal(tw_file_verify(file, &f->error), -1);
    assert_int_equal(f->error.code, TW_DATA_LOSS);
    tw_file_close(file);
    assert_lost(f);
}

/* A reader of the damaged one does not mark the good one that has taken its place. */
static void test_late_reader(void **state)
{
    struct fixture *f = *state;
    begin(f);
    fixture_corrupt(f, sha, 5);
    const struct tw_file_ref ref = {.owner = "ann", .name = "a"};
    struct tw_file *first, *late;
    assert_int_equal(tw_storage_get(f->s, &ref, &first, &f->error), 0);
    assert_int_equal(tw_storage_get(f->s, &ref, &late, &f->error), 0);
    assert_int_equal(tw_file_verify(first, &f->error), -1);
    tw_file_close(first);
    assert_int_equal(fixture_put(f, "carl", "c", data, LEN), TW_OK);
    assert_int_equal(tw_file_verify(late, &f->error), -1);
    tw_file_close(late);
    assert_int_equal(fixture_get(f, "ann", "a", data, LEN), TW_OK);
    fixture_assert_sound(f);
}

static void test_truncated(void **state)
{
    struct fixture *f = *state;
    begin(f);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(truncate(path, LEN - 1), 0);
    const struct tw_file_ref ref = {.owner = "ann", .name = "a"};
    struct tw_file *file;
    assert_int_equal(tw_storage_get(f->s, &ref, &file, &f->error), -1);
    assert_int_equal(f->error.code, TW_DATA_LOSS);
    assert_lost(f);
    assert_int_equal(fixture_fsck(f).damaged, 1);
}

static void test_truncated_while_open(void **state)
{
    struct fixture *f = *state;
    begin(f);
    const struct tw_file_ref ref = {.owner = "ann", .name = "a"};
    struct tw_file *file;
    char got[100];
    assert_int_equal(tw_storage_get(f->s, &ref, &file, &f->error), 0);
    assert_int_equal(tw_file_read(file, got, sizeof got, &f->error), sizeof got);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(truncate(path, 100), 0);
    assert_int_equal(tw_file_read(file, got, sizeof got, &f->error), -1);
    assert_int_equal(f->error.code, TW_DATA_LOSS);
    tw_file_close(file);
    assert_lost(f);
}

static void test_missing(void **state)
{
    struct fixture *f = *state;
    begin(f);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(fixture_gc(f).missing, 1);
    assert_lost(f);
    struct tw_fsck_report report = fixture_fsck(f);
    assert_int_equal(report.missing, 1);
    assert_int_equal(report.lost_files, 2);
    assert_int_equal(report.blobs, 2);
    assert_int_equal(fixture_put(f, "bob", "b", data, LEN), TW_OK);
    assert_int_equal(fixture_get(f, "ann", "a", data, LEN), TW_OK);
    fixture_assert_sound(f);
}

/* Not there, and nobody has noticed: a put of the same content must not rely on it. */
static void test_put_of_missing(void **state)
{
    struct fixture *f = *state;
    begin(f);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(fixture_put(f, "carl", "c", data, LEN), TW_OK);
    assert_int_equal(fixture_get(f, "ann", "a", data, LEN), TW_OK);
    fixture_assert_sound(f);
}

static void test_link_in_its_place(void **state)
{
    struct fixture *f = *state;
    begin(f);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    assert_int_equal(fixture_get(f, "ann", "a", data, LEN), TW_DATA_LOSS);
    assert_lost(f);
    assert_int_equal(fixture_put(f, "ann", "a", data, LEN), TW_OK);
    fixture_assert_sound(f);
}

static bool stop_at_half(void *ctx, uint64_t done, uint64_t total)
{
    uint64_t *last = ctx;
    assert_true(done > *last && done <= total);
    *last = done;
    return done < total / 2;
}

static bool never_stop(void *ctx, uint64_t done, uint64_t total)
{
    uint64_t *last = ctx;
    assert_true(done >= *last && done <= total);
    *last = done;
    return true;
}

static void test_fsck(void **state)
{
    struct fixture *f = *state;
    begin(f);
    struct tw_fsck_report report;
    uint64_t last = 0;
    assert_int_equal(tw_storage_fsck(f->s, never_stop, &last, &report, &f->error), 0);
    assert_int_equal(last, LEN + 4);
    assert_int_equal(report.bytes, LEN + 4);
    assert_int_equal(report.damaged + report.missing + report.healed + report.lost_files + report.wrong_counts, 0);
    fixture_corrupt(f, sha, 7);
    report = fixture_fsck(f);
    assert_int_equal(report.damaged, 1);
    assert_int_equal(report.lost_files, 2);
    assert_lost(f);
    /* Restored from a backup. */
    fixture_corrupt(f, sha, 7);
    report = fixture_fsck(f);
    assert_int_equal(report.healed, 1);
    assert_int_equal(report.damaged + report.lost_files, 0);
    assert_int_equal(fixture_get(f, "ann", "a", data, LEN), TW_OK);
    last = 0;
    assert_int_equal(tw_storage_fsck(f->s, stop_at_half, &last, &report, &f->error), -1);
    assert_int_equal(f->error.code, TW_CANCELLED);
    fixture_assert_sound(f);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(test_found_on_read),
        T(test_verify),
        T(test_late_reader),
        T(test_truncated),
        T(test_truncated_while_open),
        T(test_missing),
        T(test_put_of_missing),
        T(test_link_in_its_place),
        T(test_fsck),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
