/* SPDX-License-Identifier: Apache-2.0 */
/* Attempts, dependencies, pauses, polite ends and batches, with a runtime that does what the test says. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "store/internal.h"

static void start(struct fixture *f, const struct tw_task_spec *spec)
{
    unsigned started = f->started;
    admit(f, spec);
    run_until_runs(f, started + 1);
    run_to_go(f, run_of(f, spec->id));
}

static void fail_run(struct fixture *f, const char *id)
{
    const struct run_outcome outcome = {.end = RUN_EXITED, .exit_code = 3};
    run_end(run_of(f, id), &outcome);
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

static void test_a_stop_ends_the_attempts(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec spec = spec_of("t", "x");
    struct said said = {0};
    spec.retries = 5;
    spec.timeout_us = 1000;
    start(f, &spec);
    struct fake_run *run = run_of(f, "t");
    run_until(f, &run->terminated); /* its time is over, and there would be another attempt */
    engine_stop(f->engine, "t", on_end, &said);
    fail_run(f, "t");
    run_until(f, &said.called);
    assert_int_equal(said.info.state, TW_TASK_STOPPED);
    assert_int_equal(f->started, 1);
    said_done(&said);
}

static void test_a_time_out_is_tried_again(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec spec = spec_of("t", "x");
    spec.retries = 1;
    spec.timeout_us = 1000;
    start(f, &spec);
    run_until(f, &run_of(f, "t")->terminated);
    run_end_well(run_of(f, "t"), "1"); /* too late to end well */
    run_until_runs(f, 2);
    run_to_go(f, run_of(f, "t"));
    run_until(f, &run_of(f, "t")->terminated);
    fail_run(f, "t");
    assert_ends(f, "t", TW_TASK_FAILED, TW_REASON_TIMEOUT_WALL);
}

static void test_grace_has_an_end(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec spec = spec_of("t", "x");
    struct said said = {0};
    spec.grace_us = 1;
    start(f, &spec);
    engine_stop(f->engine, "t", on_end, &said);
    assert_true(run_of(f, "t")->terminated);
    run_until(f, &run_of(f, "t")->killed);
    const struct run_outcome outcome = {.end = RUN_SIGNALED, .signal = 9};
    run_end(run_of(f, "t"), &outcome);
    run_until(f, &said.called);
    assert_int_equal(said.info.reason, TW_REASON_STOPPED_BY_USER);
    said_done(&said);
}

static void set_flag(void *ctx)
{
    *(bool *)ctx = true;
}

static void kill_run(struct fixture *f, const char *id)
{
    const struct run_outcome outcome = {.end = RUN_SIGNALED, .signal = 9};
    run_until(f, &run_of(f, id)->killed);
    run_end(run_of(f, id), &outcome);
}

/* A node that ends does not wait for whoever asked for more time than it gives. */
static void test_grace_at_the_end_of_the_node(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec spec = spec_of("t", "x"), other = spec_of("other", "x");
    struct said said = {0};
    bool drained = false;
    f->grace_us = 1;
    fixture_crash(f);
    fixture_open(f);
    spec.grace_us = other.grace_us = 3600 * UINT64_C(1000000);
    start(f, &spec);
    start(f, &other);
    engine_stop(f->engine, "other", on_end, &said);
    engine_shutdown(f->engine, TW_SHUTDOWN_STOP, set_flag, &drained);
    kill_run(f, "t");
    kill_run(f, "other");
    run_until(f, &drained);
    assert_int_equal(state_of(f, "t"), TW_TASK_STOPPED);
    assert_int_equal(said.info.reason, TW_REASON_STOPPED_BY_USER);
    said_done(&said);
}

/* What ran when its node was stopped, and may run again, does so when it is back; what comes after it goes on waiting. */
static void test_a_stopped_node_loses_no_attempts(void **state)
{
    struct fixture *f = *state;
    static const char *const first[] = {"first"};
    struct tw_task_spec a = spec_of("first", "x"), b = spec_of("second", "x");
    bool drained = false;
    a.retries = 1;
    b.after = first;
    b.n_after = 1;
    start(f, &a);
    admit(f, &b);
    engine_shutdown(f->engine, TW_SHUTDOWN_STOP, set_flag, &drained);
    assert_true(run_of(f, "first")->terminated);
    run_end_well(run_of(f, "first"), "1");
    run_until(f, &drained);
    assert_int_equal(state_of(f, "first"), TW_TASK_QUEUED);
    fixture_crash(f);
    fixture_open(f);
    run_until_runs(f, 1);
    run_to_go(f, run_of(f, "first"));
    assert_int_equal(state_of(f, "second"), TW_TASK_QUEUED);
    run_end_well(run_of(f, "first"), "1");
    run_until_runs(f, 2);
    assert_non_null(run_of(f, "second"));
}

