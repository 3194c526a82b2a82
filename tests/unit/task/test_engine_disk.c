/* SPDX-License-Identifier: Apache-2.0 */
/* A disk that is full at the worst moments: nothing that was accepted or has happened is lost, and nothing is run twice. */
#include "disk.h"
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

static void start(struct fixture *f, const struct tw_task_spec *spec)
{
    unsigned started = f->started;
    admit(f, spec);
    run_until_runs(f, started + 1);
    run_to_go(f, run_of(f, spec->id));
}

static void fail_run(struct fixture *f, const char *id)
{
    const struct run_outcome outcome = {.end = RUN_EXITED, .exit_code = 3, .error = "Traceback"};
    run_end(run_of(f, id), &outcome);
}

static bool is_in_trouble(struct fixture *f)
{
    struct engine_status status;
    engine_get_status(f->engine, &status);
    return status.trouble && strstr(status.trouble, "is full");
}

static unsigned failures_wanted;

static bool has_failed_on(struct fixture *f UNUSED)
{
    return disk_failures() >= failures_wanted;
}

/* The disk is full, and this many writes from now on have found that out. */
static void run_until_failures(struct fixture *f, unsigned more)
{
    failures_wanted = disk_failures() + more;
    run_until_true(f, has_failed_on);
}

static void assert_ends(struct fixture *f, const char *id, enum tw_task_state state, enum tw_reason reason)
{
    struct said said = {0};
    engine_wait(f->engine, id, on_end, &said);
    run_until(f, &said.called);
    assert_int_equal(said.error.code, TW_OK);
    assert_int_equal(said.info.state, state);
    assert_int_equal(said.info.reason, reason);
    said_done(&said);
}

/* --- what the store says --- */

struct story {
    bool called;
    char text[200];
};

static void on_attempts(void *ctx, const struct tw_attempt_info *attempts, size_t n, const struct tw_error *error)
{
    struct story *story = ctx;
    assert_null(error);
    for (size_t i = 0; i < n; i++) {
        size_t at = strlen(story->text);
        snprintf(story->text + at, sizeof story->text - at, "%s%u %s %d", i ? ", " : "", attempts[i].attempt,
            tw_reason_to_string(attempts[i].reason), attempts[i].exit_code);
    }
    story->called = true;
}

static void assert_attempts(struct fixture *f, const char *id, const char *expected)
{
    struct story story = {0};
    store_attempts(f->store, id, on_attempts, &story);
    run_until(f, &story.called);
    assert_string_equal(story.text, expected);
}

static void on_events(
    void *ctx, const struct store_event *events, size_t n, uint64_t upto UNUSED, const struct tw_error *error)
{
    struct story *story = ctx;
    assert_null(error);
    for (size_t i = 0; i < n; i++) {
        size_t at = strlen(story->text);
        snprintf(story->text + at, sizeof story->text - at, "%s%s", i ? " " : "", tw_event_to_string(events[i].kind));
    }
    story->called = true;
}

/* Of all tasks, in order. */
static void assert_events(struct fixture *f, const char *expected)
{
    struct story story = {0};
    const struct store_filter filter = {.limit = 1000};
    store_events(f->store, 0, false, &filter, on_events, &story);
    run_until(f, &story.called);
    assert_string_equal(story.text, expected);
}

/* --- between two attempts --- */

static void test_a_failed_attempt_is_kept(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec spec = spec_of("t", "x");
    spec.retries = 1;
    start(f, &spec);
    disk_set_full(true);
    fail_run(f, "t");
    run_until_failures(f, 2); /* and it is tried again */
    assert_true(is_in_trouble(f));
    assert_int_equal(state_of(f, "t"), TW_TASK_RUNNING); /* as on disk */
    assert_int_equal(f->started, 1);
    disk_set_full(false);
    run_until_runs(f, 2);
    run_to_go(f, run_of(f, "t"));
    assert_attempts(f, "t", "1 exit_code 3");
    run_end_well(run_of(f, "t"), "1");
    assert_ends(f, "t", TW_TASK_COMPLETED, TW_REASON_NONE);
    assert_events(f, "accepted started requeued started completed");
    assert_false(is_in_trouble(f));
}

static void test_a_crash_before_it_is_kept(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec spec = spec_of("t", "x");
    spec.retries = 1;
    start(f, &spec);
    disk_set_full(true);
    fail_run(f, "t");
    run_until_failures(f, 1);
    fixture_crash(f);
    disk_set_full(false);
    fixture_open(f);
    run_until_runs(f, 1);
    assert_attempts(f, "t", "1 lost 0"); /* all that is known by then */
    run_to_go(f, run_of(f, "t"));
    fail_run(f, "t");
    assert_ends(f, "t", TW_TASK_FAILED, TW_REASON_EXIT_CODE);
    assert_int_equal(f->started, 1);
    assert_events(f, "accepted started requeued started failed");
}

