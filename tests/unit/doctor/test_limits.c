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

static void version_2(void **state)
{
    struct machine *m = *state;
    machine_file(m, "/proc/self/mountinfo", V2);
    machine_file(m, "/proc/self/cgroup", "0::/user.slice/a\n");
    machine_file(m, "/sys/fs/cgroup/user.slice/a/cgroup.controllers", "cpuset cpu io memory pids\n");
    LOOK(m, cgroup_version);
    ASSERT_FOUND(m, OK, "version 2");
    LOOK(m, cgroup_delegation);
    ASSERT_FOUND(m, OK, "/sys/fs/cgroup/user.slice/a");
    LOOK(m, cgroup_controllers);
    ASSERT_FOUND(m, OK, "memory, cpu, pids");
    machine_file(m, "/sys/fs/cgroup/user.slice/a/cgroup.controllers", "memory pids\n");
    LOOK(m, cgroup_controllers);
    ASSERT_FOUND(m, DEGRADED, "memory, pids, nothing for processor time");
}

static void version_2_of_a_container(void **state)
{
    struct machine *m = *state;
    machine_file(m, "/proc/self/mountinfo", "31 23 0:28 /docker/1 /sys/fs/cgroup ro - cgroup2 cgroup2 ro\n");
    machine_file(m, "/proc/self/cgroup", "0::/docker/1\n");
    machine_file(m, "/sys/fs/cgroup/cgroup.controllers", "cpu memory pids\n");
    LOOK(m, cgroup_delegation);
    ASSERT_FOUND(m, OK, "/sys/fs/cgroup"); /* the mount shows our own group, not the path above it */
    machine_file(m, "/proc/self/cgroup", "0::/../../outside\n");
    LOOK(m, cgroup_delegation);
    ASSERT_FOUND(m, MISSING, "");
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

#define ON_MACHINE(test) cmocka_unit_test_setup_teardown(test, machine_make, machine_remove)
int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_MACHINE(none_at_all),
        ON_MACHINE(version_2),
        ON_MACHINE(version_2_of_a_container),
        ON_MACHINE(version_1),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
