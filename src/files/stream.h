/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One upload or one download of a storage, for a loop that must not wait: each call is carried out in libuv's pool and
 * answered on the loop's thread. One call at a time; its `done` comes exactly once, never from within the call, and not any
 * more after stream_close(). What is handed in is borrowed until then (and after stream_close() until the pool has let go of
 * it, which `closed` says).
 */
#ifndef FILES_STREAM_H
#define FILES_STREAM_H

#include <stddef.h>

#include <uv.h>

#include <taskworker/storage.h>

struct stream;

/* n: bytes that were read; error: NULL, or why it failed. */
typedef void stream_done(void *ctx, size_t n, const struct tw_error *error);

/* NULL: no memory. */
struct stream *stream_new(uv_loop_t *loop, struct tw_storage *storage);

void stream_put(struct stream *stream, const struct tw_put_options *options, stream_done *done, void *ctx);
/* What is written is a delta then. */
void stream_patch(struct stream *stream, const struct tw_patch_options *options, stream_done *done, void *ctx);
void stream_write(struct stream *stream, const void *data, size_t len, stream_done *done, void *ctx);
/* The upload is over then, whatever comes of it. */
void stream_commit(struct stream *stream, stream_done *done, void *ctx);

void stream_get(struct stream *stream, const struct tw_file_ref *ref, stream_done *done, void *ctx);
/* 0 bytes: its end. */
void stream_read(struct stream *stream, void *data, size_t len, stream_done *done, void *ctx);

/* After a stream_commit() or stream_get() that went well; lives as long as the stream. */
const struct tw_file_info *stream_info(const struct stream *stream);

/*
 * At any time: what is not committed is gone. Frees the stream when the pool has let go of it, then calls `closed` on the
 * loop's thread (NULL: nobody wants to know).
 */
void stream_close(struct stream *stream, void (*closed)(void *ctx), void *ctx);

#endif
