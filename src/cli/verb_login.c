/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/accounts.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/secret.h"

struct login {
    const char *user, *password_file, *name, *role, *expires;
    bool token;
};

/* A secret that is kept nowhere is of no use, and whoever has lost one should know how to get rid of it. */
static int keep(
    struct cli *cli, const char *secret, const Taskworker__Token *token, const char *user, Taskworker__User__Role role)
{
    struct tw_error error = {0};
    char when[40];
    CLEANUP_FREE char *path = credentials_path();
    int r = path ? credentials_keep(path, cli->server, secret, &error)
                 : error_set(&error, TW_FAILED_PRECONDITION, "there is no home folder to keep the token in");
    if (r < 0) {
        cli_error(cli, error.code, "%s; the token is good all the same: hivemind token revoke %s", error.message,
            token ? token->token_id : "");
        return EXIT_TROUBLE;
    }
    if (cli->json)
        output_json(stdout,
            json_pack("{s:o, s:o, s:s, s:o, s:o}", "server", json_text(cli->server), "user", json_text(user), "role",
                role_name(role), "file", json_text(path), "token", token ? json_token(token) : json_null()));
    else
        cli_note(cli, "%s knows you as %s (%s)%s%s; the token is kept in %s", cli->server, user, role_name(role),
            token && token->expires_us ? ", until " : "", token ? format_moment(token->expires_us, "", when) : "",
            path);
    if (getenv("HIVEMIND_TOKEN") || getenv("HIVEMIND_TOKEN_FILE"))
        cli_note(cli, "but $HIVEMIND_TOKEN, or $HIVEMIND_TOKEN_FILE, is set and goes first");
    return 0;
}

/* --- by a token that there is --- */

static int ask_token(struct cli *cli, char **ret)
{
    struct tw_error error = {0};
    int r = isatty(STDIN_FILENO) ? secret_ask("Token: ", false, ret, &error) : secret_read("-", ret, &error);
    if (r == 0)
        r = credentials_check_token(*ret, &error);
    if (r == 0)
        return 0;
    cli_error(cli, error.code, "%s", error.message);
    return EXIT_USAGE;
}

/* Asks the node what it is good for first. */
static int login_by_token(struct cli *cli)
{
    const Taskworker__WhoAmIRequest request = TASKWORKER__WHO_AM_IREQUEST__INIT;
    CLEANUP_MESSAGE Taskworker__WhoAmIResponse *r = NULL;
    CLEANUP_TOKEN_TEXT char *token = NULL;
    struct tw_error error = {0};
    int code = ask_token(cli, &token);
    if (code)
        return code;
    cli->token = token;
    struct rpc_client *client = cli_connect(cli);
    cli->token = NULL;
    if (!client)
        return cli->connect_code;
    if (rpc_client_unary(client, ACCOUNTS_METHOD("WhoAmI"), &request.base, &taskworker__who_am_iresponse__descriptor,
            cli->timeout_us ? cli->timeout_us : CLI_CALL_TIMEOUT_US, (ProtobufCMessage **)&r, &error) < 0) {
        if (error.code != TW_UNAUTHENTICATED || rpc_client_connections(client) == 0)
            return cli_report(cli, &error);
        cli_error(cli, error.code, "it is not kept: %s", error.message);
        return EXIT_TROUBLE;
    }
    if (!r->user)
        return cli_bad_reply(cli, "WhoAmI");
    return keep(cli, token, r->token, r->user->name, r->role);
}

/* --- by user and password --- */

static int ask_user(struct cli *cli, const struct login *l, char **ret)
{
    struct tw_error error = {0};
    int r = 0;
    if (l->user)
        *ret = strdup(l->user);
    else
        r = secret_ask("User: ", true, ret, &error);
    if (r == 0 && *ret)
        return 0;
    cli_error(cli, error.code, "%s%s", r < 0 ? error.message : "out of memory",
        r < 0 && error.code == TW_FAILED_PRECONDITION ? ": say who you are by --user=NAME" : "");
    return EXIT_USAGE;
}

