/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking runs up that another daemon has left (leave.c). Their launcher goes on being the one of their slots, and of nothing
 * else: new slots are made by our own, under our own settings, at indices that are free. When the last of its slots has
 * ended it is told to go.
 *
 * At the start, in sandbox_find_left(), everything that is held for us is received, and nothing is done with it: should the
 * start fail after all, the launcher still has it. The engine claims the runs of the tasks that it knows; take_over() is the
 * point of no return. The one thing that must never happen is that a task runs here while the engine takes it for lost, and
 * runs it again: so a launcher that does not answer, or not in our language, and one whose answer we have no room for, stops
 * the start, and goes on waiting.
 */
#include "exec/adopt.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "exec/run_limits.h"

enum { ANSWER_DEADLINE_MS = 5000, GONE_DEADLINE_MS = 2000, GONE_LOOK_MS = 10, STATE_BYTES_MAX = 1 << 30 };

struct launcher *former_launcher(struct former *former)
{
    return &former->launcher;
}

static void handed_free(struct handed *handed)
{
    list_remove(&handed->link);
    channel_fds_done(&handed->fds);
    buf_done(&handed->raw);
    free(handed);
}

/* Its connection is closed: it ends, unless it waits for another daemon. */
static void former_free(struct former *former)
{
    struct sandbox *s = former->sandbox;
    list_for_each_safe (it, &s->handing.handed) {
        struct handed *handed = CONTAINER_OF(it, struct handed, link);
        if (handed->former == former)
            handed_free(handed);
    }
    sandbox_poll_free(&former->poll);
    launcher_hang_up(&former->launcher);
    list_remove(&former->link);
    free(former);
}

/* --- what is held --- */

static bool wait_readable(int fd, uint64_t deadline_us)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    for (;;) {
        uint64_t now = clock_monotonic_us();
        int r = now < deadline_us ? poll(&p, 1, (int)((deadline_us - now) / 1000) + 1) : 0;
        if (r >= 0 || errno != EINTR)
            return r > 0;
    }
}

static int read_state(struct handed *handed)
{
    struct stat st;
    int fd = handed->fds.fd[HANDOVER_FD_STATE];
    buf_init(&handed->raw, STATE_BYTES_MAX);
    if (fd < 0 || fstat(fd, &st) < 0 || st.st_size <= 0 || st.st_size > STATE_BYTES_MAX)
        return -EPROTO;
    uint8_t *to = buf_reserve(&handed->raw, (size_t)st.st_size);
    if (!to)
        return -ENOMEM;
    if (pread(fd, to, (size_t)st.st_size, 0) != st.st_size)
        return -EPROTO;
    handed->raw.len = (size_t)st.st_size;
    return handover_decode(handed->raw.data, handed->raw.len, handed->fds.n, &handed->h) ? 0 : -EPROTO;
}

/* The index is ours to leave free from now on. */
static int reserve_index(struct sandbox *s, uint32_t index)
{
    uint32_t have = MAX(s->n_slots, index + 1);
    struct pool_slot *slots = have == s->n_slots ? s->slots : realloc(s->slots, have * sizeof *slots);
    if (!slots)
        return -ENOMEM;
    s->slots = slots;
    for (; s->n_slots < have; s->n_slots++)
        slots[s->n_slots] = (struct pool_slot){.sandbox = s, .index = s->n_slots, .fd = -1};
    s->used = MAX(s->used, have);
    return slots[index].former ? -EPROTO : 0;
}

static int take_handed(struct former *former, const struct launcher_reply *reply, struct channel_fds *fds)
{
    struct sandbox *s = former->sandbox;
    struct handed *handed = calloc(1, sizeof *handed);
    if (!handed)
        return -ENOMEM;
    handed->former = former;
    handed->index = reply->index;
    handed->pid = reply->pid;
    handed->fds = *fds;
    for (size_t i = 0; i < fds->n; i++)
        fds->fd[i] = -1;
    list_push(&s->handing.handed, &handed->link);
    int r = read_state(handed);
    if (r == 0)
        r = reserve_index(s, reply->index);
    if (r < 0) {
        handed_free(handed);
        return r;
    }
    s->slots[reply->index].former = former;
    return 0;
}

