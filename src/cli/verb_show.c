/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/receipt.h"

static void print_field(const char *name, const char *text)
{
    printf("%-*s ", LABEL_WIDTH, name);
    output_text(stdout, text);
    putchar('\n');
}

static void print_time(const char *name, int64_t us)
{
    char text[CLOCK_TEXT_MAX];
    if (us > 0)
        print_field(name, clock_format((uint64_t)us, text));
}

static void print_exit(const Taskworker__Task *t)
{
    if (t->exit_code || t->state == TASKWORKER__TASK__STATE__COMPLETED)
        printf("%-*s %d", LABEL_WIDTH, "exit code", t->exit_code);
    else
        printf("%-*s -", LABEL_WIDTH, "exit code");
    if (t->signal)
        printf(", signal %d", t->signal);
    putchar('\n');
}

static void print_task(const struct cli *cli, const Taskworker__Task *t)
{
    char reason[32], text[32];
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): checked by the caller, in a way it cannot follow */
    print_field("id", t->task_id);
    print_field("type", t->task_type);
    if (*t->owner)
        print_field("owner", t->owner);
    printf(
        "%-*s %s%s%s", LABEL_WIDTH, "state", color_of_state(cli, t->state), task_state_name(t->state), color_off(cli));
    if (t->reason)
        printf(" (%s)", task_reason_name(t->reason, reason));
    putchar('\n');
    if (*t->message)
        print_field("message", t->message);
    if (task_has_ended(t))
        print_exit(t);
    printf("%-*s %u of %llu\n", LABEL_WIDTH, "attempt", t->attempt, (unsigned long long)t->retries + 1);
    if (t->timeout_ms > 0)
        print_field("time-out", format_span((uint64_t)t->timeout_ms * 1000, text));
    if (t->priority)
        printf("%-*s %d\n", LABEL_WIDTH, "priority", (int)t->priority);
    if (t->queue_timeout_ms > 0)
        print_field("queue time-out", format_span((uint64_t)t->queue_timeout_ms * 1000, text));
    print_time("created", t->created_us);
    if (t->not_before_us > 0)
        print_time("not before", t->not_before_us);
    print_time("started", t->started_us);
    print_time("finished", t->finished_us);
    usage_print(t->usage, task_has_ended(t));
    printf("%-*s %s\n", LABEL_WIDTH, "result", format_bytes(t->result_size, text));
    printf("%-*s %s%s\n", LABEL_WIDTH, "log", format_bytes(t->log_size, text),
        t->log_truncated ? ", not all of it was kept" : "");
    receipt_print(t->receipt);
    if (*t->error) {
        puts("error");
        output_block(stdout, t->error, "  ");
    }
}

int verb_show(struct cli *cli, int argc, char **argv)
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
        .verb = "show",
        .usage = "[OPTION]... ID",
        .text = "Prints everything that the node knows about a task: of one that runs what it has used so far, of one "
                "that\n"
                "has ended also under which conditions it ran.",
        .example = "  hivemind show task_001\n"
                   "  hivemind show --json task_001 | jq .usage",
        .options = options,
        .n_options = ARRAY_LEN(options),
        .missing = "ID",
        .min_words = 1,
        .max_words = 1,
    };
    struct arguments args;
    CLEANUP_MESSAGE Taskworker__GetTaskResponse *response = NULL;
    Taskworker__GetTaskRequest request = TASKWORKER__GET_TASK_REQUEST__INIT;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code)) {
        request.task_id = (char *)args.words.items[0];
        code = cli_call(cli, "GetTask", &request.base, &taskworker__get_task_response__descriptor, 0, &response);
        if (!code && !response->task)
            code = cli_bad_reply(cli, "GetTask");
        else if (!code && cli->json)
            output_json(stdout, json_task(response->task));
        else if (!code)
            print_task(cli, response->task);
        code = output_finish(cli, code);
    }
    arguments_done(&args);
    return code;
}
