/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system calls that a task may make. What is not listed does not exist for it (ENOSYS), so that libraries fall back as
 * on an older kernel; what would be dangerous if it worked is refused with EPERM, which is what programs expect of it. A
 * call by another architecture's numbers (i386, x32) kills, since its numbers would mean other calls.
 *
 * Where the kernel can, a refused call goes to the slot before it fails (slot_watch.c), to be counted and named.
 */
#include "slot/slot.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"

static const char *const allowed[] = {
    /* files */
    "access", "chdir", "chmod", "chown", "close", "close_range", "copy_file_range", "creat", "dup", "dup2", "dup3",
    "faccessat", "faccessat2", "fadvise64", "fallocate", "fchdir", "fchmod", "fchmodat", "fchmodat2", "fchown",
    "fchownat", "fcntl", "fdatasync", "fgetxattr", "flistxattr", "flock", "fremovexattr", "fsetxattr", "fstat",
    "fstatfs", "fsync", "ftruncate", "futimesat", "getcwd", "getdents", "getdents64", "getxattr", "inotify_add_watch",
    "inotify_init", "inotify_init1", "inotify_rm_watch", "lchown", "lgetxattr", "link", "linkat", "listxattr",
    "llistxattr", "lremovexattr", "lseek", "lsetxattr", "lstat", "mkdir", "mkdirat", "mknod", "mknodat", "newfstatat",
    "open", "openat", "openat2", "pread64", "preadv", "preadv2", "pwrite64", "pwritev", "pwritev2", "read", "readahead",
    "readlink", "readlinkat", "readv", "removexattr", "rename", "renameat", "renameat2", "rmdir", "sendfile",
    "setxattr", "splice", "stat", "statfs", "statx", "symlink", "symlinkat", "sync", "sync_file_range", "syncfs", "tee",
    "truncate", "umask", "unlink", "unlinkat", "utime", "utimensat", "utimes", "vmsplice", "write", "writev",
    /* events */
    "epoll_create", "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_pwait2", "epoll_wait", "eventfd", "eventfd2",
    "pipe", "pipe2", "poll", "ppoll", "pselect6", "select", "signalfd", "signalfd4", "timerfd_create",
    "timerfd_gettime", "timerfd_settime",
    /* memory */
    "brk", "madvise", "memfd_create", "mincore", "mlock", "mlock2", "mlockall", "mmap", "mprotect", "mremap", "msync",
    "munlock", "munlockall", "munmap", "pkey_alloc", "pkey_free", "pkey_mprotect", "membarrier", "get_mempolicy",
    /* processes and threads */
    "arch_prctl", "capget", "execve", "execveat", "exit", "exit_group", "fork", "futex", "futex_waitv",
    "get_robust_list", "get_thread_area", "getegid", "geteuid", "getgid", "getgroups", "getpgid", "getpgrp", "getpid",
    "getppid", "getpriority", "getresgid", "getresuid", "getrlimit", "getrusage", "getsid", "gettid", "getuid",
    "ioprio_get", "pidfd_open", "pidfd_send_signal", "prctl", "rseq", "sched_get_priority_max",
    "sched_get_priority_min", "sched_getaffinity", "sched_getattr", "sched_getparam", "sched_getscheduler",
    "sched_rr_get_interval", "sched_setaffinity", "sched_yield", "set_robust_list", "set_thread_area",
    "set_tid_address", "setfsgid", "setfsuid", "setgid", "setgroups", "setitimer", "setpgid", "setpriority", "setregid",
    "setresgid", "setresuid", "setreuid", "setsid", "setuid", "vfork", "wait4", "waitid", "waitpid",
    /* signals */
    "kill", "pause", "restart_syscall", "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo",
    "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "rt_tgsigqueueinfo", "sigaltstack", "tgkill", "tkill",
    /* time */
    "alarm", "clock_getres", "clock_gettime", "clock_nanosleep", "getitimer", "gettimeofday", "nanosleep", "time",
    "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime", "timer_settime", "times",
    /* sockets; which families is decided below */
    "accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "listen", "recvfrom",
    "recvmmsg", "recvmsg", "sendmmsg", "sendmsg", "sendto", "setsockopt", "shutdown",
    /* the rest; ioctl as a whole, since no terminal and no device that could do harm is in reach */
    "getcpu", "getrandom", "ioctl", "landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self", "seccomp",
    "sysinfo", "uname"};

