/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include <string.h>

#include "base/text.h"
#include "base/util.h"

/* --- a checker without recursion, one bit of memory per level of nesting --- */

struct json {
    const uint8_t *p, *end;
    uint8_t in_object[JSON_TEXT_DEPTH_MAX / 8]; /* a bit per open level: object or array */
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
    if (j->depth == JSON_TEXT_DEPTH_MAX)
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

/* --- the parts of what is known to be valid --- */

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip(struct json_walk *w, char also)
{
    while (w->p < w->end && (is_space(*w->p) || *w->p == also))
        w->p++;
}

static void skip_string(struct json_walk *w)
{
    for (w->p++; *w->p != '"'; w->p++)
        w->p += *w->p == '\\';
    w->p++;
}

static void skip_scalar(struct json_walk *w)
{
    while (w->p < w->end && !is_space(*w->p) && !strchr(",]}", *w->p))
        w->p++;
}

static struct json_slice take_value(struct json_walk *w)
{
    const char *from = w->p;
    size_t depth = 0;
    do {
        char c = *w->p;
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
        if (c == '"')
            skip_string(w);
        else if (depth == 0 && c != '}' && c != ']')
            skip_scalar(w);
        else
            w->p++;
    } while (depth > 0);
    return (struct json_slice){.text = from, .len = (size_t)(w->p - from)};
}

bool json_walk_object(const void *data, size_t len, struct json_walk *ret)
{
    *ret = (struct json_walk){.p = data, .end = (const char *)data + len};
    if (!json_is_valid(data, len))
        return false;
    skip(ret, ' ');
    if (*ret->p != '{')
        return false;
    ret->p++;
    return true;
}

bool json_walk_next(struct json_walk *w, struct json_slice *ret_name, struct json_slice *ret_value)
{
    skip(w, ',');
    if (*w->p == '}')
        return false;
    *ret_name = take_value(w);
    skip(w, ':');
    *ret_value = take_value(w);
    return true;
}

/* --- writing --- */

int json_append_quoted(struct buf *out, const char *s)
{
    buf_append_str(out, "\"");
    while (*s) {
        size_t n = 0;
        while ((unsigned char)s[n] >= ' ' && s[n] != '"' && s[n] != '\\')
            n++;
        buf_append(out, s, n);
        s += n;
        if (*s)
            buf_printf(out, "\\u%04x", (unsigned char)*s++);
    }
    return buf_append_str(out, "\"");
}
