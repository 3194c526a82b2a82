/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One attempt of one task, from a free slot to an end on disk.
 *
 *   ALLOCATED  the slot is counted; the input is read back from the store if it is not in memory
 *   PREPARING  the runtime makes the sandbox while the store makes the attempt durable; both must be through before the
 *              task's first instruction runs, so that a crash never runs a task twice that asked for no retries
 *   RUNNING    output goes to the log, the wall clock ticks
 *   then       the runtime reports the end, the slot is free again, and ending.c writes the verdict
 *
 * What fails on the node's side before the task's first instruction is no attempt: the task goes back to the queue's head,
 * and the engine starts nothing for a moment, so that a node in trouble waits instead of failing its queue.
 *
 * A wish to end the task early (stop, time-out, shutdown) can come at any of these points. It is kept as the reason in
 * task->end_asked, the run is killed if there is one, and every step looks at it before it goes on.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "task/attempt.h"
#include "task/gpu_env.h"
#include "task/outputs.h"

enum { MAX_FALSE_STARTS = 5, USAGE_EVERY_US = 100 * 1000 };

static const char stopped_before_it_began[] = "the node was shut down before it had begun";

void attempt_unref(struct attempt *a)
{
    if (--a->refs)
        return;
    free(a->final_message);
    free(a->final_error);
    free(a->result);
    free(a);
}

static void on_timer_closed(uv_handle_t *handle)
{
    attempt_unref(handle->data);
}

struct attempt *attempt_new(struct task *task)
{
    struct attempt *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->task = task;
    a->refs = 2;
    uv_timer_init(task->engine->options.loop, &a->timer);
    a->timer.data = a;
    task->attempt = a;
    return a;
}

void attempt_release(struct attempt *a)
{
    const struct engine_preparing *preparing = &a->task->engine->options.preparing;
    if (a->environment && preparing->release)
        preparing->release(preparing->ctx, a->environment);
    store_log_free(STEAL(a->log));
    a->task->attempt = NULL;
    a->task = NULL;
    uv_close((uv_handle_t *)&a->timer, on_timer_closed);
    attempt_unref(a);
}

void attempt_give_slot_back(struct attempt *a)
{
    if (!a->holds_slot)
        return;
    a->holds_slot = false;
    a->task->engine->running--;
    queue_finished(&a->task->engine->queue, &a->task->entry);
}

/* --- ends --- */

void task_requeue(struct task *task, const char *message, bool front)
{
    task_move(task, TW_TASK_QUEUED);
    task->record.info.usage = (struct tw_usage){0};
    task_set_message(task, "%s" TASK_AGAIN, message);
    engine_enqueue(task, front);
}

enum tw_task_state attempt_state_for(enum tw_reason reason)
{
    return reason == TW_REASON_STOPPED_BY_USER || reason == TW_REASON_SHUTDOWN ? TW_TASK_STOPPED : TW_TASK_FAILED;
}

static void finish_early(struct attempt *a, enum tw_reason reason)
{
    struct verdict v = {.state = attempt_state_for(reason), .reason = reason};
    attempt_finish(a, &v);
}

static void fail(struct attempt *a, enum tw_reason reason, const char *message)
{
    struct verdict v = {.state = TW_TASK_FAILED, .reason = reason, .message = message};
    attempt_finish(a, &v);
}

/* It has not come to its first instruction, and that was no attempt: to the queue's head. */
static void put_back(struct attempt *a, const char *message)
{
    struct task *task = a->task;
    if (task->record.info.state == TW_TASK_PREPARING)
        task->record.info.attempt--;
    task->end_asked = TW_REASON_NONE;
    if (a->written) {
        attempt_turn_in(a, message);
        return;
    }
    attempt_give_slot_back(a);
    attempt_release(a);
    task_requeue(task, message, true);
    engine_check_drained(task->engine);
}

/*
 * The node could not begin the task. It waits at the head of the queue for better times; only when others have begun in
 * between, again and again, is it taken to be the task's own fault.
 */
static void false_start(struct attempt *a, const char *message)
{
    struct task *task = a->task;
    struct engine *engine = task->engine;
    message = message ? message : "its sandbox could not be made";
    if (engine->begun != task->begun_seen)
        task->false_starts++;
    task->begun_seen = engine->begun;
    if (task->false_starts > MAX_FALSE_STARTS) {
        fail(a, TW_REASON_SANDBOX_ERROR, message);
        return;
    }
    log_debug("task %s goes back to the queue: %s", task->record.info.id, message);
    engine_pause(engine, message);
    put_back(a, message);
}

