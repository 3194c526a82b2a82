/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libarchive takes names in the character set of the locale, and marks them as UTF-8 only where that is UTF-8. So the thread has
 * the locale C.UTF-8 while a header is made, whatever the program's is. It also pads an archive to whole blocks unless told not to.
 *
 * It does not free what it holds when a write has failed, or when it is told that the archive has. So it never hears of either:
 * what it writes from then on is dropped, and it completes the archive for nobody.
 */
#include "package/zip.h"

#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"
#include "package/libarchive.h"

enum { CHUNK = 64 * 1024, SHOWN_BYTES = 120 };

struct zip {
    struct libarchive lib;
    struct archive *archive;
    struct archive_entry *entry;
    locale_t locale;
    int fd;
    uint64_t max_bytes, bytes; /* that may be, and have been, written */
    int write_errno;           /* of the fd */
    bool too_large;
    bool finished;
    bool dropped;           /* nothing is to be written any more */
    struct tw_error failed; /* code other than 0: what all calls say from now on */
    char chunk[CHUNK];
};

static la_ssize_t write_out(struct archive *archive, void *arg, const void *data, size_t len)
{
    struct zip *zip = arg;
    (void)archive;
    if (zip->dropped)
        return (la_ssize_t)len;
    zip->too_large = zip->max_bytes > 0 && len > zip->max_bytes - zip->bytes;
    if (!zip->too_large)
        zip->write_errno = -fd_write_all(zip->fd, data, len);
    zip->dropped = zip->too_large || zip->write_errno;
    zip->bytes += zip->dropped ? 0 : len;
    return (la_ssize_t)len;
}

/* A call of libarchive's failed, or what it wrote did: nothing more can be done with it. */
static int fail(struct zip *zip, const char *path, struct tw_error *error)
{
    CLEANUP_FREE char *shown = text_line(path, strlen(path), SHOWN_BYTES);
    const char *said = zip->lib.archive_error_string(zip->archive);
    if (zip->too_large)
        (void)error_set(&zip->failed, TW_RESOURCE_EXHAUSTED,
            "the archive becomes larger than %" PRIu64 " bytes, with %s in it", zip->max_bytes, shown ? shown : "?");
    else if (zip->write_errno)
        (void)error_set_errno(&zip->failed, zip->write_errno, "cannot write the archive");
    else
        (void)error_set(&zip->failed, TW_INTERNAL, "cannot add %s to the archive: %s", shown ? shown : "?",
            said ? said : "libarchive does not say why");
    zip->dropped = true;
    error_copy(error, &zip->failed);
    return -1;
}

/* After each call that may write. A warning, too, is a failure: then it is not as it was asked for. */
static int check(struct zip *zip, int result, const char *path, struct tw_error *error)
{
    return result == ARCHIVE_OK && !zip->dropped ? 0 : fail(zip, path, error);
}

int zip_open(struct zip **ret, int fd, uint64_t max_bytes, struct tw_error *error)
{
    CLEANUP_ZIP struct zip *zip = calloc(1, sizeof *zip);
    if (!zip)
        return error_oom(error);
    zip->fd = fd;
    zip->max_bytes = max_bytes;
    if (libarchive_load(&zip->lib, error) < 0)
        return -1;
    zip->locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    if (!zip->locale)
        return error_set_errno(error, errno, "there is no locale C.UTF-8, which names in an archive need");
    const struct libarchive *lib = &zip->lib;
    zip->archive = lib->archive_write_new();
    zip->entry = lib->archive_entry_new();
    if (!zip->archive || !zip->entry)
        return error_oom(error);
    if (lib->archive_write_set_format_zip(zip->archive) != ARCHIVE_OK ||
        lib->archive_write_zip_set_compression_deflate(zip->archive) != ARCHIVE_OK ||
        lib->archive_write_set_bytes_per_block(zip->archive, CHUNK) != ARCHIVE_OK ||
        lib->archive_write_set_bytes_in_last_block(zip->archive, 1) != ARCHIVE_OK ||
        lib->archive_write_open(zip->archive, zip, NULL, write_out, NULL) != ARCHIVE_OK)
        return fail(zip, "anything", error);
    *ret = STEAL(zip);
    return 0;
}

