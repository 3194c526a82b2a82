/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tasks that wait outside the queue: those that come after others which have not ended, and those that are paused. What one
 * comes after is an edge in the other's list; the end of the other takes the edge away, and with the last one the task goes
 * into the queue. A dependency names tasks that were admitted before, so that there can be no circle.
 *
 * Thousands may come after one task, or in a row behind it. So those who have to be told are gathered in one list, of which each
 * round of the loop takes a few. And a task that ends because of another passes that on before its own end is on disk: the ends
 * of a whole chain are written one behind the other, in a few transactions. Should a crash cut them off, the next start
 * finds the same for the rest.
 */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/timer.h"
#include "task/attempt.h"

enum { LOOSEN_AT_ONCE = 256 };

/* Whether a task may start after one that has ended like this. */
static bool is_satisfied(const struct task *task, enum tw_task_state other)
{
    return other == TW_TASK_COMPLETED || task->record.spec.after_any;
}

/* reason: NONE where it is not known any more. */
static bool fail_for(struct task *task, const struct tw_after *other, enum tw_reason reason)
{
    char message[240];
    bool known = reason != TW_REASON_NONE;
    snprintf(message, sizeof message, "task %s, which it comes after, ended as %s%s%s%s", other->id,
        tw_task_state_to_string(other->state), known ? " (" : "", known ? tw_reason_to_string(reason) : "",
        known ? ")" : "");
    if (task_finish_unstarted(task, TW_TASK_FAILED, TW_REASON_DEPENDENCY, message))
        return true;
    task->n_after_left++; /* no memory: held, until the next start sees it */
    engine_enqueue(task, false);
    return false;
}

/* Makes the edges to those that live; the first that has ended badly already, or NULL. */
static const struct tw_after *tie(struct task *task)
{
    const struct tw_task_info *info = &task->record.info;
    const struct tw_after *bad = NULL;
    task->edges = calloc(info->n_after, sizeof *task->edges);
    for (size_t i = 0; i < info->n_after; i++) {
        struct task *other = engine_find(task->engine, info->after[i].id);
        if (task->edges) {
            task->edges[i] = (struct edge){.task = task, .index = i};
            list_init(&task->edges[i].in_other);
        }
        if (other) {
            task->n_after_left++;
            if (task->edges)
                list_push(&other->dependents, &task->edges[i].in_other);
        } else if (!bad && !is_satisfied(task, info->after[i].state)) {
            bad = &info->after[i];
        }
    }
    if (!task->edges)
        log_error("out of memory: task %s waits for the next start of the node", info->id);
    return bad;
}

void task_begin_waiting(struct task *task)
{
    const struct tw_after *bad = task->record.info.n_after > 0 ? tie(task) : NULL;
    if (bad)
        (void)fail_for(task, bad, TW_REASON_NONE); /* nobody can come after it yet */
    else
        engine_enqueue(task, false);
}

void task_forget_edges(struct task *task)
{
    for (size_t i = 0; task->edges && i < task->record.info.n_after; i++)
        list_remove(&task->edges[i].in_other);
    free(STEAL(task->edges));
}

static void loosen_some(uv_timer_t *timer);

/* The task has ended like this; `ahead`: it will, and those who may start then are not told before it is so. */
static void tell_dependents(struct task *task, enum tw_task_state state, enum tw_reason reason, bool ahead)
{
    struct engine *engine = task->engine;
    list_for_each_safe (it, &task->dependents) {
        struct edge *edge = CONTAINER_OF(it, struct edge, in_other);
        if (ahead && is_satisfied(edge->task, state))
            continue;
        edge->state = state;
        edge->reason = reason;
        list_remove(it);
        list_push(&engine->loose, it);
    }
    if (!list_empty(&engine->loose) && !uv_is_active((uv_handle_t *)engine->loosen))
        uv_timer_start(engine->loosen, loosen_some, 0, 0);
}

