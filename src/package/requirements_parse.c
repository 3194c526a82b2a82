/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parser of requirements.txt. Three steps for each requirement: its lines are gathered into one, as pip does it (gather),
 * what is no requirement by a name is told apart by how it begins (classify), and the rest is taken piece by piece from left to
 * right. Every piece is copied in its normal form; none of the bytes outlives that.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/text.h"
#include "package/marker.h"
#include "package/requirements.h"
#include "package/version.h"

struct parser {
    const char *p, *end;  /* what is left of the file */
    unsigned line;        /* the number of the line at p, from 1 */
    struct buf joined;    /* one requirement's lines */
    unsigned joined_line; /* where it begins */
    struct buf work;      /* parts of it in their normal form */
};

/* What is left of one requirement. */
struct piece {
    const char *p, *end;
};

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static void skip_spaces(struct piece *s)
{
    while (s->p < s->end && is_space(*s->p))
        s->p++;
}

static bool at(const struct piece *s, char c)
{
    return s->p < s->end && *s->p == c;
}

static bool begins(const struct piece *s, const char *text)
{
    size_t len = strlen(text);
    return (size_t)(s->end - s->p) >= len && memcmp(s->p, text, len) == 0;
}

static bool has(const struct piece *s, const char *text)
{
    return memmem(s->p, (size_t)(s->end - s->p), text, strlen(text)) != NULL;
}

static bool ends(const struct piece *s, const char *text)
{
    size_t len = strlen(text);
    return (size_t)(s->end - s->p) > len && memcmp(s->end - len, text, len) == 0;
}

/* Up to the first of these characters. */
static struct piece until(const struct piece *s, const char *set)
{
    struct piece found = {.p = s->p, .end = s->p};
    while (found.end < s->end && !strchr(set, *found.end))
        found.end++;
    return found;
}

/* --- lines --- */

/* The next line without its end; a comment is told by its first character, and ends what was continued. */
static struct piece next_line(struct parser *p, bool *ret_comment)
{
    const char *newline = memchr(p->p, '\n', (size_t)(p->end - p->p));
    struct piece line = {.p = p->p, .end = newline ? newline : p->end}, text = line;
    p->p = newline ? newline + 1 : p->end;
    p->line++;
    if (newline && line.end > line.p && line.end[-1] == '\r')
        line.end--;
    skip_spaces(&text);
    *ret_comment = at(&text, '#');
    return line;
}

/* A comment begins the line, or behind a space. Returns where it does. */
static size_t comment_at(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (s[i] == '#' && (i == 0 || is_space(s[i - 1])))
            return i;
    }
    return len;
}

static enum requirements_result check_bytes(const char *s, size_t len, size_t comment)
{
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)s[i] < ' ' && s[i] != '\t')
            return REQUIREMENTS_BAD_BYTE;
        if (i < comment && (unsigned char)s[i] > '~')
            return REQUIREMENTS_BAD_BYTE;
    }
    return text_is_utf8(s + comment, len - comment) ? REQUIREMENTS_OK : REQUIREMENTS_BAD_BYTE;
}

/* Fills p->joined with the lines up to one that is not continued, without its comment. */
static enum requirements_result gather(struct parser *p)
{
    bool comment = false, more = true;
    buf_reset(&p->joined);
    p->joined_line = p->line;
    while (more && p->p < p->end) {
        struct piece line = next_line(p, &comment);
        more = !comment && line.end > line.p && line.end[-1] == '\\';
        if (comment)
            (void)buf_append_u8(&p->joined, ' '); /* so that it is one behind other text, too */
        if (buf_append(&p->joined, line.p, (size_t)(line.end - line.p) - more) < 0)
            return p->joined.error == -E2BIG ? REQUIREMENTS_LINE_TOO_LONG : REQUIREMENTS_NO_MEMORY;
    }
    const char *text = (const char *)p->joined.data;
    size_t len = p->joined.len, end = comment_at(text, len);
    p->joined.len = end;
    return check_bytes(text, len, end);
}