uint64_t task_retry_delay(const struct task *task)
{
    const struct tw_task_info *info = &task->record.info;
    uint64_t delay = info->retry_delay_us, max = MAX(task->engine->options.max_retry_delay_us, delay);
    for (uint32_t n = 1; n < info->attempt && delay < max; n++)
        delay *= 2;
    return MIN(delay, max);
}

static bool may_try_again(const struct task *task, enum tw_reason reason)
{
    const struct tw_task_info *info = &task->record.info;
    return info->attempt <= info->retries && tw_reason_is_retried(reason);
}

static void end_or_try_again(struct attempt *a, const struct verdict *v)
{
    /* What was lost or stopped with the node is run again at once. */
    bool at_once = v->reason == TW_REASON_LOST || v->reason == TW_REASON_SHUTDOWN;
    if (may_try_again(a->task, v->reason))
        attempt_try_again(a, v, at_once ? 0 : task_retry_delay(a->task));
    else
        attempt_finish(a, v);
}

static void on_ended(void *ctx, const struct run_outcome *outcome)
{
    struct attempt *a = ctx;
    struct task *task = a->task;
    struct engine *engine = task->engine;
    bool begun = task->record.info.state == TW_TASK_RUNNING;
    struct verdict v = {
        .reason = verdict_reason(outcome, begun),
        .message = outcome->limit == TW_REASON_NONE ? outcome->message : NULL,
        .error = outcome->error,
        .exit_code = outcome->end == RUN_EXITED ? outcome->exit_code : 0,
        .signal = outcome->end == RUN_SIGNALED ? outcome->signal : 0,
        .usage = outcome->usage,
        .receipt = verdict_receipt(outcome, a, begun),
    };
    a->run = NULL;
    task->record.info.pid = 0;
    outputs_settle(a, outcome, &v);
    if (!begun && task->end_asked == TW_REASON_SHUTDOWN) {
        put_back(a, stopped_before_it_began);
        return;
    }
    if (v.receipt.denied)
        log_info("task %s: system calls that its filter refused: %s (%llu in all)", task->record.info.id,
            v.receipt.denied_calls, (unsigned long long)v.receipt.denied);
    if (!v.usage.wall_us && a->begun_us)
        v.usage.wall_us = clock_monotonic_us() - a->begun_us;
    /* One that had ended well just before, has. But what printed too much did so before it ended. */
    if (task->end_asked == TW_REASON_OUTPUT_LIMIT ||
        (task->end_asked != TW_REASON_NONE && (v.reason != TW_REASON_NONE || a->terminated))) {
        v.reason = task->end_asked;
        v.message = NULL;
        v.state = attempt_state_for(v.reason);
        verdict_take_result(&v, a, outcome);
        end_or_try_again(a, &v);
    } else if (a->cannot_begin) {
        false_start(a, a->why.message);
    } else if (!begun && (v.reason == TW_REASON_LOST || v.reason == TW_REASON_SANDBOX_ERROR)) {
        false_start(a, outcome->message);
    } else {
        v.state = v.reason == TW_REASON_NONE ? TW_TASK_COMPLETED : TW_TASK_FAILED;
        verdict_take_result(&v, a, outcome);
        end_or_try_again(a, &v);
    }
    engine_schedule(engine);
}

/* --- the way there --- */

static void on_wall_timeout(uv_timer_t *timer)
{
    struct attempt *a = timer->data;
    task_end_early(a->task, TW_REASON_TIMEOUT_WALL);
}

void attempt_start_wall_clock(struct attempt *a)
{
    a->wall_from_us = clock_monotonic_us();
    uv_update_time(a->timer.loop);
    uv_timer_start(&a->timer, on_wall_timeout, (a->wall_left_us + 999) / 1000, 0);
}

static void go_if_ready(struct attempt *a)
{
    struct task *task = a->task;
    struct tw_task_info *info = &task->record.info;
    if (!a->ready || !a->durable || !a->run || a->cannot_begin || task->end_asked != TW_REASON_NONE || info->paused)
        return;
    task_move(task, TW_TASK_RUNNING);
    task_set_message(task, "running");
    task->engine->begun++;
    engine_works(task->engine);
    info->started_us = clock_wall_us();
    a->begun_us = clock_monotonic_us();
    a->wall_left_us = info->timeout_us;
    attempt_start_wall_clock(a);
    a->run->rt->ops->go(a->run);
}

void attempt_pause(struct attempt *a, bool paused)
{
    struct task *task = a->task;
    if (task->record.info.state != TW_TASK_RUNNING) {
        if (!paused)
            go_if_ready(a);
        return;
    }
    if (!a->run || a->ending || a->outputs.begun || task->end_asked != TW_REASON_NONE || !a->run->rt->ops->pause)
        return;
    if (paused) {
        uint64_t passed = clock_monotonic_us() - a->wall_from_us;
        a->wall_left_us -= MIN(passed, a->wall_left_us);
        uv_timer_stop(&a->timer);
    } else {
        attempt_start_wall_clock(a);
    }
    a->run->rt->ops->pause(a->run, paused);
    task_set_message(task, paused ? "paused on request" : "running");
}

