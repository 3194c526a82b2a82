/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine keeps every live task in one map and the waiting ones in a queue (queue.c). Whatever may free a slot or bring a
 * task calls engine_schedule() in schedule.c, which starts those whose turn it is until all slots are taken. What happens to
 * one task from there to its end is in attempt.c; here are the questions about tasks, and the way down.
 */
#include "task/task.h"

#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

/* --- questions --- */

struct task *engine_find(const struct engine *engine, const char *id)
{
    return map_get(&engine->tasks, id);
}

struct query {
    engine_task_cb cb;
    void *ctx;
};

/* With what it asked for, which is no part of the info that is kept. */
static void tell_task(const struct store_task *task, const struct tw_task_info *known, engine_task_cb cb, void *ctx)
{
    const struct store_spec *spec = &task->spec;
    const struct tw_asked asked = {
        .limits = spec->limits,
        .network = spec->network,
        .grace_us = spec->grace_us,
        .gpus = spec->gpus,
        .gpu_memory_bytes = spec->gpu_memory_bytes,
        .inputs = spec->inputs,
        .n_inputs = spec->n_inputs,
        .outputs = (const char *const *)spec->outputs,
        .n_outputs = spec->n_outputs,
    };
    struct tw_task_info info = *known;
    info.asked = &asked;
    cb(ctx, &info, task->seq, NULL);
}

static void on_stored_task(void *ctx, const struct store_task *stored, const struct tw_error *error)
{
    struct query *q = ctx;
    if (stored)
        tell_task(stored, &stored->info, q->cb, q->ctx);
    else
        q->cb(q->ctx, NULL, 0, error);
    free(q);
}

void engine_get(struct engine *engine, const char *id, engine_task_cb cb, void *ctx)
{
    struct task *task = engine_find(engine, id);
    struct query *q = task ? NULL : malloc(sizeof *q);
    if (task) {
        tell_task(&task->record, task_info(task), cb, ctx);
    } else if (!q) {
        struct tw_error error;
        error_oom(&error);
        cb(ctx, NULL, 0, &error);
    } else {
        *q = (struct query){.cb = cb, .ctx = ctx};
        store_get(engine->options.store, id, on_stored_task, q);
    }
}

void engine_get_status(const struct engine *engine, struct engine_status *ret)
{
    *ret = (struct engine_status){
        .running = engine->running,
        .queued = (unsigned)engine->queue.len + engine->held,
        .max_running = engine->options.max_running,
        .max_queued = engine->options.max_queued,
        .cpu_millis = engine->queue.total.cpu_millis,
        .memory_bytes = engine->queue.total.memory_bytes,
        .cpu_millis_used = engine->queue.used.cpu_millis,
        .memory_bytes_used = engine->queue.used.memory_bytes,
        .gpus = &engine->queue.gpus,
        .gpu = engine->options.gpus,
        .max_task_size = engine->options.max_task_size,
        .draining = engine->draining,
        .detach_seconds = engine->options.detach_seconds,
        .trouble = engine->trouble,
        .accepted = engine->accepted,
        .completed = engine->completed,
        .failed = engine->failed,
        .stopped = engine->stopped,
        .cache_hits = engine->cache_hits,
        .cache_misses = engine->cache_misses,
    };
}

void engine_set_limits(struct engine *engine, unsigned max_running, unsigned max_queued, uint64_t default_timeout_us)
{
    struct engine_options *o = &engine->options;
    o->max_running = max_running ? max_running : o->max_running;
    o->max_queued = max_queued ? max_queued : o->max_queued;
    o->default_timeout_us = default_timeout_us ? default_timeout_us : o->default_timeout_us;
    o->runtime->ops->resize(o->runtime, o->max_running);
    schedule_set_totals(engine);
    engine_schedule(engine);
}

void engine_set_overcommit(struct engine *engine, unsigned per_mille)
{
    engine->overcommit = per_mille;
    schedule_set_totals(engine);
    engine_schedule(engine);
}

