/* SPDX-License-Identifier: Apache-2.0 */
/* The calls of TaskWorkerService about more, or other, than one run of one task: batches, retries, pauses, former attempts, the end. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "rpc/taskworker_convert.h"
#include "rpc/taskworker_pending.h"

/* --- ExecuteBatch --- */

struct specs {
    struct tw_task_spec *list;
    void **arrays; /* of each */
    size_t n;
};

static void specs_done(struct specs *specs)
{
    for (size_t i = 0; i < specs->n; i++)
        free(specs->arrays[i]);
    free(specs->arrays);
    free(specs->list);
}

static int specs_from_request(const Taskworker__ExecuteBatchRequest *request, const char *owner, bool after_own,
    struct specs *ret, struct tw_error *error)
{
    if (request->n_tasks > ENGINE_MAX_BATCH)
        return error_set(
            error, TW_INVALID_ARGUMENT, "the batch has %zu tasks: at most %d", request->n_tasks, ENGINE_MAX_BATCH);
    ret->list = calloc(request->n_tasks + 1, sizeof *ret->list);
    ret->arrays = calloc(request->n_tasks + 1, sizeof *ret->arrays);
    if (!ret->list || !ret->arrays)
        return error_oom(error);
    for (; ret->n < request->n_tasks; ret->n++) {
        struct tw_error cause;
        if (spec_from_request(request->tasks[ret->n], &ret->list[ret->n], &ret->arrays[ret->n], &cause) < 0)
            return error_set(error, cause.code, "task %zu of the batch: %s", ret->n + 1, cause.message);
        ret->list[ret->n].owner = owner;
        ret->list[ret->n].after_own = after_own;
    }
    return 0;
}

/* The engine borrows the specs until it answers. */
struct batch_call {
    struct pending *p;
    Taskworker__ExecuteBatchRequest *request;
    char *owner; /* NULL: nobody in particular */
    struct specs specs;
};

static void on_batch(void *ctx, const char *batch_id, const char *const *ids, size_t n, const struct tw_error *error)
{
    struct batch_call *b = ctx;
    struct pending *p = b->p;
    if (p->call) {
        Taskworker__ExecuteBatchResponse response = TASKWORKER__EXECUTE_BATCH_RESPONSE__INIT;
        response.success = !error;
        response.message = (char *)(error ? error->message : "accepted");
        response.batch_id = (char *)(batch_id ? batch_id : "");
        response.task_ids = (char **)ids;
        response.n_task_ids = n;
        rpc_call_set_object(p->call, response.batch_id);
        if (error) {
            rpc_call_send(p->call, &response.base);
            pending_fail(p, error);
        } else {
            rpc_call_reply(p->call, &response.base);
        }
    }
    specs_done(&b->specs);
    taskworker__execute_batch_request__free_unpacked(b->request, NULL);
    free(b->owner);
    free(b);
    pending_unref(p);
}

void taskworker_execute_batch(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    CLEANUP_REQUEST Taskworker__ExecuteBatchRequest *request = NULL;
    struct pending *p = pending_begin(call, ctx, &taskworker__execute_batch_request__descriptor, msg, len, &request);
    if (!p)
        return;
    struct batch_call *b = calloc(1, sizeof *b);
    struct tw_error error;
    if (!b) {
        error_oom(&error);
        pending_fail(p, &error);
        pending_unref(p);
        return;
    }
    *b = (struct batch_call){.p = p, .request = STEAL(request)};
    const char *owner = owner_caller(call);
    if (owner && !(b->owner = strdup(owner))) { /* the call may go before the engine answers */
        error_oom(&error);
        on_batch(b, NULL, NULL, 0, &error);
        return;
    }
    if (specs_from_request(b->request, b->owner, !owner_sees_all(call), &b->specs, &error) < 0) {
        on_batch(b, NULL, NULL, 0, &error);
        return;
    }
    const struct engine_batch batch = {
        .batch_id = b->request->batch_id,
        .specs = b->specs.list,
        .n_specs = b->specs.n,
        .array_count = b->request->array_count,
        .array_first = b->request->array_first,
    };
    engine_admit_batch(p->service->engine, &batch, on_batch, b);
}

/* --- RetryTask --- */

static void begin_retry(struct pending *p)
{
    const Taskworker__RetryTaskRequest *request = p->request;
    const struct engine_again again = {
        .id = p->id,
        .new_id = request->new_task_id,
        .after = (const char *const *)request->after,
        .n_after = request->n_after,
        .after_own = !owner_sees_all(p->call),
    };
    engine_retry(p->service->engine, &again, pending_on_admitted, p);
}

static void refuse_retry(struct pending *p, const struct tw_error *error)
{
    pending_on_admitted(p, NULL, false, error);
}

void taskworker_retry_task(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    CLEANUP_REQUEST Taskworker__RetryTaskRequest *request = NULL;
    struct pending *p = pending_begin(call, ctx, &taskworker__retry_task_request__descriptor, msg, len, &request);
    if (!p)
        return;
    struct tw_error error;
    if (request->n_after > TW_AFTER_MAX) { /* before they are copied */
        error_set(
            &error, TW_INVALID_ARGUMENT, "after: %zu tasks are too many: at most %d", request->n_after, TW_AFTER_MAX);
        refuse_retry(p, &error);
        return;
    }
    const char *id = request->task_id;
    p->request = STEAL(request);
    pending_look(p, id, begin_retry, refuse_retry);
}

