/* SPDX-License-Identifier: Apache-2.0 */
/* RPCService of proto/taskworker.proto: functions that are called by name. */
#ifndef RPC_FUNCTION_SERVICE_H
#define RPC_FUNCTION_SERVICE_H

#include "rpc/taskworker_service.h"

/* The service is borrowed and must outlive the server. Returns 0, or -1 with the error. */
int function_service_register(struct rpc_server *server, struct taskworker_service *service, struct tw_error *error);

#endif
