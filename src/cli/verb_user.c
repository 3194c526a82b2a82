/* SPDX-License-Identifier: Apache-2.0 */
/* hivemind user: each verb below it is one of the functions here. */
#include <stdlib.h>
#include <string.h>

#include "cli/accounts.h"
#include "cli/below.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/secret.h"
#include "cli/table.h"

/* The user as he is now, for programs. */
static int show(struct cli *cli, const char *method, const Taskworker__UserResponse *r)
{
    if (!r->user)
        return cli_bad_reply(cli, method);
    if (cli->json)
        output_json(stdout, json_user(r->user));
    return 0;
}

static int set_password(struct cli *cli, const char *user, const char *old, const char *fresh)
{
    Taskworker__SetPasswordRequest request = TASKWORKER__SET_PASSWORD_REQUEST__INIT;
    CLEANUP_MESSAGE Taskworker__SetPasswordResponse *r = NULL;
    request.user = (char *)user;
    request.old_password = (char *)(old ? old : "");
    request.new_password = (char *)fresh;
    return cli_call(
        cli, ACCOUNTS_METHOD("SetPassword"), &request.base, &taskworker__set_password_response__descriptor, 0, &r);
}

/* --- add --- */

struct addition {
    const char *name, *role, *password_file;
    bool password;
};

static int add(struct cli *cli, const struct addition *a)
{
    Taskworker__AddUserRequest request = TASKWORKER__ADD_USER_REQUEST__INIT;
    CLEANUP_MESSAGE Taskworker__UserResponse *r = NULL;
    CLEANUP_TOKEN_TEXT char *password = NULL;
    int code = role_parse(cli, a->role ? a->role : "submitter", &request.role);
    if (!code && (a->password || a->password_file))
        code = accounts_password(cli, a->password_file, "Password for the new user: ", true, &password);
    if (code)
        return code;
    request.name = (char *)a->name;
    code = cli_call(cli, ACCOUNTS_METHOD("AddUser"), &request.base, &taskworker__user_response__descriptor, 0, &r);
    if (!code)
        code = show(cli, "AddUser", r);
    if (code)
        return code;
    if (password && (code = set_password(cli, a->name, NULL, password)) != 0) {
        cli_note(cli, "%s was added, without a password; hivemind user passwd %s sets one", a->name, a->name);
        return code;
    }
    cli_note(cli, "%s is %s here; %s", a->name, role_name(r->user->role),
        password ? "hivemind login gets a token" : "hivemind token add --user NAME makes a token for a user");
    return 0;
}

static int user_add(struct cli *cli, int argc, char **argv)
{
    struct addition a = {0};
    const struct option options[] = {
        {.name = "role",
            .kind = OPTION_TEXT,
            .target = &a.role,
            .metavar = "ROLE",
            .help = "viewer, submitter, operator or admin [submitter]"},
        {.name = "password", .kind = OPTION_FLAG, .target = &a.password, .help = "ask for a password, to log in with"},
        {.name = "password-file",
            .kind = OPTION_TEXT,
            .target = &a.password_file,
            .metavar = "FILE",
            .help = "the password; - is standard input"},
    };
    const struct syntax syntax = {
        .verb = "user add",
        .usage = "[OPTION]... NAME",
        .text = "Makes a user. He comes in by a token (hivemind token add --user NAME ...), by a password, or by a\n"
                "certificate with his name, where the node takes those. A name is never given twice.",
        .example = "  hivemind user add --role operator --password ann",
        .options = options,
        .n_options = ARRAY_LEN(options),
        .missing = "NAME",
        .min_words = 1,
        .max_words = 1,
    };
    struct arguments args;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code)) {
        a.name = args.words.items[0];
        code = output_finish(cli, add(cli, &a));
    }
    arguments_done(&args);
    return code;
}

/* --- list --- */

static void add_row(struct table *table, const Taskworker__User *u)
{
    char created[40], tokens[16];
    snprintf(tokens, sizeof tokens, "%u", u->tokens);
    const char *const cells[] = {u->name, role_name(u->role), u->disabled ? "disabled" : "ok",
        u->has_password ? "yes" : "no", tokens, format_moment(u->created_us, "-", created)};
    table_add(table, cells, "");
}

