/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/follow.h"
#include "cli/options.h"

struct look {
    struct cli *cli;
    const char *id;
};

/* One more look at the task: its stream also ends when the node shuts down. */
static int has_ended(void *ctx, bool *ret, struct tw_error *error)
{
    struct look *look = ctx;
    Taskworker__GetTaskRequest request = TASKWORKER__GET_TASK_REQUEST__INIT;
    CLEANUP_MESSAGE Taskworker__GetTaskResponse *response = NULL;
    char method[80];
    request.task_id = (char *)look->id;
    if (rpc_client_unary(look->cli->client, cli_method("GetTask", method), &request.base,
            &taskworker__get_task_response__descriptor, CLI_CALL_TIMEOUT_US, (ProtobufCMessage **)&response, error) < 0)
        return -1;
    *ret = response->task && task_has_ended(response->task);
    return 0;
}

int verb_logs(struct cli *cli, int argc, char **argv)
{
    struct follow_options follow = {0};
    const struct option options[] = {
        {.name = "follow",
            .letter = 'f',
            .kind = OPTION_FLAG,
            .target = &follow.follow,
            .help = "go on until the task has ended"},
        {.name = "raw",
            .kind = OPTION_FLAG,
            .target = &follow.raw,
            .help = "let control characters of the task through to the terminal"},
        {.name = "timeout",
            .kind = OPTION_DURATION,
            .target = &cli->timeout_us,
            .min = 1000,
            .metavar = "TIME",
            .help = "how long it may take; without -f [no limit]"},
    };
    const struct syntax syntax = {
        .verb = "logs",
        .usage = "[OPTION]... ID",
        .text = "Prints what a task has printed: its standard output to standard output, its standard error to "
                "standard error.\n"
                "Bytes go out as they are; on a terminal control characters other than newline, tab and carriage "
                "return are\n"
                "replaced, since a task could otherwise write to the terminal whatever it likes.",
        .example = "  hivemind logs task_001\n"
                   "  hivemind logs -f task_001 2>errors.txt",
        .options = options,
        .n_options = ARRAY_LEN(options),
        .missing = "ID",
        .min_words = 1,
        .max_words = 1,
    };
    struct arguments args;
    struct follow_seen seen;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code)) {
        struct look look = {.cli = cli, .id = args.words.items[0]};
        follow.id = look.id;
        follow.has_ended = has_ended;
        follow.ctx = &look;
        follow.quiet = true;
        code = follow_logs(cli, &follow, &seen);
    }
    arguments_done(&args);
    return code;
}
