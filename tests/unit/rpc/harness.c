/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include <stdlib.h>

#include "rpc/server_internal.h"

/* --- the server --- */

static void on_deadline(uv_timer_t *timer)
{
    CONTAINER_OF(timer, struct harness, deadline)->late = true;
}

void harness_start_deadline(struct harness *h)
{
    uv_update_time(&h->loop);
    uv_timer_start(&h->deadline, on_deadline, HARNESS_DEADLINE_MS, 0);
}

void harness_init(struct harness *h, const struct rpc_server_options *options)
{
    static const struct rpc_server_options none = {.port = 0};
    struct tw_error error;
    *h = (struct harness){0};
    assert_int_equal(uv_loop_init(&h->loop), 0);
    uv_timer_init(&h->loop, &h->deadline);
    if (rpc_server_new(&h->loop, options ? options : &none, &h->server, &error) < 0)
        fail_msg("%s", error.message);
    assert_int_equal(echo_service_add(h->server, &h->echo), 0);
}

void harness_done(struct harness *h)
{
    rpc_server_free(h->server);
    uv_close((uv_handle_t *)&h->deadline, NULL);
    uv_run(&h->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&h->loop), 0);
}

struct rpc_server_stats harness_stats(const struct harness *h)
{
    struct rpc_server_stats stats;
    rpc_server_get_stats(h->server, &stats);
    return stats;
}

/* --- the raw client --- */

static struct raw_stream *find(struct raw *raw, int32_t id)
{
    for (size_t i = 0; i < raw->count; i++) {
        if (raw->streams[i].id == id)
            return &raw->streams[i];
    }
    return NULL;
}

static int on_header(nghttp2_session *session UNUSED, const nghttp2_frame *frame, const uint8_t *name,
    size_t name_len UNUSED, const uint8_t *value, size_t value_len UNUSED, uint8_t flags UNUSED, void *user_data)
{
    struct raw_stream *s = find(user_data, frame->hd.stream_id);
    if (!s)
        return 0;
    if (!strcmp((const char *)name, ":status"))
        s->http_status = (unsigned)atoi((const char *)value);
    if (!strcmp((const char *)name, "grpc-status"))
        s->grpc_status = atoi((const char *)value);
    if (!strcmp((const char *)name, "grpc-retry-pushback-ms"))
        s->retry_ms = atoi((const char *)value);
    if (!strcmp((const char *)name, "grpc-message"))
        snprintf(s->message, sizeof s->message, "%s", (const char *)value);
    if (!strcmp((const char *)name, "grpc-accept-encoding"))
        snprintf(s->accept_encoding, sizeof s->accept_encoding, "%s", (const char *)value);
    return 0;
}

