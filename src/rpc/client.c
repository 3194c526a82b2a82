/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client. Calls wait in `waiting` until there is a connection, then live in its `calls` until
 * they are over, then in `ended` until their on_done runs: from the hub's flush hook, so never
 * inside nghttp2 nor inside a function of ours that the caller is in. A connection that the server
 * has told to go away keeps its calls and gets no new ones; a new one is made when the next call
 * needs it.
 */
#include "rpc/client_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/parse.h"
#include "base/text.h"
#include "rpc/status.h"

enum {
    STREAM_WINDOW = 1024 * 1024,
    CONNECTION_WINDOW = 4 * 1024 * 1024,
    CONNECT_TIMEOUT_US = 5000000,
    MAX_MESSAGE = 110 * 1024 * 1024,
    KEEPALIVE_US = 30000000,
    KEEPALIVE_TIMEOUT_US = 20000000,
    HEADER_LIST_MAX = 64 * 1024,
};

static struct rpc_client *client_of(struct hub *hub)
{
    return CONTAINER_OF(hub, struct rpc_client, hub);
}

/* --- the end of a call --- */

static void call_free(struct rpc_client_call *call)
{
    message_reader_done(&call->in);
    buf_done(&call->request);
    if (call->authorization)
        explicit_bzero(call->authorization, strlen(call->authorization));
    free(call->authorization);
    free(call->from);
    free(call->method);
    free(call);
}

/* call->status is what it ends with. Its stream, if it still has one, is on its own from now on. */
static void call_over(struct rpc_client_call *call)
{
    struct rpc_client *client = call->client;
    if (call->over)
        return;
    call->over = true;
    alarm_clear(&client->hub.alarms, &call->alarm);
    list_remove(&call->link);
    list_push(&client->ended, &call->link);
    if (call->conn) {
        nghttp2_session_set_stream_user_data(call->conn->conn.session, call->id, NULL);
        call->conn->n_calls--;
        call->conn = NULL;
    }
    hub_wake(&client->hub);
}

void client_call_fail(struct rpc_client_call *call, enum tw_code code, const char *why)
{
    struct client_conn *cc = call->conn;
    if (call->over)
        return;
    error_set(&call->status, code, "%s", why);
    if (cc && cc->conn.state == CONN_OPEN) {
        nghttp2_submit_rst_stream(cc->conn.session, NGHTTP2_FLAG_NONE, call->id, NGHTTP2_CANCEL);
        nghttp2_session_consume_stream(cc->conn.session, call->id, call->unconsumed);
        conn_wake(&cc->conn);
    }
    call_over(call);
}

/* What a server says ends up on terminals and in logs. */
static void show_message(struct tw_error *status)
{
    CLEANUP_FREE char *text =
        text_printable(status->message, strlen(status->message), sizeof status->message / 3, false);
    if (text && !text_is_utf8(status->message, strlen(status->message)))
        snprintf(status->message, sizeof status->message, "%s", text);
    for (char *p = status->message; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = ' ';
    }
}

static void run_ended(struct rpc_client *client)
{
    while (!list_empty(&client->ended)) {
        struct rpc_client_call *call = CONTAINER_OF(client->ended.next, struct rpc_client_call, link);
        list_remove(&call->link);
        show_message(&call->status);
        if (call->callbacks.on_done)
            call->callbacks.on_done(call, &call->status, call->ctx);
        call_free(call);
    }
}

static void on_call_alarm(struct alarm *alarm)
{
    struct rpc_client_call *call = CONTAINER_OF(alarm, struct rpc_client_call, alarm);
    if (call->deadline_us && clock_monotonic_us() >= call->deadline_us) {
        client_call_fail(call, TW_DEADLINE_EXCEEDED, "the call's deadline has passed");
        return;
    }
    const struct tw_error *last = &call->client->last_error;
    char text[sizeof last->message];
    snprintf(text, sizeof text, "cannot connect to %.100s: no answer in time", call->client->target);
    client_call_fail(call, TW_UNAVAILABLE, last->code ? last->message : text);
}

/* While it waits for a connection it has the connect time-out, too. */
static int set_alarm(struct rpc_client_call *call)
{
    uint64_t at = call->deadline_us, give_up = call->started_us + call->client->connect_timeout_us;
    if (!call->conn && (!at || give_up < at))
        at = give_up;
    call->alarm.ring = on_call_alarm;
    if (at)
        return alarm_set(&call->client->hub.alarms, &call->alarm, at);
    alarm_clear(&call->client->hub.alarms, &call->alarm);
    return 0;
}

