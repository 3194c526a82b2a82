/* SPDX-License-Identifier: Apache-2.0 */
/*
 * grpc.health.v1.Health on a server: Check and Watch. Belongs to the loop's thread. A service is
 * unknown until its status is set for the first time; the name "" stands for the server as a whole.
 */
#ifndef RPC_HEALTH_H
#define RPC_HEALTH_H

#include <stdbool.h>

#include <taskworker/error.h>

#include "rpc/server.h"

struct rpc_health;

/* Adds the methods to the server. */
int rpc_health_new(struct rpc_server *server, struct rpc_health **ret, struct tw_error *error);
/* After rpc_server_free (which ends the calls that still watch). NULL is allowed. */
void rpc_health_free(struct rpc_health *health);

/* Tells everybody who watches, if it is news. 0 or -ENOMEM. */
int rpc_health_set(struct rpc_health *health, const char *service, bool serving);

/*
 * For a server that begins to drain: every service is NOT_SERVING from now on, whatever is set
 * later. Watchers are told and their calls ended (UNAVAILABLE), since otherwise no drain would ever
 * be complete.
 */
void rpc_health_shutdown(struct rpc_health *health);

#endif
