/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calls about one task, ListTasks and GetStatus. Batches, retries, pauses and attempts are in taskworker_life.c, the streams in
 * taskworker_logs.c and taskworker_events.c; what all have in common is in taskworker_pending.c.
 */
#include "rpc/taskworker_service.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/parse.h"
#include "base/text.h"
#include "rpc/taskworker_convert.h"
#include "rpc/taskworker_logs.h"
#include "rpc/taskworker_pending.h"
#include "rpc/wire_check.h"
#include "task/state.h"

enum { PAGE_DEFAULT = 100, PAGE_MAX = 1000, WARNINGS_MAX = 8 };

/* --- ExecuteTask --- */

void pending_refuse_task(struct pending *p, const struct tw_error *error)
{
    if (!p->call)
        return;
    Taskworker__ExecuteTaskResponse response = TASKWORKER__EXECUTE_TASK_RESPONSE__INIT;
    response.message = (char *)error->message;
    rpc_call_send(p->call, &response.base);
    pending_fail(p, error);
}

void pending_on_admitted(void *ctx, const struct tw_task_info *info, bool existing, const struct tw_error *error)
{
    struct pending *p = ctx;
    if (error) {
        pending_refuse_task(p, error);
    } else if (p->call) {
        Taskworker__ExecuteTaskResponse response = TASKWORKER__EXECUTE_TASK_RESPONSE__INIT;
        response.success = true;
        response.cached = existing && p->may_be_cached;
        response.message = (char *)(response.cached ? "such a task was accepted before"
                : existing                          ? "this task was accepted before"
                                                    : "accepted");
        rpc_call_set_object(p->call, info->id);
        response.task_id = info->id;
        response.state = (Taskworker__Task__State)info->state;
        rpc_call_reply(p->call, &response.base);
    }
    pending_unref(p);
}

static void execute_task(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    CLEANUP_REQUEST Taskworker__ExecuteTaskRequest *request = NULL;
    struct pending *p = pending_begin(call, ctx, &taskworker__execute_task_request__descriptor, msg, len, &request);
    if (!p)
        return;
    struct tw_task_spec spec;
    struct tw_error error;
    CLEANUP_FREE void *arrays = NULL;
    if (spec_from_request(request, &spec, &arrays, &error) < 0) {
        pending_refuse_task(p, &error);
        pending_unref(p);
        return;
    }
    p->may_be_cached = spec.cache == TW_CACHE_USE;
    spec.owner = owner_caller(call);
    spec.after_own = !owner_sees_all(call);
    /* The data was allocated for the request: the engine takes it over as it is. */
    void *data = request->task_data.len ? STEAL(request->task_data.data) : NULL;
    request->task_data.len = 0;
    engine_admit(p->service->engine, &spec, data, pending_on_admitted, p);
}

/* --- GetTask --- */

static void on_task(void *ctx, const struct tw_task_info *info, uint64_t seq UNUSED, const struct tw_error *error)
{
    struct pending *p = ctx;
    if (error) {
        pending_fail(p, error);
    } else if (p->call) {
        CLEANUP_TASK_MESSAGE struct task_message message = {0};
        Taskworker__GetTaskResponse response = TASKWORKER__GET_TASK_RESPONSE__INIT;
        response.task = task_to_message(info, true, &message);
        rpc_call_reply(p->call, &response.base);
    }
    pending_unref(p);
}

static void look_up(struct pending *p)
{
    engine_get(p->service->engine, p->id, on_task, p);
}

static void get_task(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    CLEANUP_REQUEST Taskworker__GetTaskRequest *request = NULL;
    struct pending *p = pending_begin(call, ctx, &taskworker__get_task_request__descriptor, msg, len, &request);
    if (!p)
        return;
    pending_look(p, request->task_id, look_up, pending_refuse);
}

/* --- WaitTask and GetResult: a task, and then perhaps its result from the store --- */

/* The task's message must outlive the engine's callback, so this one owns its strings. */
struct result_query {
    struct pending *pending;
    bool for_wait;
    Taskworker__Task *task;
};

