/* SPDX-License-Identifier: Apache-2.0 */
/* One slot seen from the daemon: its connection, and what may come over it in which state. */
#include "exec/pool.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/timer.h"
#include "exec/group.h"
#include "exec/run_limits.h"
#include "slot/channel.h"

enum {
    BOOT_DEADLINE_MS = 30000,
    KILL_DEADLINE_MS = 15000,
    READY_DEADLINE_MS = 30000,
    FILES_DEADLINE_MS = 30000,
    SLOT_TASKS_MAX = 500,
    FILES_AT_ONCE = 8
};
static const uint64_t SLOT_AGE_MAX_US = 10 * 60 * UINT64_C(1000000);

static void on_deadline(uv_timer_t *timer)
{
    struct pool_slot *slot = timer->data;
    pool_slot_break(slot, "it did not answer in time");
    sandbox_pump(slot->sandbox);
}

static void stop_deadline(struct pool_slot *slot)
{
    if (slot->deadline)
        uv_timer_stop(slot->deadline);
}

void pool_slot_disconnect(struct pool_slot *slot)
{
    stop_deadline(slot);
    sandbox_poll_free(&slot->poll);
    timer_free(&slot->deadline);
    fd_close(&slot->fd);
    group_free(STEAL(slot->group));
    free(STEAL(slot->owner));
    slot->served = 0;
}

/* The slot is of no use; says so once, slower each time it happens in a row. */
static void boot_failed(struct pool_slot *slot)
{
    struct sandbox *s = slot->sandbox;
    s->failures++;
    if (s->failures <= 3 || s->failures % 100 == 0)
        log_warning("%s", s->problem.message);
}

void pool_slot_break(struct pool_slot *slot, const char *why)
{
    bool booting = slot->state == SLOT_IS_BOOTING;
    if (slot->state != SLOT_IS_BOOTING && slot->state != SLOT_IS_IDLE && slot->state != SLOT_IS_BUSY)
        return;
    slot->state = SLOT_IS_BROKEN;
    if (slot->run)
        run_limits_end(slot, slot->run);
    slot->sandbox->pump_again = true; /* it may be the pump that found out */
    pool_slot_disconnect(slot);
    if (booting && !slot->sandbox->launcher_dead) {
        if (why)
            error_set(&slot->sandbox->problem, TW_UNAVAILABLE, "cannot make a sandbox: %s", why);
        boot_failed(slot);
    }
    if (slot->run) {
        struct sandbox_run *run = STEAL(slot->run);
        if (run->limit != TW_REASON_OOM) /* then it went with its task, as it should */
            log_warning("slot %u went away under its task: %s", slot->index, why);
        run->slot = NULL;
        if (run->leaving)
            sandbox_leave_off(run);
        run_lost(run, why);
    }
}

/* The run is over, the slot is free for the next. */
static struct sandbox_run *release(struct pool_slot *slot)
{
    struct sandbox_run *run = STEAL(slot->run);
    stop_deadline(slot);
    run_limits_end(slot, run);
    slot->state = SLOT_IS_IDLE;
    slot->idle_us = clock_monotonic_us();
    run->slot = NULL;
    return run;
}

static int on_ready(struct pool_slot *slot, const struct slot_reply *reply, struct channel_fds *fds)
{
    struct sandbox_run *run = slot->run;
    if (run->state != RUN_IS_PREPARING || reply->serial != run->serial)
        return -EPROTO;
    run->pidfd = fd_steal(&fds->fd[0]);
    run->layers = reply->layers;
    run_move(run, RUN_IS_READY);
    if (run->killed)
        return 0; /* its end is on the way */
    stop_deadline(slot);
    run->events.ready(run->ctx);
    return 0;
}

static int on_failed(struct pool_slot *slot, const struct slot_reply *reply)
{
    const char *stage = slot_stage_to_string(reply->stage), *colon = reply->detail[0] ? ": " : "";
    if (slot->state == SLOT_IS_BOOTING && reply->serial == 0) {
        error_set_errno(
            &slot->sandbox->problem, reply->error, "cannot make a sandbox: %s%s%s", stage, colon, reply->detail);
        if (reply->stage == STAGE_SETTINGS && !slot->sandbox->ever_up) {
            error_set(&slot->sandbox->problem, TW_INVALID_ARGUMENT, "%s", reply->detail);
            sandbox_tell_broken(slot->sandbox);
        }
        return -ECANCELED; /* said already */
    }
    if (slot->state != SLOT_IS_BUSY || reply->serial != slot->run->serial)
        return -EPROTO;
    struct sandbox_run *run = release(slot);
    struct tw_error error;
    if (reply->stage == STAGE_PACKAGE) { /* its own fault */
        run_failed(run, RUN_BAD_INPUT, "%s", reply->detail);
        return 0;
    }
    error_set_errno(&error, reply->error, "%s%s%s", stage, colon, reply->detail);
    run_failed(run, RUN_SANDBOX_ERROR, "the sandbox failed while %s", error.message);
    return 0;
}