static int list(struct cli *cli)
{
    static const char *const titles[] = {"NAME", "ROLE", "STATE", "PASSWORD", "TOKENS", "ADDED"};
    Taskworker__ListUsersRequest request = TASKWORKER__LIST_USERS_REQUEST__INIT;
    CLEANUP_FREE char *token = NULL;
    struct table table;
    int code = 0;
    table_init(&table, ARRAY_LEN(titles));
    table_add(&table, titles, "");
    request.page_size = 1000;
    do {
        CLEANUP_MESSAGE Taskworker__ListUsersResponse *page = NULL;
        request.page_token = token ? token : (char *)"";
        code = cli_call(
            cli, ACCOUNTS_METHOD("ListUsers"), &request.base, &taskworker__list_users_response__descriptor, 0, &page);
        for (size_t i = 0; !code && i < page->n_users; i++) {
            if (cli->json)
                output_json(stdout, json_user(page->users[i]));
            else
                add_row(&table, page->users[i]);
        }
        free(token);
        token = !code && *page->next_page_token ? strdup(page->next_page_token) : NULL;
    } while (token);
    if (!code && !cli->json)
        (void)table_print(&table, stdout, 2, color_off(cli));
    table_done(&table);
    return code;
}

static int user_list(struct cli *cli, int argc, char **argv)
{
    const struct syntax syntax = {
        .verb = "user list",
        .usage = "",
        .text = "Lists the users of the node by name.",
        .example = "  hivemind user list",
    };
    struct arguments args;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code))
        code = output_finish(cli, list(cli));
    arguments_done(&args);
    return code;
}

/* --- what takes names alone --- */

static int remove_one(struct cli *cli, const char *name)
{
    Taskworker__RemoveUserRequest request = TASKWORKER__REMOVE_USER_REQUEST__INIT;
    CLEANUP_MESSAGE Taskworker__RemoveUserResponse *r = NULL;
    request.name = (char *)name;
    int code = cli_call(
        cli, ACCOUNTS_METHOD("RemoveUser"), &request.base, &taskworker__remove_user_response__descriptor, 0, &r);
    if (!code && cli->json)
        output_json(stdout, json_pack("{s:o, s:b}", "name", json_text(name), "removed", 1));
    return code;
}

static int set_disabled(struct cli *cli, const char *name, bool disabled)
{
    Taskworker__SetUserRequest request = TASKWORKER__SET_USER_REQUEST__INIT;
    CLEANUP_MESSAGE Taskworker__UserResponse *r = NULL;
    request.name = (char *)name;
    request.set_disabled = true;
    request.disabled = disabled;
    int code = cli_call(cli, ACCOUNTS_METHOD("SetUser"), &request.base, &taskworker__user_response__descriptor, 0, &r);
    return code ? code : show(cli, "SetUser", r);
}

static int disable_one(struct cli *cli, const char *name)
{
    return set_disabled(cli, name, true);
}

static int enable_one(struct cli *cli, const char *name)
{
    return set_disabled(cli, name, false);
}

/* Goes on with the next one where one fails. */
static int each(
    struct cli *cli, int argc, char **argv, struct syntax syntax, int (*one)(struct cli *cli, const char *name))
{
    struct arguments args;
    int code = 0;
    syntax.usage = "NAME...";
    syntax.missing = "NAME";
    syntax.min_words = 1;
    syntax.max_words = SIZE_MAX;
    if (options_parse(cli, &syntax, argc, argv, &args, &code)) {
        for (size_t i = 0; i < args.words.n; i++) {
            int r = one(cli, args.words.items[i]);
            code = code ? code : r;
        }
        code = output_finish(cli, code);
    }
    arguments_done(&args);
    return code;
}

static int user_remove(struct cli *cli, int argc, char **argv)
{
    const struct syntax syntax = {
        .verb = "user remove",
        .text = "Removes users and their tokens. Their tasks and files stay, and their names are never given again.",
        .example = "  hivemind user remove ann",
    };
    return each(cli, argc, argv, syntax, remove_one);
}

static int user_disable(struct cli *cli, int argc, char **argv)
{
    const struct syntax syntax = {
        .verb = "user disable",
        .text = "Lets users in no more, whatever they show; their calls end. Their tasks go on.",
        .example = "  hivemind user disable ann",
    };
    return each(cli, argc, argv, syntax, disable_one);
}

static int user_enable(struct cli *cli, int argc, char **argv)
{
    const struct syntax syntax = {
        .verb = "user enable",
        .text = "Lets users in again who were disabled, by the tokens and passwords that they had.",
        .example = "  hivemind user enable ann",
    };
    return each(cli, argc, argv, syntax, enable_one);
}

/* --- role --- */

