/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One attempt of one task, from a free slot to an end on disk.
 *
 *   ALLOCATED  the slot is counted; the input is read back from the store if it is not in memory
 *   PREPARING  the runtime makes the sandbox while the store makes the attempt durable; both must be through before the
 *              task's first instruction runs, so that a crash never runs a task twice that asked for no retries
 *   RUNNING    output goes to the log, the wall clock ticks
 *   then       the runtime reports the end, the slot is free again, the verdict is written, and only when it is on disk
 *              does the task show its final state and do waiters hear of it
 *
 * A wish to end the task early (stop, time-out, shutdown) can come at any of these points. It is kept as the reason in
 * task->end_asked, the run is killed if there is one, and every step looks at it before it goes on.
 */
#include "task/task.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/text.h"

enum {
    FINISH_RETRY_MS = 500,
    MAX_FALSE_STARTS = 5,
    FINISH_TRIES_WITH_RESULT = 4, /* then the result is given up, so that at least the end is kept */
};

struct attempt {
    struct task *task;     /* NULL: released, only the references below still hold the memory */
    unsigned refs;         /* the task, the timer, and each store call on its way */
    struct run *run;       /* NULL before the runtime took it and after it ended */
    struct store_log *log; /* may be NULL (no memory): output is not kept then */
    uv_timer_t timer;      /* the wall clock while it runs, then the pause between two tries to write the end */
    bool holds_slot;
    bool durable; /* the attempt is on disk */
    bool ready;   /* the sandbox waits for its go */
    uint64_t started_monotonic_us;
    /* the end, kept until it is on disk */
    enum tw_task_state final_state;
    struct tw_task_info final; /* a shallow copy of the task's info with the end filled in; owns nothing but: */
    char *final_message, *final_error;
    uint8_t *result;
    size_t result_len;
    unsigned finish_tries;
};

static void write_end(struct attempt *a);

static void attempt_unref(struct attempt *a)
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

static struct attempt *attempt_new(struct task *task)
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

/* The attempt is over for the task. */
static void attempt_release(struct attempt *a)
{
    store_log_free(STEAL(a->log));
    a->task->attempt = NULL;
    a->task = NULL;
    uv_close((uv_handle_t *)&a->timer, on_timer_closed);
    attempt_unref(a);
}

static void give_slot_back(struct attempt *a)
{
    if (!a->holds_slot)
        return;
    a->holds_slot = false;
    a->task->engine->running--;
}

/* --- the end --- */

static void on_end_written(void *ctx, const struct tw_error *error);

static void on_retry_timer(uv_timer_t *timer)
{
    write_end(timer->data);
}

static void write_end(struct attempt *a)
{
    struct task *task = a->task;
    a->final = task->record.info;
    a->final.state = a->final_state;
    a->final.message = a->final_message ? a->final_message : task->record.info.message;
    a->final.error = a->final_error ? a->final_error : task->record.info.error;
    a->final.result_size = a->result_len;
    a->refs++;
    store_finish(task->engine->options.store, task->record.seq, &a->final, a->result, a->result_len, on_end_written, a);
}

/* A full disk, most likely. First without the result, then for as long as it takes; a node that goes down gives up. */
static void end_not_written(struct attempt *a, const struct tw_error *error)
{
    struct task *task = a->task;
    struct engine *engine = task->engine;
    a->finish_tries++;
    if (engine->draining && a->finish_tries > FINISH_TRIES_WITH_RESULT) {
        log_error("task %s: its end could not be written; the next start will call it lost: %s", task->record.info.id,
            error->message);
        attempt_release(a);
        engine->finishing--;
        engine_task_abandoned(task, error);
        return;
    }
    if (a->finish_tries == 1 || a->finish_tries == FINISH_TRIES_WITH_RESULT)
        log_error("task %s: its end could not be written, trying again: %s", task->record.info.id, error->message);
    if (a->finish_tries == FINISH_TRIES_WITH_RESULT && a->final_state == TW_TASK_COMPLETED) {
        free(STEAL(a->result));
        a->result_len = 0;
        a->final_state = TW_TASK_FAILED;
        task->record.info.reason = TW_REASON_STORAGE_ERROR;
        free(a->final_message);
        if (asprintf(&a->final_message, "it ended well, but its result could not be kept: %s", error->message) < 0)
            a->final_message = NULL;
    }
    uv_timer_start(&a->timer, on_retry_timer, FINISH_RETRY_MS, 0);
}

