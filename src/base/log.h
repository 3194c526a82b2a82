/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log of a program: one line an entry to stderr, as text on a terminal (coloured unless NO_COLOR is set) and as one
 * JSON object a line elsewhere, and the newest entries kept in memory. Every function may be called from any thread.
 *
 * The level and the format are the only globals of this project.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

#define LOG_LEVELS(X)     \
    X(ERROR, "error")     \
    X(WARNING, "warning") \
    X(INFO, "info")       \
    X(DEBUG, "debug")

enum log_level {
#define X(name, text) LOG_##name,
    LOG_LEVELS(X)
#undef X
        LOG_LEVEL_MAX
};

enum log_format {
    LOG_FORMAT_AUTO, /* text on a terminal, else JSON */
    LOG_FORMAT_TEXT,
    LOG_FORMAT_JSON,
};

/* What the ring keeps: when it holds LOG_RING_MAX entries it is cut to the newest LOG_RING_KEEP. */
enum { LOG_RING_MAX = 1000, LOG_RING_KEEP = 500, LOG_MESSAGE_MAX = 1000 };

struct log_entry {
    uint64_t number; /* 1, 2, ... since the start of the program */
    uint64_t wall_us;
    enum log_level level;
    char *message;
};

void log_set_level(enum log_level level);
enum log_level log_get_level(void);
/* fd: where lines go; it stays the caller's. Default: 2, LOG_FORMAT_AUTO. */
void log_set_output(int fd, enum log_format format);

/*
 * Entries go to the handler instead of the output (and still into the ring); NULL: back to the output. The handler may be
 * called from any thread, several at once, and must not log.
 */
typedef void (*log_handler)(enum log_level level, const char *message, void *ctx);
void log_set_handler(log_handler handler, void *ctx);

/* Control characters in the message are made harmless; longer than LOG_MESSAGE_MAX is cut. */
void log_write(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_WARNING, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...)                         \
    do {                                       \
        if (log_get_level() >= LOG_DEBUG)      \
            log_write(LOG_DEBUG, __VA_ARGS__); \
    } while (0)

/* A copy of the newest entries, at most max, oldest first; free with log_entries_free. Returns how many, or -ENOMEM. */
ptrdiff_t log_recent(size_t max, struct log_entry **ret);
void log_entries_free(struct log_entry *entries, size_t n);
/* Forgets the ring (for a clean exit). */
void log_done(void);

const char *log_level_to_string(enum log_level level);
int log_level_from_string(const char *s, enum log_level *ret); /* 0 or -EINVAL */

#endif
