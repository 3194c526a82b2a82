/* SPDX-License-Identifier: Apache-2.0 */
#include "package/marker.h"

#include <string.h>

/* A cursor on the text and what has been written of it. The three levels of the grammar are functions of these names. */
struct marker {
    const char *p, *end;
    struct buf *out;
    unsigned depth;
};

static const char *const variables[] = {
    "implementation_name",
    "implementation_version",
    "os_name",
    "platform_machine",
    "platform_python_implementation",
    "platform_release",
    "platform_system",
    "platform_version",
    "python_full_version",
    "python_version",
    "sys_platform",
};

static bool is_word(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_text(char c)
{
    return is_word(c) || (c != '\0' && strchr(" .+-*,!<>=~/:()", c));
}

static void skip_spaces(struct marker *m)
{
    while (m->p < m->end && (*m->p == ' ' || *m->p == '\t'))
        m->p++;
}

/* Writes with a space in front, but at the beginning and behind a '('. */
static void put(struct marker *m, const char *s, size_t len)
{
    if (m->out->len > 0 && m->out->data[m->out->len - 1] != '(')
        (void)buf_append_u8(m->out, ' ');
    (void)buf_append(m->out, s, len);
}

static bool take_word(struct marker *m, const char *word)
{
    size_t len = strlen(word);
    skip_spaces(m);
    if ((size_t)(m->end - m->p) < len || memcmp(m->p, word, len) != 0)
        return false;
    if (m->p + len < m->end && is_word(m->p[len]))
        return false;
    m->p += len;
    put(m, word, len);
    return true;
}

static bool take_text(struct marker *m)
{
    char quote = *m->p;
    const char *begin = m->p + 1, *p = begin;
    while (p < m->end && is_text(*p))
        p++;
    if (p == m->end || *p != quote)
        return false;
    put(m, "\"", 1);
    (void)buf_append(m->out, begin, (size_t)(p - begin));
    (void)buf_append_u8(m->out, '"');
    m->p = p + 1;
    return true;
}

static bool take_side(struct marker *m, bool *ret_variable)
{
    skip_spaces(m);
    *ret_variable = false;
    if (m->p == m->end)
        return false;
    if (*m->p == '"' || *m->p == '\'')
        return take_text(m);
    *ret_variable = true;
    for (size_t i = 0; i < ARRAY_LEN(variables); i++) {
        if (take_word(m, variables[i]))
            return true;
    }
    return false;
}

static bool take_operator(struct marker *m)
{
    static const char *const operators[] = {"===", "~=", "==", "!=", "<=", ">=", "<", ">"};
    skip_spaces(m);
    for (size_t i = 0; i < ARRAY_LEN(operators); i++) {
        size_t len = strlen(operators[i]);
        if ((size_t)(m->end - m->p) >= len && memcmp(m->p, operators[i], len) == 0) {
            m->p += len;
            put(m, operators[i], len);
            return true;
        }
    }
    return take_word(m, "in") || (take_word(m, "not") && take_word(m, "in"));
}

static bool take_any(struct marker *m);

static bool take_comparison(struct marker *m)
{
    bool left, right;
    skip_spaces(m);
    if (m->p == m->end || *m->p != '(')
        return take_side(m, &left) && take_operator(m) && take_side(m, &right) && (left || right);
    if (m->depth == MARKER_DEPTH_MAX)
        return false;
    m->depth++;
    m->p++;
    put(m, "(", 1);
    if (!take_any(m))
        return false;
    skip_spaces(m);
    if (m->p == m->end || *m->p != ')')
        return false;
    m->depth--;
    m->p++;
    return buf_append_u8(m->out, ')') == 0;
}

static bool take_all(struct marker *m)
{
    do {
        if (!take_comparison(m))
            return false;
    } while (take_word(m, "and"));
    return true;
}

/* Calls itself through parentheses only, whose depth is bounded. */
static bool take_any(struct marker *m)
{
    do {
        if (!take_all(m))
            return false;
    } while (take_word(m, "or"));
    return true;
}

bool marker_normalise(const char *s, size_t len, struct buf *out)
{
    CLEANUP_BUF struct buf text = BUF_INIT(2 * len + 2);
    struct marker m = {.p = s, .end = s + len, .out = &text};
    if (!take_any(&m))
        return false;
    skip_spaces(&m);
    if (m.p != m.end)
        return false;
    if (text.error)
        out->error = text.error;
    else
        (void)buf_append(out, text.data, text.len);
    return out->error == 0;
}
