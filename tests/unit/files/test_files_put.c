/* SPDX-License-Identifier: Apache-2.0 */
/* Putting and getting: versions, sharing, owners, what may not be put. */
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"

static const char sha_abc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

static void test_put_and_get(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    assert_int_equal(fixture_put_text(f, "ann", "abc.txt", "abc"), TW_OK);
    assert_int_equal(fixture_get_text(f, "ann", "abc.txt", "abc"), TW_OK);
    struct tw_file_info info = fixture_find(f, "ann", "abc.txt"), by_id;
    assert_string_equal(info.sha256, sha_abc);
    assert_int_equal(info.version, 1);
    assert_int_equal(info.created_us, info.modified_us);
    const struct tw_file_ref ref = {.owner = "ann", .id = info.id};
    assert_int_equal(tw_storage_find(f->s, &ref, &by_id, &f->error), 0);
    assert_string_equal(by_id.name, "abc.txt");
    tw_file_info_done(&by_id);
    char path[200];
    struct stat st;
    fixture_blob_path(f, info.sha256, path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0400);
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    tw_file_info_done(&info);
    fixture_close(f);
    fixture_open(f);
    assert_int_equal(fixture_get_text(f, "ann", "abc.txt", "abc"), TW_OK);
    fixture_assert_sound(f);
}

static void test_sizes(void **state)
{
    struct fixture *f = *state;
    static uint8_t data[3 * 1024 * 1024 + 17];
    fixture_fill(data, sizeof data, 1);
    fixture_open(f);
    const size_t sizes[] = {0, 1, 63, 64, 65, 4999, 5000, 5001, 10000, 262144, sizeof data};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        char name[24];
        snprintf(name, sizeof name, "f%zu", i);
        assert_int_equal(fixture_put(f, "", name, data, sizes[i]), TW_OK);
    }
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        char name[24];
        snprintf(name, sizeof name, "f%zu", i);
        assert_int_equal(fixture_get(f, "", name, data, sizes[i]), TW_OK);
    }
    fixture_assert_sound(f);
}

static void test_versions(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    assert_int_equal(fixture_put_text(f, "ann", "a", "one"), TW_OK);
    struct tw_file_info first = fixture_find(f, "ann", "a");
    /* A reader of the first has it to the end, whatever comes and goes. */
    const struct tw_file_ref ref = {.owner = "ann", .name = "a"};
    struct tw_file *file;
    assert_int_equal(tw_storage_get(f->s, &ref, &file, &f->error), 0);
    assert_int_equal(fixture_put_text(f, "ann", "a", "another"), TW_OK);
    struct tw_file_info second = fixture_find(f, "ann", "a");
    assert_string_equal(first.id, second.id);
    assert_int_equal(second.version, 2);
    assert_int_equal(second.created_us, first.created_us);
    assert_true(second.modified_us >= first.modified_us);
    fixture_gc(f);
    assert_int_equal(fixture_count(f, "blobs"), 2);
    char got[10];
    assert_int_equal(tw_file_read(file, got, sizeof got, &f->error), 3);
    assert_memory_equal(got, "one", 3);
    assert_int_equal(tw_file_read(file, got, sizeof got, &f->error), 0);
    tw_file_close(file);
    fixture_gc(f);
    assert_int_equal(fixture_count(f, "blobs"), 1);
    assert_int_equal(fixture_get_text(f, "ann", "a", "another"), TW_OK);
    /* The same content again is a version too. */
    assert_int_equal(fixture_put_text(f, "ann", "a", "another"), TW_OK);
    tw_file_info_done(&second);
    second = fixture_find(f, "ann", "a");
    assert_int_equal(second.version, 3);
    tw_file_info_done(&first);
    tw_file_info_done(&second);
    fixture_assert_sound(f);
}

