/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 connections on a libuv loop, the same for server and client; see conn.c for how they work.
 *
 * A hub is what the connections of one server or client share: buffers, timers, the list of those
 * that have something to write. The owner embeds both structs in its own and learns of events
 * through hub_ops and nghttp2's callbacks, whose user_data is the struct conn.
 */
#ifndef RPC_CONN_H
#define RPC_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <nghttp2/nghttp2.h>
#include <uv.h>

#include "base/buf.h"
#include "base/list.h"
#include "rpc/alarm.h"
#include "rpc/tls_stream.h"

struct hub;
struct conn;

struct hub_ops {
    /* The connection is over: end its calls. Once, never from within a callback of nghttp2. */
    void (*on_end)(struct conn *conn, const char *why);
    /* The handle is closed and the session gone; free the struct. */
    void (*on_free)(struct conn *conn);
    /* Whether calls are open, so that silence means something. */
    bool (*is_busy)(const struct conn *conn);
    /*
     * So many bytes more, or less, are held because the peer does not take them. False: there may not be so many, and the
     * connection ends. Both may be NULL.
     */
    bool (*hold)(struct conn *conn, size_t bytes);
    void (*let_go)(struct conn *conn, size_t bytes);
    /*
     * Whether it is this connection's turn to be read from: else it waits for the loop's next round (hub->round). After work for it
     * `worked` is told how long that took. Both may be NULL.
     */
    bool (*may_read)(struct conn *conn);
    void (*worked)(struct conn *conn, uint64_t us);
    /* With TLS, the handshake is done. May be NULL. */
    void (*on_ready)(struct conn *conn);
    /* Everything was handed to the kernel that could be: the place to run what must not run inside
     * nghttp2. */
    void (*on_flushed)(struct hub *hub);
    /* Every hub->tick_us while there are connections. */
    void (*on_tick)(struct hub *hub, uint64_t now_us);
    /* hub_close is complete: all handles are closed. */
    void (*on_closed)(struct hub *hub);
};

struct hub {
    uv_loop_t *loop;
    const struct hub_ops *ops;
    uv_idle_t flusher;
    uv_timer_t ticker;
    uv_prepare_t rounds;
    uint64_t round; /* of the loop, counted */
    struct alarm_queue alarms;
    struct list conns;
    struct list dirty;
    struct list resting;   /* not read from until the next round */
    unsigned open_handles; /* ours and those of connections */
    bool closing;
    bool ticking;
    uint64_t keepalive_us, keepalive_timeout_us, idle_us, tick_us;
    uint64_t handshake_us; /* of TLS, how long it may take a client; 0: for ever */
    uint8_t *in, *out;     /* one read and one write at a time: shared by all connections */
    uint8_t *opened;       /* with TLS: what was in the records that were read */
    struct buf sealed;     /* with TLS: what is on its way to the socket */
};

/* What HUB_IN holds is read, and what HUB_OUT holds is written, by one system call. */
enum { HUB_IN = 64 * 1024, HUB_OUT = 64 * 1024, HUB_OUT_SLACK = 32 * 1024 };

enum conn_state {
    CONN_NEW,    /* the socket is not connected yet */
    CONN_OPEN,   /* frames flow */
    CONN_LINGER, /* all is written, the socket is shut down, the peer's end is awaited */
    CONN_CLOSED,
};

struct conn {
    struct hub *hub;
    struct list link, dirty, resting;
    uv_tcp_t tcp;
    uv_shutdown_t shutdown;
    nghttp2_session *session;
    enum conn_state state;
    bool is_server;
    struct tls_stream *tls; /* NULL: plain text */
    size_t queue_held;      /* told to ops->hold for frames that wait in the session */
    unsigned writing;       /* uv_writes that are under way; with TLS there may be several */
    bool in_session;        /* inside nghttp2_session_mem_recv */
    bool ping_pending;      /* a keepalive ping waits for its answer */
    bool hold_open;         /* the session may think that it is done, the owner does not */
    const char *fail;       /* set inside nghttp2's callbacks: close as soon as it has returned; static text */
    uint32_t fail_code;     /* for the GOAWAY then, or CONN_SILENT */
    uint64_t begun_us, last_recv_us, ping_us, linger_us;
    size_t lingered; /* bytes that came after the end */

    /* Where the peer is in its byte stream; see track(). */
    uint64_t unit_since_us; /* when the unfinished frame or header block began; 0: between them */
    uint32_t skip;
    uint8_t head[9], head_len;
    bool preface, headers_open;

    /* When set, bytes to be written go here and not to the socket (which is never opened): for
     * tests. */
    void (*sink)(struct conn *conn, const uint8_t *data, size_t len);
};

/* keepalive_us, keepalive_timeout_us and idle_us are the caller's to set before. 0 or -errno; on
 * failure close it all the same. */
int hub_init(struct hub *hub, uv_loop_t *loop, const struct hub_ops *ops);
/* Aborts all connections and closes the handles; ops->on_closed follows, from the loop. */
void hub_close(struct hub *hub);
/* Memory, after on_closed. */
void hub_done(struct hub *hub);
/* Has ops->on_flushed called soon, from the loop. */
void hub_wake(struct hub *hub);

/* For handles of the owner that on_closed must wait for: counts one more, and the close callback
 * for it. */
void hub_hold(struct hub *hub);
void hub_release(struct hub *hub);

/* Puts a zeroed conn into the hub with a fresh TCP handle: 0 or -errno (then the struct is the
 * caller's again). */
int conn_init(struct conn *conn, struct hub *hub);
/* The socket is connected: begins to read. `session` becomes the connection's, as conn->tls, set before, is. */
int conn_start(struct conn *conn, nghttp2_session *session, bool is_server);
/* Bytes from the wire, sealed or not. */
void conn_receive(struct conn *conn, const uint8_t *data, size_t len);
/* Bytes of HTTP/2 from the peer. */
void conn_input(struct conn *conn, const uint8_t *data, size_t len);
/* Whether HTTP/2 flows: with TLS, after the handshake. */
static inline bool conn_is_ready(const struct conn *conn)
{
    return conn->state == CONN_OPEN && (!conn->tls || tls_stream_state(conn->tls) == TLS_OPEN);
}
/* Something was submitted to the session: it is written before the loop sleeps again. */
void conn_wake(struct conn *conn);
/* Closes now. Calls ops->on_end unless that was done; never from within a callback of nghttp2.
 * `why` is static text. */
void conn_abort(struct conn *conn, const char *why);
enum { CONN_SILENT = -1 };
/* The reason for the end of a connection in plain text whose peer begins as TLS does. */
extern const char conn_unexpected_tls[];
/* From anywhere: GOAWAY with the error (CONN_SILENT: without) when the session can still say so,
 * then closes. `why` is static text. */
void conn_fail(struct conn *conn, uint32_t http2_error, const char *why);

#endif
