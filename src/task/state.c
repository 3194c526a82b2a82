/* SPDX-License-Identifier: Apache-2.0 */
#include "task/state.h"

#define TO(state) (1u << TW_TASK_##state)

/*
 * Every final state is open from every live one: a stop, a failure or a lost sandbox can come at any time. Back to QUEUED
 * goes an attempt that was lost while the task has attempts left.
 */
static const unsigned allowed[TW_TASK_STATE_MAX] = {
    [TW_TASK_STATE_NONE] = TO(QUEUED),
    [TW_TASK_QUEUED] = TO(ALLOCATED) | TO(FAILED) | TO(STOPPED),
    [TW_TASK_ALLOCATED] = TO(PREPARING) | TO(QUEUED) | TO(FAILED) | TO(STOPPED),
    [TW_TASK_PREPARING] = TO(RUNNING) | TO(QUEUED) | TO(FAILED) | TO(STOPPED),
    [TW_TASK_RUNNING] = TO(COMPLETED) | TO(QUEUED) | TO(FAILED) | TO(STOPPED),
};

bool task_state_may_move(enum tw_task_state from, enum tw_task_state to)
{
    if (from < 0 || from >= TW_TASK_STATE_MAX || to < 0 || to >= TW_TASK_STATE_MAX)
        return false;
    return allowed[from] & 1u << to;
}

bool task_state_is_final(enum tw_task_state state)
{
    return state == TW_TASK_COMPLETED || state == TW_TASK_FAILED || state == TW_TASK_STOPPED;
}
