/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rule is kept as its parts between the '/', each a pattern for one part of a path. A "*" in a part and a double star among
 * parts are matched the same way: what follows is tried at the nearest place, and where it fails later, one further on from
 * the last star alone. What stood before that star fits as early as it can, so an earlier star need never be tried again.
 */
#include "package/ignore.h"

#include <string.h>

#include "base/error.h"
#include "base/text.h"

struct span {
    const char *p, *end;
};

struct ignore_rule {
    char *text;         /* what the parts point into */
    struct span *parts; /* those of nothing but two stars stand for any number of parts */
    size_t n_parts;
    bool negated;
    bool folders_only;
};

const char *ignore_result_to_string(enum ignore_result result)
{
    static const char *const sentences[] = {
#define X(name, sentence) [IGNORE_##name] = sentence,
        IGNORE_RESULTS(X)
#undef X
    };
    return (size_t)result < ARRAY_LEN(sentences) ? sentences[result] : "it cannot be read";
}

static void rule_done(struct ignore_rule *rule)
{
    free(rule->text);
    free(rule->parts);
}

static void drop_from(struct ignore *ignore, size_t n)
{
    while (ignore->n_rules > n)
        rule_done(&ignore->rules[--ignore->n_rules]);
}

void ignore_done(struct ignore *ignore)
{
    drop_from(ignore, 0);
    free(ignore->rules);
    *ignore = (struct ignore){0};
}

/* --- matching --- */

/* The ']' of a bracket expression whose '[' is at p; NULL: there is none. The first character is never the end. */
static const char *bracket_end(const char *p, const char *end)
{
    p++;
    if (p < end && (*p == '!' || *p == '^'))
        p++;
    for (bool first = true; p < end; p++, first = false) {
        if (*p == ']' && !first)
            return p;
        if (*p == '\\')
            p++;
    }
    return NULL;
}

static unsigned char bracket_char(const char **p)
{
    if (**p == '\\')
        (*p)++;
    return (unsigned char)*(*p)++;
}

/* Between a '[' and the ']' that closes it, which is at `close`. */
static bool in_bracket(const char *p, const char *close, unsigned char c)
{
    bool negated = p[1] == '!' || p[1] == '^', found = false;
    for (p += 1 + negated; p < close;) {
        unsigned char low = bracket_char(&p), high = low;
        if (close - p >= 2 && *p == '-') {
            p++;
            high = bracket_char(&p);
        }
        found = found || (low <= c && c <= high);
    }
    return found != negated;
}

/* One character of the pattern, no star, against c. Moves *p behind it where it fits. */
static bool fits_char(const char **p, const char *end, unsigned char c)
{
    const char *s = *p, *close = s;
    bool fits;
    if (*s == '?') {
        fits = true;
    } else if (*s == '[') {
        close = bracket_end(s, end);
        fits = in_bracket(s, close, c);
    } else {
        close = s + (*s == '\\');
        fits = (unsigned char)*close == c;
    }
    if (fits)
        *p = close + 1;
    return fits;
}

static bool fits_part(struct span pattern, struct span name)
{
    const char *p = pattern.p, *s = name.p, *star = NULL, *retry = NULL;
    while (s < name.end) {
        if (p < pattern.end && *p == '*') {
            star = ++p;
            retry = s;
        } else if (p < pattern.end && fits_char(&p, pattern.end, (unsigned char)*s)) {
            s++;
        } else if (star) {
            p = star;
            s = ++retry;
        } else {
            return false;
        }
    }
    while (p < pattern.end && *p == '*')
        p++;
    return p == pattern.end;
}

static const char any_folders[] = "**";

static bool is_any_folders(struct span part)
{
    return part.end - part.p == 2 && memcmp(part.p, any_folders, 2) == 0;
}

/* The part of a path that begins at p. */
static struct span part_at(const char *p, const char *end)
{
    const char *slash = memchr(p, '/', (size_t)(end - p));
    return (struct span){.p = p, .end = slash ? slash : end};
}

static const char *next_part(struct span part, const char *end)
{
    return part.end < end ? part.end + 1 : end;
}

static bool fits_path(const struct ignore_rule *rule, const char *path, size_t len)
{
    const char *s = path, *end = path + len, *retry = NULL;
    size_t i = 0, star = 0; /* star: the index behind the last one; 0: none yet */
    while (s < end) {
        struct span part = part_at(s, end);
        if (i < rule->n_parts && is_any_folders(rule->parts[i])) {
            star = ++i;
            retry = s;
            if (i == rule->n_parts)
                return true; /* there is something below */
        } else if (i < rule->n_parts && fits_part(rule->parts[i], part)) {
            i++;
            s = next_part(part, end);
        } else if (star) {
            i = star;
            s = retry = next_part(part_at(retry, end), end);
        } else {
            return false;
        }
    }
    return i == rule->n_parts;
}

bool ignore_matches(const struct ignore *ignore, const char *path, bool folder)
{
    size_t len = strlen(path);
    if (len > IGNORE_PATH_MAX)
        return false;
    for (size_t i = ignore->n_rules; i > 0; i--) {
        const struct ignore_rule *rule = &ignore->rules[i - 1];
        if ((folder || !rule->folders_only) && fits_path(rule, path, len))
            return !rule->negated;
    }
    return false;
}

