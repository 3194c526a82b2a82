/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One way through the archive for what is in it, and for a zip one before, through its list of names alone: that costs nothing there, while a packed
 * tar would have to be unpacked twice. Whatever is wrong, and at whatever place, nothing of the package is left.
 */
#include "package/unpack.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"
#include "base/util.h"
#include "package/gunzip.h"
#include "package/libarchive.h"
#include "package/names.h"
#include "package/staging.h"
#include "package/zip_list.h"

enum { BLOCK_BYTES = 256 * 1024, ENTRIES_DEFAULT = 50000, RATIO_DEFAULT = 200, SHOWN_MAX = 200, TAR_END = 1024 };
static const uint64_t ratio_floor = UINT64_C(64) << 20;

enum frame { FRAME_ZIP, FRAME_GZIP, FRAME_OTHER };

struct unpacking {
    struct libarchive lib;
    struct archive *archive;
    struct gunzip *gunzip; /* NULL: it is not packed by gzip */
    uint64_t unzipped;     /* bytes that came out of that */
    int fd;
    uint64_t archive_bytes;
    struct package_limits limits; /* none is 0 */
    struct names names;
    struct package_stats stats;
    struct staging staging;
    struct tw_error *error;
    char path[NAMES_PATH_MAX];
};

/* --- what is wrong --- */

static int refuse(struct unpacking *u, const char *why)
{
    CLEANUP_FREE char *shown = text_line(u->path, strlen(u->path), SHOWN_MAX);
    return error_set(u->error, TW_INVALID_ARGUMENT, "the package cannot be used: \"%s\" %s", shown ? shown : "?", why);
}

static int refuse_all(struct unpacking *u, const char *why)
{
    return error_set(u->error, TW_INVALID_ARGUMENT, "the package cannot be used: it %s", why);
}

/* What libarchive did not like. */
static int refuse_broken(struct unpacking *u, const char *what)
{
    const char *why = u->lib.archive_error_string(u->archive);
    CLEANUP_FREE char *shown = text_line(why ? why : "", why ? strlen(why) : 0, SHOWN_MAX);
    CLEANUP_FREE char *path = text_line(u->path, strlen(u->path), SHOWN_MAX);
    return error_set(u->error, TW_INVALID_ARGUMENT,
        "the package cannot be used: %s%s%s%s is damaged, or no zip, tar.gz or tar.zst: %s", what,
        *u->path ? " \"" : "", path && *u->path ? path : "", *u->path ? "\"" : "", shown ? shown : "?");
}

/* --- the archive as a whole --- */

static int check_zip(struct unpacking *u)
{
    int error;
    const char *flaw = zip_list_flaw(u->fd, u->archive_bytes, u->limits.entries, &error);
    if (error)
        return error_set_errno(u->error, error, "cannot read the package");
    return flaw ? refuse_all(u, flaw) : 0;
}

/* A tar ends with two blocks of zeros; without, it may have been cut off between two files. */
static int check_tar_end(struct unpacking *u)
{
    uint8_t end[TAR_END];
    if (u->archive_bytes < sizeof end)
        return 0; /* it is no tar, as will be found */
    if (pread(u->fd, end, sizeof end, (off_t)(u->archive_bytes - sizeof end)) != (ssize_t)sizeof end)
        return error_set_errno(u->error, errno, "cannot read the package");
    for (size_t i = 0; i < sizeof end; i++) {
        if (end[i])
            return refuse_all(u, "is no zip, tar.gz or tar.zst, nor a whole tar");
    }
    return 0;
}

static int check_frame(struct unpacking *u, enum frame *ret)
{
    uint8_t magic[4] = {0};
    struct stat st;
    if (fstat(u->fd, &st) < 0 || pread(u->fd, magic, sizeof magic, 0) < 0)
        return error_set_errno(u->error, errno, "cannot read the package");
    u->archive_bytes = (uint64_t)st.st_size;
    if (u->archive_bytes == 0)
        return refuse_all(u, "is empty");
    bool zip = !memcmp(magic, "PK\3\4", 4) || !memcmp(magic, "PK\5\6", 4);
    *ret = zip ? FRAME_ZIP : magic[0] == 0x1f && magic[1] == 0x8b ? FRAME_GZIP : FRAME_OTHER;
    bool zstd = !memcmp(magic, "\x28\xb5\x2f\xfd", 4);
    return zip ? check_zip(u) : *ret == FRAME_OTHER && !zstd ? check_tar_end(u) : 0;
}

