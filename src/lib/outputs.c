/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tasks leave, on its way into the storage. Large files take long, and all that this node writes goes through the same few threads of
 * libuv's pool: so only some of these may have one at a time, and the others wait in turn.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/util.h"
#include "lib/inputs.h"

enum { COPY_BYTES = 256 * 1024, AT_ONCE = 2 };

struct keep_job {
    uv_work_t req;
    struct list link; /* while it waits */
    struct inputs *of;
    char *owner, *name;
    int fd;
    uint64_t size;
    struct tw_error error;
    bool failed;
    engine_gathered_cb done;
    void *ctx;
};

static int copy_file(struct keep_job *job, struct tw_upload **upload)
{
    CLEANUP_FREE char *block = malloc(COPY_BYTES);
    if (!block)
        return error_oom(&job->error);
    for (;;) {
        ssize_t n = read(job->fd, block, COPY_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(&job->error, -errno, "reading it");
        if (n == 0)
            return tw_upload_commit(STEAL(*upload), NULL, &job->error);
        if (tw_upload_write(*upload, block, (size_t)n, &job->error) < 0)
            return -1;
    }
}

static void keep_file(uv_work_t *req)
{
    struct keep_job *job = CONTAINER_OF(req, struct keep_job, req);
    struct tw_upload *upload = NULL;
    const struct tw_put_options options = {
        .size = sizeof options, .owner = job->owner, .name = job->name, .length = job->size};
    job->failed = tw_storage_put(job->of->storage, &options, &upload, &job->error) < 0 || copy_file(job, &upload) < 0;
    tw_upload_abort(upload);
    fd_close(&job->fd); /* the last who has it: its memory goes, and that can take a while */
}

static void begin_next(struct inputs *of);

static void on_file_kept(uv_work_t *req, int status UNUSED)
{
    struct keep_job *job = CONTAINER_OF(req, struct keep_job, req);
    struct inputs *of = job->of;
    of->keeping--;
    begin_next(of);
    job->done(job->ctx, job->failed ? &job->error : NULL);
    free(job->owner);
    free(job->name);
    free(job);
    if (--of->jobs == 0 && of->idle)
        STEAL(of->idle)(of->idle_ctx);
}

static void begin_next(struct inputs *of)
{
    while (of->keeping < AT_ONCE && !list_empty(&of->outputs)) {
        struct keep_job *job = LIST_FIRST(&of->outputs, struct keep_job, link);
        list_remove(&job->link);
        of->keeping++;
        (void)uv_queue_work(of->loop, &job->req, keep_file, on_file_kept); /* fails only without a job */
    }
}

void outputs_keep(void *ctx, const char *owner, const char *task_id, const struct run_file *file,
    engine_gathered_cb done, void *done_ctx)
{
    struct inputs *of = ctx;
    struct keep_job *job = calloc(1, sizeof *job);
    if (job)
        *job = (struct keep_job){.of = of, .size = file->size, .fd = file->fd, .done = done, .ctx = done_ctx};
    if (!job || !(job->owner = strdup(owner)) || asprintf(&job->name, "%s/%s", task_id, file->path) < 0) {
        struct tw_error oom;
        error_oom(&oom);
        close(file->fd);
        if (job)
            free(job->owner);
        free(job);
        done(done_ctx, &oom);
        return;
    }
    of->jobs++;
    list_push(&of->outputs, &job->link);
    begin_next(of);
}
