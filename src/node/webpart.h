/* SPDX-License-Identifier: Apache-2.0 */
/* The web interface of a daemon, and the monitor whose numbers it shows: both are there where WEB is on. */
#ifndef NODE_WEBPART_H
#define NODE_WEBPART_H

#include <taskworker/taskworker.h>

#include "node/config.h"
#include "node/monitor/monitor.h"
#include "web/web.h"

struct webpart {
    struct web *web;
    struct monitor *monitor;
    struct tw_worker *worker;
    struct tw_counts before; /* at the sample before, ... */
    uint64_t before_us;      /* ... when that was; 0: there was none */
    double completed_per_second, failed_per_second;
};

/* After the worker listens. Nothing is there where WEB is off. -1: the log says why. `part` is to be zero. */
int webpart_begin(
    struct webpart *part, const struct config *c, uv_loop_t *loop, struct tw_worker *worker, const char *storage);
/* Runs the loop until the monitor has written its last; handles of the web go on closing as the loop runs. */
void webpart_end(struct webpart *part, uv_loop_t *loop);

#endif
