/* SPDX-License-Identifier: Apache-2.0 */
/* Who may do what at this node: switched on, and how an administrator gets his first token, or another one. Failures are logged. */
#ifndef NODE_ACCESS_H
#define NODE_ACCESS_H

#include <taskworker/taskworker.h>

#include "node/config.h"

/* The file below the storage folder that has a new node's first token where no terminal is there to show it. */
#define ACCESS_FIRST_TOKEN_FILE "first-token"

/* Before the worker listens. 0 or -1. */
int access_begin(const struct config *c, const char *storage, struct tw_worker *worker);
/* Once it does: shows the first token if there is one, for the only time. 0 or -1. */
int access_show_first(const char *storage, struct tw_worker *worker);
/* Prints a new token of an administrator to standard output. 0 or -1. */
int access_reset_admin(const char *storage);

#endif