/* --- what the server answers --- */

#define IS(text) (name_len == sizeof(text) - 1 && !memcmp(name, text, sizeof(text) - 1))

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
    const uint8_t *value, size_t value_len, uint8_t flags UNUSED, void *user_data UNUSED)
{
    struct rpc_client_call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (!call)
        return 0;
    call->header_list += name_len + value_len + 32;
    if (call->header_list > HEADER_LIST_MAX) {
        client_call_fail(call, TW_RESOURCE_EXHAUSTED, "the answer's headers are too long");
    } else if (IS(":status")) {
        call->http_status = 0;
        for (size_t i = 0; i < value_len && i < 3; i++)
            call->http_status = call->http_status * 10 + (unsigned)(value[i] - '0');
    } else if (IS("grpc-status")) {
        call->has_status = true;
        call->status.code = status_code_parse((const char *)value);
    } else if (IS("grpc-message")) {
        status_decode_message((const char *)value, value_len, call->status.message, sizeof call->status.message);
    } else if (IS("grpc-encoding")) {
        call->in.gzip = value_len == 4 && !memcmp(value, "gzip", 4);
    }
    return 0;
}

static void fail_all(struct client_conn *cc, const struct tw_error *error)
{
    while (!list_empty(&cc->calls)) {
        struct rpc_client_call *call = CONTAINER_OF(cc->calls.next, struct rpc_client_call, link);
        call->status = *error;
        call_over(call);
    }
}

static int on_frame_recv(nghttp2_session *session UNUSED, const nghttp2_frame *frame, void *user_data)
{
    struct client_conn *cc = client_conn_of(user_data);
    if (!cc->heard) {
        cc->heard = true;
        alarm_clear(&cc->client->hub.alarms, &cc->timeout);
    }
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        cc->going_away = true;
        if (cc->client->current == cc)
            cc->client->current = NULL;
    }
    return 0;
}

static void take_bytes(struct rpc_client_call *call, const uint8_t *data, size_t len)
{
    while (len && !call->over) {
        enum message_result result = message_feed(&call->in, &data, &len);
        if (result == MESSAGE_MORE)
            return;
        if (result == MESSAGE_TOO_BIG) {
            char text[100];
            snprintf(text, sizeof text, "the answer is larger than the limit of %zu bytes", call->in.max);
            client_call_fail(call, TW_RESOURCE_EXHAUSTED, text);
        } else if (result == MESSAGE_NO_MEMORY || result == MESSAGE_NO_BUDGET) {
            client_call_fail(call, TW_RESOURCE_EXHAUSTED, "out of memory for the answer");
        } else if (result != MESSAGE_READY) {
            client_call_fail(call, TW_INTERNAL, "the answer is not a valid gRPC message");
        } else {
            if (call->callbacks.on_message)
                call->callbacks.on_message(
                    call, call->in.body.len ? call->in.body.data : (const uint8_t *)"", call->in.body.len, call->ctx);
            message_next(&call->in);
        }
    }
}

static int on_data(
    nghttp2_session *session, uint8_t flags UNUSED, int32_t id, const uint8_t *data, size_t len, void *user_data UNUSED)
{
    struct rpc_client_call *call = nghttp2_session_get_stream_user_data(session, id);
    nghttp2_session_consume_connection(session, len);
    if (call && call->http_status == 200)
        take_bytes(call, data, len);
    if (call && call->paused && !call->over)
        call->unconsumed += len;
    else
        nghttp2_session_consume_stream(session, id, len);
    return 0;
}

/* A status for a stream that ended without one. */
static void missing_status(struct rpc_client_call *call, uint32_t error)
{
    if (error != NGHTTP2_NO_ERROR)
        error_set(
            &call->status, status_of_reset(error), "the server has reset the call: %s", nghttp2_http2_strerror(error));
    else if (call->http_status && call->http_status != 200)
        error_set(&call->status, status_of_http(call->http_status), "the server answers with HTTP status %u",
            call->http_status);
    else
        error_set(&call->status, TW_INTERNAL, "the server's answer has no grpc-status");
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *user_data UNUSED)
{
    struct rpc_client_call *call = nghttp2_session_get_stream_user_data(session, id);
    if (!call)
        return 0;
    if (!call->has_status)
        missing_status(call, error);
    else if (call->status.code == TW_OK && message_partial(&call->in))
        error_set(&call->status, TW_INTERNAL, "the answer ends within a message");
    call_over(call);
    return 0;
}

