/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gRPC server over HTTP/2, with TLS or without (h2c), in a libuv loop. Everything here belongs to the loop's thread.
 *
 * Life of a call: the server calls `on_start` when the request's headers have arrived and are legal, `on_message` for
 * each complete message (already inflated), `on_half_close` when the client has sent its last, and `on_done` exactly once
 * when the call is over, whether it was answered, cancelled, timed out or lost its connection. Between on_start and
 * on_done the handler may answer at any time: at once or much later. After on_done the call is gone.
 *
 * For the unary and server-streaming methods that nearly all are, set `unary` instead of the first three: it is called
 * once, with the one message of the request (a call with none or two messages is refused before it gets there).
 */
#ifndef RPC_SERVER_H
#define RPC_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>
#include <uv.h>

#include <taskworker/error.h>

#include "access/accounts.h"

struct rpc_server;
struct rpc_call;
struct rpc_tls; /* tls.h */

/* `name` is the full path, "/taskworker.TaskWorkerService/GetTask". Static: the server keeps the pointer. */
struct rpc_method {
    const char *name;
    size_t max_request; /* bytes of one message after inflation; 0: the server's limit */
    bool
        secret; /* passwords are in the request, or tokens in the answer: nothing of them is left in memory afterwards */
    bool lasting; /* may stay open for long while nothing happens: such calls have a bound of their own */
    bool vital;   /* is served when there is no room for others any more: short, cheap, and changes nothing */
    void (*unary)(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx);
    void (*on_start)(struct rpc_call *call, void *ctx);
    void (*on_message)(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx);
    void (*on_half_close)(struct rpc_call *call, void *ctx);
};

struct rpc_server_options {
    const char *host;   /* numeric address or name; "" and NULL: 127.0.0.1 */
    uint16_t port;      /* 0: any free one, see rpc_server_port() */
    size_t max_message; /* default for methods, bytes; 0: 4 MiB */
    /*
     * Bytes of what is large and held for all calls together, seven eighths of this: requests of more than 64 KiB, answers of more
     * than 256 KiB. 0: 512 MiB.
     */
    size_t max_inflight;
    /*
     * Bytes of everything else that is held for clients: one half for connections (14 KiB each, 40 with TLS), the other for calls
     * (2 KiB and their headers), small requests and answers. 0: 64 MiB. Of that and of the large one address (of IPv6: one /64) gets half at
     * most. Who finds no room is told RESOURCE_EXHAUSTED, and when to try again.
     */
    size_t max_memory;
    unsigned max_connections;             /* 0: 4096; never more than max_memory has room for */
    unsigned max_connections_per_address; /* 0: three quarters of those that there can be */
    unsigned max_handshakes;              /* of TLS, that are under way; 0: 1024. A quarter of them for one address */
    unsigned max_calls;                   /* in flight; 0: 16384. Half of them for one address */
    unsigned max_lasting;          /* of these, such that stay open for long; 0: 8192. Half of them for one address */
    unsigned max_streams;          /* per connection; 0: 1000 */
    size_t max_header_list;        /* bytes; 0: 16 KiB */
    uint64_t keepalive_us;         /* ping after this much silence; 0: 30 s */
    uint64_t keepalive_timeout_us; /* close without an answer after; 0: 20 s */
    /*
     * 0: 60 s. Closes a connection whose preface, frame or header block was begun and is not complete after this long. Ends
     * a call (DEADLINE_EXCEEDED) whose request, or message of a request stream, is not complete after this long and one
     * second more for each KiB that came. Resets a call that was answered and of whose answer the client has fetched
     * nothing for this long. A connection or a call on which nothing needs to happen stays open.
     */
    uint64_t idle_request_us;
    struct rpc_tls *tls;   /* NULL: plain text. The server takes a reference of its own */
    uint64_t handshake_us; /* how long a client has for the TLS handshake; 0: 10 s */
    /*
     * Who calls, and whether he may: asked for each call once its headers are there and its method is known, before anything of the
     * request is read. 0: *ret_who is kept in the call. -1: the call ends with `error`. NULL: everybody may do everything.
     */
    int (*authorize)(void *ctx, const struct rpc_call *call, struct who *ret_who, struct tw_error *error);
    void *authorize_ctx;
    /* A call that `authorize` let in ends with this: CANCELLED if its client has gone before. May be NULL; with authorize_ctx. */
    void (*on_finished)(void *ctx, const struct rpc_call *call, enum tw_code code);
};

/*
 * SIGPIPE is set to be ignored in the process if it was at its default (libuv writes without MSG_NOSIGNAL). A name as host
 * is resolved at once, which may take time.
 *
 * Binds and listens at once (so that a taken port is an error here), serves as soon as the loop runs.
 */
int rpc_server_new(
    uv_loop_t *loop, const struct rpc_server_options *options, struct rpc_server **ret, struct tw_error *error);
uint16_t rpc_server_port(const struct rpc_server *server);
/*
 * A connection from within this program, for a gateway that makes calls for others: *ret_fd is its other end, which speaks HTTP/2 without
 * TLS, non-blocking. Whom a call is from is what its header RPC_FROM_HEADER (status.h) says, "ADDRESS:PORT" (as rpc_call_peer() does); without one it is
 * from nowhere in particular. It is asked who it is like any other call, and counts among all calls, but in no address's share: bounds
 * for each address are the gateway's. 0 or -errno. From the loop's thread.
 */
