/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The monitor's past, for charts. Columns, since that is what charts want and half as long as rows:
 *
 *   {"now_us", "series": [{"name", "unit", "help", "label_name", "label"}], "at_us": [], "step_us": [], "values": [[]]}
 *
 * values[i] belongs to series[i] and has a number, or null, for each of at_us.
 */
#include "web/handlers.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/parse.h"
#include "base/util.h"
#include "node/monitor/monitor.h"
#include "web/internal.h"

enum {
    DEFAULT_SECONDS = 890, /* a little less than what is kept second by second */
    POINTS_DEFAULT = 900,
    POINTS_MAX = 2000,
    NAMES_MAX = 64,
    NAME_MAX_LEN = 64,
    BODY_MAX = 16 * 1024 * 1024,
};

struct question {
    uint64_t from_us, to_us, points;
    char names[NAMES_MAX][NAME_MAX_LEN];
    size_t n_names; /* 0: all that have no label */
    bool bad;
};

struct columns {
    const struct question *question;
    size_t indices[MONITOR_SERIES_MAX], n;
    uint64_t *at;
    double *values; /* of a point, n of them */
    uint64_t *steps;
    size_t points;
};

static bool take(void *ctx, const char *name, const char *value)
{
    struct question *q = ctx;
    if (!strcmp(name, "from_us"))
        q->bad = parse_u64(value, 0, INT64_MAX, &q->from_us) < 0;
    else if (!strcmp(name, "to_us"))
        q->bad = parse_u64(value, 0, INT64_MAX, &q->to_us) < 0;
    else if (!strcmp(name, "max_points"))
        q->bad = parse_u64(value, 1, POINTS_MAX, &q->points) < 0;
    else if (!strcmp(name, "series") && q->n_names < NAMES_MAX && strlen(value) < NAME_MAX_LEN)
        memcpy(q->names[q->n_names++], value, strlen(value) + 1);
    else
        q->bad = true;
    return !q->bad;
}

static bool wanted(const struct question *q, const struct monitor_series *series)
{
    for (size_t i = 0; i < q->n_names; i++)
        if (!strcmp(q->names[i], series->name))
            return true;
    return !q->n_names && !series->label_name;
}

static void on_point(void *ctx, uint64_t at_us, uint64_t step_us, const double *values, size_t n)
{
    struct columns *c = ctx;
    c->at[c->points] = at_us;
    c->steps[c->points] = step_us;
    for (size_t i = 0; i < c->n; i++)
        c->values[c->points * c->n + i] = c->indices[i] < n ? values[c->indices[i]] : NAN;
    c->points++;
}

static void append_series(struct buf *out, const struct monitor_series *s)
{
    (void)buf_printf(out, "{\"name\":\"%s\",\"unit\":\"%s\",\"help\":", s->name, s->unit);
    (void)json_append_quoted(out, s->help);
    if (s->label_name)
        (void)buf_printf(out, ",\"label_name\":\"%s\",\"label\":\"%s\"", s->label_name, s->label);
    (void)buf_append_str(out, "}");
}

static void append_numbers(struct buf *out, const char *name, const uint64_t *numbers, size_t n)
{
    (void)buf_printf(out, "],\"%s\":[", name);
    for (size_t i = 0; i < n; i++)
        (void)buf_printf(out, "%s%" PRIu64, i ? "," : "", numbers[i]);
}

static void append_columns(struct buf *out, struct monitor *monitor, const struct columns *c)
{
    (void)buf_printf(out, "{\"now_us\":%" PRIu64 ",\"series\":[", clock_wall_us());
    for (size_t i = 0; i < c->n; i++) {
        struct monitor_series series;
        (void)buf_append_str(out, i ? "," : "");
        if (monitor_series(monitor, c->indices[i], &series))
            append_series(out, &series);
    }
    append_numbers(out, "at_us", c->at, c->points);
    append_numbers(out, "step_us", c->steps, c->points);
    (void)buf_append_str(out, "],\"values\":[");
    for (size_t i = 0; i < c->n; i++) {
        (void)buf_append_str(out, i ? ",[" : "[");
        for (size_t p = 0; p < c->points; p++) {
            double v = c->values[p * c->n + i];
            (void)(isfinite(v) ? buf_printf(out, "%s%.7g", p ? "," : "", v)
                               : buf_append_str(out, p ? ",null" : "null"));
        }
        (void)buf_append_str(out, "]");
    }
    (void)buf_append_str(out, "]}");
}

static void answer(struct web_request *r, struct monitor *monitor, const struct question *q)
{
    struct columns c = {.question = q};
    struct monitor_series series;
    for (size_t i = 0; i < monitor_latest(monitor)->n; i++)
        if (monitor_series(monitor, i, &series) && wanted(q, &series))
            c.indices[c.n++] = i;
    CLEANUP_FREE uint64_t *at = calloc(q->points, sizeof *at), *steps = calloc(q->points, sizeof *steps);
    CLEANUP_FREE double *values = calloc(q->points * MAX(c.n, (size_t)1), sizeof *values);
    struct buf out;
    buf_init(&out, BODY_MAX);
    c.at = at;
    c.steps = steps;
    c.values = values;
    if (!at || !steps || !values) {
        web_answer(r, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL);
        return;
    }
    monitor_history(monitor, q->from_us, q->to_us, q->points, on_point, &c);
    append_columns(&out, monitor, &c);
    web_answer_text(r, "application/json", &out);
    buf_done(&out);
}

static void allowed(struct web *web, struct web_request *r)
{
    uint64_t now = clock_wall_us();
    struct question q = {.from_us = UINT64_MAX, .to_us = now, .points = POINTS_DEFAULT};
    bool whole = web_request_params(r, take, &q);
    if (q.bad)
        web_problem(r, MHD_HTTP_BAD_REQUEST,
            "what can be asked for: from_us, to_us (microseconds since 1970), max_points (1 to 2000), and series by "
            "name, up to 64 times",
            0);
    if (!whole)
        return;
    if (q.from_us == UINT64_MAX)
        q.from_us = q.to_us - MIN(q.to_us, DEFAULT_SECONDS * UINT64_C(1000000));
    if (web->options.monitor)
        answer(r, web->options.monitor, &q);
    else
        web_problem(r, MHD_HTTP_NOT_FOUND, "this node does not watch its machine", 0);
}

void handle_history(struct web *web, struct web_request *r)
{
    web_require(web, r, TASKWORKER__USER__ROLE__VIEWER, allowed);
}
