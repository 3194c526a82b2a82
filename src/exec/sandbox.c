/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The native sandbox as a runtime. The launcher makes slots on request and hands over a connection to each (pool_slot.c);
 * a run (run.c) is given to an idle slot, or waits for one. Everything that happens ends in sandbox_pump(), which looks at
 * the whole and does what is to be done next: ask the launcher for slots that are missing and for the end of those that
 * are broken or too many, give waiting runs to idle slots, tell the ended ones. Where slots cannot be made it rests for a
 * growing while between attempts, and fails the waiting runs when there is no slot left that could take them. The end of
 * the launcher is the end of all slots, and of this runtime: running tasks are lost, further ones are refused.
 */
#include "exec/pool.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/timer.h"
#include "exec/run_limits.h"

enum { REST_FIRST_MS = 100, REST_MAX_MS = 5000, DEMAND_TURN_MS = 30000 };

/* --- handles that free themselves --- */

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

int sandbox_poll_new(struct sandbox *s, int fd, uv_poll_cb cb, void *data, uv_poll_t **ret)
{
    uv_poll_t *poll = calloc(1, sizeof *poll);
    if (!poll)
        return -ENOMEM;
    int r = uv_poll_init(s->loop, poll, fd);
    if (r < 0) {
        free(poll);
        return r;
    }
    poll->data = data;
    r = uv_poll_start(poll, UV_READABLE, cb);
    if (r < 0) {
        uv_close((uv_handle_t *)poll, free_handle);
        return r;
    }
    *ret = poll;
    return 0;
}

/* Closing takes the fd out of the loop's epoll at once, so that the caller may close it right after. */
void sandbox_poll_free(uv_poll_t **poll)
{
    if (*poll)
        uv_close((uv_handle_t *)*poll, free_handle);
    *poll = NULL;
}

/* --- the pump --- */

/* Whether one of those that wait could have this slot with the host's network, now or soon. */
static bool has_use_for(const struct sandbox *s, const struct pool_slot *slot)
{
    if (slot->state == SLOT_IS_CREATING || slot->state == SLOT_IS_BOOTING)
        return true;
    list_for_each_safe (it, &s->waiting) {
        if (pool_slot_fits(slot, CONTAINER_OF(it, struct sandbox_run, in_queue)))
            return slot->state == SLOT_IS_IDLE;
    }
    return false;
}

/* What is asked for next has the host's network if more tasks wait for that than slots with it are on their way or idle. */
static bool create(struct sandbox *s, struct pool_slot *slot)
{
    int short_of = 0;
    list_for_each_safe (it, &s->waiting) {
        short_of += run_wants_host_network(CONTAINER_OF(it, struct sandbox_run, in_queue));
    }
    for (uint32_t i = 0; short_of > 0 && i < s->used; i++)
        short_of -= s->slots[i].host_network && has_use_for(s, &s->slots[i]);
    slot->host_network = short_of > 0;
    return pool_ask(s, slot, LAUNCHER_CREATE, SLOT_IS_CREATING);
}

static struct pool_slot *find_slot(struct sandbox *s, enum slot_state state)
{
    for (uint32_t i = 0; i < MIN(s->used, s->target); i++) {
        if (s->slots[i].state == state && !s->slots[i].former)
            return &s->slots[i];
    }
    return NULL;
}

static void on_retry(uv_timer_t *timer)
{
    struct sandbox *s = timer->data;
    s->resting = false;
    if (!s->closing && !s->launcher_dead) {
        struct pool_slot *slot = find_slot(s, SLOT_IS_EMPTY);
        if (slot)
            (void)create(s, slot);
    }
    sandbox_pump(s);
}

/* How many slots are there or on their way, and how many of them, with the runs that wait, are needed now. */
static unsigned count_slots(const struct sandbox *s, unsigned *ret_needed)
{
    unsigned there = 0, busy = 0, waiting = 0;
    for (uint32_t i = 0; i < s->used; i++) {
        enum slot_state state = s->slots[i].state;
        there +=
            state == SLOT_IS_CREATING || state == SLOT_IS_BOOTING || state == SLOT_IS_IDLE || state == SLOT_IS_BUSY;
        busy += state == SLOT_IS_BUSY;
    }
    for (const struct list *it = s->waiting.next; it != &s->waiting && busy + waiting < s->target; it = it->next)
        waiting++;
    *ret_needed = busy + waiting;
    return there;
}

