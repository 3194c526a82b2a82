/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>

#include "base/util.h"
#include "exec/demand.h"

static void test_idle_from_the_start(void **state UNUSED)
{
    struct demand d = {.spare = 2};
    assert_int_equal(demand_slots(&d, 8), 2);
    demand_note(&d, 0);
    demand_turn(&d);
    assert_int_equal(demand_slots(&d, 8), 2);
}

static void test_grows_at_once_up_to_the_most(void **state UNUSED)
{
    struct demand d = {.spare = 2};
    demand_note(&d, 3);
    assert_int_equal(demand_slots(&d, 8), 5);
    demand_note(&d, 1); /* what was needed a moment ago still counts */
    assert_int_equal(demand_slots(&d, 8), 5);
    demand_note(&d, 6);
    assert_int_equal(demand_slots(&d, 8), 8);
    demand_note(&d, 7);
    assert_int_equal(demand_slots(&d, 8), 8);
    demand_note(&d, 100);
    assert_int_equal(demand_slots(&d, 8), 8);
    assert_int_equal(demand_slots(&d, 0), 0);
}

static void test_shrinks_after_one_whole_turn(void **state UNUSED)
{
    struct demand d = {.spare = 1};
    demand_note(&d, 7);
    demand_turn(&d);
    assert_int_equal(demand_slots(&d, 8), 8); /* it may have been needed until just now */
    demand_note(&d, 2);
    assert_int_equal(demand_slots(&d, 8), 8);
    demand_turn(&d);
    assert_int_equal(demand_slots(&d, 8), 3);
    demand_turn(&d);
    assert_int_equal(demand_slots(&d, 8), 1);
}

static void test_no_number_is_too_large(void **state UNUSED)
{
    struct demand d = {.spare = UINT_MAX};
    demand_note(&d, UINT_MAX);
    assert_int_equal(demand_slots(&d, 8), 8);
    assert_int_equal(demand_slots(&d, UINT_MAX), UINT_MAX);
    d = (struct demand){.spare = UINT_MAX};
    demand_note(&d, 1);
    assert_int_equal(demand_slots(&d, UINT_MAX), UINT_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idle_from_the_start),
        cmocka_unit_test(test_grows_at_once_up_to_the_most),
        cmocka_unit_test(test_shrinks_after_one_whole_turn),
        cmocka_unit_test(test_no_number_is_too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
