/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hivemind-slot: one place for one task at a time. The launcher starts it in user, pid, mount, net, ipc and uts namespaces
 * of its own, as their root and without any power outside them, on fixed fds with an empty environment. It builds the
 * tasks' root folder and their system call filter once, says HELLO to the daemon, and then serves its requests.
 *
 * A task sits in a seat (slot_seat.c), made when its START comes or before, when the slot has been idle for a moment. What
 * becomes of the task's process arrives here by its socket and its pidfd, its exit status and usage by waiting for it. When
 * it has ended, its pid 1 kills and reaps what it left behind and says what that used; then EXITED goes out, and nothing of
 * the task runs any more. Its mounts are taken down behind that, while the next task may begin already: they are in a
 * namespace that nobody else has ever been in, and tearing one down waits for the whole machine (RCU).
 *
 * The slot ends when the daemon closes the connection; everything ends with it, since it is pid 1 of what it has made.
 */
#include "slot/slot.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <taskworker/task.h>

#include "base/clock.h"
#include "base/fd.h"
#include "slot/caps.h"
#include "slot/channel.h"
#include "slot/warm.h"

enum {
    STOP_DEADLINE_MS = 1000,
    WATCH_AFTER_MS = 250,   /* how large its workspace becomes is looked at from then on */
    IDLE_MS = 1,            /* a seat is made ahead when no START has come for so long */
    LEAVING_MAX = 4,        /* seats that are being taken down */
    FOLDERS_MAX = 16 << 20, /* bytes that may be left in the folders of one */
};

#define RUN_STATES(X)                        \
    X(NONE)                                  \
    X(PREPARING) /* START was handed over */ \
    X(READY)                                 \
    X(STARTED) /* GO */                      \
    X(ENDING)  /* its process has ended; pid 1 clears the rest */

enum run_state {
#define X(name) RUN_##name,
    RUN_STATES(X)
#undef X
};

/* The task that runs, if any. */
struct run_in_slot {
    enum run_state state;
    uint64_t serial;
    uint64_t kill_us; /* when all was told to end; 0: not yet */
    int status;
    struct slot_error error;
    bool watched; /* its pid 1 has been told to */
    int plan;     /* -1: it is to leave nothing */
    uint64_t go_us;
    struct slot_usage before, used; /* up to READY; of its main process with all that this has waited for */
};

struct place {
    struct slot slot;
    struct seat seat;       /* seat.pid > 0: there is one; of the run, if there is one */
    struct slot_shape last; /* what the next task will want, most likely */
    struct run_in_slot run;
    struct init leaving[LEAVING_MAX];
    size_t n_leaving;
};

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

/* --- seats --- */

static void reap_leaving(struct place *p, size_t i)
{
    init_reap(&p->leaving[i]);
    p->leaving[i] = p->leaving[--p->n_leaving];
    p->leaving[p->n_leaving] = (struct init)NO_INIT;
}

/* The seat's pid 1 is about to exit, and takes all of it down; nobody waits for that. */
static void leave_seat(struct place *p)
{
    if (p->n_leaving == LEAVING_MAX)
        reap_leaving(p, 0); /* but not for ever */
    fd_close(&p->seat.init.socket);
    p->leaving[p->n_leaving++] = p->seat.init;
    seat_close(&p->seat);
    p->seat = (struct seat)NO_SEAT;
}

/* Of no use any more: killed, and its second process reaped. */
static void drop_seat(struct place *p)
{
    siginfo_t info;
    if (p->seat.pid <= 0)
        return;
    (void)syscall(SYS_pidfd_send_signal, p->seat.pidfd, SIGKILL, NULL, 0);
    (void)syscall(SYS_pidfd_send_signal, p->seat.init.pidfd, SIGKILL, NULL, 0);
    while (waitid(P_PIDFD, (id_t)p->seat.pidfd, &info, WEXITED) < 0 && errno == EINTR)
        ;
    leave_seat(p);
}

/* Nobody can be told of a failure here: the same will happen again when there is a task. */
static void make_seat_ahead(struct place *p)
{
    struct slot_error ignored = {0};
    while (p->n_leaving > 0) /* there is time */
        reap_leaving(p, 0);
    if (seat_make(&p->slot, &p->last, &p->seat, &ignored) < 0)
        p->last.runtime = TW_RUNTIME_NONE;
}