/* Makes what is missing, destroys what is too many or broken. */
static void tend_slots(struct sandbox *s)
{
    unsigned needed, there = count_slots(s, &needed);
    demand_note(&s->demand, needed);
    unsigned wanted = s->closing ? 0 : demand_slots(&s->demand, s->target);
    for (uint32_t i = s->used; i-- > 0;) {
        struct pool_slot *slot = &s->slots[i];
        if (s->launcher_dead && !slot->former)
            continue;
        if (slot->state == SLOT_IS_IDLE && there > wanted) {
            pool_slot_break(slot, "it is not needed any more");
            there--;
        }
        pool_slot_retire_worn(slot);
        if (slot->state == SLOT_IS_BROKEN && slot->former)
            former_destroy(slot);
        else if (slot->state == SLOT_IS_BROKEN)
            (void)pool_ask(s, slot, LAUNCHER_DESTROY, SLOT_IS_DROPPED);
    }
    for (uint32_t i = 0; i < MIN(s->used, s->target) && there < wanted && !s->launcher_dead; i++) {
        bool free = s->slots[i].state == SLOT_IS_EMPTY && !s->slots[i].former;
        if (free && !s->resting && s->failures == 0 && create(s, &s->slots[i]))
            there++;
    }
    while (s->used > s->target && s->slots[s->used - 1].state == SLOT_IS_EMPTY && !s->slots[s->used - 1].former)
        s->used--;
}

void sandbox_turn_demand(struct sandbox *s)
{
    demand_turn(&s->demand);
    sandbox_pump(s);
}

static void on_demand_turn(uv_timer_t *timer)
{
    sandbox_turn_demand(timer->data);
}

/* After failures: a rest, then one attempt (on_retry), until one succeeds. */
static void tend_after_failure(struct sandbox *s)
{
    if (s->failures == 0 || s->resting || s->closing || s->launcher_dead || find_slot(s, SLOT_IS_CREATING) ||
        find_slot(s, SLOT_IS_BOOTING))
        return; /* of the last two the outcome decides */
    s->resting = true;
    unsigned shift = MIN(s->failures - 1, 6u);
    uv_timer_start(s->retry, on_retry, MIN((unsigned)REST_FIRST_MS << shift, (unsigned)REST_MAX_MS), 0);
}

/* Whether for each run that waits a slot is on its way already. */
static bool one_is_coming(const struct sandbox *s)
{
    unsigned coming = 0, waiting = 0;
    for (uint32_t i = 0; i < s->used; i++) {
        enum slot_state state = s->slots[i].state;
        coming += state == SLOT_IS_CREATING || state == SLOT_IS_BOOTING || state == SLOT_IS_BROKEN ||
            state == SLOT_IS_DROPPED;
    }
    for (const struct list *it = s->waiting.next; it != &s->waiting && waiting <= coming; it = it->next)
        waiting++;
    return coming >= waiting;
}

/*
 * An idle slot for the run: the one that has been idle for longest, and so most likely has a seat ready. If all idle ones
 * are of another owner or network, one of them is given up for a new one: NULL until then.
 */
static struct pool_slot *slot_for(struct sandbox *s, const struct sandbox_run *run)
{
    struct pool_slot *best = NULL, *other = NULL;
    for (uint32_t i = 0; i < MIN(s->used, s->target); i++) {
        struct pool_slot *slot = &s->slots[i];
        if (slot->state != SLOT_IS_IDLE)
            continue;
        if (!pool_slot_fits(slot, run))
            other = slot;
        else if (!best || slot->idle_us < best->idle_us)
            best = slot;
    }
    if (!best && other && !one_is_coming(s))
        pool_slot_break(other, "its owner or its network is another");
    return best;
}

static void assign(struct sandbox *s)
{
    while (!list_empty(&s->waiting)) {
        struct sandbox_run *run = LIST_FIRST(&s->waiting, struct sandbox_run, in_queue);
        struct pool_slot *slot = slot_for(s, run);
        if (!slot)
            return;
        list_remove(&run->in_queue);
        pool_slot_begin(slot, run);
        if (run->state == RUN_IS_WAITING) /* that slot was dead already: first in the queue again */
            list_push(s->waiting.next, &run->in_queue);
    }
}

/* The owner hears of a change; of a launcher that is gone it has heard already. */
static void tell_trouble(struct sandbox *s, bool trouble)
{
    if (s->trouble == trouble || s->closing || s->launcher_dead)
        return;
    s->trouble = trouble;
    if (s->rt.on_trouble)
        s->rt.on_trouble(s->rt.owner_ctx, trouble ? &s->problem : NULL);
}

