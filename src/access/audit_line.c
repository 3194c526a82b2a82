/* SPDX-License-Identifier: Apache-2.0 */
#include "access/audit_line.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include <sodium.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "base/util.h"

enum {
    TIME_LEN = 24, /* 2026-01-31T12:00:00.123Z */
    TEXTS_MAX =
        AUDIT_USER_MAX + AUDIT_TOKEN_MAX + AUDIT_FROM_MAX + AUDIT_ACTION_MAX + AUDIT_OBJECT_MAX + AUDIT_DETAIL_MAX,
    ESCAPE_LEN = 6,
    HEX_LEN = 2 * AUDIT_HASH_BYTES,
};
#define MS UINT64_C(1000)
#define TIME_MAX_US UINT64_C(253402300799999999) /* the last of the year 9999 */

_Static_assert(TEXTS_MAX *ESCAPE_LEN + 2 * HEX_LEN + 512 <= AUDIT_LINE_MAX, "the longest line fits");
_Static_assert(AUDIT_HASH_BYTES == crypto_hash_sha256_BYTES, "SHA-256");

static const char *const outcomes[] = {
#define X(name, text) [AUDIT_##name] = text,
    AUDIT_OUTCOMES(X)
#undef X
};

const char *audit_outcome_to_string(enum audit_outcome outcome)
{
    return outcome < AUDIT_OUTCOME_MAX ? outcomes[outcome] : "unknown";
}

int audit_outcome_from_string(const char *s, enum audit_outcome *ret)
{
    for (enum audit_outcome i = 0; i < AUDIT_OUTCOME_MAX; i++) {
        if (!strcmp(s, outcomes[i])) {
            *ret = i;
            return 0;
        }
    }
    return -EINVAL;
}

/* --- writing --- */

void audit_text(char *out, size_t max, const char *s)
{
    static const char replacement[] = "\xef\xbf\xbd";
    const uint8_t *p = (const uint8_t *)(s ? s : ""), *end = p + strnlen((const char *)p, 4 * max + 4);
    size_t len = 0;
    while (p < end) {
        uint32_t c;
        size_t n = text_decode_utf8(p, end, &c), wide = n;
        const void *from = p;
        if (n == 0) {
            from = replacement;
            wide = sizeof replacement - 1;
        } else if (text_is_control(c)) {
            from = " ";
            wide = 1;
        }
        if (len + wide > max)
            break;
        memcpy(out + len, from, wide);
        len += wide;
        p += n ? n : 1;
    }
    out[len] = '\0';
}

/* With milliseconds, which clock_format() has not. */
static void append_time(struct buf *out, uint64_t wall_us)
{
    char text[CLOCK_TEXT_MAX];
    if (wall_us == 0)
        (void)buf_append_str(out, "1970-01-01T00:00:00.000Z");
    else
        (void)buf_printf(out, "%.23sZ", clock_format(MIN(wall_us, TIME_MAX_US), text));
}

static void append_text(struct buf *out, const char *name, const char *s)
{
    (void)buf_printf(out, ",\"%s\":", name);
    (void)json_append_quoted(out, s);
}

static void append_hash(struct buf *out, const char *name, const uint8_t hash[AUDIT_HASH_BYTES])
{
    char hex[HEX_LEN + 1];
    text_hex(hash, AUDIT_HASH_BYTES, hex);
    (void)buf_printf(out, ",\"%s\":\"%s\"", name, hex);
}

int audit_line_append(struct buf *out, struct audit_entry *e)
{
    size_t begun = out->len;
    (void)buf_printf(out, "{\"seq\":%llu,\"time\":\"", (unsigned long long)e->seq);
    append_time(out, e->wall_us);
    (void)buf_append_str(out, "\"");
    append_text(out, "user", e->user);
    append_text(out, "token", e->token);
    append_text(out, "from", e->from);
    append_text(out, "action", e->action);
    append_text(out, "object", e->object);
    append_text(out, "outcome", audit_outcome_to_string(e->outcome));
    append_text(out, "detail", e->detail);
    append_hash(out, "prev", e->prev);
    if (out->error)
        return out->error;
    crypto_hash_sha256(e->hash, out->data + begun, out->len - begun);
    append_hash(out, "hash", e->hash);
    return buf_append_str(out, "}\n");
}

int audit_head_append(struct buf *out, const struct audit_head *head)
{
    (void)buf_printf(out, "{\"seq\":%llu", (unsigned long long)head->seq);
    append_hash(out, "hash", head->hash);
    return buf_append_str(out, "}\n");
}

/* --- reading --- */

struct parser {
    const char *p, *end;
    bool bad;
};

static void take(struct parser *in, const char *word)
{
    size_t len = strlen(word);
    if (in->bad || (size_t)(in->end - in->p) < len || memcmp(in->p, word, len) != 0)
        in->bad = true;
    else
        in->p += len;
}

/* No leading zeros: there is one way only to write a number. */
static uint64_t take_number(struct parser *in)
{
    uint64_t n = 0;
    const char *from = in->p;
    for (; !in->bad && in->p < in->end && *in->p >= '0' && *in->p <= '9'; in->p++) {
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, (uint64_t)(*in->p - '0'), &n))
            in->bad = true;
    }
    if (in->p == from || (*from == '0' && in->p > from + 1))
        in->bad = true;
    return n;
}

