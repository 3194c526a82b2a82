/* SPDX-License-Identifier: Apache-2.0 */
/* What is made of /proc/self/cgroup and /proc/self/mountinfo. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "slot/cgroup.h"

static struct cgroup_view parse(const char *cgroup, const char *mountinfo)
{
    struct cgroup_view view;
    memset(&view, 0xa5, sizeof view);
    cgroup_parse(cgroup, mountinfo, &view);
    for (size_t c = 0; c < CGROUP_CONTROLLER_MAX; c++) {
        size_t len = strnlen(view.controller[c].own, CGROUP_PATH_MAX);
        assert_in_range(len, 0, CGROUP_PATH_MAX - 1);
        assert_true(len == 0 || view.controller[c].own[0] == '/');
        assert_false(view.controller[c].writable); /* that takes a look */
    }
    return view;
}

#define OWN(view, which) ((view).controller[CGROUP_##which].own)

static const char v1_mounts[] =
    "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
    "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw shared:1 master:2 - cgroup cgroup rw,memory\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

static void test_v1(void **state)
{
    (void)state;
    struct cgroup_view v =
        parse("9:name=systemd:/\n8:pids:/x\n4:memory:/a/b\n3:cpuset:/\n2:cpu,cpuacct:/\n0::/\n", v1_mounts);
    assert_int_equal(v.version, 1);
    assert_string_equal(OWN(v, MEMORY), "/sys/fs/cgroup/memory/a/b");
    assert_string_equal(OWN(v, CPU), "/sys/fs/cgroup/cpu,cpuacct");
    assert_string_equal(OWN(v, CPUACCT), "/sys/fs/cgroup/cpu,cpuacct");
    assert_true(v.controller[CGROUP_CPU].present);
    assert_false(v.controller[CGROUP_PIDS].present); /* known to the kernel, mounted nowhere */
    assert_string_equal(OWN(v, PIDS), "");
}

static const char v2_mounts[] = "23 27 0:21 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";

static void test_v2(void **state)
{
    (void)state;
    struct cgroup_view v = parse("0::/system.slice/hivemind.service\n", v2_mounts);
    assert_int_equal(v.version, 2);
    assert_string_equal(OWN(v, MEMORY), "/sys/fs/cgroup/system.slice/hivemind.service");
    assert_string_equal(OWN(v, PIDS), OWN(v, MEMORY));
    assert_string_equal(v.mount, "/sys/fs/cgroup");
    assert_false(v.in_leaf);

    v = parse("0::/system.slice/hivemind.service/hivemind-node\n", v2_mounts); /* started once more in there */
    assert_true(v.in_leaf);
    assert_string_equal(OWN(v, MEMORY), "/sys/fs/cgroup/system.slice/hivemind.service");

    v = parse("0::/hivemind-node\n", v2_mounts);
    assert_true(v.in_leaf);
    assert_string_equal(OWN(v, MEMORY), "/sys/fs/cgroup");
    v = parse("0::/xhivemind-node\n", v2_mounts);
    assert_false(v.in_leaf);

    v = parse("0::/\n", v2_mounts);
    assert_string_equal(OWN(v, MEMORY), "/sys/fs/cgroup");
    assert_false(v.in_leaf);

    /* Only version 2's hierarchy is there, but a controller is bound to version 1: not to be had in version 2. */
    v = parse("5:memory:/\n0::/\n", v2_mounts);
    assert_int_equal(v.version, 1);
    assert_false(v.controller[CGROUP_MEMORY].present);
    /* A named hierarchy alone is no controller. */
    assert_int_equal(parse("1:name=systemd:/\n0::/a\n", v2_mounts).version, 2);
}

/* A part of the hierarchy is mounted: in containers, without or with a cgroup namespace. */
static void test_roots(void **state)
{
    static const char part[] = "50 40 0:32 /docker/ab12 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
    (void)state;
    assert_string_equal(OWN(parse("4:memory:/docker/ab12\n", part), MEMORY), "/sys/fs/cgroup/memory");
    assert_string_equal(OWN(parse("4:memory:/docker/ab12/x\n", part), MEMORY), "/sys/fs/cgroup/memory/x");
    assert_string_equal(OWN(parse("4:memory:/docker/ab123\n", part), MEMORY), "");
    assert_string_equal(OWN(parse("4:memory:/docker\n", part), MEMORY), "");
    assert_string_equal(OWN(parse("4:memory:/\n", part), MEMORY), "");
    /* Outside of our namespace. */
    assert_string_equal(OWN(parse("4:memory:/../other\n", part), MEMORY), "");
    assert_int_equal(parse("0::/..\n", v2_mounts).version, 0);
    assert_int_equal(parse("0::/../x\n", v2_mounts).version, 0);
    /* Of two mounts at one place the later one is seen. */
    assert_string_equal(
        OWN(parse("0::/a\n", "1 1 0:1 / /old rw - cgroup2 c rw\n2 1 0:1 / /new rw - cgroup2 c rw\n"), CPU), "/new/a");
}

static void test_escapes(void **state)
{
    (void)state;
    struct cgroup_view v = parse("0::/a b\\040c\n", "1 1 0:1 / /mnt\\040with\\011both\\134 rw - cgroup2 cgroup2 rw\n");
    assert_string_equal(v.mount, "/mnt with\tboth\\");
    assert_string_equal(OWN(v, CPU), "/mnt with\tboth\\/a b\\040c");   /* /proc/self/cgroup escapes nothing */
    v = parse("0::/\n", "1 1 0:1 / /x\\04 rw - cgroup2 cgroup2 rw\n"); /* cut short: stands for itself */
    assert_string_equal(v.mount, "/x\\04");
    v = parse("0::/\n", "1 1 0:1 / /x\\000y rw - cgroup2 cgroup2 rw\n");
    assert_string_equal(v.mount, "/x");
}

