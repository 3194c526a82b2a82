/* SPDX-License-Identifier: Apache-2.0 */
/* The request side of a call: legal or refused, bytes to messages, messages to the handler. */
#include "rpc/server_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "rpc/status.h"

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
    bool exempt = call->crowded && call->entry && call->entry->method->vital;
    size_t size = call->headers.cap;
    if (call->too_many_headers) {
        refuse(call, TW_RESOURCE_EXHAUSTED, "the request's headers are longer than the limit of %zu bytes",
            server->options.max_header_list);
    } else if (!call->is_post) {
        call_refuse_http(call, not_post, ARRAY_LEN(not_post));
    } else if (!call->is_grpc) {
        call_refuse_http(call, not_grpc, ARRAY_LEN(not_grpc));
    } else if (call->crowded && !exempt) {
        call_refuse_crowded(call, call->crowded);
    } else if (call->headers.error || (!exempt && !budget_take(conn_budget(call->conn), true, size))) {
        call_refuse_crowded(call, "the memory for calls is in use; try again later");
    } else {
        call->headers_charged = exempt ? 0 : size;
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

/* Whom a call from within is made for. False: the call was refused. */
static bool find_from(struct rpc_call *call)
{
    const char *text = call->conn->inside ? rpc_call_metadata(call, RPC_FROM_HEADER) : NULL;
    int r = text ? call_set_from(call, text) : 0;
    if (r == -EINVAL)
        refuse(call, TW_INVALID_ARGUMENT, RPC_FROM_HEADER " \"%s\" is no address", text);
    else if (r < 0)
        refuse(call, TW_RESOURCE_EXHAUSTED, "out of memory");
    return r == 0;
}

/* False: the call was refused. */
static bool authorize(struct rpc_call *call)
{
    const struct rpc_server_options *options = &call->conn->server->options;
    struct tw_error error = {0};
    if (!options->authorize)
        return true;
    call->let_in = options->authorize(options->authorize_ctx, call, &call->who, &error) == 0;
    if (call->let_in)
        return true;
    rpc_call_finish_error(call, &error);
    return false;
}

void call_headers_complete(struct rpc_call *call)
{
    struct rpc_server *server = call->conn->server;
    if (!check_headers(call) || !find_from(call) || !authorize(call) || !bounds_take_lasting(call))
        return;
    const struct rpc_method *method = call->entry->method;
    size_t max = method->max_request ? method->max_request : server->options.max_message;
    /* One that is served in spite of everything has a small request, and nothing to inflate it with. */
    message_reader_init(&call->in, max, call->crowded ? NULL : conn_budget(call->conn), call->gzip && !call->crowded);
    call->started = true;
    call_set_alarm(call);
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
        call_refuse_crowded(call, "too many large requests are on their way; try again later");
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

/* It has inflated as much as it may in one round of the loop. */
static void go_on_later(struct rpc_call *call)
{
    struct rpc_server *server = call->conn->server;
    if (list_empty(&call->drained))
        list_push(&server->choked_off, &call->drained);
    call->later = true;
    hub_wake(&server->hub);
}

/* Works through request bytes as far as the call takes them now; returns how many it took. */
static size_t parse(struct rpc_call *call, const uint8_t *data, size_t len)
{
    const uint8_t *p = data;
    size_t left = len;
    call->in.allowance = bounds_allowance(call->conn);
    while ((left || message_unpacking(&call->in)) && !call->finished && !call->paused && call_queued(call) < OUT_HIGH) {
        if (call->has_message) {
            refuse(call, TW_UNIMPLEMENTED, "%s takes one message and got more", call->entry->method->name);
            break;
        }
        call->later = false;
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
        if (result == MESSAGE_MORE && (left || message_unpacking(&call->in))) {
            go_on_later(call);
            break;
        }
    }
    return call->finished ? len : len - left;
}

static void hold(struct rpc_call *call, const uint8_t *data, size_t len)
{
    struct budget *budget = conn_budget(call->conn);
    if (!budget_take(budget, false, len)) {
        call_refuse_crowded(call, "too many requests wait for their clients to read the answers; try again later");
    } else if (buf_append(&call->held, data, len) < 0) {
        budget_give(budget, false, len);
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
    call->moved += len;
    size_t taken = call_held(call) ? 0 : parse(call, data, len);
    nghttp2_session_consume_stream(session, id, taken);
    if (taken < len)
        hold(call, data + taken, len - taken);
    if (!call->finished && !call->entry->method->unary)
        call_set_alarm(call);
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
    call_drop_request(call);
}

static void tell_half_close(struct rpc_call *call)
{
    const struct rpc_method *method = call->entry->method;
    if (call->half_close_told || call_held(call) || message_unpacking(&call->in) || call->paused || call->finished)
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
    call_set_alarm(call);
    tell_half_close(call);
}

static void run_drained(struct rpc_call *call)
{
    if (call->choked && !call->finished) {
        call->choked = false;
        if (call->on_drain)
            call->on_drain(call, call->drain_ctx);
    }
    if (call->finished || call->paused)
        return;
    if (!call_held(call) && !message_unpacking(&call->in)) {
        if (call->half_closed)
            tell_half_close(call);
        return;
    }
    size_t held = call_held(call);
    size_t taken = parse(call, held ? call->held.data + call->held_pos : NULL, held);
    if (call->finished) /* it has dropped them, or will */
        return;
    nghttp2_session_consume_stream(call->conn->conn.session, call->id, taken);
    budget_give(conn_budget(call->conn), false, taken);
    call->held_pos += taken;
    if (call->held_pos > call->held.len / 2) {
        buf_consume(&call->held, call->held_pos);
        call->held_pos = 0;
    }
    conn_wake(&call->conn->conn);
    if (call->half_closed)
        tell_half_close(call);
    else
        call_set_alarm(call);
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
