/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of an attempt on its way to disk: of the task too, or of this attempt alone, after which the task waits for another.
 * Until it is there the task shows nothing of it: a crash in between would make it `lost`, and who was told otherwise would
 * have been told wrong. An end that cannot be written (a full disk) is tried until it can; meanwhile the engine starts
 * nothing new, so that one full disk costs a pause and not a queue of results.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "task/attempt.h"

enum {
    RETRY_MS = 500,
    PATIENT_TRIES =
        4, /* after these a result that is refused for good is given up, and so is all by a node that goes down */
};

static void write_end(struct attempt *a);

static void on_retry_timer(uv_timer_t *timer)
{
    write_end(timer->data);
}

/*
 * May the same write fare better later? A disk that is full, or was made read-only, or a database that is damaged, is the node's
 * trouble and not the result's: somebody may put it right.
 */
static bool may_pass(const struct tw_error *error)
{
    return error->code == TW_RESOURCE_EXHAUSTED || error->code == TW_UNAVAILABLE ||
        error->code == TW_PERMISSION_DENIED || error->code == TW_DATA_LOSS;
}

static void give_result_up(struct attempt *a, const struct tw_error *error)
{
    free(STEAL(a->result));
    a->result_len = 0;
    a->final.result_size = 0;
    a->final.state = TW_TASK_FAILED;
    a->final.reason = TW_REASON_STORAGE_ERROR;
    free(a->final_message);
    if (asprintf(&a->final_message, "it ended well, but its result could not be kept: %s", error->message) < 0)
        a->final_message = NULL;
}

static void end_not_written(struct attempt *a, const struct tw_error *error)
{
    struct task *task = a->task;
    struct engine *engine = task->engine;
    a->finish_tries++;
    if (engine->draining && a->finish_tries > PATIENT_TRIES) {
        log_error("task %s: its end could not be written; the next start will call it lost: %s", task->record.info.id,
            error->message);
        attempt_release(a);
        engine->finishing--;
        engine_task_abandoned(task, error);
        return;
    }
    if (a->finish_tries == 1)
        log_error("task %s: its end could not be written, trying again: %s", task->record.info.id, error->message);
    if (may_pass(error))
        engine_pause(engine, error->message);
    else if (a->finish_tries == PATIENT_TRIES && !a->again && a->final.state == TW_TASK_COMPLETED)
        give_result_up(a, error);
    uv_timer_start(&a->timer, on_retry_timer, RETRY_MS, 0);
}

/* From now on everybody sees it. */
static void show_end(struct attempt *a)
{
    struct tw_task_info *info = &a->task->record.info;
    task_move(a->task, a->final.state);
    info->reason = a->final.reason;
    info->exit_code = a->final.exit_code;
    info->signal = a->final.signal;
    info->usage = a->final.usage;
    info->receipt = a->final.receipt;
    info->finished_us = a->final.finished_us;
    info->result_size = a->final.result_size;
    info->paused = info->stopping = false; /* as on disk */
    if (a->final_message) {
        free(info->message);
        info->message = STEAL(a->final_message);
    }
    if (a->final_error) {
        free(info->error);
        info->error = STEAL(a->final_error);
    }
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
    show_end(a);
    CLEANUP_FREE uint8_t *result = STEAL(a->result);
    size_t result_len = a->result_len;
    if (a->finish_tries)
        engine_works(engine);
    attempt_release(a);
    engine->finishing--;
    engine_task_ended(task, result, result_len);
}

/* It waits again. Who wanted it to end meanwhile has what he wants now. */
static void on_again_written(void *ctx, const struct tw_error *error)
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
    CLEANUP_FREE char *message = STEAL(a->final_message);
    enum tw_reason asked = task->end_asked;
    bool front = a->front;
    task->record.info.not_before_us = a->not_before_us;
    task->end_asked = TW_REASON_NONE;
    if (a->finish_tries)
        engine_works(engine);
    attempt_release(a);
    engine->finishing--;
    task_requeue(task, message ? message : "it failed", front);
    if (asked != TW_REASON_NONE)
        task_end_early(task, asked);
    engine_check_drained(engine);
    engine_schedule(engine);
}

