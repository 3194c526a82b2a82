/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "cli/output.h"
#include "cli/table.h"

#define BAD "\xef\xbf\xbd"

/* Writes data in pieces of this many bytes, as to a terminal. */
static void expect_safe(const char *data, size_t len, size_t piece, const char *expected)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    struct output_stream s = {.out = out, .safe = true};
    for (size_t at = 0; at < len; at += piece)
        output_stream_write(&s, data + at, MIN(piece, len - at));
    assert_int_equal(output_stream_flush(&s), 0);
    fclose(out);
    assert_string_equal(text, expected);
    free(text);
}

static void terminals_get_no_control_characters(void **state)
{
    (void)state;
    static const struct {
        const char *data, *expected;
    } cases[] = {
        {"plain\ttext\r\n", "plain\ttext\r\n"},
        {"\033[31mred\a\n", BAD "[31mred" BAD "\n"},
        {"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80", "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80"},
        {"\xc2\x9b"
         "31m",
            BAD "31m"}, /* CSI in C1 */
        {"a\xe2\x80\xae"
         "b",
            "a" BAD "b"}, /* reverses the line */
        {"\xff\xc3(", BAD BAD "("},
        {"\xe2\x82", BAD}, /* the end of a character never comes */
        {"\xe2\x82"
         "A\xf0\x9f",
            BAD BAD "A" BAD},
        {"\xc0\xaf", BAD BAD},
        {"\xed\xa0\x80", BAD BAD BAD},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t len = strlen(cases[i].data);
        expect_safe(cases[i].data, len, len, cases[i].expected);
    }
}

/* However the bytes are cut, what is valid stays as it is, and nothing that must not goes through. */
static void pieces_do_not_matter_to_valid_text(void **state)
{
    (void)state;
    const char text[] = "\xc3\xbc"
                        "x\xe2\x82\xac\xf0\x9f\x98\x80\n";
    for (size_t piece = 1; piece < sizeof text; piece++)
        expect_safe(text, sizeof text - 1, piece, text);
    expect_safe("\xe2\x82\033[", 4, 1, BAD BAD BAD "[");
    expect_safe("\xf0\x9f\xc3\xbc", 4, 1, BAD BAD "\xc3\xbc");
}

static void pipes_get_the_bytes(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *out = tmpfile();
    assert_non_null(out);
    struct output_stream s;
    output_stream_init(&s, out, false);
    assert_false(s.safe);
    output_stream_write(&s, "\033\0\xff", 3);
    assert_true(s.mid_line);
    assert_int_equal(output_stream_flush(&s), 0);
    rewind(out);
    ssize_t n = getdelim(&text, &size, EOF, out);
    assert_int_equal(n, 3);
    assert_memory_equal(text, "\033\0\xff", 3);
    free(text);
    fclose(out);
}

static void bytes_in_json(void **state)
{
    (void)state;
    json_t *o = json_object();
    assert_int_equal(json_set_bytes(o, "a", "x\n\0", 3), 0);
    assert_int_equal(json_set_bytes(o, "b", "\xff", 1), 0);
    assert_int_equal(json_set_bytes(o, "c", "\xff\xfe", 2), 0);
    assert_int_equal(json_set_bytes(o, "d", "\xff\xfe\xfd", 3), 0);
    assert_int_equal(json_set_bytes(o, "e", NULL, 0), 0);
    assert_int_equal(json_string_length(json_object_get(o, "a")), 3);
    assert_string_equal(json_string_value(json_object_get(o, "b_base64")), "/w==");
    assert_string_equal(json_string_value(json_object_get(o, "c_base64")), "//4=");
    assert_string_equal(json_string_value(json_object_get(o, "d_base64")), "//79");
    assert_string_equal(json_string_value(json_object_get(o, "e")), "");
    json_decref(o);
}

static void expect_result(const char *result, bool json, const char *expected)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    const ProtobufCBinaryData data = {.data = (uint8_t *)result, .len = strlen(result)};
    assert_int_equal(output_json_result(out, json_pack("{s:s}", "task", "t"), &data, json), 0);
    fclose(out);
    assert_string_equal(text, expected);
    free(text);
}

static void results_in_json(void **state)
{
    (void)state;
    expect_result("[0.1,1e-7,123456789012345678901234567890]", true,
        "{\"task\":\"t\",\"result\":[0.1,1e-7,123456789012345678901234567890]}\n");
    expect_result("{\n \"a\": null\r\n}", true, "{\"task\":\"t\",\"result\":{  \"a\": null  }}\n");
    expect_result("\"x\\u0000\"", true, "{\"task\":\"t\",\"result\":\"x\\u0000\"}\n");
    /* Forged: no JSON, or more than one value. */
    expect_result("1},{", true, "{\"task\":\"t\",\"result\":\"1},{\"}\n");
    expect_result("NaN", true, "{\"task\":\"t\",\"result\":\"NaN\"}\n");
    expect_result("", true, "{\"task\":\"t\",\"result\":\"\"}\n");
    expect_result("[1]", false, "{\"task\":\"t\",\"result\":\"[1]\"}\n");
}

