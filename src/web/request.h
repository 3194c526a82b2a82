/* SPDX-License-Identifier: Apache-2.0 */
/* What handlers of routes see: a request whose body is there, and how it is answered. */
#ifndef WEB_REQUEST_H
#define WEB_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>

#include <taskworker/error.h>

#include "base/buf.h"
#include "web/web.h"

#include "taskworker.pb-c.h"

struct web_request;

enum { WEB_TOKEN_MAX = 128, WEB_SEGMENT_MAX = 512 };

/* A method of the service that a route stands for (rpc.c). */
struct web_rpc {
    const char *method; /* "/taskworker.TaskWorkerService/GetStatus" */
    const ProtobufCMessageDescriptor *request, *answer;
    const char *segment; /* the field that the path's "*" is for; NULL: it has none */
};

/* One row of the table in routes.c. */
struct web_route {
    const char *method;
    const char *
        path; /* "*", which is there once at most, is one segment. It is not empty and is given to the handler decoded */
    size_t max_body; /* bytes; 0: it takes none */
    bool open;       /* answers without asking who it is */
    bool changes;    /* something: a page of another site must not be able to have it done */
    /* Answers, at once or later. */
    void (*handle)(struct web *web, struct web_request *request);
    struct web_rpc rpc; /* for handlers that need it */
    const char *about;  /* one sentence, for /openapi.json; NULL: a page, which is not in there */
};
extern const struct web_route web_routes[];
extern const size_t web_n_routes;

/* --- what was asked --- */

const char *web_request_segment(const struct web_request *request);
/* The body as a JSON object, with no more than `depth` levels; NULL: it was answered (400 or 415). Borrowed. */
const json_t *web_request_json(struct web_request *request);
/* The token that came as a bearer's or in the cookie; "": none. */
const char *web_request_token(const struct web_request *request);
bool web_request_is_secure(const struct web_request *request);
const char *web_request_header(const struct web_request *request, const char *name);
const struct web_route *web_request_route(const struct web_request *request);
bool web_request_has_body(const struct web_request *request);
/* A parameter of the address, decoded into `out`; NULL: it is not there, is too long, or holds what is no text. */
const char *web_request_param(const struct web_request *request, const char *name, char *out, size_t size);
/* All of them, in their order, decoded, until one returns false. False: one did, or was answered with 400 since it is no text. */
typedef bool (*web_param)(void *ctx, const char *name, const char *value);
bool web_request_params(struct web_request *request, web_param each, void *ctx);

/* --- how it is answered: once --- */

/* Takes the reference to `body`; NULL: out of memory. */
void web_reply(struct web_request *request, unsigned status, json_t *body);
/* The same with a Set-Cookie: `token` for so many seconds; "" takes it away. Before web_reply(). */
void web_set_cookie(struct web_request *request, const char *token, uint64_t seconds);
/* RFC 9457: {type, title, status, detail}; retry_ms becomes Retry-After. */
void web_problem(struct web_request *request, unsigned status, const char *detail, uint32_t retry_ms);
void web_problem_of(struct web_request *request, const struct tw_error *error);

/*
 * A call of the node's service as who makes the request. If it fails the request is answered with that, unless `failed` is given; else `done` gets
 * the unpacked message, which is freed after it. Exactly one of them is called, never from within.
 */
struct web_call {
    const char *method; /* "/taskworker.TaskWorkerService/GetStatus" */
    const ProtobufCMessage *request;
    const ProtobufCMessageDescriptor *answer;
    void (*done)(struct web_request *request, const ProtobufCMessage *message);
    void (*failed)(struct web_request *request, const struct tw_error *error); /* may be NULL */
    bool as_nobody;                                                            /* without the request's token */
};
void web_call(struct web *web, struct web_request *request, const struct web_call *call);

/* Has `then` called if who asks has that role, else answers. For what the service knows nothing of. */
void web_require(struct web *web, struct web_request *request, Taskworker__User__Role role,
    void (*then)(struct web *web, struct web_request *request));

struct web *web_of(const struct web_request *request);

#endif