/* Not allowed, and worth a clear refusal. SysV IPC and message queues would outlive the task in its slot. */
static const char *const refused[] = {"acct", "add_key", "bpf", "chroot", "delete_module", "fanotify_init",
    "finit_module", "fsconfig", "fsmount", "fsopen", "fspick", "init_module", "io_uring_enter", "io_uring_register",
    "io_uring_setup", "ioperm", "iopl", "kcmp", "kexec_file_load", "kexec_load", "keyctl", "mount", "mount_setattr",
    "move_mount", "move_pages", "migrate_pages", "mq_open", "msgget", "name_to_handle_at", "open_by_handle_at",
    "open_tree", "perf_event_open", "pidfd_getfd", "pivot_root", "process_madvise", "process_vm_readv",
    "process_vm_writev", "ptrace", "quotactl", "reboot", "request_key", "semget", "setdomainname", "sethostname",
    "setns", "settimeofday", "shmget", "swapoff", "swapon", "syslog", "umount2", "unshare", "userfaultfd", "vhangup",
    "clock_settime", "clock_adjtime", "adjtimex"};

/* New namespaces; and a sibling instead of a child: one of the task's process would be a child of the slot. */
static const uint64_t refused_clone_flags = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
    CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_PARENT;

static int add_all(scmp_filter_ctx ctx, uint32_t action, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int nr = seccomp_syscall_resolve_name(names[i]);
        if (nr == __NR_SCMP_ERROR)
            continue; /* newer than the library, or of another architecture */
        int r = seccomp_rule_add(ctx, action, nr, 0);
        if (r < 0)
            return r;
    }
    return 0;
}

int slot_filter_errno(int nr)
{
    if (nr == SCMP_SYS(socket) || nr == SCMP_SYS(socketpair))
        return EAFNOSUPPORT;
    if (nr == SCMP_SYS(clone) || nr == SCMP_SYS(prlimit64) || nr == SCMP_SYS(setrlimit))
        return EPERM;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        if (seccomp_syscall_resolve_name(refused[i]) == nr)
            return EPERM;
    }
    return ENOSYS;
}

/* What fails, fails by itself or, watched, is left to the default, which hands it to the listener. */
static int add_refused(scmp_filter_ctx ctx)
{
    int r = add_all(ctx, SCMP_ACT_ERRNO(EPERM), refused, ARRAY_LEN(refused));
    for (int bit = 0; bit < 32; bit++) {
        uint64_t flag = UINT64_C(1) << bit;
        if (refused_clone_flags & flag)
            r |= seccomp_rule_add(
                ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, flag, flag));
    }
    r |= seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_GT, AF_INET6));
    for (int family = 0; family < AF_INET6; family++) {
        if (family != AF_UNIX && family != AF_INET)
            r |= seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, family));
    }
    r |= seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(prlimit64), 1, SCMP_A0(SCMP_CMP_GT, 0));
    r |= seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(prlimit64), 3, SCMP_A0(SCMP_CMP_EQ, 0),
        SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, RLIMIT_CORE), SCMP_A2(SCMP_CMP_NE, 0));
    r |= seccomp_rule_add(
        ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(setrlimit), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, UINT32_MAX, RLIMIT_CORE));
    r |= seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socketpair), 1, SCMP_A0(SCMP_CMP_NE, AF_UNIX));
    return r < 0 ? -EINVAL : 0;
}

