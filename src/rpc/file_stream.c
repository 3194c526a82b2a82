/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files as streams of messages. What comes in is gathered in one buffer while the pool writes another; where the pool is slower the
 * client is made to wait. What goes out is read ahead by one buffer, and not further before the client has taken what is queued. So
 * a stream holds a few MiB, whatever the size of its file.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/util.h"
#include "files/stream.h"
#include "rpc/file_internal.h"
#include "rpc/owner.h"
#include "rpc/taskworker_pending.h"

enum { GATHER_MAX = 1 << 20, READ_BYTES = 256 << 10, INCOMING_MAX = 64 };

/* --- in --- */

struct incoming;

/* What comes is a file, or a delta: their messages differ in the header. */
struct incoming_kind {
    const ProtobufCMessageDescriptor *descriptor;
    bool (*has_header)(const void *request);
    ProtobufCBinaryData *(*data)(void *request);
    int (*begin)(struct incoming *in, struct tw_error *error); /* with the first message, which has a header */
};

struct incoming {
    const struct incoming_kind *kind;
    struct file_service *service;
    struct rpc_call *call; /* NULL once it is over */
    struct stream *stream;
    void *first; /* its header is borrowed by the upload */
    struct tw_put_options put;
    struct tw_patch_options patch;
    struct buf gathered, writing;
    bool begun; /* the header has come */
    bool busy;  /* the pool has something to do */
    bool whole; /* the client has sent its last */
    bool over;  /* answered; what comes now is ignored */
};

static void incoming_free(struct incoming *in)
{
    struct file_service *service = in->service;
    if (in->first)
        protobuf_c_message_free_unpacked(in->first, NULL);
    buf_done(&in->gathered);
    buf_done(&in->writing);
    free(in);
    service->incoming--;
    file_service_leave(service);
}

static void on_incoming_closed(void *ctx)
{
    incoming_free(ctx);
}

static void on_incoming_done(struct rpc_call *call UNUSED, void *ctx)
{
    struct incoming *in = ctx;
    in->call = NULL;
    stream_close(in->stream, on_incoming_closed, in);
}

static void fail_push(struct incoming *in, const struct tw_error *error)
{
    in->over = true;
    rpc_call_finish_error(in->call, error);
}

static void go_on(struct incoming *in);

static void on_written(void *ctx, size_t n UNUSED, const struct tw_error *error)
{
    struct incoming *in = ctx;
    in->busy = false;
    buf_reset(&in->writing);
    if (error)
        fail_push(in, error);
    else
        go_on(in);
}

static void on_committed(void *ctx, size_t n UNUSED, const struct tw_error *error)
{
    struct incoming *in = ctx;
    in->busy = false;
    if (error) {
        fail_push(in, error);
        return;
    }
    Taskworker__FileResponse response = TASKWORKER__FILE_RESPONSE__INIT;
    Taskworker__File file;
    file_to_message(stream_info(in->stream), &file);
    response.file = &file;
    rpc_call_set_object(in->call, file.file_id);
    in->over = true;
    rpc_call_reply(in->call, &response.base);
}

/* What is to be done next, if the pool is free. */
static void go_on(struct incoming *in)
{
    if (in->busy || in->over)
        return;
    in->busy = true;
    if (in->gathered.len > 0) {
        struct buf empty = in->writing;
        in->writing = in->gathered;
        in->gathered = empty;
        stream_write(in->stream, in->writing.data, in->writing.len, on_written, in);
        rpc_call_pause(in->call, false);
    } else if (in->whole) {
        stream_commit(in->stream, on_committed, in);
    } else {
        in->busy = false;
    }
}

static void incoming_start(struct rpc_call *call, struct file_service *service, const struct incoming_kind *kind)
{
    struct tw_error error;
    if (service->incoming >= INCOMING_MAX) { /* each may hold some MiB */
        error_set(
            &error, TW_RESOURCE_EXHAUSTED, "%d files are on their way in already: try again in a second", INCOMING_MAX);
        error.retry_ms = 1000;
        rpc_call_finish_error(call, &error);
        return;
    }
    struct incoming *in = calloc(1, sizeof *in);
    struct stream *stream = in ? stream_new(service->loop, service->storage) : NULL;
    if (!stream) {
        free(in);
        error_oom(&error);
        rpc_call_finish_error(call, &error);
        return;
    }
    *in = (struct incoming){.kind = kind, .service = service, .call = call, .stream = stream};
    buf_init(&in->gathered, 2 * FILE_PIECE_MAX);
    buf_init(&in->writing, 2 * FILE_PIECE_MAX);
    service->incoming++;
    file_service_enter(service);
    rpc_call_set_on_done(call, on_incoming_done, in);
}

