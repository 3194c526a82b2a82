/* SPDX-License-Identifier: Apache-2.0 */
/* AccountService: who somebody is, logging in, and tokens; and that no secret is left behind. */
#include "account_fixture.h"

#include <stdlib.h>

#include "access/delays.h"
#include "base/clock.h"
#include "rpc/server_internal.h"

enum { VIEWER = 1, SUBMITTER = 2, OPERATOR = 3, ADMIN = 4 }; /* as on the wire */

#define SECOND UINT64_C(1000000)

static Taskworker__AddTokenRequest add_request(const char *user, const char *name, int role, int64_t lifetime_ms)
{
    Taskworker__AddTokenRequest r = TASKWORKER__ADD_TOKEN_REQUEST__INIT;
    r.user = (char *)user;
    r.token_name = (char *)name;
    r.role = (Taskworker__User__Role)role;
    r.lifetime_ms = lifetime_ms;
    return r;
}

static Taskworker__LoginRequest login_request(const char *user, const char *password)
{
    Taskworker__LoginRequest r = TASKWORKER__LOGIN_REQUEST__INIT;
    r.user = (char *)user;
    r.password = (char *)password;
    return r;
}

static void expect_add(
    struct account_fixture *f, const char *token, Taskworker__AddTokenRequest r, enum tw_code code, const char *words)
{
    account_expect(f, "AddToken", token, &r, code, words);
}

static Taskworker__NewToken *get_token(struct account_fixture *f, const char *token, Taskworker__AddTokenRequest r)
{
    return account_get(f, "AddToken", token, &r, &taskworker__new_token__descriptor);
}

static struct who check(const struct account_fixture *f, const char *token, enum accounts_verdict expected)
{
    struct who who;
    assert_int_equal(accounts_check_token(f->accounts, token, strlen(token), clock_wall_us(), &who), expected);
    return who;
}

static void expect_revoke(
    struct account_fixture *f, const char *token, const char *id, enum tw_code code, const char *words)
{
    Taskworker__RevokeTokenRequest r = TASKWORKER__REVOKE_TOKEN_REQUEST__INIT;
    r.token_id = (char *)id;
    account_expect(f, "RevokeToken", token, &r, code, words);
}

/* --- who am I --- */

static void test_who_am_i(void **state UNUSED)
{
    struct account_fixture f;
    account_begin_test(&f, NULL);
    const Taskworker__WhoAmIRequest request = TASKWORKER__WHO_AM_IREQUEST__INIT;
    (void)account_person(&f, "ann", ROLE_OPERATOR);
    uint64_t expires = clock_wall_us() + 1000 * SECOND;
    struct token limited = account_token(&f, "ann", "laptop", ROLE_VIEWER, expires);
    char id[TOKEN_ID_LEN + 1];
    token_id(limited.digest, id);
    Taskworker__WhoAmIResponse *r =
        account_get(&f, "WhoAmI", limited.text, &request, &taskworker__who_am_iresponse__descriptor);
    assert_string_equal(r->user->name, "ann");
    assert_int_equal(r->user->role, OPERATOR);
    assert_int_equal(r->user->tokens, 2);
    assert_int_equal(r->role, VIEWER);
    assert_string_equal(r->token->token_id, id);
    assert_string_equal(r->token->name, "laptop");
    assert_int_equal(r->token->expires_us, expires);
    assert_true(r->token->used_us > 0);
    taskworker__who_am_iresponse__free_unpacked(r, NULL);
    account_expect(&f, "WhoAmI", NULL, &request, TW_PERMISSION_DENIED, "");
    account_end_test(&f);
}

/* --- logging in --- */

