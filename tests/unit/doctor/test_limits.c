/* SPDX-License-Identifier: Apache-2.0 */
/* Control groups, on machines made of files. */
#include "unit.h"

#define V2 "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
#define V1(name) "32 31 0:29 / /sys/fs/cgroup/" name " rw - cgroup cgroup rw," name "\n"

static void none_at_all(void **state)
{
    struct machine *m = *state;
    machine_file(m, "/proc/self/mountinfo", "27 1 254:0 / / rw - ext4 /dev/vda rw\nnonsense\n");
    LOOK(m, cgroup_version);
    ASSERT_FOUND(m, MISSING, "none are mounted");
    LOOK(m, cgroup_delegation);
    ASSERT_FOUND(m, MISSING, "no control groups");
    LOOK(m, cgroup_controllers);
    ASSERT_FOUND(m, MISSING, "none of");
}

/* A group of version 2 in which others could be made, with these controllers. */
static void make_group(struct machine *m, const char *path, const char *controllers)
{
    static const char *const empty[] = {"cgroup.procs", "cgroup.subtree_control"};
    char file[200];
    for (size_t i = 0; i < ARRAY_LEN(empty); i++) {
        snprintf(file, sizeof file, "%s/%s", path, empty[i]);
        machine_file(m, file, "");
    }
    snprintf(file, sizeof file, "%s/cgroup.controllers", path);
    machine_file(m, file, controllers);
}

static void version_2(void **state)
{
    struct machine *m = *state;
    machine_file(m, "/proc/self/mountinfo", V2);
    machine_file(m, "/proc/self/cgroup", "0::/user.slice/a\n");
    make_group(m, "/sys/fs/cgroup/user.slice/a", "memory\n");
    make_group(m, "/sys/fs/cgroup", "cpuset cpu io memory pids\n");
    LOOK(m, cgroup_version);
    ASSERT_FOUND(m, OK, "version 2");
    LOOK(m, cgroup_delegation);
    ASSERT_FOUND(m, OK, "may be made in /sys/fs/cgroup"); /* at the top: our own group is systemd's */
    assert_null(strstr(m->check.found, "user.slice"));
    LOOK(m, cgroup_controllers);
    ASSERT_FOUND(m, OK, "memory, cpu, pids");
    machine_file(m, "/sys/fs/cgroup/cgroup.controllers", "memory pids\n");
    LOOK(m, cgroup_controllers);
    ASSERT_FOUND(m, DEGRADED, "memory, pids, nothing for processor time");
    machine_file(
        m, "/proc/self/cgroup", "0::/user.slice/a/hivemind-node\n"); /* a node's, which divides what is above */
    LOOK(m, cgroup_delegation);
    ASSERT_FOUND(m, OK, "may be made in /sys/fs/cgroup/user.slice/a");
    LOOK(m, cgroup_controllers);
    ASSERT_FOUND(m, DEGRADED, "memory, nothing for processor time");
}

static void version_2_of_a_container(void **state)
{
    struct machine *m = *state;
    machine_file(m, "/proc/self/mountinfo", "31 23 0:28 /docker/1 /sys/fs/cgroup ro - cgroup2 cgroup2 ro\n");
    machine_file(m, "/proc/self/cgroup", "0::/docker/1\n");
    make_group(m, "/sys/fs/cgroup", "cpu memory pids\n");
    machine_file(m, "/sys/fs/cgroup/cgroup.type", "domain\n");
    LOOK(m, cgroup_delegation);
    ASSERT_FOUND(m, OK, "/sys/fs/cgroup"); /* the mount shows our own group, not the path above it */
    machine_file(m, "/sys/fs/cgroup/cgroup.procs", "1\n0\n");
    LOOK(m, cgroup_delegation);
    ASSERT_FOUND(m, MISSING, "version 2: memory, CPU and number of processes of a task are not limited");
    machine_file(m, "/proc/self/cgroup", "0::/../../outside\n");
    LOOK(m, cgroup_delegation);
    ASSERT_FOUND(m, MISSING, "no control groups");
}

