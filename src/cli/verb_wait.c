/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "cli/options.h"
#include "cli/output.h"

struct waiter {
    struct cli *cli;
    uint64_t deadline_us; /* 0: none */
    uint64_t away_since_us;
    bool reached; /* the node has answered before */
    bool give_up; /* the others need not be tried */
};

/* Waits for one task, through restarts of the node. Returns 0 or the exit code. */
static int wait_for(struct waiter *w, const char *id, Taskworker__WaitTaskResponse **ret)
{
    Taskworker__WaitTaskRequest request = TASKWORKER__WAIT_TASK_REQUEST__INIT;
    char method[80];
    struct tw_error error;
    struct rpc_client *client = cli_connect(w->cli);
    w->give_up = true;
    if (!client)
        return w->cli->connect_code;
    request.task_id = (char *)id;
    do {
        uint64_t now = clock_monotonic_us(), left = 0;
        error = (struct tw_error){0};
        if (w->deadline_us)
            left = w->deadline_us > now ? w->deadline_us - now : 1; /* a last look */
        if (rpc_client_unary(client, cli_method("WaitTask", method), &request.base,
                &taskworker__wait_task_response__descriptor, left, (ProtobufCMessage **)ret, &error) == 0) {
            w->give_up = false;
            w->reached = true;
            w->away_since_us = 0;
            return (*ret)->task ? 0 : cli_bad_reply(w->cli, "WaitTask");
        }
    } while (cli_try_again(w->cli, &error, w->reached, &w->away_since_us));
    if (error.code == TW_DEADLINE_EXCEEDED) {
        cli_error(w->cli, error.code, "task %s has not ended in time; it goes on", id);
        return EXIT_TIMED_OUT;
    }
    w->give_up = error.code == TW_UNAVAILABLE;
    w->reached = !w->give_up;
    int code = cli_report(w->cli, &error);
    if (w->away_since_us)
        cli_note(w->cli, "task %s may go on all the same: hivemind wait %s", id, id);
    return code;
}

static void print_end(const struct cli *cli, const Taskworker__Task *t)
{
    char reason[32];
    if (cli->json) {
        output_json(stdout, json_task(t));
        (void)fflush(stdout);
        return;
    }
    output_text(stdout, t->task_id);
    printf(" %s%s%s%s%s\n", color_of_state(cli, t->state), task_state_name(t->state), color_off(cli),
        t->reason ? " " : "", t->reason ? task_reason_name(t->reason, reason) : "");
    (void)fflush(stdout); /* the next one may take long; output_finish() looks at errors */
}

static int wait_for_all(struct cli *cli, const struct words *ids, uint64_t timeout_us)
{
    struct waiter w = {.cli = cli, .deadline_us = timeout_us ? clock_monotonic_us() + timeout_us : 0};
    int worst = 0;
    for (size_t i = 0; i < ids->n && !w.give_up; i++) {
        CLEANUP_MESSAGE Taskworker__WaitTaskResponse *response = NULL;
        int code = wait_for(&w, ids->items[i], &response);
        if (!code && response) {
            print_end(cli, response->task);
            code = task_exit_code(response->task);
        }
        worst = worst ? worst : code;
        if (w.give_up) /* this weighs more than how one of them has ended */
            worst = code;
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
                "run would; 124 if not all have ended in time. A node that goes away is waited for, up to a minute.\n"
                "Goes on with the next where there is no such task, and exits with 125 then.",
        .example = "  hivemind wait task_001 task_002\n"
                   "  hivemind wait --timeout 1m task_001",
        .options = options,
        .n_options = ARRAY_LEN(options),
        .missing = "ID",
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
