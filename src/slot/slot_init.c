/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pid 1 of a task: a fork of the slot in fresh pid and mount namespaces. It mounts what is the task's own, forks the task's
 * process, gives up all privileges but that of killing it, and from then on only reaps. When the task's main process ends
 * it reports that, kills whatever the task left running, and exits; had it died earlier, the kernel would have killed the
 * rest just so. It dies with the slot.
 */
#include "slot/slot.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "slot/caps.h"
#include "slot/channel.h"

static void report_failure(int report, const struct slot_error *error)
{
    struct init_report r = {.type = INIT_FAILED, .error = *error};
    (void)channel_send(report, &r, sizeof r, NULL, 0);
}

/* Readable by all in every procfs, and about the whole machine. */
static const char *const masked[] = {"/proc/kcore", "/proc/keys", "/proc/timer_list"};

/*
 * The task's /proc: its own processes only, read-only. Where the task must write its id maps (one_id), *ret_proc gets a
 * way to the writable mount below, which is closed before the task's program starts.
 */
static int mount_proc(const struct slot *slot, int *ret_proc, struct slot_error *error)
{
    const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    /* Numbers for the option came with 5.8 as an alternative to the names, and are all that older ones know. */
    if (mount("proc", "/proc", "proc", flags, "hidepid=2") < 0)
        return slot_error_set(error, STAGE_PROC,
            errno == EPERM ? "not allowed here: in a container, its own /proc must not be masked" : "");
    if (slot->one_id) {
        *ret_proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (*ret_proc < 0 || mount("/proc", "/proc", NULL, MS_BIND, NULL) < 0)
            return slot_error_set(error, STAGE_PROC, "the second time");
    }
    for (size_t i = 0; i < ARRAY_LEN(masked); i++) {
        if (mount("/dev/null", masked[i], NULL, MS_BIND, NULL) < 0 && errno != ENOENT)
            return slot_error_set(error, STAGE_PROC, "masking %s", masked[i]);
    }
    return slot_mount_lock("/proc", false, MS_NODEV | MS_NOEXEC) < 0 ? slot_error_set(error, STAGE_PROC, "read-only")
                                                                     : 0;
}

static int mount_folder(
    const struct slot *slot, const char *path, unsigned mode, uint64_t size, struct slot_error *error)
{
    char options[128];
    int owner = slot->one_id ? 0 : SLOT_TASK_UID; /* with one id the task is, seen from here, the same user */
    snprintf(options, sizeof options, "mode=%o,uid=%d,gid=%d,size=%lu,nr_inodes=65536", mode, owner, owner, size);
    if (mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, options) < 0)
        return slot_error_set(error, STAGE_FOLDERS, "%s", path);
    return 0;
}

static int prepare_mounts(
    const struct slot *slot, const struct plan_limits *limits, int *ret_proc, struct slot_error *error)
{
    if (mount_proc(slot, ret_proc, error) < 0 || mount_folder(slot, "/tmp", 01777, limits->tmp_bytes, error) < 0 ||
        mount_folder(slot, "/workspace", 0700, limits->workspace_bytes, error) < 0 ||
        mount_folder(slot, "/dev/shm", 01777, limits->shm_bytes, error) < 0)
        return -1;
    if (mount("/tmp", "/var/tmp", NULL, MS_BIND, NULL) < 0)
        return slot_error_set(error, STAGE_FOLDERS, "/var/tmp");
    return 0;
}

/*
 * Reaps until the task's main process has ended. When the other end of `stop` is closed everything is killed: from here,
 * not by killing us, since the usage of a process whose parent dies with it is counted nowhere.
 */
