/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/account_convert.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "base/util.h"

#define LIFETIME_MAX_MS INT64_C(315576000000) /* ten years */

/* --- roles, users, tokens --- */

_Static_assert((int)TASKWORKER__USER__ROLE__VIEWER == ROLE_VIEWER + 1 &&
        (int)TASKWORKER__USER__ROLE__ADMIN == ROLE_ADMIN + 1 && ROLE_MAX == ROLE_ADMIN + 1,
    "the same roles in the same order, but for the unspecified one");

Taskworker__User__Role role_to_message(enum role role)
{
    return (unsigned)role < ROLE_MAX ? (Taskworker__User__Role)(role + 1) : TASKWORKER__USER__ROLE__ROLE_UNSPECIFIED;
}

int role_from_message(Taskworker__User__Role role, enum role otherwise, enum role *ret, struct tw_error *error)
{
    unsigned number = (unsigned)role;
    if (number > ROLE_MAX)
        return error_set(error, TW_INVALID_ARGUMENT, "role is %u, and there is no such role", number);
    *ret = number == 0 ? otherwise : (enum role)(number - 1);
    return 0;
}

void user_to_message(const struct accounts_user *user, Taskworker__User *ret)
{
    taskworker__user__init(ret);
    ret->name = (char *)user->name;
    ret->role = role_to_message(user->role);
    ret->disabled = user->disabled;
    ret->has_password = user->has_password;
    ret->created_us = (int64_t)user->created_us;
    ret->changed_us = (int64_t)user->changed_us;
    ret->tokens = (uint32_t)user->tokens;
}

void token_to_message(const struct accounts_token *token, Taskworker__Token *ret)
{
    taskworker__token__init(ret);
    ret->token_id = (char *)token->id;
    ret->name = (char *)token->name;
    ret->user = (char *)token->user;
    ret->role = role_to_message(token->role);
    ret->created_us = (int64_t)token->created_us;
    ret->expires_us = (int64_t)token->expires_us;
    ret->used_us = (int64_t)token->used_us;
    ret->revoked_us = (int64_t)token->revoked_us;
}

int expiry_from_lifetime(int64_t lifetime_ms, uint64_t now_us, uint64_t *ret_us, struct tw_error *error)
{
    if (lifetime_ms < 0)
        return error_set(error, TW_INVALID_ARGUMENT, "lifetime_ms is negative");
    if (lifetime_ms > LIFETIME_MAX_MS)
        return error_set(error, TW_INVALID_ARGUMENT,
            "lifetime_ms is %" PRId64 ": ten years are the most, or 0 for ever", lifetime_ms);
    *ret_us = lifetime_ms ? now_us + (uint64_t)lifetime_ms * 1000 : 0;
    return 0;
}

int token_name_check(const char *name, struct tw_error *error)
{
    size_t len = strlen(name);
    if (len == 0)
        return error_set(error, TW_INVALID_ARGUMENT, "token_name is missing");
    if (len > ACCOUNTS_TOKEN_NAME_MAX)
        return error_set(error, TW_INVALID_ARGUMENT, "token_name has %zu bytes, and %d are the most", len,
            (int)ACCOUNTS_TOKEN_NAME_MAX);
    return text_has_control(name, len)
        ? error_set(error, TW_INVALID_ARGUMENT, "token_name has a control character in it")
        : 0;
}

/* --- the audit log --- */

static int check_text(const char *text, size_t max, const char *field, struct tw_error *error)
{
    return strlen(text) <= max
        ? 0
        : error_set(error, TW_INVALID_ARGUMENT, "%s has more than %zu bytes, and no record has", field, max);
}

int audit_filter_from_request(
    const Taskworker__QueryAuditRequest *request, struct audit_filter *ret, struct tw_error *error)
{
    const Taskworker__QueryAuditRequest *r = request;
    if (r->since_us < 0 || r->until_us < 0)
        return error_set(error, TW_INVALID_ARGUMENT, "%s is negative", r->since_us < 0 ? "since_us" : "until_us");
    if (check_text(r->user, AUDIT_USER_MAX, "user", error) < 0 ||
        check_text(r->action, AUDIT_ACTION_MAX, "action", error) < 0 ||
        check_text(r->object, AUDIT_OBJECT_MAX, "object", error) < 0)
        return -1;
    if ((unsigned)r->outcome > AUDIT_OUTCOME_MAX)
        return error_set(
            error, TW_INVALID_ARGUMENT, "outcome is %u, and there is no such outcome", (unsigned)r->outcome);
    *ret = (struct audit_filter){
        .since_us = (uint64_t)r->since_us,
        .until_us = (uint64_t)r->until_us,
        .after_seq = r->after_seq,
        .before_seq = r->before_seq,
        .user = *r->user ? r->user : NULL,
        .action_prefix = r->action,
        .object = *r->object ? r->object : NULL,
        .by_outcome = r->outcome != TASKWORKER__AUDIT_RECORD__OUTCOME__OUTCOME_UNSPECIFIED,
        .outcome = r->outcome ? (enum audit_outcome)(r->outcome - 1) : AUDIT_OK,
        .limit = r->limit,
        .oldest_first = r->oldest_first,
    };
    return 0;
}

_Static_assert((int)TASKWORKER__AUDIT_RECORD__OUTCOME__OK == AUDIT_OK + 1 &&
        (int)TASKWORKER__AUDIT_RECORD__OUTCOME__DENIED == AUDIT_DENIED + 1 &&
        (int)TASKWORKER__AUDIT_RECORD__OUTCOME__ERROR == AUDIT_ERROR + 1 && AUDIT_OUTCOME_MAX == AUDIT_ERROR + 1,
    "the same outcomes in the same order, but for the unspecified one");

Taskworker__QueryAuditResponse *audit_to_message(const struct audit_entry *entry, struct audit_message *ret)
{
    Taskworker__AuditRecord *r = &ret->record;
    taskworker__query_audit_response__init(&ret->response);
    taskworker__audit_record__init(r);
    ret->response.record = r;
    text_hex(entry->hash, sizeof entry->hash, ret->hash);
    r->seq = entry->seq;
    r->time_us = (int64_t)entry->wall_us;
    r->user = (char *)entry->user;
    r->token_id = (char *)entry->token;
    r->from = (char *)entry->from;
    r->action = (char *)entry->action;
    r->object = (char *)entry->object;
    r->detail = (char *)entry->detail;
    r->outcome = (Taskworker__AuditRecord__Outcome)(entry->outcome + 1);
    r->hash = ret->hash;
    return &ret->response;
}

/* --- addresses --- */

void login_address(const struct sockaddr *peer, char ret[LOGINS_ADDRESS_BYTES + 1])
{
    char text[INET6_ADDRSTRLEN] = "";
    *ret = '\0';
    if (peer->sa_family == AF_INET) {
        (void)inet_ntop(AF_INET, &((const struct sockaddr_in *)peer)->sin_addr, text, sizeof text);
        snprintf(ret, LOGINS_ADDRESS_BYTES + 1, "%s", text);
    } else if (peer->sa_family == AF_INET6) {
        struct in6_addr address = ((const struct sockaddr_in6 *)peer)->sin6_addr;
        bool mapped = IN6_IS_ADDR_V4MAPPED(&address);
        if (mapped)
            (void)inet_ntop(AF_INET, address.s6_addr + 12, text, sizeof text);
        memset(address.s6_addr + 8, 0, 8);
        if (!mapped)
            (void)inet_ntop(AF_INET6, &address, text, sizeof text);
        snprintf(ret, LOGINS_ADDRESS_BYTES + 1, "%s%s", text, mapped ? "" : "/64");
    }
}
