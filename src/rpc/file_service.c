/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/file_service.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/timer.h"
#include "base/util.h"
#include "rpc/file_internal.h"
#include "rpc/taskworker_pending.h"

enum { WHOLE_MAX = 100 << 20, PAGE_DEFAULT = 100, PROGRESS_MS = 200 };

/* --- what the files of this service share --- */

void file_service_enter(struct file_service *service)
{
    service->open++;
}

void file_service_leave(struct file_service *service)
{
    if (--service->open == 0 && service->on_idle)
        service->on_idle(service->idle_ctx);
}

void file_service_stop(struct file_service *service, void (*done)(void *ctx), void *ctx)
{
    service->on_idle = done;
    service->idle_ctx = ctx;
    if (service->open == 0)
        done(ctx);
}

void file_to_message(const struct tw_file_info *info, Taskworker__File *ret)
{
    taskworker__file__init(ret);
    ret->file_id = (char *)info->id;
    ret->filename = info->name ? info->name : (char *)"";
    ret->user_id = info->owner ? info->owner : (char *)"";
    ret->size = info->size;
    ret->sha256 = (char *)info->sha256;
    ret->version = info->version;
    ret->created_us = (int64_t)info->created_us;
    ret->modified_us = (int64_t)info->modified_us;
    ret->damaged = info->is_damaged;
}

int file_ref_from_request(const Taskworker__FileRequest *request, struct tw_file_ref *ret, struct tw_error *error)
{
    bool by_id = *request->file_id, by_name = *request->filename;
    *ret = (struct tw_file_ref){
        .owner = request->user_id,
        .id = by_id ? request->file_id : NULL,
        .name = by_name ? request->filename : NULL,
    };
    return by_id != by_name
        ? 0
        : error_set(error, TW_INVALID_ARGUMENT, "file_id or filename: one of them has to say which file");
}

/* --- a call of one message --- */

struct job;

struct job_kind {
    const ProtobufCMessageDescriptor *descriptor;
    int (*run)(struct job *job);     /* in the pool: 0, or -1 with job->error */
    void (*reply)(struct job *job);  /* on the loop, where the call is still open and nothing has failed */
    void (*refuse)(struct job *job); /* before the call ends with the error; may be NULL */
    void (*end)(struct job *job);    /* in every case; may be NULL */
};

struct job {
    const struct job_kind *kind;
    struct file_service *service;
    struct rpc_call *call; /* NULL once it is over */
    uv_work_t work;
    void *request; /* unpacked */
    int result;
    struct tw_error error;
    /* What came of it, by kind. */
    struct tw_file_info info;
    struct tw_file_list list;
    struct tw_storage_stat stat;
    struct tw_storage_gc_report gc;
    uint8_t *data;
    size_t len;
    /* CheckFiles */
    struct tw_fsck_report fsck;
    uv_timer_t *timer;
    atomic_bool cancelled;
    atomic_ullong done, total;
};

static void job_free(struct job *j)
{
    struct file_service *service = j->service;
    if (j->kind->end)
        j->kind->end(j);
    protobuf_c_message_free_unpacked(j->request, NULL);
    tw_file_info_done(&j->info);
    tw_file_list_done(&j->list);
    free(j->data);
    free(j);
    file_service_leave(service);
}

static void on_work(uv_work_t *work)
{
    struct job *j = CONTAINER_OF(work, struct job, work);
    j->result = j->kind->run(j);
}

static void on_worked(uv_work_t *work, int status UNUSED)
{
    struct job *j = CONTAINER_OF(work, struct job, work);
    if (j->call) {
        rpc_call_set_on_done(j->call, NULL, NULL);
        if (j->result == 0) {
            j->kind->reply(j);
        } else {
            if (j->kind->refuse)
                j->kind->refuse(j);
            rpc_call_finish_error(j->call, &j->error);
        }
    }
    job_free(j);
}

static void on_call_done(struct rpc_call *call UNUSED, void *ctx)
{
    struct job *j = ctx;
    j->call = NULL;
    atomic_store(&j->cancelled, true);
}

/* NULL: the call was refused. */
static struct job *job_begin(
    struct rpc_call *call, struct file_service *service, const struct job_kind *kind, const uint8_t *msg, size_t len)
{
    struct tw_error error;
    ProtobufCMessage *request = NULL;
    if (pending_unpack(call, kind->descriptor, msg, len, &request) < 0)
        return NULL;
    struct job *j = calloc(1, sizeof *j);
    if (!j) {
        protobuf_c_message_free_unpacked(request, NULL);
        error_oom(&error);
        rpc_call_finish_error(call, &error);
        return NULL;
    }
    *j = (struct job){.kind = kind, .service = service, .call = call, .request = request};
    file_service_enter(service);
    rpc_call_set_on_done(call, on_call_done, j);
    (void)uv_queue_work(service->loop, &j->work, on_work, on_worked); /* fails only without a job */
    return j;
}

