/* SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>
#include <unistd.h>

#include "cli/options.h"
#include "cli/output.h"

enum { LOOK_EVERY_MS = 300, END_TIMEOUT_US = 5 * 1000 * 1000 };

struct drain {
    bool stop, detach, no_wait;
    uint64_t timeout_us;
    uint32_t running, queued; /* when it was last asked */
};

static int ask(struct cli *cli, const struct drain *d, Taskworker__ShutdownResponse **ret)
{
    Taskworker__ShutdownRequest request = TASKWORKER__SHUTDOWN_REQUEST__INIT;
    request.mode = d->stop ? TASKWORKER__SHUTDOWN_REQUEST__MODE__STOP
        : d->detach        ? TASKWORKER__SHUTDOWN_REQUEST__MODE__DETACH
                           : TASKWORKER__SHUTDOWN_REQUEST__MODE__DRAIN;
    request.timeout_ms = (int64_t)(d->timeout_us / 1000);
    return cli_call(cli, "Shutdown", &request.base, &taskworker__shutdown_response__descriptor, 0, ret);
}

static void show_progress(const struct cli *cli, uint32_t running)
{
    if (!cli->json && isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K%u %s still", running, running == 1 ? "task runs" : "tasks run");
}

/* Until it does not answer any more, or another one does. False: it could not be asked for want of memory and the like. */
static bool watch_end(struct cli *cli, struct drain *d)
{
    Taskworker__GetStatusRequest request = TASKWORKER__GET_STATUS_REQUEST__INIT;
    struct tw_error error = {0};
    char method[80];
    for (;;) {
        CLEANUP_MESSAGE Taskworker__GetStatusResponse *status = NULL;
        if (rpc_client_unary(cli_connect(cli), cli_method("GetStatus", method), &request.base,
                &taskworker__get_status_response__descriptor, END_TIMEOUT_US, (ProtobufCMessage **)&status, &error) < 0)
            return error.code == TW_UNAVAILABLE || error.code == TW_DEADLINE_EXCEEDED;
        if (status->state != TASKWORKER__GET_STATUS_RESPONSE__STATE__DRAINING)
            return true;
        if (!d->detach)
            d->running = status->running_tasks; /* those that were left are none of the node's any more */
        d->queued = status->queued_tasks;
        show_progress(cli, status->running_tasks);
        (void)poll(NULL, 0, LOOK_EVERY_MS);
    }
}

static void print_left(const struct drain *d, const Taskworker__ShutdownResponse *r)
{
    char span[32];
    if (d->running)
        printf("; %u %s on without it, for %s at most, until its next start takes %s up", d->running,
            d->running == 1 ? "task goes" : "tasks go", format_span((uint64_t)r->detach_timeout_ms * 1000, span),
            d->running == 1 ? "it" : "them");
}

static const char *mode_name(Taskworker__ShutdownRequest__Mode mode)
{
    return mode == TASKWORKER__SHUTDOWN_REQUEST__MODE__STOP  ? "stop"
        : mode == TASKWORKER__SHUTDOWN_REQUEST__MODE__DETACH ? "detach"
                                                             : "drain";
}

static void print_end(struct cli *cli, const struct drain *d, const Taskworker__ShutdownResponse *r, bool ended)
{
    uint32_t running = ended && !d->detach ? 0 : d->running;
    if (cli->json) {
        output_json(stdout,
            json_pack("{s:b, s:s, s:I, s:I, s:b}", "ended", ended, "mode", mode_name(r->mode), "running_tasks",
                (json_int_t)running, "queued_tasks", (json_int_t)d->queued, "forgets_queued", (int)r->forgets_queued));
        return;
    }
    if (isatty(STDERR_FILENO) && ended)
        fputs("\r\033[K", stderr);
    printf("the node %s", ended ? "has ended" : "is on its way down");
    if (d->detach)
        print_left(d, r);
    else if (running)
        printf("; %u %s still", running, running == 1 ? "task runs" : "tasks run");
    if (d->queued && r->forgets_queued)
        printf(
            "; %u %s", d->queued, d->queued == 1 ? "task that waited is forgotten" : "tasks that waited are forgotten");
    else if (d->queued)
        printf("; %u %s for its next start", d->queued, d->queued == 1 ? "task waits" : "tasks wait");
    putchar('\n');
}

static int drain(struct cli *cli, struct drain *d)
{
    CLEANUP_MESSAGE Taskworker__ShutdownResponse *response = NULL;
    if (d->stop && d->detach) {
        cli_error(cli, TW_INVALID_ARGUMENT, "--stop and --detach: one of them");
        return EXIT_USAGE;
    }
    if (d->timeout_us && (d->stop || d->detach)) {
        cli_error(cli, TW_INVALID_ARGUMENT, "--timeout is for running tasks that may end; not with --stop or --detach");
        return EXIT_USAGE;
    }
    cli->fail_fast = true;
    int code = ask(cli, d, &response);
    if (code)
        return code;
    d->running = response->running_tasks;
    d->queued = response->queued_tasks;
    if (d->detach && response->mode == TASKWORKER__SHUTDOWN_REQUEST__MODE__DRAIN && !cli->json)
        fputs(
            "running tasks cannot go on without this node, whose state is in a temporary folder: they may end first\n",
            stderr);
    d->detach = response->mode == TASKWORKER__SHUTDOWN_REQUEST__MODE__DETACH;
    bool ended = !d->no_wait && watch_end(cli, d);
    print_end(cli, d, response, ended);
    return ended || d->no_wait ? 0 : EXIT_TROUBLE;
}

int verb_drain(struct cli *cli, int argc, char **argv)
{
    struct drain d = {0};
    const struct option options[] = {
        {.name = "timeout",
            .kind = OPTION_DURATION,
            .target = &d.timeout_us,
            .min = 1000,
            .metavar = "TIME",
            .help = "how long running tasks may go on before they are stopped [the node's DRAIN_TIMEOUT]"},
        {.name = "detach",
            .kind = OPTION_FLAG,
            .target = &d.detach,
            .help = "leave them running; the node's next start takes them up"},
        {.name = "stop", .kind = OPTION_FLAG, .target = &d.stop, .help = "stop them now"},
        {.name = "no-wait", .kind = OPTION_FLAG, .target = &d.no_wait, .help = "do not wait until the node has ended"},
    };
    const struct syntax syntax = {
        .verb = "drain",
        .usage = "[OPTION]...",
        .text =
            "Ends the node in order: it takes no new tasks, and running ones may end first. Tasks that wait stay on "
            "disk\n"
            "for its next start. Once more, with --stop or --detach, hurries it.",
        .example = "  hivemind drain --timeout 1h\n"
                   "  hivemind drain --detach",
        .options = options,
        .n_options = ARRAY_LEN(options),
    };
    struct arguments args;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code))
        code = output_finish(cli, drain(cli, &d));
    arguments_done(&args);
    return code;
}
