/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

static void set_fake(const char *how)
{
    assert_int_equal(setenv("FAKE_NVML", how, 1), 0);
}

static void devices_are_named(void **state)
{
    struct machine *m = *state;
    set_fake("");
    LOOK(m, gpu);
    ASSERT_FOUND(m, OK, "3: Test GPU, Test GPU, ..., driver 535.1");
}

static void a_library_without_device(void **state)
{
    struct machine *m = *state;
    set_fake("error");
    LOOK(m, gpu);
    ASSERT_FOUND(m, MISSING, "error 18");
    machine_file(m, "/dev/nvidia0", "");
    LOOK(m, gpu);
    ASSERT_FOUND(m, DEGRADED, "error 18");
}

static void a_library_that_hangs_or_crashes(void **state)
{
    struct machine *m = *state;
    machine_file(m, "/dev/nvidia0", "");
    set_fake("crash");
    LOOK(m, gpu);
    ASSERT_FOUND(m, UNKNOWN, "killed, 1 devices");
    set_fake("hang");
    m->doctor.deadline_us = clock_monotonic_us() + 200000;
    LOOK(m, gpu);
    ASSERT_FOUND(m, UNKNOWN, "no answer in time");
}

#define ON_MACHINE(test) cmocka_unit_test_setup_teardown(test, machine_make, machine_remove)
int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_MACHINE(devices_are_named),
        ON_MACHINE(a_library_without_device),
        ON_MACHINE(a_library_that_hangs_or_crashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
