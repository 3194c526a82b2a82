/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers for a Prometheus: as OpenMetrics 1.0 where the client asks for that, else in its own text format 0.0.4. All are called
 * hivemind_..., and each family stands together, as both formats want it.
 */
#include "web/handlers.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/util.h"
#include "node/monitor/monitor.h"
#include "web/internal.h"

#include "taskworker.pb-c.h"

#define OPENMETRICS "application/openmetrics-text"

enum { BODY_MAX = 1024 * 1024 };

struct writer {
    struct buf out;
    bool open; /* OpenMetrics */
};

/* A counter's family has no "_total" in OpenMetrics, and has it in the older format. */
static void family(struct writer *w, const char *name, const char *type, const char *unit, const char *help)
{
    const char *suffix = !w->open && !strcmp(type, "counter") ? "_total" : "";
    (void)buf_printf(&w->out, "# TYPE hivemind_%s%s %s\n", name, suffix, type);
    if (w->open && *unit)
        (void)buf_printf(&w->out, "# UNIT hivemind_%s %s\n", name, unit);
    (void)buf_printf(&w->out, "# HELP hivemind_%s%s %s.\n", name, suffix, help);
}

static void counter(struct writer *w, const char *name, const char *help, uint64_t value)
{
    family(w, name, "counter", "", help);
    (void)buf_printf(&w->out, "hivemind_%s_total %" PRIu64 "\n", name, value);
}

static void gauge(struct writer *w, const char *name, const char *unit, const char *help, double value)
{
    family(w, name, "gauge", unit, help);
    (void)buf_printf(&w->out, "hivemind_%s %.17g\n", name, value);
}

static void node_metrics(struct writer *w, const Taskworker__GetStatusResponse *s)
{
    counter(w, "tasks_accepted", "Tasks that were accepted since the start", s->accepted_tasks);
    counter(w, "tasks_completed", "Tasks that ended well since the start", s->completed_tasks);
    counter(w, "tasks_failed", "Tasks that failed since the start", s->failed_tasks);
    counter(w, "tasks_stopped", "Tasks that were stopped since the start", s->stopped_tasks);
    counter(w, "cache_hits", "Tasks with a result that was there already", s->cache_hits);
    counter(w, "cache_misses", "Tasks that asked for such a result in vain", s->cache_misses);
    gauge(w, "tasks_limit", "", "Tasks that may run at once", s->max_concurrent_tasks);
    gauge(w, "queue_limit", "", "Tasks that may wait", s->max_queued_tasks);
    gauge(w, "draining", "", "1 while the node takes no tasks any more",
        s->state == TASKWORKER__GET_STATUS_RESPONSE__STATE__DRAINING);
    gauge(w, "warnings", "", "Things that the node warns of", (double)s->n_warnings);
    gauge(w, "start_time_seconds", "seconds", "When the node was started, since 1970", (double)s->started_us / 1e6);
    family(w, "node", w->open ? "info" : "gauge", "", "Which node it is");
    (void)buf_printf(&w->out, "hivemind_node%s{version=\"%s\"} 1\n", w->open ? "_info" : "", s->version);
}

static void append_series(struct writer *w, const struct monitor_series *s, double value)
{
    (void)buf_printf(&w->out, "hivemind_%s", s->name);
    if (s->label_name)
        (void)buf_printf(&w->out, "{%s=\"%s\"}", s->label_name, s->label);
    (void)buf_printf(&w->out, " %.17g\n", value);
}

static void machine_metrics(struct writer *w, struct monitor *monitor)
{
    const struct monitor_sample *now = monitor_latest(monitor);
    for (size_t i = 0; i < now->n; i++) {
        struct monitor_series series, other;
        bool first = monitor_series(monitor, i, &series) && isfinite(now->values[i]);
        for (size_t j = 0; first && j < i; j++)
            first = !monitor_series(monitor, j, &other) || !isfinite(now->values[j]) ||
                strcmp(other.name, series.name) != 0;
        if (!first)
            continue;
        family(w, series.name, "gauge", series.unit, series.help);
        for (size_t j = i; j < now->n; j++)
            if (monitor_series(monitor, j, &other) && isfinite(now->values[j]) && !strcmp(other.name, series.name))
                append_series(w, &other, now->values[j]);
    }
}

static void on_status(struct web_request *r, const ProtobufCMessage *message)
{
    const char *accept = web_request_header(r, "Accept");
    struct writer w = {.open = accept && strstr(accept, OPENMETRICS)};
    buf_init(&w.out, BODY_MAX);
    node_metrics(&w, (const void *)message);
    if (r->web->options.monitor)
        machine_metrics(&w, r->web->options.monitor);
    if (w.open)
        (void)buf_append_str(&w.out, "# EOF\n");
    web_answer_text(
        r, w.open ? OPENMETRICS "; version=1.0.0; charset=utf-8" : "text/plain; version=0.0.4; charset=utf-8", &w.out);
    buf_done(&w.out);
}

void handle_metrics(struct web *web, struct web_request *r)
{
    Taskworker__GetStatusRequest request = TASKWORKER__GET_STATUS_REQUEST__INIT;
    web_call(web, r,
        &(struct web_call){
            .method = "/taskworker.TaskWorkerService/GetStatus",
            .request = &request.base,
            .answer = &taskworker__get_status_response__descriptor,
            .done = on_status,
        });
}
