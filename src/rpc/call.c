/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call on the server: from legal headers through messages to a status. Its memory belongs to the
 * connection's list of calls from call_new to call_end; nghttp2 holds a pointer to it as the
 * stream's user data for exactly as long.
 *
 * Answers are queued as bytes in call->out, and nghttp2 fetches them when it may send
 * (read_response). Whatever runs a handler does so outside of nghttp2_session_mem_send, so that a
 * handler may submit anything.
 */
#include "rpc/server_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "rpc/status.h"

/* --- the pool --- */

static void trim_buf(struct buf *b)
{
    size_t max = b->max;
    if (b->cap > KEEP_CAP)
        buf_done(b);
    else
        buf_reset(b);
    b->max = max;
}

static void call_free(struct rpc_call *call)
{
    message_reader_done(&call->in);
    buf_done(&call->held);
    buf_done(&call->headers);
    buf_done(&call->out);
    free(call);
}

void call_pool_trim(struct rpc_server *server)
{
    while (server->free_calls) {
        struct rpc_call *call = server->free_calls;
        server->free_calls = call->next_free;
        call_free(call);
    }
    server->free_count = 0;
}

static void call_recycle(struct rpc_server *server, struct rpc_call *call)
{
    message_next(&call->in);
    trim_buf(&call->held);
    trim_buf(&call->headers);
    trim_buf(&call->out);
    if (server->free_count >= FREE_CALLS_MAX || server->freed) {
        call_free(call);
        return;
    }
    struct buf body = call->in.body, held = call->held, headers = call->headers, out = call->out;
    *call = (struct rpc_call){.held = held, .headers = headers, .out = out, .next_free = server->free_calls};
    call->in.body = body;
    server->free_calls = call;
    server->free_count++;
}

struct rpc_call *call_new(struct server_conn *sc, int32_t id)
{
    struct rpc_server *server = sc->server;
    struct rpc_call *call = server->free_calls;
    if (call) {
        server->free_calls = call->next_free;
        server->free_count--;
        call->next_free = NULL;
    } else {
        call = calloc(1, sizeof *call);
        if (!call)
            return NULL;
        buf_init(&call->held, STREAM_WINDOW);
        buf_init(&call->out, SIZE_MAX / 2);
        buf_init(&call->headers, 2 * server->options.max_header_list);
    }
    call->conn = sc;
    call->id = id;
    call->begun_us = sc->conn.last_recv_us;
    list_init(&call->drained);
    list_push(&sc->calls, &call->link);
    sc->n_calls++;
    server->calls++;
    server->calls_total++;
    server->calls_peak = MAX(server->calls_peak, server->calls);
    return call;
}

static size_t queued(const struct rpc_call *call)
{
    return call->out.len - call->out_pos;
}

static void drop_output(struct rpc_call *call)
{
    call->conn->server->out_bytes -= queued(call);
    call->out_pos = 0;
    buf_reset(&call->out);
}

/* The request's memory is not needed any more; not while the handler looks at it. */
static void drop_request(struct rpc_call *call)
{
    struct rpc_server *server = call->conn->server;
    if (call->in_handler)
        return;
    server->freed_bytes += call->in.body.cap;
    message_next(&call->in);
    if (call->held.len)
        budget_give(&server->budget, false, call->held.len);
    trim_buf(&call->held);
    call->has_message = false;
}

void call_end(struct rpc_call *call)
{
    struct server_conn *sc = call->conn;
    struct rpc_server *server = sc->server;
    nghttp2_session_set_stream_user_data(sc->conn.session, call->id, NULL);
    alarm_clear(&server->hub.alarms, &call->alarm);
    list_remove(&call->link);
    list_remove(&call->drained);
    drop_request(call);
    server->freed_bytes += call->out.cap;
    drop_output(call);
    if (call->on_done)
        call->on_done(call, call->done_ctx);
    budget_give(&server->budget, true, call->headers_charged);
    free(call->status_message);
    sc->n_calls--;
    server->calls--;
    call_recycle(server, call);
    if (sc->drain)
        conn_wake(&sc->conn);
}

/* --- time --- */

