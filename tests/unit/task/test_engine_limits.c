/* SPDX-License-Identifier: Apache-2.0 */
/* What a task may use: asked for, refused, resolved, run into, and told of afterwards. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/util.h"

static const struct tw_limits node_limits = {
    .memory_bytes = 512 << 20,
    .processes = 64,
    .open_files = 256,
    .file_bytes = 1 << 30,
    .workspace_bytes = 128 << 20,
    .tmp_bytes = 64 << 20,
};

static void reopen(struct fixture *f, const struct tw_limits *limits, bool stop_on_output_limit)
{
    fixture_crash(f);
    f->limits = *limits;
    f->stop_on_output_limit = stop_on_output_limit;
    fixture_open(f);
}

/* Admits and says why not. */
static void assert_refused(struct fixture *f, const struct tw_task_spec *spec, const char *field, const char *bound)
{
    struct said said = {0};
    engine_admit(f->engine, spec, NULL, on_admit, &said);
    run_until(f, &said.called);
    assert_int_equal(said.error.code, TW_INVALID_ARGUMENT);
    if (!strstr(said.error.message, field) || !strstr(said.error.message, bound))
        fail_msg("\"%s\" names not both %s and %s", said.error.message, field, bound);
    said_done(&said);
}

static void test_what_cannot_be_given_is_refused(void **state)
{
    struct fixture *f = *state;
    reopen(f, &node_limits, false);
    struct tw_task_spec spec = spec_of("a", "x");
#define REFUSED(name, value, bound)                   \
    spec.limits.name = (value);                       \
    assert_refused(f, &spec, "limits." #name, bound); \
    spec.limits.name = 0
    REFUSED(memory_bytes, (512 << 20) + 1, "536870912 (MAX_MEMORY_GB)");
    REFUSED(memory_bytes, (16 << 20) - 1, "at least 16777216, or 0");
    REFUSED(cpu_millis, 9, "MAX_CPU_CORES");
    REFUSED(cpu_millis, UINT64_MAX, "at most 65536000 (MAX_CPU_CORES)");
    REFUSED(cpu_time_us, 999, "TASK_CPU_TIME");
    REFUSED(processes, 65, "64 (TASK_PROCESSES)");
    REFUSED(processes, 1, "at least 2, or 0");
    REFUSED(open_files, 15, "TASK_OPEN_FILES");
    REFUSED(open_files, 257, "256 (TASK_OPEN_FILES)");
    REFUSED(file_bytes, 4095, "TASK_FILE_SIZE");
    REFUSED(workspace_bytes, (64 << 10) - 1, "TASK_WORKSPACE_SIZE");
    REFUSED(tmp_bytes, (64 << 20) + 1, "67108864 (TASK_TMP_SIZE)");
    REFUSED(output_bytes, (1 << 20) + 1, "1048576 (MAX_LOG_SIZE)");
#undef REFUSED
    spec.network = TW_NETWORK_HOST;
    assert_refused(f, &spec, "\"host\"", "\"loopback\" (MAX_TASK_NETWORK)");
    spec.network = (enum tw_network)17;
    assert_refused(f, &spec, "17", "loopback");
    assert_int_equal(f->started, 0);
}

static void test_what_is_asked_for_is_given(void **state)
{
    struct fixture *f = *state;
    reopen(f, &node_limits, false);
    struct tw_task_spec most = spec_of("most", "x"), little = spec_of("little", "x");
    most.limits = node_limits;
    most.limits.cpu_millis = 1500; /* the node has no bound of its own for it */
    most.network = TW_NETWORK_LOOPBACK;
    most.fresh_interpreter = true;
    little.limits.memory_bytes = 16 << 20;
    admit(f, &most);
    admit(f, &little);
    run_until_runs(f, 2);
    struct fake_run *run = run_of(f, "most");
    assert_int_equal(run->limits.cpu_millis, 1500);
    assert_int_equal(run->limits.memory_bytes, node_limits.memory_bytes);
    assert_int_equal(run->network, TW_NETWORK_LOOPBACK);
    assert_true(run->fresh_interpreter);
    run = run_of(f, "little");
    assert_int_equal(run->limits.memory_bytes, 16 << 20);
    assert_int_equal(run->limits.processes, 64); /* the node's, as it asked for nothing */
    assert_int_equal(run->limits.cpu_time_us, 0);
    assert_int_equal(run->limits.output_bytes, 1 << 20);
    assert_int_equal(run->network, TW_NETWORK_NONE);
    assert_false(run->fresh_interpreter);
}

/* Accepted is accepted; but it gets no more than the node gives on the day. */
static void test_a_node_that_has_less_than_it_had(void **state)
{
    struct fixture *f = *state;
    struct tw_limits less = node_limits;
    reopen(f, &node_limits, false);
    struct tw_task_spec spec = spec_of("a", "x");
    spec.limits.memory_bytes = 512 << 20;
    spec.network = TW_NETWORK_LOOPBACK;
    engine_set_limits(f->engine, 2, 0, 0);
    struct tw_task_spec first = spec_of("b", "x"), second = spec_of("c", "x");
    admit(f, &first);
    admit(f, &second);
    admit(f, &spec); /* it waits */
    less.memory_bytes = 64 << 20;
    struct engine_options now = {
        .task_limits = less, .task_network = TW_NETWORK_NONE, .max_task_network = TW_NETWORK_NONE};
    engine_set_task_limits(f->engine, &now);
    assert_refused(f,
        &(struct tw_task_spec){.size = sizeof(struct tw_task_spec),
            .type = "python",
            .data = "x",
            .data_len = 1,
            .limits = {.memory_bytes = 65 << 20}},
        "limits.memory_bytes", "67108864");
    run_to_go(f, run_of(f, "b"));
    run_end_well(run_of(f, "b"), "1");
    run_until_runs(f, 3);
    assert_int_equal(run_of(f, "a")->limits.memory_bytes, 64 << 20);
    assert_int_equal(run_of(f, "a")->network, TW_NETWORK_NONE);
}

static void test_the_request_survives_a_crash(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec spec = spec_of("a", "x");
    spec.limits.memory_bytes = 32 << 20;
    spec.network = TW_NETWORK_LOOPBACK;
    spec.fresh_interpreter = true;
    spec.retries = 1; /* it may have begun */
    admit(f, &spec);
    reopen(f, &node_limits, false);
    run_until_runs(f, 1);
    struct fake_run *run = run_of(f, "a");
    assert_int_equal(run->limits.memory_bytes, 32 << 20);
    assert_int_equal(run->network, TW_NETWORK_LOOPBACK);
    assert_true(run->fresh_interpreter);
}

struct digest {
    bool done;
    char hex[2 * STORE_DIGEST_LEN + 1];
};

static void on_stored(void *ctx, const struct store_task *task, const struct tw_error *error)
{
    struct digest *d = ctx;
    assert_null(error);
    text_hex(task->digest, STORE_DIGEST_LEN, d->hex);
    d->done = true;
}

/* BLAKE2b-256 as the first version computed it: ids from before an upgrade still match. */
static void test_the_digest_of_old(void **state)
{
    struct fixture *f = *state;
    const char *args[] = {"arg"};
    const struct tw_env env[] = {{"K", "v"}};
    struct tw_task_spec spec = spec_of("a", "x"), other;
    struct digest d = {0};
    spec.owner = "me";
    spec.args = args;
    spec.n_args = 1;
    spec.env = env;
    spec.n_env = 1;
    spec.timeout_us = 7000000;
    spec.retries = 2;
    admit(f, &spec);
    store_get(f->store, "a", on_stored, &d);
    run_until(f, &d.done);
    assert_string_equal(d.hex, "9a940b3406aba651a17979e3477a7de99e5651b59c1765a6f9dccf5a7f0dfa43");
    assert_int_equal(admit_code(f, &spec), TW_OK);
#define OTHER(assignment) \
    other = spec;         \
    other.assignment;     \
    assert_int_equal(admit_code(f, &other), TW_ALREADY_EXISTS)
    OTHER(limits.memory_bytes = 32 << 20);
    OTHER(limits.output_bytes = 5);
    OTHER(network = TW_NETWORK_LOOPBACK);
    OTHER(fresh_interpreter = true);
#undef OTHER
}

static void end_of(struct fixture *f, const char *id, const struct run_outcome *outcome, struct said *ret)
{
    struct tw_task_spec spec = spec_of(id, "x");
    *ret = (struct said){0};
    admit(f, &spec);
    struct fake_run *run = run_of(f, id);
    run_to_go(f, run);
    run_end(run, outcome);
    engine_wait(f->engine, id, on_end, ret);
    run_until(f, &ret->called);
}

static void test_limits_and_reasons(void **state)
{
    struct fixture *f = *state;
    const struct {
        struct run_outcome outcome;
        enum tw_reason reason;
        const char *message;
    } cases[] = {
        {{.end = RUN_SIGNALED, .signal = 9, .limit = TW_REASON_OOM}, TW_REASON_OOM,
            "used more than its 512 MiB of memory"},
        {{.end = RUN_EXITED, .exit_code = 1, .limit = TW_REASON_OOM}, TW_REASON_OOM, "512 MiB"},
        {{.end = RUN_EXITED, .limit = TW_REASON_OOM, .message = "fine"}, TW_REASON_OOM, "512 MiB"},
        {{.end = RUN_LOST, .limit = TW_REASON_OOM, .message = "the slot died"}, TW_REASON_OOM, "512 MiB"},
        {{.end = RUN_SIGNALED, .signal = 9, .limit = TW_REASON_TIMEOUT_CPU}, TW_REASON_TIMEOUT_CPU,
            "used more processor time than it may"},
        {{.end = RUN_SIGNALED,
             .signal = 9,
             .limit = TW_REASON_TIMEOUT_CPU,
             .receipt = {.runtime = TW_RUNTIME_SHELL, .limits = {.cpu_time_us = 1500000}}},
            TW_REASON_TIMEOUT_CPU, "used more than its 1.5 s of processor time"},
        {{.end = RUN_EXITED, .exit_code = 2, .limit = TW_REASON_PIDS_LIMIT}, TW_REASON_PIDS_LIMIT,
            "wanted more than its 64 processes and threads; it ended with exit code 2"},
        {{.end = RUN_SIGNALED, .signal = 25, .limit = TW_REASON_DISK_LIMIT}, TW_REASON_DISK_LIMIT,
            "1 GiB a file, 128 MiB in its workspace, 64 MiB in /tmp; it was killed by signal 25"},
        {{.end = RUN_EXITED, .limit = TW_REASON_PIDS_LIMIT}, TW_REASON_NONE, "completed"},
        {{.end = RUN_EXITED, .limit = TW_REASON_DISK_LIMIT}, TW_REASON_NONE, "completed"},
        {{.end = RUN_BAD_INPUT, .limit = TW_REASON_DISK_LIMIT}, TW_REASON_BAD_INPUT, "bad_input"},
    };
    reopen(f, &node_limits, false);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char id[8];
        struct said end;
        snprintf(id, sizeof id, "t%zu", i);
        end_of(f, id, &cases[i].outcome, &end);
        assert_int_equal(end.info.reason, cases[i].reason);
        assert_int_equal(end.info.state, cases[i].reason ? TW_TASK_FAILED : TW_TASK_COMPLETED);
        if (!strstr(end.info.message, cases[i].message))
            fail_msg("case %zu: \"%s\" has no \"%s\"", i, end.info.message, cases[i].message);
        said_done(&end);
    }
}

