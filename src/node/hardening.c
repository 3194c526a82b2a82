/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list of what is refused, and not of what is allowed: the daemon is made of large libraries whose needs change with every version,
 * and a call that is missing in a list would end a node. What is refused is what an intruder needs to get further from here: other
 * programs, other processes, the kernel's rarely used parts. Such a call fails with EPERM; nothing in the daemon makes one.
 *
 * Sanitizers fork and attach to the process to look for leaks at its end; in a build with one these calls stay allowed, and the log says so.
 */
#include "node/hardening.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/util.h"

#ifdef HIVEMIND_SANITIZED
static const bool sanitized = true;
#else
static const bool sanitized = false;
#endif

/* By name: libseccomp knows those that the headers of this machine do not. */
static const char *const refused[] = {
    /* other processes */
    "process_vm_readv",
    "process_vm_writev",
    "process_madvise",
    "pidfd_getfd",
    "kcmp",
    "perf_event_open",
    /* what is mounted, and namespaces */
    "mount",
    "umount",
    "umount2",
    "pivot_root",
    "chroot",
    "move_mount",
    "open_tree",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "mount_setattr",
    "setns",
    "unshare",
    "open_by_handle_at",
    "name_to_handle_at",
    "swapon",
    "swapoff",
    "quotactl",
    "quotactl_fd",
    /* the kernel */
    "bpf",
    "userfaultfd",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
    "reboot",
    "syslog",
    "acct",
    "iopl",
    "ioperm",
    "modify_ldt",
    "vm86",
    "vm86old",
    "lookup_dcookie",
    "nfsservctl",
    "_sysctl",
    "uselib",
    "ustat",
    "sysfs",
    "personality",
    "vhangup",
    "remap_file_pages",
    "fanotify_init",
    /* keys */
    "add_key",
    "keyctl",
    "request_key",
    /* who and where we are, and when */
    "setuid",
    "setgid",
    "setreuid",
    "setregid",
    "setresuid",
    "setresgid",
    "setfsuid",
    "setfsgid",
    "setgroups",
    "capset",
    "sethostname",
    "setdomainname",
    "settimeofday",
    "clock_settime",
    "clock_adjtime",
    "adjtimex",
    "stime",
    /* memory and processors of others, devices */
    "migrate_pages",
    "move_pages",
    "mknod",
    "mknodat",
};

/* No other program is ever started from here, and no process but by the launcher. */
static const char *const refused_unless_sanitized[] = {"ptrace", "execve", "execveat", "fork", "vfork"};

static int refuse(scmp_filter_ctx filter, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int number = seccomp_syscall_resolve_name(names[i]);
        int r = number < 0 ? 0 : seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), number, 0);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Threads may be made, processes not. What clone3 is asked for cannot be seen; without it libc takes clone. */
static int refuse_processes(scmp_filter_ctx filter)
{
    int r = refuse(filter, refused_unless_sanitized, ARRAY_LEN(refused_unless_sanitized));
    if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (r == 0)
        r = seccomp_rule_add(
            filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
    return r;
}

/* Of the families of sockets only the usual ones, and netlink, by which libc asks for interfaces: the lowest is unix. */
static int refuse_sockets(scmp_filter_ctx filter)
{
    int r = 0;
    for (unsigned family = 0; r == 0 && family < AF_MAX; family++) {
        if (family != AF_UNIX && family != AF_INET && family != AF_INET6 && family != AF_NETLINK)
            r = seccomp_rule_add(
                filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, family));
    }
    if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_GE, AF_MAX));
    return r;
}

static int load_filter(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (!filter)
        return -ENOMEM;
    int r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (r == 0)
        r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (r == 0)
        r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree: it is asked at every call */
    if (r == 0)
        r = refuse(filter, refused, ARRAY_LEN(refused));
    if (r == 0)
        r = refuse_sockets(filter);
    if (r == 0 && !sanitized)
        r = refuse_processes(filter);
    if (r == 0)
        r = seccomp_load(filter);
    seccomp_release(filter);
    return r;
}

int hardening_enter(struct tw_error *error)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return error_set_errno(error, errno, "cannot rule out new privileges");
    if (syscall(SYS_capset, &header, none) < 0)
        return error_set_errno(error, errno, "cannot give up the capabilities");
    int r = load_filter();
    if (r < 0)
        return error_set_errno(error, r, "cannot load the daemon's own filter of system calls");
    if (sanitized)
        log_info("built with a sanitizer: the filter of system calls lets fork, exec and ptrace pass");
    return 0;
}
