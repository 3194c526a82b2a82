/* SPDX-License-Identifier: Apache-2.0 */
/* Former attempts, labels, dependencies, batches, pauses: what is kept of a task's life beside its end. */
#include "fixture.h"

enum { LARGE = STORE_INLINE_MAX + 1 };

/* --- former attempts --- */

struct attempts {
    bool done;
    enum tw_code code;
    size_t n;
    struct tw_attempt_info list[8]; /* without texts */
    char messages[8][32], errors[8][32];
};

static void on_attempts(void *ctx, const struct tw_attempt_info *list, size_t n, const struct tw_error *error)
{
    struct attempts *a = ctx;
    a->done = true;
    a->code = error ? error->code : TW_OK;
    a->n = n;
    assert_true(n <= ARRAY_LEN(a->list));
    for (size_t i = 0; i < n; i++) {
        a->list[i] = list[i];
        snprintf(a->messages[i], sizeof a->messages[i], "%s", list[i].message);
        snprintf(a->errors[i], sizeof a->errors[i], "%s", list[i].error);
    }
}

static enum tw_code get_attempts(struct fixture *f, const char *id, struct attempts *a)
{
    *a = (struct attempts){0};
    store_attempts(f->store, id, on_attempts, a);
    fixture_run(f, &a->done);
    return a->code;
}

static struct tw_task_info ended_attempt(uint32_t attempt, enum tw_reason reason)
{
    static char message[] = "killed", error[] = "Traceback \"x\"";
    return (struct tw_task_info){.attempt = attempt,
        .reason = reason,
        .message = message,
        .error = error,
        .exit_code = (int32_t)attempt,
        .signal = 9,
        .started_us = attempt * 100,
        .finished_us = attempt * 100 + 50,
        .usage = {.wall_us = 50, .max_rss_bytes = 7, .peak_memory_bytes = 8, .processes = attempt},
        .receipt = {.runtime = TW_RUNTIME_SHELL,
            .layers = 3,
            .missing = 4,
            .denied = 2,
            .denied_calls = "mount=2",
            .limits = {.memory_bytes = 1 << 20}}};
}

static void test_former_attempts(void **state)
{
    struct fixture *f = *state;
    struct attempts a;
    fixture_open(f);
    uint64_t seq = fixture_add(f, "a");
    assert_int_equal(get_attempts(f, "nobody", &a), TW_NOT_FOUND);
    assert_int_equal(get_attempts(f, "a", &a), TW_OK);
    assert_int_equal(a.n, 0);
    for (uint32_t i = 1; i <= 3; i++) {
        struct tw_task_info ended = ended_attempt(i, i == 2 ? TW_REASON_OOM : TW_REASON_EXIT_CODE);
        const struct store_requeued requeued = {
            .attempt = i, .not_before_us = 1000 * i, .message = "tries again", .ended = &ended};
        assert_int_equal(fixture_attempt(f, seq, i), TW_OK);
        assert_int_equal(fixture_requeue_as(f, seq, &requeued), TW_OK);
    }
    for (int round = 0; round < 2; round++) {
        assert_int_equal(get_attempts(f, "a", &a), TW_OK);
        assert_int_equal(a.n, 3);
        for (uint32_t i = 1; i <= 3; i++) {
            const struct tw_attempt_info *one = &a.list[i - 1];
            assert_int_equal(one->attempt, i);
            assert_int_equal(one->reason, i == 2 ? TW_REASON_OOM : TW_REASON_EXIT_CODE);
            assert_string_equal(a.messages[i - 1], "killed");
            assert_string_equal(a.errors[i - 1], "Traceback \"x\"");
            assert_int_equal(one->exit_code, i);
            assert_int_equal(one->signal, 9);
            assert_int_equal(one->started_us, i * 100);
            assert_int_equal(one->finished_us, i * 100 + 50);
            assert_int_equal(one->usage.max_rss_bytes, 7);
            assert_int_equal(one->usage.peak_memory_bytes, 8);
            assert_int_equal(one->usage.processes, i);
            assert_int_equal(one->receipt.runtime, TW_RUNTIME_SHELL);
            assert_int_equal(one->receipt.layers, 3);
            assert_int_equal(one->receipt.missing, 4);
            assert_string_equal(one->receipt.denied_calls, "mount=2");
            assert_int_equal(one->receipt.limits.memory_bytes, 1 << 20);
        }
        fixture_close(f);
        fixture_open(f);
    }
    struct store_task got;
    assert_int_equal(fixture_get(f, "a", &got), TW_OK);
    assert_int_equal(got.info.state, TW_TASK_QUEUED);
    assert_int_equal(got.info.attempt, 3);
    assert_int_equal(got.info.not_before_us, 3000);
    assert_string_equal(got.info.message, "tries again");
    store_task_done(&got);
}

