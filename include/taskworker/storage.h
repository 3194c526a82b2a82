/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A storage manager: files of any size with owners and names, kept in a folder. Equal contents are stored once, found by
 * their SHA-256, and checked against it when they are read. It needs no worker and no event loop.
 *
 * Threads: all calls on a tw_storage are [any thread] and block until they are done. An upload or an open file is for one
 * thread at a time, whichever that is.
 *
 * What was answered with success is on disk and stays there, whatever becomes of the process or the machine afterwards.
 */
#ifndef TASKWORKER_STORAGE_H
#define TASKWORKER_STORAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <taskworker/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tw_storage;
struct tw_upload;
struct tw_file;

enum {
    TW_FILE_ID_LEN = 32,     /* hex digits */
    TW_SHA256_LEN = 64,      /* likewise */
    TW_FILE_NAME_MAX = 1024, /* bytes of a name, and 255 between two slashes */
    TW_FILE_OWNER_MAX = 256,
};

struct tw_storage_options {
    size_t size;        /* sizeof(struct tw_storage_options) */
    const char *path;   /* a folder of the storage's own, made if it is not there; required */
    uint64_t max_bytes; /* of all contents on disk together, those on their way in included; 0: 10 GiB */
    uint64_t
        max_owner_bytes; /* of the files of one owner, whatever they share with others; 0: max_bytes alone counts */
    uint64_t max_owner_files; /* 0: a million */
    uint64_t retention_us;    /* a file that is older goes, reckoned from its newest version; 0: never */
    bool no_background;       /* nothing is cleaned up but by tw_storage_gc(); else a thread of its own does it */
};

/*
 * Opens the storage and clears away what a crash may have left of uploads. FAILED_PRECONDITION: somebody else has it open (and
 * has not let go of it within 2 s), or the folder holds something else.
 */
TW_PUBLIC int tw_storage_open(
    const struct tw_storage_options *options, struct tw_storage **ret, struct tw_error *error);
/* Every upload and open file has to be gone, and no other thread may be in a call. NULL is allowed. */
TW_PUBLIC void tw_storage_close(struct tw_storage *storage);
/* Changes max_bytes, max_owner_bytes, max_owner_files and retention_us, for what comes from now on. */
TW_PUBLIC void tw_storage_reload(struct tw_storage *storage, const struct tw_storage_options *options);

/* What is known of a file. tw_file_info_done() releases it. */
struct tw_file_info {
    char id[TW_FILE_ID_LEN + 1];
    char sha256[TW_SHA256_LEN + 1]; /* of the newest version's content */
    char *owner, *name;
    uint64_t size;
    uint64_t created_us, modified_us; /* since the epoch: the first version, and the newest */
    uint64_t version;                 /* 1, and one more with each put under the same name */
    bool is_damaged;                  /* its content is lost or was found changed: it can be deleted, or put again */
};
TW_PUBLIC void tw_file_info_done(struct tw_file_info *info);

/*
 * Which file is meant, and who asks: by its id, or by its name among those of the owner. What belongs to somebody else is
 * NOT_FOUND, as if it were not there.
 */
struct tw_file_ref {
    const char *owner; /* NULL: "", nobody in particular */
    const char *id;    /* NULL: by the name */
    const char *name;
    bool any_owner; /* with an id: the operator asks, whose file it is does not matter */
};

/* --- putting --- */

struct tw_put_options {
    size_t size;       /* sizeof(struct tw_put_options) */
    const char *owner; /* NULL: "" */
    const char
        *name; /* UTF-8 without control characters; may have parts between slashes, but no empty one, "." or ".." */
    uint64_t length;       /* bytes that will come; set aside at once */
    bool unknown_length;   /* they are set aside as they come */
    const char *sha256;    /* what the content has to be, in lower-case hex; NULL: whatever comes */
    uint64_t base_version; /* the version that it takes the place of, ABORTED if there is another; 0: any, or none */
};

/*
 * Begins a new file, or the next version of the one of that name. Readers have the version before until it is committed.
 * RESOURCE_EXHAUSTED, here and below: the disk or a quota is full; nothing of the upload stays behind.
 */
TW_PUBLIC int tw_storage_put(
    struct tw_storage *storage, const struct tw_put_options *options, struct tw_upload **ret, struct tw_error *error);
/* After a failure only tw_upload_abort() is left to do. */
TW_PUBLIC int tw_upload_write(struct tw_upload *upload, const void *data, size_t len, struct tw_error *error);
/* Makes it durable and visible. The upload is freed, whatever comes of it. `ret` may be NULL. */
TW_PUBLIC int tw_upload_commit(struct tw_upload *upload, struct tw_file_info *ret, struct tw_error *error);
/* NULL is allowed. */
TW_PUBLIC void tw_upload_abort(struct tw_upload *upload);

/* --- changing --- */

struct tw_patch;

struct tw_patch_options {
    size_t size;               /* sizeof(struct tw_patch_options) */
    struct tw_file_ref file;   /* of this one's newest version */
    uint64_t base_version;     /* which has to be this, else ABORTED; 0: whichever it is */
    uint64_t base_modified_us; /* likewise its time; 0: any */
    const char *sha256;        /* what has to come out of it; NULL: whatever comes */
};

/*
 * The next version of a file by what differs: a delta as librsync (rdiff) makes it. Errors as for an upload; INVALID_ARGUMENT where
 * it is no delta, ABORTED where the file has changed meanwhile. Whatever fails, the version before stays. Calls as for an upload, for
 * one thread at a time.
 */
TW_PUBLIC int tw_storage_patch(
    struct tw_storage *storage, const struct tw_patch_options *options, struct tw_patch **ret, struct tw_error *error);
