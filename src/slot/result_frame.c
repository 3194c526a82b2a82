/* SPDX-License-Identifier: Apache-2.0 */
#include "slot/result_frame.h"

#include <string.h>

#include "base/text.h"
#include "base/util.h"

const char *result_flaw_to_string(enum result_flaw flaw)
{
    static const char *const texts[] = {
        [RESULT_FINE] = "fine",
        [RESULT_BAD_FRAME] = "something else wrote to the result pipe",
        [RESULT_CUT] = "it was cut short",
        [RESULT_NOT_JSON] = "it is not JSON",
        [RESULT_NO_MEMORY] = "the node had no memory for it",
    };
    return (unsigned)flaw < ARRAY_LEN(texts) ? texts[flaw] : "?";
}

void result_reader_init(struct result_reader *r, size_t max_result)
{
    *r = (struct result_reader){0};
    buf_init(&r->result, max_result);
    buf_init(&r->error, RESULT_ERROR_MAX);
}

void result_reader_done(struct result_reader *r)
{
    buf_done(&r->result);
    buf_done(&r->error);
}

static void begin_frame(struct result_reader *r)
{
    struct cursor c = cursor_of(r->header, sizeof r->header);
    uint8_t type = 0;
    (void)cursor_u8(&c, &type);
    (void)cursor_u64le(&c, &r->left);
    bool *have = type == 'R' ? &r->have_result : type == 'E' ? &r->have_error : NULL;
    if (!have || *have) {
        r->flaw = RESULT_BAD_FRAME;
        return;
    }
    *have = true;
    if (type == 'R')
        r->too_large = r->left > r->result.max;
    if (r->left == 0)
        r->header_len = 0;
}

void result_reader_feed(struct result_reader *r, const void *data, size_t len)
{
    const uint8_t *p = data;
    while (len > 0 && !r->flaw) {
        if (r->header_len < sizeof r->header) {
            size_t n = MIN(len, sizeof r->header - r->header_len);
            memcpy(r->header + r->header_len, p, n);
            r->header_len += n;
            p += n;
            len -= n;
            if (r->header_len == sizeof r->header)
                begin_frame(r);
            continue;
        }
        size_t n = (size_t)MIN((uint64_t)len, r->left);
        bool result = r->header[0] == 'R';
        struct buf *to = result ? &r->result : &r->error;
        size_t keep = result && r->too_large ? 0 : MIN(n, to->max - to->len);
        if (buf_append(to, p, keep) < 0)
            r->flaw = RESULT_NO_MEMORY;
        p += n;
        len -= n;
        r->left -= n;
        if (r->left == 0)
            r->header_len = 0;
    }
}

void result_reader_finish(struct result_reader *r)
{
    if (!r->flaw && r->header_len > 0)
        r->flaw = RESULT_CUT;
    if (!r->flaw && r->have_result && !r->too_large && !json_is_valid(r->result.data, r->result.len))
        r->flaw = RESULT_NOT_JSON;
    if (r->flaw || r->too_large)
        buf_done(&r->result);
}

/* --- JSON: a checker without recursion, one bit of memory per level of nesting --- */

struct json {
    const uint8_t *p, *end;
    uint8_t in_object[RESULT_DEPTH_MAX / 8]; /* a bit per open level: object or array */
    size_t depth;
};

static void json_space(struct json *j)
{
    while (j->p < j->end && (*j->p == ' ' || *j->p == '\t' || *j->p == '\n' || *j->p == '\r'))
        j->p++;
}

static bool json_take(struct json *j, char c)
{
    if (j->p >= j->end || *j->p != (uint8_t)c)
        return false;
    j->p++;
    return true;
}

static bool json_word(struct json *j, const char *word)
{
    size_t len = strlen(word);
    if ((size_t)(j->end - j->p) < len || memcmp(j->p, word, len) != 0)
        return false;
    j->p += len;
    return true;
}

static bool json_digits(struct json *j)
{
    const uint8_t *from = j->p;
    while (j->p < j->end && *j->p >= '0' && *j->p <= '9')
        j->p++;
    return j->p > from;
}

static bool json_number(struct json *j)
{
    (void)json_take(j, '-');
    if (!json_take(j, '0') && !json_digits(j))
        return false;
    if (json_take(j, '.') && !json_digits(j))
        return false;
    if (json_take(j, 'e') || json_take(j, 'E')) {
        if (!json_take(j, '+'))
            (void)json_take(j, '-');
        return json_digits(j);
    }
    return true;
}

/* The bytes are known to be UTF-8. */
static bool json_string(struct json *j)
{
    if (!json_take(j, '"'))
        return false;
    while (j->p < j->end && *j->p != '"') {
        if (*j->p < 0x20)
            return false;
        if (*j->p++ != '\\')
            continue;
        if (j->p >= j->end || !strchr("\"\\/bfnrtu", *j->p) || *j->p == 0)
            return false;
        if (*j->p++ != 'u')
            continue;
        for (int i = 0; i < 4; i++, j->p++) {
            if (j->p >= j->end || !strchr("0123456789abcdefABCDEF", *j->p) || *j->p == 0)
                return false;
        }
    }
    return json_take(j, '"');
}

static bool json_open(struct json *j, bool object)
{
    if (j->depth == RESULT_DEPTH_MAX)
        return false;
    uint8_t bit = (uint8_t)(1u << j->depth % 8), *byte = &j->in_object[j->depth / 8];
    *byte = (uint8_t)(object ? *byte | bit : *byte & ~bit);
    j->depth++;
    j->p++;
    json_space(j);
    return true;
}

static bool json_inside_object(const struct json *j)
{
    return j->in_object[(j->depth - 1) / 8] >> (j->depth - 1) % 8 & 1;
}

static bool json_key(struct json *j)
{
    json_space(j);
    if (!json_string(j))
        return false;
    json_space(j);
    return json_take(j, ':');
}

/* One scalar, or the opening of a container; *ret_value is false where a member has to follow. */
static bool json_value(struct json *j, bool *ret_value)
{
    *ret_value = true;
    json_space(j);
    if (j->p >= j->end)
        return false;
    switch (*j->p) {
    case '{':
    case '[': {
        bool object = *j->p == '{';
        if (!json_open(j, object))
            return false;
        if (json_take(j, object ? '}' : ']')) {
            j->depth--;
            return true;
        }
        *ret_value = false;
        return !object || json_key(j);
    }
    case '"':
        return json_string(j);
    case 't':
        return json_word(j, "true");
    case 'f':
        return json_word(j, "false");
    case 'n':
        return json_word(j, "null");
    default:
        return json_number(j);
    }
}

bool json_is_valid(const void *data, size_t len)
{
    if (len == 0 || !text_is_utf8(data, len))
        return false;
    struct json j = {.p = data, .end = (const uint8_t *)data + len};
    for (;;) {
        bool value;
        if (!json_value(&j, &value))
            return false;
        if (!value)
            continue;
        /* A value is complete: close what closes behind it, until a comma asks for the next. */
        for (;;) {
            json_space(&j);
            if (j.depth == 0)
                return j.p == j.end;
            bool object = json_inside_object(&j);
            if (json_take(&j, ',')) {
                if (object && !json_key(&j))
                    return false;
                break;
            }
            if (!json_take(&j, object ? '}' : ']'))
                return false;
            j.depth--;
        }
    }
}
