/* SPDX-License-Identifier: Apache-2.0 */
#include "package/zip_list.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"

enum {
    LOCAL_BYTES = 30,
    LISTED_BYTES = 46,
    END_BYTES = 22,
    COMMENT_MAX = 65535,
    FLAG_ENCRYPTED = 1 << 0,
    FLAG_SIZES_BEHIND = 1 << 3,
    FLAG_STRONGLY_ENCRYPTED = 1 << 6,
    FLAG_MASKED = 1 << 13,
};

/* What a file takes in the zip, from its own header on. */
struct extent {
    uint64_t begin, end;
    bool sizes_behind; /* the few bytes that say them are not counted in */
};

struct zip_list {
    int fd;
    uint64_t begin, bytes, entries;
    struct extent *extents;
    int error;
};

static unsigned u16le(const uint8_t *p)
{
    return (unsigned)(p[0] | p[1] << 8);
}

static uint32_t u32le(const uint8_t *p)
{
    return (uint32_t)u16le(p + 2) << 16 | u16le(p);
}

/* A copy of that part of the file, to be freed; NULL with the error. */
static uint8_t *load(struct zip_list *z, uint64_t at, size_t len)
{
    uint8_t *bytes = malloc(len ? len : 1);
    ssize_t n = bytes ? pread(z->fd, bytes, len, (off_t)at) : -1;
    if (n == (ssize_t)len)
        return bytes;
    z->error = !bytes ? ENOMEM : n < 0 ? errno : EIO;
    free(bytes);
    return NULL;
}

static const char *find_list(struct zip_list *z, uint64_t file_bytes)
{
    size_t len = (size_t)MIN(file_bytes, (uint64_t)(END_BYTES + COMMENT_MAX));
    CLEANUP_FREE uint8_t *tail = load(z, file_bytes - len, len);
    if (!tail)
        return "cannot be read";
    size_t at = len < END_BYTES ? 0 : len - END_BYTES + 1;
    while (at-- > 0) { /* what looks like the last record, but has something else behind it, is in a comment */
        const uint8_t *end = tail + at;
        if (memcmp(end, "PK\5\6", 4) != 0 || u16le(end + 20) != len - at - END_BYTES)
            continue;
        z->entries = u16le(end + 10);
        z->bytes = u32le(end + 12);
        z->begin = u32le(end + 16);
        if (z->entries == UINT16_MAX || z->bytes == UINT32_MAX || z->begin == UINT32_MAX)
            return "is a zip for more than 4 GiB or 65,534 files, which a package never has";
        if (u16le(end + 4) || u16le(end + 6) || u16le(end + 8) != z->entries)
            return "is a part of a zip";
        if (z->begin + z->bytes != file_bytes - len + at)
            return "has something in front of it or within that is no part of a zip";
        return z->entries ? NULL : "is an empty zip";
    }
    return "is a zip without its end, or with something behind it";
}

/* What stands in front of the file against what the list says of it. */
static const char *compare(struct zip_list *z, const uint8_t *listed, unsigned name_len, struct extent *ret)
{
    uint64_t at = u32le(listed + 42);
    if (at + LOCAL_BYTES + name_len > z->begin)
        return "has a list of files that leads out of it";
    CLEANUP_FREE uint8_t *local = load(z, at, LOCAL_BYTES + name_len);
    if (!local)
        return "cannot be read";
    unsigned flags = u16le(listed + 8);
    if (memcmp(local, "PK\3\4", 4) != 0 || u16le(local + 6) != flags || u16le(local + 8) != u16le(listed + 10) ||
        u16le(local + 26) != name_len || memcmp(local + LOCAL_BYTES, listed + LISTED_BYTES, name_len) != 0)
        return "has a list of files that says something else than the files themselves do";
    ret->begin = at;
    ret->end = at + LOCAL_BYTES + name_len + u16le(local + 28) + u32le(listed + 20);
    ret->sizes_behind = flags & FLAG_SIZES_BEHIND;
    return NULL;
}

static const char *read_list(struct zip_list *z)
{
    CLEANUP_FREE uint8_t *list = load(z, z->begin, (size_t)z->bytes);
    if (!list)
        return "cannot be read";
    uint64_t at = 0;
    for (uint64_t i = 0; i < z->entries; i++) {
        const uint8_t *p = list + at;
        if (z->bytes - at < LISTED_BYTES || memcmp(p, "PK\1\2", 4) != 0)
            return "has a damaged list of files";
        unsigned name_len = u16le(p + 28);
        uint64_t len = LISTED_BYTES + name_len + u16le(p + 30) + u16le(p + 32);
        if (z->bytes - at < len)
            return "has a damaged list of files";
        if (u16le(p + 8) & (FLAG_ENCRYPTED | FLAG_STRONGLY_ENCRYPTED | FLAG_MASKED))
            return "is encrypted";
        if (memchr(p + LISTED_BYTES, 0, name_len))
            return "has a file with a NUL in its name";
        const char *flaw = compare(z, p, name_len, &z->extents[i]);
        if (flaw)
            return flaw;
        at += len;
    }
    return at == z->bytes ? NULL : "has a list of files that goes on behind its end";
}

static int by_begin(const void *a, const void *b)
{
    uint64_t x = ((const struct extent *)a)->begin, y = ((const struct extent *)b)->begin;
    return x < y ? -1 : x > y;
}

/* With or without a signature, and sizes of four or eight bytes. */
static bool gap_is_right(const struct extent *e, uint64_t gap)
{
    return gap == 0 ? !e->sizes_behind : e->sizes_behind && (gap == 12 || gap == 16 || gap == 20 || gap == 24);
}

static const char *check_gaps(struct zip_list *z)
{
    qsort(z->extents, z->entries, sizeof *z->extents, by_begin);
    if (z->extents[0].begin != 0)
        return "has something in front of it or within that is no part of a zip";
    for (uint64_t i = 0; i < z->entries; i++) {
        uint64_t next = i + 1 < z->entries ? z->extents[i + 1].begin : z->begin;
        if (next < z->extents[i].end)
            return "has files that lie over each other";
        if (!gap_is_right(&z->extents[i], next - z->extents[i].end))
            return "has something in front of it or within that is no part of a zip";
    }
    return NULL;
}

const char *zip_list_flaw(int fd, uint64_t file_bytes, uint64_t max_entries, int *ret_error)
{
    struct zip_list z = {.fd = fd};
    const char *flaw = find_list(&z, file_bytes);
    if (!flaw && z.entries > max_entries)
        flaw = "has too many files";
    if (!flaw) {
        z.extents = calloc(z.entries, sizeof *z.extents);
        z.error = z.extents ? 0 : ENOMEM;
        flaw = z.extents ? read_list(&z) : "cannot be read";
    }
    if (!flaw)
        flaw = check_gaps(&z);
    free(z.extents);
    *ret_error = z.error;
    return flaw;
}
