/* SPDX-License-Identifier: Apache-2.0 */
/* Text of the kernel's, byte by byte and without a copy: every function here is a cursor on a string that ends in NUL. */
#include <string.h>

#include "base/util.h"
#include "machine/machine.h"

/* user nice system idle iowait irq softirq steal; guest and guest_nice, behind them, are part of user and nice already. */
enum { STAT_IDLE = 3, STAT_IOWAIT = 4, STAT_FIELDS = 8, STAT_FIELDS_MIN = 4 };
enum { PERCENT_MAX = 10000, PERIOD_MAX_US = 1000000 };

static bool at_end(const char *p)
{
    return *p == '\0' || *p == '\n';
}

/* A text of one line is over: nothing follows but its end. */
static bool whole_line(const char *p)
{
    return *p == '\0' || (*p == '\n' && p[1] == '\0');
}

static bool take_number(const char **p, uint64_t *ret)
{
    uint64_t v = 0;
    const char *s = *p;
    if (*s < '0' || *s > '9')
        return false;
    for (; *s >= '0' && *s <= '9'; s++) {
        if (__builtin_mul_overflow(v, UINT64_C(10), &v) || __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
            return false;
    }
    *p = s;
    *ret = v;
    return true;
}

static bool take_word(const char **p, const char *word)
{
    size_t len = strlen(word);
    if (strncmp(*p, word, len) != 0)
        return false;
    *p += len;
    return true;
}

static bool take_spaces(const char **p)
{
    size_t n = strspn(*p, " \t");
    *p += n;
    return n > 0;
}

/* What follows `key` at the beginning of a line; NULL: no line begins so. */
static const char *find_line(const char *text, const char *key)
{
    for (const char *p = text; p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL) {
        if (take_word(&p, key))
            return p;
    }
    return NULL;
}

bool machine_parse_stat(const char *text, struct machine_ticks *ret)
{
    const char *p = find_line(text, "cpu ");
    struct machine_ticks ticks = {0};
    size_t fields = 0;
    if (!p)
        return false;
    for (take_spaces(&p); fields < STAT_FIELDS && !at_end(p); fields++) {
        uint64_t v;
        bool idle = fields == STAT_IDLE || fields == STAT_IOWAIT;
        if (!take_number(&p, &v) || __builtin_add_overflow(ticks.total, v, &ticks.total))
            return false;
        ticks.busy += idle ? 0 : v; /* no more than the total, which has not overflown */
        if (!take_spaces(&p) && !at_end(p))
            return false;
    }
    if (fields < STAT_FIELDS_MIN)
        return false;
    *ret = ticks;
    return true;
}

/* "KEY:   123 kB" as bytes. */
static bool meminfo_field(const char *text, const char *key, uint64_t *ret)
{
    uint64_t v;
    const char *p = find_line(text, key);
    if (!p)
        return false;
    take_spaces(&p);
    if (!take_number(&p, &v) || !take_spaces(&p) || !take_word(&p, "kB") || !at_end(p))
        return false;
    return !__builtin_mul_overflow(v, UINT64_C(1024), ret);
}

bool machine_parse_meminfo(const char *text, struct machine_memory *ret)
{
    uint64_t total, available;
    if (!meminfo_field(text, "MemTotal:", &total) || !meminfo_field(text, "MemAvailable:", &available) || total == 0)
        return false;
    *ret = (struct machine_memory){.total_bytes = total, .available_bytes = MIN(available, total)};
    return true;
}

/* "KEY=12.34" as 1234. */
static bool take_percent(const char **p, const char *key, unsigned *ret)
{
    uint64_t whole, part;
    take_spaces(p);
    if (!take_word(p, key) || !take_number(p, &whole) || !take_word(p, "."))
        return false;
    const char *digits = *p;
    if (!take_number(p, &part) || *p - digits != 2 || whole > PERCENT_MAX / 100 || whole * 100 + part > PERCENT_MAX)
        return false;
    *ret = (unsigned)(whole * 100 + part);
    return true;
}

/* "some avg10=0.00 avg60=0.00 avg300=0.00 total=0", from behind its first word. */
static bool parse_stall(const char *p, struct machine_stall *ret)
{
    struct machine_stall stall;
    if (!take_percent(&p, "avg10=", &stall.avg10) || !take_percent(&p, "avg60=", &stall.avg60) ||
        (!at_end(p) && !take_spaces(&p)))
        return false;
    *ret = stall;
    return true;
}

bool machine_parse_pressure(const char *text, struct machine_pressure *ret)
{
    struct machine_pressure pressure = {.present = true};
    const char *some = find_line(text, "some "), *full = find_line(text, "full ");
    if (!some || !parse_stall(some, &pressure.some) || (full && !parse_stall(full, &pressure.full)))
        return false;
    *ret = pressure;
    return true;
}

/* The kernel knows no period above a second. Rounded up: a quota is never no processor at all. */
static bool share(uint64_t quota, uint64_t period, uint64_t *ret)
{
    uint64_t scaled;
    if (quota == 0 || period == 0 || period > PERIOD_MAX_US || __builtin_mul_overflow(quota, UINT64_C(1000), &scaled))
        return false;
    *ret = scaled / period + (scaled % period != 0);
    return true;
}

bool machine_parse_cpu_max(const char *text, uint64_t *ret_millis)
{
    uint64_t quota = 0, period;
    bool limited = !take_word(&text, "max");
    if ((limited && !take_number(&text, &quota)) || !take_spaces(&text) || !take_number(&text, &period) ||
        !whole_line(text))
        return false;
    if (limited)
        return share(quota, period, ret_millis);
    *ret_millis = MACHINE_NO_LIMIT;
    return true;
}

bool machine_parse_cfs(const char *quota, const char *period, uint64_t *ret_millis)
{
    uint64_t q, p;
    if (!take_number(&period, &p) || !whole_line(period))
        return false;
    if (take_word(&quota, "-1") && whole_line(quota)) {
        *ret_millis = MACHINE_NO_LIMIT;
        return true;
    }
    return take_number(&quota, &q) && whole_line(quota) && share(q, p, ret_millis);
}

bool machine_parse_memory_limit(const char *text, uint64_t *ret_bytes)
{
    uint64_t v = MACHINE_NO_LIMIT;
    if ((!take_word(&text, "max") && !take_number(&text, &v)) || !whole_line(text))
        return false;
    *ret_bytes = v;
    return true;
}
