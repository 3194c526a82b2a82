/* SPDX-License-Identifier: Apache-2.0 */
#include "base/parse.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"

/* Reads decimal digits at *s and moves on. */
static int take_digits(const char **s, uint64_t *ret)
{
    const char *p = *s;
    uint64_t v = 0;
    if (*p < '0' || *p > '9')
        return -EINVAL;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (__builtin_mul_overflow(v, (uint64_t)10, &v) || __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
            return -ERANGE;
    }
    *s = p;
    *ret = v;
    return 0;
}

int parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret)
{
    uint64_t v;
    int r = take_digits(&s, &v);
    if (r < 0)
        return r;
    if (*s)
        return -EINVAL;
    if (v < min || v > max)
        return -ERANGE;
    *ret = v;
    return 0;
}

int parse_i64(const char *s, int64_t min, int64_t max, int64_t *ret)
{
    bool negative = *s == '-';
    uint64_t value;
    int r = parse_u64(s + negative, 0, INT64_MAX, &value);
    int64_t number = r < 0 ? 0 : negative ? -(int64_t)value : (int64_t)value;
    if (r == 0 && (number < min || number > max))
        r = -ERANGE;
    if (r == 0)
        *ret = number;
    return r;
}

int parse_bool(const char *s, bool *ret)
{
    static const char *const words[][2] = {{"false", "true"}, {"no", "yes"}, {"off", "on"}, {"0", "1"}};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        for (int v = 0; v < 2; v++) {
            if (!strcasecmp(s, words[i][v])) {
                *ret = v;
                return 0;
            }
        }
    }
    return -EINVAL;
}

int parse_size(const char *s, uint64_t *ret)
{
    static const char units[] = "KMGTP";
    uint64_t v;
    int r = take_digits(&s, &v);
    if (r < 0)
        return r;
    if (*s && strcmp(s, "B") != 0) {
        const char *unit = strchr(units, *s >= 'a' && *s <= 'z' ? *s - 'a' + 'A' : *s);
        if (!unit || (s[1] && strcmp(s + 1, "B") != 0 && strcmp(s + 1, "iB") != 0))
            return -EINVAL;
        unsigned shift = 10 * (unsigned)(unit - units + 1);
        if (v > UINT64_MAX >> shift)
            return -ERANGE;
        v <<= shift;
    }
    *ret = v;
    return 0;
}

/* "12", "12.5": what is behind the point in units of 10 to the -max, which is how many digits it may have. */
static int take_decimal(const char **s, int max, uint64_t *ret_whole, uint64_t *ret_fraction)
{
    *ret_fraction = 0;
    int r = take_digits(s, ret_whole);
    if (r < 0 || **s != '.')
        return r;
    const char *digits = ++*s;
    r = take_digits(s, ret_fraction);
    if (r < 0 || *s - digits > max)
        return -EINVAL;
    for (ptrdiff_t n = *s - digits; n < max; n++)
        *ret_fraction *= 10;
    return 0;
}

int parse_millis(const char *s, uint64_t *ret)
{
    uint64_t whole, fraction;
    int r = take_decimal(&s, 3, &whole, &fraction);
    if (r < 0)
        return r;
    if (*s)
        return -EINVAL;
    if (__builtin_mul_overflow(whole, (uint64_t)1000, &whole) || __builtin_add_overflow(whole, fraction, &whole))
        return -ERANGE;
    *ret = whole;
    return 0;
}

int parse_duration(const char *s, uint64_t *ret_us)
{
    static const struct {
        const char *name;
        uint64_t us;
    } units[] = {{"", 1000000}, {"us", 1}, {"ms", 1000}, {"s", 1000000}, {"m", 60000000ull}, {"min", 60000000ull},
        {"h", 3600000000ull}, {"d", 86400000000ull}};
    static const uint64_t max_us = 10ull * 366 * 86400 * 1000000;
    uint64_t whole, fraction;
    int r = take_decimal(&s, 6, &whole, &fraction);
    if (r < 0)
        return r;
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (strcmp(s, units[i].name) != 0)
            continue;
        if (whole > max_us / units[i].us)
            return -ERANGE;
        uint64_t us = whole * units[i].us + fraction * units[i].us / 1000000;
        if (us > max_us)
            return -ERANGE;
        *ret_us = us;
        return 0;
    }
    return -EINVAL;
}