struct zip *zip_free(struct zip *zip)
{
    if (!zip)
        return NULL;
    zip->dropped = true;
    if (zip->archive)
        (void)zip->lib.archive_write_free(zip->archive);
    if (zip->entry)
        zip->lib.archive_entry_free(zip->entry);
    if (zip->locale)
        freelocale(zip->locale);
    free(zip);
    return NULL;
}

bool zip_path_is_valid(const char *path)
{
    size_t len = strlen(path);
    if (len == 0 || len > ZIP_PATH_MAX || !text_is_utf8(path, len))
        return false;
    for (const char *part = path; part; part = strchr(part, '/') ? strchr(part, '/') + 1 : NULL) {
        size_t n = strcspn(part, "/");
        if (n == 0 || (n == 1 && *part == '.') || (n == 2 && memcmp(part, "..", 2) == 0))
            return false;
    }
    return true;
}

/* Empties the entry and gives it a path; *error as everywhere. */
static int begin(struct zip *zip, const char *path, mode_t type, mode_t mode, struct tw_error *error)
{
    CLEANUP_FREE char *shown = text_line(path, strlen(path), SHOWN_BYTES);
    if (zip->finished)
        return error_set(error, TW_FAILED_PRECONDITION, "the archive is complete; nothing can be added");
    if (zip->failed.code != TW_OK) {
        error_copy(error, &zip->failed);
        return -1;
    }
    if (!zip_path_is_valid(path))
        return error_set(error, TW_INVALID_ARGUMENT,
            "%s cannot be in an archive: a path there is relative, without \"..\", and UTF-8 of at most %d bytes",
            shown ? shown : "?", ZIP_PATH_MAX);
    zip->lib.archive_entry_clear(zip->entry);
    zip->lib.archive_entry_set_filetype(zip->entry, type);
    zip->lib.archive_entry_set_perm(zip->entry, mode);
    return 0;
}

/* The entry's header, in the right locale. */
static int put_header(struct zip *zip, const char *path, const char *link, struct tw_error *error)
{
    locale_t was = uselocale(zip->locale);
    zip->lib.archive_entry_set_pathname(zip->entry, path);
    if (link)
        zip->lib.archive_entry_set_symlink(zip->entry, link);
    int r = zip->lib.archive_write_header(zip->archive, zip->entry);
    (void)uselocale(was);
    return check(zip, r, path, error);
}