/* When a request that is on its way has taken too long; 0: none is. */
static uint64_t request_due(const struct rpc_call *call)
{
    bool unary = !call->started || call->entry->method->unary;
    if (call->half_closed || !(unary || message_partial(&call->in)) || call->held.len)
        return 0;
    return call->begun_us + call->conn->server->options.idle_request_us + call->received * (1000000 / REQUEST_MIN_RATE);
}

static void on_alarm(struct alarm *alarm);

static void set_alarm(struct rpc_call *call)
{
    struct alarm_queue *queue = &call->conn->server->hub.alarms;
    uint64_t due = request_due(call), at = call->deadline_us;
    if (call->finished)
        at = clock_monotonic_us() + call->conn->server->options.idle_request_us;
    else if (due && (!at || due < at))
        at = due;
    call->alarm.ring = on_alarm;
    if (!at)
        alarm_clear(queue, &call->alarm);
    else if (at != call->alarm.at_us || !call->alarm.place)
        if (alarm_set(queue, &call->alarm, at) < 0)
            conn_fail(&call->conn->conn, NGHTTP2_INTERNAL_ERROR, "out of memory");
}

static void reset(struct rpc_call *call, uint32_t error)
{
    struct conn *conn = &call->conn->conn;
    if (nghttp2_submit_rst_stream(conn->session, NGHTTP2_FLAG_NONE, call->id, error) != 0)
        conn_fail(conn, NGHTTP2_INTERNAL_ERROR, "out of memory");
    conn_wake(conn);
}

static void on_alarm(struct alarm *alarm)
{
    struct rpc_call *call = CONTAINER_OF(alarm, struct rpc_call, alarm);
    uint64_t now = clock_monotonic_us(), due = request_due(call);
    if (call->finished) {
        if (call->sent == call->stall_mark)
            reset(call, NGHTTP2_CANCEL); /* the client does not fetch its answer */
        call->stall_mark = call->sent;
    } else if (call->deadline_us && now >= call->deadline_us) {
        rpc_call_finish(call, TW_DEADLINE_EXCEEDED, "the call's deadline has passed");
    } else if (due && now >= due) {
        rpc_call_finish(call, TW_DEADLINE_EXCEEDED, "the request was begun and did not arrive in time");
    }
    set_alarm(call);
}

/* --- answers --- */

#define STATIC_NV(n, v)                                                                                  \
    {                                                                                                    \
        .name = (uint8_t *)(uintptr_t)(n), .value = (uint8_t *)(uintptr_t)(v), .namelen = sizeof(n) - 1, \
        .valuelen = sizeof(v) - 1, .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE \
    }

static const nghttp2_nv response_headers[] = {
    STATIC_NV(":status", "200"),
    STATIC_NV("content-type", "application/grpc"),
    STATIC_NV("grpc-accept-encoding", "identity,gzip"),
};

/* grpc-status, and grpc-message if there is one (encoded into `text`). Returns how many. */
static size_t status_headers(const struct rpc_call *call, char text[STATUS_MESSAGE_MAX + 1], nghttp2_nv nv[2])
{
    const char *code = status_code_text(call->code);
    nv[0] = (nghttp2_nv)STATIC_NV("grpc-status", "");
    nv[0].value = (uint8_t *)(uintptr_t)code;
    nv[0].valuelen = strlen(code);
    if (!call->status_message)
        return 1;
    nv[1] = (nghttp2_nv)STATIC_NV("grpc-message", "");
    nv[1].value = (uint8_t *)text;
    nv[1].valuelen = status_encode_message(call->status_message, text);
    nv[1].flags = NGHTTP2_NV_FLAG_NO_COPY_NAME;
    return 2;
}

static void note_drained(struct rpc_call *call)
{
    struct rpc_server *server = call->conn->server;
    if ((!call->choked && !call->held.len) || queued(call) > OUT_LOW || !list_empty(&call->drained))
        return;
    list_push(&server->choked_off, &call->drained);
    hub_wake(&server->hub);
}

