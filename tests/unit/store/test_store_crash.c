/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kill -9 at any moment: a child admits and ends tasks, alone and in batches, with small and large payloads and logs, removes
 * some that have ended, and writes each promise the store makes to a pipe; it is killed, and the next life of the store must
 * hold every promise.
 */
#include <signal.h>
#include <sys/random.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "fixture.h"

enum { ROUNDS = 20, IN_FLIGHT = 24, LARGE = STORE_INLINE_MAX + 100, BATCH = 5 };

struct promise {
    uint64_t seq;
    char id[24];
    uint32_t finished; /* 0: admitted */
    uint32_t large;
};

/* --- the child --- */

struct worker {
    struct fixture *f;
    int out;
    unsigned round, next;
};

struct job {
    struct worker *worker;
    struct store_task task;
    struct tw_task_info info;
    struct promise promise;
    struct store_log *log;
};

static uint8_t payload[LARGE];

static void admit(struct job *job);

static void promise(struct job *job, uint32_t finished)
{
    job->promise.finished = finished;
    if (fd_write_all(job->worker->out, &job->promise, sizeof job->promise) < 0)
        _exit(1);
}

static void on_finish(void *ctx, const struct tw_error *error)
{
    struct job *job = ctx;
    if (error)
        _exit(2);
    promise(job, 1);
    store_log_free(job->log);
    store_task_done(&job->task);
    admit(job);
}

static void on_attempt(void *ctx, const struct tw_error *error)
{
    struct job *job = ctx;
    if (error)
        _exit(3);
    job->log = store_log_open(job->worker->f->store, job->task.seq, 1 << 20);
    size_t len = job->promise.large ? LARGE : 20;
    if (!job->log || store_log_append(job->log, TW_STREAM_STDOUT, payload, len) != len)
        _exit(4);
    job->info = (struct tw_task_info){.state = TW_TASK_COMPLETED, .attempt = 1, .finished_us = job->worker->round + 1};
    store_finish(job->worker->f->store, job->task.seq, &job->info, payload, len, on_finish, job);
}

static void on_admit(void *ctx, const struct store_task *existing, const struct tw_error *error)
{
    struct job *job = ctx;
    if (error || existing)
        _exit(5);
    job->promise.seq = job->task.seq;
    promise(job, 0);
    store_attempt(job->worker->f->store, job->task.seq, 1, 1, on_attempt, job);
}

static void admit(struct job *job)
{
    struct worker *w = job->worker;
    unsigned n = w->next++;
    job->promise = (struct promise){.large = n % 16 == 0};
    snprintf(job->promise.id, sizeof job->promise.id, "r%u-%u", w->round, n);
    job->task = fixture_task(job->promise.id, payload, job->promise.large ? LARGE : 20);
    job->task.info.created_us = 1; /* finished_us says when it ended */
    store_admit(w->f->store, &job->task, on_admit, job);
}

struct batch_job {
    struct worker *worker;
    struct store_task tasks[BATCH];
    unsigned next;
};

static void admit_batch(struct batch_job *b);

static void on_batch(void *ctx, const bool *existing, const struct tw_error *error)
{
    struct batch_job *b = ctx;
    if (error || existing[0])
        _exit(8);
    for (size_t i = 0; i < BATCH; i++) {
        struct job job = {.worker = b->worker, .promise = {.seq = b->tasks[i].seq, .large = i == 1}};
        snprintf(job.promise.id, sizeof job.promise.id, "%s", b->tasks[i].info.id);
        promise(&job, 0);
        store_task_done(&b->tasks[i]);
    }
    admit_batch(b);
}

static void admit_batch(struct batch_job *b)
{
    unsigned n = b->next++;
    for (size_t i = 0; i < BATCH; i++) {
        char id[24];
        snprintf(id, sizeof id, "b%u-%u/%zu", b->worker->round, n, i);
        b->tasks[i] = fixture_task(id, payload, i == 1 ? LARGE : 20);
    }
    store_admit_batch(b->worker->f->store, b->tasks, BATCH, on_batch, b);
}

/* Of the rounds before: nobody looks for these again. */
static void on_pruned(void *ctx, size_t removed, bool more, const struct tw_error *error)
{
    struct worker *w = ctx;
    const struct store_retention keep = {.ended_before_us = w->round};
    (void)removed, (void)more;
    if (error)
        _exit(9);
    store_prune(w->f->store, &keep, on_pruned, w);
}

static void work(struct fixture *f, unsigned round, int out)
{
    struct worker worker = {.f = f, .out = out, .round = round};
    struct job jobs[IN_FLIGHT];
    struct batch_job batch = {.worker = &worker};
    fixture_open(f);
    admit_batch(&batch);
    on_pruned(&worker, 0, false, NULL);
    for (size_t i = 0; i < IN_FLIGHT; i++) {
        jobs[i] = (struct job){.worker = &worker};
        admit(&jobs[i]);
    }
    uv_run(&f->loop, UV_RUN_DEFAULT);
    _exit(6);
}

