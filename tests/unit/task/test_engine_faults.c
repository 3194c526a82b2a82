/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

static void check_end(struct fixture *f, const char *id, enum tw_task_state state, enum tw_reason reason)
{
    struct said end = {0};
    engine_wait(f->engine, id, on_end, &end);
    run_until(f, &end.called);
    assert_int_equal(end.error.code, TW_OK);
    assert_int_equal(end.info.state, state);
    assert_int_equal(end.info.reason, reason);
    assert_true(strlen(end.info.message) > 5);
    said_done(&end);
}

static void test_ends_and_their_reasons(void **state)
{
    struct fixture *f = *state;
    const struct {
        struct run_outcome outcome;
        enum tw_task_state state;
        enum tw_reason reason;
    } cases[] = {
        {{.end = RUN_EXITED, .exit_code = 3}, TW_TASK_FAILED, TW_REASON_EXIT_CODE},
        {{.end = RUN_SIGNALED, .signal = 11}, TW_TASK_FAILED, TW_REASON_SIGNAL},
        {{.end = RUN_BAD_INPUT, .message = "it is no script"}, TW_TASK_FAILED, TW_REASON_BAD_INPUT},
        {{.end = RUN_LOST, .message = "the slot died"}, TW_TASK_FAILED, TW_REASON_LOST},
        {{.end = RUN_EXITED, .result_too_large = true}, TW_TASK_FAILED, TW_REASON_OUTPUT_LIMIT},
        {{.end = RUN_EXITED, .bad_result = true, .message = "no JSON"}, TW_TASK_FAILED, TW_REASON_BAD_RESULT},
        {{.end = RUN_EXITED}, TW_TASK_COMPLETED, TW_REASON_NONE},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char id[8];
        snprintf(id, sizeof id, "t%zu", i);
        struct tw_task_spec spec = spec_of(id, "x");
        admit(f, &spec);
        struct fake_run *run = run_of(f, id);
        run_to_go(f, run);
        run_end(run, &cases[i].outcome);
        check_end(f, id, cases[i].state, cases[i].reason);
    }
}

static bool all_started(struct fixture *f)
{
    return f->started >= 2;
}

static bool nothing_runs(struct fixture *f)
{
    struct engine_status status;
    engine_get_status(f->engine, &status);
    return status.running == 0;
}

/* What the node cannot do just now costs no task, however many wait; it is said why they do. */
static void test_a_runtime_that_refuses(void **state)
{
    struct fixture *f = *state;
    struct engine_status status;
    char id[8];
    f->refuse = true;
    for (int i = 0; i < 5; i++) {
        snprintf(id, sizeof id, "t%d", i);
        struct tw_task_spec spec = spec_of(id, "x");
        admit(f, &spec);
        assert_int_equal(state_of(f, id), TW_TASK_QUEUED);
    }
    engine_get_status(f->engine, &status);
    assert_string_equal(status.trouble, "no slot to be had");
    assert_int_equal(status.queued, 5);
    f->refuse = false;
    run_until_true(f, all_started); /* in the old order, by itself */
    assert_non_null(run_of(f, "t0"));
    assert_non_null(run_of(f, "t1"));
    for (int i = 0; i < 5; i++) {
        snprintf(id, sizeof id, "t%d", i);
        run_until_runs(f, (unsigned)MIN(i + 2, 5));
        run_to_go(f, run_of(f, id));
        run_end_well(run_of(f, id), "1");
        check_end(f, id, TW_TASK_COMPLETED, TW_REASON_NONE);
    }
    engine_get_status(f->engine, &status);
    assert_null(status.trouble);
    assert_int_equal(status.failed, 0);
}

static bool a_is_queued(struct fixture *f)
{
    return task_info(engine_find(f->engine, "a"))->state == TW_TASK_QUEUED;
}

static void test_a_sandbox_that_cannot_be_made_costs_nothing(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec a = spec_of("a", "payload"), b = spec_of("b", "x");
    struct run_outcome broken = {.end = RUN_SANDBOX_ERROR, .message = "no namespaces here"};
    admit(f, &a);
    admit(f, &b);
    run_end(run_of(f, "a"), &broken);
    run_end(run_of(f, "b"), &broken);
    run_until_true(f, a_is_queued); /* the store knows, which was told that it had begun */
    run_until_runs(f, 4);
    run_to_go(f, run_of(f, "a"));
    assert_string_equal((char *)run_of(f, "a")->data, "payload");
    assert_int_equal(task_info(engine_find(f->engine, "a"))->attempt, 1);
    run_end_well(run_of(f, "a"), "1");
    check_end(f, "a", TW_TASK_COMPLETED, TW_REASON_NONE);
}