/* --- what is no name --- */

static enum requirements_result classify_option(const struct piece *s)
{
    static const struct {
        const char *name;
        enum requirements_result result;
    } options[] = {
        {"--requirement", REQUIREMENTS_INCLUDE},
        {"--constraint", REQUIREMENTS_INCLUDE},
        {"--editable", REQUIREMENTS_EDITABLE},
        {"--index-url", REQUIREMENTS_INDEX},
        {"--extra-index-url", REQUIREMENTS_INDEX},
        {"--no-index", REQUIREMENTS_INDEX},
        {"--find-links", REQUIREMENTS_INDEX},
        {"--trusted-host", REQUIREMENTS_INDEX},
        {"--pypi-url", REQUIREMENTS_INDEX},
        {"-r", REQUIREMENTS_INCLUDE},
        {"-c", REQUIREMENTS_INCLUDE},
        {"-e", REQUIREMENTS_EDITABLE},
        {"-i", REQUIREMENTS_INDEX},
        {"-f", REQUIREMENTS_INDEX},
    };
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        if (begins(s, options[i].name))
            return options[i].result;
    }
    return REQUIREMENTS_OPTION;
}

/* pip takes a word like this for a file, whatever it begins with. */
static bool looks_like_file(const struct piece *word)
{
    static const char *const archives[] = {".whl", ".zip", ".tar.gz", ".tgz", ".tar", ".tar.bz2", ".tar.xz"};
    bool archive = false;
    for (size_t i = 0; i < ARRAY_LEN(archives); i++)
        archive = archive || ends(word, archives[i]);
    return archive || has(word, "/") || has(word, "\\");
}

static enum requirements_result classify(const struct piece *s)
{
    if (at(s, '-'))
        return classify_option(s);
    struct piece word = until(s, " \t;");
    if (has(&word, "://") || begins(&word, "git+") || begins(&word, "file:"))
        return REQUIREMENTS_ADDRESS;
    return at(s, '.') || at(s, '~') || looks_like_file(&word) ? REQUIREMENTS_PATH : REQUIREMENTS_OK;
}

/* --- the pieces of a requirement --- */

/* Letters, digits and, between these, ._- */
static bool take_name(struct piece *s, struct piece *ret)
{
    struct piece name = {.p = s->p, .end = s->p};
    while (name.end < s->end && (is_alnum(*name.end) || strchr("-_.", *name.end)))
        name.end++;
    size_t len = (size_t)(name.end - name.p);
    if (len == 0 || len > REQUIREMENTS_NAME_MAX || !is_alnum(*name.p) || !is_alnum(name.end[-1]))
        return false;
    s->p = name.end;
    *ret = name;
    return true;
}

static char *normal_name(struct piece name)
{
    CLEANUP_BUF struct buf out = BUF_INIT(REQUIREMENTS_NAME_MAX);
    for (const char *p = name.p; p < name.end; p++) {
        if (is_alnum(*p))
            (void)buf_append_u8(&out, (uint8_t)lower(*p));
        else if (is_alnum(p[-1])) /* the first of a run; never the first of the name */
            (void)buf_append_u8(&out, '-');
    }
    return out.error ? NULL : buf_steal(&out, NULL);
}

/*
 * Small texts that are to be sorted and joined: the extras, clauses or hashes of one requirement. Those in another form than they
 * were written in lie in the parser's `work`.
 */
struct set {
    struct piece items[REQUIREMENTS_HASHES_MAX];
    size_t n, max;
};

static int by_bytes(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    size_t x_len = (size_t)(x->end - x->p), y_len = (size_t)(y->end - y->p);
    int order = memcmp(x->p, y->p, MIN(x_len, y_len));
    return order ? order : (x_len > y_len) - (x_len < y_len);
}

static bool set_add(struct set *set, struct piece item)
{
    if (set->n == set->max)
        return false;
    set->items[set->n++] = item;
    return true;
}