void task_store_requeue(struct task *task, uint64_t not_before_us, const char *message,
    const struct tw_task_info *ended, store_done_cb cb, void *ctx)
{
    CLEANUP_FREE char *shown = NULL;
    if (asprintf(&shown, "%s" TASK_AGAIN, message) < 0)
        shown = NULL;
    struct store_requeued requeued = {
        .attempt = task->record.info.attempt,
        .not_before_us = not_before_us,
        .message = shown ? shown : message,
        .ended = ended,
    };
    store_requeue(task->engine->options.store, task->record.seq, &requeued, cb, ctx);
}

static void write_end(struct attempt *a)
{
    struct task *task = a->task;
    a->refs++;
    a->final.message = a->final_message ? a->final_message : task->record.info.message;
    a->final.error = a->final_error ? a->final_error : task->record.info.error;
    if (a->again)
        task_store_requeue(task, a->not_before_us, a->final.message, a->front ? NULL : &a->final, on_again_written, a);
    else
        store_finish(
            task->engine->options.store, task->record.seq, &a->final, a->result, a->result_len, on_end_written, a);
}

/* "512 MiB" */
static const char *bytes_text(uint64_t bytes, char out[32])
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)bytes;
    size_t unit = 0;
    for (; v >= 1024 && unit + 1 < ARRAY_LEN(units); unit++)
        v /= 1024;
    snprintf(out, 32, "%.4g %s", v, units[unit]);
    return out;
}

/* How it ended, for one whose end a limit explains. */
static const char *end_text(const struct verdict *v, char out[64])
{
    if (v->signal)
        snprintf(out, 64, "it was killed by signal %d", v->signal);
    else
        snprintf(out, 64, "it ended with exit code %d", v->exit_code);
    return out;
}

static int describe_disk_limit(const struct tw_limits *l, const struct verdict *v, char **ret)
{
    const struct {
        const char *what;
        uint64_t bytes;
    } limits[] = {{" a file", l->file_bytes}, {" in its workspace", l->workspace_bytes}, {" in /tmp", l->tmp_bytes}};
    char all[160] = "", end[64], size[32];
    for (size_t i = 0, at = 0; i < ARRAY_LEN(limits); i++) {
        if (limits[i].bytes)
            at += (size_t)snprintf(all + at, sizeof all - at, "%s%s%s", at ? ", " : ": ",
                bytes_text(limits[i].bytes, size), limits[i].what);
    }
    return asprintf(ret, "wrote more than it may%s; %s", all, end_text(v, end));
}

/* What a task says that ran into a limit. The receipt has what was applied; without one, what was to be. */
static int describe_limit(const struct attempt *a, const struct verdict *v, char **ret)
{
    const struct tw_limits *l = v->receipt.runtime ? &v->receipt.limits : &a->limits;
    char size[32], end[64];
    switch (v->reason) {
    case TW_REASON_OOM:
        return l->memory_bytes ? asprintf(ret, "used more than its %s of memory", bytes_text(l->memory_bytes, size))
                               : asprintf(ret, "used more memory than there is");
    case TW_REASON_TIMEOUT_CPU:
        return l->cpu_time_us
            ? asprintf(ret, "used more than its %.6g s of processor time", (double)l->cpu_time_us / 1e6)
            : asprintf(ret, "used more processor time than it may");
    case TW_REASON_PIDS_LIMIT:
        return l->processes ? asprintf(ret, "wanted more than its %llu processes and threads; %s",
                                  (unsigned long long)l->processes, end_text(v, end))
                            : asprintf(ret, "wanted more processes than it may have; %s", end_text(v, end));
    default:
        return describe_disk_limit(l, v, ret);
    }
}

