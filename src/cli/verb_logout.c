/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/error.h"
#include "cli/accounts.h"
#include "cli/credentials.h"
#include "cli/options.h"
#include "cli/output.h"

/* By itself, so that it has to be good still. */
static int revoke_token(struct cli *cli, const char *token)
{
    const Taskworker__WhoAmIRequest who = TASKWORKER__WHO_AM_IREQUEST__INIT;
    Taskworker__RevokeTokenRequest request = TASKWORKER__REVOKE_TOKEN_REQUEST__INIT;
    CLEANUP_MESSAGE Taskworker__WhoAmIResponse *r = NULL;
    CLEANUP_MESSAGE Taskworker__RevokeTokenResponse *revoked = NULL;
    cli->token = token;
    int code = cli_call(cli, ACCOUNTS_METHOD("WhoAmI"), &who.base, &taskworker__who_am_iresponse__descriptor, 0, &r);
    cli->token = NULL;
    if (code)
        return code;
    if (!r->token)
        return cli_bad_reply(cli, "WhoAmI");
    request.token_id = r->token->token_id;
    return cli_call(cli, ACCOUNTS_METHOD("RevokeToken"), &request.base, &taskworker__revoke_token_response__descriptor,
        0, &revoked);
}

static int logout(struct cli *cli, bool with_revoke)
{
    struct tw_error error = {0};
    CLEANUP_TOKEN_TEXT char *token = NULL;
    CLEANUP_FREE char *path = credentials_path();
    cli_choose_server(cli);
    int r = path ? credentials_find(path, cli->server, &token, &error)
                 : error_set(&error, TW_FAILED_PRECONDITION, "there is no home folder, and so no file of credentials");
    bool found = r == 0 && token;
    int code = found && with_revoke ? revoke_token(cli, token) : 0;
    if (code)
        return code;
    if (found)
        r = credentials_keep(path, cli->server, NULL, &error);
    if (r < 0) {
        cli_error(cli, error.code, "%s", error.message);
        return EXIT_TROUBLE;
    }
    if (cli->json)
        output_json(stdout,
            json_pack("{s:o, s:b, s:b}", "server", json_text(cli->server), "forgotten", found, "revoked",
                found && with_revoke));
    else if (!found)
        cli_note(cli, "there was no token for %s", cli->server);
    else if (!with_revoke)
        cli_note(
            cli, "the token for %s is forgotten here; on the node it stays good (--revoke ends that)", cli->server);
    return 0;
}

int verb_logout(struct cli *cli, int argc, char **argv)
{
    bool revoke_it = false;
    const struct option options[] = {
        {.name = "revoke", .kind = OPTION_FLAG, .target = &revoke_it, .help = "have the node refuse it from now on"},
    };
    const struct syntax syntax = {
        .verb = "logout",
        .usage = "[OPTION]...",
        .text = "Forgets the token that login has kept for this node.",
        .example = "  hivemind logout --revoke",
        .options = options,
        .n_options = ARRAY_LEN(options),
    };
    struct arguments args;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code))
        code = output_finish(cli, logout(cli, revoke_it));
    arguments_done(&args);
    return code;
}