/* Each only once. NULL: no memory. */
static char *set_join(struct set *set, char between)
{
    CLEANUP_BUF struct buf out = BUF_INIT(REQUIREMENTS_LINE_MAX + 1);
    qsort(set->items, set->n, sizeof set->items[0], by_bytes);
    for (size_t i = 0; i < set->n; i++) {
        const struct piece *item = &set->items[i];
        if (i > 0 && by_bytes(item, item - 1) == 0)
            continue;
        if (i > 0)
            (void)buf_append_u8(&out, (uint8_t)between);
        (void)buf_append(&out, item->p, (size_t)(item->end - item->p));
    }
    return out.error ? NULL : buf_steal(&out, NULL);
}

static void work_append_lower(struct parser *p, struct piece from)
{
    for (; from.p < from.end; from.p++)
        (void)buf_append_u8(&p->work, (uint8_t)lower(*from.p));
}

static struct piece work_since(const struct parser *p, size_t begin)
{
    const char *data = (const char *)p->work.data;
    return (struct piece){.p = data + begin, .end = data + p->work.len};
}

/* "[a, b]", or nothing. */
static enum requirements_result take_extras(struct piece *s, char **ret)
{
    struct set extras = {.max = REQUIREMENTS_EXTRAS_MAX};
    bool more = at(s, '[');
    while (more) {
        struct piece name;
        s->p++; /* a '[' or ',' */
        skip_spaces(s);
        if (extras.n == 0 && at(s, ']'))
            break; /* "[]" is allowed */
        if (!take_name(s, &name) || !set_add(&extras, name))
            return REQUIREMENTS_EXTRAS;
        skip_spaces(s);
        more = at(s, ',');
        if (!more && !at(s, ']'))
            return REQUIREMENTS_EXTRAS;
    }
    if (at(s, ']'))
        s->p++;
    *ret = set_join(&extras, ',');
    return *ret ? REQUIREMENTS_OK : REQUIREMENTS_NO_MEMORY;
}

/* An operator, spaces and a version, without the spaces and in lower case. */
static bool take_clause(struct parser *p, struct piece *s, struct set *clauses)
{
    size_t begin = p->work.len;
    struct piece op = {.p = s->p, .end = s->p};
    while (op.end < s->end && strchr("<>=!~", *op.end))
        op.end++;
    s->p = op.end;
    skip_spaces(s);
    struct piece version = {.p = s->p, .end = s->p};
    while (version.end < s->end && (is_alnum(*version.end) || strchr("._+!*-", *version.end)))
        version.end++;
    s->p = version.end;
    work_append_lower(p, op);
    work_append_lower(p, version);
    struct piece clause = work_since(p, begin);
    return version_clause_is_valid(clause.p, (size_t)(clause.end - clause.p)) && set_add(clauses, clause);
}

/* pip takes all that follows a "===" for its version, so that one stands alone. */
static bool may_stand_together(const struct set *clauses)
{
    for (size_t i = 0; clauses->n > 1 && i < clauses->n; i++) {
        if (begins(&clauses->items[i], "==="))
            return false;
    }
    return true;
}

/* ">=1, <2", with or without parentheses, or nothing. */
static enum requirements_result take_specifier(struct parser *p, struct piece *s, char **ret)
{
    struct set clauses = {.max = REQUIREMENTS_CLAUSES_MAX};
    bool parentheses = at(s, '('), more = true;
    s->p += parentheses;
    skip_spaces(s);
    if (!parentheses && (s->p == s->end || at(s, ';') || at(s, '-')))
        more = false;
    while (more) {
        if (!take_clause(p, s, &clauses))
            return REQUIREMENTS_SPECIFIER;
        skip_spaces(s);
        more = at(s, ',');
        s->p += more;
        skip_spaces(s);
    }
    if ((parentheses && !at(s, ')')) || !may_stand_together(&clauses))
        return REQUIREMENTS_SPECIFIER;
    s->p += parentheses;
    skip_spaces(s);
    if (s->p < s->end && !at(s, ';') && !at(s, '-'))
        return REQUIREMENTS_SPECIFIER;
    *ret = set_join(&clauses, ',');
    return *ret ? REQUIREMENTS_OK : REQUIREMENTS_NO_MEMORY;
}

