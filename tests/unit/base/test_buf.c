/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"

static void grows_and_keeps_what_was_written(void **state)
{
    (void)state;
    CLEANUP_BUF struct buf b = BUF_INIT(100000);
    for (uint32_t i = 0; i < 10000; i++)
        assert_int_equal(buf_append_u32le(&b, i), 0);
    assert_int_equal(b.len, 40000);
    assert_true(b.cap <= b.max);
    struct cursor c = cursor_of(b.data, b.len);
    for (uint32_t i = 0; i < 10000; i++) {
        uint32_t v;
        assert_true(cursor_u32le(&c, &v));
        assert_int_equal(v, i);
    }
    assert_int_equal(c.left, 0);
}

static void bound_is_exact_and_failure_sticks(void **state)
{
    (void)state;
    CLEANUP_BUF struct buf b = BUF_INIT(10);
    assert_int_equal(buf_append(&b, "0123456789", 10), 0);
    assert_int_equal(buf_append(&b, "", 0), 0);
    assert_int_equal(buf_append_u8(&b, 'x'), -E2BIG);
    assert_int_equal(b.error, -E2BIG);
    assert_int_equal(buf_append(&b, "", 0), -E2BIG);
    assert_int_equal(buf_printf(&b, "%d", 1), -E2BIG);
    assert_null(buf_reserve(&b, 0));
    assert_int_equal(b.len, 10);
    assert_memory_equal(b.data, "0123456789", 10);

    buf_reset(&b);
    assert_int_equal(b.len, 0);
    assert_int_equal(buf_append_str(&b, "again"), 0);
}

static void announced_sizes_beyond_all_bounds_are_refused(void **state)
{
    (void)state;
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / 2, 1000};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        CLEANUP_BUF struct buf b = BUF_INIT(1000);
        assert_int_equal(buf_append_u8(&b, 1), 0);
        assert_null(buf_reserve(&b, sizes[i]));
        assert_int_equal(b.error, -E2BIG);
        assert_int_equal(b.len, 1);
        assert_true(b.cap <= 1000);
    }
}

static void nothing_fits_into_nothing(void **state)
{
    (void)state;
    CLEANUP_BUF struct buf b = BUF_INIT(0);
    assert_int_equal(buf_append(&b, NULL, 0), 0);
    assert_int_equal(buf_append_u8(&b, 1), -E2BIG);
}

static void numbers_are_little_endian(void **state)
{
    (void)state;
    CLEANUP_BUF struct buf b = BUF_INIT(64);
    buf_append_u8(&b, 0xab);
    buf_append_u32le(&b, 0x01020304);
    buf_append_u64le(&b, 0x1112131415161718ull);
    static const uint8_t want[] = {0xab, 4, 3, 2, 1, 0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11};
    assert_int_equal(b.len, sizeof want);
    assert_memory_equal(b.data, want, sizeof want);
}

static void printf_appends(void **state)
{
    (void)state;
    CLEANUP_BUF struct buf b = BUF_INIT(8);
    assert_int_equal(buf_printf(&b, "%s=%d", "ab", 12), 0);
    assert_int_equal(buf_printf(&b, "%s", "too long"), -E2BIG);
    assert_int_equal(b.len, 5);
    assert_memory_equal(b.data, "ab=12", 5);
}

static void consume_drops_the_front(void **state)
{
    (void)state;
    CLEANUP_BUF struct buf b = BUF_INIT(100);
    buf_append_str(&b, "hello world");
    buf_consume(&b, 6);
    assert_int_equal(b.len, 5);
    assert_memory_equal(b.data, "world", 5);
    buf_consume(&b, 0);
    assert_int_equal(b.len, 5);
    buf_consume(&b, 99); /* more than there is: all of it, and no underflow */
    assert_int_equal(b.len, 0);
}

static void steal_hands_over_and_terminates(void **state)
{
    (void)state;
    CLEANUP_BUF struct buf b = BUF_INIT(5);
    buf_append_str(&b, "12345"); /* full: the NUL lies beyond the bound and must fit all the same */
    size_t len = 0;
    CLEANUP_FREE char *s = buf_steal(&b, &len);
    assert_string_equal(s, "12345");
    assert_int_equal(len, 5);
    assert_null(b.data);
    assert_int_equal(b.len, 0);
    assert_int_equal(b.max, 5);
    assert_int_equal(buf_append_str(&b, "abc"), 0);

    struct buf empty = BUF_INIT(5);
    CLEANUP_FREE char *nothing = buf_steal(&empty, NULL);
    assert_string_equal(nothing, "");
}

static void done_leaves_a_usable_buffer(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 4);
    assert_int_equal(buf_append_str(&b, "12345"), -E2BIG);
    buf_done(&b);
    assert_int_equal(b.error, 0);
    assert_int_equal(buf_append_str(&b, "1234"), 0);
    buf_done(&b);
    buf_done(&b);
}

static void cursor_stops_at_the_end_for_good(void **state)
{
    (void)state;
    static const uint8_t raw[] = {1, 2, 3, 4, 5, 6, 7};
    struct cursor c = cursor_of(raw, sizeof raw);
    uint64_t u64 = 99;
    assert_false(cursor_u64le(&c, &u64)); /* 7 bytes: nothing moves, nothing is written */
    assert_int_equal(u64, 99);
    assert_int_equal(c.left, sizeof raw);
    assert_true(c.bad);
    uint8_t u8 = 99;
    assert_false(cursor_u8(&c, &u8)); /* there would be a byte, but the cursor is bad */
    assert_int_equal(u8, 99);

    c = cursor_of(raw, sizeof raw);
    uint32_t u32;
    const uint8_t *bytes;
    assert_true(cursor_u32le(&c, &u32));
    assert_int_equal(u32, 0x04030201);
    assert_true(cursor_bytes(&c, 3, &bytes));
    assert_ptr_equal(bytes, raw + 4);
    assert_true(cursor_bytes(&c, 0, &bytes));
    assert_false(cursor_bytes(&c, SIZE_MAX, &bytes));
}

static void cursor_over_nothing(void **state)
{
    (void)state;
    struct cursor c = cursor_of(NULL, 0);
    const uint8_t *bytes;
    uint8_t u8;
    assert_true(cursor_bytes(&c, 0, &bytes));
    assert_false(cursor_u8(&c, &u8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_and_keeps_what_was_written),
        cmocka_unit_test(bound_is_exact_and_failure_sticks),
        cmocka_unit_test(announced_sizes_beyond_all_bounds_are_refused),
        cmocka_unit_test(nothing_fits_into_nothing),
        cmocka_unit_test(numbers_are_little_endian),
        cmocka_unit_test(printf_appends),
        cmocka_unit_test(consume_drops_the_front),
        cmocka_unit_test(steal_hands_over_and_terminates),
        cmocka_unit_test(done_leaves_a_usable_buffer),
        cmocka_unit_test(cursor_stops_at_the_end_for_good),
        cmocka_unit_test(cursor_over_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
