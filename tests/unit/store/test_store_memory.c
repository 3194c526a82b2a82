/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No memory. The store's own allocations (linked with --wrap) and SQLite's (its own hook) fail at the n-th, for every n
 * that a round of calls reaches: each call must answer exactly once, what was promised must be there, nothing may leak
 * (run it with the address sanitizer), and the store must go on.
 */
#include <stdatomic.h>

#include "fixture.h"

static atomic_int left = -1; /* allocations until the failure; negative: none is due */

static bool fails(void)
{
    return atomic_load(&left) >= 0 && atomic_fetch_sub(&left, 1) == 0;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__wrap_strdup(const char *s);

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}
void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}
void *__wrap_realloc(void *old, size_t size)
{
    return fails() ? NULL : __real_realloc(old, size);
}
char *__wrap_strdup(const char *s)
{
    return fails() ? NULL : __real_strdup(s);
}

static sqlite3_mem_methods sqlite_memory;

static void *sqlite_malloc(int size)
{
    return fails() ? NULL : sqlite_memory.xMalloc(size);
}
static void *sqlite_realloc(void *old, int size)
{
    return fails() ? NULL : sqlite_memory.xRealloc(old, size);
}

static int install(void **state)
{
    (void)state;
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &sqlite_memory), SQLITE_OK);
    sqlite3_mem_methods ours = sqlite_memory;
    ours.xMalloc = sqlite_malloc;
    ours.xRealloc = sqlite_realloc;
    return sqlite3_config(SQLITE_CONFIG_MALLOC, &ours);
}

/* --- a round of every call --- */

enum { CALLS = 15, BATCH = 3 };

struct round {
    size_t answered;
    bool all;
    struct {
        bool done;
        enum tw_code code;
        bool existing;
    } calls[CALLS];
};

struct one {
    struct round *round;
    size_t index;
};

static void answer(struct one *one, const struct tw_error *error, bool existing)
{
    struct round *r = one->round;
    assert_false(r->calls[one->index].done);
    r->calls[one->index].done = true;
    if (error && error->code != TW_RESOURCE_EXHAUSTED)
        print_error("call %zu: %s\n", one->index, error->message);
    r->calls[one->index].code = error ? error->code : TW_OK;
    r->calls[one->index].existing = existing;
    r->all = ++r->answered == CALLS;
}

static void on_admit(void *ctx, const struct store_task *existing, const struct tw_error *error)
{
    answer(ctx, error, existing != NULL);
}

static void on_done(void *ctx, const struct tw_error *error)
{
    answer(ctx, error, false);
}

static void on_task(void *ctx, const struct store_task *task, const struct tw_error *error)
{
    assert_true(!task == !!error);
    answer(ctx, error, false);
}

static void on_bytes(void *ctx, const void *data, size_t len, const struct tw_error *error)
{
    (void)data, (void)len;
    answer(ctx, error, false);
}

static void on_list(void *ctx, const struct store_task *tasks, size_t n, uint64_t next, const struct tw_error *error)
{
    (void)tasks, (void)next;
    assert_true(n > 0 || error);
    answer(ctx, error, false);
}

static void on_batch(void *ctx, const bool *existing, const struct tw_error *error)
{
    assert_true(!existing == !!error);
    answer(ctx, error, false);
}

static void on_attempts(void *ctx, const struct tw_attempt_info *attempts, size_t n, const struct tw_error *error)
{
    assert_true(n <= 1 && !(n > 0 && !attempts));
    answer(ctx, error, false);
}

static void on_events(
    void *ctx, const struct store_event *events, size_t n, uint64_t upto, const struct tw_error *error)
{
    (void)events, (void)upto;
    assert_true(n == 0 || !error);
    answer(ctx, error, false);
}

static void on_pruned(void *ctx, size_t removed, bool more, const struct tw_error *error)
{
    (void)more;
    assert_int_equal(removed, 0);
    answer(ctx, error, false);
}

/* What came later than the rest: batches, former attempts, events, retention. */
static void call_others(struct fixture *f, uint64_t running, struct store_task *batch, struct one *ones)
{
    static char text[] = "m";
    const struct tw_label label = {"k", "v"};
    const struct store_filter filter = {.type = "python", .labels = &label, .n_labels = 1, .limit = 10};
    const struct tw_task_info ended = {.attempt = 1, .message = text, .error = text};
    const struct store_requeued requeued = {.attempt = 1, .message = "again", .ended = &ended};
    const struct store_retention keep = {.ended_before_us = 1, .max_tasks = 1000000};
    store_admit_batch(f->store, batch, BATCH, on_batch, &ones[9]);
    store_requeue(f->store, running, &requeued, on_done, &ones[10]);
    store_pause(f->store, running, true, on_done, &ones[11]);
    store_attempts(f->store, "known", on_attempts, &ones[12]);
    store_events(f->store, MAX(store_last_event(f->store), UINT64_C(4)) - 4, false, &filter, on_events, &ones[13]);
    store_prune(f->store, &keep, on_pruned, &ones[14]);
}

