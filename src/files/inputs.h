/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Folders in which tasks find stored files. A set is a folder of hard links to contents, so that nothing is copied, and each
 * lives for as long as a task has use for it, whatever becomes of the files: not even a crash takes them away. Sandboxes show
 * such a folder to their task, read-only.
 *
 * All of it is [any thread] and waits for the disk, but one set is for one thread at a time.
 */
#ifndef FILES_INPUTS_H
#define FILES_INPUTS_H

#include <stddef.h>
#include <stdint.h>

#include <taskworker/storage.h>

enum { INPUTS_MAX = 256 };

/* Below the storage's folder; whoever comes to it finds what he has the name of. */
#define INPUTS_FOLDER "inputs"

struct inputs_wanted {
    const char *id, *name; /* one of them, as in struct tw_file_ref */
    const char *path;      /* below the set's folder; NULL: the file's name */
};

/*
 * Makes the set of this number, of files of this owner: all of it, durable, or nothing. ret: what was found, one each, to be
 * released with tw_file_info_done(). NOT_FOUND, DATA_LOSS, INVALID_ARGUMENT (a path that cannot be, or that two have).
 */
int inputs_make(struct tw_storage *storage, uint64_t set, const char *owner, const struct inputs_wanted *wanted,
    size_t n, struct tw_file_info *ret, struct tw_error *error);
/* Removes it; one that is not there is no mistake. */
int inputs_remove(struct tw_storage *storage, uint64_t set, struct tw_error *error);
/* The number of every set that is there, environments (environments.h) not among them; `found` may not remove any. 0 or -errno. */
int inputs_list(struct tw_storage *storage, void (*found)(void *ctx, uint64_t set), void *ctx);

/*
 * Makes the folder, and the storage's above it, where they are missing: for who has to open it before the storage is there. They
 * belong to whom the folder above them belongs to. 0 or -errno.
 */
int inputs_prepare(const char *storage_path, char *ret_path, size_t size);

#endif
