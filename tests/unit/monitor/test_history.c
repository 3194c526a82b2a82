/* SPDX-License-Identifier: Apache-2.0 */
/* Rings and series, with time as the test says. */
#include "unit.h"

#include <errno.h>

#include "node/monitor/history.h"

#define SECOND UINT64_C(1000000)
#define DAY (UINT64_C(86400) * SECOND)
/* A multiple of every step. */
#define BEGIN (UINT64_C(1700000000) / 300 * 300 * SECOND)

struct fake {
    struct series_set set;
    struct history h;
    size_t n;
    uint64_t at[20000], step;
    double value[20000];
};

static int make(void **state)
{
    struct fake *f = calloc(1, sizeof *f);
    assert_non_null(f);
    assert_int_equal(series_set_init(&f->set, HISTORY_POINTS), 0);
    assert_int_equal(history_init(&f->h, &f->set), 0);
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fake *f = *state;
    history_done(&f->h);
    series_set_done(&f->set);
    free(f);
    return 0;
}

static void add(struct fake *f, uint64_t wall_us, double value)
{
    double values[MONITOR_SERIES_MAX];
    for (size_t i = 0; i < MONITOR_SERIES_MAX; i++)
        values[i] = i == MONITOR_CPU_BUSY ? value : NAN;
    history_add(&f->h, wall_us, values, f->set.n);
}

static void on_point(void *ctx, uint64_t at_us, uint64_t step_us, const double *values, size_t n)
{
    struct fake *f = ctx;
    assert_true(n == f->set.n && f->n < ARRAY_LEN(f->at));
    assert_true(f->n == 0 || at_us > f->at[f->n - 1]);
    f->at[f->n] = at_us;
    f->step = step_us;
    f->value[f->n++] = values[MONITOR_CPU_BUSY];
    assert_nan(values[MONITOR_CPU_USER]);
}

static size_t look(struct fake *f, uint64_t now, uint64_t from, uint64_t to, size_t max)
{
    f->n = 0;
    size_t n = history_read(&f->h, now, from, to, max, on_point, f);
    assert_true(n == f->n && n <= max);
    return f->n;
}

static void the_last_minutes(void **state)
{
    struct fake *f = *state;
    assert_int_equal(look(f, BEGIN, 0, UINT64_MAX, 100), 0);
    for (uint64_t i = 0; i < 600; i++)
        add(f, BEGIN + i * SECOND + 500000, (double)i);
    uint64_t now = BEGIN + 599 * SECOND + 600000;
    assert_int_equal(look(f, now, BEGIN, now, 1000), 600);
    assert_true(f->step == SECOND && f->at[0] == BEGIN);
    assert_near(f->value[599], 599);
    assert_int_equal(look(f, now, BEGIN + 100 * SECOND, BEGIN + 109 * SECOND, 1000), 10);
    assert_near(f->value[0], 100);
    assert_int_equal(look(f, now, BEGIN, now, 60), 60);
    assert_true(f->step == 10 * SECOND);
    assert_near(f->value[1], 14.5);
    assert_int_equal(look(f, now, BEGIN, now, 1), 1);
    assert_int_equal(look(f, now, BEGIN, now, SIZE_MAX), 600);
    assert_int_equal(look(f, now, now, BEGIN, 10), 0);
    assert_int_equal(look(f, now, BEGIN, now, 0), 0);
}

static void thinned_and_no_longer_than_that(void **state)
{
    struct fake *f = *state;
    uint64_t seconds = 8 * 3600, now = BEGIN + seconds * SECOND;
    for (uint64_t i = 0; i < seconds; i++)
        add(f, BEGIN + i * SECOND, (double)(i % 10));
    assert_int_equal(look(f, now, now - 1000 * SECOND, now, 5000), 100);
    assert_true(f->step == 10 * SECOND);
    for (size_t i = 0; i < f->n; i++)
        assert_near(f->value[i], 4.5);
    assert_int_equal(look(f, now, now - 7 * 3600 * SECOND, now, 5000), 7 * 12);
    assert_true(f->step == 300 * SECOND);
    assert_near(f->value[0], 4.5);
    assert_int_equal(look(f, now, 0, UINT64_MAX, 10000), 8 * 12);
    assert_true(f->at[0] == BEGIN);
}

