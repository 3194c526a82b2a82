/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests of a whole node, while it does not run: changes its accounts. accounts_tool FILE COMMAND...: user NAME ROLE, token NAME ROLE
 * MILLISECONDS (how long it is good; 0: for ever; prints it), disable NAME, remove NAME, revoke ID.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "access/accounts.h"
#include "base/clock.h"

static enum role role_of(const char *text)
{
    enum role role = ROLE_MAX;
    (void)role_from_string(text, &role);
    return role;
}

/* How many words it took; 0: there is no such command; -1: it failed. */
static int carry_out(struct accounts *a, char **argv, int n, struct tw_error *error)
{
    struct token token CLEANUP_TOKEN = {0};
    if (n >= 3 && !strcmp(argv[0], "user"))
        return accounts_add_user(a, argv[1], role_of(argv[2]), error) < 0 ? -1 : 3;
    if (n >= 4 && !strcmp(argv[0], "token")) {
        unsigned long long ms = strtoull(argv[3], NULL, 10);
        char name[64];
        snprintf(name, sizeof name, "test %llu", (unsigned long long)clock_wall_us());
        uint64_t expires = ms ? clock_wall_us() + ms * 1000 : 0;
        if (accounts_add_token(a, argv[1], name, role_of(argv[2]), expires, &token, error) < 0)
            return -1;
        puts(token.text);
        return 4;
    }
    if (n >= 2 && !strcmp(argv[0], "disable"))
        return accounts_set_disabled(a, argv[1], true, error) < 0 ? -1 : 2;
    if (n >= 2 && !strcmp(argv[0], "remove"))
        return accounts_remove_user(a, argv[1], error) < 0 ? -1 : 2;
    if (n >= 2 && !strcmp(argv[0], "revoke"))
        return accounts_revoke_token(a, argv[1], NULL, error) < 0 ? -1 : 2;
    return 0;
}

int main(int argc, char **argv)
{
    struct accounts *a = NULL;
    struct token first CLEANUP_TOKEN = {0};
    struct tw_error error = {0};
    const struct accounts_options options = {.path = argc > 1 ? argv[1] : ""};
    if (accounts_open(&options, &a, &first, &error) < 0) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    int used = 1;
    for (int i = 2; i < argc && used > 0; i += used)
        used = carry_out(a, argv + i, argc - i, &error);
    (void)accounts_close(a);
    if (used <= 0)
        fprintf(stderr, "%s\n", used ? error.message : "unknown command");
    return used > 0 ? 0 : 1;
}