static void test_a_stop_meanwhile(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec spec = spec_of("t", "x");
    struct said said = {0};
    spec.retries = 1;
    start(f, &spec);
    disk_set_full(true);
    fail_run(f, "t");
    run_until_failures(f, 1);
    engine_stop(f->engine, "t", on_end, &said);
    run_until_failures(f, 1);
    assert_false(said.called);
    disk_set_full(false);
    run_until(f, &said.called);
    assert_int_equal(said.error.code, TW_OK);
    assert_int_equal(said.info.state, TW_TASK_STOPPED);
    said_done(&said);
    assert_int_equal(f->started, 1);
    assert_attempts(f, "t", "1 exit_code 3");
    assert_events(f, "accepted started requeued stopped");
}

static bool t_is_queued(struct fixture *f)
{
    return task_info(engine_find(f->engine, "t"))->state == TW_TASK_QUEUED;
}

static void test_a_pause_meanwhile(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec spec = spec_of("t", "x");
    struct said said = {0};
    spec.retries = 1;
    start(f, &spec);
    disk_set_full(true);
    fail_run(f, "t");
    run_until_failures(f, 1);
    disk_set_full(false);
    engine_set_paused(f->engine, "t", true, on_task, &said); /* before the second try to write the end */
    run_until(f, &said.called);
    assert_int_equal(said.error.code, TW_OK);
    said_done(&said);
    struct tw_task_spec other = spec_of("other", "x");
    run_until_true(f, t_is_queued);
    start(f, &other); /* the trouble is over, and "t" is still held */
    assert_null(run_of(f, "t"));
    said = (struct said){0};
    engine_set_paused(f->engine, "t", false, on_task, &said);
    run_until(f, &said.called);
    said_done(&said);
    run_until_runs(f, 3);
    run_to_go(f, run_of(f, "t"));
    assert_attempts(f, "t", "1 exit_code 3");
}

static void set_flag(void *ctx)
{
    *(bool *)ctx = true;
}

/* A node that ends waits for room, but not for ever. */
static void test_the_end_of_the_node(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec spec = spec_of("t", "x"), other = spec_of("other", "x");
    struct said waits = {0};
    bool drained = false;
    spec.retries = other.retries = 1;
    start(f, &spec);
    disk_set_full(true);
    fail_run(f, "t");
    engine_wait(f->engine, "t", on_end, &waits);
    engine_shutdown(f->engine, TW_SHUTDOWN_STOP, set_flag, &drained);
    run_until(f, &drained);
    assert_int_equal(waits.error.code, TW_RESOURCE_EXHAUSTED);
    fixture_crash(f);
    disk_set_full(false);
    fixture_open(f);
    run_until_runs(f, 1);
    assert_attempts(f, "t", "1 lost 0");
    run_to_go(f, run_of(f, "t"));
    start(f, &other);

    drained = false;
    fail_run(f, "other");
    run_end_well(run_of(f, "t"), "1");
    engine_shutdown(f->engine, TW_SHUTDOWN_STOP, set_flag, &drained); /* both are on their way to disk */
    run_until(f, &drained);
    fixture_crash(f);
    fixture_open(f);
    assert_int_equal(state_of(f, "t"), TW_TASK_COMPLETED);
    run_until_runs(f, 1);
    assert_attempts(f, "other", "1 exit_code 3");
}

static void test_a_false_start(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec spec = spec_of("t", "x");
    const struct run_outcome broken = {.end = RUN_SANDBOX_ERROR, .message = "no namespaces here"};
    struct said said = {0};
    admit(f, &spec);
    run_until_runs(f, 1);
    engine_set_paused(f->engine, "t", true, on_task, &said); /* the store has the attempt too by then */
    run_until(f, &said.called);
    said_done(&said);
    disk_set_full(true);
    run_end(run_of(f, "t"), &broken);
    run_until_failures(f, 2);
    disk_set_full(false);
    said = (struct said){0};
    engine_set_paused(f->engine, "t", false, on_task, &said);
    run_until(f, &said.called);
    said_done(&said);
    run_until_runs(f, 2);
    run_to_go(f, run_of(f, "t"));
    assert_int_equal(task_info(engine_find(f->engine, "t"))->attempt, 1);
    assert_attempts(f, "t", "");
    run_end_well(run_of(f, "t"), "1");
    assert_ends(f, "t", TW_TASK_COMPLETED, TW_REASON_NONE);
}

static void make_disk_full(void)
{
    disk_set_full(true);
}