/* The delta, in pieces. After a failure only tw_patch_abort() is left to do. */
TW_PUBLIC int tw_patch_write(struct tw_patch *patch, const void *data, size_t len, struct tw_error *error);
/* The patch is freed, whatever comes of it. `ret` may be NULL. */
TW_PUBLIC int tw_patch_commit(struct tw_patch *patch, struct tw_file_info *ret, struct tw_error *error);
/* NULL is allowed. */
TW_PUBLIC void tw_patch_abort(struct tw_patch *patch);

/* --- getting --- */

/*
 * Opens the newest version; what is open stays as it is, whatever is put, deleted or cleaned up meanwhile. DATA_LOSS: its
 * content is known to be damaged.
 */
TW_PUBLIC int tw_storage_get(
    struct tw_storage *storage, const struct tw_file_ref *ref, struct tw_file **ret, struct tw_error *error);
/* Lives as long as the file is open. */
TW_PUBLIC const struct tw_file_info *tw_file_info(const struct tw_file *file);
/*
 * The next bytes, len of them at most; 0 at the end. The last bytes of a content are only given once all of it has been found
 * to be what was put: otherwise this is DATA_LOSS, and the content is not given to anybody again.
 */
TW_PUBLIC ssize_t tw_file_read(struct tw_file *file, void *data, size_t len, struct tw_error *error);
/* Reads through all of it, for whoever uses the descriptor; tw_file_read() begins anew afterwards. */
TW_PUBLIC int tw_file_verify(struct tw_file *file, struct tw_error *error);
/* The content, open for reading; belongs to the file. With its own offset, which tw_file_read() does not use. */
TW_PUBLIC int tw_file_fd(const struct tw_file *file);
/* NULL is allowed. Does not wait for anybody. */
TW_PUBLIC void tw_file_close(struct tw_file *file);

/* --- looking and deleting --- */

TW_PUBLIC int tw_storage_find(
    struct tw_storage *storage, const struct tw_file_ref *ref, struct tw_file_info *ret, struct tw_error *error);
/* The name is gone at once, the room soon after. */
TW_PUBLIC int tw_storage_delete(struct tw_storage *storage, const struct tw_file_ref *ref, struct tw_error *error);

struct tw_file_list_options {
    size_t size;        /* sizeof(struct tw_file_list_options) */
    const char *owner;  /* NULL: "" */
    bool any_owner;     /* those of everybody, ordered by owner first; `owner` is not looked at */
    const char *prefix; /* of names; NULL: all */
    const char *cursor; /* where the page before ended; NULL: from the start */
    size_t limit;       /* 0, and more than 1000: 1000 */
};
struct tw_file_list {
    struct tw_file_info *files; /* by name, byte by byte */
    size_t n;
    char *cursor; /* for the next page; NULL: there is none */
};
TW_PUBLIC int tw_storage_list(struct tw_storage *storage, const struct tw_file_list_options *options,
    struct tw_file_list *ret, struct tw_error *error);
TW_PUBLIC void tw_file_list_done(struct tw_file_list *list);

struct tw_storage_stat {
    uint64_t files, bytes;      /* with what several of them share counted for each */
    uint64_t blobs, blob_bytes; /* different contents on disk, and what they take; 0 for a single owner */
    uint64_t unused_bytes;      /* of these: of no file any more, on their way out */
    uint64_t saved_bytes;       /* what sharing saves */
    uint64_t reserved_bytes;    /* set aside for uploads */
    uint64_t damaged_blobs;     /* known to be damaged or gone */
    uint64_t max_bytes, max_owner_bytes, max_owner_files;
};
/* Of one owner, or (NULL) of all together. */
TW_PUBLIC int tw_storage_stat(
    struct tw_storage *storage, const char *owner, struct tw_storage_stat *ret, struct tw_error *error);

struct tw_owner_usage {
    char *owner;
    uint64_t files, bytes;
};
/* The owners behind `after` (NULL: from the start), by name, at most `max`; release with tw_owner_usage_free(). */
TW_PUBLIC int tw_storage_owners(struct tw_storage *storage, const char *after, size_t max, struct tw_owner_usage **ret,
    size_t *ret_n, struct tw_error *error);
TW_PUBLIC void tw_owner_usage_free(struct tw_owner_usage *owners, size_t n);

/* --- care --- */

struct tw_storage_gc_report {
    uint64_t files;        /* that were too old */
    uint64_t blobs, bytes; /* that no file used */
    uint64_t strays;       /* files in the folder that nothing knew of */
    uint64_t missing;      /* contents that were found to be gone */
};
/* Cleans up, in small pieces that let others in between; nothing that is open or on its way in is touched. */
TW_PUBLIC int tw_storage_gc(struct tw_storage *storage, struct tw_storage_gc_report *ret, struct tw_error *error);

struct tw_fsck_report {
    uint64_t blobs, bytes; /* that were looked at */
    uint64_t damaged;      /* are not what was put */
    uint64_t missing;      /* are gone */
    uint64_t healed;       /* were one or the other, and are right again */
    uint64_t lost_files;   /* files whose content is damaged or missing */
    uint64_t wrong_counts; /* numbers in the database that do not add up */
};
/* `done` of `total` bytes have been read; false: stop (CANCELLED). */
typedef bool tw_fsck_progress(void *ctx, uint64_t done, uint64_t total);
/*
 * Reads every content and compares it with its hash; marks what is damaged, and takes the mark from what is not. Others go on
 * meanwhile. DATA_LOSS if the database itself is damaged. `progress` may be NULL.
 */
TW_PUBLIC int tw_storage_fsck(struct tw_storage *storage, tw_fsck_progress *progress, void *ctx,
    struct tw_fsck_report *ret, struct tw_error *error);

#ifdef __cplusplus
}
#endif
#endif
