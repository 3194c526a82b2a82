/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"

static void test_a_task_runs_to_its_result(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec spec = spec_of("a", "result = 42");
    admit(f, &spec);
    struct said end = {0};
    assert_non_null(engine_wait(f->engine, "a", on_end, &end));
    run_until_runs(f, 1);
    struct fake_run *run = run_of(f, "a");
    assert_string_equal((char *)run->data, "result = 42");
    assert_int_equal(task_info(engine_find(f->engine, "a"))->state, TW_TASK_PREPARING);
    run_to_go(f, run);
    assert_int_equal(task_info(engine_find(f->engine, "a"))->state, TW_TASK_RUNNING);
    run->events->output(run->ctx, TW_STREAM_STDOUT, "hello\n", 6);
    run_end_well(run, "42");
    assert_false(end.called); /* not before it is on disk */
    run_until(f, &end.called);
    assert_int_equal(end.info.state, TW_TASK_COMPLETED);
    assert_int_equal(end.info.reason, TW_REASON_NONE);
    assert_int_equal(end.info.attempt, 1);
    assert_int_equal(end.info.log_size, 6);
    assert_int_equal(end.info.result_size, 2);
    assert_string_equal(end.result, "42");
    assert_true(end.info.created_us <= end.info.started_us && end.info.started_us <= end.info.finished_us);
    said_done(&end);
    assert_null(engine_find(f->engine, "a"));
    assert_int_equal(state_of(f, "a"), TW_TASK_COMPLETED);
    /* and waiting for it now is answered from the store */
    struct said again = {0};
    engine_wait(f->engine, "a", on_end, &again);
    run_until(f, &again.called);
    assert_int_equal(again.info.state, TW_TASK_COMPLETED);
    said_done(&again);
}

static void test_go_waits_for_the_disk(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec spec = spec_of("a", "x");
    admit(f, &spec);
    struct fake_run *run = run_of(f, "a"); /* started when the admission was answered */
    assert_non_null(run);
    run->events->ready(run->ctx);
    assert_false(run->went); /* the attempt is not on disk yet */
    run_until(f, &run->went);
    run_end_well(run, "1");
}

static void test_the_same_task_twice(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec spec = spec_of("a", "result = 1"), other = spec_of("a", "result = 2");
    struct said one = {0}, two = {0}, three = {0};
    engine_admit(f->engine, &spec, NULL, on_admit, &one); /* both at once: the store decides */
    engine_admit(f->engine, &spec, NULL, on_admit, &two);
    engine_admit(f->engine, &other, NULL, on_admit, &three);
    run_until(f, &three.called);
    assert_int_equal(one.error.code, TW_OK);
    assert_false(one.existing);
    assert_int_equal(two.error.code, TW_OK);
    assert_true(two.existing);
    assert_int_equal(three.error.code, TW_ALREADY_EXISTS);
    said_done(&one);
    said_done(&two);
    assert_int_equal(f->started, 1);
    run_to_go(f, run_of(f, "a"));
    struct said end = {0};
    engine_wait(f->engine, "a", on_end, &end);
    run_end_well(run_of(f, "a"), "1");
    run_until(f, &end.called);
    said_done(&end);
    /* after its end as well */
    struct said late = {0};
    engine_admit(f->engine, &spec, NULL, on_admit, &late);
    run_until(f, &late.called);
    assert_true(late.existing);
    assert_int_equal(late.info.state, TW_TASK_COMPLETED);
    said_done(&late);
    assert_int_equal(admit_code(f, &other), TW_ALREADY_EXISTS);
    assert_int_equal(f->started, 1);
}

static void test_an_id_is_made(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec spec = spec_of(NULL, "x");
    struct said one = {0}, two = {0};
    engine_admit(f->engine, &spec, NULL, on_admit, &one);
    engine_admit(f->engine, &spec, NULL, on_admit, &two);
    run_until(f, &two.called);
    assert_int_equal(strlen(one.info.id), 20);
    assert_true(strncmp(one.info.id, two.info.id, 9) <= 0); /* they sort by time */
    assert_string_not_equal(one.info.id, two.info.id);
    said_done(&one);
    said_done(&two);
}

