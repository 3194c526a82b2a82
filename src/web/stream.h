/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers that come piece by piece, out of a streaming call of the service. What the client does not fetch is not asked for: the call is
 * paused while more than a little waits.
 */
#ifndef WEB_STREAM_H
#define WEB_STREAM_H

#include <stdbool.h>

#include "base/buf.h"
#include "web/request.h"

struct web_stream;

struct web_stream_options {
    const char *method;
    const ProtobufCMessage *request;
    const ProtobufCMessageDescriptor *answer;
    const char *type; /* Content-Type */
    /*
     * Server-sent events (WHATWG HTML, 9.2): the headers come at once, a comment every 16 seconds shows either side that the other is
     * there. Else the headers wait for the first message, so that a call that fails is answered with why.
     */
    bool events;
    /* Appends what becomes of a message. */
    void (*message)(struct web_stream *stream, const ProtobufCMessage *message, struct buf *out);
    /* The call has ended: may append something. What is cut off breaks the connection, unless `events`. May be NULL. */
    void (*ended)(struct web_stream *stream, const struct tw_error *status, struct buf *out);
};

/* Begins; answers the request in any case. */
void web_stream(struct web *web, struct web_request *request, const struct web_stream_options *options);
/* From within the first `message`: the length of all, a status of its own, and further headers. */
void web_stream_set_size(struct web_stream *stream, uint64_t size);
void web_stream_set_status(struct web_stream *stream, unsigned status);
void web_stream_add_header(struct web_stream *stream, const char *name, const char *value);
/* NULL: it has gone. */
struct web_request *web_stream_request(struct web_stream *stream);
/* For what callbacks have to remember: zero at first. */
struct web_stream_note {
    uint64_t numbers[4];
};
struct web_stream_note *web_stream_note(struct web_stream *stream);
/* Ends it well, whatever the call would go on to say. From within `message`. */
void web_stream_finish(struct web_stream *stream);

/* Appends one event: its number, unless it is 0, its kind, and its data, whose reference is taken. */
void web_stream_event(struct buf *out, uint64_t number, const char *kind, json_t *data);

/* --- for web.c and request.c --- */

/* The request has gone. NULL is allowed. */
void stream_detach(struct web_stream *stream);
/* Every two seconds. */
void streams_tick(struct web *web);

#endif