/* --- opening --- */

static bool is_too_much(const struct unpacking *u, uint64_t bytes)
{
    uint64_t floor = MAX(ratio_floor, u->archive_bytes);
    return bytes > floor && bytes / u->limits.ratio > u->archive_bytes;
}

static la_ssize_t read_unzipped(struct archive *archive, void *ctx, const void **ret)
{
    struct unpacking *u = ctx;
    ssize_t n = gunzip_read(u->gunzip, ret);
    u->unzipped += n > 0 ? (uint64_t)n : 0;
    if (n < 0)
        u->lib.archive_set_error(archive, (int)-n, "its gzip is damaged or cut off");
    else if (is_too_much(u, u->unzipped))
        u->lib.archive_set_error(archive, EFBIG, "it unpacks to far more than is in it, which no honest package does");
    else
        return n;
    return -1;
}

static int open_source(struct unpacking *u, enum frame frame)
{
    if (frame != FRAME_GZIP)
        return u->lib.archive_read_open_fd(u->archive, u->fd, BLOCK_BYTES);
    u->unzipped = 0;
    u->gunzip = gunzip_new(u->fd);
    return u->gunzip ? u->lib.archive_read_open(u->archive, u, NULL, read_unzipped, NULL) : ARCHIVE_FATAL;
}

static int open_archive(struct unpacking *u, enum frame frame)
{
    struct libarchive *l = &u->lib;
    u->archive = l->archive_read_new();
    if (!u->archive)
        return error_oom(u->error);
    /* None may be one that needs another program (ARCHIVE_WARN). */
    bool ready = frame == FRAME_ZIP ? l->archive_read_support_format_zip_seekable(u->archive) == ARCHIVE_OK
                                    : l->archive_read_support_format_tar(u->archive) == ARCHIVE_OK &&
            l->archive_read_support_filter_zstd(u->archive) == ARCHIVE_OK;
    /* What follows a tar's end is then read, and judged, as one more. */
    if (ready && frame != FRAME_ZIP)
        ready = l->archive_read_set_format_option(u->archive, "tar", "read_concatenated_archives", "1") == ARCHIVE_OK;
    if (!ready)
        return error_set(u->error, TW_FAILED_PRECONDITION, "packages cannot be opened: libarchive lacks a format");
    u->path[0] = '\0';
    if (lseek(u->fd, 0, SEEK_SET) < 0)
        return error_set_errno(u->error, errno, "cannot read the package");
    return open_source(u, frame) == ARCHIVE_OK ? 0 : refuse_broken(u, "it");
}

static void close_archive(struct unpacking *u)
{
    if (u->archive)
        (void)u->lib.archive_read_free(u->archive);
    u->archive = NULL;
    gunzip_free(STEAL(u->gunzip));
}

/* --- one entry --- */

static int check_size(struct unpacking *u, uint64_t bytes)
{
    char why[160];
    if (bytes > u->limits.bytes) {
        snprintf(why, sizeof why, "brings it to more than the %llu bytes that there is room for",
            (unsigned long long)u->limits.bytes);
        refuse(u, why);
        u->error->code = TW_RESOURCE_EXHAUSTED;
        return -1;
    }
    snprintf(why, sizeof why, "unpacks to more than %llu times what is packed, which no honest package does",
        (unsigned long long)u->limits.ratio);
    return is_too_much(u, bytes) ? refuse(u, why) : 0;
}

