/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. The rpc module speaks gRPC over HTTP/2. This file owns the connections: a
 * TCP handle of libuv and a session of nghttp2, which knows frames, header compression and flow
 * control and does no I/O of its own. Bytes that arrive go through conn_input() into the session,
 * whose callbacks (server.c, client.c) turn them into calls. Whatever is submitted to the session
 * meanwhile is not written at once: the connection is marked dirty, and an idle handle, active only
 * while something is dirty, collects the frames of all answers of one loop round into one buffer
 * and hands it over in one system call. What the kernel does not take is written by uv_write; until
 * that is done nothing more is taken out of the session, so that a slow reader costs one buffer
 * here and the rest waits, bounded, in its calls.
 *
 * nghttp2 must not be torn down from inside its callbacks. So those only mark (conn_fail), and
 * everything that ends a connection runs after the session has returned: on_end once, then the
 * handle is closed, then session and struct go.
 *
 * With TLS a stream of tls_stream.c sits in between: conn_receive() opens records for conn_input(), write_out() seals what was
 * collected. Nothing is taken out of the session before the handshake is done. What TLS has to say of its own accord
 * (handshake, alerts, new keys) does not wait for the socket as frames do; so it is bounded by itself.
 *
 * One timer per hub looks at all connections a few times per time-out: silence while calls are open
 * is probed by PING, and a frame, header block or preface that was begun and does not get finished
 * ends the connection.
 */
#include "rpc/conn_internal.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"

enum {
    LINGER_US = 1000000,
    LINGER_MAX = 1024 * 1024, /* bytes that are taken and thrown away meanwhile */
    TICK_MIN_US = 5000,
    TICK_MAX_US = 1000000,
    PREFACE_LEN = 24,
    TLS_ALERT = 21,     /* how a peer begins that speaks TLS: a server that was not spoken to so, ... */
    TLS_HANDSHAKE = 22, /* ... and a client */
    TLS_MAJOR = 3,
    TCP_KEEPALIVE_S = 60,
    SEALED_MAX = HUB_OUT + HUB_OUT_SLACK + 64 * 1024, /* frames, what sealing adds to them, and handshakes */
    FLUSH_ROUNDS = 16, /* buffers of one connection that are written in one round of the loop */
};

const char conn_unexpected_tls[] = "it speaks TLS";

/* --- the hub --- */

static void on_hub_handle_closed(uv_handle_t *handle)
{
    hub_release(handle->data);
}

void hub_hold(struct hub *hub)
{
    hub->open_handles++;
}

void hub_release(struct hub *hub)
{
    hub->open_handles--;
    if (hub->closing && !hub->open_handles)
        hub->ops->on_closed(hub);
}

/* Writing to a connection that the peer has closed must be an error, not the end of the process. */
static void ignore_sigpipe(void)
{
    struct sigaction sa;
    if (sigaction(SIGPIPE, NULL, &sa) == 0 && sa.sa_handler == SIG_DFL) {
        sa.sa_handler = SIG_IGN;
        sigaction(SIGPIPE, &sa, NULL);
    }
}

static void on_round(uv_prepare_t *handle)
{
    ((struct hub *)handle->data)->round++;
}

int hub_init(struct hub *hub, uv_loop_t *loop, const struct hub_ops *ops)
{
    hub->loop = loop;
    hub->ops = ops;
    list_init(&hub->conns);
    list_init(&hub->dirty);
    list_init(&hub->resting);
    buf_init(&hub->sealed, SEALED_MAX);
    uint64_t tick = MIN(hub->keepalive_us, hub->keepalive_timeout_us);
    tick = MIN(tick, hub->handshake_us ? hub->handshake_us : tick);
    tick = MIN(tick, hub->idle_us) / 4;
    tick = MIN(tick, (uint64_t)TICK_MAX_US);
    hub->tick_us = MAX(tick, (uint64_t)TICK_MIN_US);
    ignore_sigpipe();
    uv_idle_init(loop, &hub->flusher);
    uv_timer_init(loop, &hub->ticker);
    uv_prepare_init(loop, &hub->rounds);
    uv_prepare_start(&hub->rounds, on_round);
    uv_unref((uv_handle_t *)&hub->ticker);
    uv_unref((uv_handle_t *)&hub->rounds);
    alarm_queue_init(&hub->alarms, loop);
    hub->flusher.data = hub->ticker.data = hub->rounds.data = hub->alarms.timer.data = hub;
    hub->open_handles = 4;
    hub->in = malloc(HUB_IN);
    hub->out = malloc(HUB_OUT + HUB_OUT_SLACK);
    return hub->in && hub->out ? 0 : -ENOMEM;
}

