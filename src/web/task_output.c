/* SPDX-License-Identifier: Apache-2.0 */
/* What tasks leave: results, logs, and what happens to them while somebody watches. */
#include "web/handlers.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/parse.h"
#include "base/text.h"
#include "base/util.h"
#include "web/internal.h"
#include "web/message.h"
#include "web/rpc.h"
#include "web/stream.h"

#define TASK(name) "/taskworker.TaskWorkerService/" name

enum { PAGE_BYTES = 256 * 1024 };

/* --- the result --- */

/* As the task has made it, and never as something that a browser would run. */
static void on_result(struct web_request *r, const ProtobufCMessage *message)
{
    const Taskworker__GetResultResponse *answer = (const void *)message;
    if (!web_take_room(r, answer->result.len)) {
        web_problem(r, MHD_HTTP_SERVICE_UNAVAILABLE, "too many large results are being fetched", 1000);
        return;
    }
    struct MHD_Response *response =
        MHD_create_response_from_buffer(answer->result.len, answer->result.data, MHD_RESPMEM_MUST_COPY);
    bool json = !strcmp(answer->content_type, "application/json");
    if (response)
        (void)MHD_add_response_header(
            response, "Content-Type", json ? "application/json" : "text/plain; charset=utf-8");
    web_answer(r, MHD_HTTP_OK, response);
}

void handle_result(struct web *web, struct web_request *r)
{
    ProtobufCMessage *message = web_rpc_message(r, NULL);
    if (message)
        web_rpc_call(web, r, message, on_result);
}

/* --- the log --- */

enum { NOTE_ONLY, NOTE_NEXT = 0, NOTE_BYTES, NOTE_MAX, NOTE_BEGUN }; /* numbers of a stream's note */

static void on_chunk(struct web_stream *stream, const ProtobufCMessage *message, struct buf *out)
{
    const Taskworker__StreamLogsResponse *chunk = (const void *)message;
    uint64_t only = web_stream_note(stream)->numbers[NOTE_ONLY];
    if (!only || only == (uint64_t)chunk->stream)
        (void)buf_append(out, chunk->data.data, chunk->data.len);
}

/* The request's message without the parameter `stream`, which is not the service's. */
struct log_query {
    Taskworker__StreamLogsRequest request;
    Taskworker__StreamLogsResponse__Stream only;
    uint64_t max_bytes;
    struct tw_error error;
};

static bool take_log_param(void *ctx, const char *name, const char *value)
{
    struct log_query *q = ctx;
    if (!strcmp(name, "stream")) {
        q->only = !strcmp(value, "stdout") ? TASKWORKER__STREAM_LOGS_RESPONSE__STREAM__STDOUT
            : !strcmp(value, "stderr")     ? TASKWORKER__STREAM_LOGS_RESPONSE__STREAM__STDERR
                                           : TASKWORKER__STREAM_LOGS_RESPONSE__STREAM__STREAM_UNSPECIFIED;
        if (!q->only && strcmp(value, "both") != 0)
            error_set(&q->error, TW_INVALID_ARGUMENT, "stream has to be stdout, stderr or both");
    } else if (!strcmp(name, "max_bytes")) {
        if (parse_u64(value, 1, PAGE_BYTES, &q->max_bytes) < 0)
            error_set(&q->error, TW_INVALID_ARGUMENT, "max_bytes has to be a number from 1 to %d", PAGE_BYTES);
    } else {
        (void)message_take_text(&q->request.base, name, value, &q->error);
    }
    return q->error.code == TW_OK;
}

/* False: it was answered. */
static bool take_log_query(struct web_request *r, struct log_query *q)
{
    *q = (struct log_query){.max_bytes = PAGE_BYTES};
    taskworker__stream_logs_request__init(&q->request);
    if (!web_request_params(r, take_log_param, q)) {
        if (q->error.code != TW_OK)
            web_problem_of(r, &q->error);
        return false;
    }
    if (*q->request.task_id) {
        free(q->request.task_id);
        web_problem(r, MHD_HTTP_BAD_REQUEST, "the address already names the task", 0);
        return false;
    }
    q->request.task_id = (char *)(uintptr_t)web_request_segment(r);
    return true;
}

