/* SPDX-License-Identifier: Apache-2.0 */
/* The store's calls, one by one and in groups: what is kept, what is refused, in which order the
 * answers come. */
#include "fixture.h"

#include <sys/stat.h>
#include <sys/statvfs.h>

static void test_admit_and_get(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    struct store_task task = fixture_task("a", "print(1)", 8), got;
    char plain[] = "x", empty[] = "", odd[] = "\xc3\xa4\"\n", path[] = "PATH", bin[] = "/bin", other[] = "OTHER";
    char *args[] = {plain, empty, odd};
    struct store_env env[] = {{path, bin}, {other, empty}};
    task.spec.args = args;
    task.spec.n_args = 3;
    task.spec.env = env;
    task.spec.n_env = 2;
    struct outcome o;
    assert_int_equal(fixture_admit_task(f, &task, &o), TW_OK);
    assert_int_equal(fixture_get(f, "a", &got), TW_OK);
    assert_int_equal(got.seq, task.seq);
    assert_string_equal(got.info.id, "a");
    assert_string_equal(got.info.type, "python");
    assert_int_equal(got.info.state, TW_TASK_QUEUED);
    assert_int_equal(got.info.timeout_us, 300000000);
    assert_int_equal(got.info.created_us, 1700000000000000);
    assert_memory_equal(got.digest, task.digest, STORE_DIGEST_LEN);
    assert_int_equal(got.spec.n_args, 3);
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(got.spec.args[i], args[i]);
    assert_int_equal(got.spec.n_env, 2);
    assert_string_equal(got.spec.env[0].name, "PATH");
    assert_string_equal(got.spec.env[0].value, "/bin");
    assert_string_equal(got.spec.env[1].value, "");
    store_task_done(&got);
    assert_int_equal(fixture_get(f, "b", &got), TW_NOT_FOUND);
    task.spec.args = NULL;
    task.spec.env = NULL;
    task.spec.n_args = task.spec.n_env = 0;
    store_task_done(&task);
}

static void test_life_of_a_task(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    uint64_t seq = fixture_add(f, "a");
    struct outcome o;
    assert_int_equal(fixture_result(f, "a", &o), TW_FAILED_PRECONDITION);
    outcome_done(&o);
    assert_int_equal(fixture_attempt(f, seq, 1), TW_OK);
    struct store_task got;
    assert_int_equal(fixture_get(f, "a", &got), TW_OK);
    assert_int_equal(got.info.state, TW_TASK_RUNNING);
    assert_int_equal(got.info.attempt, 1);
    assert_int_equal(got.info.started_us, 1700000001000000);
    store_task_done(&got);
    assert_int_equal(fixture_requeue(f, seq), TW_OK);
    assert_int_equal(fixture_get(f, "a", &got), TW_OK);
    assert_int_equal(got.info.state, TW_TASK_QUEUED);
    store_task_done(&got);
    assert_int_equal(fixture_attempt(f, seq, 2), TW_OK);
    assert_int_equal(fixture_finish(f, seq, TW_TASK_FAILED, "42", 2), TW_OK);
    assert_int_equal(fixture_get(f, "a", &got), TW_OK);
    assert_int_equal(got.info.state, TW_TASK_FAILED);
    assert_int_equal(got.info.reason, TW_REASON_EXIT_CODE);
    assert_int_equal(got.info.exit_code, 3);
    assert_int_equal(got.info.result_size, 2);
    assert_int_equal(got.info.finished_us, 1700000002000000);
    assert_int_equal(got.info.usage.max_rss_bytes, 4);
    assert_string_equal(got.info.message, "ended");
    assert_string_equal(got.info.error, "Traceback");
    store_task_done(&got);
    assert_int_equal(fixture_result(f, "a", &o), TW_OK);
    assert_string_equal((char *)o.data, "42");
    outcome_done(&o);
    assert_int_equal(fixture_result(f, "b", &o), TW_NOT_FOUND);
    outcome_done(&o);
}

