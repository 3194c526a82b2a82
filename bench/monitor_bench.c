/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What monitoring costs on this machine.
 *
 *   monitor_bench SAMPLES FOLDER
 *
 * Takes so many samples as fast as they come, with a database in FOLDER that is written for every ten of them, and prints
 * microseconds of processor time for one, all threads together; bytes of memory that are in use; and microseconds to find 300
 * points of the last 30 days.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/parse.h"
#include "node/monitor/collect.h"
#include "node/monitor/file.h"

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "monitor_bench: %s\n", what);
    exit(1);
}

static double cpu_us(void)
{
    struct rusage u;
    (void)getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void on_point(void *ctx, uint64_t at_us, uint64_t step_us, const double *values, size_t n)
{
    (void)at_us, (void)step_us, (void)values, (void)n;
    ++*(size_t *)ctx;
}

struct bench {
    struct collector collector;
    struct collect_reading reading;
    struct series_set set;
    struct history history;
    struct db db;
    uint32_t next_id;
    uint64_t wall_us;
};

static void take_one(struct bench *b)
{
    double values[MONITOR_SERIES_MAX];
    collect_read(&b->collector, b->wall_us, clock_monotonic_us(), &b->reading);
    for (size_t i = 0; i < MONITOR_SERIES_MAX; i++)
        values[i] = i < MONITOR_FIXED_MAX ? b->reading.fixed[i] : 0;
    for (size_t i = 0; i < b->reading.n_devices; i++) {
        const struct collect_value *v = &b->reading.devices[i];
        int at = series_of_device(&b->set, v->device, v->label, clock_monotonic_us(), MONITOR_SERIES_MAX);
        if (at >= 0)
            values[at] = v->value;
    }
    history_add(&b->history, b->wall_us, values, b->set.n);
    b->wall_us += 1000000;
}

static void write_ten(struct bench *b)
{
    struct file_batch *batch = file_gather(&b->history, &b->next_id);
    if (!batch || file_write(&b->db, batch, NULL) < 0)
        die("cannot write");
    file_batch_free(batch);
}

int main(int argc, char **argv)
{
    static struct bench b;
    struct file_past *past = NULL;
    uint64_t samples;
    char path[1024];
    if (argc != 3 || parse_u64(argv[1], 10, 10000000, &samples) < 0)
        die("usage: monitor_bench SAMPLES FOLDER");
    (void)snprintf(path, sizeof path, "%s/monitor.db", argv[2]);
    if (collect_init(&b.collector, NULL, argv[2]) < 0 || series_set_init(&b.set, HISTORY_POINTS) < 0 ||
        history_init(&b.history, &b.set) < 0 || file_open(&b.db, path, &past, NULL) < 0)
        die("cannot begin");
    file_merge(&b.history, past, 1, &b.next_id);
    file_past_free(past);
    b.wall_us = clock_wall_us() / 1000000 * 1000000;
    double begun = cpu_us(), writing = 0;
    for (uint64_t i = 1; i <= samples; i++) {
        take_one(&b);
        double before = i % 10 == 0 ? cpu_us() : 0;
        if (i % 10 == 0)
            write_ten(&b);
        writing += i % 10 == 0 ? cpu_us() - before : 0;
    }
    double all = cpu_us() - begun;
    size_t series = 0, points = 0;
    for (size_t i = 0; i < b.set.n; i++)
        series += b.set.all[i].name != NULL;
    uint64_t asked = clock_monotonic_us();
    (void)history_read(&b.history, b.wall_us, b.wall_us - UINT64_C(2592000000000), b.wall_us, 300, on_point, &points);
    printf("us %.1f of that writing %.1f series %zu memory %zu bytes, 300 points %llu us\n", all / (double)samples,
        writing / (double)samples, series, series * HISTORY_POINTS * sizeof(uint32_t),
        (unsigned long long)(clock_monotonic_us() - asked));
    db_close(&b.db);
    history_done(&b.history);
    series_set_done(&b.set);
    collect_done(&b.collector);
    return 0;
}
