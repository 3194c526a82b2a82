/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hivemind-slot: one place for one task at a time. The launcher starts it in user, mount, net, ipc and uts namespaces of
 * its own, as their root and without any power outside them, on fixed fds with an empty environment. It builds the tasks'
 * root folder and their system call filter once, says HELLO to the daemon, and then serves START, GO and KILL: for each
 * START it clones a pid 1 (slot_init.c) into fresh pid and mount namespaces, which forks the task (slot_task.c). What
 * becomes of them arrives here on a socket pair and by a pidfd, and is told to the daemon: the exit status as pid 1 saw it,
 * the usage as the kernel counted it for the whole tree. A task is over when its pid 1 has been reaped here: then nothing
 * of it is left, neither process nor mount. The slot ends when the daemon closes the connection; everything ends with it.
 */
#include "slot/slot.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "slot/channel.h"
#include "slot/warm.h"

enum { STOP_DEADLINE_MS = 1000 };

enum run_state { RUN_NONE, RUN_PREPARING, RUN_READY, RUN_STARTED };

/* The task that runs, if any. */
struct run_in_slot {
    enum run_state state;
    uint64_t serial;
    struct slot_init init; /* .socket -1 once it has closed it */
    uint64_t kill_us;      /* when all was told to end; 0: not yet */
    bool have_status;
    int status;
    struct slot_error error;
    uint64_t go_us, end_us;
};

static const struct run_in_slot no_run = {.init = {.pidfd = -1, .socket = -1, .stop = -1}};

int slot_error_set(struct slot_error *error, enum slot_stage stage, const char *fmt, ...)
{
    int saved = errno;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(error->detail, sizeof error->detail, fmt, ap);
    va_end(ap);
    error->stage = stage;
    error->error = saved > 0 && saved < 4096 ? saved : EIO;
    errno = saved;
    return -1;
}

static int reply(const struct slot *slot, enum slot_reply_type type, struct slot_reply *r, int fd)
{
    r->header = (struct protocol_header){SLOT_MAGIC, PROTOCOL_VERSION, (uint16_t)type};
    return channel_send(slot->control, r, sizeof *r, &fd, fd >= 0 ? 1 : 0);
}

static int reply_failed(const struct slot *slot, uint64_t serial, const struct slot_error *error)
{
    struct slot_reply r = {.serial = serial, .stage = error->stage, .error = error->error};
    memcpy(r.detail, error->detail, sizeof r.detail);
    return reply(slot, SLOT_FAILED, &r, -1);
}

/* --- START --- */

/* A file that cannot change any more, or the task could rewrite what was checked. */
static int check_sealed(int fd, off_t max, struct stat *ret, struct slot_error *error)
{
    const int need = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || fstat(fd, ret) < 0)
        return slot_error_set(error, STAGE_REQUEST, "not a memory file");
    errno = EINVAL;
    if ((seals & need) != need || ret->st_size > max)
        return slot_error_set(error, STAGE_REQUEST, "a memory file that is not sealed, or too large");
    return 0;
}

static int read_plan(int fd, struct plan *ret, struct slot_error *error)
{
    struct stat st;
    if (check_sealed(fd, PLAN_BYTES_MAX, &st, error) < 0)
        return -1;
    size_t len = (size_t)st.st_size;
    void *raw = len ? mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    if (raw == MAP_FAILED)
        return slot_error_set(error, STAGE_PLAN, "%s", "");
    enum plan_error bad = plan_decode(raw, len, ret);
    if (raw)
        munmap(raw, len);
    errno = EINVAL;
    return bad ? slot_error_set(error, STAGE_PLAN, "%s", plan_error_to_string(bad)) : 0;
}

static int check_outputs(const struct slot_start *start, struct slot_error *error)
{
    for (int i = SLOT_FD_STDOUT; i <= SLOT_FD_RESULT; i++) {
        struct stat st;
        int flags = fcntl(start->fd[i], F_GETFL);
        if (fstat(start->fd[i], &st) < 0 || flags < 0)
            return slot_error_set(error, STAGE_REQUEST, "an output");
        errno = EINVAL;
        if (!S_ISFIFO(st.st_mode) || (flags & O_ACCMODE) != O_WRONLY)
            return slot_error_set(error, STAGE_REQUEST, "an output that is not the write end of a pipe");
    }
    return 0;
}