static void on_ready(void *ctx)
{
    struct attempt *a = ctx;
    a->ready = true;
    go_if_ready(a);
}

static void on_output(void *ctx, enum tw_stream stream, const void *data, size_t len)
{
    struct attempt *a = ctx;
    struct tw_task_info *info = &a->task->record.info;
    bool over = false;
    if (a->log) {
        over =
            store_log_append(a->log, stream, data, len) < len && store_log_size(a->log, NULL) >= a->limits.output_bytes;
        /* The log has the output of all attempts, also of those before a restart. */
        info->log_size = store_log_size(a->log, &info->log_truncated);
    } else if (len > 0) {
        info->log_truncated = true;
    }
    list_for_each_safe (it, &a->task->watches) {
        struct engine_watch *watch = CONTAINER_OF(it, struct engine_watch, link);
        watch->changed(watch, false, NULL);
    }
    if (over && a->task->engine->options.stop_on_output_limit)
        task_end_early(a->task, TW_REASON_OUTPUT_LIMIT);
}

const struct run_events attempt_events = {
    .ready = on_ready, .output = on_output, .file = outputs_on_file, .ended = on_ended, .left = handover_left};

void attempt_turn_back(struct attempt *a, const struct tw_error *why)
{
    a->cannot_begin = true;
    a->why = *why;
    attempt_kill(a);
}

static void on_attempt_durable(void *ctx, const struct tw_error *error)
{
    struct attempt *a = ctx;
    struct task *task = a->task;
    attempt_unref(a);
    if (!task || !a->run)
        return;
    a->durable = !error;
    if (!error) {
        go_if_ready(a);
        return;
    }
    a->written = false;
    attempt_turn_back(a, error);
}

/* With gpus, which has to last as long as it is used. */
static int make_spec(struct attempt *a, struct run_spec *ret, struct gpu_env *gpus)
{
    struct task *task = a->task;
    struct store_task *record = &task->record;
    enum tw_network network;
    spec_resolve(task->engine, &record->spec, &a->limits, &network);
    *ret = (struct run_spec){
        .task_id = record->info.id,
        .type = record->info.type,
        .owner = record->info.owner,
        .data = record->spec.data,
        .data_len = record->spec.data_len,
        .args = (const char *const *)record->spec.args,
        .n_args = record->spec.n_args,
        .env = (const struct run_env *)record->spec.env,
        .n_env = record->spec.n_env,
        .max_result = task->engine->options.max_result_size,
        .limits = a->limits,
        .inputs = record->spec.inputs_set,
        .environment = a->environment,
        .outputs = (const char *const *)record->spec.outputs,
        .n_outputs = record->spec.n_outputs,
        .network = network,
        .fresh_interpreter = record->spec.fresh_interpreter,
    };
    return gpu_env_make(task, ret, gpus);
}

static void start_run(struct attempt *a, const struct run_spec *spec)
{
    struct engine *engine = a->task->engine;
    struct store_task *record = &a->task->record;
    struct runtime *rt = engine->options.runtime;
    struct tw_error error;
    task_set_message(a->task, "its sandbox is being made");
    a->run = rt->ops->start(rt, spec, &attempt_events, a, &error);
    free(STEAL(record->spec.data)); /* a further attempt reads it back */
    if (!a->run) {
        false_start(a, error.message);
        return;
    }
    a->refs++;
    a->written = true;
    store_attempt(
        engine->options.store, record->seq, record->info.attempt, record->info.started_us, on_attempt_durable, a);
}

/* Whether it is not to go on to where it was going, for what was asked meanwhile; then it has been dealt with. */
static bool turned_away(struct attempt *a)
{
    struct task *task = a->task;
    if (task->end_asked == TW_REASON_SHUTDOWN)
        put_back(a, stopped_before_it_began);
    else if (task->end_asked != TW_REASON_NONE)
        finish_early(a, task->end_asked);
    else if (a->cannot_begin)
        false_start(a, a->why.message);
    else
        return false;
    return true;
}

/* --- what it needs --- */

/* It took a while: what it may use can be something else by now. */
static void start_prepared(struct attempt *a)
{
    struct run_spec spec;
    CLEANUP(gpu_env_done) struct gpu_env gpus;
    if (make_spec(a, &spec, &gpus) < 0)
        false_start(a, "out of memory");
    else
        start_run(a, &spec);
}

