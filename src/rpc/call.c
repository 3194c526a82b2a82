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
    free(call->from);
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
    free(call->from);
    struct buf body = call->in.body, waiting = call->held, headers = call->headers, out = call->out;
    *call = (struct rpc_call){.held = waiting, .headers = headers, .out = out, .next_free = server->free_calls};
    call->in.body = body;
    server->free_calls = call;
    server->free_count++;
}

static struct rpc_call *call_alloc(struct rpc_server *server)
{
    struct rpc_call *call = server->free_calls;
    if (call) {
        server->free_calls = call->next_free;
        server->free_count--;
        call->next_free = NULL;
    } else {
        call = calloc(1, sizeof *call);
        if (!call)
            return NULL;
        buf_init(&call->held, 2 * STREAM_WINDOW); /* what was taken is dropped in large pieces */
        buf_init(&call->out, SIZE_MAX / 2);
        buf_init(&call->headers, 2 * server->options.max_header_list);
    }
    return call;
}

struct rpc_call *call_new(struct server_conn *sc, int32_t id)
{
    struct rpc_server *server = sc->server;
    const char *crowded;
    if (!bounds_take_call(sc, &crowded))
        return NULL;
    struct rpc_call *call = call_alloc(server);
    if (!call) {
        peers_give(&server->peers, sc->from, crowded ? PEER_REFUSALS : PEER_CALLS);
        budget_give(conn_budget(sc), true, crowded ? 0 : CALL_BYTES);
        return NULL;
    }
    call->crowded = crowded;
    call->conn = sc;
    call->id = id;
    call->begun_us = sc->conn.last_recv_us;
    call->stall_mark = UINT64_MAX; /* none yet: the first look only takes note */
    list_init(&call->drained);
    list_push(&sc->calls, &call->link);
    sc->n_calls++;
    server->calls++;
    server->calls_total++;
    server->calls_peak = MAX(server->calls_peak, server->calls);
    return call;
}

static void wipe_secret(const struct rpc_call *call, const struct buf *b)
{
    if (b->data && call->entry && call->entry->method->secret)
        explicit_bzero(b->data, b->cap);
}

static void drop_output(struct rpc_call *call)
{
    wipe_secret(call, &call->out);
    call->out_pos = call->out.len;
    bounds_give_output(call, 0);
    call->out_pos = 0;
    buf_reset(&call->out);
}

/* The request's memory is not needed any more; not while the handler looks at it. */
void call_drop_request(struct rpc_call *call)
{
    struct rpc_server *server = call->conn->server;
    if (call->in_handler)
        return;
    server->freed_bytes += call->in.body.cap;
    wipe_secret(call, &call->in.body);
    wipe_secret(call, &call->held);
    message_next(&call->in);
    budget_give(conn_budget(call->conn), false, call_held(call));
    trim_buf(&call->held);
    call->held_pos = 0;
    call->has_message = false;
}

static void tell_finished(const struct rpc_call *call, enum tw_code code)
{
    const struct rpc_server_options *options = &call->conn->server->options;
    if (call->let_in && options->on_finished && !call->conn->server->freed)
        options->on_finished(options->authorize_ctx, call, code);
}

void call_end(struct rpc_call *call)
{
    struct server_conn *sc = call->conn;
    struct rpc_server *server = sc->server;
    nghttp2_session_set_stream_user_data(sc->conn.session, call->id, NULL);
    alarm_clear(&server->hub.alarms, &call->alarm);
    list_remove(&call->link);
    list_remove(&call->drained);
    call_drop_request(call);
    server->freed_bytes += call->out.cap;
    drop_output(call);
    if (!call->finished)
        tell_finished(call, TW_CANCELLED);
    if (call->on_done)
        call->on_done(call, call->done_ctx);
    bounds_give_call(call);
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
    if (call->half_closed || !(unary || message_partial(&call->in)) || call_held(call) || call->paused || call->later)
        return 0;
    return call->begun_us + call->conn->server->options.idle_request_us + call->received * (1000000 / REQUEST_MIN_RATE);
}

static void on_alarm(struct alarm *alarm);

void call_set_alarm(struct rpc_call *call)
{
    struct alarm_queue *queue = &call->conn->server->hub.alarms;
    uint64_t due = request_due(call), at = call->deadline_us;
    if (call->finished)
        at = clock_monotonic_us() + call->conn->server->options.idle_request_us;
    else if (due && (!at || due < at))
        at = due;
    call->alarm.ring = on_alarm;
    /* One that rings too early finds nothing to do and is set anew: cheaper than moving it each time. */
    if (!at || (call->alarm.place && call->alarm.at_us <= at))
        return;
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
        if (call->sent == call->stall_mark || (call->deadline_us && now >= call->deadline_us))
            reset(call, NGHTTP2_CANCEL); /* the client does not fetch its answer */
        call->stall_mark = call->sent;
    } else if (call->deadline_us && now >= call->deadline_us) {
        rpc_call_finish(call, TW_DEADLINE_EXCEEDED, "the call's deadline has passed");
    } else if (due && now >= due) {
        rpc_call_finish(call, TW_DEADLINE_EXCEEDED, "the request was begun and did not arrive in time");
    }
    call_set_alarm(call);
}

