/* SPDX-License-Identifier: Apache-2.0 */
/* What file_service.c and file_stream.c share. */
#ifndef RPC_FILE_INTERNAL_H
#define RPC_FILE_INTERNAL_H

#include "rpc/file_service.h"
#include "taskworker.pb-c.h"

enum { FILE_PIECE_MAX = (4 << 20) + 4096 }; /* of a stream, with what is around its bytes */

/* A job or a stream begins to use the storage, or has ended to. */
void file_service_enter(struct file_service *service);
void file_service_leave(struct file_service *service);

/* The strings are the info's. */
void file_to_message(const struct tw_file_info *info, Taskworker__File *ret);
/* The reference's strings are the request's. -1: neither id nor name, or both. */
int file_ref_from_request(const Taskworker__FileRequest *request, struct tw_file_ref *ret, struct tw_error *error);

/* file_stream.c; ctx: struct file_service. */
void file_push_start(struct rpc_call *call, void *ctx);
void file_revise_start(struct rpc_call *call, void *ctx);
void file_incoming_message(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx);
void file_incoming_half_close(struct rpc_call *call, void *ctx);
void file_get_stream(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx);

#endif