/* Scripts rely on these names. */
static void the_fields_of_a_task(void **state)
{
    (void)state;
    static const char *const names[] = {"task_id", "task_type", "owner", "state", "reason", "message", "error",
        "exit_code", "signal", "attempt", "retries", "timeout_ms", "created_us", "started_us", "finished_us",
        "result_size", "log_size", "log_truncated", "usage", "receipt", "priority", "not_before_us", "queue_timeout_ms",
        "labels", "after", "paused", "retry_of", "retry_delay_ms"};
    Taskworker__Task t = TASKWORKER__TASK__INIT;
    t.task_id = (char *)"a\xff";
    t.state = TASKWORKER__TASK__STATE__FAILED;
    t.reason = TASKWORKER__TASK__REASON__TIMEOUT_WALL;
    t.log_truncated = 1;
    json_t *o = json_task(&t);
    assert_non_null(o);
    assert_int_equal(json_object_size(o), ARRAY_LEN(names));
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_non_null(json_object_get(o, names[i]));
    assert_string_equal(json_string_value(json_object_get(o, "task_id")), "a" BAD);
    assert_string_equal(json_string_value(json_object_get(o, "state")), "FAILED");
    assert_string_equal(json_string_value(json_object_get(o, "reason")), "timeout_wall");
    assert_true(json_is_true(json_object_get(o, "log_truncated")));
    json_decref(o);
}

static void exit_codes(void **state)
{
    (void)state;
#define CASE(st, why, exit, sig, expected)                                                  \
    {                                                                                       \
        TASKWORKER__TASK__STATE__##st, TASKWORKER__TASK__REASON__##why, exit, sig, expected \
    }
    static const struct {
        Taskworker__Task__State state;
        Taskworker__Task__Reason reason;
        int exit_code, signal, expected;
    } cases[] = {
        CASE(COMPLETED, NONE, 0, 0, 0),
        CASE(FAILED, EXIT_CODE, 3, 0, 3),
        CASE(FAILED, EXIT_CODE, 0, 0, 1),
        CASE(FAILED, EXIT_CODE, 256, 0, 1),
        CASE(FAILED, SIGNAL, 0, 11, 139),
        CASE(FAILED, SIGNAL, 0, 0, 1),
        CASE(FAILED, TIMEOUT_WALL, 0, 9, 124),
        CASE(FAILED, TIMEOUT_QUEUE, 0, 0, 124),
        CASE(FAILED, OOM, 0, 9, 137),
        CASE(FAILED, LOST, 0, 0, 125),
        CASE(FAILED, SANDBOX_ERROR, 0, 0, 125),
        CASE(FAILED, BAD_INPUT, 0, 0, 1),
        CASE(STOPPED, STOPPED_BY_USER, 0, 9, 143),
        CASE(STOPPED, SHUTDOWN, 0, 9, 143),
        CASE(FAILED, OUTPUT_LIMIT, 0, 0, 1),
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Taskworker__Task t = TASKWORKER__TASK__INIT;
        t.state = cases[i].state;
        t.reason = cases[i].reason;
        t.exit_code = cases[i].exit_code;
        t.signal = cases[i].signal;
        if (task_exit_code(&t) != cases[i].expected)
            fail_msg("case %zu gave %d", i, task_exit_code(&t));
    }
}

static void tables_are_aligned_and_harmless(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    struct table t;
    table_init(&t, 3);
    table_add(&t, (const char *const[]){"ID", "STATE", "X"}, "");
    table_add(&t, (const char *const[]){"\xc3\xbc\033", "RUNNING", "1"}, "<");
    assert_int_equal(table_print(&t, out, 1, ">"), 0);
    table_done(&t);
    fclose(out);
    assert_string_equal(text, "ID  STATE    X\n\xc3\xbc   <RUNNING>  1\n");
    free(text);
}

static void spans_and_sizes(void **state)
{
    (void)state;
    char text[32];
    assert_string_equal(format_span(0, text), "0ms");
    assert_string_equal(format_span(999999, text), "999ms");
    assert_string_equal(format_span(12340000, text), "12.3s");
    assert_string_equal(format_span(302ull * 1000000, text), "5m02s");
    assert_string_equal(format_span(11520ull * 1000000, text), "3h12m");
    assert_string_equal(format_span(UINT64_MAX, text), "213503982d08h");
    assert_string_equal(format_bytes(1023, text), "1023 B");
    assert_string_equal(format_bytes(1536, text), "1.5 KiB");
    assert_string_equal(format_bytes(UINT64_MAX, text), "16.0 EiB");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(terminals_get_no_control_characters),
        cmocka_unit_test(pieces_do_not_matter_to_valid_text),
        cmocka_unit_test(pipes_get_the_bytes),
        cmocka_unit_test(bytes_in_json),
        cmocka_unit_test(results_in_json),
        cmocka_unit_test(the_fields_of_a_task),
        cmocka_unit_test(exit_codes),
        cmocka_unit_test(tables_are_aligned_and_harmless),
        cmocka_unit_test(spans_and_sizes),
    };
    return cmocka_run_group_tests_name("cli_output", tests, NULL, NULL);
}
