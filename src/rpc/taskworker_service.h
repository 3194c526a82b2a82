/* SPDX-License-Identifier: Apache-2.0 */
/* TaskWorkerService of proto/taskworker.proto: decodes, validates, asks the engine, encodes. */
#ifndef RPC_TASKWORKER_SERVICE_H
#define RPC_TASKWORKER_SERVICE_H

#include <taskworker/worker.h>

#include "base/list.h"
#include "rpc/server.h"
#include "store/store.h"
#include "task/engine.h"

struct taskworker_service {
    uv_loop_t *loop;
    struct engine *engine;
    struct store *store;
    const char *node_id;
    uint64_t started_us;
    const uint64_t *cpu_score;                    /* changes once; 0: not known yet */
    const uint64_t *disk_bytes, *disk_free_bytes; /* as of late; 0: not known */
    const char *const *warnings;
    size_t n_warnings;
    /* A client asks for the end of the node: `how` 0 for as the program likes; NULL: clients may not. */
    struct tw_shutdown_answer (*on_shutdown)(void *ctx, enum tw_shutdown how, uint64_t timeout_us);
    void *on_shutdown_ctx;
    struct rpc_method execute[3]; /* taskworker_service_register's: ExecuteTask's limit is the node's own */
    struct list watchers;         /* taskworker_events.c's */
    bool ending;
};

/* The service is borrowed and must outlive the server. Returns 0, or -1 with the error. */
int taskworker_service_register(
    struct rpc_server *server, struct taskworker_service *service, size_t max_task_size, struct tw_error *error);

/*
 * The engine has ended: who watches tasks is sent what there is and then UNAVAILABLE, and keeps the server's drain waiting no
 * longer.
 */
void taskworker_service_end(struct taskworker_service *service);

#endif
