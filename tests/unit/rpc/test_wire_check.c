/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/util.h"
#include "rpc/wire_check.h"
#include "taskworker.pb-c.h"

static enum tw_code check(const void *data, size_t len, struct tw_error *error)
{
    *error = (struct tw_error){0};
    int r = wire_check(&taskworker__execute_task_request__descriptor, data, len, error);
    assert_int_equal(r, error->code == TW_OK ? 0 : -1);
    return error->code;
}

static void test_good_messages(void **state UNUSED)
{
    struct tw_error error;
    static const char *const good[] = {
        "",
        ("\x0a\x01"
         "a"),                                      /* task_id = "a" */
        "\x1a\x02\xff\x01",                         /* bytes may be anything */
        "\x20\x80\x01",                             /* timeout_ms = 128 */
        "\x32\x06\x0a\x01k\x12\x01v",               /* env */
        "\x7a\x02\xff\xff",                         /* an unknown field */
        "\xf9\x06\x31\x32\x33\x34\x35\x36\x37\x38", /* unknown, 64 bits */
        "\xfd\x06\x31\x32\x33\x34",                 /* unknown, 32 bits */
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_int_equal(check(good[i], strlen(good[i]), &error), TW_OK);
}

static void test_what_protobuf_c_would_let_pass(void **state UNUSED)
{
    struct tw_error error;
    assert_int_equal(check("\x0a\x02\xff\xfe", 4, &error), TW_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "task_id is not valid UTF-8"));
    assert_int_equal(check("\x0a\x03"
                           "a\0b",
                         5, &error),
        TW_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "task_id has a NUL"));
    assert_int_equal(check("\x32\x05\x0a\x03"
                           "a\0b",
                         7, &error),
        TW_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "env.key has a NUL"));
    /* a string given twice: the last one counts for protobuf, all are looked at here */
    assert_int_equal(check("\x0a\x01\xff\x0a\x01"
                           "a",
                         6, &error),
        TW_INVALID_ARGUMENT);
}

static void test_malformed(void **state UNUSED)
{
    struct tw_error error;
    static const struct {
        const char *data;
        size_t len;
    } bad[] = {
        {"\x0a", 1},                                                       /* no length */
        {"\x0a\x05", 2},                                                   /* too short */
        {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11},              /* a length of 2^64-1 */
        {"\x20", 1},                                                       /* no number */
        {"\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12},          /* a number that does not end */
        {"\x00\x01", 2},                                                   /* field 0 */
        {"\x0b", 1},                                                       /* a group */
        {"\x0c", 1}, {"\x0e", 1},                                          /* wire type 6 */
        {"\xf9\x06\x31", 3}, {"\xfd\x06\x31", 3}, {"\x32\x02\x0a\x05", 4}, /* inside of env */
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(check(bad[i].data, bad[i].len, &error), TW_INVALID_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_messages),
        cmocka_unit_test(test_what_protobuf_c_would_let_pass),
        cmocka_unit_test(test_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
