/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many small tasks a second the store takes in, and how many it ends (attempt and finish, two
 * writes each), with a fixed number in flight. Prints medians over the rounds. Usage: store_bench
 * [tasks a round] [in flight] [rounds] [folder]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uv.h>

#include "base/clock.h"
#include "base/parse.h"
#include "base/util.h"
#include "store/internal.h"
#include "store/store.h"

enum { ROUNDS_MAX = 101 };

struct bench {
    struct store *store;
    uint64_t per_round, in_flight, round;
    uint64_t started, done;
    uint64_t *seqs; /* of this round */
};

struct job {
    struct bench *bench;
    struct store_task task;
    struct tw_task_info info;
    char id[48];
    uint64_t index;
};

static void die(const char *what, const struct tw_error *error)
{
    fprintf(stderr, "store_bench: %s: %s\n", what, error ? error->message : "failed");
    exit(1);
}

static void admit_next(struct job *job);
static void finish_next(struct job *job);

static void on_admit(void *ctx, const struct store_task *existing, const struct tw_error *error)
{
    struct job *job = ctx;
    if (error || existing)
        die("admit", error);
    job->bench->seqs[job->index] = job->task.seq;
    job->bench->done++;
    admit_next(job);
}

static void admit_next(struct job *job)
{
    static char type[] = "python", empty[] = "", data[] = "import math\nresult = math.sqrt(2)\n";
    struct bench *b = job->bench;
    if (b->started == b->per_round)
        return;
    job->index = b->started++;
    snprintf(job->id, sizeof job->id, "task-%" PRIu64 "-%" PRIu64, b->round, job->index);
    job->task = (struct store_task){
        .info = {.id = job->id, .type = type, .owner = empty, .state = TW_TASK_QUEUED, .created_us = clock_wall_us()},
        .spec = {.data = (uint8_t *)data, .data_len = sizeof data - 1},
    };
    memcpy(job->task.digest, &job->index, sizeof job->index);
    store_admit(b->store, &job->task, on_admit, job);
}

static void on_finished(void *ctx, const struct tw_error *error)
{
    struct job *job = ctx;
    if (error)
        die("finish", error);
    job->bench->done++;
    finish_next(job);
}

static void on_attempt(void *ctx, const struct tw_error *error)
{
    struct job *job = ctx;
    if (error)
        die("attempt", error);
    store_finish(
        job->bench->store, job->bench->seqs[job->index], &job->info, "1.4142135623730951", 18, on_finished, job);
}

static void finish_next(struct job *job)
{
    struct bench *b = job->bench;
    if (b->started == b->per_round)
        return;
    job->index = b->started++;
    job->info = (struct tw_task_info){.state = TW_TASK_COMPLETED,
        .attempt = 1,
        .finished_us = clock_wall_us(),
        .usage = {.wall_us = 1000, .peak_memory_bytes = 20 << 20, .minor_faults = 200, .processes = 1},
        .receipt = {.runtime = TW_RUNTIME_PYTHON_WARM, .layers = 0xffff, .limits = {.memory_bytes = 1 << 30}}};
    store_attempt(b->store, b->seqs[job->index], 1, clock_wall_us(), on_attempt, job);
}

static double run_round(struct bench *b, uv_loop_t *loop, struct job *jobs, void (*next)(struct job *))
{
    b->started = b->done = 0;
    uint64_t start = clock_monotonic_us();
    for (uint64_t i = 0; i < b->in_flight; i++) {
        jobs[i].bench = b;
        next(&jobs[i]);
    }
    uv_run(loop, UV_RUN_DEFAULT);
    if (b->done != b->per_round)
        die("round", NULL);
    return (double)b->per_round * 1e6 / (double)(clock_monotonic_us() - start);
}

static long resident_kib(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%*d %ld", &pages) != 1)
        pages = 0;
    if (file)
        fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *values, size_t n)
{
    qsort(values, n, sizeof *values, by_value);
    return values[n / 2];
}

static void closed(void *ctx)
{
    (void)ctx;
}

static void remove_store(const char *folder)
{
    char command[256];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command) != 0)
        fprintf(stderr, "store_bench: %s is left behind\n", folder);
}

static uint64_t argument(int argc, char **argv, int at, uint64_t max, uint64_t otherwise)
{
    uint64_t value = otherwise;
    if (argc > at && parse_u64(argv[at], 1, max, &value) < 0) {
        fprintf(stderr, "usage: store_bench [tasks a round] [in flight] [rounds] [folder]\n");
        exit(2);
    }
    return value;
}

int main(int argc, char **argv)
{
    struct bench b = {
        .per_round = argument(argc, argv, 1, 10000000, 20000), .in_flight = argument(argc, argv, 2, 1000000, 1000)};
    size_t rounds = (size_t)argument(argc, argv, 3, ROUNDS_MAX, 5);
    char folder[128], path[160];
    snprintf(folder, sizeof folder, "%s/hivemind-bench-XXXXXX", argc > 4 ? argv[4] : "/tmp");
    if (!mkdtemp(folder))
        die(folder, NULL);
    snprintf(path, sizeof path, "%s/store", folder);
    uv_loop_t loop;
    struct tw_error error;
    struct store_options options = {.path = path};
    struct job *jobs = calloc(b.in_flight, sizeof *jobs);
    b.seqs = calloc(b.per_round, sizeof *b.seqs);
    if (!jobs || !b.seqs || uv_loop_init(&loop) != 0)
        die("no memory", NULL);
    if (store_open(&loop, &options, &b.store, &error) < 0)
        die("open", &error);
    double admits[ROUNDS_MAX], finishes[ROUNDS_MAX];
    for (b.round = 0; b.round < rounds; b.round++) {
        admits[b.round] = run_round(&b, &loop, jobs, admit_next);
        finishes[b.round] = run_round(&b, &loop, jobs, finish_next);
    }
    long resident = resident_kib();
    uint64_t commits = atomic_load(&b.store->commits);
    store_close(b.store, closed, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    printf(
        "store: %" PRIu64 " in flight, medians of %zu rounds of %" PRIu64 " tasks\n", b.in_flight, rounds, b.per_round);
    printf("  admissions/s  %10.0f\n", median(admits, rounds));
    printf("  finishes/s    %10.0f\n", median(finishes, rounds));
    printf("  writes/commit %10.1f\n", (double)(3 * b.per_round * rounds) / (double)commits);
    printf("  resident KiB  %10ld\n", resident);
    remove_store(folder);
    free(jobs);
    free(b.seqs);
    return 0;
}
