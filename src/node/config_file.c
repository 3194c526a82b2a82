/* SPDX-License-Identifier: Apache-2.0 */
#include "node/config_file.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/text.h"
#include "base/util.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static char *skip_blanks(char *s)
{
    while (is_blank(*s))
        s++;
    return s;
}

static bool is_rest_empty(const char *s)
{
    while (is_blank(*s))
        s++;
    return *s == '\0' || *s == '#';
}

static char unescape(char c)
{
    return c == 'n' ? '\n' : c == 't' ? '\t' : c == '"' || c == '\\' ? c : '\0';
}

/* Strips the quotes that s begins with, in place. Returns what is wrong, or NULL. */
static const char *take_quoted(char *s, char **ret)
{
    char quote = *s++, *out = s;
    *ret = s;
    for (; *s != quote; s++) {
        if (*s == '\0')
            return "the quotation mark is not closed";
        if (*s == '\\' && quote == '"') {
            char c = unescape(*++s);
            if (!c)
                return "in \"...\" a backslash goes before one of \" \\ n t only";
            *out++ = c;
        } else {
            *out++ = *s;
        }
    }
    bool good = is_rest_empty(s + 1);
    *out = '\0';
    return good ? NULL : "something follows the closing quotation mark";
}

static void take_plain(char *s, char **ret)
{
    char *end = s;
    for (; *end; end++) {
        if (*end == '#' && (end == s || is_blank(end[-1])))
            break;
    }
    while (end > s && is_blank(end[-1]))
        end--;
    *end = '\0';
    *ret = s;
}

/* Splits a line in place. Returns what is wrong, or NULL; *ret_key stays NULL on a line without a pair. */
static const char *split_line(char *line, char **ret_key, char **ret_value)
{
    char *key = skip_blanks(line);
    if (is_rest_empty(key))
        return NULL;
    size_t len = strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");
    char *equals = skip_blanks(key + len);
    if (len == 0 || *equals != '=')
        return "not of the form KEY=VALUE";
    char *value = skip_blanks(equals + 1);
    key[len] = '\0';
    if (*value == '"' || *value == '\'') {
        const char *wrong = take_quoted(value, ret_value);
        if (wrong)
            return wrong;
    } else {
        take_plain(value, ret_value);
    }
    *ret_key = key;
    return NULL;
}

static const char *check_bytes(const char *line, size_t len)
{
    if (len >= CONFIG_LINE_MAX)
        return "longer than 8191 bytes";
    if (!text_is_utf8(line, len))
        return "not UTF-8";
    for (size_t i = 0; i < len; i++) {
        if (((unsigned char)line[i] < 0x20 && line[i] != '\t') || line[i] == 0x7f)
            return "has a control character";
    }
    return NULL;
}

int config_file_parse(const char *data, size_t len, const struct config_file_handler *handler, void *ctx)
{
    static const char mark[] = "\xef\xbb\xbf";
    const char *p = data, *end = data + len;
    if (len >= 3 && !memcmp(p, mark, 3))
        p += 3;
    for (unsigned number = 1; p < end; number++) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        size_t n = (size_t)((newline ? newline : end) - p);
        const char *next = newline ? newline + 1 : end;
        if (n > 0 && p[n - 1] == '\r')
            n--;
        const char *wrong = check_bytes(p, n);
        if (!wrong) {
            char *key = NULL, *value = NULL;
            CLEANUP_FREE char *line = text_dup(p, n);
            if (!line)
                return -ENOMEM;
            wrong = split_line(line, &key, &value);
            if (!wrong && key)
                handler->on_pair(number, key, value, ctx);
        }
        if (wrong)
            handler->on_error(number, wrong, ctx);
        p = next;
    }
    return 0;
}
