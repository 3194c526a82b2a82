/* SPDX-License-Identifier: Apache-2.0 */
/* GPUs as the library that plays NVML says them. With an argument: as the old or the broken one says. */
#include "unit.h"

static struct machine_gpus found;

static void look(const char *how)
{
    assert_int_equal(setenv("FAKE_NVML", how, 1), 0);
    memset(&found, 0x55, sizeof found);
    machine_gpus_find(&found);
}

static void devices_are_described(void **state)
{
    (void)state;
    look("");
    assert_true(found.loaded);
    assert_int_equal(found.error, 0);
    assert_int_equal(found.count, 3);
    assert_int_equal(found.n_gpus, 3);
    assert_string_equal(found.driver, "535.1");
    const struct machine_gpu *g = &found.gpus[2];
    assert_string_equal(g->name, "Test GPU");
    assert_string_equal(g->uuid, "GPU-2");
    assert_int_equal(g->index, 2);
    assert_int_equal(g->minor, 18);
    assert_int_equal(g->memory_bytes, UINT64_C(3) << 30);
    assert_int_equal(g->score, 4500); /* 3000 cores at 1500 MHz */
}

static void no_more_than_there_is_room_for(void **state)
{
    (void)state;
    look("many");
    assert_int_equal(found.count, 20);
    assert_int_equal(found.n_gpus, MACHINE_GPUS_MAX);
    assert_int_equal(found.gpus[MACHINE_GPUS_MAX - 1].index, MACHINE_GPUS_MAX - 1);
}

static void one_that_is_lost(void **state)
{
    (void)state;
    look("lost");
    assert_int_equal(found.count, 3);
    assert_int_equal(found.n_gpus, 2);
    assert_int_equal(found.gpus[1].index, 2);
    assert_string_equal(found.gpus[1].uuid, "GPU-2");
}

static void strings_get_an_end(void **state)
{
    (void)state;
    look("long");
    assert_int_equal(strlen(found.driver), MACHINE_NAME_MAX - 1);
    assert_int_equal(strlen(found.gpus[0].name), MACHINE_NAME_MAX - 1);
    assert_int_equal(strlen(found.gpus[0].uuid), MACHINE_NAME_MAX - 1);
}

static void an_error(void **state)
{
    (void)state;
    look("error");
    assert_true(found.loaded);
    assert_int_equal(found.error, 18);
    assert_true(found.count == 0 && found.n_gpus == 0);
}

/* Half of the memory in MiB stands for the score then. */
static void assert_little_is_said(void)
{
    assert_true(found.loaded);
    assert_int_equal(found.n_gpus, 3);
    assert_string_equal(found.gpus[1].name, "Test GPU");
    assert_string_equal(found.gpus[1].uuid, "");
    assert_int_equal(found.gpus[1].minor, MACHINE_MINOR_UNKNOWN);
    assert_int_equal(found.gpus[1].memory_bytes, UINT64_C(2) << 30);
    assert_int_equal(found.gpus[1].score, 1024);
}

static void one_that_refuses(void **state)
{
    (void)state;
    look("refused");
    assert_little_is_said();
}

static void an_old_one(void **state)
{
    (void)state;
    look("");
    assert_little_is_said();
}

static void a_broken_one(void **state)
{
    (void)state;
    look("");
    assert_false(found.loaded);
    assert_true(found.error == 0 && found.count == 0 && found.n_gpus == 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(devices_are_described),
        cmocka_unit_test(no_more_than_there_is_room_for),
        cmocka_unit_test(one_that_is_lost),
        cmocka_unit_test(strings_get_an_end),
        cmocka_unit_test(an_error),
        cmocka_unit_test(one_that_refuses),
    };
    const struct CMUnitTest old[] = {cmocka_unit_test(an_old_one)};
    const struct CMUnitTest broken[] = {cmocka_unit_test(a_broken_one)};
    if (argc < 2)
        return cmocka_run_group_tests(tests, NULL, NULL);
    return !strcmp(argv[1], "old") ? cmocka_run_group_tests(old, NULL, NULL)
                                   : cmocka_run_group_tests(broken, NULL, NULL);
}
