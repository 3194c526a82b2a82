/* SPDX-License-Identifier: Apache-2.0 */
/* What server.c (listening, draining), session.c (frames to calls) and call.c (calls to frames)
 * share. */
#ifndef RPC_SERVER_INTERNAL_H
#define RPC_SERVER_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "rpc/alarm.h"
#include "rpc/conn.h"
#include "rpc/message.h"
#include "rpc/peers.h"
#include "rpc/server.h"

enum {
    STREAM_WINDOW = 1024 * 1024,
    CONNECTION_WINDOW = 4 * 1024 * 1024,
    OUT_HIGH = 256 * 1024,   /* bytes queued in a call at which its handler is told to stop ... */
    OUT_LOW = 64 * 1024,     /* ... and at which to go on */
    OUT_SHORT = 16 * 1024,   /* the former, when memory is short */
    REQUEST_MIN_RATE = 1024, /* bytes per second below which a request counts as not coming */
    FREE_CALLS_MAX = 1024,
    KEEP_CAP = 1024, /* how much of its buffers a call keeps for its next life */
    PEER_TEXT_MAX = 64,
    OBJECT_TEXT_MAX = 129, /* of what a call is about */
    METHOD_SHOWN_MAX = 200,
    CALL_BYTES = 2048,  /* what a call costs beside its headers, its messages and answers larger than ANSWER_FREE */
    ANSWER_FREE = 1024, /* so that who was let in learns what came of it */
    RETRY_TEXT_MAX = 12,
    LOG_MORE_MAX = 64,
    INSIDE_STREAMS = 16384, /* of a connection from within, which is many clients' */
};

struct method_entry {
    const struct rpc_method *method;
    void *ctx;
    struct method_entry *next;
};

/* One line in so long, however often there is reason for one. */
struct log_pause {
    uint64_t at_us;    /* of the last line; 0: there was none */
    unsigned unlogged; /* since then */
};

struct rpc_server {
    struct hub hub;
    struct rpc_server_options options; /* defaults filled in; host is not kept */
    uv_tcp_t listener;
    uint16_t port;
    bool listening;      /* the listener's handle is open */
    bool accept_pending; /* a connection was announced, and there was no memory for it or no time */
    unsigned accepted;   /* in this round of the loop */
    bool freed;
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    struct map methods; /* full name -> struct method_entry */
    struct method_entry *entries;

    struct budget budget; /* small: calls, small messages and answers; big: large ones */
    struct turn turn;     /* of connections of nobody's */
    struct peers peers;
    struct list choked_off; /* calls whose queue has drained and whose handler does not know yet */
    struct rpc_call *free_calls;
    unsigned free_count;
    unsigned connections, calls;
    uint64_t calls_total;
    struct log_pause refused, crowded,
        tls; /* connections that are not taken; calls; clients without good TLS, or with unexpected TLS */

    /* What went back to malloc since it was last asked to give memory back to the system. */
    size_t freed_bytes;
    unsigned calls_peak;

    bool draining;
    struct alarm grace;
    void (*on_drained)(void *ctx);
    void *drained_ctx;
};

enum drain_step {
    DRAIN_NONE,
    DRAIN_NOTICE, /* told that it will end; calls that the client had sent by then are still taken
                   */
    DRAIN_FINAL,  /* told which call is the last */
};

struct server_conn {
    struct conn conn;
    struct rpc_server *server;
    struct list calls;
    unsigned n_calls;
    enum drain_step drain;
    uint64_t drain_us;
    double patience; /* see misbehaved() in session.c */
    uint64_t patience_us;
    struct peer *from; /* whose share it has; NULL: nobody's */
    bool counted;      /* among the connections */
    bool inside;       /* from within this program */
    bool shaking;      /* counted among the handshakes */
    size_t stray;      /* bytes of a header list that belongs to no call */
    char peer[PEER_TEXT_MAX];
    struct sockaddr_storage address;
};

struct call_from {
    struct sockaddr_storage address;
    char text[PEER_TEXT_MAX];
};

struct rpc_call {
    struct list link;
    struct list drained; /* in server->choked_off */
    struct server_conn *conn;
    const struct method_entry *entry;
    int32_t id;
    enum tw_code code;               /* how it ends, once finished */
    char *status_message;            /* may be NULL */
    char retry_text[RETRY_TEXT_MAX]; /* of grpc-retry-pushback-ms; "": none */
    const char *crowded;             /* why there is no room for it, static text; NULL: there is */

    bool is_post : 1, is_grpc : 1, has_path : 1, bad_encoding : 1, bad_timeout : 1, too_many_headers : 1;
    bool gzip : 1;
    bool started : 1;     /* the method is known and the call legal */
    bool has_message : 1; /* unary: the one message is in `in` */
    bool half_closed : 1; /* the client has sent its last */
    bool half_close_told : 1;
    bool in_handler : 1;
    bool responded : 1; /* response headers are submitted */
    bool deferred : 1;  /* nghttp2 waits for nghttp2_session_resume_data */
    bool finished : 1;
    bool choked : 1;  /* rpc_call_send has returned false */
    bool paused : 1;  /* the handler takes no message for now */
    bool lasting : 1; /* counted as such */
    bool later : 1;   /* the request has to wait for the loop's next round */