static void run_round(struct fixture *f, struct round *round, uint64_t running, struct store_task *fresh,
    struct store_task *known, struct store_task *batch)
{
    struct one ones[CALLS];
    const struct store_filter filter = {.type = "python", .limit = 10};
    const struct tw_task_info info = {.state = TW_TASK_COMPLETED, .attempt = 1};
    struct store_log *log = store_log_open(f->store, running, 100);
    if (log)
        store_log_append(log, TW_STREAM_STDOUT, "output", 6);
    *round = (struct round){0};
    for (size_t i = 0; i < CALLS; i++)
        ones[i] = (struct one){round, i};
    store_admit(f->store, fresh, on_admit, &ones[0]);
    store_admit(f->store, known, on_admit, &ones[1]);
    call_others(f, running, batch, ones);
    store_attempt(f->store, running, 1, 1, on_done, &ones[2]);
    store_get(f->store, "known", on_task, &ones[3]);
    store_list(f->store, &filter, on_list, &ones[4]);
    store_load_input(f->store, running, on_bytes, &ones[5]);
    store_log_read(f->store, running, 0, 100, on_bytes, &ones[6]);
    store_finish(f->store, running, &info, "r", 1, on_done, &ones[7]);
    store_load_result(f->store, "known", on_bytes, &ones[8]);
    while (!round->all)
        uv_run(&f->loop, UV_RUN_ONCE);
    store_log_free(log);
}

/* Labelled, and the last comes after the first. */
static void make_batch(struct store_task *batch, int n)
{
    char id[24];
    for (int i = 0; i < BATCH; i++) {
        snprintf(id, sizeof id, "b%d-%d", n, i);
        batch[i] = fixture_task(id, "x", 1);
        batch[i].info.labels = calloc(1, sizeof *batch[i].info.labels);
        batch[i].info.labels[0] = (struct tw_label){strdup("k"), strdup("v")};
        batch[i].info.n_labels = 1;
    }
    snprintf(id, sizeof id, "b%d-0", n);
    batch[BATCH - 1].info.after = calloc(1, sizeof *batch[0].info.after);
    batch[BATCH - 1].info.after[0].id = strdup(id);
    batch[BATCH - 1].info.n_after = 1;
}

static void check_batch(struct fixture *f, struct store_task *batch, bool is_there)
{
    struct store_task got;
    for (int i = 0; i < BATCH; i++) {
        assert_int_equal(fixture_get(f, batch[i].info.id, &got), is_there ? TW_OK : TW_NOT_FOUND);
        assert_true(!is_there || (got.info.n_labels == 1 && got.info.n_after == (i == BATCH - 1)));
        store_task_done(&got);
        store_task_done(&batch[i]);
    }
}

static void test_every_allocation(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    struct outcome o;
    struct store_task known = fixture_task("known", "result = 1", 10);
    assert_int_equal(fixture_finish(f, fixture_add(f, "known"), TW_TASK_COMPLETED, "1", 1), TW_OK);
    bool reached = true;
    size_t refused = 0;
    int n;
    for (n = 0; reached && n < 4000; n++) {
        char id[16];
        snprintf(id, sizeof id, "r%d", n);
        uint64_t running = fixture_add(f, id);
        snprintf(id, sizeof id, "n%d", n);
        struct store_task fresh = fixture_task(id, "x", 1);
        struct store_task batch[BATCH];
        make_batch(batch, n);
        struct round round;
        atomic_store(&left, n);
        run_round(f, &round, running, &fresh, &known, batch);
        reached = atomic_exchange(&left, -1) < 0;
        for (size_t i = 0; i < CALLS; i++) {
            if (round.calls[i].code != TW_OK && round.calls[i].code != TW_RESOURCE_EXHAUSTED)
                fail_msg("call %zu at allocation %d: %s", i, n, tw_code_to_string(round.calls[i].code));
            refused += round.calls[i].code != TW_OK;
        }
        assert_true(round.calls[1].existing || round.calls[1].code != TW_OK);
        struct store_task got;
        assert_int_equal(fixture_get(f, id, &got), round.calls[0].code == TW_OK ? TW_OK : TW_NOT_FOUND);
        store_task_done(&got);
        snprintf(id, sizeof id, "r%d", n);
        if (round.calls[7].code == TW_OK)
            assert_int_equal(fixture_result(f, id, &o), TW_OK);
        outcome_done(&o);
        store_task_done(&fresh);
        check_batch(f, batch, round.calls[9].code == TW_OK);
    }
    assert_false(reached); /* the last n lay behind all that there was to fail */
    assert_true(refused > 10);
    store_task_done(&known);
}

static void test_opening(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    fixture_add(f, "a");
    fixture_close(f);
    const struct store_options options = {.path = f->path};
    bool opened = false;
    int n;
    for (n = 0; !opened && n < 20000; n++) {
        atomic_store(&left, n);
        opened = store_open(&f->loop, &options, &f->store, &f->error) == 0;
        bool was_reached = atomic_exchange(&left, -1) < 0;
        if (opened && was_reached) {
            /* SQLite does without what it could not get. */
            opened = false;
            fixture_close(f);
        } else if (!opened && f->error.code != TW_RESOURCE_EXHAUSTED) {
            fail_msg("at allocation %d: %s", n, f->error.message);
        }
    }
    assert_true(opened && n > 20);
    struct store_task got;
    assert_int_equal(fixture_get(f, "a", &got), TW_OK);
    store_task_done(&got);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(test_every_allocation),
        T(test_opening),
    };
    return cmocka_run_group_tests(tests, install, NULL);
}
