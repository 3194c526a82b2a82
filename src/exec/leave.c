/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leaving runs to the next daemon. First each launcher is told to wait for that one, at a socket in a folder of ours; from
 * then on it keeps what it is given, whatever becomes of us. A run that leaves is not read from any more: what comes after
 * that moment, from its pipes or its slot, waits in the kernel for the successor, and all that came before is in the bytes
 * that go with it (handover.h) or was told to the engine. One run goes at a time: the launcher's answers and our requests
 * cannot block each other then.
 */
#include "exec/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "exec/adopt.h"
#include "exec/run_limits.h"

/* --- the sockets --- */

/* By way of /proc, since the name of a socket may be no longer than 107 bytes, but that of a folder may. */
int handing_address(int folder, const char *name, struct sockaddr_un *ret)
{
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    int n = snprintf(ret->sun_path, sizeof ret->sun_path, "/proc/self/fd/%d/%s", folder, name);
    return n > 0 && (size_t)n < sizeof ret->sun_path ? 0 : -ENAMETOOLONG;
}

int handing_open_folder(const struct sandbox *s)
{
    int fd = open(s->handing.folder, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int bind_socket(const struct sandbox *s, int *ret)
{
    struct sockaddr_un address;
    char name[32];
    uint64_t random;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        return -EIO;
    if (mkdir(s->handing.folder, 0700) < 0 && errno != EEXIST)
        return -errno;
    CLEANUP_FD int folder = handing_open_folder(s);
    CLEANUP_FD int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (folder < 0 || fd < 0)
        return folder < 0 ? folder : -errno;
    snprintf(name, sizeof name, "%016llx", (unsigned long long)random);
    int r = handing_address(folder, name, &address);
    if (r < 0)
        return r;
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return -errno;
    *ret = fd_steal(&fd);
    return 0;
}

static int detach_launcher(struct sandbox *s, struct launcher *launcher, uint32_t seconds)
{
    struct launcher_request request = {
        .seconds = MIN(MAX(seconds, 1u), (uint32_t)LAUNCHER_SECONDS_MAX), .uid = geteuid()};
    CLEANUP_FD int fd = -1;
    int r = bind_socket(s, &fd);
    if (r == 0)
        r = launcher_send(launcher, LAUNCHER_DETACH, &request, &fd, 1);
    if (r == 0) {
        launcher->detaching = true;
        s->handing.detaching++;
    }
    return r;
}

static void detach_answered(struct sandbox *s)
{
    struct handing *h = &s->handing;
    if (h->detaching > 0 || !h->done)
        return;
    void (*done)(void *, const struct tw_error *) = STEAL(h->done);
    h->detached = h->error.code == TW_OK;
    done(h->done_ctx, h->detached ? NULL : &h->error);
}

void sandbox_on_detached(struct sandbox *s, struct launcher *launcher, uint32_t error)
{
    struct handing *h = &s->handing;
    if (!launcher->detaching)
        return;
    launcher->detaching = false;
    h->detaching--;
    if (error)
        error_set_errno(&h->error, (int)error, "hivemind-launcher cannot wait for another daemon");
    detach_answered(s);
}

void sandbox_detach(
    struct runtime *rt, uint32_t seconds, void (*done)(void *ctx, const struct tw_error *error), void *ctx)
{
    struct sandbox *s = CONTAINER_OF(rt, struct sandbox, rt);
    struct handing *h = &s->handing;
    int r = h->folder ? 0 : -ENOENT;
    h->done = done;
    h->done_ctx = ctx;
    if (r == 0 && !s->launcher_dead) /* what it had has ended with it; what former ones have has not */
        r = detach_launcher(s, s->launcher, seconds);
    list_for_each_safe (it, &h->formers) {
        if (r == 0)
            r = detach_launcher(s, former_launcher(CONTAINER_OF(it, struct former, link)), seconds);
    }
    if (r < 0)
        error_set_errno(&h->error, r, "tasks cannot be left to another daemon");
    detach_answered(s);
}

/* --- a run --- */

static void fill_shape(const struct sandbox_run *run, struct handover *h)
{
    h->shape_tmp = run->shape.tmp_bytes;
    h->shape_shm = run->shape.shm_bytes;
    h->shape_workspace = run->shape.workspace_bytes;
    h->shape_network = run->shape.network;
    h->shape_runtime = run->shape.runtime;
    h->shape_gpus = run->shape.gpu_minors;
    h->shape_environment = run->shape.environment;
}

static void fill_reader(const struct result_reader *r, struct handover *h)
{
    h->max_result = r->result.max;
    h->frame_left = r->left;
    h->have_result = r->have_result;
    h->have_error = r->have_error;
    h->too_large = r->too_large;
    h->flaw = r->flaw;
    h->frame_header = (struct handover_bytes){r->header, r->header_len};
    h->result = (struct handover_bytes){r->result.data, r->result.len};
    h->error = (struct handover_bytes){r->error.data, r->error.len};
}

/* The fds stay whose they are, but for the first. Returns how many, or -errno. */
static int gather(const struct sandbox_run *run, int fds[CHANNEL_FDS_MAX])
{
    const struct pool_slot *slot = run->slot;
    CLEANUP_BUF struct buf raw = BUF_INIT(SIZE_MAX / 2);
    uint32_t files, version;
    size_t n = HANDOVER_FD_PIPES;
    struct handover h = {
        .serial = run->serial,
        .kind = run->kind,
        .layers = run->layers,
        .group_layers = run->group_layers,
        .paused = run->paused,
        .limit = run->limit,
        .max_tail = run->max_tail,
        .tail_cut = run->tail_cut,
        .begun_us = run->carried.begun_us,
        .wall_from_us = run->carried.wall_from_us,
        .wall_left_us = run->carried.wall_left_us,
        .held_cpu_millis = run->carried.held_cpu_millis,
        .held_memory_bytes = run->carried.held_memory_bytes,
        .limits = run->limits,
        .group = *group_state(slot->group),
        .task_id = {(const uint8_t *)run->task_id, strlen(run->task_id)},
        .tail = {run->tail.data, run->tail.len},
    };
    fill_shape(run, &h);
    fill_reader(&run->reader, &h);
    for (size_t i = 0; i < RUN_PIPES; i++) {
        if (!run->pipes[i] || uv_fileno((uv_handle_t *)&run->pipes[i]->handle, &fds[n]) < 0)
            continue;
        h.pipes |= UINT64_C(1) << i;
        n++;
    }
    n += group_files(slot->group, fds + n, &files, &version);
    h.group_files = files;
    h.group_version = version;
    handover_encode(&h, &raw);
    fds[HANDOVER_FD_SLOT] = slot->fd;
    fds[HANDOVER_FD_PIDFD] = run->pidfd;
    fds[HANDOVER_FD_STATE] = raw.error ? raw.error : fd_sealed_memfd("run", raw.data, raw.len);
    return fds[HANDOVER_FD_STATE] < 0 ? fds[HANDOVER_FD_STATE] : (int)n;
}

static int keep(struct sandbox_run *run)
{
    struct pool_slot *slot = run->slot;
    struct launcher_request request = {.index = slot->index};
    struct launcher *launcher = slot->former ? former_launcher(slot->former) : run->sandbox->launcher;
    int fds[CHANNEL_FDS_MAX];
    _Static_assert(HANDOVER_FD_PIPES + RUN_PIPES + GROUP_FILE_MAX <= CHANNEL_FDS_MAX, "one message holds them all");
    int n = gather(run, fds);
    if (n < 0)
        return n;
    int r = launcher_send(launcher, LAUNCHER_KEEP, &request, fds, (size_t)n);
    fd_close(&fds[HANDOVER_FD_STATE]);
    return r;
}

static void cannot_leave(struct sandbox_run *run, int error)
{
    log_error("task %s cannot be left running: %s", run->task_id, strerror(error));
    pool_slot_break(run->slot, "it could not be left to another daemon");
}

void sandbox_leave_off(struct sandbox_run *run)
{
    struct handing *h = &run->sandbox->handing;
    if (h->keeping == run)
        h->keeping = NULL;
    run->leaving = false;
    list_remove(&run->in_queue);
    run_read_on(run);
}

void sandbox_keep_next(struct sandbox *s)
{
    struct handing *h = &s->handing;
    while (!h->keeping && !list_empty(&h->leaving)) {
        struct sandbox_run *run = LIST_FIRST(&h->leaving, struct sandbox_run, in_queue);
        int r = keep(run);
        if (r == 0)
            h->keeping = run;
        else
            cannot_leave(run, -r);
    }
}

void sandbox_leave(struct run *base, const struct run_carried *carried)
{
    struct sandbox_run *run = CONTAINER_OF(base, struct sandbox_run, base);
    struct sandbox *s = run->sandbox;
    if (run->state != RUN_IS_RUNNING || run->killed || !run->slot || run->leaving || run->collecting)
        return;
    run->leaving = true;
    run->carried = *carried;
    run_read_no_more(run);
    run_limits_rest(run);
    sandbox_poll_free(&run->slot->poll);
    list_push(&s->handing.leaving, &run->in_queue);
    sandbox_pump(s);
}

void sandbox_on_kept(struct sandbox *s, const struct launcher_reply *reply)
{
    struct pool_slot *slot = &s->slots[reply->index];
    struct sandbox_run *run = slot->run;
    if (!run || run != s->handing.keeping)
        return;
    if (reply->error) {
        cannot_leave(run, reply->error);
    } else {
        slot->state = SLOT_IS_LEFT;
        slot->run = NULL;
        run->slot = NULL;
        pool_slot_disconnect(slot);
        list_remove(&run->in_queue);
        s->handing.keeping = NULL;
        run_has_left(run);
    }
}
