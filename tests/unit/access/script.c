/* SPDX-License-Identifier: Apache-2.0 */
#include "script.h"

#define HASH "$argon2id$v=19$m=19456,t=3,p=1$c29tZXNhbHRzb21lc2FsdA$aGFzaA"

struct script_state script_expected[SCRIPT_CALLS + 1];

static char ann_token[TOKEN_ID_LEN + 1];

int script_call(struct fixture *f, int n)
{
    struct token token;
    int r;
    switch (n) {
    case 0:
        return accounts_open(&f->options, &f->a, &f->first, &f->error);
    case 1:
        return accounts_first_shown(f->a, &f->error);
    case 2:
        return accounts_add_user(f->a, "ann", ROLE_SUBMITTER, &f->error);
    case 3:
        r = accounts_add_token(f->a, "ann", "one", ROLE_SUBMITTER, 0, &token, &f->error);
        if (r == 0)
            token_id(token.digest, ann_token);
        return r;
    case 4:
        return accounts_add_token(f->a, "ann", "two", ROLE_VIEWER, 0, &token, &f->error);
    case 5:
        return accounts_revoke_token(f->a, ann_token, "ann", &f->error);
    case 6:
        return accounts_set_role(f->a, "ann", ROLE_ADMIN, &f->error);
    case 7:
        return accounts_set_password(f->a, "ann", HASH, &f->error);
    case 8:
        return accounts_set_disabled(f->a, "ann", true, &f->error);
    case 9:
        return accounts_add_user(f->a, "bob", ROLE_VIEWER, &f->error);
    default:
        return accounts_remove_user(f->a, "ann", &f->error);
    }
}

static void add_text(struct script_state *s, const char *name, int a, int b, int c)
{
    size_t len = strlen(s->text);
    snprintf(s->text + len, sizeof s->text - len, "%s %d %d %d\n", name, a, b, c);
}

static bool add_token(void *ctx, const struct accounts_token *token)
{
    if (strcmp(token->name, "first") != 0) /* that one may come and go */
        add_text(ctx, token->name, token->role, token->revoked_us != 0, token->expires_us != 0);
    return true;
}

static bool add_user(void *ctx, const struct accounts_user *user)
{
    struct script_state *s = ctx;
    add_text(s, user->name, user->role, user->disabled, user->has_password);
    return accounts_list_tokens(s->a, user->name, add_token, s, NULL) == 0;
}

struct script_state script_state(struct fixture *f)
{
    struct script_state s = {.a = f->a};
    if (f->a)
        accounts_list_users(f->a, NULL, add_user, &s);
    return s;
}

void script_expect(void)
{
    struct fixture *f = NULL;
    fixture_setup((void **)&f);
    for (int n = 0; n < SCRIPT_CALLS; n++) {
        assert_ok(f, script_call(f, n));
        script_expected[n + 1] = script_state(f);
        if (n != 1) /* which shows nowhere but at the next start */
            assert_string_not_equal(script_expected[n].text, script_expected[n + 1].text);
    }
    fixture_reopen(f);
    assert_string_equal(script_state(f).text, script_expected[SCRIPT_CALLS].text);
    fixture_teardown((void **)&f);
}