static int call_login(struct cli *cli, const Taskworker__LoginRequest *request)
{
    CLEANUP_MESSAGE Taskworker__NewToken *r = NULL;
    struct tw_error error = {0};
    struct rpc_client *client = cli_connect(cli);
    if (!client)
        return cli->connect_code;
    if (rpc_client_unary(client, ACCOUNTS_METHOD("Login"), &request->base, &taskworker__new_token__descriptor,
            cli->timeout_us ? cli->timeout_us : CLI_CALL_TIMEOUT_US, (ProtobufCMessage **)&r, &error) < 0) {
        if (error.code != TW_UNAUTHENTICATED || rpc_client_connections(client) == 0)
            return cli_report(cli, &error);
        cli_error(cli, error.code, "%s", error.message); /* a token that was sent as well has nothing to do with it */
        return EXIT_TROUBLE;
    }
    if (!r->token || !*r->secret)
        return cli_bad_reply(cli, "Login");
    int code = keep(cli, r->secret, r->token, r->token->user, r->token->role);
    explicit_bzero(r->secret, strlen(r->secret));
    return code;
}

static int login_by_password(struct cli *cli, const struct login *l)
{
    Taskworker__LoginRequest request = TASKWORKER__LOGIN_REQUEST__INIT;
    CLEANUP_FREE char *user = NULL;
    CLEANUP_TOKEN_TEXT char *password = NULL;
    int code = role_parse(cli, l->role, &request.role);
    if (!code)
        code = lifetime_parse(cli, l->expires, "30d", &request.lifetime_ms);
    if (!code)
        code = ask_user(cli, l, &user);
    if (!code)
        code = accounts_password(cli, l->password_file, "Password: ", false, &password);
    if (code)
        return code;
    request.user = user;
    request.password = password;
    request.token_name = (char *)(l->name ? l->name : "");
    return call_login(cli, &request);
}

static int login(struct cli *cli, const struct login *l)
{
    if (l->token && (l->user || l->password_file || l->name || l->role || l->expires)) {
        cli_error(cli, TW_INVALID_ARGUMENT, "--token is for a token that there is: the other options go without it");
        return EXIT_USAGE;
    }
    return l->token ? login_by_token(cli) : login_by_password(cli, l);
}

int verb_login(struct cli *cli, int argc, char **argv)
{
    struct login l = {0};
    const struct option options[] = {
        {.name = "user",
            .letter = 'u',
            .kind = OPTION_TEXT,
            .target = &l.user,
            .metavar = "NAME",
            .help = "your name there [asked for]"},
        {.name = "password-file",
            .kind = OPTION_TEXT,
            .target = &l.password_file,
            .metavar = "FILE",
            .help = "your password; - is standard input [asked for]"},
        {.name = "token",
            .kind = OPTION_FLAG,
            .target = &l.token,
            .help = "keep a token that there is, from standard input or typed"},
        {.name = "name",
            .kind = OPTION_TEXT,
            .target = &l.name,
            .metavar = "TEXT",
            .help = "how the token is called in lists [the node's choice]"},
        {.name = "role",
            .kind = OPTION_TEXT,
            .target = &l.role,
            .metavar = "ROLE",
            .help = "limit the token to viewer, submitter, operator [yours]"},
        {.name = "expires",
            .kind = OPTION_TEXT,
            .target = &l.expires,
            .metavar = "TIME",
            .help = "how long the token is good: 30d, 12h, never [30d]"},
    };
    const struct syntax syntax = {
        .verb = "login",
        .usage = "[OPTION]...",
        .text =
            "Gets a token from the node for your name and password, and keeps it for this node in your file of\n"
            "credentials, which only you can read. From then on each verb sends it. The password goes nowhere else.",
        .example = "  hivemind login --user ann\n"
                   "  hivemind --server tls://node7.example:50053 login -u ann --password-file ~/secret\n"
                   "  hivemind login --token < first-token",
        .options = options,
        .n_options = ARRAY_LEN(options),
    };
    struct arguments args;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code))
        code = output_finish(cli, login(cli, &l));
    arguments_done(&args);
    return code;
}
