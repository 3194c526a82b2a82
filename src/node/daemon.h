/* SPDX-License-Identifier: Apache-2.0 */
/* A node from start to end: see daemon.c. */
#ifndef NODE_DAEMON_H
#define NODE_DAEMON_H

#include "node/config.h"

/* Runs a node by this configuration until it is told to stop; `input` is for SIGHUP. Returns the exit code: 0 or 1. */
int daemon_run(struct config *config, const struct config_input *input);

/* Makes a new token of an administrator, as the user that the node runs as. Returns the exit code. */
int daemon_reset_admin(struct config *config, const struct config_input *input);

#endif
