/* SPDX-License-Identifier: Apache-2.0 */
/* The calls of AccountService about users and their passwords. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "rpc/account_convert.h"
#include "rpc/account_internal.h"

enum { PAGE_DEFAULT = 100, PAGE_MAX = 1000 };

/* Before anything is written down of somebody who is not there. */
static int find(const struct account_job *job, const char *name, struct accounts_user *ret, struct tw_error *error)
{
    if (!*name)
        return error_set(error, TW_INVALID_ARGUMENT, "the user's name is missing");
    return accounts_find_user(job->service->options.accounts, name, ret, error);
}

static int reply_user(struct account_job *job, struct tw_error *error)
{
    Taskworker__UserResponse response = TASKWORKER__USER_RESPONSE__INIT;
    Taskworker__User message;
    struct accounts_user user = {0};
    if (accounts_find_user(job->service->options.accounts, job->user, &user, error) < 0)
        return -1;
    user_to_message(&user, &message);
    response.user = &message;
    rpc_call_reply(job->call, &response.base);
    return 0;
}

/* --- AddUser --- */

static int check_add(struct account_job *job, struct tw_error *error)
{
    const Taskworker__AddUserRequest *r = job->request;
    job->user = r->name;
    if (accounts_check_name(r->name, error) < 0 || role_from_message(r->role, ROLE_MAX, &job->role, error) < 0)
        return -1;
    if (job->role == ROLE_MAX)
        return error_set(error, TW_INVALID_ARGUMENT, "role is missing: viewer, submitter, operator or admin");
    snprintf(job->detail, sizeof job->detail, "role %s", role_to_string(job->role));
    return 0;
}

static int apply_add(struct account_job *job, struct tw_error *error)
{
    return accounts_add_user(job->service->options.accounts, job->user, job->role, error) < 0 ? -1
                                                                                              : reply_user(job, error);
}

static const struct account_act add_act = {
    .descriptor = &taskworker__add_user_request__descriptor,
    .action = "user.add",
    .check = check_add,
    .apply = apply_add,
};

void account_add_user(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    account_job_begin(call, ctx, &add_act, msg, len);
}

/* --- RemoveUser --- */

static int check_remove(struct account_job *job, struct tw_error *error)
{
    const Taskworker__RemoveUserRequest *r = job->request;
    struct accounts_user user = {0};
    job->user = r->name;
    return find(job, r->name, &user, error);
}

static int apply_remove(struct account_job *job, struct tw_error *error)
{
    Taskworker__RemoveUserResponse response = TASKWORKER__REMOVE_USER_RESPONSE__INIT;
    if (accounts_remove_user(job->service->options.accounts, job->user, error) < 0)
        return -1;
    rpc_call_reply(job->call, &response.base);
    return 0;
}

static const struct account_act remove_act = {
    .descriptor = &taskworker__remove_user_request__descriptor,
    .action = "user.remove",
    .invalidates = true,
    .check = check_remove,
    .apply = apply_remove,
};

void account_remove_user(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    account_job_begin(call, ctx, &remove_act, msg, len);
}

/* --- SetUser --- */

static int check_set(struct account_job *job, struct tw_error *error)
{
    const Taskworker__SetUserRequest *r = job->request;
    struct accounts_user user = {0};
    job->user = r->name;
    if (find(job, r->name, &user, error) < 0 || role_from_message(r->role, ROLE_MAX, &job->role, error) < 0)
        return -1;
    bool role = job->role != ROLE_MAX;
    if (!role && !r->set_disabled)
        return error_set(error, TW_INVALID_ARGUMENT, "neither role nor set_disabled says what is to be changed");
    snprintf(job->detail, sizeof job->detail, "%s%s%s%s", role ? "role " : "", role ? role_to_string(job->role) : "",
        role && r->set_disabled ? ", " : "",
        !r->set_disabled  ? ""
            : r->disabled ? "disabled"
                          : "enabled");
    return 0;
}

/* What may be refused (the last administrator) goes first, so that a call which fails has changed nothing. */
static int apply_set(struct account_job *job, struct tw_error *error)
{
    const Taskworker__SetUserRequest *r = job->request;
    struct accounts *accounts = job->service->options.accounts;
    if (r->set_disabled && accounts_set_disabled(accounts, job->user, r->disabled, error) < 0)
        return -1;
    if (job->role != ROLE_MAX && accounts_set_role(accounts, job->user, job->role, error) < 0)
        return -1;
    return reply_user(job, error);
}

static const struct account_act set_act = {
    .descriptor = &taskworker__set_user_request__descriptor,
    .action = "user.set",
    .invalidates = true,
    .check = check_set,
    .apply = apply_set,
};

