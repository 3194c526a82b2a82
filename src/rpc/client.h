/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gRPC client over HTTP/2, with TLS or without (h2c), on a libuv loop, on the same connection code as the server. Everything belongs to the
 * loop's thread. It connects when the first call needs it, reconnects with back-off (100 ms doubling to 5 s, with
 * jitter) as long as calls wait for it, and fails a call with UNAVAILABLE when its deadline or `connect_timeout_us` has
 * passed without a connection. Calls that were sent are never sent twice.
 */
#ifndef RPC_CLIENT_H
#define RPC_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>
#include <uv.h>

#include <taskworker/error.h>

struct rpc_client;
struct rpc_client_call;

/*
 * Whom to believe, by paths of PEM files. The server's certificate has to be signed by `ca` and be for the host of the target.
 * With a pin its public key counts (sha256:HEX), and its signature only if there is a `ca` as well.
 */
struct rpc_client_tls {
    const char *ca;         /* NULL: the CAs of this machine */
    const char *cert, *key; /* of this client; NULL: none */
    const char *pin;        /* NULL: none */
};

struct rpc_client_options {
    const char *target;               /* "host:port", "[::1]:port" */
    const struct rpc_client_tls *tls; /* NULL: plain text */
    uint64_t connect_timeout_us;      /* 0: 5 s */
    size_t max_message;               /* of a response, bytes; 0: 110 MiB */
    const char *token;                /* sent with each call as "authorization: Bearer"; copied; NULL: none */
    bool fail_fast;                   /* no second attempt where nobody listens: for who waits for just that */
    /*
     * In place of a target: the one connection that there will be, of rpc_server_connect(). It is the client's from then on, also where
     * rpc_client_new() fails. When it has ended all calls are UNAVAILABLE.
     */
    bool has_fd;
    int fd;
};

int rpc_client_new(
    uv_loop_t *loop, const struct rpc_client_options *options, struct rpc_client **ret, struct tw_error *error);
/* Calls in flight end with CANCELLED first. Run the loop once more afterwards. Not from on_message. NULL is allowed. */
void rpc_client_free(struct rpc_client *client);

/*
 * Starts a call. on_message (may be NULL) gets every response message, the bytes are valid during the callback only.
 * on_done is called exactly once, last, never from within rpc_client_start; status->code is TW_OK for success.
 * timeout_us 0: no deadline; else it is sent as grpc-timeout and enforced here as well. Returns NULL without memory.
 */
struct rpc_client_callbacks {
    void (*on_message)(struct rpc_client_call *call, const uint8_t *msg, size_t len, void *ctx);
    void (*on_done)(struct rpc_client_call *call, const struct tw_error *status, void *ctx);
    /*
     * For a request stream, else NULL: `request` is its first message, and each time when there is room for another this adds one by
     * rpc_client_add(), or returns false: there are no more. It may cancel the call.
     */
    bool (*on_pull)(struct rpc_client_call *call, void *ctx);
};
struct rpc_client_call *rpc_client_start(struct rpc_client *client, const char *method, const ProtobufCMessage *request,
    uint64_t timeout_us, const struct rpc_client_callbacks *callbacks, void *ctx);
/* The same for a gateway, whose calls are made for many: both may be NULL, and both are copied. */
struct rpc_client_caller {
    const char *token; /* in place of the client's */
    const char *from;  /* RPC_FROM_HEADER (status.h): for a client of rpc_server_connect() */
};
struct rpc_client_call *rpc_client_start_for(struct rpc_client *client, const struct rpc_client_caller *caller,
    const char *method, const ProtobufCMessage *request, uint64_t timeout_us,
    const struct rpc_client_callbacks *callbacks, void *ctx);
/* From within on_pull. False: no memory. */
bool rpc_client_add(struct rpc_client_call *call, const ProtobufCMessage *message);
/* The call ends with CANCELLED through its on_done. */
void rpc_client_cancel(struct rpc_client_call *call);
/* Flow control for streams: while paused, no window is given back, so that a fast server waits. */
void rpc_client_pause(struct rpc_client_call *call, bool paused);

/* How many connections it has had: a change tells that the server may have been started anew in between. */
uint64_t rpc_client_connections(const struct rpc_client *client);

/*
 * One unary call, start to end, running the loop until it is done; for programs like the CLI. On success *ret is the
 * response, unpacked by `descriptor`; free it with protobuf_c_message_free_unpacked(). 0, or -1 with the error.
 */
int rpc_client_unary(struct rpc_client *client, const char *method, const ProtobufCMessage *request,
    const ProtobufCMessageDescriptor *descriptor, uint64_t timeout_us, ProtobufCMessage **ret, struct tw_error *error);

#endif