void engine_set_task_limits(struct engine *engine, const struct engine_options *from)
{
    struct engine_options *o = &engine->options;
    o->task_limits = from->task_limits;
    o->task_network = from->task_network;
    o->max_task_network = from->max_task_network;
    o->stop_on_output_limit = from->stop_on_output_limit;
    o->default_queue_timeout_us = from->default_queue_timeout_us;
    o->cpu_millis = from->cpu_millis;
    o->memory_bytes = from->memory_bytes;
    o->max_queued_per_owner = from->max_queued_per_owner;
    o->retry_delay_us = from->retry_delay_us;
    o->max_retry_delay_us = from->max_retry_delay_us;
    o->grace_us = from->grace_us;
    o->detach_seconds = from->detach_seconds;
    queue_set_max_running_per_owner(&engine->queue, from->max_running_per_owner);
    schedule_set_totals(engine);
    engine_schedule(engine);
}

/* --- waiting and stopping --- */

static void wait_answer(struct engine_wait *wait, const struct tw_task_info *info, const void *result, size_t len,
    const struct tw_error *error)
{
    struct tw_error not_stopped;
    if (info && wait->for_stop && info->state != TW_TASK_STOPPED) {
        error_set(&not_stopped, TW_FAILED_PRECONDITION, "task %s has already ended (%s)", info->id,
            tw_task_state_to_string(info->state));
        error = &not_stopped;
    }
    list_remove(&wait->link);
    if (!wait->cancelled)
        wait->cb(wait->ctx, info, result, len, error);
    free(wait);
}

static void on_stored_end(void *ctx, const struct store_task *stored, const struct tw_error *error)
{
    struct engine_wait *wait = ctx;
    struct tw_error gone;
    if (stored && !task_state_is_final(stored->info.state)) {
        /* Admitted between our look into memory and the store's answer, or left for the next start: wait for it if it lives. */
        struct task *task = wait->engine->drained ? NULL : map_get(&wait->engine->tasks, stored->info.id);
        if (task) {
            list_push(&task->waits, &wait->link);
            if (wait->for_stop)
                task_end_early(task, TW_REASON_STOPPED_BY_USER);
            return;
        }
        error_set(&gone, TW_UNAVAILABLE, "task %s waits on disk for the next start of the node", stored->info.id);
        stored = NULL;
        error = &gone;
    }
    wait_answer(wait, stored ? &stored->info : NULL, NULL, 0, error);
}

static struct engine_wait *wait_new(struct engine *engine, const char *id, bool for_stop, engine_wait_cb cb, void *ctx)
{
    struct engine_wait *wait = calloc(1, sizeof *wait);
    if (!wait) {
        struct tw_error error;
        error_oom(&error);
        cb(ctx, NULL, NULL, 0, &error);
        return NULL;
    }
    *wait = (struct engine_wait){.cb = cb, .ctx = ctx, .for_stop = for_stop, .engine = engine};
    list_init(&wait->link);
    if (engine->drained) { /* nobody would tell it any more */
        struct tw_error error;
        error_set(&error, TW_UNAVAILABLE, "the node is shutting down");
        wait_answer(wait, NULL, NULL, 0, &error);
        return NULL;
    }
    struct task *task = map_get(&engine->tasks, id);
    if (task)
        list_push(&task->waits, &wait->link);
    else
        store_get(engine->options.store, id, on_stored_end, wait);
    return wait;
}

struct engine_wait *engine_wait(struct engine *engine, const char *id, engine_wait_cb cb, void *ctx)
{
    return wait_new(engine, id, false, cb, ctx);
}

void engine_wait_cancel(struct engine_wait *wait)
{
    if (!wait)
        return;
    if (list_empty(&wait->link)) {
        wait->cancelled = true; /* the store still holds it */
        return;
    }
    list_remove(&wait->link);
    free(wait);
}

void engine_stop(struct engine *engine, const char *id, engine_wait_cb cb, void *ctx)
{
    struct engine_wait *wait = wait_new(engine, id, true, cb, ctx);
    struct task *task = wait ? map_get(&engine->tasks, id) : NULL;
    if (task)
        task_end_early(task, TW_REASON_STOPPED_BY_USER);
}