/* --- PauseTask, ResumeTask --- */

/* Their responses have one field each, of the same number: one serves for both. */
static void on_paused(void *ctx, const struct tw_task_info *info, uint64_t seq UNUSED, const struct tw_error *error)
{
    struct pending *p = ctx;
    if (error) {
        pending_fail(p, error);
    } else if (p->call) {
        CLEANUP_TASK_MESSAGE struct task_message message = {0};
        Taskworker__PauseTaskResponse response = TASKWORKER__PAUSE_TASK_RESPONSE__INIT;
        response.task = task_to_message(info, true, &message);
        rpc_call_reply(p->call, &response.base);
    }
    pending_unref(p);
}

static void begin_pause(struct pending *p)
{
    engine_set_paused(p->service->engine, p->id, true, on_paused, p);
}

static void begin_resume(struct pending *p)
{
    engine_set_paused(p->service->engine, p->id, false, on_paused, p);
}

void taskworker_pause_task(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    CLEANUP_REQUEST Taskworker__PauseTaskRequest *request = NULL;
    struct pending *p = pending_begin(call, ctx, &taskworker__pause_task_request__descriptor, msg, len, &request);
    if (p)
        pending_look(p, request->task_id, begin_pause, pending_refuse);
}

void taskworker_resume_task(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    CLEANUP_REQUEST Taskworker__ResumeTaskRequest *request = NULL;
    struct pending *p = pending_begin(call, ctx, &taskworker__resume_task_request__descriptor, msg, len, &request);
    if (p)
        pending_look(p, request->task_id, begin_resume, pending_refuse);
}

/* --- ListAttempts --- */

static void reply_attempts(struct pending *p, const struct tw_attempt_info *attempts, size_t n)
{
    CLEANUP_FREE struct attempt_message *messages = calloc(n + 1, sizeof *messages);
    CLEANUP_FREE Taskworker__Attempt **rows = calloc(n + 1, sizeof *rows);
    struct tw_error error;
    if (!messages || !rows) {
        error_oom(&error);
        pending_fail(p, &error);
        return;
    }
    Taskworker__ListAttemptsResponse response = TASKWORKER__LIST_ATTEMPTS_RESPONSE__INIT;
    for (size_t i = 0; i < n; i++)
        rows[i] = attempt_to_message(&attempts[i], &messages[i]);
    response.attempts = rows;
    response.n_attempts = n;
    rpc_call_reply(p->call, &response.base);
}

static void on_attempts(void *ctx, const struct tw_attempt_info *attempts, size_t n, const struct tw_error *error)
{
    struct pending *p = ctx;
    if (error)
        pending_fail(p, error);
    else if (p->call)
        reply_attempts(p, attempts, n);
    pending_unref(p);
}

static void begin_attempts(struct pending *p)
{
    store_attempts(p->service->store, p->id, on_attempts, p);
}

void taskworker_list_attempts(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    CLEANUP_REQUEST Taskworker__ListAttemptsRequest *request = NULL;
    struct pending *p = pending_begin(call, ctx, &taskworker__list_attempts_request__descriptor, msg, len, &request);
    if (p)
        pending_look(p, request->task_id, begin_attempts, pending_refuse);
}

/* --- Shutdown --- */

static int shutdown_from_request(
    const struct taskworker_service *s, const Taskworker__ShutdownRequest *request, struct tw_error *error)
{
    if (request->mode > TASKWORKER__SHUTDOWN_REQUEST__MODE__STOP || (int)request->mode < 0)
        return error_set(error, TW_INVALID_ARGUMENT, "mode: DRAIN, DETACH or STOP, not %d", (int)request->mode);
    if (request->timeout_ms < 0 || request->timeout_ms > INT64_MAX / 1000)
        return error_set(error, TW_INVALID_ARGUMENT, "timeout_ms is out of range");
    if (!s->on_shutdown)
        return error_set(error, TW_FAILED_PRECONDITION, "this node is not to be ended by a call");
    return 0;
}

void taskworker_shutdown(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    struct taskworker_service *s = ctx;
    CLEANUP_REQUEST Taskworker__ShutdownRequest *request = NULL;
    struct pending *p = pending_begin(call, ctx, &taskworker__shutdown_request__descriptor, msg, len, &request);
    struct engine_status status;
    struct tw_error error;
    if (!p)
        return;
    engine_get_status(s->engine, &status);
    if (shutdown_from_request(s, request, &error) < 0) {
        pending_fail(p, &error);
    } else {
        Taskworker__ShutdownResponse response = TASKWORKER__SHUTDOWN_RESPONSE__INIT;
        struct tw_shutdown_answer answer =
            s->on_shutdown(s->on_shutdown_ctx, (enum tw_shutdown)request->mode, (uint64_t)request->timeout_ms * 1000);
        response.running_tasks = status.running;
        response.queued_tasks = status.queued;
        response.detach_timeout_ms = (int64_t)status.detach_seconds * 1000;
        response.mode = (Taskworker__ShutdownRequest__Mode)answer.how;
        response.forgets_queued = answer.forgets_queued;
        rpc_call_reply(p->call, &response.base);
    }
    pending_unref(p);
}