static void test_sharing(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    assert_int_equal(fixture_put_text(f, "ann", "a", "shared"), TW_OK);
    assert_int_equal(fixture_put_text(f, "ann", "b", "shared"), TW_OK);
    assert_int_equal(fixture_put_text(f, "bob", "c", "shared"), TW_OK);
    struct tw_storage_stat all = fixture_stat(f, NULL), ann = fixture_stat(f, "ann");
    assert_int_equal(all.files, 3);
    assert_int_equal(all.bytes, 18);
    assert_int_equal(all.blobs, 1);
    assert_int_equal(all.blob_bytes, 6);
    assert_int_equal(all.saved_bytes, 12);
    assert_int_equal(ann.files, 2);
    assert_int_equal(ann.bytes, 12);
    assert_int_equal(fixture_stat(f, "nobody").files, 0);
    assert_int_equal(fixture_delete(f, "ann", "a"), TW_OK);
    assert_int_equal(fixture_delete(f, "bob", "c"), TW_OK);
    assert_int_equal(fixture_gc(f).blobs, 0);
    assert_int_equal(fixture_get_text(f, "ann", "b", "shared"), TW_OK);
    assert_int_equal(fixture_delete(f, "ann", "b"), TW_OK);
    assert_int_equal(fixture_stat(f, NULL).unused_bytes, 6);
    /* What is unused and not removed yet is used again. */
    assert_int_equal(fixture_put_text(f, "bob", "again", "shared"), TW_OK);
    assert_int_equal(fixture_gc(f).blobs, 0);
    assert_int_equal(fixture_delete(f, "bob", "again"), TW_OK);
    struct tw_storage_gc_report report = fixture_gc(f);
    assert_int_equal(report.blobs, 1);
    assert_int_equal(report.bytes, 6);
    assert_int_equal(fixture_count(f, "blobs"), 0);
    fixture_assert_sound(f);
}

static void test_files_of_others(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    assert_int_equal(fixture_put_text(f, "ann", "a", "hers"), TW_OK);
    assert_int_equal(fixture_put_text(f, "bob", "a", "his"), TW_OK);
    assert_int_equal(fixture_get_text(f, "ann", "a", "hers"), TW_OK);
    assert_int_equal(fixture_get_text(f, "bob", "a", "his"), TW_OK);
    struct tw_file_info info = fixture_find(f, "ann", "a"), got;
    struct tw_file *file;
    struct tw_file_ref ref = {.owner = "bob", .id = info.id};
    for (int round = 0; round < 2; round++) {
        assert_int_equal(tw_storage_find(f->s, &ref, &got, &f->error), -1);
        assert_int_equal(f->error.code, TW_NOT_FOUND);
        assert_int_equal(tw_storage_get(f->s, &ref, &file, &f->error), -1);
        assert_int_equal(f->error.code, TW_NOT_FOUND);
        assert_int_equal(tw_storage_delete(f->s, &ref, &f->error), -1);
        assert_int_equal(f->error.code, TW_NOT_FOUND);
        ref.owner = NULL; /* nobody in particular is not everybody */
    }
    ref.any_owner = true;
    assert_int_equal(tw_storage_find(f->s, &ref, &got, &f->error), 0);
    assert_string_equal(got.owner, "ann");
    tw_file_info_done(&got);
    assert_int_equal(tw_storage_delete(f->s, &ref, &f->error), 0);
    assert_int_equal(fixture_get_text(f, "ann", "a", ""), TW_NOT_FOUND);
    assert_int_equal(fixture_get_text(f, "bob", "a", "his"), TW_OK);
    const struct tw_file_ref nothing = {.owner = "ann"}, odd = {.owner = "ann", .id = "\xff'; --"};
    assert_int_equal(tw_storage_find(f->s, &nothing, &got, &f->error), -1);
    assert_int_equal(f->error.code, TW_INVALID_ARGUMENT);
    assert_int_equal(tw_storage_find(f->s, &odd, &got, &f->error), -1);
    assert_int_equal(f->error.code, TW_NOT_FOUND);
    tw_file_info_done(&info);
}

static void put_fails(struct fixture *f, const struct tw_put_options *o, const char *text, enum tw_code code)
{
    struct tw_upload *u = NULL;
    int r = tw_storage_put(f->s, o, &u, &f->error);
    if (r == 0)
        r = tw_upload_write(u, text, strlen(text), &f->error);
    if (r == 0)
        r = tw_upload_commit(STEAL(u), NULL, &f->error);
    tw_upload_abort(u);
    assert_int_equal(r, -1);
    assert_int_equal(f->error.code, code);
    assert_int_equal(fixture_count(f, "tmp"), 0);
}

