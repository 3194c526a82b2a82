/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/tasks.h"

static int retry_one(struct cli *cli, const char *id, const struct words *after)
{
    Taskworker__RetryTaskRequest request = TASKWORKER__RETRY_TASK_REQUEST__INIT;
    CLEANUP_MESSAGE Taskworker__ExecuteTaskResponse *response = NULL;
    request.task_id = (char *)id;
    request.after = (char **)after->items;
    request.n_after = after->n;
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

/* --- dead letters --- */

struct dead {
    char **ids;
    size_t n, cap;
    int64_t oldest_us;
    struct map retried; /* ids that others are retries of; each key is its value too */
    bool oom;
};

static void dead_done(struct dead *d)
{
    for (size_t i = 0; i < d->n; i++)
        free(d->ids[i]);
    free(d->ids);
    map_for_each (it, &d->retried)
        free(it->value);
    map_done(&d->retried);
}

static int note_dead(struct cli *cli UNUSED, const Taskworker__Task *task, void *ctx)
{
    struct dead *d = ctx;
    if (d->n == d->cap) {
        size_t cap = d->cap ? d->cap * 2 : 64;
        char **ids = reallocarray(d->ids, cap, sizeof *ids);
        if (!ids) {
            d->oom = true;
            return EXIT_TROUBLE;
        }
        d->ids = ids;
        d->cap = cap;
    }
    char *id = strdup(task->task_id);
    d->oom = !id;
    if (!id)
        return EXIT_TROUBLE;
    d->ids[d->n++] = id;
    d->oldest_us = task->created_us; /* the newest come first */
    return 0;
}

static int note_retry(struct cli *cli UNUSED, const Taskworker__Task *task, void *ctx)
{
    struct dead *d = ctx;
    if (!*task->retry_of || map_get(&d->retried, task->retry_of))
        return 0;
    char *id = strdup(task->retry_of);
    if (id && map_put(&d->retried, id, id) == 0)
        return 0;
    free(id);
    d->oom = true;
    return EXIT_TROUBLE;
}

/* The dead letters, and which tasks have been tried again since the oldest of them. */
static int find_dead(struct cli *cli, const struct labels *labels, struct dead *d)
{
    Taskworker__ListTasksRequest dead = TASKWORKER__LIST_TASKS_REQUEST__INIT,
                                 all = TASKWORKER__LIST_TASKS_REQUEST__INIT;
    dead.dead_letters = true;
    dead.labels = all.labels = labels->list;
    dead.n_labels = all.n_labels = labels->n;
    int code = tasks_walk(cli, &dead, UINT64_MAX, note_dead, d, NULL);
    all.created_from_us = d->oldest_us;
    if (!code && d->n)
        code = tasks_walk(cli, &all, UINT64_MAX, note_retry, d, NULL);
    if (d->oom)
        cli_error(cli, TW_RESOURCE_EXHAUSTED, "out of memory");
    return code;
}

static int retry_dead(struct cli *cli, struct labels *labels, const struct words *after)
{
    CLEANUP(dead_done) struct dead d = {0};
    map_init(&d.retried);
    size_t done = 0;
    int code = labels_parse(cli, labels);
    if (!code)
        code = find_dead(cli, labels, &d);
    if (code)
        return code;
    for (size_t i = 0; i < d.n; i++) {
        if (map_get(&d.retried, d.ids[i]))
            continue;
        int one = retry_one(cli, d.ids[i], after);
        code = code ? code : one;
        done++;
    }
    if (done == 0)
        cli_note(cli, "there is no dead letter%s%s", labels->n ? " with this label" : "",
            d.n ? " that has not been tried again already" : "");
    return code;
}

/* --- --- */

static int retry(struct cli *cli, const struct words *ids, bool dead, struct labels *labels, const struct words *after)
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
        return retry_dead(cli, labels, after);
    for (size_t i = 0; i < ids->n; i++) {
        int one = retry_one(cli, ids->items[i], after);
        code = code ? code : one;
    }
    return code;
}

int verb_retry(struct cli *cli, int argc, char **argv)
{
    bool dead = false;
    struct labels labels = {0};
    struct words after = {0};
    const struct option options[] = {
        {.name = "dead",
            .kind = OPTION_FLAG,
            .target = &dead,
            .help = "all dead letters that were not tried again yet: what failed with its retries used up"},
        {.name = "after",
            .kind = OPTION_LIST,
            .target = &after,
            .metavar = "ID",
            .help = "starts only when this task has ended well; may be repeated"},
        LABELS_OPTION(&labels, "only dead letters with this label; may be repeated"),
    };
    const struct syntax syntax = {
        .verb = "retry",
        .usage = "[OPTION]... ID...|--dead",
        .text = "Hands in once more what tasks were that failed or were stopped, each as a new task with the same\n"
                "labels, and prints the new ids. What has ended stays as it is; `show` of the new one names it.\n"
                "One that failed because another did needs --after: what it is to wait for this time.",
        .example = "  hivemind retry task_001\n"
                   "  hivemind retry --dead --label project=maps",
        .options = options,
        .n_options = ARRAY_LEN(options),
        .max_words = SIZE_MAX,
    };
    struct arguments args;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code))
        code = output_finish(cli, retry(cli, &args.words, dead, &labels, &after));
    arguments_done(&args);
    labels_done(&labels);
    words_done(&after);
    return code;
}