void account_set_user(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    account_job_begin(call, ctx, &set_act, msg, len);
}

/* --- ListUsers --- */

struct page {
    Taskworker__User *users;
    Taskworker__User **list;
    size_t n, max;
    bool more;
};

static bool take_user(void *ctx, const struct accounts_user *user)
{
    struct page *page = ctx;
    page->more = page->n == page->max;
    if (page->more)
        return false;
    user_to_message(user, &page->users[page->n]);
    page->list[page->n] = &page->users[page->n];
    page->n++;
    return true;
}

static int list_users(const struct account_service *service, struct rpc_call *call,
    const Taskworker__ListUsersRequest *r, struct tw_error *error)
{
    Taskworker__ListUsersResponse response = TASKWORKER__LIST_USERS_RESPONSE__INIT;
    struct page page = {.max = r->page_size ? r->page_size : PAGE_DEFAULT};
    if (page.max > PAGE_MAX)
        return error_set(error, TW_INVALID_ARGUMENT, "page_size is %zu, and %d are the most", page.max, PAGE_MAX);
    if (*r->page_token && accounts_check_name(r->page_token, NULL) < 0)
        return error_set(error, TW_INVALID_ARGUMENT, "page_token is not one that this call has given");
    CLEANUP_FREE Taskworker__User *users = page.users = calloc(page.max, sizeof *users);
    CLEANUP_FREE Taskworker__User **list = page.list = calloc(page.max, sizeof *list);
    if (!users || !list)
        return error_oom(error);
    accounts_list_users(service->options.accounts, *r->page_token ? r->page_token : NULL, take_user, &page);
    response.users = list;
    response.n_users = page.n;
    if (page.more)
        response.next_page_token = users[page.n - 1].name;
    rpc_call_reply(call, &response.base);
    return 0;
}

void account_list_users(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    struct tw_error error = {0};
    void *request = account_unpack(call, ctx, &taskworker__list_users_request__descriptor, msg, len);
    if (request && list_users(ctx, call, request, &error) < 0)
        rpc_call_finish_error(call, &error);
    account_free_request(request);
}

/* --- SetPassword --- */

static int check_password(struct account_job *job, struct tw_error *error)
{
    const Taskworker__SetPasswordRequest *r = job->request;
    bool own = !*r->user || !strcmp(r->user, job->who.user), admin = job->who.role == ROLE_ADMIN;
    struct accounts_user user = {0};
    job->user = *r->user ? r->user : job->who.user;
    if (!own && !admin)
        return error_set(error, TW_PERMISSION_DENIED, "you are %s here: another user's password takes the role admin",
            role_to_string(job->who.role));
    if (find(job, job->user, &user, error) < 0 ||
        password_check(r->new_password, strlen(r->new_password), job->user, error) < 0)
        return -1;
    if (!admin && !user.has_password)
        return error_set(error, TW_FAILED_PRECONDITION,
            "you have no password yet: the first one takes an administrator (hivemind user passwd %s)", job->user);
    if (!admin && !*r->old_password)
        return error_set(error, TW_INVALID_ARGUMENT, "old_password is missing");
    /* One that is there is looked at, also of an administrator. */
    job->password = own && *r->old_password ? r->old_password : NULL;
    snprintf(job->detail, sizeof job->detail, "%s", own ? "his own" : "by an administrator");
    return 0;
}

static int proved_password(struct account_job *job UNUSED, const struct who *who, struct tw_error *error)
{
    if (who)
        return 0;
    /* Who he is, is not in doubt. */
    if (error->code == TW_UNAUTHENTICATED)
        error_set(error, TW_PERMISSION_DENIED, "the old password is wrong");
    return -1;
}

static void on_password_set(void *ctx, const struct who *who UNUSED, const struct tw_error *error)
{
    struct account_job *job = ctx;
    Taskworker__SetPasswordResponse response = TASKWORKER__SET_PASSWORD_RESPONSE__INIT;
    if (!error && job->call)
        rpc_call_reply(job->call, &response.base);
    account_job_done(job, error);
}

static int apply_password(struct account_job *job, struct tw_error *error)
{
    const Taskworker__SetPasswordRequest *r = job->request;
    struct login *login; /* not to be cancelled: whoever has changed something says so */
    return logins_set_password(job->service->options.logins, job->user, job->address, r->new_password,
               strlen(r->new_password), on_password_set, job, &login, error) < 0
        ? -1
        : 1;
}

static const struct account_act password_act = {
    .descriptor = &taskworker__set_password_request__descriptor,
    .action = "user.password",
    .invalidates = true,
    .check = check_password,
    .proved = proved_password,
    .apply = apply_password,
};

void account_set_password(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    account_job_begin(call, ctx, &password_act, msg, len);
}
