/* SPDX-License-Identifier: Apache-2.0 */
#include "web/address.h"

#include <string.h>

#include "base/text.h"

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
