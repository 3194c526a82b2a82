/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing byte buffer with an upper bound, and a checked reader over bytes. Untrusted bytes go through these two and
 * nothing else.
 *
 * Writers return 0, -ENOMEM, or -E2BIG when the bound would be passed; a buffer that failed once keeps failing
 * (`buf->error`), so that a run of appends needs one check at its end. What was written before stays readable.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

struct buf {
    uint8_t *data;
    size_t len;
    size_t cap;
    size_t max; /* bytes; never more than this is held */
    int error;  /* 0, -ENOMEM or -E2BIG */
};

#define BUF_INIT(limit)              \
    {                                \
        .data = NULL, .max = (limit) \
    }

void buf_init(struct buf *b, size_t max);
/* Frees the bytes; the buffer is empty and usable again with the same bound. */
void buf_done(struct buf *b);
#define CLEANUP_BUF CLEANUP(buf_done)
/* Empties it and clears the error, keeps the memory. */
void buf_reset(struct buf *b);
/* Room for `more` bytes behind len; NULL on failure. Write there, then add to len what was written. */
uint8_t *buf_reserve(struct buf *b, size_t more);
int buf_append(struct buf *b, const void *data, size_t len);
int buf_append_str(struct buf *b, const char *s);
int buf_append_u8(struct buf *b, uint8_t v);
int buf_append_u32le(struct buf *b, uint32_t v);
int buf_append_u64le(struct buf *b, uint64_t v);
int buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Drops the first n bytes (n <= len). */
void buf_consume(struct buf *b, size_t n);
/* Hands the bytes to the caller (free them), NUL-terminated beyond len; the buffer is empty afterwards. NULL: no memory. */
char *buf_steal(struct buf *b, size_t *ret_len);

/* Reading: each getter returns true and moves on, or returns false, moves nothing and sets `bad` for good. */
struct cursor {
    const uint8_t *data;
    size_t left;
    bool bad;
};

static inline struct cursor cursor_of(const void *data, size_t len)
{
    return (struct cursor){.data = data, .left = len};
}
bool cursor_u8(struct cursor *c, uint8_t *ret);
bool cursor_u32le(struct cursor *c, uint32_t *ret);
bool cursor_u64le(struct cursor *c, uint64_t *ret);
/* Points *ret into the bytes; nothing is copied. */
bool cursor_bytes(struct cursor *c, size_t len, const uint8_t **ret);

#endif
