/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "node/config_file.h"

/* Both callbacks write one line each, so that a test compares one text. */
static void on_pair(unsigned line, const char *key, const char *value, void *ctx)
{
    buf_printf(ctx, "%u:%s=<%s>\n", line, key, value);
}

static void on_error(unsigned line, const char *what, void *ctx)
{
    buf_printf(ctx, "%u!%s\n", line, what);
}

static void expect(const char *data, size_t len, const char *expected)
{
    static const struct config_file_handler handler = {.on_pair = on_pair, .on_error = on_error};
    CLEANUP_BUF struct buf out = BUF_INIT(1 << 20);
    assert_int_equal(config_file_parse(data, len, &handler, &out), 0);
    buf_append_u8(&out, 0);
    assert_string_equal((const char *)out.data, expected);
}

static void expect_text(const char *text, const char *expected)
{
    expect(text, strlen(text), expected);
}

static void pairs_comments_and_blanks(void **state)
{
    (void)state;
    expect_text("", "");
    expect_text("# c\n\n  \t\n  # d", "");
    expect_text("A=1", "1:A=<1>\n");
    expect_text("\n  A_B \t=  x y \t\r\nC=#\nD=a#b # c\n", "2:A_B=<x y>\n3:C=<>\n4:D=<a#b>\n");
    expect_text("NODE_PORT=50053                    # gRPC service port\n", "1:NODE_PORT=<50053>\n");
    expect_text("\xef\xbb\xbf"
                "A=\xc3\xa4\n",
        "1:A=<\xc3\xa4>\n");
}

static void quotes(void **state)
{
    (void)state;
    expect_text("A=\" x # \\\"\\\\\\n\\t\"  # c\n", "1:A=< x # \"\\\n\t>\n");
    expect_text("A='a\\n\"'\n", "1:A=<a\\n\">\n");
    expect_text("A=\"\"\nB=''\n", "1:A=<>\n2:B=<>\n");
    expect_text("A=\"x\nB='y\nC=\"\\",
        "1!the quotation mark is not closed\n2!the quotation mark is not closed\n"
        "3!in \"...\" a backslash goes before one of \" \\ n t only\n");
    expect_text("A=\"x\"y\n", "1!something follows the closing quotation mark\n");
    expect_text("A=\"\\x\"\n", "1!in \"...\" a backslash goes before one of \" \\ n t only\n");
    expect_text("A=a\"b\n", "1:A=<a\"b>\n");
}

static void bad_lines_do_not_hide_good_ones(void **state)
{
    (void)state;
    expect_text("A\n=1\nA B=1\nexport A=1\nB=2\n",
        "1!not of the form KEY=VALUE\n2!not of the form KEY=VALUE\n3!not of the form KEY=VALUE\n"
        "4!not of the form KEY=VALUE\n5:B=<2>\n");
    expect("A=\0001\nB=2", 8, "1!has a control character\n2:B=<2>\n");
    expect_text("A=\xff\nB=2", "1!not UTF-8\n2:B=<2>\n");
    expect_text("A=\033[1m\n", "1!has a control character\n");
}

static void lines_are_bounded(void **state)
{
    (void)state;
    size_t len = CONFIG_LINE_MAX + 2;
    char *text = malloc(len);
    assert_non_null(text);
    memset(text, 'x', len);
    text[CONFIG_LINE_MAX] = '\n';
    text[CONFIG_LINE_MAX + 1] = '#';
    expect(text, len, "1!longer than 8191 bytes\n");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_comments_and_blanks),
        cmocka_unit_test(quotes),
        cmocka_unit_test(bad_lines_do_not_hide_good_ones),
        cmocka_unit_test(lines_are_bounded),
    };
    return cmocka_run_group_tests_name("config_file", tests, NULL, NULL);
}
