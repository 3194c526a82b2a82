/* SPDX-License-Identifier: Apache-2.0 */
/* Which folders and files the store takes, which it refuses and leaves alone, and what it cleans up
 * at start. */
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "fixture.h"

static unsigned mode_of(const char *path)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        fail_msg("no %s", path);
    return st.st_mode & 07777;
}

static void put_file(const char *path, const void *data, size_t len)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static void assert_named(const struct fixture *f, const char *path)
{
    if (!strstr(f->error.message, path))
        fail_msg("the error does not name %s: %s", path, f->error.message);
}

static void test_modes_under_any_umask(void **state)
{
    struct fixture *f = *state;
    static const mode_t masks[] = {0, 0077, 0777};
    for (size_t i = 0; i < ARRAY_LEN(masks); i++) {
        snprintf(f->path, sizeof f->path, "%s/store%zu", f->folder, i);
        mode_t old = umask(masks[i]);
        fixture_open(f);
        uint64_t seq = fixture_add(f, "a");
        struct store_log *log = store_log_open(f->store, seq, 10);
        assert_int_equal(store_log_append(log, TW_STREAM_STDOUT, "x", 1), 1);
        store_log_free(log);
        umask(old);
        assert_int_equal(mode_of(f->path), 0700);
        static const char *const folders[] = {"files", "logs", "logs/01"};
        static const char *const files[] = {
            "lock", "taskworker.db", "taskworker.db-wal", "taskworker.db-shm", "logs/01/1.log"};
        for (size_t n = 0; n < ARRAY_LEN(folders); n++)
            assert_int_equal(mode_of(fixture_name(f, folders[n])), 0700);
        for (size_t n = 0; n < ARRAY_LEN(files); n++)
            assert_int_equal(mode_of(fixture_name(f, files[n])), 0600);
        fixture_close(f);
    }
}

static void test_second_opener_is_locked_out(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    assert_int_equal(fixture_open_fails(f, f->path), TW_FAILED_PRECONDITION);
    assert_named(f, f->path);
    char pid[32];
    snprintf(pid, sizeof pid, "(pid %d)", (int)getpid());
    assert_named(f, pid);
    fixture_add(f, "a"); /* the first is none the worse */
    fixture_close(f);
    fixture_open(f);
}

