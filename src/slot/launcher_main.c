/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hivemind-launcher: the only program with privileges. It is started by the daemon before that drops its own, on fixed
 * fds with an empty environment, and serves a table of requests over one connection: who are you, make slot N, destroy
 * slot N, and those by which a daemon leaves its tasks to the next (launcher_keep.c). It is single-threaded, opens no socket
 * to anywhere, and never sees a task: the connection of a new slot goes to the daemon, and from then on the two talk past
 * it. Its loop waits for requests, for the deaths of its children, and for the death of the daemon, after which, unless
 * another is to come, it kills every slot, reaps them and ends. Slots are its children and have
 * it as the one whose death kills them; since it also is their subreaper, nothing that they leave goes unreaped. Each has a
 * control group where there are any (launcher_group.c).
 *
 * The death of the daemon is seen by the end of the connection and by a pidfd: a child that the daemon forked without
 * exec may hold the connection open. A parent-death signal would not do here: it fires when the thread dies that started
 * us, not the process.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/parse.h"
#include "slot/channel.h"
#include "slot/launcher.h"
#include "slot/launcher_keep.h"

enum { END_DEADLINE_US = 5 * 1000 * 1000, SILENCE_US = 5 * 1000 * 1000, TIDY_MS = 20 };

/* A slot's index is taken from CREATE until its DESTROY is answered, also when the slot died before. */
enum entry_state { ENTRY_FREE, ENTRY_ALIVE, ENTRY_DEAD, ENTRY_DESTROYING };

struct entry {
    enum entry_state state;
    struct slot_process process;
    struct channel_fds *kept; /* NULL: nothing */
    bool unasked;             /* DESTROYING since the daemon that had it has gone: nobody is answered */
};

struct launcher_process {
    struct launcher_setup setup;
    struct launcher_groups groups;
    char warning[PROTOCOL_DETAIL_MAX], group_warning[PROTOCOL_DETAIL_MAX];
    struct entry *entries;
    uint32_t slots;
    int control, signals, parent;
    struct keeper keeper;
    bool visited; /* the daemon on the other side has not taken the tasks over, and may go again */
    uint64_t
        silent_until_us; /* monotonic; a visitor that has said nothing by then is sent away. 0: it has said something */
};

static int reply(struct launcher_process *l, const struct launcher_request *request, struct launcher_reply *r,
    const int *fds, size_t n_fds)
{
    r->header = (struct protocol_header){LAUNCHER_MAGIC, PROTOCOL_VERSION, request->header.type};
    r->index = request->index;
    if (l->control < 0) /* between two daemons */
        return 0;
    return channel_send(l->control, r, sizeof *r, fds, n_fds);
}

static int serve_hello(
    struct launcher_process *l, const struct launcher_request *request, struct channel_fds *fds UNUSED)
{
    struct launcher_reply r = {.flags = (l->setup.privileged ? LAUNCHER_PRIVILEGED : 0u) | l->groups.limits};
    memcpy(r.detail, l->warning, sizeof r.detail);
    memcpy(r.group_detail, l->group_warning, sizeof r.group_detail);
    return reply(l, request, &r, NULL, 0);
}

static int serve_create(
    struct launcher_process *l, const struct launcher_request *request, struct channel_fds *none UNUSED)
{
    struct entry *e = &l->entries[request->index];
    struct launcher_reply r = {0};
    CLEANUP_FD int control = -1;
    if (e->state != ENTRY_FREE) {
        r.error = EBUSY;
        return reply(l, request, &r, NULL, 0);
    }
    int failed = slot_process_create(&l->setup, request, &e->process, &control, r.detail);
    if (failed < 0) {
        r.error = -failed;
        return reply(l, request, &r, NULL, 0);
    }
    e->state = ENTRY_ALIVE;
    r.pid = e->process.pid;
    int fds[1 + GROUP_FILE_MAX] = {control};
    size_t n = 1 + launcher_group_files(&e->process.group, fds + 1, &r.group_files);
    r.group_version = r.group_files ? (uint32_t)l->groups.version : 0;
    failed = reply(l, request, &r, fds, n);
    launcher_group_close(&e->process.group);
    return failed;
}

static void forget_kept(struct entry *e)
{
    if (e->kept)
        channel_fds_done(e->kept);
    free(STEAL(e->kept));
}