bool engine_watch(struct engine *engine, const char *id, struct engine_watch *watch)
{
    struct task *task = map_get(&engine->tasks, id);
    if (task)
        list_push(&task->watches, &watch->link);
    else
        list_init(&watch->link);
    return task;
}

void engine_unwatch(struct engine_watch *watch)
{
    list_remove(&watch->link);
}

/* --- ends --- */

/* Those who hear of it may wait, watch or cancel again: the lists are emptied from the front. */
static void tell_all(struct task *task, const struct tw_task_info *info, const void *result, size_t result_len,
    const struct tw_error *error)
{
    while (!list_empty(&task->waits))
        wait_answer(LIST_FIRST(&task->waits, struct engine_wait, link), info, result, result_len, error);
    while (!list_empty(&task->watches)) {
        struct engine_watch *watch = LIST_FIRST(&task->watches, struct engine_watch, link);
        list_remove(&watch->link);
        watch->changed(watch, true, error);
    }
}

void engine_task_ended(struct task *task, const void *result, size_t result_len)
{
    struct engine *engine = task->engine;
    const struct tw_task_info *info = &task->record.info;
    engine->completed += info->state == TW_TASK_COMPLETED;
    engine->failed += info->state == TW_TASK_FAILED;
    engine->stopped += info->state == TW_TASK_STOPPED;
    schedule_note_end(engine);
    log_debug("task %s ended: %s, %s", info->id, tw_task_state_to_string(info->state), info->message);
    tell_all(task, info, result, result_len, NULL);
    task_tell_dependents(task);
    task_free(task);
    engine_check_drained(engine);
}

void engine_task_abandoned(struct task *task, const struct tw_error *error)
{
    struct engine *engine = task->engine;
    tell_all(task, NULL, NULL, 0, error);
    task_free(task);
    engine_check_drained(engine);
}

void engine_check_drained(struct engine *engine)
{
    if (!engine->draining || !engine->on_drained || engine->running || engine->finishing || engine->admitting.n ||
        !list_empty(&engine->loose))
        return;
    /* What is still here waits in the queue, and stays on disk. */
    map_for_each (it, &engine->tasks) {
        struct task *task = it->value;
        struct tw_error error;
        error_set(&error, TW_UNAVAILABLE, "the node is shutting down; task %s stays queued for its next start",
            task->record.info.id);
        tell_all(task, NULL, NULL, 0, &error);
    }
    void (*done)(void *ctx) = engine->on_drained;
    engine->on_drained = NULL;
    engine->drained = true;
    done(engine->on_drained_ctx);
}

void engine_shutdown(struct engine *engine, enum tw_shutdown how, void (*done)(void *ctx), void *ctx)
{
    if (!engine->draining) {
        engine->draining = true;
        engine->on_drained = done;
        engine->on_drained_ctx = ctx;
    }
    if (!engine->started)
        handover_forsake(engine);
    else if (how == TW_SHUTDOWN_DETACH)
        handover_begin(engine);
    map_for_each (it, &engine->tasks) {
        struct task *task = it->value;
        if (how == TW_SHUTDOWN_STOP && task->attempt)
            task_end_early(task, TW_REASON_SHUTDOWN);
    }
    engine_check_drained(engine);
}

/* --- life --- */

struct recovery {
    struct engine *engine;
    unsigned queued, kept, ended, again, lost;
    bool oom;
    struct tw_error error; /* of a write; code TW_OK: none */
};

/* Without it on disk the attempt would be forgotten: the start fails, and the next one finds all as it was. */
static void on_lost_written(void *ctx, const struct tw_error *error)
{
    struct recovery *r = ctx;
    if (error)
        r->error = *error;
}

