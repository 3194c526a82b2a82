/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "fixture.h"

static int setup(void **state)
{
    fixture_setup(state);
    fixture_open(*state);
    fixture_add_user(*state, "ann", ROLE_OPERATOR);
    return 0;
}

static enum accounts_verdict check_text(struct fixture *f, const char *text)
{
    struct who who;
    enum accounts_verdict verdict = accounts_check_token(f->a, text, strlen(text), clock_wall_us(), &who);
    assert_int_equal(who.role, verdict == ACCOUNTS_OK ? ROLE_OPERATOR : ROLE_MAX);
    return verdict;
}

struct listed {
    size_t n;
    struct accounts_token last;
    char names[300];
};

static bool list_one(void *ctx, const struct accounts_token *token)
{
    struct listed *l = ctx;
    size_t len = strlen(l->names);
    snprintf(l->names + len, sizeof l->names - len, "%s ", token->name);
    l->last = *token;
    l->n++;
    return true;
}

static struct listed list(struct fixture *f, const char *user)
{
    struct listed l = {0};
    assert_ok(f, accounts_list_tokens(f->a, user, list_one, &l, &f->error));
    return l;
}

static void test_check(void **state)
{
    struct fixture *f = *state;
    struct who who;
    struct token token = fixture_add_token(f, "ann", "laptop", ROLE_OPERATOR), other;
    for (int again = 0; again < 2; again++, fixture_reopen(f)) {
        assert_int_equal(fixture_check(f, &token, &who), ACCOUNTS_OK);
        assert_string_equal(who.user, "ann");
        assert_int_equal(who.user_id, fixture_user(f, "ann").id);
        assert_int_equal(who.role, ROLE_OPERATOR);
        assert_string_equal(who.token, list(f, "ann").last.id);
        assert_true(accounts_still_valid(f->a, &who, clock_wall_us()));
    }
    assert_int_equal(check_text(f, ""), ACCOUNTS_MALFORMED);
    assert_int_equal(check_text(f, "Bearer x"), ACCOUNTS_MALFORMED);
    assert_int_equal(check_text(f, "twt_"), ACCOUNTS_MISTYPED);
    assert_int_equal(token_make(&other), 0);
    assert_int_equal(check_text(f, other.text), ACCOUNTS_UNKNOWN);
    assert_int_equal(check_text(f, token.text), ACCOUNTS_OK);
    token.text[20] = token.text[20] == 'A' ? 'B' : 'A';
    assert_int_equal(check_text(f, token.text), ACCOUNTS_MISTYPED);
    for (enum accounts_verdict v = 0; v < ACCOUNTS_VERDICT_MAX; v++)
        assert_true(*accounts_verdict_to_string(v));
    assert_string_equal(accounts_verdict_to_string(ACCOUNTS_VERDICT_MAX), "unknown");
}

/* The same id is not enough. */
static void test_same_id(void **state)
{
    struct fixture *f = *state;
    struct token token = fixture_add_token(f, "ann", "t", ROLE_OPERATOR);
    fixture_close(f);
    fixture_sql(f, "UPDATE tokens SET digest = CAST(substr(digest, 1, 31) || x'00' AS BLOB) WHERE name = 't'");
    fixture_open(f);
    assert_int_equal(fixture_check(f, &token, NULL), token.digest[31] == 0 ? ACCOUNTS_OK : ACCOUNTS_UNKNOWN);
}

/* Somebody who never was. */
static void test_made_up(void **state)
{
    struct fixture *f = *state;
    struct who who, other;
    uint64_t now = clock_wall_us();
    struct token token = fixture_add_token(f, "ann", "t", ROLE_OPERATOR);
    assert_int_equal(fixture_check(f, &token, &who), ACCOUNTS_OK);
    other = who;
    other.user_id++;
    assert_false(accounts_still_valid(f->a, &other, now));
    assert_int_equal(fixture_check(f, &f->first, &other), ACCOUNTS_OK);
    memcpy(other.token, who.token, sizeof other.token);
    assert_false(accounts_still_valid(f->a, &other, now));
    other = who;
    other.token[0] ^= 1;
    assert_false(accounts_still_valid(f->a, &other, now));
    assert_true(accounts_still_valid(f->a, &who, now));
}

/* A token never does more than its user, nor more than it was made for. */
static void test_limited(void **state)
{
    struct fixture *f = *state;
    struct who who;
    struct token refused, low = fixture_add_token(f, "ann", "low", ROLE_VIEWER);
    struct token high = fixture_add_token(f, "ann", "high", ROLE_OPERATOR);
    assert_fails(f, accounts_add_token(f->a, "ann", "more", ROLE_ADMIN, 0, &refused, &f->error), TW_INVALID_ARGUMENT,
        "operator at most");
    assert_fails(
        f, accounts_add_token(f->a, "ann", "more", ROLE_MAX, 0, &refused, &f->error), TW_INVALID_ARGUMENT, "most");
    static const struct {
        enum role user, low, high;
    } steps[] = {{ROLE_OPERATOR, ROLE_VIEWER, ROLE_OPERATOR}, {ROLE_SUBMITTER, ROLE_VIEWER, ROLE_SUBMITTER},
        {ROLE_VIEWER, ROLE_VIEWER, ROLE_VIEWER}, {ROLE_ADMIN, ROLE_VIEWER, ROLE_OPERATOR}};
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        assert_ok(f, accounts_set_role(f->a, "ann", steps[i].user, &f->error));
        assert_int_equal(fixture_check(f, &low, &who), ACCOUNTS_OK);
        assert_int_equal(who.role, steps[i].low);
        assert_int_equal(fixture_check(f, &high, &who), ACCOUNTS_OK);
        assert_int_equal(who.role, steps[i].high);
    }
}

