/* SPDX-License-Identifier: Apache-2.0 */
/* A request of AccountService on its way to the accounts: the first byte says of which method, the others are its message. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/util.h"
#include "rpc/account_convert.h"
#include "rpc/wire_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void must(bool truth)
{
    if (!truth)
        abort();
}

static void must_refuse(const struct tw_error *error)
{
    must(error->code == TW_INVALID_ARGUMENT && text_is_utf8(error->message, strlen(error->message)));
}

static void check_role(Taskworker__User__Role wire)
{
    struct tw_error error = {.message = ""};
    enum role role;
    if (role_from_message(wire, ROLE_MAX, &role, &error) < 0)
        must_refuse(&error);
    else
        must((unsigned)role <= ROLE_MAX && role_to_message(role) == wire);
}

static void check_token(const char *name, Taskworker__User__Role role, int64_t lifetime_ms)
{
    struct tw_error error = {.message = ""};
    uint64_t us;
    check_role(role);
    if (expiry_from_lifetime(lifetime_ms, 1, &us, &error) < 0)
        must_refuse(&error);
    else
        must(lifetime_ms ? us > 1 : us == 0);
    if (token_name_check(name, &error) < 0)
        must_refuse(&error);
    else
        must(*name && strlen(name) <= ACCOUNTS_TOKEN_NAME_MAX && !text_has_control(name, strlen(name)));
}

static void check_query(const Taskworker__QueryAuditRequest *request)
{
    struct tw_error error = {.message = ""};
    struct audit_filter f;
    if (audit_filter_from_request(request, &f, &error) < 0) {
        must_refuse(&error);
        return;
    }
    must((unsigned)f.outcome < AUDIT_OUTCOME_MAX && f.action_prefix && strlen(f.action_prefix) <= AUDIT_ACTION_MAX);
    must((!f.user || strlen(f.user) <= AUDIT_USER_MAX) && (!f.object || strlen(f.object) <= AUDIT_OBJECT_MAX));
    must(f.since_us <= INT64_MAX && f.until_us <= INT64_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const ProtobufCMessageDescriptor *const kinds[] = {&taskworker__login_request__descriptor,
        &taskworker__add_token_request__descriptor, &taskworker__add_user_request__descriptor,
        &taskworker__set_user_request__descriptor, &taskworker__query_audit_request__descriptor};
    struct tw_error error = {.message = ""};
    if (len == 0)
        return 0;
    size_t kind = data[0] % ARRAY_LEN(kinds);
    if (wire_check(kinds[kind], data + 1, len - 1, &error) < 0) {
        must_refuse(&error);
        return 0;
    }
    ProtobufCMessage *request = protobuf_c_message_unpack(kinds[kind], NULL, len - 1, data + 1);
    if (!request)
        return 0;
    if (kind == 0)
        check_token(((Taskworker__LoginRequest *)request)->token_name, ((Taskworker__LoginRequest *)request)->role,
            ((Taskworker__LoginRequest *)request)->lifetime_ms);
    else if (kind == 1)
        check_token(((Taskworker__AddTokenRequest *)request)->token_name,
            ((Taskworker__AddTokenRequest *)request)->role, ((Taskworker__AddTokenRequest *)request)->lifetime_ms);
    else if (kind == 2)
        check_role(((Taskworker__AddUserRequest *)request)->role);
    else if (kind == 3)
        check_role(((Taskworker__SetUserRequest *)request)->role);
    else
        check_query((Taskworker__QueryAuditRequest *)request);
    protobuf_c_message_free_unpacked(request, NULL);
    return 0;
}
