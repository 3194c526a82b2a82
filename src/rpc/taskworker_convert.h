/* SPDX-License-Identifier: Apache-2.0 */
/* Between the messages of proto/taskworker.proto and the types of include/taskworker/task.h. */
#ifndef RPC_TASKWORKER_CONVERT_H
#define RPC_TASKWORKER_CONVERT_H

#include <taskworker/task.h>

#include "taskworker.pb-c.h"

struct task_message {
    Taskworker__Task task;
    Taskworker__Usage usage;
    Taskworker__Receipt receipt;
    Taskworker__Limits limits;
    Taskworker__Receipt__Layer layers[TW_LAYER_MAX], missing[TW_LAYER_MAX];
};

/* Fills the message; its strings are borrowed from info. No receipt where a task has none yet, or it is not asked for. */
Taskworker__Task *task_to_message(const struct tw_task_info *info, bool with_receipt, struct task_message *ret);

/*
 * The request as a spec; its strings and data are borrowed from the request, the arrays go to *ret_arrays (free it).
 * 0, or -1 with INVALID_ARGUMENT (or RESOURCE_EXHAUSTED without memory).
 */
int spec_from_request(
    const Taskworker__ExecuteTaskRequest *request, struct tw_task_spec *ret, void **ret_arrays, struct tw_error *error);

/* Milliseconds of a request as microseconds; negative and absurd ones are INVALID_ARGUMENT. */
int timeout_from_ms(int64_t ms, uint64_t *ret_us, struct tw_error *error);

#endif