/* The first message. The upload has its strings until it is over. */
static void begin_upload(struct incoming *in, void *request)
{
    struct tw_error error;
    in->first = request;
    if (!in->kind->has_header(request)) {
        error_set(&error, TW_INVALID_ARGUMENT, "the first message has no header: it has to say what comes");
        fail_push(in, &error);
    } else if (in->kind->begin(in, &error) < 0) {
        fail_push(in, &error);
    } else {
        in->begun = in->busy = true;
    }
}

void file_incoming_message(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx UNUSED)
{
    struct incoming *in = rpc_call_ctx(call);
    void *request = NULL;
    struct tw_error error;
    if (!in || in->over)
        return;
    in->over = pending_unpack(call, in->kind->descriptor, msg, len, &request) < 0;
    if (in->over)
        return;
    bool is_first = !in->begun;
    ProtobufCBinaryData *data = in->kind->data(request);
    if (is_first)
        begin_upload(in, request);
    else if (in->kind->has_header(request))
        fail_push(in, (error_set(&error, TW_INVALID_ARGUMENT, "only the first message has a header"), &error));
    if (!in->over && buf_append(&in->gathered, data->data, data->len) < 0)
        fail_push(in, (error_oom(&error), &error));
    if (is_first) { /* kept; but for its bytes, which have been taken */
        free(STEAL(data->data));
        data->len = 0;
    } else {
        protobuf_c_message_free_unpacked(request, NULL);
    }
    if (in->over)
        return;
    go_on(in);
    if (in->busy && in->gathered.len >= GATHER_MAX)
        rpc_call_pause(call, true);
}

void file_incoming_half_close(struct rpc_call *call, void *ctx UNUSED)
{
    struct incoming *in = rpc_call_ctx(call);
    struct tw_error error;
    if (!in || in->over)
        return;
    in->whole = true;
    if (in->begun) {
        go_on(in);
        return;
    }
    error_set(&error, TW_INVALID_ARGUMENT, "the call has no message: the first has to say what comes");
    fail_push(in, &error);
}

/* --- PushStream --- */

static bool push_has_header(const void *request)
{
    return ((const Taskworker__PushStreamRequest *)request)->header;
}

static ProtobufCBinaryData *push_data(void *request)
{
    return &((Taskworker__PushStreamRequest *)request)->data;
}

static int push_begin(struct incoming *in, struct tw_error *error)
{
    Taskworker__PushStreamRequest__Header *h = ((Taskworker__PushStreamRequest *)in->first)->header;
    if (owner_take(in->call, &h->user_id, error) < 0)
        return -1;
    in->put = (struct tw_put_options){
        .size = sizeof in->put,
        .owner = h->user_id,
        .name = h->filename,
        .length = h->size,
        .unknown_length = !h->known_size,
        .sha256 = *h->sha256 ? h->sha256 : NULL,
        .base_version = h->base_version,
    };
    stream_put(in->stream, &in->put, on_written, in);
    return 0;
}

void file_push_start(struct rpc_call *call, void *ctx)
{
    static const struct incoming_kind kind = {
        &taskworker__push_stream_request__descriptor, push_has_header, push_data, push_begin};
    incoming_start(call, ctx, &kind);
}

/* --- ReviseStream --- */

static bool revise_has_header(const void *request)
{
    return ((const Taskworker__ReviseStreamRequest *)request)->header;
}

static ProtobufCBinaryData *revise_data(void *request)
{
    return &((Taskworker__ReviseStreamRequest *)request)->data;
}

static int revise_begin(struct incoming *in, struct tw_error *error)
{
    const Taskworker__ReviseStreamRequest__Header *h = ((const Taskworker__ReviseStreamRequest *)in->first)->header;
    in->patch = (struct tw_patch_options){
        .size = sizeof in->patch,
        .sha256 = *h->sha256 ? h->sha256 : NULL,
        .base_version = h->base_version,
    };
    if (!h->file)
        return error_set(error, TW_INVALID_ARGUMENT, "file is missing: it has to say which");
    if (owner_take(in->call, &h->file->user_id, error) < 0 ||
        file_ref_from_request(h->file, &in->patch.file, error) < 0)
        return -1;
    stream_patch(in->stream, &in->patch, on_written, in);
    return 0;
}