/* --- answers --- */

static const nghttp2_nv response_headers[] = {
    STATIC_NV(":status", "200"),
    STATIC_NV("content-type", "application/grpc"),
    STATIC_NV("grpc-accept-encoding", "identity,gzip"),
};

enum { STATUS_HEADERS_MAX = 3 };

/* grpc-status, and what else there is to say (the message encoded into `text`). Returns how many. */
static size_t status_headers(
    const struct rpc_call *call, char text[STATUS_MESSAGE_MAX + 1], nghttp2_nv nv[STATUS_HEADERS_MAX])
{
    size_t n = 1;
    const char *code = status_code_text(call->code);
    nv[0] = (nghttp2_nv)STATIC_NV("grpc-status", "");
    nv[0].value = (uint8_t *)(uintptr_t)code;
    nv[0].valuelen = strlen(code);
    if (call->status_message) {
        nv[n] = (nghttp2_nv)STATIC_NV("grpc-message", "");
        nv[n].value = (uint8_t *)text;
        nv[n].valuelen = status_encode_message(call->status_message, text);
        nv[n++].flags = NGHTTP2_NV_FLAG_NO_COPY_NAME;
    }
    if (*call->retry_text) {
        nv[n] = (nghttp2_nv)STATIC_NV("grpc-retry-pushback-ms", "");
        nv[n].value = (uint8_t *)(uintptr_t)call->retry_text;
        nv[n].valuelen = strlen(call->retry_text);
        nv[n++].flags = NGHTTP2_NV_FLAG_NO_COPY_NAME;
    }
    return n;
}

static void note_drained(struct rpc_call *call)
{
    struct rpc_server *server = call->conn->server;
    if ((!call->choked && !call_held(call)) || call_queued(call) > OUT_LOW || !list_empty(&call->drained))
        return;
    list_push(&server->choked_off, &call->drained);
    hub_wake(&server->hub);
}

