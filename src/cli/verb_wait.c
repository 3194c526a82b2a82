/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "cli/options.h"
#include "cli/output.h"

/* Waits for one task, at most until the deadline (0: none). Returns 0 or the exit code. */
static int wait_for(struct cli *cli, const char *id, uint64_t deadline_us, Taskworker__WaitTaskResponse **ret)
{
    Taskworker__WaitTaskRequest request = TASKWORKER__WAIT_TASK_REQUEST__INIT;
    char method[80];
    struct tw_error error = {0};
    uint64_t now = clock_monotonic_us(), left = 0;
    request.task_id = (char *)id;
    if (deadline_us)
        left = deadline_us > now ? deadline_us - now : 1; /* a last look */
    struct rpc_client *client = cli_connect(cli);
    if (!client)
        return EXIT_TROUBLE;
    if (rpc_client_unary(client, cli_method("WaitTask", method), &request.base,
            &taskworker__wait_task_response__descriptor, left, (ProtobufCMessage **)ret, &error) == 0)
        return (*ret)->task ? 0 : cli_bad_reply(cli, "WaitTask");
    if (error.code != TW_DEADLINE_EXCEEDED)
        return cli_report(cli, &error);
    cli_error(cli, error.code, "task %s has not ended in time; it goes on", id);
    return EXIT_TIMED_OUT;
}

static int wait_for_all(struct cli *cli, const struct words *ids, uint64_t timeout_us)
{
    uint64_t deadline_us = timeout_us ? clock_monotonic_us() + timeout_us : 0;
    int worst = 0;
    for (size_t i = 0; i < ids->n; i++) {
        CLEANUP_MESSAGE Taskworker__WaitTaskResponse *response = NULL;
        char reason[32];
        int code = wait_for(cli, ids->items[i], deadline_us, &response);
        if (code)
            return output_finish(cli, code);
        const Taskworker__Task *t = response->task;
        if (cli->json) {
            output_json(stdout, json_task(t));
        } else {
            output_text(stdout, t->task_id);
            printf(" %s%s%s%s%s\n", color_of_state(cli, t->state), task_state_name(t->state), color_off(cli),
                t->reason ? " " : "", t->reason ? task_reason_name(t->reason, reason) : "");
        }
        worst = worst ? worst : task_exit_code(t);
    }
    return output_finish(cli, worst);
}

int verb_wait(struct cli *cli, int argc, char **argv)
{
    uint64_t timeout_us = 0;
    const struct option options[] = {
        {.name = "timeout",
            .kind = OPTION_DURATION,
            .target = &timeout_us,
            .min = 1000,
            .metavar = "TIME",
            .help = "how long to wait for all of them [for ever]"},
    };
    const struct syntax syntax = {
        .verb = "wait",
        .usage = "[OPTION]... ID...",
        .text = "Waits until these tasks have ended and prints how. Exits as the first one of them that did not end "
                "well, as\n"
                "run would; 124 if not all have ended in time.",
        .example = "  hivemind wait task_001 task_002\n"
                   "  hivemind wait --timeout 1m task_001",
        .options = options,
        .n_options = ARRAY_LEN(options),
        .min_words = 1,
        .max_words = SIZE_MAX,
    };
    struct arguments args;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code))
        code = wait_for_all(cli, &args.words, timeout_us);
    arguments_done(&args);
    return code;
}