static ssize_t read_request(nghttp2_session *session UNUSED, int32_t id UNUSED, uint8_t *to, size_t max,
    uint32_t *flags, nghttp2_data_source *source UNUSED, void *user_data UNUSED)
{
    struct rpc_client_call *call = nghttp2_session_get_stream_user_data(session, id);
    if (!call)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* it was cancelled meanwhile */
    if (call->request_pos == call->request.len && call->callbacks.on_pull && !call->all_pulled) {
        buf_reset(&call->request);
        call->request_pos = 0;
        call->all_pulled = !call->callbacks.on_pull(call, call->ctx);
        if (call->over)
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    size_t n = MIN(max, call->request.len - call->request_pos);
    if (n > 0)
        memcpy(to, call->request.data + call->request_pos, n);
    call->request_pos += n;
    if (call->request_pos == call->request.len && (call->all_pulled || !call->callbacks.on_pull)) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        buf_done(&call->request);
        call->request_pos = 0;
    }
    return (ssize_t)n;
}

/* --- sending --- */

static void nv_set(nghttp2_nv *nv, const char *name, const char *value)
{
    *nv = (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name,
        .namelen = strlen(name),
        .value = (uint8_t *)(uintptr_t)value,
        .valuelen = strlen(value),
        .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME};
}

static void send_call(struct client_conn *cc, struct rpc_client_call *call)
{
    char timeout[TIMEOUT_TEXT_MAX];
    nghttp2_nv nv[11];
    size_t n = 0;
    nv_set(&nv[n++], ":method", "POST");
    nv_set(&nv[n++], ":scheme", cc->client->tls ? "https" : "http");
    nv_set(&nv[n++], ":path", call->method);
    nv_set(&nv[n++], ":authority", cc->client->target);
    nv_set(&nv[n++], "te", "trailers");
    nv_set(&nv[n++], "content-type", "application/grpc");
    nv_set(&nv[n++], "user-agent", "hivemind/" HIVEMIND_VERSION);
    nv_set(&nv[n++], "grpc-accept-encoding", "identity,gzip");
    if (call->deadline_us) {
        uint64_t now = clock_monotonic_us();
        uint64_t left = call->deadline_us > now ? call->deadline_us - now : 0;
        nv_set(&nv[n++], "grpc-timeout", timeout_format(left, timeout));
    }
    const char *authorization = call->authorization ? call->authorization : cc->client->authorization;
    if (*authorization) {
        nv_set(&nv[n], "authorization", authorization);
        nv[n++].flags |= NGHTTP2_NV_FLAG_NO_INDEX; /* not for anybody's table of headers */
    }
    if (call->from)
        nv_set(&nv[n++], RPC_FROM_HEADER, call->from);
    const nghttp2_data_provider data = {.read_callback = read_request};
    int32_t id = nghttp2_submit_request(cc->conn.session, NULL, nv, n, &data, call);
    if (id < 0) {
        if (cc->client->current == cc) /* it takes no more calls */
            cc->client->current = NULL;
        client_call_fail(call, TW_UNAVAILABLE, nghttp2_strerror(id));
        return;
    }
    call->id = id;
    call->conn = cc;
    cc->n_calls++;
    list_remove(&call->link);
    list_push(&cc->calls, &call->link);
    if (set_alarm(call) < 0)
        client_call_fail(call, TW_RESOURCE_EXHAUSTED, "out of memory");
    conn_wake(&cc->conn);
}

void client_send_waiting(struct client_conn *cc)
{
    while (!list_empty(&cc->client->waiting))
        send_call(cc, CONTAINER_OF(cc->client->waiting.next, struct rpc_client_call, link));
}

/* --- sessions --- */

nghttp2_session *client_session_new(struct client_conn *cc)
{
    nghttp2_session *session = NULL;
    if (nghttp2_session_client_new2(&session, cc->client->callbacks, &cc->conn, cc->client->option) != 0)
        return NULL;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEADER_LIST_MAX},
    };
    if (nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings)) != 0 ||
        nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW) != 0) {
        nghttp2_session_del(session);
        return NULL;
    }
    return session;
}

