/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

static void kernel(void **state)
{
    struct machine *m = *state;
    static const struct {
        const char *release;
        enum doctor_status status;
    } cases[] = {{"6.1.0-18-amd64\n", DOCTOR_OK}, {"5.10.0\n", DOCTOR_OK}, {"5.9.9\n", DOCTOR_DEGRADED},
        {"4.19.0\n", DOCTOR_DEGRADED}, {"next\n", DOCTOR_UNKNOWN}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        machine_file(m, "/proc/sys/kernel/osrelease", cases[i].release);
        LOOK(m, kernel);
        assert_int_equal(m->check.status, cases[i].status);
    }
}

static void memory_and_swap(void **state)
{
    struct machine *m = *state;
    LOOK(m, memory);
    ASSERT_FOUND(m, UNKNOWN, "meminfo");
    machine_file(
        m, "/proc/meminfo", "MemTotal: 4194304 kB\nMemAvailable: 1048576 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n");
    LOOK(m, memory);
    ASSERT_FOUND(m, OK, "1024 MiB of 4096 MiB");
    LOOK(m, swap);
    ASSERT_FOUND(m, OK, "none");
    machine_file(
        m, "/proc/meminfo", "MemTotal: 4194304 kB\nMemAvailable: 1024 kB\nSwapTotal: 102400 kB\nSwapFree: 1024 kB\n");
    LOOK(m, memory);
    ASSERT_FOUND(m, DEGRADED, "1 MiB of");
    LOOK(m, swap);
    ASSERT_FOUND(m, DEGRADED, "1 MiB of 100 MiB");
}

#define SOME "some avg10=0.00 avg60=40.00 avg300=0.00 total=0\n"
static void pressure_and_pages(void **state)
{
    struct machine *m = *state;
    LOOK(m, pressure);
    ASSERT_FOUND(m, MISSING, "does not measure");
    machine_file(m, "/proc/pressure/memory", SOME "full avg10=0.00 avg60=3.05 avg300=0.00 total=0\n");
    LOOK(m, pressure);
    ASSERT_FOUND(m, OK, "3.05 %");
    machine_file(m, "/proc/pressure/memory", SOME "full avg10=0.00 avg60=30.05 avg300=0.00 total=0\n");
    LOOK(m, pressure);
    ASSERT_FOUND(m, DEGRADED, "30.05 %");
    LOOK(m, huge_pages);
    assert_int_equal(m->check.status, DOCTOR_MISSING);
    machine_file(m, "/sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n");
    LOOK(m, huge_pages);
    ASSERT_FOUND(m, DEGRADED, "never");
}

static void uid_range(void **state)
{
    struct machine *m = *state;
    machine_file(m, "/proc/self/uid_map", "0 0 4294967295\n");
    machine_file(m, "/etc/passwd", "root:x:0:0::/:\n");
    LOOK(m, uid_range);
    ASSERT_FOUND(m, OK, "1900000000 to 1900002047");
    machine_file(m, "/etc/subuid", "pod:1900002047:65536\n");
    LOOK(m, uid_range);
    ASSERT_FOUND(m, DEGRADED, "ids of pod (/etc/subuid)");
    machine_file(m, "/etc/passwd", "root:x:0:0::/:\nldap:x:1900000007:1::/:\n");
    LOOK(m, uid_range);
    ASSERT_FOUND(m, DEGRADED, "1900000007 is the id of ldap");
    m->options.uid_base = 200000;
    LOOK(m, uid_range);
    ASSERT_FOUND(m, OK, "200000 to 202047");
    machine_file(m, "/proc/self/uid_map", "0 0 65536\n");
    LOOK(m, uid_range);
    ASSERT_FOUND(m, DEGRADED, "do not exist");
}

/* Each cause, when a user namespace cannot be made, is named, and none that has nothing to do with it. */
static void causes(void **state)
{
    struct machine *m = *state;
    m->doctor.root = false;
    m->doctor.namespaces = (struct namespaces){.user = EPERM, .proc = -1, .overlay = -1};
    machine_file(m, "/proc/sys/user/max_user_namespaces", "100\n");
    machine_file(m, "/proc/sys/kernel/unprivileged_userns_clone", "1\n");
    LOOK(m, user_namespaces);
    assert_int_equal(m->check.status, DOCTOR_MISSING);
    assert_null(strstr(m->check.found, "is 0"));
    machine_file(m, "/proc/self/status", "Seccomp:\t2\n");
    LOOK(m, user_namespaces);
    ASSERT_FOUND(m, MISSING, "seccomp filter");
    machine_file(m, "/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n");
    LOOK(m, user_namespaces);
    ASSERT_FOUND(m, MISSING, "kernel.apparmor_restrict_unprivileged_userns is 1");
    machine_file(m, "/proc/sys/kernel/unprivileged_userns_clone", "0\n");
    LOOK(m, user_namespaces);
    ASSERT_FOUND(m, MISSING, "kernel.unprivileged_userns_clone is 0");
    machine_file(m, "/proc/sys/user/max_user_namespaces", "0\n");
    LOOK(m, user_namespaces);
    ASSERT_FOUND(m, MISSING, "user.max_user_namespaces is 0");
    assert_non_null(strstr(m->check.fix, "sysctl"));
    LOOK(m, procfs);
    ASSERT_FOUND(m, MISSING, "needs");
    LOOK(m, namespaces);
    assert_int_equal(m->check.status, DOCTOR_MISSING);
}

