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

#define X(name, number, text) \
    _Static_assert((int)TASKWORKER__TASK_EVENT__KIND__##name == number, "event " #name " in taskworker.proto");
TW_EVENTS(X)
#undef X

static void receipt_to_message(const struct tw_receipt *receipt, struct receipt_message *ret)
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
    r->gpus = ret->gpus;
    for (uint32_t i = 0; i < 32; i++) {
        if (receipt->gpus & UINT32_C(1) << i)
            ret->gpus[r->n_gpus++] = i;
    }
}

static void usage_to_message(const struct tw_usage *usage, Taskworker__Usage *ret)
{
    taskworker__usage__init(ret);
#define X(name) ret->name = usage->name;
    TW_USAGE(X)
#undef X
}

static bool has_receipt(const struct tw_receipt *receipt)
{
    return receipt->runtime || receipt->layers;
}

struct label_part {
    Taskworker__Task__LabelsEntry entry, *pointer;
};
struct after_part {
    Taskworker__Task__After entry, *pointer;
};
struct input_part {
    Taskworker__TaskInput entry, *pointer;
};

static void inputs_to_message(const struct tw_asked *asked, struct input_part *parts, Taskworker__Task *ret)
{
    Taskworker__TaskInput **pointers = (Taskworker__TaskInput **)parts;
    Taskworker__TaskInput *entries = (Taskworker__TaskInput *)(pointers + asked->n_inputs);
    for (size_t i = 0; i < asked->n_inputs; i++) {
        taskworker__task_input__init(&entries[i]);
        entries[i].file_id = (char *)asked->inputs[i].file_id;
        entries[i].name = (char *)asked->inputs[i].name;
        entries[i].path = (char *)asked->inputs[i].path;
        pointers[i] = &entries[i];
    }
    ret->inputs = pointers;
    ret->n_inputs = asked->n_inputs;
}

/* The pointers that protobuf-c wants stand behind the entries that they point to. */
static void lists_to_message(const struct tw_task_info *info, struct task_message *ret)
{
    size_t n = info->n_labels, m = info->n_after, k = info->asked ? info->asked->n_inputs : 0;
    if (info->asked) {
        ret->task.outputs = (char **)info->asked->outputs;
        ret->task.n_outputs = info->asked->n_outputs;
    }
    size_t first = n * sizeof(struct label_part) + m * sizeof(struct after_part);
    ret->lists = NULL;
    if (n + m + k == 0 || !(ret->lists = calloc(1, first + k * sizeof(struct input_part))))
        return;
    if (k)
        inputs_to_message(info->asked, (struct input_part *)(void *)((char *)ret->lists + first), &ret->task);
    Taskworker__Task__LabelsEntry **label_pointers = ret->lists;
    Taskworker__Task__After **after_pointers = (Taskworker__Task__After **)(label_pointers + n);
    Taskworker__Task__LabelsEntry *labels = (Taskworker__Task__LabelsEntry *)(after_pointers + m);
    Taskworker__Task__After *after = (Taskworker__Task__After *)(labels + n);
    for (size_t i = 0; i < n; i++) {
        taskworker__task__labels_entry__init(&labels[i]);
        labels[i].key = (char *)info->labels[i].key;
        labels[i].value = (char *)info->labels[i].value;
        label_pointers[i] = &labels[i];
    }
    for (size_t i = 0; i < m; i++) {
        taskworker__task__after__init(&after[i]);
        after[i].task_id = info->after[i].id;
        after[i].state = (Taskworker__Task__State)info->after[i].state;
        after_pointers[i] = &after[i];
    }
    ret->task.labels = label_pointers;
    ret->task.n_labels = n;
    ret->task.after = after_pointers;
    ret->task.n_after = m;
}

void task_message_done(struct task_message *message)
{
    free(STEAL(message->lists));
}

Taskworker__Attempt *attempt_to_message(const struct tw_attempt_info *info, struct attempt_message *ret)
{
    Taskworker__Attempt *a = &ret->attempt;
    taskworker__attempt__init(a);
    usage_to_message(&info->usage, &ret->usage);
    a->attempt = info->attempt;
    a->reason = (Taskworker__Task__Reason)info->reason;
    a->message = info->message;
    a->error = info->error;
    a->exit_code = info->exit_code;
    a->signal = info->signal;
    a->started_us = (int64_t)info->started_us;
    a->finished_us = (int64_t)info->finished_us;
    a->usage = &ret->usage;
    if (has_receipt(&info->receipt)) {
        receipt_to_message(&info->receipt, &ret->receipt);
        a->receipt = &ret->receipt.receipt;
    }
    return a;
}

static void asked_to_message(const struct tw_asked *asked, struct task_message *ret)
{
    taskworker__limits__init(&ret->limits);
#define X(name) ret->limits.name = asked->limits.name;
    TW_LIMITS(X)
#undef X
    ret->task.limits = &ret->limits;
    ret->task.network = (Taskworker__Network)asked->network;
    ret->task.grace_ms = (int64_t)(asked->grace_us / 1000);
    ret->task.gpus = asked->gpus;
    ret->task.gpu_memory_bytes = asked->gpu_memory_bytes;
}

