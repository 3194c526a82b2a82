/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session is a token of the user's, which the browser keeps in a cookie that scripts do not see: so it is hashed at rest, has an end, survives
 * a restart, and is listed and revoked like any other token. A new one is made at each login; one that came with the request is never taken over.
 */
#include "web/handlers.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "web/internal.h"

#include "taskworker.pb-c.h"

#define ACCOUNT(name) "/taskworker.AccountService/" name

static const char *role_name(Taskworker__User__Role role)
{
    static const char *const names[] = {"none", "viewer", "submitter", "operator", "admin"};
    return (size_t)role < ARRAY_LEN(names) ? names[role] : "none";
}

/* --- login --- */

static void on_login(struct web_request *r, const ProtobufCMessage *message)
{
    const Taskworker__NewToken *made = (const void *)message;
    const Taskworker__Token *token = made->token;
    if (!token) {
        web_problem(r, MHD_HTTP_INTERNAL_SERVER_ERROR, "the service has not told about the token", 0);
        return;
    }
    web_set_cookie(r, made->secret, (uint64_t)r->web->options.session_hours * 3600);
    web_reply(r, MHD_HTTP_OK,
        json_pack("{s:b, s:s, s:s, s:I}", "success", 1, "user", token->user, "role", role_name(token->role),
            "expires_us", (json_int_t)token->expires_us));
}

void handle_login(struct web *web, struct web_request *r)
{
    const json_t *body = web_request_json(r);
    const char *user = NULL, *password = NULL;
    char name[65];
    json_error_t error;
    if (!body)
        return;
    if (json_unpack_ex(
            (json_t *)(uintptr_t)body, &error, JSON_STRICT, "{s:s, s:s}", "user", &user, "password", &password) < 0) {
        web_problem(r, MHD_HTTP_BAD_REQUEST, "a login is {\"user\": NAME, \"password\": PASSWORD}", 0);
        return;
    }
    snprintf(name, sizeof name, "session %016llx", (unsigned long long)clock_wall_us());
    Taskworker__LoginRequest request = TASKWORKER__LOGIN_REQUEST__INIT;
    request.user = (char *)(uintptr_t)user;
    request.password = (char *)(uintptr_t)password;
    request.token_name = name;
    request.lifetime_ms = (int64_t)web->options.session_hours * 3600 * 1000;
    web_call(web, r,
        &(struct web_call){
            .method = ACCOUNT("Login"),
            .request = &request.base,
            .answer = &taskworker__new_token__descriptor,
            .done = on_login,
            .as_nobody = true,
        });
}

/* --- who is it? --- */

static void ask_who(
    struct web *web, struct web_request *r, void (*done)(struct web_request *, const ProtobufCMessage *))
{
    Taskworker__WhoAmIRequest request = TASKWORKER__WHO_AM_IREQUEST__INIT;
    web_call(web, r,
        &(struct web_call){
            .method = ACCOUNT("WhoAmI"),
            .request = &request.base,
            .answer = &taskworker__who_am_iresponse__descriptor,
            .done = done,
        });
}

static void on_session(struct web_request *r, const ProtobufCMessage *message)
{
    const Taskworker__WhoAmIResponse *who = (const void *)message;
    web_reply(r, MHD_HTTP_OK,
        json_pack("{s:b, s:s, s:s, s:I}", "login", 1, "user", who->user ? who->user->name : "", "role",
            role_name(who->role), "expires_us", (json_int_t)(who->token ? who->token->expires_us : 0)));
}

void handle_session(struct web *web, struct web_request *r)
{
    if (web->options.open)
        web_reply(r, MHD_HTTP_OK,
            json_pack("{s:b, s:s, s:s, s:i}", "login", 0, "user", "", "role", "admin", "expires_us", 0));
    else
        ask_who(web, r, on_session);
}

/* --- what the service knows nothing of --- */

static void on_role(struct web_request *r, const ProtobufCMessage *message)
{
    const Taskworker__WhoAmIResponse *who = (const void *)message;
    if (who->role >= r->role)
        r->then(r->web, r);
    else
        web_problem(r, MHD_HTTP_FORBIDDEN, "your role does not allow that: ask an administrator", 0);
}

void web_require(struct web *web, struct web_request *r, Taskworker__User__Role role,
    void (*then)(struct web *web, struct web_request *request))
{
    r->role = role;
    r->then = then;
    if (web->options.open)
        then(web, r);
    else
        ask_who(web, r, on_role);
}

/* --- logout --- */

static void reply_out(struct web_request *r)
{
    web_set_cookie(r, "", 0);
    web_reply(r, MHD_HTTP_OK, json_pack("{s:b}", "success", 1));
}

static void on_revoked(struct web_request *r, const ProtobufCMessage *message UNUSED)
{
    reply_out(r);
}

static void on_whose_end(struct web_request *r, const ProtobufCMessage *message)
{
    const Taskworker__WhoAmIResponse *who = (const void *)message;
    Taskworker__RevokeTokenRequest request = TASKWORKER__REVOKE_TOKEN_REQUEST__INIT;
    if (!who->token) {
        reply_out(r);
        return;
    }
    request.token_id = who->token->token_id;
    web_call(r->web, r,
        &(struct web_call){
            .method = ACCOUNT("RevokeToken"),
            .request = &request.base,
            .answer = &taskworker__revoke_token_response__descriptor,
            .done = on_revoked,
        });
}

/* Of a session alone: a token that a program was given is not ended by a page. */
void handle_logout(struct web *web, struct web_request *r)
{
    if (web->options.open || !r->by_cookie)
        reply_out(r);
    else
        ask_who(web, r, on_whose_end);
}