/* --- reading --- */

static enum ignore_result check_part(struct span s)
{
    for (; s.p < s.end; s.p++) {
        if (*s.p == '\\') {
            if (++s.p == s.end)
                return IGNORE_ESCAPE;
        } else if (*s.p == '[') {
            const char *close = bracket_end(s.p, s.end);
            if (!close)
                return IGNORE_BRACKET;
            if (memmem(s.p + 1, (size_t)(close - s.p), "[:", 2))
                return IGNORE_CLASS;
            s.p = close;
        }
    }
    return IGNORE_OK;
}

static bool is_escaped(struct span s, const char *at)
{
    size_t n = 0;
    while (at - n > s.p && *(at - n - 1) == '\\')
        n++;
    return n % 2 == 1;
}

static struct span without_spaces_behind(struct span s)
{
    while (s.end > s.p && s.end[-1] == ' ' && !is_escaped(s, s.end - 1))
        s.end--;
    return s;
}

/* Cuts the text of the rule into its parts; one without a '/' fits in any folder. */
static enum ignore_result cut(struct ignore_rule *rule, struct span s)
{
    bool anchored = memchr(s.p, '/', (size_t)(s.end - s.p)) != NULL;
    s.p += *s.p == '/';
    if (s.p == s.end)
        return IGNORE_EMPTY;
    size_t n = 2;
    for (const char *p = s.p; p < s.end; p++)
        n += *p == '/';
    rule->parts = calloc(n, sizeof *rule->parts);
    if (!rule->parts)
        return IGNORE_NO_MEMORY;
    if (!anchored)
        rule->parts[rule->n_parts++] = (struct span){.p = any_folders, .end = any_folders + 2};
    for (bool more = true; more; s.p++) {
        struct span part = part_at(s.p, s.end);
        enum ignore_result result = check_part(part);
        if (result != IGNORE_OK)
            return result;
        rule->parts[rule->n_parts++] = part;
        s.p = part.end;
        more = s.p < s.end;
    }
    return IGNORE_OK;
}

static enum ignore_result parse_rule(struct ignore_rule *rule, struct span line)
{
    if (line.end - line.p > IGNORE_RULE_MAX)
        return IGNORE_TOO_LONG;
    rule->text = text_dup(line.p, (size_t)(line.end - line.p));
    if (!rule->text)
        return IGNORE_NO_MEMORY;
    struct span s = {.p = rule->text, .end = rule->text + (line.end - line.p)};
    rule->negated = *s.p == '!';
    s.p += rule->negated;
    rule->folders_only = s.end > s.p && s.end[-1] == '/';
    s.end -= rule->folders_only;
    return s.p < s.end ? cut(rule, s) : IGNORE_EMPTY;
}

static enum ignore_result add_rule(struct ignore *ignore, struct span line)
{
    if (ignore->n_rules >= IGNORE_RULES_MAX)
        return IGNORE_TOO_MANY;
    struct ignore_rule *rules = realloc(ignore->rules, (ignore->n_rules + 1) * sizeof *rules);
    if (!rules)
        return IGNORE_NO_MEMORY;
    ignore->rules = rules;
    rules[ignore->n_rules] = (struct ignore_rule){0};
    return parse_rule(&rules[ignore->n_rules++], line);
}

enum ignore_result ignore_add(struct ignore *ignore, const void *data, size_t len, unsigned *ret_line)
{
    const size_t had = ignore->n_rules;
    enum ignore_result result = IGNORE_OK;
    struct span all = {.p = data, .end = len ? (const char *)data + len : data};
    unsigned line = 0;
    *ret_line = 0;
    if (len > IGNORE_BYTES_MAX)
        return IGNORE_TOO_LARGE;
    while (all.p < all.end && result == IGNORE_OK) {
        const char *newline = memchr(all.p, '\n', (size_t)(all.end - all.p));
        struct span s = {.p = all.p, .end = newline ? newline : all.end};
        all.p = newline ? newline + 1 : all.end;
        line++;
        if (s.end > s.p && s.end[-1] == '\r')
            s.end--;
        s = without_spaces_behind(s);
        if (s.p < s.end && memchr(s.p, '\0', (size_t)(s.end - s.p)))
            result = IGNORE_BAD_BYTE;
        else if (s.p < s.end && *s.p != '#')
            result = add_rule(ignore, s);
    }
    if (result == IGNORE_OK)
        return result;
    *ret_line = line;
    drop_from(ignore, had);
    return result;
}

int ignore_read(struct ignore *ignore, const void *data, size_t len, struct tw_error *error)
{
    unsigned line = 0;
    enum ignore_result result = ignore_add(ignore, data, len, &line);
    if (result == IGNORE_OK)
        return 0;
    if (result == IGNORE_NO_MEMORY)
        return error_oom(error);
    if (line == 0)
        return error_set(error, TW_INVALID_ARGUMENT, IGNORE_FILE ": %s", ignore_result_to_string(result));
    return error_set(error, TW_INVALID_ARGUMENT, IGNORE_FILE ", line %u: %s", line, ignore_result_to_string(result));
}
