/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/accounts.h"
#include "cli/options.h"
#include "cli/output.h"

static void print_token(const Taskworker__Token *t)
{
    char when[40];
    fputs("token    ", stdout);
    output_text(stdout, t->name);
    fputs(" (", stdout);
    output_text(stdout, t->token_id);
    fputs("), ", stdout);
    if (t->expires_us)
        printf("good until %s\n", format_moment(t->expires_us, "", when));
    else
        puts("good until it is revoked");
}

static int whoami(struct cli *cli)
{
    const Taskworker__WhoAmIRequest request = TASKWORKER__WHO_AM_IREQUEST__INIT;
    CLEANUP_MESSAGE Taskworker__WhoAmIResponse *r = NULL;
    int code =
        cli_call(cli, ACCOUNTS_METHOD("WhoAmI"), &request.base, &taskworker__who_am_iresponse__descriptor, 0, &r);
    if (code)
        return code;
    if (!r->user)
        return cli_bad_reply(cli, "WhoAmI");
    if (cli->json) {
        output_json(stdout,
            json_pack("{s:o, s:s, s:o, s:o}", "user", json_text(r->user->name), "role", role_name(r->role), "account",
                json_user(r->user), "token", r->token ? json_token(r->token) : json_null()));
        return 0;
    }
    fputs("user     ", stdout);
    output_text(stdout, r->user->name);
    printf("\nrole     %s", role_name(r->role));
    if (r->role != r->user->role)
        printf(" here; the account itself is %s", role_name(r->user->role));
    putchar('\n');
    if (r->token)
        print_token(r->token);
    else
        puts("token    none: a certificate says who you are");
    return 0;
}

int verb_whoami(struct cli *cli, int argc, char **argv)
{
    const struct syntax syntax = {
        .verb = "whoami",
        .usage = "",
        .text = "Who you are on the node: your name, the role as which you are here, and the token that says so.",
        .example = "  hivemind whoami\n  hivemind whoami --json | jq -r .role",
    };
    struct arguments args;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code))
        code = output_finish(cli, whoami(cli));
    arguments_done(&args);
    return code;
}