/* The sentence for a person, when nothing better is known. */
static char *describe(const struct attempt *a, const struct verdict *v)
{
    const char *name;
    char *text = NULL, size[32];
    int n = 0;
    switch (v->reason) {
    case TW_REASON_NONE:
        n = asprintf(&text, "completed");
        break;
    case TW_REASON_EXIT_CODE:
        n = asprintf(&text, "ended with exit code %d", v->exit_code);
        break;
    case TW_REASON_SIGNAL:
        /* Not strsignal(), which has one buffer for all threads. Real-time signals have no name. */
        name = sigabbrev_np(v->signal);
        n = asprintf(
            &text, "killed by signal %d%s%s%s", v->signal, name ? " (SIG" : "", name ? name : "", name ? ")" : "");
        break;
    case TW_REASON_TIMEOUT_WALL:
        n = asprintf(&text, "ran longer than its time-out of %.3g s", (double)a->task->record.info.timeout_us / 1e6);
        break;
    case TW_REASON_TIMEOUT_QUEUE:
        n = asprintf(&text, "was not started within its queue time-out of %.6g s",
            (double)a->task->record.info.queue_timeout_us / 1e6);
        break;
    case TW_REASON_STOPPED_BY_USER:
        n = asprintf(&text, "stopped on request");
        break;
    case TW_REASON_SHUTDOWN:
        n = asprintf(&text, "stopped because the node was shut down");
        break;
    case TW_REASON_OOM:
    case TW_REASON_TIMEOUT_CPU:
    case TW_REASON_PIDS_LIMIT:
    case TW_REASON_DISK_LIMIT:
        n = describe_limit(a, v, &text);
        break;
    case TW_REASON_OUTPUT_LIMIT:
        if (a->task->end_asked == TW_REASON_OUTPUT_LIMIT) {
            n = asprintf(&text, "printed more than its %s of output", bytes_text(a->limits.output_bytes, size));
            break;
        }
        n = asprintf(&text, "its result is larger than the %llu bytes that this node keeps (MAX_RESULT_SIZE)",
            (unsigned long long)a->task->engine->options.max_result_size);
        break;
    case TW_REASON_LOST:
        n = asprintf(&text, "its sandbox was lost");
        break;
    case TW_REASON_STORAGE_ERROR:
        n = asprintf(&text, "ended well"); /* but for what follows */
        break;
    default:
        n = asprintf(&text, "ended because of %s", tw_reason_to_string(v->reason));
        break;
    }
    return n < 0 ? NULL : text;
}

/* What there is to say of its outputs, behind the rest. */
static char *with_outputs(const struct attempt *a, char *message)
{
    char *all;
    const char *why = a->outputs.why.message;
    if (!message || a->outputs.why.code == TW_OK || asprintf(&all, "%s; %s", message, why) < 0)
        return message;
    free(message);
    return all;
}

char *attempt_describe_end(const struct attempt *a, const struct verdict *v, struct tw_task_info *ret)
{
    static char nothing[] = "";
    *ret = a->task->record.info;
    ret->state = v->state;
    ret->reason = v->reason;
    ret->exit_code = v->exit_code;
    ret->signal = v->signal;
    ret->usage = v->usage;
    ret->receipt = v->receipt;
    ret->finished_us = clock_wall_us();
    char *message = v->message ? text_printable(v->message, strlen(v->message), 1000, false) : describe(a, v);
    message = with_outputs(a, message);
    ret->message = message ? message : nothing;
    ret->error = v->error ? (char *)v->error : nothing;
    return message;
}

/* From here on it has no run, and nothing but its end is left of it. */
static void begin_ending(struct attempt *a)
{
    a->task->engine->finishing++;
    uv_timer_stop(&a->timer);
    attempt_give_slot_back(a);
    a->ending = true;
}

static void settle(struct attempt *a, const struct verdict *v)
{
    begin_ending(a);
    a->final_message = attempt_describe_end(a, v, &a->final);
    a->final_error = v->error && *v->error ? strdup(v->error) : NULL;
}

void attempt_finish(struct attempt *a, const struct verdict *v)
{
    settle(a, v);
    a->result = v->result;
    a->result_len = v->result ? v->result_len : 0;
    a->final.result_size = a->result_len;
    write_end(a);
}

void attempt_try_again(struct attempt *a, const struct verdict *v, uint64_t delay_us)
{
    struct task *task = a->task;
    const struct tw_task_info *info = &task->record.info;
    settle(a, v);
    free(v->result);
    log_info("task %s, attempt %u of %u: %s", info->id, info->attempt, info->retries + 1,
        a->final_message ? a->final_message : "it failed");
    a->again = true;
    a->not_before_us = delay_us ? clock_wall_us() + delay_us : info->not_before_us;
    task->end_asked = TW_REASON_NONE;
    write_end(a);
}

void attempt_turn_in(struct attempt *a, const char *why)
{
    begin_ending(a);
    a->again = a->front = true;
    a->not_before_us = a->task->record.info.not_before_us;
    a->final = a->task->record.info;
    a->final_message = strdup(why);
    write_end(a);
}
