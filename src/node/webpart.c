/* SPDX-License-Identifier: Apache-2.0 */
#include "node/webpart.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"

/* --- what the node adds to the monitor's numbers --- */

static struct tw_counts counts_of(const struct webpart *part)
{
    struct tw_counts counts = {.size = sizeof counts};
    tw_worker_get_counts(part->worker, &counts);
    return counts;
}

static double read_running(void *ctx)
{
    return counts_of(ctx).running;
}

static double read_queued(void *ctx)
{
    return counts_of(ctx).queued;
}

/* The first of the two rates is asked for first: it looks at the counts for both. */
static double read_completed(void *ctx)
{
    struct webpart *part = ctx;
    struct tw_counts now = counts_of(part);
    uint64_t now_us = clock_monotonic_us();
    double seconds = (double)(now_us - part->before_us) / 1e6;
    bool known = part->before_us && seconds > 0;
    part->completed_per_second = known ? (double)(now.completed - part->before.completed) / seconds : NAN;
    part->failed_per_second = known ? (double)(now.failed - part->before.failed) / seconds : NAN;
    part->before = now;
    part->before_us = now_us;
    return part->completed_per_second;
}

static double read_failed(void *ctx)
{
    return ((const struct webpart *)ctx)->failed_per_second;
}

static double read_cpu_given(void *ctx)
{
    struct tw_counts counts = counts_of(ctx);
    return counts.cpu_millis ? (double)counts.cpu_millis_used / (double)counts.cpu_millis : NAN;
}

static double read_memory_given(void *ctx)
{
    return (double)counts_of(ctx).memory_bytes_used;
}

static int open_monitor(struct webpart *part, uv_loop_t *loop, const char *storage)
{
    static const struct {
        const char *name, *unit, *help;
        double (*read)(void *ctx);
    } added[] = {
        {"tasks_running", "", "Tasks that run", read_running},
        {"tasks_queued", "", "Tasks that wait", read_queued},
        {"tasks_completed_per_second", "per_second", "Tasks that ended well", read_completed},
        {"tasks_failed_per_second", "per_second", "Tasks that failed", read_failed},
        {"cpu_allocated_ratio", "ratio", "Share of the processors that running tasks were given", read_cpu_given},
        {"memory_allocated_bytes", "bytes", "Memory that running tasks were given", read_memory_given},
    };
    struct tw_error error = {0};
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/monitor.db", storage);
    struct monitor_options options = {.path = n < (int)sizeof path ? path : NULL, .disk_path = storage};
    if (monitor_open(loop, &options, &part->monitor, &error) < 0) {
        log_error("cannot start the monitor: %s", error.message);
        return -1;
    }
    for (size_t i = 0; i < ARRAY_LEN(added); i++) {
        int r = monitor_add(part->monitor, added[i].name, added[i].unit, added[i].help, added[i].read, part);
        if (r < 0) {
            log_error("cannot start the monitor: %s", strerror(-r));
            return -1;
        }
    }
    return 0;
}

int webpart_begin(
    struct webpart *part, const struct config *c, uv_loop_t *loop, struct tw_worker *worker, const char *storage)
{
    struct tw_error error = {0};
    const char *host = config_text(c, SETTING_WEB_HOST);
    bool v6 = strchr(host, ':');
    struct web_options options = {
        .loop = loop,
        .host = host,
        .port = (uint16_t)config_number(c, SETTING_WEB_PORT),
        .open = config_number(c, SETTING_DEV),
        .session_hours = (unsigned)config_number(c, SETTING_SESSION_TIMEOUT),
    };
    if (!config_number(c, SETTING_WEB))
        return 0;
    part->worker = worker;
    if (open_monitor(part, loop, storage) < 0)
        return -1;
    options.monitor = part->monitor;
    if (tw_worker_connect(worker, &options.service, &error) < 0 || web_new(&options, &part->web, &error) < 0) {
        log_error("cannot start the web interface: %s", error.message);
        if (strstr(error.message, strerror(EADDRINUSE)))
            log_error("port %u is another program's, or another node's; choose another with --web-port (0: any free "
                      "one), or switch the web interface off with --web=off",
                (unsigned)options.port);
        return -1;
    }
    log_info("REST: http://%s%s%s:%u", v6 ? "[" : "", host, v6 ? "]" : "", (unsigned)web_port(part->web));
    return 0;
}

static void on_monitor_closed(void *ctx)
{
    *(bool *)ctx = true;
}

void webpart_end(struct webpart *part, uv_loop_t *loop)
{
    bool closed = !part->monitor;
    web_close(STEAL(part->web), NULL, NULL);
    if (part->monitor)
        monitor_close(STEAL(part->monitor), on_monitor_closed, &closed);
    while (!closed)
        uv_run(loop, UV_RUN_ONCE); /* it writes what it knows */
}
