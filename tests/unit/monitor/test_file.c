/* SPDX-License-Identifier: Apache-2.0 */
/* The database, without a loop. */
#include "unit.h"

#include <signal.h>
#include <sys/resource.h>

#include "node/monitor/file.h"

#define SECOND UINT64_C(1000000)
#define BEGIN (UINT64_C(1700000000) / 300 * 300 * SECOND)

struct fake {
    char root[64], path[128];
    struct series_set set;
    struct history h;
    struct db db;
    uint32_t next_id;
    bool was_new;
    size_t n;
    double value[1000];
};

static void begin(struct fake *f)
{
    struct file_past *past = NULL;
    struct tw_error error = {0};
    f->next_id = 1;
    assert_int_equal(series_set_init(&f->set, HISTORY_POINTS), 0);
    assert_int_equal(history_init(&f->h, &f->set), 0);
    if (file_open(&f->db, f->path, &past, &error) < 0)
        fail_msg("%s", error.message);
    f->was_new = past->is_new;
    file_merge(&f->h, past, 1, &f->next_id);
    file_past_free(past);
}

static void stop(struct fake *f)
{
    db_close(&f->db);
    history_done(&f->h);
    series_set_done(&f->set);
}

static int make(void **state)
{
    struct fake *f = calloc(1, sizeof *f);
    assert_non_null(f);
    tree_make(f->root);
    snprintf(f->path, sizeof f->path, "%s/monitor.db", f->root);
    begin(f);
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fake *f = *state;
    stop(f);
    int r = tree_remove(f->root);
    free(f);
    return r;
}

static int flush(struct fake *f)
{
    struct tw_error error = {0};
    struct file_batch *b = file_gather(&f->h, &f->next_id);
    assert_non_null(b);
    int r = file_write(&f->db, b, &error);
    if (r < 0)
        file_give_back(&f->h, b);
    file_batch_free(b);
    return r;
}

static void add(struct fake *f, uint64_t wall_us, const char *disk, double value)
{
    double values[MONITOR_SERIES_MAX];
    int at = series_of_device(&f->set, MONITOR_DEVICE_READ, disk, 5, 0);
    assert_true(at > 0);
    for (size_t i = 0; i < MONITOR_SERIES_MAX; i++)
        values[i] = i == MONITOR_CPU_BUSY || i == (size_t)at ? value : NAN;
    history_add(&f->h, wall_us, values, f->set.n);
}

static void on_point(void *ctx, uint64_t at_us UNUSED, uint64_t step_us UNUSED, const double *values, size_t n UNUSED)
{
    struct fake *f = ctx;
    assert_true(f->n < ARRAY_LEN(f->value));
    int at = series_of_device(&f->set, MONITOR_DEVICE_READ, "sda", 5, 0);
    f->value[f->n++] = values[at];
}

static size_t look(struct fake *f, uint64_t seconds)
{
    f->n = 0;
    return history_read(&f->h, BEGIN + seconds * SECOND, BEGIN, UINT64_MAX, 1000, on_point, f);
}

static uint64_t size_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static void found_again(void **state)
{
    struct fake *f = *state;
    assert_true(f->was_new);
    for (uint64_t i = 0; i < 100; i++) {
        add(f, BEGIN + i * SECOND, "sda", (double)i);
        if (i % 10 == 9)
            assert_int_equal(flush(f), 0);
    }
    stop(f);
    struct stat st;
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    begin(f);
    assert_false(f->was_new);
    assert_int_equal(look(f, 99), 100);
    assert_near(f->value[42], 42);
    uint32_t id = f->next_id;
    /* What belongs to a device that another one has replaced is nobody's. */
    add(f, BEGIN + 100 * SECOND, "sdb", 1);
    assert_int_equal(flush(f), 0);
    assert_true(f->next_id > id);
}

static void what_is_newer_stays(void **state)
{
    struct fake *f = *state;
    add(f, BEGIN, "sda", 1);
    add(f, BEGIN + SECOND, "sda", 1);
    assert_int_equal(flush(f), 0);
    struct file_past *past = NULL;
    db_close(&f->db);
    assert_int_equal(file_open(&f->db, f->path, &past, NULL), 0);
    add(f, BEGIN + SECOND, "sda", 2);
    file_merge(&f->h, past, 1, &f->next_id);
    file_past_free(past);
    assert_int_equal(look(f, 2), 2);
    assert_near(f->value[0], 1);
    assert_near(f->value[1], 2);
}