static unsigned digits(const char *s, size_t n, bool *bad)
{
    unsigned value = 0;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9')
            *bad = true;
        else
            value = value * 10 + (unsigned)(s[i] - '0');
    }
    return value;
}

/* What comes out is written again and compared, which refuses the 31st of April. */
static uint64_t take_time(struct parser *in)
{
    if (in->bad || in->end - in->p < TIME_LEN) {
        in->bad = true;
        return 0;
    }
    const char *s = in->p;
    bool bad = false;
    struct tm tm = {
        .tm_year = (int)digits(s, 4, &bad) - 1900,
        .tm_mon = (int)digits(s + 5, 2, &bad) - 1,
        .tm_mday = (int)digits(s + 8, 2, &bad),
        .tm_hour = (int)digits(s + 11, 2, &bad),
        .tm_min = (int)digits(s + 14, 2, &bad),
        .tm_sec = (int)digits(s + 17, 2, &bad),
    };
    unsigned ms = digits(s + 20, 3, &bad);
    if (bad || tm.tm_year < 70) {
        in->bad = true;
        return 0;
    }
    uint64_t us = (uint64_t)timegm(&tm) * 1000000 + ms * MS;
    CLEANUP_BUF struct buf again = BUF_INIT(CLOCK_TEXT_MAX);
    append_time(&again, us);
    if (again.error || again.len != TIME_LEN || memcmp(again.data, s, TIME_LEN) != 0)
        in->bad = true;
    in->p += TIME_LEN;
    return us;
}

/* Behind the quote that begins it, up to and with the one that ends it; `out` holds max + 1. */
static void take_text(struct parser *in, char *out, size_t max)
{
    size_t len = 0;
    while (!in->bad && in->p < in->end && *in->p != '"') {
        char c = *in->p++;
        if (c == '\\') {
            bool quote = in->end - in->p >= ESCAPE_LEN - 1 && in->p[3] == '2';
            take(in, quote ? "u0022" : "u005c");
            c = quote ? '"' : '\\';
        }
        if (len == max)
            in->bad = true;
        else
            out[len++] = c;
    }
    take(in, "\"");
    out[len] = '\0';
    if (!in->bad && (memchr(out, 0, len) || text_has_control(out, len)))
        in->bad = true;
}

static void take_member(struct parser *in, const char *name, char *out, size_t max)
{
    take(in, name);
    take_text(in, out, max);
}

static int nibble(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void take_hash(struct parser *in, uint8_t ret[AUDIT_HASH_BYTES])
{
    for (size_t i = 0; i < AUDIT_HASH_BYTES && !in->bad; i++, in->p += 2) {
        int high = in->end - in->p < 2 ? -1 : nibble(in->p[0]), low = high < 0 ? -1 : nibble(in->p[1]);
        if (low < 0)
            in->bad = true;
        else
            ret[i] = (uint8_t)(high << 4 | low);
        if (in->bad)
            break;
    }
    take(in, "\"");
}

enum audit_line_error audit_line_parse(const char *line, size_t len, struct audit_entry *e)
{
    struct parser in = {.p = line, .end = line + len, .bad = len == 0 || len >= AUDIT_LINE_MAX};
    char outcome[16];
    uint8_t hash[AUDIT_HASH_BYTES];
    if (in.bad)
        return AUDIT_LINE_SYNTAX;
    take(&in, "{\"seq\":");
    e->seq = take_number(&in);
    take(&in, ",\"time\":\"");
    e->wall_us = take_time(&in);
    take_member(&in, "\",\"user\":\"", e->user, AUDIT_USER_MAX);
    take_member(&in, ",\"token\":\"", e->token, AUDIT_TOKEN_MAX);
    take_member(&in, ",\"from\":\"", e->from, AUDIT_FROM_MAX);
    take_member(&in, ",\"action\":\"", e->action, AUDIT_ACTION_MAX);
    take_member(&in, ",\"object\":\"", e->object, AUDIT_OBJECT_MAX);
    take_member(&in, ",\"outcome\":\"", outcome, sizeof outcome - 1);
    take_member(&in, ",\"detail\":\"", e->detail, AUDIT_DETAIL_MAX);
    take(&in, ",\"prev\":\"");
    take_hash(&in, e->prev);
    const char *hashed_to = in.p;
    take(&in, ",\"hash\":\"");
    take_hash(&in, e->hash);
    take(&in, "}");
    if (in.bad || in.p != in.end || audit_outcome_from_string(outcome, &e->outcome) < 0)
        return AUDIT_LINE_SYNTAX;
    crypto_hash_sha256(hash, (const uint8_t *)line, (size_t)(hashed_to - line));
    return memcmp(hash, e->hash, sizeof hash) == 0 ? AUDIT_LINE_OK : AUDIT_LINE_HASH;
}

bool audit_head_parse(const char *data, size_t len, struct audit_head *ret)
{
    struct parser in = {.p = data, .end = data + len, .bad = len == 0};
    if (in.bad)
        return false;
    take(&in, "{\"seq\":");
    ret->seq = take_number(&in);
    take(&in, ",\"hash\":\"");
    take_hash(&in, ret->hash);
    take(&in, "}\n");
    return !in.bad && in.p == in.end;
}
