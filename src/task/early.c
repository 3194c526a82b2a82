/* SPDX-License-Identifier: Apache-2.0 */
/* Ends that come from outside: stops, time-outs, limits that the node watches, its own end. */
#include "base/log.h"
#include "task/attempt.h"

/* What ran over a limit is killed; what is only unwanted may clear up behind itself. */
static bool is_polite(enum tw_reason reason)
{
    return reason == TW_REASON_STOPPED_BY_USER || reason == TW_REASON_SHUTDOWN || reason == TW_REASON_TIMEOUT_WALL;
}

void attempt_kill(struct attempt *a)
{
    if (a->run)
        a->run->rt->ops->kill(a->run);
    else if (a->preparation)
        a->task->engine->options.preparing.cancel(a->preparation);
    /* else its input is being loaded, and on_input looks at end_asked and cannot_begin */
}

static void on_grace_over(uv_timer_t *timer)
{
    struct attempt *a = timer->data;
    if (a->run)
        a->run->rt->ops->kill(a->run);
}

static void start_grace(struct attempt *a, uint64_t grace_us)
{
    uv_update_time(a->timer.loop);
    uv_timer_start(&a->timer, on_grace_over, (grace_us + 999) / 1000, 0);
}

static void on_stopping_stored(void *ctx UNUSED, const struct tw_error *error)
{
    if (error && error->code != TW_FAILED_PRECONDITION) /* that it has ended meanwhile is all the better */
        log_warning(
            "should the node be killed now, it will not know that a task was being stopped: %s", error->message);
}

/* What somebody has asked for holds, also when the node does not live to see it. */
static void note_stopping(struct task *task)
{
    if (task->end_asked != TW_REASON_STOPPED_BY_USER || task->record.info.stopping)
        return;
    task->record.info.stopping = true;
    store_stopping(task->engine->options.store, task->record.seq, on_stopping_stored, NULL);
}

static const char *stopping_text(enum tw_reason reason)
{
    return reason == TW_REASON_TIMEOUT_WALL ? "its time is over: it is being ended"
        : reason == TW_REASON_SHUTDOWN      ? "the node shuts down: it is being stopped"
                                            : "is being stopped";
}

static void terminate(struct attempt *a, enum tw_reason reason)
{
    uint64_t asked = a->task->record.spec.grace_us, nodes = a->task->engine->options.grace_us;
    /* A node that waited for longer at its own end would be killed, and the task be lost instead of stopped. */
    bool granted = asked && (reason != TW_REASON_SHUTDOWN || asked < nodes);
    a->terminated = true;
    task_set_message(a->task, "%s", stopping_text(reason));
    start_grace(a, granted ? asked : nodes);
    a->run->rt->ops->terminate(a->run);
}

/* The node ends while it uses its grace. */
static void hurry(struct attempt *a)
{
    uint64_t nodes = a->task->engine->options.grace_us;
    if (a->run && uv_timer_get_due_in(&a->timer) > (nodes + 999) / 1000)
        start_grace(a, nodes);
}

void task_end_early(struct task *task, enum tw_reason reason)
{
    struct attempt *a = task->attempt;
    if (reason == TW_REASON_SHUTDOWN && a && a->terminated && !a->ending)
        hurry(a);
    /* After a time-out, or with the node's next start, there may be another attempt, but not after this. */
    if (tw_reason_is_retried(task->end_asked) && !tw_reason_is_retried(reason) && a && !a->ending)
        task->end_asked = reason;
    /* The node's end needs nothing of one that is about to wait again. */
    if (a && a->again && reason != TW_REASON_SHUTDOWN)
        task->end_asked = reason;
    note_stopping(task);
    if (task->end_asked != TW_REASON_NONE || (a && (a->ending || a->outputs.begun)))
        return;
    if (!a) {
        engine_dequeue(task);
        if (!task_finish_unstarted(task, attempt_state_for(reason), reason, NULL))
            engine_enqueue(task, true);
        return;
    }
    task->end_asked = reason;
    note_stopping(task);
    if (a->run && is_polite(reason) && task->record.info.state == TW_TASK_RUNNING && a->run->rt->ops->terminate)
        terminate(a, reason);
    else
        attempt_kill(a);
}
