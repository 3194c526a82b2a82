/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/parse.h"
#include "cli/output.h"
#include "cli/submission.h"

static int print_accepted(struct cli *cli, const Taskworker__ExecuteTaskResponse *response)
{
    if (cli->json)
        output_json(stdout,
            json_pack("{s:o, s:s, s:b}", "task_id", json_text(response->task_id), "state",
                task_state_name(response->state), "cached", response->cached));
    else {
        output_text(stdout, response->task_id);
        putchar('\n');
    }
    return output_finish(cli, 0);
}

/* "10": 0 to 9; "3-7". */
static int array_parse(struct cli *cli, const char *given, uint64_t *ret_first, uint64_t *ret_count)
{
    enum { ARRAY_MAX = 10000, INDEX_MAX = 1000000000 };
    const char *dash = strchr(given, '-');
    CLEANUP_FREE char *head = dash ? strndup(given, (size_t)(dash - given)) : NULL;
    uint64_t last = 0;
    *ret_first = 0;
    if (!dash && parse_u64(given, 1, ARRAY_MAX, ret_count) == 0)
        return 0;
    if (dash && head && parse_u64(head, 0, INDEX_MAX, ret_first) == 0 &&
        parse_u64(dash + 1, *ret_first, *ret_first + ARRAY_MAX - 1, &last) == 0) {
        *ret_count = last - *ret_first + 1;
        return 0;
    }
    cli_error(cli, TW_INVALID_ARGUMENT, "--array is \"%.60s\", but has to be how many, or FIRST-LAST: at most %d tasks",
        given, ARRAY_MAX);
    return EXIT_USAGE;
}

static int submit_array(struct cli *cli, struct submission *s, const char *array, const char *batch_id)
{
    CLEANUP_MESSAGE Taskworker__ExecuteBatchResponse *response = NULL;
    uint64_t first, count;
    int code = array_parse(cli, array, &first, &count);
    if (!code && s->id) {
        cli_error(
            cli, TW_INVALID_ARGUMENT, "the tasks of an array are named after its batch: say --batch in place of --id");
        code = EXIT_USAGE;
    }
    if (!code)
        code = submission_send_array(cli, s, batch_id, first, count, &response);
    if (code)
        return code;
    json_t *ids = cli->json ? json_array() : NULL;
    for (size_t i = 0; i < response->n_task_ids; i++) {
        if (cli->json) {
            json_array_append_new(ids, json_text(response->task_ids[i]));
        } else {
            output_text(stdout, response->task_ids[i]);
            putchar('\n');
        }
    }
    if (cli->json)
        output_json(stdout, json_pack("{s:o, s:o}", "batch_id", json_text(response->batch_id), "task_ids", ids));
    return output_finish(cli, 0);
}

static int submit_one(struct cli *cli, struct submission *s)
{
    CLEANUP_MESSAGE Taskworker__ExecuteTaskResponse *response = NULL;
    int code = submission_send(cli, s, &response);
    return code ? code : print_accepted(cli, response);
}

int verb_submit(struct cli *cli, int argc, char **argv)
{
    struct submission s = {0};
    const char *array = NULL, *batch_id = NULL;
    const struct option options[] = {SUBMISSION_OPTIONS(&s),
        {.name = "array",
            .kind = OPTION_TEXT,
            .target = &array,
            .metavar = "N|FIRST-LAST",
            .help = "so many tasks, each with its index in HIVEMIND_ARRAY_INDEX"},
        {.name = "batch",
            .kind = OPTION_TEXT,
            .target = &batch_id,
            .metavar = "ID",
            .help = "the id of an array, and its label hivemind.batch [the node makes one]"}};
    const struct syntax syntax = {
        .verb = "submit",
        .usage = "[OPTION]... FILE|FOLDER|- [-- ARGUMENT...]",
        .text = "Hands the Python source text or shell script in FILE (-: standard input) in as a task, with these "
                "arguments,\n"
                "and prints the task's id once the node has it on disk. A FOLDER is packed and handed in as a whole, "
                "and so is\n"
                "an archive of one (.zip, .tar.gz, .tar.zst).",
        .example = "  hivemind submit train.py -- --epochs 10\n"
                   "  hivemind submit --output 'out/*.png' my-project/\n"
                   "  echo 'result = 6 * 7' | hivemind submit --timeout 5s -\n"
                   "  hivemind submit --id nightly-1 --retries 2 --env TOKEN backup.sh\n"
                   "  hivemind submit --array 0-99 --batch render --label project=maps frame.py",
        .options = options,
        .n_options = ARRAY_LEN(options),
        .missing = "FILE",
        .min_words = 1,
        .max_words = 1,
        .takes_rest = true,
    };
    struct arguments args;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code)) {
        if (args.words.n == 0) {
            cli_error(cli, TW_INVALID_ARGUMENT, "name the FILE before \"--\"; see hivemind submit --help");
            code = EXIT_USAGE;
        }
        if (!code)
            code = submission_make(cli, &s, &args);
        if (!code && batch_id && !array) {
            cli_error(cli, TW_INVALID_ARGUMENT, "--batch names an array: give --array too");
            code = EXIT_USAGE;
        }
        if (!code)
            code = array ? submit_array(cli, &s, array, batch_id) : submit_one(cli, &s);
    }
    arguments_done(&args);
    submission_done(&s);
    return code;
}
