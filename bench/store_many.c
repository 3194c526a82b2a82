/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a store costs that holds very many tasks: opening it, the first page of lists, a round of retention, and the memory
 * for it. The tasks are made by SQL, in a folder that is removed. Usage: store_many [tasks] [rounds] [folder]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>
#include <uv.h>

#include "base/clock.h"
#include "base/parse.h"
#include "base/util.h"
#include "store/store.h"

enum { PAGE = 50, ROUNDS_MAX = 101 };

static void die(const char *what, const char *why)
{
    fprintf(stderr, "store_many: %s: %s\n", what, why);
    exit(1);
}

/* Finished python tasks of a hundred owners; a tenth has a label, each has its input, result and three events. */
static void fill(const char *path, uint64_t n)
{
    char name[200], sql[1500];
    sqlite3 *db;
    snprintf(name, sizeof name, "%s/taskworker.db", path);
    snprintf(sql, sizeof sql,
        "PRAGMA synchronous = OFF; BEGIN;"
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %" PRIu64 ") "
        "INSERT INTO tasks (id, type, owner, state, reason, message, error, attempt, retries, timeout_us, created_us, "
        "started_us, finished_us, result_size, digest) SELECT 'task-' || i, 'python', 'owner-' || (i %% 100), "
        "5 + (i %% 20 = 0), 0, 'completed', '', 1 + (i %% 200 = 0), i %% 200 = 0, 0, i, i, i, 18, zeroblob(32) FROM n;"
        "INSERT INTO labels SELECT 'team', 'blue', seq FROM tasks WHERE seq %% 10 = 0;"
        "INSERT INTO inputs (seq, size, data) SELECT seq, 33, zeroblob(33) FROM tasks;"
        "INSERT INTO results (seq, size, data) SELECT seq, 18, zeroblob(18) FROM tasks;"
        "INSERT INTO events (seq, time_us, kind, attempt, reason) SELECT seq, seq, k.value, 1, 0 FROM tasks, "
        "json_each('[1,2,4]') k;"
        "COMMIT; PRAGMA wal_checkpoint(TRUNCATE)",
        n);
    if (sqlite3_open(name, &db) != SQLITE_OK || sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        die(path, sqlite3_errmsg(db));
    sqlite3_close(db);
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

struct bench {
    uv_loop_t loop;
    struct store *store;
    size_t rounds, found;
};

static double open_store(struct bench *b, const char *path)
{
    struct tw_error error;
    const struct store_options options = {.path = path};
    uint64_t start = clock_monotonic_us();
    if (store_open(&b->loop, &options, &b->store, &error) < 0)
        die("open", error.message);
    return (double)(clock_monotonic_us() - start) / 1000;
}

static void closed(void *ctx)
{
    (void)ctx;
}

static void close_store(struct bench *b)
{
    store_close(b->store, closed, NULL);
    uv_run(&b->loop, UV_RUN_DEFAULT);
}

static void on_page(void *ctx, const struct store_task *tasks, size_t n, uint64_t next, const struct tw_error *error)
{
    (void)tasks, (void)next;
    if (error)
        die("list", error->message);
    ((struct bench *)ctx)->found = n;
}

static void list(struct bench *b, const char *what, struct store_filter filter)
{
    double times[ROUNDS_MAX], first = 0;
    filter.limit = PAGE;
    for (size_t i = 0; i < b->rounds; i++) {
        uint64_t start = clock_monotonic_us();
        store_list(b->store, &filter, on_page, b);
        uv_run(&b->loop, UV_RUN_DEFAULT);
        times[i] = (double)(clock_monotonic_us() - start) / 1000;
        first = i == 0 ? times[0] : first;
    }
    printf(
        "  list %-22s %4zu found %8.2f ms at first, %6.2f ms then\n", what, b->found, first, median(times, b->rounds));
}

static void on_pruned(void *ctx, size_t removed, bool more, const struct tw_error *error)
{
    (void)more;
    if (error)
        die("prune", error->message);
    ((struct bench *)ctx)->found = removed;
}

static void prune(struct bench *b, const struct store_retention *keep)
{
    double times[ROUNDS_MAX], first = 0;
    for (size_t i = 0; i < b->rounds; i++) {
        uint64_t start = clock_monotonic_us();
        store_prune(b->store, keep, on_pruned, b);
        uv_run(&b->loop, UV_RUN_DEFAULT);
        times[i] = (double)(clock_monotonic_us() - start) / 1000;
        first = i == 0 ? times[0] : first;
    }
    printf(
        "  prune %-21s %4zu gone  %8.2f ms at first, %6.2f ms then\n", "", b->found, first, median(times, b->rounds));
}

static void lists(struct bench *b)
{
    static const struct tw_label label = {"team", "blue"}, none = {"team", "red"};
    list(b, "of all", (struct store_filter){0});
    list(b, "by state", (struct store_filter){.states = 1u << TW_TASK_FAILED});
    list(b, "by type", (struct store_filter){.type = "python"});
    list(b, "by label, a tenth", (struct store_filter){.labels = &label, .n_labels = 1});
    list(b, "by label, none", (struct store_filter){.labels = &none, .n_labels = 1});
    list(b, "by owner, a hundredth", (struct store_filter){.owner = "owner-7"});
    list(b, "by owner and label", (struct store_filter){.owner = "owner-7", .labels = &label, .n_labels = 1});
    list(b, "of dead letters", (struct store_filter){.dead_letters = true});
    list(b, "by time, the oldest", (struct store_filter){.created_to_us = 100});
}

static uint64_t argument(int argc, char **argv, int at, uint64_t max, uint64_t otherwise)
{
    uint64_t value = otherwise;
    if (argc > at && parse_u64(argv[at], 1, max, &value) < 0)
        die("usage", "store_many [tasks] [rounds] [folder]");
    return value;
}

int main(int argc, char **argv)
{
    uint64_t n = argument(argc, argv, 1, 100000000, 1000000);
    struct bench b = {.rounds = (size_t)argument(argc, argv, 2, ROUNDS_MAX, 21)};
    char folder[128], path[160], command[200];
    snprintf(folder, sizeof folder, "%s/hivemind-bench-XXXXXX", argc > 3 ? argv[3] : "/tmp");
    if (!mkdtemp(folder) || uv_loop_init(&b.loop) != 0)
        die(folder, "cannot begin");
    snprintf(path, sizeof path, "%s/store", folder);
    open_store(&b, path);
    close_store(&b);
    fill(path, n);
    long before = resident_kib();
    printf("store of %" PRIu64 " tasks\n  open %36.2f ms\n", n, open_store(&b, path));
    lists(&b);
    prune(&b, &(struct store_retention){.ended_before_us = n / 2});
    prune(&b, &(struct store_retention){.max_tasks = n / 2});
    printf("  resident %30ld KiB, %ld more than before it was opened\n", resident_kib(), resident_kib() - before);
    close_store(&b);
    uv_loop_close(&b.loop);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command) == 0 ? 0 : 1;
}