static void test_a_lost_attempt_is_retried(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec spec = spec_of("a", "payload");
    spec.retries = 1;
    admit(f, &spec);
    struct run_outcome lost = {.end = RUN_LOST};
    run_to_go(f, run_of(f, "a"));
    run_end(run_of(f, "a"), &lost);
    run_until_runs(f, 2);
    struct fake_run *run = run_of(f, "a");
    assert_string_equal((char *)run->data, "payload"); /* read back */
    run_to_go(f, run);
    run_end(run, &lost);
    check_end(f, "a", TW_TASK_FAILED, TW_REASON_LOST);
    assert_int_equal(f->started, 2);
}

/* One task whose sandbox never stands while others' do: there is an end to it. */
static void test_a_hopeless_task_ends(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec hopeless = spec_of("hopeless", "x");
    struct run_outcome lost = {.end = RUN_LOST, .message = "the slot died"};
    admit(f, &hopeless);
    for (int i = 0; i < 6; i++) {
        char id[8];
        snprintf(id, sizeof id, "t%d", i);
        struct tw_task_spec good = spec_of(id, "x");
        admit(f, &good);
        run_until_runs(f, (unsigned)(2 * i + 2));
        run_to_go(f, run_of(f, id));
        assert_int_equal(task_info(engine_find(f->engine, "hopeless"))->attempt, 1); /* the same first one each time */
        run_end(run_of(f, "hopeless"), &lost);
        run_end_well(run_of(f, id), "1");
    }
    check_end(f, "hopeless", TW_TASK_FAILED, TW_REASON_SANDBOX_ERROR);
    run_until_true(f, nothing_runs);
}

static void test_recovery(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec lost = spec_of("lost", "x"), again = spec_of("again", "y"), queued = spec_of("queued", "z");
    again.retries = 1;
    const char *args[] = {"one", "two words"};
    struct tw_env env = {"NAME", "värde"};
    queued.args = args;
    queued.n_args = 2;
    queued.env = &env;
    queued.n_env = 1;
    admit(f, &lost);
    admit(f, &again);
    admit(f, &queued);
    run_to_go(f, run_of(f, "lost"));
    run_to_go(f, run_of(f, "again"));
    fixture_crash(f);

    fixture_open(f);
    assert_null(engine_find(f->engine, "lost")); /* its end was on disk before anybody could ask */
    check_end(f, "lost", TW_TASK_FAILED, TW_REASON_LOST);
    run_until_runs(f, 2);
    assert_null(run_of(f, "lost"));
    assert_string_equal((char *)run_of(f, "queued")->data, "z");
    run_to_go(f, run_of(f, "again"));
    run_end_well(run_of(f, "again"), "2");
    check_end(f, "again", TW_TASK_COMPLETED, TW_REASON_NONE);
    struct said said = {0};
    engine_get(f->engine, "again", on_task, &said);
    run_until(f, &said.called);
    assert_int_equal(said.info.attempt, 2);
    said_done(&said);
}

static void test_a_crash_before_go_runs_it_again(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec spec[3] = {spec_of("a", "x"), spec_of("b", "x"), spec_of("c", "x")};
    for (size_t i = 0; i < 3; i++)
        admit(f, &spec[i]);
    fixture_crash(f); /* "c" had never left the queue */
    fixture_open(f);
    run_until_runs(f, 1);
    assert_non_null(run_of(f, "c"));
}

static void set_flag(void *ctx)
{
    *(bool *)ctx = true;
}

