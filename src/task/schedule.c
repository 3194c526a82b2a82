/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who starts when: tasks into the queue and out of it, the alarm for those that wait for a time, and the pause after trouble
 * on the node's side.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/timer.h"
#include "task/task.h"

enum {
    RESUME_FIRST_MS = 100,
    RESUME_MAX_MS = 30000,
    LONGEST_SLEEP_MS = 10000, /* the wall clock may be set meanwhile */
    CLOCK_STEP_US = 500000,   /* less is how a clock is kept right */
};

/* --- the queue --- */

/* On the monotonic clock. While the task sleeps it is when to look again, since the wall clock may be set. 0: never. */
static uint64_t deadline_of(const struct task *task, uint64_t wall_us)
{
    const struct tw_task_info *info = &task->record.info;
    /* A clock that was ahead when it was handed in must not make it wait for ever. */
    uint64_t since = MAX(info->created_us, task->released_us);
    uint64_t from = MAX(MIN(since, wall_us), info->not_before_us);
    if (info->queue_timeout_us == 0 || info->attempt > 0)
        return 0;
    uint64_t left = from > wall_us                ? from - wall_us + info->queue_timeout_us
        : wall_us - from < info->queue_timeout_us ? info->queue_timeout_us - (wall_us - from)
                                                  : 0;
    return clock_monotonic_us() + left;
}

/* What it asked for or, for nothing, an equal share of the node; never more than there is, or it would wait for ever. */
struct queue_need schedule_need(const struct task *task)
{
    const struct engine_options *o = &task->engine->options;
    const struct tw_limits *asked = &task->record.spec.limits;
    uint64_t cpu = asked->cpu_millis ? asked->cpu_millis : o->cpu_millis / o->max_running;
    uint64_t memory = asked->memory_bytes ? asked->memory_bytes : o->memory_bytes / o->max_running;
    return (struct queue_need){
        .cpu_millis = MIN(cpu, o->cpu_millis),
        .memory_bytes = MIN(memory, o->memory_bytes),
        .gpus = {.whole = task->record.spec.gpus, .memory_bytes = task->record.spec.gpu_memory_bytes},
    };
}

void schedule_set_totals(struct engine *engine)
{
    const struct engine_options *o = &engine->options;
    struct queue_need total = {
        .cpu_millis = o->cpu_millis * engine->overcommit / 1000, .memory_bytes = o->memory_bytes};
    queue_set_total(&engine->queue, &total);
    map_for_each (it, &engine->tasks) {
        struct task *task = it->value;
        struct queue_need need = schedule_need(task);
        if (!task->entry.running)
            queue_set_need(&engine->queue, &task->entry, &need);
    }
}

/* Whoever came last and is still here waits: its data can wait on disk. */
static void spare_memory(struct engine *engine)
{
    struct task *task = engine->came_last;
    if (!task || !(task->entry.in || task->held) || task->record.spec.data_len <= QUEUED_DATA_MAX)
        return;
    free(task->record.spec.data);
    task->record.spec.data = NULL;
}

/* A retry waits for a span of time, which a clock that was set back does not make longer. */
static void bound_delay(struct tw_task_info *info, const struct task *task, uint64_t wall_us)
{
    if (info->attempt > 0)
        info->not_before_us = MIN(info->not_before_us, wall_us + task_retry_delay(task));
}

void engine_enqueue(struct task *task, bool front)
{
    struct engine *engine = task->engine;
    struct tw_task_info *info = &task->record.info;
    struct store_spec *spec = &task->record.spec;
    uint64_t now = clock_wall_us();
    bound_delay(info, task, now);
    task->queue_bytes = record_bytes(&task->record) + (spec->data ? MIN(spec->data_len, (size_t)QUEUED_DATA_MAX) : 0);
    engine->queue_bytes += task->queue_bytes;
    if (engine->came_last != task)
        spare_memory(engine);
    engine->came_last = task;
    if (task->n_after_left > 0 || info->paused) {
        task->held = true;
        engine->held++;
        return;
    }
    task->entry.need = schedule_need(task);
    task->entry.priority = info->priority;
    task->entry.not_before_us = info->not_before_us;
    task->entry.deadline_us = deadline_of(task, now);
    queue_add(&engine->queue, &task->entry, front, now);
}

/* It is out of the queue. */
static void leaves(struct task *task)
{
    task->engine->queue_bytes -= task->queue_bytes;
    task->queue_bytes = 0;
}

void engine_dequeue(struct task *task)
{
    if (task->held) {
        task->held = false;
        task->engine->held--;
        task->released_us = clock_wall_us();
    } else {
        queue_remove(&task->engine->queue, &task->entry);
    }
    leaves(task);
}