static void test_what_was_announced(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    struct tw_put_options o = {.size = sizeof o, .owner = "ann", .name = "a", .length = 3};
    put_fails(f, &o, "abcd", TW_INVALID_ARGUMENT);
    put_fails(f, &o, "ab", TW_INVALID_ARGUMENT);
    o.sha256 = "BA7816";
    put_fails(f, &o, "abc", TW_INVALID_ARGUMENT);
    o.sha256 = sha_abc;
    put_fails(f, &o, "abd", TW_INVALID_ARGUMENT);
    o.length = UINT64_MAX;
    put_fails(f, &o, "abc", TW_INVALID_ARGUMENT);
    assert_int_equal(fixture_count(f, "blobs"), 0);
    o.length = 3;
    struct tw_upload *u;
    assert_int_equal(tw_storage_put(f->s, &o, &u, &f->error), 0);
    assert_int_equal(tw_upload_write(u, "abc", 3, &f->error), 0);
    assert_int_equal(tw_upload_commit(u, NULL, &f->error), 0);
    assert_int_equal(fixture_get_text(f, "ann", "a", "abc"), TW_OK);
    fixture_assert_sound(f);
}

static void test_base_version(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    struct tw_put_options o = {.size = sizeof o, .name = "a", .unknown_length = true, .base_version = 1};
    put_fails(f, &o, "new", TW_ABORTED);
    assert_int_equal(fixture_count(f, "blobs"), 0);
    assert_int_equal(fixture_put_text(f, NULL, "a", "one"), TW_OK);
    struct tw_upload *u[2];
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(tw_storage_put(f->s, &o, &u[i], &f->error), 0);
        assert_int_equal(tw_upload_write(u[i], i ? "second" : "first", i ? 6 : 5, &f->error), 0);
    }
    struct tw_file_info info;
    assert_int_equal(tw_upload_commit(u[0], &info, &f->error), 0);
    assert_int_equal(info.version, 2);
    tw_file_info_done(&info);
    assert_int_equal(tw_upload_commit(u[1], &info, &f->error), -1);
    assert_int_equal(f->error.code, TW_ABORTED);
    assert_int_equal(fixture_get_text(f, "", "a", "first"), TW_OK);
    fixture_assert_sound(f);
}

static void test_aborted(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    const struct tw_put_options o = {.size = sizeof o, .name = "a", .unknown_length = true};
    struct tw_upload *u;
    assert_int_equal(tw_storage_put(f->s, &o, &u, &f->error), 0);
    assert_int_equal(tw_upload_write(u, "abc", 3, &f->error), 0);
    assert_true(fixture_stat(f, NULL).reserved_bytes >= 3);
    assert_int_equal(fixture_count(f, "tmp"), 1);
    assert_int_equal(fixture_gc(f).strays, 0);
    assert_int_equal(fixture_count(f, "tmp"), 1);
    tw_upload_abort(u);
    assert_int_equal(fixture_stat(f, NULL).reserved_bytes, 0);
    assert_int_equal(fixture_get_text(f, "", "a", "abc"), TW_NOT_FOUND);
    tw_upload_abort(NULL);
    tw_file_close(NULL);
    fixture_assert_sound(f);
}

static void test_descriptor(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    assert_int_equal(fixture_put_text(f, "", "a", "content"), TW_OK);
    const struct tw_file_ref ref = {.name = "a"};
    struct tw_file *file;
    assert_int_equal(tw_storage_get(f->s, &ref, &file, &f->error), 0);
    char got[10];
    assert_int_equal(tw_file_read(file, got, 3, &f->error), 3);
    assert_int_equal(tw_file_verify(file, &f->error), 0);
    assert_int_equal(read(tw_file_fd(file), got, sizeof got), 7);
    assert_memory_equal(got, "content", 7);
    assert_int_equal(write(tw_file_fd(file), got, 1), -1);
    assert_int_equal(tw_file_read(file, got, sizeof got, &f->error), 7);
    assert_int_equal(tw_file_read(file, got, sizeof got, &f->error), 0);
    tw_file_close(file);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(test_put_and_get),
        T(test_sizes),
        T(test_versions),
        T(test_sharing),
        T(test_files_of_others),
        T(test_what_was_announced),
        T(test_base_version),
        T(test_aborted),
        T(test_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