/* --- Push, Get --- */

static int run_push(struct job *j)
{
    const Taskworker__PushRequest *r = j->request;
    struct tw_upload *upload = NULL;
    if (r->file_data.len > WHOLE_MAX)
        return error_set(&j->error, TW_INVALID_ARGUMENT,
            "file_data has %zu bytes: a file of more than %d MiB goes by PushStream", r->file_data.len,
            WHOLE_MAX >> 20);
    const struct tw_put_options options = {
        .size = sizeof options, .owner = r->user_id, .name = r->filename, .length = r->file_data.len};
    if (tw_storage_put(j->service->storage, &options, &upload, &j->error) < 0)
        return -1;
    if (tw_upload_write(upload, r->file_data.data, r->file_data.len, &j->error) < 0) {
        tw_upload_abort(upload);
        return -1;
    }
    return tw_upload_commit(upload, &j->info, &j->error);
}

static void reply_push(struct job *j)
{
    Taskworker__PushResponse response = TASKWORKER__PUSH_RESPONSE__INIT;
    response.file_id = j->info.id;
    response.status = true;
    response.message = (char *)"stored";
    rpc_call_reply(j->call, &response.base);
}

static void refuse_push(struct job *j)
{
    Taskworker__PushResponse response = TASKWORKER__PUSH_RESPONSE__INIT;
    response.message = j->error.message;
    rpc_call_send(j->call, &response.base);
}

static const struct job_kind push_kind = {
    .descriptor = &taskworker__push_request__descriptor, .run = run_push, .reply = reply_push, .refuse = refuse_push};

static void push(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    (void)job_begin(call, ctx, &push_kind, msg, len);
}

static int read_whole(struct job *j, struct tw_file *file)
{
    uint64_t size = tw_file_info(file)->size;
    if (size > WHOLE_MAX)
        return error_set(&j->error, TW_FAILED_PRECONDITION,
            "'%.200s' has %llu bytes: a file of more than %d MiB comes by GetStream", tw_file_info(file)->name,
            (unsigned long long)size, WHOLE_MAX >> 20);
    j->data = malloc(size + 1);
    if (!j->data)
        return error_oom(&j->error);
    while (j->len < size) {
        ssize_t n = tw_file_read(file, j->data + j->len, size - j->len, &j->error);
        if (n < 0)
            return -1;
        j->len += (size_t)n;
    }
    return 0;
}

static int run_get(struct job *j)
{
    const Taskworker__GetRequest *r = j->request;
    const struct tw_file_ref ref = {.owner = r->user_id, .id = r->file_id};
    struct tw_file *file = NULL;
    if (!*r->file_id)
        return error_set(&j->error, TW_INVALID_ARGUMENT, "file_id is empty");
    if (tw_storage_get(j->service->storage, &ref, &file, &j->error) < 0)
        return -1;
    int ret = read_whole(j, file);
    tw_file_close(file);
    return ret;
}

static void reply_get(struct job *j)
{
    Taskworker__GetResponse response = TASKWORKER__GET_RESPONSE__INIT;
    response.file_data = (ProtobufCBinaryData){.len = j->len, .data = j->data};
    response.status = true;
    response.message = (char *)"whole";
    rpc_call_reply(j->call, &response.base);
}

static void refuse_get(struct job *j)
{
    Taskworker__GetResponse response = TASKWORKER__GET_RESPONSE__INIT;
    response.message = j->error.message;
    rpc_call_send(j->call, &response.base);
}

static const struct job_kind get_kind = {
    .descriptor = &taskworker__get_request__descriptor, .run = run_get, .reply = reply_get, .refuse = refuse_get};

static void get(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    (void)job_begin(call, ctx, &get_kind, msg, len);
}

/* --- Revise, Synchronous --- */

static int patch_whole(struct job *j, const struct tw_patch_options *options, const ProtobufCBinaryData *difference)
{
    struct tw_patch *patch = NULL;
    if (!*options->file.id)
        return error_set(&j->error, TW_INVALID_ARGUMENT, "file_id is empty");
    if (tw_storage_patch(j->service->storage, options, &patch, &j->error) < 0)
        return -1;
    if (tw_patch_write(patch, difference->data, difference->len, &j->error) < 0) {
        tw_patch_abort(patch);
        return -1;
    }
    return tw_patch_commit(patch, &j->info, &j->error);
}

static int run_revise(struct job *j)
{
    const Taskworker__ReviseRequest *r = j->request;
    if (r->time < 0)
        return error_set(&j->error, TW_INVALID_ARGUMENT, "time is negative");
    const struct tw_patch_options options = {
        .size = sizeof options,
        .file = {.owner = r->user_id, .id = r->file_id},
        .base_modified_us = (uint64_t)r->time,
        .sha256 = r->sha256, /* an empty one is refused: the outcome has to be right */
    };
    return patch_whole(j, &options, &r->difference);
}

