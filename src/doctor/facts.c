/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor/facts.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "base/text.h"
#include "base/util.h"

enum { TCP_LISTEN_STATE = 0x0a };

char *facts_line(char **rest)
{
    return *rest ? strsep(rest, "\n") : NULL;
}

char *facts_word(char **line)
{
    char *word;
    while (*line && (word = strsep(line, " \t"))) {
        if (*word)
            return word;
    }
    return NULL;
}

/* The value behind "KEY:" in a line of its own; NULL: there is none. */
static const char *find_field(const char *text, const char *key)
{
    size_t len = strlen(key);
    for (const char *p = text; p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL) {
        if (!strncmp(p, key, len) && p[len] == ':')
            return p + len + 1 + strspn(p + len + 1, " \t");
    }
    return NULL;
}

bool facts_field(const char *text, const char *key, uint64_t *ret)
{
    char digits[24];
    const char *value = find_field(text, key);
    size_t n = value ? strspn(value, "0123456789") : 0;
    if (n == 0 || n >= sizeof digits)
        return false;
    memcpy(digits, value, n);
    digits[n] = '\0';
    return parse_u64(digits, 0, UINT64_MAX, ret) == 0;
}

/* Hexadecimal digits to the end of the word. */
static bool parse_hex(const char *p, uint64_t *ret)
{
    uint64_t v = 0;
    size_t n = strspn(p, "0123456789abcdefABCDEF");
    if (n == 0 || n > 16)
        return false;
    for (size_t i = 0; i < n; i++) {
        int c = tolower((unsigned char)p[i]);
        v = v << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *ret = v;
    return true;
}

bool facts_field_hex(const char *text, const char *key, uint64_t *ret)
{
    const char *value = find_field(text, key);
    return value && parse_hex(value, ret);
}

static bool take_number(const char **p, unsigned *ret)
{
    char digits[8];
    uint64_t v;
    size_t n = strspn(*p, "0123456789");
    if (n == 0 || n >= sizeof digits)
        return false;
    memcpy(digits, *p, n);
    digits[n] = '\0';
    if (parse_u64(digits, 0, 9999999, &v) < 0)
        return false;
    *ret = (unsigned)v;
    *p += n;
    return true;
}

bool facts_version(const char *text, unsigned *ret_major, unsigned *ret_minor)
{
    unsigned major, minor;
    if (!take_number(&text, &major) || *text++ != '.' || !take_number(&text, &minor))
        return false;
    *ret_major = major;
    *ret_minor = minor;
    return true;
}

bool facts_choice(const char *text, char *out, size_t size)
{
    const char *open = strchr(text, '['), *close = open ? strchr(open, ']') : NULL;
    if (!close || (size_t)(close - open) > size)
        return false;
    snprintf(out, size, "%.*s", (int)(close - open - 1), open + 1);
    return true;
}

bool facts_maps(const char *map, uint64_t first, uint64_t count)
{
    CLEANUP_FREE char *copy = strdup(map);
    for (char *rest = copy, *line; copy && (line = facts_line(&rest));) {
        uint64_t inside, outside, length;
        const char *a = facts_word(&line), *b = facts_word(&line), *n = facts_word(&line);
        if (!n || parse_u64(a, 0, UINT32_MAX, &inside) < 0 || parse_u64(b, 0, UINT32_MAX, &outside) < 0 ||
            parse_u64(n, 0, UINT32_MAX, &length) < 0)
            continue;
        if (first >= inside && first + count <= inside + length)
            return true;
    }
    return false;
}

bool facts_id_taken(
    const char *text, bool subordinate, uint64_t first, uint64_t count, char *ret_name, size_t size, uint64_t *ret_id)
{
    CLEANUP_FREE char *copy = strdup(text);
    for (char *rest = copy, *line; copy && (line = facts_line(&rest));) {
        uint64_t id, length = 1;
        const char *name = strsep(&line, ":"), *second = strsep(&line, ":"), *third = strsep(&line, ":");
        if (!third || parse_u64(subordinate ? second : third, 0, UINT32_MAX, &id) < 0)
            continue;
        if (subordinate && parse_u64(third, 1, UINT32_MAX, &length) < 0)
            continue;
        if (id + length <= first || id >= first + count)
            continue;
        snprintf(ret_name, size, "%s", name);
        *ret_id = id;
        return true;
    }
    return false;
}

bool facts_list_has(const char *list, char separator, const char *word)
{
    size_t len = strlen(word);
    for (const char *p = list; p; p = strchr(p, separator) ? strchr(p, separator) + 1 : NULL) {
        if (!strncmp(p, word, len) && (p[len] == '\0' || p[len] == separator || p[len] == '\n'))
            return true;
    }
    return false;
}

unsigned facts_http(const char *text, size_t len, const char **ret_body, size_t *ret_len)
{
    static const char blank[] = "\r\n\r\n";
    if (len < 12 || strncmp(text, "HTTP/1.", 7) != 0 || text[8] != ' ')
        return 0;
    unsigned status = 0;
    for (size_t i = 9; i < 12; i++) {
        if (!isdigit((unsigned char)text[i]))
            return 0;
        status = status * 10 + (unsigned)(text[i] - '0');
    }
    const char *end = memmem(text, len, blank, 4);
    *ret_body = end ? end + 4 : text + len;
    *ret_len = len - (size_t)(*ret_body - text);
    return status;
}

bool facts_listener(const char *text, uint16_t port, uint64_t *ret_inode)
{
    CLEANUP_FREE char *copy = strdup(text);
    for (char *rest = copy, *line; copy && (line = facts_line(&rest));) {
        /* sl local remote state queues timer retransmits uid timeout inode */
        char *words[10] = {NULL};
        uint64_t at, state;
        for (size_t i = 0; i < ARRAY_LEN(words); i++)
            words[i] = facts_word(&line);
        const char *colon = words[9] ? strrchr(words[1], ':') : NULL;
        if (!colon || !parse_hex(colon + 1, &at) || at != port || !parse_hex(words[3], &state) ||
            state != TCP_LISTEN_STATE)
            continue;
        if (parse_u64(words[9], 1, UINT64_MAX, ret_inode) == 0)
            return true;
    }
    return false;
}