static void test_login(void **state UNUSED)
{
    struct account_fixture f;
    account_begin_test(&f, NULL);
    (void)account_person(&f, "ann", ROLE_OPERATOR);
    account_give_password(&f, "ann", "correct horse");
    Taskworker__LoginRequest request = login_request("ann", "correct horse");
    Taskworker__NewToken *r = account_get(&f, "Login", NULL, &request, &taskworker__new_token__descriptor);
    struct who who = check(&f, r->secret, ACCOUNTS_OK);
    assert_string_equal(who.user, "ann");
    assert_int_equal(who.role, ROLE_OPERATOR);
    assert_string_equal(who.token, r->token->token_id);
    assert_int_equal(r->token->expires_us, 0);
    assert_memory_equal(r->token->name, "login ", 6);
    CLEANUP_FREE char *log = account_audit_text(&f);
    assert_non_null(strstr(log, "\"action\":\"login\",\"object\":\"ann\",\"outcome\":\"ok\""));
    assert_non_null(strstr(log, "\"action\":\"token.made\""));
    assert_non_null(strstr(log, r->token->token_id));
    assert_null(strstr(log, r->secret));
    assert_null(strstr(log, "horse"));
    taskworker__new_token__free_unpacked(r, NULL);

    request.token_name = (char *)"laptop";
    request.role = (Taskworker__User__Role)VIEWER;
    request.lifetime_ms = 60000;
    r = account_get(&f, "Login", NULL, &request, &taskworker__new_token__descriptor);
    assert_string_equal(r->token->name, "laptop");
    assert_int_equal(check(&f, r->secret, ACCOUNTS_OK).role, ROLE_VIEWER);
    assert_in_range(r->token->expires_us - r->token->created_us, 59 * SECOND, 61 * SECOND);
    taskworker__new_token__free_unpacked(r, NULL);

    account_expect(&f, "Login", NULL, &request, TW_ALREADY_EXISTS, "laptop");
    request.token_name = (char *)"other";
    request.role = (Taskworker__User__Role)ADMIN;
    account_expect(&f, "Login", NULL, &request, TW_INVALID_ARGUMENT, "operator at most");
    assert_int_equal(f.changes, 0);
    account_end_test(&f);
}

static void test_login_refused(void **state UNUSED)
{
    static const char same[] = "the user name or the password is wrong, or the account is disabled";
    static const char *const users[] = {"ann", "nobody", "dis", "not a name!", "nopassword"};
    struct account_fixture f;
    struct tw_error error;
    account_begin_test(&f, NULL);
    (void)account_person(&f, "ann", ROLE_OPERATOR);
    (void)account_person(&f, "dis", ROLE_OPERATOR);
    (void)account_person(&f, "nopassword", ROLE_OPERATOR);
    account_give_password(&f, "ann", "correct horse");
    account_give_password(&f, "dis", "wrong horse");
    assert_int_equal(accounts_set_disabled(f.accounts, "dis", true, &error), 0);
    for (size_t i = 0; i < ARRAY_LEN(users); i++) {
        const Taskworker__LoginRequest request = login_request(users[i], "wrong horse");
        struct raw_stream *s = account_ask(&f, "Login", NULL, &request);
        account_expect_stream(&f, s, TW_UNAUTHENTICATED, same);
        assert_string_equal(s->message, same);
    }
    CLEANUP_FREE char *log = account_audit_text(&f);
    assert_non_null(strstr(log, "\"user\":\"ann\",\"token\":\"\""));
    assert_non_null(strstr(log, "\"action\":\"login\",\"object\":\"\",\"outcome\":\"denied\""));
    /* It may be a password that was typed in the wrong place. */
    assert_null(strstr(log, "not a name"));
    assert_null(strstr(log, "horse"));
    account_end_test(&f);
}

static void test_login_too_often(void **state UNUSED)
{
    struct account_fixture f;
    account_begin_test(&f, NULL);
    (void)account_person(&f, "ann", ROLE_OPERATOR);
    account_give_password(&f, "ann", "correct horse");
    const Taskworker__LoginRequest wrong = login_request("ann", "wrong horse"),
                                   right = login_request("ann", "correct horse");
    for (int i = 0; i <= DELAYS_FREE_TRIES; i++)
        account_expect(&f, "Login", NULL, &wrong, TW_UNAUTHENTICATED, "wrong");
    account_expect(&f, "Login", NULL, &right, TW_RESOURCE_EXHAUSTED, "try again in 1 s");
    account_end_test(&f);
}

/* Of one address at most four wait; who goes makes room. */
static void test_logins_at_once(void **state UNUSED)
{
    struct account_fixture f;
    struct raw_stream *s[LOGINS_ADDRESS_MAX + 1];
    account_begin_test(&f, NULL);
    const Taskworker__LoginRequest request = login_request("ann", "wrong horse");
    for (size_t i = 0; i < ARRAY_LEN(s); i++) {
        char user[8];
        snprintf(user, sizeof user, "u%zu", i);
        const Taskworker__LoginRequest each = login_request(user, "wrong horse");
        s[i] = account_ask(&f, "Login", NULL, &each);
    }
    account_expect_stream(&f, s[LOGINS_ADDRESS_MAX], TW_RESOURCE_EXHAUSTED, "too many logins");
    for (size_t i = 0; i < LOGINS_ADDRESS_MAX; i++) {
        nghttp2_submit_rst_stream(f.raw.session, 0, s[i]->id, NGHTTP2_CANCEL);
        raw_flush(&f.raw);
    }
    RUN_UNTIL(&f.h, harness_stats(&f.h).calls == 0);
    account_expect(&f, "Login", NULL, &request, TW_UNAUTHENTICATED, "wrong");
    account_end_test(&f);
}

