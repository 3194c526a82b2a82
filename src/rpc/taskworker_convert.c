/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/taskworker_convert.h"

#include "base/error.h"

/* The numbers of states and reasons are the same on the wire, in the store and in the headers. */
#define X(name, number) \
    _Static_assert((int)TASKWORKER__TASK__STATE__##name == number, "state " #name " in taskworker.proto");
TW_TASK_STATES(X)
#undef X
#define X(name, number, text) \
    _Static_assert((int)TASKWORKER__TASK__REASON__##name == number, "reason " #name " in taskworker.proto");
TW_REASONS(X)
#undef X

Taskworker__Task *task_to_message(const struct tw_task_info *info, struct task_message *ret)
{
    taskworker__usage__init(&ret->usage);
    ret->usage.wall_us = info->usage.wall_us;
    ret->usage.user_us = info->usage.user_us;
    ret->usage.system_us = info->usage.system_us;
    ret->usage.max_rss_bytes = info->usage.max_rss_bytes;

    Taskworker__Task *t = &ret->task;
    taskworker__task__init(t);
    t->task_id = info->id;
    t->task_type = info->type;
    t->owner = info->owner;
    t->state = (Taskworker__Task__State)info->state;
    t->reason = (Taskworker__Task__Reason)info->reason;
    t->message = info->message;
    t->error = info->error;
    t->exit_code = info->exit_code;
    t->signal = info->signal;
    t->attempt = info->attempt;
    t->retries = info->retries;
    t->timeout_ms = (int64_t)(info->timeout_us / 1000);
    t->created_us = (int64_t)info->created_us;
    t->started_us = (int64_t)info->started_us;
    t->finished_us = (int64_t)info->finished_us;
    t->result_size = info->result_size;
    t->log_size = info->log_size;
    t->log_truncated = info->log_truncated;
    t->usage = &ret->usage;
    return t;
}

int timeout_from_ms(int64_t ms, uint64_t *ret_us, struct tw_error *error)
{
    static const int64_t year_ms = 365ll * 86400 * 1000;
    if (ms < 0)
        return error_set(error, TW_INVALID_ARGUMENT, "timeout_ms is negative (%lld)", (long long)ms);
    if (ms > year_ms)
        return error_set(error, TW_INVALID_ARGUMENT, "timeout_ms is longer than a year");
    *ret_us = (uint64_t)ms * 1000;
    return 0;
}

int spec_from_request(
    const Taskworker__ExecuteTaskRequest *request, struct tw_task_spec *ret, void **ret_arrays, struct tw_error *error)
{
    uint64_t timeout_us;
    if (timeout_from_ms(request->timeout_ms, &timeout_us, error) < 0)
        return -1;
    struct tw_env *env = calloc(request->n_env + 1, sizeof *env);
    if (!env)
        return error_oom(error);
    for (size_t i = 0; i < request->n_env; i++)
        env[i] = (struct tw_env){.name = request->env[i]->key, .value = request->env[i]->value};
    *ret = (struct tw_task_spec){
        .size = sizeof *ret,
        .id = request->task_id,
        .type = request->task_type,
        .data = request->task_data.data,
        .data_len = request->task_data.len,
        .args = (const char *const *)request->args,
        .n_args = request->n_args,
        .env = env,
        .n_env = request->n_env,
        .timeout_us = timeout_us,
        .retries = request->retries,
    };
    *ret_arrays = env;
    return 0;
}
