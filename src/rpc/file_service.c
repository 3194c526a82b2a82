/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/file_service.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/util.h"
#include "rpc/file_internal.h"
#include "rpc/owner.h"
#include "rpc/taskworker_pending.h"

enum { WHOLE_MAX = 100 << 20, PAGE_DEFAULT = 100 };

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

static void job_free(struct file_job *j)
{
    struct file_service *service = j->service;
    if (j->kind->end)
        j->kind->end(j);
    protobuf_c_message_free_unpacked(j->request, NULL);
    tw_file_info_done(&j->info);
    tw_file_list_done(&j->list);
    free(j->data);
    free(j->owner);
    free(j);
    file_service_leave(service);
}

static void job_refuse(struct file_job *j)
{
    if (j->kind->refuse)
        j->kind->refuse(j);
    rpc_call_finish_error(j->call, &j->error);
}

static void on_work(uv_work_t *work)
{
    struct file_job *j = CONTAINER_OF(work, struct file_job, work);
    j->result = j->kind->run(j);
}

static void on_worked(uv_work_t *work, int status UNUSED)
{
    struct file_job *j = CONTAINER_OF(work, struct file_job, work);
    if (j->call) {
        rpc_call_set_on_done(j->call, NULL, NULL);
        if (*j->info.id)
            rpc_call_set_object(j->call, j->info.id);
        if (j->result == 0)
            j->kind->reply(j);
        else
            job_refuse(j);
    }
    job_free(j);
}

static void on_call_done(struct rpc_call *call UNUSED, void *ctx)
{
    struct file_job *j = ctx;
    j->call = NULL;
    atomic_store(&j->cancelled, true);
}

/* NULL: the call was refused. */
struct file_job *file_job_begin(struct rpc_call *call, struct file_service *service, const struct file_job_kind *kind,
    const uint8_t *msg, size_t len)
{
    struct tw_error error;
    ProtobufCMessage *request = NULL;
    if (pending_unpack(call, kind->descriptor, msg, len, &request) < 0)
        return NULL;
    struct file_job *j = calloc(1, sizeof *j);
    if (!j) {
        protobuf_c_message_free_unpacked(request, NULL);
        error_oom(&error);
        rpc_call_finish_error(call, &error);
        return NULL;
    }
    *j = (struct file_job){.kind = kind, .service = service, .call = call, .request = request};
    file_service_enter(service);
    if (kind->claim && kind->claim(j) < 0) {
        job_refuse(j);
        job_free(j);
        return NULL;
    }
    rpc_call_set_on_done(call, on_call_done, j);
    (void)uv_queue_work(service->loop, &j->work, on_work, on_worked); /* fails only without a job */
    return j;
}

FILE_CLAIM(push, PushRequest)
FILE_CLAIM(get, GetRequest)
FILE_CLAIM(revise, ReviseRequest)
FILE_CLAIM(file, FileRequest)
FILE_CLAIM(one_list, ListFilesRequest)

/* --- Push, Get --- */

static int run_push(struct file_job *j)
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

static void reply_push(struct file_job *j)
{
    Taskworker__PushResponse response = TASKWORKER__PUSH_RESPONSE__INIT;
    response.file_id = j->info.id;
    response.status = true;
    response.message = (char *)"stored";
    rpc_call_reply(j->call, &response.base);
}

static void refuse_push(struct file_job *j)
{
    Taskworker__PushResponse response = TASKWORKER__PUSH_RESPONSE__INIT;
    response.message = j->error.message;
    rpc_call_send(j->call, &response.base);
}

static const struct file_job_kind push_kind = {.descriptor = &taskworker__push_request__descriptor,
    .claim = claim_push,
    .run = run_push,
    .reply = reply_push,
    .refuse = refuse_push};

static void push(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    (void)file_job_begin(call, ctx, &push_kind, msg, len);
}

static int read_whole(struct file_job *j, struct tw_file *file)
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

static int run_get(struct file_job *j)
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

static void reply_get(struct file_job *j)
{
    Taskworker__GetResponse response = TASKWORKER__GET_RESPONSE__INIT;
    response.file_data = (ProtobufCBinaryData){.len = j->len, .data = j->data};
    response.status = true;
    response.message = (char *)"whole";
    rpc_call_reply(j->call, &response.base);
}

static void refuse_get(struct file_job *j)
{
    Taskworker__GetResponse response = TASKWORKER__GET_RESPONSE__INIT;
    response.message = j->error.message;
    rpc_call_send(j->call, &response.base);
}

static const struct file_job_kind get_kind = {.descriptor = &taskworker__get_request__descriptor,
    .claim = claim_get,
    .run = run_get,
    .reply = reply_get,
    .refuse = refuse_get};

