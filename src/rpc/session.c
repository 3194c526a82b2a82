/* SPDX-License-Identifier: Apache-2.0 */
/* nghttp2's callbacks on the server's side: frames become calls, and a peer that wears the server
 * out is cut off. */
#include "rpc/server_internal.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "rpc/status.h"

/*
 * Every connection has some patience, which grows back. Frames that make work without getting
 * anything done cost one, streams that are opened only to be thrown away cost more; honest clients
 * (keepalive, a thousand calls cancelled at once) stay far away from the end of it.
 */
enum {
    PATIENCE_MAX = 10000,
    PATIENCE_PER_S = 1000,
    COST_FRAME = 1,
    WORTH_DATA = 4, /* a frame of an answer's data, which brings two or more of WINDOW_UPDATE with it */
    COST_RESET = 5,
    COST_HEADERS = 50,
    /* A header list so much above the limit that it is not even decoded to its end. */
    HEADER_LIST_ABSURD = 16,
};

static void misbehaved(struct server_conn *sc, unsigned cost)
{
    uint64_t now = sc->conn.last_recv_us;
    if (sc->inside) /* many clients, of which the gateway takes care */
        return;
    sc->patience += (double)(now - sc->patience_us) * PATIENCE_PER_S / 1e6;
    sc->patience = MIN(sc->patience, (double)PATIENCE_MAX) - cost;
    sc->patience_us = now;
    if (sc->patience < 0)
        conn_fail(&sc->conn, NGHTTP2_ENHANCE_YOUR_CALM, "the client floods the connection");
}

static struct server_conn *conn_of(void *user_data)
{
    return CONTAINER_OF((struct conn *)user_data, struct server_conn, conn);
}

/* Also called for frames that nghttp2 ignores. */
static int on_begin_frame(nghttp2_session *session UNUSED, const nghttp2_frame_hd *hd, void *user_data)
{
    switch (hd->type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_CONTINUATION:
        break;
    case NGHTTP2_DATA:
        if (!hd->length && !(hd->flags & NGHTTP2_FLAG_END_STREAM))
            misbehaved(conn_of(user_data), COST_FRAME);
        break;
    case NGHTTP2_RST_STREAM:
        misbehaved(conn_of(user_data), COST_RESET);
        break;
    default:
        misbehaved(conn_of(user_data), COST_FRAME);
    }
    return 0;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct server_conn *sc = conn_of(user_data);
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST || sc->conn.fail)
        return 0;
    struct rpc_call *call = call_new(sc, frame->hd.stream_id);
    sc->stray = 0;
    if (call) {
        nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, call);
        return 0;
    }
    /* Nothing of it was looked at, so that the client may try again. */
    misbehaved(sc, COST_RESET);
    if (nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_REFUSED_STREAM) != 0)
        conn_fail(&sc->conn, NGHTTP2_INTERNAL_ERROR, "out of memory");
    return 0;
}

#define IS(text) (name_len == sizeof(text) - 1 && !memcmp(name, text, sizeof(text) - 1))
#define VALUE_IS(text) (value_len == sizeof(text) - 1 && !memcmp(value, text, sizeof(text) - 1))

static bool is_grpc_content_type(const char *value, size_t value_len)
{
    static const char prefix[] = "application/grpc";
    size_t n = sizeof prefix - 1;
    if (value_len < n || memcmp(value, prefix, n) != 0)
        return false;
    if (value_len - n >= 6 && !memcmp(value + n, "+proto", 6))
        n += 6;
    return value_len == n || value[n] == ';' || value[n] == ' ';
}

static void pseudo_header(struct rpc_call *call, const char *name, size_t name_len, const char *value, size_t value_len)
{
    if (IS(":method")) {
        call->is_post = VALUE_IS("POST");
    } else if (IS(":path")) {
        call->has_path = true;
        call->entry = map_get(&call->conn->server->methods, value);
        if (!call->entry) /* kept for the refusal */
            buf_append(&call->headers, value, MIN(value_len, (size_t)METHOD_SHOWN_MAX));
        buf_append_u8(&call->headers, '\0');
    }
}