static void test_login_is_checked(void **state UNUSED)
{
    struct account_fixture f;
    char long_name[90];
    account_begin_test(&f, NULL);
    memset(long_name, 'a', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    Taskworker__LoginRequest r = login_request("", "correct horse");
    account_expect(&f, "Login", NULL, &r, TW_INVALID_ARGUMENT, "user");
    r = login_request(long_name, "correct horse");
    account_expect(&f, "Login", NULL, &r, TW_INVALID_ARGUMENT, "user");
    r = login_request("ann", "");
    account_expect(&f, "Login", NULL, &r, TW_INVALID_ARGUMENT, "password is missing");
    r = login_request("ann", "x");
    r.token_name = long_name;
    account_expect(&f, "Login", NULL, &r, TW_INVALID_ARGUMENT, "token_name has 89 bytes");
    r.token_name = (char *)"a\nb";
    account_expect(&f, "Login", NULL, &r, TW_INVALID_ARGUMENT, "control");
    r.token_name = (char *)"x";
    r.lifetime_ms = -1;
    account_expect(&f, "Login", NULL, &r, TW_INVALID_ARGUMENT, "lifetime_ms");
    r.lifetime_ms = INT64_MAX;
    account_expect(&f, "Login", NULL, &r, TW_INVALID_ARGUMENT, "ten years");
    r.lifetime_ms = 0;
    r.role = (Taskworker__User__Role)77;
    account_expect(&f, "Login", NULL, &r, TW_INVALID_ARGUMENT, "role is 77");
    account_end_test(&f);
}

/* The account may change while the password is looked at, or the record is written. */
static void test_login_of_who_is_removed(void **state UNUSED)
{
    struct account_fixture f;
    struct tw_error error;
    account_begin_test(&f, NULL);
    (void)account_person(&f, "ann", ROLE_OPERATOR);
    account_give_password(&f, "ann", "correct horse");
    const Taskworker__LoginRequest request = login_request("ann", "correct horse");
    account_set_mood(AUDIT_IS_SLOW);
    struct raw_stream *s = account_ask(&f, "Login", NULL, &request);
    RUN_UNTIL(&f.h, account_audit_waiting() == 1);
    assert_int_equal(accounts_set_disabled(f.accounts, "ann", true, &error), 0);
    account_audit_answers(0);
    account_expect_stream(&f, s, TW_UNAUTHENTICATED, "changed meanwhile");
    account_end_test(&f);
}

/* --- tokens --- */

static void test_own_tokens(void **state UNUSED)
{
    struct account_fixture f;
    account_begin_test(&f, NULL);
    struct token ann = account_person(&f, "ann", ROLE_OPERATOR);
    Taskworker__NewToken *r = get_token(&f, ann.text, add_request("", "ci", SUBMITTER, 0));
    assert_string_equal(r->token->user, "ann");
    assert_int_equal(r->token->role, SUBMITTER);
    assert_int_equal(r->token->expires_us, 0);
    assert_int_equal(check(&f, r->secret, ACCOUNTS_OK).role, ROLE_SUBMITTER);

    /* What it is made with bounds what it may do, and not what the user may. */
    expect_add(&f, r->secret, add_request("", "more", OPERATOR, 0), TW_PERMISSION_DENIED, "you are submitter here");
    expect_add(&f, r->secret, add_request("ann", "more", ADMIN, 0), TW_PERMISSION_DENIED, "can do no more");
    Taskworker__NewToken *same = get_token(&f, r->secret, add_request("ann", "same", 0, 0));
    assert_int_equal(same->token->role, SUBMITTER);
    taskworker__new_token__free_unpacked(same, NULL);

    expect_add(&f, ann.text, add_request("", "ci", VIEWER, 0), TW_ALREADY_EXISTS, "ci");
    expect_add(&f, ann.text, add_request("", "", VIEWER, 0), TW_INVALID_ARGUMENT, "token_name is missing");
    expect_add(&f, ann.text, add_request("admin", "mine", VIEWER, 0), TW_PERMISSION_DENIED, "role admin");
    taskworker__new_token__free_unpacked(r, NULL);
    account_end_test(&f);
}

/* One that is good for a while cannot live on in others that it makes. */
static void test_lifetimes(void **state UNUSED)
{
    struct account_fixture f;
    account_begin_test(&f, NULL);
    (void)account_person(&f, "ann", ROLE_OPERATOR);
    uint64_t expires = clock_wall_us() + 1000 * SECOND;
    struct token brief = account_token(&f, "ann", "brief", ROLE_OPERATOR, expires);
    Taskworker__NewToken *r = get_token(&f, brief.text, add_request("", "a", 0, 0));
    assert_int_equal(r->token->expires_us, expires);
    taskworker__new_token__free_unpacked(r, NULL);
    r = get_token(&f, brief.text, add_request("", "b", 0, 60000));
    assert_true(r->token->expires_us < (int64_t)expires);
    taskworker__new_token__free_unpacked(r, NULL);
    expect_add(&f, brief.text, add_request("", "c", 0, 2000000), TW_PERMISSION_DENIED, "not good for longer");

    /* An administrator could make himself anything. */
    struct token boss = account_token(&f, "admin", "boss", ROLE_ADMIN, expires);
    r = get_token(&f, boss.text, add_request("", "c", 0, 0));
    assert_int_equal(r->token->expires_us, 0);
    taskworker__new_token__free_unpacked(r, NULL);
    account_end_test(&f);
}

static void test_tokens_for_others(void **state UNUSED)
{
    struct account_fixture f;
    account_begin_test(&f, NULL);
    (void)account_person(&f, "ann", ROLE_SUBMITTER);
    Taskworker__NewToken *r = get_token(&f, f.admin.text, add_request("ann", "new", 0, 0));
    struct who who = check(&f, r->secret, ACCOUNTS_OK);
    assert_string_equal(who.user, "ann");
    assert_int_equal(who.role, ROLE_SUBMITTER);
    taskworker__new_token__free_unpacked(r, NULL);
    expect_add(&f, f.admin.text, add_request("ann", "high", ADMIN, 0), TW_INVALID_ARGUMENT, "submitter at most");
    expect_add(&f, f.admin.text, add_request("bob", "x", 0, 0), TW_NOT_FOUND, "bob");
    struct token limited = account_token(&f, "admin", "limited", ROLE_OPERATOR, 0);
    expect_add(&f, limited.text, add_request("ann", "x", VIEWER, 0), TW_PERMISSION_DENIED, "role admin");
    account_end_test(&f);
}

static void test_revoke(void **state UNUSED)
{
    struct account_fixture f;
    char ann_id[TOKEN_ID_LEN + 1], ci_id[TOKEN_ID_LEN + 1], admin_id[TOKEN_ID_LEN + 1];
    account_begin_test(&f, NULL);
    struct token ann = account_person(&f, "ann", ROLE_OPERATOR), ci = account_token(&f, "ann", "ci", ROLE_VIEWER, 0);
    token_id(ann.digest, ann_id);
    token_id(ci.digest, ci_id);
    token_id(f.admin.digest, admin_id);
    expect_revoke(&f, ann.text, "", TW_INVALID_ARGUMENT, "token_id is missing");
    expect_revoke(&f, ann.text, "0123456789abcdef", TW_NOT_FOUND, "there is no token '0123456789abcdef'");
    /* Another's is as if it were not there. */
    char words[80];
    snprintf(words, sizeof words, "there is no token '%s'", admin_id);
    expect_revoke(&f, ann.text, admin_id, TW_NOT_FOUND, words);
    expect_revoke(&f, ci.text, ann_id, TW_PERMISSION_DENIED, "can do more");
    assert_int_equal(f.changes, 0);
    check(&f, ann.text, ACCOUNTS_OK);
    expect_revoke(&f, ci.text, ci_id, TW_OK, "");
    check(&f, ci.text, ACCOUNTS_REVOKED);
    assert_int_equal(f.changes, 1);
    expect_revoke(&f, f.admin.text, ann_id, TW_OK, "");
    check(&f, ann.text, ACCOUNTS_REVOKED);
    CLEANUP_FREE char *log = account_audit_text(&f);
    char line[160];
    snprintf(line, sizeof line,
        "\"action\":\"token.revoke\",\"object\":\"%s\",\"outcome\":\"ok\",\"detail\":\"\\u0022first\\u0022 of ann\"",
        ann_id);
    assert_non_null(strstr(log, line));
    account_end_test(&f);
}

/* Nobody writes the log full with what he does to himself; an administrator is trusted with that. */
static void test_how_often(void **state UNUSED)
{
    struct account_fixture f;
    char name[16];
    account_begin_test(&f, NULL);
    const struct rate_limit limit = {.per_second_milli = 1, .burst = 3};
    assert_int_equal(rates_set(f.rates, RATE_LOGIN, RATE_USER, limit), 0);
    struct token ann = account_person(&f, "ann", ROLE_OPERATOR), bob = account_person(&f, "bob", ROLE_VIEWER);
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "t%d", i);
        expect_add(&f, ann.text, add_request("", name, 0, 0), i < 3 ? TW_OK : TW_RESOURCE_EXHAUSTED, "");
        expect_add(&f, f.admin.text, add_request("", name, 0, 0), TW_OK, "");
    }
    expect_add(&f, ann.text, add_request("", "more", 0, 0), TW_RESOURCE_EXHAUSTED, "too much at once");
    expect_add(&f, bob.text, add_request("", "his", 0, 0), TW_OK, "");
    account_end_test(&f);
}

