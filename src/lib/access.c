/* SPDX-License-Identifier: Apache-2.0 */
/* include/taskworker/access.h: switching the gate on, and the way back in for who is locked out. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <sodium.h>

#include "base/clock.h"
#include "base/error.h"
#include "lib/worker_internal.h"

enum { RESET_NAMES = 1000 };

/* So does who asks for the options' size to be known. */
static int take_options(const struct tw_access_options *given, struct tw_access_options *ret, struct tw_error *error)
{
    if (options_take(ret, sizeof *ret, given, "tw_access_options", error) < 0)
        return -1;
    return ret->path && *ret->path ? 0 : error_set(error, TW_INVALID_ARGUMENT, "path of tw_access_options is missing");
}

int access_open_accounts(
    const struct tw_access_options *options, struct accounts **ret, struct token *ret_first, struct tw_error *error)
{
    CLEANUP_FREE char *path = NULL;
    if (mkdir(options->path, 0700) < 0 && errno != EEXIST)
        return error_set_errno(error, errno, "cannot make the folder %s of the accounts", options->path);
    if (asprintf(&path, "%s/accounts.db", options->path) < 0) {
        path = NULL;
        return error_oom(error);
    }
    const struct accounts_options o = {.path = path};
    return accounts_open(&o, ret, ret_first, error);
}

int tw_worker_set_access(struct tw_worker *worker, const struct tw_access_options *given, struct tw_error *error)
{
    struct tw_access_options options = {0};
    if (take_options(given, &options, error) < 0)
        return -1;
    if (worker->gate || worker->server)
        return error_set(
            error, TW_FAILED_PRECONDITION, "who may do what has to be said once, before the worker listens");
    return gate_open(worker->loop, &options, &worker->gate, error);
}

const char *tw_worker_first_token(const struct tw_worker *worker)
{
    return worker->gate && *worker->gate->first.text ? worker->gate->first.text : NULL;
}

int tw_worker_first_token_shown(struct tw_worker *worker, struct tw_error *error)
{
    if (!tw_worker_first_token(worker))
        return error_set(error, TW_FAILED_PRECONDITION, "there is no token that is to be shown");
    if (accounts_first_shown(worker->gate->accounts, error) < 0)
        return -1;
    token_wipe(&worker->gate->first);
    return 0;
}

/* --- the service --- */

static void on_changed(void *ctx)
{
    gate_changed(ctx);
}

int access_begin_service(
    struct gate *gate, uv_loop_t *loop, struct rpc_server *server, struct account_service **ret, struct tw_error *error)
{
    struct account_service_options options = {.loop = loop};
    if (gate)
        options = (struct account_service_options){
            .loop = loop,
            .accounts = gate->accounts,
            .logins = gate->logins,
            .audit = gate->audit,
            .audit_path = gate->audit_path,
            .rates = gate->rates,
            .on_changed = on_changed,
            .ctx = gate,
        };
    return account_service_new(server, &options, ret, error);
}

/* --- locked out --- */

/* "admin", or the first free one behind it: names of removed users are never given again. */
static int find_admin(struct accounts *accounts, char name[TW_ACCESS_USER_MAX + 1], struct tw_error *error)
{
    struct accounts_user user;
    for (unsigned i = 1; i < RESET_NAMES; i++) {
        snprintf(name, TW_ACCESS_USER_MAX + 1, i > 1 ? "%s-%u" : "%s", ACCOUNTS_FIRST_USER, i);
        if (accounts_find_user(accounts, name, &user, NULL) == 0) {
            if (user.disabled && accounts_set_disabled(accounts, name, false, error) < 0)
                return -1;
            return user.role == ROLE_ADMIN ? 0 : accounts_set_role(accounts, name, ROLE_ADMIN, error);
        }
        if (accounts_add_user(accounts, name, ROLE_ADMIN, error) == 0)
            return 0;
        if (error->code != TW_ALREADY_EXISTS)
            return -1;
    }
    return -1;
}

static int write_down(const struct tw_access_options *options, const char *user, struct tw_error *error)
{
    struct audit *audit = NULL;
    const struct audit_options o = {.path = options->audit_path};
    if (!options->audit_path)
        return 0;
    if (audit_open(&o, &audit, error) < 0)
        return -1;
    const struct audit_record record = {
        .user = "", .action = "access.reset_admin", .object = user, .outcome = AUDIT_OK};
    int r = audit_write(audit, &record, AUDIT_DURABLE, NULL, NULL);
    if (r == 0)
        r = audit_flush(audit);
    audit_close(audit);
    return r < 0 ? error_set_errno(error, r, "the audit log cannot be written, so no token was made") : 0;
}

static int reset(struct accounts *accounts, const struct tw_access_options *options, char *ret_user,
    struct token *token, struct tw_error *error)
{
    char name[ACCOUNTS_TOKEN_NAME_MAX + 1], when[CLOCK_TEXT_MAX];
    if (write_down(options, ACCOUNTS_FIRST_USER, error) < 0 || find_admin(accounts, ret_user, error) < 0)
        return -1;
    /* Who it is to be is known only now, where "admin" was removed. */
    if (strcmp(ret_user, ACCOUNTS_FIRST_USER) != 0 && write_down(options, ret_user, error) < 0)
        return -1;
    snprintf(name, sizeof name, "reset %s", clock_format(clock_wall_us(), when));
    return accounts_add_token(accounts, ret_user, name, ROLE_ADMIN, 0, token, error);
}

int tw_access_reset_admin(
    const struct tw_access_options *given, char *ret_user, char *ret_token, struct tw_error *error)
{
    struct tw_access_options options = {0};
    struct accounts *accounts = NULL;
    struct token token CLEANUP_TOKEN = {0}, first CLEANUP_TOKEN = {0};
    if (take_options(given, &options, error) < 0 || access_open_accounts(&options, &accounts, &first, error) < 0)
        return -1;
    int r = reset(accounts, &options, ret_user, &token, error);
    if (r == 0)
        r = accounts_first_shown(accounts, error); /* this one is as good */
    (void)accounts_close(accounts);
    if (r == 0)
        memcpy(ret_token, token.text, TW_TOKEN_TEXT_LEN + 1);
    return r;
}
