/* SPDX-License-Identifier: Apache-2.0 */
/* What the verbs about users, tokens and the audit log share. */
#ifndef CLI_ACCOUNTS_H
#define CLI_ACCOUNTS_H

#include <jansson.h>

#include "cli/cli.h"
#include "taskworker.pb-c.h"

#define ACCOUNTS_METHOD(name) "/taskworker.AccountService/" name

/* "submitter"; "?" for one that this program does not know. */
const char *role_name(Taskworker__User__Role role);
/* NULL: unspecified. 0, or EXIT_USAGE after a message. */
int role_parse(struct cli *cli, const char *text, Taskworker__User__Role *ret);
/* A span, "never", or NULL, which is `otherwise`. 0, or EXIT_USAGE after a message. */
int lifetime_parse(struct cli *cli, const char *text, const char *otherwise, int64_t *ret_ms);

json_t *json_user(const Taskworker__User *user);
json_t *json_token(const Taskworker__Token *token);
/* "2030-01-31T18:30:00Z", or `none` for 0. */
const char *format_moment(int64_t us, const char *none, char out[40]);
/* Whether it is let in, as far as can be told from here: "ok", "revoked", "expired". */
const char *token_state(const Taskworker__Token *token);

/*
 * A password, from `file` ("-": standard input) or, where that is NULL, asked for with `prompt` (`fresh`: twice). The node is known by
 * then, and it is looked at whether a password may go there. 0, or the exit code after a message.
 */
int accounts_password(struct cli *cli, const char *file, const char *prompt, bool fresh, char **ret);

#endif
