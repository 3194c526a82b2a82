/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream stands between a call of the service, which brings messages, and a connection of MHD, which asks for bytes. Each of the two
 * may end first: the stream goes with the last.
 */
#include "web/stream.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/util.h"
#include "web/internal.h"

enum {
    OUT_MAX = 16 * 1024 * 1024, /* one message and a little */
    OUT_ENOUGH = 64 * 1024,     /* more waits in the service */
    BLOCK = 32 * 1024,
    EVENT_BLOCK = 2 * 1024, /* there may be many, and each has one */
    HEADERS = 6,
    COMMENT_TICKS = 8,
};

struct web_stream {
    struct list link; /* of web->streams, with a request only */
    struct web *web;
    struct web_request *request;  /* NULL: it has gone */
    struct rpc_client_call *call; /* NULL: it has ended */
    struct web_stream_options options;
    struct web_stream_note note;
    struct buf out;
    size_t sent;                   /* of out */
    struct MHD_Response *response; /* being made, until it is handed over */
    char *headers[HEADERS][2];
    size_t n_headers;
    uint64_t size;
    unsigned status;
    bool answered, paused, broken, finished;
    bool waiting; /* MHD has asked, and its connection is suspended */
};

static void free_stream(struct web_stream *s)
{
    for (size_t i = 0; i < s->n_headers; i++) {
        free(s->headers[i][0]);
        free(s->headers[i][1]);
    }
    buf_done(&s->out);
    free(s);
}

void stream_detach(struct web_stream *s)
{
    if (!s)
        return;
    list_remove(&s->link);
    s->request = NULL;
    if (s->call)
        rpc_client_cancel(s->call);
    else
        free_stream(s);
}

/* --- out --- */

static void wake(struct web_stream *s)
{
    if (!s->request || !s->waiting)
        return;
    s->waiting = false;
    MHD_resume_connection(s->request->connection);
    web_wake(s->web);
}

static ssize_t read_stream(void *ctx, uint64_t position UNUSED, char *to, size_t max)
{
    struct web_stream *s = ctx;
    size_t n = MIN(s->out.len - s->sent, max);
    if (n) {
        memcpy(to, s->out.data + s->sent, n);
        s->sent += n;
        if (s->sent == s->out.len) {
            buf_reset(&s->out);
            s->sent = 0;
        }
        if (s->call && s->paused && s->out.len - s->sent < OUT_ENOUGH / 2) {
            s->paused = false;
            rpc_client_pause(s->call, false);
        }
        return (ssize_t)n;
    }
    if (s->broken || s->out.error)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (!s->call || s->finished)
        return MHD_CONTENT_READER_END_OF_STREAM;
    s->waiting = true;
    MHD_suspend_connection(s->request->connection);
    return 0;
}

/* The headers go out, with what is there by now behind them. */
static void begin_answer(struct web_stream *s)
{
    struct MHD_Response *response = s->request
        ? MHD_create_response_from_callback(s->size, s->options.events ? EVENT_BLOCK : BLOCK, read_stream, s, NULL)
        : NULL;
    s->answered = true;
    if (response) {
        (void)MHD_add_response_header(response, "Content-Type", s->options.type);
        if (s->options.events)
            (void)MHD_add_response_header(response, "X-Accel-Buffering", "no");
        for (size_t i = 0; i < s->n_headers; i++)
            (void)MHD_add_response_header(response, s->headers[i][0], s->headers[i][1]);
    }
    if (s->request)
        web_answer(s->request, s->status, response);
}

void web_stream_set_size(struct web_stream *s, uint64_t size)
{
    s->size = size;
}

void web_stream_set_status(struct web_stream *s, unsigned status)
{
    s->status = status;
}

void web_stream_add_header(struct web_stream *s, const char *name, const char *value)
{
    char *copies[2] = {strdup(name), strdup(value)};
    if (s->n_headers == HEADERS || !copies[0] || !copies[1]) {
        free(copies[0]);
        free(copies[1]);
        return;
    }
    memcpy(s->headers[s->n_headers++], copies, sizeof copies);
}