Taskworker__Task *task_to_message(const struct tw_task_info *info, bool with_receipt, struct task_message *ret)
{
    usage_to_message(&info->usage, &ret->usage);
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
    t->retry_delay_ms = (int64_t)(info->retry_delay_us / 1000);
    t->paused = info->paused;
    t->stopping = info->stopping;
    t->retry_of = info->retry_of ? info->retry_of : (char *)"";
    lists_to_message(info, ret);
    if (info->asked)
        asked_to_message(info->asked, ret);
    if (with_receipt && has_receipt(&info->receipt)) {
        receipt_to_message(&info->receipt, &ret->receipt);
        t->receipt = &ret->receipt.receipt;
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

/* What a spec points to beside the request: one block, so that there is one thing to free. */
struct arrays {
    struct tw_label labels[TW_LABELS_MAX];
    struct tw_input inputs[TW_INPUTS_MAX];
    struct tw_env env[];
};

static int labels_from_request(
    const Taskworker__ExecuteTaskRequest *request, struct arrays *arrays, struct tw_error *error)
{
    if (request->n_labels > TW_LABELS_MAX)
        return error_set(
            error, TW_INVALID_ARGUMENT, "%zu labels are too many: at most %d", request->n_labels, TW_LABELS_MAX);
    LABELS_FROM_MAP(arrays->labels, request->labels, request->n_labels);
    return 0;
}

static int times_from_request(
    const Taskworker__ExecuteTaskRequest *request, struct tw_task_spec *ret, struct tw_error *error)
{
    if (timeout_from_ms(request->timeout_ms, &ret->timeout_us, error) < 0 ||
        span_from_ms("queue_timeout_ms", request->queue_timeout_ms, &ret->queue_timeout_us, error) < 0 ||
        span_from_ms("retry_delay_ms", request->retry_delay_ms, &ret->retry_delay_us, error) < 0 ||
        span_from_ms("delay_ms", request->delay_ms, &ret->delay_us, error) < 0 ||
        span_from_ms("grace_ms", request->grace_ms, &ret->grace_us, error) < 0)
        return -1;
    if (request->not_before_us < 0)
        return error_set(
            error, TW_INVALID_ARGUMENT, "not_before_us is negative (%lld)", (long long)request->not_before_us);
    ret->not_before_us = (uint64_t)request->not_before_us;
    return 0;
}

int spec_from_request(
    const Taskworker__ExecuteTaskRequest *request, struct tw_task_spec *ret, void **ret_arrays, struct tw_error *error)
{
    *ret = (struct tw_task_spec){
        .size = sizeof *ret,
        .id = request->task_id,
        .type = request->task_type,
        .data = request->task_data.data,
        .data_len = request->task_data.len,
        .args = (const char *const *)request->args,
        .n_args = request->n_args,
        .n_env = request->n_env,
        .retries = request->retries,
        .network = (enum tw_network)request->network,
        .fresh_interpreter = request->fresh_interpreter,
        .priority = request->priority,
        .n_labels = request->n_labels,
        .after = (const char *const *)request->after,
        .n_after = request->n_after,
        .after_any = request->after_any,
        .gpus = request->gpus,
        .cache = (enum tw_cache)request->cache,
        .gpu_memory_bytes = request->gpu_memory_bytes,
    };
    if (request->gpu_memory_bytes > INT64_MAX)
        return error_set(error, TW_INVALID_ARGUMENT, "gpu_memory_bytes is out of range");
    if (times_from_request(request, ret, error) < 0 || limits_from_message(request->limits, &ret->limits, error) < 0)
        return -1;
    if (!tw_network_to_string((enum tw_network)request->network)) /* it may be any number, also a negative one */
        return error_set(error, TW_INVALID_ARGUMENT, "network is %d, which is none", (int)request->network);
    struct arrays *arrays = calloc(1, sizeof *arrays + request->n_env * sizeof *arrays->env);
    if (!arrays)
        return error_oom(error);
    if (labels_from_request(request, arrays, error) < 0) {
        free(arrays);
        return -1;
    }
    for (size_t i = 0; i < request->n_env; i++)
        arrays->env[i] = (struct tw_env){.name = request->env[i]->key, .value = request->env[i]->value};
    for (size_t i = 0; i < MIN(request->n_inputs, (size_t)TW_INPUTS_MAX); i++) /* more are refused by their number */
        arrays->inputs[i] = (struct tw_input){
            .file_id = request->inputs[i]->file_id, .name = request->inputs[i]->name, .path = request->inputs[i]->path};
    ret->outputs = (const char *const *)request->outputs;
    ret->n_outputs = request->n_outputs;
    ret->inputs = arrays->inputs;
    ret->n_inputs = request->n_inputs;
    ret->env = arrays->env;
    ret->labels = arrays->labels;
    *ret_arrays = arrays;
    return 0;
}
