/* SPDX-License-Identifier: Apache-2.0 */
#include "task/task.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "task/cache.h"
#include "task/inputs.h"

struct task *task_new(struct engine *engine, struct store_task *record)
{
    struct task *task = calloc(1, sizeof *task);
    if (!task)
        return NULL;
    task->engine = engine;
    list_init(&task->waits);
    list_init(&task->watches);
    list_init(&task->dependents);
    task->entry.owner = queue_owner_get(&engine->queue, record->info.owner);
    if (!task->entry.owner || inputs_hold(engine, record->spec.inputs_set) < 0) {
        if (task->entry.owner)
            queue_owner_put(&engine->queue, task->entry.owner);
        free(task);
        return NULL;
    }
    if (map_put(&engine->tasks, record->info.id, task) < 0) {
        inputs_drop(engine, record->spec.inputs_set, false);
        queue_owner_put(&engine->queue, task->entry.owner);
        free(task);
        return NULL;
    }
    task->record = *record;
    *record = (struct store_task){0};
    cache_note(engine, task);
    return task;
}

void task_free(struct task *task)
{
    if (!task)
        return;
    struct engine *engine = task->engine;
    map_remove(&engine->tasks, task->record.info.id);
    if (task->entry.in || task->held)
        engine_dequeue(task);
    task_forget_edges(task);
    while (!list_empty(&task->dependents)) /* it goes without an end: they wait for the next start */
        list_remove(task->dependents.next);
    if (task->entry.running)
        queue_finished(&engine->queue, &task->entry);
    queue_owner_put(&engine->queue, task->entry.owner);
    if (engine->came_last == task)
        engine->came_last = NULL;
    cache_forget(engine, task);
    inputs_drop(engine, task->record.spec.inputs_set, task_state_is_final(task->record.info.state));
    store_task_done(&task->record);
    free(task);
}

void task_move(struct task *task, enum tw_task_state to)
{
    struct tw_task_info *info = &task->record.info;
    bool legal = task_state_may_move(info->state, to);
    assert(legal);
    if (!legal) {
        log_error("bug: task %s may not move from %s to %s", info->id, tw_task_state_to_string(info->state),
            tw_task_state_to_string(to));
        return;
    }
    log_debug("task %s: %s to %s", info->id, tw_task_state_to_string(info->state), tw_task_state_to_string(to));
    info->state = to;
}

void task_set_message(struct task *task, const char *fmt, ...)
{
    char *message;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&message, fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    free(task->record.info.message);
    task->record.info.message = message;
}

const struct tw_task_info *task_info(struct task *task)
{
    if (task->attempt)
        attempt_refresh_usage(task->attempt);
    else if (task->held || (task->entry.in && task->record.info.attempt == 0)) /* else it says why it runs again */
        task_set_message(task, "%s", engine_why_queued(task));
    return &task->record.info;
}

uint64_t task_seq(const struct task *task)
{
    return task->record.seq;
}