static int set_role(struct cli *cli, const char *name, const char *role)
{
    Taskworker__SetUserRequest request = TASKWORKER__SET_USER_REQUEST__INIT;
    CLEANUP_MESSAGE Taskworker__UserResponse *r = NULL;
    int code = role_parse(cli, role, &request.role);
    if (code)
        return code;
    request.name = (char *)name;
    code = cli_call(cli, ACCOUNTS_METHOD("SetUser"), &request.base, &taskworker__user_response__descriptor, 0, &r);
    return code ? code : show(cli, "SetUser", r);
}

static int user_role(struct cli *cli, int argc, char **argv)
{
    const struct syntax syntax = {
        .verb = "user role",
        .usage = "NAME ROLE",
        .text = "Gives a user another role: viewer, submitter, operator or admin. It holds at once; tokens that were\n"
                "limited to a lower one stay so.",
        .example = "  hivemind user role ann operator",
        .missing = "NAME and ROLE",
        .min_words = 2,
        .max_words = 2,
    };
    struct arguments args;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code))
        code = output_finish(cli, set_role(cli, args.words.items[0], args.words.items[1]));
    arguments_done(&args);
    return code;
}

/* --- passwd --- */

struct change {
    const char *user, *password_file, *old_file;
};

/* An administrator needs no old password, not even for his own. */
static int needs_old(struct cli *cli, const struct change *c, bool *ret)
{
    const Taskworker__WhoAmIRequest request = TASKWORKER__WHO_AM_IREQUEST__INIT;
    CLEANUP_MESSAGE Taskworker__WhoAmIResponse *r = NULL;
    int code =
        cli_call(cli, ACCOUNTS_METHOD("WhoAmI"), &request.base, &taskworker__who_am_iresponse__descriptor, 0, &r);
    if (code)
        return code;
    if (!r->user)
        return cli_bad_reply(cli, "WhoAmI");
    bool own = !*c->user || !strcmp(c->user, r->user->name);
    *ret = own && r->user->has_password && r->role != TASKWORKER__USER__ROLE__ADMIN;
    return 0;
}

static int passwd(struct cli *cli, const struct change *c)
{
    CLEANUP_TOKEN_TEXT char *old = NULL, *fresh = NULL;
    bool ask_old = false;
    int code = needs_old(cli, c, &ask_old);
    if (!code && (ask_old || c->old_file))
        code = accounts_password(cli, c->old_file, "Your password as it is: ", false, &old);
    if (!code)
        code = accounts_password(cli, c->password_file, "The new password: ", true, &fresh);
    if (!code)
        code = set_password(cli, c->user, old, fresh);
    if (!code && cli->json)
        output_json(stdout, json_pack("{s:b}", "changed", 1));
    return code;
}

static int user_passwd(struct cli *cli, int argc, char **argv)
{
    struct change c = {.user = ""};
    const struct option options[] = {
        {.name = "password-file",
            .kind = OPTION_TEXT,
            .target = &c.password_file,
            .metavar = "FILE",
            .help = "the new password; - is standard input [asked for, twice]"},
        {.name = "old-password-file",
            .kind = OPTION_TEXT,
            .target = &c.old_file,
            .metavar = "FILE",
            .help = "your password as it is [asked for, where it is needed]"},
    };
    const struct syntax syntax = {
        .verb = "user passwd",
        .usage = "[OPTION]... [NAME]",
        .text = "Sets a password: your own, which takes the one that you have, or, as an administrator, anybody's. It\n"
                "has at least 10 bytes. Tokens stay good; hivemind token revoke ends them.",
        .example = "  hivemind user passwd\n  hivemind user passwd --password-file - ann < secret",
        .options = options,
        .n_options = ARRAY_LEN(options),
        .max_words = 1,
    };
    struct arguments args;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code)) {
        c.user = args.words.n ? args.words.items[0] : "";
        code = output_finish(cli, passwd(cli, &c));
    }
    arguments_done(&args);
    return code;
}

int verb_user(struct cli *cli, int argc, char **argv)
{
    static const struct below below[] = {
        {"add", "make one", user_add},
        {"list", "who there is", user_list},
        {"role", "what one may do", user_role},
        {"passwd", "set a password, also your own", user_passwd},
        {"disable", "let them in no more", user_disable},
        {"enable", "let them in again", user_enable},
        {"remove", "remove them, with their tokens", user_remove},
    };
    return below_run(cli, "user", "Who may use a node.", below, ARRAY_LEN(below), argc, argv);
}