void hub_close(struct hub *hub)
{
    hub->closing = true;
    list_for_each_safe (it, &hub->conns)
        conn_abort(CONTAINER_OF(it, struct conn, link), "closed here");
    uv_close((uv_handle_t *)&hub->flusher, on_hub_handle_closed);
    uv_close((uv_handle_t *)&hub->ticker, on_hub_handle_closed);
    uv_close((uv_handle_t *)&hub->rounds, on_hub_handle_closed);
    uv_close((uv_handle_t *)&hub->alarms.timer, on_hub_handle_closed);
}

void hub_done(struct hub *hub)
{
    alarm_queue_done(&hub->alarms);
    buf_done(&hub->sealed);
    free(hub->in);
    free(hub->out);
    free(hub->opened);
    hub->in = hub->out = hub->opened = NULL;
}

/* --- ending --- */

static void on_conn_closed(uv_handle_t *handle)
{
    struct conn *conn = CONTAINER_OF(handle, struct conn, tcp);
    struct hub *hub = conn->hub;
    if (conn->queue_held)
        hub->ops->let_go(conn, conn->queue_held);
    nghttp2_session_del(conn->session);
    conn->session = NULL;
    tls_stream_free(conn->tls);
    conn->tls = NULL;
    list_remove(&conn->link);
    hub->ops->on_free(conn);
    hub_release(hub);
}

/* TLS ends with a word, so that nobody can cut a stream unnoticed. Only if it can be said at once. */
static void close_tls(struct conn *conn)
{
    struct buf *sealed = &conn->hub->sealed;
    if (!conn->tls || conn->state != CONN_OPEN || conn->writing || conn->sink)
        return;
    tls_stream_close(conn->tls);
    uv_buf_t buf = uv_buf_init((char *)sealed->data, (unsigned)sealed->len);
    if (sealed->len)
        (void)uv_try_write((uv_stream_t *)&conn->tcp, &buf, 1);
    buf_reset(sealed);
}

void conn_abort(struct conn *conn, const char *why)
{
    if (conn->state == CONN_CLOSED)
        return;
    close_tls(conn);
    bool ended = conn->state == CONN_LINGER;
    conn->state = CONN_CLOSED;
    list_remove(&conn->dirty);
    list_remove(&conn->resting);
    if (!ended)
        conn->hub->ops->on_end(conn, why);
    uv_close((uv_handle_t *)&conn->tcp, on_conn_closed);
}

void conn_fail(struct conn *conn, uint32_t http2_error, const char *why)
{
    if (conn->fail || conn->state != CONN_OPEN)
        return;
    conn->fail = why;
    conn->fail_code = http2_error;
    if (!conn->in_session)
        conn_wake(conn);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    if (status < 0 && status != UV_ECANCELED)
        conn_abort(CONTAINER_OF(req, struct conn, shutdown), "shutdown failed");
}

/*
 * All is said on both sides. Closing a socket with unread bytes in it would make the kernel send a
 * reset, which can overtake what we wrote last: so only our direction is closed, until the peer
 * closes its own or a second has passed.
 */
static void conn_linger(struct conn *conn)
{
    conn->hub->ops->on_end(conn, conn->fail ? conn->fail : "connection closed");
    close_tls(conn);
    conn->state = CONN_LINGER;
    conn->linger_us = clock_monotonic_us();
    list_remove(&conn->dirty);
    if (conn->sink || uv_shutdown(&conn->shutdown, (uv_stream_t *)&conn->tcp, on_shutdown) < 0)
        conn_abort(conn, "shutdown failed");
}

/* --- writing --- */

static int send_sealed(struct conn *conn)
{
    struct buf *sealed = &conn->hub->sealed;
    int r = sealed->error ? sealed->error : sealed->len ? conn_write(conn, sealed->data, sealed->len) : 0;
    buf_reset(sealed);
    return r;
}

static int write_out(struct conn *conn, const uint8_t *data, size_t len)
{
    if (!conn->tls)
        return conn_write(conn, data, len);
    return tls_stream_write(conn->tls, data, len) < 0 ? -EPROTO : send_sealed(conn);
}

/* Fills the hub's buffer with frames. Returns the length, or -1 when the session has broken down.
 */
