/* SPDX-License-Identifier: Apache-2.0 */
/* What file_service.c and file_stream.c share. */
#ifndef RPC_FILE_INTERNAL_H
#define RPC_FILE_INTERNAL_H

#include <stdatomic.h>

#include "rpc/file_service.h"
#include "rpc/owner.h"
#include "taskworker.pb-c.h"

enum { FILE_PIECE_MAX = (4 << 20) + 4096 }; /* of a stream, with what is around its bytes */

/* A job or a stream begins to use the storage, or has ended to. */
void file_service_enter(struct file_service *service);
void file_service_leave(struct file_service *service);

/* The strings are the info's. */
void file_to_message(const struct tw_file_info *info, Taskworker__File *ret);
/* The reference's strings are the request's. -1: neither id nor name, or both. */
int file_ref_from_request(const Taskworker__FileRequest *request, struct tw_file_ref *ret, struct tw_error *error);

/* --- a call of one message --- */

struct file_job;

struct file_job_kind {
    const ProtobufCMessageDescriptor *descriptor;
    int (*claim)(struct file_job *job);   /* on the loop, first: whose files it is about. NULL: nobody's */
    int (*run)(struct file_job *job);     /* in the pool: 0, or -1 with job->error */
    void (*reply)(struct file_job *job);  /* on the loop, where the call is still open and nothing has failed */
    void (*refuse)(struct file_job *job); /* before the call ends with the error; may be NULL */
    void (*end)(struct file_job *job);    /* in every case; may be NULL */
};

struct file_job {
    const struct file_job_kind *kind;
    struct file_service *service;
    struct rpc_call *call; /* NULL once it is over */
    uv_work_t work;
    void *request; /* unpacked */
    char *owner;   /* where the request has no room for one; NULL: nobody in particular */
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

/* NULL: the call was refused. */
struct file_job *file_job_begin(struct rpc_call *call, struct file_service *service, const struct file_job_kind *kind,
    const uint8_t *msg, size_t len);

/* A request that says whose files it is about. */
#define FILE_CLAIM(name, type)                                                               \
    static int claim_##name(struct file_job *j)                                              \
    {                                                                                        \
        return owner_take(j->call, &((Taskworker__##type *)j->request)->user_id, &j->error); \
    }

/* file_upkeep.c; ctx: struct file_service. */
void file_get_storage(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx);
void file_collect_garbage(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx);
void file_check_files(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx);

/* file_stream.c; ctx: struct file_service. */
void file_push_start(struct rpc_call *call, void *ctx);
void file_revise_start(struct rpc_call *call, void *ctx);
void file_incoming_message(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx);
void file_incoming_half_close(struct rpc_call *call, void *ctx);
void file_get_stream(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx);

#endif
