/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A live table of the node and its tasks. On a terminal it has a screen of its own, drawn anew each second from what the node
 * answers; the terminal is put back however the program leaves, but for a kill that nothing can be done about.
 */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/receipt.h"
#include "cli/table.h"
#include "cli/tasks.h"

enum { REFRESH_MS = 1000, ROWS_DEFAULT = 20, ROWS_MAX = 1000, HEAD_LINES = 4 };

struct screen {
    struct termios before;
    bool changed;
};

static volatile sig_atomic_t asked_to_leave, resized;

static void on_leave(int signal)
{
    asked_to_leave = signal;
}

static void on_resize(int signal UNUSED)
{
    resized = 1;
}

static void screen_open(struct screen *s)
{
    struct sigaction leave = {.sa_handler = on_leave}, resize = {.sa_handler = on_resize};
    sigaction(SIGINT, &leave, NULL);
    sigaction(SIGTERM, &leave, NULL);
    sigaction(SIGHUP, &leave, NULL);
    sigaction(SIGWINCH, &resize, NULL);
    if (isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &s->before) == 0) {
        struct termios now = s->before;
        now.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        s->changed = tcsetattr(STDIN_FILENO, TCSANOW, &now) == 0;
    }
    fputs("\033[?1049h\033[?25l", stdout);
}

static void screen_close(const struct screen *s)
{
    fputs("\033[?25h\033[?1049l", stdout);
    fflush(stdout);
    if (s->changed)
        tcsetattr(STDIN_FILENO, TCSANOW, &s->before);
}

static unsigned rows_of_terminal(void)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row <= HEAD_LINES + 1)
        return ROWS_DEFAULT;
    return (unsigned)MIN(size.ws_row - HEAD_LINES - 1, (int)ROWS_MAX);
}

/* --- what is shown --- */

static int add_task(struct cli *cli, const Taskworker__Task *t, void *ctx)
{
    struct table *table = ctx;
    char age[32], ran[32] = "-", cpu[32] = "-", memory[32] = "-";
    int64_t now = (int64_t)clock_wall_us();
    if (t->started_us)
        format_span(now > t->started_us ? (uint64_t)(now - t->started_us) : 0, ran);
    if (t->usage && usage_cpu(t->usage))
        format_span(usage_cpu(t->usage), cpu);
    if (t->usage && usage_memory(t->usage))
        format_bytes(usage_memory(t->usage), memory);
    const char *const cells[] = {t->task_id, t->task_type, t->paused ? "PAUSED" : task_state_name(t->state),
        format_span(now > t->created_us ? (uint64_t)(now - t->created_us) : 0, age), ran, cpu, memory, t->message};
    table_add(table, cells, color_of_state(cli, t->state));
    return 0;
}

/* Those that run, then those that wait, as many as there is room for. */
static int add_tasks(struct cli *cli, struct table *table, unsigned rows)
{
    Taskworker__Task__State busy[] = {
        TASKWORKER__TASK__STATE__RUNNING, TASKWORKER__TASK__STATE__PREPARING, TASKWORKER__TASK__STATE__ALLOCATED};
    Taskworker__Task__State waiting[] = {TASKWORKER__TASK__STATE__QUEUED};
    Taskworker__ListTasksRequest request = TASKWORKER__LIST_TASKS_REQUEST__INIT;
    request.states = busy;
    request.n_states = ARRAY_LEN(busy);
    int code = tasks_walk(cli, &request, rows, add_task, table, NULL);
    size_t shown = table->n_rows - 1;
    request.states = waiting;
    request.n_states = ARRAY_LEN(waiting);
    if (!code && shown < rows)
        code = tasks_walk(cli, &request, rows - shown, add_task, table, NULL);
    return code;
}

static void print_head(struct cli *cli, const Taskworker__GetStatusResponse *r)
{
    char used[32], all[32];
    output_text(stdout, r->node_id);
    fputs(" at ", stdout);
    output_text(stdout, cli->server);
    fputs(", version ", stdout);
    output_text(stdout, r->version);
    printf("\n%u of %u slots busy, %u waiting; %llu completed, %llu failed, %llu stopped\n", r->running_tasks,
        r->max_concurrent_tasks, r->queued_tasks, (unsigned long long)r->completed_tasks,
        (unsigned long long)r->failed_tasks, (unsigned long long)r->stopped_tasks);
    printf("given to tasks: %.4g of %.4g processors, %s of %s\n\n", (double)r->cpu_millis_allocated / 1000,
        (double)r->cpu_millis / 1000, format_bytes(r->memory_bytes_allocated, used),
        format_bytes(r->memory_bytes, all));
}

static int draw(struct cli *cli, unsigned rows)
{
    static const char *const titles[] = {"ID", "TYPE", "STATE", "AGE", "RAN", "CPU", "MEMORY", "MESSAGE"};
    CLEANUP_MESSAGE Taskworker__GetStatusResponse *status = NULL;
    Taskworker__GetStatusRequest request = TASKWORKER__GET_STATUS_REQUEST__INIT;
    struct table table;
    table_init(&table, ARRAY_LEN(titles));
    table_add(&table, titles, "");
    int code = cli_call(cli, "GetStatus", &request.base, &taskworker__get_status_response__descriptor, 0, &status);
    if (!code)
        code = add_tasks(cli, &table, rows);
    if (!code) {
        print_head(cli, status);
        if (table_print(&table, stdout, 2, color_off(cli)) < 0) {
            cli_error(cli, TW_RESOURCE_EXHAUSTED, "out of memory");
            code = EXIT_TROUBLE;
        }
    }
    table_done(&table);
    return code;
}

/* --- the loop --- */

/* A second, or less: a key was pressed, the window changed, or it is time to leave. */
static bool wait_for_next(void)
{
    struct pollfd keys = {.fd = isatty(STDIN_FILENO) ? STDIN_FILENO : -1, .events = POLLIN};
    char key = 0;
    resized = 0;
    if (poll(&keys, 1, REFRESH_MS) > 0 && (read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 3))
        return false;
    return !asked_to_leave;
}

static int run_live(struct cli *cli)
{
    struct screen screen = {0};
    int code = 0;
    if (!cli_connect(cli))
        return cli->connect_code;
    screen_open(&screen);
    do {
        fputs("\033[H\033[2J", stdout);
        code = draw(cli, rows_of_terminal());
        fflush(stdout);
    } while (!code && wait_for_next());
    screen_close(&screen);
    return code;
}

int verb_top(struct cli *cli, int argc, char **argv)
{
    bool once = false;
    const struct option options[] = {
        {.name = "once",
            .kind = OPTION_FLAG,
            .target = &once,
            .help = "print it once; so it is also without a terminal"},
    };
    const struct syntax syntax = {
        .verb = "top",
        .usage = "[OPTION]...",
        .text = "Shows the node and its tasks, those that run first, drawn anew each second. q or Ctrl-C leaves.",
        .example = "  hivemind top\n"
                   "  hivemind top --once",
        .options = options,
        .n_options = ARRAY_LEN(options),
    };
    struct arguments args;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code)) {
        if (cli->json) {
            cli_error(
                cli, TW_INVALID_ARGUMENT, "top is for people; for programs there are status --json and ps --json");
            code = EXIT_USAGE;
        } else if (once || !isatty(STDOUT_FILENO)) {
            code = output_finish(cli, draw(cli, ROWS_MAX));
        } else {
            code = run_live(cli);
        }
    }
    arguments_done(&args);
    return code;
}
