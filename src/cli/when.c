/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/when.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "base/parse.h"

enum { SECOND_US = 1000000 };

/* Exactly two digits, at most `max`. */
static bool take_two(const char **p, int max, int *ret)
{
    const char *s = *p;
    if (!isdigit((unsigned char)s[0]) || !isdigit((unsigned char)s[1]))
        return false;
    *ret = (s[0] - '0') * 10 + s[1] - '0';
    *p += 2;
    return *ret <= max;
}

static bool take(const char **p, char c)
{
    if (**p != c)
        return false;
    ++*p;
    return true;
}

/* "18:30" or "18:30:05" */
static bool take_clock(const char **p, struct tm *tm)
{
    if (!take_two(p, 23, &tm->tm_hour) || !take(p, ':') || !take_two(p, 59, &tm->tm_min))
        return false;
    tm->tm_sec = 0;
    return !take(p, ':') || take_two(p, 59, &tm->tm_sec);
}

/* "2030-01-31" */
static bool take_date(const char **p, struct tm *tm)
{
    int century, year;
    if (!take_two(p, 99, &century) || !take_two(p, 99, &year) || !take(p, '-') || !take_two(p, 12, &tm->tm_mon) ||
        !take(p, '-') || !take_two(p, 31, &tm->tm_mday) || tm->tm_mon == 0 || tm->tm_mday == 0)
        return false;
    tm->tm_year = century * 100 + year - 1900;
    tm->tm_mon--;
    return true;
}

/* "Z", "+01:00", or nothing, which is local time. */
static int take_zone(const char **p, bool *ret_local, long *ret_offset_s)
{
    int hours = 0, minutes = 0;
    bool east = **p == '+';
    *ret_local = **p == '\0';
    *ret_offset_s = 0;
    if (*ret_local || take(p, 'Z'))
        return 0;
    if ((!take(p, '+') && !take(p, '-')) || !take_two(p, 14, &hours) || !take(p, ':') || !take_two(p, 59, &minutes))
        return -EINVAL;
    *ret_offset_s = (east ? 1 : -1) * (hours * 3600L + minutes * 60L);
    return 0;
}

static int finish(struct tm tm, bool local, long offset_s, uint64_t *ret_us)
{
    struct tm wanted = tm;
    tm.tm_isdst = -1;
    time_t t = local ? mktime(&tm) : timegm(&tm);
    /* The library would make the 3rd of March of the 31st of February. (An hour may move, where clocks are put forward.) */
    if (tm.tm_mday != wanted.tm_mday || tm.tm_mon != wanted.tm_mon || t - offset_s <= 0)
        return -EINVAL;
    *ret_us = (uint64_t)(t - offset_s) * SECOND_US;
    return 0;
}

int when_parse(const char *text, uint64_t now_us, uint64_t *ret_us)
{
    const char *p = text;
    time_t now = (time_t)(now_us / SECOND_US);
    struct tm tm = {0}, today;
    bool local;
    long offset_s;
    uint64_t seconds;
    if (take(&p, '@')) {
        if (parse_u64(p, 1, INT64_MAX / SECOND_US, &seconds) < 0)
            return -EINVAL;
        *ret_us = seconds * SECOND_US;
        return 0;
    }
    if (strlen(text) < 10) { /* no date */
        if (!take_clock(&p, &tm) || *p || !localtime_r(&now, &today))
            return -EINVAL;
        today.tm_hour = tm.tm_hour;
        today.tm_min = tm.tm_min;
        today.tm_sec = tm.tm_sec;
        today.tm_isdst = -1;
        struct tm tomorrow = today;
        tomorrow.tm_mday++;
        time_t t = mktime(&today);
        t = t > now ? t : mktime(&tomorrow);
        *ret_us = (uint64_t)t * SECOND_US;
        return t > 0 ? 0 : -EINVAL;
    }
    if (!take_date(&p, &tm) || (!take(&p, ' ') && !take(&p, 'T')) || !take_clock(&p, &tm) ||
        take_zone(&p, &local, &offset_s) < 0 || *p)
        return -EINVAL;
    return finish(tm, local, offset_s, ret_us);
}

int when_parse_past(const char *text, uint64_t now_us, uint64_t *ret_us)
{
    const uint64_t day_us = UINT64_C(86400) * SECOND_US;
    uint64_t us;
    if (parse_duration(text, &us) == 0 && us <= now_us) {
        *ret_us = now_us - us;
        return 0;
    }
    int r = when_parse(text, now_us, &us);
    if (r < 0)
        return r;
    bool of_a_day = isdigit((unsigned char)text[0]) && isdigit((unsigned char)text[1]) && text[2] == ':';
    *ret_us = of_a_day && us > now_us ? us - day_us : us;
    return 0;
}