static void free_entry(struct launcher_process *l, struct entry *e)
{
    e->state = ENTRY_FREE;
    forget_kept(e);
    /* Not before: the daemon may want to know from its files how a slot died. */
    launcher_group_remove(&l->groups, e->process.group.serial);
    e->process.group.serial = 0;
    e->unasked = false;
}

static int destroyed(struct launcher_process *l, struct entry *e)
{
    struct launcher_request request = {.header = {.type = LAUNCHER_DESTROY}, .index = (uint32_t)(e - l->entries)};
    struct launcher_reply r = {0};
    bool answer = !e->unasked;
    free_entry(l, e);
    return answer ? reply(l, &request, &r, NULL, 0) : 0;
}

static int serve_destroy(
    struct launcher_process *l, const struct launcher_request *request, struct channel_fds *fds UNUSED)
{
    struct entry *e = &l->entries[request->index];
    switch (e->state) {
    case ENTRY_ALIVE:
        e->state = ENTRY_DESTROYING;
        (void)syscall(SYS_pidfd_send_signal, e->process.pidfd, SIGKILL, NULL, 0);
        return 0; /* answered when it is reaped */
    case ENTRY_DESTROYING:
        return -EPROTO;
    case ENTRY_FREE:
    case ENTRY_DEAD:
        break;
    }
    return destroyed(l, e);
}

/* What is held for the tasks is more than a launcher needs otherwise. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static int serve_keep(struct launcher_process *l, const struct launcher_request *request, struct channel_fds *fds)
{
    struct entry *e = &l->entries[request->index];
    struct launcher_reply r = {0};
    bool can = (e->state == ENTRY_ALIVE || e->state == ENTRY_DEAD) && !e->kept;
    if (can)
        e->kept = malloc(sizeof *e->kept);
    if (can && e->kept) {
        *e->kept = *fds;
        for (size_t i = 0; i < fds->n; i++)
            fds->fd[i] = -1;
        raise_file_limit();
    } else {
        r.error = can ? ENOMEM : EBUSY;
    }
    return reply(l, request, &r, NULL, 0);
}

static int serve_detach(struct launcher_process *l, const struct launcher_request *request, struct channel_fds *fds)
{
    struct launcher_reply r = {.error = -keeper_listen(&l->keeper, request, fds)};
    CLEANUP_FD int null = r.error ? -1 : open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) /* whoever reads what the daemon logs is to see its end */
        (void)dup2(null, STDERR_FILENO);
    return reply(l, request, &r, NULL, 0);
}

static int serve_adopt(
    struct launcher_process *l, const struct launcher_request *request, struct channel_fds *none UNUSED)
{
    struct launcher_request about = *request;
    struct launcher_reply r = {0};
    bool done = request->flags & LAUNCHER_ADOPTED;
    l->silent_until_us = 0;
    for (uint32_t i = 0; i < l->slots; i++) {
        struct entry *e = &l->entries[i];
        if (done)
            forget_kept(e);
        if (!e->kept)
            continue;
        about.index = i;
        r.pid = e->process.pid;
        int failed = reply(l, &about, &r, e->kept->fd, e->kept->n);
        if (failed < 0)
            return failed;
    }
    if (done) {
        keeper_done(&l->keeper);
        l->visited = false;
    }
    r.pid = 0;
    return reply(l, request, &r, NULL, 0);
}

static int serve(struct launcher_process *l)
{
    typedef int server(struct launcher_process *, const struct launcher_request *, struct channel_fds *);
    static server *const table[LAUNCHER_TYPE_MAX] = {
        [LAUNCHER_HELLO] = serve_hello,
        [LAUNCHER_CREATE] = serve_create,
        [LAUNCHER_DESTROY] = serve_destroy,
        [LAUNCHER_KEEP] = serve_keep,
        [LAUNCHER_DETACH] = serve_detach,
        [LAUNCHER_ADOPT] = serve_adopt,
    };
    struct launcher_request request;
    char raw[sizeof request + 1];
    CLEANUP_FDS struct channel_fds fds;
    ssize_t n = channel_recv(l->control, raw, sizeof raw, &fds);
    if (n == 0)
        return -EPIPE;
    if (n < 0)
        return (int)n;
    enum message_error bad = launcher_request_check(raw, (size_t)n, fds.n, l->slots, &request);
    if (bad) {
        fprintf(stderr, "hivemind-launcher: refused a message: %s\n", message_error_to_string(bad));
        return -EPROTO;
    }
    return table[request.header.type](l, &request, &fds);
}