static void reply_revise(struct job *j)
{
    Taskworker__ReviseResponse response = TASKWORKER__REVISE_RESPONSE__INIT;
    response.file_id = j->info.id;
    response.status = true;
    response.message = (char *)"stored";
    rpc_call_reply(j->call, &response.base);
}

static void refuse_revise(struct job *j)
{
    Taskworker__ReviseResponse response = TASKWORKER__REVISE_RESPONSE__INIT;
    response.message = j->error.message;
    rpc_call_send(j->call, &response.base);
}

static const struct job_kind revise_kind = {.descriptor = &taskworker__revise_request__descriptor,
    .run = run_revise,
    .reply = reply_revise,
    .refuse = refuse_revise};

static void revise(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    (void)job_begin(call, ctx, &revise_kind, msg, len);
}

static int run_synchronous(struct job *j)
{
    const Taskworker__SynchronousRequest *r = j->request;
    const struct tw_patch_options options = {.size = sizeof options, .file = {.owner = "", .id = r->file_id}};
    return patch_whole(j, &options, &r->difference);
}

/* Its response has Revise's fields under the same numbers. */
static const struct job_kind synchronous_kind = {.descriptor = &taskworker__synchronous_request__descriptor,
    .run = run_synchronous,
    .reply = reply_revise,
    .refuse = refuse_revise};

static void synchronous(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    (void)job_begin(call, ctx, &synchronous_kind, msg, len);
}

/* --- FindFile, DeleteFile, ListFiles --- */

static int run_find(struct job *j)
{
    struct tw_file_ref ref;
    if (file_ref_from_request(j->request, &ref, &j->error) < 0)
        return -1;
    return tw_storage_find(j->service->storage, &ref, &j->info, &j->error);
}

static void reply_find(struct job *j)
{
    Taskworker__FileResponse response = TASKWORKER__FILE_RESPONSE__INIT;
    Taskworker__File file;
    file_to_message(&j->info, &file);
    response.file = &file;
    rpc_call_reply(j->call, &response.base);
}

static const struct job_kind find_kind = {
    .descriptor = &taskworker__file_request__descriptor, .run = run_find, .reply = reply_find};

static void find_file(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    (void)job_begin(call, ctx, &find_kind, msg, len);
}

static int run_delete(struct job *j)
{
    struct tw_file_ref ref;
    if (file_ref_from_request(j->request, &ref, &j->error) < 0)
        return -1;
    return tw_storage_delete(j->service->storage, &ref, &j->error);
}

static void reply_delete(struct job *j)
{
    Taskworker__DeleteFileResponse response = TASKWORKER__DELETE_FILE_RESPONSE__INIT;
    rpc_call_reply(j->call, &response.base);
}

static const struct job_kind delete_kind = {
    .descriptor = &taskworker__file_request__descriptor, .run = run_delete, .reply = reply_delete};

static void delete_file(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    (void)job_begin(call, ctx, &delete_kind, msg, len);
}

static int run_list(struct job *j)
{
    const Taskworker__ListFilesRequest *r = j->request;
    const struct tw_file_list_options options = {
        .size = sizeof options,
        .owner = r->user_id,
        .any_owner = r->all_users,
        .prefix = *r->prefix ? r->prefix : NULL,
        .cursor = *r->page_token ? r->page_token : NULL,
        .limit = r->page_size ? r->page_size : PAGE_DEFAULT,
    };
    return tw_storage_list(j->service->storage, &options, &j->list, &j->error);
}

static void reply_list(struct job *j)
{
    Taskworker__ListFilesResponse response = TASKWORKER__LIST_FILES_RESPONSE__INIT;
    CLEANUP_FREE Taskworker__File *files = calloc(j->list.n + 1, sizeof *files);
    CLEANUP_FREE Taskworker__File **rows = calloc(j->list.n + 1, sizeof *rows);
    if (!files || !rows) {
        error_oom(&j->error);
        rpc_call_finish_error(j->call, &j->error);
        return;
    }
    for (size_t i = 0; i < j->list.n; i++) {
        file_to_message(&j->list.files[i], &files[i]);
        rows[i] = &files[i];
    }
    response.files = rows;
    response.n_files = j->list.n;
    response.next_page_token = j->list.cursor ? j->list.cursor : (char *)"";
    rpc_call_reply(j->call, &response.base);
}

static const struct job_kind list_kind = {
    .descriptor = &taskworker__list_files_request__descriptor, .run = run_list, .reply = reply_list};

static void list_files(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    (void)job_begin(call, ctx, &list_kind, msg, len);
}

/* --- GetStorage, CollectGarbage --- */

