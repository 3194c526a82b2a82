/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "base/parse.h"
#include "base/util.h"

enum { UNTOUCHED = 4711 };

struct number_case {
    const char *text;
    int r;
    uint64_t value;
};

static void check(int (*parse)(const char *, uint64_t *), const struct number_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t v = UNTOUCHED;
        int r = parse(cases[i].text, &v);
        if (r != cases[i].r || v != (r ? UNTOUCHED : cases[i].value))
            fail_msg("'%s' gave %d and %llu", cases[i].text, r, (unsigned long long)v);
    }
}

static int parse_any_u64(const char *s, uint64_t *ret)
{
    return parse_u64(s, 0, UINT64_MAX, ret);
}

static void whole_numbers(void **state)
{
    (void)state;
    static const struct number_case cases[] = {
        {"0", 0, 0}, {"00017", 0, 17}, {"18446744073709551615", 0, UINT64_MAX}, {"18446744073709551616", -ERANGE, 0},
        {"99999999999999999999999999", -ERANGE, 0}, {"", -EINVAL, 0}, {" 1", -EINVAL, 0}, {"1 ", -EINVAL, 0},
        {"+1", -EINVAL, 0}, {"-1", -EINVAL, 0}, {"0x10", -EINVAL, 0}, {"1e3", -EINVAL, 0}, {"1_000", -EINVAL, 0},
        {"1\n", -EINVAL, 0}, {"\xd9\xa1", -EINVAL, 0}, /* an Arabic digit */
    };
    check(parse_any_u64, cases, ARRAY_LEN(cases));
}

static void bounds_are_inclusive(void **state)
{
    (void)state;
    uint64_t v = UNTOUCHED;
    assert_int_equal(parse_u64("9", 10, 20, &v), -ERANGE);
    assert_int_equal(parse_u64("21", 10, 20, &v), -ERANGE);
    assert_int_equal(v, UNTOUCHED);
    assert_int_equal(parse_u64("10", 10, 20, &v), 0);
    assert_int_equal(v, 10);
    assert_int_equal(parse_u64("20", 10, 20, &v), 0);
    assert_int_equal(v, 20);
}

static void numbers_with_a_sign(void **state)
{
    (void)state;
    int64_t v = UNTOUCHED;
    static const char *const wrong[] = {"", "-", "--1", "+1", "- 1", "1-", "-x", " -1"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_int_equal(parse_i64(wrong[i], INT64_MIN, INT64_MAX, &v), -EINVAL);
    assert_int_equal(parse_i64("-11", -10, 20, &v), -ERANGE);
    assert_int_equal(parse_i64("21", -10, 20, &v), -ERANGE);
    assert_int_equal(parse_i64("9223372036854775808", INT64_MIN, INT64_MAX, &v), -ERANGE);
    assert_int_equal(v, UNTOUCHED);
    assert_int_equal(parse_i64("-10", -10, 20, &v), 0);
    assert_int_equal(v, -10);
    assert_int_equal(parse_i64("20", -10, 20, &v), 0);
    assert_int_equal(v, 20);
    assert_int_equal(parse_i64("-0", -10, 20, &v), 0);
    assert_int_equal(v, 0);
}

static void truth(void **state)
{
    (void)state;
    static const char *const yes[] = {"true", "TRUE", "yes", "on", "1"}, *const no[] = {"false", "No", "off", "0"},
                             *const bad[] = {"", "2", "t", "yes ", "01", "enable"};
    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        bool v = false;
        assert_int_equal(parse_bool(yes[i], &v), 0);
        assert_true(v);
    }
    for (size_t i = 0; i < ARRAY_LEN(no); i++) {
        bool v = true;
        assert_int_equal(parse_bool(no[i], &v), 0);
        assert_false(v);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        bool v = true;
        assert_int_equal(parse_bool(bad[i], &v), -EINVAL);
        assert_true(v);
    }
}

static void sizes(void **state)
{
    (void)state;
    static const struct number_case cases[] = {
        {"0", 0, 0},
        {"123", 0, 123},
        {"123B", 0, 123},
        {"64K", 0, 65536},
        {"64k", 0, 65536},
        {"64KB", 0, 65536},
        {"64KiB", 0, 65536},
        {"100M", 0, 104857600},
        {"10G", 0, 10737418240},
        {"1T", 0, 1ull << 40},
        {"16383P", 0, 16383ull << 50},
        {"16384P", -ERANGE, 0},
        {"18446744073709551615", 0, UINT64_MAX},
        {"18446744073709551615K", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"K", -EINVAL, 0},
        {"-1K", -EINVAL, 0},
        {"1.5G", -EINVAL, 0},
        {"1 K", -EINVAL, 0},
        {"1Kx", -EINVAL, 0},
        {"1KBB", -EINVAL, 0},
        {"1X", -EINVAL, 0},
        {"1BB", -EINVAL, 0},
    };
    check(parse_size, cases, ARRAY_LEN(cases));
}

static void durations(void **state)
{
    (void)state;
    static const struct number_case cases[] = {
        {"0", 0, 0},
        {"300", 0, 300000000},
        {"1.5", 0, 1500000},
        {"1.5s", 0, 1500000},
        {"0.000001", 0, 1},
        {"250ms", 0, 250000},
        {"7us", 0, 7},
        {"5m", 0, 300000000},
        {"5min", 0, 300000000},
        {"24h", 0, 86400000000},
        {"1.5h", 0, 5400000000},
        {"7d", 0, 604800000000},
        {"3660d", 0, 316224000000000},
        {"3660.5d", -ERANGE, 0}, /* 10 years is the bound, fraction or not */
        {"3661d", -ERANGE, 0},
        {"18446744073709551615", -ERANGE, 0},
        {"18446744073709551616", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"s", -EINVAL, 0},
        {".5", -EINVAL, 0},
        {"1.", -EINVAL, 0},
        {"1.s", -EINVAL, 0},
        {"1.2345678", -EINVAL, 0},
        {"1,5", -EINVAL, 0},
        {"-1s", -EINVAL, 0},
        {"1 s", -EINVAL, 0},
        {"1S", -EINVAL, 0},
        {"1w", -EINVAL, 0},
        {"1s1", -EINVAL, 0},
    };
    check(parse_duration, cases, ARRAY_LEN(cases));
}

static void thousandths(void **state)
{
    (void)state;
    static const struct number_case cases[] = {
        {"0", 0, 0},
        {"2", 0, 2000},
        {"1.5", 0, 1500},
        {"0.125", 0, 125},
        {"0.05", 0, 50},
        {"18446744073709551.615", 0, UINT64_MAX},
        {"18446744073709551.616", -ERANGE, 0},
        {"18446744073709552", -ERANGE, 0},
        {"", -EINVAL, 0},
        {".5", -EINVAL, 0},
        {"1.", -EINVAL, 0},
        {"1.2345", -EINVAL, 0},
        {"1.5 ", -EINVAL, 0},
        {"1,5", -EINVAL, 0},
        {"-1", -EINVAL, 0},
    };
    check(parse_millis, cases, ARRAY_LEN(cases));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_numbers),
        cmocka_unit_test(bounds_are_inclusive),
        cmocka_unit_test(numbers_with_a_sign),
        cmocka_unit_test(truth),
        cmocka_unit_test(sizes),
        cmocka_unit_test(durations),
        cmocka_unit_test(thousandths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