static void reply_wait(struct pending *p, Taskworker__Task *task, const void *result, size_t len)
{
    Taskworker__WaitTaskResponse response = TASKWORKER__WAIT_TASK_RESPONSE__INIT;
    response.task = task;
    response.result = (ProtobufCBinaryData){.len = len, .data = (uint8_t *)result};
    if (p->call)
        rpc_call_reply(p->call, &response.base);
}

static void reply_result(struct pending *p, Taskworker__Task *task, const void *result, size_t len)
{
    Taskworker__GetResultResponse response = TASKWORKER__GET_RESULT_RESPONSE__INIT;
    response.task = task;
    response.result = (ProtobufCBinaryData){.len = len, .data = (uint8_t *)result};
    response.content_type = (char *)(strcmp(task->task_type, "shell") != 0 ? "application/json" : "text/plain");
    if (p->call)
        rpc_call_reply(p->call, &response.base);
}

static void on_result(void *ctx, const void *result, size_t len, const struct tw_error *error)
{
    struct result_query *q = ctx;
    if (error)
        pending_fail(q->pending, error);
    else if (q->for_wait)
        reply_wait(q->pending, q->task, result, len);
    else
        reply_result(q->pending, q->task, result, len);
    taskworker__task__free_unpacked(q->task, NULL);
    pending_unref(q->pending);
    free(q);
}

/* Takes over one reference to p. */
static void load_result(struct pending *p, const struct tw_task_info *info, bool for_wait)
{
    CLEANUP_TASK_MESSAGE struct task_message message = {0};
    Taskworker__Task *task = task_to_message(info, true, &message);
    size_t size = taskworker__task__get_packed_size(task);
    CLEANUP_FREE uint8_t *packed = malloc(size ? size : 1);
    struct result_query *q = packed ? calloc(1, sizeof *q) : NULL;
    if (q) {
        taskworker__task__pack(task, packed);
        *q = (struct result_query){
            .pending = p, .for_wait = for_wait, .task = taskworker__task__unpack(NULL, size, packed)};
    }
    if (!q || !q->task) {
        struct tw_error error;
        free(q);
        error_oom(&error);
        pending_fail(p, &error);
        pending_unref(p);
        return;
    }
    store_load_result(p->service->store, info->id, on_result, q);
}

static void on_end(
    void *ctx, const struct tw_task_info *info, const void *result, size_t len, const struct tw_error *error)
{
    struct pending *p = ctx;
    p->wait = NULL;
    pending_stop_timer(p);
    if (!error && p->call && p->include_result && !result && info->result_size) {
        load_result(p, info, true);
        return;
    }
    if (error) {
        pending_fail(p, error);
    } else if (p->call) {
        CLEANUP_TASK_MESSAGE struct task_message message = {0};
        reply_wait(
            p, task_to_message(info, true, &message), p->include_result ? result : NULL, p->include_result ? len : 0);
    }
    pending_unref(p);
}

static void on_wait_timeout(uv_timer_t *timer)
{
    struct pending *p = timer->data;
    struct tw_error error;
    error_set(&error, TW_DEADLINE_EXCEEDED, "the task has not ended after %llu ms",
        (unsigned long long)(p->timeout_us / 1000));
    pending_fail(p, &error); /* on_call_done does the rest */
}

static void begin_wait(struct pending *p)
{
    p->refs++; /* the answer may come, and the call end, before engine_wait returns */
    p->wait = engine_wait(p->service->engine, p->id, on_end, p);
    pending_unref(p);
}

static void refuse_wait(struct pending *p, const struct tw_error *error)
{
    pending_stop_timer(p);
    pending_refuse(p, error);
}

static void wait_task(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    CLEANUP_REQUEST Taskworker__WaitTaskRequest *request = NULL;
    struct pending *p = pending_begin(call, ctx, &taskworker__wait_task_request__descriptor, msg, len, &request);
    if (!p)
        return;
    struct tw_error error;
    if (pending_require_id(request->task_id, &error) < 0 ||
        timeout_from_ms(request->timeout_ms, &p->timeout_us, &error) < 0) {
        on_end(p, NULL, NULL, 0, &error);
        return;
    }
    p->include_result = request->include_result;
    if (p->timeout_us) {
        p->refs++;
        p->timer_used = true;
        uv_timer_init(p->service->loop, &p->timer);
        p->timer.data = p;
        uv_timer_start(&p->timer, on_wait_timeout, p->timeout_us / 1000, 0);
    }
    pending_look(p, request->task_id, begin_wait, refuse_wait);
}

