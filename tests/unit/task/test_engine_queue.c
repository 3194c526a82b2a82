/* SPDX-License-Identifier: Apache-2.0 */
/* Who starts when: priorities, turns between owners, start times, queue time-outs; and what a restart keeps of them. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"

enum { MS = 1000, SECOND = 1000 * MS };

/* Nothing starts until this many slots are given. */
static void fill(struct fixture *f, const char *owner)
{
    static const char *const names[] = {"fill-1", "fill-2"};
    for (unsigned i = 0; i < 2; i++) {
        struct tw_task_spec spec = spec_of(names[i], "x");
        spec.owner = owner;
        spec.queue_timeout_us = UINT64_C(60) * SECOND;
        admit(f, &spec);
    }
    run_until_runs(f, 2);
}

static void add(struct fixture *f, const char *id, const char *owner, int priority)
{
    struct tw_task_spec spec = spec_of(id, id);
    spec.owner = owner;
    spec.priority = priority;
    admit(f, &spec);
}

/* Ends the oldest run, and asserts that this one starts in its place. */
static void assert_next(struct fixture *f, const char *id)
{
    unsigned started = f->started;
    struct fake_run *run = LIST_FIRST(&f->runs, struct fake_run, link);
    run_to_go(f, run);
    run_end_well(run, "0");
    run_until_runs(f, started + 1);
    struct fake_run *next = CONTAINER_OF(f->runs.prev, struct fake_run, link);
    assert_string_equal(next->task_id, id);
}

static void test_the_highest_priority_first(void **state)
{
    struct fixture *f = *state;
    fill(f, "");
    add(f, "low", "", -100);
    add(f, "plain-1", "", 0);
    add(f, "high", "", 7);
    add(f, "plain-2", "", 0);
    add(f, "highest", "", 100);
    static const char *const order[] = {"highest", "high", "plain-1", "plain-2", "low"};
    for (size_t i = 0; i < ARRAY_LEN(order); i++)
        assert_next(f, order[i]);
}

static void test_owners_take_turns(void **state)
{
    struct fixture *f = *state;
    fill(f, "z");
    add(f, "a1", "a", 0);
    add(f, "a2", "a", 0);
    add(f, "a3", "a", 0);
    add(f, "b1", "b", 0);
    add(f, "b2", "b", 0);
    add(f, "c1", "c", 0);
    add(f, "a4", "a", 1);
    static const char *const order[] = {"a4", "a1", "b1", "c1", "a2", "b2", "a3"};
    assert_next(f, order[0]);
    /* Whose turn it is after a higher task of a's may be anybody's of the three; from there on it goes round. */
    char seen[8] = "";
    for (size_t i = 1; i < ARRAY_LEN(order); i++) {
        unsigned started = f->started;
        struct fake_run *run = LIST_FIRST(&f->runs, struct fake_run, link);
        run_to_go(f, run);
        run_end_well(run, "0");
        run_until_runs(f, started + 1);
        seen[i - 1] = CONTAINER_OF(f->runs.prev, struct fake_run, link)->task_id[0];
    }
    for (const char *owner = "abc"; *owner; owner++)
        assert_ptr_equal(strchr(seen, *owner), memchr(seen, *owner, 3)); /* each had one of the first three turns */
    assert_int_equal(seen[5], 'a');
}

static void test_an_owner_has_its_bound(void **state)
{
    struct fixture *f = *state;
    fixture_crash(f);
    f->max_running_per_owner = 1;
    fixture_open(f);
    add(f, "a1", "a", 50);
    add(f, "a2", "a", 50);
    add(f, "b1", "b", 0);
    run_until_runs(f, 2);
    assert_non_null(run_of(f, "a1"));
    assert_non_null(run_of(f, "b1"));
    struct said said = {0};
    engine_get(f->engine, "a2", on_task, &said);
    run_until(f, &said.called);
    assert_int_equal(said.info.state, TW_TASK_QUEUED);
    said_done(&said);
    struct fake_run *b = run_of(f, "b1");
    run_to_go(f, b);
    run_end_well(b, "0");
    add(f, "b2", "b", 0);
    run_until_runs(f, 3);
    assert_non_null(run_of(f, "b2")); /* a2 would have been first */
    run_to_go(f, run_of(f, "a1"));
    run_end_well(run_of(f, "a1"), "0");
    run_until_runs(f, 4);
    assert_non_null(run_of(f, "a2"));
}