static void test_drain(void **state)
{
    struct fixture *f = *state;
    bool drained = false;
    struct tw_task_spec a = spec_of("a", "x"), b = spec_of("b", "x"), c = spec_of("c", "x");
    admit(f, &a);
    admit(f, &b);
    admit(f, &c);
    run_to_go(f, run_of(f, "a"));
    struct said waits = {0};
    engine_wait(f->engine, "c", on_end, &waits);
    engine_shutdown(f->engine, TW_SHUTDOWN_DRAIN, set_flag, &drained);
    struct tw_task_spec d = spec_of("d", "x");
    assert_int_equal(admit_code(f, &d), TW_UNAVAILABLE);
    run_end_well(run_of(f, "a"), "1");
    assert_false(drained);
    assert_null(run_of(f, "c")); /* the free slot stays free */
    run_to_go(f, run_of(f, "b"));
    run_end_well(run_of(f, "b"), "1");
    run_until(f, &drained);
    assert_true(waits.called);
    assert_int_equal(waits.error.code, TW_UNAVAILABLE);
    fixture_crash(f);

    fixture_open(f);
    assert_int_equal(state_of(f, "a"), TW_TASK_COMPLETED);
    run_until_runs(f, 1);
    assert_non_null(run_of(f, "c"));
}

static void test_drain_hurried(void **state)
{
    struct fixture *f = *state;
    bool drained = false, ignored = false;
    struct tw_task_spec a = spec_of("a", "x");
    admit(f, &a);
    struct fake_run *run = run_of(f, "a");
    run_to_go(f, run);
    struct said end = {0};
    engine_wait(f->engine, "a", on_end, &end);
    engine_shutdown(f->engine, TW_SHUTDOWN_DRAIN, set_flag, &drained);
    assert_false(run->terminated);
    engine_shutdown(f->engine, TW_SHUTDOWN_STOP, set_flag, &ignored);
    assert_true(run->terminated);
    struct run_outcome killed = {.end = RUN_SIGNALED, .signal = 9};
    run_end(run, &killed);
    run_until(f, &drained);
    assert_false(ignored);
    assert_int_equal(end.info.state, TW_TASK_STOPPED);
    assert_int_equal(end.info.reason, TW_REASON_SHUTDOWN);
    said_done(&end);
}

static void detach_at_once(struct runtime *rt UNUSED, uint32_t seconds UNUSED,
    void (*done)(void *ctx, const struct tw_error *error), void *ctx)
{
    done(ctx, NULL);
}

/* Its attempt is on disk, but it has not begun: the next engine starts it, and does not call it lost. */
static void test_detach_before_it_begins(void **state)
{
    struct fixture *f = *state;
    struct runtime_ops ops = *f->runtime.ops;
    const struct runtime_ops *real = f->runtime.ops;
    struct run_outcome killed = {.end = RUN_SIGNALED, .signal = 9};
    struct tw_task_spec spec = spec_of("a", "x");
    struct said said = {0};
    bool drained = false;
    ops.detach = detach_at_once;
    f->runtime.ops = &ops;
    admit(f, &spec);
    run_until_runs(f, 1);
    engine_set_paused(f->engine, "a", true, on_task, &said); /* written behind the attempt */
    run_until(f, &said.called);
    said_done(&said);
    engine_shutdown(f->engine, TW_SHUTDOWN_DETACH, set_flag, &drained);
    assert_true(run_of(f, "a")->killed);
    run_end(run_of(f, "a"), &killed);
    run_until(f, &drained);
    fixture_crash(f);
    f->runtime.ops = real;
    fixture_open(f);
    assert_int_equal(state_of(f, "a"), TW_TASK_QUEUED);
}

/* --- whatever happens, in whatever order: each accepted task ends once, and every slot comes back --- */

struct tracked {
    struct fixture *f;
    bool accepted, ended;
};

static void on_tracked_end(void *ctx, const struct tw_task_info *info, const void *result UNUSED, size_t len UNUSED,
    const struct tw_error *error)
{
    struct tracked *t = ctx;
    assert_null(error);
    assert_non_null(info);
    assert_false(t->ended);
    t->ended = true;
}

static void on_tracked_admit(void *ctx, const struct tw_task_info *info, bool existing, const struct tw_error *error)
{
    struct tracked *t = ctx;
    if (error)
        return;
    assert_false(existing);
    t->accepted = true;
    engine_wait(t->f->engine, info->id, on_tracked_end, t);
}

static void on_any_end(void *ctx UNUSED, const struct tw_task_info *info UNUSED, const void *result UNUSED,
    size_t len UNUSED, const struct tw_error *error UNUSED)
{
}

