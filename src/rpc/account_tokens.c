/* SPDX-License-Identifier: Apache-2.0 */
/* The calls of AccountService by which somebody finds out who he is, comes in, and has tokens. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "rpc/account_convert.h"
#include "rpc/account_internal.h"

/* --- WhoAmI --- */

static int who_am_i(const struct account_service *service, struct rpc_call *call, struct tw_error *error)
{
    const struct who *who = rpc_call_who(call);
    Taskworker__WhoAmIResponse response = TASKWORKER__WHO_AM_IRESPONSE__INIT;
    Taskworker__User user_message;
    Taskworker__Token token_message;
    struct accounts_user user = {0};
    struct accounts_token token = {0};
    if (accounts_find_user(service->options.accounts, who->user, &user, error) < 0)
        return -1;
    user_to_message(&user, &user_message);
    response.user = &user_message;
    response.role = role_to_message(who->role);
    if (*who->token && accounts_find_token(service->options.accounts, who->token, &token, NULL) == 0) {
        token_to_message(&token, &token_message);
        response.token = &token_message;
    }
    rpc_call_reply(call, &response.base);
    return 0;
}

void account_who_am_i(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    struct tw_error error = {0};
    void *request = account_unpack(call, ctx, &taskworker__who_am_irequest__descriptor, msg, len);
    if (request && who_am_i(ctx, call, &error) < 0)
        rpc_call_finish_error(call, &error);
    account_free_request(request);
}

/* --- making one --- */

/* The record that the token is to be made says by whom and how; its id, which others name, is known only now. */
static int make_token(struct account_job *job, struct tw_error *error)
{
    struct accounts *accounts = job->service->options.accounts;
    Taskworker__NewToken response = TASKWORKER__NEW_TOKEN__INIT;
    Taskworker__Token message;
    struct token secret CLEANUP_TOKEN = {0};
    struct accounts_token token = {0};
    char id[TOKEN_ID_LEN + 1];
    if (accounts_add_token(accounts, job->user, job->token_name, job->role, job->expires_us, &secret, error) < 0)
        return -1;
    token_id(secret.digest, id);
    account_job_note(job, "token.made", id, job->detail, AUDIT_OK);
    if (accounts_find_token(accounts, id, &token, error) < 0)
        return -1;
    token_to_message(&token, &message);
    response.secret = secret.text;
    response.token = &message;
    rpc_call_reply(job->call, &response.base);
    return 0;
}

static void describe(struct account_job *job)
{
    char when[CLOCK_TEXT_MAX];
    snprintf(job->detail, sizeof job->detail, "\"%s\" of %s, role %s, %s%s", job->token_name, job->user,
        role_to_string(job->role), job->expires_us ? "until " : "until it is revoked",
        job->expires_us ? clock_format(job->expires_us, when) : "");
}

/* --- Login --- */

static int check_login(struct account_job *job, struct tw_error *error)
{
    const Taskworker__LoginRequest *r = job->request;
    char when[CLOCK_TEXT_MAX];
    uint64_t now_us = clock_wall_us();
    if (!*r->user || strlen(r->user) > ACCOUNTS_NAME_MAX)
        return error_set(error, TW_INVALID_ARGUMENT, "user has to be a name of 1 to %d bytes", (int)ACCOUNTS_NAME_MAX);
    if (!*r->password)
        return error_set(error, TW_INVALID_ARGUMENT, "password is missing");
    if ((*r->token_name && token_name_check(r->token_name, error) < 0) ||
        role_from_message(r->role, ROLE_MAX, &job->role, error) < 0 ||
        expiry_from_lifetime(r->lifetime_ms, now_us, &job->expires_us, error) < 0)
        return -1;
    if (*r->token_name)
        snprintf(job->token_name, sizeof job->token_name, "%s", r->token_name);
    else
        snprintf(job->token_name, sizeof job->token_name, "login %s", clock_format(now_us, when));
    job->user = r->user;
    job->password = r->password;
    return 0;
}

