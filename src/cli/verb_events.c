/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/tasks.h"

#define BEGIN_UNKNOWN UINT64_MAX

struct events {
    struct cli *cli;
    bool follow, found;
    const char *type;
    struct labels labels;
    struct words ids; /* none: all tasks */
    uint64_t after;   /* the last one that was seen */
    bool done, enough, bad, progress;
    struct rpc_client_call *call; /* while it is open */
    struct tw_error status;
};

static const char *kind_name(Taskworker__TaskEvent__Kind kind, char out[32])
{
    const ProtobufCEnumValue *v =
        protobuf_c_enum_descriptor_get_value(&taskworker__task_event__kind__descriptor, (int)kind);
    snprintf(out, 32, "%s", v ? v->name : "?");
    for (char *p = out; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    return out;
}

static bool is_wanted(const struct events *e, const char *id)
{
    for (size_t i = 0; i < e->ids.n; i++) {
        if (!strcmp(e->ids.items[i], id))
            return true;
    }
    return e->ids.n == 0;
}

static Taskworker__Task__State state_after(Taskworker__TaskEvent__Kind kind)
{
    switch (kind) {
    case TASKWORKER__TASK_EVENT__KIND__COMPLETED:
        return TASKWORKER__TASK__STATE__COMPLETED;
    case TASKWORKER__TASK_EVENT__KIND__FAILED:
        return TASKWORKER__TASK__STATE__FAILED;
    case TASKWORKER__TASK_EVENT__KIND__STOPPED:
        return TASKWORKER__TASK__STATE__STOPPED;
    default:
        return TASKWORKER__TASK__STATE__QUEUED;
    }
}

static void print_event(const struct cli *cli, const Taskworker__TaskEvent *m)
{
    char kind[32], reason[32], when[CLOCK_TEXT_MAX];
    kind_name(m->kind, kind);
    task_reason_name(m->reason, reason);
    if (cli->json) {
        output_json(stdout,
            json_pack("{s:I, s:I, s:s, s:o, s:o, s:o, s:I, s:s}", "number", (json_int_t)m->number, "time_us",
                (json_int_t)m->time_us, "kind", kind, "task_id", json_text(m->task_id), "task_type",
                json_text(m->task_type), "owner", json_text(m->owner), "attempt", (json_int_t)m->attempt, "reason",
                reason));
        return;
    }
    printf("%s %6llu %s%-9s%s ", clock_format((uint64_t)m->time_us, when), (unsigned long long)m->number,
        color_of_state(cli, state_after(m->kind)), kind, color_off(cli));
    output_text(stdout, m->task_id);
    if (m->attempt > 1)
        printf(" attempt %u", m->attempt);
    if (m->reason)
        printf(" %s", reason);
    putchar('\n');
}

static void on_message(struct rpc_client_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    struct events *e = ctx;
    CLEANUP_MESSAGE Taskworker__TaskEvent *m = taskworker__task_event__unpack(NULL, len, msg);
    if (!m || e->enough || e->bad) {
        e->bad |= !m;
        rpc_client_cancel(call);
        return;
    }
    e->progress = true;
    e->after = m->number;
    if (is_wanted(e, m->task_id)) {
        e->found = true;
        print_event(e->cli, m);
    }
    errno = 0;
    if (e->follow)
        fflush(stdout);
    e->enough = ferror(stdout);
    if (e->enough)
        (void)reader_has_left(e->cli, errno);
    if (e->enough)
        rpc_client_cancel(call);
}

static void on_done(UNUSED struct rpc_client_call *call, const struct tw_error *status, void *ctx)
{
    struct events *e = ctx;
    e->status = *status;
    e->done = true;
    e->call = NULL;
}

static void on_reader_gone(void *ctx)
{
    struct events *e = ctx;
    if (e->call)
        rpc_client_cancel(e->call);
}

static int run_stream(struct events *e)
{
    static const struct rpc_client_callbacks callbacks = {.on_message = on_message, .on_done = on_done};
    Taskworker__WatchTasksRequest request = TASKWORKER__WATCH_TASKS_REQUEST__INIT;
    char method[80];
    request.after = e->after;
    request.only_past = !e->follow;
    request.task_type = (char *)(e->type ? e->type : "");
    /* Entries of the one message as of the other: a key and a value, and a descriptor of what they are in. */
    CLEANUP_FREE Taskworker__WatchTasksRequest__LabelsEntry *entries = calloc(e->labels.n + 1, sizeof *entries);
    CLEANUP_FREE Taskworker__WatchTasksRequest__LabelsEntry **list = calloc(e->labels.n + 1, sizeof *list);
    for (size_t i = 0; entries && list && i < e->labels.n; i++) {
        taskworker__watch_tasks_request__labels_entry__init(&entries[i]);
        entries[i].key = e->labels.keys[i];
        entries[i].value = e->labels.values[i];
        list[i] = &entries[i];
    }
    request.labels = list;
    request.n_labels = e->labels.n;
    e->done = e->progress = false;
    e->call = entries && list
        ? rpc_client_start(e->cli->client, cli_method("WatchTasks", method), &request.base, 0, &callbacks, e)
        : NULL;
    if (!e->call) {
        cli_error(e->cli, TW_RESOURCE_EXHAUSTED, "out of memory");
        return EXIT_TROUBLE;
    }
    while (!e->done)
        uv_run(&e->cli->loop, UV_RUN_ONCE);
    return e->bad ? cli_bad_reply(e->cli, "WatchTasks") : 0;
}

static int run_events(struct events *e)
{
    uint64_t away_since = 0;
    while (!e->cli->reader.gone) {
        int code = run_stream(e);
        if (e->cli->reader.gone)
            break;
        if (code || e->enough || e->status.code == TW_OK)
            return code;
        away_since = e->progress ? 0 : away_since;
        if (!e->follow || !cli_try_again(e->cli, &e->status, e->after > 0, &away_since))
            return cli_report(e->cli, &e->status);
    }
    return EXIT_READER_GONE;
}

/* Where nobody says behind which event to begin: at the oldest, but who follows all tasks does so from now on. */
static int find_begin(struct events *e)
{
    CLEANUP_MESSAGE Taskworker__GetStatusResponse *status = NULL;
    Taskworker__GetStatusRequest request = TASKWORKER__GET_STATUS_REQUEST__INIT;
    if (e->after != BEGIN_UNKNOWN)
        return 0;
    e->after = 0;
    if (!e->follow || e->ids.n > 0)
        return 0;
    int code = cli_call(e->cli, "GetStatus", &request.base, &taskworker__get_status_response__descriptor, 0, &status);
    if (!code)
        e->after = status->last_event;
    return code;
}

static int events(struct events *e)
{
    int code = labels_parse(e->cli, &e->labels);
    if (!code && !cli_connect(e->cli))
        code = e->cli->connect_code;
    if (!code)
        code = find_begin(e);
    if (!code && e->follow)
        reader_watch(e->cli, on_reader_gone, e);
    code = code ? code : run_events(e);
    reader_unwatch(e->cli);
    if (!code && e->ids.n > 0 && !e->found && !e->enough) {
        cli_error(e->cli, TW_NOT_FOUND, "nothing is known of %s", e->ids.n == 1 ? "this task" : "these tasks");
        code = EXIT_NOT_FOUND;
    }
    return e->cli->reader.gone ? EXIT_READER_GONE : output_finish(e->cli, code);
}

int verb_events(struct cli *cli, int argc, char **argv)
{
    struct events e = {.cli = cli, .after = BEGIN_UNKNOWN};
    const struct option options[] = {
        {.name = "follow", .letter = 'f', .kind = OPTION_FLAG, .target = &e.follow, .help = "go on as more happens"},
        {.name = "after",
            .kind = OPTION_COUNT,
            .target = &e.after,
            .max = INT64_MAX,
            .metavar = "NUMBER",
            .help = "only what came behind this event; 0: from the oldest that is kept"},
        LABELS_OPTION(&e.labels, "only tasks with this label; may be repeated"),
        {.name = "type", .kind = OPTION_TEXT, .target = &e.type, .metavar = "TYPE", .help = "only tasks of this type"},
    };
    const struct syntax syntax = {
        .verb = "events",
        .usage = "[OPTION]... [ID]...",
        .text =
            "Prints what has happened to tasks (all, or these), in the order in which it became durable: when, its\n"
            "number, what, and to which task. With -f it goes on, through restarts of the node, until Ctrl-C; of all\n"
            "tasks it then prints what happens from now on, unless --after says otherwise.",
        .example = "  hivemind events -f\n"
                   "  hivemind events --json --after 1200",
        .options = options,
        .n_options = ARRAY_LEN(options),
        .max_words = SIZE_MAX,
    };
    struct arguments args;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code)) {
        e.ids = args.words;
        code = events(&e);
    }
    arguments_done(&args);
    labels_done(&e.labels);
    return code;
}
