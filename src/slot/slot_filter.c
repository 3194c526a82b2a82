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
#include <linux/audit.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"
#include "slot/filter_program.h"

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
static const uint32_t refused_clone_flags = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
    CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_PARENT;

/* Where a call leads. What is refused otherwise than a missing call is told by slot_filter_errno() where it is watched. */
enum place {
    PLACE_ALLOW = 1,
    PLACE_MISSING,
    PLACE_REFUSED,
    PLACE_NO_FAMILY,
    PLACE_ABSENT, /* missing, and not worth a remark */
    PLACE_CLONE,
    PLACE_SOCKET,
    PLACE_SOCKETPAIR,
    PLACE_PERSONALITY,
    PLACE_SETRLIMIT,
    PLACE_PRLIMIT,
    PLACE_KILL,
};

enum { NUMBERS = 512 }; /* beyond it no call is known yet */

/* The place of each call; of the slot's only thread, found with the first program. */
static uint8_t places[NUMBERS];

static const struct {
    int nr;
    enum place place;
} conditional[] = {
    /* clone3 has its flags in memory, out of a filter's reach; without it libraries use clone. */
    {SCMP_SYS(clone3), PLACE_ABSENT},
    {SCMP_SYS(clone), PLACE_CLONE},
    {SCMP_SYS(socket), PLACE_SOCKET},
    /* It makes its sockets before it asks the family whether it knows pairs, and may load the family's module for that. */
    {SCMP_SYS(socketpair), PLACE_SOCKETPAIR},
    {SCMP_SYS(personality), PLACE_PERSONALITY},
    {SCMP_SYS(setrlimit), PLACE_SETRLIMIT},
    {SCMP_SYS(prlimit64), PLACE_PRLIMIT},
};

static void place_all(const char *const *names, size_t n, enum place place)
{
    for (size_t i = 0; i < n; i++) {
        int nr = seccomp_syscall_resolve_name(names[i]);
        if (nr >= 0 && nr < NUMBERS) /* not newer than the library, nor of another architecture */
            places[nr] = (uint8_t)place;
    }
}

static void find_places(void)
{
    memset(places, PLACE_MISSING, NUMBERS);
    place_all(allowed, ARRAY_LEN(allowed), PLACE_ALLOW);
    place_all(refused, ARRAY_LEN(refused), PLACE_REFUSED);
    for (size_t i = 0; i < ARRAY_LEN(conditional); i++) {
        if (conditional[i].nr >= 0 && conditional[i].nr < NUMBERS)
            places[conditional[i].nr] = (uint8_t)conditional[i].place;
    }
}

int slot_filter_errno(int nr)
{
    switch (nr >= 0 && nr < NUMBERS ? places[nr] : PLACE_MISSING) {
    case PLACE_SOCKET:
    case PLACE_SOCKETPAIR:
        return EAFNOSUPPORT;
    case PLACE_REFUSED:
    case PLACE_CLONE:
    case PLACE_SETRLIMIT:
    case PLACE_PRLIMIT:
        return EPERM;
    default:
        return ENOSYS;
    }
}

/* --- the program --- */

/* The lower half of an argument is all that the kernel looks at where it takes an int. */
static size_t lower_half(int arg)
{
    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the lower half comes first");
    return offsetof(struct seccomp_data, args) + (size_t)arg * sizeof(uint64_t);
}

static void check_number(struct filter_program *p, const uint8_t label_of[NUMBERS])
{
#if defined(__x86_64__)
    enum { ARCHITECTURE = AUDIT_ARCH_X86_64, X32 = 0x40000000 };
#elif defined(__aarch64__)
    enum { ARCHITECTURE = AUDIT_ARCH_AARCH64, X32 = 0 };
#else
#error "the numbers of this architecture are missing"
#endif
    filter_load(p, offsetof(struct seccomp_data, arch));
    filter_jump(p, BPF_JEQ, (uint32_t)ARCHITECTURE, FILTER_NEXT, PLACE_KILL);
    filter_load(p, offsetof(struct seccomp_data, nr));
    if (X32) { /* all but -1, which a tracer sets to skip a call */
        filter_jump(p, BPF_JEQ, UINT32_MAX, PLACE_MISSING, FILTER_NEXT);
        filter_jump(p, BPF_JGE, X32, PLACE_KILL, FILTER_NEXT);
    }
    filter_dispatch(p, label_of, NUMBERS, PLACE_MISSING);
}