static void other_namespaces(void **state)
{
    struct machine *m = *state;
    LOOK(m, namespaces);
    assert_int_equal(m->check.status, DOCTOR_OK);
    m->doctor.namespaces.cgroup = EINVAL;
    LOOK(m, namespaces);
    ASSERT_FOUND(m, DEGRADED, "no cgroup namespace");
    m->doctor.namespaces.net = EINVAL;
    LOOK(m, namespaces);
    ASSERT_FOUND(m, MISSING, "no net namespace");
    m->doctor.namespaces.proc = EPERM;
    LOOK(m, procfs);
    ASSERT_FOUND(m, MISSING, "covered");
    m->doctor.namespaces.overlay = ENODEV;
    LOOK(m, overlayfs);
    ASSERT_FOUND(m, MISSING, "no overlay");
    m->doctor.namespaces.failed = -ETIMEDOUT;
    LOOK(m, procfs);
    ASSERT_FOUND(m, UNKNOWN, "in time");
    LOOK(m, overlayfs);
    assert_int_equal(m->check.status, DOCTOR_UNKNOWN);
}

static void seccomp_watching(void **state)
{
    struct machine *m = *state;
    machine_file(m, "/proc/sys/kernel/seccomp/actions_avail", "kill_process trap errno log allow\n");
    LOOK(m, seccomp_notify);
    ASSERT_FOUND(m, MISSING, "no user notification");
}

static void programs(void **state)
{
    struct machine *m = *state;
    char folder[128], path[160];
    snprintf(folder, sizeof folder, "%s/libexec", m->root);
    snprintf(path, sizeof path, "%s/hivemind-slot", folder);
    m->options.libexec_dir = folder;
    LOOK(m, slot);
    ASSERT_FOUND(m, MISSING, "No such file");
    machine_file(m, "/libexec/hivemind-slot", "libpython3.1.so.9.9");
    assert_int_equal(chmod(path, 0644), 0);
    LOOK(m, slot);
    ASSERT_FOUND(m, MISSING, "is no program");
    assert_int_equal(chmod(path, 0700), 0);
    LOOK(m, slot);
    ASSERT_FOUND(m, MISSING, "by its owner alone");
    m->doctor.root = false;
    LOOK(m, slot);
    ASSERT_FOUND(m, OK, path);
    LOOK(m, libpython);
    ASSERT_FOUND(m, MISSING, "libpython3.1.so.9.9 is not installed");
    machine_file(m, "/libexec/hivemind-slot", "libpython3.x.so libpython3.");
    LOOK(m, libpython);
    ASSERT_FOUND(m, UNKNOWN, "names no library");
    assert_int_equal(unlink(path) | mkfifo(path, 0700), 0); /* nobody writes to it: a reader would wait for ever */
    LOOK(m, libpython);
    ASSERT_FOUND(m, MISSING, "cannot be read");
}

static void interpreters(void **state)
{
    struct machine *m = *state;
    char path[128];
    snprintf(path, sizeof path, "%s/python", m->root);
    m->options.python = path;
    LOOK(m, python);
    ASSERT_FOUND(m, MISSING, "No such file");
    machine_file(m, "/python", "#!/bin/sh\necho Python 3.99.1\n");
    LOOK(m, python);
    ASSERT_FOUND(m, MISSING, "Permission denied");
    assert_int_equal(chmod(path, 0755), 0);
    LOOK(m, python);
    ASSERT_FOUND(m, OK, "3.99.1");
    LOOK(m, libpython);
    ASSERT_FOUND(m, DEGRADED, "only /usr/bin/python3");
    machine_file(m, "/python", "#!/bin/sh\nexec cat /dev/zero\n");
    LOOK(m, python);
    ASSERT_FOUND(m, DEGRADED, "does not tell");
    machine_file(m, "/python", "#!/bin/sh\nexec tail -f /dev/null\n");
    m->doctor.deadline_us = clock_monotonic_us() + 300000;
    LOOK(m, python);
    ASSERT_FOUND(m, UNKNOWN, "in time");
}