static void test_not_lines(void **state)
{
    static const char *const cgroups[] = {"", "\n\n\n", "0", "0:", "0::", "0::x\n", "::/\n", "x::/\n", "-1::/\n",
        "99999999999999999999::/\n", "0:memory:/\n", "4:mem:/\n", "4:memoryx,xmemory:/\n", "4:,,,:/\n", "4:memory",
        "0::/\xff\n"};
    static const char *const mounts[] = {"", "\n", "1", "1 2 3 4", "1 1 0:1 / /m rw\n", "1 1 0:1 / /m rw -\n",
        "1 1 0:1 / /m rw - cgroup2\n", "1 1 0:1 / /m rw - cgroup2 x\n", "1 1 0:1 m m rw - cgroup2 x rw\n",
        "1 1 0:1 / m rw - cgroup2 x rw\n", "1 1 0:1 / /m rw - ext4 x memory\n",
        "1 1 0:1 / /m/../.. rw - cgroup2 x rw\n"};
    (void)state;
    for (size_t i = 0; i < sizeof cgroups / sizeof *cgroups; i++)
        assert_int_equal(parse(cgroups[i], v2_mounts).version, 0);
    for (size_t i = 0; i < sizeof mounts / sizeof *mounts; i++)
        assert_int_equal(parse("0::/\n", mounts[i]).version, 0);
    /* A bad line costs nothing but itself. */
    assert_int_equal(parse("rubbish\n0::/a\nrubbish", v2_mounts).version, 2);
}

static void test_long(void **state)
{
    char *text = malloc(64 * 1024);
    (void)state;
    assert_non_null(text);
    for (size_t len = 1; len < 20000; len = len < 1100 ? len + 1 : len + 977) {
        memcpy(text, "0::/", 4);
        memset(text + 4, 'a', len);
        memcpy(text + 4 + len, "\n", 2);
        struct cgroup_view v = parse(text, v2_mounts);
        assert_true(v.version == 2 || len + sizeof "/sys/fs/cgroup/" > CGROUP_PATH_MAX);
        if (v.version == 2)
            assert_int_equal(strlen(OWN(v, CPU)), strlen("/sys/fs/cgroup/") + len);
    }
    free(text);
}

/* Every beginning of a good text is judged without harm. */
static void test_cut(void **state)
{
    static const char cgroup[] = "4:memory:/a/b\n2:cpu,cpuacct:/\n0::/c\n";
    char copy[sizeof v1_mounts];
    (void)state;
    for (size_t len = 0; len < sizeof cgroup; len++) {
        snprintf(copy, len + 1, "%s", cgroup);
        (void)parse(copy, v1_mounts);
    }
    for (size_t len = 0; len < sizeof v1_mounts; len++) {
        snprintf(copy, len + 1, "%s", v1_mounts);
        (void)parse(cgroup, copy);
    }
}

static void test_explain(void **state)
{
    struct cgroup_view v = {0};
    char text[PROTOCOL_DETAIL_MAX];
    (void)state;
    cgroup_explain(&v, text);
    assert_non_null(strstr(text, "memory, CPU and number of processes of a task are not limited (no control groups"));
    v.version = 2;
    cgroup_explain(&v, text);
    assert_non_null(strstr(text, "Delegate=yes"));
    v.controller[CGROUP_MEMORY].writable = v.controller[CGROUP_PIDS].writable = true;
    assert_int_equal(cgroup_limits(&v), LAUNCHER_GROUP_MEMORY | LAUNCHER_GROUP_PIDS);
    cgroup_explain(&v, text);
    assert_ptr_equal(strstr(text, "CPU of a task is not limited"), text);
    v.controller[CGROUP_CPU].writable = true;
    cgroup_explain(&v, text);
    assert_string_equal(text, "");
    for (uint32_t limits = 0; limits <= LAUNCHER_FLAGS; limits++) {
        const char *what = cgroup_unlimited(limits);
        assert_int_equal(!what[0], (limits & ~1u) == (LAUNCHER_FLAGS & ~1u));
        assert_int_equal(!what[0] || !strstr(what, "memory"), !!(limits & LAUNCHER_GROUP_MEMORY));
        assert_int_equal(!what[0] || !strstr(what, "CPU"), !!(limits & LAUNCHER_GROUP_CPU));
        assert_int_equal(!what[0] || !strstr(what, "processes"), !!(limits & LAUNCHER_GROUP_PIDS));
    }
}

/* This process, whatever this machine is like. */
static void test_find(void **state)
{
    struct cgroup_view v;
    char text[PROTOCOL_DETAIL_MAX];
    (void)state;
    assert_int_equal(cgroup_find(0, &v), 0);
    assert_in_range(v.version, 0, 2);
    for (size_t c = 0; c < CGROUP_CONTROLLER_MAX; c++)
        assert_true(!v.controller[c].writable || v.controller[c].present);
    cgroup_explain(&v, text);
    assert_int_equal(
        text[0] == '\0', cgroup_limits(&v) == (LAUNCHER_GROUP_MEMORY | LAUNCHER_GROUP_CPU | LAUNCHER_GROUP_PIDS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_v1),
        cmocka_unit_test(test_v2),
        cmocka_unit_test(test_roots),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_not_lines),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_explain),
        cmocka_unit_test(test_find),
    };
    return cmocka_run_group_tests_name("cgroup", tests, NULL, NULL);
}