static int wait_for_task(pid_t task, int stop)
{
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    CLEANUP_FD int signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    struct pollfd polls[] = {{.fd = signals, .events = POLLIN}, {.fd = stop, .events = POLLIN}};
    for (;;) {
        int status;
        struct signalfd_siginfo drop;
        pid_t pid = waitpid(-1, &status, signals < 0 ? 0 : WNOHANG);
        if (pid == task)
            return status;
        if (pid > 0)
            continue;
        if (pid < 0 && errno != EINTR)
            return SIGKILL; /* cannot be: the task is our child and nobody else reaps it */
        if (poll(polls, ARRAY_LEN(polls), -1) < 0)
            continue;
        if (polls[0].revents)
            (void)!read(signals, &drop, sizeof drop);
        if (polls[1].revents) {
            (void)kill(-1, SIGKILL);
            polls[1].fd = -1;
        }
    }
}

static _Noreturn void init_run(const struct slot *slot, const struct slot_start *start, int report, int stop)
{
    struct slot_error error = {0};
    CLEANUP_FD int proc = -1;
    pid_t task = -1;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        slot_error_set(&error, STAGE_NAMESPACES, "its end with the slot");
    /* A pid 1 without handlers cannot be hit by any signal from within, also where the task has the same user id. */
    slot_reset_signals();
    close(slot->control); /* or the daemon would not see the slot's death */
    if (!error.stage && prepare_mounts(slot, &start->plan.limits, &proc, &error) == 0) {
        task = fork();
        if (task == 0)
            slot_task_run(slot, start, report, proc);
        if (task < 0)
            slot_error_set(&error, STAGE_FORK, "%s", "");
    }
    /* What stays open here would keep the daemon from seeing the end of the task's output. */
    for (size_t i = 0; i < SLOT_START_FDS; i++)
        close(start->fd[i]);
    fd_close(&proc);
    if (!error.stage && caps_set(CAP_BIT(CAP_KILL)) < 0)
        slot_error_set(&error, STAGE_PRIVILEGES, "of its pid 1");
    if (error.stage) {
        report_failure(report, &error);
        _exit(1);
    }
    struct init_report done = {.type = INIT_EXITED, .status = wait_for_task(task, stop)};
    (void)channel_send(report, &done, sizeof done, NULL, 0);
    /* Our exit alone would kill the rest as well, but uncounted: the usage of who is not waited for is lost. */
    (void)kill(-1, SIGKILL);
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        ;
    _exit(0);
}

/*
 * As fork() would, so that the C library's idea of the thread's id stays right in the child; where the kernel cannot tell
 * the address, only functions that nothing here uses would notice.
 */
static pid_t clone_init(int *ret_pidfd)
{
    struct clone_args args = {
        .flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_PIDFD,
        .pidfd = (uintptr_t)ret_pidfd,
        .exit_signal = SIGCHLD,
    };
    int *tid_address = NULL;
    if (prctl(PR_GET_TID_ADDRESS, &tid_address, 0, 0, 0) == 0 && tid_address) {
        args.flags |= CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
        args.child_tid = (uintptr_t)tid_address;
    }
    return (pid_t)syscall(SYS_clone3, &args, sizeof args);
}

int slot_init_start(
    const struct slot *slot, const struct slot_start *start, struct slot_init *ret, struct slot_error *error)
{
    int pair[2], pipe[2];
    int r = channel_pair(pair);
    if (r < 0) {
        errno = -r;
        return slot_error_set(error, STAGE_NAMESPACES, "a connection to its pid 1");
    }
    CLEANUP_FD int ours = pair[0];
    CLEANUP_FD int theirs = pair[1];
    if (pipe2(pipe, O_CLOEXEC) < 0)
        return slot_error_set(error, STAGE_NAMESPACES, "a way to stop its pid 1");
    CLEANUP_FD int theirs_stop = pipe[0];
    CLEANUP_FD int ours_stop = pipe[1];
    int pidfd = -1;
    pid_t pid = clone_init(&pidfd);
    if (pid < 0)
        return slot_error_set(error, STAGE_NAMESPACES, "clone");
    if (pid == 0) {
        close(ours);
        close(ours_stop);
        init_run(slot, start, theirs, theirs_stop);
    }
    *ret = (struct slot_init){.pidfd = pidfd, .socket = fd_steal(&ours), .stop = fd_steal(&ours_stop)};
    return 0;
}
