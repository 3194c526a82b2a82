/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tasks that go on while the engine is replaced by another one. On disk nothing changes: the task is RUNNING, with its
 * attempt, before and after. The engine that goes gives each run to the runtime, which keeps it, and forgets the task. The
 * one that comes finds the task RUNNING in the store and asks the runtime for its run; what the runtime does not have is
 * lost, as after a crash. Whatever is not yet, or not any more, simply running stays with the engine that goes: who is being
 * prepared goes back to the queue, who is ending ends.
 */
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "task/attempt.h"
#include "task/gpu_env.h"

/* --- leaving --- */

void handover_left(void *ctx)
{
    struct attempt *a = ctx;
    struct task *task = a->task;
    struct tw_error error;
    log_info("task %s goes on without this node", task->record.info.id);
    error_set(&error, TW_UNAVAILABLE, "the node is being restarted; task %s goes on, and so can you when it is back",
        task->record.info.id);
    a->run = NULL;
    attempt_give_slot_back(a);
    attempt_release(a);
    engine_task_abandoned(task, &error);
}

static void leave(struct attempt *a)
{
    struct task *task = a->task;
    const struct queue_need *held = &task->entry.need;
    struct run_carried carried = {.begun_us = a->begun_us,
        .wall_from_us = a->wall_from_us,
        .wall_left_us = a->wall_left_us,
        .held_cpu_millis = held->cpu_millis,
        .held_memory_bytes = held->memory_bytes};
    struct tw_error error;
    if (task->record.spec.for_caller)
        task_end_early(task, TW_REASON_SHUTDOWN); /* who waits for it goes with the node */
    if (a->ending || task->end_asked != TW_REASON_NONE || a->cannot_begin)
        return; /* over in a moment */
    if (task->record.info.state == TW_TASK_RUNNING && a->run) {
        if (!a->run->rt->ops->leave)
            return; /* it cannot go on without us: its end is awaited */
        uv_timer_stop(&a->timer);
        a->run->rt->ops->leave(a->run, &carried);
    } else {
        error_set(&error, TW_UNAVAILABLE, "the node was restarted before it began");
        attempt_turn_back(a, &error);
    }
}

static void on_detached(void *ctx, const struct tw_error *error)
{
    struct engine *engine = ctx;
    if (error) {
        engine->leaving = false;
        log_error("running tasks cannot be left to the next start, so their ends are awaited: %s", error->message);
        return;
    }
    map_for_each (it, &engine->tasks) {
        struct task *task = it->value;
        if (task->attempt)
            leave(task->attempt);
    }
}

void handover_begin(struct engine *engine)
{
    struct runtime *rt = engine->options.runtime;
    if (engine->leaving || engine->running == 0)
        return;
    if (!rt->ops->detach) {
        log_warning("running tasks cannot be left to the next start here, so their ends are awaited");
        return;
    }
    engine->leaving = true;
    rt->ops->detach(rt, engine->options.detach_seconds, on_detached, engine);
}

/* --- taking up --- */

bool handover_take_up(struct task *task)
{
    struct engine *engine = task->engine;
    struct runtime *rt = engine->options.runtime;
    struct store_task *record = &task->record;
    struct run_carried carried;
    struct attempt *a = rt->ops->take_up && record->info.state == TW_TASK_RUNNING ? attempt_new(task) : NULL;
    if (!a)
        return false;
    a->run = rt->ops->take_up(rt, record->info.id, &attempt_events, a, &carried);
    if (!a->run) {
        attempt_release(a);
        return false;
    }
    a->written = a->durable = a->ready = a->holds_slot = true;
    a->begun_us = carried.begun_us;
    a->wall_from_us = carried.wall_from_us;
    a->wall_left_us = carried.wall_left_us;
    a->limits = carried.limits;
    a->environment = carried.environment;
    a->log = store_log_open(engine->options.store, record->seq, (size_t)a->limits.output_bytes);
    if (a->log)
        record->info.log_size = store_log_size(a->log, &record->info.log_truncated);
    engine->running++;
    task->entry.need = (struct queue_need){.cpu_millis = carried.held_cpu_millis,
        .memory_bytes = carried.held_memory_bytes,
        .gpus = schedule_need(task).gpus};
    queue_hold(&engine->queue, &task->entry, gpu_env_devices(engine, carried.gpu_minors));
    task_set_message(task, record->info.paused ? "paused on request" : "running");
    return true;
}

void engine_set_preparing(struct engine *engine, const struct engine_preparing *preparing)
{
    engine->options.preparing = *preparing;
    map_for_each (it, &engine->tasks) {
        const struct task *task = it->value;
        if (task->attempt && task->attempt->environment)
            preparing->hold(preparing->ctx, task->attempt->environment);
    }
}

/* The time in which nobody looked counts too. */
static void start_clock(struct attempt *a)
{
    uint64_t passed = clock_monotonic_us() - a->wall_from_us;
    if (a->task->record.info.paused)
        return;
    a->wall_left_us -= MIN(passed, a->wall_left_us);
    attempt_start_wall_clock(a);
}

void handover_take_over(struct engine *engine)
{
    struct runtime *rt = engine->options.runtime;
    map_for_each (it, &engine->tasks) {
        struct task *task = it->value;
        if (task->attempt && task->attempt->run)
            start_clock(task->attempt);
    }
    if (!rt->ops->take_over)
        return;
    rt->ops->take_over(rt);
    map_for_each (it, &engine->tasks) {
        struct task *task = it->value;
        struct run *run = task->attempt ? task->attempt->run : NULL;
        if (run && run->rt->ops->pause) /* it may have been told to the store alone */
            run->rt->ops->pause(run, task->record.info.paused);
        if (run && task->record.info.stopping)
            task_end_early(task, TW_REASON_STOPPED_BY_USER);
    }
}

void handover_forsake(struct engine *engine)
{
    map_for_each (it, &engine->tasks) {
        struct task *task = it->value;
        struct attempt *a = task->attempt;
        struct run *run = a ? a->run : NULL;
        if (!run || !run->rt->ops->forsake)
            continue;
        a->run = NULL;
        run->rt->ops->forsake(run);
        attempt_give_slot_back(a);
        attempt_release(a);
    }
}
