/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "slot/result_frame.h"

static void frame(struct buf *out, char type, const void *data, size_t len)
{
    buf_append_u8(out, (uint8_t)type);
    buf_append_u64le(out, len);
    buf_append(out, data, len);
}

/* Feeds it in pieces of one size and finishes. */
static void read_all(struct result_reader *r, const struct buf *raw, size_t max, size_t piece)
{
    result_reader_init(r, max);
    for (size_t at = 0; at < raw->len; at += piece)
        result_reader_feed(r, raw->data + at, MIN(piece, raw->len - at));
    result_reader_finish(r);
}

static void test_good(void **state)
{
    (void)state;
    CLEANUP_BUF struct buf raw = BUF_INIT(1000);
    frame(&raw, 'E', "oh", 2);
    frame(&raw, 'R', "{\"a\": [1]}", 10);
    for (size_t piece = 1; piece <= raw.len; piece++) {
        struct result_reader r;
        read_all(&r, &raw, 10, piece);
        assert_int_equal(r.flaw, RESULT_FINE);
        assert_int_equal(r.result.len, 10);
        assert_memory_equal(r.result.data, "{\"a\": [1]}", 10);
        assert_int_equal(r.error.len, 2);
        assert_false(r.too_large);
        result_reader_done(&r);
    }
}

static void test_nothing(void **state)
{
    (void)state;
    struct result_reader r;
    CLEANUP_BUF struct buf raw = BUF_INIT(1000);
    read_all(&r, &raw, 10, 1);
    assert_int_equal(r.flaw, RESULT_FINE);
    assert_false(r.have_result);
    result_reader_done(&r);
}

static void test_too_large(void **state)
{
    (void)state;
    struct result_reader r;
    CLEANUP_BUF struct buf raw = BUF_INIT(1000);
    frame(&raw, 'R', "12345678901", 11);
    frame(&raw, 'E', "still read", 10);
    read_all(&r, &raw, 10, 3);
    assert_true(r.too_large);
    assert_int_equal(r.flaw, RESULT_FINE);
    assert_int_equal(r.result.len, 0);
    assert_int_equal(r.error.len, 10);
    result_reader_done(&r);
}

/* An announced length alone must cost nothing. */
static void test_announced_only(void **state)
{
    (void)state;
    struct result_reader r;
    CLEANUP_BUF struct buf raw = BUF_INIT(1000);
    buf_append_u8(&raw, 'R');
    buf_append_u64le(&raw, UINT64_MAX);
    buf_append(&raw, "xxxx", 4);
    read_all(&r, &raw, 1 << 20, 5);
    assert_int_equal(r.flaw, RESULT_CUT);
    assert_true(r.too_large);
    assert_int_equal(r.result.cap, 0);
    result_reader_done(&r);
}

static void test_flaws(void **state)
{
    (void)state;
    static const struct {
        const char *first, *second;
        char second_type;
        enum result_flaw flaw;
    } cases[] = {
        {"1", "2", 'R', RESULT_BAD_FRAME},
        {"1", "x", 'X', RESULT_BAD_FRAME},
        {"nul", "x", 'E', RESULT_NOT_JSON},
        {"\"\xff\"", "x", 'E', RESULT_NOT_JSON},
        {"", "x", 'E', RESULT_NOT_JSON},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_BUF struct buf raw = BUF_INIT(1000);
        struct result_reader r;
        frame(&raw, 'R', cases[i].first, strlen(cases[i].first));
        frame(&raw, cases[i].second_type, cases[i].second, strlen(cases[i].second));
        read_all(&r, &raw, 100, 4);
        assert_int_equal(r.flaw, cases[i].flaw);
        assert_int_equal(r.result.len, 0);
        result_reader_done(&r);
        /* And cut at each place: never fine with a result that is not whole. */
        for (size_t len = 1; len < raw.len; len++) {
            struct buf part = {.data = raw.data, .len = len};
            read_all(&r, &part, 100, 4);
            assert_true(r.flaw || r.header_len == 0);
            result_reader_done(&r);
        }
    }
    for (unsigned f = 0; f < RESULT_FLAW_MAX; f++)
        assert_string_not_equal(result_flaw_to_string((enum result_flaw)f), "?");
}

static void test_json(void **state)
{
    (void)state;
    static const char *const good[] = {"null", "true", "false", "0", "-0", "-1.5e+10", "1E5", "\"\"",
        "\"\\u00e4\\n\\\"\"", "[]", "{}", "[1,2,[3,{\"a\":{}}]]", " { \"a\" : [ ] , \"b\" : 1 } ", "\"\xc3\xa4\""};
    static const char *const bad[] = {"", " ", "nul", "nulll", "True", "01", "1.", ".5", "+1", "1e", "-", "NaN",
        "Infinity", "[", "]", "[1,]", "[,1]", "[1 2]", "{", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "{1:1}",
        "[1}", "{\"a\":1]", "\"", "\"\\x\"", "\"\\u12g4\"", "\"\t\"", "1 1", "null,", "'a'",
        ("\xef\xbb\xbf"
         "1"),
        "{\"a\":1,2}"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        if (!json_is_valid(good[i], strlen(good[i])))
            fail_msg("refused: %s", good[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (json_is_valid(bad[i], strlen(bad[i])))
            fail_msg("accepted: %s", bad[i]);
    }
    assert_false(json_is_valid("\"a\0b\"", 5));
    assert_false(json_is_valid("\"\\\0\"", 4));
    char deep[2 * RESULT_DEPTH_MAX + 2];
    for (size_t depth = RESULT_DEPTH_MAX; depth <= RESULT_DEPTH_MAX + 1; depth++) {
        memset(deep, '[', depth);
        memset(deep + depth, ']', depth);
        assert_int_equal(json_is_valid(deep, 2 * depth), depth == RESULT_DEPTH_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_announced_only),
        cmocka_unit_test(test_flaws),
        cmocka_unit_test(test_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