static void test_disabled(void **state)
{
    struct fixture *f = *state;
    struct token token = fixture_add_token(f, "ann", "t", ROLE_VIEWER);
    assert_ok(f, accounts_set_disabled(f->a, "ann", true, &f->error));
    assert_int_equal(fixture_check(f, &token, NULL), ACCOUNTS_DISABLED);
    assert_ok(f, accounts_set_disabled(f->a, "ann", false, &f->error));
    assert_int_equal(fixture_check(f, &token, NULL), ACCOUNTS_OK);
}

static void test_expiry(void **state)
{
    struct fixture *f = *state;
    struct who who;
    struct token token;
    uint64_t now = clock_wall_us(), end = now + 1000 * SECOND;
    assert_fails(f, accounts_add_token(f->a, "ann", "t", ROLE_VIEWER, now, &token, &f->error), TW_INVALID_ARGUMENT,
        "expired already");
    assert_ok(f, accounts_add_token(f->a, "ann", "t", ROLE_VIEWER, end, &token, &f->error));
    for (int again = 0; again < 2; again++, fixture_reopen(f)) {
        assert_int_equal(accounts_check_token(f->a, token.text, TOKEN_TEXT_LEN, end - 1, &who), ACCOUNTS_OK);
        assert_true(accounts_still_valid(f->a, &who, end - 1));
        assert_false(accounts_still_valid(f->a, &who, end));
        assert_int_equal(accounts_check_token(f->a, token.text, TOKEN_TEXT_LEN, end, &who), ACCOUNTS_EXPIRED);
        assert_int_equal(who.role, ROLE_MAX);
        assert_int_equal(list(f, "ann").last.expires_us, end);
    }
}

static void test_revoked(void **state)
{
    struct fixture *f = *state;
    struct who who;
    struct token token = fixture_add_token(f, "ann", "t", ROLE_VIEWER), again;
    assert_int_equal(fixture_check(f, &token, &who), ACCOUNTS_OK);
    assert_fails(
        f, accounts_add_token(f->a, "ann", "t", ROLE_VIEWER, 0, &again, &f->error), TW_ALREADY_EXISTS, who.token);
    assert_fails(f, accounts_revoke_token(f->a, "0123456789abcdef", NULL, &f->error), TW_NOT_FOUND, "0123456789abcdef");
    assert_fails(f, accounts_revoke_token(f->a, "", NULL, &f->error), TW_NOT_FOUND, "no token");
    /* Another one's is as if it were not there. */
    assert_fails(f, accounts_revoke_token(f->a, who.token, "admin", &f->error), TW_NOT_FOUND, "no token");
    assert_int_equal(fixture_check(f, &token, NULL), ACCOUNTS_OK);
    struct accounts_token found;
    assert_ok(f, accounts_find_token(f->a, who.token, &found, &f->error));
    assert_true(found.revoked_us == 0 && !strcmp(found.user, "ann") && !strcmp(found.id, who.token));
    assert_fails(f, accounts_find_token(f->a, "0123456789abcdef", &found, &f->error), TW_NOT_FOUND, "no token");
    assert_ok(f, accounts_revoke_token(f->a, who.token, "ann", &f->error));
    assert_ok(f, accounts_find_token(f->a, who.token, &found, &f->error));
    assert_true(found.revoked_us > 0);
    uint64_t revoked = list(f, "ann").last.revoked_us;
    assert_true(revoked > 0);
    assert_ok(f, accounts_revoke_token(f->a, who.token, NULL, &f->error));
    for (int round = 0; round < 2; round++, fixture_reopen(f)) {
        assert_int_equal(fixture_check(f, &token, NULL), ACCOUNTS_REVOKED);
        assert_false(accounts_still_valid(f->a, &who, clock_wall_us()));
        assert_int_equal(list(f, "ann").last.revoked_us, revoked);
        assert_int_equal(fixture_user(f, "ann").tokens, 0);
    }
    again = fixture_add_token(f, "ann", "t", ROLE_VIEWER); /* the name is free again */
    assert_int_equal(fixture_check(f, &again, NULL), ACCOUNTS_OK);
}

