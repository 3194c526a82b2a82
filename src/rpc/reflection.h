/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server reflection, v1 and v1alpha: what is served and how its messages look, from the descriptors that the build has
 * embedded. Services are those of the server's method table at the time of the question.
 */
#ifndef RPC_REFLECTION_H
#define RPC_REFLECTION_H

#include <taskworker/error.h>

#include "rpc/server.h"

struct rpc_reflection;

/* Adds the methods to the server. */
int rpc_reflection_new(struct rpc_server *server, struct rpc_reflection **ret, struct tw_error *error);
/* After rpc_server_free. NULL is allowed. */
void rpc_reflection_free(struct rpc_reflection *reflection);

#endif