static void test_requeue_before_an_attempt(void **state)
{
    struct fixture *f = *state;
    struct attempts a;
    fixture_open(f);
    uint64_t seq = fixture_add(f, "a");
    const struct store_requeued requeued = {0};
    assert_int_equal(fixture_requeue_as(f, seq, &requeued), TW_OK);
    assert_int_equal(fixture_requeue_as(f, seq + 1, &requeued), TW_NOT_FOUND);
    assert_int_equal(get_attempts(f, "a", &a), TW_OK);
    assert_int_equal(a.n, 0);
    assert_int_equal(fixture_finish(f, seq, TW_TASK_FAILED, NULL, 0), TW_OK);
    struct tw_task_info ended = ended_attempt(1, TW_REASON_LOST);
    const struct store_requeued late = {.attempt = 1, .ended = &ended};
    assert_int_equal(fixture_requeue_as(f, seq, &late), TW_FAILED_PRECONDITION);
    assert_int_equal(get_attempts(f, "a", &a), TW_OK);
    assert_int_equal(a.n, 0); /* what is refused leaves nothing */
}

static void test_attempts_that_cannot_be(void **state)
{
    struct fixture *f = *state;
    struct attempts a;
    fixture_open(f);
    uint64_t seq = fixture_add(f, "a");
    struct tw_task_info ended = ended_attempt(1, TW_REASON_LOST);
    const struct store_requeued requeued = {.attempt = 1, .ended = &ended};
    assert_int_equal(fixture_requeue_as(f, seq, &requeued), TW_OK);
    fixture_close(f);
    fixture_sql(f, "UPDATE attempts SET reason = 99");
    fixture_open(f);
    assert_int_equal(get_attempts(f, "a", &a), TW_DATA_LOSS);
    fixture_close(f);
    fixture_sql(f, "UPDATE attempts SET reason = 1, runtime = 99");
    fixture_open(f);
    assert_int_equal(get_attempts(f, "a", &a), TW_DATA_LOSS);
}

/* --- a pause --- */

struct waiter {
    bool done;
    enum tw_code code;
};

static void on_done(void *ctx, const struct tw_error *error)
{
    struct waiter *w = ctx;
    *w = (struct waiter){.done = true, .code = error ? error->code : TW_OK};
}

static enum tw_code pause_task(struct fixture *f, uint64_t seq, bool paused)
{
    struct waiter w = {0};
    store_pause(f->store, seq, paused, on_done, &w);
    fixture_run(f, &w.done);
    return w.code;
}

static bool is_paused(struct fixture *f, const char *id)
{
    struct store_task got;
    assert_int_equal(fixture_get(f, id, &got), TW_OK);
    bool paused = got.info.paused;
    store_task_done(&got);
    return paused;
}

