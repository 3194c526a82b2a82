/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A log follower reads from the store, never from the task: the engine only says that there is more. At any moment a
 * stream is either reading (the store owes an answer), blocked (the client is slow and owes us room), or waiting for more.
 * So a slow or vanished reader costs one small struct and nothing else.
 */
#include "rpc/taskworker_logs.h"

#include "base/error.h"
#include "rpc/owner.h"
#include "rpc/taskworker_service.h"
#include "rpc/wire_check.h"
#include "taskworker.pb-c.h"

enum { READ_MAX = 128 * 1024 };

struct log_stream {
    struct taskworker_service *service;
    struct rpc_call *call; /* NULL once the call is over */
    unsigned refs;         /* the call; the engine or the store while one of them owes an answer */
    struct engine_watch watch;
    uint64_t seq;
    uint64_t offset;
    bool follow;
    bool live;              /* watched: more may come */
    bool live_at_read;      /* as `live` when the read was asked for: an empty answer then is not the end */
    struct tw_error broken; /* why it goes no further though the task has not ended */
    bool reading, blocked, again;
};

static void pump(struct log_stream *s);

static void stream_unref(struct log_stream *s)
{
    if (--s->refs == 0)
        free(s);
}

static void on_call_done(struct rpc_call *call UNUSED, void *ctx)
{
    struct log_stream *s = ctx;
    s->call = NULL;
    engine_unwatch(&s->watch);
    stream_unref(s);
}

static void on_changed(struct engine_watch *watch, bool ended, const struct tw_error *error)
{
    struct log_stream *s = CONTAINER_OF(watch, struct log_stream, watch);
    if (ended)
        s->live = false;
    if (error)
        s->broken = *error;
    s->again = true;
    pump(s);
}

static void on_drain(struct rpc_call *call UNUSED, void *ctx)
{
    struct log_stream *s = ctx;
    s->blocked = false;
    pump(s);
}

/* Sends the records and moves the offset; false: the client is slow. */
static bool send_records(struct log_stream *s, const uint8_t *data, size_t len)
{
    struct store_log_record record;
    bool room = true;
    while (s->call && store_log_parse(&data, &len, &record)) {
        s->offset += record.size;
        Taskworker__StreamLogsResponse response = TASKWORKER__STREAM_LOGS_RESPONSE__INIT;
        response.stream = (Taskworker__StreamLogsResponse__Stream)record.stream;
        response.data = (ProtobufCBinaryData){.len = record.len, .data = (uint8_t *)record.data};
        response.time_us = (int64_t)record.wall_us;
        response.next_offset = s->offset;
        room = rpc_call_send(s->call, &response.base);
    }
    return room;
}

static void on_read(void *ctx, const void *data, size_t len, const struct tw_error *error)
{
    struct log_stream *s = ctx;
    s->reading = false;
    if (s->call && error) {
        rpc_call_finish_error(s->call, error);
    } else if (s->call && len) {
        s->again = true;
        s->blocked = !send_records(s, data, len);
        pump(s);
    } else if (s->call && !s->live_at_read) {
        rpc_call_finish_error(s->call, &s->broken);
    } else if (s->call) {
        pump(s);
    }
    stream_unref(s);
}

static void pump(struct log_stream *s)
{
    if (!s->call || s->reading || s->blocked || !s->again)
        return;
    s->again = false;
    s->reading = true;
    s->live_at_read = s->live;
    s->refs++;
    store_log_read(s->service->store, s->seq, s->offset, READ_MAX, on_read, s);
}

static void on_task(void *ctx, const struct tw_task_info *info, uint64_t seq, const struct tw_error *error)
{
    struct log_stream *s = ctx;
    struct tw_error hidden;
    if (s->call && !error && !owner_may_see(s->call, info->owner))
        error = owner_hide_task(info->id, &hidden);
    if (s->call && error) {
        rpc_call_finish_error(s->call, error);
    } else if (s->call) {
        s->seq = seq;
        s->live = s->follow && engine_watch(s->service->engine, info->id, &s->watch);
        s->again = true;
        pump(s);
    }
    stream_unref(s);
}

void taskworker_stream_logs(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    struct tw_error error;
    Taskworker__StreamLogsRequest *request = NULL;
    struct log_stream *s = NULL;
    const ProtobufCMessageDescriptor *descriptor = &taskworker__stream_logs_request__descriptor;
    if (wire_check(descriptor, msg, len, &error) < 0) {
        rpc_call_finish_error(call, &error);
        return;
    }
    request = taskworker__stream_logs_request__unpack(NULL, len, msg);
    if (!request || !*request->task_id || !(s = calloc(1, sizeof *s))) {
        if (request && *request->task_id)
            error_oom(&error);
        else
            error_set(&error, TW_INVALID_ARGUMENT, request ? "task_id is empty" : "the request is not a valid message");
        taskworker__stream_logs_request__free_unpacked(request, NULL);
        rpc_call_finish_error(call, &error);
        return;
    }
    *s = (struct log_stream){
        .service = ctx,
        .call = call,
        .refs = 2,
        .watch.changed = on_changed,
        .offset = request->offset,
        .follow = request->follow,
    };
    list_init(&s->watch.link);
    rpc_call_set_on_done(call, on_call_done, s);
    rpc_call_set_on_drain(call, on_drain, s);
    engine_get(s->service->engine, request->task_id, on_task, s);
    taskworker__stream_logs_request__free_unpacked(request, NULL);
}
