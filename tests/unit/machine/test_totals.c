/* SPDX-License-Identifier: Apache-2.0 */
/* What a machine of files offers, with control groups of both versions, and the real one. */
#include "unit.h"

#include <errno.h>
#include <sched.h>
#include <sys/statvfs.h>

#define GIB (UINT64_C(1) << 30)
#define V2_MOUNT "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
#define V1_MOUNTS                                                 \
    "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n" \
    "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"

static void put(const struct fake *f, const char *path, const char *text)
{
    tree_file(f->root, path, text);
}

static void put_machine(const struct fake *f, const char *groups, const char *mounts)
{
    put(f, "/proc/meminfo", "MemTotal: 8388608 kB\nMemAvailable: 1024 kB\n");
    put(f, "/proc/self/cgroup", groups);
    put(f, "/proc/self/mountinfo", mounts);
}

static void assert_offers(const struct fake *f, uint64_t millis, uint64_t bytes)
{
    uint64_t memory = 0;
    assert_int_equal(machine_cpu_millis(&f->source), millis);
    assert_int_equal(machine_memory_bytes(&f->source, &memory), 0);
    assert_int_equal(memory, bytes);
}

static void without_groups(void **state)
{
    const struct fake *f = *state;
    uint64_t memory = 77;
    assert_int_equal(machine_memory_bytes(&f->source, &memory), -ENOENT);
    put(f, "/proc/meminfo", "nothing\n");
    assert_int_equal(machine_memory_bytes(&f->source, &memory), -EBADMSG);
    assert_int_equal(memory, 77);
    put(f, "/proc/meminfo", "MemTotal: 8388608 kB\nMemAvailable: 1024 kB\n");
    assert_offers(f, 4000, 8 * GIB);
    put_machine(f, "", "");
    assert_offers(f, 4000, 8 * GIB);
}

static void version_2_and_what_is_above(void **state)
{
    const struct fake *f = *state;
    put_machine(f, "0::/a/b\n", V2_MOUNT);
    assert_offers(f, 4000, 8 * GIB); /* nothing can be read */
    put(f, "/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    put(f, "/sys/fs/cgroup/a/b/memory.max", "max\n");
    assert_offers(f, 4000, 8 * GIB);
    put(f, "/sys/fs/cgroup/a/b/cpu.max", "350000 100000\n");
    put(f, "/sys/fs/cgroup/a/b/memory.max", "4294967296\n");
    assert_offers(f, 3500, 4 * GIB);
    put(f, "/sys/fs/cgroup/a/cpu.max", "150000 100000\n");
    put(f, "/sys/fs/cgroup/a/memory.max", "2147483648\n");
    assert_offers(f, 1500, 2 * GIB);
    put(f, "/sys/fs/cgroup/cpu.max", "50000 100000\n"); /* of a container, whose root this is */
    put(f, "/sys/fs/cgroup/memory.max", "1073741824\n");
    assert_offers(f, 500, GIB);
    put(f, "/sys/fs/cgroup/cpu.max", "0 0\n"); /* not understood: no limit */
    put(f, "/sys/fs/cgroup/memory.max", "1G\n");
    assert_offers(f, 1500, 2 * GIB);
    put(f, "/sys/fs/cgroup/a/b/c/cpu.max", "1000 100000\n"); /* below, and beside */
    put(f, "/sys/fs/cgroup/d/cpu.max", "1000 100000\n");
    assert_offers(f, 1500, 2 * GIB);
    put(f, "/sys/fs/cgroup/a/cpu.max", "100000000 100000\n"); /* more than there is */
    put(f, "/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    assert_offers(f, 4000, 2 * GIB);
}

static void version_1_and_what_is_above(void **state)
{
    const struct fake *f = *state;
    put_machine(f, "4:memory:/m/n\n1:cpu:/c\n0::/\n", V1_MOUNTS V2_MOUNT);
    put(f, "/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
    put(f, "/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    put(f, "/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    assert_offers(f, 4000, 8 * GIB);
    put(f, "/sys/fs/cgroup/cpu/c/cpu.cfs_quota_us", "25000\n");
    assert_offers(f, 4000, 8 * GIB); /* a quota of what? */
    put(f, "/sys/fs/cgroup/cpu/c/cpu.cfs_period_us", "50000\n");
    put(f, "/sys/fs/cgroup/memory/m/memory.limit_in_bytes", "3221225472\n");
    put(f, "/sys/fs/cgroup/memory/m/n/memory.limit_in_bytes", "5368709120\n");
    assert_offers(f, 500, 3 * GIB);
}

static void never_less_than_a_thousandth(void **state)
{
    const struct fake *f = *state;
    put_machine(f, "0::/\n", V2_MOUNT);
    put(f, "/sys/fs/cgroup/cpu.max", "1 1000000\n");
    put(f, "/sys/fs/cgroup/memory.max", "0\n");
    assert_offers(f, 1, 0);
}

static void the_disk(void **state)
{
    const struct fake *f = *state;
    struct statvfs fs;
    uint64_t bytes = 0, free_bytes = 0;
    assert_int_equal(statvfs(f->root, &fs), 0);
    assert_int_equal(machine_disk(f->root, &bytes, &free_bytes), 0);
    assert_int_equal(bytes, (uint64_t)fs.f_blocks * fs.f_frsize);
    assert_true(free_bytes <= bytes);
    assert_int_equal(machine_disk("/nowhere/at/all", &bytes, &free_bytes), -ENOENT);
}

static void all_of_it(void **state)
{
    const struct fake *f = *state;
    struct machine_totals *t = calloc(1, sizeof *t);
    struct tw_error error = {0};
    assert_non_null(t);
    assert_int_equal(setenv("FAKE_NVML", "", 1), 0);
    assert_int_equal(machine_totals_find(&f->source, f->root, t, &error), -1);
    assert_non_null(strstr(error.message, "/proc/meminfo"));
    put_machine(f, "0::/\n", V2_MOUNT);
    assert_int_equal(machine_totals_find(&f->source, "/nowhere/at/all", t, &error), -1);
    assert_non_null(strstr(error.message, "/nowhere/at/all"));
    assert_int_equal(t->cpu_millis, 0);
    assert_int_equal(machine_totals_find(&f->source, f->root, t, &error), 0);
    assert_int_equal(t->cpu_millis, 4000);
    assert_int_equal(t->memory_bytes, 8 * GIB);
    assert_true(t->disk_bytes > 0);
    assert_int_equal(t->n_gpus, 3);
    assert_string_equal(t->gpus[0].name, "Test GPU");
    free(t);
}

/* What the process may use counts, not what there is. */
static void the_real_machine(void **state)
{
    (void)state;
    cpu_set_t all, one;
    uint64_t memory = 0;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    uint64_t before = machine_cpu_millis(NULL);
    assert_true(before >= 1 && before <= 1000 * (uint64_t)CPU_COUNT(&all));
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &all) && CPU_COUNT(&one) == 0)
            CPU_SET(i, &one);
    }
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(machine_cpu_millis(NULL), before < 1000 ? before : 1000);
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
    assert_int_equal(machine_memory_bytes(NULL, &memory), 0);
    assert_true(memory > 0 && memory <= (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_FAKE(without_groups),
        ON_FAKE(version_2_and_what_is_above),
        ON_FAKE(version_1_and_what_is_above),
        ON_FAKE(never_less_than_a_thousandth),
        ON_FAKE(the_disk),
        ON_FAKE(all_of_it),
        cmocka_unit_test(the_real_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