static ssize_t collect(struct conn *conn, uint8_t *out)
{
    size_t len = 0;
    while (len < HUB_OUT) {
        const uint8_t *data;
        ssize_t n = nghttp2_session_mem_send(conn->session, &data);
        if (n < 0 || (size_t)n > HUB_OUT + HUB_OUT_SLACK - len)
            return -1;
        if (n == 0)
            break;
        memcpy(out + len, data, (size_t)n);
        len += (size_t)n;
    }
    return (ssize_t)len;
}

/*
 * Writes what the session has to say. False: not all, because the kernel takes no more, or because the others must have
 * their turn (then it goes on in the loop's next round), or because the connection was aborted.
 */
static bool write_all(struct conn *conn)
{
    if (!conn_is_ready(conn))
        return true;
    for (unsigned round = 0; !conn->writing; round++) {
        if (round == FLUSH_ROUNDS) {
            conn_wake(conn);
            return false;
        }
        ssize_t len = collect(conn, conn->hub->out);
        if (len == 0)
            return true;
        if (len < 0 || write_out(conn, conn->hub->out, (size_t)len) < 0) {
            conn_abort(conn, len < 0 ? "HTTP/2 failure" : "the peer has closed the connection");
            return false;
        }
    }
    return false;
}

/* Calls have had their last word: one for the connection. A session that is being terminated says nothing else any more. */
static void say_goodbye(struct conn *conn)
{
    log_debug("rpc: connection ended: %s", conn->fail);
    if (conn->fail_code != (uint32_t)CONN_SILENT &&
        nghttp2_session_terminate_session(conn->session, conn->fail_code) == 0)
        (void)write_all(conn);
    if (conn->state != CONN_OPEN)
        return;
    if (conn->writing)
        conn_abort(conn, conn->fail); /* it does not even take its GOAWAY */
    else
        conn_linger(conn);
}

static void flush(struct conn *conn)
{
    bool all = write_all(conn);
    if (conn->state != CONN_OPEN || (!all && !conn->writing))
        return;
    if (conn->fail)
        say_goodbye(conn);
    else if (all && !conn->hold_open && !nghttp2_session_want_read(conn->session) &&
        !nghttp2_session_want_write(conn->session))
        conn_linger(conn);
}

static void end_rest(struct hub *hub);

static void told_work(struct conn *conn, uint64_t start)
{
    if (conn->hub->ops->worked)
        conn->hub->ops->worked(conn, clock_monotonic_us() - start);
}

static void on_idle(uv_idle_t *handle)
{
    struct hub *hub = handle->data;
    struct list todo;
    list_init(&todo);
    list_splice(&todo, &hub->dirty);
    while (!list_empty(&todo)) {
        struct conn *conn = CONTAINER_OF(todo.next, struct conn, dirty);
        list_remove(&conn->dirty);
        uint64_t start = clock_monotonic_us();
        flush(conn); /* frees nothing: that is for the loop */
        told_work(conn, start);
    }
    uv_idle_stop(handle);
    hub->ops->on_flushed(hub);
    if (!list_empty(&hub->dirty))
        hub_wake(hub);
    end_rest(hub);
}

void hub_wake(struct hub *hub)
{
    if (!hub->closing)
        uv_idle_start(&hub->flusher, on_idle);
}

void conn_wake(struct conn *conn)
{
    if (conn->state != CONN_OPEN || !list_empty(&conn->dirty))
        return;
    list_push(&conn->hub->dirty, &conn->dirty);
    hub_wake(conn->hub);
}

/* --- reading --- */

static void frame_head(struct conn *conn)
{
    const uint8_t *h = conn->head;
    enum { HEADERS = NGHTTP2_HEADERS, PUSH = NGHTTP2_PUSH_PROMISE, CONT = NGHTTP2_CONTINUATION };
    conn->skip = (uint32_t)h[0] << 16 | (uint32_t)h[1] << 8 | h[2];
    conn->headers_open = (h[3] == HEADERS || h[3] == PUSH || h[3] == CONT) && !(h[4] & NGHTTP2_FLAG_END_HEADERS);
    conn->head_len = 0;
}

/*
 * Follows the frames' outlines in parallel to nghttp2, which does not say whether it stands inside
 * of one: a frame, and with it a header block of several, counts as begun from its first byte to
 * its last. The preface and the first frame behind it count as one.
 */
