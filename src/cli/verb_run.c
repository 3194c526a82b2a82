/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run: submit, follow the output, print the result, exit as the task did. WaitTask is called together with StreamLogs: a
 * node that drains answers the calls that it has, but takes no new ones, so asking for the result afterwards is too late.
 * A node that shuts down ends both for a task that still waits; then the stream goes on when it is back. Ctrl-C asks the
 * node to stop the task and goes on following it to its end; a second one leaves at once, as does the first where the task is one
 * that somebody else has begun (--cache). Everything happens on the one
 * loop, so a signal is served in whichever call the verb is just waiting. However the verb ends before the task, it names
 * the task and the way back to it.
 */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/follow.h"
#include "cli/output.h"
#include "cli/submission.h"

struct run {
    struct cli *cli;
    const char *id; /* once the node has accepted it */
    bool cached;    /* it is somebody else's, whose it stays */
    int interrupts;
    int signal; /* the first one */
    struct rpc_client_call *stop, *wait;
    struct tw_error wait_status;
    Taskworker__WaitTaskResponse *ended; /* what WaitTask has answered */
    uv_signal_t signals[2];
};

static void on_stop_done(UNUSED struct rpc_client_call *call, const struct tw_error *status, void *ctx)
{
    struct run *run = ctx;
    run->stop = NULL;
    /* It may have ended by itself meanwhile. */
    if (status->code != TW_OK && status->code != TW_FAILED_PRECONDITION)
        cli_error(run->cli, status->code, "cannot stop the task %s: %s", run->id, status->message);
}

static void send_stop(struct run *run)
{
    static const struct rpc_client_callbacks callbacks = {.on_done = on_stop_done};
    Taskworker__StopTaskRequest request = TASKWORKER__STOP_TASK_REQUEST__INIT;
    char method[80];
    if (!run->id || run->stop)
        return;
    request.task_id = (char *)run->id;
    cli_note(run->cli, "stopping the task %s (again to leave at once)", run->id);
    run->stop = rpc_client_start(
        run->cli->client, cli_method("StopTask", method), &request.base, CLI_CALL_TIMEOUT_US, &callbacks, run);
}

/* An error and no note: with --json it is wanted as well. */
static void tell_way_back(const struct run *run)
{
    if (run->id)
        cli_error(run->cli, TW_UNAVAILABLE,
            "the task %s may go on all the same; to get back to it: hivemind logs -f %s, hivemind wait %s, hivemind "
            "result %s",
            run->id, run->id, run->id, run->id);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct run *run = handle->data;
    if (run->interrupts++ > 0 || (run->id && run->cached)) {
        tell_way_back(run);
        _exit(EXIT_SIGNAL + number);
    }
    run->signal = number;
    send_stop(run);
}

static int watch_signals(struct run *run)
{
    static const int numbers[] = {SIGINT, SIGTERM};
    if (!cli_connect(run->cli))
        return run->cli->connect_code;
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        uv_signal_init(&run->cli->loop, &run->signals[i]);
        run->signals[i].data = run;
        uv_unref((uv_handle_t *)&run->signals[i]);
        (void)uv_signal_start(&run->signals[i], on_signal, numbers[i]);
    }
    return 0;
}

static void unwatch_signals(struct run *run)
{
    for (size_t i = 0; i < ARRAY_LEN(run->signals); i++) {
        if (run->signals[i].data)
            uv_close((uv_handle_t *)&run->signals[i], NULL);
    }
    /* Closed handles are touched once more by the loop; they live on the caller's stack. */
    if (run->signals[0].data)
        uv_run(&run->cli->loop, UV_RUN_NOWAIT);
}

/* The result of a python task is JSON; that of a shell task is its output, which was printed already. */
static int print_result(struct cli *cli, const Taskworker__WaitTaskResponse *response, bool raw)
{
    const ProtobufCBinaryData *result = &response->result;
    bool python = strcmp(response->task->task_type, "shell") != 0;
    if (cli->json) {
        output_json_result(stdout, json_pack("{s:o}", "task", json_task(response->task)), result, python);
        return 0;
    }
    if (!python || result->len == 0 || (result->len == 4 && !memcmp(result->data, "null", 4)))
        return 0;
    struct output_stream s;
    output_stream_init(&s, stdout, raw);
    output_begin_line(cli, stdout);
    output_stream_write(&s, result->data, result->len);
    (void)output_stream_flush(&s);
    if (s.mid_line)
        putchar('\n');
    return 0;
}

/* A traceback usually is what the task has printed last: whether the end of it is in the output. */
static bool was_seen(const struct follow_seen *seen, const char *text)
{
    size_t len = strlen(text);
    while (len > 0 && text[len - 1] == '\n')
        len--;
    size_t n = MIN(len, sizeof seen->tail / 2);
    return memmem(seen->tail, seen->tail_len, text + len - n, n);
}

/* How it ended, where the exit code alone does not say it. */
static void explain(struct cli *cli, const Taskworker__Task *task, const struct follow_seen *seen)
{
    char reason[32];
    if (cli->json)
        return;
    if (task->log_truncated)
        cli_note(cli, "task %s: some of its output was not kept", task->task_id);
    if (task->state == TASKWORKER__TASK__STATE__COMPLETED)
        return;
    if (*task->error && !was_seen(seen, task->error)) {
        output_begin_line(cli, stderr);
        output_block(stderr, task->error, "");
    }
    if (task->reason != TASKWORKER__TASK__REASON__EXIT_CODE)
        cli_note(
            cli, "task %s: %s", task->task_id, *task->message ? task->message : task_reason_name(task->reason, reason));
}