static int check_kind(struct unpacking *u, struct archive_entry *entry)
{
    const struct libarchive *l = &u->lib;
    mode_t type = l->archive_entry_filetype(entry);
    const char *target = l->archive_entry_symlink(entry);
    if (l->archive_entry_hardlink(entry))
        return refuse(u, "is a hard link, which a package cannot have");
    if (l->archive_entry_is_encrypted(entry))
        return refuse(u, "is encrypted");
    if (type == AE_IFLNK) {
        if (!target || !names_link_stays(u->path, target))
            return refuse(u, "is a link that leads out of the package");
        return 0;
    }
    if (type != AE_IFREG && type != AE_IFDIR)
        return refuse(u, "is neither a file, a folder nor a link");
    if (l->archive_entry_perm(entry) & 07000 && type == AE_IFREG)
        return refuse(u, "has a setuid, setgid or sticky bit");
    if (type == AE_IFREG && (!l->archive_entry_size_is_set(entry) || l->archive_entry_size(entry) < 0))
        return refuse(u, "does not say how large it is");
    return 0;
}

/* Judges it, and counts it. 1: it is the top folder itself, of which nothing is to be made. */
static int check_entry(struct unpacking *u, struct archive_entry *entry)
{
    bool oom;
    const char *raw = u->lib.archive_entry_pathname(entry);
    mode_t type = u->lib.archive_entry_filetype(entry);
    snprintf(u->path, sizeof u->path, "%s", raw ? raw : "");
    if (!raw)
        return refuse(u, "has no name, or one that is not UTF-8");
    if (!names_trim(raw, u->path))
        return refuse(u, "is too long");
    if (!*u->path && type == AE_IFDIR)
        return 1;
    const char *flaw = names_flaw(u->path);
    if (flaw)
        return refuse(u, flaw);
    if (check_kind(u, entry) < 0)
        return -1;
    flaw = names_add(&u->names, u->path, type == AE_IFDIR, &oom);
    if (flaw)
        return oom ? error_oom(u->error) : refuse(u, flaw);
    uint64_t *count = type == AE_IFDIR ? &u->stats.folders : type == AE_IFLNK ? &u->stats.links : &u->stats.files;
    ++*count;
    if (u->names.all.count > u->limits.entries) /* the folders that the names lie in among them */
        return refuse_all(u, "has too many files");
    if (type == AE_IFREG) {
        uint64_t size = (uint64_t)u->lib.archive_entry_size(entry);
        if (size > UINT64_MAX - u->stats.bytes)
            return refuse(u, "is too large");
        u->stats.bytes += size;
        return check_size(u, u->stats.bytes);
    }
    return 0;
}

static int write_data(struct unpacking *u, struct archive_entry *entry, int fd)
{
    uint64_t size = (uint64_t)u->lib.archive_entry_size(entry), written = 0;
    for (;;) {
        const void *block;
        size_t len;
        la_int64_t at;
        int r = u->lib.archive_read_data_block(u->archive, &block, &len, &at);
        if (r == ARCHIVE_EOF)
            return written == size ? 0 : refuse(u, "is shorter than it says");
        if (r != ARCHIVE_OK)
            return refuse_broken(u, "file");
        if (at < 0 || (uint64_t)at != written ||
            len > size - written) /* also sparse ones, of which nothing is to be had */
            return refuse(u, "is not as long as it says");
        r = fd_write_all(fd, block, len);
        if (r < 0)
            return error_set_errno(u->error, r, "the package does not fit into the workspace: writing \"%s\"", u->path);
        written += len;
    }
}

static int write_file(struct unpacking *u, struct archive_entry *entry)
{
    const struct libarchive *l = &u->lib;
    CLEANUP_FD int fd = staging_file(&u->staging, u->path, l->archive_entry_perm(entry) & S_IXUSR ? 0755 : 0644);
    if (fd < 0)
        return error_set_errno(u->error, fd, "cannot make \"%s\" of the package", u->path);
    if (write_data(u, entry, fd) < 0)
        return -1;
    time_t seconds = l->archive_entry_mtime_is_set(entry) ? l->archive_entry_mtime(entry) : 0;
    if (seconds > 0 && seconds < INT32_MAX) {
        const struct timespec times[] = {{.tv_nsec = UTIME_NOW}, {.tv_sec = seconds}};
        (void)futimens(fd, times); /* a nicety */
    }
    return 0;
}