/* Whatever leads here is decided by the arguments. */
static void check_arguments(struct filter_program *p)
{
    filter_label(p, PLACE_CLONE);
    filter_load(p, lower_half(0));
    filter_jump(p, BPF_JSET, refused_clone_flags, PLACE_REFUSED, PLACE_ALLOW);

    filter_label(p, PLACE_SOCKET);
    filter_load(p, lower_half(0));
    filter_jump(p, BPF_JEQ, AF_INET, PLACE_ALLOW, FILTER_NEXT);
    filter_jump(p, BPF_JEQ, AF_INET6, PLACE_ALLOW, FILTER_NEXT);
    filter_jump(p, BPF_JEQ, AF_UNIX, PLACE_ALLOW, PLACE_NO_FAMILY);

    filter_label(p, PLACE_SOCKETPAIR);
    filter_load(p, lower_half(0));
    filter_jump(p, BPF_JEQ, AF_UNIX, PLACE_ALLOW, PLACE_NO_FAMILY);

    filter_label(p, PLACE_PERSONALITY); /* the usual one, or which it is */
    filter_load(p, lower_half(0));
    filter_jump(p, BPF_JEQ, 0, PLACE_ALLOW, FILTER_NEXT);
    filter_jump(p, BPF_JEQ, UINT32_MAX, PLACE_ALLOW, PLACE_MISSING);

    /*
     * Not the limit of core files, which is 1 on purpose: where the host pipes core files to a program of its own, 0 would have
     * it started (core(5)). And only a process's own limits: where all share one id, pid 1 would let the task set its.
     */
    filter_label(p, PLACE_SETRLIMIT);
    filter_load(p, lower_half(0));
    filter_jump(p, BPF_JEQ, RLIMIT_CORE, PLACE_REFUSED, PLACE_ALLOW);

    filter_label(p, PLACE_PRLIMIT);
    filter_load(p, lower_half(0));
    filter_jump(p, BPF_JEQ, 0, FILTER_NEXT, PLACE_REFUSED);
    filter_load(p, lower_half(1));
    filter_jump(p, BPF_JEQ, RLIMIT_CORE, FILTER_NEXT, PLACE_ALLOW);
    filter_load(p, lower_half(2)); /* the address of a new one */
    filter_jump(p, BPF_JEQ, 0, FILTER_NEXT, PLACE_REFUSED);
    filter_load(p, lower_half(2) + sizeof(uint32_t));
    filter_jump(p, BPF_JEQ, 0, PLACE_ALLOW, PLACE_REFUSED);
}

/* What fails, fails by itself or, watched, is handed to the listener. */
static void decide(struct filter_program *p, bool watched)
{
    if (watched) {
        filter_label(p, PLACE_MISSING);
        filter_label(p, PLACE_REFUSED);
        filter_label(p, PLACE_NO_FAMILY);
        filter_return(p, SECCOMP_RET_USER_NOTIF);
        filter_label(p, PLACE_ABSENT);
        filter_return(p, SECCOMP_RET_ERRNO | ENOSYS);
    } else {
        filter_label(p, PLACE_REFUSED);
        filter_return(p, SECCOMP_RET_ERRNO | EPERM);
        filter_label(p, PLACE_NO_FAMILY);
        filter_return(p, SECCOMP_RET_ERRNO | EAFNOSUPPORT);
        filter_label(p, PLACE_MISSING);
        filter_label(p, PLACE_ABSENT);
        filter_return(p, SECCOMP_RET_ERRNO | ENOSYS);
    }
    filter_label(p, PLACE_ALLOW);
    filter_return(p, SECCOMP_RET_ALLOW);
    filter_label(p, PLACE_KILL);
    filter_return(p, SECCOMP_RET_KILL_PROCESS);
}

/* Calls that lead to the same instruction are one range to the tree. */
static void find_labels(bool watched, uint8_t label_of[NUMBERS])
{
    for (size_t i = 0; i < NUMBERS; i++) {
        bool joined = places[i] == (watched ? PLACE_REFUSED : PLACE_ABSENT);
        label_of[i] = joined ? (uint8_t)PLACE_MISSING : places[i];
    }
}

int slot_filter_build(bool watched, struct sock_fprog *ret, struct slot_error *error)
{
    uint8_t label_of[NUMBERS];
    struct filter_program *p = calloc(1, sizeof *p);
    int r = p ? 0 : -ENOMEM;
    if (p) {
        find_places();
        find_labels(watched, label_of);
        check_number(p, label_of);
        check_arguments(p);
        decide(p, watched);
        r = filter_finish(p, ret);
        free(p);
    }
    errno = -r;
    return r < 0 ? slot_error_set(error, STAGE_FILTER, "the program") : 0;
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
