/* SPDX-License-Identifier: Apache-2.0 */
/* Events: one for each thing that happens, in the order in which it became durable, for as long as they are kept. */
#include "fixture.h"

enum { MAX_EVENTS = 1000 };

struct events {
    bool done;
    enum tw_code code;
    char message[512];
    size_t n;
    uint64_t upto;
    struct {
        uint64_t number;
        enum tw_event_kind kind;
        uint32_t attempt;
        enum tw_reason reason;
        char id[24], owner[24];
    } list[MAX_EVENTS];
};

static void on_events(void *ctx, const struct store_event *list, size_t n, uint64_t upto, const struct tw_error *error)
{
    struct events *e = ctx;
    *e = (struct events){.done = true, .n = n, .upto = upto, .code = error ? error->code : TW_OK};
    if (error)
        snprintf(e->message, sizeof e->message, "%s", error->message);
    assert_true(n <= MAX_EVENTS);
    for (size_t i = 0; i < n; i++) {
        e->list[i].number = list[i].number;
        e->list[i].kind = list[i].kind;
        e->list[i].attempt = list[i].attempt;
        e->list[i].reason = list[i].reason;
        assert_true(list[i].time_us > 0 && !strcmp(list[i].type, "python"));
        snprintf(e->list[i].id, sizeof e->list[i].id, "%s", list[i].id);
        snprintf(e->list[i].owner, sizeof e->list[i].owner, "%s", list[i].owner);
    }
}

static enum tw_code get_events(
    struct fixture *f, uint64_t after, const struct store_filter *filter, struct events *events)
{
    events->done = false;
    store_events(f->store, after, false, filter, on_events, events);
    fixture_run(f, &events->done);
    return events->code;
}

static void on_done(void *ctx, const struct tw_error *error)
{
    assert_null(error);
    *(bool *)ctx = true;
}

static void pause_task(struct fixture *f, uint64_t seq, bool paused)
{
    bool done = false;
    store_pause(f->store, seq, paused, on_done, &done);
    fixture_run(f, &done);
}

static void test_one_for_each_transition(void **state)
{
    struct fixture *f = *state;
    struct events *e = calloc(1, sizeof *e);
    struct outcome o;
    fixture_open(f);
    assert_int_equal(store_last_event(f->store), 0);
    assert_int_equal(get_events(f, 0, NULL, e), TW_OK);
    assert_int_equal(e->n, 0);
    assert_int_equal(e->upto, 0);
    uint64_t a = fixture_add(f, "a"), b = fixture_add(f, "b");
    assert_int_equal(fixture_admit(f, "a", "result = 1", 10, &o), TW_OK); /* again: nothing happens */
    assert_int_equal(fixture_admit(f, "a", "other", 5, &o), TW_ALREADY_EXISTS);
    assert_int_equal(fixture_attempt(f, a, 1), TW_OK);
    pause_task(f, a, true);
    pause_task(f, a, false);
    char text[] = "m";
    const struct tw_task_info ended = {.attempt = 1, .reason = TW_REASON_OOM, .message = text, .error = text};
    const struct store_requeued again = {.attempt = 1, .ended = &ended};
    assert_int_equal(fixture_requeue_as(f, a, &again), TW_OK);
    assert_int_equal(fixture_attempt(f, a, 2), TW_OK);
    assert_int_equal(fixture_finish(f, a, TW_TASK_FAILED, NULL, 0), TW_OK);
    assert_int_equal(fixture_finish(f, a, TW_TASK_COMPLETED, NULL, 0), TW_FAILED_PRECONDITION);
    assert_int_equal(fixture_finish(f, b, TW_TASK_STOPPED, NULL, 0), TW_OK);
    assert_int_equal(fixture_finish(f, fixture_add(f, "c"), TW_TASK_COMPLETED, NULL, 0), TW_OK);
    static const struct {
        enum tw_event_kind kind;
        uint32_t attempt;
        enum tw_reason reason;
        const char *id;
    } right[] = {{TW_EVENT_ACCEPTED, 0, TW_REASON_NONE, "a"}, {TW_EVENT_ACCEPTED, 0, TW_REASON_NONE, "b"},
        {TW_EVENT_STARTED, 1, TW_REASON_NONE, "a"}, {TW_EVENT_PAUSED, 1, TW_REASON_NONE, "a"},
        {TW_EVENT_RESUMED, 1, TW_REASON_NONE, "a"}, {TW_EVENT_REQUEUED, 1, TW_REASON_OOM, "a"},
        {TW_EVENT_STARTED, 2, TW_REASON_NONE, "a"}, {TW_EVENT_FAILED, 1, TW_REASON_EXIT_CODE, "a"},
        {TW_EVENT_STOPPED, 1, TW_REASON_NONE, "b"}, {TW_EVENT_ACCEPTED, 0, TW_REASON_NONE, "c"},
        {TW_EVENT_COMPLETED, 1, TW_REASON_NONE, "c"}};
    assert_int_equal(get_events(f, 0, NULL, e), TW_OK);
    assert_int_equal(e->n, ARRAY_LEN(right));
    assert_int_equal(e->upto, ARRAY_LEN(right));
    for (size_t i = 0; i < e->n; i++) {
        assert_int_equal(e->list[i].number, i + 1);
        assert_int_equal(e->list[i].kind, right[i].kind);
        assert_int_equal(e->list[i].attempt, right[i].attempt);
        assert_int_equal(e->list[i].reason, right[i].reason);
        assert_string_equal(e->list[i].id, right[i].id);
    }
    assert_int_equal(get_events(f, 9, NULL, e), TW_OK);
    assert_int_equal(e->n, 2);
    assert_int_equal(get_events(f, 11, NULL, e), TW_OK);
    assert_int_equal(e->n, 0);
    assert_int_equal(e->upto, 11);
    assert_int_equal(get_events(f, 12, NULL, e), TW_OUT_OF_RANGE);
    assert_non_null(strstr(e->message, "11"));
    free(e);
}