static int write_entry(struct unpacking *u, struct archive_entry *entry)
{
    mode_t type = u->lib.archive_entry_filetype(entry);
    int r = 0;
    if (type == AE_IFREG)
        return write_file(u, entry);
    if (type == AE_IFDIR)
        r = staging_folder(&u->staging, u->path);
    else
        r = staging_link_later(&u->staging, u->path, u->lib.archive_entry_symlink(entry));
    return r < 0 ? error_set_errno(u->error, r, "cannot make \"%s\" of the package", u->path) : 0;
}

/* --- all of them --- */

static int forget_names(struct unpacking *u)
{
    names_done(&u->names);
    u->stats = (struct package_stats){0};
    int r = names_init(&u->names);
    return r < 0 ? error_set_errno(u->error, r, "cannot tell upper from lower case") : 0;
}

/* How much a packed tar has come to so far, files or not: what is skipped counts, too. */
static int check_filter(struct unpacking *u)
{
    la_int64_t bytes = u->lib.archive_filter_bytes(u->archive, 0);
    if (u->lib.archive_filter_count(u->archive) > 2)
        return refuse_all(u, "is packed more than once");
    return bytes > 0 && is_too_much(u, (uint64_t)bytes) ? refuse_all(u, "unpacks to far more than is in it") : 0;
}

static int go_through(struct unpacking *u, enum frame frame, bool write)
{
    struct archive_entry *entry;
    if (forget_names(u) < 0 || open_archive(u, frame) < 0)
        return -1;
    for (;;) {
        int r = u->lib.archive_read_next_header(u->archive, &entry);
        if (r == ARCHIVE_EOF)
            break;
        if (r != ARCHIVE_OK)
            return refuse_broken(u, "what follows");
        r = check_filter(u) < 0 ? -1 : check_entry(u, entry);
        if (r == 0 && write)
            r = write_entry(u, entry);
        if (r < 0)
            return -1;
    }
    close_archive(u);
    return u->stats.files ? 0 : refuse_all(u, "has no file in it");
}

static int unpack(struct unpacking *u, int folder_fd)
{
    enum frame frame = FRAME_OTHER;
    if (check_frame(u, &frame) < 0 || libarchive_load(&u->lib, u->error) < 0)
        return -1;
    if (frame == FRAME_ZIP && go_through(u, frame, false) < 0)
        return -1;
    close_archive(u);
    int r = staging_begin(&u->staging, folder_fd);
    if (r < 0)
        return error_set_errno(u->error, r, "cannot make a folder to unpack the package into");
    r = go_through(u, frame, true);
    if (r == 0) {
        r = staging_commit(&u->staging);
        if (r == -EXDEV)
            refuse_all(u, "has a link that leads out of it by way of another one");
        else if (r < 0)
            error_set_errno(u->error, r, "the package cannot be put into its place");
    }
    staging_drop(&u->staging);
    return r < 0 ? -1 : 0;
}

int package_unpack(int archive_fd, int folder_fd, const struct package_limits *limits, struct package_stats *ret,
    struct tw_error *error)
{
    struct unpacking u = {.fd = archive_fd, .limits = *limits, .error = error, .staging = STAGING_NONE};
    u.limits.entries = limits->entries ? limits->entries : ENTRIES_DEFAULT;
    u.limits.ratio = limits->ratio ? limits->ratio : RATIO_DEFAULT;
    u.limits.bytes = limits->bytes ? limits->bytes : INT64_MAX;
    /* libarchive turns names into the thread's own character set. */
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0), before = utf8 ? uselocale(utf8) : (locale_t)0;
    map_init(&u.names.all);
    int r = utf8 ? unpack(&u, folder_fd) : error_set_errno(error, errno, "there is no UTF-8 here");
    close_archive(&u);
    names_done(&u.names);
    if (utf8) {
        uselocale(before);
        freelocale(utf8);
    }
    if (r == 0 && ret)
        *ret = u.stats;
    return r;
}