/* --- the parent --- */

static void check(struct fixture *f, const struct promise *p)
{
    size_t len = p->large ? LARGE : 20;
    struct store_task got;
    if (fixture_get(f, p->id, &got) != TW_OK)
        fail_msg("%s was promised and is gone", p->id);
    assert_int_equal(got.seq, p->seq);
    bool is_final = got.info.state == TW_TASK_COMPLETED;
    assert_true(is_final || !p->finished);
    if (is_final)
        assert_int_equal(got.info.log_size, len);
    store_task_done(&got);
    struct outcome o;
    assert_int_equal(fixture_input(f, p->seq, &o), TW_OK);
    assert_int_equal(o.len, len);
    assert_memory_equal(o.data, payload, len);
    outcome_done(&o);
    if (!is_final)
        return;
    assert_int_equal(fixture_result(f, p->id, &o), TW_OK);
    assert_int_equal(o.len, len);
    assert_memory_equal(o.data, payload, len);
    outcome_done(&o);
    assert_int_equal(fixture_log(f, p->seq, 0, 1 << 20, &o), TW_OK);
    assert_true(o.len > len);
    outcome_done(&o);
}

static size_t check_round(struct fixture *f, FILE *in)
{
    struct promise p;
    size_t n = 0;
    fixture_open(f);
    while (fread(&p, sizeof p, 1, in) == 1) {
        check(f, &p);
        n++;
    }
    fixture_close(f);
    return n;
}

static void assert_nothing_superfluous(struct fixture *f)
{
    assert_int_equal(fixture_sql_int(f, "SELECT quick_check = 'ok' FROM pragma_quick_check"), 1);
    int64_t files = fixture_sql_int(f, "SELECT (SELECT count(file) FROM inputs) + (SELECT count(file) FROM results)");
    assert_int_equal(fixture_count_files(f, "files"), files);
    int64_t in_files = fixture_sql_int(f, "SELECT count(*) FROM logs WHERE data IS NULL");
    int64_t open = fixture_sql_int(f, "SELECT count(*) FROM tasks WHERE state < 5");
    assert_in_range(fixture_count_files(f, "logs"), in_files, in_files + open);
}

/* Of a batch there are all or none, and each task's life is in the events: nothing more, nothing twice. */
static void assert_whole_batches_and_events(struct fixture *f)
{
    assert_int_equal(fixture_sql_int(f,
                         "SELECT count(*) FROM (SELECT count(*) AS n FROM tasks WHERE id LIKE 'b%' GROUP BY "
                         "substr(id, 1, instr(id, '/')) HAVING n <> 5)"),
        0);
    assert_int_equal(fixture_sql_int(f,
                         "SELECT count(*) FROM tasks t LEFT JOIN (SELECT seq, sum(kind = 1) AS begun, sum(kind = 2) AS "
                         "started, sum(kind = 4) AS ended, count(*) AS n FROM events GROUP BY seq) e USING (seq) WHERE "
                         "e.begun IS NOT 1 OR e.started <> (t.state >= 4) OR e.ended <> (t.state = 5) OR e.n > 3"),
        0);
}

static void test_kill_at_any_moment(void **state)
{
    struct fixture *f = *state;
    size_t promises = 0;
    for (size_t i = 0; i < LARGE; i++)
        payload[i] = (uint8_t)(i * 31 >> 3);
    for (unsigned round = 0; round < ROUNDS; round++) {
        int pipe_fds[2];
        assert_int_equal(pipe(pipe_fds), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            close(pipe_fds[0]);
            if (uv_loop_fork(&f->loop) != 0)
                _exit(7);
            work(f, round, pipe_fds[1]);
        }
        close(pipe_fds[1]);
        /* At some promise, and then at some moment that the kernel's scheduler chooses. */
        struct promise given;
        uint16_t random = 0;
        (void)!getrandom(&random, sizeof random, 0);
        FILE *kept = tmpfile();
        assert_non_null(kept);
        for (unsigned i = 0; i <= random % 200u; i++) {
            if (fd_read_all(pipe_fds[0], &given, sizeof given) != sizeof given)
                break;
            assert_int_equal(fwrite(&given, sizeof given, 1, kept), 1);
        }
        assert_int_equal(kill(child, SIGKILL), 0);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        if (!WIFSIGNALED(status))
            fail_msg("the child ended by itself: %d", WEXITSTATUS(status));
        /* What is left in the pipe counts too; one cut short by the kill was not given. */
        while (fd_read_all(pipe_fds[0], &given, sizeof given) == sizeof given)
            assert_int_equal(fwrite(&given, sizeof given, 1, kept), 1);
        close(pipe_fds[0]);
        rewind(kept);
        size_t n = check_round(f, kept);
        assert_true(n > 0);
        promises += n;
        fclose(kept);
        assert_nothing_superfluous(f);
        assert_whole_batches_and_events(f);
    }
    print_message("%zu promises kept over %d crashes\n", promises, ROUNDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_kill_at_any_moment, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