/* Of one address only so many are written down, and all are refused. */
static void test_many_refused_logins(void **state UNUSED)
{
    struct account_fixture f;
    account_begin_test(&f, NULL);
    const struct rate_limit limit = {.per_second_milli = 1, .burst = 3};
    assert_int_equal(rates_set(f.rates, RATE_LOGIN, RATE_ADDRESS, limit), 0);
    for (int i = 0; i < 8; i++) {
        char user[8];
        snprintf(user, sizeof user, "u%d", i);
        const Taskworker__LoginRequest request = login_request(user, "wrong horse");
        account_expect(&f, "Login", NULL, &request, TW_UNAUTHENTICATED, "wrong");
    }
    CLEANUP_FREE char *log = account_audit_text(&f);
    assert_non_null(strstr(log, "\"user\":\"u2\""));
    assert_null(strstr(log, "\"user\":\"u3\""));
    account_end_test(&f);
}

/* A token that was made for more than its user may be now can be revoked by one that may as much as it does today. */
static void test_revoke_of_a_lowered_user(void **state UNUSED)
{
    struct account_fixture f;
    struct tw_error error;
    char id[TOKEN_ID_LEN + 1];
    account_begin_test(&f, NULL);
    struct token high = account_person(&f, "ann", ROLE_ADMIN), low = account_token(&f, "ann", "low", ROLE_VIEWER, 0);
    assert_int_equal(accounts_set_role(f.accounts, "ann", ROLE_VIEWER, &error), 0);
    token_id(high.digest, id);
    expect_revoke(&f, low.text, id, TW_OK, "");
    check(&f, high.text, ACCOUNTS_REVOKED);
    account_end_test(&f);
}