static void test_pause(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    uint64_t seq = fixture_add(f, "a");
    assert_int_equal(pause_task(f, seq, true), TW_OK);
    assert_true(is_paused(f, "a"));
    assert_int_equal(pause_task(f, seq, false), TW_OK);
    assert_false(is_paused(f, "a"));
    assert_int_equal(pause_task(f, seq, true), TW_OK);
    assert_int_equal(pause_task(f, seq, true), TW_OK); /* which is nothing that happens */
    fixture_close(f);
    assert_int_equal(fixture_sql_int(f, "SELECT count(*) FROM events"), 4); /* accepted; paused, resumed, paused */
    fixture_open(f);
    assert_true(is_paused(f, "a"));
    assert_int_equal(fixture_finish(f, seq, TW_TASK_STOPPED, NULL, 0), TW_OK);
    assert_false(is_paused(f, "a")); /* over is over */
    assert_int_equal(pause_task(f, seq, true), TW_FAILED_PRECONDITION);
    assert_int_equal(pause_task(f, seq + 1, true), TW_NOT_FOUND);
}

/* --- labels and dependencies --- */

static struct store_task labelled(const char *id, const struct tw_label *labels, size_t n)
{
    struct store_task task = fixture_task(id, "x", 1);
    task.info.labels = calloc(n, sizeof *labels);
    for (size_t i = 0; i < n; i++)
        task.info.labels[i] = (struct tw_label){.key = strdup(labels[i].key), .value = strdup(labels[i].value)};
    task.info.n_labels = n;
    return task;
}

static struct store_task coming_after(const char *id, const char *first, const char *second)
{
    struct store_task task = fixture_task(id, id, strlen(id));
    task.info.n_after = second ? 2 : 1;
    task.info.after = calloc(2, sizeof *task.info.after);
    task.info.after[0].id = strdup(first);
    if (second)
        task.info.after[1].id = strdup(second);
    return task;
}

static void test_labels(void **state)
{
    struct fixture *f = *state;
    static const struct tw_label labels[] = {{"z/last", ""}, {"env", "a \"quoted\" 'one'\\"},
        {"name", "Zoë \xe2\x82\xac \xf0\x9f\x90\x9d"}, {"env", "two"}, {"env", "two"}};
    struct outcome o;
    struct store_task got, task = labelled("a", labels, ARRAY_LEN(labels));
    fixture_open(f);
    assert_int_equal(fixture_admit_task(f, &task, &o), TW_OK);
    store_task_done(&task);
    fixture_close(f);
    fixture_open(f);
    assert_int_equal(fixture_get(f, "a", &got), TW_OK);
    static const struct tw_label sorted[] = {
        {"env", "a \"quoted\" 'one'\\"}, {"env", "two"}, {"name", "Zoë \xe2\x82\xac \xf0\x9f\x90\x9d"}, {"z/last", ""}};
    assert_int_equal(got.info.n_labels, ARRAY_LEN(sorted));
    for (size_t i = 0; i < ARRAY_LEN(sorted); i++) {
        assert_string_equal(got.info.labels[i].key, sorted[i].key);
        assert_string_equal(got.info.labels[i].value, sorted[i].value);
    }
    store_task_done(&got);
    static const struct tw_label bad[] = {{"k", "\xff"}};
    task = labelled("b", bad, 1);
    assert_int_equal(fixture_admit_task(f, &task, &o), TW_INVALID_ARGUMENT);
    store_task_done(&task);
    assert_int_equal(fixture_get(f, "b", &got), TW_NOT_FOUND);
}

static void test_values_that_cannot_be(void **state)
{
    struct fixture *f = *state;
    static const char *const damages[] = {"UPDATE tasks SET priority = 1000000", "UPDATE tasks SET priority = -1000000",
        "UPDATE tasks SET priority = 0; INSERT INTO labels VALUES ('k', CAST(x'ff' AS TEXT), 1)",
        "DELETE FROM labels; UPDATE tasks SET reason = 99"};
    struct store_task got;
    fixture_open(f);
    fixture_add(f, "a");
    for (size_t i = 0; i < ARRAY_LEN(damages); i++) {
        fixture_close(f);
        fixture_sql(f, damages[i]);
        fixture_open(f);
        if (fixture_get(f, "a", &got) != TW_DATA_LOSS)
            fail_msg("not noticed: %s", damages[i]);
    }
}