/* The slot's own 127.0.0.1 is there for tasks that are to have one. */
static int set_loopback(struct slot *slot, bool up, struct slot_error *error)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = (short)(up ? IFF_UP | IFF_RUNNING : 0)};
    if (slot->loopback_up == up || slot->host_network)
        return 0;
    CLEANUP_FD int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (sock < 0 || ioctl(sock, SIOCSIFFLAGS, &request) < 0)
        return slot_error_set(error, STAGE_NETWORK, "lo");
    /* Its address came with it and stays: packets for it would be dropped in silence, where no address is told at once. */
    struct ifreq address = {.ifr_name = "lo", .ifr_addr = {.sa_family = AF_INET}};
    if (!up && ioctl(sock, SIOCSIFADDR, &address) < 0)
        return slot_error_set(error, STAGE_NETWORK, "the address of lo");
    slot->loopback_up = up;
    return 0;
}

/* --- the run --- */

static int start_run(struct place *p, const struct slot_request *request, struct channel_fds *fds)
{
    struct slot_error error = {0};
    p->last = request->shape;
    p->last.inputs = p->last.environment = p->last.outputs = 0; /* those are this task's alone */
    errno = EINVAL;
    if ((request->shape.network == TW_NETWORK_HOST) != p->slot.host_network) {
        slot_error_set(&error, STAGE_NETWORK, "this slot is for another one");
        return reply_failed(&p->slot, request->serial, &error);
    }
    if (p->seat.pid > 0 && !seat_fits(&p->seat, &request->shape))
        drop_seat(p);
    if (set_loopback(&p->slot, request->shape.network == TW_NETWORK_LOOPBACK, &error) < 0 ||
        (p->seat.pid <= 0 && seat_make(&p->slot, &request->shape, &p->seat, &error) < 0) ||
        seat_give(&p->seat, &request->shape, fds->fd, &error) < 0) {
        drop_seat(p);
        return reply_failed(&p->slot, request->serial, &error);
    }
    p->run = (struct run_in_slot){.state = RUN_PREPARING, .serial = request->serial, .plan = -1};
    if (request->shape.outputs)
        p->run.plan = fd_steal(&fds->fd[SLOT_FD_PLAN]);
    else if (p->seat.workspace >= 0)
        fd_close(&p->seat.workspace); /* or the last to close it would wait for its folder to be taken down */
    return 0;
}

static uint64_t layers_of(const struct place *p)
{
    uint64_t watched = UINT64_C(1) << TW_LAYER_SECCOMP_WATCHED, landlock = UINT64_C(1) << TW_LAYER_LANDLOCK;
    return p->slot.layers | (p->seat.watched ? watched : 0) | (p->seat.landlock ? landlock : 0);
}

static void take_message(struct place *p)
{
    struct seat_message m;
    struct seat *seat = &p->seat;
    struct run_in_slot *run = &p->run;
    CLEANUP_FDS struct channel_fds fds;
    ssize_t n = channel_recv(seat->socket, &m, sizeof m, &fds);
    if (n != (ssize_t)sizeof m) {
        fd_close(&seat->socket);
        return;
    }
    if (m.type == SEAT_SETTLED) {
        seat->landlock = m.landlock;
        seat->workspace = fd_steal(&fds.fd[0]);
        if (run->state == RUN_PREPARING && run->plan < 0) /* it was made for a task that leaves nothing */
            fd_close(&seat->workspace);
        seat->watch.fd = fd_steal(&fds.fd[1]);
        seat->watched = seat->watch.fd >= 0;
    } else if (m.type == SEAT_TASK_READY && run->state == RUN_PREPARING) {
        run->state = RUN_READY;
        run->before = m.usage;
        struct slot_reply r = {.serial = run->serial, .layers = layers_of(p)};
        (void)reply(&p->slot, SLOT_READY, &r, seat->init.pidfd); /* a daemon that is gone is seen in the loop */
    } else if (m.type == SEAT_FAILED) {
        run->error = m.error; /* it exits by itself */
    }
}

/* While it is a zombie. */
static void read_io(int fd, struct slot_usage *usage)
{
    char text[256];
    ssize_t n = fd < 0 ? 0 : pread(fd, text, sizeof text - 1, 0);
    text[MAX(n, (ssize_t)0)] = '\0';
    slot_usage_set_io(usage, text);
}

