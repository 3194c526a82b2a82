/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "fixture.h"

#define HASH "$argon2id$v=19$m=19456,t=3,p=1$c29tZXNhbHRzb21lc2FsdA$aGFzaA"

static int setup(void **state)
{
    fixture_setup(state);
    fixture_open(*state);
    return 0;
}

static void test_names(void **state)
{
    struct fixture *f = *state;
    static const char longest[] = "a123456789012345678901234567890123456789012345678901234567890123";
    static const char *const good[] = {"a", "z9", "ann", "ann.b-c_d@example.org", longest};
    static const char *const bad[] = {"", " ", "Ann", "9ann", "-ann", ".ann", "ann.", "ann-", "ann@", "an n", "an/n",
        "an\nn", "ann\x80", "\xc3\xa4nn", "an:n", "an*", "an'n", "an%n", "@",
        "a1234567890123456789012345678901234567890123456789012345678901234"};
    assert_int_equal(strlen(longest), ACCOUNTS_NAME_MAX);
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        fixture_add_user(f, good[i], ROLE_VIEWER);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_fails(f, accounts_check_name(bad[i], &f->error), TW_INVALID_ARGUMENT, "name of a user");
        assert_fails(f, accounts_add_user(f->a, bad[i], ROLE_VIEWER, &f->error), TW_INVALID_ARGUMENT, "name of a user");
        struct accounts_user user;
        assert_fails(f, accounts_find_user(f->a, bad[i], &user, &f->error), TW_NOT_FOUND, "no user");
    }
    assert_fails(f, accounts_add_user(f->a, "bob", ROLE_MAX, &f->error), TW_INVALID_ARGUMENT, "role");
    assert_fails(f, accounts_add_user(f->a, "bob", (enum role) - 1, &f->error), TW_INVALID_ARGUMENT, "role");
}

static void assert_ann(struct fixture *f, enum role role, bool disabled, bool has_password)
{
    struct accounts_user ann = fixture_user(f, "ann");
    assert_string_equal(ann.name, "ann");
    assert_int_equal(ann.role, role);
    assert_int_equal(ann.disabled, disabled);
    assert_int_equal(ann.has_password, has_password);
    assert_true(ann.created_us > 0 && ann.changed_us >= ann.created_us);
}

/* What is there is there after the next start as well. */
static void test_changes(void **state)
{
    struct fixture *f = *state;
    fixture_add_user(f, "ann", ROLE_SUBMITTER);
    for (int again = 0; again < 2; again++, fixture_reopen(f))
        assert_ann(f, ROLE_SUBMITTER, false, false);
    assert_fails(f, accounts_add_user(f->a, "ann", ROLE_ADMIN, &f->error), TW_ALREADY_EXISTS, "'ann'");
    assert_ok(f, accounts_set_role(f->a, "ann", ROLE_OPERATOR, &f->error));
    assert_ok(f, accounts_set_password(f->a, "ann", HASH, &f->error));
    assert_ok(f, accounts_set_disabled(f->a, "ann", true, &f->error));
    for (int again = 0; again < 2; again++, fixture_reopen(f)) {
        assert_ann(f, ROLE_OPERATOR, true, true);
        assert_string_equal(accounts_hash(f->a, "ann"), HASH);
    }
    assert_ok(f, accounts_set_password(f->a, "ann", NULL, &f->error));
    assert_ok(f, accounts_set_disabled(f->a, "ann", false, &f->error));
    for (int again = 0; again < 2; again++, fixture_reopen(f)) {
        assert_ann(f, ROLE_OPERATOR, false, false);
        assert_null(accounts_hash(f->a, "ann"));
    }
    assert_null(accounts_hash(f->a, "bob"));
    assert_fails(f, accounts_set_role(f->a, "ann", ROLE_MAX, &f->error), TW_INVALID_ARGUMENT, "role");
    assert_fails(f, accounts_set_password(f->a, "ann", "secret", &f->error), TW_INVALID_ARGUMENT, "hash");
    assert_fails(f, accounts_set_role(f->a, "bob", ROLE_ADMIN, &f->error), TW_NOT_FOUND, "'bob'");
    assert_fails(f, accounts_set_password(f->a, "bob", HASH, &f->error), TW_NOT_FOUND, "'bob'");
    assert_fails(f, accounts_set_disabled(f->a, "bob", true, &f->error), TW_NOT_FOUND, "'bob'");
    assert_fails(f, accounts_remove_user(f->a, "bob", &f->error), TW_NOT_FOUND, "'bob'");
}

