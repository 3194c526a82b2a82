/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/util.h"

/* The plain definition of RFC 3629, written the slow way. */
static size_t encode(uint32_t c, uint8_t out[4])
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (uint8_t)(0xc0 | c >> 6);
        out[1] = (uint8_t)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (uint8_t)(0xe0 | c >> 12);
        out[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | c >> 18);
    out[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (c & 0x3f));
    return 4;
}

static void every_code_point_decodes(void **state)
{
    (void)state;
    for (uint32_t c = 0; c <= 0x1fffff; c++) {
        uint8_t raw[4];
        size_t n = encode(c, raw);
        uint32_t got = 0xffffffff;
        bool legal = c <= 0x10ffff && !(c >= 0xd800 && c <= 0xdfff);
        if (text_decode_utf8(raw, raw + n, &got) != (legal ? n : 0) || (legal && got != c))
            fail_msg("U+%04X", c);
        if (text_decode_utf8(raw, raw + n - 1, &got) != 0) /* cut off */
            fail_msg("U+%04X without its last byte", c);
    }
}

static void what_is_not_utf8(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\x80",
        "\xbf",
        "\xc0\x80",
        "\xc1\xbf",
        "\xc3",
        "\xc3(",
        "\xe0\x80\x80",
        "\xe0\x9f\xbf",
        "\xe2\x82",
        "\xe2(\xa1",
        "\xed\xa0\x80",
        "\xed\xbf\xbf",
        "\xf0\x80\x80\x80",
        "\xf0\x8f\xbf\xbf",
        "\xf0\x9f\x90",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xfe",
        "\xff",
        "\xf8\x88\x80\x80\x80",
        "ok\xffok",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (text_is_utf8(bad[i], strlen(bad[i])))
            fail_msg("case %zu", i);
    }
    assert_true(text_is_utf8("", 0));
    assert_true(text_is_utf8(NULL, 0));
    assert_true(text_is_utf8("a\0b", 3));
    assert_true(text_is_utf8("gr\xc3\xbc\xc3\x9f \xf0\x9f\x90\x9d", 11));
}

static void control_characters(void **state)
{
    (void)state;
    static const uint32_t control[] = {0, '\n', 0x1b, 0x1f, 0x7f, 0x80, 0x9f, 0xad, 0x61c, 0x200b, 0x200f, 0x2028,
        0x2029, 0x202a, 0x202e, 0x2066, 0x2069, 0xfeff, 0xfff9, 0xe0001, 0xe0041, 0xe007f};
    static const uint32_t plain[] = {' ', '~', 0xa0, 0xe4, 0x20ac, 0x2010, 0x2030, 0xfffd, 0x1f41d};
    for (size_t i = 0; i < ARRAY_LEN(control); i++) {
        if (!text_is_control(control[i]))
            fail_msg("U+%04X", control[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
        if (text_is_control(plain[i]))
            fail_msg("U+%04X", plain[i]);
    }
}

static void check_printable(const char *in, size_t max, bool keep_end, const char *want)
{
    CLEANUP_FREE char *got = text_printable(in, strlen(in), max, keep_end);
    assert_non_null(got);
    assert_string_equal(got, want);
    assert_true(text_is_utf8(got, strlen(got)));
}

static void hostile_text_is_made_showable(void **state)
{
    (void)state;
    check_printable("plain\ttext\n", 100, false, "plain\ttext\n");
    check_printable("\033[2J\rx\x7f", 100, false, " [2J x ");
    check_printable("a\xff"
                    "b\xe2\x82",
        100, false,
        "a\xef\xbf\xbd"
        "b\xef\xbf\xbd\xef\xbf\xbd");
    check_printable("\xe2\x80\xaegnp.exe", 100, false, " gnp.exe");
    CLEANUP_FREE char *nul = text_printable("a\0b", 3, 10, false);
    assert_string_equal(nul, "a b");
    CLEANUP_FREE char *nothing = text_printable(NULL, 0, 10, false);
    assert_string_equal(nothing, "");
}

static void cuts_fall_between_characters(void **state)
{
    (void)state;
    check_printable("12345", 5, false, "12345");
    check_printable("123456", 5, false, "12345");
    check_printable("123456", 5, true, "23456");
    check_printable("123456", 0, false, "");
    check_printable("123456", 0, true, "");
    check_printable("\xe2\x82\xac\xe2\x82\xac", 4, false, "\xe2\x82\xac");
    check_printable("\xe2\x82\xac\xe2\x82\xac", 5, true, "\xe2\x82\xac");
    check_printable("a\xf0\x9f\x90\x9d", 4, false, "a");
}

/* Bytes that look like the inside of a character must not make the cut run away. */
static void cuts_in_garbage_keep_most_of_it(void **state)
{
    (void)state;
    char garbage[100];
    memset(garbage, 0x80, sizeof garbage);
    for (int keep_end = 0; keep_end < 2; keep_end++) {
        CLEANUP_FREE char *got = text_printable(garbage, sizeof garbage, 50, keep_end);
        assert_in_range(strlen(got), 47 * 3, 50 * 3);
    }
}

static void copies_and_hex(void **state)
{
    (void)state;
    CLEANUP_FREE char *copy = text_dup("abcdef", 3);
    assert_string_equal(copy, "abc");
    CLEANUP_FREE char *none = text_dup(NULL, 0);
    assert_string_equal(none, "");
    static const uint8_t raw[] = {0x00, 0x9f, 0xff, 0x10};
    char hex[9];
    text_hex(raw, sizeof raw, hex);
    assert_string_equal(hex, "009fff10");
    text_hex(raw, 0, hex);
    assert_string_equal(hex, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point_decodes),
        cmocka_unit_test(what_is_not_utf8),
        cmocka_unit_test(control_characters),
        cmocka_unit_test(hostile_text_is_made_showable),
        cmocka_unit_test(cuts_fall_between_characters),
        cmocka_unit_test(cuts_in_garbage_keep_most_of_it),
        cmocka_unit_test(copies_and_hex),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
