/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tasks per second straight at the slot layer: launcher, slots and runs, without gRPC and without a disk.
 *
 *   slot_bench LIBEXEC sandbox TYPE COUNT IN_FLIGHT [fresh]   isolated tasks: `result = 42`, or `true` for a shell
 *   slot_bench LIBEXEC fork COUNT IN_FLIGHT             the peer: the same in forks of one warm interpreter, not isolated
 *   slot_bench LIBEXEC spawn COUNT IN_FLIGHT CMD...     the peer: a program from its start, bwrap for one
 *
 * Prints the rate, and what one task took of processor time on the whole machine.
 */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/parse.h"
#include "base/util.h"
#include "exec/sandbox.h"
#include "warm_fork.h"

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "slot_bench: %s\n", what);
    exit(1);
}

/* Microseconds that all processors together have worked so far. */
static uint64_t machine_cpu_us(void)
{
    uint64_t user, nice, system, idle, wait, irq, soft;
    FILE *f = fopen("/proc/stat", "re");
    if (!f || fscanf(f, "cpu %lu %lu %lu %lu %lu %lu %lu", &user, &nice, &system, &idle, &wait, &irq, &soft) != 7)
        die("cannot read /proc/stat");
    fclose(f);
    return (user + nice + system + irq + soft) * 1000000 / (uint64_t)sysconf(_SC_CLK_TCK);
}

static uint64_t begun_us, begun_cpu_us;

static void begin(void)
{
    begun_us = clock_monotonic_us();
    begun_cpu_us = machine_cpu_us();
}

static void print_rate(const char *name, unsigned count)
{
    double seconds = (double)(clock_monotonic_us() - begun_us) / 1e6;
    double cpu = (double)(machine_cpu_us() - begun_cpu_us) / count;
    printf("%s %.1f /s, %.0f us of processor time each\n", name, count / seconds, cpu);
}

/* --- the sandbox --- */

struct bench {
    struct runtime *rt;
    struct run_spec spec;
    unsigned left, running, warming;
    uint64_t user_us, system_us;
    const char *expected;
};

static void start_one(struct bench *b);

struct bench_run {
    struct bench *bench;
    struct run *run;
};

static void on_ready(void *ctx)
{
    struct bench_run *r = ctx;
    r->run->rt->ops->go(r->run);
}

static void on_output(void *ctx UNUSED, enum tw_stream stream UNUSED, const void *data, size_t len)
{
    (void)!write(STDERR_FILENO, data, len);
}

static void on_closed(void *ctx UNUSED)
{
}

static void on_ended(void *ctx, const struct run_outcome *o)
{
    struct bench_run *r = ctx;
    struct bench *b = r->bench;
    if (o->end != RUN_EXITED || o->exit_code || o->result_len != strlen(b->expected) ||
        memcmp(o->result, b->expected, o->result_len) != 0)
        die(o->message ? o->message : "a task did not end as it should");
    if (b->warming == 0) {
        b->user_us += o->usage.user_us;
        b->system_us += o->usage.system_us;
    }
    free(r);
    b->running--;
    if (b->warming > 0 && --b->warming == 0)
        begin();
    if (b->left > 0)
        start_one(b);
    else if (b->running == 0)
        b->rt->ops->close(b->rt, on_closed, NULL);
}

static void start_one(struct bench *b)
{
    static const struct run_events events = {.ready = on_ready, .output = on_output, .ended = on_ended};
    struct bench_run *r = calloc(1, sizeof *r);
    struct tw_error error;
    if (!r)
        die("no memory");
    r->bench = b;
    b->left--;
    b->running++;
    r->run = b->rt->ops->start(b->rt, &b->spec, &events, r, &error);
    if (!r->run)
        die(error.message);
}

static void bench_sandbox(const char *libexec, const char *type, unsigned count, unsigned in_flight, bool fresh)
{
    struct tw_error error;
    struct launcher_options options = {.libexec_dir = libexec, .max_slots = in_flight, .uid_base = 1910000000};
    struct launcher *launcher;
    uv_loop_t loop;
    bool python = !strcmp(type, "python");
    static const char source[] = "result = 42\n", script[] = "true\n";
    struct bench b = {
        .spec = {.task_id = "bench",
            .type = type,
            .owner = "",
            .max_result = 1000,
            .network = TW_NETWORK_NONE,
            .limits = {.processes = 1024,
                .open_files = 1024,
                .workspace_bytes = 1 << 30,
                .tmp_bytes = 256 << 20,
                .file_bytes = 4ull << 30},
            .fresh_interpreter = fresh,
            .data = python ? source : script,
            .data_len = python ? sizeof source - 1 : sizeof script - 1},
        .warming = 32 * in_flight, /* until all slots are up and have had their first tasks */
        .left = count + 32 * in_flight,
        .expected = python ? "42" : "",
    };
    if (launcher_start(&options, &launcher, &error) < 0 || uv_loop_init(&loop) < 0 ||
        sandbox_new(&loop, launcher, in_flight, in_flight, &b.rt, &error) < 0)
        die(error.message);
    for (unsigned i = 0; i < in_flight; i++)
        start_one(&b);
    uv_run(&loop, UV_RUN_DEFAULT);
    print_rate(type, count);
    printf("of which in the task itself: %.0f us user, %.0f us system\n", (double)b.user_us / count,
        (double)b.system_us / count);
    uv_loop_close(&loop);
}

/* --- the peers --- */

/* Keeps in_flight children running until count have ended well. */
static void run_children(unsigned count, unsigned in_flight, pid_t (*start)(void *), void *ctx)
{
    unsigned left = count, running = 0;
    begin();
    while (left > 0 || running > 0) {
        for (; left > 0 && running < in_flight; left--, running++) {
            if (start(ctx) < 0)
                die("cannot start a child");
        }
        int status;
        if (waitpid(-1, &status, 0) < 0)
            die(strerror(errno));
        if (status != 0)
            die("a child failed");
        running--;
    }
}

static void bench_fork(unsigned count, unsigned in_flight)
{
    if (warm_fork_init() < 0 || warm_fork_run(2 * in_flight, in_flight) < 0)
        die("the warm interpreter");
    begin();
    if (warm_fork_run(count, in_flight) < 0)
        die("the warm interpreter");
    print_rate("fork", count);
}

static pid_t start_spawn(void *ctx)
{
    char **argv = ctx;
    pid_t pid;
    return posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ) == 0 ? pid : -1;
}

int main(int argc, char **argv)
{
    uint64_t count, in_flight;
    setvbuf(stdout, NULL, _IOLBF, 0);
    int numbers = argc > 2 && !strcmp(argv[2], "sandbox") ? 4 : 3;
    if (argc < numbers + 2 || parse_u64(argv[numbers], 1, 10000000, &count) < 0 ||
        parse_u64(argv[numbers + 1], 1, 1024, &in_flight) < 0)
        die("see the head of bench/slot_bench.c");
    if (!strcmp(argv[2], "sandbox"))
        bench_sandbox(argv[1], argv[3], (unsigned)count, (unsigned)in_flight, argc > 6);
    else if (!strcmp(argv[2], "fork"))
        bench_fork((unsigned)count, (unsigned)in_flight);
    else if (!strcmp(argv[2], "spawn") && argc > 5) {
        run_children((unsigned)count, (unsigned)in_flight, start_spawn, argv + 5);
        print_rate("spawn", (unsigned)count);
    } else
        die("see the head of bench/slot_bench.c");
    return 0;
}