/* The task's process has ended: takes its status and usage, and has the rest cleared away. */
static void end_process(struct place *p)
{
    struct run_in_slot *run = &p->run;
    struct rusage u = {0};
    struct slot_usage io = {0};
    siginfo_t info = {0};
    while (p->seat.socket >= 0) { /* what it said last */
        struct pollfd poll_last = {.fd = p->seat.socket, .events = POLLIN};
        if (poll(&poll_last, 1, 0) <= 0)
            break;
        take_message(p);
    }
    uint64_t end_us = clock_monotonic_us();
    read_io(p->seat.io, &io);
    if (syscall(SYS_waitid, P_PIDFD, p->seat.pidfd, &info, WEXITED, &u) < 0 || info.si_code == 0)
        run->status = SIGKILL; /* cannot be: it is our child */
    else
        run->status = info.si_code == CLD_EXITED ? info.si_status << 8 : info.si_status & 0x7f;
    run->used = slot_usage_of(&u);
    slot_usage_subtract(&run->used, &run->before);
    slot_usage_add(&run->used, &io);
    run->used.wall_us = run->go_us ? end_us - run->go_us : 0;
    fd_close(&p->seat.pidfd);
    if (!run->go_us && !run->kill_us && !run->error.stage) { /* nothing of the task has run: that is no end of it */
        errno = ECHILD;
        slot_error_set(&run->error, STAGE_FORK, "it died before it was told to go");
    }
    run->state = RUN_ENDING;
    run->kill_us = clock_monotonic_us();
    init_order(&p->seat.init, INIT_END);
}

/* What it leaves, if it was let go; negative: the daemon cannot be reached. */
static int send_outputs(struct place *p, struct slot_reply *r)
{
    struct slot_outputs count = {0};
    if (p->run.plan < 0 || !p->run.go_us || p->seat.workspace < 0 || p->run.error.stage)
        return 0;
    int sent = slot_outputs_send(&p->slot, p->run.serial, p->run.plan, &p->seat.workspace, &count);
    r->outputs = count.sent;
    r->outputs_left = count.left;
    return sent;
}

/* Everything in the task's namespace is dead: pid 1 has reaped it, or was killed itself. */
static int finish_run(struct place *p, bool by_report)
{
    struct run_in_slot run = p->run;
    struct slot_usage *used = &run.used;
    struct init_report report = {0};
    struct slot_reply r = {.serial = run.serial, .status = run.status};
    if (by_report)
        init_take_report(&p->seat.init, &report);
    slot_usage_add(used, &report.usage);
    used->processes = MAX(used->processes, UINT64_C(1));
    used->workspace_bytes = report.workspace_bytes;
    int sent = send_outputs(p, &r);
    fd_close(&p->run.plan);
    r.usage = *used;
    r.folder_full = report.folder_full;
    r.denied = p->seat.watch.denied;
    watch_describe(&p->seat.watch, r.detail, sizeof r.detail);
    p->run = (struct run_in_slot){.plan = -1};
    leave_seat(p);
    if (report.folder_bytes > FOLDERS_MAX) /* this much is to be free again before the next task has its share */
        reap_leaving(p, p->n_leaving - 1);
    if (sent < 0)
        return sent;
    return run.error.stage ? reply_failed(&p->slot, run.serial, &run.error) : reply(&p->slot, SLOT_EXITED, &r, -1);
}

/* Through pid 1, which counts what it kills; one that takes too long about it is killed itself (loop). */
static void stop_run(struct place *p)
{
    if (p->run.kill_us)
        return;
    p->run.kill_us = clock_monotonic_us();
    init_order(&p->seat.init, INIT_KILL);
}

/* Without a deadline: what the task makes of it is the task's business. */
static void signal_run(struct place *p, enum init_order order)
{
    if (p->run.state == RUN_STARTED && !p->run.kill_us)
        init_order(&p->seat.init, order);
}

static int go_run(struct place *p)
{
    char go = 1;
    if (p->run.state != RUN_READY)
        return -EPROTO;
    p->run.state = RUN_STARTED;
    p->run.go_us = clock_monotonic_us();
    (void)send(p->seat.socket, &go, 1, MSG_NOSIGNAL); /* a run that died meanwhile is seen in the loop */
    return 0;
}

/* --- the daemon's requests --- */

static int serve(struct place *p)
{
    struct slot_request request;
    struct run_in_slot *run = &p->run;
    char raw[sizeof request + 1];
    CLEANUP_FDS struct channel_fds fds;
    ssize_t n = channel_recv(p->slot.control, raw, sizeof raw, &fds);
    if (n <= 0)
        return n < 0 ? (int)n : -EPIPE;
    if (slot_request_check(raw, (size_t)n, fds.n, &request) != MESSAGE_OK)
        return -EPROTO;
    if (request.header.type == SLOT_START)
        return run->state == RUN_NONE ? start_run(p, &request, &fds) : -EPROTO;
    /* About a run that has just ended: its end is on the way to the daemon. */
    if (run->state == RUN_NONE || run->state == RUN_ENDING || request.serial != run->serial)
        return 0;
    switch ((enum slot_request_type)request.header.type) {
    case SLOT_GO:
        return go_run(p);
    case SLOT_KILL:
        stop_run(p);
        break;
    case SLOT_TERMINATE:
        signal_run(p, INIT_TERMINATE);
        break;
    case SLOT_PAUSE:
        signal_run(p, INIT_PAUSE);
        break;
    case SLOT_RESUME:
        signal_run(p, INIT_RESUME);
        break;
    case SLOT_START:
    case SLOT_REQUEST_MAX:
        break;
    }
    return 0;
}

