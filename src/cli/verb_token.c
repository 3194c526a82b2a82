/* SPDX-License-Identifier: Apache-2.0 */
/* hivemind token: each verb below it is one of the functions here. */
#include <string.h>

#include "cli/accounts.h"
#include "cli/below.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/table.h"

/* --- add --- */

/* The token by itself on standard output, for a pipe or a file; what there is to say of it elsewhere. */
static int print_new(struct cli *cli, Taskworker__NewToken *r)
{
    char when[40];
    const Taskworker__Token *t = r->token;
    if (cli->json) {
        json_t *object = json_token(t);
        (void)json_object_set_new(object, "token", json_text(r->secret));
        output_json(stdout, object);
    } else {
        puts(r->secret);
        cli_note(cli, "the token %s (%s) of %s, %s, %s%s; it is shown only now", t->name, t->token_id, t->user,
            role_name(t->role), t->expires_us ? "good until " : "good until it is revoked",
            format_moment(t->expires_us, "", when));
    }
    explicit_bzero(r->secret, strlen(r->secret));
    return 0;
}

static int add(struct cli *cli, Taskworker__AddTokenRequest *request, const char *role, const char *expires)
{
    CLEANUP_MESSAGE Taskworker__NewToken *r = NULL;
    int code = role_parse(cli, role, &request->role);
    if (!code)
        code = lifetime_parse(cli, expires, "never", &request->lifetime_ms);
    if (!code)
        code = cli_call(cli, ACCOUNTS_METHOD("AddToken"), &request->base, &taskworker__new_token__descriptor, 0, &r);
    if (code)
        return code;
    return r->token && *r->secret ? print_new(cli, r) : cli_bad_reply(cli, "AddToken");
}

static int token_add(struct cli *cli, int argc, char **argv)
{
    Taskworker__AddTokenRequest request = TASKWORKER__ADD_TOKEN_REQUEST__INIT;
    const char *user = "", *role = NULL, *expires = NULL;
    const struct option options[] = {
        {.name = "user",
            .letter = 'u',
            .kind = OPTION_TEXT,
            .target = &user,
            .metavar = "NAME",
            .help = "for whom, as an administrator [yourself]"},
        {.name = "role",
            .kind = OPTION_TEXT,
            .target = &role,
            .metavar = "ROLE",
            .help = "limit it to viewer, submitter, operator [the user's own]"},
        {.name = "expires",
            .kind = OPTION_TEXT,
            .target = &expires,
            .metavar = "TIME",
            .help = "how long it is good: 30d, 12h, never [never, or as long as yours]"},
    };
    const struct syntax syntax = {
        .verb = "token add",
        .usage = "[OPTION]... NAME",
        .text =
            "Makes a token, which is printed by itself and never again. NAME is how it is called in lists. It can do\n"
            "at most what the token can do that it is made with.",
        .example = "  hivemind token add --role submitter --expires 90d ci > ci-token\n"
                   "  hivemind token add --user ann laptop",
        .options = options,
        .n_options = ARRAY_LEN(options),
        .missing = "NAME",
        .min_words = 1,
        .max_words = 1,
    };
    struct arguments args;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code)) {
        request.user = (char *)user;
        request.token_name = (char *)args.words.items[0];
        code = output_finish(cli, add(cli, &request, role, expires));
    }
    arguments_done(&args);
    return code;
}

/* --- list --- */

static void add_row(struct table *table, const Taskworker__Token *t)
{
    char created[40], expires[40], used[40];
    const char *const cells[] = {t->token_id, t->name, role_name(t->role), token_state(t),
        format_moment(t->created_us, "-", created), format_moment(t->expires_us, "never", expires),
        format_moment(t->used_us, "never", used)};
    table_add(table, cells, "");
}

static int list(struct cli *cli, const char *user, bool all)
{
    static const char *const titles[] = {"ID", "NAME", "ROLE", "STATE", "MADE", "EXPIRES", "USED"};
    Taskworker__ListTokensRequest request = TASKWORKER__LIST_TOKENS_REQUEST__INIT;
    CLEANUP_MESSAGE Taskworker__ListTokensResponse *r = NULL;
    struct table table;
    size_t shown = 0;
    request.user = (char *)user;
    int code = cli_call(
        cli, ACCOUNTS_METHOD("ListTokens"), &request.base, &taskworker__list_tokens_response__descriptor, 0, &r);
    if (code)
        return code;
    table_init(&table, ARRAY_LEN(titles));
    table_add(&table, titles, "");
    for (size_t i = 0; i < r->n_tokens; i++) {
        if (!all && strcmp(token_state(r->tokens[i]), "ok") != 0)
            continue;
        shown++;
        if (cli->json)
            output_json(stdout, json_token(r->tokens[i]));
        else
            add_row(&table, r->tokens[i]);
    }
    if (!cli->json && shown)
        (void)table_print(&table, stdout, 3, color_off(cli));
    else if (!shown)
        cli_note(cli, "there is no token%s", all || !r->n_tokens ? "" : " that is good; -a shows the others too");
    table_done(&table);
    return 0;
}

static int token_list(struct cli *cli, int argc, char **argv)
{
    const char *user = "";
    bool all = false;
    const struct option options[] = {
        {.name = "user",
            .letter = 'u',
            .kind = OPTION_TEXT,
            .target = &user,
            .metavar = "NAME",
            .help = "whose, as an administrator [your own]"},
        {.name = "all",
            .letter = 'a',
            .kind = OPTION_FLAG,
            .target = &all,
            .help = "also those that are revoked or have expired"},
    };
    const struct syntax syntax = {
        .verb = "token list",
        .usage = "[OPTION]...",
        .text = "Lists tokens: what they are called, what they are limited to, and when they were last used.",
        .example = "  hivemind token list\n  hivemind token list --user ann -a",
        .options = options,
        .n_options = ARRAY_LEN(options),
    };
    struct arguments args;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code))
        code = output_finish(cli, list(cli, user, all));
    arguments_done(&args);
    return code;
}

/* --- revoke --- */

static int token_revoke(struct cli *cli, int argc, char **argv)
{
    const struct syntax syntax = {
        .verb = "token revoke",
        .usage = "ID...",
        .text = "Has the node refuse these tokens from now on; calls that were made with them end. ID is what\n"
                "\"hivemind token list\" shows.",
        .example = "  hivemind token revoke 0123456789abcdef",
        .missing = "ID",
        .min_words = 1,
        .max_words = SIZE_MAX,
    };
    struct arguments args;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code)) {
        for (size_t i = 0; i < args.words.n; i++) {
            Taskworker__RevokeTokenRequest request = TASKWORKER__REVOKE_TOKEN_REQUEST__INIT;
            CLEANUP_MESSAGE Taskworker__RevokeTokenResponse *r = NULL;
            request.token_id = (char *)args.words.items[i];
            int one = cli_call(cli, ACCOUNTS_METHOD("RevokeToken"), &request.base,
                &taskworker__revoke_token_response__descriptor, 0, &r);
            if (!one && cli->json)
                output_json(stdout, json_pack("{s:o, s:b}", "token_id", json_text(args.words.items[i]), "revoked", 1));
            code = code ? code : one;
        }
        code = output_finish(cli, code);
    }
    arguments_done(&args);
    return code;
}

int verb_token(struct cli *cli, int argc, char **argv)
{
    static const struct below below[] = {
        {"add", "make one, and print it", token_add},
        {"list", "which there are", token_list},
        {"revoke", "have the node refuse them", token_revoke},
    };
    return below_run(cli, "token", "Tokens: what says who you are to a node.", below, ARRAY_LEN(below), argc, argv);
}