static void test_bad_specs_are_refused(void **state)
{
    struct fixture *f = *state;
    static char huge[(1 << 20) + 2];
    memset(huge, 'x', sizeof huge - 1);
    const char *bad_utf8[] = {"ok", "\xff"};
    const char *many[ENGINE_MAX_ARGS + 1];
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        many[i] = "a";
    const char *long_arg[] = {huge};
    struct tw_env names[] = {{"1A", "x"}, {"A B", "x"}, {"", "x"}, {"A=B", "x"}, {"OK", "\xc3"}};
    struct tw_task_spec ok = spec_of("a", "x"), bad[32];
    size_t n = 0;
#define BAD(...) bad[n] = ok, __VA_ARGS__, n++
    BAD(bad[n].id = "a/b");
    BAD(bad[n].id = "a\n");
    BAD(bad[n].id = "\xff\xfe");
    BAD(bad[n].id = "..");
    BAD(bad[n].id = "-rf");
    BAD(bad[n].type = "");
    BAD(bad[n].type = NULL);
    BAD(bad[n].type = "perl");
    BAD(bad[n].data_len = 0);
    BAD(bad[n].data = NULL);
    BAD(bad[n].data = huge, bad[n].data_len = (1 << 20) + 1);
    BAD(bad[n].timeout_us = UINT64_MAX);
    BAD(bad[n].retries = 1001);
    BAD(bad[n].args = bad_utf8, bad[n].n_args = 2);
    BAD(bad[n].args = many, bad[n].n_args = ARRAY_LEN(many));
    BAD(bad[n].args = long_arg, bad[n].n_args = 1);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        BAD(bad[n].env = &names[i], bad[n].n_env = 1);
#undef BAD
    for (size_t i = 0; i < n; i++)
        assert_int_equal(admit_code(f, &bad[i]), TW_INVALID_ARGUMENT);
    assert_int_equal(f->started, 0);
}

static void test_fifo_and_slots(void **state)
{
    struct fixture *f = *state;
    char id[8];
    for (int i = 0; i < 5; i++) {
        snprintf(id, sizeof id, "t%d", i);
        struct tw_task_spec spec = spec_of(id, id);
        admit(f, &spec);
    }
    for (int i = 0; i < 5; i++) {
        run_until_runs(f, (unsigned)(i + 2 < 5 ? i + 2 : 5));
        snprintf(id, sizeof id, "t%d", i);
        struct fake_run *run = run_of(f, id);
        run_to_go(f, run);
        run_end_well(run, id);
    }
}

static void test_the_queue_has_a_bound(void **state)
{
    struct fixture *f = *state;
    engine_set_limits(f->engine, 0, 3, 0);
    char id[8];
    for (int i = 0; i < 5; i++) { /* two run, three wait */
        snprintf(id, sizeof id, "t%d", i);
        struct tw_task_spec spec = spec_of(id, id);
        admit(f, &spec);
    }
    struct tw_task_spec spec = spec_of("more", "x"), known = spec_of("t4", "t4");
    struct said said = {0};
    engine_admit(f->engine, &spec, NULL, on_admit, &said);
    run_until(f, &said.called);
    assert_int_equal(said.error.code, TW_RESOURCE_EXHAUSTED);
    assert_int_equal(said.error.retry_ms, 1000); /* nothing has ended yet: nobody can tell */
    assert_non_null(strstr(said.error.message, "try again in 1.0 s"));
    said_done(&said);
    assert_int_equal(admit_code(f, &known), TW_OK); /* one handed in before still gets its answer, */
    run_to_go(f, run_of(f, "t0"));
    run_end_well(run_of(f, "t0"), "1");
    run_until_runs(f, 3);
    struct tw_task_spec fill = spec_of("fill", "x"), ended = spec_of("t0", "t0"), other = spec_of("t0", "other");
    admit(f, &fill);
    assert_int_equal(admit_code(f, &ended), TW_OK); /* also when it has ended */
    assert_int_equal(admit_code(f, &other), TW_ALREADY_EXISTS);
    assert_int_equal(admit_code(f, &spec), TW_RESOURCE_EXHAUSTED);
}

static void test_what_is_on_its_way_to_disk_is_bounded(void **state)
{
    struct fixture *f = *state;
    enum { SIZE = 1 << 20, N = 300 };
    static struct said said[N];
    memset(said, 0, sizeof said);
    char *data = malloc(SIZE);
    memset(data, 'z', SIZE);
    engine_set_limits(f->engine, 0, 1000, 0);
    unsigned refused = 0;
    for (int i = 0; i < N; i++) { /* all before the store has answered once */
        struct tw_task_spec spec = spec_of(NULL, "");
        spec.data = data;
        spec.data_len = SIZE;
        engine_admit(f->engine, &spec, NULL, on_admit, &said[i]);
        refused += said[i].called && said[i].error.code == TW_RESOURCE_EXHAUSTED;
    }
    free(data);
    assert_true(refused > 30 && refused < 60);
    for (int i = 0; i < N; i++) {
        run_until(f, &said[i].called);
        said_done(&said[i]);
    }
}

static void test_large_data_waits_on_disk(void **state)
{
    struct fixture *f = *state;
    char *data = malloc(500001);
    memset(data, 'z', 500000);
    data[500000] = '\0';
    struct tw_task_spec first = spec_of("1", "x"), second = spec_of("2", "x"), large = spec_of("large", data);
    admit(f, &first);
    admit(f, &second);
    admit(f, &large);
    run_to_go(f, run_of(f, "1"));
    run_end_well(run_of(f, "1"), "1");
    run_until_runs(f, 3);
    assert_int_equal(run_of(f, "large")->data_len, 500000);
    assert_memory_equal(run_of(f, "large")->data, data, 500000);
    free(data);
}