/* What had not come to its first instruction only waited: that is no attempt, and no end. */
static void test_a_stopped_node_ends_nothing_that_waits(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec spec = spec_of("t", "x");
    const struct run_outcome outcome = {.end = RUN_SIGNALED, .signal = 9};
    bool drained = false;
    admit(f, &spec);
    run_until_runs(f, 1);
    engine_shutdown(f->engine, TW_SHUTDOWN_STOP, set_flag, &drained);
    assert_true(run_of(f, "t")->killed);
    run_end(run_of(f, "t"), &outcome);
    run_until(f, &drained);
    assert_int_equal(state_of(f, "t"), TW_TASK_QUEUED);
    fixture_crash(f);
    fixture_open(f);
    run_until_runs(f, 1);
    run_to_go(f, run_of(f, "t"));
    run_end_well(run_of(f, "t"), "1");
    assert_ends(f, "t", TW_TASK_COMPLETED, TW_REASON_NONE);
}

/* Who is stopped on request while the node stops does not come back with it. */
static void test_a_stop_while_the_node_stops(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec spec = spec_of("t", "x");
    struct said said = {0};
    bool drained = false;
    spec.retries = 1;
    start(f, &spec);
    engine_shutdown(f->engine, TW_SHUTDOWN_STOP, set_flag, &drained);
    engine_stop(f->engine, "t", on_end, &said);
    run_end_well(run_of(f, "t"), "1");
    run_until(f, &drained);
    assert_int_equal(said.info.reason, TW_REASON_STOPPED_BY_USER);
    said_done(&said);
}

static void test_a_tidy_end_keeps_its_result(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec spec = spec_of("t", "x");
    struct said said = {0};
    start(f, &spec);
    engine_stop(f->engine, "t", on_end, &said);
    run_end_well(run_of(f, "t"), "42");
    run_until(f, &said.called);
    assert_int_equal(said.info.state, TW_TASK_STOPPED);
    assert_string_equal(said.result, "42");
    said_done(&said);
}

static void test_those_that_come_after(void **state)
{
    struct fixture *f = *state;
    static const char *const first[] = {"first"}, *const second[] = {"second"};
    struct tw_task_spec spec = spec_of("first", "x"), next = spec_of("second", "x"), third = spec_of("third", "x");
    next.after = first;
    third.after = second;
    next.n_after = third.n_after = 1;
    start(f, &spec);
    admit(f, &next);
    admit(f, &third);
    assert_int_equal(f->started, 1);
    run_end_well(run_of(f, "first"), "1");
    run_until_runs(f, 2);
    run_to_go(f, run_of(f, "second"));
    fail_run(f, "second");
    assert_ends(f, "third", TW_TASK_FAILED, TW_REASON_DEPENDENCY);
    assert_int_equal(f->started, 2);
}

struct batch_said {
    bool called;
    enum tw_code code;
    size_t n;
    char id[32];
};

static void on_batch(void *ctx, const char *batch_id, const char *const *ids, size_t n, const struct tw_error *error)
{
    struct batch_said *said = ctx;
    said->called = true;
    said->code = error ? error->code : TW_OK;
    said->n = n;
    snprintf(said->id, sizeof said->id, "%s", batch_id ? batch_id : "");
    assert_true(error ? !batch_id && !ids : batch_id && ids);
}

static enum tw_code admit_chain(struct fixture *f, unsigned n, unsigned max_after)
{
    struct batch_said said = {0};
    CLEANUP_FREE struct tw_task_spec *specs = calloc(n, sizeof *specs);
    CLEANUP_FREE char(*ids)[16] = calloc(n, sizeof *ids);
    CLEANUP_FREE const char **after = calloc(n, sizeof *after);
    for (unsigned i = 0; i < n; i++) {
        snprintf(ids[i], sizeof ids[i], "c%u", i);
        after[i] = i < max_after ? "c0" : ids[i - 1];
        if (i == 0)
            after[i] = "first";
        specs[i] = spec_of(ids[i], "x");
        specs[i].after = &after[i];
        specs[i].n_after = 1;
    }
    const struct engine_batch batch = {.specs = specs, .n_specs = n};
    engine_admit_batch(f->engine, &batch, on_batch, &said);
    run_until(f, &said.called);
    return said.code;
}