/* A result beside a bad end is kept, as it is for an exit code. */
static void test_a_result_beside_a_limit(void **state)
{
    struct fixture *f = *state;
    struct said end;
    const struct run_outcome outcome = {
        .end = RUN_EXITED, .exit_code = 1, .limit = TW_REASON_DISK_LIMIT, .result = "7", .result_len = 1};
    end_of(f, "a", &outcome, &end);
    assert_string_equal(end.result, "7");
    said_done(&end);
}

static void test_receipt_and_usage(void **state)
{
    struct fixture *f = *state;
    struct said end, stored = {0};
    struct run_outcome outcome = {.end = RUN_EXITED,
        .result = "1",
        .result_len = 1,
        .usage = {.user_us = 5, .processes = 3},
        .receipt = {.runtime = TW_RUNTIME_PYTHON_WARM,
            .network = TW_NETWORK_NONE,
            .layers = UINT64_C(1) << TW_LAYER_SECCOMP,
            .limits = {.memory_bytes = 1 << 29, .output_bytes = 1},
            .denied = 4,
            .denied_calls = "bpf 4"}};
    end_of(f, "a", &outcome, &end);
    engine_get(f->engine, "a", on_task, &stored);
    run_until(f, &stored.called);
    const struct tw_task_info *infos[] = {&end.info, &stored.info};
    for (size_t i = 0; i < ARRAY_LEN(infos); i++) {
        const struct tw_receipt *r = &infos[i]->receipt;
        assert_int_equal(infos[i]->usage.processes, 3);
        assert_int_equal(r->runtime, TW_RUNTIME_PYTHON_WARM);
        assert_int_equal(r->layers, UINT64_C(1) << TW_LAYER_SECCOMP);
        assert_int_equal(r->limits.memory_bytes, 1 << 29);
        assert_int_equal(r->limits.output_bytes, 1 << 20); /* the engine's own, whatever the runtime says */
        assert_int_equal(r->denied, 4);
        assert_string_equal(r->denied_calls, "bpf 4");
    }
    said_done(&end);
    said_done(&stored);
}

