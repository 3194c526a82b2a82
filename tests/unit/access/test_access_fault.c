/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a disk may do to the accounts. A VFS under SQLite fails its n-th write or sync, or ends the process there, for every n that
 * a row of calls reaches: memory and disk agree afterwards, and nothing that was acknowledged is lost.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sqlite3.h>

#include "script.h"

/* --- a VFS that fails on demand --- */

enum fault { FAULT_FULL, FAULT_WRITE, FAULT_READONLY, FAULT_SYNC, FAULT_KILL_WRITE, FAULT_KILL_SYNC, FAULT_MAX };

static struct {
    int left; /* operations until the fault; negative: none is due */
    enum fault fault;
    sqlite3_vfs *real;
    sqlite3_vfs vfs;
    const sqlite3_io_methods *real_methods[2]; /* of the database, and of other files */
    sqlite3_io_methods methods[2];
} shim = {.left = -1};

static bool due(bool counts)
{
    return counts && shim.left >= 0 && shim.left-- == 0;
}

static int shim_write(sqlite3_file *file, const void *data, int len, sqlite3_int64 at)
{
    static const int codes[FAULT_MAX] = {SQLITE_FULL, SQLITE_IOERR_WRITE, SQLITE_READONLY};
    if (due(shim.fault != FAULT_SYNC && shim.fault != FAULT_KILL_SYNC)) {
        if (shim.fault != FAULT_READONLY) /* a part of it gets there */
            (void)shim.real_methods[0]->xWrite(file, data, len / 2, at);
        if (shim.fault == FAULT_KILL_WRITE)
            raise(SIGKILL);
        return codes[shim.fault];
    }
    return shim.real_methods[0]->xWrite(file, data, len, at);
}

static int shim_sync(sqlite3_file *file, int flags)
{
    if (due(shim.fault == FAULT_SYNC || shim.fault == FAULT_KILL_SYNC)) {
        if (shim.fault == FAULT_KILL_SYNC)
            raise(SIGKILL);
        return SQLITE_IOERR_FSYNC;
    }
    return shim.real_methods[0]->xSync(file, flags);
}

static int shim_open(sqlite3_vfs *vfs UNUSED, sqlite3_filename name, sqlite3_file *file, int flags, int *ret_flags)
{
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
    assert_ptr_equal(file->pMethods->xWrite, shim.real_methods[0]->xWrite);
    file->pMethods = &shim.methods[kind];
    return rc;
}

static int install_shim(void **state UNUSED)
{
    shim.real = sqlite3_vfs_find(NULL);
    shim.vfs = *shim.real;
    shim.vfs.zName = "failing";
    shim.vfs.xOpen = shim_open;
    return sqlite3_vfs_register(&shim.vfs, 1) == SQLITE_OK ? 0 : -1;
}

/* --- failures --- */

static void arm(enum fault fault, int n)
{
    shim.fault = fault;
    shim.left = n;
}

/* (What a failed write or sync is called follows from errno, which a shim leaves alone.) */
static void assert_told(const struct fixture *f, enum fault fault)
{
    if (fault == FAULT_FULL)
        assert_int_equal(f->error.code, TW_RESOURCE_EXHAUSTED);
    if (fault == FAULT_READONLY)
        assert_int_equal(f->error.code, TW_PERMISSION_DENIED);
    assert_non_null(strstr(f->error.message, f->path));
}

/* True: the fault was met. */
static bool run_with_fault(enum fault fault, int n, bool again)
{
    struct fixture *f = NULL;
    fixture_setup((void **)&f);
    arm(fault, n);
    int failed = -1;
    for (int i = 0; i < SCRIPT_CALLS; i++) {
        if (script_call(f, i) == 0) {
            assert_string_equal(script_state(f).text, script_expected[i + 1].text);
            continue;
        }
        assert_told(f, fault);
        assert_int_equal(failed, -1);
        failed = i;
        assert_string_equal(script_state(f).text, script_expected[i].text); /* nothing has changed */
        if (!again)
            break;
        assert_ok(f, script_call(f, i));
        assert_string_equal(script_state(f).text, script_expected[i + 1].text);
    }
    bool met = shim.left < 0;
    arm(fault, -1);
    if (failed >= 0 && !again) {
        fixture_reopen(f);
        const char *now = script_state(f).text;
        /* One that failed may have got there for all that. Never is there anything else. */
        if (failed > 0 && strcmp(now, script_expected[failed].text) != 0)
            assert_string_equal(now, script_expected[failed + 1].text);
        if (failed <= 1 && *f->first.text)
            assert_int_equal(fixture_check(f, &f->first, NULL), ACCOUNTS_OK);
    } else {
        fixture_reopen(f);
        assert_string_equal(script_state(f).text, script_expected[SCRIPT_CALLS].text);
    }
    fixture_teardown((void **)&f);
    return met;
}

static void test_every_failure(void **state UNUSED)
{
    script_expect();
    for (enum fault fault = FAULT_FULL; fault <= FAULT_SYNC; fault++) {
        int n = 0;
        while (run_with_fault(fault, n, false) && run_with_fault(fault, n, true))
            n++;
        assert_true(n >= SCRIPT_CALLS); /* each of them writes */
    }
}

/* --- the end of the process --- */

/* True: it was killed. */
static bool run_and_kill(enum fault fault, int n)
{
    struct fixture *f = NULL;
    fixture_setup((void **)&f);
    int *acknowledged = mmap(NULL, sizeof *acknowledged, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(acknowledged != MAP_FAILED);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        arm(fault, n);
        for (int i = 0; i < SCRIPT_CALLS; i++) {
            if (script_call(f, i) < 0)
                _exit(1);
            *acknowledged = i + 1;
        }
        accounts_close(f->a);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    int k = *acknowledged;
    munmap(acknowledged, sizeof *acknowledged);
    fixture_open(f);
    if (k == 0)
        assert_string_equal(script_state(f).text, script_expected[1].text);
    else if (strcmp(script_state(f).text, script_expected[k].text) != 0)
        assert_string_equal(script_state(f).text, script_expected[MIN(k + 1, (int)SCRIPT_CALLS)].text);
    /* Somebody can get in: by the first token that is new, or by the one that has been shown. */
    if (k < 1)
        assert_int_equal(fixture_check(f, &f->first, NULL), ACCOUNTS_OK);
    if (k > 1)
        assert_string_equal(f->first.text, "");
    fixture_teardown((void **)&f);
    return WIFSIGNALED(status);
}

static void test_killed_at_every_step(void **state UNUSED)
{
    script_expect();
    for (enum fault fault = FAULT_KILL_WRITE; fault < FAULT_MAX; fault++) {
        int n = 0;
        while (run_and_kill(fault, n))
            n++;
        assert_true(n >= SCRIPT_CALLS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_failure),
        cmocka_unit_test(test_killed_at_every_step),
    };
    return cmocka_run_group_tests(tests, install_shim, NULL);
}
