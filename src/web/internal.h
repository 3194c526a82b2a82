/* SPDX-License-Identifier: Apache-2.0 */
/* What web.c (listening, the loop), request.c (one request) and the handlers share. */
#ifndef WEB_INTERNAL_H
#define WEB_INTERNAL_H

#include <microhttpd.h>

#include "base/list.h"
#include "machine/machine.h"
#include "rpc/client.h"
#include "web/request.h"

enum { WEB_FROM_MAX = 80, WEB_BODIES_MAX = 64 * 1024 * 1024 };

struct web_stream;

struct web {
    struct web_options options;
    struct MHD_Daemon *http;
    struct rpc_client *service;
    uv_poll_t poll;
    uv_timer_t timer, beat;
    unsigned open_handles;
    uint16_t port;
    bool ready, closing;
    struct list requests;
    struct list streams;
    unsigned ticks; /* of streams_tick() */
    size_t held;    /* bytes of bodies and large answers */
    void (*closed)(void *ctx);
    void *closed_ctx;

    /* How loaded the machine is, as of loaded_us. */
    struct machine_load_state load_state;
    struct machine_load load;
    uint64_t loaded_us;
};

struct web_request {
    struct list link;
    struct web *web;
    struct MHD_Connection *connection;
    const struct web_route *route;
    char segment[WEB_SEGMENT_MAX];
    char token[WEB_TOKEN_MAX];
    bool by_cookie; /* that is where the token comes from */
    bool suspended; /* MHD waits for web_wake() */
    bool begun;     /* its handler was called */
    bool refused;   /* before its body came; what still comes of it is thrown away */
    bool starved;   /* there was no room for its body */
    struct buf body;
    size_t held; /* of web->held */
    struct web_stream *stream;
    json_t *json;
    json_t *building;              /* an answer that takes several calls, ... */
    size_t built;                  /* ... and how many of its parts are done */
    struct MHD_Response *response; /* waits to be queued */
    unsigned status;
    char cookie[WEB_TOKEN_MAX + 128];

    Taskworker__User__Role role;                          /* what it takes, ... */
    void (*then)(struct web *web, struct web_request *r); /* ... and what is done then */

    struct rpc_client_call *call;
    struct web_call doing;
    ProtobufCMessage *message;
    bool bad_message;
};

enum MHD_Result web_on_request(void *ctx, struct MHD_Connection *connection, const char *url, const char *method,
    const char *version, const char *upload, size_t *upload_size, void **state);
void web_on_completed(void *ctx, struct MHD_Connection *connection, void **state, enum MHD_RequestTerminationCode code);
/* What all requests hold of bodies and of large answers is bounded. False: there is no room for so many more bytes of this one. */
bool web_take_room(struct web_request *request, size_t more);
/* Answers with these bytes, which are taken out of `body`; nothing where it has failed. */
void web_answer_text(struct web_request *request, const char *type, struct buf *body);
/* The answer is complete: it is queued when MHD asks. NULL: there was no memory for it, and the connection ends. */
void web_answer(struct web_request *request, unsigned status, struct MHD_Response *response);
/* "1.2.3.4:5" or "[::1]:5": whom the service takes calls to be from. NULL: not known. */
const char *web_from(const struct web_request *request, char out[static WEB_FROM_MAX]);
/* Has MHD look at its connections soon. */
void web_wake(struct web *web);
/* Looks at the machine, once a second at most. */
const struct machine_load *web_load(struct web *web);

#endif