/* People type passwords where a name is asked for: only what could be a name is written down. */
static void note_refused(const struct account_job *job, const char *why)
{
    const struct account_service_options *o = &job->service->options;
    if (o->rates) {
        const struct rate_key key = rates_key(o->rates, RATE_ADDRESS, job->address, strlen(job->address));
        if (!rates_take(o->rates, RATE_LOGIN, &key, 1, clock_monotonic_us(), NULL))
            return;
    }
    const struct audit_record record = {
        .user = accounts_check_name(job->user, NULL) == 0 ? job->user : "",
        .from = job->from,
        .action = job->act->action,
        .detail = why,
        .outcome = AUDIT_DENIED,
    };
    if (o->audit)
        (void)audit_write(o->audit, &record, AUDIT_GROUPED, NULL, NULL);
}

static int proved_login(struct account_job *job, const struct who *who, struct tw_error *error)
{
    if (!who) {
        note_refused(job, error->message);
        return -1;
    }
    job->who = *who;
    if (job->role == ROLE_MAX)
        job->role = who->role;
    if (job->role > who->role)
        return error_set(error, TW_INVALID_ARGUMENT,
            "role: a token of '%s' can be limited to %s at most, which is his role", who->user,
            role_to_string(who->role));
    describe(job);
    return 0;
}

static const struct account_act login_act = {
    .descriptor = &taskworker__login_request__descriptor,
    .action = "login",
    .check = check_login,
    .proved = proved_login,
    .apply = make_token,
};

void account_login(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    account_job_begin(call, ctx, &login_act, msg, len);
}

/* --- AddToken --- */

/* One that is good for a while makes none that is good for longer: else it would be good for ever. */
static int check_lifetime(struct account_job *job, struct tw_error *error)
{
    struct accounts_token token = {0};
    if (!*job->who.token || accounts_find_token(job->service->options.accounts, job->who.token, &token, NULL) < 0 ||
        !token.expires_us)
        return 0;
    if (job->expires_us > token.expires_us)
        return error_set(error, TW_PERMISSION_DENIED,
            "lifetime_ms: a token that is made with one that expires is not good for longer than that; log in anew");
    if (!job->expires_us)
        job->expires_us = token.expires_us;
    return 0;
}

static int check_own_token(struct account_job *job, struct tw_error *error)
{
    if (job->role == ROLE_MAX)
        job->role = job->who.role;
    if (job->role > job->who.role)
        return error_set(error, TW_PERMISSION_DENIED, "you are %s here, and a token can do no more than who makes it",
            role_to_string(job->who.role));
    return job->who.role == ROLE_ADMIN ? 0 : check_lifetime(job, error);
}

static int check_others_token(struct account_job *job, struct tw_error *error)
{
    struct accounts_user user = {0};
    if (job->who.role != ROLE_ADMIN)
        return error_set(error, TW_PERMISSION_DENIED, "you are %s here: a token for another user takes the role admin",
            role_to_string(job->who.role));
    if (accounts_find_user(job->service->options.accounts, job->user, &user, error) < 0)
        return -1;
    if (job->role == ROLE_MAX)
        job->role = user.role;
    return 0;
}

static int check_add(struct account_job *job, struct tw_error *error)
{
    const Taskworker__AddTokenRequest *r = job->request;
    bool own = !*r->user || !strcmp(r->user, job->who.user);
    job->user = own ? job->who.user : r->user;
    if (token_name_check(r->token_name, error) < 0 || role_from_message(r->role, ROLE_MAX, &job->role, error) < 0 ||
        expiry_from_lifetime(r->lifetime_ms, clock_wall_us(), &job->expires_us, error) < 0 ||
        (own ? check_own_token(job, error) : check_others_token(job, error)) < 0)
        return -1;
    snprintf(job->token_name, sizeof job->token_name, "%s", r->token_name);
    describe(job);
    return 0;
}

static const struct account_act add_act = {
    .descriptor = &taskworker__add_token_request__descriptor,
    .action = "token.add",
    .check = check_add,
    .apply = make_token,
};

void account_add_token(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    account_job_begin(call, ctx, &add_act, msg, len);
}