/* A runtime that is mistaken costs the receipt, not the end. */
static void test_a_receipt_that_cannot_be(void **state)
{
    struct fixture *f = *state;
    struct said end, stored = {0};
    struct run_outcome outcome = {.end = RUN_EXITED,
        .receipt = {.runtime = (enum tw_runtime)9, .network = (enum tw_network) - 1, .layers = UINT64_MAX}};
    memset(outcome.receipt.denied_calls, '\xff', sizeof outcome.receipt.denied_calls);
    end_of(f, "a", &outcome, &end);
    said_done(&end);
    engine_get(f->engine, "a", on_task, &stored);
    run_until(f, &stored.called);
    assert_int_equal(stored.error.code, TW_OK);
    assert_int_equal(stored.info.state, TW_TASK_COMPLETED);
    assert_int_equal(stored.info.receipt.runtime, TW_RUNTIME_NONE);
    assert_true(stored.info.receipt.layers == (UINT64_C(1) << TW_LAYER_MAX) - 1);
    assert_string_equal(stored.info.receipt.denied_calls, "");
    said_done(&stored);
}

static bool a_is_queued(struct fixture *f)
{
    return task_info(engine_find(f->engine, "a"))->state == TW_TASK_QUEUED;
}

/* What a lost attempt used is not what the task has used that waits again. */
static void test_usage_of_a_lost_attempt_is_forgotten(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec spec = spec_of("a", "x");
    struct said stopped = {0};
    spec.retries = 1;
    engine_set_limits(f->engine, 1, 0, 0);
    admit(f, &spec);
    struct fake_run *run = run_of(f, "a");
    run->usage.user_us = 17;
    run->knows_usage = true;
    run_to_go(f, run);
    assert_int_equal(task_info(engine_find(f->engine, "a"))->usage.user_us, 17);
    struct run_outcome outcome = {.end = RUN_LOST};
    struct tw_task_spec next = spec_of("b", "x"); /* has the slot when "a" goes back to the queue's end */
    admit(f, &next);
    run_end(run, &outcome);
    run_until_true(f, a_is_queued);
    assert_int_equal(task_info(engine_find(f->engine, "a"))->usage.user_us, 0);
    engine_stop(f->engine, "a", on_end, &stopped);
    run_until(f, &stopped.called);
    assert_int_equal(stopped.info.usage.user_us, 0);
    assert_int_equal(stopped.info.usage.wall_us, 0);
    said_done(&stopped);
}