/* Neither a transaction for each link, nor more than a bounded number of them in one go. */
static void test_a_chain_fails_as_one(void **state)
{
    struct fixture *f = *state;
    enum { LINKS = 1000, BROAD = 500 };
    struct tw_task_spec spec = spec_of("first", "x");
    struct engine_status status;
    char last[16];
    fixture_crash(f);
    f->max_queued = LINKS;
    fixture_open(f);
    start(f, &spec);
    assert_int_equal(admit_chain(f, LINKS, BROAD), TW_OK);
    uint64_t before = atomic_load(&f->store->commits);
    fail_run(f, "first");
    snprintf(last, sizeof last, "c%d", LINKS - 1);
    assert_ends(f, last, TW_TASK_FAILED, TW_REASON_DEPENDENCY);
    assert_in_range(atomic_load(&f->store->commits) - before, 2, 20);
    engine_get_status(f->engine, &status);
    assert_int_equal(status.failed, LINKS + 1);
    assert_int_equal(status.queued, 0);
}

/* However it fails, what comes after it with after_any starts when its end is on disk, and not before. */
static void test_after_any_behind_a_chain(void **state)
{
    struct fixture *f = *state;
    static const char *const last[] = {"c9"};
    struct tw_task_spec spec = spec_of("first", "x"), any = spec_of("any", "x");
    any.after = last;
    any.n_after = 1;
    any.after_any = true;
    start(f, &spec);
    assert_int_equal(admit_chain(f, 10, 1), TW_OK);
    admit(f, &any);
    fail_run(f, "first");
    run_until_runs(f, 2);
    assert_non_null(run_of(f, "any"));
    assert_null(engine_find(f->engine, "c9")); /* not live: its end is on disk */
    run_to_go(f, run_of(f, "any"));
    run_end_well(run_of(f, "any"), "1");
    assert_ends(f, "any", TW_TASK_COMPLETED, TW_REASON_NONE);
}

/* Whatever is left goes with the engine, in any order. */
static void test_held_tasks_at_the_end(void **state)
{
    struct fixture *f = *state;
    static const char *const first[] = {"first", "second"};
    struct tw_task_spec a = spec_of("first", "x"), b = spec_of("second", "x"), c = spec_of("third", "x");
    b.after = c.after = first;
    b.n_after = 1;
    c.n_after = 2;
    start(f, &a);
    admit(f, &b);
    admit(f, &c);
    fixture_crash(f);
    fixture_open(f);
    assert_int_equal(state_of(f, "first"), TW_TASK_FAILED);
    assert_ends(f, "second", TW_TASK_FAILED, TW_REASON_DEPENDENCY);
    assert_ends(f, "third", TW_TASK_FAILED, TW_REASON_DEPENDENCY);
}

/* What a crash left ends while the engine is made, and so may set others free: they wait for the start all the same. */
static void test_nothing_starts_before_the_start(void **state)
{
    struct fixture *f = *state;
    static const char *const first[] = {"first"};
    struct tw_task_spec a = spec_of("first", "x"), b = spec_of("second", "x");
    b.after = first;
    b.n_after = 1;
    b.after_any = true;
    start(f, &a);
    admit(f, &b);
    fixture_crash(f);
    fixture_take_up(f);
    unsigned started = f->started;
    assert_int_equal(state_of(f, "first"), TW_TASK_FAILED);
    assert_int_equal(state_of(f, "second"), TW_TASK_QUEUED);
    assert_int_equal(f->started, started);
    engine_start(f->engine);
    run_until_runs(f, started + 1);
    assert_non_null(run_of(f, "second"));
}

static void set_paused(struct fixture *f, const char *id, bool paused)
{
    struct said said = {0};
    engine_set_paused(f->engine, id, paused, on_task, &said);
    run_until(f, &said.called);
    assert_int_equal(said.error.code, TW_OK);
    assert_int_equal(said.info.paused, paused);
    said_done(&said);
}

static void test_a_pause(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec spec = spec_of("t", "x");
    start(f, &spec);
    set_paused(f, "t", false); /* it is not paused: nothing is done twice, nor its time-out begun anew */
    set_paused(f, "t", true);
    assert_true(run_of(f, "t")->paused);
    set_paused(f, "t", true);
    set_paused(f, "t", false);
    assert_false(run_of(f, "t")->paused);
    set_paused(f, "t", false);
    assert_int_equal(run_of(f, "t")->pauses, 2);
    run_end_well(run_of(f, "t"), "1");
    assert_ends(f, "t", TW_TASK_COMPLETED, TW_REASON_NONE);
}