/* What the task has left in memory is still its group's, and the slot has read what a client wrote: it has done its work. */
static int on_exited(struct pool_slot *slot, const struct slot_reply *reply)
{
    bool collected = slot->run->collecting;
    run_exited(release(slot), reply);
    if (collected)
        pool_slot_break(slot, "it has handed in what its task left");
    return 0;
}

/* Reads no more while there is enough to be kept: the slot waits then. */
static int on_output(struct pool_slot *slot, const struct slot_output *output, struct channel_fds *fds)
{
    struct sandbox_run *run = slot->run;
    if (slot->state != SLOT_IS_BUSY || output->serial != run->serial || run->state != RUN_IS_RUNNING ||
        !run->events.file)
        return -EPROTO;
    struct run_file file = {
        .path = output->path, .fd = fd_steal(&fds->fd[0]), .size = output->size, .executable = output->executable};
    run->collecting = true;
    uv_timer_start(slot->deadline, on_deadline, FILES_DEADLINE_MS, 0);
    if (++run->files >= FILES_AT_ONCE) {
        uv_poll_stop(slot->poll);
        stop_deadline(slot);
    }
    run->events.file(run->ctx, &file);
    return 0;
}

static int on_message(struct pool_slot *slot, const struct slot_reply *reply, struct channel_fds *fds)
{
    switch ((enum slot_reply_type)reply->header.type) {
    case SLOT_HELLO:
        if (slot->state != SLOT_IS_BOOTING)
            return -EPROTO;
        stop_deadline(slot);
        slot->state = SLOT_IS_IDLE;
        slot->up_us = slot->idle_us = clock_monotonic_us();
        slot->sandbox->failures = 0;
        slot->sandbox->ever_up = true;
        return 0;
    case SLOT_READY:
        return slot->state == SLOT_IS_BUSY ? on_ready(slot, reply, fds) : -EPROTO;
    case SLOT_EXITED:
        if (slot->state != SLOT_IS_BUSY || reply->serial != slot->run->serial)
            return -EPROTO;
        return on_exited(slot, reply);
    case SLOT_FAILED:
        return on_failed(slot, reply);
    case SLOT_OUTPUT: /* is another message */
    case SLOT_REPLY_MAX:
        break;
    }
    return -EPROTO;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct pool_slot *slot = poll->data;
    struct sandbox *s = slot->sandbox;
    struct slot_reply reply;
    struct slot_output output;
    char raw[sizeof output + 1];
    _Static_assert(sizeof output > sizeof reply, "there is room for both");
    CLEANUP_FDS struct channel_fds fds;
    (void)events;
    ssize_t n = channel_recv(slot->fd, raw, sizeof raw, &fds);
    if (n == -EAGAIN && status == 0)
        return;
    if (n <= 0) {
        pool_slot_break(slot, "it died");
    } else if (n == (ssize_t)sizeof output && slot_output_check(raw, (size_t)n, fds.n, &output) == MESSAGE_OK) {
        if (on_output(slot, &output, &fds) < 0)
            pool_slot_break(slot, "it sent a file out of turn");
    } else if (slot_reply_check(raw, (size_t)n, fds.n, &reply) != MESSAGE_OK) {
        pool_slot_break(slot, "it sent what is no message");
    } else {
        int r = on_message(slot, &reply, &fds);
        if (r < 0)
            pool_slot_break(slot, r == -ECANCELED ? NULL : "it sent a message out of turn");
    }
    sandbox_pump(s);
}

void pool_slot_read_on(struct pool_slot *slot)
{
    if (!slot->run->collecting || !slot->poll || uv_is_active((uv_handle_t *)slot->poll))
        return;
    uv_timer_start(slot->deadline, on_deadline, FILES_DEADLINE_MS, 0);
    int r = uv_poll_start(slot->poll, UV_READABLE, on_readable);
    if (r < 0)
        pool_slot_break(slot, strerror(-r));
}

void pool_slot_connect(struct pool_slot *slot, int fd)
{
    assert(slot->state == SLOT_IS_CREATING);
    slot->state = SLOT_IS_BOOTING;
    slot->fd = fd;
    slot->deadline = timer_new(slot->sandbox->loop, slot);
    int r = slot->deadline ? fd_set_nonblocking(fd, true) : -ENOMEM;
    if (r == 0)
        r = sandbox_poll_new(slot->sandbox, fd, on_readable, slot, &slot->poll);
    if (r < 0) {
        pool_slot_break(slot, strerror(-r));
        return;
    }
    uv_timer_start(slot->deadline, on_deadline, BOOT_DEADLINE_MS, 0);
}

