/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/options.h"
#include "cli/output.h"
#include "cli/tasks.h"

static int retry_one(struct cli *cli, const char *id)
{
    Taskworker__RetryTaskRequest request = TASKWORKER__RETRY_TASK_REQUEST__INIT;
    CLEANUP_MESSAGE Taskworker__ExecuteTaskResponse *response = NULL;
    request.task_id = (char *)id;
    int code = cli_call(cli, "RetryTask", &request.base, &taskworker__execute_task_response__descriptor, 0, &response);
    if (code)
        return code;
    if (cli->json) {
        output_json(stdout,
            json_pack("{s:o, s:o, s:s}", "task_id", json_text(response->task_id), "retry_of", json_text(id), "state",
                task_state_name(response->state)));
    } else {
        output_text(stdout, response->task_id);
        putchar('\n');
    }
    return 0;
}

static int retry_found(struct cli *cli, const Taskworker__Task *task, void *ctx)
{
    ++*(uint64_t *)ctx;
    return retry_one(cli, task->task_id);
}

static int retry_dead(struct cli *cli, struct labels *labels)
{
    Taskworker__ListTasksRequest request = TASKWORKER__LIST_TASKS_REQUEST__INIT;
    uint64_t count = 0;
    int code = labels_parse(cli, labels);
    request.dead_letters = true;
    request.labels = labels->list;
    request.n_labels = labels->n;
    if (!code)
        code = tasks_walk(cli, &request, UINT64_MAX, retry_found, &count, NULL);
    if (!code && count == 0)
        cli_note(cli, "there is no dead letter%s", labels->n ? " with this label" : "");
    return code;
}

static int retry(struct cli *cli, const struct words *ids, bool dead, struct labels *labels)
{
    int code = 0;
    if (dead == (ids->n > 0)) {
        cli_error(cli, TW_INVALID_ARGUMENT, "%s",
            dead ? "--dead means every dead letter: name no ID beside it"
                 : "ID is missing; or say --dead for every dead letter");
        return EXIT_USAGE;
    }
    if (labels->given.n && !dead) {
        cli_error(cli, TW_INVALID_ARGUMENT, "--label chooses among dead letters: say --dead too");
        return EXIT_USAGE;
    }
    if (dead)
        return retry_dead(cli, labels);
    for (size_t i = 0; i < ids->n; i++) {
        int one = retry_one(cli, ids->items[i]);
        code = code ? code : one;
    }
    return code;
}

int verb_retry(struct cli *cli, int argc, char **argv)
{
    bool dead = false;
    struct labels labels = {0};
    const struct option options[] = {
        {.name = "dead",
            .kind = OPTION_FLAG,
            .target = &dead,
            .help = "all dead letters: what failed with its retries used up"},
        LABELS_OPTION(&labels, "only dead letters with this label; may be repeated"),
    };
    const struct syntax syntax = {
        .verb = "retry",
        .usage = "[OPTION]... ID...|--dead",
        .text = "Hands in once more what tasks were that failed or were stopped, each as a new task with the same\n"
                "labels, and prints the new ids. What has ended stays as it is; `show` of the new one names it.",
        .example = "  hivemind retry task_001\n"
                   "  hivemind retry --dead --label project=maps",
        .options = options,
        .n_options = ARRAY_LEN(options),
        .max_words = SIZE_MAX,
    };
    struct arguments args;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code))
        code = output_finish(cli, retry(cli, &args.words, dead, &labels));
    arguments_done(&args);
    labels_done(&labels);
    return code;
}