static void test_lock_ends_with_its_process(void **state)
{
    struct fixture *f = *state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct store *store;
        const struct store_options options = {.path = f->path};
        _exit(store_open(&f->loop, &options, &store, NULL) == 0 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    fixture_open(f);
}

/* Holds the folder until somebody else reaches for it. */
static void hold_until_wanted(struct fixture *f, int tell_fd)
{
    char lock[200], event[sizeof(struct inotify_event) + 256];
    struct store *store;
    const struct store_options options = {.path = f->path};
    int watch = inotify_init1(IN_CLOEXEC);
    if (store_open(&f->loop, &options, &store, NULL) < 0)
        _exit(1);
    snprintf(lock, sizeof lock, "%s/lock", f->path);
    if (inotify_add_watch(watch, lock, IN_OPEN) < 0 || write(tell_fd, "", 1) != 1)
        _exit(1);
    _exit(read(watch, event, sizeof event) > 0 ? 0 : 1);
}

/* A start right behind an end: the port is free some moments before the folder is. */
static void test_lock_is_waited_for(void **state)
{
    struct fixture *f = *state;
    int fds[2], status;
    char byte;
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        hold_until_wanted(f, fds[1]);
    assert_int_equal(close(fds[1]), 0);
    assert_int_equal(read(fds[0], &byte, 1), 1);
    assert_int_equal(close(fds[0]), 0);
    fixture_open(f);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void test_refused_folders(void **state)
{
    struct fixture *f = *state;
    char path[200];
    assert_int_equal(fixture_open_fails(f, ""), TW_INVALID_ARGUMENT);
    assert_int_equal(fixture_open_fails(f, NULL), TW_INVALID_ARGUMENT);
    snprintf(path, sizeof path, "%s/no/such", f->folder);
    assert_int_equal(fixture_open_fails(f, path), TW_NOT_FOUND);
    assert_named(f, path);

    snprintf(path, sizeof path, "%s/file", f->folder);
    put_file(path, "x", 1);
    assert_int_equal(fixture_open_fails(f, path), TW_FAILED_PRECONDITION);
    assert_named(f, path);

    char target[120];
    snprintf(target, sizeof target, "%s/target", f->folder);
    assert_int_equal(mkdir(target, 0700), 0);
    snprintf(path, sizeof path, "%s/link", f->folder);
    assert_int_equal(symlink(target, path), 0);
    assert_int_equal(fixture_open_fails(f, path), TW_FAILED_PRECONDITION);
    assert_named(f, "symbolic link");
    strcat(path, "//");
    assert_int_equal(fixture_open_fails(f, path), TW_FAILED_PRECONDITION);

    /* Others may write there. */
    assert_int_equal(chmod(target, 01777), 0);
    assert_int_equal(fixture_open_fails(f, target), TW_FAILED_PRECONDITION);
    assert_int_equal(mode_of(target), 01777);

    /* Somebody's home: nothing in it may change. */
    assert_int_equal(chmod(target, 0755), 0);
    snprintf(path, sizeof path, "%s/thesis.tex", target);
    put_file(path, "x", 1);
    assert_int_equal(fixture_open_fails(f, target), TW_FAILED_PRECONDITION);
    assert_named(f, "thesis.tex");
    assert_int_equal(mode_of(target), 0755);
    snprintf(path, sizeof path, "%s/lock", target);
    assert_int_equal(access(path, F_OK), -1);

    if (geteuid() == 0) {
        snprintf(path, sizeof path, "%s/theirs", f->folder);
        assert_int_equal(mkdir(path, 0700), 0);
        assert_int_equal(chown(path, 12345, 12345), 0);
        assert_int_equal(fixture_open_fails(f, path), TW_PERMISSION_DENIED);
        assert_named(f, "12345");
    }
}

static void test_empty_folder_is_taken(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(mkdir(f->path, 0755), 0);
    assert_int_equal(mkdir(fixture_name(f, "lost+found"), 0700), 0);
    fixture_open(f);
    assert_int_equal(mode_of(f->path), 0700);
}

static void test_not_writable(void **state)
{
    struct fixture *f = *state;
    if (geteuid() == 0)
        skip(); /* root writes everywhere; a full disk is tested on its own */
    fixture_open(f);
    fixture_close(f);
    assert_int_equal(chmod(fixture_name(f, "lock"), 0400), 0);
    assert_int_equal(fixture_open_fails(f, f->path), TW_PERMISSION_DENIED);
    assert_named(f, f->path);
}

/* The database is gone, what it refers to is not: making a new one would throw the rest away. */
static void test_lost_database(void **state)
{
    struct fixture *f = *state;
    char *data = calloc(1, STORE_INLINE_MAX + 1);
    assert_non_null(data);
    struct outcome o;
    fixture_open(f);
    assert_int_equal(fixture_admit(f, "a", data, STORE_INLINE_MAX + 1, &o), TW_OK);
    fixture_close(f);
    free(data);
    assert_int_equal(truncate(fixture_name(f, "taskworker.db"), 0), 0);
    assert_int_equal(fixture_open_fails(f, f->path), TW_DATA_LOSS);
    assert_int_equal(unlink(fixture_name(f, "taskworker.db")), 0);
    assert_int_equal(fixture_open_fails(f, f->path), TW_DATA_LOSS);
    assert_named(f, f->path);
    assert_int_equal(fixture_count_files(f, "files"), 1);
    assert_int_equal(access(fixture_name(f, "taskworker.db"), F_OK), -1);
}

static void test_newer_and_foreign_databases(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    fixture_add(f, "a");
    fixture_close(f);
    fixture_sql(f, "PRAGMA user_version = 99");
    assert_int_equal(fixture_open_fails(f, f->path), TW_FAILED_PRECONDITION);
    assert_named(f, "newer");
    assert_named(f, f->path);
    assert_int_equal(fixture_sql_int(f, "PRAGMA user_version"), 99);
    fixture_sql(f, "PRAGMA user_version = 5; PRAGMA application_id = 5");
    assert_int_equal(fixture_open_fails(f, f->path), TW_FAILED_PRECONDITION);
    assert_named(f, "another program");
    fixture_sql(f, "PRAGMA user_version = 0; PRAGMA application_id = 0");
    assert_int_equal(fixture_open_fails(f, f->path), TW_FAILED_PRECONDITION);
    assert_named(f, "another program");
    fixture_sql(f, "PRAGMA user_version = 8; PRAGMA application_id = 0x484d574b");
    fixture_open(f);
}

/* The newer version is in the write-ahead log only: the file's header does not say it yet. */
static void test_newer_in_the_wal(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    fixture_close(f);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        sqlite3 *db;
        if (sqlite3_open(fixture_name(f, "taskworker.db"), &db) != SQLITE_OK ||
            sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL) != SQLITE_OK)
            _exit(1);
        _exit(0); /* without closing */
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    struct stat before, after;
    assert_int_equal(stat(fixture_name(f, "taskworker.db-wal"), &before), 0);
    assert_true(before.st_size > 0);
    assert_int_equal(fixture_open_fails(f, f->path), TW_FAILED_PRECONDITION);
    assert_named(f, "newer");
    assert_int_equal(stat(fixture_name(f, "taskworker.db-wal"), &after), 0);
    assert_int_equal(after.st_size, before.st_size);
}

static void test_damaged_databases(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    for (int i = 0; i < 200; i++) {
        char id[16];
        snprintf(id, sizeof id, "t%d", i);
        fixture_add(f, id);
    }
    fixture_close(f);
    struct stat st;
    assert_int_equal(stat(fixture_name(f, "taskworker.db"), &st), 0);
    char *good = malloc((size_t)st.st_size), *bad = malloc((size_t)st.st_size);
    assert_true(good && bad);
    FILE *file = fopen(fixture_name(f, "taskworker.db"), "r");
    assert_non_null(file);
    assert_int_equal(fread(good, 1, (size_t)st.st_size, file), (size_t)st.st_size);
    fclose(file);

    /* No database at all; cut short; the first page but its header; the rest of the pages. */
    put_file(fixture_name(f, "taskworker.db"), "this is no database", 19);
    assert_int_equal(fixture_open_fails(f, f->path), TW_DATA_LOSS);
    assert_named(f, f->path);
    put_file(fixture_name(f, "taskworker.db"), good, 4096);
    assert_int_equal(fixture_open_fails(f, f->path), TW_DATA_LOSS);
    memcpy(bad, good, (size_t)st.st_size);
    memset(bad + 100, 0x5a, 3996);
    put_file(fixture_name(f, "taskworker.db"), bad, (size_t)st.st_size);
    assert_int_equal(fixture_open_fails(f, f->path), TW_DATA_LOSS);
    assert_named(f, "taskworker.db");

    /* Tables that opening does not look at: what reads them says so, and the program lives. */
    memcpy(bad, good, (size_t)st.st_size);
    put_file(fixture_name(f, "taskworker.db"), good, (size_t)st.st_size);
    int64_t page = fixture_sql_int(f, "SELECT rootpage FROM sqlite_schema WHERE name = 'tasks'");
    memset(bad + (page - 1) * 4096, 0x5a, 4096);
    put_file(fixture_name(f, "taskworker.db"), bad, (size_t)st.st_size);
    fixture_open(f);
    struct store_task got;
    assert_int_equal(fixture_get(f, "t7", &got), TW_DATA_LOSS);
    struct outcome o;
    assert_int_equal(fixture_admit(f, "new", "x", 1, &o), TW_DATA_LOSS);
    assert_non_null(strstr(o.error.message, f->path));
    fixture_close(f);

    /* Nothing was removed or made anew. */
    put_file(fixture_name(f, "taskworker.db"), good, (size_t)st.st_size);
    fixture_open(f);
    assert_int_equal(fixture_get(f, "t7", &got), TW_OK);
    store_task_done(&got);
    free(good);
    free(bad);
}

/* What a crash leaves without a row goes at the next start; what is not ours stays. */
static void test_sweep(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    uint64_t open = fixture_add(f, "open"), ended = fixture_add(f, "ended");
    struct store_log *log = store_log_open(f->store, open, 100);
    store_log_append(log, TW_STREAM_STDOUT, "x", 1);
    store_log_free(log);
    log = store_log_open(f->store, ended, 100);
    store_log_append(log, TW_STREAM_STDOUT, "y", 1);
    assert_int_equal(fixture_finish(f, ended, TW_TASK_COMPLETED, NULL, 0), TW_OK);
    store_log_free(log);
    fixture_close(f);
    assert_int_equal(fixture_count_files(f, "logs"), 1);
    assert_int_equal(mkdir(fixture_name(f, "logs/e7"), 0700), 0);
    assert_int_equal(mkdir(fixture_name(f, "logs/notes"), 0700), 0);
    put_file(fixture_name(f, "logs/02/2.log"), "moved, crashed, not removed", 27);
    put_file(fixture_name(f, "logs/e7/999.log"), "of no task", 10);
    put_file(fixture_name(f, "logs/e7/mine.txt"), "not ours", 8);
    put_file(fixture_name(f, "files/0123456789abcdef0123456789abcdef"), "x", 1);
    put_file(fixture_name(f, "files/README"), "not ours", 8);
    fixture_open(f);
    assert_int_equal(fixture_count_files(f, "logs"), 2);
    assert_int_equal(fixture_count_files(f, "files"), 1);
    struct outcome o;
    assert_int_equal(fixture_log(f, open, 0, 100, &o), TW_OK);
    assert_int_equal(o.len, STORE_LOG_HEADER + 1);
    outcome_done(&o);
    assert_int_equal(fixture_log(f, ended, 0, 100, &o), TW_OK);
    assert_int_equal(o.len, STORE_LOG_HEADER + 1);
    outcome_done(&o);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(test_modes_under_any_umask),
        T(test_second_opener_is_locked_out),
        T(test_lock_ends_with_its_process),
        T(test_lock_is_waited_for),
        T(test_refused_folders),
        T(test_empty_folder_is_taken),
        T(test_not_writable),
        T(test_lost_database),
        T(test_newer_and_foreign_databases),
        T(test_newer_in_the_wal),
        T(test_damaged_databases),
        T(test_sweep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
