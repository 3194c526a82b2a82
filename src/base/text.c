/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include <string.h>

#include "base/buf.h"
#include "base/util.h"

size_t text_decode_utf8(const uint8_t *s, const uint8_t *end, uint32_t *ret)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (s >= end)
        return 0;
    size_t n = *s < 0x80          ? 1
        : *s >= 0xc2 && *s < 0xe0 ? 2
        : *s >= 0xe0 && *s < 0xf0 ? 3
        : *s >= 0xf0 && *s < 0xf5 ? 4
                                  : 0;
    if (n == 0 || (size_t)(end - s) < n)
        return 0;
    uint32_t c = n == 1 ? *s : *s & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3f);
    }
    if (c < smallest[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    *ret = c;
    return n;
}

bool text_is_utf8(const void *data, size_t len)
{
    if (len == 0)
        return true; /* data may be NULL then */
    const uint8_t *s = data, *end = s + len;
    while (s < end) {
        uint32_t c;
        size_t n = text_decode_utf8(s, end, &c);
        if (!n)
            return false;
        s += n;
    }
    return true;
}

bool text_is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad || c == 0x61c || c == 0x180e ||
        (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
        (c >= 0xfff9 && c <= 0xfffb) || (c >= 0xe0000 && c <= 0xe007f);
}

char *text_printable(const void *data, size_t len, size_t max, bool keep_end)
{
    static const uint8_t nothing[1];
    const uint8_t *s = len ? data : nothing, *end = s + len;
    if (len > max) {
        /* Do not begin or end within a character; one has at most three bytes behind its first. */
        if (keep_end) {
            s = end - max;
            for (int i = 0; i < 3 && s < end && (*s & 0xc0) == 0x80; i++)
                s++;
        } else {
            end = s + max;
            for (int i = 0; i < 3 && end > s && (*end & 0xc0) == 0x80; i++)
                end--;
        }
    }
    CLEANUP_BUF struct buf out = BUF_INIT(SIZE_MAX / 2);
    while (s < end) {
        uint32_t c;
        size_t n = text_decode_utf8(s, end, &c);
        if (!n)
            buf_append_str(&out, "\xef\xbf\xbd");
        else if (text_is_control(c) && c != '\n' && c != '\t')
            buf_append_u8(&out, ' ');
        else
            buf_append(&out, s, n);
        s += n ? n : 1;
    }
    return out.error ? NULL : buf_steal(&out, NULL);
}

char *text_line(const void *data, size_t len, size_t max)
{
    char *line = text_printable(data, len, max, false);
    for (char *p = line; p && *p; p++) {
        if (*p == '\n' || *p == '\t')
            *p = ' ';
    }
    return line;
}

char *text_dup(const void *data, size_t len)
{
    char *s = malloc(len + 1);
    if (!s)
        return NULL;
    if (len)
        memcpy(s, data, len);
    s[len] = '\0';
    return s;
}

void text_hex(const void *data, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *s = data;
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[s[i] >> 4];
        out[2 * i + 1] = digits[s[i] & 15];
    }
    out[2 * len] = '\0';
}

bool text_has_control(const char *s, size_t len)
{
    const uint8_t *p = (const uint8_t *)s, *end = p + len;
    while (p < end) {
        uint32_t c;
        size_t n = text_decode_utf8(p, end, &c);
        if (n == 0 || text_is_control(c))
            return true;
        p += n;
    }
    return false;
}
