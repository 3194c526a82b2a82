/* SPDX-License-Identifier: Apache-2.0 */
#include "files/stream.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/util.h"

enum call { CALL_PUT, CALL_PATCH, CALL_WRITE, CALL_COMMIT, CALL_GET, CALL_READ, CALL_CLOSE };

struct stream {
    uv_loop_t *loop;
    struct tw_storage *storage;
    uv_work_t work;
    bool working, closing;
    stream_done *done;
    void (*closed)(void *ctx);
    void *ctx;

    /* What is asked for, borrowed, and what came of it: the pool's while it works. */
    enum call call;
    const struct tw_put_options *options;
    const struct tw_patch_options *patching;
    const struct tw_file_ref *ref;
    const void *out;
    void *in;
    size_t len;
    ssize_t result;
    struct tw_error error;

    struct tw_upload *upload;
    struct tw_patch *patch;
    struct tw_file *file;
    struct tw_file_info info; /* of what was committed */
};

struct stream *stream_new(uv_loop_t *loop, struct tw_storage *storage)
{
    struct stream *st = calloc(1, sizeof *st);
    if (st) {
        st->loop = loop;
        st->storage = storage;
        st->work.data = st;
    }
    return st;
}

/* --- in the pool --- */

static ssize_t out_of_order(struct stream *st)
{
    return error_set(&st->error, TW_FAILED_PRECONDITION, "the file is not open for that");
}

static ssize_t write_some(struct stream *st)
{
    if (st->upload)
        return tw_upload_write(st->upload, st->out, st->len, &st->error);
    return st->patch ? tw_patch_write(st->patch, st->out, st->len, &st->error) : out_of_order(st);
}

static ssize_t commit(struct stream *st)
{
    tw_file_info_done(&st->info);
    if (st->upload)
        return tw_upload_commit(STEAL(st->upload), &st->info, &st->error);
    return st->patch ? tw_patch_commit(STEAL(st->patch), &st->info, &st->error) : out_of_order(st);
}

static ssize_t carry_out(struct stream *st)
{
    bool is_open = st->upload || st->file || st->patch;
    switch (st->call) {
    case CALL_PUT:
        return is_open ? out_of_order(st) : tw_storage_put(st->storage, st->options, &st->upload, &st->error);
    case CALL_PATCH:
        return is_open ? out_of_order(st) : tw_storage_patch(st->storage, st->patching, &st->patch, &st->error);
    case CALL_WRITE:
        return write_some(st);
    case CALL_COMMIT:
        return commit(st);
    case CALL_GET:
        return is_open ? out_of_order(st) : tw_storage_get(st->storage, st->ref, &st->file, &st->error);
    case CALL_READ:
        return st->file ? tw_file_read(st->file, st->in, st->len, &st->error) : out_of_order(st);
    case CALL_CLOSE:
        tw_upload_abort(STEAL(st->upload));
        tw_patch_abort(STEAL(st->patch));
        tw_file_close(STEAL(st->file));
        return 0;
    }
    return -1;
}

static void on_work(uv_work_t *work)
{
    struct stream *st = work->data;
    st->result = carry_out(st);
}

/* --- on the loop --- */

static void begin(struct stream *st, enum call call);

static void finish_closing(struct stream *st)
{
    void (*closed)(void *ctx) = st->closed;
    void *ctx = st->ctx;
    tw_file_info_done(&st->info);
    free(st);
    if (closed)
        closed(ctx);
}

static void on_worked(uv_work_t *work, int status)
{
    (void)status; /* nothing cancels it */
    struct stream *st = work->data;
    st->working = false;
    if (st->closing && st->call == CALL_CLOSE) {
        finish_closing(st);
    } else if (st->closing) {
        begin(st, CALL_CLOSE);
    } else {
        struct tw_error error = st->error; /* `done` may close the stream */
        st->done(st->ctx, st->result > 0 ? (size_t)st->result : 0, st->result < 0 ? &error : NULL);
    }
}

static void begin(struct stream *st, enum call call)
{
    st->call = call;
    st->working = true;
    (void)uv_queue_work(st->loop, &st->work, on_work, on_worked); /* fails only without a job */
}

static void ask(struct stream *st, enum call call, stream_done *done, void *ctx)
{
    st->done = done;
    st->ctx = ctx;
    begin(st, call);
}

void stream_put(struct stream *st, const struct tw_put_options *options, stream_done *done, void *ctx)
{
    st->options = options;
    ask(st, CALL_PUT, done, ctx);
}

void stream_patch(struct stream *st, const struct tw_patch_options *options, stream_done *done, void *ctx)
{
    st->patching = options;
    ask(st, CALL_PATCH, done, ctx);
}

void stream_write(struct stream *st, const void *data, size_t len, stream_done *done, void *ctx)
{
    st->out = data;
    st->len = len;
    ask(st, CALL_WRITE, done, ctx);
}

void stream_commit(struct stream *st, stream_done *done, void *ctx)
{
    ask(st, CALL_COMMIT, done, ctx);
}

void stream_get(struct stream *st, const struct tw_file_ref *ref, stream_done *done, void *ctx)
{
    st->ref = ref;
    ask(st, CALL_GET, done, ctx);
}

void stream_read(struct stream *st, void *data, size_t len, stream_done *done, void *ctx)
{
    st->in = data;
    st->len = len;
    ask(st, CALL_READ, done, ctx);
}

const struct tw_file_info *stream_info(const struct stream *st)
{
    return st->file ? tw_file_info(st->file) : &st->info;
}

void stream_close(struct stream *st, void (*closed)(void *ctx), void *ctx)
{
    st->closing = true;
    st->closed = closed;
    st->ctx = ctx;
    if (!st->working)
        begin(st, CALL_CLOSE);
}