static void test_final_is_final(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    uint64_t seq = fixture_add(f, "a");
    assert_int_equal(fixture_finish(f, seq, TW_TASK_RUNNING, NULL, 0), TW_INVALID_ARGUMENT);
    assert_int_equal(fixture_finish(f, seq, TW_TASK_COMPLETED, NULL, 0), TW_OK);
    struct outcome o;
    assert_int_equal(fixture_result(f, "a", &o), TW_OK);
    assert_int_equal(o.len, 0);
    outcome_done(&o);
    assert_int_equal(fixture_attempt(f, seq, 2), TW_FAILED_PRECONDITION);
    assert_int_equal(fixture_requeue(f, seq), TW_FAILED_PRECONDITION);
    assert_int_equal(fixture_finish(f, seq, TW_TASK_FAILED, "x", 1), TW_FAILED_PRECONDITION);
    assert_int_equal(fixture_attempt(f, seq + 1, 1), TW_NOT_FOUND);
    assert_int_equal(fixture_input(f, seq + 1, &o), TW_NOT_FOUND);
    outcome_done(&o);
    struct store_task got;
    assert_int_equal(fixture_get(f, "a", &got), TW_OK);
    assert_int_equal(got.info.state, TW_TASK_COMPLETED);
    store_task_done(&got);
}

static void test_payloads_of_every_size(void **state)
{
    struct fixture *f = *state;
    static const size_t sizes[] = {1, STORE_INLINE_MAX, STORE_INLINE_MAX + 1, 3 << 20};
    uint8_t *data = malloc(3 << 20);
    assert_non_null(data);
    for (size_t i = 0; i < 3 << 20; i++)
        data[i] = (uint8_t)(i * 2654435761u >> 13);
    fixture_open(f);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        char id[8];
        snprintf(id, sizeof id, "t%zu", i);
        struct outcome o;
        assert_int_equal(fixture_admit(f, id, data, sizes[i], &o), TW_OK);
        assert_int_equal(fixture_finish(f, o.seq, TW_TASK_COMPLETED, data + 1, sizes[i] - 1), TW_OK);
    }
    assert_int_equal(
        fixture_count_files(f, "files"), 3); /* two inputs, one result: 64 KiB + 1 - 1 is in the database */
    fixture_close(f);
    fixture_open(f);
    assert_int_equal(fixture_count_files(f, "files"), 3);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        char id[8];
        snprintf(id, sizeof id, "t%zu", i);
        struct outcome o;
        assert_int_equal(fixture_input(f, i + 1, &o), TW_OK);
        assert_int_equal(o.len, sizes[i]);
        assert_memory_equal(o.data, data, sizes[i]);
        outcome_done(&o);
        assert_int_equal(fixture_result(f, id, &o), TW_OK);
        assert_int_equal(o.len, sizes[i] - 1);
        assert_memory_equal(o.data, data + 1, sizes[i] - 1);
        outcome_done(&o);
    }
    free(data);
}

static void test_missing_payload_is_data_loss(void **state)
{
    struct fixture *f = *state;
    char *data = calloc(1, STORE_INLINE_MAX + 1);
    assert_non_null(data);
    struct outcome o;
    fixture_open(f);
    assert_int_equal(fixture_admit(f, "a", data, STORE_INLINE_MAX + 1, &o), TW_OK);
    fixture_close(f);
    char command[200];
    snprintf(command, sizeof command, "truncate -s 5 %s/files/*", f->path);
    assert_int_equal(system(command), 0);
    fixture_open(f);
    assert_int_equal(fixture_input(f, 1, &o), TW_DATA_LOSS);
    outcome_done(&o);
    snprintf(command, sizeof command, "rm %s/files/*", f->path);
    assert_int_equal(system(command), 0);
    assert_int_equal(fixture_input(f, 1, &o), TW_DATA_LOSS);
    assert_non_null(strstr(o.error.message, f->path));
    outcome_done(&o);
    free(data);
}