static void test_what_has_ended_is_not_paused(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec spec = spec_of("t", "x");
    struct said said = {0};
    start(f, &spec);
    set_paused(f, "t", true);
    engine_stop(f->engine, "t", on_end, &said);
    fail_run(f, "t");
    run_until(f, &said.called);
    assert_int_equal(said.info.state, TW_TASK_STOPPED);
    assert_false(said.info.paused);
    said_done(&said);
}

/* Between its start and its go. */
static void test_a_pause_before_it_runs(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec spec = spec_of("t", "x");
    admit(f, &spec);
    run_until_runs(f, 1);
    set_paused(f, "t", true);
    struct fake_run *run = run_of(f, "t");
    run->events->ready(run->ctx);
    struct tw_task_spec other = spec_of("other", "x"); /* has gone by when it has started: so would the first have */
    start(f, &other);
    assert_false(run->went);
    set_paused(f, "t", false);
    assert_true(run->went);
    run_end_well(run, "1");
    run_end_well(run_of(f, "other"), "1");
    assert_ends(f, "t", TW_TASK_COMPLETED, TW_REASON_NONE);
}

static enum tw_code admit_array_as(struct fixture *f, const char *id, unsigned count, size_t data_len)
{
    struct batch_said said = {0};
    CLEANUP_FREE char *data = calloc(1, data_len);
    struct tw_task_spec spec = spec_of("", "x");
    spec.data = data;
    spec.data_len = data_len;
    const struct engine_batch batch = {.batch_id = id, .specs = &spec, .n_specs = 1, .array_count = count};
    engine_admit_batch(f->engine, &batch, on_batch, &said);
    run_until(f, &said.called);
    if (said.code == TW_OK)
        assert_int_equal(said.n, count);
    return said.code;
}

static enum tw_code admit_array(struct fixture *f, unsigned count, size_t data_len)
{
    return admit_array_as(f, "b", count, data_len);
}

/* It is made in pieces, between which the loop goes round. */
static void test_a_large_batch_holds_nobody_up(void **state)
{
    struct fixture *f = *state;
    enum { COUNT = 1000 };
    struct batch_said said = {0};
    unsigned rounds = 0;
    fixture_crash(f);
    f->max_queued = COUNT;
    fixture_open(f);
    CLEANUP_FREE struct tw_task_spec *specs = calloc(COUNT, sizeof *specs);
    for (int i = 0; i < COUNT; i++)
        specs[i] = spec_of("", "x");
    specs[COUNT - 1].type = "none"; /* so that no store is waited for */
    const struct engine_batch batch = {.specs = specs, .n_specs = COUNT};
    engine_admit_batch(f->engine, &batch, on_batch, &said);
    for (; !said.called; rounds++)
        uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_int_equal(said.code, TW_INVALID_ARGUMENT);
    assert_in_range(rounds, 3, 1000);
}

/* What was accepted is not refused when it is handed in again, however little room there is; and nothing is added by that. */
static void test_a_batch_again_when_there_is_no_room(void **state)
{
    struct fixture *f = *state;
    struct engine_status status;
    enum { COUNT = 600 };
    fixture_crash(f);
    f->max_queued = COUNT;
    fixture_open(f);
    assert_int_equal(admit_array(f, COUNT, 2000), TW_OK);
    assert_int_equal(admit_array(f, COUNT, 2000), TW_OK);
    assert_int_equal(admit_array(f, COUNT - 1, 2000), TW_OK); /* they are all there */
    assert_int_equal(admit_array_as(f, "c", COUNT, 2000), TW_RESOURCE_EXHAUSTED);
    assert_int_equal(admit_array_as(f, "", COUNT, 2000), TW_RESOURCE_EXHAUSTED);
    engine_get_status(f->engine, &status);
    assert_int_equal(status.queued + status.running, COUNT);
    assert_int_equal(status.accepted, COUNT);
    run_until_runs(f, 2);
    assert_int_equal(run_of(f, "b-0")->data_len, 2000); /* read back: it was not kept */
}

/* Some of it is not: what is there does not let the rest in. */
static void test_half_a_batch_again_when_there_is_no_room(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(admit_array(f, 40, 2000), TW_OK);
    assert_int_equal(admit_array_as(f, "c", f->max_queued - 40, 2000), TW_OK);
    assert_int_equal(admit_array(f, 60, 2000), TW_RESOURCE_EXHAUSTED);
    assert_int_equal(state_of(f, "b-45"), TW_TASK_STATE_NONE);
}

static enum tw_code admit_named(struct fixture *f, const char *data, char id[32])
{
    struct batch_said said = {0};
    struct tw_task_spec specs[] = {spec_of("x", data), spec_of("y", data)};
    const struct engine_batch batch = {.specs = specs, .n_specs = 2};
    engine_admit_batch(f->engine, &batch, on_batch, &said);
    run_until(f, &said.called);
    snprintf(id, 32, "%s", said.id);
    return said.code;
}

