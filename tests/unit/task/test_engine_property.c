/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random loads, faults and requests, all at once: tasks of different needs, owners and priorities, retries, dependencies,
 * batches, pauses, stops, queue time-outs; lost slots, false starts, a runtime that refuses, a disk that is full, crashes.
 * Whatever the order: no more is ever promised than there is, what was promised comes back to the last byte, each task that
 * was acknowledged ends exactly once, one that was not is not there, and none is executed more often than it has attempts.
 *
 * PROPERTY_SEED=N repeats a run, as far as the disk's speed lets it; a failure names the seed.
 */
#include "disk.h"
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "task/attempt.h"

enum { TASKS = 600, STEPS = 3000, ROUNDS = 4, CPU_MILLIS = 4000, MEMORY = 1 << 30, BATCH = 3 };

struct tracked {
    char id[16];
    struct engine_wait *wait;
    uint32_t retries;
    unsigned went; /* times that it was let go */
    bool acknowledged, refused, ended;
};

static struct tracked tracked[TASKS];
static unsigned made, pending, seed;
static struct fixture *f;

#define CHECK(condition)                                                        \
    do {                                                                        \
        if (!(condition))                                                       \
            fail_msg("PROPERTY_SEED=%u, line %d: " #condition, seed, __LINE__); \
    } while (0)

static unsigned chance(unsigned n)
{
    return (unsigned)rand() % n;
}

static struct tracked *tracked_of(const char *id)
{
    unsigned n = (unsigned)atoi(id + 1);
    CHECK(n < made && !strcmp(tracked[n].id, id));
    return &tracked[n];
}

/* One of the newest, which have the most before them. */
static struct tracked *any_recent(void)
{
    return &tracked[made - 1 - MIN(chance(12), made - 1)];
}

/* --- what must hold at any time --- */

static void check_ledger(void)
{
    const struct queue *q = &f->engine->queue;
    struct queue_need held = {0};
    unsigned slots = 0;
    map_for_each (it, &f->engine->tasks) {
        const struct task *task = it->value;
        bool holds = task->attempt && task->attempt->holds_slot;
        CHECK(holds == task->entry.running);
        held.cpu_millis += holds ? task->entry.need.cpu_millis : 0;
        held.memory_bytes += holds ? task->entry.need.memory_bytes : 0;
        slots += holds;
    }
    CHECK(slots == f->engine->running && slots <= f->max_running);
    CHECK(q->used.cpu_millis == held.cpu_millis && q->used.cpu_millis <= CPU_MILLIS);
    CHECK(q->used.memory_bytes == held.memory_bytes && q->used.memory_bytes <= MEMORY);
}

/* --- what is asked for --- */

static void on_tracked_end(void *ctx, const struct tw_task_info *info, const void *result UNUSED, size_t len UNUSED,
    const struct tw_error *error)
{
    struct tracked *t = ctx;
    t->wait = NULL;
    CHECK(!t->ended);
    if (error) { /* the node goes down: the next one is asked */
        CHECK(error->code == TW_UNAVAILABLE || error->code == TW_RESOURCE_EXHAUSTED);
        return;
    }
    t->ended = true;
    CHECK(info->attempt <= t->retries + 1 && t->went <= info->attempt);
}

static void acknowledge(struct tracked *t, const struct tw_error *error)
{
    CHECK(!t->acknowledged && !t->refused);
    t->acknowledged = !error;
    t->refused = error;
    if (!error)
        t->wait = engine_wait(f->engine, t->id, on_tracked_end, t);
}

static void on_tracked_admit(
    void *ctx, const struct tw_task_info *info UNUSED, bool existing, const struct tw_error *error)
{
    CHECK(!existing);
    pending--;
    acknowledge(ctx, error);
}

static void on_tracked_batch(void *ctx, const char *batch_id UNUSED, const char *const *ids UNUSED, size_t n UNUSED,
    const struct tw_error *error)
{
    struct tracked *first = ctx;
    pending--;
    for (int i = 0; i < BATCH; i++)
        acknowledge(&first[i], error);
}

static struct tw_task_spec make_spec(const char *const *after)
{
    static const char *const owners[] = {"", "ann", "bob"};
    struct tracked *t = &tracked[made];
    snprintf(t->id, sizeof t->id, "t%u", made++);
    struct tw_task_spec spec = spec_of(t->id, "x");
    spec.retries = t->retries = chance(3);
    spec.owner = owners[chance(ARRAY_LEN(owners))];
    spec.priority = (int)chance(3);
    spec.limits.cpu_millis = chance(2) ? 1 + chance(CPU_MILLIS) : 0;
    spec.limits.memory_bytes = chance(2) ? 1 + chance(MEMORY) : 0;
    spec.queue_timeout_us = chance(10) ? 0 : 1 + chance(100000);
    spec.after_any = chance(2);
    spec.after = after;
    spec.n_after = after && *after ? 1 : 0;
    return spec;
}

static void submit(void)
{
    /* Of each task its own: those of a batch are borrowed until it is admitted. */
    static struct tw_task_spec all_specs[TASKS];
    static const char *all_after[TASKS + 1];
    struct tw_task_spec *specs = &all_specs[made];
    const char **after = &all_after[made];
    after[0] = made > 0 && chance(4) == 0 ? any_recent()->id : NULL;
    struct tracked *first = &tracked[made];
    bool batch = chance(5) == 0;
    for (int i = 0; i < (batch ? BATCH : 1); i++) {
        specs[i] = make_spec(&after[i]);
        if (i + 1 < BATCH)
            after[i + 1] = chance(2) ? specs[i].id : NULL;
    }
    pending++;
    const struct engine_batch asked = {.specs = specs, .n_specs = BATCH};
    if (batch)
        engine_admit_batch(f->engine, &asked, on_tracked_batch, first);
    else
        engine_admit(f->engine, specs, NULL, on_tracked_admit, first);
}

static void on_stopped(void *ctx UNUSED, const struct tw_task_info *info UNUSED, const void *result UNUSED,
    size_t len UNUSED, const struct tw_error *error UNUSED)
{
    pending--;
}

static void on_paused(
    void *ctx UNUSED, const struct tw_task_info *info UNUSED, uint64_t seq UNUSED, const struct tw_error *error UNUSED)
{
    pending--;
}

static void request(void)
{
    if (made + BATCH <= TASKS && chance(6) == 0)
        submit();
    if (made > 0 && chance(15) == 0) {
        pending++;
        engine_stop(f->engine, any_recent()->id, on_stopped, NULL);
    }
    if (made > 0 && chance(15) == 0) {
        pending++;
        engine_set_paused(f->engine, any_recent()->id, chance(2), on_paused, NULL);
    }
}

/* --- what happens --- */

static void end_run(struct fake_run *run, const struct run_outcome *outcome)
{
    tracked_of(run->task_id)->went += run->went;
    run_end(run, outcome);
}

static void end_soon(struct fake_run *run)
{
    const struct run_outcome well = {.end = RUN_EXITED, .result = "1", .result_len = 1},
                             killed = {.end = RUN_SIGNALED, .signal = 9};
    if (run->killed || run->terminated) {
        end_run(run, &killed);
    } else if (run->went) {
        end_run(run, &well);
    } else if (!run->ready) {
        run->ready = true;
        run->events->ready(run->ctx);
    }
}

static void happen(struct fake_run *run)
{
    static const struct run_outcome faults[] = {
        {.end = RUN_LOST, .message = "the slot died"},
        {.end = RUN_SANDBOX_ERROR, .message = "no namespaces here"},
        {.end = RUN_EXITED, .exit_code = 1},
        {.end = RUN_SIGNALED, .signal = 11},
    };
    unsigned what = chance(24);
    if (what < ARRAY_LEN(faults))
        end_run(run, &faults[what]);
    else if (what == ARRAY_LEN(faults))
        run->events->output(run->ctx, TW_STREAM_STDOUT, "text", 4);
    else
        end_soon(run);
}

static void step(void)
{
    static bool full;
    request();
    full = full ? chance(40) > 0 : chance(200) == 0;
    disk_set_full(full);
    f->refuse = chance(50) == 0;
    if (!list_empty(&f->runs))
        happen(CONTAINER_OF(chance(2) ? f->runs.next : f->runs.prev, struct fake_run, link));
    uv_run(&f->loop, chance(3) ? UV_RUN_NOWAIT : UV_RUN_ONCE);
    check_ledger();
}

/* --- the end of a round --- */

static void calm_step(void)
{
    list_for_each_safe (it, &f->runs)
        end_soon(CONTAINER_OF(it, struct fake_run, link));
    uv_run(&f->loop, UV_RUN_ONCE);
    check_ledger();
}

static void settle_requests(void)
{
    disk_set_full(false);
    f->refuse = false;
    while (pending > 0)
        calm_step();
}

static void settle_all(void)
{
    settle_requests();
    for (unsigned i = 0; i < made; i++) {
        pending++;
        engine_set_paused(f->engine, tracked[i].id, false, on_paused, NULL);
    }
    settle_requests();
    for (unsigned i = 0; i < made; i++) {
        while (tracked[i].acknowledged && !tracked[i].ended)
            calm_step();
    }
}

/* Whoever would be told by this engine is told nothing any more. Ends on their way to disk would be read after they are gone. */
static void crash(void)
{
    settle_requests();
    while (f->engine->finishing > 0)
        calm_step();
    for (unsigned i = 0; i < made; i++)
        engine_wait_cancel(STEAL(tracked[i].wait));
    list_for_each (it, &f->runs) {
        const struct fake_run *run = CONTAINER_OF(it, struct fake_run, link);
        tracked_of(run->task_id)->went += run->went;
    }
    fixture_crash(f);
    fixture_open(f);
    for (unsigned i = 0; i < made; i++) {
        if (tracked[i].acknowledged && !tracked[i].ended)
            tracked[i].wait = engine_wait(f->engine, tracked[i].id, on_tracked_end, &tracked[i]);
    }
}

/* --- what the store says in the end --- */

struct events {
    bool called;
    uint64_t upto;
    unsigned accepted[TASKS], ended[TASKS], after_end[TASKS];
};

static void on_events(
    void *ctx, const struct store_event *events, size_t n, uint64_t upto, const struct tw_error *error)
{
    struct events *e = ctx;
    CHECK(!error);
    for (size_t i = 0; i < n; i++) {
        size_t t = (size_t)(tracked_of(events[i].id) - tracked);
        enum tw_event_kind kind = events[i].kind;
        e->after_end[t] += e->ended[t] > 0;
        e->accepted[t] += kind == TW_EVENT_ACCEPTED;
        e->ended[t] += kind == TW_EVENT_COMPLETED || kind == TW_EVENT_FAILED || kind == TW_EVENT_STOPPED;
    }
    e->upto = upto;
    e->called = true;
}

static void check_events(void)
{
    static struct events e;
    const struct store_filter filter = {.limit = 1000};
    memset(&e, 0, sizeof e);
    while (e.upto < store_last_event(f->store)) {
        e.called = false;
        store_events(f->store, e.upto, false, &filter, on_events, &e);
        run_until(f, &e.called);
    }
    for (unsigned i = 0; i < made; i++) {
        CHECK(tracked[i].acknowledged == tracked[i].ended);
        CHECK(e.accepted[i] == tracked[i].acknowledged && e.ended[i] == tracked[i].ended && e.after_end[i] == 0);
    }
}

static void on_tick(uv_timer_t *timer UNUSED)
{
}

static void test_whatever_happens(void **state)
{
    f = *state;
    const char *given = getenv("PROPERTY_SEED");
    seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)getpid() * 2654435761u;
    srand(seed);
    uv_timer_t tick; /* so that a turn of the loop may wait for the disk, but not for long */
    uv_timer_init(&f->loop, &tick);
    uv_timer_start(&tick, on_tick, 1, 1);
    for (int round = 0; round < ROUNDS; round++) {
        unsigned until = made + TASKS / ROUNDS - BATCH;
        for (int n = 0; n < STEPS && made < until; n++)
            step();
        crash();
    }
    settle_all();
    uv_close((uv_handle_t *)&tick, NULL);
    uv_run(&f->loop, UV_RUN_NOWAIT);
    const struct engine *engine = f->engine;
    CHECK(engine->running == 0 && engine->finishing == 0 && engine->held == 0 && engine->queue.len == 0);
    CHECK(engine->queue_bytes == 0 && engine->admitting.n == 0 && engine->admitting.bytes == 0);
    CHECK(engine->queue.used.cpu_millis == 0 && engine->queue.used.memory_bytes == 0);
    CHECK(engine->queue.total.cpu_millis == CPU_MILLIS && engine->queue.total.memory_bytes == MEMORY);
    check_events();
}

static int setup(void **state)
{
    disk_install();
    int r = fixture_setup(state);
    struct fixture *made_now = *state;
    fixture_crash(made_now);
    made_now->max_running = 4;
    made_now->max_running_per_owner = 3;
    made_now->max_queued = TASKS;
    made_now->cpu_millis = CPU_MILLIS;
    made_now->memory_bytes = MEMORY;
    fixture_open(made_now);
    return r;
}

static int teardown(void **state)
{
    disk_set_full(false);
    int r = fixture_teardown(state);
    disk_uninstall();
    return r;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_whatever_happens, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