static void header(struct rpc_call *call, const char *name, size_t name_len, const char *value, size_t value_len)
{
    if (IS("te"))
        return;
    if (IS("content-type")) {
        call->is_grpc = is_grpc_content_type(value, value_len);
    } else if (IS("grpc-timeout")) {
        uint64_t us;
        if (timeout_parse(value, &us) < 0)
            call->bad_timeout = true;
        else
            call->deadline_us = call->conn->conn.last_recv_us + us;
    } else if (IS("grpc-encoding")) {
        call->gzip = VALUE_IS("gzip");
        call->bad_encoding = !call->gzip && !VALUE_IS("identity");
    }
    if (!call->headers.len) /* the first entry is the path's, in every case */
        buf_append_u8(&call->headers, '\0');
    buf_append(&call->headers, name, name_len + 1);
    buf_append(&call->headers, value, value_len);
    buf_append_u8(&call->headers, '\0');
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
    const uint8_t *value, size_t value_len, uint8_t flags UNUSED, void *user_data)
{
    struct server_conn *sc = conn_of(user_data);
    struct rpc_call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    size_t max = sc->server->options.max_header_list;
    if (!call) {
        sc->stray += name_len + value_len + 32;
        if (sc->stray / HEADER_LIST_ABSURD > max)
            conn_fail(&sc->conn, NGHTTP2_ENHANCE_YOUR_CALM, "a header list far above the limit");
        return sc->conn.fail ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : 0;
    }
    call->header_list += name_len + value_len + 32; /* as RFC 9113 counts it */
    if (call->header_list > max) {
        if (!call->too_many_headers)
            misbehaved(sc, COST_HEADERS);
        call->too_many_headers = true;
        if (call->header_list / HEADER_LIST_ABSURD > max)
            conn_fail(&sc->conn, NGHTTP2_ENHANCE_YOUR_CALM, "a header list far above the limit");
        return sc->conn.fail ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : 0;
    }
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    if (name_len && *name == ':')
        pseudo_header(call, (const char *)name, name_len, (const char *)value, value_len);
    else
        header(call, (const char *)name, name_len, (const char *)value, value_len);
    return 0;
}

static void on_ping_ack(struct server_conn *sc)
{
    if (sc->drain == DRAIN_NOTICE)
        server_conn_final_goaway(sc);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct server_conn *sc = conn_of(user_data);
    bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    struct rpc_call *call = NULL;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
        if (call && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
            call_headers_complete(call);
        break;
    case NGHTTP2_DATA:
        if (end)
            call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
        break;
    case NGHTTP2_PING:
        if (frame->hd.flags & NGHTTP2_FLAG_ACK)
            on_ping_ack(sc);
        return 0;
    default:
        return 0;
    }
    if (call && end)
        call_half_close(call);
    return 0;
}

static int on_invalid_frame(
    nghttp2_session *session UNUSED, const nghttp2_frame *frame UNUSED, int error UNUSED, void *user_data)
{
    misbehaved(conn_of(user_data), COST_RESET);
    return 0;
}

static int on_data(
    nghttp2_session *session, uint8_t flags UNUSED, int32_t id, const uint8_t *data, size_t len, void *user_data UNUSED)
{
    struct rpc_call *call = nghttp2_session_get_stream_user_data(session, id);
    if (call)
        call_data(call, data, len);
    else
        nghttp2_session_consume(session, id, len);
    return 0;
}

/* What it sends because of what it was sent is no flood. */
static void appease(struct server_conn *sc, unsigned worth)
{
    sc->patience = MIN(sc->patience + worth, (double)PATIENCE_MAX);
}

/* The answer is complete and the client has not said its last: it need not go on. */
static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    if (frame->hd.type == NGHTTP2_DATA)
        appease(conn_of(user_data), WORTH_DATA);
    if ((frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) ||
        !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return 0;
    struct rpc_call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (call && !call->half_closed)
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *user_data)
{
    struct server_conn *sc = conn_of(user_data);
    struct rpc_call *call = nghttp2_session_get_stream_user_data(session, id);
    if (error != NGHTTP2_NO_ERROR && error != NGHTTP2_CANCEL)
        misbehaved(sc, COST_RESET);
    if (call)
        call_end(call);
    return 0;
}

int session_callbacks_new(nghttp2_session_callbacks **ret, nghttp2_option **ret_option)
{
    nghttp2_session_callbacks *cb;
    if (nghttp2_option_new(ret_option) != 0)
        return -ENOMEM;
    if (nghttp2_session_callbacks_new(&cb) != 0) {
        nghttp2_option_del(*ret_option);
        *ret_option = NULL;
        return -ENOMEM;
    }
    nghttp2_session_callbacks_set_on_begin_frame_callback(cb, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(cb, on_invalid_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    *ret = cb;
    nghttp2_option *o = *ret_option;
    nghttp2_option_set_no_auto_window_update(o, 1);
    nghttp2_option_set_no_closed_streams(o, 1);
    /* Our own account (misbehaved) is the stricter one over time and allows a burst of as many as
     * there may be streams. */
    nghttp2_option_set_stream_reset_rate_limit(o, PATIENCE_MAX, PATIENCE_PER_S);
    return 0;
}

nghttp2_session *session_new(struct server_conn *sc)
{
    struct rpc_server *server = sc->server;
    nghttp2_session *session = NULL;
    if (nghttp2_session_server_new2(&session, server->callbacks, &sc->conn, server->option) != 0)
        return NULL;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, sc->inside ? INSIDE_STREAMS : server->options.max_streams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)server->options.max_header_list},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };
    if (nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings)) != 0 ||
        nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW) != 0) {
        nghttp2_session_del(session);
        return NULL;
    }
    sc->patience = PATIENCE_MAX;
    sc->patience_us = clock_monotonic_us();
    return session;
}