static void test_dependencies(void **state)
{
    struct fixture *f = *state;
    struct outcome o;
    struct store_task got;
    fixture_open(f);
    fixture_add(f, "waits");
    assert_int_equal(fixture_finish(f, fixture_add(f, "done"), TW_TASK_COMPLETED, NULL, 0), TW_OK);
    struct store_task task = coming_after("next", "waits", "done");
    assert_int_equal(fixture_admit_task(f, &task, &o), TW_OK);
    assert_int_equal(task.info.after[0].state, TW_TASK_QUEUED);
    assert_int_equal(task.info.after[1].state, TW_TASK_COMPLETED);
    assert_int_equal(fixture_admit_task(f, &task, &o), TW_OK); /* again */
    assert_true(o.existing);
    store_task_done(&task);
    assert_int_equal(fixture_get(f, "next", &got), TW_OK);
    assert_int_equal(got.info.n_after, 2);
    assert_string_equal(got.info.after[0].id, "waits");
    assert_int_equal(got.info.after[1].state, TW_TASK_COMPLETED);
    store_task_done(&got);
    task = coming_after("twice", "done", "done");
    assert_int_equal(fixture_admit_task(f, &task, &o), TW_OK);
    store_task_done(&task);
    task = coming_after("none", "done", NULL);
    task.info.n_after = 0;
    assert_int_equal(fixture_admit_task(f, &task, &o), TW_OK);
    task.info.n_after = 1;
    store_task_done(&task);
}

static void refuse(struct fixture *f, struct store_task *task, enum tw_code code, const char *name)
{
    struct outcome o;
    struct store_task got;
    uint64_t last = store_last_event(f->store);
    assert_int_equal(fixture_admit_task(f, task, &o), code);
    assert_non_null(strstr(o.error.message, name));
    assert_int_equal(fixture_get(f, task->info.id, &got), TW_NOT_FOUND);
    assert_int_equal(store_last_event(f->store), last);
    assert_int_equal(fixture_count_files(f, "files"), 0);
}

static void test_dependencies_that_are_refused(void **state)
{
    struct fixture *f = *state;
    struct outcome o;
    fixture_open(f);
    assert_int_equal(fixture_finish(f, fixture_add(f, "failed"), TW_TASK_FAILED, NULL, 0), TW_OK);
    assert_int_equal(fixture_finish(f, fixture_add(f, "stopped"), TW_TASK_STOPPED, NULL, 0), TW_OK);
    struct store_task task = coming_after("a", "failed", "nobody");
    task.spec.after_any = true;
    task.spec.data = realloc(task.spec.data, LARGE);
    memset(task.spec.data, 1, LARGE);
    task.spec.data_len = LARGE;
    refuse(f, &task, TW_INVALID_ARGUMENT, "'nobody'");
    store_task_done(&task);
    task = coming_after("a", "failed", NULL);
    refuse(f, &task, TW_FAILED_PRECONDITION, "'failed'");
    store_task_done(&task);
    task = coming_after("a", "stopped", NULL);
    refuse(f, &task, TW_FAILED_PRECONDITION, "'stopped'");
    store_task_done(&task);
    task = coming_after("a", "a", NULL);
    refuse(f, &task, TW_INVALID_ARGUMENT, "'a'");
    store_task_done(&task);
    task = coming_after("a", "failed", "stopped");
    task.spec.after_any = true;
    assert_int_equal(fixture_admit_task(f, &task, &o), TW_OK);
    assert_int_equal(o.seq, 3); /* what was refused took no number */
    assert_int_equal(task.info.after[0].state, TW_TASK_FAILED);
    assert_int_equal(task.info.after[1].state, TW_TASK_STOPPED);
    store_task_done(&task);
}

struct recovered {
    size_t n;
    struct store_task tasks[8];
};

static void on_each(void *ctx, struct store_task *task)
{
    struct recovered *r = ctx;
    assert_true(r->n < ARRAY_LEN(r->tasks));
    r->tasks[r->n++] = *task;
}

