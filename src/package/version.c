/* SPDX-License-Identifier: Apache-2.0 */
#include "package/version.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/util.h"

/* What is left of a text; each take_*() moves over what it is named after, and over nothing when it is not there. */
struct rest {
    const char *p, *end;
};

struct version {
    size_t numbers;  /* of the release: 3 in 1.2.3 */
    bool pre_or_dev; /* has a pre-release, post-release or development part */
    bool local;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool take_char(struct rest *r, const char *set)
{
    if (r->p == r->end || *r->p == '\0' || !strchr(set, *r->p))
        return false;
    r->p++;
    return true;
}

static bool take_digits(struct rest *r)
{
    const char *begin = r->p;
    while (r->p < r->end && is_digit(*r->p))
        r->p++;
    return r->p > begin;
}

static bool take_word(struct rest *r, const char *word)
{
    size_t len = strlen(word);
    if ((size_t)(r->end - r->p) < len || strncasecmp(r->p, word, len) != 0)
        return false;
    r->p += len;
    return true;
}

/* [-_.]? one of the words [-_.]? digits? */
static bool take_part(struct rest *r, const char *const *words, size_t n)
{
    struct rest was = *r;
    (void)take_char(r, "-_.");
    for (size_t i = 0; i < n; i++) {
        if (!take_word(r, words[i]))
            continue;
        struct rest behind = *r;
        (void)take_char(r, "-_.");
        if (!take_digits(r))
            *r = behind; /* what stood there begins the next part */
        return true;
    }
    *r = was;
    return false;
}

static bool take_post(struct rest *r)
{
    static const char *const words[] = {"post", "rev", "r"};
    struct rest was = *r;
    if (take_char(r, "-") && take_digits(r)) /* 1.0-1 */
        return true;
    *r = was;
    return take_part(r, words, ARRAY_LEN(words));
}

static bool take_local(struct rest *r)
{
    do {
        const char *begin = r->p;
        while (r->p < r->end && is_alnum(*r->p))
            r->p++;
        if (r->p == begin)
            return false;
    } while (take_char(r, "-_."));
    return true;
}

/* Also where something follows behind it. */
static bool take_version(struct rest *r, struct version *ret)
{
    static const char *const pre[] = {"alpha", "a", "beta", "b", "preview", "pre", "rc", "c"};
    static const char *const dev[] = {"dev"};
    *ret = (struct version){.numbers = 1};
    (void)take_char(r, "vV");
    if (!take_digits(r))
        return false;
    if (take_char(r, "!") && !take_digits(r)) /* that was the epoch */
        return false;
    for (struct rest was = *r; take_char(r, "."); was = *r) {
        if (!take_digits(r)) {
            *r = was;
            break;
        }
        ret->numbers++;
    }
    bool has_pre = take_part(r, pre, ARRAY_LEN(pre)), has_post = take_post(r), has_dev = take_part(r, dev, 1);
    ret->pre_or_dev = has_pre || has_post || has_dev;
    ret->local = take_char(r, "+");
    return !ret->local || take_local(r);
}

bool version_is_valid(const char *s, size_t len)
{
    struct rest r = {.p = s, .end = s + len};
    struct version v;
    return take_version(&r, &v) && r.p == r.end;
}

static bool is_arbitrary(struct rest r)
{
    const char *begin = r.p;
    while (r.p < r.end && (is_alnum(*r.p) || (*r.p != '\0' && strchr("._+!-", *r.p))))
        r.p++;
    return r.p == r.end && r.p > begin;
}

bool version_clause_is_valid(const char *s, size_t len)
{
    static const char *const operators[] = {"===", "~=", "==", "!=", "<=", ">=", "<", ">"};
    struct rest r = {.p = s, .end = s + len};
    struct version v;
    size_t i = 0;
    while (i < ARRAY_LEN(operators) && !take_word(&r, operators[i]))
        i++;
    if (i == ARRAY_LEN(operators))
        return false;
    const char *op = operators[i];
    if (strlen(op) == 3)
        return is_arbitrary(r);
    if (!take_version(&r, &v))
        return false;
    bool equality = strcmp(op, "==") == 0 || strcmp(op, "!=") == 0;
    /* Every version that begins so. */
    if (equality && !v.pre_or_dev && !v.local && r.end - r.p == 2 && memcmp(r.p, ".*", 2) == 0)
        return true;
    if (r.p != r.end || (v.local && !equality))
        return false;
    return strcmp(op, "~=") != 0 || v.numbers >= 2;
}