static void end_expired(struct engine *engine)
{
    struct queue_entry *e;
    while ((e = queue_take_expired(&engine->queue, clock_monotonic_us()))) {
        struct task *task = CONTAINER_OF(e, struct task, entry);
        leaves(task);
        if (task->record.info.not_before_us > clock_wall_us()) {
            engine_enqueue(task, false); /* the clock was set back: it has not had its chance */
        } else if (!task_finish_unstarted(task, TW_TASK_FAILED, TW_REASON_TIMEOUT_QUEUE, NULL)) {
            engine_enqueue(task, true);
            engine_pause(engine, "out of memory");
            return;
        }
    }
}

/* Those that wait for a retry sleep until a time that may have gone far away. */
static void notice_clock(struct engine *engine)
{
    int64_t ahead = (int64_t)(clock_wall_us() - clock_monotonic_us()), before = engine->wall_ahead_us;
    engine->wall_ahead_us = ahead;
    if (before - ahead < CLOCK_STEP_US)
        return;
    log_info("the clock was set back by %.0f s", (double)(before - ahead) / 1e6);
    map_for_each (it, &engine->tasks) {
        struct task *task = it->value;
        if (!task->entry.asleep || task->record.info.attempt == 0)
            continue;
        engine_dequeue(task);
        engine_enqueue(task, false);
    }
}

static void on_alarm(uv_timer_t *timer)
{
    engine_schedule(timer->data);
}

static void set_alarm(struct engine *engine)
{
    uint64_t us = engine->draining ? UINT64_MAX : queue_next_us(&engine->queue, clock_wall_us(), clock_monotonic_us());
    if (us == UINT64_MAX) {
        uv_timer_stop(engine->alarm);
        return;
    }
    uv_update_time(engine->options.loop);
    uv_timer_start(engine->alarm, on_alarm, MIN(us / 1000 + 1, (uint64_t)LONGEST_SLEEP_MS), 0);
}

void engine_schedule(struct engine *engine)
{
    struct queue_entry *e;
    /* An attempt that fails at once comes back here: the loop below goes on by itself. */
    if (!engine->started || engine->scheduling)
        return;
    engine->scheduling = true;
    notice_clock(engine);
    if (!engine->draining) {
        end_expired(engine);
        queue_wake(&engine->queue, clock_wall_us());
    }
    while (!engine->draining && !engine->paused && !engine->stalled && engine->running < engine->options.max_running &&
        (e = queue_take(&engine->queue, clock_monotonic_us()))) {
        struct task *task = CONTAINER_OF(e, struct task, entry);
        leaves(task);
        attempt_start(task);
    }
    engine->scheduling = false;
    spare_memory(engine);
    set_alarm(engine);
}

/* What there is too little of. */
static const char *why_too_much(const struct queue *q, const struct queue_need *need)
{
    static char text[160];
    uint64_t cpu = q->total.cpu_millis - MIN(q->used.cpu_millis, q->total.cpu_millis);
    uint64_t memory = q->total.memory_bytes - MIN(q->used.memory_bytes, q->total.memory_bytes);
    if (!gpus_could_fit(&q->gpus, &need->gpus))
        snprintf(text, sizeof text, "waits for GPUs that this node does not have any more");
    else if (need->gpus.whole && !gpus_fit(&q->gpus, &need->gpus))
        snprintf(text, sizeof text, "waits for %u %s, of which %zu %s free", need->gpus.whole,
            need->gpus.whole == 1 ? "GPU" : "GPUs", gpus_free(&q->gpus), gpus_free(&q->gpus) == 1 ? "is" : "are");
    else if (!gpus_fit(&q->gpus, &need->gpus))
        snprintf(text, sizeof text, "waits for %.0f MiB of a GPU's memory, of which %.0f are free at most",
            (double)need->gpus.memory_bytes / (1 << 20), (double)gpus_largest_share(&q->gpus) / (1 << 20));
    else if (q->total.cpu_millis && need->cpu_millis > cpu)
        snprintf(text, sizeof text, "waits for %.4g processors, of which %.4g are free",
            (double)need->cpu_millis / 1000, (double)cpu / 1000);
    else
        snprintf(text, sizeof text, "waits for %.0f MiB of memory, of which %.0f are free",
            (double)need->memory_bytes / (1 << 20), (double)memory / (1 << 20));
    return text;
}

/* With an equal share that is free again with any slot; what was asked for may lack though one is. */
static bool asks_for_much(const struct task *task)
{
    const struct store_spec *spec = &task->record.spec;
    return spec->limits.memory_bytes || spec->limits.cpu_millis || spec->gpus || spec->gpu_memory_bytes;
}

