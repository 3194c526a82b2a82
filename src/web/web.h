/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP for people and scripts: the REST interface of a node. It decides nothing about tasks by itself: each request becomes calls of the
 * node's gRPC service, over a connection from within the program, with the token that the request brings. So who may do what, whose a
 * task is, how often, and what is written down are the service's business, as for any other client.
 *
 * Everything belongs to the loop's thread.
 */
#ifndef WEB_WEB_H
#define WEB_WEB_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include <taskworker/error.h>

struct web;
struct monitor;

struct web_options {
    uv_loop_t *loop;
    int service;      /* the connection to the node's service (tw_worker_connect()): web_new() takes it in any case */
    const char *host; /* a numeric address, or "localhost" */
    uint16_t port;    /* 0: any free one */
    bool open;        /* the node asks nobody who he is (--dev): only for a loopback address */
    struct monitor *monitor;  /* borrowed until the web has closed; NULL: there is none */
    unsigned session_hours;   /* how long a login lasts */
    unsigned max_connections; /* 0: 1000; a quarter of them from one address */
    unsigned request_seconds; /* for a request to come in and its answer to be fetched; 0: 30 */
};

/* Listens; serves as soon as the loop runs. Nothing of `options` is kept but the loop and the connection. */
int web_new(const struct web_options *options, struct web **ret, struct tw_error *error);
uint16_t web_port(const struct web *web);
/* Whether /readyz says that the node takes tasks. NULL is allowed. */
void web_set_ready(struct web *web, bool ready);
/* Answers what is under way with 503 and closes. `closed` (may be NULL) comes from the loop; the web is gone then. Of a web that is
 * NULL it comes at once. */
void web_close(struct web *web, void (*closed)(void *ctx), void *ctx);

#endif