/* --- the callback --- */

struct watch {
    struct fixture *f;
    size_t written, told, told_after; /* how many writes had called back when it was told last */
    uint64_t last;
    bool all;
};

static void on_event(void *ctx)
{
    struct watch *w = ctx;
    assert_true(store_last_event(w->f->store) > w->last); /* never for nothing */
    w->last = store_last_event(w->f->store);
    w->told++;
    w->told_after = w->written;
    w->all = w->last >= 20;
}

static void on_admit(void *ctx, const struct store_task *existing, const struct tw_error *error)
{
    struct watch *w = ctx;
    assert_true(!existing && !error);
    w->written++;
}

static void test_callback_after_the_writes(void **state)
{
    struct fixture *f = *state;
    struct watch w = {.f = f};
    struct store_task tasks[20];
    struct events *e = calloc(1, sizeof *e);
    struct outcome o;
    char id[16];
    fixture_open(f);
    store_set_on_event(f->store, on_event, &w);
    for (size_t i = 0; i < ARRAY_LEN(tasks); i++) {
        snprintf(id, sizeof id, "t%02zu", i);
        tasks[i] = fixture_task(id, "x", 1);
        store_admit(f->store, &tasks[i], on_admit, &w);
    }
    fixture_run(f, &w.all);
    assert_int_equal(w.written, 20);
    assert_int_equal(w.told_after, 20);
    assert_in_range(w.told, 1, 20);
    assert_int_equal(get_events(f, 0, NULL, e), TW_OK);
    for (size_t i = 0; i < 20; i++) { /* their order is that of the calls, and of the numbers of the tasks */
        assert_string_equal(e->list[i].id, tasks[i].info.id);
        assert_int_equal(tasks[i].seq, i + 1);
        store_task_done(&tasks[i]);
    }
    size_t told = w.told;
    assert_int_equal(fixture_admit(f, "t00", "x", 1, &o), TW_OK); /* nothing new */
    assert_int_equal(w.told, told);
    store_set_on_event(f->store, NULL, NULL);
    fixture_add(f, "unwatched");
    assert_int_equal(w.told, told);
    free(e);
}

/* --- which ones --- */

static void add_owned(struct fixture *f, const char *id, const char *owner, const char *value)
{
    struct outcome o;
    struct store_task task = fixture_task(id, "x", 1);
    struct tw_label label = {"k", value};
    free(task.info.owner);
    task.info.owner = strdup(owner);
    task.info.labels = &label;
    task.info.n_labels = 1;
    assert_int_equal(fixture_admit_task(f, &task, &o), TW_OK);
    task.info.labels = NULL;
    task.info.n_labels = 0;
    store_task_done(&task);
}

