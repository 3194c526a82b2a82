/* SPDX-License-Identifier: Apache-2.0 */
#include "access/password.h"
#include "fixture.h"

static const struct password_cost cheap = {.memory = 8192, .passes = 1};

static void test_rules(void **state UNUSED)
{
    static char longest[PASSWORD_MAX + 1];
    static const struct {
        const char *password;
        const char *word; /* of the sentence that refuses it; NULL: it is taken */
    } cases[] = {
        {"0123456789", NULL},
        {"          ", NULL},
        {"correct horse battery staple", NULL},
        {"\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f\xe2\x82\xac", NULL},
        {"", "10 to 1024"},
        {"012345678", "10 to 1024"},
        {"\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f", "10 to 1024"}, /* it is bytes that count */
        {"0123456789\xff", "UTF-8"},
        {"0123456789\xc0\x80", "UTF-8"},
        {"administrator", "name"},
        {"AdministratoR", "name"},
        {"administrators", NULL},
    };
    struct {
        struct tw_error error;
    } one = {0}, *f = &one;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *p = cases[i].password;
        if (cases[i].word)
            assert_fails(
                f, password_check(p, strlen(p), "administrator", &f->error), TW_INVALID_ARGUMENT, cases[i].word);
        else
            assert_ok(f, password_check(p, strlen(p), "administrator", &f->error));
    }
    memset(longest, 'x', sizeof longest);
    assert_ok(f, password_check(longest, PASSWORD_MAX, "ann", &f->error));
    assert_fails(f, password_check(longest, PASSWORD_MAX + 1, "ann", &f->error), TW_INVALID_ARGUMENT, "1024");
    assert_fails(f,
        password_check("01234\0"
                       "56789",
            11, "ann", &f->error),
        TW_INVALID_ARGUMENT, "UTF-8");
}

static void test_hashes(void **state UNUSED)
{
    struct password_hash one, other;
    assert_int_equal(password_hash("correct horse", 13, &cheap, &one), 0);
    assert_int_equal(password_hash("correct horse", 13, &cheap, &other), 0);
    assert_string_not_equal(one.text, other.text); /* each has its salt */
    assert_memory_equal(one.text, "$argon2id$v=19$m=8,t=1,p=1$", 27);
    assert_int_equal(password_matches(&one, "correct horse", 13), 1);
    assert_int_equal(password_matches(&other, "correct horse", 13), 1);
    assert_int_equal(password_matches(&one, "correct horsE", 13), 0);
    assert_int_equal(password_matches(&one, "correct horse", 12), 0);
    assert_int_equal(password_matches(&one, "", 0), 0);
    static const struct password_cost dearer = {.memory = 16384, .passes = 1}, longer = {.memory = 8192, .passes = 2};
    assert_false(password_is_outdated(&one, &cheap));
    assert_true(password_is_outdated(&one, &dearer));
    assert_true(password_is_outdated(&one, &longer));
}

static void test_costs(void **state UNUSED)
{
    static const struct password_cost usual = {0}, absurd = {.memory = (size_t)1 << 41, .passes = 1};
    struct password_hash hash;
    assert_int_equal(password_hash("correct horse", 13, &usual, &hash), 0);
    assert_memory_equal(hash.text, "$argon2id$v=19$m=19456,t=3,p=1$", 31);
    assert_int_equal(password_matches(&hash, "correct horse", 13), 1);
    assert_false(password_is_outdated(&hash, &usual));
    assert_true(password_hash("correct horse", 13, &absurd, &hash) < 0);
    assert_string_equal(hash.text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_hashes),
        cmocka_unit_test(test_costs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
