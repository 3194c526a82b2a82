/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server with the echo service in a loop of its own, and a client that speaks raw HTTP/2 to it without a socket, so that
 * a test decides about every frame.
 */
#ifndef TESTS_RPC_HARNESS_H
#define TESTS_RPC_HARNESS_H

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include <nghttp2/nghttp2.h>
#include <uv.h>

#include "base/buf.h"
#include "base/util.h"
#include "echo_service.h"
#include "rpc/server.h"

enum { HARNESS_DEADLINE_MS = 20000, RAW_STREAMS = 64 };

struct harness {
    uv_loop_t loop;
    uv_timer_t deadline;
    bool late;
    struct rpc_server *server;
    struct echo echo;
};

void harness_init(struct harness *h, const struct rpc_server_options *options);
/* Frees the server if the test has not, and checks that nothing is left in the loop. */
void harness_done(struct harness *h);
struct rpc_server_stats harness_stats(const struct harness *h);

/* Runs the loop until the condition holds; fails the test after HARNESS_DEADLINE_MS. */
#define RUN_UNTIL(h, condition)                                               \
    do {                                                                      \
        harness_start_deadline(h);                                            \
        while (!(condition)) {                                                \
            if ((h)->late)                                                    \
                fail_msg("%s:%d: never: %s", __FILE__, __LINE__, #condition); \
            uv_run(&(h)->loop, UV_RUN_ONCE);                                  \
        }                                                                     \
        uv_timer_stop(&(h)->deadline);                                        \
    } while (0)
void harness_start_deadline(struct harness *h);

/* What came back on one stream. */
struct raw_stream {
    int32_t id;
    unsigned http_status;
    int grpc_status; /* -1: none yet */
    int retry_ms;    /* of grpc-retry-pushback-ms; 0: none */
    char message[512], accept_encoding[64];
    struct buf data;
    bool closed, ended; /* ended: END_STREAM was seen */
    uint32_t error;     /* with which it was closed */

    const uint8_t *upload; /* request body */
    size_t upload_len;
    bool upload_open; /* no END_STREAM behind it */
};

struct raw {
    struct harness *h;
    nghttp2_session *session;
    void *conn; /* the server's side; NULL once it is closed */
    struct raw_stream streams[RAW_STREAMS];
    size_t count;
    unsigned goaways, pings;
    uint32_t goaway_code;
    int32_t goaway_last;
    bool reading;
    bool deaf; /* what the server says is thrown away: no acknowledgements, no pongs */
    bool dead; /* the session broke down */
};

/*
 * window: how much the server may send on each stream. Less than 65535: that is all there is, none is given back until
 * raw_read_on().
 */
void raw_init(struct raw *raw, struct harness *h, uint32_t window);
void raw_done(struct raw *raw);
void raw_read_on(struct raw *raw);
/* POST with application/grpc and these bytes; `headers` (may be NULL) are pairs "name", "value", ..., NULL that replace or add. */
struct raw_stream *raw_call(
    struct raw *raw, const char *path, const void *body, size_t len, bool end, const char *const *headers);
/* More request bytes for a call that was left open. */
void raw_more(struct raw *raw, struct raw_stream *stream, const void *body, size_t len, bool end);
/* Hands over to the server what the session wants to say. */
void raw_flush(struct raw *raw);
/* Bytes as they are. */
void raw_bytes(struct raw *raw, const void *data, size_t len);
/* Whether the server has closed the connection. */
bool raw_closed(struct raw *raw);

#define SERVICE "/taskworker.TaskWorkerService/"

#endif
