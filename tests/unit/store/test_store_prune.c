/* SPDX-License-Identifier: Apache-2.0 */
/* What retention removes, what it leaves, and that a call does a bounded amount. */
#include "fixture.h"

enum { LARGE = STORE_INLINE_MAX + 1 };

struct pruned_outcome {
    bool done, more;
    size_t n;
    enum tw_code code;
};

static void on_pruned(void *ctx, size_t removed, bool more, const struct tw_error *error)
{
    struct pruned_outcome *o = ctx;
    assert_false(o->done);
    *o = (struct pruned_outcome){.done = true, .more = more, .n = removed, .code = error ? error->code : TW_OK};
}

static struct pruned_outcome prune(struct fixture *f, uint64_t ended_before_us, uint64_t max_tasks)
{
    const struct store_retention keep = {.ended_before_us = ended_before_us, .max_tasks = max_tasks};
    struct pruned_outcome o = {0};
    store_prune(f->store, &keep, on_pruned, &o);
    fixture_run(f, &o.done);
    assert_int_equal(o.code, TW_OK);
    return o;
}

static struct pruned_outcome prune_beyond(struct fixture *f, uint64_t max_bytes)
{
    const struct store_retention keep = {.max_bytes = max_bytes};
    struct pruned_outcome o = {0};
    store_prune(f->store, &keep, on_pruned, &o);
    fixture_run(f, &o.done);
    assert_int_equal(o.code, TW_OK);
    return o;
}

static bool is_there(struct fixture *f, const char *id)
{
    struct store_task got;
    enum tw_code code = fixture_get(f, id, &got);
    store_task_done(&got);
    assert_true(code == TW_OK || code == TW_NOT_FOUND);
    return code == TW_OK;
}

/* Ended at this second. */
static uint64_t add_ended(struct fixture *f, const char *id, enum tw_task_state state, uint64_t second)
{
    char nothing[] = "";
    const struct tw_task_info info = {.state = state,
        .reason = state == TW_TASK_FAILED ? TW_REASON_EXIT_CODE : TW_REASON_NONE,
        .message = nothing,
        .error = nothing,
        .attempt = 1,
        .finished_us = second * 1000000,
        .receipt = {.runtime = TW_RUNTIME_SHELL}};
    uint64_t seq = fixture_add(f, id);
    assert_int_equal(fixture_finish_info(f, seq, &info), TW_OK);
    return seq;
}

enum { NOW = 1800000000 }; /* after the fixture's created_us */

static void test_nothing_to_remove(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    assert_int_equal(prune(f, INT64_MAX, 1).n, 0);
    fixture_add(f, "open");
    add_ended(f, "ended", TW_TASK_COMPLETED, NOW);
    assert_int_equal(prune(f, 0, 0).n, 0);
    assert_int_equal(prune(f, UINT64_C(1000000) * NOW, 0).n, 0); /* before, not at */
    assert_int_equal(prune(f, 0, 2).n, 0);
    assert_true(is_there(f, "open") && is_there(f, "ended"));
}

static void test_by_age(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    add_ended(f, "late", TW_TASK_COMPLETED, NOW + 10);
    add_ended(f, "a", TW_TASK_COMPLETED, NOW);
    add_ended(f, "b", TW_TASK_FAILED, NOW + 1);
    add_ended(f, "c", TW_TASK_STOPPED, NOW + 2);
    fixture_add(f, "open");
    struct pruned_outcome o = prune(f, UINT64_C(1000000) * (NOW + 2), 0);
    assert_int_equal(o.n, 2);
    assert_false(o.more);
    assert_true(is_there(f, "late") && is_there(f, "c") && is_there(f, "open"));
    assert_false(is_there(f, "a") || is_there(f, "b"));
    assert_int_equal(prune(f, INT64_MAX, 0).n, 2);
    assert_true(is_there(f, "open"));
    fixture_add(f, "a"); /* its id is free again, its number is not */
    fixture_close(f);
    assert_int_equal(fixture_sql_int(f, "SELECT seq FROM tasks WHERE id = 'a'"), 6);
}