static void test_usage_while_it_runs(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec spec = spec_of("a", "x");
    admit(f, &spec);
    struct fake_run *run = run_of(f, "a");
    run->usage = (struct tw_usage){.user_us = 17};
    run->knows_usage = true;
    assert_int_equal(task_info(engine_find(f->engine, "a"))->usage.user_us, 0);
    assert_int_equal(run->usage_asked, 0); /* it does not run yet */
    run_to_go(f, run);
    assert_int_equal(task_info(engine_find(f->engine, "a"))->usage.user_us, 17);
    for (int i = 0; i < 1000; i++) /* at most once per 100 ms; a thousand looks take a few at the very most */
        (void)task_info(engine_find(f->engine, "a"));
    assert_in_range(run->usage_asked, 1, 50);
    struct said said = {0};
    engine_get(f->engine, "a", on_task, &said);
    assert_true(said.called);
    assert_int_equal(said.info.usage.user_us, 17);
    said_done(&said);
    struct run_outcome outcome = {.end = RUN_EXITED, .usage = {.wall_us = 9, .user_us = 8}};
    run_end(run, &outcome);
    struct said end = {0};
    engine_wait(f->engine, "a", on_end, &end);
    run_until(f, &end.called);
    assert_int_equal(end.info.usage.user_us, 8);
    assert_int_equal(end.info.usage.wall_us, 9);
    said_done(&end);
}