static int receive_handed(struct former *former)
{
    uint64_t deadline = clock_monotonic_us() + ANSWER_DEADLINE_MS * UINT64_C(1000);
    int r = launcher_request(&former->launcher, LAUNCHER_ADOPT, 0, 0);
    while (r == 0) {
        struct launcher_reply reply;
        CLEANUP_FDS struct channel_fds fds;
        r = launcher_receive(&former->launcher, &reply, &fds);
        if (r == -EAGAIN)
            r = wait_readable(former->launcher.socket, deadline) ? 0 : -ETIMEDOUT;
        else if (r == 0 && reply.header.type != LAUNCHER_ADOPT)
            r = -EPROTO;
        else if (r == 0 && reply.pid == 0)
            return 0;
        else if (r == 0)
            r = take_handed(former, &reply, &fds);
    }
    return r;
}

/* --- the sockets --- */

static struct ucred credentials_of(int fd)
{
    struct ucred peer = {.pid = 0, .uid = (uid_t)-1};
    socklen_t len = sizeof peer;
    (void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len);
    return peer;
}

static bool is_trusted(int fd)
{
    uid_t uid = credentials_of(fd).uid;
    return uid == 0 || uid == geteuid();
}

static int open_socket(int folder, const char *name)
{
    struct sockaddr_un address;
    CLEANUP_FD int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    int r = fd < 0 ? -errno : handing_address(folder, name, &address);
    if (r == 0 && connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        r = -errno;
    if (r == 0)
        r = is_trusted(fd) ? fd_set_nonblocking(fd, true) : -EPERM;
    return r < 0 ? r : fd_steal(&fd);
}

/* A connection ends when who listens there ends, or does not want us. */
static bool is_gone(int folder, const char *name)
{
    uint64_t deadline = clock_monotonic_us() + GONE_DEADLINE_MS * UINT64_C(1000);
    for (;;) {
        CLEANUP_FD int fd = open_socket(folder, name);
        if (fd == -ECONNREFUSED || fd == -ENOENT)
            return true;
        if (clock_monotonic_us() >= deadline)
            return false;
        (void)poll(NULL, 0, GONE_LOOK_MS);
    }
}

/* They go on, and wait for a start that can. */
static int cannot_take(struct tw_error *error, int r, pid_t pid)
{
    if (r == -EPROTO)
        return error_set(error, TW_UNAVAILABLE,
            "tasks of this node run on under hivemind-launcher (process %d), which does not speak with this version, "
            "or not "
            "with this user: start the version that has left them as the user that it ran as, or wait until their time "
            "(DETACH_TIMEOUT) is over, or end them (kill -9 %d)",
            (int)pid, (int)pid);
    if (r == -ETIMEDOUT)
        return error_set(error, TW_UNAVAILABLE,
            "tasks of this node run on under hivemind-launcher (process %d), which does not answer: start again, or "
            "end them "
            "(kill -9 %d)",
            (int)pid, (int)pid);
    return error_set_errno(error, r, "tasks that were left running cannot be taken over now; they go on, start again");
}

static int find_at(struct sandbox *s, int folder, const char *name, struct tw_error *error)
{
    struct stat st;
    bool is_socket = fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(st.st_mode);
    int fd = is_socket ? open_socket(folder, name) : -ENOENT;
    if (fd == -ECONNREFUSED || fd == -ENOENT) { /* nobody listens there any more, or ever did */
        (void)unlinkat(folder, name, 0);
        return 0;
    }
    if (fd < 0) /* somebody may, with tasks that would run twice */
        return error_set_errno(error, fd,
            "cannot ask %s/%s whether it holds running tasks of this node: end who listens there, and start again",
            s->handing.folder, name);
    struct former *former = calloc(1, sizeof *former);
    if (!former) {
        close(fd);
        return error_oom(error);
    }
    former->sandbox = s;
    former->launcher = (struct launcher){.pid = -1, .pidfd = -1, .socket = fd, .slots = PROTOCOL_SLOTS_MAX};
    snprintf(former->socket_name, sizeof former->socket_name, "%s", name);
    list_push(&s->handing.formers, &former->link);
    int r = receive_handed(former);
    if (r == 0)
        return 0;
    pid_t pid = credentials_of(fd).pid;
    former_free(former);
    bool hung_up = r == -EPIPE || r == -ECONNRESET;
    if (hung_up && is_gone(folder, name)) { /* with its tasks: it was just about to */
        (void)unlinkat(folder, name, 0);
        return 0;
    }
    return cannot_take(error, hung_up ? -EPROTO : r, pid);
}

int sandbox_find_left(struct runtime *rt, const char *path, struct tw_error *error)
{
    struct sandbox *s = CONTAINER_OF(rt, struct sandbox, rt);
    if (asprintf(&s->handing.folder, "%s/launchers", path) < 0) {
        s->handing.folder = NULL;
        return error_oom(error);
    }
    CLEANUP_FD int folder = handing_open_folder(s);
    int list = folder < 0 ? -1 : openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = list < 0 ? NULL : fdopendir(list);
    if (!dir) {
        fd_close(&list);
        return folder == -ENOENT ? 0 : error_set_errno(error, folder < 0 ? folder : errno, "%s", s->handing.folder);
    }
    int r = 0;
    struct dirent *entry;
    while (r == 0 && (entry = readdir(dir))) {
        if (entry->d_name[0] != '.' && strlen(entry->d_name) < FORMER_NAME_MAX)
            r = find_at(s, folder, entry->d_name, error);
    }
    closedir(dir);
    return r;
}

/* --- runs --- */

static void restore_run(struct sandbox_run *run, const struct handover *h)
{
    run->serial = h->serial;
    run->kind = (enum plan_kind)h->kind;
    run->shape = (struct slot_shape){
        .tmp_bytes = h->shape_tmp,
        .shm_bytes = h->shape_shm,
        .workspace_bytes = h->shape_workspace,
        .network = (uint32_t)h->shape_network,
        .runtime = (uint32_t)h->shape_runtime,
        .gpu_minors = h->shape_gpus,
        .environment = h->shape_environment,
    };
    run->layers = h->layers;
    run->group_layers = h->group_layers;
    run->paused = h->paused;
    run->limit = (enum tw_reason)h->limit;
    run->limits = h->limits;
    run->max_tail = h->max_tail;
    run->tail_cut = h->tail_cut;
    buf_init(&run->tail, 2 * (size_t)RUN_TAIL_MAX);
    (void)buf_append(&run->tail, h->tail.data, h->tail.len);
}

static void restore_reader(struct result_reader *r, const struct handover *h)
{
    result_reader_init(r, h->max_result);
    memcpy(r->header, h->frame_header.data, h->frame_header.len);
    r->header_len = h->frame_header.len;
    r->left = h->frame_left;
    r->have_result = h->have_result;
    r->have_error = h->have_error;
    r->too_large = h->too_large;
    r->flaw = (enum result_flaw)h->flaw;
    if (buf_append(&r->result, h->result.data, h->result.len) < 0 ||
        buf_append(&r->error, h->error.data, h->error.len) < 0)
        r->flaw = RESULT_NO_MEMORY;
}

struct run *sandbox_take_up(struct runtime *rt, const char *task_id, const struct run_events *events, void *ctx,
    struct run_carried *ret_carried)
{
    struct sandbox *s = CONTAINER_OF(rt, struct sandbox, rt);
    list_for_each_safe (it, &s->handing.handed) {
        struct handed *handed = CONTAINER_OF(it, struct handed, link);
        const struct handover *h = &handed->h;
        if (handed->run || strlen(task_id) != h->task_id.len || memcmp(task_id, h->task_id.data, h->task_id.len) != 0)
            continue;
        struct sandbox_run *run = run_taken_up(s, task_id, events, ctx);
        if (!run)
            return NULL;
        restore_run(run, h);
        restore_reader(&run->reader, h);
        handed->run = run;
        run->handed = handed;
        *ret_carried = (struct run_carried){.begun_us = h->begun_us,
            .wall_from_us = h->wall_from_us,
            .wall_left_us = h->wall_left_us,
            .held_cpu_millis = h->held_cpu_millis,
            .held_memory_bytes = h->held_memory_bytes,
            .gpu_minors = h->shape_gpus,
            .environment = h->shape_environment,
            .limits = h->limits};
        return &run->base;
    }
    return NULL;
}

void sandbox_forsake(struct run *base)
{
    struct sandbox_run *run = CONTAINER_OF(base, struct sandbox_run, base);
    if (run->handed)
        run->handed->run = NULL;
    run_free(run);
}

static struct group *restore_group(struct pool_slot *slot, struct handed *handed, size_t first_fd)
{
    struct launcher_reply reply = {
        .pid = handed->pid,
        .group_version = (uint32_t)handed->h.group_version,
        .group_files = (uint32_t)handed->h.group_files,
    };
    run_limits_attach(slot, &reply, handed->fds.fd + first_fd, handed->fds.n - first_fd);
    group_set_state(slot->group, &handed->h.group);
    return slot->group;
}

static void begin(struct handed *handed)
{
    struct pool_slot *slot = &handed->former->sandbox->slots[handed->index];
    struct sandbox_run *run = handed->run;
    int pipes[RUN_PIPES];
    size_t next = HANDOVER_FD_PIPES;
    for (size_t i = 0; i < RUN_PIPES; i++)
        pipes[i] = handed->h.pipes & UINT64_C(1) << i ? fd_steal(&handed->fds.fd[next++]) : -1;
    (void)restore_group(slot, handed, next);
    run->handed = NULL;
    run->pidfd = fd_steal(&handed->fds.fd[HANDOVER_FD_PIDFD]);
    int r = pool_slot_adopt(slot, run, fd_steal(&handed->fds.fd[HANDOVER_FD_SLOT]));
    if (r == 0) {
        run_limits_take_up(run);
        r = run_attach_pipes(run, pipes);
        if (r < 0)
            pool_slot_break(slot, strerror(-r));
    }
    for (size_t i = 0; i < RUN_PIPES; i++)
        fd_close(&pipes[i]);
}

/* --- their launchers --- */

static void free_if_idle(struct former *former)
{
    struct sandbox *s = former->sandbox;
    for (uint32_t i = 0; i < s->used; i++) {
        if (s->slots[i].former == former)
            return;
    }
    former_free(former);
}

static void slot_gone(struct pool_slot *slot)
{
    slot->state = SLOT_IS_EMPTY;
    slot->former = NULL;
}

static void former_died(struct former *former)
{
    struct sandbox *s = former->sandbox;
    sandbox_poll_free(&former->poll);
    for (uint32_t i = 0; i < s->used; i++) {
        if (s->slots[i].former != former || s->slots[i].state == SLOT_IS_LEFT)
            continue;
        pool_slot_break(&s->slots[i], "its hivemind-launcher, of a former daemon, is gone");
        slot_gone(&s->slots[i]);
    }
    sandbox_on_detached(s, &former->launcher, 0);
    free_if_idle(former);
}

static int on_former_reply(struct former *former, const struct launcher_reply *reply)
{
    struct sandbox *s = former->sandbox;
    struct pool_slot *slot = reply->index < s->used ? &s->slots[reply->index] : NULL;
    switch ((enum launcher_type)reply->header.type) {
    case LAUNCHER_DESTROY:
        if (!slot || slot->former != former || slot->state != SLOT_IS_DROPPED)
            return -EPROTO;
        slot_gone(slot);
        return 0;
    case LAUNCHER_KEEP:
        if (!slot || slot->former != former)
            return -EPROTO;
        sandbox_on_kept(s, reply);
        return 0;
    case LAUNCHER_DETACH:
        sandbox_on_detached(s, &former->launcher, reply->error);
        return 0;
    case LAUNCHER_ADOPT:
        return reply->pid ? -EPROTO : 0;
    case LAUNCHER_HELLO:
    case LAUNCHER_CREATE:
    case LAUNCHER_TYPE_MAX:
        break;
    }
    return -EPROTO;
}

static void on_former(uv_poll_t *poll, int status, int events)
{
    struct former *former = poll->data;
    struct sandbox *s = former->sandbox;
    struct launcher_reply reply;
    CLEANUP_FDS struct channel_fds fds;
    (void)events;
    int r = launcher_receive(&former->launcher, &reply, &fds);
    if (r == -EAGAIN && status == 0)
        return;
    if (r == 0)
        r = on_former_reply(former, &reply);
    if (r < 0)
        former_died(former);
    else
        free_if_idle(former);
    sandbox_pump(s);
}

void former_destroy(struct pool_slot *slot)
{
    struct former *former = slot->former;
    int r = launcher_request(&former->launcher, LAUNCHER_DESTROY, slot->index, 0);
    if (r == 0)
        slot->state = SLOT_IS_DROPPED;
    else if (r != -EAGAIN)
        former_died(former);
}

/* A launcher that is not told would go on waiting, with tasks that we take for lost. */
static int tell_adopted(struct former *former)
{
    uint64_t deadline = clock_monotonic_us() + ANSWER_DEADLINE_MS * UINT64_C(1000);
    for (;;) {
        int r = launcher_request(&former->launcher, LAUNCHER_ADOPT, 0, LAUNCHER_ADOPTED);
        if ((r != -EAGAIN && r != -ENOMEM && r != -ENOBUFS) || clock_monotonic_us() >= deadline)
            return r;
        (void)poll(NULL, 0, GONE_LOOK_MS);
    }
}

static void take_over_from(struct former *former, int folder)
{
    struct sandbox *s = former->sandbox;
    int r = tell_adopted(former);
    if (r == 0)
        r = sandbox_poll_new(s, former->launcher.socket, on_former, former, &former->poll);
    if (r < 0)
        log_error("tasks that were left running cannot be taken over: %s", strerror(-r));
    (void)unlinkat(folder, former->socket_name, 0);
    list_for_each_safe (it, &s->handing.handed) {
        struct handed *handed = CONTAINER_OF(it, struct handed, link);
        if (handed->former != former)
            continue;
        if (handed->run)
            begin(handed);
        else
            s->slots[handed->index].state = SLOT_IS_BROKEN;
        handed_free(handed);
    }
    if (r < 0)
        former_died(former);
    else
        free_if_idle(former);
}

void sandbox_take_over(struct runtime *rt)
{
    struct sandbox *s = CONTAINER_OF(rt, struct sandbox, rt);
    CLEANUP_FD int folder = s->handing.folder ? handing_open_folder(s) : -1;
    list_for_each_safe (it, &s->handing.formers) {
        take_over_from(CONTAINER_OF(it, struct former, link), folder);
    }
    sandbox_pump(s);
}

void sandbox_forget_formers(struct sandbox *s)
{
    list_for_each_safe (it, &s->handing.formers) {
        former_free(CONTAINER_OF(it, struct former, link));
    }
    free(STEAL(s->handing.folder));
}