static void test_list(void **state UNUSED)
{
    struct account_fixture f;
    account_begin_test(&f, NULL);
    struct token ann = account_person(&f, "ann", ROLE_OPERATOR), ci = account_token(&f, "ann", "ci", ROLE_VIEWER, 0);
    char id[TOKEN_ID_LEN + 1];
    token_id(ci.digest, id);
    expect_revoke(&f, ann.text, id, TW_OK, "");
    Taskworker__ListTokensRequest request = TASKWORKER__LIST_TOKENS_REQUEST__INIT;
    Taskworker__ListTokensResponse *r =
        account_get(&f, "ListTokens", ann.text, &request, &taskworker__list_tokens_response__descriptor);
    assert_int_equal(r->n_tokens, 2);
    assert_string_equal(r->tokens[0]->name, "first");
    assert_string_equal(r->tokens[1]->name, "ci");
    assert_string_equal(r->tokens[1]->token_id, id);
    assert_true(r->tokens[1]->revoked_us > 0 && r->tokens[0]->revoked_us == 0);
    taskworker__list_tokens_response__free_unpacked(r, NULL);
    request.user = (char *)"ann";
    r = account_get(&f, "ListTokens", f.admin.text, &request, &taskworker__list_tokens_response__descriptor);
    assert_int_equal(r->n_tokens, 2);
    taskworker__list_tokens_response__free_unpacked(r, NULL);
    request.user = (char *)"admin";
    account_expect(&f, "ListTokens", ann.text, &request, TW_PERMISSION_DENIED, "role admin");
    request.user = (char *)"bob";
    account_expect(&f, "ListTokens", f.admin.text, &request, TW_NOT_FOUND, "bob");
    account_end_test(&f);
}

/* --- in general --- */

