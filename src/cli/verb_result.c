/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/options.h"
#include "cli/output.h"
#include "cli/result_archive.h"

static void print_json(const Taskworker__GetResultResponse *r)
{
    json_t *line = json_pack("{s:o, s:o}", "task", json_task(r->task), "content_type", json_text(r->content_type));
    output_json_result(stdout, line, &r->result, !strcmp(r->content_type, "application/json"));
}

static void print_result(struct cli *cli, const Taskworker__GetResultResponse *r, bool raw)
{
    const Taskworker__Task *t = r->task;
    struct output_stream s;
    char reason[32];
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): checked by the caller, in a way it cannot follow */
    bool ended_well = t->state == TASKWORKER__TASK__STATE__COMPLETED;
    /* The `null` of a python task that came to no result is none. */
    bool none = !ended_well && !strcmp(r->content_type, "application/json") && r->result.len == 4 &&
        !memcmp(r->result.data, "null", 4);
    output_stream_init(&s, stdout, raw);
    output_stream_write(&s, r->result.data, none ? 0 : r->result.len);
    (void)output_stream_flush(&s);
    if (s.safe && s.mid_line)
        putchar('\n'); /* so that the prompt begins a line */
    if (ended_well)
        return;
    if (*t->error)
        output_block(stderr, t->error, "");
    cli_error(cli, TW_OK, "task %s is %s: %s", t->task_id, task_state_name(t->state),
        *t->message ? t->message : task_reason_name(t->reason, reason));
}

int verb_result(struct cli *cli, int argc, char **argv)
{
    bool raw = false;
    const char *archive = NULL;
    const struct option options[] = {
        {.name = "archive",
            .kind = OPTION_TEXT,
            .target = &archive,
            .metavar = "FILE",
            .help = "a zip of all that is left of the task: the files that it left, its output, and how it went"},
        {.name = "raw",
            .kind = OPTION_FLAG,
            .target = &raw,
            .help = "let control characters of the task through to the terminal"},
        {.name = "timeout",
            .kind = OPTION_DURATION,
            .target = &cli->timeout_us,
            .min = 1000,
            .metavar = "TIME",
            .help = "how long to wait for an answer [30s]"},
    };
    const struct syntax syntax = {
        .verb = "result",
        .usage = "[OPTION]... ID",
        .text = "Prints the result of a task that has ended: of a python task the JSON of its global `result`, of a "
                "shell task\n"
                "the tail of its standard output, byte for byte (see logs about terminals). For a task that did not "
                "end well\n"
                "and has no result nothing is printed there; its error goes to standard error, and the exit code is "
                "that of the task as run has it.",
        .example = "  hivemind result task_001\n"
                   "  hivemind wait task_001 && hivemind result task_001 | jq .\n"
                   "  hivemind result --archive task_001.zip task_001",
        .options = options,
        .n_options = ARRAY_LEN(options),
        .missing = "ID",
        .min_words = 1,
        .max_words = 1,
    };
    struct arguments args;
    CLEANUP_MESSAGE Taskworker__GetResultResponse *response = NULL;
    Taskworker__GetResultRequest request = TASKWORKER__GET_RESULT_REQUEST__INIT;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code)) {
        request.task_id = (char *)args.words.items[0];
        code = cli_call(cli, "GetResult", &request.base, &taskworker__get_result_response__descriptor, 0, &response);
        if (!code && !response->task)
            code = cli_bad_reply(cli, "GetResult");
        else if (!code) {
            if (archive)
                code = result_archive_write(cli, response->task, archive);
            else if (cli->json)
                print_json(response);
            else
                print_result(cli, response, raw);
            code = code ? code : task_exit_code(response->task);
        }
        code = output_finish(cli, code);
    }
    arguments_done(&args);
    return code;
}
