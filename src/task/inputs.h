/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stored files that tasks see. Who keeps files gathers those of a task into a set when it is admitted, and the set lives for
 * as long as a task has use for it: all of an array have the same one. Private to src/task.
 */
#ifndef TASK_INPUTS_H
#define TASK_INPUTS_H

#include "task/task.h"

int inputs_check(const struct engine *engine, const struct tw_task_spec *spec, struct tw_error *error);
int inputs_copy(const struct tw_input *from, size_t n, struct store_spec *to); /* 0 or -ENOMEM */

/* Has them gathered, and notes in the record which they are; `done` comes from the loop. */
void inputs_gather(
    struct engine *engine, struct store_spec *spec, const char *owner, engine_gathered_cb done, void *ctx);
/* Those of another task of the same array. 0 or -ENOMEM. */
int inputs_share(const struct store_spec *from, struct store_spec *to);
/* The task was not admitted after all. */
void inputs_give_up(struct engine *engine, struct store_spec *spec);

/* A live task has them. -ENOMEM: it cannot be live. */
int inputs_hold(struct engine *engine, uint64_t set);
/* It is not live any more; with `ended` for good, so that the last one's set goes. */
void inputs_drop(struct engine *engine, uint64_t set, bool ended);

#endif
