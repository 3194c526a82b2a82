/* SPDX-License-Identifier: Apache-2.0 */
#include "node/monitor/parse.h"

#include <string.h>

#include "base/util.h"

enum { SECTOR_BYTES = 512, CORE_LIMIT = 1 << 16, CPU_FIELDS = 8, CPU_FIELDS_MIN = 4 };
enum { CPU_USER, CPU_NICE, CPU_SYSTEM, CPU_IDLE, CPU_IOWAIT, CPU_IRQ, CPU_SOFTIRQ, CPU_STEAL };
enum { NET_RECEIVED = 0, NET_SENT = 8, NET_FIELDS = 9 };
/* Behind the name. */
enum { DISK_READ_SECTORS = 2, DISK_WRITTEN_SECTORS = 6, DISK_BUSY_MS = 9, DISK_FIELDS = 10 };
enum { MILLI = 1000, COLDEST = -273150, HOTTEST = 1000000, LOAD_MAX = 1000000 };

static bool at_end(const char *p)
{
    return *p == '\0' || *p == '\n';
}

static void skip_spaces(const char **p)
{
    *p += strspn(*p, " \t");
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

/* Up to `max` numbers of this line; how many, or 0 where something else is among them. */
static size_t take_numbers(const char *p, uint64_t *ret, size_t max)
{
    size_t n = 0;
    for (skip_spaces(&p); n < max && !at_end(p); n++) {
        if (!take_number(&p, &ret[n]) || (!at_end(p) && *p != ' ' && *p != '\t'))
            return 0;
        skip_spaces(&p);
    }
    return n;
}

/* Where this line begins; *text moves to the next one. NULL: there is none. */
static const char *next_line(const char **text)
{
    const char *line = *text;
    if (*line == '\0')
        return NULL;
    const char *end = strchr(line, '\n');
    *text = end ? end + 1 : line + strlen(line);
    return line;
}

void parse_label(const char *text, size_t len, char ret[MONITOR_LABEL_MAX])
{
    size_t n = MIN(len, (size_t)MONITOR_LABEL_MAX - 1);
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        ret[i] = c < ' ' || c > '~' || c == '"' || c == '\\' ? '_' : c;
    }
    ret[n] = '\0';
}

static bool cpu_of(const char *p, struct parse_cpu *ret)
{
    struct parse_cpu cpu = {.core = PARSE_ALL_CORES};
    uint64_t core, fields[CPU_FIELDS] = {0};
    if (!take_word(&p, "cpu"))
        return false;
    if (*p != ' ') {
        if (!take_number(&p, &core) || core >= CORE_LIMIT || *p != ' ')
            return false;
        cpu.core = (unsigned)core;
    }
    if (take_numbers(p, fields, CPU_FIELDS) < CPU_FIELDS_MIN)
        return false;
    for (size_t i = 0; i < CPU_FIELDS; i++) {
        if (__builtin_add_overflow(cpu.total, fields[i], &cpu.total))
            return false;
    }
    cpu.user = fields[CPU_USER] + fields[CPU_NICE]; /* no more than the total, which has not overflown */
    cpu.system = fields[CPU_SYSTEM] + fields[CPU_IRQ] + fields[CPU_SOFTIRQ];
    cpu.idle = fields[CPU_IDLE];
    cpu.iowait = fields[CPU_IOWAIT];
    cpu.steal = fields[CPU_STEAL];
    *ret = cpu;
    return true;
}

bool parse_next_cpu(const char **text, struct parse_cpu *ret)
{
    for (const char *line; (line = next_line(text));) {
        if (cpu_of(line, ret))
            return true;
    }
    return false;
}

/* "  eth0: 1 2 ...". A name may have anything in it but a slash, white space and, but for aliases, a colon. */
static bool interface_of(const char *p, struct parse_interface *ret)
{
    uint64_t fields[NET_FIELDS];
    skip_spaces(&p);
    size_t len = strcspn(p, ": \t\n");
    if (len == 0 || p[len] != ':' || take_numbers(p + len + 1, fields, NET_FIELDS) < NET_FIELDS)
        return false;
    parse_label(p, len, ret->name);
    ret->received = fields[NET_RECEIVED];
    ret->sent = fields[NET_SENT];
    return true;
}

bool parse_next_interface(const char **text, struct parse_interface *ret)
{
    for (const char *line; (line = next_line(text));) {
        if (interface_of(line, ret))
            return true;
    }
    return false;
}

static bool disk_of(const char *p, struct parse_disk *ret)
{
    uint64_t number, fields[DISK_FIELDS], read_bytes, written_bytes;
    for (int i = 0; i < 2; i++) { /* major and minor */
        skip_spaces(&p);
        if (!take_number(&p, &number))
            return false;
    }
    skip_spaces(&p);
    size_t len = strcspn(p, " \t\n");
    if (len == 0 || take_numbers(p + len, fields, DISK_FIELDS) < DISK_FIELDS ||
        __builtin_mul_overflow(fields[DISK_READ_SECTORS], (uint64_t)SECTOR_BYTES, &read_bytes) ||
        __builtin_mul_overflow(fields[DISK_WRITTEN_SECTORS], (uint64_t)SECTOR_BYTES, &written_bytes))
        return false;
    parse_label(p, len, ret->name);
    for (char *c = ret->name; *c; c++)
        *c = *c == '/' ? '!' : *c;
    ret->read_bytes = read_bytes;
    ret->written_bytes = written_bytes;
    ret->busy_ms = fields[DISK_BUSY_MS];
    return true;
}

bool parse_next_disk(const char **text, struct parse_disk *ret)
{
    for (const char *line; (line = next_line(text));) {
        if (disk_of(line, ret))
            return true;
    }
    return false;
}

/* "1.71", two digits behind the point. */
static bool take_load(const char **p, double *ret)
{
    uint64_t whole, part;
    skip_spaces(p);
    if (!take_number(p, &whole) || whole > LOAD_MAX || !take_word(p, "."))
        return false;
    const char *digits = *p;
    if (!take_number(p, &part) || *p - digits != 2)
        return false;
    *ret = (double)whole + (double)part / 100;
    return true;
}

bool parse_loadavg(const char *text, double ret[3])
{
    double loads[3];
    for (int i = 0; i < 3; i++) {
        if (!take_load(&text, &loads[i]) || (*text != ' ' && !at_end(text)))
            return false;
    }
    memcpy(ret, loads, sizeof loads);
    return true;
}

static bool meminfo_bytes(const char *text, const char *key, uint64_t *ret)
{
    for (const char *line; (line = next_line(&text));) {
        uint64_t v;
        if (!take_word(&line, key))
            continue;
        skip_spaces(&line);
        return take_number(&line, &v) && take_word(&line, " kB") && at_end(line) &&
            !__builtin_mul_overflow(v, UINT64_C(1024), ret);
    }
    return false;
}

bool parse_swap(const char *text, uint64_t *ret_total, uint64_t *ret_used)
{
    uint64_t total, unused;
    if (!meminfo_bytes(text, "SwapTotal:", &total) || !meminfo_bytes(text, "SwapFree:", &unused))
        return false;
    *ret_total = total;
    *ret_used = total - MIN(unused, total);
    return true;
}

bool parse_temperature(const char *text, double *ret)
{
    uint64_t v;
    bool below = take_word(&text, "-");
    if (!take_number(&text, &v) || v > HOTTEST || !(*text == '\0' || (*text == '\n' && text[1] == '\0')))
        return false;
    int64_t milli = below ? -(int64_t)v : (int64_t)v;
    if (milli < COLDEST)
        return false;
    *ret = (double)milli / MILLI;
    return true;
}