static const char *const methods[] = {"WhoAmI", "Login", "AddUser", "RemoveUser", "SetUser", "ListUsers", "SetPassword",
    "AddToken", "RevokeToken", "ListTokens", "QueryAudit", "VerifyAudit"};

static void test_a_node_that_asks_nobody(void **state UNUSED)
{
    struct account_fixture f;
    account_begin_test(&f, &(struct account_fixture_options){.asks_nobody = true});
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        account_expect_stream(
            &f, account_ask_bytes(&f, methods[i], NULL, "", 0), TW_FAILED_PRECONDITION, "asks nobody who he is");
    account_end_test(&f);
}

static void test_hostile_bytes(void **state UNUSED)
{
    static const uint8_t cut[] = {0x0a, 0x7f, 'x'}, tag[] = {0x00}, utf8[] = {0x0a, 2, 0xff, 0xfe},
                         nul[] = {0x0a, 2, 'a', 0};
    struct account_fixture f;
    account_begin_test(&f, NULL);
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        bool has_text = strcmp(methods[i], "WhoAmI") != 0 && strcmp(methods[i], "ListUsers") != 0 &&
            !strstr(methods[i], "Audit"); /* in their first field */
        const char *token = f.admin.text;
        account_expect_stream(
            &f, account_ask_bytes(&f, methods[i], token, cut, sizeof cut), TW_INVALID_ARGUMENT, "not a valid");
        account_expect_stream(
            &f, account_ask_bytes(&f, methods[i], token, tag, sizeof tag), TW_INVALID_ARGUMENT, "not a valid");
        if (!has_text)
            continue;
        account_expect_stream(
            &f, account_ask_bytes(&f, methods[i], token, utf8, sizeof utf8), TW_INVALID_ARGUMENT, "UTF-8");
        account_expect_stream(
            &f, account_ask_bytes(&f, methods[i], token, nul, sizeof nul), TW_INVALID_ARGUMENT, "NUL");
    }
    account_end_test(&f);
}

static bool is_in(const struct buf *b, const char *text)
{
    return b->data && memmem(b->data, b->cap, text, strlen(text));
}

/* What calls leave in the server's memory for the next ones. */
static bool is_left(const struct account_fixture *f, const char *text)
{
    for (const struct rpc_call *call = f->h.server->free_calls; call; call = call->next_free) {
        if (is_in(&call->in.body, text) || is_in(&call->held, text) || is_in(&call->out, text))
            return true;
    }
    return false;
}

static void test_nothing_is_left(void **state UNUSED)
{
    struct account_fixture f;
    account_begin_test(&f, NULL);
    (void)account_person(&f, "ann", ROLE_OPERATOR);
    account_give_password(&f, "ann", "correct horse");
    const Taskworker__LoginRequest request = login_request("ann", "correct horse");
    Taskworker__NewToken *r = account_get(&f, "Login", NULL, &request, &taskworker__new_token__descriptor);
    RUN_UNTIL(&f.h, harness_stats(&f.h).calls == 0);
    assert_non_null(f.h.server->free_calls);
    assert_false(is_left(&f, "correct horse"));
    assert_false(is_left(&f, r->secret));
    taskworker__new_token__free_unpacked(r, NULL);

    /* That the search can find something. */
    Taskworker__RevokeTokenRequest revoke = TASKWORKER__REVOKE_TOKEN_REQUEST__INIT;
    revoke.token_id = (char *)"no such token";
    account_expect(&f, "RevokeToken", f.admin.text, &revoke, TW_NOT_FOUND, "");
    RUN_UNTIL(&f.h, harness_stats(&f.h).calls == 0);
    assert_true(is_left(&f, "no such token"));
    account_end_test(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_am_i),
        cmocka_unit_test(test_login),
        cmocka_unit_test(test_login_refused),
        cmocka_unit_test(test_login_too_often),
        cmocka_unit_test(test_logins_at_once),
        cmocka_unit_test(test_login_is_checked),
        cmocka_unit_test(test_login_of_who_is_removed),
        cmocka_unit_test(test_own_tokens),
        cmocka_unit_test(test_lifetimes),
        cmocka_unit_test(test_tokens_for_others),
        cmocka_unit_test(test_revoke),
        cmocka_unit_test(test_how_often),
        cmocka_unit_test(test_many_refused_logins),
        cmocka_unit_test(test_revoke_of_a_lowered_user),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_a_node_that_asks_nobody),
        cmocka_unit_test(test_hostile_bytes),
        cmocka_unit_test(test_nothing_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