static void test_names(void **state)
{
    struct fixture *f = *state;
    struct token token;
    static const char longest[] = "0123456789012345678901234567890123456789012345678901234567890123";
    static const char *const bad[] = {"", "a\nb", "\x1b[2J", "\xff", "\xe2\x80\xae",
        "01234567890123456789012345678901234567890123456789012345678901234"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_fails(f, accounts_add_token(f->a, "ann", bad[i], ROLE_VIEWER, 0, &token, &f->error), TW_INVALID_ARGUMENT,
            "name of a token");
    assert_fails(f, accounts_add_token(f->a, "bob", "t", ROLE_VIEWER, 0, &token, &f->error), TW_NOT_FOUND, "'bob'");
    (void)fixture_add_token(f, "ann", "\xc3\x84nn's CI", ROLE_VIEWER);
    (void)fixture_add_token(f, "ann", longest, ROLE_VIEWER);
    fixture_reopen(f);
    assert_string_equal(list(f, "ann").last.name, longest);
    struct listed l = {0};
    assert_fails(f, accounts_list_tokens(f->a, "bob", list_one, &l, &f->error), TW_NOT_FOUND, "'bob'");
}

static void test_last_used(void **state)
{
    struct fixture *f = *state;
    struct who who;
    uint64_t now = clock_wall_us();
    struct token token = fixture_add_token(f, "ann", "t", ROLE_VIEWER);
    assert_int_equal(list(f, "ann").last.used_us, 0);
    assert_ok(f, accounts_flush(f->a, &f->error));
    assert_int_equal(accounts_check_token(f->a, token.text, TOKEN_TEXT_LEN, now + 5, &who), ACCOUNTS_OK);
    assert_int_equal(
        accounts_check_token(f->a, token.text, TOKEN_TEXT_LEN, now + 3, &who), ACCOUNTS_OK); /* the clock was set */
    assert_int_equal(list(f, "ann").last.used_us, now + 5);
    assert_ok(f, accounts_flush(f->a, &f->error));
    assert_ok(f, accounts_flush(f->a, &f->error));
    assert_int_equal(accounts_check_token(f->a, token.text, TOKEN_TEXT_LEN, now + 7, &who), ACCOUNTS_OK);
    fixture_reopen(f); /* writes it too */
    assert_int_equal(list(f, "ann").last.used_us, now + 7);
    /* One that goes with its user while its time waits to be written. */
    assert_int_equal(accounts_check_token(f->a, token.text, TOKEN_TEXT_LEN, now + 9, &who), ACCOUNTS_OK);
    assert_ok(f, accounts_remove_user(f->a, "ann", &f->error));
    assert_ok(f, accounts_flush(f->a, &f->error));
}

static void test_as_many_as_there_may_be(void **state)
{
    struct fixture *f = *state;
    struct token token, second;
    struct who who;
    char name[20];
    for (int i = 0; i < ACCOUNTS_USER_TOKENS_MAX; i++) {
        snprintf(name, sizeof name, "t%d", i);
        token = fixture_add_token(f, "ann", name, ROLE_VIEWER);
        if (i == 1)
            second = token;
    }
    assert_fails(f, accounts_add_token(f->a, "ann", "t", ROLE_VIEWER, 0, &token, &f->error), TW_RESOURCE_EXHAUSTED,
        "revoke some");
    (void)fixture_add_token(f, "admin", "t", ROLE_VIEWER); /* others have room of their own */
    assert_int_equal(fixture_check(f, &second, &who), ACCOUNTS_OK);
    assert_ok(f, accounts_revoke_token(f->a, who.token, NULL, &f->error));
    token = fixture_add_token(f, "ann", "t", ROLE_VIEWER);
    for (int again = 0; again < 2; again++, fixture_reopen(f)) {
        struct listed l = list(f, "ann");
        assert_int_equal(l.n, ACCOUNTS_USER_TOKENS_MAX);
        assert_memory_equal(l.names, "t0 t2 ", 6);
        assert_int_equal(fixture_check(f, &second, NULL), ACCOUNTS_UNKNOWN);
        assert_int_equal(fixture_check(f, &token, NULL), ACCOUNTS_OK);
    }
}

/* The secret is nowhere in the file, nor are the digests of tokens that went with their user. */
static bool file_has(struct fixture *f, const void *what, size_t len)
{
    FILE *file = fopen(f->path, "rb");
    assert_non_null(file);
    static char bytes[1 << 20];
    size_t n = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    return memmem(bytes, n, what, len) != NULL;
}

static void test_what_is_kept(void **state)
{
    struct fixture *f = *state;
    struct token token = fixture_add_token(f, "ann", "t", ROLE_VIEWER);
    fixture_close(f);
    assert_true(file_has(f, token.digest, TOKEN_DIGEST_BYTES));
    assert_false(file_has(f, token.text + 4, 40));
    fixture_open(f);
    assert_ok(f, accounts_remove_user(f->a, "ann", &f->error));
    fixture_close(f);
    assert_false(file_has(f, token.digest, TOKEN_DIGEST_BYTES));
    fixture_open(f);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_check),
        TEST(test_same_id),
        TEST(test_made_up),
        TEST(test_limited),
        TEST(test_disabled),
        TEST(test_expiry),
        TEST(test_revoked),
        TEST(test_names),
        TEST(test_last_used),
        TEST(test_as_many_as_there_may_be),
        TEST(test_what_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
