/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes a zip archive to a descriptor that need not be seekable, entry by entry, by libarchive. Memory does not grow with the
 * size of an entry, and some 200 bytes are kept of each; zip64 is used where sizes, offsets or the number of entries need it.
 *
 * The same calls give the same bytes (with the same zlib), whatever the time, time zone, locale and user: an entry has no owner,
 * and no time unless one is given, which reads as the first of January 1980.
 *
 * A path is relative, without empty parts, "." and "..", and UTF-8 without NUL, of at most 4095 bytes. That one path comes twice is
 * the caller's to see to. A call that refuses a path has written nothing; after any other failure all that follows fails the same.
 */
#ifndef PACKAGE_ZIP_H
#define PACKAGE_ZIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <taskworker/error.h>

#include "base/util.h"

struct zip;

enum { ZIP_PATH_MAX = 4095 };

/* max_bytes: of the archive; more is RESOURCE_EXHAUSTED. 0: no bound. The fd stays the caller's, and must stay open. */
int zip_open(struct zip **ret, int fd, uint64_t max_bytes, struct tw_error *error);

struct zip_file {
    const char *path;
    uint64_t mtime_us; /* 0: none */
    bool executable;
    void (*wrote)(void *arg, size_t n); /* NULL, or told of every n bytes of content */
    void *arg;
};

/* A folder; its path without a '/' at the end. */
int zip_add_folder(struct zip *zip, const char *path, struct tw_error *error);
int zip_add_link(struct zip *zip, const char *path, const char *target, struct tw_error *error);
/* Exactly `size` bytes from where the fd stands; a file that has less or more was changed meanwhile: ABORTED. */
int zip_add_file(struct zip *zip, const struct zip_file *file, int fd, uint64_t size, struct tw_error *error);
int zip_add_bytes(struct zip *zip, const char *path, const void *data, size_t len, struct tw_error *error);

/* At most `max` bytes into `to`; how many; 0 at the end; -errno. */
typedef ssize_t (*zip_source)(void *arg, void *to, size_t max);
/* What comes from the source until its end, of whatever size. */
int zip_add_stream(struct zip *zip, const char *path, zip_source source, void *arg, struct tw_error *error);

/* Writes the directory at the end. *ret_bytes (may be NULL): the size of the archive. Nothing can be added afterwards. */
int zip_finish(struct zip *zip, uint64_t *ret_bytes, struct tw_error *error);
/* Without zip_finish() the archive is left as it is: incomplete, with nothing that would pass for an end. Takes NULL. */
struct zip *zip_free(struct zip *zip);
static inline void cleanup_zip(struct zip **zip)
{
    *zip = zip_free(*zip);
}
#define CLEANUP_ZIP CLEANUP(cleanup_zip)

/* Whether it may be the path of an entry. */
bool zip_path_is_valid(const char *path);

#endif
