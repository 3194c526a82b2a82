/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/tasks.h"

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

/* What has become of those that are waited for. */
struct tally {
    uint64_t all, done, failed;
    int worst;
};

static void show_progress(const struct cli *cli, const struct tally *t)
{
    if (t->all > 1 && !cli->json && isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r\033[K%llu of %llu have ended", (unsigned long long)t->done, (unsigned long long)t->all);
        if (t->failed)
            fprintf(stderr, ", %llu of them not well", (unsigned long long)t->failed);
    }
}

static void clear_progress(const struct cli *cli, const struct tally *t)
{
    if (t->all > 1 && !cli->json && isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
}

static void wait_for_one(struct waiter *w, const char *id, struct tally *t)
{
    CLEANUP_MESSAGE Taskworker__WaitTaskResponse *response = NULL;
    show_progress(w->cli, t);
    int code = wait_for(w, id, &response);
    clear_progress(w->cli, t);
    if (!code && response) {
        print_end(w->cli, response->task);
        code = task_exit_code(response->task);
        t->done++;
        t->failed += code != 0;
    }
    t->worst = t->worst ? t->worst : code;
    if (w->give_up) /* this weighs more than how one of them has ended */
        t->worst = code;
}

static int wait_for_all(struct cli *cli, const struct words *ids, uint64_t timeout_us)
{
    struct waiter w = {.cli = cli, .deadline_us = timeout_us ? clock_monotonic_us() + timeout_us : 0};
    struct tally t = {.all = ids->n};
    for (size_t i = 0; i < ids->n && !w.give_up; i++)
        wait_for_one(&w, ids->items[i], &t);
    return output_finish(cli, t.worst);
}

struct found {
    char **ids;
    size_t n, room;
};

static int keep_id(struct cli *cli, const Taskworker__Task *task, void *ctx)
{
    struct found *f = ctx;
    if (f->n == f->room) {
        size_t room = f->room ? 2 * f->room : 64;
        char **more = realloc(f->ids, room * sizeof *more);
        if (!more) {
            cli_error(cli, TW_RESOURCE_EXHAUSTED, "out of memory");
            return EXIT_TROUBLE;
        }
        f->ids = more;
        f->room = room;
    }
    f->ids[f->n] = strdup(task->task_id);
    f->n += f->ids[f->n] != NULL;
    return 0;
}

/* Those that are there now, the oldest first: it will end first, most likely. */
static int wait_for_label(struct cli *cli, struct labels *labels, uint64_t timeout_us)
{
    Taskworker__ListTasksRequest request = TASKWORKER__LIST_TASKS_REQUEST__INIT;
    struct found f = {0};
    int code = labels_parse(cli, labels);
    request.labels = labels->list;
    request.n_labels = labels->n;
    if (!code)
        code = tasks_walk(cli, &request, UINT64_MAX, keep_id, &f, NULL);
    for (size_t i = 0; i < f.n / 2; i++) {
        char *other = f.ids[i];
        f.ids[i] = f.ids[f.n - 1 - i];
        f.ids[f.n - 1 - i] = other;
    }
    const struct words ids = {.items = (const char **)f.ids, .n = f.n};
    if (!code && f.n == 0) {
        cli_error(cli, TW_NOT_FOUND, "there is no task with this label");
        code = EXIT_NOT_FOUND;
    }
    if (!code)
        code = wait_for_all(cli, &ids, timeout_us);
    for (size_t i = 0; i < f.n; i++)
        free(f.ids[i]);
    free(f.ids);
    return code;
}

static int wait_for_these(struct cli *cli, const struct words *ids, struct labels *labels, uint64_t timeout_us)
{
    if ((ids->n > 0) == (labels->given.n > 0)) {
        cli_error(cli, TW_INVALID_ARGUMENT, "%s",
            ids->n ? "--label says which: give no ID beside it" : "ID is missing; or say --label");
        return EXIT_USAGE;
    }
    return ids->n ? wait_for_all(cli, ids, timeout_us) : wait_for_label(cli, labels, timeout_us);
}

int verb_wait(struct cli *cli, int argc, char **argv)
{
    uint64_t timeout_us = 0;
    struct labels labels = {0};
    const struct option options[] = {
        {.name = "timeout",
            .kind = OPTION_DURATION,
            .target = &timeout_us,
            .min = 1000,
            .metavar = "TIME",
            .help = "how long to wait for all of them [for ever]"},
        LABELS_OPTION(&labels, "all tasks with this label; may be repeated"),
    };
    const struct syntax syntax = {
        .verb = "wait",
        .usage = "[OPTION]... ID...|--label KEY=VALUE",
        .text = "Waits until these tasks have ended and prints how. Exits as the first one of them that did not end "
                "well, as\n"
                "run would; 124 if not all have ended in time. A node that goes away is waited for, up to a minute.\n"
                "Goes on with the next where there is no such task, and exits with 125 then.",
        .example = "  hivemind wait task_001 task_002\n"
                   "  hivemind wait --timeout 1m task_001\n"
                   "  hivemind wait --label hivemind.batch=nightly",
        .options = options,
        .n_options = ARRAY_LEN(options),
        .max_words = SIZE_MAX,
    };
    struct arguments args;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code))
        code = wait_for_these(cli, &args.words, &labels, timeout_us);
    arguments_done(&args);
    labels_done(&labels);
    return code;
}