static void track(struct conn *conn, const uint8_t *data, size_t len, uint64_t now)
{
    bool in_frame = conn->skip > 0;
    while (len > 0 || (in_frame && !conn->skip)) {
        if (in_frame) {
            uint32_t n = (uint32_t)MIN((size_t)conn->skip, len);
            conn->skip -= n;
            data += n;
            len -= n;
            if (conn->skip)
                return;
            in_frame = false;
            if (!conn->preface && !conn->headers_open)
                conn->unit_since_us = 0;
            conn->preface = false;
            continue;
        }
        if (!conn->unit_since_us)
            conn->unit_since_us = now;
        conn->head[conn->head_len++] = *data++;
        len--;
        if (conn->head_len == sizeof conn->head) {
            frame_head(conn);
            in_frame = true;
        }
    }
}

/* Whether the very first bytes are those of a record of TLS; no frame could be so long. */
static bool begins_tls(const struct conn *conn, const uint8_t *data, size_t len)
{
    bool first = conn->preface && !conn->head_len && conn->skip == (conn->is_server ? PREFACE_LEN : 0);
    return first && !conn->tls && len > 1 && data[0] == (conn->is_server ? TLS_HANDSHAKE : TLS_ALERT) &&
        data[1] == TLS_MAJOR;
}

void conn_input(struct conn *conn, const uint8_t *data, size_t len)
{
    if (conn->state != CONN_OPEN)
        return;
    uint64_t now = clock_monotonic_us();
    conn->last_recv_us = now;
    conn->ping_pending = false;
    if (conn->fail)
        return;
    if (begins_tls(conn, data, len)) {
        conn_fail(conn, (uint32_t)CONN_SILENT, conn_unexpected_tls);
        return;
    }
    track(conn, data, len, now);
    conn->in_session = true;
    ssize_t n = nghttp2_session_mem_recv(conn->session, data, len);
    conn->in_session = false;
    if (n == NGHTTP2_ERR_FLOODED)
        conn_fail(conn, NGHTTP2_ENHANCE_YOUR_CALM, "too many frames that want an answer");
    else if (n == NGHTTP2_ERR_BAD_CLIENT_MAGIC)
        conn_fail(conn, (uint32_t)CONN_SILENT, "the client does not speak HTTP/2");
    else if (n < 0)
        conn_fail(conn, NGHTTP2_INTERNAL_ERROR, nghttp2_strerror((int)n));
    else if (!conn_hold_queue(conn))
        conn_fail(conn, (uint32_t)CONN_SILENT, "the peer asks and does not read");
    conn_wake(conn);
}

static void on_ready(struct conn *conn)
{
    if (conn->hub->ops->on_ready)
        conn->hub->ops->on_ready(conn);
    conn_wake(conn);
}

/* What TLS has made of it: frames may flow from now on, or it is over. */
static void after_tls(struct conn *conn, bool was_ready)
{
    enum tls_state state = tls_stream_state(conn->tls);
    if (send_sealed(conn) < 0)
        conn_abort(conn, "the peer asks and does not read");
    else if (state == TLS_FAILED)
        conn_fail(conn, (uint32_t)CONN_SILENT, "TLS has failed");
    else if (state == TLS_ENDED)
        conn_abort(conn, "the peer has closed the connection");
    else if (state == TLS_OPEN && !was_ready)
        on_ready(conn);
}

void conn_receive(struct conn *conn, const uint8_t *data, size_t len)
{
    struct hub *hub = conn->hub;
    if (!conn->tls) {
        conn_input(conn, data, len);
        return;
    }
    if (conn->state != CONN_OPEN || conn->fail)
        return;
    bool was_ready = conn_is_ready(conn);
    size_t n;
    tls_stream_feed(conn->tls, data, len);
    while (!conn->fail && (n = tls_stream_read(conn->tls, hub->opened, HUB_IN)) > 0)
        conn_input(conn, hub->opened, n);
    tls_stream_feed(conn->tls, NULL, 0);
    after_tls(conn, was_ready);
}

/* No room makes libuv say so to on_read() without having read. */
static void on_alloc(uv_handle_t *handle, size_t suggested UNUSED, uv_buf_t *buf)
{
    struct conn *conn = CONTAINER_OF(handle, struct conn, tcp);
    const struct hub_ops *ops = conn->hub->ops;
    bool may = !ops->may_read || ops->may_read(conn);
    *buf = uv_buf_init((char *)conn->hub->in, may ? HUB_IN : 0);
}