/* --- RevokeToken --- */

/* What a token may do at most today. */
static enum role role_of(const struct account_service *service, const struct accounts_token *token)
{
    struct accounts_user user = {0};
    if (accounts_find_user(service->options.accounts, token->user, &user, NULL) < 0)
        return token->role;
    return MIN(user.role, token->role);
}

static int check_revoke(struct account_job *job, struct tw_error *error)
{
    const Taskworker__RevokeTokenRequest *r = job->request;
    struct accounts_token token = {0};
    bool admin = job->who.role == ROLE_ADMIN;
    if (!*r->token_id)
        return error_set(error, TW_INVALID_ARGUMENT, "token_id is missing");
    if (accounts_find_token(job->service->options.accounts, r->token_id, &token, error) < 0)
        return -1;
    if (!admin && strcmp(token.user, job->who.user) != 0)
        return error_set(error, TW_NOT_FOUND, "there is no token '%s'", token.id); /* as where there is none */
    if (!admin && role_of(job->service, &token) > job->who.role)
        return error_set(error, TW_PERMISSION_DENIED,
            "you are %s here, and that token can do more: revoke it by one that can as much",
            role_to_string(job->who.role));
    job->user = job->who.user;
    job->object = r->token_id;
    snprintf(job->detail, sizeof job->detail, "\"%s\" of %s", token.name, token.user);
    return 0;
}

static int apply_revoke(struct account_job *job, struct tw_error *error)
{
    Taskworker__RevokeTokenResponse response = TASKWORKER__REVOKE_TOKEN_RESPONSE__INIT;
    const char *user = job->who.role == ROLE_ADMIN ? NULL : job->who.user;
    if (accounts_revoke_token(job->service->options.accounts, job->object, user, error) < 0)
        return -1;
    rpc_call_reply(job->call, &response.base);
    return 0;
}

static const struct account_act revoke_act = {
    .descriptor = &taskworker__revoke_token_request__descriptor,
    .action = "token.revoke",
    .invalidates = true,
    .check = check_revoke,
    .apply = apply_revoke,
};

void account_revoke_token(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    account_job_begin(call, ctx, &revoke_act, msg, len);
}

/* --- ListTokens --- */

struct token_list {
    Taskworker__Token tokens[ACCOUNTS_USER_TOKENS_MAX];
    Taskworker__Token *list[ACCOUNTS_USER_TOKENS_MAX];
    size_t n;
};

static bool take_token(void *ctx, const struct accounts_token *token)
{
    struct token_list *list = ctx;
    if (list->n == ARRAY_LEN(list->list))
        return false;
    token_to_message(token, &list->tokens[list->n]);
    list->list[list->n] = &list->tokens[list->n];
    list->n++;
    return true;
}

static int list_tokens(const struct account_service *service, struct rpc_call *call,
    const Taskworker__ListTokensRequest *r, struct tw_error *error)
{
    Taskworker__ListTokensResponse response = TASKWORKER__LIST_TOKENS_RESPONSE__INIT;
    const struct who *who = rpc_call_who(call);
    const char *user = *r->user ? r->user : who->user;
    if (strcmp(user, who->user) != 0 && who->role != ROLE_ADMIN)
        return error_set(error, TW_PERMISSION_DENIED, "you are %s here: another user's tokens take the role admin",
            role_to_string(who->role));
    CLEANUP_FREE struct token_list *list = calloc(1, sizeof *list);
    if (!list)
        return error_oom(error);
    if (accounts_list_tokens(service->options.accounts, user, take_token, list, error) < 0)
        return -1;
    response.tokens = list->list;
    response.n_tokens = list->n;
    rpc_call_reply(call, &response.base);
    return 0;
}

void account_list_tokens(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    struct tw_error error = {0};
    void *request = account_unpack(call, ctx, &taskworker__list_tokens_request__descriptor, msg, len);
    if (request && list_tokens(ctx, call, request, &error) < 0)
        rpc_call_finish_error(call, &error);
    account_free_request(request);
}