static void test_not_before_its_time(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec spec = spec_of("later", "x");
    uint64_t when = clock_wall_us() + UINT64_C(3600) * SECOND;
    spec.not_before_us = when;
    spec.priority = 100;
    admit(f, &spec);
    add(f, "now", "", 0);
    run_until_runs(f, 1);
    assert_non_null(run_of(f, "now"));
    struct said said = {0};
    engine_get(f->engine, "later", on_task, &said);
    run_until(f, &said.called);
    assert_int_equal(said.info.not_before_us, when);
    assert_string_equal(said.info.message, "waits until its start time");
    said_done(&said);
    spec = spec_of("soon", "x");
    spec.not_before_us = clock_wall_us() + 150 * MS;
    admit(f, &spec);
    run_until_runs(f, 2);
    assert_non_null(run_of(f, "soon"));
    assert_true(clock_wall_us() >= spec.not_before_us);
}

static void test_a_restart_keeps_the_schedule(void **state)
{
    struct fixture *f = *state;
    fill(f, "");
    add(f, "low", "", -5);
    add(f, "high", "", 5);
    struct tw_task_spec spec = spec_of("later", "x");
    spec.not_before_us = clock_wall_us() + UINT64_C(3600) * SECOND;
    spec.queue_timeout_us = 5 * SECOND;
    admit(f, &spec);
    fixture_crash(f);
    f->max_running = 1;
    fixture_open(f);
    run_until_runs(f, 1); /* the two that filled the slots are lost */
    assert_non_null(run_of(f, "high"));
    assert_next(f, "low");
    assert_int_equal(state_of(f, "later"), TW_TASK_QUEUED);
}

static void assert_times_out_after(struct fixture *f, const char *id, const char *seconds)
{
    struct said said = {0};
    engine_wait(f->engine, id, on_end, &said);
    run_until(f, &said.called);
    assert_int_equal(said.info.state, TW_TASK_FAILED);
    assert_int_equal(said.info.reason, TW_REASON_TIMEOUT_QUEUE);
    assert_int_equal(said.info.attempt, 0);
    assert_int_equal(said.info.started_us, 0);
    char text[64];
    snprintf(text, sizeof text, "queue time-out of %s s", seconds);
    assert_non_null(strstr(said.info.message, text));
    said_done(&said);
}

static void assert_times_out(struct fixture *f, const char *id)
{
    assert_times_out_after(f, id, "0.1");
}

static void test_a_queue_time_out(void **state)
{
    struct fixture *f = *state;
    fill(f, "");
    struct tw_task_spec spec = spec_of("impatient", "x");
    spec.queue_timeout_us = 100 * MS;
    admit(f, &spec);
    add(f, "patient", "", 0);
    assert_times_out(f, "impatient");
    assert_int_equal(state_of(f, "patient"), TW_TASK_QUEUED);
    /* One that has begun in time is not concerned. */
    spec = spec_of("in-time", "x");
    spec.queue_timeout_us = 2 * SECOND;
    spec.priority = 1;
    admit(f, &spec);
    assert_next(f, "in-time");
    struct fake_run *run = run_of(f, "in-time");
    run_to_go(f, run);
    add(f, "other", "", 0);
    spec = spec_of("impatient-too", "x");
    spec.queue_timeout_us = 2 * SECOND;
    admit(f, &spec);
    assert_times_out_after(f, "impatient-too", "2");
    assert_int_equal(state_of(f, "in-time"), TW_TASK_RUNNING);
}

