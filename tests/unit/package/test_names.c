/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "package/names.h"

static void what_a_name_can_be(void **state UNUSED)
{
    static const char *const good[] = {"a", "a/b", "...", ".a", "a b", "\xc3\xa4/\xe6\x97\xa5", "a:b", "-"};
    static const char *const bad[] = {
        "/a", "a//b", "..", "../a", "a/..", "./a", "a/./b", "a\\b", "a\nb", "\x1b", "\xff", "\xc0\xaf", "a/", ""};
    char deep[2 * NAMES_DEPTH_MAX + 4] = "", part[NAMES_PART_MAX + 2];
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_null(names_flaw(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (!names_flaw(bad[i]))
            fail_msg("\"%s\" should be refused", bad[i]);
    }
    for (int i = 0; i < NAMES_DEPTH_MAX; i++)
        strcat(deep, i ? "/a" : "a");
    assert_null(names_flaw(deep));
    assert_non_null(names_flaw(strcat(deep, "/a")));
    memset(part, 'a', sizeof part);
    part[NAMES_PART_MAX] = '\0';
    assert_null(names_flaw(part));
    part[NAMES_PART_MAX] = 'a';
    part[NAMES_PART_MAX + 1] = '\0';
    assert_non_null(names_flaw(part));
}

static void trimmed(void **state UNUSED)
{
    char out[NAMES_PATH_MAX], large[NAMES_PATH_MAX + 1];
    static const struct {
        const char *raw, *path;
    } cases[] = {{"a", "a"}, {"./a", "a"}, {"././a/", "a"}, {".", ""}, {"./", ""}, {"", ""}, {"a//", "a/"}, {"/", ""},
        {".a", ".a"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_true(names_trim(cases[i].raw, out));
        assert_string_equal(out, cases[i].path);
    }
    memset(large, 'a', sizeof large);
    large[NAMES_PATH_MAX] = '\0';
    assert_false(names_trim(large, out));
}

static void where_links_lead(void **state UNUSED)
{
    assert_true(names_link_stays("a", "b"));
    assert_true(names_link_stays("a/b", "../c"));
    assert_true(names_link_stays("a/b/c", "../../d/./e/../f"));
    assert_true(names_link_stays("a", "."));
    assert_false(names_link_stays("a", ".."));
    assert_false(names_link_stays("a", "/etc/passwd"));
    assert_false(names_link_stays("a", ""));
    assert_false(names_link_stays("a/b", "../../c"));
    assert_false(names_link_stays("a", "b/../../c"));
    assert_false(names_link_stays("a", "b\nc"));
}

static void beside_each_other(void **state UNUSED)
{
    struct names names;
    bool oom;
    assert_int_equal(names_init(&names), 0);
    assert_null(names_add(&names, "a/b", false, &oom));
    assert_null(names_add(&names, "a", true, &oom)); /* after what is in it */
    assert_null(names_add(&names, "a/c", false, &oom));
    assert_non_null(names_add(&names, "a", true, &oom));
    assert_non_null(names_add(&names, "a/b", false, &oom));
    assert_non_null(names_add(&names, "a/B", false, &oom));
    assert_non_null(names_add(&names, "A/d", false, &oom));
    assert_non_null(names_add(&names, "a/b/c", false, &oom)); /* a file for a folder */
    assert_null(names_add(&names,
        "stra\xc3\x9f"
        "e",
        false, &oom));
    assert_null(names_add(&names, "\xc3\x84", false, &oom));
    assert_non_null(names_add(&names, "\xc3\xa4", false, &oom)); /* a letter with dots, small and large */
    assert_null(names_add(&names, "x", false, &oom));
    assert_non_null(names_add(&names, "x", true, &oom));
    assert_false(oom);
    names_done(&names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_name_can_be),
        cmocka_unit_test(trimmed),
        cmocka_unit_test(where_links_lead),
        cmocka_unit_test(beside_each_other),
    };
    return cmocka_run_group_tests_name("package_names", tests, NULL, NULL);
}