static int run_stat(struct job *j)
{
    const Taskworker__GetStorageRequest *r = j->request;
    return tw_storage_stat(j->service->storage, r->one_user ? r->user_id : NULL, &j->stat, &j->error);
}

static void reply_stat(struct job *j)
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

static const struct job_kind stat_kind = {
    .descriptor = &taskworker__get_storage_request__descriptor, .run = run_stat, .reply = reply_stat};

static void get_storage(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    (void)job_begin(call, ctx, &stat_kind, msg, len);
}

static int run_gc(struct job *j)
{
    return tw_storage_gc(j->service->storage, &j->gc, &j->error);
}

static void reply_gc(struct job *j)
{
    Taskworker__CollectGarbageResponse response = TASKWORKER__COLLECT_GARBAGE_RESPONSE__INIT;
    response.files = j->gc.files;
    response.blobs = j->gc.blobs;
    response.bytes = j->gc.bytes;
    response.strays = j->gc.strays;
    response.missing = j->gc.missing;
    rpc_call_reply(j->call, &response.base);
}

static const struct job_kind gc_kind = {
    .descriptor = &taskworker__collect_garbage_request__descriptor, .run = run_gc, .reply = reply_gc};

static void collect_garbage(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    (void)job_begin(call, ctx, &gc_kind, msg, len);
}

/* --- CheckFiles --- */

static bool on_fsck_progress(void *ctx, uint64_t done, uint64_t total)
{
    struct job *j = ctx;
    atomic_store(&j->done, done);
    atomic_store(&j->total, total);
    return !atomic_load(&j->cancelled);
}

static int run_check(struct job *j)
{
    return tw_storage_fsck(j->service->storage, on_fsck_progress, j, &j->fsck, &j->error);
}

static void end_check(struct job *j)
{
    j->service->checking = false;
    timer_free(&j->timer);
}

static void reply_check(struct job *j)
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

static const struct job_kind check_kind = {.descriptor = &taskworker__check_files_request__descriptor,
    .run = run_check,
    .reply = reply_check,
    .end = end_check};

static void on_progress_timer(uv_timer_t *timer)
{
    struct job *j = timer->data;
    Taskworker__CheckFilesResponse response = TASKWORKER__CHECK_FILES_RESPONSE__INIT;
    response.checked_bytes = atomic_load(&j->done);
    response.total_bytes = atomic_load(&j->total);
    if (j->call && response.total_bytes)
        rpc_call_send(j->call, &response.base);
}

static void check_files(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    struct file_service *service = ctx;
    struct tw_error error;
    if (service->checking) {
        error_set(&error, TW_FAILED_PRECONDITION, "the files are being checked already");
        rpc_call_finish_error(call, &error);
        return;
    }
    struct job *j = job_begin(call, service, &check_kind, msg, len);
    if (!j)
        return;
    service->checking = true;
    j->timer = timer_new(service->loop, j); /* without it there is no progress to be seen */
    if (j->timer)
        uv_timer_start(j->timer, on_progress_timer, PROGRESS_MS, PROGRESS_MS);
}

/* --- */

int file_service_register(struct rpc_server *server, struct file_service *service, struct tw_error *error)
{
#define METHOD(name) "/taskworker.FileService/" name
    static const struct rpc_method methods[] = {
        {.name = METHOD("Push"), .max_request = WHOLE_MAX + (1 << 20), .unary = push},
        {.name = METHOD("Get"), .unary = get},
        {.name = METHOD("Revise"), .max_request = WHOLE_MAX + (1 << 20), .unary = revise},
        {.name = METHOD("Synchronous"), .max_request = WHOLE_MAX + (1 << 20), .unary = synchronous},
        {.name = METHOD("PushStream"),
            .lasting = true,
            .max_request = FILE_PIECE_MAX,
            .on_start = file_push_start,
            .on_message = file_incoming_message,
            .on_half_close = file_incoming_half_close},
        {.name = METHOD("ReviseStream"),
            .lasting = true,
            .max_request = FILE_PIECE_MAX,
            .on_start = file_revise_start,
            .on_message = file_incoming_message,
            .on_half_close = file_incoming_half_close},
        {.name = METHOD("GetStream"), .lasting = true, .unary = file_get_stream},
        {.name = METHOD("FindFile"), .unary = find_file},
        {.name = METHOD("ListFiles"), .unary = list_files},
        {.name = METHOD("DeleteFile"), .unary = delete_file},
        {.name = METHOD("GetStorage"), .unary = get_storage},
        {.name = METHOD("CollectGarbage"), .unary = collect_garbage},
        {.name = METHOD("CheckFiles"), .unary = check_files},
        {0},
    };
#undef METHOD
    int r = rpc_server_add_methods(server, methods, service);
    return r < 0 ? error_set_errno(error, r, "cannot register FileService") : 0;
}
