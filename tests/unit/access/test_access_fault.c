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

#include "fixture.h"

#define HASH "$argon2id$v=19$m=19456,t=3,p=1$c29tZXNhbHRzb21lc2FsdA$aGFzaA"

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

/* --- a row of calls, and what is there after so many of them --- */

enum { CALLS = 11, SNAPSHOT_MAX = 400 };

static char ann_token[TOKEN_ID_LEN + 1];

static int call(struct fixture *f, int n)
{
    struct token token;
    int r;
    switch (n) {
    case 0:
        return accounts_open(&f->options, &f->a, &f->first, &f->error);
    case 1:
        return accounts_first_shown(f->a, &f->error);
    case 2:
        return accounts_add_user(f->a, "ann", ROLE_SUBMITTER, &f->error);
    case 3:
        r = accounts_add_token(f->a, "ann", "one", ROLE_SUBMITTER, 0, &token, &f->error);
        if (r == 0)
            token_id(token.digest, ann_token);
        return r;
    case 4:
        return accounts_add_token(f->a, "ann", "two", ROLE_VIEWER, 0, &token, &f->error);
    case 5:
        return accounts_revoke_token(f->a, ann_token, "ann", &f->error);
    case 6:
        return accounts_set_role(f->a, "ann", ROLE_ADMIN, &f->error);
    case 7:
        return accounts_set_password(f->a, "ann", HASH, &f->error);
    case 8:
        return accounts_set_disabled(f->a, "ann", true, &f->error);
    case 9:
        return accounts_add_user(f->a, "bob", ROLE_VIEWER, &f->error);
    default:
        return accounts_remove_user(f->a, "ann", &f->error);
    }
}

struct snapshot {
    char text[SNAPSHOT_MAX];
    struct accounts *a;
};

static void add_text(struct snapshot *s, const char *name, int a, int b, int c)
{
    size_t len = strlen(s->text);
    snprintf(s->text + len, sizeof s->text - len, "%s %d %d %d\n", name, a, b, c);
}

static bool add_token(void *ctx, const struct accounts_token *token)
{
    if (strcmp(token->name, "first") != 0) /* that one may come and go */
        add_text(ctx, token->name, token->role, token->revoked_us != 0, token->expires_us != 0);
    return true;
}

static bool add_user(void *ctx, const struct accounts_user *user)
{
    struct snapshot *s = ctx;
    add_text(s, user->name, user->role, user->disabled, user->has_password);
    return accounts_list_tokens(s->a, user->name, add_token, s, NULL) == 0;
}

static struct snapshot take(struct fixture *f)
{
    struct snapshot s = {.a = f->a};
    if (f->a)
        accounts_list_users(f->a, NULL, add_user, &s);
    return s;
}

static struct snapshot expected[CALLS + 1]; /* after so many calls */

static void expect(void)
{
    struct fixture *f = NULL;
    fixture_setup((void **)&f);
    for (int n = 0; n < CALLS; n++) {
        assert_ok(f, call(f, n));
        expected[n + 1] = take(f);
        if (n != 1) /* which shows nowhere but at the next start */
            assert_string_not_equal(expected[n].text, expected[n + 1].text);
    }
    fixture_reopen(f);
    assert_string_equal(take(f).text, expected[CALLS].text);
    fixture_teardown((void **)&f);
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
    for (int i = 0; i < CALLS; i++) {
        if (call(f, i) == 0) {
            assert_string_equal(take(f).text, expected[i + 1].text);
            continue;
        }
        assert_told(f, fault);
        assert_int_equal(failed, -1);
        failed = i;
        assert_string_equal(take(f).text, expected[i].text); /* nothing has changed */
        if (!again)
            break;
        assert_ok(f, call(f, i));
        assert_string_equal(take(f).text, expected[i + 1].text);
    }
    bool met = shim.left < 0;
    arm(fault, -1);
    if (failed >= 0 && !again) {
        fixture_reopen(f);
        const char *now = take(f).text;
        /* One that failed may have got there for all that. Never is there anything else. */
        if (failed > 0 && strcmp(now, expected[failed].text) != 0)
            assert_string_equal(now, expected[failed + 1].text);
        if (failed <= 1 && *f->first.text)
            assert_int_equal(fixture_check(f, &f->first, NULL), ACCOUNTS_OK);
    } else {
        fixture_reopen(f);
        assert_string_equal(take(f).text, expected[CALLS].text);
    }
    fixture_teardown((void **)&f);
    return met;
}

static void test_every_failure(void **state UNUSED)
{
    expect();
    for (enum fault fault = FAULT_FULL; fault <= FAULT_SYNC; fault++) {
        int n = 0;
        while (run_with_fault(fault, n, false) && run_with_fault(fault, n, true))
            n++;
        assert_true(n >= CALLS); /* each of them writes */
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
        for (int i = 0; i < CALLS; i++) {
            if (call(f, i) < 0)
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
        assert_string_equal(take(f).text, expected[1].text);
    else if (strcmp(take(f).text, expected[k].text) != 0)
        assert_string_equal(take(f).text, expected[MIN(k + 1, (int)CALLS)].text);
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
    expect();
    for (enum fault fault = FAULT_KILL_WRITE; fault < FAULT_MAX; fault++) {
        int n = 0;
        while (run_and_kill(fault, n))
            n++;
        assert_true(n >= CALLS);
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