static int put_data(struct zip *zip, const char *path, const void *data, size_t len, struct tw_error *error)
{
    for (const char *p = data; len > 0;) {
        la_ssize_t n = zip->lib.archive_write_data(zip->archive, p, len);
        if (check(zip, n > 0 ? ARCHIVE_OK : ARCHIVE_FATAL, path, error) < 0)
            return -1;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

static int end(struct zip *zip, const char *path, struct tw_error *error)
{
    return check(zip, zip->lib.archive_write_finish_entry(zip->archive), path, error);
}

int zip_add_folder(struct zip *zip, const char *path, struct tw_error *error)
{
    return begin(zip, path, AE_IFDIR, 0755, error) < 0 || put_header(zip, path, NULL, error) < 0
        ? -1
        : end(zip, path, error);
}

int zip_add_link(struct zip *zip, const char *path, const char *target, struct tw_error *error)
{
    if (begin(zip, path, AE_IFLNK, 0777, error) < 0)
        return -1;
    if (!*target || strlen(target) > ZIP_PATH_MAX || !text_is_utf8(target, strlen(target)))
        return error_set(error, TW_INVALID_ARGUMENT, "the target of a link in an archive is UTF-8 of at most %d bytes",
            ZIP_PATH_MAX);
    return put_header(zip, path, target, error) < 0 ? -1 : end(zip, path, error);
}

int zip_add_bytes(struct zip *zip, const char *path, const void *data, size_t len, struct tw_error *error)
{
    if (begin(zip, path, AE_IFREG, 0644, error) < 0)
        return -1;
    zip->lib.archive_entry_set_size(zip->entry, (la_int64_t)len);
    if (put_header(zip, path, NULL, error) < 0 || put_data(zip, path, data, len, error) < 0)
        return -1;
    return end(zip, path, error);
}

/* The source of an entry's content cannot be read: the archive has half of it. */
static int bad_source(struct zip *zip, const char *path, int err, struct tw_error *error)
{
    CLEANUP_FREE char *shown = text_line(path, strlen(path), SHOWN_BYTES);
    if (err)
        (void)error_set_errno(&zip->failed, err, "cannot read %s", shown ? shown : "?");
    else
        (void)error_set(&zip->failed, TW_ABORTED, "%s was changed while it was read", shown ? shown : "?");
    zip->dropped = true;
    error_copy(error, &zip->failed);
    return -1;
}

/* The content of a file: `size` bytes, and then the end. */
static int copy(struct zip *zip, const struct zip_file *file, int fd, uint64_t size, struct tw_error *error)
{
    uint64_t left = size;
    for (;;) {
        /* One byte more than there should be, to see the end. */
        ssize_t n = fd_read_all(fd, zip->chunk, left < CHUNK ? (size_t)left + 1 : CHUNK);
        if (n < 0)
            return bad_source(zip, file->path, (int)-n, error);
        if ((uint64_t)n > left || ((size_t)n < CHUNK && (uint64_t)n < left))
            return bad_source(zip, file->path, 0, error);
        if (put_data(zip, file->path, zip->chunk, (size_t)n, error) < 0)
            return -1;
        left -= (uint64_t)n;
        if (n > 0 && file->wrote)
            file->wrote(file->arg, (size_t)n);
        if ((size_t)n < CHUNK)
            return 0;
    }
}

int zip_add_file(struct zip *zip, const struct zip_file *file, int fd, uint64_t size, struct tw_error *error)
{
    if (begin(zip, file->path, AE_IFREG, file->executable ? 0755 : 0644, error) < 0)
        return -1;
    if (size > INT64_MAX)
        return error_set(error, TW_INVALID_ARGUMENT, "no file has %" PRIu64 " bytes", size);
    zip->lib.archive_entry_set_size(zip->entry, (la_int64_t)size);
    if (file->mtime_us > 0)
        zip->lib.archive_entry_set_mtime(zip->entry, (time_t)(file->mtime_us / 1000000), 0);
    if (put_header(zip, file->path, NULL, error) < 0 || copy(zip, file, fd, size, error) < 0)
        return -1;
    return end(zip, file->path, error);
}

int zip_add_stream(struct zip *zip, const char *path, zip_source source, void *arg, struct tw_error *error)
{
    if (begin(zip, path, AE_IFREG, 0644, error) < 0 || put_header(zip, path, NULL, error) < 0)
        return -1;
    for (;;) {
        ssize_t n = source(arg, zip->chunk, sizeof zip->chunk);
        if (n < 0 || (size_t)n > sizeof zip->chunk)
            return bad_source(zip, path, n < 0 ? (int)-n : EINVAL, error);
        if (n == 0)
            return end(zip, path, error);
        if (put_data(zip, path, zip->chunk, (size_t)n, error) < 0)
            return -1;
    }
}

int zip_finish(struct zip *zip, uint64_t *ret_bytes, struct tw_error *error)
{
    if (zip->failed.code != TW_OK) {
        error_copy(error, &zip->failed);
        return -1;
    }
    if (!zip->finished && check(zip, zip->lib.archive_write_close(zip->archive), "its directory", error) < 0)
        return -1;
    zip->finished = true;
    if (ret_bytes)
        *ret_bytes = zip->bytes;
    return 0;
}
