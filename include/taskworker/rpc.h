/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gRPC service of a worker: proto/taskworker.proto, grpc.health.v1 and server reflection, over HTTP/2 without TLS.
 */
#ifndef TASKWORKER_RPC_H
#define TASKWORKER_RPC_H

#include <taskworker/worker.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tw_rpc_options {
    size_t size;              /* sizeof(struct tw_rpc_options) */
    const char *host;         /* NULL: 127.0.0.1 */
    uint16_t port;            /* 0: any free one, see tw_worker_rpc_port() */
    uint32_t max_connections; /* 0: 4096 */
    uint64_t max_inflight;    /* bytes of requests held at once; 0: 512 MiB */
};

/*
 * Listens; serves as soon as the loop runs, drains with the worker and is freed with it. Once per worker. From the loop's
 * thread or before the loop runs.
 */
TW_PUBLIC int tw_worker_listen(struct tw_worker *worker, const struct tw_rpc_options *options, struct tw_error *error);
TW_PUBLIC uint16_t tw_worker_rpc_port(const struct tw_worker *worker);

#ifdef __cplusplus
}
#endif
#endif