/* nghttp2 can send `max` more bytes of this call. */
static ssize_t read_response(nghttp2_session *session, int32_t id, uint8_t *to, size_t max, uint32_t *flags,
    nghttp2_data_source *source, void *user_data UNUSED)
{
    struct rpc_call *call = source->ptr;
    size_t n = MIN(max, call_queued(call));
    if (!n && !call->finished) {
        call->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    if (n)
        memcpy(to, call->out.data + call->out_pos, n);
    call->out_pos += n;
    call->sent += n;
    bounds_give_output(call, n);
    if (!call_queued(call)) {
        call->conn->server->freed_bytes += call->out.cap > KEEP_CAP ? call->out.cap : 0;
        wipe_secret(call, &call->out);
        trim_buf(&call->out);
        call->out_pos = 0;
        if (call->finished) {
            char text[STATUS_MESSAGE_MAX + 1];
            nghttp2_nv nv[STATUS_HEADERS_MAX];
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

void rpc_call_pause(struct rpc_call *call, bool paused)
{
    struct rpc_server *server = call->conn->server;
    if (call->finished || call->paused == paused)
        return;
    call->paused = paused;
    if (!paused) {
        if (list_empty(&call->drained))
            list_push(&server->choked_off, &call->drained);
        hub_wake(&server->hub);
    }
    call_set_alarm(call);
}

void rpc_call_begin(struct rpc_call *call)
{
    if (call->finished || call->responded)
        return;
    submit(call, response_headers, ARRAY_LEN(response_headers), true);
    conn_wake(&call->conn->conn);
}

bool rpc_call_send(struct rpc_call *call, const ProtobufCMessage *message)
{
    if (call->finished)
        return false;
    if (call->out_pos > OUT_HIGH || (call->out_pos && call->out.len == call->out_pos)) {
        buf_consume(&call->out, call->out_pos);
        call->out_pos = 0;
    }
    size_t size = MESSAGE_HEADER + protobuf_c_message_get_packed_size(message);
    if (!bounds_take_output(call, size)) {
        call_refuse_crowded(call, "too many bytes wait to be read by clients; try again later");
        return false;
    }
    if (message_append(&call->out, message) < 0) {
        call->out.error = 0;
        rpc_call_finish(call, TW_RESOURCE_EXHAUSTED, "out of memory for the answer");
        return false;
    }
    call->moved += size;
    if (!call->responded)
        submit(call, response_headers, ARRAY_LEN(response_headers), true);
    resume(call);
    call->choked = call_queued(call) >= (budget_is_short(conn_budget(call->conn)) ? OUT_SHORT : OUT_HIGH);
    return !call->choked;
}

void rpc_call_finish(struct rpc_call *call, enum tw_code code, const char *message)
{
    if (call->finished)
        return;
    call->finished = true;
    call->code = code;
    tell_finished(call, code);
    call->status_message = message && *message ? strdup(message) : NULL;
    if (call->responded) {
        resume(call);
    } else {
        char text[STATUS_MESSAGE_MAX + 1];
        nghttp2_nv nv[ARRAY_LEN(response_headers) + STATUS_HEADERS_MAX];
        memcpy(nv, response_headers, sizeof response_headers);
        size_t count = status_headers(call, text, nv + ARRAY_LEN(response_headers));
        submit(call, nv, ARRAY_LEN(response_headers) + count, false);
        conn_wake(&call->conn->conn);
    }
    call_drop_request(call);
    call_set_alarm(call);
}

void rpc_call_finish_error(struct rpc_call *call, const struct tw_error *error)
{
    if (error->retry_ms)
        snprintf(call->retry_text, sizeof call->retry_text, "%u", (unsigned)error->retry_ms);
    rpc_call_finish(call, error->code, error->message);
}

void rpc_call_reply(struct rpc_call *call, const ProtobufCMessage *message)
{
    rpc_call_send(call, message);
    rpc_call_finish(call, TW_OK, NULL);
}

/* An answer in plain HTTP to what is not gRPC at all. */
void call_refuse_http(struct rpc_call *call, const nghttp2_nv *nv, size_t count)
{
    call->finished = true;
    submit(call, nv, count, false);
    conn_wake(&call->conn->conn);
    call_drop_request(call);
    call_set_alarm(call);
}

/* --- what handlers ask --- */

void rpc_call_set_on_done(struct rpc_call *call, void (*on_done)(struct rpc_call *call, void *ctx), void *ctx)
{
    call->on_done = on_done;
    call->done_ctx = ctx;
}

void *rpc_call_ctx(const struct rpc_call *call)
{
    return call->done_ctx;
}

void rpc_call_set_on_drain(struct rpc_call *call, void (*on_drain)(struct rpc_call *call, void *ctx), void *ctx)
{
    call->on_drain = on_drain;
    call->drain_ctx = ctx;
}

uint64_t rpc_call_deadline_us(const struct rpc_call *call)
{
    return call->deadline_us;
}

/* The value of the first such header, and how often it is there. */
static size_t find_metadata(const struct rpc_call *call, const char *name, const char **ret_first)
{
    const char *p = (const char *)call->headers.data, *end;
    size_t n = 0;
    *ret_first = NULL;
    if (!p)
        return 0;
    end = p + call->headers.len;
    for (p += strlen(p) + 1; p < end;) {
        const char *value = p + strlen(p) + 1;
        if (!strcmp(p, name) && n++ == 0)
            *ret_first = value;
        p = value + strlen(value) + 1;
    }
    return n;
}

const char *rpc_call_metadata(const struct rpc_call *call, const char *name)
{
    const char *first;
    (void)find_metadata(call, name, &first);
    return first;
}

size_t rpc_call_metadata_count(const struct rpc_call *call, const char *name)
{
    const char *first;
    return find_metadata(call, name, &first);
}

const char *rpc_call_peer(const struct rpc_call *call)
{
    return call->from ? call->from->text : call->conn->peer;
}

const struct sockaddr *rpc_call_peer_address(const struct rpc_call *call)
{
    return (const struct sockaddr *)(call->from ? &call->from->address : &call->conn->address);
}

const char *rpc_call_peer_identity(const struct rpc_call *call)
{
    const struct tls_stream *tls = call->conn->conn.tls;
    return tls ? tls_stream_identity(tls) : NULL;
}

const char *rpc_call_method(const struct rpc_call *call)
{
    return call->entry ? call->entry->method->name : "";
}

const struct who *rpc_call_who(const struct rpc_call *call)
{
    return call->conn->server->options.authorize ? &call->who : NULL;
}

uint64_t rpc_call_bytes(const struct rpc_call *call)
{
    return call->moved;
}

void rpc_call_set_object(struct rpc_call *call, const char *id)
{
    snprintf(call->object, sizeof call->object, "%s", id);
}

const char *rpc_call_object(const struct rpc_call *call)
{
    return call->object;
}
