/* SPDX-License-Identifier: Apache-2.0 */
#include "slot/profile.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/util.h"

enum { PROFILE_MAGIC = 0x686d7066, PROFILE_WARM = 1 };

int profile_encode(const struct slot_profile *profile, struct buf *out)
{
    const char *const texts[] = {profile->python, profile->preload, profile->paths, profile->root, profile->functions};
    buf_append_u32le(out, PROFILE_MAGIC);
    buf_append_u32le(out, profile->warm ? PROFILE_WARM : 0);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        buf_append(out, texts[i], strlen(texts[i]) + 1);
    return out->error ? out->error : out->len > PROFILE_BYTES_MAX ? -E2BIG : 0;
}

static bool take_text(struct cursor *c, const char **ret)
{
    const uint8_t *text, *end = memchr(c->data, 0, c->left);
    if (!end || !cursor_bytes(c, (size_t)(end - c->data) + 1, &text))
        return false;
    *ret = (const char *)text;
    return true;
}

bool profile_decode(const void *data, size_t len, struct slot_profile *ret)
{
    struct cursor c = cursor_of(data, len);
    uint32_t magic, flags;
    *ret = (struct slot_profile){0};
    if (len > PROFILE_BYTES_MAX || !cursor_u32le(&c, &magic) || !cursor_u32le(&c, &flags) || magic != PROFILE_MAGIC ||
        flags > PROFILE_WARM || !take_text(&c, &ret->python) || !take_text(&c, &ret->preload) ||
        !take_text(&c, &ret->paths) || !take_text(&c, &ret->root) || !take_text(&c, &ret->functions) || c.left)
        return false;
    ret->warm = flags & PROFILE_WARM;
    return ret->python[0] == '/' && (!*ret->root || ret->root[0] == '/');
}

/* The next part of a list, without spaces around it; empty parts are passed over. */
static int next_part(const char **list, char separator, char *ret, size_t size)
{
    const char around[] = {separator, ' ', '\0'}, between[] = {separator, '\0'};
    const char *at = *list + strspn(*list, around);
    size_t len = strcspn(at, between);
    *list = at + len;
    while (len > 0 && at[len - 1] == ' ')
        len--;
    bool fits = len < size;
    len = MIN(len, size - 1);
    memcpy(ret, at, len);
    ret[len] = '\0';
    return !fits ? -EINVAL : len > 0;
}

static bool is_below(const char *path, const char *folder)
{
    size_t len = strlen(folder);
    return !strncmp(path, folder, len) && (path[len] == '/' || !path[len]);
}

static bool path_ok(const char *path)
{
    static const char *const own[] = {
        "/proc", "/sys", "/dev", "/tmp", "/var/tmp", "/workspace", "/inputs", "/environment"};
    if (path[0] != '/' || !path[1])
        return false;
    for (const char *part = path; *part; part += strcspn(part + 1, "/") + 1) {
        size_t len = strcspn(part + 1, "/");
        if (len == 0 || (part[1] == '.' && (len == 1 || (len == 2 && part[2] == '.'))))
            return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        if (is_below(path, own[i]))
            return false;
    }
    return true;
}

int profile_next_path(const char **list, char *ret, size_t size)
{
    int r = next_part(list, ':', ret, size);
    for (size_t len = strlen(ret); r == 1 && len > 1 && ret[len - 1] == '/'; len--)
        ret[len - 1] = '\0';
    return r == 1 && !path_ok(ret) ? -EINVAL : r;
}

static bool module_ok(const char *name)
{
    bool first = true;
    for (; *name; name++) {
        bool letter = (*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z') || *name == '_';
        bool digit = *name >= '0' && *name <= '9';
        if (first ? !letter : !letter && !digit && *name != '.')
            return false;
        first = *name == '.';
    }
    return !first;
}

int profile_next_module(const char **list, char *ret, size_t size)
{
    int r = next_part(list, ',', ret, size);
    return r == 1 && !module_ok(ret) ? -EINVAL : r;
}
