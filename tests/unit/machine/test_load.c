/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>

#define MEMINFO "MemTotal: 1024 kB\nMemAvailable: 512 kB\n"

static unsigned busy_after(struct fake *f, struct machine_load_state *s, const char *stat)
{
    struct machine_load load;
    tree_file(f->root, "/proc/stat", stat);
    assert_int_equal(machine_load_sample(s, &load), 0);
    assert_true(load.busy_known);
    return load.busy_per_mille;
}

static void busy_since_the_last_sample(void **state)
{
    struct fake *f = *state;
    struct machine_load_state s;
    struct machine_load load;
    machine_load_init(&s, &f->source);
    tree_file(f->root, "/proc/meminfo", MEMINFO);
    tree_file(f->root, "/proc/stat", "cpu  1000 0 0 9000 0 0 0 0 0 0\n");
    assert_int_equal(machine_load_sample(&s, &load), 0);
    assert_false(load.busy_known); /* not what it was since boot */
    assert_int_equal(busy_after(f, &s, "cpu  1010 5 5 9060 10 5 5 0 0 0\n"), 300);
    assert_int_equal(busy_after(f, &s, "cpu  1010 5 5 9060 10 5 5 100 0 0\n"), 1000); /* all of it stolen */
    assert_int_equal(busy_after(f, &s, "cpu  1010 5 5 9060 10 5 5 100 0 0\n"), 1000); /* the same tick */
    assert_int_equal(busy_after(f, &s, "cpu  1010 5 5 9160 10 5 5 100 0 0\n"), 0);
    assert_int_equal(busy_after(f, &s, "cpu  1010 5 5 9160 1010 5 5 100 0 0\n"), 0); /* waiting is not being busy */
    /* iowait goes back by 60 while 100 are busy: more than a whole is not said. */
    assert_int_equal(busy_after(f, &s, "cpu  1110 5 5 9160 950 5 5 100 0 0\n"), 1000);
    /* All go back, as when a processor is taken out: what was known holds, and the next one counts again. */
    assert_int_equal(busy_after(f, &s, "cpu  500 0 0 500 0 0 0 0 0 0\n"), 1000);
    assert_int_equal(busy_after(f, &s, "cpu  525 0 0 575 0 0 0 0 0 0\n"), 250);
    /* User time alone goes back. */
    assert_int_equal(busy_after(f, &s, "cpu  520 0 0 675 0 0 0 0 0 0\n"), 0);
}

static void numbers_as_large_as_they_get(void **state)
{
    struct fake *f = *state;
    struct machine_load_state s;
    struct machine_load load;
    machine_load_init(&s, &f->source);
    tree_file(f->root, "/proc/meminfo", MEMINFO);
    tree_file(f->root, "/proc/stat", "cpu  0 0 0 0\n");
    assert_int_equal(machine_load_sample(&s, &load), 0);
    assert_int_equal(busy_after(f, &s, "cpu  9223372036854775807 0 0 9223372036854775808\n"), 500);
}

static void what_cannot_be_read(void **state)
{
    struct fake *f = *state;
    struct machine_load_state s;
    struct machine_load load;
    machine_load_init(&s, &f->source);
    assert_int_equal(machine_load_sample(&s, &load), -ENOENT);
    assert_true(!load.busy_known && !load.memory_known && !load.cpu.present);
    tree_file(f->root, "/proc/meminfo", MEMINFO);
    assert_int_equal(machine_load_sample(&s, &load), -ENOENT);
    assert_true(load.memory_known);
    assert_int_equal(load.memory.total_bytes, 1 << 20);
    assert_int_equal(load.memory.available_bytes, 1 << 19);
    tree_file(f->root, "/proc/stat", "cpu  1 1 1 1\n");
    assert_int_equal(machine_load_sample(&s, &load), 0);
    assert_int_equal(busy_after(f, &s, "cpu  2 1 1 2\n"), 500);
    /* After a sample that failed the time since is not known. */
    tree_file(f->root, "/proc/stat", "cpu\n");
    assert_int_equal(machine_load_sample(&s, &load), -EBADMSG);
    assert_false(load.busy_known);
    tree_file(f->root, "/proc/stat", "cpu  9 9 9 9\n");
    tree_file(f->root, "/proc/meminfo", "?\n");
    assert_int_equal(machine_load_sample(&s, &load), -EBADMSG);
    assert_true(!load.busy_known && !load.memory_known);
}

static void pressure_where_there_is_any(void **state)
{
    struct fake *f = *state;
    struct machine_load_state s;
    struct machine_load load;
    machine_load_init(&s, &f->source);
    tree_file(f->root, "/proc/meminfo", MEMINFO);
    tree_file(f->root, "/proc/stat", "cpu  1 1 1 1\n");
    tree_file(f->root, "/proc/pressure/cpu", "some avg10=61.00 avg60=1.00 avg300=0.00 total=1\n");
    tree_file(f->root, "/proc/pressure/memory",
        "some avg10=0.50 avg60=0.00 avg300=0.00 total=1\nfull avg10=0.25 avg60=0.00 avg300=0.00 total=1\n");
    tree_file(f->root, "/proc/pressure/io", "garbage\n");
    assert_int_equal(machine_load_sample(&s, &load), 0);
    assert_true(load.cpu.present && load.memory_pressure.present && !load.io.present);
    assert_int_equal(load.cpu.some.avg10, 6100);
    assert_int_equal(load.memory_pressure.some.avg10, 50);
    assert_int_equal(load.memory_pressure.full.avg10, 25);
}

static void the_real_machine(void **state)
{
    (void)state;
    struct machine_load_state s;
    struct machine_load load;
    machine_load_init(&s, NULL);
    assert_int_equal(machine_load_sample(&s, &load), 0);
    assert_true(!load.busy_known && load.memory_known);
    assert_true(load.memory.available_bytes <= load.memory.total_bytes);
    assert_int_equal(machine_load_sample(&s, &load), 0);
    assert_true(load.busy_per_mille <= 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_FAKE(busy_since_the_last_sample),
        ON_FAKE(numbers_as_large_as_they_get),
        ON_FAKE(what_cannot_be_read),
        ON_FAKE(pressure_where_there_is_any),
        cmocka_unit_test(the_real_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