static int add_conditional(scmp_filter_ctx ctx, bool watched)
{
    static const int families[] = {AF_UNIX, AF_INET, AF_INET6};
    static const unsigned personalities[] = {0, 0xffffffff};
    /* 0 to 15 but for RLIMIT_CORE, which is 4; all bits count, since the kernel looks at the lower half only. */
    static const struct {
        uint64_t mask, value;
    } resources[] = {{~UINT64_C(3), 0}, {UINT64_MAX, 5}, {~UINT64_C(1), 6}, {~UINT64_C(7), 8}};
    int r = 0;
    /* clone3 has its flags in memory, out of a filter's reach; without it libraries use clone. Not worth a remark. */
    if (watched)
        r |= seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    r |= seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, refused_clone_flags, 0));
    for (size_t i = 0; i < ARRAY_LEN(families); i++)
        r |= seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, families[i]));
    /*
     * Only its own limits: where all share one id, pid 1 would let the task set its. And not that of core files, which is 1
     * on purpose: where the host pipes core files to a program of its own, 0 would have it started (core(5)).
     */
    for (size_t i = 0; i < ARRAY_LEN(resources); i++) {
        r |= seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(setrlimit), 1,
            SCMP_A0(SCMP_CMP_MASKED_EQ, resources[i].mask, resources[i].value));
        r |= seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 2, SCMP_A0(SCMP_CMP_EQ, 0),
            SCMP_A1(SCMP_CMP_MASKED_EQ, resources[i].mask, resources[i].value));
    }
    r |= seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 3, SCMP_A0(SCMP_CMP_EQ, 0),
        SCMP_A1(SCMP_CMP_EQ, RLIMIT_CORE), SCMP_A2(SCMP_CMP_EQ, 0));
    /* It makes its sockets before it asks the family whether it knows pairs, and may load the family's module for that. */
    r |= seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socketpair), 1, SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
    for (size_t i = 0; i < ARRAY_LEN(personalities); i++)
        r |= seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(personality), 1, SCMP_A0(SCMP_CMP_EQ, personalities[i]));
    return r < 0 ? -EINVAL : 0;
}

/* The program out of the library, by way of a file. */
static int export(scmp_filter_ctx ctx, struct sock_fprog *ret)
{
    CLEANUP_FD int fd = memfd_create("filter", MFD_CLOEXEC);
    struct stat st;
    if (fd < 0)
        return -errno;
    int r = seccomp_export_bpf(ctx, fd);
    if (r < 0)
        return r;
    if (fstat(fd, &st) < 0)
        return -errno;
    size_t size = (size_t)st.st_size;
    if (size == 0 || size % sizeof(struct sock_filter) || size / sizeof(struct sock_filter) > BPF_MAXINSNS)
        return -EFBIG;
    struct sock_filter *program = malloc(size);
    if (!program)
        return -ENOMEM;
    if (lseek(fd, 0, SEEK_SET) < 0 || fd_read_all(fd, program, size) != (ssize_t)size) {
        free(program);
        return -EIO;
    }
    *ret = (struct sock_fprog){.len = (unsigned short)(size / sizeof *program), .filter = program};
    return 0;
}

int slot_filter_build(bool watched, struct sock_fprog *ret, struct slot_error *error)
{
    scmp_filter_ctx ctx = seccomp_init(watched ? SCMP_ACT_NOTIFY : SCMP_ACT_ERRNO(ENOSYS));
    if (!ctx) {
        errno = ENOMEM;
        return slot_error_set(error, STAGE_FILTER, "starting it");
    }
    const char *what = "its attributes";
    int r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (r == 0)
        r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (r == 0) {
        what = "a rule";
        r = add_all(ctx, SCMP_ACT_ALLOW, allowed, ARRAY_LEN(allowed));
    }
    if (r == 0 && !watched)
        r = add_refused(ctx);
    if (r == 0)
        r = add_conditional(ctx, watched);
    if (r == 0) {
        what = "the program";
        r = export(ctx, ret);
    }
    seccomp_release(ctx);
    errno = -r;
    return r < 0 ? slot_error_set(error, STAGE_FILTER, "%s", what) : 0;
}

int slot_filter_load(const struct slot *slot, int *ret_listener, struct slot_error *error)
{
    *ret_listener = -1;
    if (slot->filter.len > 0) {
        long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &slot->filter);
        if (fd >= 0) {
            *ret_listener = (int)fd;
            return 0;
        }
        /* EBUSY: somebody around us listens already, and there can be one only. EINVAL: a kernel older than 5.0. */
        if (errno != EBUSY && errno != EINVAL)
            return slot_error_set(error, STAGE_SECCOMP, "with a listener");
    }
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &slot->silent) < 0)
        return slot_error_set(error, STAGE_SECCOMP, "%s", "");
    return 0;
}
