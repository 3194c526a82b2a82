/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two loops of the same form, one over the parts of a path and one over the characters of a part: at a star the place is
 * remembered, and where what follows does not fit, the last star takes one more. To go back to an earlier star could not help.
 */
#include "base/glob.h"

#include <stddef.h>
#include <string.h>

#include "base/text.h"

struct part {
    const char *at;
    size_t len;
};

static struct part part_at(const char *s)
{
    return (struct part){s, strcspn(s, "/")};
}

static const char *behind(struct part part)
{
    return part.at + part.len + (part.at[part.len] == '/');
}

static bool is_deep(struct part part)
{
    return part.len == 2 && part.at[0] == '*' && part.at[1] == '*';
}

/* Bytes of the character that begins here; what is no UTF-8 is one byte each. */
static size_t char_len(const char *s, const char *end)
{
    unsigned char c = (unsigned char)*s;
    size_t n = c < 0xc0 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    if (n > (size_t)(end - s))
        return 1;
    for (size_t i = 1; i < n; i++) {
        if (((unsigned char)s[i] & 0xc0) != 0x80)
            return 1;
    }
    return n;
}

static int compare(const char *a, size_t a_len, const char *b, size_t b_len)
{
    int r = memcmp(a, b, a_len < b_len ? a_len : b_len); /* bytes of UTF-8 are in the order of the characters */
    return r ? r : a_len < b_len ? -1 : a_len > b_len;
}

/* The end of the set that begins at s with '[', behind its ']'; NULL: it has none. */
static const char *set_end(const char *s, const char *end)
{
    s++;
    if (s < end && (*s == '!' || *s == '^'))
        s++;
    if (s < end && *s == ']') /* as the first it is one of the set */
        s++;
    for (; s < end && *s != ']'; s++) {
        if (*s == '\\' && ++s == end)
            return NULL;
    }
    return s < end ? s + 1 : NULL;
}

/* A member of a set, behind which *s is moved. */
static struct part take_member(const char **s, const char *end)
{
    if (**s == '\\' && *s + 1 < end)
        (*s)++;
    struct part c = {*s, char_len(*s, end)};
    *s += c.len;
    return c;
}

/* Whether c is in the set from s to `end`, which is behind its ']'. */
static bool in_set(const char *s, const char *end, const char *c, size_t len)
{
    bool found = false, inverted = s[1] == '!' || s[1] == '^';
    s += 1 + inverted;
    end--;
    while (s < end) {
        struct part low = take_member(&s, end), high = low;
        if (s + 1 < end && *s == '-') {
            s++;
            high = take_member(&s, end);
        }
        found |= compare(low.at, low.len, c, len) <= 0 && compare(c, len, high.at, high.len) <= 0;
    }
    return found != inverted;
}

/* Whether the pattern's first character, which is no star, is for the text's; moves both behind it. */
static bool take_char(const char **pattern, const char *pattern_end, const char **text, const char *text_end)
{
    const char *p = *pattern, *t = *text;
    size_t len = char_len(t, text_end), n;
    const char *end = *p == '[' ? set_end(p, pattern_end) : NULL;
    if (end) {
        if (!in_set(p, end, t, len))
            return false;
        *pattern = end;
        *text += len;
        return true;
    }
    if (*p == '?') {
        *pattern += 1;
        *text += len;
        return true;
    }
    if (*p == '\\' && p + 1 < pattern_end)
        p++;
    n = char_len(p, pattern_end);
    if (compare(p, n, t, len) != 0)
        return false;
    *pattern = p + n;
    *text += len;
    return true;
}

static bool part_matches(struct part pattern, struct part text)
{
    const char *p = pattern.at, *p_end = p + pattern.len, *t = text.at, *t_end = t + text.len;
    const char *star = NULL, *from = NULL;
    while (t < t_end) {
        if (p < p_end && *p == '*') {
            star = ++p;
            from = t;
        } else if (p < p_end && take_char(&p, p_end, &t, t_end)) {
            continue;
        } else if (star) {
            p = star;
            t = from += char_len(from, t_end);
        } else {
            return false;
        }
    }
    while (p < p_end && *p == '*')
        p++;
    return p == p_end;
}

bool glob_covers(const char *pattern, const char *path)
{
    const char *deep = NULL, *from = NULL;
    while (*path) {
        struct part p = part_at(pattern), t = part_at(path);
        if (*pattern == '\0')
            return true; /* the rest lies below what matched */
        if (is_deep(p)) {
            deep = pattern = behind(p);
            from = path;
            if (*deep == '\0')
                return true;
        } else if (part_matches(p, t)) {
            pattern = behind(p);
            path = behind(t);
        } else if (deep) {
            pattern = deep;
            path = from = behind(part_at(from));
        } else {
            return false;
        }
    }
    while (*pattern && is_deep(part_at(pattern)))
        pattern = behind(part_at(pattern));
    return *pattern == '\0';
}

static const char *part_flaw(struct part part)
{
    if (part.len == 0)
        return "has an empty part";
    if (part.len > 255)
        return "has a part of more than 255 bytes";
    if ((part.len == 1 && part.at[0] == '.') || (part.len == 2 && !memcmp(part.at, "..", 2)))
        return "has a part that is . or ..";
    for (size_t i = 0; i < part.len; i++) {
        const char *c = part.at + i;
        if (*c == '[' && !set_end(c, part.at + part.len))
            return "has a [ without its ]";
        if (*c == '[')
            i = (size_t)(set_end(c, part.at + part.len) - part.at) - 1;
        else if (*c == '\\' && ++i == part.len)
            return "ends a part with a backslash";
    }
    return NULL;
}

const char *glob_flaw(const char *pattern)
{
    if (*pattern == '\0')
        return "is empty";
    if (*pattern == '/')
        return "begins with a slash";
    if (text_has_control(pattern, strlen(pattern)))
        return "is not UTF-8 without control characters";
    for (;;) {
        struct part part = part_at(pattern);
        const char *flaw = part_flaw(part);
        if (flaw)
            return flaw;
        pattern = behind(part);
        if (*pattern == '\0') /* a slash at the end changes nothing */
            return NULL;
    }
}