/* Nobody gets what belonged to one who is gone: not by name, nor by number, nor by a token. */
static void test_removed(void **state)
{
    struct fixture *f = *state;
    struct who ann, dan;
    fixture_add_user(f, "ann", ROLE_SUBMITTER);
    struct token token = fixture_add_token(f, "ann", "t", ROLE_SUBMITTER);
    assert_int_equal(fixture_check(f, &token, &ann), ACCOUNTS_OK);
    assert_ok(f, accounts_remove_user(f->a, "ann", &f->error));
    for (int again = 0; again < 2; again++, fixture_reopen(f)) {
        assert_string_equal(fixture_users(f), "admin ");
        assert_int_equal(fixture_check(f, &token, NULL), ACCOUNTS_UNKNOWN);
        assert_false(accounts_still_valid(f->a, &ann, clock_wall_us()));
        assert_fails(f, accounts_add_user(f->a, "ann", ROLE_VIEWER, &f->error), TW_ALREADY_EXISTS, "was removed at 2");
        assert_fails(f, accounts_remove_user(f->a, "ann", &f->error), TW_NOT_FOUND, "'ann'");
    }
    fixture_add_user(f, "dan", ROLE_SUBMITTER);
    assert_ok(f, accounts_who(f->a, "dan", &dan, &f->error));
    assert_true(dan.user_id > ann.user_id);
    /* Even if the rows were thrown away. */
    fixture_close(f);
    fixture_sql(f, "DELETE FROM users WHERE name = 'dan' OR name = 'ann'");
    fixture_open(f);
    fixture_add_user(f, "ann", ROLE_SUBMITTER);
    assert_true(fixture_user(f, "ann").id > dan.user_id);
    assert_false(accounts_still_valid(f->a, &ann, clock_wall_us()));
}

static void assert_last(struct fixture *f, const char *name)
{
    assert_fails(f, accounts_remove_user(f->a, name, &f->error), TW_FAILED_PRECONDITION, "last administrator");
    assert_fails(f, accounts_set_disabled(f->a, name, true, &f->error), TW_FAILED_PRECONDITION, "last administrator");
    assert_fails(
        f, accounts_set_role(f->a, name, ROLE_OPERATOR, &f->error), TW_FAILED_PRECONDITION, "last administrator");
    assert_int_equal(fixture_user(f, name).role, ROLE_ADMIN);
    assert_false(fixture_user(f, name).disabled);
}

static void test_last_admin(void **state)
{
    struct fixture *f = *state;
    assert_last(f, "admin");
    fixture_add_user(f, "ann", ROLE_OPERATOR);
    fixture_add_user(f, "bob", ROLE_ADMIN);
    assert_ok(f, accounts_set_disabled(f->a, "bob", true, &f->error));
    assert_last(f, "admin"); /* one who is disabled is none */
    assert_ok(f, accounts_set_role(f->a, "admin", ROLE_ADMIN, &f->error));
    assert_ok(f, accounts_set_disabled(f->a, "bob", false, &f->error));
    assert_ok(f, accounts_remove_user(f->a, "admin", &f->error));
    assert_last(f, "bob");
    fixture_reopen(f);
    assert_last(f, "bob");
    assert_string_equal(f->first.text, "");
    assert_string_equal(fixture_users(f), "ann bob ");
}

