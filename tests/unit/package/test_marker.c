/* SPDX-License-Identifier: Apache-2.0 */
/* Environment markers: their one form, and what is none. */
#include "unit.h"

#include <errno.h>

#include "package/marker.h"

static bool normalise(const char *text, struct buf *out)
{
    buf_reset(out);
    return marker_normalise(text, strlen(text), out) && buf_append_u8(out, '\0') == 0;
}

static void one_form(void **state)
{
    static const struct {
        const char *text, *form;
    } cases[] = {
        {"python_version<'3.8'", "python_version < \"3.8\""},
        {" \tos_name  ==\t\"posix\" ", "os_name == \"posix\""},
        {"'linux' in sys_platform", "\"linux\" in sys_platform"},
        {"sys_platform not  in \"win32, darwin\"", "sys_platform not in \"win32, darwin\""},
        {"((python_version>='3')and(os_name=='nt'or'a'==os_name))",
            "((python_version >= \"3\") and (os_name == \"nt\" or \"a\" == os_name))"},
        {"python_version ~= '3.8' and python_full_version === '3.8.1'",
            "python_version ~= \"3.8\" and python_full_version === \"3.8.1\""},
        {"implementation_version==platform_version", "implementation_version == platform_version"},
        {"os_name == ''", "os_name == \"\""},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_BUF struct buf out = BUF_INIT(1024), again = BUF_INIT(1024);
        if (!normalise(cases[i].text, &out))
            fail_msg("'%s' is refused", cases[i].text);
        assert_string_equal((char *)out.data, cases[i].form);
        assert_true(normalise((char *)out.data, &again));
        assert_string_equal((char *)again.data, cases[i].form);
    }
}

static void what_is_none(void **state)
{
    static const char *const cases[] = {"", " ", "python_version", "python_version <", "< '3'", "'a' == 'b'",
        "extra == 'test'", "os.name == 'posix'", "python_versions == '3'", "python_version == '3",
        "python_version == 3", "python_version == \"3'", "python_version = '3'", "python_version == '3' and",
        "and python_version == '3'", "python_version == '3' os_name == 'nt'", "(python_version == '3'",
        "python_version == '3')", "()", "python_version == '3' AND os_name == 'nt'", "sys_platform notin 'a'",
        "sys_platform not 'a'", "os_name == 'a\"b'", "os_name == 'a#b'", "os_name == 'a\\b'", "os_name == 'a$b'",
        "os_name == 'a;b'", "os_name == 'a' ; os_name == 'b'", "os_name == 'a' or or os_name == 'b'",
        "os_nameorsys_platform == 'b'"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_BUF struct buf out = BUF_INIT(1024);
        if (normalise(cases[i], &out))
            fail_msg("'%s' is taken", cases[i]);
        assert_int_equal(out.len, 0);
    }
    CLEANUP_BUF struct buf out = BUF_INIT(1024);
    assert_false(marker_normalise("os_name == 'a\0b'", 16, &out));
    assert_false(marker_normalise("os_name == 'ab'\0", 16, &out));
}

static void bounds(void **state)
{
    char text[128];
    (void)state;
    for (int depth = MARKER_DEPTH_MAX; depth <= MARKER_DEPTH_MAX + 1; depth++) {
        CLEANUP_BUF struct buf out = BUF_INIT(1024);
        snprintf(text, sizeof text, "%.*sos_name=='a'%.*s", depth, "((((((((((((((((((", depth, "))))))))))))))))))");
        assert_int_equal(normalise(text, &out), depth == MARKER_DEPTH_MAX);
    }
    CLEANUP_BUF struct buf small = BUF_INIT(10);
    assert_false(marker_normalise("os_name=='a'", 12, &small));
    assert_int_equal(small.error, -E2BIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_form),
        cmocka_unit_test(what_is_none),
        cmocka_unit_test(bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