/* Bytes as the task has written them; both streams together as they came, unless `stream` says which. */
void handle_log(struct web *web, struct web_request *r)
{
    struct log_query q;
    if (!take_log_query(r, &q))
        return;
    web_stream(web, r,
        &(struct web_stream_options){
            .method = TASK("StreamLogs"),
            .request = &q.request.base,
            .answer = &taskworker__stream_logs_response__descriptor,
            .type = "text/plain; charset=utf-8",
            .message = on_chunk,
        });
    if (r->stream)
        web_stream_note(r->stream)->numbers[NOTE_ONLY] = (uint64_t)q.only;
}

/* Cut anywhere by the task's own writes, so bytes that are no UTF-8 by themselves are no rarity. */
static json_t *pack_chunk(const Taskworker__StreamLogsResponse *chunk)
{
    CLEANUP_FREE char *text = NULL;
    bool whole = text_is_utf8(chunk->data.data, chunk->data.len) && !memchr(chunk->data.data, 0, chunk->data.len);
    if (!whole)
        text = text_printable(chunk->data.data, chunk->data.len, SIZE_MAX, false);
    return json_pack("{s:s, s:I, s:I, s:o}", "stream",
        chunk->stream == TASKWORKER__STREAM_LOGS_RESPONSE__STREAM__STDERR ? "stderr" : "stdout", "time_us",
        (json_int_t)chunk->time_us, "next_offset", (json_int_t)chunk->next_offset, "text",
        whole ? json_stringn((const char *)chunk->data.data, chunk->data.len) : json_string(text ? text : ""));
}

static void on_page_chunk(struct web_stream *stream, const ProtobufCMessage *message, struct buf *out)
{
    const Taskworker__StreamLogsResponse *chunk = (const void *)message;
    uint64_t *numbers = web_stream_note(stream)->numbers;
    json_t *packed = pack_chunk(chunk);
    CLEANUP_FREE char *text = packed ? json_dumps(packed, JSON_COMPACT) : NULL;
    json_decref(packed);
    (void)buf_append_str(out, numbers[NOTE_BEGUN] ? "," : "{\"chunks\":[");
    (void)buf_append_str(out, text ? text : "null");
    numbers[NOTE_BEGUN] = 1;
    numbers[NOTE_NEXT] = chunk->next_offset;
    numbers[NOTE_BYTES] += chunk->data.len;
    if (numbers[NOTE_BYTES] >= numbers[NOTE_MAX]) {
        (void)buf_printf(out, "],\"next_offset\":%" PRIu64 "}", chunk->next_offset);
        web_stream_finish(stream);
    }
}

static void on_page_end(struct web_stream *stream, const struct tw_error *status, struct buf *out)
{
    const uint64_t *numbers = web_stream_note(stream)->numbers;
    if (status->code == TW_OK)
        (void)buf_printf(
            out, "%s],\"next_offset\":%" PRIu64 "}", numbers[NOTE_BEGUN] ? "" : "{\"chunks\":[", numbers[NOTE_NEXT]);
}

/* A page of the log, as what was written, by which stream and when. */
void handle_log_chunks(struct web *web, struct web_request *r)
{
    struct log_query q;
    if (!take_log_query(r, &q))
        return;
    q.request.follow = false;
    web_stream(web, r,
        &(struct web_stream_options){
            .method = TASK("StreamLogs"),
            .request = &q.request.base,
            .answer = &taskworker__stream_logs_response__descriptor,
            .type = "application/json",
            .message = on_page_chunk,
            .ended = on_page_end,
        });
    if (r->stream) {
        web_stream_note(r->stream)->numbers[NOTE_MAX] = q.max_bytes;
        web_stream_note(r->stream)->numbers[NOTE_NEXT] = q.request.offset;
    }
}