/* Nothing lives that could take a run, and the last attempt to change that has failed. */
static void fail_waiting(struct sandbox *s)
{
    if (!s->launcher_dead) {
        if (s->failures == 0)
            tell_trouble(s, false);
        if (s->failures == 0 || !s->resting)
            return;
        for (uint32_t i = 0; i < s->target; i++) {
            enum slot_state state = s->slots[i].state;
            if (state == SLOT_IS_CREATING || state == SLOT_IS_BOOTING || state == SLOT_IS_IDLE || state == SLOT_IS_BUSY)
                return;
        }
    }
    tell_trouble(s, true);
    list_for_each_safe (it, &s->waiting) {
        list_remove(it);
        run_failed(CONTAINER_OF(it, struct sandbox_run, in_queue), RUN_SANDBOX_ERROR, "%s", s->problem.message);
    }
}

static void close_step(struct sandbox *s);

static void on_deliver(uv_timer_t *timer)
{
    struct sandbox *s = timer->data;
    /* Only those that are there now: what a callback starts has its turn later. */
    struct list batch;
    list_init(&batch);
    list_splice(&batch, &s->ended);
    while (!list_empty(&batch))
        run_deliver(LIST_FIRST(&batch, struct sandbox_run, in_queue));
    if (s->closing)
        close_step(s);
    else
        sandbox_pump(s);
}

void sandbox_pump(struct sandbox *s)
{
    /* What it does calls back into here: one round at a time, and another where something changed meanwhile. */
    s->pump_again = true;
    if (s->pumping)
        return;
    s->pumping = true;
    while (s->pump_again) {
        s->pump_again = false;
        tend_slots(s);
        sandbox_keep_next(s);
        assign(s);
        tend_after_failure(s);
        fail_waiting(s);
    }
    s->pumping = false;
    if (!list_empty(&s->ended) && !uv_is_active((uv_handle_t *)s->deliver))
        uv_timer_start(s->deliver, on_deliver, 0, 0);
}

/* --- the runtime's operations --- */

static struct sandbox *sandbox_of(const struct runtime *rt)
{
    return CONTAINER_OF(rt, struct sandbox, rt);
}

static struct sandbox_run *run_of(struct run *run)
{
    return CONTAINER_OF(run, struct sandbox_run, base);
}

static bool op_serves(const struct runtime *rt, const char *type)
{
    return !strcmp(type, "python") || !strcmp(type, "shell") || !strcmp(type, "package") ||
        (!strcmp(type, "function") && CONTAINER_OF(rt, struct sandbox, rt)->launcher->functions);
}

static struct run *op_start(
    struct runtime *rt, const struct run_spec *spec, const struct run_events *events, void *ctx, struct tw_error *error)
{
    struct sandbox *s = sandbox_of(rt);
    if (s->closing) {
        error_set(error, TW_UNAVAILABLE, "the sandbox runtime is closing");
        return NULL;
    }
    struct sandbox_run *run = run_new(s, spec, events, ctx, error);
    if (!run)
        return NULL;
    if (run->state == RUN_IS_WAITING)
        list_push(&s->waiting, &run->in_queue);
    sandbox_pump(s);
    return &run->base;
}

static void op_go(struct run *base)
{
    struct sandbox_run *run = run_of(base);
    if (run->state != RUN_IS_READY || run->killed)
        return;
    run_move(run, RUN_IS_RUNNING);
    run_limits_go(run);
    run_tell(run, SLOT_GO);
}

static void op_kill(struct run *run)
{
    run_kill(run_of(run));
}

static void op_terminate(struct run *run)
{
    run_terminate(run_of(run));
}

static void op_pause(struct run *run, bool paused)
{
    run_pause(run_of(run), paused);
}

static void op_file_kept(struct run *run)
{
    run_file_kept(CONTAINER_OF(run, struct sandbox_run, base));
}

static bool op_usage(struct run *run, struct tw_usage *ret)
{
    return run_limits_usage(run_of(run), ret);
}

static void op_resize(struct runtime *rt, unsigned slots)
{
    struct sandbox *s = sandbox_of(rt);
    s->target = MIN(slots, s->launcher->slots);
    s->used = MAX(s->used, s->target);
    sandbox_pump(s);
}

/* --- its end: runs, then the launcher with all slots, then ourselves --- */

static void sandbox_free(uv_handle_t *last)
{
    struct sandbox *s = last->data;
    void (*closed)(void *) = s->closed;
    void *ctx = s->closed_ctx;
    free(last);
    free(s->slots);
    free(s);
    if (closed)
        closed(ctx);
}