/* One thing that can happen to a random run. */
static void shake(struct fake_run *run)
{
    struct run_outcome outcome = {.end = RUN_EXITED, .result = "1", .result_len = 1};
    if (run->killed) {
        outcome = (struct run_outcome){.end = RUN_SIGNALED, .signal = 9};
        run_end(run, &outcome);
        return;
    }
    switch (rand() % 20) {
    case 0:
        outcome.end = RUN_LOST;
        break;
    case 1:
        outcome.exit_code = 1;
        break;
    case 2:
        outcome.end = RUN_SANDBOX_ERROR;
        break;
    case 3:
        run->events->output(run->ctx, TW_STREAM_STDOUT, "text", 4);
        return;
    default:
        if (!run->ready)
            run->events->ready(run->ctx);
        run->ready = true;
        if (!run->went) /* what has not begun cannot end well */
            return;
        break;
    }
    run_end(run, &outcome);
}

static void on_tick(uv_timer_t *timer UNUSED)
{
}

static void test_random_lives(void **state)
{
    enum { TASKS = 300, STEPS = 4000 };
    struct fixture *f = *state;
    static struct tracked tracked[TASKS];
    memset(tracked, 0, sizeof tracked);
    srand(7);
    int made = 0;
    uv_timer_t tick; /* so that a turn of the loop may wait for the disk, but not for long */
    uv_timer_init(&f->loop, &tick);
    uv_timer_start(&tick, on_tick, 1, 1);
    for (int step = 0; step < STEPS; step++) {
        char id[16];
        if (made < TASKS && rand() % 8 == 0) {
            snprintf(id, sizeof id, "t%d", made);
            struct tw_task_spec spec = spec_of(id, "x");
            spec.retries = (uint32_t)(rand() % 3);
            tracked[made].f = f;
            engine_admit(f->engine, &spec, NULL, on_tracked_admit, &tracked[made++]);
        }
        if (made && rand() % 12 == 0) {
            snprintf(id, sizeof id, "t%d", MAX(made - 1 - rand() % 6, 0)); /* one of the newest */
            engine_stop(f->engine, id, on_any_end, NULL);
        }
        f->refuse = rand() % 50 == 0;
        if (!list_empty(&f->runs))
            shake(CONTAINER_OF(rand() % 2 ? f->runs.next : f->runs.prev, struct fake_run, link));
        uv_run(&f->loop, rand() % 3 ? UV_RUN_NOWAIT : UV_RUN_ONCE);
    }
    f->refuse = false;
    for (int i = 0; i < made; i++) {
        while (tracked[i].accepted && !tracked[i].ended) {
            list_for_each_safe (it, &f->runs) {
                struct fake_run *run = CONTAINER_OF(it, struct fake_run, link);
                struct run_outcome killed = {.end = RUN_SIGNALED, .signal = 9};
                if (run->killed)
                    run_end(run, &killed);
                else if (run->went)
                    run_end_well(run, "1");
                else if (!run->ready)
                    run->events->ready(run->ctx), run->ready = true;
            }
            uv_run(&f->loop, UV_RUN_ONCE);
        }
    }
    uv_close((uv_handle_t *)&tick, NULL);
    uv_run(&f->loop, UV_RUN_NOWAIT);
    struct engine_status status;
    engine_get_status(f->engine, &status);
    assert_int_equal(status.running, 0);
    assert_int_equal(status.queued, 0);
    assert_int_equal(status.accepted, status.completed + status.failed + status.stopped);
    /* How many of each depends on the disk's speed. */
    if (!status.completed || !status.failed || !status.stopped)
        fail_msg("none of a kind: %d completed, %d failed, %d stopped", (int)status.completed, (int)status.failed,
            (int)status.stopped);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_ends_and_their_reasons),
        TEST(test_a_runtime_that_refuses),
        TEST(test_a_lost_attempt_is_retried),
        TEST(test_a_sandbox_that_cannot_be_made_costs_nothing),
        TEST(test_a_hopeless_task_ends),
        TEST(test_recovery),
        TEST(test_a_crash_before_go_runs_it_again),
        TEST(test_drain),
        TEST(test_drain_hurried),
        TEST(test_detach_before_it_begins),
        TEST(test_random_lives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
