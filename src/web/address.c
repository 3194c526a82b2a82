/* SPDX-License-Identifier: Apache-2.0 */
#include "web/address.h"

#include <errno.h>
#include <string.h>

#include "base/parse.h"
#include "base/text.h"
#include "base/util.h"

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0'
        : c >= 'a' && c <= 'f'  ? c - 'a' + 10
        : c >= 'A' && c <= 'F'  ? c - 'A' + 10
                                : -1;
}

bool address_decode(const char *s, size_t len, char *out, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        int c = (unsigned char)s[i];
        if (c == '%') {
            int high = len - i > 2 ? hex(s[i + 1]) : -1, low = len - i > 2 ? hex(s[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = high * 16 + low;
            i += 2;
        }
        if (c == 0 || n + 1 >= size)
            return false;
        out[n++] = (char)c;
    }
    out[n] = '\0';
    return text_is_utf8(out, n);
}

bool address_fits(const char *pattern, const char *path, char *segment, size_t size)
{
    const char *star = strchr(pattern, '*');
    *segment = '\0';
    if (!star)
        return !strcmp(path, pattern);
    size_t before = (size_t)(star - pattern);
    if (strncmp(path, pattern, before) != 0)
        return false;
    size_t len = strcspn(path + before, "/");
    return len && !strcmp(path + before + len, star + 1) && address_decode(path + before, len, segment, size);
}

int address_range(const char *text, uint64_t size, uint64_t *ret_from, uint64_t *ret_len)
{
    char first[24] = "";
    uint64_t from = 0, to = UINT64_MAX;
    if (strncmp(text, "bytes=", 6) != 0)
        return -EINVAL;
    text += 6;
    size_t n = strcspn(text, "-");
    if (text[n] != '-' || n >= sizeof first)
        return -EINVAL;
    memcpy(first, text, n);
    const char *last = text + n + 1;
    if ((*last && parse_u64(last, 0, UINT64_MAX, &to) < 0) || (n && parse_u64(first, 0, UINT64_MAX, &from) < 0) ||
        (!n && !*last) || from > to)
        return -EINVAL;
    if (!n) { /* so many at the end */
        from = size - MIN(to, size);
        to = UINT64_MAX;
    }
    if (from >= size)
        return -ERANGE;
    *ret_from = from;
    *ret_len = MIN(to, size - 1) - from + 1;
    return 0;
}