/* All rings are full: twice as much takes no more room. */
static void no_larger_than_full(void **state)
{
    struct fake *f = *state;
    uint64_t at = BEGIN, sizes[2];
    for (size_t i = 0; i < HISTORY_POINTS; i++) { /* as if all had been written once */
        f->h.at[i] = 0;
        f->h.dirty[i] = 0;
    }
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 9000; i++, at += 300 * SECOND) {
            add(f, at, "sda", i);
            add(f, at + 10 * SECOND, "sda", i);
            if (i % 100 == 0)
                assert_int_equal(flush(f), 0);
        }
        while (flush(f) == 0 && f->h.dirty[history_place(&f->h.rings[2], (at - 600 * SECOND) / (300 * SECOND))])
            ;
        assert_int_equal(db_exec(&f->db, "PRAGMA wal_checkpoint(TRUNCATE)", NULL), 0);
        sizes[round] = size_of(f->path);
    }
    assert_true(sizes[0] > 100000 && sizes[1] <= sizes[0] + sizes[0] / 10);
}

static void damaged(void **state)
{
    struct fake *f = *state;
    char aside[160];
    snprintf(aside, sizeof aside, "%s.broken", f->path);
    add(f, BEGIN, "sda", 1);
    assert_int_equal(flush(f), 0);
    stop(f);
    tree_file(f->root, "/monitor.db", "this is no database at all, and never was one");
    begin(f);
    assert_true(f->was_new);
    assert_true(size_of(aside) > 0);
    add(f, BEGIN + SECOND, "sda", 1);
    assert_int_equal(flush(f), 0);
}

static void of_another_program(void **state)
{
    struct fake *f = *state;
    struct file_past *past = NULL;
    struct tw_error error = {0};
    assert_int_equal(db_exec(&f->db, "PRAGMA application_id=7", NULL), 0);
    db_close(&f->db);
    assert_int_equal(file_open(&f->db, f->path, &past, &error), -1);
    assert_int_equal(error.code, TW_FAILED_PRECONDITION);
    assert_true(!past && !f->db.handle);
    assert_int_equal(file_open(&f->db, "/nowhere/at/all.db", &past, &error), -1);
    assert_int_equal(error.code, TW_NOT_FOUND);
}

/* Rows that somebody else wrote: what makes no sense is left out, and nothing else. */
static void hostile_rows(void **state)
{
    struct fake *f = *state;
    add(f, BEGIN, "sda", 1);
    assert_int_equal(flush(f), 0);
    assert_int_equal(
        db_exec(&f->db,
            "INSERT OR REPLACE INTO points VALUES (-1, 5, x''), (900, 0, x'00'), (20000, 5, x''), (3, 5, x'0102'),"
            "(5, 5, x'010000000000c07f010000000000807f'), (7, 7, x'ffffffff00000000'), (9223372036854775807, -1, x'');"
            "INSERT OR REPLACE INTO series VALUES (-4, 'x', ''), (4294967295, 'x', ''), (77, 'core_busy_ratio', "
            "char(10)),"
            "(78, hex(zeroblob(200)), ''), (79, 'x', hex(zeroblob(200)));"
            "UPDATE meta SET value = -1",
            NULL),
        0);
    stop(f);
    begin(f);
    assert_int_equal(look(f, 0), 1);
    assert_near(f->value[0], 1);
    assert_true(f->next_id > 77 && f->next_id < 1000);
    assert_int_equal(flush(f), 0);
}

static void a_full_disk(void **state)
{
    struct fake *f = *state;
    struct rlimit before, none;
    assert_int_equal(flush(f), 0);
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    none = (struct rlimit){.rlim_cur = 4096, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    bool failed = false;
    for (uint64_t i = 0; i < 500; i++) {
        add(f, BEGIN + i * SECOND, "sda", (double)i);
        if (i % 10 == 9)
            failed = flush(f) < 0 || failed;
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(failed);
    assert_int_equal(look(f, 499), 500); /* in memory all is well */
    for (int i = 0; i < 3; i++)
        assert_int_equal(flush(f), 0);
    stop(f);
    begin(f);
    assert_int_equal(look(f, 499), 500); /* and what was not written then has been since */
}

#define ON_FAKE(test) cmocka_unit_test_setup_teardown(test, make, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_FAKE(found_again),
        ON_FAKE(what_is_newer_stays),
        ON_FAKE(no_larger_than_full),
        ON_FAKE(damaged),
        ON_FAKE(of_another_program),
        ON_FAKE(hostile_rows),
        ON_FAKE(a_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