/* Also reaps what dead slots left to us. */
static int reap(struct launcher_process *l)
{
    struct signalfd_siginfo drop;
    while (read(l->signals, &drop, sizeof drop) > 0)
        ;
    pid_t pid;
    while ((pid = waitpid(-1, NULL, WNOHANG)) > 0) {
        for (uint32_t i = 0; i < l->slots; i++) {
            struct entry *e = &l->entries[i];
            if ((e->state != ENTRY_ALIVE && e->state != ENTRY_DESTROYING) || e->process.pid != pid)
                continue;
            fd_close(&e->process.pidfd);
            int r = e->state == ENTRY_DESTROYING ? destroyed(l, e) : 0;
            if (r < 0)
                return r;
            if (e->state == ENTRY_ALIVE)
                e->state = ENTRY_DEAD;
            break;
        }
    }
    return 0;
}

/* How long to wait for anything at all; -1: for ever. */
static int patience_ms(struct launcher_process *l)
{
    int ms = launcher_groups_tidy(&l->groups) ? TIDY_MS : -1; /* a dead slot's tasks die a moment after it */
    if (l->silent_until_us == 0)
        return ms;
    uint64_t now = clock_monotonic_us();
    int left = now < l->silent_until_us ? (int)((l->silent_until_us - now) / 1000) + 1 : 0;
    return ms < 0 ? left : MIN(ms, left);
}

/*
 * Until the daemon is gone. True: in a way after which another may come. A visitor that speaks another language than ours takes
 * nothing over, and so changes nothing; a daemon whose tasks these are and that does so is not to be trusted with them.
 */
static bool loop(struct launcher_process *l)
{
    struct pollfd polls[] = {
        {.fd = l->control, .events = POLLIN},
        {.fd = l->signals, .events = POLLIN},
        {.fd = l->parent, .events = POLLIN},
    };
    for (;;) {
        if (poll(polls, ARRAY_LEN(polls), patience_ms(l)) < 0 && errno != EINTR)
            return false;
        if (polls[1].revents && reap(l) < 0)
            return true;
        /* What it said before it died holds: above all that it has taken the tasks over. */
        int r = polls[0].revents ? serve(l) : 0;
        if (r < 0)
            return r != -EPROTO || l->visited;
        if (polls[2].revents && !polls[0].revents)
            return true;
        if (l->silent_until_us && clock_monotonic_us() >= l->silent_until_us)
            return true;
    }
}

static void kill_slots(struct launcher_process *l, bool all)
{
    for (uint32_t i = 0; i < l->slots; i++) {
        struct entry *e = &l->entries[i];
        if ((all || !e->kept) && (e->state == ENTRY_ALIVE || e->state == ENTRY_DESTROYING))
            (void)syscall(SYS_pidfd_send_signal, e->process.pidfd, SIGKILL, NULL, 0);
    }
}

/* Of the daemon that has gone only what is kept stays. */
static void drop_slots(struct launcher_process *l)
{
    kill_slots(l, false);
    for (uint32_t i = 0; i < l->slots; i++) {
        struct entry *e = &l->entries[i];
        if (e->kept || e->state == ENTRY_FREE)
            continue;
        e->unasked = true;
        if (e->state == ENTRY_DEAD)
            free_entry(l, e);
        else
            e->state = ENTRY_DESTROYING;
    }
}

static bool keeps_any(const struct launcher_process *l)
{
    for (uint32_t i = 0; i < l->slots; i++) {
        if (l->entries[i].kept)
            return true;
    }
    return false;
}

/* True: there is a daemon again. */
static bool await_next_daemon(struct launcher_process *l)
{
    if (l->keeper.listener < 0 || !keeps_any(l))
        return false;
    fd_close(&l->control);
    fd_close(&l->parent);
    drop_slots(l);
    keeper_begin(&l->keeper);
    for (;;) {
        int left = keeper_timeout_ms(&l->keeper);
        struct pollfd polls[] = {
            {.fd = l->keeper.listener, .events = POLLIN},
            {.fd = l->signals, .events = POLLIN},
        };
        if (left == 0)
            return false;
        int n = poll(polls, ARRAY_LEN(polls), launcher_groups_tidy(&l->groups) ? MIN(left, TIDY_MS) : left);
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0 && polls[1].revents)
            (void)reap(l); /* there is nobody to whom an answer could fail */
        if (n > 0 && polls[0].revents && keeper_accept(&l->keeper, &l->control, &l->parent) == 0) {
            l->visited = true;
            l->silent_until_us = clock_monotonic_us() + SILENCE_US;
            return true;
        }
    }
}

