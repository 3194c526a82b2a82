/* SPDX-License-Identifier: Apache-2.0 */
/* pause and resume. */
#include "cli/options.h"
#include "cli/output.h"

static int set_paused(struct cli *cli, const char *id, bool paused)
{
    /* The two calls have messages of the same shape. */
    Taskworker__PauseTaskRequest request = TASKWORKER__PAUSE_TASK_REQUEST__INIT;
    CLEANUP_MESSAGE Taskworker__PauseTaskResponse *response = NULL;
    const char *method = paused ? "PauseTask" : "ResumeTask";
    request.task_id = (char *)id;
    int code = cli_call(cli, method, &request.base, &taskworker__pause_task_response__descriptor, 0, &response);
    if (code)
        return code;
    if (!response->task)
        return cli_bad_reply(cli, method);
    if (cli->json) {
        output_json(stdout, json_task(response->task));
    } else {
        output_text(stdout, response->task->task_id);
        printf(" %s%s%s%s\n", color_of_state(cli, response->task->state), task_state_name(response->task->state),
            color_off(cli), paused ? " paused" : "");
    }
    return 0;
}

static int run_verb(struct cli *cli, int argc, char **argv, bool paused)
{
    const struct option options[] = {
        {.name = "timeout",
            .kind = OPTION_DURATION,
            .target = &cli->timeout_us,
            .min = 1000,
            .metavar = "TIME",
            .help = "how long to wait for an answer [30s]"},
    };
    const struct syntax syntax = {
        .verb = paused ? "pause" : "resume",
        .usage = "[OPTION]... ID...",
        .text = paused ? "Holds tasks: one that waits is not started, the processes of one that runs are stopped "
                         "(SIGSTOP) and its\n"
                         "wall time-out stands still, while it keeps its slot and its memory. It stays so over a "
                         "restart of the node."
                       : "Lets paused tasks go on.",
        .example = paused ? "  hivemind pause task_001" : "  hivemind resume task_001",
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
            int one = set_paused(cli, args.words.items[i], paused);
            code = code ? code : one;
        }
        code = output_finish(cli, code);
    }
    arguments_done(&args);
    return code;
}

int verb_pause(struct cli *cli, int argc, char **argv)
{
    return run_verb(cli, argc, argv, true);
}

int verb_resume(struct cli *cli, int argc, char **argv)
{
    return run_verb(cli, argc, argv, false);
}