static void test_by_number(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    char id[16];
    for (int i = 0; i < 10; i++) {
        snprintf(id, sizeof id, "t%d", i);
        add_ended(f, id, i % 2 ? TW_TASK_FAILED : TW_TASK_COMPLETED, NOW - (uint64_t)i);
    }
    fixture_add(f, "open");
    assert_int_equal(prune(f, 0, 8).n, 3);
    assert_false(is_there(f, "t0") || is_there(f, "t1") || is_there(f, "t2")); /* oldest first */
    assert_true(is_there(f, "t3"));
    assert_int_equal(prune(f, 0, 8).n, 0);
    add_ended(f, "more", TW_TASK_STOPPED, NOW); /* counted without counting again */
    assert_int_equal(prune(f, 0, 8).n, 1);
    assert_false(is_there(f, "t3"));
    /* What is too old counts for what there is too much of. */
    assert_int_equal(prune(f, UINT64_C(1000000) * (NOW - 7), 6).n, 2);
    assert_false(is_there(f, "t9") || is_there(f, "t8"));
    assert_true(is_there(f, "t4"));
    assert_int_equal(prune(f, 0, 1).n, 5);
    assert_true(is_there(f, "open"));
}

/* What is refused, or only handed in again, adds nothing to what is counted. */
static void test_the_count_is_right(void **state)
{
    struct fixture *f = *state;
    struct outcome o;
    fixture_open(f);
    add_ended(f, "a", TW_TASK_COMPLETED, NOW);
    add_ended(f, "b", TW_TASK_COMPLETED, NOW);
    assert_int_equal(prune(f, 0, 2).n, 0);
    assert_int_equal(fixture_admit(f, "a", "result = 1", 10, &o), TW_OK);
    assert_true(o.existing);
    assert_int_equal(fixture_admit(f, "a", "other", 5, &o), TW_ALREADY_EXISTS);
    struct store_task task = fixture_task("c", "x", 1);
    task.info.after = calloc(1, sizeof *task.info.after);
    task.info.after[0].id = strdup("nobody");
    task.info.n_after = 1;
    assert_int_equal(fixture_admit_task(f, &task, &o), TW_INVALID_ARGUMENT);
    store_task_done(&task);
    assert_int_equal(prune(f, 0, 2).n, 0);
    assert_int_equal(f->store->there.tasks, 2);
    fixture_add(f, "c");
    assert_int_equal(prune(f, 0, 2).n, 1);
    assert_int_equal(f->store->there.tasks, 2);
}

static void test_what_open_tasks_come_after_stays(void **state)
{
    struct fixture *f = *state;
    struct outcome o;
    fixture_open(f);
    add_ended(f, "first", TW_TASK_COMPLETED, NOW);
    add_ended(f, "other", TW_TASK_COMPLETED, NOW);
    struct store_task task = fixture_task("second", "x", 1);
    task.info.after = calloc(1, sizeof *task.info.after);
    task.info.after[0].id = strdup("first");
    task.info.n_after = 1;
    assert_int_equal(fixture_admit_task(f, &task, &o), TW_OK);
    store_task_done(&task);
    assert_int_equal(prune(f, INT64_MAX, 1).n, 1);
    assert_true(is_there(f, "first") && !is_there(f, "other"));
    assert_int_equal(fixture_finish(f, o.seq, TW_TASK_FAILED, NULL, 0), TW_OK);
    assert_int_equal(prune(f, 0, 1).n, 1); /* the older one */
    assert_true(is_there(f, "second") && !is_there(f, "first"));
    struct store_task got;
    assert_int_equal(fixture_get(f, "second", &got), TW_OK);
    assert_int_equal(got.info.n_after, 0);
    store_task_done(&got);
}