static void on_wait_message(UNUSED struct rpc_client_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    struct run *run = ctx;
    cli_free_message(&run->ended);
    run->ended = taskworker__wait_task_response__unpack(NULL, len, msg);
}

static void on_wait_done(UNUSED struct rpc_client_call *call, const struct tw_error *status, void *ctx)
{
    struct run *run = ctx;
    run->wait = NULL;
    run->wait_status = *status;
    if (status->code == TW_OK)
        return;
    cli_free_message(&run->ended);
    run->ended = NULL;
}

static void start_wait(struct run *run)
{
    static const struct rpc_client_callbacks callbacks = {.on_message = on_wait_message, .on_done = on_wait_done};
    Taskworker__WaitTaskRequest request = TASKWORKER__WAIT_TASK_REQUEST__INIT;
    char method[80];
    request.task_id = (char *)run->id;
    request.include_result = true;
    run->wait = rpc_client_start(run->cli->client, cli_method("WaitTask", method), &request.base, 0, &callbacks, run);
}

/* Fills run->ended, if the task has ended as the end of its log says. */
static int has_ended(void *ctx, bool *ret, struct tw_error *error)
{
    struct run *run = ctx;
    if (!run->wait && !run->ended) /* its connection was lost */
        start_wait(run);
    if (!run->wait && !run->ended)
        return error_oom(error);
    while (run->wait)
        uv_run(&run->cli->loop, UV_RUN_ONCE);
    *ret = run->ended;
    if (run->ended)
        return 0;
    if (run->wait_status.code == TW_OK)
        return error_set(error, TW_INTERNAL, "the node's answer to WaitTask is not a valid message");
    error_copy(error, &run->wait_status);
    return -1;
}

static int wait_and_print(struct run *run, bool raw, const struct follow_seen *seen)
{
    struct cli *cli = run->cli;
    if (!run->ended->task || !task_has_ended(run->ended->task))
        return cli_bad_reply(cli, "WaitTask");
    const Taskworker__WaitTaskResponse *response = run->ended;
    print_result(cli, response, raw);
    int code = output_finish(cli, task_exit_code(response->task));
    explain(cli, response->task, seen);
    return run->interrupts && response->task->state == TASKWORKER__TASK__STATE__STOPPED ? EXIT_SIGNAL + run->signal
                                                                                        : code;
}

static int run_task(struct run *run, const struct submission *s, bool raw)
{
    struct cli *cli = run->cli;
    CLEANUP_MESSAGE Taskworker__ExecuteTaskResponse *response = NULL;
    struct follow_seen seen;
    int code = submission_send(cli, s, &response);
    if (code)
        return code;
    run->id = response->task_id;
    run->cached = response->cached;
    start_wait(run);
    if (run->interrupts && run->cached) {
        tell_way_back(run);
        _exit(EXIT_SIGNAL + run->signal);
    }
    if (run->interrupts)
        send_stop(run);
    const struct follow_options options = {
        .id = run->id, .follow = true, .raw = raw, .known = true, .has_ended = has_ended, .ctx = run};
    code = follow_logs(cli, &options, &seen);
    if (!code)
        code = wait_and_print(run, raw, &seen);
    else
        tell_way_back(run);
    if (run->stop)
        rpc_client_cancel(run->stop);
    if (run->wait)
        rpc_client_cancel(run->wait);
    while (run->stop || run->wait)
        uv_run(&cli->loop, UV_RUN_ONCE);
    cli_free_message(&run->ended);
    run->ended = NULL;
    run->id = NULL;
    return code;
}

static const struct syntax run_syntax = {
    .verb = "run",
    .usage = "[OPTION]... FILE|FOLDER|- [-- ARGUMENT...]\n   or: hivemind run [OPTION]... -- COMMAND [ARGUMENT]...",
    .text = "Hands a task in as submit does (or a command, as a task of type shell), shows its output as it comes, "
            "then the\n"
            "result of a python task unless it is null, and exits as the task did: with its own code, 128 and the "
            "signal's\n"
            "number, 124 if it ran into its time-out. Ctrl-C stops the task, a second one leaves it.",
    .example = "  hivemind run hello.py\n"
               "  echo 'result = 6 * 7' | hivemind run -\n"
               "  hivemind run --timeout 10s -- sh -c 'uname -a; id'",
    .max_words = 1,
    .missing = "a FILE, or -- and a COMMAND",
    .min_words = 1,
    .takes_rest = true,
};

int verb_run(struct cli *cli, int argc, char **argv)
{
    struct submission s = {.or_command = true};
    struct run run = {.cli = cli};
    bool raw = false;
    const struct option options[] = {SUBMISSION_OPTIONS(&s),
        {.name = "raw",
            .kind = OPTION_FLAG,
            .target = &raw,
            .help = "let control characters of the task through to the terminal"}};
    struct syntax syntax = run_syntax;
    syntax.options = options;
    syntax.n_options = ARRAY_LEN(options);
    struct arguments args;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code)) {
        if (args.words.n)
            code = submission_make(cli, &s, &args);
        else if (args.n_rest)
            code = submission_make_command(cli, &s, args.rest, args.n_rest);
        else {
            cli_error(cli, TW_INVALID_ARGUMENT, "there is no command behind \"--\"; see hivemind run --help");
            code = EXIT_USAGE;
        }
        if (!code)
            code = watch_signals(&run);
        if (!code)
            code = run_task(&run, &s, raw);
        unwatch_signals(&run);
    }
    arguments_done(&args);
    submission_done(&s);
    return code;
}
