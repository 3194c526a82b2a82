/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "rpc/taskworker_convert.h"

static void a_request_becomes_a_spec(void **state)
{
    (void)state;
    Taskworker__ExecuteTaskRequest request = TASKWORKER__EXECUTE_TASK_REQUEST__INIT;
    Taskworker__Limits limits = TASKWORKER__LIMITS__INIT;
    struct tw_task_spec spec;
    struct tw_error error;
    void *arrays = NULL;
    uint64_t n = 1;
#define X(name) limits.name = n++;
    TW_LIMITS(X)
#undef X
    request.limits = &limits;
    request.network = TASKWORKER__NETWORK__NETWORK_HOST;
    request.fresh_interpreter = true;
    request.priority = -7;
    request.not_before_us = INT64_MAX;
    request.queue_timeout_ms = 5;
    request.delay_ms = 7;
    assert_int_equal(spec_from_request(&request, &spec, &arrays, &error), 0);
    free(arrays);
    n = 1;
#define X(name) assert_int_equal(spec.limits.name, n++);
    TW_LIMITS(X)
#undef X
    assert_int_equal(spec.network, TW_NETWORK_HOST);
    assert_true(spec.fresh_interpreter);
    assert_int_equal(spec.priority, -7);
    assert_int_equal(spec.not_before_us, INT64_MAX);
    assert_int_equal(spec.queue_timeout_us, 5000);
    assert_int_equal(spec.delay_us, 7000);
    request.limits = NULL;
    assert_int_equal(spec_from_request(&request, &spec, &arrays, &error), 0);
    free(arrays);
    assert_int_equal(spec.limits.memory_bytes, 0);
}

static void what_has_no_room_is_refused(void **state)
{
    (void)state;
    Taskworker__ExecuteTaskRequest request = TASKWORKER__EXECUTE_TASK_REQUEST__INIT;
    Taskworker__Limits limits = TASKWORKER__LIMITS__INIT;
    struct tw_task_spec spec;
    struct tw_error error = {0};
    void *arrays = NULL;
    request.limits = &limits;
    limits.tmp_bytes = UINT64_C(1) << 63;
    assert_int_equal(spec_from_request(&request, &spec, &arrays, &error), -1);
    assert_int_equal(error.code, TW_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "limits.tmp_bytes"));
    limits.tmp_bytes = 0;
    const int networks[] = {4, -1, INT32_MIN, INT32_MAX};
    for (size_t i = 0; i < sizeof networks / sizeof *networks; i++) {
        request.network = (Taskworker__Network)networks[i];
        assert_int_equal(spec_from_request(&request, &spec, &arrays, &error), -1);
        assert_int_equal(error.code, TW_INVALID_ARGUMENT);
        assert_non_null(strstr(error.message, "network"));
    }
    assert_null(arrays);
    request.network = TASKWORKER__NETWORK__NETWORK_DEFAULT;
    request.not_before_us = -1;
    assert_int_equal(spec_from_request(&request, &spec, &arrays, &error), -1);
    assert_int_equal(error.code, TW_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "not_before_us"));
    request.not_before_us = 0;
    request.queue_timeout_ms = -1;
    assert_int_equal(spec_from_request(&request, &spec, &arrays, &error), -1);
    assert_non_null(strstr(error.message, "queue_timeout_ms is negative"));
    request.queue_timeout_ms = INT64_MAX;
    assert_int_equal(spec_from_request(&request, &spec, &arrays, &error), -1);
    assert_non_null(strstr(error.message, "queue_timeout_ms is longer than a year"));
}

/* Through the bytes on the wire, which is what a client sees. */
static void a_receipt_goes_across(void **state)
{
    (void)state;
    char text[] = "x";
    struct tw_task_info info = {.id = text, .type = text, .owner = text, .message = text, .error = text};
    struct task_message message;
    uint64_t n = 1;
#define X(name) info.usage.name = n++;
    TW_USAGE(X)
#undef X
#define X(name) info.receipt.limits.name = n++;
    TW_LIMITS(X)
#undef X
    info.receipt.runtime = TW_RUNTIME_PYTHON_FRESH;
    info.receipt.network = TW_NETWORK_NONE;
    info.receipt.layers = (UINT64_C(1) << TW_LAYER_MAX) - 1;
    info.receipt.missing = UINT64_C(1) << TW_LAYER_CGROUP_PIDS;
    info.receipt.denied = 7;
    memcpy(info.receipt.denied_calls, "bpf 7", sizeof "bpf 7");
    Taskworker__Task *task = task_to_message(&info, true, &message);
    size_t size = taskworker__task__get_packed_size(task);
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    taskworker__task__pack(task, bytes);
    Taskworker__Task *got = taskworker__task__unpack(NULL, size, bytes);
    assert_non_null(got);
    n = 1;
#define X(name) assert_int_equal(got->usage->name, n++);
    TW_USAGE(X)
#undef X
#define X(name) assert_int_equal(got->receipt->limits->name, n++);
    TW_LIMITS(X)
#undef X
    assert_int_equal(got->receipt->runtime, TASKWORKER__RECEIPT__RUNTIME__PYTHON_FRESH);
    assert_int_equal(got->receipt->network, TASKWORKER__NETWORK__NETWORK_NONE);
    assert_int_equal(got->receipt->n_layers, TW_LAYER_MAX);
    for (size_t i = 0; i < TW_LAYER_MAX; i++)
        assert_int_equal(got->receipt->layers[i], i);
    assert_int_equal(got->receipt->n_missing, 1);
    assert_int_equal(got->receipt->missing[0], TASKWORKER__RECEIPT__LAYER__CGROUP_PIDS);
    assert_int_equal(got->receipt->denied, 7);
    assert_string_equal(got->receipt->denied_calls, "bpf 7");
    taskworker__task__free_unpacked(got, NULL);
    free(bytes);
    assert_null(task_to_message(&info, false, &message)->receipt);
    info.receipt = (struct tw_receipt){0};
    assert_null(task_to_message(&info, true, &message)->receipt); /* it never began */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_becomes_a_spec),
        cmocka_unit_test(what_has_no_room_is_refused),
        cmocka_unit_test(a_receipt_goes_across),
    };
    return cmocka_run_group_tests_name("taskworker_convert", tests, NULL, NULL);
}