struct web_request *web_stream_request(struct web_stream *s)
{
    return s->request;
}

struct web_stream_note *web_stream_note(struct web_stream *s)
{
    return &s->note;
}

void web_stream_finish(struct web_stream *s)
{
    s->finished = true;
}

void web_stream_event(struct buf *out, uint64_t number, const char *kind, json_t *data)
{
    CLEANUP_FREE char *text = data ? json_dumps(data, JSON_COMPACT) : NULL;
    json_decref(data);
    if (!text)
        return;
    if (number)
        (void)buf_printf(out, "id: %" PRIu64 "\n", number);
    (void)buf_printf(out, "event: %s\ndata: ", kind);
    (void)buf_append_str(out, text); /* JSON has no line breaks */
    (void)buf_append_str(out, "\n\n");
}

/* Nobody looks at a suspended connection, so that its end is not seen until something is written. */
static bool has_gone(const struct web_stream *s)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(s->request->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    char byte;
    return info && recv(info->connect_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

void streams_tick(struct web *web)
{
    web->ticks++;
    list_for_each (at, &web->streams) {
        struct web_stream *s = CONTAINER_OF(at, struct web_stream, link);
        if (!s->waiting)
            continue;
        if (has_gone(s))
            s->broken = true;
        else if (s->options.events && web->ticks % COMMENT_TICKS == 0)
            (void)buf_append_str(&s->out, ": there\n\n");
        else
            continue;
        wake(s);
    }
}

/* --- in --- */

static void on_message(struct rpc_client_call *call, const uint8_t *bytes, size_t len, void *ctx)
{
    struct web_stream *s = ctx;
    if (!s->request || s->finished || s->broken)
        return;
    ProtobufCMessage *message = protobuf_c_message_unpack(s->options.answer, NULL, len, bytes);
    if (message)
        s->options.message(s, message, &s->out);
    else
        s->broken = true;
    if (message)
        protobuf_c_message_free_unpacked(message, NULL);
    if (s->finished)
        rpc_client_cancel(call);
    else if (s->out.len - s->sent >= OUT_ENOUGH && !s->paused) {
        s->paused = true;
        rpc_client_pause(call, true);
    }
    if (!s->answered)
        begin_answer(s);
    wake(s);
}

static void on_done(struct rpc_client_call *call UNUSED, const struct tw_error *status, void *ctx)
{
    struct web_stream *s = ctx;
    s->call = NULL;
    if (!s->request) {
        free_stream(s);
        return;
    }
    if (!s->answered && status->code != TW_OK) {
        s->answered = true;
        web_problem_of(s->request, status);
        return;
    }
    if (s->options.ended && !s->finished)
        s->options.ended(s, status, &s->out);
    s->broken = status->code != TW_OK && !s->options.events && !s->finished;
    if (!s->answered)
        begin_answer(s);
    wake(s);
}

void web_stream(struct web *web, struct web_request *r, const struct web_stream_options *options)
{
    static const struct rpc_client_callbacks callbacks = {.on_message = on_message, .on_done = on_done};
    char from[WEB_FROM_MAX];
    const struct rpc_client_caller caller = {.token = *r->token ? r->token : NULL, .from = web_from(r, from)};
    struct web_stream *s = calloc(1, sizeof *s);
    if (!s) {
        web_answer(r, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL);
        return;
    }
    s->web = web;
    s->request = r;
    s->options = *options;
    s->options.request = NULL;
    s->size = MHD_SIZE_UNKNOWN;
    s->status = MHD_HTTP_OK;
    buf_init(&s->out, OUT_MAX);
    s->call = web->service
        ? rpc_client_start_for(web->service, &caller, options->method, options->request, 0, &callbacks, s)
        : NULL;
    if (!s->call) {
        free_stream(s);
        web_problem(r, MHD_HTTP_SERVICE_UNAVAILABLE, "the node is ending, or has no memory left", 0);
        return;
    }
    r->stream = s;
    list_push(&web->streams, &s->link);
    if (options->events)
        begin_answer(s);
}
