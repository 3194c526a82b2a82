/* SPDX-License-Identifier: Apache-2.0 */
/* What client.c (calls) and client_connect.c (finding and keeping a connection) share. */
#ifndef RPC_CLIENT_INTERNAL_H
#define RPC_CLIENT_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <netdb.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/util.h"
#include "rpc/alarm.h"
#include "rpc/client.h"
#include "rpc/conn.h"
#include "rpc/message.h"

enum { CLIENT_TARGET_MAX = 256, CLIENT_AUTHORIZATION_MAX = 256 };

struct client_conn {
    struct conn conn;
    struct rpc_client *client;
    struct list calls;
    uv_connect_t connect;
    struct alarm timeout;
    unsigned n_calls;
    bool going_away;
    bool heard; /* the peer speaks HTTP/2 */
};

struct rpc_client {
    struct hub hub;
    struct rpc_tls *tls; /* NULL: plain text */
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    char authorization[CLIENT_AUTHORIZATION_MAX]; /* the header's value; "": none */
    char target[CLIENT_TARGET_MAX];               /* as given: for messages and :authority */
    char host[CLIENT_TARGET_MAX];
    char port[8];
    uint64_t connect_timeout_us;
    size_t max_message;

    struct client_conn *current; /* being connected, or the one that new calls go to */
    struct list waiting, ended;
    uv_getaddrinfo_t resolve;
    bool resolving;
    struct addrinfo *addresses, *next_address;
    struct alarm retry;
    uint64_t backoff_us;
    uint64_t n_connections;
    struct tw_error last_error; /* why there is no connection */
    bool fail_fast;
    bool inside;  /* it was given its connection and makes none */
    bool refused; /* the last address that was tried */
    bool freed;
};

struct rpc_client_call {
    struct list link;
    struct rpc_client *client;
    struct client_conn *conn; /* NULL: not sent */
    int32_t id;
    char *method;
    char *authorization, *from; /* of one that is made for somebody; NULL: none */
    struct buf request;
    size_t request_pos;
    struct message_reader in;
    struct alarm alarm;
    uint64_t deadline_us, started_us;
    struct rpc_client_callbacks callbacks;
    void *ctx;

    unsigned http_status;
    size_t header_list;
    bool has_status; /* grpc-status was seen; it and its message are in `status` */
    bool over;       /* what is in `status` is final */
    bool paused;
    bool all_pulled;   /* of a request stream */
    size_t unconsumed; /* bytes of stream window held back while paused */
    struct tw_error status;
};

static inline struct client_conn *client_conn_of(struct conn *conn)
{
    return CONTAINER_OF(conn, struct client_conn, conn);
}

/* client.c */
nghttp2_session *client_session_new(struct client_conn *cc);
void client_send_waiting(struct client_conn *cc);
void client_call_fail(struct rpc_client_call *call, enum tw_code code, const char *why);

/* client_connect.c */
/* Takes up a connected socket; it is closed with the connection, or at once if this fails. 0 or -errno. */
int client_take_up(struct rpc_client *client, int fd);
/* Begins to connect unless that is under way already. */
void client_connect(struct rpc_client *client);
/* What to tell the calls of a connection that is over. */
void client_describe_end(const struct client_conn *cc, const char *why, struct tw_error *ret);
/* Forgets what connecting has left behind. */
void client_connect_done(struct rpc_client *client);

#endif
