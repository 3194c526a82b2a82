/* SPDX-License-Identifier: Apache-2.0 */
/* The calls of FileService about the storage as a whole: how full it is, cleaning up, checking. */
#include <stdlib.h>

#include "base/error.h"
#include "base/timer.h"
#include "base/util.h"
#include "rpc/file_internal.h"

enum { PROGRESS_MS = 200 };

/* --- GetStorage, CollectGarbage --- */

FILE_CLAIM(one_stat, GetStorageRequest)

static int claim_stat(struct file_job *j)
{
    Taskworker__GetStorageRequest *r = j->request;
    r->one_user = r->one_user || !owner_sees_all(j->call);
    return r->one_user ? claim_one_stat(j) : 0;
}

static int run_stat(struct file_job *j)
{
    const Taskworker__GetStorageRequest *r = j->request;
    return tw_storage_stat(j->service->storage, r->one_user ? r->user_id : NULL, &j->stat, &j->error);
}

static void reply_stat(struct file_job *j)
{
    const struct tw_storage_stat *s = &j->stat;
    Taskworker__GetStorageResponse response = TASKWORKER__GET_STORAGE_RESPONSE__INIT;
    response.files = s->files;
    response.bytes = s->bytes;
    response.blobs = s->blobs;
    response.blob_bytes = s->blob_bytes;
    response.unused_bytes = s->unused_bytes;
    response.saved_bytes = s->saved_bytes;
    response.reserved_bytes = s->reserved_bytes;
    response.damaged_blobs = s->damaged_blobs;
    response.max_bytes = s->max_bytes;
    response.max_user_bytes = s->max_owner_bytes;
    response.max_user_files = s->max_owner_files;
    rpc_call_reply(j->call, &response.base);
}

static const struct file_job_kind stat_kind = {.descriptor = &taskworker__get_storage_request__descriptor,
    .claim = claim_stat,
    .run = run_stat,
    .reply = reply_stat};

void file_get_storage(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    (void)file_job_begin(call, ctx, &stat_kind, msg, len);
}

static int run_gc(struct file_job *j)
{
    return tw_storage_gc(j->service->storage, &j->gc, &j->error);
}

static void reply_gc(struct file_job *j)
{
    Taskworker__CollectGarbageResponse response = TASKWORKER__COLLECT_GARBAGE_RESPONSE__INIT;
    response.files = j->gc.files;
    response.blobs = j->gc.blobs;
    response.bytes = j->gc.bytes;
    response.strays = j->gc.strays;
    response.missing = j->gc.missing;
    rpc_call_reply(j->call, &response.base);
}

static const struct file_job_kind gc_kind = {
    .descriptor = &taskworker__collect_garbage_request__descriptor, .run = run_gc, .reply = reply_gc};

void file_collect_garbage(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    (void)file_job_begin(call, ctx, &gc_kind, msg, len);
}

/* --- CheckFiles --- */

static bool on_fsck_progress(void *ctx, uint64_t done, uint64_t total)
{
    struct file_job *j = ctx;
    atomic_store(&j->done, done);
    atomic_store(&j->total, total);
    return !atomic_load(&j->cancelled);
}

static int run_check(struct file_job *j)
{
    return tw_storage_fsck(j->service->storage, on_fsck_progress, j, &j->fsck, &j->error);
}

static void end_check(struct file_job *j)
{
    j->service->checking = false;
    timer_free(&j->timer);
}

static void reply_check(struct file_job *j)
{
    const struct tw_fsck_report *f = &j->fsck;
    Taskworker__CheckFilesResponse response = TASKWORKER__CHECK_FILES_RESPONSE__INIT;
    response.checked_bytes = response.total_bytes = f->bytes;
    response.done = true;
    response.blobs = f->blobs;
    response.damaged = f->damaged;
    response.missing = f->missing;
    response.healed = f->healed;
    response.lost_files = f->lost_files;
    response.wrong_counts = f->wrong_counts;
    rpc_call_reply(j->call, &response.base);
}

static const struct file_job_kind check_kind = {.descriptor = &taskworker__check_files_request__descriptor,
    .run = run_check,
    .reply = reply_check,
    .end = end_check};

static void on_progress_timer(uv_timer_t *timer)
{
    struct file_job *j = timer->data;
    Taskworker__CheckFilesResponse response = TASKWORKER__CHECK_FILES_RESPONSE__INIT;
    response.checked_bytes = atomic_load(&j->done);
    response.total_bytes = atomic_load(&j->total);
    if (j->call && response.total_bytes)
        rpc_call_send(j->call, &response.base);
}

void file_check_files(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    struct file_service *service = ctx;
    struct tw_error error;
    if (service->checking) {
        error_set(&error, TW_FAILED_PRECONDITION, "the files are being checked already");
        rpc_call_finish_error(call, &error);
        return;
    }
    struct file_job *j = file_job_begin(call, service, &check_kind, msg, len);
    if (!j)
        return;
    service->checking = true;
    j->timer = timer_new(service->loop, j); /* without it there is no progress to be seen */
    if (j->timer)
        uv_timer_start(j->timer, on_progress_timer, PROGRESS_MS, PROGRESS_MS);
}
