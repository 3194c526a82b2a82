/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tasks whose result may be one that is there already. What decides a task's result is hashed into a key; who asks for it (USE) is
 * answered with the task of the same key that runs or has completed, and only where there is none is the task admitted. Those
 * that come while it is being looked for, or is on its way to disk, wait for that. Private to src/task.
 */
#ifndef TASK_CACHE_H
#define TASK_CACHE_H

#include "task/task.h"

struct cache_waiter {
    struct list link;
    /* The one that it has waited for: `known` with its info, or neither: it is the caller's turn now. */
    void (*answer)(struct cache_waiter *waiter, const struct tw_task_info *known);
};

int cache_check(const struct tw_task_spec *spec, struct tw_error *error);
/* Of a record whose inputs are gathered. NULL: no memory. */
char *cache_key(const struct engine *engine, const struct store_task *record);

/*
 * Who asks: true: nobody has it under way, and the caller has now, until cache_settle(). False: it is answered later, or *ret_known
 * is the live task.
 */
bool cache_enter(struct engine *engine, const char *key, struct cache_waiter *waiter, struct task **ret_known);
/* What came of it: the info of the task, or NULL: none. Those that waited are answered. */
void cache_settle(struct engine *engine, const char *key, const struct tw_task_info *known);

/* A live task with a key, and one that is not live any more. Without memory it is not found while it lives. */
void cache_note(struct engine *engine, struct task *task);
void cache_forget(struct engine *engine, const struct task *task);

#endif
