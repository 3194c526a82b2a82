/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the disk and other programs may do to the database. A VFS under SQLite fails its n-th write
 * or sync, for every n that a few calls reach: each call must answer right, what it promised must
 * be there, and the store must go on.
 */
#include <stdatomic.h>

#include "fixture.h"

/* --- a VFS that fails on demand --- */

enum fault { FAULT_FULL, FAULT_WRITE, FAULT_SYNC, FAULT_MAX };

static struct {
    atomic_int left; /* operations until the fault; negative: none is due */
    enum fault fault;
    sqlite3_vfs *real;
    sqlite3_vfs vfs;
    /* SQLite's own two, for the database and for other files, and ours: the same but for writing
     * and syncing. */
    const sqlite3_io_methods *real_methods[2];
    sqlite3_io_methods methods[2];
} shim;

static bool due(bool counts)
{
    if (!counts || atomic_load(&shim.left) < 0)
        return false;
    return atomic_fetch_sub(&shim.left, 1) == 0;
}

static int shim_write(sqlite3_file *file, const void *data, int len, sqlite3_int64 at)
{
    if (due(shim.fault == FAULT_FULL || shim.fault == FAULT_WRITE)) {
        /* A disk that becomes full in the middle takes a part. */
        (void)shim.real_methods[0]->xWrite(file, data, len / 2, at);
        return shim.fault == FAULT_FULL ? SQLITE_FULL : SQLITE_IOERR_WRITE;
    }
    return shim.real_methods[0]->xWrite(file, data, len, at);
}

static int shim_sync(sqlite3_file *file, int flags)
{
    return due(shim.fault == FAULT_SYNC) ? SQLITE_IOERR_FSYNC : shim.real_methods[0]->xSync(file, flags);
}

static int shim_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file, int flags, int *ret_flags)
{
    (void)vfs;
    int rc = shim.real->xOpen(shim.real, name, file, flags, ret_flags);
    if (rc != SQLITE_OK || !file->pMethods)
        return rc;
    size_t kind = flags & SQLITE_OPEN_MAIN_DB ? 0 : 1;
    if (!shim.real_methods[kind]) {
        shim.real_methods[kind] = file->pMethods;
        shim.methods[kind] = *file->pMethods;
        shim.methods[kind].xWrite = shim_write;
        shim.methods[kind].xSync = shim_sync;
    }
    assert_ptr_equal(file->pMethods, shim.real_methods[kind]);
    assert_ptr_equal(file->pMethods->xWrite, shim.real_methods[0]->xWrite);
    file->pMethods = &shim.methods[kind];
    return rc;
}

static void install_shim(void)
{
    shim.real = sqlite3_vfs_find(NULL);
    shim.vfs = *shim.real;
    shim.vfs.zName = "failing";
    shim.vfs.xOpen = shim_open;
    atomic_store(&shim.left, -1);
    assert_int_equal(sqlite3_vfs_register(&shim.vfs, 1), SQLITE_OK);
}

/* --- the nth fault --- */

enum { N = 12 };

struct batch {

    struct store_task tasks[N];
    struct tw_error errors[N];
    size_t done;
    bool all;
};

struct one {
    struct batch *batch;
    size_t index;
};

static void on_admit(void *ctx, const struct store_task *existing, const struct tw_error *error)
{
    struct one *one = ctx;
    assert_null(existing);
    assert_int_equal(one->index, one->batch->done);
    if (error)
        one->batch->errors[one->index] = *error;
    one->batch->all = ++one->batch->done == N;
}

/* Admits N tasks at once; how many were refused. */
static size_t admit_batch(struct fixture *f, struct batch *batch, enum fault fault, int n)
{
    struct one ones[N];
    size_t refused = 0;
    *batch = (struct batch){0};
    for (size_t i = 0; i < N; i++) {
        char id[32];
        snprintf(id, sizeof id, "f%d-%d-%zu", (int)fault, n, i);
        batch->tasks[i] = fixture_task(id, "x", 1);
        ones[i] = (struct one){batch, i};
        store_admit(f->store, &batch->tasks[i], on_admit, &ones[i]);
    }
    fixture_run(f, &batch->all);
    for (size_t i = 0; i < N; i++)
        refused += batch->errors[i].code != TW_OK;
    return refused;
}

