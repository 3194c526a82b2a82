/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/accounts.h"

#include <string.h>

#include "base/clock.h"
#include "base/parse.h"
#include "base/suggest.h"
#include "cli/output.h"
#include "cli/secret.h"

static const char *const role_names[] = {"?", "viewer", "submitter", "operator", "admin"};

const char *role_name(Taskworker__User__Role role)
{
    return (unsigned)role < ARRAY_LEN(role_names) ? role_names[role] : role_names[0];
}

int role_parse(struct cli *cli, const char *text, Taskworker__User__Role *ret)
{
    *ret = TASKWORKER__USER__ROLE__ROLE_UNSPECIFIED;
    if (!text)
        return 0;
    for (size_t i = 1; i < ARRAY_LEN(role_names); i++) {
        if (!strcasecmp(text, role_names[i])) {
            *ret = (Taskworker__User__Role)i;
            return 0;
        }
    }
    const char *near = suggest_nearest(text, role_names + 1, ARRAY_LEN(role_names) - 1);
    cli_error(cli, TW_INVALID_ARGUMENT, "there is no role \"%.60s\"%s%s%s: viewer, submitter, operator, admin", text,
        near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
    return EXIT_USAGE;
}

int lifetime_parse(struct cli *cli, const char *text, const char *otherwise, int64_t *ret_ms)
{
    uint64_t us = 0;
    if (!text)
        text = otherwise;
    *ret_ms = 0;
    if (!strcmp(text, "never"))
        return 0;
    if (parse_duration(text, &us) == 0 && us >= 1000) {
        *ret_ms = (int64_t)(us / 1000);
        return 0;
    }
    cli_error(cli, TW_INVALID_ARGUMENT, "--expires is \"%.60s\", but has to be a span like 30d or 12h, or never", text);
    return EXIT_USAGE;
}

json_t *json_user(const Taskworker__User *u)
{
    return json_pack("{s:o, s:s, s:b, s:b, s:I, s:I, s:I}", "name", json_text(u->name), "role", role_name(u->role),
        "disabled", u->disabled, "has_password", u->has_password, "tokens", (json_int_t)u->tokens, "created_us",
        (json_int_t)u->created_us, "changed_us", (json_int_t)u->changed_us);
}

json_t *json_token(const Taskworker__Token *t)
{
    return json_pack("{s:o, s:o, s:o, s:s, s:I, s:I, s:I, s:I}", "token_id", json_text(t->token_id), "name",
        json_text(t->name), "user", json_text(t->user), "role", role_name(t->role), "created_us",
        (json_int_t)t->created_us, "expires_us", (json_int_t)t->expires_us, "used_us", (json_int_t)t->used_us,
        "revoked_us", (json_int_t)t->revoked_us);
}

const char *format_moment(int64_t us, const char *none, char out[40])
{
    char text[CLOCK_TEXT_MAX];
    if (us <= 0)
        return none;
    clock_format((uint64_t)us, text);
    snprintf(out, 40, "%.19sZ", text); /* without fractions */
    return out;
}

const char *token_state(const Taskworker__Token *t)
{
    if (t->revoked_us)
        return "revoked";
    return t->expires_us && (uint64_t)t->expires_us <= clock_wall_us() ? "expired" : "ok";
}

int accounts_password(struct cli *cli, const char *file, const char *prompt, bool fresh, char **ret)
{
    struct tw_error error = {0};
    if (!cli_connect(cli))
        return cli->connect_code;
    int r = cli_check_secret(cli, "password", &error);
    if (r == 0 && file)
        r = secret_read(file, ret, &error);
    else if (r == 0)
        r = fresh ? secret_ask_new(prompt, ret, &error) : secret_ask(prompt, false, ret, &error);
    if (r == 0)
        return 0;
    cli_error(cli, error.code, "%s%s", error.message,
        !file && strstr(error.message, "no terminal") ? " for the password: give it by --password-file=FILE" : "");
    return EXIT_USAGE;
}