static void test_rows_files_and_events_go(void **state)
{
    struct fixture *f = *state;
    struct outcome o;
    uint8_t *large = calloc(1, LARGE);
    struct tw_label labels[] = {{"k", "v"}};
    fixture_open(f);
    struct store_task task = fixture_task("large", large, LARGE);
    task.info.labels = labels;
    task.info.n_labels = 1;
    assert_int_equal(fixture_admit_task(f, &task, &o), TW_OK);
    task.info.labels = NULL;
    task.info.n_labels = 0;
    store_task_done(&task);
    char text[] = "m";
    const struct tw_task_info ended = {.attempt = 1, .message = text, .error = text, .reason = TW_REASON_OOM};
    const struct store_requeued again = {.attempt = 1, .message = "again", .ended = &ended};
    assert_int_equal(fixture_attempt(f, o.seq, 1), TW_OK);
    assert_int_equal(fixture_requeue_as(f, o.seq, &again), TW_OK);
    struct store_log *log = store_log_open(f->store, o.seq, 1 << 20);
    assert_int_equal(store_log_append(log, TW_STREAM_STDOUT, large, LARGE), LARGE);
    assert_int_equal(fixture_finish(f, o.seq, TW_TASK_FAILED, large, LARGE), TW_OK);
    store_log_free(log);
    fixture_add(f, "open");
    assert_int_equal(fixture_count_files(f, "files"), 2);
    assert_int_equal(fixture_count_files(f, "logs"), 1);
    assert_int_equal(store_last_event(f->store), 5);
    assert_int_equal(prune(f, INT64_MAX, 0).n, 1);
    assert_int_equal(fixture_count_files(f, "files"), 0);
    assert_int_equal(fixture_count_files(f, "logs"), 0);
    assert_int_equal(fixture_result(f, "large", &o), TW_NOT_FOUND);
    outcome_done(&o);
    fixture_close(f);
    static const char *const tables[] = {"inputs", "results", "logs", "receipts", "attempts", "labels", "deps"};
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        char sql[80];
        snprintf(sql, sizeof sql, "SELECT count(*) FROM %s WHERE seq = 1", tables[i]);
        assert_int_equal(fixture_sql_int(f, sql), 0);
    }
    assert_int_equal(fixture_sql_int(f, "SELECT count(*) FROM events"), 0); /* the open task's is too old as well */
    free(large);
}

static void test_events_of_what_stays_stay(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    add_ended(f, "gone", TW_TASK_COMPLETED, NOW);
    fixture_add(f, "open");
    assert_int_equal(prune(f, 0, 1).n, 1);
    fixture_close(f);
    assert_int_equal(fixture_sql_int(f, "SELECT count(*) FROM events"), 1);
    assert_int_equal(fixture_sql_int(f, "SELECT seq FROM events"), 2);
}

/* Thousands of ended ones, of which a call takes some, oldest first; and it goes through all events in the end. */
static void test_many(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    fixture_close(f);
    fixture_sql(f,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1800) "
        "INSERT INTO tasks (id, type, owner, state, reason, message, error, attempt, retries, timeout_us, created_us, "
        "finished_us, digest) SELECT 't' || i, 'python', '', 5 + i % 3, 0, '', '', 1, 0, 0, 1, i, zeroblob(32) FROM n;"
        "INSERT INTO events (seq, time_us, kind, attempt, reason) SELECT seq, 1000000, k.value, 1, 0 FROM tasks, "
        "json_each('[1,2,3,4,5]') k;");
    fixture_open(f);
    struct pruned_outcome o = prune(f, 0, 100);
    assert_int_equal(o.n, 500);
    assert_true(o.more);
    assert_false(is_there(f, "t500"));
    assert_true(is_there(f, "t501"));
    size_t n = o.n, calls = 1;
    for (; o.more; calls++, n += o.n)
        o = prune(f, 0, 100);
    assert_int_equal(n, 1700);
    assert_in_range(calls, 4, 5);
    assert_true(is_there(f, "t1701") && !is_there(f, "t1700"));
    for (int i = 0; i < 4; i++)
        (void)prune(f, 0, 100);
    fixture_close(f);
    assert_int_equal(fixture_sql_int(f, "SELECT count(*) FROM events"), 500);
    assert_int_equal(fixture_sql_int(f, "SELECT count(*) FROM tasks"), 100);
}