/* What it comes after has ended. */
static void loosen(struct edge *edge)
{
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): it stood in a list */
    struct task *task = edge->task;
    struct tw_after *other = &task->record.info.after[edge->index];
    list_remove(&edge->in_other);
    other->state = edge->state;
    task->n_after_left--;
    if (task->record.info.state != TW_TASK_QUEUED || !task->held)
        return; /* its own end is on the way to disk */
    if (!is_satisfied(task, edge->state)) {
        engine_dequeue(task);
        if (fail_for(task, other, edge->reason))
            tell_dependents(task, TW_TASK_FAILED, TW_REASON_DEPENDENCY, true);
    } else if (task->n_after_left == 0 && !task->record.info.paused) {
        engine_dequeue(task);
        engine_enqueue(task, false);
    }
}

static void loosen_some(uv_timer_t *timer)
{
    struct engine *engine = timer->data;
    for (unsigned n = 0; n < LOOSEN_AT_ONCE && !list_empty(&engine->loose); n++)
        loosen(LIST_FIRST(&engine->loose, struct edge, in_other));
    if (!list_empty(&engine->loose))
        uv_timer_start(timer, loosen_some, TIMER_NEXT_ROUND_MS, 0);
    engine_schedule(engine);
    engine_check_drained(engine);
}

void task_tell_dependents(struct task *task)
{
    tell_dependents(task, task->record.info.state, task->record.info.reason, false);
}

const char *task_why_held(const struct task *task)
{
    static char text[200];
    const struct tw_task_info *info = &task->record.info;
    if (!task->held)
        return NULL;
    if (info->paused)
        return "paused on request";
    for (size_t i = 0; i < info->n_after; i++) {
        if (!task->edges || list_empty(&task->edges[i].in_other))
            continue;
        size_t others = task->n_after_left - 1;
        snprintf(text, sizeof text, "waits for the end of task %s", info->after[i].id);
        if (others > 0)
            snprintf(text + strlen(text), sizeof text - strlen(text), " and %zu more", others);
        return text;
    }
    return "waits for the next start of the node";
}

/* --- pause and resume --- */

struct pausing {
    struct engine *engine;
    char *id;
    bool paused;
    engine_task_cb cb;
    void *ctx;
};

static void pausing_free(struct pausing *p)
{
    if (p)
        free(p->id);
    free(p);
}

static void set_paused(struct task *task, bool paused)
{
    if (task->record.info.paused == paused)
        return; /* the wall clock was stopped or started then: once more would reckon wrongly */
    task->record.info.paused = paused;
    if (task->attempt) {
        attempt_pause(task->attempt, paused);
    } else if (task->held || task->entry.in) {
        engine_dequeue(task);
        engine_enqueue(task, false);
        engine_schedule(task->engine);
    }
}

static void on_pause_stored(void *ctx, const struct tw_error *error)
{
    struct pausing *p = ctx;
    struct task *task = error ? NULL : engine_find(p->engine, p->id);
    struct tw_error ended;
    if (task) {
        set_paused(task, p->paused);
        p->cb(p->ctx, task_info(task), task_seq(task), NULL);
    } else {
        if (!error || error->code == TW_FAILED_PRECONDITION)
            error_set(&ended, TW_FAILED_PRECONDITION, "task %s has ended", p->id);
        else
            ended = *error;
        p->cb(p->ctx, NULL, 0, &ended);
    }
    pausing_free(p);
}

/* It does not live: it has ended, or there is none. */
static void on_not_live(void *ctx, const struct store_task *stored, const struct tw_error *error)
{
    struct pausing *p = ctx;
    struct tw_error ended;
    if (stored)
        error_set(&ended, TW_FAILED_PRECONDITION, "task %s has ended (%s)", stored->info.id,
            tw_task_state_to_string(stored->info.state));
    p->cb(p->ctx, NULL, 0, stored ? &ended : error);
    pausing_free(p);
}

void engine_set_paused(struct engine *engine, const char *id, bool paused, engine_task_cb cb, void *ctx)
{
    struct task *task = engine_find(engine, id);
    struct pausing *p = calloc(1, sizeof *p);
    if (!p || !(p->id = strdup(id))) {
        struct tw_error error;
        pausing_free(p);
        error_oom(&error);
        cb(ctx, NULL, 0, &error);
        return;
    }
    p->engine = engine;
    p->paused = paused;
    p->cb = cb;
    p->ctx = ctx;
    if (task)
        store_pause(engine->options.store, task_seq(task), paused, on_pause_stored, p);
    else
        store_get(engine->options.store, id, on_not_live, p);
}