int rpc_server_connect(struct rpc_server *server, int *ret_fd);
/* ctx goes to the method's handlers. The table ends with name == NULL. Returns 0, -EEXIST or -ENOMEM. */
int rpc_server_add_methods(struct rpc_server *server, const struct rpc_method *methods, void *ctx);

/*
 * Draining: accepts no new connection, sends GOAWAY twice on those there are, lets calls in flight finish, closes each
 * connection as it empties, and calls `done` (never from within) when the last has gone. After `grace_us` the calls that
 * are left end with UNAVAILABLE and their connections are closed. Called again it can only shorten the time; `done` and
 * `ctx` are those of the first call. Health's watchers hold a drain up: rpc_health_shutdown() first.
 */
void rpc_server_drain(struct rpc_server *server, uint64_t grace_us, void (*done)(void *ctx), void *ctx);
/* Frees the server with whatever is still open; calls in flight get their on_done first. Run the loop once more after.
   Not from within a handler. A drain's `done` is not called any more. NULL is allowed. */
void rpc_server_free(struct rpc_server *server);

/*
 * Asks about the caller of each open call again, but for those that were let in as nobody (their role is none): who is not valid any
 * more has the call ended with UNAUTHENTICATED. Not from within a handler.
 */
void rpc_server_recheck(struct rpc_server *server, bool (*is_valid)(void *ctx, const struct who *who), void *ctx);

struct rpc_server_stats {
    unsigned connections;
    unsigned calls; /* in flight */
    size_t inflight_bytes;
    uint64_t calls_total;
};
void rpc_server_get_stats(const struct rpc_server *server, struct rpc_server_stats *ret);

/* --- inside a call --- */

/*
 * on_done is called once, in every case; set it (with its ctx) before answering. Of a call that was answered it comes when
 * the last byte has been handed to the kernel or the stream is gone, never from within rpc_call_finish.
 */
void rpc_call_set_on_done(struct rpc_call *call, void (*on_done)(struct rpc_call *call, void *ctx), void *ctx);
/* The ctx of that: what the handlers of a request stream know their call by. NULL before. */
void *rpc_call_ctx(const struct rpc_call *call);
/* Called when what is queued to the client has fallen below the low-water mark again after rpc_call_send returned false. */
void rpc_call_set_on_drain(struct rpc_call *call, void (*on_drain)(struct rpc_call *call, void *ctx), void *ctx);

/*
 * Queues one response message. Returns true while there is room for more; false: it is queued all the same, but stop
 * until on_drain (256 KiB wait already; less, when memory is short). After the call's end nothing is queued: false. Out of
 * memory, and more waiting than max_memory and max_inflight allow, end the call with RESOURCE_EXHAUSTED, seen by on_done; a first
 * answer of up to 1 KiB never does.
 */
bool rpc_call_send(struct rpc_call *call, const ProtobufCMessage *message);

/*
 * For a request stream: while paused the handler gets no message and no half-close, and no room is given back to the client, so that a
 * fast one waits. What has arrived by then is kept, a stream's window (1 MiB) at most.
 */
void rpc_call_pause(struct rpc_call *call, bool paused);

/*
 * Sends the headers of the answer now and not with its first message, which may be long in coming: so the client knows that the
 * call has begun.
 */
void rpc_call_begin(struct rpc_call *call);

/* Ends the call with a status. The message is percent-encoded for the wire here. */
void rpc_call_finish(struct rpc_call *call, enum tw_code code, const char *message);
/* The same, with when to try again as `grpc-retry-pushback-ms`, which clients with a retry policy heed (gRFC A6). */
void rpc_call_finish_error(struct rpc_call *call, const struct tw_error *error);
/* The usual end of a unary call: one message and OK. */
void rpc_call_reply(struct rpc_call *call, const ProtobufCMessage *message);

/* The client's deadline on the monotonic clock, 0 if it set none. The server itself ends the call with DEADLINE_EXCEEDED. */
uint64_t rpc_call_deadline_us(const struct rpc_call *call);
/* The value of a request header, lower-case name, or NULL. Valid until on_done. */
const char *rpc_call_metadata(const struct rpc_call *call, const char *name);
/* How often the request has that header. */
size_t rpc_call_metadata_count(const struct rpc_call *call, const char *name);
/* "127.0.0.1:40000", "[::1]:40000". Valid until on_done. */
const char *rpc_call_peer(const struct rpc_call *call);
/* The same as an address; its family is AF_UNSPEC where it is not known. Valid until on_done. */
const struct sockaddr *rpc_call_peer_address(const struct rpc_call *call);
/*
 * Whom the client's certificate names, verified against the CA of clients: its common name, or else its first other name. Printable
 * UTF-8, at most 128 bytes; NULL: it has shown none. Valid until on_done.
 */
const char *rpc_call_peer_identity(const struct rpc_call *call);
const char *rpc_call_method(const struct rpc_call *call);
/* Who calls, as `authorize` found. NULL: the server asks nobody. Valid until on_done. */
const struct who *rpc_call_who(const struct rpc_call *call);
/* What it has brought and been sent so far, in bytes of messages as they are on the wire. */
uint64_t rpc_call_bytes(const struct rpc_call *call);
/* What the call is about, an id, for on_finished; cut if it is long. "": nothing in particular. */
void rpc_call_set_object(struct rpc_call *call, const char *id);
const char *rpc_call_object(const struct rpc_call *call);

#endif