/* More of the oldest than a call looks at are kept for others: it goes on behind them, and comes back to them. */
static void test_many_that_stay(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    fixture_close(f);
    fixture_sql(f,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1800) "
        "INSERT INTO tasks (id, type, owner, state, reason, message, error, attempt, retries, timeout_us, created_us, "
        "finished_us, digest) SELECT 't' || i, 'python', '', 5, 0, '', '', 1, 0, 0, 1, i, zeroblob(32) FROM n;"
        "UPDATE tasks SET state = 1 WHERE id = 't1800';"
        "INSERT INTO deps (seq, on_seq) SELECT 1800, n.seq FROM tasks n WHERE n.seq <= 1200;");
    fixture_open(f);
    size_t n = 0, calls = 0;
    struct pruned_outcome o;
    do {
        o = prune(f, 0, 1210);
        n += o.n;
        calls++;
    } while (o.more);
    assert_int_equal(n, 590);
    assert_in_range(calls, 3, 6);
    assert_true(is_there(f, "t1200") && !is_there(f, "t1201") && !is_there(f, "t1790") && is_there(f, "t1791"));
    assert_int_equal(fixture_finish(f, 1800, TW_TASK_COMPLETED, NULL, 0), TW_OK);
    for (o = prune(f, 0, 1200); o.more; o = prune(f, 0, 1200))
        continue;
    assert_true(!is_there(f, "t1") && is_there(f, "t1200")); /* the oldest first again */
}

struct seen {
    bool done;
    enum tw_code code;
    size_t n;
    uint64_t upto;
    char message[512];
};

static void on_events(
    void *ctx, const struct store_event *list UNUSED, size_t n, uint64_t upto, const struct tw_error *error)
{
    struct seen *s = ctx;
    *s = (struct seen){.done = true, .code = error ? error->code : TW_OK, .n = n, .upto = upto};
    if (error)
        snprintf(s->message, sizeof s->message, "%s", error->message);
}

static struct seen look_behind(struct fixture *f, uint64_t after, bool holes)
{
    struct seen s = {0};
    store_events(f->store, after, holes, NULL, on_events, &s);
    fixture_run(f, &s.done);
    return s;
}

/* Events that are gone from between others are told of as well, for good, and from the moment on that they are not shown. */
static void test_holes_in_the_events(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    fixture_add(f, "open");                           /* event 1 */
    add_ended(f, "gone", TW_TASK_COMPLETED, NOW);     /* 2 and 3 */
    add_ended(f, "kept", TW_TASK_COMPLETED, NOW + 5); /* 4 and 5 */
    assert_int_equal(look_behind(f, 1, false).n, 4);
    fixture_close(f);
    fixture_sql(f, "DELETE FROM events WHERE n = 3; UPDATE events SET seq = 99 WHERE n = 2");
    fixture_open(f); /* the task is gone, and its events not all yet */
    assert_int_equal(look_behind(f, 1, false).code, TW_OUT_OF_RANGE);
    assert_int_equal(look_behind(f, 1, true).n, 2);
    assert_int_equal(look_behind(f, 2, false).n, 2); /* there is no mark */
    fixture_close(f);
    fixture_sql(f, "INSERT INTO meta VALUES ('gone_event', 3)");
    fixture_open(f);
    struct seen s = look_behind(f, 2, false);
    assert_int_equal(s.code, TW_OUT_OF_RANGE);
    assert_non_null(strstr(s.message, "behind 2") ? strstr(s.message, "3") : NULL);
    assert_int_equal(look_behind(f, 3, false).n, 2); /* nothing was missed */
    assert_int_equal(look_behind(f, 0, false).n, 3); /* from the oldest that is kept */
}

/* The mark is written in the transaction that removes, and never goes back. */
static void test_the_mark_of_what_is_gone(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    fixture_add(f, "open");
    add_ended(f, "a", TW_TASK_COMPLETED, NOW); /* 2 and 3 */
    add_ended(f, "b", TW_TASK_COMPLETED, NOW); /* 4 and 5 */
    assert_int_equal(prune(f, 0, 2).n, 1);
    assert_int_equal(look_behind(f, 1, false).code, TW_OUT_OF_RANGE);
    assert_int_equal(look_behind(f, 3, false).n, 2);
    assert_int_equal(look_behind(f, 0, false).n, 3);
    fixture_close(f);
    assert_int_equal(fixture_sql_int(f, "SELECT value FROM meta WHERE key = 'gone_event'"), 3);
    fixture_sql(f, "INSERT INTO events VALUES (1, 99, 1, 1, 1, 0) ON CONFLICT DO UPDATE SET seq = 99");
    fixture_open(f);
    assert_int_equal(prune(f, 0, 2).n, 0);
    fixture_close(f);
    assert_int_equal(fixture_sql_int(f, "SELECT count(*) FROM events"), 2);
    assert_int_equal(fixture_sql_int(f, "SELECT value FROM meta WHERE key = 'gone_event'"), 3);
}