/* Kills all slots and waits for them and for what they leave behind. */
static void end(struct launcher_process *l)
{
    kill_slots(l, true);
    uint64_t deadline = clock_monotonic_us() + END_DEADLINE_US;
    for (;;) {
        pid_t pid = waitpid(-1, NULL, WNOHANG);
        if (pid < 0 && errno == ECHILD)
            return;
        uint64_t now = clock_monotonic_us();
        if (pid > 0)
            continue;
        if (now >= deadline)
            return; /* a process that cannot die now dies later, without us */
        struct pollfd p = {.fd = l->signals, .events = POLLIN};
        struct signalfd_siginfo drop;
        if (poll(&p, 1, (int)((deadline - now) / 1000) + 1) > 0)
            (void)!read(l->signals, &drop, sizeof drop);
    }
}

static int set_signals(struct launcher_process *l)
{
    /* A terminal or a service manager signals the whole group; when to end is for the daemon to say. */
    const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
        signal(ignored[i], SIG_IGN);
    signal(SIGCHLD, SIG_DFL);
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGCHLD);
    sigprocmask(SIG_SETMASK, &mask, NULL);
    l->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    return l->signals < 0 ? -errno : 0;
}

/*
 * The folder is entered here, while there are the rights to. From it a slot can bind it: its folder goes along into its mount
 * namespace, where a descriptor would not, and no way to it need be open to the slot's user.
 */
static int enter_inputs(struct launcher_process *l, const char *path)
{
    l->setup.inputs = *path;
    if (!*path || chdir(path) == 0)
        return 0;
    fprintf(stderr, "hivemind-launcher: cannot enter %s: %s\n", path, strerror(errno));
    return -errno;
}

/* argv: the slot program, how many slots, the first host id, the daemon's pid, the folder of inputs or "". */
static int setup(struct launcher_process *l, int argc, char **argv)
{
    uint64_t slots, uid_base, parent;
    if (argc != 6 || argv[1][0] != '/' || parse_u64(argv[2], 1, PROTOCOL_SLOTS_MAX, &slots) < 0 ||
        parse_u64(argv[3], 0, UINT32_MAX - 2 * PROTOCOL_SLOTS_MAX, &uid_base) < 0 ||
        parse_u64(argv[4], 1, INT32_MAX, &parent) < 0) {
        fprintf(stderr, "hivemind-launcher: not to be started by hand: hivemind-worker does\n");
        return -EINVAL;
    }
    *l = (struct launcher_process){
        .setup = {.slot_exe = -1, .uid_base = (uint32_t)uid_base},
        .slots = (uint32_t)slots,
        .control = PROTOCOL_FD,
        .keeper = {.listener = -1},
    };
    (void)syscall(SYS_close_range, PROTOCOL_PROFILE_FD + 1, ~0u, 0);
    l->entries = calloc(slots, sizeof *l->entries);
    l->parent = (int)syscall(SYS_pidfd_open, (pid_t)parent, 0);
    if (!l->entries || l->parent < 0 || getppid() != (pid_t)parent)
        return -ESRCH; /* the daemon is gone already, or never was */
    l->setup.slot_exe = open(argv[1], O_PATH | O_CLOEXEC);
    if (l->setup.slot_exe < 0) {
        fprintf(stderr, "hivemind-launcher: cannot open %s: %s\n", argv[1], strerror(errno));
        return -errno;
    }
    if (fd_set_cloexec(l->control, true) < 0 || fd_set_cloexec(PROTOCOL_PROFILE_FD, true) < 0 || chdir("/") < 0 ||
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
        return -errno;
    if (enter_inputs(l, argv[5]) < 0)
        return -ENOENT;
    umask(077);
    launcher_find_privileges(&l->setup, l->slots, l->warning);
    l->setup.groups = &l->groups;
    launcher_groups_open(&l->groups, (pid_t)parent, l->slots, l->group_warning);
    int r = set_signals(l);
    return r < 0 ? r : launcher_drop_privileges(&l->setup);
}

int main(int argc, char **argv)
{
    struct launcher_process l;
    int r = setup(&l, argc, argv);
    if (r < 0)
        _exit(1);
    while (loop(&l) && await_next_daemon(&l))
        ;
    end(&l);
    launcher_groups_close(&l.groups);
    /* No leak checker and no atexit: an undumpable process cannot be looked into, not even by its own tools. */
    _exit(0);
}
