/* SPDX-License-Identifier: Apache-2.0 */
/* StreamLogs of TaskWorkerService. ctx: struct taskworker_service. */
#ifndef RPC_TASKWORKER_LOGS_H
#define RPC_TASKWORKER_LOGS_H

#include "rpc/server.h"

void taskworker_stream_logs(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx);
#endif
