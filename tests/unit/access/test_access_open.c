/* SPDX-License-Identifier: Apache-2.0 */
/* The file of the accounts: made, refused, damaged, held; and the administrator's first token. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "fixture.h"

static void assert_open_fails(struct fixture *f, enum tw_code code, const char *word)
{
    if (fixture_open_fails(f) != code || !strstr(f->error.message, word))
        fail_msg("not the right sentence: %d %s", f->error.code, f->error.message);
}

static void assert_mode(struct fixture *f, const char *ending, mode_t mode)
{
    char path[100];
    struct stat st;
    snprintf(path, sizeof path, "%s%s", f->path, ending);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, mode);
}

static void test_first(void **state)
{
    struct fixture *f = *state;
    struct who who;
    static const mode_t masks[] = {0777, 0};
    for (size_t i = 0; i < ARRAY_LEN(masks); i++) {
        fixture_close(f);
        (void)unlink(f->path);
        mode_t before = umask(masks[i]);
        fixture_open(f);
        umask(before);
        assert_mode(f, "", 0600);
        assert_mode(f, "-wal", 0600);
    }
    assert_string_equal(fixture_users(f), "admin ");
    assert_int_equal(fixture_check(f, &f->first, &who), ACCOUNTS_OK);
    assert_string_equal(who.user, "admin");
    assert_int_equal(who.role, ROLE_ADMIN);
    assert_false(fixture_user(f, "admin").has_password);
    assert_ok(f, accounts_first_shown(f->a, &f->error));
    struct token first = f->first;
    fixture_reopen(f);
    assert_string_equal(f->first.text, "");
    assert_int_equal(fixture_check(f, &first, NULL), ACCOUNTS_OK);
    fixture_close(f);
    /* Nothing is left beside it. */
    char path[100];
    snprintf(path, sizeof path, "%s-wal", f->path);
    assert_int_equal(access(path, F_OK), -1);
}

/* Until it has been shown each start makes a new one, and only the last is worth anything. */
static void test_first_not_shown(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    struct token former = f->first;
    for (int i = 0; i < 3; i++) {
        fixture_reopen(f);
        assert_int_equal(strlen(f->first.text), TOKEN_TEXT_LEN);
        assert_int_equal(fixture_check(f, &former, NULL), ACCOUNTS_UNKNOWN);
        assert_int_equal(fixture_user(f, "admin").tokens, 1);
        former = f->first;
    }
    /* Who has used it has seen it. */
    assert_int_equal(fixture_check(f, &former, NULL), ACCOUNTS_OK);
    for (int i = 0; i < 2; i++) {
        fixture_reopen(f);
        assert_string_equal(f->first.text, "");
        assert_int_equal(fixture_check(f, &former, NULL), ACCOUNTS_OK);
    }
}

/* A start that ended between its steps: each of them is caught up on. */
static void test_first_cut_short(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    fixture_close(f);
    fixture_sql(f, "DELETE FROM tokens");
    fixture_open(f);
    assert_int_equal(fixture_check(f, &f->first, NULL), ACCOUNTS_OK);
    fixture_close(f);
    fixture_sql(f, "DELETE FROM tokens; DELETE FROM users");
    fixture_open(f);
    assert_int_equal(fixture_check(f, &f->first, NULL), ACCOUNTS_OK);
    /* The number of the one before is not given again. */
    assert_int_equal(fixture_user(f, "admin").id, 2);
    fixture_close(f);
}

/* What only somebody can have done who was let in: it counts as shown, though that was never said. */
static void test_first_touched(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *before, *after;
    } cases[] = {
        {"INSERT INTO users (name, role, disabled, generation, created_us, changed_us) VALUES ('ann', 3, 0, 1, 1, 1)",
            "DELETE FROM users WHERE name = 'ann'"},
        {"UPDATE users SET generation = 2", "UPDATE users SET generation = 1"},
        {"UPDATE tokens SET used_us = 1", "UPDATE tokens SET used_us = 0"},
        {"UPDATE tokens SET revoked_us = 1", "UPDATE tokens SET revoked_us = 0"},
        {"UPDATE tokens SET first = 0", "UPDATE tokens SET first = 1"},
        {"UPDATE users SET removed_us = 1; DELETE FROM tokens", "UPDATE users SET removed_us = 0"},
    };
    fixture_open(f);
    fixture_close(f);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        fixture_sql(f, cases[i].before);
        for (int again = 0; again < 2; again++) {
            fixture_open(f);
            assert_string_equal(f->first.text, "");
            fixture_close(f);
        }
        fixture_sql(f, cases[i].after);
        fixture_sql(f, "UPDATE meta SET value = 1 WHERE key = 'first_due'");
        fixture_open(f);
        assert_int_equal(strlen(f->first.text), TOKEN_TEXT_LEN);
        fixture_close(f);
    }
}

