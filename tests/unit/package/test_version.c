/* SPDX-License-Identifier: Apache-2.0 */
/* Versions and clauses as PEP 440 has them. */
#include "unit.h"

#include "package/version.h"

static const char *const good[] = {"1", "0", "1.0", "v1.0", "2024.11.3", "1!2.0", "1.0a1", "1.0.a.1", "1.0-ALPHA",
    "1.0rc1", "1.0c1", "1.0preview2", "1.0.post1", "1.0-1", "1.0-r4", "1.0.dev0", "1.0dev", "1.0a1.post2.dev3",
    "1.0a.post1", "1.0+local", "1.0+a.1-b_2", "1.0rc1+cu121", "00001.00"};
static const char *const bad[] = {"", "v", "a", ".1", "1.", "1..0", "1.x", "1!", "!1", "1.0+", "1.0+a..b", "1.0+.a",
    "1.0 ", " 1.0", "1.0 .0", "1.0a1a1", "1.0.dev1.post1", "1.0--1", "1.*", "latest", "1.0-", "1,0", "1.0+a+b"};

static void versions(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        if (!version_is_valid(good[i], strlen(good[i])))
            fail_msg("'%s' is refused", good[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (version_is_valid(bad[i], strlen(bad[i])))
            fail_msg("'%s' is taken", bad[i]);
    }
    assert_false(version_is_valid("1\0", 2));
    assert_false(version_is_valid("1.0\0a", 5));
    assert_true(version_is_valid("1.0garbage", 3));
}

static void clauses(void **state)
{
    static const char *const taken[] = {"==1.0", "==1.*", "!=1.2.*", ">=1", "<=2.0rc1", "<3", ">0", "~=1.4",
        "~=1.4.5a1", "===anything-1.x", "==1.0+local", "!=1.0+local", "==1!0.*"};
    static const char *const refused[] = {"", "1.0", "=1.0", "==", "==*", "==1.*.*", ">=1.*", "~=1", "~=1.*", "~=1!1",
        "<1.0+l", ">=1.0+l", "~=1.0+l", "===", "===a b", "===a,b", "=== 1", "== 1.0", "==1.0a1.*", "==1.0+l.*", ">>1",
        "<>1", "==1.", "==1.0.*x"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(taken); i++) {
        if (!version_clause_is_valid(taken[i], strlen(taken[i])))
            fail_msg("'%s' is refused", taken[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        if (version_clause_is_valid(refused[i], strlen(refused[i])))
            fail_msg("'%s' is taken", refused[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions),
        cmocka_unit_test(clauses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