static void test_the_nodes_own_queue_time_out_and_one_from_the_start_time(void **state)
{
    struct fixture *f = *state;
    fixture_crash(f);
    f->queue_timeout_us = 100 * MS;
    fixture_open(f);
    fill(f, "");
    struct tw_task_spec spec = spec_of("later", "x");
    spec.not_before_us = clock_wall_us() + 400 * MS;
    admit(f, &spec);
    uint64_t began = clock_monotonic_us();
    add(f, "plain", "", 0);
    assert_times_out(f, "plain");
    assert_times_out(f, "later");
    assert_true(clock_monotonic_us() - began >= 350 * MS);
}

/* A queue time-out that passed while the node was down. */
static void test_a_queue_time_out_over_a_restart(void **state)
{
    struct fixture *f = *state;
    fill(f, "");
    struct tw_task_spec spec = spec_of("impatient", "x");
    spec.queue_timeout_us = 100 * MS;
    admit(f, &spec);
    fixture_crash(f);
    for (uint64_t until = clock_monotonic_us() + 120 * MS; clock_monotonic_us() < until;)
        ;
    fixture_open(f);
    assert_times_out(f, "impatient");
    assert_int_equal(f->started, 0);
}

static void test_a_sleeping_task_can_be_stopped(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec spec = spec_of("later", "x");
    spec.not_before_us = clock_wall_us() + UINT64_C(3600) * SECOND;
    admit(f, &spec);
    struct said said = {0};
    engine_stop(f->engine, "later", on_end, &said);
    run_until(f, &said.called);
    assert_int_equal(said.info.state, TW_TASK_STOPPED);
    said_done(&said);
    assert_int_equal(f->started, 0);
}

static void test_what_cannot_be_meant_is_refused(void **state)
{
    struct fixture *f = *state;
#define REFUSED(field, value)                                        \
    do {                                                             \
        struct tw_task_spec spec = spec_of("a", "x");                \
        spec.field = (value);                                        \
        assert_int_equal(admit_code(f, &spec), TW_INVALID_ARGUMENT); \
    } while (0)
    REFUSED(priority, 101);
    REFUSED(priority, -101);
    REFUSED(priority, INT32_MIN);
    REFUSED(queue_timeout_us, UINT64_C(366) * 86400 * SECOND);
    REFUSED(queue_timeout_us, UINT64_MAX);
    REFUSED(not_before_us, UINT64_MAX);
    REFUSED(not_before_us, clock_wall_us() * 1000); /* nanoseconds */
#undef REFUSED
    assert_int_equal(f->started, 0);
}

/* Handed in again with another schedule it is another task. */
static void test_the_schedule_is_part_of_the_content(void **state)
{
    struct fixture *f = *state;
    add(f, "a", "", 3);
    struct tw_task_spec spec = spec_of("a", "a");
    spec.priority = 3;
    spec.owner = "";
    struct said said = {0};
    engine_admit(f->engine, &spec, NULL, on_admit, &said);
    run_until(f, &said.called);
    assert_true(said.existing);
    said_done(&said);
    spec.priority = 4;
    assert_int_equal(admit_code(f, &spec), TW_ALREADY_EXISTS);
    spec.priority = 3;
    spec.queue_timeout_us = 1;
    assert_int_equal(admit_code(f, &spec), TW_ALREADY_EXISTS);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(test_the_highest_priority_first),
        T(test_owners_take_turns),
        T(test_an_owner_has_its_bound),
        T(test_not_before_its_time),
        T(test_a_restart_keeps_the_schedule),
        T(test_a_queue_time_out),
        T(test_the_nodes_own_queue_time_out_and_one_from_the_start_time),
        T(test_a_queue_time_out_over_a_restart),
        T(test_a_sleeping_task_can_be_stopped),
        T(test_what_cannot_be_meant_is_refused),
        T(test_the_schedule_is_part_of_the_content),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