/* A crash after the commit leaves files that no row refers to: as if the rows had gone under the closed store. */
static void test_a_crash_in_between(void **state)
{
    struct fixture *f = *state;
    struct outcome o;
    uint8_t *large = calloc(1, LARGE);
    fixture_open(f);
    assert_int_equal(fixture_admit(f, "large", large, LARGE, &o), TW_OK);
    struct store_log *log = store_log_open(f->store, o.seq, 1 << 20);
    assert_int_equal(store_log_append(log, TW_STREAM_STDOUT, large, LARGE), LARGE);
    assert_int_equal(fixture_finish(f, o.seq, TW_TASK_COMPLETED, large, LARGE), TW_OK);
    store_log_free(log);
    fixture_close(f);
    fixture_sql(f, "PRAGMA foreign_keys = ON; DELETE FROM tasks");
    assert_int_equal(fixture_count_files(f, "files"), 2);
    fixture_open(f);
    assert_int_equal(fixture_count_files(f, "files"), 0);
    assert_int_equal(fixture_count_files(f, "logs"), 0);
    free(large);
}

/* Gone between a reader's look at the row and at the file: not found, and no word of damage. */
static void test_who_reads_meanwhile(void **state)
{
    struct fixture *f = *state;
    uint8_t *large = calloc(1, LARGE);
    char id[16];
    fixture_open(f);
    for (int i = 0; i < 20; i++) {
        struct outcome o;
        snprintf(id, sizeof id, "t%d", i);
        assert_int_equal(fixture_finish(f, fixture_add(f, id), TW_TASK_COMPLETED, large, LARGE), TW_OK);
        const struct store_retention keep = {.ended_before_us = INT64_MAX};
        struct pruned_outcome pruned = {0};
        store_prune(f->store, &keep, on_pruned, &pruned);
        enum tw_code code = fixture_result(f, id, &o);
        assert_true(code == TW_OK || code == TW_NOT_FOUND);
        outcome_done(&o);
        fixture_run(f, &pruned.done);
        assert_int_equal(pruned.n, 1);
    }
    free(large);
}

static int64_t bytes_there(struct fixture *f)
{
    return fixture_sql_int(f, "SELECT (SELECT sum(size) FROM inputs) + (SELECT coalesce(sum(size), 0) FROM results)");
}

/* Each has what it was handed in with, and a result; the oldest go until the rest fits. */
static void test_what_takes_too_much(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    for (int i = 0; i < 10; i++) {
        char id[8];
        snprintf(id, sizeof id, "t%d", i);
        uint64_t seq = fixture_add(f, id);
        fixture_attempt(f, seq, 1);
        static const char result[LARGE];
        assert_int_equal(fixture_finish(f, seq, TW_TASK_COMPLETED, result, i % 2 ? LARGE : 1000), TW_OK);
    }
    fixture_add(f, "waits");
    uint64_t all = (uint64_t)bytes_there(f);
    assert_true(all > 5 * (uint64_t)LARGE);
    assert_int_equal(prune_beyond(f, all).n, 0);
    assert_int_equal(prune_beyond(f, all - 1).n, 1);
    assert_false(is_there(f, "t0"));
    uint64_t left = (uint64_t)bytes_there(f);
    assert_int_equal(prune_beyond(f, left - LARGE).n, 1); /* and what it was handed in with is more than enough */
    fixture_add(f, "comes later");                        /* is counted too */
    assert_int_equal(prune_beyond(f, (uint64_t)bytes_there(f)).n, 0);
    assert_int_equal(prune_beyond(f, 1).n, 8);
    assert_true(is_there(f, "waits") && is_there(f, "comes later"));
    assert_int_equal(prune_beyond(f, 1).n, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(test_nothing_to_remove),
        T(test_what_takes_too_much),
        T(test_by_age),
        T(test_by_number),
        T(test_the_count_is_right),
        T(test_what_open_tasks_come_after_stays),
        T(test_rows_files_and_events_go),
        T(test_events_of_what_stays_stay),
        T(test_many),
        T(test_many_that_stay),
        T(test_holes_in_the_events),
        T(test_the_mark_of_what_is_gone),
        T(test_a_crash_in_between),
        T(test_who_reads_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