static void test_filter(void **state)
{
    struct fixture *f = *state;
    struct events *e = calloc(1, sizeof *e);
    fixture_open(f);
    add_owned(f, "a", "me", "1");
    add_owned(f, "b", "you", "1");
    add_owned(f, "c", "me", "2");
    assert_int_equal(fixture_attempt(f, 1, 1), TW_OK);
    struct store_filter filter = {.owner = "me"};
    assert_int_equal(get_events(f, 0, &filter, e), TW_OK);
    assert_int_equal(e->n, 3);
    assert_int_equal(e->upto, 4);
    assert_int_equal(e->list[2].number, 4);
    assert_int_equal(get_events(f, 1, &filter, e), TW_OK);
    assert_int_equal(e->n, 2);
    const struct tw_label label = {"k", "1"};
    filter.labels = &label;
    filter.n_labels = 1;
    assert_int_equal(get_events(f, 0, &filter, e), TW_OK);
    assert_int_equal(e->n, 2);
    filter = (struct store_filter){.labels = &label, .n_labels = 1};
    assert_int_equal(get_events(f, 0, &filter, e), TW_OK);
    assert_int_equal(e->n, 3);
    filter = (struct store_filter){.type = "shell"};
    assert_int_equal(get_events(f, 0, &filter, e), TW_OK);
    assert_int_equal(e->n, 0);
    assert_int_equal(e->upto, 4);
    filter = (struct store_filter){.type = "python"};
    assert_int_equal(get_events(f, 0, &filter, e), TW_OK);
    assert_int_equal(e->n, 4);
    free(e);
}

/* Pages lead on also where none match, and see each of those that do once. */
static void test_many(void **state)
{
    struct fixture *f = *state;
    struct events *e = calloc(1, sizeof *e);
    fixture_open(f);
    add_owned(f, "a", "me", "1");
    add_owned(f, "b", "you", "1");
    fixture_close(f);
    fixture_sql(f,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 45000) "
        "INSERT INTO events (seq, time_us, kind, attempt, reason) SELECT iif(i % 15000 = 0, 1, 2), i, 2, 1, 0 FROM n;");
    fixture_open(f);
    assert_int_equal(store_last_event(f->store), 45002);
    struct store_filter filter = {.owner = "me"};
    uint64_t after = 0;
    size_t n = 0, calls = 0;
    while (after < 45002) {
        assert_int_equal(get_events(f, after, &filter, e), TW_OK);
        assert_true(e->upto > after);
        after = e->upto;
        n += e->n;
        calls++;
    }
    assert_int_equal(n, 4);
    assert_int_equal(calls, 3);
    for (after = 44000, n = 0; after < 45002; after = e->upto, n += e->n)
        assert_int_equal(get_events(f, after, NULL, e), TW_OK);
    assert_int_equal(after, 45002);
    assert_int_equal(n, 1002);
    free(e);
}

static void test_gone(void **state)
{
    struct fixture *f = *state;
    struct events *e = calloc(1, sizeof *e);
    fixture_open(f);
    for (int i = 0; i < 5; i++) {
        char id[8];
        snprintf(id, sizeof id, "t%d", i);
        fixture_add(f, id);
    }
    fixture_close(f);
    fixture_sql(f, "DELETE FROM events WHERE n <= 3");
    fixture_open(f);
    assert_int_equal(get_events(f, 0, NULL, e), TW_OK); /* whatever there is */
    assert_int_equal(e->n, 2);
    assert_int_equal(e->list[0].number, 4);
    assert_int_equal(get_events(f, 2, NULL, e), TW_OUT_OF_RANGE);
    assert_non_null(strstr(e->message, "up to 3"));
    assert_int_equal(get_events(f, 3, NULL, e), TW_OK); /* nothing was missed */
    assert_int_equal(e->n, 2);
    fixture_close(f);
    fixture_sql(f, "DELETE FROM events");
    fixture_open(f);
    assert_int_equal(store_last_event(f->store), 5); /* a number is used once */
    assert_int_equal(get_events(f, 0, NULL, e), TW_OK);
    assert_int_equal(e->n, 0);
    assert_int_equal(e->upto, 5);
    assert_int_equal(get_events(f, 4, NULL, e), TW_OUT_OF_RANGE);
    assert_int_equal(get_events(f, 5, NULL, e), TW_OK);
    fixture_add(f, "next");
    assert_int_equal(store_last_event(f->store), 6);
    assert_int_equal(get_events(f, 5, NULL, e), TW_OK);
    assert_int_equal(e->n, 1);
    assert_int_equal(e->list[0].number, 6);
    free(e);
}

static void test_an_event_that_cannot_be(void **state)
{
    struct fixture *f = *state;
    struct events *e = calloc(1, sizeof *e);
    fixture_open(f);
    fixture_add(f, "a");
    fixture_close(f);
    fixture_sql(f, "UPDATE events SET kind = 99");
    fixture_open(f);
    assert_int_equal(get_events(f, 0, NULL, e), TW_DATA_LOSS);
    assert_int_equal(e->upto, 0);
    free(e);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(test_one_for_each_transition),
        T(test_callback_after_the_writes),
        T(test_filter),
        T(test_many),
        T(test_gone),
        T(test_an_event_that_cannot_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