static void test_duplicates(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    uint64_t seq = fixture_add(f, "a");
    struct outcome o;
    assert_int_equal(fixture_admit(f, "a", "result = 1", 10, &o), TW_OK);
    assert_true(o.existing);
    assert_int_equal(o.seq, seq);
    assert_int_equal(o.state, TW_TASK_QUEUED);
    assert_int_equal(fixture_admit(f, "a", "result = 2", 10, &o), TW_ALREADY_EXISTS);
    assert_non_null(strstr(o.error.message, "'a'"));
    assert_int_equal(fixture_finish(f, seq, TW_TASK_STOPPED, NULL, 0), TW_OK);
    assert_int_equal(fixture_admit(f, "a", "result = 1", 10, &o), TW_OK);
    assert_true(o.existing);
    assert_int_equal(o.state, TW_TASK_STOPPED);
    assert_true(fixture_add(f, "b") > seq);

    /* A large one handed in again leaves no second file, nor does one with other content. */
    char *data = calloc(1, STORE_INLINE_MAX + 1);
    assert_non_null(data);
    assert_int_equal(fixture_admit(f, "c", data, STORE_INLINE_MAX + 1, &o), TW_OK);
    assert_int_equal(fixture_admit(f, "c", data, STORE_INLINE_MAX + 1, &o), TW_OK);
    assert_true(o.existing);
    data[0] = 1;
    assert_int_equal(fixture_admit(f, "c", data, STORE_INLINE_MAX + 1, &o), TW_ALREADY_EXISTS);
    assert_int_equal(fixture_count_files(f, "files"), 1);
    free(data);
}

/* --- many at once --- */

struct many {
    struct store_task *tasks;
    size_t n, done;
    bool all;
    enum tw_code *codes;
    bool *existing;
};

struct one {
    struct many *many;
    size_t index;
};

static void on_one(void *ctx, const struct store_task *existing, const struct tw_error *error)
{
    struct one *one = ctx;
    struct many *many = one->many;
    assert_int_equal(one->index, many->done); /* in the order of the calls */
    many->codes[one->index] = error ? error->code : TW_OK;
    many->existing[one->index] = existing != NULL;
    many->all = ++many->done == many->n;
}

/* Admits them all in one go; frees them. */
static void admit_many(struct fixture *f, struct many *many)
{
    struct one *ones = calloc(many->n, sizeof *ones);
    many->codes = calloc(many->n, sizeof *many->codes);
    many->existing = calloc(many->n, sizeof *many->existing);
    assert_true(ones && many->codes && many->existing);
    for (size_t i = 0; i < many->n; i++) {
        ones[i] = (struct one){many, i};
        store_admit(f->store, &many->tasks[i], on_one, &ones[i]);
    }
    assert_int_equal(many->done, 0); /* never from within the call */
    fixture_run(f, &many->all);
    for (size_t i = 0; i < many->n; i++)
        store_task_done(&many->tasks[i]);
    free(ones);
}

static void many_done(struct many *many)
{
    free(many->codes);
    free(many->existing);
}

static void test_group_commit(void **state)
{
    struct fixture *f = *state;
    enum { N = 2000 };
    fixture_open(f);
    struct store_task *tasks = calloc(N, sizeof *tasks);
    assert_non_null(tasks);
    for (size_t i = 0; i < N; i++) {
        char id[16];
        snprintf(id, sizeof id, "t%zu", i);
        tasks[i] = fixture_task(id, "x", 1);
    }
    struct many many = {.tasks = tasks, .n = N};
    uint64_t before = atomic_load(&f->store->commits);
    admit_many(f, &many);
    uint64_t commits = atomic_load(&f->store->commits) - before;
    for (size_t i = 0; i < N; i++)
        assert_int_equal(many.codes[i], TW_OK);
    /* The first goes at once; the rest in full batches, of which the first may have been cut short
     * by the race. */
    assert_in_range(commits, (N + STORE_WRITE_BATCH - 1) / STORE_WRITE_BATCH, N / STORE_WRITE_BATCH + 3);
    many_done(&many);
    fixture_close(f);
    assert_int_equal(fixture_sql_int(f, "SELECT count(*) FROM tasks JOIN inputs USING (seq)"), N);
    free(tasks);
}