static void on_end_written(void *ctx, const struct tw_error *error)
{
    struct attempt *a = ctx;
    struct task *task = a->task;
    attempt_unref(a);
    if (!task)
        return;
    if (error) {
        end_not_written(a, error);
        return;
    }
    struct engine *engine = task->engine;
    struct tw_task_info *info = &task->record.info;
    task_move(task, a->final_state);
    info->result_size = a->result_len;
    if (a->final_message) {
        free(info->message);
        info->message = STEAL(a->final_message);
    }
    if (a->final_error) {
        free(info->error);
        info->error = STEAL(a->final_error);
    }
    CLEANUP_FREE uint8_t *result = STEAL(a->result);
    size_t result_len = a->result_len;
    attempt_release(a);
    engine->finishing--;
    engine_task_ended(task, result, result_len);
}

/* What the person is told when nothing better is known. */
static char *describe_end(const struct attempt *a, enum tw_reason reason)
{
    const struct tw_task_info *info = &a->task->record.info;
    const char *name;
    char *text = NULL;
    int n = 0;
    switch (reason) {
    case TW_REASON_NONE:
        n = asprintf(&text, "completed");
        break;
    case TW_REASON_EXIT_CODE:
        n = asprintf(&text, "ended with exit code %d", info->exit_code);
        break;
    case TW_REASON_SIGNAL:
        /* Not strsignal(), which has one buffer for all threads. Real-time signals have no name. */
        name = sigabbrev_np(info->signal);
        n = asprintf(
            &text, "killed by signal %d%s%s%s", info->signal, name ? " (SIG" : "", name ? name : "", name ? ")" : "");
        break;
    case TW_REASON_TIMEOUT_WALL:
        n = asprintf(&text, "ran longer than its time-out of %.3g s", (double)info->timeout_us / 1e6);
        break;
    case TW_REASON_STOPPED_BY_USER:
        n = asprintf(&text, "stopped on request");
        break;
    case TW_REASON_SHUTDOWN:
        n = asprintf(&text, "stopped because the node was shut down");
        break;
    case TW_REASON_OUTPUT_LIMIT:
        n = asprintf(&text, "its result is larger than the %llu bytes that this node keeps",
            (unsigned long long)a->task->engine->options.max_result_size);
        break;
    default:
        n = asprintf(&text, "%s", tw_reason_to_string(reason));
        break;
    }
    return n < 0 ? NULL : text;
}

/* Settles how the attempt's task ends and begins to write it. */
static void finish(struct attempt *a, enum tw_task_state state, enum tw_reason reason, const char *message)
{
    struct task *task = a->task;
    task->engine->finishing++;
    uv_timer_stop(&a->timer);
    give_slot_back(a);
    a->final_state = state;
    task->record.info.reason = reason;
    task->record.info.finished_us = clock_wall_us();
    a->final_message = message ? text_printable(message, strlen(message), 1000, false) : describe_end(a, reason);
    write_end(a);
}

static void on_requeued(void *ctx UNUSED, const struct tw_error *error)
{
    /* It runs again all the same; only a crash before its next attempt would end it as lost. */
    if (error)
        log_error("a lost attempt could not be noted: %s", error->message);
}

void task_requeue(struct task *task, const char *message)
{
    task_move(task, TW_TASK_QUEUED);
    task_set_message(task, "%s; waiting to run again", message);
    store_requeue(task->engine->options.store, task->record.seq, on_requeued, NULL);
    engine_enqueue(task);
}

