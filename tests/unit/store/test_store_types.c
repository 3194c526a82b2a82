/* SPDX-License-Identifier: Apache-2.0 */
/* Names, ids and frees of the public headers. */
#include "fixture.h"

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(tw_task_state_to_string(TW_TASK_QUEUED), "QUEUED");
    assert_string_equal(tw_task_state_to_string(TW_TASK_STOPPED), "STOPPED");
    assert_null(tw_task_state_to_string(TW_TASK_STATE_NONE));
    assert_null(tw_task_state_to_string(TW_TASK_STATE_MAX));
    assert_null(tw_task_state_to_string((enum tw_task_state) - 1));
    assert_string_equal(tw_reason_to_string(TW_REASON_NONE), "none");
    assert_string_equal(tw_reason_to_string(TW_REASON_TIMEOUT_WALL), "timeout_wall");
    assert_null(tw_reason_to_string(TW_REASON_MAX));
    assert_string_equal(tw_code_to_string(TW_DATA_LOSS), "DATA_LOSS");
    assert_string_equal(tw_code_to_string((enum tw_code)1000), "UNKNOWN");
}

static int check(const char *id)
{
    struct tw_error error = {0};
    int r = tw_task_id_check(id, strlen(id), &error);
    assert_true(r == 0 || (error.code == TW_INVALID_ARGUMENT && error.message[0] != '\0'));
    return r;
}

static void test_ids(void **state)
{
    (void)state;
    static const char *const good[] = {
        "a", "task_001", "A.b-c:d@e", "\xc3\xa4\xe4\xb8\xad\xf0\x9f\x9a\x80", "a-", "a.."};
    static const char *const bad[] = {"", "-a", ".", ".a", "a/b", "/", "a\\b", "a b", "a\tb", "a\n", "\x7f", "a\xff",
        "\xc3", "\xc0\xaf", "\xed\xa0\x80", "\xc2\xa0", "\xc2\x85", "\xe2\x80\x83", "\xe2\x80\xae", "\xe3\x80\x80",
        "\xe2\x80\xa8"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_int_equal(check(good[i]), 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(check(bad[i]), -1);
    char longest[130];
    memset(longest, 'x', sizeof longest);
    assert_int_equal(tw_task_id_check(longest, 128, NULL), 0);
    assert_int_equal(tw_task_id_check(longest, 129, NULL), -1);
    assert_int_equal(tw_task_id_check("a\0b", 3, NULL), -1);
    assert_int_equal(tw_task_id_check(NULL, 0, NULL), -1);
}

static void test_frees(void **state)
{
    (void)state;
    tw_task_info_done(NULL);
    struct store_task task = fixture_task("a", "b", 1);
    store_task_done(&task);
    assert_null(task.info.id);
    assert_null(task.spec.data);
    store_task_done(&task);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_frees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