/* In a round of its own: by then all other handles are closed. */
static void close_last(uv_handle_t *deliver)
{
    struct sandbox *s = deliver->data;
    free(deliver);
    uv_close((uv_handle_t *)s->retry, sandbox_free);
}

static void launcher_ended(struct sandbox *s)
{
    sandbox_poll_free(&s->launcher_poll);
    launcher_free(STEAL(s->launcher));
    timer_free(&s->answer);
    timer_free(&s->demand_timer);
    uv_close((uv_handle_t *)s->deliver, close_last);
}

static void on_launcher_end(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    launcher_ended(poll->data);
}

static void close_step(struct sandbox *s)
{
    sandbox_pump(s);
    if (!list_empty(&s->all) || s->hung_up)
        return;
    s->hung_up = true;
    bool leave = s->handing.detached && !s->launcher_dead;
    pool_launcher_died(s);
    sandbox_forget_formers(s);
    for (uint32_t i = 0; i < s->n_slots; i++)
        pool_slot_disconnect(&s->slots[i]);
    if (leave) /* it goes on without us */
        launcher_leave(s->launcher);
    if (leave || sandbox_poll_new(s, s->launcher->pidfd, on_launcher_end, s, &s->launcher_poll) < 0)
        launcher_ended(s); /* waits here and now where it cannot wait in the loop, for want of memory */
}

static void op_close(struct runtime *rt, void (*done)(void *ctx), void *ctx)
{
    struct sandbox *s = sandbox_of(rt);
    s->closing = true;
    s->closed = done;
    s->closed_ctx = ctx;
    list_for_each_safe (it, &s->all) {
        run_kill(CONTAINER_OF(it, struct sandbox_run, in_all));
    }
    /* From the loop, so that `done` is never called from within. */
    uv_timer_start(s->deliver, on_deliver, 0, 0);
}

static const struct runtime_ops sandbox_ops = {
    .serves = op_serves,
    .start = op_start,
    .go = op_go,
    .kill = op_kill,
    .terminate = op_terminate,
    .pause = op_pause,
    .file_kept = op_file_kept,
    .usage = op_usage,
    .detach = sandbox_detach,
    .leave = sandbox_leave,
    .take_up = sandbox_take_up,
    .take_over = sandbox_take_over,
    .forsake = sandbox_forsake,
    .close = op_close,
    .resize = op_resize,
};

int sandbox_new(uv_loop_t *loop, struct launcher *launcher, unsigned slots, unsigned spare, struct runtime **ret,
    struct tw_error *error)
{
    struct sandbox *s = calloc(1, sizeof *s);
    struct pool_slot *all = calloc(launcher->slots, sizeof *all);
    if (!s || !all) {
        free(s);
        free(all);
        return error_oom(error);
    }
    *s = (struct sandbox){.rt = {.ops = &sandbox_ops},
        .loop = loop,
        .launcher = launcher,
        .slots = all,
        .n_slots = launcher->slots,
        .next_serial = 1,
        .demand = {.spare = spare}};
    list_init(&s->all);
    list_init(&s->waiting);
    list_init(&s->ended);
    list_init(&s->handing.formers);
    list_init(&s->handing.handed);
    list_init(&s->handing.leaving);
    for (uint32_t i = 0; i < launcher->slots; i++)
        all[i] = (struct pool_slot){.sandbox = s, .index = i, .fd = -1};
    s->processors = uv_available_parallelism();
    s->retry = timer_new(s->loop, s);
    s->deliver = timer_new(s->loop, s);
    s->answer = timer_new(s->loop, s);
    s->demand_timer = timer_new(s->loop, s);
    int r = s->retry && s->deliver && s->answer && s->demand_timer ? 0 : -ENOMEM;
    if (r == 0)
        r = sandbox_poll_new(s, launcher->socket, pool_on_launcher, s, &s->launcher_poll);
    if (r < 0) {
        timer_free(&s->retry);
        timer_free(&s->deliver);
        timer_free(&s->answer);
        timer_free(&s->demand_timer);
        free(all);
        free(s);
        return error_set_errno(error, r, "cannot watch hivemind-launcher");
    }
    *ret = &s->rt;
    uv_timer_start(s->demand_timer, on_demand_turn, DEMAND_TURN_MS, DEMAND_TURN_MS);
    s->target = s->used = MIN(slots, launcher->slots);
    uv_timer_start(
        s->deliver, on_deliver, 0, 0); /* slots are asked for from the loop: by then the owner hears of failures */
    return 0;
}