static int start_run(struct slot *slot, struct run_in_slot *run, uint64_t serial, const struct channel_fds *fds)
{
    struct slot_error error = {0};
    struct slot_start start = {0};
    struct stat st;
    memcpy(start.fd, fds->fd, sizeof start.fd);
    int r = read_plan(start.fd[SLOT_FD_PLAN], &start.plan, &error);
    if (r == 0)
        r = check_sealed(start.fd[SLOT_FD_SOURCE], INT64_MAX, &st, &error);
    if (r == 0)
        r = check_outputs(&start, &error);
    if (r == 0)
        r = slot_init_start(slot, &start, &run->init, &error);
    plan_done(&start.plan);
    if (r < 0)
        return reply_failed(slot, serial, &error);
    run->state = RUN_PREPARING;
    run->serial = serial;
    return 0;
}

/* --- what the run reports, and its end --- */

static void take_report(const struct slot *slot, struct run_in_slot *run)
{
    struct init_report report;
    CLEANUP_FDS struct channel_fds fds;
    ssize_t n = channel_recv(run->init.socket, &report, sizeof report, &fds);
    if (n != (ssize_t)sizeof report) {
        fd_close(&run->init.socket);
        return;
    }
    if (report.type == INIT_READY && run->state == RUN_PREPARING) {
        run->state = RUN_READY;
        struct slot_reply r = {.serial = run->serial};
        (void)reply(slot, SLOT_READY, &r, run->init.pidfd); /* a daemon that is gone is seen in the loop */
    } else if (report.type == INIT_FAILED) {
        run->error = report.error;
        (void)syscall(SYS_pidfd_send_signal, run->init.pidfd, SIGKILL, NULL, 0);
    } else if (report.type == INIT_EXITED) {
        run->status = report.status;
        run->have_status = true;
        run->end_us = clock_monotonic_us();
    }
}

static uint64_t timeval_us(struct timeval t)
{
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_usec;
}

/* Reaps pid 1, which the kernel lets happen only when its whole namespace is dead; all usage below is summed up in it. */
static int finish_run(const struct slot *slot, struct run_in_slot *run)
{
    struct rusage usage = {0};
    siginfo_t info = {0};
    while (run->init.socket >= 0) { /* what it said last */
        struct pollfd p = {.fd = run->init.socket, .events = POLLIN};
        if (poll(&p, 1, 0) <= 0)
            break;
        take_report(slot, run);
    }
    (void)syscall(SYS_waitid, P_PIDFD, run->init.pidfd, &info, WEXITED, &usage);
    fd_close(&run->init.pidfd);
    fd_close(&run->init.socket);
    fd_close(&run->init.stop);
    struct run_in_slot done = *run;
    *run = no_run;
    if (done.error.stage)
        return reply_failed(slot, done.serial, &done.error);
    if (!done.have_status) /* killed from outside: on KILL, or by the kernel for want of memory */
        done.status = SIGKILL;
    if (!done.end_us)
        done.end_us = clock_monotonic_us();
    struct slot_reply r = {
        .serial = done.serial,
        .status = done.status,
        .wall_us = done.go_us ? done.end_us - done.go_us : 0,
        .user_us = timeval_us(usage.ru_utime),
        .system_us = timeval_us(usage.ru_stime),
        .max_rss_bytes = (uint64_t)usage.ru_maxrss * 1024,
    };
    return reply(slot, SLOT_EXITED, &r, -1);
}

static void kill_run(struct run_in_slot *run)
{
    if (run->state != RUN_NONE)
        (void)syscall(SYS_pidfd_send_signal, run->init.pidfd, SIGKILL, NULL, 0);
}

/* Through pid 1, which counts what it kills; one that takes too long about it is killed itself (loop). */
static void stop_run(struct run_in_slot *run)
{
    if (run->kill_us)
        return;
    run->kill_us = clock_monotonic_us();
    if (run->state == RUN_PREPARING)
        kill_run(run);
    else
        fd_close(&run->init.stop);
}

/* --- the daemon's requests --- */

