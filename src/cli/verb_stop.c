/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include <taskworker/task.h>

#include "cli/options.h"
#include "cli/output.h"
#include "cli/tasks.h"

static int print_stopped(struct cli *cli, const Taskworker__StopTaskResponse *response)
{
    if (!response->task)
        return cli_bad_reply(cli, "StopTask");
    if (cli->json) {
        output_json(stdout, json_task(response->task));
    } else {
        output_text(stdout, response->task->task_id);
        printf(" %s%s%s\n", color_of_state(cli, response->task->state), task_state_name(response->task->state),
            color_off(cli));
    }
    return 0;
}

/* `any`: one that has ended by itself meanwhile will do as well. */
static int stop_one(struct cli *cli, const char *id, bool any)
{
    Taskworker__StopTaskRequest request = TASKWORKER__STOP_TASK_REQUEST__INIT;
    CLEANUP_MESSAGE Taskworker__StopTaskResponse *response = NULL;
    struct tw_error error = {0};
    char method[80];
    struct rpc_client *client = cli_connect(cli);
    if (!client)
        return cli->connect_code;
    request.task_id = (char *)id;
    if (rpc_client_unary(client, cli_method("StopTask", method), &request.base,
            &taskworker__stop_task_response__descriptor, cli->timeout_us ? cli->timeout_us : CLI_CALL_TIMEOUT_US,
            (ProtobufCMessage **)&response, &error) == 0)
        return print_stopped(cli, response);
    return any && error.code == TW_FAILED_PRECONDITION ? 0 : cli_report(cli, &error);
}

struct stopping {
    uint64_t count;
    int code;
};

static int stop_found(struct cli *cli, const Taskworker__Task *task, void *ctx)
{
    struct stopping *s = ctx;
    int code = stop_one(cli, task->task_id, true);
    s->count++;
    s->code = s->code ? s->code : code;
    return 0;
}

static int stop_states(struct cli *cli, const struct labels *labels, Taskworker__Task__State last, struct stopping *s)
{
    Taskworker__Task__State states[TW_TASK_STATE_MAX];
    Taskworker__ListTasksRequest request = TASKWORKER__LIST_TASKS_REQUEST__INIT;
    request.states = states;
    request.labels = labels->list;
    request.n_labels = labels->n;
    for (Taskworker__Task__State state = TASKWORKER__TASK__STATE__QUEUED; state <= last; state++)
        states[request.n_states++] = state;
    return tasks_walk(cli, &request, UINT64_MAX, stop_found, s, NULL);
}

/* Those that wait first, or each that is stopped would make room for one of them. */
static int stop_all(struct cli *cli, struct labels *labels)
{
    struct stopping s = {0};
    int code = labels_parse(cli, labels);
    if (!code)
        code = stop_states(cli, labels, TASKWORKER__TASK__STATE__QUEUED, &s);
    if (!code)
        code = stop_states(cli, labels, TASKWORKER__TASK__STATE__RUNNING, &s);
    code = code ? code : s.code;
    if (!code && s.count == 0)
        cli_note(cli, "nothing%s waits or runs", labels->n ? " with this label" : "");
    return code;
}

static int stop(struct cli *cli, const struct words *ids, bool all, struct labels *labels)
{
    int code = 0;
    if (labels->given.n && !all && ids->n == 0)
        return stop_all(cli, labels);
    if (labels->given.n) {
        cli_error(cli, TW_INVALID_ARGUMENT, "--label says which: give neither ID nor --all beside it");
        return EXIT_USAGE;
    }
    if (all == (ids->n > 0)) {
        cli_error(cli, TW_INVALID_ARGUMENT, "%s",
            all ? "--all means every task: name no ID beside it"
                : "ID is missing; or say --label, or --all for every task");
        return EXIT_USAGE;
    }
    if (all)
        return stop_all(cli, labels);
    for (size_t i = 0; i < ids->n; i++) {
        int one = stop_one(cli, ids->items[i], false);
        code = code ? code : one;
    }
    return code;
}

int verb_stop(struct cli *cli, int argc, char **argv)
{
    bool all = false;
    struct labels labels = {0};
    const struct option options[] = {
        {.name = "all", .letter = 'a', .kind = OPTION_FLAG, .target = &all, .help = "all that wait or run"},
        LABELS_OPTION(&labels, "all that wait or run with this label; may be repeated"),
        {.name = "timeout",
            .kind = OPTION_DURATION,
            .target = &cli->timeout_us,
            .min = 1000,
            .metavar = "TIME",
            .help = "how long to wait for each to end [30s]"},
    };
    const struct syntax syntax = {
        .verb = "stop",
        .usage = "[OPTION]... ID...|--label KEY=VALUE|--all",
        .text =
            "Ends tasks that wait or run, and waits until they have ended. Goes on with the next where one cannot be\n"
            "stopped, because it has ended by itself or does not exist, and exits with 125 then.",
        .example = "  hivemind stop task_001\n"
                   "  hivemind stop --label hivemind.batch=nightly\n"
                   "  hivemind stop --all",
        .options = options,
        .n_options = ARRAY_LEN(options),
        .max_words = SIZE_MAX,
    };
    struct arguments args;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code)) {
        code = output_finish(cli, stop(cli, &args.words, all, &labels));
    }
    arguments_done(&args);
    labels_done(&labels);
    return code;
}