/* Others have their turn. */
static void rest(struct conn *conn)
{
    uv_read_stop((uv_stream_t *)&conn->tcp);
    if (list_empty(&conn->resting))
        list_push(&conn->hub->resting, &conn->resting);
    hub_wake(conn->hub);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct conn *conn = CONTAINER_OF(stream, struct conn, tcp);
    uint64_t start = clock_monotonic_us();
    if (n == UV_ENOBUFS)
        rest(conn);
    else if (n < 0)
        conn_abort(conn, "the peer has closed the connection");
    else if (n > 0 && conn->state == CONN_LINGER && (conn->lingered += (size_t)n) > LINGER_MAX)
        conn_abort(conn, "it goes on sending");
    else if (n > 0)
        conn_receive(conn, (const uint8_t *)buf->base, (size_t)n);
    told_work(conn, start);
}

static void end_rest(struct hub *hub)
{
    while (!list_empty(&hub->resting)) {
        struct conn *conn = CONTAINER_OF(hub->resting.next, struct conn, resting);
        list_remove(&conn->resting);
        if (uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read) < 0)
            conn_abort(conn, "cannot be read");
    }
}

/* --- time --- */

static void keep_alive(struct conn *conn, uint64_t now)
{
    struct hub *hub = conn->hub;
    if (conn->ping_pending) {
        if (now - conn->ping_us >= hub->keepalive_timeout_us)
            conn_abort(conn, "no answer to a keepalive ping");
        return;
    }
    if (now - conn->last_recv_us < hub->keepalive_us || !hub->ops->is_busy(conn))
        return;
    if (nghttp2_submit_ping(conn->session, NGHTTP2_FLAG_NONE, NULL) == 0) {
        conn->ping_pending = true;
        conn->ping_us = now;
        conn_wake(conn);
    }
}

static void on_ticker(uv_timer_t *timer)
{
    struct hub *hub = timer->data;
    uint64_t now = clock_monotonic_us();
    list_for_each_safe (it, &hub->conns) {
        struct conn *conn = CONTAINER_OF(it, struct conn, link);
        if (conn->state == CONN_LINGER && now - conn->linger_us >= LINGER_US)
            conn_abort(conn, "lingered");
        if (conn->state != CONN_OPEN)
            continue;
        if (conn->is_server && hub->handshake_us && !conn_is_ready(conn) && now - conn->begun_us >= hub->handshake_us)
            conn_fail(conn, (uint32_t)CONN_SILENT, "the TLS handshake was not done in time");
        if (conn->is_server && conn->unit_since_us && now - conn->unit_since_us >= hub->idle_us)
            conn_fail(conn, NGHTTP2_ENHANCE_YOUR_CALM, "a frame was begun and not finished in time");
        keep_alive(conn, now);
    }
    hub->ops->on_tick(hub, now);
    if (list_empty(&hub->conns)) {
        uv_timer_stop(timer);
        hub->ticking = false;
    }
}

/* --- beginning --- */

int conn_init(struct conn *conn, struct hub *hub)
{
    conn->hub = hub;
    list_init(&conn->link);
    list_init(&conn->dirty);
    list_init(&conn->resting);
    int r = uv_tcp_init(hub->loop, &conn->tcp);
    if (r < 0)
        return r;
    list_push(&hub->conns, &conn->link);
    hub_hold(hub);
    if (!hub->ticking) {
        uint64_t ms = hub->tick_us / 1000;
        hub->ticking = uv_timer_start(&hub->ticker, on_ticker, ms, ms) == 0;
    }
    return 0;
}

int conn_start(struct conn *conn, nghttp2_session *session, bool is_server)
{
    conn->session = session;
    conn->is_server = is_server;
    conn->state = CONN_OPEN;
    conn->begun_us = conn->last_recv_us = clock_monotonic_us();
    if (conn->tls && !conn->hub->opened && !(conn->hub->opened = malloc(HUB_IN)))
        return -ENOMEM;
    conn->preface = true;
    if (is_server) {
        conn->skip = PREFACE_LEN;
        conn->unit_since_us = conn->last_recv_us;
    }
    conn_wake(conn);
    if (conn->sink)
        return 0;
    uv_tcp_nodelay(&conn->tcp, 1);
    uv_tcp_keepalive(&conn->tcp, 1, TCP_KEEPALIVE_S);
    int r = uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read);
    if (r < 0 || !conn->tls)
        return r;
    tls_stream_begin(conn->tls);
    after_tls(conn, false);
    return conn->state == CONN_OPEN ? 0 : -ECONNABORTED;
}