/* Its attempt was lost, and there will be another. It waits at once, so that those that were handed in later come later. */
static void recover_again(struct recovery *r, struct task *task)
{
    struct tw_task_info ended = task->record.info;
    ended.reason = TW_REASON_LOST;
    ended.message = (char *)"the node stopped while it was running";
    ended.finished_us = clock_wall_us();
    r->again++;
    task_store_requeue(task, ended.not_before_us, ended.message, &ended, on_lost_written, r);
    task_requeue(task, ended.message, false);
}

/* One that is not to wait, or to be tried, again: somebody has asked for its end, or waited for it, and went with the node. */
static bool recover_end(struct recovery *r, struct task *task)
{
    const struct tw_task_info *info = &task->record.info;
    bool waited = info->state == TW_TASK_QUEUED && task->record.spec.for_caller;
    if (!info->stopping && !waited)
        return false;
    r->ended++;
    if (!task_finish_unstarted(task, TW_TASK_STOPPED, info->stopping ? TW_REASON_STOPPED_BY_USER : TW_REASON_SHUTDOWN,
            waited ? "its caller went with the node" : NULL))
        r->oom = true;
    return true;
}

/* A task that the last run of the node left behind. */
static void recover_task(void *ctx, struct store_task *record)
{
    struct recovery *r = ctx;
    struct task *task = task_new(r->engine, record);
    if (!task) {
        store_task_done(record);
        r->oom = true;
        return;
    }
    struct tw_task_info *info = &task->record.info;
    if (handover_take_up(task)) {
        r->kept++;
    } else if (recover_end(r, task)) {
        /* counted there */
    } else if (info->state == TW_TASK_QUEUED) {
        r->queued++;
        task_begin_waiting(task);
    } else if (info->attempt <= info->retries && !task->record.spec.for_caller) {
        recover_again(r, task);
    } else {
        r->lost++;
        if (!task_finish_unstarted(task, TW_TASK_FAILED, TW_REASON_LOST, "the node stopped while the task was running"))
            r->oom = true;
    }
}

int engine_new(const struct engine_options *options, struct engine **ret, struct tw_error *error)
{
    struct engine *engine = calloc(1, sizeof *engine);
    if (!engine)
        return error_oom(error);
    engine->options = *options;
    if (!engine->options.runtime_version)
        engine->options.runtime_version = "";
    map_init(&engine->tasks);
    map_init(&engine->input_sets);
    map_init(&engine->cache);
    engine->overcommit = 1000;
    queue_init(&engine->queue, options->max_running_per_owner);
    uint64_t gpu_memory[GPUS_MAX];
    for (size_t i = 0; i < options->n_gpus; i++)
        gpu_memory[i] = options->gpus[i].memory_bytes;
    queue_set_gpus(&engine->queue, gpu_memory, options->n_gpus);
    schedule_set_totals(engine);
    if (schedule_init(engine) < 0) {
        free(engine);
        return error_oom(error);
    }
    struct recovery r = {.engine = engine};
    int recovered = store_recover(options->store, recover_task, &r, error);
    if (recovered == 0 && r.error.code != TW_OK) {
        *error = r.error;
        recovered = -1;
    }
    if (recovered < 0 || (r.oom && error_oom(error) < 0)) {
        engine_free(engine);
        return -1;
    }
    if (r.queued + r.kept + r.ended + r.again + r.lost)
        log_info("taken up from the last run: %u queued tasks, %u that run, %u to run again, %u lost, %u to be ended",
            r.queued, r.kept, r.again, r.lost, r.ended);
    *ret = engine;
    return 0;
}

void engine_start(struct engine *engine)
{
    engine->started = true;
    handover_take_over(engine);
    engine_schedule(engine);
}

void engine_free(struct engine *engine)
{
    if (!engine)
        return;
    for (;;) {
        struct task *task = NULL;
        map_for_each (it, &engine->tasks) {
            task = it->value;
            break;
        }
        if (!task)
            break;
        attempt_drop(task);
        task_free(task);
    }
    map_done(&engine->tasks);
    map_done(&engine->input_sets);
    map_done(&engine->cache);
    queue_done(&engine->queue);
    schedule_done(engine);
    free(engine);
}
