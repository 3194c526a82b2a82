/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FileService of proto/taskworker.proto over a storage manager. What waits for the disk is done in libuv's pool, on data of its
 * own; a call of one message is one job there (file_service.c), a stream goes piece by piece (file_stream.c).
 */
#ifndef RPC_FILE_SERVICE_H
#define RPC_FILE_SERVICE_H

#include <uv.h>

#include <taskworker/storage.h>

#include "rpc/server.h"

struct file_service {
    uv_loop_t *loop;
    struct tw_storage *storage;
    unsigned open;     /* jobs and streams that have hold of the storage */
    unsigned incoming; /* streams of these that bring something */
    bool checking;     /* CheckFiles is under way */
    void (*on_idle)(void *ctx);
    void *idle_ctx;
};

/* The service is borrowed and must outlive the server. Returns 0, or -1 with the error. */
int file_service_register(struct rpc_server *server, struct file_service *service, struct tw_error *error);
/* After the server was freed: `done` is called, at once or later, when nothing uses the storage any more. */
void file_service_stop(struct file_service *service, void (*done)(void *ctx), void *ctx);

#endif