static void test_after_a_restart(void **state)
{
    struct fixture *f = *state;
    static const struct tw_label labels[] = {{"k", "v"}};
    struct outcome o;
    struct recovered r = {0};
    fixture_open(f);
    uint64_t first = fixture_add(f, "first");
    struct store_task task = coming_after("second", "first", NULL);
    task.spec.after_any = true;
    task.info.retry_delay_us = 77;
    task.info.retry_of = strdup("before");
    assert_int_equal(fixture_admit_task(f, &task, &o), TW_OK);
    store_task_done(&task);
    task = labelled("third", labels, 1);
    assert_int_equal(fixture_admit_task(f, &task, &o), TW_OK);
    store_task_done(&task);
    assert_int_equal(pause_task(f, o.seq, true), TW_OK);
    assert_int_equal(fixture_finish(f, first, TW_TASK_FAILED, NULL, 0), TW_OK);
    fixture_close(f);
    fixture_open(f);
    assert_int_equal(store_recover(f->store, on_each, &r, &f->error), 0);
    assert_int_equal(r.n, 2);
    assert_string_equal(r.tasks[0].info.id, "second");
    assert_string_equal(r.tasks[0].info.retry_of, "before");
    assert_int_equal(r.tasks[0].info.retry_delay_us, 77);
    assert_true(r.tasks[0].spec.after_any);
    assert_int_equal(r.tasks[0].info.n_after, 1);
    assert_string_equal(r.tasks[0].info.after[0].id, "first");
    assert_int_equal(r.tasks[0].info.after[0].state, TW_TASK_FAILED);
    assert_int_equal(r.tasks[1].info.n_labels, 1);
    assert_true(r.tasks[1].info.paused);
    for (size_t i = 0; i < r.n; i++)
        store_task_done(&r.tasks[i]);
}

/* --- batches --- */

struct batch_outcome {
    bool done;
    bool existing[8];
    struct tw_error error;
};

struct batch {
    struct store_task tasks[8];
    size_t n;
    struct batch_outcome outcome;
};

static void on_batch(void *ctx, const bool *existing, const struct tw_error *error)
{
    struct batch *b = ctx;
    assert_false(b->outcome.done);
    assert_true(!existing == !!error);
    b->outcome.done = true;
    if (error)
        b->outcome.error = *error;
    else if (b->n > 0)
        memcpy(b->outcome.existing, existing, b->n * sizeof *existing);
}

static enum tw_code admit_batch(struct fixture *f, struct batch *b)
{
    b->outcome = (struct batch_outcome){0};
    store_admit_batch(f->store, b->tasks, b->n, on_batch, b);
    fixture_run(f, &b->outcome.done);
    return b->outcome.error.code;
}

static void batch_done(struct batch *b)
{
    for (size_t i = 0; i < b->n; i++)
        store_task_done(&b->tasks[i]);
    *b = (struct batch){0};
}

static void batch_add(struct batch *b, const char *id, const void *data, size_t len)
{
    b->tasks[b->n++] = fixture_task(id, data, len);
}

static void test_batch(void **state)
{
    struct fixture *f = *state;
    uint8_t *large = calloc(1, LARGE);
    struct batch b = {0};
    struct outcome o;
    fixture_open(f);
    assert_int_equal(admit_batch(f, &b), TW_OK); /* of none */
    batch_add(&b, "a", "x", 1);
    batch_add(&b, "large", large, LARGE);
    b.tasks[b.n++] = coming_after("last", "a", "large");
    assert_int_equal(admit_batch(f, &b), TW_OK);
    for (size_t i = 0; i < b.n; i++) {
        assert_int_equal(b.tasks[i].seq, i + 1);
        assert_false(b.outcome.existing[i]);
    }
    assert_int_equal(b.tasks[2].info.after[1].state, TW_TASK_QUEUED);
    assert_int_equal(store_last_event(f->store), 3);
    assert_int_equal(fixture_count_files(f, "files"), 1);
    assert_int_equal(fixture_input(f, 2, &o), TW_OK);
    assert_int_equal(o.len, LARGE);
    outcome_done(&o);
    /* Again: the same is no error, with another that is new it is another batch. */
    assert_int_equal(admit_batch(f, &b), TW_OK);
    assert_true(b.outcome.existing[0] && b.outcome.existing[1] && b.outcome.existing[2]);
    batch_add(&b, "new", large, LARGE);
    assert_int_equal(admit_batch(f, &b), TW_ALREADY_EXISTS);
    assert_non_null(strstr(b.outcome.error.message, "'new'"));
    assert_int_equal(store_last_event(f->store), 3);
    assert_int_equal(fixture_count_files(f, "files"), 1);
    batch_done(&b);
    batch_add(&b, "twin", large, LARGE);
    batch_add(&b, "twin", large, LARGE);
    assert_int_equal(admit_batch(f, &b), TW_ALREADY_EXISTS);
    assert_int_equal(fixture_count_files(f, "files"), 1);
    batch_done(&b);
    free(large);
}

