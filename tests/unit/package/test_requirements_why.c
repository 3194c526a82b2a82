/* SPDX-License-Identifier: Apache-2.0 */
/* What pip prints, and what a person is told of it. */
#include "unit.h"

#include "package/requirements.h"

static void assert_why(const char *output, const char *wanted)
{
    CLEANUP_FREE char *why = requirements_why(output, strlen(output));
    assert_non_null(why);
    assert_string_equal(why, wanted);
}

static void test_words_of_pip(void **state UNUSED)
{
    assert_why("", "pip said nothing");
    assert_why("\n\n", "pip said nothing");
    assert_why("Collecting x\nKilled", "Killed");
    assert_why("Looking in indexes: x\r\nERROR: one\r\nERROR: No matching distribution found for "
               "absent\r\n\r\n[notice] A new release\n",
        "No matching distribution found for absent");
    assert_why("/usr/bin/python3: No module named pip\n", "the node has no pip (Debian: python3-pip)");
    assert_why("ERROR: \n", "ERROR: ");
}

static void test_index_that_is_not_reached(void **state UNUSED)
{
    assert_why("WARNING: Retrying (Retry(total=1)) after connection broken by 'NewConnectionError('<a.HTTPConnection "
               "object at 0x7f>: "
               "Failed to establish a new connection: [Errno 111] Connection refused')': /simple/x/\n"
               "WARNING: Retrying (Retry(total=0)) after connection broken by 'other'\n"
               "ERROR: Could not find a version that satisfies the requirement x (from versions: none)\n",
        "the package index cannot be reached: Failed to establish a new connection: [Errno 111] Connection refused");
    assert_why("WARNING: Retrying (x) after connection broken by 'ReadTimeoutError(\"Read timed out.\")': "
               "/simple/x/\nERROR: no\n",
        "the package index cannot be reached: ReadTimeoutError(\"Read timed out.\")': /simple/x/");
}

/* It has spoken with whomever. */
static void test_any_bytes(void **state UNUSED)
{
    static const char bytes[] = "ERROR: a\0b\033[31m\377c";
    CLEANUP_FREE char *why = requirements_why(bytes, sizeof bytes - 1);
    assert_non_null(why);
    for (const char *p = why; *p; p++)
        assert_true((unsigned char)*p >= ' ');
    CLEANUP_FREE char *many = malloc(100000);
    assert_non_null(many);
    memset(many, 'x', 100000);
    CLEANUP_FREE char *cut = requirements_why(many, 100000);
    assert_true(strlen(cut) <= 403);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words_of_pip),
        cmocka_unit_test(test_index_that_is_not_reached),
        cmocka_unit_test(test_any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
