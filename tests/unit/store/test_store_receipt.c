/* SPDX-License-Identifier: Apache-2.0 */
/* What a task asked for, and what it used and ran under, there and back. */
#include "fixture.h"

static struct tw_task_info ended(void)
{
    static char message[] = "ended", nothing[] = "";
    struct tw_task_info info = {.state = TW_TASK_FAILED,
        .reason = TW_REASON_OOM,
        .message = message,
        .error = nothing,
        .attempt = 1,
        .started_us = 5,
        .finished_us = 6};
    return info;
}

/* Every number differs from every other, so that none can stand in for its neighbour. */
static void fill(struct tw_usage *usage, struct tw_limits *limits)
{
    uint64_t n = UINT64_C(1) << 40;
#define X(name) usage->name = n++;
    TW_USAGE(X)
#undef X
#define X(name) limits->name = n++;
    TW_LIMITS(X)
#undef X
}

static void assert_same(const void *a, const void *b, size_t len)
{
    assert_memory_equal(a, b, len);
}

static void test_options(void **state)
{
    struct fixture *f = *state;
    struct store_task task = fixture_task("a", "x", 1), got;
    struct tw_usage unused;
    struct outcome o;
    fixture_open(f);
    fill(&unused, &task.spec.limits);
    task.spec.network = TW_NETWORK_HOST;
    task.spec.fresh_interpreter = true;
    task.info.priority = -100;
    task.info.not_before_us = UINT64_C(1) << 60;
    task.info.queue_timeout_us = 77;
    assert_int_equal(fixture_admit_task(f, &task, &o), TW_OK);
    assert_int_equal(fixture_get(f, "a", &got), TW_OK);
    assert_same(&got.spec.limits, &task.spec.limits, sizeof got.spec.limits);
    assert_int_equal(got.spec.network, TW_NETWORK_HOST);
    assert_true(got.spec.fresh_interpreter);
    assert_int_equal(got.info.priority, -100);
    assert_int_equal(got.info.not_before_us, UINT64_C(1) << 60);
    assert_int_equal(got.info.queue_timeout_us, 77);
    store_task_done(&got);
    store_task_done(&task);
    fixture_add(f, "plain");
    assert_int_equal(fixture_get(f, "plain", &got), TW_OK);
    static const struct tw_limits none;
    assert_same(&got.spec.limits, &none, sizeof none);
    assert_int_equal(got.spec.network, TW_NETWORK_DEFAULT);
    assert_false(got.spec.fresh_interpreter);
    assert_int_equal(got.info.priority, 0);
    store_task_done(&got);
    fixture_close(f);
    assert_int_equal(fixture_sql_int(f, "SELECT count(*) FROM inputs WHERE options IS NULL"), 1);
}

static void test_options_that_do_not_fit(void **state)
{
    struct fixture *f = *state;
    struct store_task task = fixture_task("a", "x", 1);
    struct outcome o;
    fixture_open(f);
    task.spec.limits.tmp_bytes = UINT64_C(1) << 63;
    assert_int_equal(fixture_admit_task(f, &task, &o), TW_INVALID_ARGUMENT);
    assert_non_null(strstr(o.error.message, "tmp_bytes"));
    store_task_done(&task);
    fixture_close(f);
}

static void test_options_that_cannot_be(void **state)
{
    static const char *const bad[] = {"[]", "7", "{", "{\"memory_bytes\":0}", "{\"memory_bytes\":-1}",
        "{\"memory_bytes\":1.5}", "{\"memory_bytes\":\"1\"}", "{\"network\":4}", "{\"network\":0}",
        "{\"fresh_interpreter\":2}", "{\"unheard_of\":1}", "{\"tmp_bytes\":1,\"tmp_bytes\":2}"};
    struct fixture *f = *state;
    struct store_task got;
    fixture_open(f);
    fixture_add(f, "a");
    fixture_close(f);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char sql[120];
        snprintf(sql, sizeof sql, "UPDATE inputs SET options = '%s'", bad[i]);
        fixture_sql(f, sql);
        fixture_open(f);
        assert_int_equal(fixture_get(f, "a", &got), TW_DATA_LOSS);
        fixture_close(f);
    }
}