static int serve(struct slot *slot, struct run_in_slot *run)
{
    struct slot_request request;
    char raw[sizeof request + 1];
    CLEANUP_FDS struct channel_fds fds;
    ssize_t n = channel_recv(slot->control, raw, sizeof raw, &fds);
    if (n <= 0)
        return n < 0 ? (int)n : -EPIPE;
    if (slot_request_check(raw, (size_t)n, fds.n, &request) != MESSAGE_OK)
        return -EPROTO;
    if (request.header.type == SLOT_START)
        return run->state == RUN_NONE ? start_run(slot, run, request.serial, &fds) : -EPROTO;
    /* About a run that has just ended: its end is on the way to the daemon. */
    if (run->state == RUN_NONE || request.serial != run->serial)
        return 0;
    if (request.header.type == SLOT_KILL) {
        stop_run(run);
    } else if (run->state == RUN_READY) {
        char go = 1;
        run->state = RUN_STARTED;
        run->go_us = clock_monotonic_us();
        (void)send(run->init.socket, &go, 1, MSG_NOSIGNAL); /* a run that died meanwhile is seen in the loop */
    } else {
        return -EPROTO;
    }
    return 0;
}

static void loop(struct slot *slot)
{
    struct run_in_slot run = no_run;
    for (;;) {
        struct pollfd polls[] = {
            {.fd = slot->control, .events = POLLIN},
            {.fd = run.init.socket, .events = POLLIN}, /* negative ones are passed over */
            {.fd = run.init.pidfd, .events = POLLIN},
        };
        if (poll(polls, ARRAY_LEN(polls), run.kill_us ? STOP_DEADLINE_MS : -1) < 0 && errno != EINTR)
            break;
        if (run.kill_us && clock_monotonic_us() - run.kill_us >= STOP_DEADLINE_MS * UINT64_C(1000))
            kill_run(&run);
        if (polls[1].revents)
            take_report(slot, &run);
        if (polls[2].revents && finish_run(slot, &run) < 0)
            break;
        if (polls[0].revents && serve(slot, &run) < 0)
            break;
    }
    kill_run(&run);
    if (run.init.pidfd >= 0) {
        siginfo_t info;
        (void)waitid(P_PIDFD, (id_t)run.init.pidfd, &info, WEXITED);
    }
}

static int setup(struct slot *slot, int argc, char **argv, struct slot_error *error)
{
    (void)prctl(PR_SET_NAME, "hivemind-slot");
    errno = EINVAL;
    if (argc != 4 || (strcmp(argv[1], "one-id") != 0 && strcmp(argv[1], "two-ids") != 0) || argv[2][0] != '/' ||
        (strcmp(argv[3], "warm") != 0 && strcmp(argv[3], "cold") != 0))
        return slot_error_set(error, STAGE_SETUP, "arguments");
    *slot = (struct slot){
        .control = PROTOCOL_FD,
        .one_id = !strcmp(argv[1], "one-id"),
        .python = argv[2],
        .warm = !strcmp(argv[3], "warm"),
    };
    /* When memory runs out the kernel is to choose a task, never the daemon. Before we become undumpable: then it is root's. */
    CLEANUP_FD int oom = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (oom >= 0 && write(oom, "1000", 4) < 0)
        return slot_error_set(error, STAGE_SETUP, "its place in line when memory runs out");
    if (fd_set_cloexec(slot->control, true) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return slot_error_set(error, STAGE_SETUP, "process attributes");
    if (sethostname("sandbox", 7) < 0)
        return slot_error_set(error, STAGE_SETUP, "host name");
    if (slot_root_build(error) < 0 || slot_filter_build(&slot->filter, error) < 0)
        return -1;
    return slot->warm ? warm_init(error) : 0;
}

int main(int argc, char **argv)
{
    struct slot slot = {.control = PROTOCOL_FD};
    struct slot_error error = {0};
    if (setup(&slot, argc, argv, &error) < 0) {
        (void)reply_failed(&slot, 0, &error);
        _exit(1);
    }
    struct slot_reply hello = {0};
    if (reply(&slot, SLOT_HELLO, &hello, -1) == 0)
        loop(&slot);
    /* No leak checker and no atexit: see the launcher. */
    _exit(0);
}
