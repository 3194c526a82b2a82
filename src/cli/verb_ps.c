/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/suggest.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/receipt.h"
#include "cli/table.h"
#include "cli/tasks.h"
#include "cli/when.h"

enum { STATES_MAX = 16 };

struct query {
    struct words states; /* as given */
    bool all;
    bool dead;
    const char *type, *owner, *since;
    struct labels labels;
    uint64_t limit;
    bool wide;
    struct table table;
    Taskworker__Task__State list[STATES_MAX];
    size_t n_list;
};

static int add_state(struct cli *cli, struct query *q, const char *name)
{
    const ProtobufCEnumDescriptor *states = &taskworker__task__state__descriptor;
    const char *names[STATES_MAX];
    size_t n = 0;
    for (unsigned i = 0; i < states->n_values && n < STATES_MAX; i++) {
        const ProtobufCEnumValue *v = &states->values[i];
        if (v->value == 0)
            continue;
        names[n++] = v->name;
        if (!strcasecmp(v->name, name) && q->n_list < STATES_MAX) {
            q->list[q->n_list++] = (Taskworker__Task__State)v->value;
            return 0;
        }
    }
    const char *near = suggest_nearest(name, names, n);
    cli_error(cli, TW_INVALID_ARGUMENT,
        "there is no state \"%.60s\"%s%s%s: QUEUED, ALLOCATED, PREPARING, RUNNING, COMPLETED, FAILED, STOPPED", name,
        near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
    return EXIT_USAGE;
}

static int choose_states(struct cli *cli, struct query *q)
{
    for (size_t i = 0; i < q->states.n; i++) {
        int code = add_state(cli, q, q->states.items[i]);
        if (code)
            return code;
    }
    if (q->states.n || q->all || q->dead)
        return 0;
    for (Taskworker__Task__State s = TASKWORKER__TASK__STATE__QUEUED; s <= TASKWORKER__TASK__STATE__RUNNING; s++)
        q->list[q->n_list++] = s;
    return 0;
}

static const char *span_of(const Taskworker__Task *t, int64_t now, char out[32])
{
    int64_t end = t->finished_us ? t->finished_us : now;
    if (!t->started_us)
        return "-";
    return format_span(end > t->started_us ? (uint64_t)(end - t->started_us) : 0, out);
}

static char *labels_of(const Taskworker__Task *t)
{
    struct buf b = BUF_INIT(1 << 16);
    for (size_t i = 0; i < t->n_labels; i++) {
        if (i)
            buf_append_str(&b, ",");
        buf_append_str(&b, t->labels[i]->key);
        buf_append_str(&b, "=");
        buf_append_str(&b, t->labels[i]->value);
    }
    buf_append(&b, "", 1);
    if (b.error)
        buf_done(&b);
    return (char *)b.data;
}

static void add_row(struct cli *cli, const struct query *q, struct table *table, const Taskworker__Task *t)
{
    char priority[16];
    CLEANUP_FREE char *labels = q->wide ? labels_of(t) : NULL;
    snprintf(priority, sizeof priority, "%d", (int)t->priority);
    char age[32], took[32], reason[32], cpu[32] = "-", memory[32] = "-", code[16] = "-";
    int64_t now = (int64_t)clock_wall_us();
    if (t->usage && usage_cpu(t->usage))
        format_span(usage_cpu(t->usage), cpu);
    if (t->usage && usage_memory(t->usage))
        format_bytes(usage_memory(t->usage), memory);
    if (task_has_ended(t))
        snprintf(code, sizeof code, "%d", task_exit_code(t));
    const char *const cells[] = {t->task_id, t->task_type, task_state_name(t->state),
        t->reason       ? task_reason_name(t->reason, reason)
            : t->paused ? "paused"
                        : "-",
        code, format_span(now > t->created_us ? (uint64_t)(now - t->created_us) : 0, age), span_of(t, now, took), cpu,
        memory, priority, labels && *labels ? labels : "-", *t->message ? t->message : "-"};
    table_add(table, cells, color_of_state(cli, t->state));
}

static int take_task(struct cli *cli, const Taskworker__Task *task, void *ctx)
{
    struct query *q = ctx;
    if (cli->json)
        output_json(stdout, json_task(task));
    else
        add_row(cli, q, &q->table, task);
    return 0;
}

/* A span ("2h": that long ago) or a time as in when.h. */
static int since_from(struct cli *cli, const char *given, int64_t *ret)
{
    uint64_t us = 0;
    if (!given)
        return 0;
    if (when_parse_past(given, clock_wall_us(), &us) == 0) {
        *ret = (int64_t)us;
        return 0;
    }
    cli_error(cli, TW_INVALID_ARGUMENT,
        "--since is \"%.60s\", but has to be a span like 2h or a time like 2030-01-31 18:30", given);
    return EXIT_USAGE;
}

static int list_tasks(struct cli *cli, struct query *q, bool *ret_more)
{
    Taskworker__ListTasksRequest request = TASKWORKER__LIST_TASKS_REQUEST__INIT;
    int code = labels_parse(cli, &q->labels);
    if (!code)
        code = since_from(cli, q->since, &request.created_from_us);
    if (code)
        return code;
    request.states = q->list;
    request.n_states = q->n_list;
    request.task_type = (char *)(q->type ? q->type : "");
    request.owner = (char *)(q->owner ? q->owner : "");
    request.dead_letters = q->dead;
    request.labels = q->labels.list;
    request.n_labels = q->labels.n;
    return tasks_walk(cli, &request, q->limit, take_task, q, ret_more);
}

static void tell_none(struct cli *cli, const struct query *q)
{
    bool only_live = !q->all && !q->states.n && !q->dead;
    if (q->type)
        cli_note(cli, "no task of type \"%.60s\" %s%s", q->type, only_live ? "waits or runs" : "is like that",
            only_live ? "; -a shows ended tasks too" : "");
    else
        cli_note(cli, "%s", only_live ? "nothing waits or runs; -a shows ended tasks too" : "there is no such task");
}

static int ps(struct cli *cli, struct query *q)
{
    static const char *const titles[] = {
        "ID", "TYPE", "STATE", "REASON", "CODE", "AGE", "RAN", "CPU", "MEMORY", "PRIORITY", "LABELS", "MESSAGE"};
    bool more = false;
    int code = choose_states(cli, q);
    if (code)
        return code;
    table_init(&q->table, q->wide ? ARRAY_LEN(titles) : ARRAY_LEN(titles) - 3);
    table_add(&q->table, titles, "");
    code = list_tasks(cli, q, &more);
    size_t n_rows = q->table.n_rows - MIN(q->table.n_rows, (size_t)1);
    if (!code && !cli->json && table_print(&q->table, stdout, 2, color_off(cli)) < 0) {
        cli_error(cli, TW_RESOURCE_EXHAUSTED, "out of memory");
        code = EXIT_TROUBLE;
    }
    table_done(&q->table);
    code = output_finish(cli, code);
    if (!code && more)
        cli_note(cli, "these are the newest %llu; for more: -n", (unsigned long long)q->limit);
    if (!code && n_rows == 0)
        tell_none(cli, q);
    return code;
}

int verb_ps(struct cli *cli, int argc, char **argv)
{
    struct query q = {.limit = 100};
    const struct option options[] = {
        {.name = "all", .letter = 'a', .kind = OPTION_FLAG, .target = &q.all, .help = "also those that have ended"},
        {.name = "state",
            .kind = OPTION_LIST,
            .target = &q.states,
            .metavar = "STATE",
            .help = "only those in this state; may be repeated"},
        {.name = "type", .kind = OPTION_TEXT, .target = &q.type, .metavar = "TYPE", .help = "only those of this type"},
        {.name = "owner",
            .kind = OPTION_TEXT,
            .target = &q.owner,
            .metavar = "OWNER",
            .help = "only those of this owner"},
        LABELS_OPTION(&q.labels, "only those with this label; may be repeated"),
        {.name = "since",
            .kind = OPTION_TEXT,
            .target = &q.since,
            .metavar = "WHEN",
            .help = "only those handed in since: 2h (ago), or 2030-01-31 18:30"},
        {.name = "wide",
            .letter = 'w',
            .kind = OPTION_FLAG,
            .target = &q.wide,
            .help = "also priority, labels, and why it waits or how it ended"},
        {.name = "dead",
            .kind = OPTION_FLAG,
            .target = &q.dead,
            .help = "only dead letters: what failed with its retries used up"},
        {.name = "limit",
            .letter = 'n',
            .kind = OPTION_COUNT,
            .target = &q.limit,
            .min = 1,
            .max = UINT32_MAX,
            .metavar = "N",
            .help = "at most so many, the newest first [100]"},
        {.name = "timeout",
            .kind = OPTION_DURATION,
            .target = &cli->timeout_us,
            .min = 1000,
            .metavar = "TIME",
            .help = "how long to wait for an answer [30s]"},
    };
    const struct syntax syntax = {
        .verb = "ps",
        .usage = "[OPTION]...",
        .text =
            "Lists the tasks that wait or run, the newest first. States: QUEUED ALLOCATED PREPARING RUNNING COMPLETED\n"
            "FAILED STOPPED. CODE is what run would exit with; AGE is since the task was handed in;\n"
            "CPU and MEMORY are what it has used so far, MEMORY at most; --wide says why a task waits.",
        .example = "  hivemind ps\n"
                   "  hivemind ps -a -n 20\n"
                   "  hivemind ps --state failed --json | jq -r .task_id",
        .options = options,
        .n_options = ARRAY_LEN(options),
    };
    struct arguments args;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code))
        code = ps(cli, &q);
    labels_done(&q.labels);
    arguments_done(&args);
    words_done(&q.states);
    return code;
}
