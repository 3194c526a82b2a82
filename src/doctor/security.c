/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel has to restrict a process with: seccomp and Landlock. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "doctor/facts.h"
#include "doctor/internal.h"
#include "base/try.h"

#define TRY_US UINT64_C(500000)
#define ACTIONS "/proc/sys/kernel/seccomp/actions_avail"

static int load_filter(unsigned flags)
{
    struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {.len = 1, .filter = &allow};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return errno;
    long r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    return r < 0 ? errno : 0;
}

static void try_filter(const void *arg, void *ret)
{
    *(int *)ret = load_filter(*(const unsigned *)arg);
}

static int try_flags(const struct doctor *d, unsigned flags, int *ret_error)
{
    return try_run(doctor_time(d, TRY_US), try_filter, &flags, ret_error, sizeof *ret_error);
}

void check_seccomp(struct doctor *d, struct doctor_check *c)
{
    char actions[256] = "";
    int error = 0, r = try_flags(d, 0, &error);
    check_cost(c, "Tasks could make any system call: without a filter none is run.");
    check_fix(c, "a kernel with CONFIG_SECCOMP_FILTER");
    if (r < 0) {
        check_untried(c, r);
    } else if (error) {
        check_set(c, DOCTOR_MISSING, "no filter can be loaded: %s", strerror(error));
    } else {
        check_set(c, DOCTOR_OK, "loaded one");
        if (doctor_line(d, ACTIONS, actions, sizeof actions))
            check_add(c, "actions %.200s", actions);
    }
}

void check_seccomp_notify(struct doctor *d, struct doctor_check *c)
{
    char actions[256] = "";
    int error = 0, r = try_flags(d, SECCOMP_FILTER_FLAG_NEW_LISTENER, &error);
    check_cost(c, "A receipt cannot count which calls of a task were refused; they are refused all the same.");
    check_fix(c, "a kernel of version 5.0 or newer");
    if (doctor_line(d, ACTIONS, actions, sizeof actions) && !facts_list_has(actions, ' ', "user_notif")) {
        check_set(c, DOCTOR_MISSING, "the kernel has no user notification");
    } else if (r < 0) {
        check_untried(c, r);
    } else if (error == EBUSY) {
        check_set(c, DOCTOR_MISSING, "somebody watches this process already, and there can be only one");
        check_fix(c, "start it outside of this container, or the container without such a watcher");
    } else if (error) {
        check_set(c, DOCTOR_MISSING, "no listener to be had: %s", strerror(error));
    } else {
        check_set(c, DOCTOR_OK, "got a listener");
    }
}

void check_landlock(struct doctor *d, struct doctor_check *c)
{
    (void)d;
    static const char *const adds[] = {"files", "links across folders", "truncation", "TCP ports", "ioctl on devices",
        "signals and abstract sockets", "audit"};
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    check_cost(c, "One wall less around the files of the machine; the mount namespace still hides them.");
    check_fix(c, "a kernel of version 5.13 or newer with CONFIG_SECURITY_LANDLOCK");
    if (abi < 0 && errno == EOPNOTSUPP) {
        check_set(c, DOCTOR_MISSING, "the kernel has it, switched off at boot");
        check_fix(c, "boot with lsm=landlock,... (the list of /sys/kernel/security/lsm with landlock in front)");
    } else if (abi < 0 && (errno == EPERM || errno == EACCES)) {
        check_set(c, DOCTOR_MISSING, "not allowed here: %s", strerror(errno));
        check_fix(c, "a seccomp profile of the container around this process that allows landlock_create_ruleset");
    } else if (abi < 0) {
        check_set(c, DOCTOR_MISSING, "the kernel has none (%s)", strerror(errno));
    } else {
        check_set(c, DOCTOR_OK, "version %ld", abi);
        for (size_t i = 0; i < ARRAY_LEN(adds) && (long)i < abi; i++)
            check_add(c, "%s%s", i ? "" : "with rules for ", adds[i]);
    }
}
