/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "cli/receipt.h"

static Taskworker__Receipt__Layer layers[] = {TASKWORKER__RECEIPT__LAYER__USER_NAMESPACE,
    TASKWORKER__RECEIPT__LAYER__PID_NAMESPACE, TASKWORKER__RECEIPT__LAYER__MOUNT_NAMESPACE,
    TASKWORKER__RECEIPT__LAYER__NETWORK_NAMESPACE, TASKWORKER__RECEIPT__LAYER__IPC_NAMESPACE,
    TASKWORKER__RECEIPT__LAYER__SECCOMP, TASKWORKER__RECEIPT__LAYER__SECCOMP_WATCHED, (Taskworker__Receipt__Layer)99};
static Taskworker__Receipt__Layer missing[] = {TASKWORKER__RECEIPT__LAYER__CGROUP_MEMORY};
static Taskworker__Limits limits;
static Taskworker__Receipt receipt;

static int set_up(void **state)
{
    (void)state;
    taskworker__limits__init(&limits);
    limits.memory_bytes = 512 << 20;
    limits.cpu_millis = 1500;
    limits.processes = 64;
    taskworker__receipt__init(&receipt);
    receipt.runtime = TASKWORKER__RECEIPT__RUNTIME__PYTHON_WARM;
    receipt.network = TASKWORKER__NETWORK__NETWORK_LOOPBACK;
    receipt.layers = layers;
    receipt.n_layers = ARRAY_LEN(layers);
    receipt.missing = missing;
    receipt.n_missing = 1;
    receipt.limits = &limits;
    receipt.denied = 4;
    receipt.denied_calls = (char *)"bpf 1, ptrace 3\033[2J";
    return 0;
}

/* What `print` writes to standard output. */
static char *printed(void (*print)(const void *what), const void *what)
{
    static char text[4096];
    FILE *file = tmpfile();
    assert_non_null(file);
    fflush(stdout);
    int saved = dup(STDOUT_FILENO);
    assert_true(saved >= 0 && dup2(fileno(file), STDOUT_FILENO) >= 0);
    print(what);
    fflush(stdout);
    assert_true(dup2(saved, STDOUT_FILENO) >= 0);
    close(saved);
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

static void print_receipt(const void *what)
{
    receipt_print(what);
}

static void print_ended(const void *what)
{
    usage_print(what, true);
}

static void print_running(const void *what)
{
    usage_print(what, false);
}

static void a_receipt_for_a_person(void **state)
{
    (void)state;
    assert_string_equal(printed(print_receipt, &receipt),
        "ran as        python, a fork of a warm interpreter, network: loopback\n"
        "limits        512.0 MiB memory, 1.5 processors, 64 processes\n"
        "isolation     user_namespace, pid_namespace, mount_namespace, network_namespace, ipc_namespace,\n"
        "              seccomp, seccomp_watched, ?\n"
        "missing here  cgroup_memory\n"
        "refused calls 4: bpf 1, ptrace 3 [2J\n");
    receipt.n_missing = 0;
    receipt.denied = 0;
    taskworker__limits__init(&limits);
    const char *text = printed(print_receipt, &receipt);
    assert_non_null(strstr(text, "limits        none\n"));
    assert_null(strstr(text, "missing"));
    assert_non_null(strstr(text, "refused calls none\n"));
    receipt.n_layers = 1;
    assert_non_null(strstr(printed(print_receipt, &receipt), "refused calls not counted\n"));
    assert_string_equal(printed(print_receipt, NULL), "");
}

static void a_receipt_as_json(void **state)
{
    (void)state;
    json_t *o = json_receipt(&receipt);
    assert_non_null(o);
    assert_string_equal(json_string_value(json_object_get(o, "runtime")), "python_warm");
    assert_string_equal(json_string_value(json_object_get(o, "network")), "loopback");
    assert_int_equal(json_array_size(json_object_get(o, "layers")), ARRAY_LEN(layers));
    assert_string_equal(json_string_value(json_array_get(json_object_get(o, "missing"), 0)), "cgroup_memory");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(o, "limits"), "cpu_millis")), 1500);
    assert_int_equal(json_object_size(json_object_get(o, "limits")), 9);
    assert_int_equal(json_integer_value(json_object_get(o, "denied")), 4);
    json_decref(o);
    o = json_receipt(NULL);
    assert_true(json_is_null(o));
    json_decref(o);
}

static void usage_in_both(void **state)
{
    (void)state;
    Taskworker__Usage u = TASKWORKER__USAGE__INIT;
    u.wall_us = 1500000;
    u.user_us = 250000;
    u.max_rss_bytes = 20 << 20;
    u.minor_faults = 12;
    assert_string_equal(printed(print_ended, &u),
        "used          1.5s wall, 250ms user, 0ms system\n"
        "memory        20.0 MiB in its largest process, page faults: 12 minor, 0 major\n");
    u.peak_memory_bytes = 30 << 20;
    u.written_bytes = 2048;
    u.processes = 2;
    u.waits = UINT64_MAX;
    const char *text = printed(print_running, &u);
    assert_non_null(strstr(text, "used so far   1.5s wall"));
    assert_non_null(strstr(text, "memory        30.0 MiB at most, 20.0 MiB in"));
    assert_non_null(strstr(text, "read, written 0 B, 2.0 KiB\n"));
    assert_non_null(strstr(text, "processes     2 started"));
    assert_int_equal(usage_memory(&u), 30 << 20);
    assert_int_equal(usage_cpu(&u), 250000);
    json_t *o = json_usage(&u);
    assert_int_equal(json_object_size(o), 15);
    assert_true(json_integer_value(json_object_get(o, "waits")) == INT64_MAX);
    json_decref(o);
    o = json_usage(NULL);
    assert_int_equal(json_object_size(o), 15);
    json_decref(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_receipt_for_a_person, set_up),
        cmocka_unit_test_setup(a_receipt_as_json, set_up),
        cmocka_unit_test_setup(usage_in_both, set_up),
    };
    return cmocka_run_group_tests_name("cli_receipt", tests, NULL, NULL);
}