static void storage(void **state)
{
    struct machine *m = *state;
    char path[160];
    snprintf(path, sizeof path, "%s/a/b/c", m->root);
    m->options.storage_path = path;
    LOOK(m, storage_space);
    assert_non_null(strstr(m->check.found, "not there yet"));
    machine_file(m, "/a", "");
    m->doctor.storage[0] = '\0';
    LOOK(m, storage_space);
    ASSERT_FOUND(m, MISSING, "Not a directory");
    m->options.storage_path = "/"; /* root's */
    m->doctor.storage[0] = '\0';
    m->doctor.root = false;
    uid_t before = geteuid();
    if (before == 0)
        assert_int_equal(seteuid(65534), 0);
    LOOK(m, storage_space);
    if (before == 0)
        assert_int_equal(seteuid(0), 0);
    ASSERT_FOUND(m, MISSING, "belongs to user 0");
    m->doctor.root = true;
    m->options.storage_path = "/proc/self";
    m->doctor.storage[0] = '\0';
    LOOK(m, storage_type);
    ASSERT_FOUND(m, UNKNOWN, "0x9fa0");
    m->options.storage_path = "/dev/shm/x";
    m->doctor.storage[0] = '\0';
    LOOK(m, storage_type);
    ASSERT_FOUND(m, DEGRADED, "tmpfs");
}

static bool is_node(void *ctx, uint16_t port, uint64_t timeout_us, char *ret_name)
{
    snprintf(ret_name, 128, "node-%u", port);
    return timeout_us > 0 && *(bool *)ctx;
}

static void ports(void **state)
{
    struct machine *m = *state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    bool answers = false;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    assert_int_equal(listen(fd, 1), 0);
    m->options.root = NULL;
    m->options.grpc_port = ntohs(address.sin_port);
    m->options.ask_node = is_node;
    m->options.ctx = &answers;
    char self[64];
    snprintf(self, sizeof self, "process %d", (int)getpid());
    LOOK(m, grpc_port);
    ASSERT_FOUND(m, DEGRADED, self);
    answers = true;
    LOOK(m, grpc_port);
    ASSERT_FOUND(m, OK, "by a node, node-");
    close(fd);
    LOOK(m, grpc_port);
    ASSERT_FOUND(m, OK, "is free");
}

static void wireguard(void **state)
{
    struct machine *m = *state;
    assert_int_equal(setenv("PATH", m->root, 1), 0);
    machine_file(m, "/proc/sys/kernel/osrelease", "6.1.0\n");
    LOOK(m, wireguard);
    assert_int_equal(m->check.status, DOCTOR_MISSING);
    machine_file(m, "/wireguard-go", "#!/bin/sh\n");
    char path[128];
    snprintf(path, sizeof path, "%s/wireguard-go", m->root);
    assert_int_equal(chmod(path, 0755), 0);
    LOOK(m, wireguard);
    ASSERT_FOUND(m, DEGRADED, "wireguard-go");
    machine_file(m, "/lib/modules/6.1.0/modules.dep", "kernel/drivers/net/wireguard/wireguard.ko: kernel/x.ko\n");
    LOOK(m, wireguard);
    ASSERT_FOUND(m, OK, "can load");
    machine_folder(m, "/sys/module/wireguard");
    LOOK(m, wireguard);
    ASSERT_FOUND(m, OK, "has it");
}

/* The real machine, whatever it is: every check once, and a verdict that follows from them. */
static void a_whole_run(void **state)
{
    (void)state;
    static const struct doctor_options options = {.libexec_dir = "/nonexistent"};
    static struct doctor_report r;
    uint64_t begin = clock_monotonic_us();
    doctor_run(&options, &r);
    assert_true(clock_monotonic_us() - begin < 8000000);
    assert_false(r.can_run);
    assert_non_null(strstr(r.summary, "would not run tasks: "));
    assert_non_null(strstr(r.summary, "hivemind-slot (/nonexistent/hivemind-slot"));
    assert_null(doctor_find(&r, "nothing"));
    for (size_t i = 0; i < r.n_checks; i++) {
        const struct doctor_check *c = &r.checks[i];
        assert_true(*c->found && *c->cost && *c->fix);
        assert_ptr_equal(doctor_find(&r, c->name), c); /* names are unique */
        assert_true(i == 0 || c->area >= r.checks[i - 1].area);
    }
}

#define ON_MACHINE(test) cmocka_unit_test_setup_teardown(test, machine_make, machine_remove)
int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_MACHINE(kernel),
        ON_MACHINE(memory_and_swap),
        ON_MACHINE(pressure_and_pages),
        ON_MACHINE(uid_range),
        ON_MACHINE(causes),
        ON_MACHINE(other_namespaces),
        ON_MACHINE(seccomp_watching),
        ON_MACHINE(programs),
        ON_MACHINE(interpreters),
        ON_MACHINE(storage),
        ON_MACHINE(ports),
        cmocka_unit_test(a_whole_run),
        ON_MACHINE(wireguard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
