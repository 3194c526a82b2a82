/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "rpc/status.h"

static void test_encode(void **state UNUSED)
{
    static const struct {
        const char *plain, *encoded;
    } cases[] = {
        {"", ""},
        {NULL, ""},
        {"no such task", "no such task"},
        {"100%", "100%25"},
        {"a\nb\x7f", "a%0Ab%7F"},
        {"sch\xc3\xb6n \xf0\x9f\x90\x9d", "sch%C3%B6n %F0%9F%90%9D"},
        {"\xff", "%EF%BF%BD"},
        {"\xc3", "%EF%BF%BD"},
        {"~!\"#", "~!\"#"},
    };
    char out[STATUS_MESSAGE_MAX + 1];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(status_encode_message(cases[i].plain, out), strlen(cases[i].encoded));
        assert_string_equal(out, cases[i].encoded);
    }
}

static void test_encode_cuts_whole_characters(void **state UNUSED)
{
    char plain[3 * STATUS_MESSAGE_MAX], out[STATUS_MESSAGE_MAX + 1];
    for (size_t shift = 0; shift < 13; shift++) {
        memset(plain, 'a', shift);
        for (size_t i = shift; i + 4 < sizeof plain; i += 4)
            memcpy(plain + i, "\xf0\x9f\x90\x9d", 5);
        size_t n = status_encode_message(plain, out);
        assert_in_range(n, STATUS_MESSAGE_MAX - 11, STATUS_MESSAGE_MAX);
        assert_int_equal((n - shift) % 12, 0);
        assert_int_equal(strlen(out), n);
    }
}

static void test_decode(void **state UNUSED)
{
    static const struct {
        const char *encoded, *plain;
    } cases[] = {
        {"", ""},
        {"plain", "plain"},
        {"100%25", "100%"},
        {"%c3%B6", "\xc3\xb6"},
        {"%", "%"},
        {"%4", "%4"},
        {"%zz", "%zz"},
        {"a%0", "a%0"},
        {"%%41", "%A"},
        {"a%00b", "a b"},
    };
    char out[64];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        status_decode_message(cases[i].encoded, strlen(cases[i].encoded), out, sizeof out);
        assert_string_equal(out, cases[i].plain);
    }
    status_decode_message("abcdef", 6, out, 4);
    assert_string_equal(out, "abc");
    status_decode_message("abc", 3, out, 1);
    assert_string_equal(out, "");
}

static void test_round_trip(void **state UNUSED)
{
    char plain[256], encoded[STATUS_MESSAGE_MAX + 1], back[256];
    for (int i = 1; i < 128; i++)
        plain[i - 1] = (char)i;
    plain[127] = '\0';
    size_t n = status_encode_message(plain, encoded);
    status_decode_message(encoded, n, back, sizeof back);
    assert_string_equal(back, plain);
}

static void test_codes(void **state UNUSED)
{
    assert_string_equal(status_code_text(TW_OK), "0");
    assert_string_equal(status_code_text(TW_UNAUTHENTICATED), "16");
    assert_string_equal(status_code_text((enum tw_code)99), "2");
    for (int i = 0; i < TW_CODE_MAX; i++)
        assert_int_equal(status_code_parse(status_code_text((enum tw_code)i)), i);
    assert_int_equal(status_code_parse("17"), TW_UNKNOWN);
    assert_int_equal(status_code_parse(""), TW_UNKNOWN);
    assert_int_equal(status_code_parse("-1"), TW_UNKNOWN);
    assert_int_equal(status_of_http(503), TW_UNAVAILABLE);
    assert_int_equal(status_of_http(404), TW_UNIMPLEMENTED);
    assert_int_equal(status_of_http(200), TW_UNKNOWN);
    assert_int_equal(status_of_reset(8), TW_CANCELLED);
    assert_int_equal(status_of_reset(7), TW_UNAVAILABLE);
    assert_int_equal(status_of_reset(2), TW_INTERNAL);
}

static void test_timeout_parse(void **state UNUSED)
{
    static const struct {
        const char *text;
        uint64_t us;
    } good[] = {{"0n", 0}, {"999n", 0}, {"1000n", 1}, {"1u", 1}, {"250m", 250000}, {"2S", 2000000}, {"1M", 60000000},
        {"99999999H", 99999999ull * 3600000000ull}, {"00000001S", 1000000}};
    static const char *const bad[] = {
        "", "S", "1", "1s", "-1S", "+1S", "1.5S", "100000000S", "1 S", "1SS", " 1S", "0x1S"};
    uint64_t us;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(timeout_parse(good[i].text, &us), 0);
        assert_int_equal(us, good[i].us);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        us = 7;
        assert_int_equal(timeout_parse(bad[i], &us), -EINVAL);
        assert_int_equal(us, 7);
    }
}

static void test_timeout_format(void **state UNUSED)
{
    static const struct {
        uint64_t us;
        const char *text;
    } cases[] = {{0, "0u"}, {1, "1u"}, {99999999, "99999999u"}, {100000000, "100000m"}, {100000001, "100001m"},
        {86400000000ull * 365, "31536000S"}, {UINT64_MAX, "99999999H"}};
    char out[TIMEOUT_TEXT_MAX];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_string_equal(timeout_format(cases[i].us, out), cases[i].text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encode),
        cmocka_unit_test(test_encode_cuts_whole_characters),
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_codes),
        cmocka_unit_test(test_timeout_parse),
        cmocka_unit_test(test_timeout_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