/* From a ';' to the first option, which is what begins with a '-' behind a space. */
static enum requirements_result take_marker(struct piece *s, char **ret)
{
    CLEANUP_BUF struct buf out = BUF_INIT(REQUIREMENTS_MARKER_MAX);
    if (at(s, ';')) {
        struct piece marker = {.p = ++s->p, .end = s->p};
        while (marker.end < s->end && !(is_space(*marker.end) && marker.end + 1 < s->end && marker.end[1] == '-'))
            marker.end++;
        if (!marker_normalise(marker.p, (size_t)(marker.end - marker.p), &out))
            return out.error == -ENOMEM ? REQUIREMENTS_NO_MEMORY : REQUIREMENTS_MARKER;
        s->p = marker.end;
    }
    *ret = buf_steal(&out, NULL);
    return *ret ? REQUIREMENTS_OK : REQUIREMENTS_NO_MEMORY;
}

static bool is_hash(struct piece s)
{
    static const struct {
        const char *name;
        size_t digits;
    } kinds[] = {{"sha256:", 64}, {"sha384:", 96}, {"sha512:", 128}};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (!begins(&s, kinds[i].name))
            continue;
        const char *p = s.p + strlen(kinds[i].name);
        if ((size_t)(s.end - p) != kinds[i].digits)
            return false;
        while (p < s.end && ((*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'f')))
            p++;
        return p == s.end;
    }
    return false;
}

/* --hash=VALUE or --hash VALUE, as often as there are any. */
static enum requirements_result take_hashes(struct parser *p, struct piece *s, char **ret)
{
    struct set hashes = {.max = REQUIREMENTS_HASHES_MAX};
    for (skip_spaces(s); s->p < s->end; skip_spaces(s)) {
        size_t begin = p->work.len;
        struct piece option = until(s, " \t=");
        if (option.end - option.p != (ptrdiff_t)strlen("--hash") || !begins(&option, "--hash"))
            return classify_option(s);
        s->p = option.end;
        s->p += at(s, '=');
        skip_spaces(s);
        struct piece value = until(s, " \t");
        s->p = value.end;
        work_append_lower(p, value);
        struct piece hash = work_since(p, begin);
        if (!is_hash(hash) || !set_add(&hashes, hash))
            return REQUIREMENTS_HASH;
    }
    *ret = set_join(&hashes, ' ');
    return *ret ? REQUIREMENTS_OK : REQUIREMENTS_NO_MEMORY;
}

/* --- one requirement, and all --- */

static enum requirements_result parse_one(struct parser *p, struct piece *s, struct requirement *ret)
{
    struct piece name;
    enum requirements_result result = classify(s);
    if (result != REQUIREMENTS_OK)
        return result;
    buf_reset(&p->work);
    if (!buf_reserve(&p->work, p->joined.len)) /* more than is copied, so that pieces of it stay where they are */
        return REQUIREMENTS_NO_MEMORY;
    if (!take_name(s, &name))
        return REQUIREMENTS_NAME;
    ret->name = normal_name(name);
    if (!ret->name)
        return REQUIREMENTS_NO_MEMORY;
    skip_spaces(s);
    result = take_extras(s, &ret->extras);
    skip_spaces(s);
    if (result == REQUIREMENTS_OK && at(s, '@'))
        result = REQUIREMENTS_ADDRESS;
    if (result == REQUIREMENTS_OK)
        result = take_specifier(p, s, &ret->specifier);
    /* As it is written for pip there is no space in front of it any more. */
    if (result == REQUIREMENTS_OK &&
        looks_like_file(&(struct piece){.p = ret->specifier, .end = ret->specifier + strlen(ret->specifier)}))
        result = REQUIREMENTS_PATH;
    if (result == REQUIREMENTS_OK)
        result = take_marker(s, &ret->marker);
    if (result == REQUIREMENTS_OK)
        result = take_hashes(p, s, &ret->hashes);
    return result;
}