static void test_duplicates_in_one_batch(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    size_t large = STORE_INLINE_MAX + 1;
    char *data = calloc(1, large);
    assert_non_null(data);
    struct store_task tasks[] = {
        fixture_task("first", "x", 1), /* goes alone; the others are one batch */
        fixture_task("a", "x", 1),
        fixture_task("a", "x", 1),
        fixture_task("a", "y", 1),
        fixture_task("big", data, large),
        fixture_task("big", data, large),
    };
    struct many many = {.tasks = tasks, .n = ARRAY_LEN(tasks)};
    admit_many(f, &many);
    static const enum tw_code codes[] = {TW_OK, TW_OK, TW_OK, TW_ALREADY_EXISTS, TW_OK, TW_OK};
    static const bool existing[] = {false, false, true, false, false, true};
    for (size_t i = 0; i < many.n; i++) {
        assert_int_equal(many.codes[i], codes[i]);
        assert_int_equal(many.existing[i], existing[i]);
    }
    assert_int_equal(fixture_count_files(f, "files"), 1);
    many_done(&many);
    free(data);
}

static void test_a_bad_write_fails_alone(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    struct store_task tasks[] = {
        fixture_task("first", "x", 1),
        fixture_task("a", "x", 1),
        fixture_task("impossible", "x", 1), /* breaks a constraint of the table */
        fixture_task("a", "x", 1),
        fixture_task("encoding", "x", 1),
        fixture_task("b", "x", 1),
    };
    tasks[2].info.state = (enum tw_task_state)99;
    tasks[4].spec.args = calloc(1, sizeof *tasks[4].spec.args);
    assert_non_null(tasks[4].spec.args);
    tasks[4].spec.args[tasks[4].spec.n_args++] = strdup("\xff");
    struct many many = {.tasks = tasks, .n = ARRAY_LEN(tasks)};
    admit_many(f, &many);
    static const enum tw_code codes[] = {TW_OK, TW_OK, TW_INTERNAL, TW_OK, TW_INVALID_ARGUMENT, TW_OK};
    for (size_t i = 0; i < many.n; i++)
        assert_int_equal(many.codes[i], codes[i]);
    assert_true(many.existing[3]);
    fixture_close(f);
    assert_int_equal(fixture_sql_int(f, "SELECT count(*) FROM tasks"), 3);
    assert_int_equal(fixture_sql_int(f, "SELECT count(*) FROM inputs"), 3);
    many_done(&many);
}

/* --- recovery, closing --- */

struct recovered {
    size_t n;
    uint64_t seqs[8];
    enum tw_task_state states[8];
};

static void on_recovered(void *ctx, struct store_task *task)
{
    struct recovered *r = ctx;
    assert_true(r->n < 8);
    assert_null(task->spec.data);
    r->seqs[r->n] = task->seq;
    r->states[r->n++] = task->info.state;
    store_task_done(task);
}

static void test_recover(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    uint64_t a = fixture_add(f, "a"), b = fixture_add(f, "b"), c = fixture_add(f, "c"), d = fixture_add(f, "d");
    assert_int_equal(fixture_finish(f, b, TW_TASK_COMPLETED, NULL, 0), TW_OK);
    assert_int_equal(fixture_attempt(f, c, 1), TW_OK);
    fixture_close(f);
    fixture_open(f);
    struct recovered r = {0};
    assert_int_equal(store_recover(f->store, on_recovered, &r, &f->error), 0);
    assert_int_equal(r.n, 3);
    assert_int_equal(r.seqs[0], a);
    assert_int_equal(r.seqs[1], c);
    assert_int_equal(r.seqs[2], d);
    assert_int_equal(r.states[0], TW_TASK_QUEUED);
    assert_int_equal(r.states[1], TW_TASK_RUNNING);
}

static void count_done(void *ctx, const struct tw_error *error)
{
    assert_null(error);
    ++*(size_t *)ctx;
}

static void set_true(void *ctx)
{
    *(bool *)ctx = true;
}

static void test_close_carries_out_what_is_queued(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    uint64_t seq = fixture_add(f, "a");
    size_t done = 0;
    for (uint32_t i = 0; i < 1000; i++)
        store_attempt(f->store, seq, i, 7, count_done, &done);
    bool closed = false;
    store_close(f->store, set_true, &closed);
    fixture_run(f, &closed);
    f->store = NULL;
    assert_int_equal(done, 1000);
    assert_int_equal(fixture_sql_int(f, "SELECT attempt FROM tasks"), 999);
    assert_int_equal(access(fixture_name(f, "taskworker.db-wal"), F_OK), -1);
    assert_int_equal(access(fixture_name(f, "taskworker.db-shm"), F_OK), -1);
}