/* It could start, but for another that has waited for longer. */
static const char *why_kept(const struct engine *engine, const struct task *task)
{
    static char text[160];
    const struct queue_entry *e =
        task->entry.asleep ? NULL : queue_kept_from(&engine->queue, &task->entry, clock_monotonic_us());
    if (!e)
        return queue_why(&engine->queue, &task->entry);
    snprintf(text, sizeof text, "waits behind task %s, which has waited for longer for what both need",
        CONTAINER_OF(e, struct task, entry)->record.info.id);
    return text;
}

const char *engine_why_queued(const struct task *task)
{
    const struct engine *engine = task->engine;
    const char *held = task_why_held(task);
    if (held)
        return held;
    if (engine->draining)
        return "waits for the next start of the node";
    if (engine->trouble && !task->entry.asleep)
        return engine->trouble;
    bool too_much = !task->entry.asleep && !queue_has_free(&engine->queue, &task->entry.need);
    if (too_much && asks_for_much(task))
        return why_too_much(&engine->queue, &task->entry.need);
    if (engine->running >= engine->options.max_running && !task->entry.asleep)
        return "waits for a free slot";
    if (too_much)
        return why_too_much(&engine->queue, &task->entry.need);
    return why_kept(engine, task);
}

/* --- how fast it goes --- */

enum { RETRY_MIN_MS = 100, RETRY_MAX_MS = 60000, RETRY_UNKNOWN_MS = 1000, PACE_WEIGHT = 8 };

void schedule_note_end(struct engine *engine)
{
    uint64_t now = clock_monotonic_us(), passed = now - engine->last_end_us;
    if (engine->last_end_us)
        engine->pace_us = engine->pace_us ? (engine->pace_us * (PACE_WEIGHT - 1) + passed) / PACE_WEIGHT : passed;
    engine->last_end_us = engine->queue.len > 0 ? now : 0; /* what passes while nobody waits says nothing */
}

/* Twice the time in which a place becomes free, since others wait for it too; longer if nothing has ended for that long. */
uint32_t schedule_retry_ms(const struct engine *engine)
{
    if (!engine->pace_us)
        return RETRY_UNKNOWN_MS;
    uint64_t since = engine->last_end_us ? clock_monotonic_us() - engine->last_end_us : 0;
    uint64_t pace = MAX(engine->pace_us, since);
    return (uint32_t)MIN(MAX(2 * pace / 1000, (uint64_t)RETRY_MIN_MS), (uint64_t)RETRY_MAX_MS);
}

/* --- trouble on the node's side --- */

static void on_resume(uv_timer_t *timer)
{
    struct engine *engine = timer->data;
    engine->paused = false;
    engine_schedule(engine);
}

static void note_trouble(struct engine *engine, const char *why)
{
    if (!engine->trouble)
        log_warning("no task is started for now: %s", why);
    if (!engine->trouble || strcmp(engine->trouble, why) != 0) {
        free(engine->trouble);
        engine->trouble = strdup(why);
    }
}

void engine_stall(struct engine *engine, const char *why)
{
    engine->stalled = why;
    if (why)
        note_trouble(engine, why);
    else
        engine_works(engine);
}

void engine_pause(struct engine *engine, const char *why)
{
    note_trouble(engine, why);
    if (engine->paused)
        return;
    engine->paused = true;
    uv_timer_start(engine->resume, on_resume, engine->resume_ms, 0);
    engine->resume_ms = MIN(engine->resume_ms * 2, (unsigned)RESUME_MAX_MS);
}

void engine_works(struct engine *engine)
{
    if (engine->stalled || (!engine->trouble && !engine->paused))
        return;
    log_info("tasks are started again");
    free(STEAL(engine->trouble));
    engine->paused = false;
    engine->resume_ms = RESUME_FIRST_MS;
    uv_timer_stop(engine->resume);
    /* Who calls this is in the middle of something: the queue has its turn when that is done. */
    uv_timer_start(engine->resume, on_resume, 0, 0);
}

/* --- its timers --- */

int schedule_init(struct engine *engine)
{
    engine->wall_ahead_us = (int64_t)(clock_wall_us() - clock_monotonic_us());
    engine->resume_ms = RESUME_FIRST_MS;
    engine->resume = timer_new(engine->options.loop, engine);
    engine->alarm = timer_new(engine->options.loop, engine);
    engine->loosen = timer_new(engine->options.loop, engine);
    list_init(&engine->loose);
    if (engine->resume && engine->alarm && engine->loosen)
        return 0;
    schedule_done(engine);
    return -ENOMEM;
}

void schedule_done(struct engine *engine)
{
    free(STEAL(engine->trouble));
    timer_free(&engine->resume);
    timer_free(&engine->alarm);
    timer_free(&engine->loosen);
}