    struct message_reader in;
    struct buf held; /* request bytes that wait until the client reads its answers, from held_pos on */
    size_t held_pos;
    struct buf headers; /* name NUL value NUL ... */
    size_t headers_charged, header_list;
    struct buf out;
    size_t out_pos;
    size_t out_small, out_big; /* of it, charged to the budget */
    uint64_t sent, stall_mark;

    struct alarm alarm;
    uint64_t deadline_us;
    uint64_t begun_us;      /* the request, or the message that is coming in */
    uint64_t received;      /* bytes of it */
    uint64_t moved;         /* bytes of the request, and of answers */
    struct who who;         /* of a server that asks */
    bool let_in;            /* by it */
    struct call_from *from; /* of a call from within: whom it is made for; NULL: not said */
    char object[OBJECT_TEXT_MAX];

    void (*on_done)(struct rpc_call *call, void *ctx);
    void *done_ctx;
    void (*on_drain)(struct rpc_call *call, void *ctx);
    void *drain_ctx;
    struct rpc_call *next_free;
};

static inline size_t call_queued(const struct rpc_call *call)
{
    return call->out.len - call->out_pos;
}

static inline size_t call_held(const struct rpc_call *call)
{
    return call->held.len - call->held_pos;
}

/* A header of constants, which nghttp2 need not copy. */
#define STATIC_NV(n, v)                                                                                  \
    {                                                                                                    \
        .name = (uint8_t *)(uintptr_t)(n), .value = (uint8_t *)(uintptr_t)(v), .namelen = sizeof(n) - 1, \
        .valuelen = sizeof(v) - 1, .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE \
    }

/* session.c */
int session_callbacks_new(nghttp2_session_callbacks **ret, nghttp2_option **ret_option);
nghttp2_session *session_new(struct server_conn *conn);

/* What is held for the connection's client counts here. */
static inline struct budget *conn_budget(struct server_conn *conn)
{
    return conn->from ? &conn->from->budget : &conn->server->budget;
}

/* bounds.c */
void bounds_init(struct rpc_server *server);
/* Whether it is time for a line of this kind in the log again; then `ret_more` is what to put behind it. */
bool log_pause_over(struct log_pause *pause, char ret_more[LOG_MORE_MAX]);
/* Whether there is room for a connection; else `ret_why` gets the reason. Give it back in both cases. */
bool bounds_take_connection(struct server_conn *conn, char *ret_why, size_t size);
void bounds_end_handshake(struct server_conn *conn);
void bounds_give_connection(struct server_conn *conn);
/* Whether it is still its turn in this round of the loop; and what was done for it. */
bool bounds_may_read(struct conn *conn);
void bounds_worked(struct conn *conn, uint64_t us);
/* How much may be inflated for it in this round. Valid until the next. */
size_t *bounds_allowance(struct server_conn *conn);
/*
 * Counts one more call. Beyond the bounds there is room for some whose clients have not read yet that they are refused, and for
 * those that must be answered even then. *ret_why: why it is one of these, static text; NULL: it is not. False: not even that.
 */
bool bounds_take_call(struct server_conn *conn, const char **ret_why);
void bounds_give_call(struct rpc_call *call);
/* Of those that may stay open for long there may be so many. False: the call was refused. */
bool bounds_take_lasting(struct rpc_call *call);
/* Room for a message of an answer. False: there is none, and nothing has changed. */
bool bounds_take_output(struct rpc_call *call, size_t size);
/* So many bytes of the answer have gone. What was not charged for counts like what was, and at the end it comes out right. */
void bounds_give_output(struct rpc_call *call, size_t n);
/* RESOURCE_EXHAUSTED, with when to try again. */
void call_refuse_crowded(struct rpc_call *call, const char *text);

/* call.c */
/* NULL: no memory, or no room even for a refusal. */
struct rpc_call *call_new(struct server_conn *conn, int32_t id);
/* Ends it without another word: on_done, and back to the pool. */
void call_end(struct rpc_call *call);
/* To be called when anything changes that a time-out hangs on. */
void call_set_alarm(struct rpc_call *call);
/* The request's memory is not needed any more. */
void call_drop_request(struct rpc_call *call);
/* An answer in plain HTTP to what is not gRPC at all. */
void call_refuse_http(struct rpc_call *call, const nghttp2_nv *nv, size_t count);
void call_pool_trim(struct rpc_server *server);

/* request.c */
void call_headers_complete(struct rpc_call *call);
void call_data(struct rpc_call *call, const uint8_t *data, size_t len);
void call_half_close(struct rpc_call *call);
/* Runs on_drain of the calls whose queues have drained. */
void calls_run_drained(struct rpc_server *server);

/* inside.c */
/* What the header of a call from within says; -ENOMEM, or -EINVAL for what is no address. */
int call_set_from(struct rpc_call *call, const char *text);

/* server.c */
/* A new connection in the hub, its handle not connected. NULL: no memory. */
struct server_conn *server_conn_new(struct rpc_server *server, bool inside);
void server_conn_final_goaway(struct server_conn *conn);
/* A connection without a socket: what it has to say goes to `sink`. Feed it with conn_receive. NULL:
 * no memory. */
struct server_conn *server_attach(
    struct rpc_server *server, void (*sink)(struct conn *conn, const uint8_t *data, size_t len));

#endif
