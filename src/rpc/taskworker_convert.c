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

#define X(name, number, text) \
    _Static_assert((int)TASKWORKER__NETWORK__NETWORK_##name == number, "network " #name " in taskworker.proto");
TW_NETWORKS(X)
#undef X
#define X(name, number, text) \
    _Static_assert((int)TASKWORKER__RECEIPT__LAYER__##name == number, "layer " #name " in taskworker.proto");
TW_LAYERS(X)
#undef X
/* RUNTIME_NONE has a prefix, since there is a reason NONE. */
#define TASKWORKER__RECEIPT__RUNTIME__NONE TASKWORKER__RECEIPT__RUNTIME__RUNTIME_NONE
#define X(name, number, text) \
    _Static_assert((int)TASKWORKER__RECEIPT__RUNTIME__##name == number, "runtime " #name " in taskworker.proto");
TW_RUNTIMES(X)
#undef X

static size_t layers_to_message(uint64_t bits, Taskworker__Receipt__Layer ret[TW_LAYER_MAX])
{
    size_t n = 0;
    for (int layer = 0; layer < TW_LAYER_MAX; layer++) {
        if (bits & UINT64_C(1) << layer)
            ret[n++] = (Taskworker__Receipt__Layer)layer;
    }
    return n;
}

static void receipt_to_message(const struct tw_receipt *receipt, struct task_message *ret)
{
    Taskworker__Receipt *r = &ret->receipt;
    taskworker__receipt__init(r);
    taskworker__limits__init(&ret->limits);
#define X(name) ret->limits.name = receipt->limits.name;
    TW_LIMITS(X)
#undef X
    r->runtime = (Taskworker__Receipt__Runtime)receipt->runtime;
    r->layers = ret->layers;
    r->n_layers = layers_to_message(receipt->layers, ret->layers);
    r->missing = ret->missing;
    r->n_missing = layers_to_message(receipt->missing, ret->missing);
    r->limits = &ret->limits;
    r->network = (Taskworker__Network)receipt->network;
    r->denied = receipt->denied;
    r->denied_calls = (char *)receipt->denied_calls;
}

Taskworker__Task *task_to_message(const struct tw_task_info *info, bool with_receipt, struct task_message *ret)
{
    taskworker__usage__init(&ret->usage);
#define X(name) ret->usage.name = info->usage.name;
    TW_USAGE(X)
#undef X

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
    t->priority = info->priority;
    t->not_before_us = (int64_t)info->not_before_us;
    t->queue_timeout_ms = (int64_t)(info->queue_timeout_us / 1000);
    t->usage = &ret->usage;
    if (with_receipt && (info->receipt.runtime || info->receipt.layers)) {
        receipt_to_message(&info->receipt, ret);
        t->receipt = &ret->receipt;
    }
    return t;
}

static int limits_from_message(const Taskworker__Limits *limits, struct tw_limits *ret, struct tw_error *error)
{
    *ret = (struct tw_limits){0};
    if (!limits)
        return 0;
#define X(name)                                                                                         \
    if (limits->name > INT64_MAX)                                                                       \
        return error_set(error, TW_INVALID_ARGUMENT, "limits." #name " is %llu, which is out of range", \
            (unsigned long long)limits->name);                                                          \
    ret->name = limits->name;
    TW_LIMITS(X)
#undef X
    return 0;
}

static int span_from_ms(const char *field, int64_t ms, uint64_t *ret_us, struct tw_error *error)
{
    static const int64_t year_ms = 365ll * 86400 * 1000;
    if (ms < 0)
        return error_set(error, TW_INVALID_ARGUMENT, "%s is negative (%lld)", field, (long long)ms);
    if (ms > year_ms)
        return error_set(error, TW_INVALID_ARGUMENT, "%s is longer than a year", field);
    *ret_us = (uint64_t)ms * 1000;
    return 0;
}

int timeout_from_ms(int64_t ms, uint64_t *ret_us, struct tw_error *error)
{
    return span_from_ms("timeout_ms", ms, ret_us, error);
}

int spec_from_request(
    const Taskworker__ExecuteTaskRequest *request, struct tw_task_spec *ret, void **ret_arrays, struct tw_error *error)
{
    uint64_t timeout_us, queue_timeout_us;
    struct tw_limits limits;
    if (timeout_from_ms(request->timeout_ms, &timeout_us, error) < 0 ||
        span_from_ms("queue_timeout_ms", request->queue_timeout_ms, &queue_timeout_us, error) < 0 ||
        limits_from_message(request->limits, &limits, error) < 0)
        return -1;
    if (!tw_network_to_string((enum tw_network)request->network)) /* it may be any number, also a negative one */
        return error_set(error, TW_INVALID_ARGUMENT, "network is %d, which is none", (int)request->network);
    if (request->not_before_us < 0)
        return error_set(
            error, TW_INVALID_ARGUMENT, "not_before_us is negative (%lld)", (long long)request->not_before_us);
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
        .limits = limits,
        .network = (enum tw_network)request->network,
        .fresh_interpreter = request->fresh_interpreter,
        .priority = request->priority,
        .not_before_us = (uint64_t)request->not_before_us,
        .queue_timeout_us = queue_timeout_us,
    };
    *ret_arrays = env;
    return 0;
}
