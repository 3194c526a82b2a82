/* SPDX-License-Identifier: Apache-2.0 */
#include "package/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <wctype.h>

#include "base/buf.h"
#include "base/text.h"
#include "base/util.h"

enum kind { IS_FILE, IS_FOLDER, IS_ON_THE_WAY /* a folder that has not come itself so far */ };

struct name {
    enum kind kind;
    char *path; /* as it was written */
    char key[];
};

bool names_trim(const char *raw, char out[NAMES_PATH_MAX])
{
    while (raw[0] == '.' && raw[1] == '/')
        raw += 2;
    size_t len = strlen(raw);
    if (len > 0 && raw[len - 1] == '/')
        len--;
    if (len >= NAMES_PATH_MAX)
        return false;
    if (len == 1 && raw[0] == '.')
        len = 0;
    memcpy(out, raw, len);
    out[len] = '\0';
    return true;
}

const char *names_flaw(const char *path)
{
    unsigned depth = 0;
    if (*path == '/')
        return "is absolute";
    if (!text_is_utf8(path, strlen(path)))
        return "is not UTF-8";
    if (text_has_control(path, strlen(path)))
        return "has control characters in it";
    if (strchr(path, '\\'))
        return "has a backslash in it";
    for (;;) {
        size_t len = strcspn(path, "/");
        if (len == 0)
            return "has an empty part";
        if (len > NAMES_PART_MAX)
            return "has a part of more than 255 bytes";
        if ((len == 1 && path[0] == '.') || (len == 2 && !memcmp(path, "..", 2)))
            return "has a part that is . or ..";
        if (++depth > NAMES_DEPTH_MAX)
            return "is more than 64 folders deep";
        if (!path[len])
            return NULL;
        path += len + 1;
    }
}

bool names_link_stays(const char *path, const char *target)
{
    size_t depth = 0, len = strlen(target);
    if (*target == '\0' || *target == '/' || len >= NAMES_PATH_MAX || text_has_control(target, len))
        return false;
    for (const char *slash = path; (slash = strchr(slash, '/')); slash++)
        depth++;
    while (*target) {
        size_t part = strcspn(target, "/");
        if (part == 2 && !memcmp(target, "..", 2)) {
            if (depth-- == 0)
                return false;
        } else if (part > 0 && !(part == 1 && *target == '.')) {
            depth++;
        }
        target += part + (target[part] == '/');
    }
    return true;
}

/* --- all of them --- */

int names_init(struct names *names)
{
    map_init(&names->all);
    names->locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    return names->locale ? 0 : -errno;
}

void names_done(struct names *names)
{
    map_for_each (it, &names->all) {
        struct name *name = it->value;
        free(name->path);
        free(name);
    }
    map_done(&names->all);
    if (names->locale)
        freelocale(names->locale);
    names->locale = (locale_t)0;
}

static void append_char(struct buf *out, uint32_t c)
{
    if (c < 0x80) {
        buf_append_u8(out, (uint8_t)c);
    } else if (c < 0x800) {
        buf_append_u8(out, (uint8_t)(0xc0 | c >> 6));
        buf_append_u8(out, (uint8_t)(0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
        buf_append_u8(out, (uint8_t)(0xe0 | c >> 12));
        buf_append_u8(out, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
        buf_append_u8(out, (uint8_t)(0x80 | (c & 0x3f)));
    } else {
        buf_append_u8(out, (uint8_t)(0xf0 | c >> 18));
        buf_append_u8(out, (uint8_t)(0x80 | (c >> 12 & 0x3f)));
        buf_append_u8(out, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
        buf_append_u8(out, (uint8_t)(0x80 | (c & 0x3f)));
    }
}

/* In lower case, by way of upper case, in which more of them are the same. */
static char *fold(const struct names *names, const char *path, size_t len)
{
    struct buf out = BUF_INIT(8 * NAMES_PATH_MAX);
    const uint8_t *p = (const uint8_t *)path, *end = p + len;
    while (p < end) {
        uint32_t c;
        size_t n = text_decode_utf8(p, end, &c);
        if (n == 0)
            break; /* it was found to be UTF-8 */
        append_char(&out, towlower_l(towupper_l(c, names->locale), names->locale));
        p += n;
    }
    char *text = buf_steal(&out, NULL);
    buf_done(&out);
    return text;
}

static const char *add(struct names *names, const char *path, size_t len, enum kind kind, bool *ret_oom)
{
    CLEANUP_FREE char *key = fold(names, path, len);
    struct name *name = key ? map_get(&names->all, key) : NULL;
    if (name) {
        if (strlen(name->path) != len || memcmp(name->path, path, len) != 0)
            return "differs from another one in upper and lower case only";
        if (kind == IS_ON_THE_WAY)
            return name->kind == IS_FILE ? "has a file for a folder" : NULL;
        if (name->kind != IS_ON_THE_WAY || kind != IS_FOLDER)
            return "comes twice";
        name->kind = IS_FOLDER;
        return NULL;
    }
    name = key ? calloc(1, sizeof *name + strlen(key) + 1) : NULL;
    char *copy = name ? text_dup(path, len) : NULL;
    if (copy) {
        memcpy(name->key, key, strlen(key) + 1);
        name->kind = kind;
        name->path = copy;
        if (map_put(&names->all, name->key, name) == 0)
            return NULL;
    }
    free(copy);
    free(name);
    *ret_oom = true;
    return "cannot be kept for want of memory";
}

const char *names_add(struct names *names, const char *path, bool is_folder, bool *ret_oom)
{
    *ret_oom = false;
    for (const char *slash = path; (slash = strchr(slash, '/')); slash++) {
        const char *flaw = add(names, path, (size_t)(slash - path), IS_ON_THE_WAY, ret_oom);
        if (flaw)
            return flaw;
    }
    return add(names, path, strlen(path), is_folder ? IS_FOLDER : IS_FILE, ret_oom);
}
