/* SPDX-License-Identifier: Apache-2.0 */
/* Between the messages of proto/taskworker.proto and the types of include/taskworker/task.h. */
#ifndef RPC_TASKWORKER_CONVERT_H
#define RPC_TASKWORKER_CONVERT_H

#include <taskworker/task.h>

#include "taskworker.pb-c.h"

struct receipt_message {
    Taskworker__Receipt receipt;
    Taskworker__Limits limits;
    Taskworker__Receipt__Layer layers[TW_LAYER_MAX], missing[TW_LAYER_MAX];
    uint32_t gpus[32];
};

struct task_message {
    Taskworker__Task task;
    void *lists; /* malloc'd: labels and dependencies; NULL: there are none */
    Taskworker__Usage usage;
    Taskworker__Limits limits;
    struct receipt_message receipt;
};

/*
 * Fills the message; its strings are borrowed from info. No receipt where a task has none yet, or it is not asked for. Without
 * memory its labels and dependencies are left out. Release it with task_message_done().
 */
Taskworker__Task *task_to_message(const struct tw_task_info *info, bool with_receipt, struct task_message *ret);

void task_message_done(struct task_message *message);
#define CLEANUP_TASK_MESSAGE CLEANUP(task_message_done)

struct attempt_message {
    Taskworker__Attempt attempt;
    Taskworker__Usage usage;
    struct receipt_message receipt;
};
Taskworker__Attempt *attempt_to_message(const struct tw_attempt_info *info, struct attempt_message *ret);

/* The entries of a map from string to string, of whichever message, as labels; the strings are borrowed. */
#define LABELS_FROM_MAP(ret, entries, n)                                       \
    for (size_t i_label = 0; i_label < (n); i_label++)                         \
        (ret)[i_label] = (struct tw_label)                                     \
        {                                                                      \
            .key = (entries)[i_label]->key, .value = (entries)[i_label]->value \
        }

/*
 * The request as a spec; its strings and data are borrowed from the request, the arrays lie in *ret_arrays (free it).
 * 0, or -1 with INVALID_ARGUMENT (or RESOURCE_EXHAUSTED without memory).
 */
int spec_from_request(
    const Taskworker__ExecuteTaskRequest *request, struct tw_task_spec *ret, void **ret_arrays, struct tw_error *error);

/* Milliseconds of a request as microseconds; negative and absurd ones are INVALID_ARGUMENT. */
int timeout_from_ms(int64_t ms, uint64_t *ret_us, struct tw_error *error);

#endif