static void test_full_when_the_node_starts(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec spec = spec_of("t", "x");
    spec.retries = 1;
    start(f, &spec);
    fixture_crash(f);
    assert_int_equal(fixture_take_up_fails(f, make_disk_full), TW_RESOURCE_EXHAUSTED);
    disk_set_full(false);
    fixture_open(f);
    run_until_runs(f, 1);
    run_to_go(f, run_of(f, "t"));
    assert_attempts(f, "t", "1 lost 0");
    assert_events(f, "accepted started requeued started");
}

/* --- what is asked for meanwhile --- */

static void assert_pausing_fails(struct fixture *f, const char *id, bool paused)
{
    struct said said = {0};
    engine_set_paused(f->engine, id, paused, on_task, &said);
    run_until(f, &said.called);
    assert_int_equal(said.error.code, TW_RESOURCE_EXHAUSTED);
    assert_int_equal(task_info(engine_find(f->engine, id))->paused, !paused);
}

static void test_pause_and_resume(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec spec = spec_of("t", "x");
    start(f, &spec);
    disk_set_full(true);
    assert_pausing_fails(f, "t", true);
    assert_int_equal(run_of(f, "t")->pauses, 0);
    disk_set_full(false);
    struct said said = {0};
    engine_set_paused(f->engine, "t", true, on_task, &said);
    run_until(f, &said.called);
    said_done(&said);
    disk_set_full(true);
    assert_pausing_fails(f, "t", false);
    assert_true(run_of(f, "t")->paused);
    disk_set_full(false);
    assert_events(f, "accepted started paused");
}

static void test_stopping_one_that_waits(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec spec = spec_of("t", "x"), first[2] = {spec_of("a", "x"), spec_of("b", "x")};
    struct said said = {0};
    start(f, &first[0]);
    start(f, &first[1]);
    admit(f, &spec);
    disk_set_full(true);
    engine_stop(f->engine, "t", on_end, &said);
    run_until_failures(f, 2);
    assert_false(said.called);
    run_end_well(run_of(f, "a"), "1"); /* and a slot is free */
    disk_set_full(false);
    run_until(f, &said.called);
    assert_int_equal(said.info.state, TW_TASK_STOPPED);
    said_done(&said);
    assert_ends(f, "a", TW_TASK_COMPLETED, TW_REASON_NONE);
    assert_int_equal(f->started, 2);
}

static void on_batch(
    void *ctx, const char *batch_id UNUSED, const char *const *ids, size_t n UNUSED, const struct tw_error *error)
{
    struct said *said = ctx;
    said->called = true;
    said->error.code = error ? error->code : TW_OK;
    assert_true(!ids == !!error);
}

static void test_batches_and_retries(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec dead = spec_of("dead", "x"), specs[2] = {spec_of("a", "x"), spec_of("b", "x")};
    const struct engine_batch batch = {.batch_id = "batch", .specs = specs, .n_specs = 2};
    struct said said[3] = {0};
    start(f, &dead);
    fail_run(f, "dead");
    assert_ends(f, "dead", TW_TASK_FAILED, TW_REASON_EXIT_CODE);
    disk_set_full(true);
    engine_admit_batch(f->engine, &batch, on_batch, &said[0]);
    engine_retry(f->engine, &(struct engine_again){.id = "dead", .new_id = "again"}, on_admit, &said[1]);
    run_until(f, &said[0].called);
    run_until(f, &said[1].called);
    assert_int_equal(said[0].error.code, TW_RESOURCE_EXHAUSTED);
    assert_int_equal(said[1].error.code, TW_RESOURCE_EXHAUSTED);
    struct engine_status status;
    engine_get_status(f->engine, &status);
    assert_int_equal(status.running + status.queued, 0);
    disk_set_full(false);
    engine_admit_batch(f->engine, &batch, on_batch, &said[2]);
    run_until(f, &said[2].called);
    assert_int_equal(said[2].error.code, TW_OK);
    run_until_runs(f, 3);
    assert_null(engine_find(f->engine, "again"));
}

static int setup(void **state)
{
    disk_install();
    return fixture_setup(state);
}

static int teardown(void **state)
{
    disk_set_full(false);
    int r = fixture_teardown(state);
    disk_uninstall();
    return r;
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_a_failed_attempt_is_kept),
        T(test_a_crash_before_it_is_kept),
        T(test_a_stop_meanwhile),
        T(test_a_pause_meanwhile),
        T(test_the_end_of_the_node),
        T(test_a_false_start),
        T(test_full_when_the_node_starts),
        T(test_pause_and_resume),
        T(test_stopping_one_that_waits),
        T(test_batches_and_retries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