/* The stretch that is not over is shown as far as it has come, and is not for the database. */
static void what_is_not_over(void **state)
{
    struct fake *f = *state;
    add(f, BEGIN, 2);
    add(f, BEGIN + SECOND, 4);
    assert_int_equal(look(f, BEGIN + SECOND, BEGIN - DAY, BEGIN + SECOND, 10000), 1);
    assert_near(f->value[0], 3);
    size_t dirty = 0;
    for (size_t i = 0; i < HISTORY_POINTS; i++)
        dirty += f->h.dirty[i];
    assert_int_equal(dirty, 2);
}

static void gaps_are_gaps(void **state)
{
    struct fake *f = *state;
    add(f, BEGIN, 1);
    add(f, BEGIN + 400 * SECOND, 2);
    assert_int_equal(look(f, BEGIN + 400 * SECOND, BEGIN, BEGIN + 400 * SECOND, 1000), 2);
    assert_true(f->at[1] == BEGIN + 400 * SECOND);
    assert_int_equal(look(f, BEGIN + 400 * SECOND, BEGIN - DAY, BEGIN + 400 * SECOND, 10000), 2);
    assert_true(f->at[1] == BEGIN + 300 * SECOND);
}

static void a_clock_that_jumps(void **state)
{
    struct fake *f = *state;
    for (uint64_t i = 0; i < 100; i++)
        add(f, BEGIN + i * SECOND, 1);
    /* Ten years ahead and back again: what was written there is not shown, and costs a few points at most. */
    for (uint64_t i = 0; i < 3; i++)
        add(f, BEGIN + 3650 * DAY + i * SECOND, 7);
    for (uint64_t i = 100; i < 200; i++)
        add(f, BEGIN + i * SECOND, 2);
    uint64_t now = BEGIN + 199 * SECOND;
    assert_true(look(f, now, BEGIN, UINT64_MAX, 1000) >= 197);
    for (size_t i = 0; i < f->n; i++)
        assert_true(f->value[i] < 3);
    /* Back by a minute: the same time again is written over. */
    for (uint64_t i = 140; i < 200; i++)
        add(f, BEGIN + i * SECOND, 5);
    look(f, now, BEGIN + 140 * SECOND, now, 1000);
    assert_int_equal(f->n, 60);
    assert_near(f->value[0], 5);
    /* To the very beginning, and as far as it goes. */
    add(f, 0, 1);
    add(f, 1, 1);
    add(f, UINT64_MAX, 1);
    add(f, now, 6);
    assert_true(look(f, now, now - 10 * SECOND, now, 1000) > 0);
    assert_near(f->value[f->n - 1], 6);
}

/* As after a restart: finer points are there, the coarser ones of a stretch that was cut off are not. */
static void cut_off_and_resumed(void **state)
{
    struct fake *f = *state;
    for (uint64_t i = 0; i < 25; i++)
        add(f, BEGIN + i * SECOND, 1);
    for (size_t i = 0; i < HISTORY_RINGS_N; i++)
        f->h.rings[i].open = 0;
    history_resume(&f->h);
    for (uint64_t i = 200; i < 320; i++)
        add(f, BEGIN + i * SECOND, 3);
    uint64_t now = BEGIN + 320 * SECOND;
    assert_int_equal(look(f, now, BEGIN - 3600 * SECOND, now, 1000), 3 + 12);
    assert_near(f->value[2], 1);
    assert_near(f->value[3], 3);
    look(f, now, BEGIN - DAY, now, 1000);
    assert_true(f->step == 300 * SECOND);
    assert_near(f->value[0], (3 * 1.0 + 10 * 3.0) / 13); /* both halves of it */
}

