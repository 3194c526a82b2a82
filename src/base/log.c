/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/text.h"

static struct {
    atomic_int level;
    pthread_mutex_t lock;
    int fd;                 /* under lock, like all below */
    enum log_format format; /* never AUTO once output was set or a line written */
    bool color;
    log_handler handler;
    void *handler_ctx;
    struct log_entry ring[LOG_RING_MAX];
    size_t count;
    uint64_t last_number;
} state = {.level = LOG_INFO, .lock = PTHREAD_MUTEX_INITIALIZER, .fd = STDERR_FILENO};

static const char *const level_names[] = {
#define X(name, text) [LOG_##name] = text,
    LOG_LEVELS(X)
#undef X
};

const char *log_level_to_string(enum log_level level)
{
    return level >= 0 && level < LOG_LEVEL_MAX ? level_names[level] : "?";
}

int log_level_from_string(const char *s, enum log_level *ret)
{
    for (int i = 0; i < LOG_LEVEL_MAX; i++) {
        if (!strcasecmp(s, level_names[i])) {
            *ret = (enum log_level)i;
            return 0;
        }
    }
    return -EINVAL;
}

void log_set_level(enum log_level level)
{
    atomic_store(&state.level, level);
}

enum log_level log_get_level(void)
{
    return (enum log_level)atomic_load_explicit(&state.level, memory_order_relaxed);
}

static void settle_format(void)
{
    bool tty = isatty(state.fd);
    if (state.format == LOG_FORMAT_AUTO)
        state.format = tty ? LOG_FORMAT_TEXT : LOG_FORMAT_JSON;
    const char *no_color = getenv("NO_COLOR");
    state.color = tty && !(no_color && *no_color);
}

void log_set_output(int fd, enum log_format format)
{
    pthread_mutex_lock(&state.lock);
    state.fd = fd;
    state.format = format;
    settle_format();
    pthread_mutex_unlock(&state.lock);
}

void log_set_handler(log_handler handler, void *ctx)
{
    pthread_mutex_lock(&state.lock);
    state.handler = handler;
    state.handler_ctx = ctx;
    pthread_mutex_unlock(&state.lock);
}

static void append_json_string(struct buf *out, const char *s)
{
    buf_append_u8(out, '"');
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else if (c < 0x20)
            buf_printf(out, "\\u%04x", c);
        else
            buf_append_u8(out, c);
    }
    buf_append_u8(out, '"');
}

static void format_line(struct buf *out, const struct log_entry *e)
{
    char when[CLOCK_TEXT_MAX];
    clock_format(e->wall_us, when);
    if (state.format == LOG_FORMAT_JSON) {
        buf_printf(out, "{\"time\":\"%s\",\"level\":\"%s\",\"message\":", when, level_names[e->level]);
        append_json_string(out, e->message);
        buf_append_str(out, "}\n");
        return;
    }
    static const char *const colors[] = {
        [LOG_ERROR] = "\033[31m", [LOG_WARNING] = "\033[33m", [LOG_INFO] = "", [LOG_DEBUG] = "\033[2m"};
    const char *on = state.color ? colors[e->level] : "", *off = state.color && *on ? "\033[0m" : "";
    buf_printf(out, "%s%.23sZ %-7s %s%s\n", on, when, level_names[e->level], e->message, off);
}

static void output_line(const struct log_entry *entry)
{
    CLEANUP_BUF struct buf line = BUF_INIT(16 * LOG_MESSAGE_MAX);
    if (state.format == LOG_FORMAT_AUTO)
        settle_format();
    format_line(&line, entry);
    (void)fd_write_all(state.fd, line.data, line.len); /* a log that cannot be written has nowhere to say so */
}

/* Takes the entry's message over. */
static void ring_add(struct log_entry entry)
{
    if (state.count == LOG_RING_MAX) {
        size_t drop = LOG_RING_MAX - LOG_RING_KEEP;
        for (size_t i = 0; i < drop; i++)
            free(state.ring[i].message);
        memmove(state.ring, state.ring + drop, LOG_RING_KEEP * sizeof *state.ring);
        state.count = LOG_RING_KEEP;
    }
    state.ring[state.count++] = entry;
}

void log_write(enum log_level level, const char *fmt, ...)
{
    if (level > log_get_level())
        return;
    char raw[LOG_MESSAGE_MAX + 8]; /* longer than what is kept, so that the cut below sees where a character ends */
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(raw, sizeof raw, fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    struct log_entry entry = {.wall_us = clock_wall_us(), .level = level};
    entry.message = text_line(raw, strlen(raw), LOG_MESSAGE_MAX);
    if (!entry.message)
        return;

    CLEANUP_FREE char *message = NULL; /* for the handler, which is called without the lock */
    pthread_mutex_lock(&state.lock);
    entry.number = ++state.last_number;
    log_handler handler = state.handler;
    void *ctx = state.handler_ctx;
    if (handler)
        message = strdup(entry.message);
    else
        output_line(&entry);
    ring_add(entry);
    pthread_mutex_unlock(&state.lock);
    if (message)
        handler(level, message, ctx);
}

ptrdiff_t log_recent(size_t max, struct log_entry **ret)
{
    pthread_mutex_lock(&state.lock);
    size_t n = MIN(max, state.count);
    struct log_entry *copy = calloc(n ? n : 1, sizeof *copy);
    for (size_t i = 0; copy && i < n; i++) {
        copy[i] = state.ring[state.count - n + i];
        copy[i].message = strdup(copy[i].message);
        if (!copy[i].message) {
            log_entries_free(copy, i);
            copy = NULL;
        }
    }
    pthread_mutex_unlock(&state.lock);
    if (!copy)
        return -ENOMEM;
    *ret = copy;
    return (ptrdiff_t)n;
}

void log_entries_free(struct log_entry *entries, size_t n)
{
    for (size_t i = 0; entries && i < n; i++)
        free(entries[i].message);
    free(entries);
}

void log_done(void)
{
    pthread_mutex_lock(&state.lock);
    for (size_t i = 0; i < state.count; i++)
        free(state.ring[i].message);
    state.count = 0;
    pthread_mutex_unlock(&state.lock);
}
