/* SPDX-License-Identifier: Apache-2.0 */
/* Where the bytes of a connection leave, and what is held when the peer does not take them. */
#include "rpc/conn_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

enum {
    QUEUE_MAX = 3000, /* frames that wait in a session whose peer takes nothing: answers to what it keeps asking for */
    QUEUE_STEP = 64,  /* they are counted in so many, ... */
    QUEUE_ITEM = 256, /* ... each of which takes so much memory */
    SEALED_QUEUE_MAX = 256 * 1024, /* what TLS may add while the peer takes nothing */
};

struct pending_write {
    uv_write_t req;
    size_t len;
    uint8_t bytes[];
};

static bool hold(struct conn *conn, size_t bytes)
{
    return !conn->hub->ops->hold || conn->hub->ops->hold(conn, bytes);
}

static void let_go(struct conn *conn, size_t bytes)
{
    if (conn->hub->ops->let_go && bytes)
        conn->hub->ops->let_go(conn, bytes);
}

bool conn_hold_queue(struct conn *conn)
{
    size_t n = conn->writing ? nghttp2_session_get_outbound_queue_size(conn->session) : 0;
    size_t bytes = n / QUEUE_STEP * QUEUE_STEP * QUEUE_ITEM;
    if (n > QUEUE_MAX || (bytes > conn->queue_held && !hold(conn, bytes - conn->queue_held)))
        return false;
    if (bytes < conn->queue_held)
        let_go(conn, conn->queue_held - bytes);
    conn->queue_held = bytes;
    return true;
}

static void on_written(uv_write_t *req, int status)
{
    struct conn *conn = req->data;
    struct pending_write *w = CONTAINER_OF(req, struct pending_write, req);
    let_go(conn, w->len);
    free(w);
    conn->writing--;
    if (conn->state != CONN_OPEN)
        return;
    (void)conn_hold_queue(conn);
    if (status < 0)
        conn_abort(conn, "the peer has closed the connection");
    else if (!conn->writing)
        conn_wake(conn);
}

int conn_write(struct conn *conn, const uint8_t *data, size_t len)
{
    if (conn->sink) {
        conn->sink(conn, data, len);
        return 0;
    }
    if (conn->writing && uv_stream_get_write_queue_size((uv_stream_t *)&conn->tcp) > SEALED_QUEUE_MAX)
        return -ENOBUFS;
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)data, (unsigned)len);
    int n = uv_try_write((uv_stream_t *)&conn->tcp, &buf, 1);
    if (n < 0 && n != UV_EAGAIN)
        return n;
    size_t done = n > 0 ? (size_t)n : 0;
    if (done == len)
        return 0;
    struct pending_write *w = malloc(sizeof *w + len - done);
    if (!w || !hold(conn, len - done)) {
        free(w);
        return -ENOMEM;
    }
    w->len = len - done;
    memcpy(w->bytes, data + done, len - done);
    buf = uv_buf_init((char *)w->bytes, (unsigned)(len - done));
    w->req.data = conn;
    int r = uv_write(&w->req, (uv_stream_t *)&conn->tcp, &buf, 1, on_written);
    if (r < 0) {
        let_go(conn, w->len);
        free(w);
    } else {
        conn->writing++;
    }
    return r;
}
