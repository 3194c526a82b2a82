/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { BUF_FIRST_CAP = 256 };

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void buf_done(struct buf *b)
{
    free(b->data);
    *b = (struct buf){.max = b->max};
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->error = 0;
}

uint8_t *buf_reserve(struct buf *b, size_t more)
{
    if (b->error)
        return NULL;
    if (more > b->max || b->len > b->max - more) {
        b->error = -E2BIG;
        return NULL;
    }
    size_t need = b->len + more;
    if (need > b->cap || !b->data) {
        size_t cap = MAX(b->cap, (size_t)BUF_FIRST_CAP);
        while (cap < need)
            cap = cap > SIZE_MAX / 2 ? need : cap * 2;
        cap = MAX(MIN(cap, b->max), need);
        uint8_t *data = realloc(b->data, cap ? cap : 1);
        if (!data) {
            b->error = -ENOMEM;
            return NULL;
        }
        b->data = data;
        b->cap = cap;
    }
    return b->data + b->len;
}

int buf_append(struct buf *b, const void *data, size_t len)
{
    uint8_t *to = buf_reserve(b, len);
    if (!to)
        return b->error;
    if (len)
        memcpy(to, data, len);
    b->len += len;
    return 0;
}

int buf_append_str(struct buf *b, const char *s)
{
    return buf_append(b, s, strlen(s));
}

int buf_append_u8(struct buf *b, uint8_t v)
{
    return buf_append(b, &v, 1);
}

int buf_append_u32le(struct buf *b, uint32_t v)
{
    uint8_t raw[4];
    for (size_t i = 0; i < sizeof raw; i++)
        raw[i] = (uint8_t)(v >> (8 * i));
    return buf_append(b, raw, sizeof raw);
}

int buf_append_u64le(struct buf *b, uint64_t v)
{
    uint8_t raw[8];
    for (size_t i = 0; i < sizeof raw; i++)
        raw[i] = (uint8_t)(v >> (8 * i));
    return buf_append(b, raw, sizeof raw);
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    CLEANUP_FREE char *text = NULL;
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0) {
        text = NULL;
        b->error = b->error ? b->error : -ENOMEM;
        return b->error;
    }
    return buf_append(b, text, (size_t)n);
}

void buf_consume(struct buf *b, size_t n)
{
    n = MIN(n, b->len);
    b->len -= n;
    if (b->len)
        memmove(b->data, b->data + n, b->len);
}

char *buf_steal(struct buf *b, size_t *ret_len)
{
    char *data = realloc(b->data, b->len + 1);
    if (!data)
        return NULL;
    data[b->len] = '\0';
    if (ret_len)
        *ret_len = b->len;
    *b = (struct buf){.max = b->max};
    return data;
}

bool cursor_bytes(struct cursor *c, size_t len, const uint8_t **ret)
{
    if (c->bad || len > c->left) {
        c->bad = true;
        return false;
    }
    *ret = c->data;
    if (len) /* the data of an empty cursor may be NULL */
        c->data += len;
    c->left -= len;
    return true;
}

bool cursor_u8(struct cursor *c, uint8_t *ret)
{
    const uint8_t *raw;
    if (!cursor_bytes(c, 1, &raw))
        return false;
    *ret = *raw;
    return true;
}

bool cursor_u32le(struct cursor *c, uint32_t *ret)
{
    const uint8_t *raw;
    if (!cursor_bytes(c, 4, &raw))
        return false;
    *ret = (uint32_t)raw[0] | (uint32_t)raw[1] << 8 | (uint32_t)raw[2] << 16 | (uint32_t)raw[3] << 24;
    return true;
}

bool cursor_u64le(struct cursor *c, uint64_t *ret)
{
    struct cursor probe = *c;
    uint32_t low, high;
    if (!cursor_u32le(&probe, &low) || !cursor_u32le(&probe, &high)) {
        c->bad = true;
        return false;
    }
    *c = probe;
    *ret = (uint64_t)high << 32 | low;
    return true;
}