static void on_prepared(void *ctx, const struct engine_prepared *p)
{
    struct attempt *a = ctx;
    struct task *task = a->task;
    struct engine *engine = task->engine;
    struct verdict v = {.state = TW_TASK_FAILED, .reason = p->reason, .message = p->message};
    a->preparation = NULL;
    a->environment = p->environment;
    if (p->reason != TW_REASON_NONE || task->end_asked != TW_REASON_NONE || a->cannot_begin)
        free(STEAL(task->record.spec.data));
    if (!turned_away(a)) {
        if (p->reason == TW_REASON_NONE)
            start_prepared(a);
        else if (p->reason == TW_REASON_LOST)
            false_start(a, p->message);
        else
            end_or_try_again(a, &v);
    }
    engine_schedule(engine);
}

static const struct engine_prepare_events prepare_events = {.output = on_output, .done = on_prepared};

/* The input is in memory: to the runtime with it, when all that it needs is there. */
static void prepare(struct attempt *a)
{
    struct task *task = a->task;
    struct engine *engine = task->engine;
    struct store_task *record = &task->record;
    const struct engine_preparing *preparing = &engine->options.preparing;
    struct run_spec spec;
    struct tw_error error = {0};
    CLEANUP(gpu_env_done) struct gpu_env gpus;
    task_move(task, TW_TASK_PREPARING);
    record->info.attempt++;
    record->info.started_us = clock_wall_us();
    if (make_spec(a, &spec, &gpus) < 0) {
        false_start(a, "out of memory");
        return;
    }
    a->log = store_log_open(engine->options.store, record->seq, (size_t)a->limits.output_bytes);
    if (a->log)
        record->info.log_size = store_log_size(a->log, &record->info.log_truncated);
    if (preparing->begin && preparing->begin(preparing->ctx, &spec, &prepare_events, a, &a->preparation, &error) < 0)
        false_start(a, error.message);
    else if (a->preparation)
        task_set_message(task, "what its package requires is being installed");
    else
        start_run(a, &spec);
}

static void on_input(void *ctx, const void *data, size_t len, const struct tw_error *error)
{
    struct attempt *a = ctx;
    struct task *task = a->task;
    attempt_unref(a);
    if (!task)
        return;
    struct engine *engine = task->engine;
    if (turned_away(a)) {
        /* it waits again, or is over */
    } else if (error && (error->code == TW_DATA_LOSS || error->code == TW_NOT_FOUND)) {
        fail(a, TW_REASON_STORAGE_ERROR, error->message);
    } else if (error) {
        false_start(a, error->message);
    } else if (!(task->record.spec.data = (uint8_t *)text_dup(data, len))) {
        false_start(a, "out of memory while its input was loaded");
    } else {
        task->record.spec.data_len = len;
        prepare(a);
    }
    engine_schedule(engine);
}

void attempt_start(struct task *task)
{
    struct engine *engine = task->engine;
    struct attempt *a = attempt_new(task);
    if (!a) {
        queue_finished(&engine->queue, &task->entry);
        engine_enqueue(task, true);
        engine_pause(engine, "out of memory");
        return;
    }
    a->holds_slot = true;
    engine->running++;
    task_move(task, TW_TASK_ALLOCATED);
    if (task->record.spec.data) {
        prepare(a);
    } else {
        a->refs++;
        store_load_input(engine->options.store, task->record.seq, on_input, a);
    }
}

/* --- while it runs --- */

void attempt_refresh_usage(struct attempt *a)
{
    struct tw_task_info *info = a->task ? &a->task->record.info : NULL;
    if (!info || info->state != TW_TASK_RUNNING || !a->run || a->ending)
        return;
    uint64_t now = clock_monotonic_us();
    if (a->usage_seen_us && now - a->usage_seen_us < USAGE_EVERY_US)
        return;
    const struct runtime_ops *ops = a->run->rt->ops;
    struct tw_usage usage = info->usage;
    a->usage_seen_us = now;
    if (ops->usage && ops->usage(a->run, &usage))
        info->usage = usage;
    info->usage.wall_us = now - a->begun_us;
    if (!info->pid && ops->pid)
        info->pid = ops->pid(a->run);
}

void attempt_drop(struct task *task)
{
    if (task->attempt)
        attempt_release(task->attempt);
}

bool task_finish_unstarted(struct task *task, enum tw_task_state state, enum tw_reason reason, const char *message)
{
    struct attempt *a = attempt_new(task);
    if (!a) {
        log_error("out of memory: task %s could not be ended", task->record.info.id);
        return false;
    }
    struct verdict v = {.state = state,
        .reason = reason,
        .message = message,
        .usage = task->record.info.usage,
        .receipt = task->record.info.receipt};
    attempt_finish(a, &v);
    return true;
}
