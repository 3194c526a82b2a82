/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/util.h"
#include "task/state.h"

static void test_final_states_have_no_way_out(void **state UNUSED)
{
    for (int from = 0; from < TW_TASK_STATE_MAX; from++) {
        unsigned ways = 0;
        for (int to = 0; to < TW_TASK_STATE_MAX; to++)
            ways += task_state_may_move((enum tw_task_state)from, (enum tw_task_state)to);
        assert_int_equal(ways == 0, task_state_is_final((enum tw_task_state)from));
    }
}

static void test_every_live_state_can_fail_and_stop(void **state UNUSED)
{
    for (int from = TW_TASK_QUEUED; from < TW_TASK_STATE_MAX; from++) {
        bool live = !task_state_is_final((enum tw_task_state)from);
        assert_int_equal(task_state_may_move((enum tw_task_state)from, TW_TASK_FAILED), live);
        assert_int_equal(task_state_may_move((enum tw_task_state)from, TW_TASK_STOPPED), live);
    }
}

static void test_only_running_completes(void **state UNUSED)
{
    for (int from = 0; from < TW_TASK_STATE_MAX; from++)
        assert_int_equal(task_state_may_move((enum tw_task_state)from, TW_TASK_COMPLETED), from == TW_TASK_RUNNING);
}

static void test_numbers_outside_are_refused(void **state UNUSED)
{
    assert_false(task_state_may_move(TW_TASK_STATE_MAX, TW_TASK_QUEUED));
    assert_false(task_state_may_move(TW_TASK_QUEUED, TW_TASK_STATE_MAX));
    assert_false(task_state_may_move((enum tw_task_state) - 1, TW_TASK_QUEUED));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_final_states_have_no_way_out),
        cmocka_unit_test(test_every_live_state_can_fail_and_stop),
        cmocka_unit_test(test_only_running_completes),
        cmocka_unit_test(test_numbers_outside_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