/* Most tasks are over before it is worth the while. */
static void watch_run(struct place *p)
{
    if (p->run.state != RUN_STARTED || p->run.watched || p->run.kill_us)
        return;
    p->run.watched = true;
    init_order(&p->seat.init, INIT_WATCH);
}

static int timeout_ms(const struct place *p)
{
    if (p->run.kill_us)
        return STOP_DEADLINE_MS;
    if (p->run.state == RUN_STARTED && !p->run.watched)
        return WATCH_AFTER_MS;
    return p->run.state == RUN_NONE && p->seat.pid <= 0 && p->last.runtime != TW_RUNTIME_NONE ? IDLE_MS : -1;
}

static bool has_come(const struct pollfd *poll)
{
    return poll->fd >= 0 && poll->revents;
}

/* What there is to be done for the run; the order matters. Negative: the daemon cannot be reached. */
static int attend(struct place *p, const struct pollfd *message, const struct pollfd *end,
    const struct pollfd *init_said, const struct pollfd *init_end)
{
    if (has_come(message))
        take_message(p);
    if (p->run.state == RUN_NONE) {
        if (has_come(end) || has_come(init_end)) {
            drop_seat(p);
            p->last.runtime = TW_RUNTIME_NONE; /* what would become of the next one? The next task will know */
        }
        return 0;
    }
    if (p->run.state != RUN_ENDING && has_come(end))
        end_process(p);
    else if (p->run.state == RUN_ENDING && has_come(init_said))
        return finish_run(p, true);
    else if (p->run.state == RUN_ENDING && has_come(init_end))
        return finish_run(p, false);
    return 0;
}

static void loop(struct place *p)
{
    for (;;) {
        struct pollfd polls[6 + LEAVING_MAX] = {
            {.fd = p->slot.control, .events = POLLIN},
            {.fd = p->seat.socket, .events = POLLIN}, /* negative ones are passed over */
            {.fd = p->seat.pidfd, .events = POLLIN},
            {.fd = p->seat.init.socket, .events = POLLIN},
            {.fd = p->seat.init.pidfd, .events = POLLIN},
            {.fd = p->seat.watch.fd, .events = POLLIN},
        };
        for (size_t i = 0; i < p->n_leaving; i++)
            polls[6 + i] = (struct pollfd){.fd = p->leaving[i].pidfd, .events = POLLIN};
        int n = poll(polls, 6 + p->n_leaving, timeout_ms(p));
        if (n < 0 && errno != EINTR)
            break;
        if (n == 0 && p->run.state == RUN_NONE)
            make_seat_ahead(p);
        if (n == 0)
            watch_run(p);
        if (n <= 0 && !p->run.kill_us)
            continue;
        if (p->run.kill_us && clock_monotonic_us() - p->run.kill_us >= STOP_DEADLINE_MS * UINT64_C(1000))
            (void)syscall(SYS_pidfd_send_signal, p->seat.init.pidfd, SIGKILL, NULL, 0);
        for (size_t i = p->n_leaving; i-- > 0;) {
            if (has_come(&polls[6 + i]))
                reap_leaving(p, i);
        }
        if (has_come(&polls[5]))
            watch_serve(&p->seat.watch);
        if (attend(p, &polls[1], &polls[2], &polls[3], &polls[4]) < 0)
            break;
        if (polls[0].revents && serve(p) < 0)
            break;
    }
}

static uint64_t known_layers(const struct slot *slot)
{
    uint64_t layers = 0;
    static const enum tw_layer all[] = {TW_LAYER_USER_NAMESPACE, TW_LAYER_PID_NAMESPACE, TW_LAYER_MOUNT_NAMESPACE,
        TW_LAYER_IPC_NAMESPACE, TW_LAYER_UTS_NAMESPACE, TW_LAYER_NO_CAPABILITIES, TW_LAYER_NO_NEW_PRIVILEGES,
        TW_LAYER_SECCOMP, TW_LAYER_READ_ONLY_ROOT, TW_LAYER_PRIVATE_FOLDERS, TW_LAYER_RESOURCE_LIMITS};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        layers |= UINT64_C(1) << all[i];
    if (!slot->host_network)
        layers |= UINT64_C(1) << TW_LAYER_NETWORK_NAMESPACE;
    if (!slot->one_id)
        layers |= UINT64_C(1) << TW_LAYER_OWN_USER;
    if (access("/proc/self/ns/cgroup", F_OK) == 0) /* where the kernel knows them, the launcher made one */
        layers |= UINT64_C(1) << TW_LAYER_CGROUP_NAMESPACE;
    return layers;
}