static void test_still_valid(void **state)
{
    struct fixture *f = *state;
    struct who who, now;
    fixture_add_user(f, "ann", ROLE_SUBMITTER);
    struct token token = fixture_add_token(f, "ann", "t", ROLE_SUBMITTER);
    for (int change = 0; change < 5; change++) {
        assert_ok(f, accounts_who(f->a, "ann", &who, &f->error));
        assert_string_equal(who.token, "");
        fixture_reopen(f);
        assert_true(accounts_still_valid(f->a, &who, 1));
        if (change == 0)
            assert_ok(f, accounts_set_role(f->a, "ann", ROLE_OPERATOR, &f->error));
        else if (change == 1)
            assert_ok(f, accounts_set_password(f->a, "ann", HASH, &f->error));
        else if (change == 2)
            assert_ok(f, accounts_set_password(f->a, "ann", HASH, &f->error)); /* the same is another one, too */
        else if (change == 3)
            assert_ok(f, accounts_set_password(f->a, "ann", NULL, &f->error));
        else {
            assert_ok(f, accounts_set_disabled(f->a, "ann", true, &f->error));
            assert_fails(f, accounts_who(f->a, "ann", &now, &f->error), TW_PERMISSION_DENIED, "disabled");
            assert_int_equal(now.role, ROLE_MAX);
            assert_ok(f, accounts_set_disabled(f->a, "ann", false, &f->error));
        }
        assert_false(accounts_still_valid(f->a, &who, 1));
        assert_int_equal(fixture_check(f, &token, &now), ACCOUNTS_OK); /* the token is good, with the new generation */
        assert_true(accounts_still_valid(f->a, &now, clock_wall_us()));
    }
    /* What changes nothing ends no session. */
    assert_ok(f, accounts_who(f->a, "ann", &who, &f->error));
    assert_ok(f, accounts_set_role(f->a, "ann", ROLE_OPERATOR, &f->error));
    assert_ok(f, accounts_set_disabled(f->a, "ann", false, &f->error));
    assert_true(accounts_still_valid(f->a, &who, 1));
    assert_fails(f, accounts_who(f->a, "bob", &now, &f->error), TW_NOT_FOUND, "'bob'");
    const struct who nobody = {.role = ROLE_MAX};
    assert_false(accounts_still_valid(f->a, &nobody, 1));
}

static void test_rehash(void **state)
{
    struct fixture *f = *state;
    struct who who;
    fixture_add_user(f, "ann", ROLE_SUBMITTER);
    assert_ok(f, accounts_who(f->a, "ann", &who, &f->error));
    assert_fails(f, accounts_rehash(f->a, &who, HASH "2", &f->error), TW_ABORTED, "meanwhile");
    assert_ok(f, accounts_set_password(f->a, "ann", HASH, &f->error));
    assert_fails(f, accounts_rehash(f->a, &who, HASH "2", &f->error), TW_ABORTED, "meanwhile");
    assert_ok(f, accounts_who(f->a, "ann", &who, &f->error));
    assert_ok(f, accounts_rehash(f->a, &who, HASH "2", &f->error));
    assert_true(accounts_still_valid(f->a, &who, 1));
    fixture_reopen(f);
    assert_string_equal(accounts_hash(f->a, "ann"), HASH "2");
    assert_true(accounts_still_valid(f->a, &who, 1));
}

static bool take_two(void *ctx, const struct accounts_user *user)
{
    char *text = ctx;
    size_t len = strlen(text);
    snprintf(text + len, 100 - len, "%s ", user->name);
    return len == 0;
}

static void test_list(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *after, *names;
    } pages[] = {{NULL, "admin bob "}, {"bob", "dan eve "}, {"cyd", "dan eve "}, {"eve", "zoe "}, {"zoe", ""},
        {"", "admin bob "}};
    static const char *const names[] = {"zoe", "dan", "bob", "eve"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        fixture_add_user(f, names[i], ROLE_VIEWER);
    for (int again = 0; again < 2; again++, fixture_reopen(f)) {
        for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
            char text[100] = "";
            accounts_list_users(f->a, pages[i].after, take_two, text);
            assert_string_equal(text, pages[i].names);
        }
    }
}

/* More than there is room for at first, in an order that is none. */
static void test_many(void **state)
{
    struct fixture *f = *state;
    char name[20];
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "user-%d", i * 37 % 100);
        fixture_add_user(f, name, (enum role)(i % ROLE_MAX));
    }
    for (int i = 0; i < 100; i += 2) {
        snprintf(name, sizeof name, "user-%d", i);
        assert_ok(f, accounts_remove_user(f->a, name, &f->error));
    }
    fixture_reopen(f);
    for (int i = 0; i < 100; i++) {
        struct accounts_user user;
        snprintf(name, sizeof name, "user-%d", i);
        assert_int_equal(accounts_find_user(f->a, name, &user, &f->error), i % 2 ? 0 : -1);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_names),
        TEST(test_changes),
        TEST(test_removed),
        TEST(test_last_admin),
        TEST(test_still_valid),
        TEST(test_rehash),
        TEST(test_list),
        TEST(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
