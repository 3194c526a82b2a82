/* SPDX-License-Identifier: Apache-2.0 */
/* The states a task may move between, as one table. Where a task is lives here; how it ended is its reason. */
#ifndef TASK_STATE_H
#define TASK_STATE_H

#include <stdbool.h>

#include <taskworker/task.h>

bool task_state_may_move(enum tw_task_state from, enum tw_task_state to);
bool task_state_is_final(enum tw_task_state state);

#endif