/* --- the hub's hooks --- */

static void on_conn_end(struct conn *conn, const char *why)
{
    struct client_conn *cc = client_conn_of(conn);
    struct rpc_client *client = cc->client;
    alarm_clear(&client->hub.alarms, &cc->timeout);
    if (client->current == cc)
        client->current = NULL;
    struct tw_error error;
    client_describe_end(cc, why, &error);
    fail_all(cc, &error);
}

static void on_conn_free(struct conn *conn)
{
    free(client_conn_of(conn));
}

static bool conn_is_busy(const struct conn *conn)
{
    return CONTAINER_OF(conn, const struct client_conn, conn)->n_calls > 0;
}

static void on_flushed(struct hub *hub)
{
    struct rpc_client *client = client_of(hub);
    run_ended(client);
}

static void on_tick(struct hub *hub UNUSED, uint64_t now UNUSED)
{
}

static void on_hub_closed(struct hub *hub)
{
    struct rpc_client *client = client_of(hub);
    client_connect_done(client);
    if (client->callbacks)
        nghttp2_session_callbacks_del(client->callbacks);
    if (client->option)
        nghttp2_option_del(client->option);
    hub_done(hub);
    rpc_tls_unref(client->tls);
    free(client);
}

static const struct hub_ops client_hub_ops = {
    .on_end = on_conn_end,
    .on_free = on_conn_free,
    .is_busy = conn_is_busy,
    .on_flushed = on_flushed,
    .on_tick = on_tick,
    .on_closed = on_hub_closed,
};

/* --- the interface --- */

/* "host:port" or "[address]:port" into client->host and client->port. */
static int parse_target(struct rpc_client *client, const char *target, struct tw_error *error)
{
    const char *colon = strrchr(target, ':'), *host = target, *end = colon;
    uint64_t port;
    if (*target == '[' && colon && colon > target && colon[-1] == ']') {
        host++;
        end--;
    } else if (colon && memchr(target, ':', (size_t)(colon - target))) {
        colon = NULL; /* a bare IPv6 address */
    }
    if (!colon || end == host || strlen(target) >= CLIENT_TARGET_MAX ||
        parse_u64(colon + 1, 1, UINT16_MAX, &port) < 0 || strlen(colon + 1) >= sizeof client->port ||
        strpbrk(target, " \t\r\n/"))
        return error_set(error, TW_INVALID_ARGUMENT,
            "\"%.100s\" is not the address of a server: it has to be HOST:PORT, for example 127.0.0.1:50053%s", target,
            strstr(target, "://") ? "; the only scheme is tls://" : "");
    snprintf(client->target, sizeof client->target, "%s", target);
    snprintf(client->host, sizeof client->host, "%.*s", (int)(end - host), host);
    snprintf(client->port, sizeof client->port, "%s", colon + 1);
    return 0;
}

static int make_callbacks(struct rpc_client *client)
{
    if (nghttp2_option_new(&client->option) != 0 || nghttp2_session_callbacks_new(&client->callbacks) != 0)
        return -ENOMEM;
    nghttp2_option_set_no_auto_window_update(client->option, 1);
    nghttp2_session_callbacks *cb = client->callbacks;
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    return 0;
}

int rpc_client_new(
    uv_loop_t *loop, const struct rpc_client_options *options, struct rpc_client **ret, struct tw_error *error)
{
    struct rpc_client *client = calloc(1, sizeof *client);
    if (!client)
        return error_oom(error);
    CLEANUP_FD int fd = options->has_fd ? options->fd : -1;
    client->inside = options->has_fd;
    snprintf(client->target, sizeof client->target, "inside");
    if ((!client->inside && parse_target(client, options->target, error) < 0) ||
        (options->tls && rpc_tls_new_client(options->tls, &client->tls, error) < 0)) {
        free(client);
        return -1;
    }
    if (options->token &&
        (size_t)snprintf(client->authorization, sizeof client->authorization, "Bearer %s", options->token) >=
            sizeof client->authorization) {
        rpc_tls_unref(client->tls);
        free(client);
        return error_set(error, TW_INVALID_ARGUMENT, "the token is too long for one");
    }
    client->fail_fast = options->fail_fast;
    client->connect_timeout_us = options->connect_timeout_us ? options->connect_timeout_us : CONNECT_TIMEOUT_US;
    client->max_message = options->max_message ? options->max_message : MAX_MESSAGE;
    list_init(&client->waiting);
    list_init(&client->ended);
    client->hub.keepalive_us = KEEPALIVE_US;
    client->hub.keepalive_timeout_us = KEEPALIVE_TIMEOUT_US;
    client->hub.idle_us = KEEPALIVE_US;
    if (hub_init(&client->hub, loop, &client_hub_ops) < 0 || make_callbacks(client) < 0) {
        rpc_client_free(client);
        return error_oom(error);
    }
    if (client->inside && client_take_up(client, fd_steal(&fd)) < 0) {
        rpc_client_free(client);
        return error_oom(error);
    }
    *ret = client;
    return 0;
}

