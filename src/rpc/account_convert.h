/* SPDX-License-Identifier: Apache-2.0 */
/* Between the messages of AccountService and the types of src/access. Strings are borrowed from what they are made of. */
#ifndef RPC_ACCOUNT_CONVERT_H
#define RPC_ACCOUNT_CONVERT_H

#include <sys/socket.h>

#include "access/accounts.h"
#include "access/audit.h"
#include "access/logins.h"
#include "taskworker.pb-c.h"

Taskworker__User__Role role_to_message(enum role role);
/* Unspecified is `otherwise`. INVALID_ARGUMENT: there is no such role. */
int role_from_message(Taskworker__User__Role role, enum role otherwise, enum role *ret, struct tw_error *error);

void user_to_message(const struct accounts_user *user, Taskworker__User *ret);
void token_to_message(const struct accounts_token *token, Taskworker__Token *ret);

/* A lifetime, as a request has it, as the time when it is over; 0: never. INVALID_ARGUMENT: negative, or too long. */
int expiry_from_lifetime(int64_t lifetime_ms, uint64_t now_us, uint64_t *ret_us, struct tw_error *error);
/* 1 to 64 bytes. What else there is to know of a token's name the accounts know. */
int token_name_check(const char *name, struct tw_error *error);

/* The strings are the request's; without `look`. INVALID_ARGUMENT names the field. */
int audit_filter_from_request(
    const Taskworker__QueryAuditRequest *request, struct audit_filter *ret, struct tw_error *error);

struct audit_message {
    Taskworker__QueryAuditResponse response;
    Taskworker__AuditRecord record;
    char hash[2 * AUDIT_HASH_BYTES + 1];
};
Taskworker__QueryAuditResponse *audit_to_message(const struct audit_entry *entry, struct audit_message *ret);

/* What logins count wrong passwords by: the address without its port, of an IPv6 address its network; "" without one. */
void login_address(const struct sockaddr *peer, char ret[LOGINS_ADDRESS_BYTES + 1]);

#endif