static int read_profile(struct slot_profile *ret, struct slot_error *error)
{
    struct stat st;
    if (fstat(PROTOCOL_PROFILE_FD, &st) < 0)
        return slot_error_set(error, STAGE_SETUP, "its profile");
    size_t len = (size_t)st.st_size;
    const void *raw = len ? mmap(NULL, len, PROT_READ, MAP_PRIVATE, PROTOCOL_PROFILE_FD, 0) : MAP_FAILED;
    (void)close(PROTOCOL_PROFILE_FD);
    errno = EINVAL;
    return raw != MAP_FAILED && profile_decode(raw, len, ret) ? 0 : slot_error_set(error, STAGE_SETUP, "its profile");
}

/*
 * No connection waits out its end (TIME_WAIT) where the next task could see it. Without the right to say so, as where the
 * network is the host's, things stay as they are.
 */
static void forget_connections(void)
{
    CLEANUP_FD int fd = open("/proc/sys/net/ipv4/tcp_max_tw_buckets", O_WRONLY | O_CLOEXEC);
    if (fd >= 0)
        (void)!write(fd, "0", 1);
}

static int setup(struct slot *slot, int argc, char **argv, struct slot_error *error)
{
    (void)prctl(PR_SET_NAME, "hivemind-slot");
    errno = EINVAL;
    if (argc != 4 || (strcmp(argv[1], "one-id") != 0 && strcmp(argv[1], "two-ids") != 0) ||
        (strcmp(argv[2], "own-network") != 0 && strcmp(argv[2], "host-network") != 0) ||
        (strcmp(argv[3], "inputs") != 0 && strcmp(argv[3], "no-inputs") != 0))
        return slot_error_set(error, STAGE_SETUP, "arguments");
    *slot = (struct slot){
        .control = PROTOCOL_FD,
        .pid_namespace = -1,
        .one_id = !strcmp(argv[1], "one-id"),
        .host_network = !strcmp(argv[2], "host-network"),
        .inputs = !strcmp(argv[3], "inputs"),
    };
    if (read_profile(&slot->profile, error) < 0)
        return -1;
    /* When memory runs out the kernel is to choose a task, never the daemon. Before we become undumpable: then it is root's. */
    CLEANUP_FD int oom = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (oom >= 0 && write(oom, "1000", 4) < 0)
        return slot_error_set(error, STAGE_SETUP, "its place in line when memory runs out");
    if (fd_set_cloexec(slot->control, true) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return slot_error_set(error, STAGE_SETUP, "process attributes");
    slot_reset_signals(); /* the launcher ignores some; tasks inherit them as they are here */
    if (sethostname("sandbox", 7) < 0)
        return slot_error_set(error, STAGE_SETUP, "host name");
    if (!slot->host_network)
        forget_connections();
    if (slot_root_build(slot, error) < 0 || slot_filter_build(true, &slot->filter, error) < 0 ||
        slot_filter_build(false, &slot->silent, error) < 0)
        return -1;
    slot->pid_namespace = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
    if (slot->pid_namespace < 0)
        return slot_error_set(error, STAGE_SETUP, "its pid namespace");
    slot->layers = known_layers(slot);
    /* What we have ourselves stays with us; nothing that we start can come by more than that. */
    if (caps_bound(0) < 0)
        return slot_error_set(error, STAGE_SETUP, "its bounding set");
    const struct slot_profile *profile = &slot->profile;
    return profile->warm ? warm_init(slot->control, profile->preload, profile->functions, error) : 0;
}

int main(int argc, char **argv)
{
    static struct place p = {.slot = {.control = PROTOCOL_FD}, .seat = NO_SEAT, .run = {.plan = -1}};
    struct slot_error error = {0};
    (void)clearenv(); /* what was there was for the dynamic linker; interpreters would show it to tasks */
    if (setup(&p.slot, argc, argv, &error) < 0) {
        (void)reply_failed(&p.slot, 0, &error);
        _exit(1);
    }
    struct slot_reply hello = {0};
    if (reply(&p.slot, SLOT_HELLO, &hello, -1) == 0)
        loop(&p);
    /* No leak checker and no atexit: see the launcher. All that we made dies with us, the pid 1 of its namespace. */
    _exit(0);
}
