/* SPDX-License-Identifier: Apache-2.0 */
#include "echo_service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "base/util.h"

#include "taskworker.pb-c.h"

enum { LOG_CHUNK = 1000, CHAT_FACTOR = 16 };

static void count_done(struct rpc_call *call UNUSED, void *ctx)
{
    ((struct echo *)ctx)->done++;
}

static void begin(struct rpc_call *call, struct echo *echo)
{
    const char *value = rpc_call_metadata(call, "x-test");
    snprintf(echo->metadata, sizeof echo->metadata, "%s", value ? value : "-");
    snprintf(echo->peer, sizeof echo->peer, "%s", rpc_call_peer(call));
    snprintf(echo->method, sizeof echo->method, "%s", rpc_call_method(call));
    echo->deadline_us = rpc_call_deadline_us(call);
    rpc_call_set_on_done(call, count_done, echo);
}

static void get_status(struct rpc_call *call, const uint8_t *msg UNUSED, size_t len UNUSED, void *ctx)
{
    Taskworker__GetStatusResponse response = TASKWORKER__GET_STATUS_RESPONSE__INIT;
    const char *identity = rpc_call_peer_identity(call);
    snprintf(((struct echo *)ctx)->identity, sizeof((struct echo *)ctx)->identity, "%s", identity ? identity : "-");
    rpc_call_set_on_done(call, count_done, ctx);
    response.node_id = (char *)"echo";
    response.version = (char *)"1";
    response.state = TASKWORKER__GET_STATUS_RESPONSE__STATE__SERVING;
    response.max_concurrent_tasks = 4;
    rpc_call_reply(call, &response.base);
}

static void execute_task(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    struct echo *echo = ctx;
    begin(call, echo);
    Taskworker__ExecuteTaskRequest *request = taskworker__execute_task_request__unpack(NULL, len, msg);
    if (!request) {
        rpc_call_finish(call, TW_INTERNAL, "not an ExecuteTaskRequest");
        return;
    }
    char text[32];
    snprintf(text, sizeof text, "%zu", request->task_data.len);
    Taskworker__ExecuteTaskResponse response = TASKWORKER__EXECUTE_TASK_RESPONSE__INIT;
    echo->executed++;
    response.message = text;
    response.success = strcmp(request->task_type, "bad") != 0;
    if (!strcmp(request->task_type, "silent")) {
        rpc_call_finish(call, TW_INVALID_ARGUMENT, "100% sch\xc3\xb6n\nschlecht");
    } else {
        rpc_call_send(call, &response.base);
        rpc_call_finish(call, response.success ? TW_OK : TW_INVALID_ARGUMENT, response.success ? "" : "bad type");
    }
    taskworker__execute_task_request__free_unpacked(request, NULL);
}

static void wait_done(struct rpc_call *call, void *ctx)
{
    struct echo *echo = ctx;
    echo->done++;
    echo->waiting--;
    if (echo->last_wait == call)
        echo->last_wait = NULL;
}

static void wait_task(struct rpc_call *call, const uint8_t *msg UNUSED, size_t len UNUSED, void *ctx)
{
    struct echo *echo = ctx;
    begin(call, echo);
    echo->waiting++;
    echo->last_wait = call;
    rpc_call_set_on_done(call, wait_done, echo);
}

static void get_result(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    begin(call, ctx);
    Taskworker__GetResultRequest *request = taskworker__get_result_request__unpack(NULL, len, msg);
    uint64_t size = 0;
    if (!request || parse_u64(request->task_id, 0, UINT32_MAX, &size) < 0) {
        rpc_call_finish(call, TW_INVALID_ARGUMENT, "task_id is not a number");
    } else {
        Taskworker__GetResultResponse response = TASKWORKER__GET_RESULT_RESPONSE__INIT;
        response.result.len = size;
        response.result.data = malloc(size + 1);
        memset(response.result.data, 'x', size);
        rpc_call_reply(call, &response.base);
        free(response.result.data);
    }
    if (request)
        taskworker__get_result_request__free_unpacked(request, NULL);
}

struct log_stream {
    struct echo *echo;
    uint64_t left;
    bool follow;
};

static void stream_more(struct rpc_call *call, void *ctx)
{
    struct log_stream *s = ctx;
    static uint8_t chunk[LOG_CHUNK];
    Taskworker__StreamLogsResponse response = TASKWORKER__STREAM_LOGS_RESPONSE__INIT;
    response.data = (ProtobufCBinaryData){.data = chunk, .len = sizeof chunk};
    while (s->left) {
        s->left--;
        s->echo->streamed++;
        if (!rpc_call_send(call, &response.base)) {
            s->echo->choked++;
            return;
        }
    }
    if (!s->follow)
        rpc_call_finish(call, TW_OK, NULL);
}

static void stream_drained(struct rpc_call *call, void *ctx)
{
    ((struct log_stream *)ctx)->echo->drained++;
    stream_more(call, ctx);
}

static void stream_done(struct rpc_call *call UNUSED, void *ctx)
{
    ((struct log_stream *)ctx)->echo->done++;
    free(ctx);
}

static void stream_logs(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    Taskworker__StreamLogsRequest *request = taskworker__stream_logs_request__unpack(NULL, len, msg);
    struct log_stream *s = request ? calloc(1, sizeof *s) : NULL;
    if (!s) {
        rpc_call_finish(call, TW_INTERNAL, "not a StreamLogsRequest");
        return;
    }
    *s = (struct log_stream){.echo = ctx, .left = request->offset, .follow = request->follow};
    rpc_call_set_on_done(call, stream_done, s);
    rpc_call_set_on_drain(call, stream_drained, s);
    stream_more(call, s);
    taskworker__stream_logs_request__free_unpacked(request, NULL);
}

static void chat_start(struct rpc_call *call, void *ctx)
{
    begin(call, ctx);
}

static void chat_message(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    ((struct echo *)ctx)->chat_messages++;
    Taskworker__StreamLogsResponse response = TASKWORKER__STREAM_LOGS_RESPONSE__INIT;
    response.data.len = len * CHAT_FACTOR;
    response.data.data = malloc(response.data.len + 1);
    for (size_t i = 0; i < CHAT_FACTOR; i++)
        memcpy(response.data.data + i * len, msg, len);
    if (!rpc_call_send(call, &response.base))
        ((struct echo *)ctx)->choked++;
    free(response.data.data);
}

static void chat_half_close(struct rpc_call *call, void *ctx)
{
    ((struct echo *)ctx)->half_closed++;
    rpc_call_finish(call, TW_OK, NULL);
}

static const struct rpc_method methods[] = {
    {.name = "/taskworker.TaskWorkerService/GetStatus", .unary = get_status},
    {.name = "/taskworker.TaskWorkerService/ExecuteTask", .max_request = 110u * 1024 * 1024, .unary = execute_task},
    {.name = "/taskworker.TaskWorkerService/WaitTask", .lasting = true, .unary = wait_task},
    {.name = "/taskworker.TaskWorkerService/GetResult", .unary = get_result},
    {.name = "/taskworker.TaskWorkerService/StreamLogs", .unary = stream_logs},
    {.name = "/echo.Echo/Small", .max_request = 100, .unary = get_status},
    {.name = "/echo.Echo/Vital", .max_request = 100, .vital = true, .unary = get_status},
    {.name = "/echo.Echo/Chat", .on_start = chat_start, .on_message = chat_message, .on_half_close = chat_half_close},
    {.name = NULL},
};

int echo_service_add(struct rpc_server *server, struct echo *echo)
{
    return rpc_server_add_methods(server, methods, echo);
}
