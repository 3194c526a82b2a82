/* SPDX-License-Identifier: Apache-2.0 */
/* Which folders are taken for a storage, and which are left as they are. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "fixture.h"

static void assert_fails(struct fixture *f, enum tw_code code, const char *word)
{
    assert_int_equal(fixture_open_fails(f), code);
    if (!strstr(f->error.message, word))
        fail_msg("not the right sentence: %s", f->error.message);
}

static void touch(struct fixture *f, const char *name)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", f->path, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static void run_sql(struct fixture *f, const char *sql)
{
    char path[100];
    sqlite3 *db;
    snprintf(path, sizeof path, "%s/files.db", f->path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void test_one_at_a_time(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    assert_fails(f, TW_FAILED_PRECONDITION, "in use");
    fixture_close(f);
    fixture_open(f);
    fixture_close(f);
    /* Slashes at the end change nothing. */
    char path[100];
    snprintf(path, sizeof path, "%s///", f->path);
    f->options.path = path;
    fixture_open(f);
    fixture_close(f);
}

static void test_paths(void **state)
{
    struct fixture *f = *state;
    f->options.path = NULL;
    assert_fails(f, TW_INVALID_ARGUMENT, "empty");
    f->options.path = "";
    assert_fails(f, TW_INVALID_ARGUMENT, "empty");
    f->options.path = "/nonexistent/deeper/files";
    assert_fails(f, TW_NOT_FOUND, "parent");
    f->options.path = f->path;
    int fd = open(f->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_fails(f, TW_FAILED_PRECONDITION, "not a folder");
    assert_int_equal(unlink(f->path), 0);
    assert_int_equal(symlink("/tmp", f->path), 0);
    assert_fails(f, TW_FAILED_PRECONDITION, "not a folder");
    assert_int_equal(unlink(f->path), 0);
    assert_int_equal(mkdir(f->path, 0700), 0);
    assert_int_equal(chmod(f->path, 0777), 0);
    assert_fails(f, TW_FAILED_PRECONDITION, "others may write");
    assert_int_equal(chmod(f->path, 0755), 0);
    touch(f, "letter.txt");
    assert_fails(f, TW_FAILED_PRECONDITION, "letter.txt");
    struct stat st;
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
}

static void test_lost_database(void **state)
{
    struct fixture *f = *state;
    char path[100];
    fixture_open(f);
    assert_int_equal(fixture_put_text(f, "", "a", "precious"), TW_OK);
    fixture_close(f);
    snprintf(path, sizeof path, "%s/files.db", f->path);
    assert_int_equal(truncate(path, 0), 0);
    assert_fails(f, TW_DATA_LOSS, "backup");
    assert_int_equal(unlink(path), 0);
    assert_fails(f, TW_DATA_LOSS, "backup");
    assert_int_equal(fixture_count(f, "blobs"), 1);
}

static void test_foreign_database(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    assert_int_equal(fixture_put_text(f, "", "a", "kept"), TW_OK);
    fixture_close(f);
    run_sql(f, "PRAGMA user_version = 99");
    assert_fails(f, TW_FAILED_PRECONDITION, "newer version");
    run_sql(f, "PRAGMA user_version = 1; PRAGMA application_id = 1");
    assert_fails(f, TW_FAILED_PRECONDITION, "another program");
    run_sql(f, "PRAGMA application_id = 1213028166");
    fixture_open(f);
    assert_int_equal(fixture_get_text(f, "", "a", "kept"), TW_OK);
}

static void test_damaged_database(void **state)
{
    struct fixture *f = *state;
    char path[100];
    fixture_open(f);
    assert_int_equal(fixture_put_text(f, "", "a", "kept"), TW_OK);
    fixture_close(f);
    snprintf(path, sizeof path, "%s/files.db", f->path);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "garbage garbage", 15, 0), 15);
    close(fd);
    assert_fails(f, TW_DATA_LOSS, "damaged");
    assert_int_equal(fixture_count(f, "blobs"), 1);
}

/* Numbers that do not add up are told. */
static void test_wrong_counts(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    assert_int_equal(fixture_put_text(f, "ann", "a", "abc"), TW_OK);
    fixture_close(f);
    run_sql(f, "UPDATE blobs SET refs = 2; UPDATE owners SET bytes = 1; UPDATE totals SET bytes = 0");
    fixture_open(f);
    assert_int_equal(fixture_fsck(f).wrong_counts, 3);
}

/* A program that was built against an older header knows fewer options. */
static void test_sizes_of_options(void **state)
{
    struct fixture *f = *state;
    f->options.size = offsetof(struct tw_storage_options, max_bytes);
    f->options.max_bytes = 1;
    fixture_open(f);
    assert_int_equal(fixture_stat(f, NULL).max_bytes, UINT64_C(10) << 30);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(test_one_at_a_time),
        T(test_paths),
        T(test_lost_database),
        T(test_foreign_database),
        T(test_damaged_database),
        T(test_wrong_counts),
        T(test_sizes_of_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