static void test_modes(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    fixture_close(f);
    static const mode_t modes[] = {0640, 0604, 0620, 0602, 0666, 0610};
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        assert_int_equal(chmod(f->path, modes[i]), 0);
        assert_open_fails(f, TW_FAILED_PRECONDITION, "`chmod 600 ");
        assert_mode(f, "", modes[i]);
    }
    assert_int_equal(chmod(f->path, 0600), 0);
    assert_int_equal(chmod(f->folder, 0770), 0);
    assert_open_fails(f, TW_FAILED_PRECONDITION, "`chmod go-w`");
    assert_int_equal(chmod(f->folder, 0755), 0);
    fixture_open(f);
}

static void test_owner(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    fixture_close(f);
    if (geteuid() != 0) { /* only root can give a file away: then the folder of root is the one that is not ours */
        f->options.path = "/etc/passwd";
        assert_open_fails(f, TW_PERMISSION_DENIED, "belongs to uid 0");
        return;
    }
    assert_int_equal(chown(f->path, 12345, 12345), 0);
    assert_open_fails(f, TW_PERMISSION_DENIED, "belongs to uid 12345");
    assert_int_equal(chown(f->path, 0, 0), 0);
    assert_int_equal(chown(f->folder, 12345, 12345), 0);
    assert_open_fails(f, TW_PERMISSION_DENIED, "the folder of");
    assert_int_equal(chown(f->folder, 0, 0), 0);
    fixture_open(f);
}

static void test_not_a_file(void **state)
{
    struct fixture *f = *state;
    char other[100];
    f->options.path = "";
    assert_open_fails(f, TW_INVALID_ARGUMENT, "not that of a file");
    snprintf(other, sizeof other, "%s/", f->folder);
    f->options.path = other;
    assert_open_fails(f, TW_INVALID_ARGUMENT, "not that of a file");
    f->options.path = "/nonexistent/accounts.db";
    assert_open_fails(f, TW_NOT_FOUND, "/nonexistent");
    f->options.path = f->path;
    assert_int_equal(mkdir(f->path, 0700), 0);
    assert_open_fails(f, TW_FAILED_PRECONDITION, "not a regular file");
    assert_int_equal(rmdir(f->path), 0);
    assert_int_equal(mkfifo(f->path, 0600), 0);
    assert_open_fails(f, TW_FAILED_PRECONDITION, "not a regular file");
    assert_int_equal(unlink(f->path), 0);
    snprintf(other, sizeof other, "%s/elsewhere", f->folder);
    assert_int_equal(symlink(other, f->path), 0);
    assert_open_fails(f, TW_FAILED_PRECONDITION, "not a regular file");
    assert_int_equal(access(other, F_OK), -1);
}

static void test_foreign(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    fixture_add_user(f, "ann", ROLE_VIEWER);
    fixture_close(f);
    fixture_sql(f, "PRAGMA user_version = 99");
    assert_open_fails(f, TW_FAILED_PRECONDITION, "newer version");
    fixture_sql(f, "PRAGMA user_version = 1; PRAGMA application_id = 1");
    assert_open_fails(f, TW_FAILED_PRECONDITION, "another program");
    fixture_sql(f, "PRAGMA application_id = 1213028161");
    fixture_open(f);
    assert_string_equal(fixture_users(f), "admin ann ");
}

