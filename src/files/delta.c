/* SPDX-License-Identifier: Apache-2.0 */
#include "files/delta.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <librsync.h>

#include "base/error.h"
#include "base/util.h"

enum { OUT_BYTES = 64 << 10 };

struct delta {
    rs_job_t *job;
    int base_fd;
    uint64_t base_size;
    delta_sink *sink;
    void *ctx;
    int read_errno;
    bool complete;
    char out[OUT_BYTES];
};

/* librsync would print what it thinks of a bad delta. */
static void be_quiet(void)
{
    rs_trace_set_level(RS_LOG_EMERG);
}

static rs_result read_base(void *ctx, rs_long_t pos, size_t *len, void **buf)
{
    struct delta *d = ctx;
    ssize_t n;
    if (pos < 0 || (uint64_t)pos >= d->base_size)
        return RS_CORRUPT;
    do
        n = pread(d->base_fd, *buf, *len, (off_t)pos);
    while (n < 0 && errno == EINTR);
    if (n <= 0) {
        d->read_errno = n < 0 ? errno : 0;
        return RS_IO_ERROR;
    }
    *len = (size_t)n;
    return RS_DONE;
}

struct delta *delta_begin(int base_fd, uint64_t base_size, delta_sink *sink, void *ctx)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, be_quiet);
    struct delta *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    d->base_fd = base_fd;
    d->base_size = base_size;
    d->sink = sink;
    d->ctx = ctx;
    d->job = rs_patch_begin(read_base, d);
    if (d->job)
        return d;
    free(d);
    return NULL;
}

void delta_free(struct delta *d)
{
    if (!d)
        return;
    rs_job_free(d->job);
    free(d);
}

static int fail(const struct delta *d, rs_result r, struct tw_error *error)
{
    if (r == RS_IO_ERROR && d->read_errno)
        return error_set_errno(error, d->read_errno, "cannot read what the difference is applied to");
    if (r == RS_MEM_ERROR)
        return error_oom(error);
    return error_set(
        error, TW_INVALID_ARGUMENT, "the difference is no librsync delta of the stored version: %s", rs_strerror(r));
}

/* Lets the job go on with this input until it needs more, or has come to its end. */
static int run(struct delta *d, const void *data, size_t len, bool is_last, struct tw_error *error)
{
    rs_buffers_t io = {.next_in = (char *)(uintptr_t)data, .avail_in = len, .eof_in = is_last};
    rs_result r;
    size_t n;
    do {
        io.next_out = d->out;
        io.avail_out = sizeof d->out;
        r = rs_job_iter(d->job, &io);
        n = sizeof d->out - io.avail_out;
        if (n > 0 && d->sink(d->ctx, d->out, n, error) < 0)
            return -1;
    } while (r == RS_BLOCKED && (n > 0 || (io.avail_in > 0 && io.avail_in < len)));
    d->complete = r == RS_DONE;
    if (r == RS_BLOCKED && !is_last && io.avail_in == 0)
        return 0;
    if (r == RS_DONE && io.avail_in == 0)
        return 0;
    if (r == RS_DONE)
        return error_set(error, TW_INVALID_ARGUMENT, "%zu bytes come behind the end of the difference", io.avail_in);
    return fail(d, r == RS_BLOCKED ? RS_INPUT_ENDED : r, error);
}

int delta_feed(struct delta *d, const void *data, size_t len, struct tw_error *error)
{
    if (len == 0)
        return 0;
    if (d->complete)
        return error_set(error, TW_INVALID_ARGUMENT, "%zu bytes come behind the end of the difference", len);
    return run(d, data, len, false, error);
}

int delta_end(struct delta *d, struct tw_error *error)
{
    return d->complete ? 0 : run(d, "", 0, true, error);
}