static enum tw_task_state state_for(enum tw_reason reason)
{
    return reason == TW_REASON_STOPPED_BY_USER || reason == TW_REASON_SHUTDOWN ? TW_TASK_STOPPED : TW_TASK_FAILED;
}

/*
 * The node lost it, not the task's own doing: it runs again if it may. An attempt that had not begun does not count, but
 * a sandbox that dies under the same task again and again is its end.
 */
static void lose(struct attempt *a, const char *message)
{
    struct task *task = a->task;
    struct tw_task_info *info = &task->record.info;
    bool begun = info->state == TW_TASK_RUNNING;
    message = message ? message : "its sandbox was lost";
    if (begun ? info->attempt > info->retries : ++task->false_starts > MAX_FALSE_STARTS) {
        finish(a, TW_TASK_FAILED, begun ? TW_REASON_LOST : TW_REASON_SANDBOX_ERROR, message);
        return;
    }
    log_warning("task %s goes back to the queue: %s", info->id, message);
    if (!begun)
        info->attempt--;
    give_slot_back(a);
    attempt_release(a);
    task_requeue(task, message);
    engine_check_drained(task->engine);
}

static enum tw_reason reason_of(const struct run_outcome *outcome)
{
    switch (outcome->end) {
    case RUN_EXITED:
        if (outcome->exit_code)
            return TW_REASON_EXIT_CODE;
        return outcome->result_too_large ? TW_REASON_OUTPUT_LIMIT : TW_REASON_NONE;
    case RUN_SIGNALED:
        return TW_REASON_SIGNAL;
    case RUN_BAD_INPUT:
        return TW_REASON_BAD_INPUT;
    case RUN_SANDBOX_ERROR:
        return TW_REASON_SANDBOX_ERROR;
    case RUN_LOST:
        break;
    }
    return TW_REASON_LOST;
}

static void on_ended(void *ctx, const struct run_outcome *outcome)
{
    struct attempt *a = ctx;
    struct task *task = a->task;
    struct engine *engine = task->engine;
    struct tw_task_info *info = &task->record.info;
    a->run = NULL;
    info->usage = outcome->usage;
    info->exit_code = outcome->end == RUN_EXITED ? outcome->exit_code : 0;
    info->signal = outcome->end == RUN_SIGNALED ? outcome->signal : 0;
    if (outcome->error && *outcome->error)
        a->final_error = strdup(outcome->error);
    if (outcome->result_len && (a->result = (uint8_t *)text_dup(outcome->result, outcome->result_len)))
        a->result_len = outcome->result_len;

    enum tw_reason reason = reason_of(outcome);
    if (task->end_asked != TW_REASON_NONE && reason != TW_REASON_NONE) /* a task that had ended well just before, has */
        finish(a, state_for(task->end_asked), task->end_asked, NULL);
    else if (reason == TW_REASON_LOST)
        lose(a, outcome->message);
    else
        finish(a, reason == TW_REASON_NONE ? TW_TASK_COMPLETED : TW_TASK_FAILED, reason, outcome->message);
    engine_schedule(engine);
}

/* --- the way there --- */

static void on_wall_timeout(uv_timer_t *timer)
{
    struct attempt *a = timer->data;
    task_end_early(a->task, TW_REASON_TIMEOUT_WALL);
}

static void go_if_ready(struct attempt *a)
{
    struct task *task = a->task;
    if (!a->ready || !a->durable || !a->run || task->end_asked != TW_REASON_NONE)
        return;
    struct tw_task_info *info = &task->record.info;
    task_move(task, TW_TASK_RUNNING);
    task_set_message(task, "running");
    a->started_monotonic_us = clock_monotonic_us();
    info->started_us = clock_wall_us();
    uv_update_time(a->timer.loop);
    uv_timer_start(&a->timer, on_wall_timeout, (info->timeout_us + 999) / 1000, 0);
    a->run->rt->ops->go(a->run);
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
    if (a->log) {
        store_log_append(a->log, stream, data, len);
        /* The log has the output of all attempts, also of those before a restart. */
        info->log_size = store_log_size(a->log, &info->log_truncated);
    } else if (len > 0) {
        info->log_truncated = true;
    }
    list_for_each_safe (it, &a->task->watches) {
        struct engine_watch *watch = CONTAINER_OF(it, struct engine_watch, link);
        watch->changed(watch, false);
    }
}

