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

static void print_life(const struct cli *cli, const Taskworker__Task *t)
{
    for (size_t i = 0; i < t->n_labels; i++) {
        printf("%-*s ", LABEL_WIDTH, i ? "" : "labels");
        output_text(stdout, t->labels[i]->key);
        putchar('=');
        output_text(stdout, t->labels[i]->value);
        putchar('\n');
    }
    for (size_t i = 0; i < t->n_after; i++) {
        printf("%-*s ", LABEL_WIDTH, i ? "" : "after");
        output_text(stdout, t->after[i]->task_id);
        printf(
            " %s%s%s\n", color_of_state(cli, t->after[i]->state), task_state_name(t->after[i]->state), color_off(cli));
    }
    if (*t->retry_of)
        print_field("retry of", t->retry_of);
}

static void print_attempts(const Taskworker__ListAttemptsResponse *r)
{
    char reason[32], took[32];
    for (size_t i = 0; i < r->n_attempts; i++) {
        const Taskworker__Attempt *a = r->attempts[i];
        int64_t us = a->finished_us > a->started_us ? a->finished_us - a->started_us : 0;
        printf("%-*s %u: %s after %s: ", LABEL_WIDTH, i ? "" : "before", a->attempt,
            task_reason_name(a->reason, reason), format_span((uint64_t)us, took));
        output_text(stdout, a->message);
        putchar('\n');
    }
}

static json_t *json_inputs(const Taskworker__Task *t)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < t->n_inputs; i++) {
        const Taskworker__TaskInput *input = t->inputs[i];
        json_array_append_new(list,
            json_pack("{s:o, s:o, s:o}", "file_id", json_text(input->file_id), "name", json_text(input->name), "path",
                json_text(input->path)));
    }
    return list;
}

static json_t *json_texts(char *const *texts, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < n; i++)
        json_array_append_new(list, json_text(texts[i]));
    return list;
}

static int print_json(const Taskworker__Task *t, const Taskworker__ListAttemptsResponse *former)
{
    json_t *object = json_task(t), *attempts = json_array();
    json_t *asked = json_pack("{s:o, s:I, s:I, s:I, s:o, s:o}", "limits", json_limits(t->limits), "grace_ms",
        (json_int_t)t->grace_ms, "gpus", (json_int_t)t->gpus, "gpu_memory_bytes", (json_int_t)t->gpu_memory_bytes,
        "inputs", json_inputs(t), "outputs", json_texts(t->outputs, t->n_outputs));
    if (object && json_object_set_new(object, "asked", asked) < 0) {
        json_decref(object);
        object = NULL;
    }
    for (size_t i = 0; attempts && former && i < former->n_attempts; i++)
        json_array_append_new(attempts, json_attempt(former->attempts[i]));
    if (!object || json_object_set_new(object, "attempts", attempts) < 0) {
        json_decref(object);
        return -1;
    }
    return output_json(stdout, object);
}

/* Of a task that had any. */
static int former_attempts(struct cli *cli, const Taskworker__Task *t, Taskworker__ListAttemptsResponse **ret)
{
    Taskworker__ListAttemptsRequest request = TASKWORKER__LIST_ATTEMPTS_REQUEST__INIT;
    request.task_id = t->task_id;
    if (t->attempt == 0 || t->retries == 0)
        return 0;
    return cli_call(cli, "ListAttempts", &request.base, &taskworker__list_attempts_response__descriptor, 0, ret);
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
    puts(t->paused ? ", paused" : "");
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
    if (t->retries && t->retry_delay_ms > 0)
        print_field("retry delay", format_span((uint64_t)t->retry_delay_ms * 1000, text));
    asked_print(t);
    print_life(cli, t);
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

static int show(struct cli *cli, const char *id)
{
    CLEANUP_MESSAGE Taskworker__GetTaskResponse *response = NULL;
    CLEANUP_MESSAGE Taskworker__ListAttemptsResponse *former = NULL;
    Taskworker__GetTaskRequest request = TASKWORKER__GET_TASK_REQUEST__INIT;
    request.task_id = (char *)id;
    int code = cli_call(cli, "GetTask", &request.base, &taskworker__get_task_response__descriptor, 0, &response);
    if (!code && !response->task)
        return cli_bad_reply(cli, "GetTask");
    if (!code)
        code = former_attempts(cli, response->task, &former);
    if (code)
        return code;
    if (cli->json) {
        print_json(response->task, former);
    } else {
        print_task(cli, response->task);
        if (former)
            print_attempts(former);
    }
    return 0;
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
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code)) {
        code = show(cli, args.words.items[0]);
        code = output_finish(cli, code);
    }
    arguments_done(&args);
    return code;
}