static int on_frame(nghttp2_session *session UNUSED, const nghttp2_frame *frame, void *user_data)
{
    struct raw *raw = user_data;
    struct raw_stream *s = find(raw, frame->hd.stream_id);
    if (s && (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        s->ended = true;
    if (frame->hd.type == NGHTTP2_PING && !(frame->hd.flags & NGHTTP2_FLAG_ACK))
        raw->pings++;
    return 0;
}

static int on_data(
    nghttp2_session *session, uint8_t flags UNUSED, int32_t id, const uint8_t *data, size_t len, void *user_data)
{
    struct raw *raw = user_data;
    struct raw_stream *s = find(raw, id);
    if (s)
        buf_append(&s->data, data, len);
    nghttp2_session_consume_connection(session, len);
    if (raw->reading)
        nghttp2_session_consume_stream(session, id, len);
    return 0;
}

static int on_close(nghttp2_session *session UNUSED, int32_t id, uint32_t error, void *user_data)
{
    struct raw_stream *s = find(user_data, id);
    if (s) {
        s->closed = true;
        s->error = error;
    }
    return 0;
}

/* GOAWAYs are read here: a session that has been sent nonsense by a test no longer listens. */
static void note_goaways(struct raw *raw, const uint8_t *data, size_t len)
{
    while (len >= 9) {
        size_t n = (size_t)data[0] << 16 | (size_t)data[1] << 8 | data[2];
        if (len - 9 < n)
            return;
        if (data[3] == NGHTTP2_GOAWAY && n >= 8) {
            raw->goaways++;
            raw->goaway_last =
                (int32_t)((data[9] & 127u) << 24 | (unsigned)data[10] << 16 | (unsigned)data[11] << 8 | data[12]);
            raw->goaway_code = (uint32_t)data[13] << 24 | (uint32_t)data[14] << 16 | (uint32_t)data[15] << 8 | data[16];
        }
        data += 9 + n;
        len -= 9 + n;
    }
}

static void on_sink(struct conn *conn, const uint8_t *data, size_t len)
{
    struct raw *raw = conn->tcp.data;
    note_goaways(raw, data, len);
    if (raw->deaf || raw->dead)
        return;
    if (nghttp2_session_mem_recv(raw->session, data, len) < 0)
        raw->dead = true;
    else
        raw_flush(raw);
}

/* The server's side is gone when its close callback has run; until then its state says so. */
bool raw_closed(struct raw *raw)
{
    if (!raw->conn)
        return true;
    struct rpc_server *server = raw->h->server;
    list_for_each (it, &server->hub.conns) {
        if (CONTAINER_OF(it, struct conn, link) == raw->conn)
            return ((struct conn *)raw->conn)->state == CONN_CLOSED;
    }
    raw->conn = NULL;
    return true;
}

void raw_init(struct raw *raw, struct harness *h, uint32_t window)
{
    *raw = (struct raw){.h = h, .reading = window >= 65535};
    nghttp2_option *option;
    nghttp2_option_new(&option);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_session_callbacks *cb;
    nghttp2_session_callbacks_new(&cb);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
    nghttp2_session_client_new2(&raw->session, cb, raw, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(cb);
    const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window}};
    nghttp2_submit_settings(raw->session, NGHTTP2_FLAG_NONE, settings, 1);
    nghttp2_session_set_local_window_size(raw->session, NGHTTP2_FLAG_NONE, 0, 64 * 1024 * 1024);
    struct server_conn *sc = server_attach(h->server, on_sink);
    assert_non_null(sc);
    sc->conn.tcp.data = raw;
    raw->conn = &sc->conn;
}

void raw_done(struct raw *raw)
{
    nghttp2_session_del(raw->session);
    for (size_t i = 0; i < raw->count; i++)
        buf_done(&raw->streams[i].data);
    if (!raw_closed(raw))
        conn_abort(raw->conn, "test over");
}

void raw_bytes(struct raw *raw, const void *data, size_t len)
{
    if (!raw_closed(raw))
        conn_receive(raw->conn, data, len);
}

void raw_flush(struct raw *raw)
{
    for (;;) {
        const uint8_t *data;
        ssize_t n = nghttp2_session_mem_send(raw->session, &data);
        if (n <= 0)
            return;
        raw_bytes(raw, data, (size_t)n);
    }
}

void raw_read_on(struct raw *raw)
{
    const nghttp2_settings_entry window = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 20};
    raw->reading = true;
    nghttp2_submit_settings(raw->session, 0, &window, 1);
    raw_flush(raw);
}

static ssize_t read_upload(nghttp2_session *session UNUSED, int32_t id UNUSED, uint8_t *to, size_t max, uint32_t *flags,
    nghttp2_data_source *source, void *user_data UNUSED)
{
    struct raw_stream *s = source->ptr;
    size_t n = MIN(max, s->upload_len);
    if (!n && s->upload_open)
        return NGHTTP2_ERR_DEFERRED;
    if (n)
        memcpy(to, s->upload, n);
    s->upload += n;
    s->upload_len -= n;
    if (!s->upload_len && !s->upload_open)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static void set_header(nghttp2_nv *nv, size_t *n, const char *name, const char *value)
{
    size_t i = 0;
    while (i < *n && strcmp((const char *)nv[i].name, name) != 0)
        i++;
    *n = MAX(*n, i + 1);
    nv[i] = (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name,
        .namelen = strlen(name),
        .value = (uint8_t *)(uintptr_t)value,
        .valuelen = strlen(value)};
}

struct raw_stream *raw_call(
    struct raw *raw, const char *path, const void *body, size_t len, bool end, const char *const *headers)
{
    nghttp2_nv nv[64];
    size_t n = 0;
    set_header(nv, &n, ":method", "POST");
    set_header(nv, &n, ":scheme", "http");
    set_header(nv, &n, ":authority", "test");
    set_header(nv, &n, ":path", path);
    set_header(nv, &n, "content-type", "application/grpc");
    for (size_t i = 0; headers && headers[i]; i += 2)
        set_header(nv, &n, headers[i], headers[i + 1]);
    assert_true(raw->count < RAW_STREAMS);
    struct raw_stream *s = &raw->streams[raw->count++];
    *s = (struct raw_stream){.grpc_status = -1, .upload = body, .upload_len = len, .upload_open = !end};
    buf_init(&s->data, SIZE_MAX / 2);
    const nghttp2_data_provider data = {.source.ptr = s, .read_callback = read_upload};
    s->id = nghttp2_submit_request(raw->session, NULL, nv, n, &data, NULL);
    assert_true(s->id > 0);
    raw_flush(raw);
    return s;
}

void raw_more(struct raw *raw, struct raw_stream *s, const void *body, size_t len, bool end)
{
    assert_int_equal(s->upload_len, 0);
    s->upload = body;
    s->upload_len = len;
    s->upload_open = !end;
    nghttp2_session_resume_data(raw->session, s->id);
    raw_flush(raw);
}