static void on_task_for_result(
    void *ctx, const struct tw_task_info *info, uint64_t seq UNUSED, const struct tw_error *error)
{
    struct pending *p = ctx;
    struct tw_error early;
    if (!error && task_state_is_final(info->state)) {
        load_result(p, info, false);
        return;
    }
    if (!error) {
        error_set(&early, TW_FAILED_PRECONDITION, "task %s has no result yet: it is %s", info->id,
            tw_task_state_to_string(info->state));
        error = &early;
    }
    pending_fail(p, error);
    pending_unref(p);
}

static void look_for_result(struct pending *p)
{
    engine_get(p->service->engine, p->id, on_task_for_result, p);
}

static void get_result(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    CLEANUP_REQUEST Taskworker__GetResultRequest *request = NULL;
    struct pending *p = pending_begin(call, ctx, &taskworker__get_result_request__descriptor, msg, len, &request);
    if (!p)
        return;
    pending_look(p, request->task_id, look_for_result, pending_refuse);
}

/* --- StopTask --- */

static void on_stopped(void *ctx, const struct tw_task_info *info, const void *result UNUSED, size_t len UNUSED,
    const struct tw_error *error)
{
    struct pending *p = ctx;
    p->wait = NULL;
    if (p->call) {
        CLEANUP_TASK_MESSAGE struct task_message message = {0};
        Taskworker__StopTaskResponse response = TASKWORKER__STOP_TASK_RESPONSE__INIT;
        response.success = !error;
        response.message = (char *)(error ? error->message : "stopped");
        response.task = info ? task_to_message(info, true, &message) : NULL;
        if (error) {
            rpc_call_send(p->call, &response.base);
            pending_fail(p, error);
        } else {
            rpc_call_reply(p->call, &response.base);
        }
    }
    pending_unref(p);
}

static void begin_stop(struct pending *p)
{
    engine_stop(p->service->engine, p->id, on_stopped, p);
}

static void refuse_stop(struct pending *p, const struct tw_error *error)
{
    on_stopped(p, NULL, NULL, 0, error);
}

static void stop_task(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    CLEANUP_REQUEST Taskworker__StopTaskRequest *request = NULL;
    struct pending *p = pending_begin(call, ctx, &taskworker__stop_task_request__descriptor, msg, len, &request);
    if (!p)
        return;
    pending_look(p, request->task_id, begin_stop, refuse_stop);
}

/* --- ListTasks --- */

#define BIT(state) (1u << (unsigned)(state))

/*
 * The store knows QUEUED, RUNNING and the final states; where a live task stands between them only the engine knows. So
 * the store is asked for every row that could qualify, and the engine's word decides.
 */
static uint32_t stored_states(uint32_t asked)
{
    uint32_t states = asked;
    if (asked & BIT(TW_TASK_ALLOCATED))
        states |= BIT(TW_TASK_QUEUED);
    if (asked & BIT(TW_TASK_PREPARING))
        states |= BIT(TW_TASK_QUEUED) | BIT(TW_TASK_RUNNING);
    if (asked & BIT(TW_TASK_RUNNING))
        states |= BIT(TW_TASK_QUEUED);
    return states;
}

static void on_page(void *ctx, const struct store_task *tasks, size_t n, uint64_t next, const struct tw_error *error)
{
    struct pending *p = ctx;
    struct tw_error oom;
    struct task_message *messages = p->call && !error ? calloc(n + 1, sizeof *messages) : NULL;
    Taskworker__Task **rows = messages ? calloc(n + 1, sizeof *rows) : NULL;
    if (!error && !rows) {
        error_oom(&oom);
        error = &oom;
    }
    if (error) {
        pending_fail(p, error);
    } else if (p->call) {
        Taskworker__ListTasksResponse response = TASKWORKER__LIST_TASKS_RESPONSE__INIT;
        char token[24] = "";
        for (size_t i = 0; i < n; i++) {
            struct task *live = engine_find(p->service->engine, tasks[i].info.id);
            const struct tw_task_info *info = live ? task_info(live) : &tasks[i].info;
            if (!p->states || p->states & BIT(info->state))
                rows[response.n_tasks] = task_to_message(info, false, &messages[response.n_tasks]), response.n_tasks++;
        }
        response.tasks = rows;
        if (next)
            snprintf(token, sizeof token, "%llu", (unsigned long long)next);
        response.next_page_token = token;
        rpc_call_reply(p->call, &response.base);
        for (size_t i = 0; i < response.n_tasks; i++)
            task_message_done(&messages[i]);
    }
    free(rows);
    free(messages);
    pending_unref(p);
}