int pool_slot_adopt(struct pool_slot *slot, struct sandbox_run *run, int fd)
{
    assert(slot->state == SLOT_IS_EMPTY);
    slot->state = SLOT_IS_BUSY;
    slot->fd = fd;
    slot->run = run;
    run->slot = slot;
    slot->deadline = timer_new(slot->sandbox->loop, slot);
    int r = slot->deadline ? fd_set_nonblocking(fd, true) : -ENOMEM;
    if (r == 0)
        r = sandbox_poll_new(slot->sandbox, fd, on_readable, slot, &slot->poll);
    if (r < 0)
        pool_slot_break(slot, strerror(-r));
    return r;
}

int pool_slot_send(struct pool_slot *slot, enum slot_request_type type)
{
    struct slot_request request = {
        .header = {SLOT_MAGIC, PROTOCOL_VERSION, (uint16_t)type}, .serial = slot->run->serial};
    if (type == SLOT_KILL)
        uv_timer_start(slot->deadline, on_deadline, KILL_DEADLINE_MS, 0);
    return channel_send(slot->fd, &request, sizeof request, NULL, 0);
}

/* The read ends are the daemon's and must not block; the write ends are the task's and should. */
static int open_pipes(int read_ends[RUN_PIPES], int write_ends[RUN_PIPES])
{
    for (size_t i = 0; i < RUN_PIPES; i++) {
        int pair[2];
        if (pipe2(pair, O_CLOEXEC) < 0)
            return -errno;
        read_ends[i] = pair[0];
        write_ends[i] = pair[1];
        /* Ours by owner, so that without this a task could not open its /dev/stdout again. */
        if (fchmod(pair[1], 0222) < 0)
            return -errno;
    }
    return 0;
}

/*
 * Forks of one interpreter share its hash seed and address layout: so only tasks of one owner do, and not for ever.
 */
bool pool_slot_fits(const struct pool_slot *slot, const struct sandbox_run *run)
{
    return !slot->former && slot->host_network == run_wants_host_network(run) &&
        (!slot->owner || !strcmp(slot->owner, run->owner));
}

void pool_slot_retire_worn(struct pool_slot *slot)
{
    if (slot->state == SLOT_IS_IDLE && slot->former)
        pool_slot_break(slot, "it was made by a former daemon");
    else if (slot->state == SLOT_IS_IDLE && slot->served > 0 &&
        (slot->served >= SLOT_TASKS_MAX || clock_monotonic_us() - slot->up_us >= SLOT_AGE_MAX_US))
        pool_slot_break(slot, "it has served long enough");
}

void pool_slot_begin(struct pool_slot *slot, struct sandbox_run *run)
{
    int read_ends[RUN_PIPES] = {-1, -1, -1}, fds[SLOT_START_FDS] = {run->plan_fd, run->source_fd, -1, -1, -1};
    int *write_ends = &fds[SLOT_FD_STDOUT];
    struct slot_request request = {
        .header = {SLOT_MAGIC, PROTOCOL_VERSION, SLOT_START}, .serial = run->serial, .shape = run->shape};
    assert(slot->state == SLOT_IS_IDLE && !slot->run);
    int r = open_pipes(read_ends, write_ends);
    bool piped = r == 0;
    run_limits_begin(slot, run);
    if (piped)
        r = channel_send(slot->fd, &request, sizeof request, fds, SLOT_START_FDS);
    for (size_t i = 0; i < RUN_PIPES; i++)
        fd_close(&write_ends[i]);
    if (r == 0) {
        slot->state = SLOT_IS_BUSY;
        slot->run = run;
        slot->served++;
        if (!slot->owner)
            slot->owner = STEAL(run->owner); /* the run needs it no more */
        run->slot = slot;
        run_move(run, RUN_IS_PREPARING);
        fd_close(&run->plan_fd); /* the slot has its own; a large source shall not lie here as long as the task runs */
        fd_close(&run->source_fd);
        uv_timer_start(slot->deadline, on_deadline, READY_DEADLINE_MS, 0);
        r = run_attach_pipes(run, read_ends);
        if (r < 0)
            pool_slot_break(slot, strerror(-r));
    } else if (piped) {
        /* It died while idle: nothing of the task has run, so the next slot may have it. */
        pool_slot_break(slot, "it died");
    } else {
        run_failed(run, RUN_SANDBOX_ERROR, "cannot make the task's pipes: %s", strerror(-r));
    }
    for (size_t i = 0; i < RUN_PIPES; i++)
        fd_close(&read_ends[i]);
}
