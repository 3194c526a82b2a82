/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/status.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <nghttp2/nghttp2.h>

#include "base/parse.h"
#include "base/text.h"
#include "base/util.h"

static bool stands_for_itself(uint8_t c)
{
    return c >= 0x20 && c <= 0x7e && c != '%';
}

/* Encodes one character of `n` bytes at `out`; returns the length, 0 if there is no room for all of
 * it. */
static size_t encode_one(const uint8_t *s, size_t n, char *out, size_t room)
{
    static const char digits[] = "0123456789ABCDEF";
    if (n == 1 && stands_for_itself(*s)) {
        if (room < 1)
            return 0;
        *out = (char)*s;
        return 1;
    }
    if (room < 3 * n)
        return 0;
    for (size_t i = 0; i < n; i++) {
        *out++ = '%';
        *out++ = digits[s[i] >> 4];
        *out++ = digits[s[i] & 15];
    }
    return 3 * n;
}

size_t status_encode_message(const char *message, char out[STATUS_MESSAGE_MAX + 1])
{
    static const uint8_t replacement[] = {0xef, 0xbf, 0xbd};
    const uint8_t *s = (const uint8_t *)(message ? message : ""), *end = s + strlen((const char *)s);
    size_t len = 0;
    while (s < end) {
        uint32_t c;
        size_t n = text_decode_utf8(s, end, &c);
        const uint8_t *from = n ? s : replacement;
        size_t wrote = encode_one(from, n ? n : sizeof replacement, out + len, STATUS_MESSAGE_MAX - len);
        if (!wrote)
            break;
        len += wrote;
        s += n ? n : 1;
    }
    out[len] = '\0';
    return len;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

void status_decode_message(const char *encoded, size_t len, char *out, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < len && n + 1 < max; i++) {
        int high = encoded[i] == '%' && len - i > 2 ? hex_digit(encoded[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(encoded[i + 2]) : -1;
        char c = encoded[i];
        if (low >= 0) {
            c = (char)(high << 4 | low);
            i += 2;
        }
        out[n++] = c ? c : ' ';
    }
    if (max)
        out[n] = '\0';
}

const char *status_code_text(enum tw_code code)
{
    switch (code) {
#define X(name, number) \
    case TW_##name:     \
        return #number;
        TW_CODES(X)
#undef X
    case TW_CODE_MAX:
        break;
    }
    return "2";
}

enum tw_code status_code_parse(const char *text)
{
    uint64_t v;
    return parse_u64(text, 0, TW_CODE_MAX - 1, &v) == 0 ? (enum tw_code)v : TW_UNKNOWN;
}

enum tw_code status_of_http(unsigned http_status)
{
    switch (http_status) {
    case 400:
        return TW_INTERNAL;
    case 401:
        return TW_UNAUTHENTICATED;
    case 403:
        return TW_PERMISSION_DENIED;
    case 404:
        return TW_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return TW_UNAVAILABLE;
    default:
        return TW_UNKNOWN;
    }
}

enum tw_code status_of_reset(uint32_t http2_error)
{
    switch (http2_error) {
    case NGHTTP2_REFUSED_STREAM:
        return TW_UNAVAILABLE;
    case NGHTTP2_CANCEL:
        return TW_CANCELLED;
    case NGHTTP2_ENHANCE_YOUR_CALM:
        return TW_RESOURCE_EXHAUSTED;
    case NGHTTP2_INADEQUATE_SECURITY:
        return TW_PERMISSION_DENIED;
    default:
        return TW_INTERNAL;
    }
}

/* From the finest to the coarsest; `us` is 0 for the one that is finer than we count. */
static const struct {
    char name;
    uint64_t us;
} timeout_units[] = {{'n', 0}, {'u', 1}, {'m', 1000}, {'S', 1000000}, {'M', 60000000ull}, {'H', 3600000000ull}};

int timeout_parse(const char *text, uint64_t *ret_us)
{
    uint64_t v = 0;
    size_t n = 0;
    for (; text[n] >= '0' && text[n] <= '9'; n++) {
        if (n == 8)
            return -EINVAL;
        v = v * 10 + (uint64_t)(text[n] - '0');
    }
    if (n == 0 || !text[n] || text[n + 1])
        return -EINVAL;
    for (size_t i = 0; i < ARRAY_LEN(timeout_units); i++) {
        if (timeout_units[i].name != text[n])
            continue;
        *ret_us = timeout_units[i].us ? v * timeout_units[i].us : v / 1000;
        return 0;
    }
    return -EINVAL;
}

const char *timeout_format(uint64_t us, char out[TIMEOUT_TEXT_MAX])
{
    static const uint64_t most = 99999999;
    for (size_t i = 1; i < ARRAY_LEN(timeout_units); i++) {
        uint64_t unit = timeout_units[i].us, v = us / unit + (us % unit != 0);
        if (v > most && i + 1 < ARRAY_LEN(timeout_units))
            continue;
        snprintf(out, TIMEOUT_TEXT_MAX, "%u%c", (unsigned)MIN(v, most), timeout_units[i].name);
        break;
    }
    return out;
}