static void devices_come_and_go(void **state)
{
    struct fake *f = *state;
    char label[32];
    int first = series_of_device(&f->set, MONITOR_DEVICE_READ, "sda", 1, 0);
    assert_true(first >= MONITOR_FIXED_MAX);
    assert_int_equal(series_of_device(&f->set, MONITOR_DEVICE_READ, "sda", 2, MONITOR_SERIES_MAX), first);
    assert_int_equal(series_of_device(&f->set, MONITOR_DEVICE_READ, "sda", 3, (size_t)first), first);
    assert_int_not_equal(series_of_device(&f->set, MONITOR_DEVICE_WRITE, "sda", 2, (size_t)first), first);
    f->set.all[first].column[5] = 1;
    f->set.all[first].id = 9;
    for (int i = 1; i < 16; i++) {
        snprintf(label, sizeof label, "d%d", i);
        assert_true(series_of_device(&f->set, MONITOR_DEVICE_READ, label, 10, 0) > 0);
    }
    size_t n = f->set.n;
    assert_int_equal(series_of_device(&f->set, MONITOR_DEVICE_READ, "one more", 11, 0), -ENOSPC);
    /* The place of the one that has been gone for longest, with nothing of its past. */
    uint64_t later = 3 + SERIES_GONE_US;
    assert_int_equal(series_of_device(&f->set, MONITOR_DEVICE_READ, "one more", later, 0), first);
    assert_int_equal(series_of_device(&f->set, MONITOR_DEVICE_READ, "sda", later, (size_t)first), -ENOSPC);
    assert_true(f->set.n == n && f->set.all[first].column[5] == 0 && f->set.all[first].id == 0);
}

static double seven(void *ctx UNUSED)
{
    return 7;
}

static void all_that_there_may_be(void **state)
{
    struct fake *f = *state;
    char name[MONITOR_ADDED_MAX + 1][16], label[16];
    for (int i = 0; i < MONITOR_ADDED_MAX; i++) {
        snprintf(name[i], sizeof name[i], "own%d", i);
        assert_true(series_add(&f->set, name[i], "", "", seven, NULL) > 0);
    }
    assert_int_equal(series_add(&f->set, "another", "", "", seven, NULL), -ENOSPC);
    assert_int_equal(series_add(&f->set, "own0", "", "", seven, NULL), -EEXIST);
    assert_int_equal(series_add(&f->set, "cpu_busy_ratio", "", "", seven, NULL), -EEXIST);
    assert_int_equal(series_add(&f->set, "core_busy_ratio", "", "", seven, NULL), -EEXIST);
    for (int device = 0; device < MONITOR_DEVICE_MAX; device++) {
        for (int i = 0; i < 200; i++) {
            snprintf(label, sizeof label, "%d", i);
            (void)series_of_device(&f->set, device, label, 1, 0);
        }
    }
    assert_int_equal(f->set.n, MONITOR_SERIES_MAX);
    assert_int_equal(series_of_stored(&f->set, "gone", "", 1), -ENOENT);
    assert_int_equal(series_of_stored(&f->set, "cpu_busy_ratio", "", 1), MONITOR_CPU_BUSY);
    add(f, BEGIN, 1);
    assert_int_equal(look(f, BEGIN, BEGIN, BEGIN, 1), 1);
}

#define ON_FAKE(test) cmocka_unit_test_setup_teardown(test, make, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_FAKE(the_last_minutes),
        ON_FAKE(thinned_and_no_longer_than_that),
        ON_FAKE(what_is_not_over),
        ON_FAKE(gaps_are_gaps),
        ON_FAKE(a_clock_that_jumps),
        ON_FAKE(cut_off_and_resumed),
        ON_FAKE(devices_come_and_go),
        ON_FAKE(all_that_there_may_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