/* Rows that cannot be: the node does not start with half of its accounts. */
static void test_senseless_rows(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *broken, *mended;
    } cases[] = {
        {"UPDATE users SET name = 'Ann' WHERE name = 'ann'", "UPDATE users SET name = 'ann' WHERE name = 'Ann'"},
        {"UPDATE users SET name = 'a' || char(0) || 'n' WHERE name = 'ann'",
            "UPDATE users SET name = 'ann' WHERE name <> 'admin'"},
        {"UPDATE users SET removed_us = 1 WHERE name = 'ann'", "UPDATE users SET removed_us = 0"},
        {"UPDATE users SET password = printf('%200s', 'x') WHERE name = 'ann'", "UPDATE users SET password = NULL"},
        {"UPDATE tokens SET name = printf('%65s', 'x')", "UPDATE tokens SET name = 'x'"},
        {"UPDATE tokens SET name = CAST(x'ff' AS TEXT)", "UPDATE tokens SET name = 'x'"},
        {"PRAGMA foreign_keys = OFF; UPDATE tokens SET user = 77", "UPDATE tokens SET user = 1"},
        {"PRAGMA ignore_check_constraints = ON; UPDATE users SET role = 4 WHERE name = 'ann'",
            "UPDATE users SET role = 0 WHERE name = 'ann'"},
        {"PRAGMA ignore_check_constraints = ON; UPDATE tokens SET digest = x'00'",
            "UPDATE tokens SET digest = zeroblob(32)"},
    };
    fixture_open(f);
    fixture_add_user(f, "ann", ROLE_VIEWER);
    (void)fixture_add_token(f, "ann", "t", ROLE_VIEWER);
    assert_ok(f, accounts_first_shown(f->a, &f->error));
    fixture_close(f);
    fixture_sql(f, "DELETE FROM tokens WHERE user = 1");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        fixture_sql(f, cases[i].broken);
        if (fixture_open_fails(f) != TW_DATA_LOSS)
            fail_msg("%s: %s", cases[i].broken, f->error.message);
        fixture_sql(f, cases[i].mended);
    }
    fixture_open(f);
}

/* Any part of it: it is refused, or what is there is right. */
static void test_damaged(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    fixture_open(f);
    assert_ok(f, accounts_first_shown(f->a, &f->error));
    fixture_close(f);
    assert_int_equal(stat(f->path, &st), 0);
    CLEANUP_FREE char *good = malloc((size_t)st.st_size);
    assert_non_null(good);
    int fd = open(f->path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fd_read_all(fd, good, (size_t)st.st_size), st.st_size);
    size_t refused = 0;
    for (off_t at = 0; at < st.st_size; at += 512) {
        char garbage[512];
        memset(garbage, 0xe5, sizeof garbage);
        assert_int_equal(pwrite(fd, garbage, sizeof garbage, at), sizeof garbage);
        if (accounts_open(&f->options, &f->a, &f->first, &f->error) < 0) {
            assert_true(f->error.code == TW_DATA_LOSS || f->error.code == TW_FAILED_PRECONDITION);
            assert_non_null(strstr(f->error.message, f->path));
            refused++;
        } else {
            assert_true(at % 4096 != 0); /* where a page begins it always shows */
            assert_string_equal(fixture_users(f), "admin ");
            fixture_close(f);
        }
        assert_int_equal(pwrite(fd, good, (size_t)st.st_size, 0), st.st_size);
        assert_int_equal(ftruncate(fd, st.st_size), 0);
    }
    assert_true(refused >= (size_t)st.st_size / 4096);
    assert_int_equal(ftruncate(fd, 5000), 0);
    assert_open_fails(f, TW_DATA_LOSS, "damaged");
    close(fd);
}

static void test_read_only(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    fixture_close(f);
    if (geteuid() == 0) /* whom modes do not stop */
        return;
    assert_int_equal(chmod(f->path, 0400), 0);
    assert_open_fails(f, TW_PERMISSION_DENIED, "read-only");
}

static void test_held(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    assert_open_fails(f, TW_UNAVAILABLE, "has ");
    fixture_add_user(f, "ann", ROLE_VIEWER); /* the first one is not disturbed */
    fixture_close(f);
    fixture_open(f);
    assert_string_equal(fixture_users(f), "admin ann ");
}

static void test_close_nothing(void **state UNUSED)
{
    assert_null(accounts_close(NULL));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_first),
        TEST(test_first_not_shown),
        TEST(test_first_cut_short),
        TEST(test_first_touched),
        TEST(test_modes),
        TEST(test_owner),
        TEST(test_not_a_file),
        TEST(test_foreign),
        TEST(test_senseless_rows),
        TEST(test_damaged),
        TEST(test_read_only),
        TEST(test_held),
        TEST(test_close_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