void rpc_client_free(struct rpc_client *client)
{
    if (!client)
        return;
    client->freed = true;
    explicit_bzero(client->authorization, sizeof client->authorization);
    alarm_clear(&client->hub.alarms, &client->retry);
    while (!list_empty(&client->waiting))
        client_call_fail(
            CONTAINER_OF(client->waiting.next, struct rpc_client_call, link), TW_CANCELLED, "the client was closed");
    list_for_each (it, &client->hub.conns) {
        struct client_conn *cc = client_conn_of(CONTAINER_OF(it, struct conn, link));
        while (!list_empty(&cc->calls))
            client_call_fail(
                CONTAINER_OF(cc->calls.next, struct rpc_client_call, link), TW_CANCELLED, "the client was closed");
    }
    run_ended(client);
    hub_close(&client->hub);
    if (client->resolving)
        uv_cancel((uv_req_t *)&client->resolve);
}

/* What the headers of a call for somebody say. */
static int set_caller(struct rpc_client_call *call, const struct rpc_client_caller *caller)
{
    if (caller && caller->token && asprintf(&call->authorization, "Bearer %s", caller->token) < 0)
        call->authorization = NULL;
    if (caller && caller->from)
        call->from = strdup(caller->from);
    return caller && ((caller->token && !call->authorization) || (caller->from && !call->from)) ? -ENOMEM : 0;
}

struct rpc_client_call *rpc_client_start(struct rpc_client *client, const char *method, const ProtobufCMessage *request,
    uint64_t timeout_us, const struct rpc_client_callbacks *callbacks, void *ctx)
{
    return rpc_client_start_for(client, NULL, method, request, timeout_us, callbacks, ctx);
}

struct rpc_client_call *rpc_client_start_for(struct rpc_client *client, const struct rpc_client_caller *caller,
    const char *method, const ProtobufCMessage *request, uint64_t timeout_us,
    const struct rpc_client_callbacks *callbacks, void *ctx)
{
    struct rpc_client_call *call = calloc(1, sizeof *call);
    if (!call)
        return NULL;
    call->client = client;
    call->callbacks = *callbacks;
    call->ctx = ctx;
    call->started_us = clock_monotonic_us();
    call->deadline_us = timeout_us ? call->started_us + MIN(timeout_us, UINT64_MAX / 4) : 0;
    call->method = strdup(method);
    buf_init(&call->request, SIZE_MAX / 2);
    message_reader_init(&call->in, client->max_message, NULL, false);
    list_init(&call->link);
    if (!call->method || set_caller(call, caller) < 0 || message_append(&call->request, request) < 0 ||
        set_alarm(call) < 0) {
        call_free(call);
        return NULL;
    }
    list_push(&client->waiting, &call->link);
    if (client->current && client->current->conn.state == CONN_OPEN)
        client_send_waiting(client->current);
    else
        client_connect(client);
    return call;
}

bool rpc_client_add(struct rpc_client_call *call, const ProtobufCMessage *message)
{
    return message_append(&call->request, message) == 0;
}

void rpc_client_cancel(struct rpc_client_call *call)
{
    client_call_fail(call, TW_CANCELLED, "the call was cancelled");
}

uint64_t rpc_client_connections(const struct rpc_client *client)
{
    return client->n_connections;
}

void rpc_client_pause(struct rpc_client_call *call, bool paused)
{
    call->paused = paused;
    if (paused || !call->unconsumed || !call->conn)
        return;
    nghttp2_session_consume_stream(call->conn->conn.session, call->id, call->unconsumed);
    call->unconsumed = 0;
    conn_wake(&call->conn->conn);
}
