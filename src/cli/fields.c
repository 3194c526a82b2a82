/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/fields.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/parse.h"

enum unit { UNIT_NONE, UNIT_BYTES, UNIT_MILLIS, UNIT_MS, UNIT_US };

static const struct field {
    const char *name, *option;
    enum unit unit;
} fields[] = {
    {"limits.memory_bytes", "--memory", UNIT_BYTES},
    {"limits.cpu_millis", "--cpu", UNIT_MILLIS},
    {"limits.cpu_time_us", "--cpu-time", UNIT_US},
    {"limits.processes", "--processes", UNIT_NONE},
    {"limits.open_files", "--open-files", UNIT_NONE},
    {"limits.file_bytes", "--file-size", UNIT_BYTES},
    {"limits.workspace_bytes", "--workspace", UNIT_BYTES},
    {"limits.tmp_bytes", "--tmp", UNIT_BYTES},
    {"limits.output_bytes", "--output-limit", UNIT_BYTES},
    {"timeout_ms", "--timeout", UNIT_MS},
    {"queue_timeout_ms", "--queue-timeout", UNIT_MS},
    {"retry_delay_ms", "--retry-delay", UNIT_MS},
    {"delay_ms", "--delay", UNIT_MS},
    {"grace_ms", "--grace", UNIT_MS},
    {"not_before_us", "--at", UNIT_NONE},
    {"lifetime_ms", "--expires", UNIT_MS},
    {"gpu_memory_bytes", "--gpu", UNIT_BYTES},
    {"gpus", "--gpu", UNIT_NONE},
    {"network", "--network", UNIT_NONE},
    {"priority", "--priority", UNIT_NONE},
    {"after", "--after", UNIT_NONE},
    {"task_type", "--type", UNIT_NONE},
    {"user_id", "--user", UNIT_NONE},
};

enum { MESSAGE_MAX = 64 << 10 };

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '.';
}

/* A name that is an English word as well is one only where the message begins, or what is said of one of several tasks. */
static const struct field *find(const char *word, size_t len, bool first)
{
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        const char *name = fields[i].name;
        if (strlen(name) == len && !memcmp(name, word, len) && (first || strpbrk(name, "_.")))
            return &fields[i];
    }
    return NULL;
}

/* With the largest unit that loses nothing. */
static void append_scaled(struct buf *out, uint64_t value, uint64_t step, const char *const units[])
{
    size_t i = 0;
    while (value > 0 && value % step == 0 && units[i + 1]) {
        value /= step;
        i++;
    }
    buf_printf(out, "%" PRIu64 "%s", value, units[i]);
}

static void append_value(struct buf *out, uint64_t value, enum unit unit)
{
    static const char *const bytes[] = {"", "K", "M", "G", "T", NULL}, *const times[] = {"us", "ms", "s", NULL};
    if (unit == UNIT_BYTES)
        append_scaled(out, value, 1024, bytes);
    else if (unit == UNIT_US || unit == UNIT_MS)
        append_scaled(out, value, 1000, unit == UNIT_US ? times : times + 1);
    else
        buf_printf(out, "%.12g", (double)value / 1000);
}

static void append_word(struct buf *out, const char *word, size_t len, bool first, enum unit *unit)
{
    char number[24];
    uint64_t value;
    const struct field *field = find(word, len, first);
    snprintf(number, sizeof number, "%.*s", (int)MIN(len, sizeof number - 1), word);
    if (field) {
        *unit = field->unit;
        buf_append_str(out, field->option);
    } else if (*unit && len < sizeof number && parse_u64(number, 0, UINT64_MAX, &value) == 0) {
        append_value(out, value, *unit);
    } else {
        buf_append(out, word, len);
    }
}

char *fields_to_options(const char *message)
{
    /* A field has a value for that; an option is left out. */
    static const char zero[] = ", or 0 for what the node gives";
    struct buf out CLEANUP_BUF = BUF_INIT(MESSAGE_MAX);
    enum unit unit = UNIT_NONE;
    for (const char *p = message; *p;) {
        size_t n = 0;
        while (is_word(p[n]))
            n++;
        if (n > 0) {
            bool first = p == message || (p - message > 2 && p[-2] == ':' && p[-1] == ' ');
            append_word(&out, p, n, first, &unit);
        } else if (!strncmp(p, zero, sizeof zero - 1)) {
            n = sizeof zero - 1;
        } else {
            buf_append(&out, p, n = 1);
        }
        p += n;
    }
    return buf_steal(&out, NULL);
}