static void check_batch(struct fixture *f, struct batch *batch)
{
    for (size_t i = 0; i < N; i++) {
        struct store_task got;
        enum tw_code code = fixture_get(f, batch->tasks[i].info.id, &got);
        if (batch->errors[i].code == TW_OK && code != TW_OK)
            fail_msg("%s was promised and is gone", batch->tasks[i].info.id);
        store_task_done(&got);
    }
}

static void test_every_fault(void **state)
{
    struct fixture *f = *state;
    install_shim();
    for (int fault = 0; fault < FAULT_MAX; fault++) {
        bool reached = true;
        size_t refused = 0;
        for (int n = 0; reached && n < 200; n++) {
            fixture_open(f);
            fixture_add(f, "warm");
            shim.fault = (enum fault)fault;
            atomic_store(&shim.left, n);
            struct batch batch;
            refused += admit_batch(f, &batch, shim.fault, n);
            reached = atomic_exchange(&shim.left, -1) < 0;
            for (size_t i = 0; i < N; i++) {
                enum tw_code code = batch.errors[i].code;
                assert_true(code == TW_OK || code == (fault == FAULT_FULL ? TW_RESOURCE_EXHAUSTED : TW_INTERNAL));
            }
            check_batch(f, &batch);
            fixture_add(f, "and it goes on");
            fixture_close(f);
            fixture_open(f);
            check_batch(f, &batch);
            fixture_close(f);
            for (size_t i = 0; i < N; i++)
                store_task_done(&batch.tasks[i]);
            assert_int_equal(fixture_sql_int(f, "SELECT quick_check = 'ok' FROM pragma_quick_check"), 1);
            fixture_sql(f, "DELETE FROM tasks WHERE id IN ('warm', 'and it goes on')");
        }
        assert_false(reached); /* the last n lay behind all that there was to fail */
        /* A fault hits the first write, which went alone, or a batch, of which each is then tried
         * alone. */
        assert_in_range(refused, 1, 20);
    }
    assert_int_equal(sqlite3_vfs_unregister(&shim.vfs), SQLITE_OK);
}

/* --- other programs --- */

static void test_locked_by_another_program(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    fixture_add(f, "a");
    sqlite3_busy_timeout(f->store->writer.handle, 50); /* rather than the ten seconds of real life */
    sqlite3 *shell;
    assert_int_equal(sqlite3_open(fixture_name(f, "taskworker.db"), &shell), SQLITE_OK);
    assert_int_equal(sqlite3_exec(shell, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    struct outcome o;
    assert_int_equal(fixture_admit(f, "b", "x", 1, &o), TW_UNAVAILABLE);
    assert_non_null(strstr(o.error.message, f->path));
    struct store_task got;
    assert_int_equal(fixture_get(f, "a", &got), TW_OK); /* reading goes on */
    store_task_done(&got);
    assert_int_equal(sqlite3_exec(shell, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(fixture_admit(f, "b", "x", 1, &o), TW_OK);
    assert_int_equal(sqlite3_close(shell), SQLITE_OK);
}

static void test_impossible_values(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    fixture_add(f, "a");
    fixture_add(f, "b");
    fixture_close(f);
    fixture_sql(f,
        "UPDATE tasks SET reason = 4711 WHERE id = 'a'; UPDATE inputs SET args = '{' "
        "WHERE seq = 2");
    fixture_open(f);
    struct store_task got;
    assert_int_equal(fixture_get(f, "a", &got), TW_DATA_LOSS);
    assert_int_equal(fixture_get(f, "b", &got), TW_DATA_LOSS);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(test_every_fault),
        T(test_locked_by_another_program),
        T(test_impossible_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