struct closing {
    struct store *store;
    bool closed;
};

static void set_closed(void *ctx)
{
    ((struct closing *)ctx)->closed = true;
}

static void close_at_once(void *ctx, const struct store_task *existing, const struct tw_error *error)
{
    struct closing *c = ctx;
    assert_null(existing);
    assert_null(error);
    store_close(c->store, set_closed, c);
}

static void test_close_from_a_callback(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    struct closing c = {.store = f->store};
    struct store_task task = fixture_task("a", "x", 1);
    store_admit(f->store, &task, close_at_once, &c);
    fixture_run(f, &c.closed);
    f->store = NULL;
    uv_run(&f->loop, UV_RUN_DEFAULT); /* nothing of it is still at work */
    store_task_done(&task);
    assert_int_equal(fixture_sql_int(f, "SELECT count(*) FROM tasks"), 1);
}

static off_t journal_size(struct fixture *f)
{
    struct stat st;
    return stat(fixture_name(f, "taskworker.db-wal"), &st) == 0 ? st.st_size : -1;
}

/* The store's own file system may be nearly full, and then it is left alone. */
static bool has_room(struct fixture *f)
{
    struct statvfs disk;
    return statvfs(f->folder, &disk) == 0 && disk.f_bavail * disk.f_frsize > UINT64_C(1) << 30;
}

static void test_room_in_the_journal(void **state)
{
    struct fixture *f = *state;
    if (!has_room(f))
        skip();
    fixture_open(f);
    assert_true(journal_size(f) < 1 << 20); /* none for a store that nobody uses */
    fixture_add(f, "a");
    while (journal_size(f) < STORE_JOURNAL_BYTES)
        assert_true(uv_run(&f->loop, UV_RUN_ONCE) > 0);
    /* Killed now: the zeros end what is read back, and nothing before them is missed. */
    char copy[200];
    snprintf(copy, sizeof copy, "cp -r %s %s-2", f->path, f->path);
    assert_int_equal(system(copy), 0);
    uint64_t seq = fixture_add(f, "b");
    assert_int_equal(journal_size(f), STORE_JOURNAL_BYTES);
    assert_int_equal(seq, 2);
    fixture_close(f);
    assert_int_equal(fixture_sql_int(f, "SELECT count(*) FROM tasks"), 2);
    strcat(f->path, "-2");
    assert_int_equal(journal_size(f), STORE_JOURNAL_BYTES);
    fixture_open(f);
    assert_int_equal(fixture_add(f, "c"), 2);
    fixture_close(f);
    assert_int_equal(fixture_sql_int(f, "SELECT count(*) FROM tasks WHERE id IN ('a', 'c')"), 2);
}

static void test_foreign_reader(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    sqlite3 *shell;
    assert_int_equal(sqlite3_open(fixture_name(f, "taskworker.db"), &shell), SQLITE_OK);
    assert_int_equal(sqlite3_exec(shell, "BEGIN; SELECT * FROM tasks", NULL, NULL, NULL), SQLITE_OK);
    fixture_add(f, "a");
    fixture_close(f); /* cannot take the write-ahead log in while somebody reads, and loses nothing by it */
    assert_int_equal(sqlite3_close(shell), SQLITE_OK);
    fixture_open(f);
    struct store_task got;
    assert_int_equal(fixture_get(f, "a", &got), TW_OK);
    store_task_done(&got);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(test_admit_and_get),
        T(test_life_of_a_task),
        T(test_final_is_final),
        T(test_payloads_of_every_size),
        T(test_missing_payload_is_data_loss),
        T(test_duplicates),
        T(test_group_commit),
        T(test_duplicates_in_one_batch),
        T(test_a_bad_write_fails_alone),
        T(test_recover),
        T(test_close_carries_out_what_is_queued),
        T(test_close_from_a_callback),
        T(test_room_in_the_journal),
        T(test_foreign_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
