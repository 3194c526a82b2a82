/* SPDX-License-Identifier: Apache-2.0 */
/* The web interface of a daemon: from its settings to a `struct web`. */
#ifndef NODE_WEBPART_H
#define NODE_WEBPART_H

#include <taskworker/taskworker.h>

#include "node/config.h"
#include "web/web.h"

/* After the worker listens. *ret stays NULL where WEB is off. -1: the log says why. */
int webpart_begin(const struct config *c, uv_loop_t *loop, struct tw_worker *worker, struct web **ret);

#endif
