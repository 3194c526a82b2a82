/* SPDX-License-Identifier: Apache-2.0 */
/* Names, hashes and cursors as they come from outside. */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "files/internal.h"

enum { PART_MAX = 255 }; /* what a file system takes, for whoever writes a file out under its name */

int name_check_owner(const char *owner, struct tw_error *error)
{
    size_t len = strnlen(owner, TW_FILE_OWNER_MAX + 1);
    if (len > TW_FILE_OWNER_MAX)
        return error_set(error, TW_INVALID_ARGUMENT, "the name of an owner has at most %d bytes", TW_FILE_OWNER_MAX);
    if (text_has_control(owner, len))
        return error_set(
            error, TW_INVALID_ARGUMENT, "the name of an owner is text in UTF-8 without control characters");
    return 0;
}

/* A name never becomes a path in here; but elsewhere it may, and must not lead anywhere else then. */
static bool parts_are_right(const char *name)
{
    for (;;) {
        size_t len = strcspn(name, "/");
        if (len == 0 || len > PART_MAX || (len == 1 && name[0] == '.') || (len == 2 && !memcmp(name, "..", 2)))
            return false;
        if (name[len] == '\0')
            return true;
        name += len + 1;
    }
}

int name_check(const char *name, struct tw_error *error)
{
    size_t len = name ? strnlen(name, TW_FILE_NAME_MAX + 1) : 0;
    if (len == 0 || len > TW_FILE_NAME_MAX)
        return error_set(error, TW_INVALID_ARGUMENT, "the name of a file has 1 to %d bytes", TW_FILE_NAME_MAX);
    if (text_has_control(name, len))
        return error_set(error, TW_INVALID_ARGUMENT, "the name of a file is text in UTF-8 without control characters");
    if (!parts_are_right(name))
        return error_set(error, TW_INVALID_ARGUMENT,
            "each part of a file's name between slashes has 1 to %d bytes, and is neither '.' nor '..'", PART_MAX);
    return 0;
}

/* --- hex --- */

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int from_hex(const char *hex, size_t len, uint8_t *ret)
{
    for (size_t i = 0; i < len; i++) {
        int high = digit(hex[2 * i]), low = high < 0 ? -1 : digit(hex[2 * i + 1]);
        if (low < 0)
            return -EINVAL;
        ret[i] = (uint8_t)(high << 4 | low);
    }
    return 0;
}

bool name_is_hex(const char *s, size_t len)
{
    return strlen(s) == len && strspn(s, "0123456789abcdef") == len;
}

int name_u64_from_hex(const char *hex, uint64_t *ret)
{
    uint8_t bytes[8];
    *ret = 0;
    if (strnlen(hex, 17) != 16 || from_hex(hex, sizeof bytes, bytes) < 0)
        return -EINVAL;
    for (size_t i = 0; i < sizeof bytes; i++)
        *ret = *ret << 8 | bytes[i];
    return 0;
}

int name_sha_from_hex(const char *hex, uint8_t ret[SHA_BYTES])
{
    return strnlen(hex, TW_SHA256_LEN + 1) == TW_SHA256_LEN ? from_hex(hex, SHA_BYTES, ret) : -EINVAL;
}

/* --- cursors: "HEX.HEX", opaque and without anything that somebody would have to escape --- */

char *name_cursor(const char *owner, const char *name)
{
    size_t owner_len = strlen(owner), name_len = strlen(name);
    char *cursor = malloc(2 * owner_len + 2 * name_len + 2);
    if (!cursor)
        return NULL;
    text_hex(owner, owner_len, cursor);
    cursor[2 * owner_len] = '.';
    text_hex(name, name_len, cursor + 2 * owner_len + 1);
    return cursor;
}

/* The text behind `len` hex digits; NULL with *ret_oom false: they are none. */
static char *text_from_hex(const char *hex, size_t len, bool *ret_oom)
{
    char *text = len % 2 == 0 ? calloc(1, len / 2 + 1) : NULL;
    *ret_oom = len % 2 == 0 && !text;
    if (text && from_hex(hex, len / 2, (uint8_t *)text) < 0) {
        free(text);
        return NULL;
    }
    return text;
}

int name_from_cursor(const char *cursor, char **ret_owner, char **ret_name, struct tw_error *error)
{
    size_t len = strnlen(cursor, 2 * TW_FILE_OWNER_MAX + 2 * TW_FILE_NAME_MAX + 2);
    const char *dot = memchr(cursor, '.', len);
    size_t owner_len = dot ? (size_t)(dot - cursor) : 0;
    bool oom = false, oom_too = false;
    CLEANUP_FREE char *owner = dot ? text_from_hex(cursor, owner_len, &oom) : NULL;
    CLEANUP_FREE char *name = owner ? text_from_hex(dot + 1, len - owner_len - 1, &oom_too) : NULL;
    if (oom || oom_too)
        return error_oom(error);
    /* As long as its digits say: else there was a NUL among them. */
    if (!name || strlen(owner) != owner_len / 2 || strlen(name) != (len - owner_len - 1) / 2 ||
        name_check_owner(owner, NULL) < 0 || name_check(name, NULL) < 0)
        return error_set(error, TW_INVALID_ARGUMENT, "that is no cursor of a list of files");
    *ret_owner = STEAL(owner);
    *ret_name = STEAL(name);
    return 0;
}