static enum requirements_result add_one(struct parser *p, struct piece *s, struct requirements *list)
{
    if (list->n_items == REQUIREMENTS_MAX)
        return REQUIREMENTS_TOO_MANY;
    struct requirement *items = realloc(list->items, (list->n_items + 1) * sizeof *items);
    if (!items)
        return REQUIREMENTS_NO_MEMORY;
    list->items = items;
    struct requirement *item = &items[list->n_items++];
    *item = (struct requirement){.line = p->joined_line};
    return parse_one(p, s, item);
}

static int by_text(const void *a, const void *b)
{
    const struct requirement *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    order = order ? order : strcmp(x->extras, y->extras);
    order = order ? order : strcmp(x->specifier, y->specifier);
    order = order ? order : strcmp(x->marker, y->marker);
    return order ? order : strcmp(x->hashes, y->hashes);
}

/* Sorts them and drops what is there twice. */
static void settle(struct requirements *list)
{
    size_t n = 0;
    if (list->n_items == 0)
        return;
    qsort(list->items, list->n_items, sizeof list->items[0], by_text);
    for (size_t i = 0; i < list->n_items; i++) {
        if (n > 0 && by_text(&list->items[i], &list->items[n - 1]) == 0)
            requirement_done(&list->items[i]);
        else
            list->items[n++] = list->items[i];
    }
    list->n_items = n;
}

/* What is written of them must be taken again: it has a few spaces more than was read, at most. */
static enum requirements_result check_written(const struct requirements *list)
{
    CLEANUP_BUF struct buf out = BUF_INIT(REQUIREMENTS_BYTES_MAX);
    int r = requirements_write(list, &out);
    if (r < 0)
        return r == -E2BIG ? REQUIREMENTS_TOO_LARGE : REQUIREMENTS_NO_MEMORY;
    const char *p = (const char *)out.data;
    for (size_t left = out.len; left > 0;) {
        size_t len = (size_t)((const char *)memchr(p, '\n', left) + 1 - p);
        if (len > REQUIREMENTS_LINE_MAX)
            return REQUIREMENTS_TOO_LARGE;
        p += len;
        left -= len;
    }
    return REQUIREMENTS_OK;
}

static enum requirements_result parse_all(struct parser *p, struct requirements *list)
{
    while (p->p < p->end) {
        enum requirements_result result = gather(p);
        struct piece s = {.p = (const char *)p->joined.data};
        if (result != REQUIREMENTS_OK)
            return result;
        s.end = s.p + p->joined.len;
        while (s.end > s.p && is_space(s.end[-1]))
            s.end--;
        skip_spaces(&s);
        result = s.p < s.end ? add_one(p, &s, list) : REQUIREMENTS_OK;
        if (result != REQUIREMENTS_OK)
            return result;
    }
    p->joined_line = 0; /* from here on it is about the whole file */
    settle(list);
    return check_written(list);
}

enum requirements_result requirements_parse(const void *data, size_t len, struct requirements *ret, unsigned *ret_line)
{
    static const char nothing[1];
    const char *text = len ? data : nothing;
    struct requirements list = {0};
    *ret = list;
    *ret_line = 0;
    if (len > REQUIREMENTS_BYTES_MAX)
        return REQUIREMENTS_TOO_LARGE;
    if (len >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0))
        return REQUIREMENTS_UTF16;
    bool mark = len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0;
    struct parser p = {.p = text + (mark ? 3 : 0), .end = text + len, .line = 1};
    buf_init(&p.joined, REQUIREMENTS_LINE_MAX);
    buf_init(&p.work, REQUIREMENTS_LINE_MAX);
    enum requirements_result result = parse_all(&p, &list);
    buf_done(&p.joined);
    buf_done(&p.work);
    if (result == REQUIREMENTS_OK) {
        *ret = list;
        return result;
    }
    *ret_line = p.joined_line;
    requirements_done(&list);
    return result;
}