static bool no_runs(struct fixture *f)
{
    return list_empty(&f->runs);
}

static void check_stop(struct fixture *f, const char *id, bool running)
{
    struct said end = {0};
    engine_stop(f->engine, id, on_end, &end);
    struct fake_run *run = run_of(f, id);
    if (running) {
        assert_true(run->killed || run->terminated); /* a word first to one that runs */
        struct run_outcome killed = {.end = RUN_SIGNALED, .signal = 9};
        run_end(run, &killed);
    }
    run_until(f, &end.called);
    assert_int_equal(end.error.code, TW_OK);
    assert_int_equal(end.info.state, TW_TASK_STOPPED);
    assert_int_equal(end.info.reason, TW_REASON_STOPPED_BY_USER);
    said_done(&end);
    struct said again = {0}; /* once more is fine */
    engine_stop(f->engine, id, on_end, &again);
    run_until(f, &again.called);
    assert_int_equal(again.error.code, TW_OK);
    said_done(&again);
}

static void test_stop_wherever_it_is(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec running = spec_of("running", "x"), preparing = spec_of("preparing", "x"),
                        queued = spec_of("queued", "x");
    admit(f, &running);
    admit(f, &preparing);
    admit(f, &queued);
    run_to_go(f, run_of(f, "running"));
    check_stop(f, "queued", false);
    check_stop(f, "preparing", true);
    check_stop(f, "running", true);
    assert_true(no_runs(f));
    struct said unknown = {0};
    engine_stop(f->engine, "nobody", on_end, &unknown);
    run_until(f, &unknown.called);
    assert_int_equal(unknown.error.code, TW_NOT_FOUND);
}

static void test_time_out(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec spec = spec_of("a", "x");
    spec.timeout_us = 5000;
    admit(f, &spec);
    struct said end = {0};
    engine_wait(f->engine, "a", on_end, &end);
    struct fake_run *run = run_of(f, "a");
    run_to_go(f, run);
    run_until(f, &run->terminated);
    struct run_outcome killed = {.end = RUN_SIGNALED, .signal = 9};
    run_end(run, &killed);
    run_until(f, &end.called);
    assert_int_equal(end.info.state, TW_TASK_FAILED);
    assert_int_equal(end.info.reason, TW_REASON_TIMEOUT_WALL);
    said_done(&end);
}

struct follower {
    struct engine_watch watch;
    unsigned changes;
    bool ended;
};

static void on_changed(struct engine_watch *watch, bool ended, const struct tw_error *error UNUSED)
{
    struct follower *w = CONTAINER_OF(watch, struct follower, watch);
    w->changes += !ended;
    w->ended = ended;
}

static void test_followers_hear_of_output_and_end(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec spec = spec_of("a", "x");
    admit(f, &spec);
    struct follower w = {.watch.changed = on_changed}, gone = {.watch.changed = on_changed};
    assert_true(engine_watch(f->engine, "a", &w.watch));
    assert_true(engine_watch(f->engine, "a", &gone.watch));
    struct fake_run *run = run_of(f, "a");
    run_to_go(f, run);
    run->events->output(run->ctx, TW_STREAM_STDERR, "1", 1);
    engine_unwatch(&gone.watch);
    run->events->output(run->ctx, TW_STREAM_STDERR, "2", 1);
    run_end_well(run, "1");
    run_until(f, &w.ended);
    assert_int_equal(w.changes, 2);
    assert_int_equal(gone.changes, 1);
    assert_false(gone.ended);
    assert_false(engine_watch(f->engine, "a", &w.watch));
}

static void test_a_cancelled_wait_is_silent(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec spec = spec_of("a", "x");
    struct said live = {0}, stored = {0}, end = {0};
    struct engine_wait *wait = engine_wait(f->engine, "nobody", on_end, &stored);
    engine_wait_cancel(wait); /* while the store looks for it */
    admit(f, &spec);
    wait = engine_wait(f->engine, "a", on_end, &live);
    engine_wait_cancel(wait);
    engine_wait(f->engine, "a", on_end, &end);
    run_to_go(f, run_of(f, "a"));
    run_end_well(run_of(f, "a"), "1");
    run_until(f, &end.called);
    said_done(&end);
    assert_false(live.called);
    assert_false(stored.called);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_task_runs_to_its_result),
        TEST(test_go_waits_for_the_disk),
        TEST(test_the_same_task_twice),
        TEST(test_an_id_is_made),
        TEST(test_bad_specs_are_refused),
        TEST(test_fifo_and_slots),
        TEST(test_the_queue_has_a_bound),
        TEST(test_what_is_on_its_way_to_disk_is_bounded),
        TEST(test_large_data_waits_on_disk),
        TEST(test_stop_wherever_it_is),
        TEST(test_time_out),
        TEST(test_followers_hear_of_output_and_end),
        TEST(test_a_cancelled_wait_is_silent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
