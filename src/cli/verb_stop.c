/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/options.h"
#include "cli/output.h"

static int stop_one(struct cli *cli, const char *id)
{
    Taskworker__StopTaskRequest request = TASKWORKER__STOP_TASK_REQUEST__INIT;
    CLEANUP_MESSAGE Taskworker__StopTaskResponse *response = NULL;
    request.task_id = (char *)id;
    int code = cli_call(cli, "StopTask", &request.base, &taskworker__stop_task_response__descriptor, 0, &response);
    if (code)
        return code;
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

int verb_stop(struct cli *cli, int argc, char **argv)
{
    const struct option options[] = {
        {.name = "timeout",
            .kind = OPTION_DURATION,
            .target = &cli->timeout_us,
            .min = 1000,
            .metavar = "TIME",
            .help = "how long to wait for each to end [30s]"},
    };
    const struct syntax syntax = {
        .verb = "stop",
        .usage = "[OPTION]... ID...",
        .text =
            "Ends tasks that wait or run, and waits until they have ended. Goes on with the next where one cannot be\n"
            "stopped, because it has ended by itself or does not exist, and exits with 125 then.",
        .example = "  hivemind stop task_001\n"
                   "  hivemind ps --json | jq -r .task_id | xargs hivemind stop",
        .options = options,
        .n_options = ARRAY_LEN(options),
        .missing = "ID",
        .min_words = 1,
        .max_words = SIZE_MAX,
    };
    struct arguments args;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code)) {
        for (size_t i = 0; i < args.words.n; i++) {
            int one = stop_one(cli, args.words.items[i]);
            code = code ? code : one;
        }
        code = output_finish(cli, code);
    }
    arguments_done(&args);
    return code;
}