static int filter_from_request(const Taskworker__ListTasksRequest *request, struct tw_label labels[TW_LABELS_MAX],
    struct store_filter *ret, uint64_t *ret_states, struct tw_error *error)
{
    uint32_t states = 0;
    for (size_t i = 0; i < request->n_states; i++) {
        int state = (int)request->states[i];
        if (!tw_task_state_to_string((enum tw_task_state)state))
            return error_set(error, TW_INVALID_ARGUMENT, "states has %d, which is no state", state);
        states |= BIT(state);
    }
    uint64_t before = 0;
    if (*request->page_token && parse_u64(request->page_token, 1, INT64_MAX, &before) < 0)
        return error_set(error, TW_INVALID_ARGUMENT, "page_token is not one that this node gave out");
    if (request->n_labels > TW_LABELS_MAX)
        return error_set(
            error, TW_INVALID_ARGUMENT, "%zu labels are too many: at most %d", request->n_labels, TW_LABELS_MAX);
    if (request->created_from_us < 0 || request->created_to_us < 0)
        return error_set(error, TW_INVALID_ARGUMENT, "created_from_us and created_to_us must not be negative");
    LABELS_FROM_MAP(labels, request->labels, request->n_labels);
    *ret_states = states;
    *ret = (struct store_filter){
        .owner = *request->owner ? request->owner : NULL,
        .labels = labels,
        .n_labels = request->n_labels,
        .created_from_us = (uint64_t)request->created_from_us,
        .created_to_us = (uint64_t)request->created_to_us,
        .dead_letters = request->dead_letters,
        .states = stored_states(states),
        .type = *request->task_type ? request->task_type : NULL,
        .before = before,
        .limit = request->page_size ? MIN(request->page_size, (uint32_t)PAGE_MAX) : PAGE_DEFAULT,
    };
    return 0;
}

static void list_tasks(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    CLEANUP_REQUEST Taskworker__ListTasksRequest *request = NULL;
    struct pending *p = pending_begin(call, ctx, &taskworker__list_tasks_request__descriptor, msg, len, &request);
    if (!p)
        return;
    struct tw_error error;
    struct store_filter filter;
    struct tw_label labels[TW_LABELS_MAX];
    if (owner_take_filter(call, &request->owner, &error) < 0 ||
        filter_from_request(request, labels, &filter, &p->states, &error) < 0)
        on_page(p, NULL, 0, 0, &error);
    else
        store_list(p->service->store, &filter, on_page, p);
}

/* --- GetStatus --- */

