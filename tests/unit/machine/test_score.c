/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

/* How much it is depends on the machine; that it is something, and that one processor has a bound, does not. */
static void something_is_measured(void **state)
{
    (void)state;
    uint64_t score = 0;
    assert_int_equal(machine_measure_cpu_score(&score), 0);
    assert_true(score > 0);
    assert_true(score < machine_cpu_millis(NULL) * 100); /* no processor hashes 100 GiB a second */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(something_is_measured)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
