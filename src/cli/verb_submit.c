/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/output.h"
#include "cli/submission.h"

static int print_accepted(struct cli *cli, const Taskworker__ExecuteTaskResponse *response)
{
    if (cli->json)
        output_json(stdout,
            json_pack(
                "{s:o, s:s}", "task_id", json_text(response->task_id), "state", task_state_name(response->state)));
    else {
        output_text(stdout, response->task_id);
        putchar('\n');
    }
    return output_finish(cli, 0);
}

int verb_submit(struct cli *cli, int argc, char **argv)
{
    struct submission s = {0};
    const struct option options[] = {SUBMISSION_OPTIONS(&s)};
    const struct syntax syntax = {
        .verb = "submit",
        .usage = "[OPTION]... FILE|- [-- ARGUMENT...]",
        .text = "Hands the Python source text or shell script in FILE (-: standard input) in as a task, with these "
                "arguments,\n"
                "and prints the task's id once the node has it on disk.",
        .example = "  hivemind submit train.py -- --epochs 10\n"
                   "  echo 'result = 6 * 7' | hivemind submit --timeout 5s -\n"
                   "  hivemind submit --id nightly-1 --retries 2 --env TOKEN backup.sh",
        .options = options,
        .n_options = ARRAY_LEN(options),
        .missing = "FILE",
        .min_words = 1,
        .max_words = 1,
        .takes_rest = true,
    };
    struct arguments args;
    CLEANUP_MESSAGE Taskworker__ExecuteTaskResponse *response = NULL;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code)) {
        if (args.words.n == 0) {
            cli_error(cli, TW_INVALID_ARGUMENT, "name the FILE before \"--\"; see hivemind submit --help");
            code = EXIT_USAGE;
        }
        if (!code)
            code = submission_make(cli, &s, &args);
        if (!code)
            code = submission_send(cli, &s, &response);
        if (!code)
            code = print_accepted(cli, response);
    }
    arguments_done(&args);
    submission_done(&s);
    return code;
}