static void test_receipt(void **state)
{
    struct fixture *f = *state;
    struct store_task got;
    struct tw_task_info info = ended();
    fill(&info.usage, &info.receipt.limits);
    info.receipt.runtime = TW_RUNTIME_SHELL;
    info.receipt.network = TW_NETWORK_LOOPBACK;
    info.receipt.layers = UINT64_C(1) << TW_LAYER_SECCOMP | UINT64_C(1) << (TW_LAYER_MAX - 1);
    info.receipt.missing = UINT64_C(1) << TW_LAYER_LANDLOCK;
    info.receipt.denied = UINT64_MAX; /* any number survives */
    info.receipt.gpus = 5;
    snprintf(info.receipt.denied_calls, sizeof info.receipt.denied_calls, "%095d", 7);
    fixture_open(f);
    uint64_t seq = fixture_add(f, "a");
    fixture_attempt(f, seq, 1);
    assert_int_equal(fixture_finish_info(f, seq, &info), TW_OK);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(fixture_get(f, "a", &got), TW_OK);
        assert_int_equal(got.info.reason, TW_REASON_OOM);
        assert_same(&got.info.usage, &info.usage, sizeof info.usage);
        assert_same(&got.info.receipt.limits, &info.receipt.limits, sizeof info.receipt.limits);
        assert_int_equal(got.info.receipt.runtime, info.receipt.runtime);
        assert_int_equal(got.info.receipt.network, info.receipt.network);
        assert_true(got.info.receipt.layers == info.receipt.layers);
        assert_true(got.info.receipt.missing == info.receipt.missing);
        assert_true(got.info.receipt.denied == info.receipt.denied);
        assert_string_equal(got.info.receipt.denied_calls, info.receipt.denied_calls);
        assert_int_equal(got.info.receipt.gpus, 5);
        store_task_done(&got);
        fixture_close(f);
        if (again == 0)
            fixture_open(f);
    }
}

static void test_a_task_that_never_began_has_none(void **state)
{
    struct fixture *f = *state;
    struct tw_task_info info = ended();
    fixture_open(f);
    uint64_t seq = fixture_add(f, "a");
    assert_int_equal(fixture_finish_info(f, seq, &info), TW_OK);
    fixture_close(f);
    assert_int_equal(fixture_sql_int(f, "SELECT count(*) FROM receipts"), 0);
}

static void test_receipts_that_cannot_be(void **state)
{
    static const char *const bad[] = {"runtime = 4", "runtime = -1", "network = 4", "layers = 1 << 19", "missing = -1",
        "denied_calls = printf('%096d', 1)", "denied_calls = CAST(x'ff' AS TEXT)"};
    struct fixture *f = *state;
    struct store_task got;
    struct tw_task_info info = ended();
    info.receipt.runtime = TW_RUNTIME_SHELL;
    fixture_open(f);
    uint64_t seq = fixture_add(f, "a");
    assert_int_equal(fixture_finish_info(f, seq, &info), TW_OK);
    fixture_close(f);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char sql[160];
        snprintf(sql, sizeof sql, "CREATE TABLE kept AS SELECT * FROM receipts; UPDATE receipts SET %s;", bad[i]);
        fixture_sql(f, sql);
        fixture_open(f);
        assert_int_equal(fixture_get(f, "a", &got), TW_DATA_LOSS);
        fixture_close(f);
        fixture_sql(f, "DELETE FROM receipts; INSERT INTO receipts SELECT * FROM kept; DROP TABLE kept");
    }
    fixture_open(f);
    assert_int_equal(fixture_get(f, "a", &got), TW_OK);
    store_task_done(&got);
    fixture_close(f);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(test_options),
        T(test_options_that_do_not_fit),
        T(test_options_that_cannot_be),
        T(test_receipt),
        T(test_a_task_that_never_began_has_none),
        T(test_receipts_that_cannot_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
