/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/suggest.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/receipt.h"
#include "cli/table.h"

enum { PAGE = 500, STATES_MAX = 16 };

struct query {
    struct words states; /* as given */
    bool all;
    const char *type;
    uint64_t limit;
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
    if (q->states.n || q->all)
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

static void add_row(struct cli *cli, struct table *table, const Taskworker__Task *t)
{
    char age[32], took[32], reason[32], cpu[32] = "-", memory[32] = "-", code[16] = "-";
    int64_t now = (int64_t)clock_wall_us();
    if (t->usage && usage_cpu(t->usage))
        format_span(usage_cpu(t->usage), cpu);
    if (t->usage && usage_memory(t->usage))
        format_bytes(usage_memory(t->usage), memory);
    if (task_has_ended(t))
        snprintf(code, sizeof code, "%d", task_exit_code(t));
    const char *const cells[] = {t->task_id, t->task_type, task_state_name(t->state),
        t->reason ? task_reason_name(t->reason, reason) : "-", code,
        format_span(now > t->created_us ? (uint64_t)(now - t->created_us) : 0, age), span_of(t, now, took), cpu,
        memory};
    table_add(table, cells, color_of_state(cli, t->state));
}

/* Prints (JSON) or collects one page; returns how many. */
static size_t take_page(struct cli *cli, struct table *table, const Taskworker__ListTasksResponse *page, uint64_t room)
{
    size_t n = (size_t)MIN((uint64_t)page->n_tasks, room);
    for (size_t i = 0; i < n; i++) {
        if (cli->json)
            output_json(stdout, json_task(page->tasks[i]));
        else
            add_row(cli, table, page->tasks[i]);
    }
    return n;
}

static int list_tasks(struct cli *cli, struct query *q, struct table *table, bool *ret_more)
{
    Taskworker__ListTasksRequest request = TASKWORKER__LIST_TASKS_REQUEST__INIT;
    char *token = NULL;
    uint64_t done = 0;
    int code;
    request.states = q->list;
    request.n_states = q->n_list;
    if (q->type)
        request.task_type = (char *)q->type;
    do {
        CLEANUP_MESSAGE Taskworker__ListTasksResponse *page = NULL;
        request.page_size = (uint32_t)MIN(q->limit - done, (uint64_t)PAGE);
        code = cli_call(cli, "ListTasks", &request.base, &taskworker__list_tasks_response__descriptor, 0, &page);
        if (code)
            break;
        done += take_page(cli, table, page, q->limit - done);
        free(token);
        token = *page->next_page_token ? strdup(page->next_page_token) : NULL;
        request.page_token = token;
    } while (token && done < q->limit && !ferror(stdout));
    *ret_more = token;
    free(token);
    return code;
}

static void tell_none(const struct cli *cli, const struct query *q)
{
    bool only_live = !q->all && !q->states.n;
    if (q->type)
        cli_note(cli, "no task of type \"%.60s\" %s%s", q->type, only_live ? "waits or runs" : "is like that",
            only_live ? "; -a shows ended tasks too" : "");
    else
        cli_note(cli, "%s", only_live ? "nothing waits or runs; -a shows ended tasks too" : "there is no such task");
}

static int ps(struct cli *cli, struct query *q)
{
    static const char *const titles[] = {"ID", "TYPE", "STATE", "REASON", "CODE", "AGE", "RAN", "CPU", "MEMORY"};
    struct table table;
    bool more = false;
    int code = choose_states(cli, q);
    if (code)
        return code;
    table_init(&table, ARRAY_LEN(titles));
    table_add(&table, titles, "");
    code = list_tasks(cli, q, &table, &more);
    size_t n_rows = table.n_rows - MIN(table.n_rows, (size_t)1);
    if (!code && !cli->json && table_print(&table, stdout, 2, color_off(cli)) < 0) {
        cli_error(cli, TW_RESOURCE_EXHAUSTED, "out of memory");
        code = EXIT_TROUBLE;
    }
    table_done(&table);
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
            "CPU and MEMORY are what it has used so far, MEMORY at most.",
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
    arguments_done(&args);
    words_done(&q.states);
    return code;
}
