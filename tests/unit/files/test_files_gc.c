/* SPDX-License-Identifier: Apache-2.0 */
/* Cleaning up: what goes, what stays, and by itself. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <poll.h>
#include <unistd.h>

#include <sqlite3.h>

#include "fixture.h"

static void make_file(struct fixture *f, const char *name)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", f->path, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "x", 1), 1);
    close(fd);
}

static bool is_there(struct fixture *f, const char *name)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", f->path, name);
    return access(path, F_OK) == 0;
}

#define STRAY "blobs/00/11223344556677889900aabbccddeeff112233445566778899aabbccddee00"
#define LEFT_OVER "tmp/00112233445566778899aabbccddeeff"

static void test_strays(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    assert_int_equal(fixture_put_text(f, "", "a", "kept"), TW_OK);
    make_file(f, STRAY);
    make_file(f, LEFT_OVER);
    /* Names that are none of ours are somebody's. */
    make_file(f, "blobs/00/README");
    make_file(f, "tmp/mine");
    assert_int_equal(fixture_gc(f).strays, 2);
    assert_false(is_there(f, STRAY));
    assert_false(is_there(f, LEFT_OVER));
    assert_true(is_there(f, "blobs/00/README"));
    assert_true(is_there(f, "tmp/mine"));
    make_file(f, STRAY);
    make_file(f, LEFT_OVER);
    fixture_close(f);
    fixture_open(f);
    assert_false(is_there(f, LEFT_OVER));
    assert_int_equal(fixture_gc(f).strays, 1);
    assert_int_equal(fixture_gc(f).strays, 0);
    assert_int_equal(fixture_get_text(f, "", "a", "kept"), TW_OK);
}

static void test_many(void **state)
{
    struct fixture *f = *state;
    enum { N = 200, STEP = 3 };
    fixture_open(f);
    for (int i = 0; i < N; i++) {
        char name[24];
        snprintf(name, sizeof name, "f%d", i);
        assert_int_equal(fixture_put_text(f, "", name, name), TW_OK);
    }
    struct tw_file *open[N] = {NULL};
    for (int i = 0; i < N; i++) {
        char name[24];
        snprintf(name, sizeof name, "f%d", i);
        const struct tw_file_ref ref = {.name = name};
        if (i % STEP == 0)
            assert_int_equal(tw_storage_get(f->s, &ref, &open[i], &f->error), 0);
        assert_int_equal(fixture_delete(f, "", name), TW_OK);
    }
    enum { HELD = (N + STEP - 1) / STEP };
    assert_int_equal(fixture_gc(f).blobs, N - HELD);
    assert_int_equal(fixture_count(f, "blobs"), HELD);
    for (int i = 0; i < N; i += STEP) {
        char got[20];
        assert_true(tw_file_read(open[i], got, sizeof got, &f->error) > 0);
        tw_file_close(open[i]);
    }
    assert_int_equal(fixture_gc(f).blobs, HELD);
    fixture_assert_sound(f);
    assert_int_equal(fixture_stat(f, NULL).blobs, 0);
}

/* By SQL, on a connection of its own: the storage has no way to make a file older. */
static void set_age(struct fixture *f, const char *name, uint64_t modified_us)
{
    char path[100], sql[200];
    sqlite3 *db;
    snprintf(path, sizeof path, "%s/files.db", f->path);
    snprintf(sql, sizeof sql, "UPDATE files SET modified_us = %llu WHERE name = '%s'", (unsigned long long)modified_us,
        name);
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_busy_timeout(db, 10000), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void test_retention(void **state)
{
    struct fixture *f = *state;
    enum { OLD = 100 };
    fixture_open(f);
    for (int i = 0; i < OLD; i++) {
        char name[24];
        snprintf(name, sizeof name, "old%d", i);
        assert_int_equal(fixture_put_text(f, "", name, i % 2 ? "same" : name), TW_OK);
        set_age(f, name, (uint64_t)i / 10);
    }
    assert_int_equal(fixture_put_text(f, "", "new", "same"), TW_OK);
    assert_int_equal(fixture_gc(f).files, 0);
    const struct tw_file_ref ref = {.name = "old0"};
    struct tw_file *file;
    assert_int_equal(tw_storage_get(f->s, &ref, &file, &f->error), 0);
    f->options.retention_us = UINT64_C(3600) * 1000000;
    tw_storage_reload(f->s, &f->options);
    /* What is open stays, until it is not. */
    assert_int_equal(fixture_gc(f).files, OLD - 1);
    assert_int_equal(fixture_get_text(f, "", "old0", "old0"), TW_OK);
    tw_file_close(file);
    assert_int_equal(fixture_gc(f).files, 1);
    assert_int_equal(fixture_get_text(f, "", "old0", "old0"), TW_NOT_FOUND);
    assert_int_equal(fixture_get_text(f, "", "new", "same"), TW_OK);
    assert_int_equal(fixture_stat(f, NULL).files, 1);
    fixture_assert_sound(f);
}

/* --- by itself --- */

static void watch_blobs(struct fixture *f, int fd)
{
    for (unsigned i = 0; i < 256; i++) {
        char path[200];
        snprintf(path, sizeof path, "%s/blobs/%02x", f->path, i);
        assert_true(inotify_add_watch(fd, path, IN_MOVED_FROM | IN_DELETE) >= 0);
    }
}

static void wait_for_removal(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char events[4096];
    assert_int_equal(poll(&p, 1, 60000), 1);
    assert_true(read(fd, events, sizeof events) > 0);
}

static void test_cleaner(void **state)
{
    struct fixture *f = *state;
    int fd = inotify_init1(IN_CLOEXEC);
    assert_true(fd >= 0);
    fixture_open(f);
    watch_blobs(f, fd);
    make_file(f, STRAY);
    fixture_close(f);
    f->options.no_background = false;
    fixture_open(f);
    wait_for_removal(fd); /* of the stray, at the start */
    assert_int_equal(fixture_put_text(f, "", "a", "one"), TW_OK);
    assert_int_equal(fixture_put_text(f, "", "a", "two"), TW_OK);
    wait_for_removal(fd); /* of the version before */
    assert_int_equal(fixture_delete(f, "", "a"), TW_OK);
    wait_for_removal(fd);
    fixture_close(f);
    close(fd);
    fixture_open(f);
    fixture_assert_sound(f);
    assert_int_equal(fixture_count(f, "blobs"), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(test_strays),
        T(test_many),
        T(test_retention),
        T(test_cleaner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
