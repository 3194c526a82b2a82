/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files that tasks leave. The runtime tells of them when a task's processes have ended; each is kept before the end is written, so
 * that who sees the end finds all of them. Private to src/task.
 */
#ifndef TASK_OUTPUTS_H
#define TASK_OUTPUTS_H

#include "task/attempt.h"

int outputs_check(const struct engine *engine, const struct tw_task_spec *spec, struct tw_error *error);
int outputs_copy(const struct tw_task_spec *from, struct store_spec *to); /* 0 or -ENOMEM */

/* As in struct run_events. */
void outputs_on_file(void *ctx, const struct run_file *file);
/* All have been told of and dealt with: what that means for how the attempt ended. */
void outputs_settle(struct attempt *a, const struct run_outcome *outcome, struct verdict *v);

#endif