static void test_named_tasks_are_the_same_batch_again(void **state)
{
    struct fixture *f = *state;
    char first[32], second[32];
    assert_int_equal(admit_named(f, "x", first), TW_OK);
    assert_int_equal(admit_named(f, "x", second), TW_OK);
    assert_string_equal(first, second);
    assert_int_equal(strlen(first), 20);
    assert_int_equal(admit_named(f, "other", second), TW_ALREADY_EXISTS);
}

static void test_an_array_is_bounded(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(admit_array(f, ENGINE_MAX_BATCH + 1, 1), TW_INVALID_ARGUMENT);
    assert_int_equal(admit_array(f, f->max_queued + 1, 1), TW_INVALID_ARGUMENT);
    assert_int_equal(admit_array(f, f->max_queued, 2000), TW_OK);
    struct engine_status status;
    engine_get_status(f->engine, &status);
    assert_int_equal(status.queued + status.running, f->max_queued);
    assert_int_equal(admit_array(f, f->max_queued, 2001), TW_ALREADY_EXISTS); /* under the same ids */
}

/* Bounds that count only what has arrived would let everybody pass who comes before the first has. */
static void test_bounds_hold_for_those_on_their_way(void **state)
{
    struct fixture *f = *state;
    enum { TASKS = 20, BOUND = 5 };
    struct said said[TASKS] = {0};
    unsigned accepted = 0;
    fixture_crash(f);
    f->max_queued = 1000;
    f->max_queued_per_owner = BOUND;
    fixture_open(f);
    for (int i = 0; i < TASKS; i++) {
        struct tw_task_spec spec = spec_of("", "x");
        spec.not_before_us = clock_wall_us() + UINT64_C(3600) * 1000000;
        engine_admit(f->engine, &spec, NULL, on_admit, &said[i]);
    }
    for (int i = 0; i < TASKS; i++) {
        run_until(f, &said[i].called);
        accepted += said[i].error.code == TW_OK;
        said_done(&said[i]);
    }
    assert_int_equal(accepted, BOUND);
}

static void test_the_bytes_of_those_on_their_way(void **state)
{
    struct fixture *f = *state;
    enum { ARG = ENGINE_MAX_ARGS_BYTES - 1000, TASKS = ENGINE_MAX_QUEUE_BYTES / ARG * 2 / 3 };
    struct batch_said said[2] = {0};
    fixture_crash(f);
    f->max_queued = 3 * TASKS;
    fixture_open(f);
    CLEANUP_FREE char *arg = calloc(1, ARG + 1);
    memset(arg, 'x', ARG);
    const char *const args[] = {arg};
    struct tw_task_spec spec = spec_of("", "x");
    spec.args = args;
    spec.n_args = 1;
    const struct engine_batch batch = {.specs = &spec, .n_specs = 1, .array_count = TASKS};
    for (int i = 0; i < 2; i++)
        engine_admit_batch(f->engine, &batch, on_batch, &said[i]);
    run_until(f, &said[0].called);
    run_until(f, &said[1].called);
    int first = said[0].code == TW_OK ? 0 : 1; /* they are made side by side: one has to give way */
    assert_int_equal(said[first].code, TW_OK);
    assert_int_equal(said[1 - first].code, TW_RESOURCE_EXHAUSTED);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(test_a_stop_ends_the_attempts),
        T(test_a_time_out_is_tried_again),
        T(test_grace_has_an_end),
        T(test_grace_at_the_end_of_the_node),
        T(test_a_stopped_node_loses_no_attempts),
        T(test_a_stopped_node_ends_nothing_that_waits),
        T(test_a_stop_while_the_node_stops),
        T(test_a_tidy_end_keeps_its_result),
        T(test_those_that_come_after),
        T(test_a_chain_fails_as_one),
        T(test_after_any_behind_a_chain),
        T(test_held_tasks_at_the_end),
        T(test_nothing_starts_before_the_start),
        T(test_a_pause),
        T(test_what_has_ended_is_not_paused),
        T(test_a_pause_before_it_runs),
        T(test_a_large_batch_holds_nobody_up),
        T(test_a_batch_again_when_there_is_no_room),
        T(test_half_a_batch_again_when_there_is_no_room),
        T(test_named_tasks_are_the_same_batch_again),
        T(test_an_array_is_bounded),
        T(test_bounds_hold_for_those_on_their_way),
        T(test_the_bytes_of_those_on_their_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