/* nghttp2 can send `max` more bytes of this call. */
static ssize_t read_response(nghttp2_session *session, int32_t id, uint8_t *to, size_t max, uint32_t *flags,
    nghttp2_data_source *source, void *user_data UNUSED)
{
    struct rpc_call *call = source->ptr;
    size_t n = MIN(max, queued(call));
    if (!n && !call->finished) {
        call->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    if (n)
        memcpy(to, call->out.data + call->out_pos, n);
    call->out_pos += n;
    call->sent += n;
    call->conn->server->out_bytes -= n;
    if (!queued(call)) {
        call->conn->server->freed_bytes += call->out.cap > KEEP_CAP ? call->out.cap : 0;
        trim_buf(&call->out);
        call->out_pos = 0;
        if (call->finished) {
            char text[STATUS_MESSAGE_MAX + 1];
            nghttp2_nv nv[2];
            size_t count = status_headers(call, text, nv);
            *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
            if (nghttp2_submit_trailer(session, id, nv, count) != 0)
                return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        }
    }
    note_drained(call);
    return (ssize_t)n;
}

static void submit(struct rpc_call *call, const nghttp2_nv *nv, size_t count, bool with_data)
{
    struct conn *conn = &call->conn->conn;
    const nghttp2_data_provider data = {.source.ptr = call, .read_callback = read_response};
    call->responded = true;
    if (nghttp2_submit_response(conn->session, call->id, nv, count, with_data ? &data : NULL) != 0)
        conn_fail(conn, NGHTTP2_INTERNAL_ERROR, "out of memory");
}

/* New bytes, or the end, for a response that may have come to rest. */
static void resume(struct rpc_call *call)
{
    struct conn *conn = &call->conn->conn;
    if (call->deferred) {
        call->deferred = false;
        nghttp2_session_resume_data(conn->session, call->id);
    }
    conn_wake(conn);
}

bool rpc_call_send(struct rpc_call *call, const ProtobufCMessage *message)
{
    struct rpc_server *server = call->conn->server;
    if (call->finished)
        return false;
    if (call->out_pos > OUT_HIGH || (call->out_pos && call->out.len == call->out_pos)) {
        buf_consume(&call->out, call->out_pos);
        call->out_pos = 0;
    }
    size_t before = call->out.len, size = protobuf_c_message_get_packed_size(message);
    if (size > MESSAGE_SMALL &&
        size > server->options.max_inflight - MIN(server->out_bytes, server->options.max_inflight)) {
        rpc_call_finish(call, TW_RESOURCE_EXHAUSTED, "too many bytes wait to be read by clients; try again later");
        return false;
    }
    if (message_append(&call->out, message) < 0) {
        call->out.error = 0;
        rpc_call_finish(call, TW_RESOURCE_EXHAUSTED, "out of memory for the answer");
        return false;
    }
    server->out_bytes += call->out.len - before;
    if (!call->responded)
        submit(call, response_headers, ARRAY_LEN(response_headers), true);
    resume(call);
    call->choked = queued(call) >= OUT_HIGH;
    return !call->choked;
}

void rpc_call_finish(struct rpc_call *call, enum tw_code code, const char *message)
{
    if (call->finished)
        return;
    call->finished = true;
    call->code = code;
    call->status_message = message && *message ? strdup(message) : NULL;
    if (call->responded) {
        resume(call);
    } else {
        char text[STATUS_MESSAGE_MAX + 1];
        nghttp2_nv nv[ARRAY_LEN(response_headers) + 2];
        memcpy(nv, response_headers, sizeof response_headers);
        size_t count = status_headers(call, text, nv + ARRAY_LEN(response_headers));
        submit(call, nv, ARRAY_LEN(response_headers) + count, false);
        conn_wake(&call->conn->conn);
    }
    drop_request(call);
    set_alarm(call);
}

void rpc_call_reply(struct rpc_call *call, const ProtobufCMessage *message)
{
    rpc_call_send(call, message);
    rpc_call_finish(call, TW_OK, NULL);
}

/* An answer in plain HTTP to what is not gRPC at all. */
static void refuse_http(struct rpc_call *call, const nghttp2_nv *nv, size_t count)
{
    call->finished = true;
    submit(call, nv, count, false);
    conn_wake(&call->conn->conn);
    drop_request(call);
    set_alarm(call);
}

/* --- requests --- */

static void PRINTF_LIKE(3, 4) refuse(struct rpc_call *call, enum tw_code code, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    rpc_call_finish(call, code, text);
}

/* False: the call was refused. */
static bool check_headers(struct rpc_call *call)
{
    static const nghttp2_nv not_post[] = {STATIC_NV(":status", "405"), STATIC_NV("allow", "POST")};
    static const nghttp2_nv not_grpc[] = {STATIC_NV(":status", "415"), STATIC_NV("accept", "application/grpc")};
    struct rpc_server *server = call->conn->server;
    if (call->too_many_headers) {
        refuse(call, TW_RESOURCE_EXHAUSTED, "the request's headers are longer than the limit of %zu bytes",
            server->options.max_header_list);
    } else if (!call->is_post) {
        refuse_http(call, not_post, ARRAY_LEN(not_post));
    } else if (!call->is_grpc) {
        refuse_http(call, not_grpc, ARRAY_LEN(not_grpc));
    } else if (call->headers.error || !budget_take(&server->budget, true, call->headers.cap)) {
        refuse(call, TW_RESOURCE_EXHAUSTED, "too many calls are open; try again later");
    } else {
        call->headers_charged = call->headers.cap;
        if (!call->entry)
            refuse(call, TW_UNIMPLEMENTED, "unknown method %s", (const char *)call->headers.data);
        else if (call->bad_encoding)
            refuse(call, TW_UNIMPLEMENTED, "grpc-encoding %s is not supported, only identity and gzip are",
                rpc_call_metadata(call, "grpc-encoding"));
        else if (call->bad_timeout)
            refuse(call, TW_INVALID_ARGUMENT, "grpc-timeout \"%s\" is not a time-out",
                rpc_call_metadata(call, "grpc-timeout"));
        else if (call->deadline_us && call->deadline_us <= call->conn->conn.last_recv_us)
            refuse(call, TW_DEADLINE_EXCEEDED, "the call's deadline has passed");
    }
    return !call->finished;
}

void call_headers_complete(struct rpc_call *call)
{
    struct rpc_server *server = call->conn->server;
    if (!check_headers(call))
        return;
    const struct rpc_method *method = call->entry->method;
    size_t max = method->max_request ? method->max_request : server->options.max_message;
    message_reader_init(&call->in, max, &server->budget, call->gzip);
    call->started = true;
    set_alarm(call);
    if (method->on_start)
        method->on_start(call, call->entry->ctx);
}

static void refuse_message(struct rpc_call *call, enum message_result result)
{
    switch (result) {
    case MESSAGE_TOO_BIG:
        refuse(call, TW_RESOURCE_EXHAUSTED, "the message is larger than the limit of %zu bytes", call->in.max);
        break;
    case MESSAGE_BAD_FLAG:
        refuse(call, TW_INTERNAL, "the message's first byte is neither 0 nor 1");
        break;
    case MESSAGE_NO_ENCODING:
        refuse(call, TW_INTERNAL, "a compressed message in a call without grpc-encoding");
        break;
    case MESSAGE_BAD_GZIP:
        refuse(call, TW_INTERNAL, "the compressed message is not valid gzip");
        break;
    case MESSAGE_NO_BUDGET:
        refuse(call, TW_RESOURCE_EXHAUSTED, "too many large requests are on their way; try again later");
        break;
    default:
        refuse(call, TW_RESOURCE_EXHAUSTED, "out of memory for the request");
        break;
    }
}

/* A message is complete. */
static void take_message(struct rpc_call *call)
{
    const struct rpc_method *method = call->entry->method;
    if (method->unary) {
        call->has_message = true;
        return;
    }
    call->in_handler = true;
    method->on_message(
        call, call->in.body.len ? call->in.body.data : (const uint8_t *)"", call->in.body.len, call->entry->ctx);
    call->in_handler = false;
    call->conn->server->freed_bytes += call->in.body.cap > KEEP_CAP ? call->in.body.cap : 0;
    message_next(&call->in);
}

/* Works through request bytes as far as the call takes them now; returns how many it took. */
static size_t parse(struct rpc_call *call, const uint8_t *data, size_t len)
{
    const uint8_t *p = data;
    size_t left = len;
    while (left && !call->finished && queued(call) < OUT_HIGH) {
        if (call->has_message) {
            refuse(call, TW_UNIMPLEMENTED, "%s takes one message and got more", call->entry->method->name);
            break;
        }
        bool was_partial = message_partial(&call->in);
        enum message_result result = message_feed(&call->in, &p, &left);
        if (result == MESSAGE_READY)
            take_message(call);
        else if (result != MESSAGE_MORE)
            refuse_message(call, result);
        else if (!was_partial && !call->entry->method->unary) {
            call->begun_us = call->conn->conn.last_recv_us;
            call->received = 0;
        }
    }
    return call->finished ? len : len - left;
}

static void hold(struct rpc_call *call, const uint8_t *data, size_t len)
{
    struct rpc_server *server = call->conn->server;
    if (!budget_take(&server->budget, false, len)) {
        refuse(call, TW_RESOURCE_EXHAUSTED, "too many requests wait for their clients to read the answers");
    } else if (buf_append(&call->held, data, len) < 0) {
        budget_give(&server->budget, false, len);
        call->held.error = 0;
        refuse(call, TW_RESOURCE_EXHAUSTED, "out of memory for the request");
    }
}

void call_data(struct rpc_call *call, const uint8_t *data, size_t len)
{
    nghttp2_session *session = call->conn->conn.session;
    int32_t id = call->id;
    nghttp2_session_consume_connection(session, len);
    if (call->finished || !call->started) {
        nghttp2_session_consume_stream(session, id, len);
        return;
    }
    call->received += len;
    size_t taken = call->held.len ? 0 : parse(call, data, len);
    nghttp2_session_consume_stream(session, id, taken);
    if (taken < len)
        hold(call, data + taken, len - taken);
    if (!call->finished && !call->entry->method->unary)
        set_alarm(call);
}

/* Runs the handler of a unary call whose request is complete. */
static void run_unary(struct rpc_call *call)
{
    const struct rpc_method *method = call->entry->method;
    if (message_partial(&call->in) && !call->has_message) {
        refuse(call, TW_INTERNAL, "the request ends within a message");
        return;
    }
    if (!call->has_message) {
        refuse(call, TW_UNIMPLEMENTED, "%s takes one message and got none", method->name);
        return;
    }
    const struct buf *body = &call->in.body;
    call->in_handler = true;
    method->unary(call, body->len ? body->data : (const uint8_t *)"", body->len, call->entry->ctx);
    call->in_handler = false;
    drop_request(call);
}

static void tell_half_close(struct rpc_call *call)
{
    const struct rpc_method *method = call->entry->method;
    if (call->half_close_told || call->held.len || call->finished)
        return;
    call->half_close_told = true;
    if (method->unary)
        run_unary(call);
    else if (message_partial(&call->in))
        refuse(call, TW_INTERNAL, "the request ends within a message");
    else if (method->on_half_close)
        method->on_half_close(call, call->entry->ctx);
}

void call_half_close(struct rpc_call *call)
{
    call->half_closed = true;
    if (call->finished || !call->started)
        return;
    set_alarm(call);
    tell_half_close(call);
}

static void run_drained(struct rpc_call *call)
{
    if (call->choked && !call->finished) {
        call->choked = false;
        if (call->on_drain)
            call->on_drain(call, call->drain_ctx);
    }
    if (!call->held.len || call->finished)
        return;
    size_t taken = parse(call, call->held.data, call->held.len);
    if (call->finished) /* it has dropped them */
        return;
    nghttp2_session_consume_stream(call->conn->conn.session, call->id, taken);
    budget_give(&call->conn->server->budget, false, taken);
    buf_consume(&call->held, taken);
    conn_wake(&call->conn->conn);
    if (call->half_closed)
        tell_half_close(call);
    else
        set_alarm(call);
}

void calls_run_drained(struct rpc_server *server)
{
    struct list todo;
    list_init(&todo);
    list_splice(&todo, &server->choked_off);
    while (!list_empty(&todo)) {
        struct rpc_call *call = CONTAINER_OF(todo.next, struct rpc_call, drained);
        list_remove(&call->drained);
        run_drained(call);
    }
}

/* --- what handlers ask --- */
