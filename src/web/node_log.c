/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the node has logged lately: {"logs": [{"number", "time_us", "timestamp", "level", "message"}]}, oldest first, `timestamp` and `level` as the
 * HiveMind worker's interface has them. It names everybody's tasks, so it takes an operator.
 */
#include "web/handlers.h"

#include <ctype.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/parse.h"
#include "base/util.h"
#include "web/internal.h"

enum { LINES_DEFAULT = 200 };

struct question {
    uint64_t after, limit;
    enum log_level level;
    bool bad;
};

static bool take(void *ctx, const char *name, const char *value)
{
    struct question *q = ctx;
    if (!strcmp(name, "after"))
        q->bad = parse_u64(value, 0, UINT64_MAX, &q->after) < 0;
    else if (!strcmp(name, "limit"))
        q->bad = parse_u64(value, 1, LOG_RING_MAX, &q->limit) < 0;
    else if (!strcmp(name, "level"))
        q->bad = log_level_from_string(value, &q->level) < 0;
    else
        q->bad = true;
    return !q->bad;
}

static json_t *pack(const struct log_entry *e)
{
    time_t seconds = (time_t)(e->wall_us / 1000000);
    struct tm tm;
    char when[32] = "", level[16] = "";
    if (localtime_r(&seconds, &tm))
        strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &tm);
    const char *name = log_level_to_string(e->level);
    for (size_t i = 0; name[i] && i + 1 < sizeof level; i++)
        level[i] = (char)toupper((unsigned char)name[i]);
    return json_pack("{s:I, s:I, s:s, s:s, s:s}", "number", (json_int_t)e->number, "time_us", (json_int_t)e->wall_us,
        "timestamp", when, "level", level, "message", e->message);
}

static void allowed(struct web *web UNUSED, struct web_request *r)
{
    struct question q = {.limit = LINES_DEFAULT, .level = LOG_DEBUG};
    struct log_entry *entries = NULL;
    bool whole = web_request_params(r, take, &q);
    if (q.bad)
        web_problem(r, MHD_HTTP_BAD_REQUEST,
            "what can be asked for: after (a number), limit (1 to 1000), level (error, warning, info or debug)", 0);
    if (!whole)
        return;
    ptrdiff_t n = log_recent(LOG_RING_MAX, &entries);
    json_t *lines = n < 0 ? NULL : json_array();
    size_t fitting = 0, seen = 0;
    for (ptrdiff_t i = 0; i < n; i++)
        fitting += entries[i].number > q.after && entries[i].level <= q.level;
    for (ptrdiff_t i = 0; lines && i < n; i++) {
        bool fits = entries[i].number > q.after && entries[i].level <= q.level;
        if (fits && ++seen + q.limit > fitting)
            (void)json_array_append_new(lines, pack(&entries[i]));
    }
    if (n >= 0)
        log_entries_free(entries, (size_t)n);
    web_reply(r, MHD_HTTP_OK, json_pack("{s:o}", "logs", lines));
}

void handle_node_log(struct web *web, struct web_request *r)
{
    web_require(web, r, TASKWORKER__USER__ROLE__OPERATOR, allowed);
}