static void version_1(void **state)
{
    struct machine *m = *state;
    machine_file(m, "/proc/self/mountinfo",
        V1("memory") V1("cpu") V1("pids") "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 c rw\n");
    machine_file(m, "/proc/self/cgroup", "4:memory:/here\n1:cpu,cpuacct:/\n3:pids:/gone\n0::/\n");
    machine_folder(m, "/sys/fs/cgroup/memory/here");
    machine_folder(m, "/sys/fs/cgroup/cpu");
    machine_folder(m, "/sys/fs/cgroup/pids");
    machine_file(m, "/sys/fs/cgroup/unified/cgroup.controllers", "\n");
    LOOK(m, cgroup_version);
    ASSERT_FOUND(m, OK, "version 1, with version 2 beside it");
    LOOK(m, cgroup_delegation);
    ASSERT_FOUND(m, DEGRADED, "2 of the 3");
    LOOK(m, cgroup_controllers);
    ASSERT_FOUND(m, DEGRADED, "memory, cpu, nothing for the number of processes");
    machine_folder(m, "/sys/fs/cgroup/pids/gone");
    LOOK(m, cgroup_controllers);
    ASSERT_FOUND(m, OK, "memory, cpu, pids");
}

static void limits_of_the_group_around(void **state)
{
    struct machine *m = *state;
    machine_file(m, "/proc/meminfo", "MemTotal: 4194304 kB\nMemAvailable: 1048576 kB\n");
    machine_file(m, "/proc/sys/kernel/pid_max", "32768\n");
    machine_file(m, "/proc/self/mountinfo", V2);
    machine_file(m, "/proc/self/cgroup", "0::/\n");
    machine_file(m, "/sys/fs/cgroup/memory.max", "max\n");
    machine_file(m, "/sys/fs/cgroup/pids.max", "max\n");
    LOOK(m, memory);
    assert_null(strstr(m->check.found, "control group"));
    LOOK(m, processes);
    ASSERT_FOUND(m, OK, "32768 on the machine");
    assert_null(strstr(m->check.found, "control group"));
    machine_file(m, "/sys/fs/cgroup/memory.max", "268435456\n");
    machine_file(m, "/sys/fs/cgroup/pids.max", "100\n");
    LOOK(m, memory);
    ASSERT_FOUND(m, DEGRADED, "256 MiB of it for this control group");
    LOOK(m, processes);
    ASSERT_FOUND(m, DEGRADED, "100 in this control group");
    /* Version 1, whose number for "none" is none. */
    machine_file(m, "/proc/self/mountinfo", V1("memory"));
    machine_file(m, "/proc/self/cgroup", "4:memory:/\n");
    machine_file(m, "/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    LOOK(m, memory);
    assert_null(strstr(m->check.found, "control group"));
    machine_file(m, "/sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n");
    LOOK(m, memory);
    ASSERT_FOUND(m, OK, "1024 MiB of it");
}

static void version_2_of_a_user(void **state)
{
    struct machine *m = *state;
    m->doctor.root = false;
    machine_file(m, "/proc/self/mountinfo", V2);
    machine_file(m, "/proc/self/cgroup", "0::/user.slice/a\n");
    make_group(m, "/sys/fs/cgroup", "cpu memory pids\n"); /* is root's to divide */
    make_group(m, "/sys/fs/cgroup/user.slice/a", "cpu memory pids\n");
    LOOK(m, cgroup_delegation);
    ASSERT_FOUND(
        m, OK, "/sys/fs/cgroup/user.slice/a"); /* so alone with a cpu controller one is in what was left to one */
    machine_file(m, "/sys/fs/cgroup/user.slice/a/cgroup.procs", "1\n");
    LOOK(m, cgroup_delegation);
    ASSERT_FOUND(m, MISSING, "Delegate=yes in the unit, and nothing else in it");
    assert_non_null(strstr(m->check.fix, "Delegate=yes"));
    LOOK(m, cgroup_controllers);
    ASSERT_FOUND(m, MISSING, "none of");
}

#define ON_MACHINE(test) cmocka_unit_test_setup_teardown(test, machine_make, machine_remove)
int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_MACHINE(none_at_all),
        ON_MACHINE(version_2),
        ON_MACHINE(version_2_of_a_container),
        ON_MACHINE(version_2_of_a_user),
        ON_MACHINE(version_1),
        ON_MACHINE(limits_of_the_group_around),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