static void assert_nothing_of_it(struct fixture *f, struct batch *b, enum tw_code code, const char *name)
{
    struct store_task got;
    uint64_t last = store_last_event(f->store);
    size_t files = fixture_count_files(f, "files");
    assert_int_equal(admit_batch(f, b), code);
    if (!strstr(b->outcome.error.message, name))
        fail_msg("%s is not named: %s", name, b->outcome.error.message);
    for (size_t i = 0; i < b->n; i++) {
        enum tw_code found = fixture_get(f, b->tasks[i].info.id, &got);
        assert_int_equal(found, !strcmp(b->tasks[i].info.id, "taken") ? TW_OK : TW_NOT_FOUND);
        store_task_done(&got);
        assert_int_equal(b->tasks[i].seq, 0);
    }
    assert_int_equal(store_last_event(f->store), last);
    assert_int_equal(fixture_count_files(f, "files"), files);
    batch_done(b);
}

static void test_batches_that_are_refused(void **state)
{
    struct fixture *f = *state;
    uint8_t *large = calloc(1, LARGE);
    struct batch b = {0};
    struct outcome o;
    fixture_open(f);
    fixture_add(f, "taken");
    batch_add(&b, "a", large, LARGE);
    batch_add(&b, "taken", "other", 5);
    batch_add(&b, "c", large, LARGE);
    assert_nothing_of_it(f, &b, TW_ALREADY_EXISTS, "'taken'");
    b.tasks[b.n++] = coming_after("early", "late", NULL);
    batch_add(&b, "late", large, LARGE);
    assert_nothing_of_it(f, &b, TW_INVALID_ARGUMENT, "'late'");
    batch_add(&b, "a", large, LARGE);
    batch_add(&b, "", "x", 1); /* refused before the transaction */
    assert_nothing_of_it(f, &b, TW_INVALID_ARGUMENT, "id");
    batch_add(&b, "a", "x", 1);
    assert_int_equal(admit_batch(f, &b), TW_OK);
    assert_int_equal(b.tasks[0].seq, 2); /* no number is lost */
    batch_done(&b);
    /* One that is refused takes nothing from those beside it in its transaction. */
    struct waiter w = {0};
    batch_add(&b, "b", large, LARGE);
    batch_add(&b, "taken", "other", 5);
    store_attempt(f->store, 1, 1, 1, on_done, &w);
    assert_int_equal(admit_batch(f, &b), TW_ALREADY_EXISTS);
    assert_int_equal(fixture_admit(f, "z", "z", 1, &o), TW_OK);
    assert_true(w.done && w.code == TW_OK);
    assert_int_equal(store_last_event(f->store), 4);
    batch_done(&b);
    free(large);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(test_former_attempts),
        T(test_requeue_before_an_attempt),
        T(test_attempts_that_cannot_be),
        T(test_pause),
        T(test_labels),
        T(test_values_that_cannot_be),
        T(test_dependencies),
        T(test_dependencies_that_are_refused),
        T(test_after_a_restart),
        T(test_batch),
        T(test_batches_that_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
