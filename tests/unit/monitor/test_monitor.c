/* SPDX-License-Identifier: Apache-2.0 */
/* The whole on a loop. */
#include "unit.h"

#include <fcntl.h>

#include "base/clock.h"
#include "base/log.h"

enum { DEADLINE_MS = 20000 };

struct fake {
    char root[64], path[128];
    uv_loop_t loop;
    uv_timer_t deadline;
    struct monitor_options options;
    struct monitor *monitor;
    unsigned samples, wanted, loads, closes;
    size_t points;
    double last;
};

static void on_deadline(uv_timer_t *timer UNUSED)
{
    fail_msg("nothing happened in time");
}

static int make(void **state)
{
    struct fake *f = calloc(1, sizeof *f);
    assert_non_null(f);
    tree_make(f->root);
    snprintf(f->path, sizeof f->path, "%s/monitor.db", f->root);
    tree_file(f->root, "/proc/loadavg", "1.50 0.25 0.10 1/2 3\n");
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(uv_timer_init(&f->loop, &f->deadline), 0);
    f->options = (struct monitor_options){
        .path = f->path, .root = f->root, .disk_path = f->root, .interval_ms = 1, .flush_ms = 5};
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fake *f = *state;
    uv_close((uv_handle_t *)&f->deadline, NULL);
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    int r = tree_remove(f->root);
    free(f);
    return r;
}

static void on_sample(void *ctx, const struct monitor_sample *sample)
{
    struct fake *f = ctx;
    assert_ptr_equal(sample, monitor_latest(f->monitor));
    assert_true(sample->wall_us > 0);
    if (++f->samples >= f->wanted)
        uv_stop(&f->loop);
}

static void on_loaded(void *ctx)
{
    struct fake *f = ctx;
    f->loads++;
    uv_stop(&f->loop);
}

static void on_closed(void *ctx)
{
    struct fake *f = ctx;
    f->closes++;
    uv_stop(&f->loop);
}

static double one(void *ctx)
{
    return *(double *)ctx;
}

static void begin(struct fake *f, double *own)
{
    struct tw_error error = {0};
    f->options.sampled = on_sample;
    f->options.loaded = on_loaded;
    f->options.ctx = f;
    f->samples = f->loads = f->closes = 0;
    uv_timer_start(&f->deadline, on_deadline, DEADLINE_MS, 0);
    assert_int_equal(monitor_open(&f->loop, &f->options, &f->monitor, &error), 0);
    assert_true(isnan(monitor_latest(f->monitor)->values[MONITOR_LOAD_1]));
    assert_true(monitor_add(f->monitor, "tasks_running", "", "Tasks that run", one, own) >= MONITOR_FIXED_MAX);
}

static void take(struct fake *f, unsigned more)
{
    f->wanted = f->samples + more;
    while (f->samples < f->wanted)
        uv_run(&f->loop, UV_RUN_DEFAULT);
}

static void stop(struct fake *f)
{
    monitor_close(STEAL(f->monitor), on_closed, f);
    assert_int_equal(f->closes, 0); /* not from within */
    while (!f->closes)
        uv_run(&f->loop, UV_RUN_DEFAULT);
}

static void on_point(void *ctx, uint64_t at_us UNUSED, uint64_t step_us UNUSED, const double *values, size_t n)
{
    struct fake *f = ctx;
    f->points++;
    for (size_t i = 0; i < n; i++) {
        struct monitor_series s;
        if (monitor_series(f->monitor, i, &s) && !strcmp(s.name, "tasks_running"))
            f->last = values[i];
    }
}

static void a_sample_and_its_names(void **state)
{
    struct fake *f = *state;
    struct monitor_series s;
    double own = 4;
    begin(f, &own);
    take(f, 3);
    const struct monitor_sample *sample = monitor_latest(f->monitor);
    assert_near(sample->values[MONITOR_LOAD_1], 1.5);
    assert_true(sample->values[MONITOR_DISK_TOTAL] > 0);
    assert_nan(sample->values[MONITOR_MEMORY_TOTAL]);
    assert_true(monitor_series(f->monitor, MONITOR_LOAD_1, &s));
    assert_string_equal(s.name, "load_1m");
    assert_null(s.label_name);
    assert_false(monitor_series(f->monitor, sample->n, &s));
    stop(f);
}

static void restarted(void **state)
{
    struct fake *f = *state;
    double own = 4;
    uint64_t began = clock_wall_us();
    begin(f, &own);
    take(f, 5);
    stop(f);
    uint64_t ended = clock_wall_us();
    begin(f, &own);
    while (!f->loads)
        uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_true(monitor_history(f->monitor, began - 1000000, ended, 1000, on_point, f) > 0);
    assert_true(f->points > 0);
    assert_near(f->last, 4);
    stop(f);
}

static void without_a_database(void **state)
{
    struct fake *f = *state;
    double own = 4;
    f->options.path = NULL;
    begin(f, &own);
    take(f, 3);
    assert_true(monitor_history(f->monitor, clock_wall_us() - 60000000, UINT64_MAX, 1000, on_point, f) > 0);
    stop(f);
    monitor_close(NULL, NULL, NULL);
}

/* A line in the log and no more, however often it is tried. */
static void with_one_that_cannot_be(void **state)
{
    struct fake *f = *state;
    double own = 4;
    struct log_entry *entries = NULL;
    log_done();
    log_set_output(open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_FORMAT_TEXT);
    f->options.path = "/nowhere/at/all.db";
    begin(f, &own);
    for (ptrdiff_t n = 0; n == 0;) {
        take(f, 5);
        n = log_recent(10, &entries);
        assert_true(n >= 0 && n <= 1);
        if (n == 1)
            assert_non_null(strstr(entries[0].message, "/nowhere/at/all.db"));
        log_entries_free(entries, (size_t)n);
    }
    stop(f);
    assert_int_equal(f->loads, 0);
    log_done();
}

static void closed_at_once(void **state)
{
    struct fake *f = *state;
    double own = 4;
    begin(f, &own);
    stop(f);
    assert_int_equal(f->samples + f->loads, 0);
}

#define ON_FAKE(test) cmocka_unit_test_setup_teardown(test, make, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_FAKE(a_sample_and_its_names),
        ON_FAKE(restarted),
        ON_FAKE(without_a_database),
        ON_FAKE(with_one_that_cannot_be),
        ON_FAKE(closed_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
