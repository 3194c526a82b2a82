/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/clock.h"
#include "base/log.h"

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

int fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    log_set_level(LOG_ERROR);
    /* Nothing here is about the power going off, and memory syncs faster than a disk. */
    snprintf(f->folder, sizeof f->folder, "%s/hivemind-access-XXXXXX",
        access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof f->path, "%s/accounts.db", f->folder);
    f->options = (struct accounts_options){.path = f->path, .patience_ms = 50};
    *state = f;
    return 0;
}

int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    fixture_close(f);
    chmod(f->folder, 0700);
    nftw(f->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(f);
    log_done();
    return 0;
}

void fixture_open(struct fixture *f)
{
    assert_ok(f, accounts_open(&f->options, &f->a, &f->first, &f->error));
}

void fixture_close(struct fixture *f)
{
    f->a = accounts_close(f->a);
}

void fixture_reopen(struct fixture *f)
{
    fixture_close(f);
    fixture_open(f);
}

enum tw_code fixture_open_fails(struct fixture *f)
{
    struct accounts *a = NULL;
    struct token first;
    memset(&f->error, 0, sizeof f->error);
    assert_int_equal(accounts_open(&f->options, &a, &first, &f->error), -1);
    assert_null(a);
    assert_string_equal(first.text, "");
    assert_true(f->error.message[0]);
    return f->error.code;
}

void fixture_sql(struct fixture *f, const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open_v2(f->path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_close(db);
}

void fixture_add_user(struct fixture *f, const char *name, enum role role)
{
    assert_ok(f, accounts_add_user(f->a, name, role, &f->error));
}

struct token fixture_add_token(struct fixture *f, const char *user, const char *name, enum role role)
{
    struct token token;
    assert_ok(f, accounts_add_token(f->a, user, name, role, 0, &token, &f->error));
    return token;
}

struct accounts_user fixture_user(struct fixture *f, const char *name)
{
    struct accounts_user user = {0};
    assert_ok(f, accounts_find_user(f->a, name, &user, &f->error));
    return user;
}

enum accounts_verdict fixture_check(struct fixture *f, const struct token *token, struct who *ret)
{
    struct who who;
    enum accounts_verdict verdict =
        accounts_check_token(f->a, token->text, strlen(token->text), clock_wall_us(), ret ? ret : &who);
    if (verdict != ACCOUNTS_OK)
        assert_int_equal((ret ? ret : &who)->role, ROLE_MAX);
    return verdict;
}

struct names {
    char text[400];
};

static bool add_name(void *ctx, const struct accounts_user *user)
{
    struct names *names = ctx;
    size_t len = strlen(names->text);
    snprintf(names->text + len, sizeof names->text - len, "%s ", user->name);
    return true;
}

const char *fixture_users(struct fixture *f)
{
    static struct names names;
    names.text[0] = '\0';
    accounts_list_users(f->a, NULL, add_name, &names);
    return names.text;
}