static bool usage_moves(struct fixture *f)
{
    struct fake_run *run = run_of(f, "a");
    run->usage.user_us++;
    return task_info(engine_find(f->engine, "a"))->usage.user_us > 1000;
}

static void tick(uv_timer_t *timer)
{
    (void)timer;
}

static void test_usage_is_asked_for_again(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec spec = spec_of("a", "x");
    admit(f, &spec);
    struct fake_run *run = run_of(f, "a");
    run->knows_usage = true;
    run_to_go(f, run);
    (void)task_info(engine_find(f->engine, "a"));
    run->usage.user_us = 1001;
    uv_timer_t timer;
    uv_timer_init(&f->loop, &timer);
    uv_timer_start(&timer, tick, 5, 5);
    run_until_true(f, usage_moves);
    assert_true(task_info(engine_find(f->engine, "a"))->usage.wall_us >= 100000);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&f->loop, UV_RUN_NOWAIT);
}

static void test_output_beyond_its_own_limit_is_dropped(void **state)
{
    struct fixture *f = *state;
    struct tw_task_spec spec = spec_of("a", "x");
    spec.limits.output_bytes = 4;
    admit(f, &spec);
    struct fake_run *run = run_of(f, "a");
    run_to_go(f, run);
    run->events->output(run->ctx, TW_STREAM_STDOUT, "hello", 5);
    assert_false(run->killed);
    run_end_well(run, "1");
    struct said end = {0};
    engine_wait(f->engine, "a", on_end, &end);
    run_until(f, &end.called);
    assert_int_equal(end.info.state, TW_TASK_COMPLETED);
    assert_int_equal(end.info.log_size, 4);
    assert_true(end.info.log_truncated);
    assert_int_equal(end.info.receipt.limits.output_bytes, 4);
    said_done(&end);
}

static void test_output_beyond_its_limit_stops_it(void **state)
{
    struct fixture *f = *state;
    reopen(f, &node_limits, true);
    struct tw_task_spec exact = spec_of("exact", "x"), over = spec_of("over", "x");
    exact.limits.output_bytes = over.limits.output_bytes = 2048;
    static const char output[2049];
    struct said end = {0}, good = {0};
    admit(f, &exact);
    admit(f, &over);
    run_until_runs(f, 2);
    struct fake_run *run = run_of(f, "exact");
    run_to_go(f, run);
    run->events->output(run->ctx, TW_STREAM_STDOUT, output, 2048);
    assert_false(run->killed); /* not one byte too many */
    run_end_well(run, "1");
    engine_wait(f->engine, "exact", on_end, &good);
    run_until(f, &good.called);
    assert_int_equal(good.info.state, TW_TASK_COMPLETED);
    said_done(&good);
    run = run_of(f, "over");
    run_to_go(f, run);
    run->events->output(run->ctx, TW_STREAM_STDERR, output, 2049);
    assert_true(run->killed);
    run_end_well(run, "1"); /* too late: it was over before it ended */
    engine_wait(f->engine, "over", on_end, &end);
    run_until(f, &end.called);
    assert_int_equal(end.info.state, TW_TASK_FAILED);
    assert_int_equal(end.info.reason, TW_REASON_OUTPUT_LIMIT);
    assert_string_equal(end.info.message, "printed more than its 2 KiB of output");
    assert_int_equal(end.info.log_size, 2048);
    said_done(&end);
}

static void test_limits_of_a_node_are_checked(void **state)
{
    (void)state;
    struct tw_error error;
    struct tw_limits limits = node_limits;
    assert_int_equal(engine_check_limits(&limits, &error), 0);
    limits.processes = 1;
    assert_int_equal(engine_check_limits(&limits, &error), -1);
    assert_non_null(strstr(error.message, "processes"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_cannot_be_given_is_refused),
        TEST(test_what_is_asked_for_is_given),
        TEST(test_a_node_that_has_less_than_it_had),
        TEST(test_the_request_survives_a_crash),
        TEST(test_the_digest_of_old),
        TEST(test_limits_and_reasons),
        TEST(test_a_result_beside_a_limit),
        TEST(test_receipt_and_usage),
        TEST(test_a_receipt_that_cannot_be),
        TEST(test_usage_of_a_lost_attempt_is_forgotten),
        TEST(test_usage_while_it_runs),
        TEST(test_usage_is_asked_for_again),
        TEST(test_output_beyond_its_own_limit_is_dropped),
        TEST(test_output_beyond_its_limit_stops_it),
        cmocka_unit_test(test_limits_of_a_node_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