void file_revise_start(struct rpc_call *call, void *ctx)
{
    static const struct incoming_kind kind = {
        &taskworker__revise_stream_request__descriptor, revise_has_header, revise_data, revise_begin};
    incoming_start(call, ctx, &kind);
}

/* --- out --- */

struct outgoing {
    struct file_service *service;
    struct rpc_call *call; /* NULL once it is over */
    struct stream *stream;
    Taskworker__GetStreamRequest *request;
    struct tw_file_ref ref;
    bool busy, choked;
    uint8_t *data;
};

static void on_outgoing_closed(void *ctx)
{
    struct outgoing *out = ctx;
    struct file_service *service = out->service;
    taskworker__get_stream_request__free_unpacked(out->request, NULL);
    free(out->data);
    free(out);
    file_service_leave(service);
}

static void on_get_done(struct rpc_call *call UNUSED, void *ctx)
{
    struct outgoing *out = ctx;
    out->call = NULL;
    stream_close(out->stream, on_outgoing_closed, out);
}

static void read_on(struct outgoing *out);

static void on_read(void *ctx, size_t n, const struct tw_error *error)
{
    struct outgoing *out = ctx;
    out->busy = false;
    if (error) {
        rpc_call_finish_error(out->call, error);
    } else if (n == 0) {
        rpc_call_finish(out->call, TW_OK, "");
    } else {
        Taskworker__GetStreamResponse response = TASKWORKER__GET_STREAM_RESPONSE__INIT;
        response.data = (ProtobufCBinaryData){.len = n, .data = out->data};
        out->choked = !rpc_call_send(out->call, &response.base);
        read_on(out);
    }
}

static void read_on(struct outgoing *out)
{
    if (!out->call || out->busy || out->choked)
        return;
    out->busy = true;
    stream_read(out->stream, out->data, READ_BYTES, on_read, out);
}

static void on_drain(struct rpc_call *call UNUSED, void *ctx)
{
    struct outgoing *out = ctx;
    out->choked = false;
    read_on(out);
}

static void on_opened(void *ctx, size_t n UNUSED, const struct tw_error *error)
{
    struct outgoing *out = ctx;
    out->busy = false;
    if (error) {
        rpc_call_finish_error(out->call, error);
        return;
    }
    Taskworker__GetStreamResponse response = TASKWORKER__GET_STREAM_RESPONSE__INIT;
    Taskworker__File file;
    file_to_message(stream_info(out->stream), &file);
    response.file = &file;
    out->choked = !rpc_call_send(out->call, &response.base);
    read_on(out);
}

/* NULL: no memory. The request is its own then. */
static struct outgoing *outgoing_new(struct file_service *service, struct rpc_call *call,
    Taskworker__GetStreamRequest *request, const struct tw_file_ref *ref)
{
    struct outgoing *out = calloc(1, sizeof *out);
    if (!out)
        return NULL;
    *out = (struct outgoing){.service = service, .call = call, .request = request, .ref = *ref};
    out->data = malloc(READ_BYTES);
    out->stream = out->data ? stream_new(service->loop, service->storage) : NULL;
    if (out->stream)
        return out;
    free(out->data);
    free(out);
    return NULL;
}

void file_get_stream(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    struct file_service *service = ctx;
    struct outgoing *out = NULL;
    Taskworker__GetStreamRequest *request = NULL;
    struct tw_file_ref ref;
    struct tw_error error;
    if (pending_unpack(call, &taskworker__get_stream_request__descriptor, msg, len, &request) < 0)
        return;
    if (!request->file)
        error_set(&error, TW_INVALID_ARGUMENT, "file is missing: it has to say which");
    else if (owner_take(call, &request->file->user_id, &error) == 0 &&
        file_ref_from_request(request->file, &ref, &error) == 0 && !(out = outgoing_new(service, call, request, &ref)))
        error_oom(&error);
    if (!out) {
        taskworker__get_stream_request__free_unpacked(request, NULL);
        rpc_call_finish_error(call, &error);
        return;
    }
    file_service_enter(service);
    rpc_call_set_on_done(call, on_get_done, out);
    rpc_call_set_on_drain(call, on_drain, out);
    out->busy = true;
    stream_get(out->stream, &out->ref, on_opened, out);
}