static void get_status(struct rpc_call *call, const uint8_t *msg UNUSED, size_t len UNUSED, void *ctx)
{
    struct taskworker_service *s = ctx;
    struct engine_status status;
    engine_get_status(s->engine, &status);
    Taskworker__GetStatusResponse response = TASKWORKER__GET_STATUS_RESPONSE__INIT;
    response.node_id = (char *)s->node_id;
    response.version = (char *)HIVEMIND_VERSION;
    response.state = status.draining ? TASKWORKER__GET_STATUS_RESPONSE__STATE__DRAINING
                                     : TASKWORKER__GET_STATUS_RESPONSE__STATE__SERVING;
    response.started_us = (int64_t)s->started_us;
    response.max_concurrent_tasks = status.max_running;
    response.running_tasks = status.running;
    response.queued_tasks = status.queued;
    response.max_queued_tasks = status.max_queued;
    response.max_task_size = status.max_task_size;
    response.accepted_tasks = status.accepted;
    response.completed_tasks = status.completed;
    response.failed_tasks = status.failed;
    response.stopped_tasks = status.stopped;
    response.cache_hits = status.cache_hits;
    response.cache_misses = status.cache_misses;
    response.cpu_millis = status.cpu_millis;
    response.cpu_millis_allocated = status.cpu_millis_used;
    response.memory_bytes = status.memory_bytes;
    response.memory_bytes_allocated = status.memory_bytes_used;
    response.cpu_score = s->cpu_score ? *s->cpu_score : 0;
    response.disk_bytes = s->disk_bytes ? *s->disk_bytes : 0;
    response.disk_free_bytes = s->disk_free_bytes ? *s->disk_free_bytes : 0;
    response.last_event = store_last_event(s->store);
    Taskworker__Gpu gpus[GPUS_MAX], *gpu_list[GPUS_MAX];
    response.gpus = gpu_list;
    for (size_t i = 0; i < status.gpus->n; i++) {
        const struct gpu_slot *held = &status.gpus->device[i];
        taskworker__gpu__init(&gpus[i]);
        gpus[i].name = (char *)status.gpu[i].name;
        gpus[i].uuid = (char *)status.gpu[i].uuid;
        gpus[i].memory_bytes = held->memory_bytes;
        gpus[i].memory_bytes_allocated = held->used_bytes;
        gpus[i].tasks = held->whole ? 1 : held->sharers;
        gpus[i].whole = held->whole;
        gpus[i].score = status.gpu[i].score;
        gpu_list[response.n_gpus++] = &gpus[i];
    }
    const char *warnings[WARNINGS_MAX + 1];
    for (size_t i = 0; i < s->n_warnings && i < WARNINGS_MAX; i++)
        warnings[response.n_warnings++] = s->warnings[i];
    if (status.trouble)
        warnings[response.n_warnings++] = status.trouble;
    response.warnings = (char **)warnings;
    rpc_call_reply(call, &response.base);
}

/* --- */

void taskworker_service_end(struct taskworker_service *service)
{
    service->ending = true;
    taskworker_on_event(service);
}

int taskworker_service_register(
    struct rpc_server *server, struct taskworker_service *service, size_t max_task_size, struct tw_error *error)
{
#define METHOD(name) "/taskworker.TaskWorkerService/" name
    static const struct rpc_method methods[] = {
        {.name = METHOD("GetTask"), .unary = get_task},
        {.name = METHOD("WaitTask"), .lasting = true, .unary = wait_task},
        {.name = METHOD("ListTasks"), .unary = list_tasks},
        {.name = METHOD("StopTask"), .unary = stop_task},
        {.name = METHOD("GetResult"), .unary = get_result},
        {.name = METHOD("StreamLogs"), .lasting = true, .unary = taskworker_stream_logs},
        {.name = METHOD("RetryTask"), .unary = taskworker_retry_task},
        {.name = METHOD("ListAttempts"), .unary = taskworker_list_attempts},
        {.name = METHOD("PauseTask"), .unary = taskworker_pause_task},
        {.name = METHOD("ResumeTask"), .unary = taskworker_resume_task},
        {.name = METHOD("WatchTasks"), .lasting = true, .unary = taskworker_watch_tasks},
        {.name = METHOD("GetStatus"), .unary = get_status},
        {.name = METHOD("Shutdown"), .unary = taskworker_shutdown},
        {0},
    };
    /* Room for the data, and for the largest legal arguments and environment beside it. */
    service->execute[0] = (struct rpc_method){
        .name = METHOD("ExecuteTask"), .max_request = max_task_size + (1 << 20), .unary = execute_task};
    service->execute[1] = (struct rpc_method){
        .name = METHOD("ExecuteBatch"), .max_request = max_task_size + (16 << 20), .unary = taskworker_execute_batch};
    service->execute[2] = (struct rpc_method){0};
    list_init(&service->watchers);
    store_set_on_event(service->store, taskworker_on_event, service);
#undef METHOD
    int r = rpc_server_add_methods(server, methods, service);
    if (r == 0)
        r = rpc_server_add_methods(server, service->execute, service);
    return r < 0 ? error_set_errno(error, r, "cannot register TaskWorkerService") : 0;
}