/* --- events --- */

static void on_event_chunk(struct web_stream *stream UNUSED, const ProtobufCMessage *message, struct buf *out)
{
    const Taskworker__StreamLogsResponse *chunk = (const void *)message;
    web_stream_event(out, chunk->next_offset, "output", pack_chunk(chunk));
}

static void on_task_event(struct web_stream *stream UNUSED, const ProtobufCMessage *message, struct buf *out)
{
    const Taskworker__TaskEvent *event = (const void *)message;
    web_stream_event(out, event->number, "task", message_to_json(message));
}

/* A browser comes back by itself when a stream breaks off; after one of these it has no reason to. */
static void on_events_end(struct web_stream *stream UNUSED, const struct tw_error *status, struct buf *out)
{
    if (status->code == TW_OK)
        web_stream_event(out, 0, "end", json_object());
    else if (status->code != TW_UNAVAILABLE && status->code != TW_CANCELLED)
        web_stream_event(out, 0, "failed",
            json_pack("{s:s, s:s}", "code", error_code_name(status->code), "detail", status->message));
}

/* Where a broken stream was, as a browser says it. False: it says nothing that makes sense. */
static bool last_event(const struct web_request *r, uint64_t *ret)
{
    const char *text = web_request_header(r, "Last-Event-ID");
    return text && parse_u64(text, 0, UINT64_MAX, ret) == 0;
}

static void begin_log_events(struct web_request *r, const ProtobufCMessage *message UNUSED)
{
    struct log_query q;
    if (!take_log_query(r, &q))
        return;
    q.request.follow = true;
    (void)last_event(r, &q.request.offset);
    web_stream(r->web, r,
        &(struct web_stream_options){
            .method = TASK("StreamLogs"),
            .request = &q.request.base,
            .answer = &taskworker__stream_logs_response__descriptor,
            .type = "text/event-stream",
            .events = true,
            .message = on_event_chunk,
            .ended = on_events_end,
        });
}

/* The headers of events come before the service has said anything: whether there is such a task is asked first. */
void handle_log_events(struct web *web, struct web_request *r)
{
    Taskworker__GetTaskRequest request = TASKWORKER__GET_TASK_REQUEST__INIT;
    request.task_id = (char *)(uintptr_t)web_request_segment(r);
    web_call(web, r,
        &(struct web_call){
            .method = TASK("GetTask"),
            .request = &request.base,
            .answer = &taskworker__get_task_response__descriptor,
            .done = begin_log_events,
        });
}

static void begin_events(struct web_request *r, const ProtobufCMessage *message)
{
    const Taskworker__GetStatusResponse *status = (const void *)message;
    uint64_t after = 0;
    bool again = last_event(r, &after);
    ProtobufCMessage *request = web_rpc_message(r, NULL);
    Taskworker__WatchTasksRequest *watch = (void *)request;
    if (!watch)
        return;
    if (again)
        watch->after = after;
    else if (!watch->after)
        watch->after = status->last_event; /* what is from now on */
    web_stream(r->web, r,
        &(struct web_stream_options){
            .method = TASK("WatchTasks"),
            .request = request,
            .answer = &taskworker__task_event__descriptor,
            .type = "text/event-stream",
            .events = true,
            .message = on_task_event,
            .ended = on_events_end,
        });
    protobuf_c_message_free_unpacked(request, NULL);
}

void handle_events(struct web *web, struct web_request *r)
{
    Taskworker__GetStatusRequest request = TASKWORKER__GET_STATUS_REQUEST__INIT;
    web_call(web, r,
        &(struct web_call){
            .method = TASK("GetStatus"),
            .request = &request.base,
            .answer = &taskworker__get_status_response__descriptor,
            .done = begin_events,
        });
}