static void get(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    (void)file_job_begin(call, ctx, &get_kind, msg, len);
}

/* --- Revise, Synchronous --- */

static int patch_whole(
    struct file_job *j, const struct tw_patch_options *options, const ProtobufCBinaryData *difference)
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

static int run_revise(struct file_job *j)
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

static void reply_revise(struct file_job *j)
{
    Taskworker__ReviseResponse response = TASKWORKER__REVISE_RESPONSE__INIT;
    response.file_id = j->info.id;
    response.status = true;
    response.message = (char *)"stored";
    rpc_call_reply(j->call, &response.base);
}

static void refuse_revise(struct file_job *j)
{
    Taskworker__ReviseResponse response = TASKWORKER__REVISE_RESPONSE__INIT;
    response.message = j->error.message;
    rpc_call_send(j->call, &response.base);
}

static const struct file_job_kind revise_kind = {.descriptor = &taskworker__revise_request__descriptor,
    .claim = claim_revise,
    .run = run_revise,
    .reply = reply_revise,
    .refuse = refuse_revise};

static void revise(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    (void)file_job_begin(call, ctx, &revise_kind, msg, len);
}

/* Its request names nobody. */
static int claim_caller(struct file_job *j)
{
    const char *caller = owner_caller(j->call);
    if (caller && !(j->owner = strdup(caller)))
        return error_oom(&j->error);
    return 0;
}

static int run_synchronous(struct file_job *j)
{
    const Taskworker__SynchronousRequest *r = j->request;
    const struct tw_patch_options options = {
        .size = sizeof options, .file = {.owner = j->owner ? j->owner : "", .id = r->file_id}};
    return patch_whole(j, &options, &r->difference);
}

/* Its response has Revise's fields under the same numbers. */
static const struct file_job_kind synchronous_kind = {.descriptor = &taskworker__synchronous_request__descriptor,
    .claim = claim_caller,
    .run = run_synchronous,
    .reply = reply_revise,
    .refuse = refuse_revise};

static void synchronous(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    (void)file_job_begin(call, ctx, &synchronous_kind, msg, len);
}

/* --- FindFile, DeleteFile, ListFiles --- */

static int run_find(struct file_job *j)
{
    struct tw_file_ref ref;
    if (file_ref_from_request(j->request, &ref, &j->error) < 0)
        return -1;
    return tw_storage_find(j->service->storage, &ref, &j->info, &j->error);
}

static void reply_find(struct file_job *j)
{
    Taskworker__FileResponse response = TASKWORKER__FILE_RESPONSE__INIT;
    Taskworker__File file;
    file_to_message(&j->info, &file);
    response.file = &file;
    rpc_call_reply(j->call, &response.base);
}

static const struct file_job_kind find_kind = {
    .descriptor = &taskworker__file_request__descriptor, .claim = claim_file, .run = run_find, .reply = reply_find};

static void find_file(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    (void)file_job_begin(call, ctx, &find_kind, msg, len);
}

static int run_delete(struct file_job *j)
{
    struct tw_file_ref ref;
    if (file_ref_from_request(j->request, &ref, &j->error) < 0)
        return -1;
    return tw_storage_delete(j->service->storage, &ref, &j->error);
}

static void reply_delete(struct file_job *j)
{
    Taskworker__DeleteFileResponse response = TASKWORKER__DELETE_FILE_RESPONSE__INIT;
    rpc_call_reply(j->call, &response.base);
}

static const struct file_job_kind delete_kind = {
    .descriptor = &taskworker__file_request__descriptor, .claim = claim_file, .run = run_delete, .reply = reply_delete};

static void delete_file(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    (void)file_job_begin(call, ctx, &delete_kind, msg, len);
}

static int claim_list(struct file_job *j)
{
    Taskworker__ListFilesRequest *r = j->request;
    r->all_users = r->all_users && owner_sees_all(j->call);
    return r->all_users ? 0 : claim_one_list(j);
}

static int run_list(struct file_job *j)
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

static void reply_list(struct file_job *j)
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

static const struct file_job_kind list_kind = {.descriptor = &taskworker__list_files_request__descriptor,
    .claim = claim_list,
    .run = run_list,
    .reply = reply_list};

static void list_files(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    (void)file_job_begin(call, ctx, &list_kind, msg, len);
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
        {.name = METHOD("GetStorage"), .unary = file_get_storage},
        {.name = METHOD("CollectGarbage"), .unary = file_collect_garbage},
        {.name = METHOD("CheckFiles"), .unary = file_check_files},
        {0},
    };
#undef METHOD
    int r = rpc_server_add_methods(server, methods, service);
    return r < 0 ? error_set_errno(error, r, "cannot register FileService") : 0;
}
