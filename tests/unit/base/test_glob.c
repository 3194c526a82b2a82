/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <string.h>

#include "base/glob.h"
#include "base/util.h"

struct pair {
    const char *pattern, *path;
};

static void what_is_covered(void **state UNUSED)
{
    static const struct pair pairs[] = {
        {"a", "a"},
        {"a", "a/b/c"},
        {"a/", "a/b"},
        {"*", "a"},
        {"*", ".hidden/x"},
        {"*.csv", "x.csv"},
        {"*.csv", ".csv"},
        {"*.csv", "x.csv/inside"},
        {"out/*.csv", "out/x.csv"},
        {"a*b*c", "aXbXbXc"},
        {"a*b*c", "abc"},
        {"**", "a"},
        {"**", "a/b/c"},
        {"**/x", "x"},
        {"**/x", "a/b/x"},
        {"**/x", "a/x/b/x/c"},
        {"a/**/x", "a/x"},
        {"a/**/b/**/x", "a/1/2/b/3/x"},
        {"a/**", "a/b"},
        {"a/**", "a"},
        {"**/a/**/a", "a/b/a"},
        {"?", "x"},
        {"?", "\xc3\xa4"},
        {"[a-c]", "b"},
        {"[!a-c]", "d"},
        {"[^a-c]", "d"},
        {"[]x]", "]"},
        {"[a-]", "-"},
        {"[\\]]", "]"},
        {"[\xc3\xa0-\xc3\xbf]", "\xc3\xa4"},
        {"\\*", "*"},
        {"\\[", "["},
        {"a***b", "ab"},
        {"***", "a"},
    };
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        if (!glob_covers(pairs[i].pattern, pairs[i].path))
            fail_msg("\"%s\" should cover \"%s\"", pairs[i].pattern, pairs[i].path);
        assert_null(glob_flaw(pairs[i].pattern));
    }
}

static void what_is_not_covered(void **state UNUSED)
{
    static const struct pair pairs[] = {
        {"a", "b"},
        {"a", "ab"},
        {"ab", "a"},
        {"a/b", "a"},
        {"*", ""},
        {"*.csv", "csv"},
        {"*.csv", "a/x.csv"},
        {"out/*.csv", "out/a/x.csv"},
        {"a*b*c", "aXbXb"},
        {"**/x", "a/xy"},
        {"a/**/x", "a/b"},
        {"a/**/x", "b/x"},
        {"?", "xy"},
        {"?", "/"},
        {"[a-c]", "d"},
        {"[!a-c]", "b"},
        {"[c-a]", "b"},
        {"\\*", "x"},
        {"a/?/b", "a/b"},
    };
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        if (glob_covers(pairs[i].pattern, pairs[i].path))
            fail_msg("\"%s\" should not cover \"%s\"", pairs[i].pattern, pairs[i].path);
    }
}

static void what_is_no_pattern(void **state UNUSED)
{
    static const char *const patterns[] = {"", "/", "/a", "a//b", ".", "..", "../a", "a/..", "./a", "a/./b", "[", "a[b",
        "[]", "[!]", "[\\]", "a\\", "a\\/b", "a\nb", "\xff", "[a/b]"};
    for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
        if (!glob_flaw(patterns[i]))
            fail_msg("\"%s\" should be refused", patterns[i]);
    }
    char longest[257];
    memset(longest, 'a', sizeof longest);
    longest[255] = '\0';
    assert_null(glob_flaw(longest));
    longest[255] = 'a';
    longest[256] = '\0';
    assert_non_null(glob_flaw(longest));
}

/* With a way back to each star this would take longer than anybody waits. */
static void many_stars_are_no_trouble(void **state UNUSED)
{
    char pattern[512] = "", path[1024], deep[512] = "";
    for (int i = 0; i < 80; i++)
        strcat(pattern, "*a");
    strcat(pattern, "b");
    memset(path, 'a', 250);
    path[250] = '\0';
    assert_false(glob_covers(pattern, path));
    for (int i = 0; i < 80; i++)
        strcat(deep, "**/a/");
    strcat(deep, "b");
    path[0] = '\0';
    for (int i = 0; i < 400; i++)
        strcat(path, "a/");
    path[strlen(path) - 1] = '\0';
    assert_false(glob_covers(deep, path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_covered),
        cmocka_unit_test(what_is_not_covered),
        cmocka_unit_test(what_is_no_pattern),
        cmocka_unit_test(many_stars_are_no_trouble),
    };
    return cmocka_run_group_tests_name("glob", tests, NULL, NULL);
}
