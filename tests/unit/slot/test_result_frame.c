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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_announced_only),
        cmocka_unit_test(test_flaws),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