static const struct run_events run_events = {.ready = on_ready, .output = on_output, .ended = on_ended};

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
    log_error("task %s cannot be started: %s", task->record.info.id, error->message);
    task_end_early(task, TW_REASON_STORAGE_ERROR);
}

/* The input is in memory: to the runtime with it. */
static void prepare(struct attempt *a)
{
    struct task *task = a->task;
    struct engine *engine = task->engine;
    struct store_task *record = &task->record;
    struct runtime *rt = engine->options.runtime;
    task_move(task, TW_TASK_PREPARING);
    task_set_message(task, "its sandbox is being made");
    record->info.attempt++;
    record->info.started_us = clock_wall_us();
    struct run_spec spec = {
        .task_id = record->info.id,
        .type = record->info.type,
        .owner = record->info.owner,
        .data = record->spec.data,
        .data_len = record->spec.data_len,
        .args = (const char *const *)record->spec.args,
        .n_args = record->spec.n_args,
        .env = (const struct run_env *)record->spec.env,
        .n_env = record->spec.n_env,
        .max_result = engine->options.max_result_size,
    };
    struct tw_error error;
    a->log = store_log_open(engine->options.store, record->seq, engine->options.max_log_size);
    if (a->log)
        record->info.log_size = store_log_size(a->log, &record->info.log_truncated);
    a->run = rt->ops->start(rt, &spec, &run_events, a, &error);
    free(STEAL(record->spec.data)); /* a further attempt reads it back */
    if (!a->run) {
        finish(a, TW_TASK_FAILED, TW_REASON_SANDBOX_ERROR, error.message);
        return;
    }
    a->refs++;
    store_attempt(
        engine->options.store, record->seq, record->info.attempt, record->info.started_us, on_attempt_durable, a);
}

static void on_input(void *ctx, const void *data, size_t len, const struct tw_error *error)
{
    struct attempt *a = ctx;
    struct task *task = a->task;
    attempt_unref(a);
    if (!task)
        return;
    struct engine *engine = task->engine;
    if (task->end_asked != TW_REASON_NONE) {
        finish(a, state_for(task->end_asked), task->end_asked, NULL);
    } else if (error) {
        finish(a, TW_TASK_FAILED, TW_REASON_STORAGE_ERROR, error->message);
    } else if (!(task->record.spec.data = (uint8_t *)text_dup(data, len))) {
        finish(a, TW_TASK_FAILED, TW_REASON_SANDBOX_ERROR, "out of memory while its input was loaded");
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
        log_error("out of memory: task %s stays queued", task->record.info.id);
        engine_enqueue(task);
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

/* --- ends that come from outside --- */

void attempt_drop(struct task *task)
{
    if (task->attempt)
        attempt_release(task->attempt);
}

void task_end_early(struct task *task, enum tw_reason reason)
{
    struct attempt *a = task->attempt;
    if (task->end_asked != TW_REASON_NONE || (a && a->final_state != TW_TASK_STATE_NONE))
        return;
    if (!a) {
        engine_dequeue(task);
        task_finish_unstarted(task, state_for(reason), reason, NULL);
        return;
    }
    task->end_asked = reason;
    if (a->run)
        a->run->rt->ops->kill(a->run);
    /* else its input is being loaded, and on_input looks at end_asked */
}

void task_finish_unstarted(struct task *task, enum tw_task_state state, enum tw_reason reason, const char *message)
{
    struct attempt *a = attempt_new(task);
    if (a) {
        finish(a, state, reason, message);
        return;
    }
    log_error("out of memory: task %s could not be ended", task->record.info.id);
    if (task->record.info.state == TW_TASK_QUEUED)
        engine_enqueue(task);
}
