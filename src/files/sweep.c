/* SPDX-License-Identifier: Apache-2.0 */
/* Comparing what is in the folder with what is in the database: a crash, or somebody's hand, may have parted them. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/text.h"
#include "files/internal.h"

/* NULL with errno. */
static DIR *open_folder(int at, const char *name)
{
    CLEANUP_FD int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir)
        (void)fd_steal(&fd);
    return dir;
}

static void close_folder(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

static bool is_upload(struct tw_storage *s, const char *name)
{
    bool found = false;
    pthread_mutex_lock(&s->lock);
    list_for_each (it, &s->uploads) {
        const struct tw_upload *u = CONTAINER_OF(it, struct tw_upload, link);
        found |= !strcmp(u->tmp, name);
    }
    pthread_mutex_unlock(&s->lock);
    return found;
}

int sweep_tmp(struct tw_storage *s, struct tw_storage_gc_report *report, struct tw_error *error)
{
    CLEANUP(close_folder) DIR *dir = open_folder(s->root.tmp_fd, ".");
    if (!dir)
        return root_fail(&s->root, errno, "read", ROOT_TMP, error);
    for (struct dirent *e; (e = readdir(dir));) {
        if (!name_is_hex(e->d_name, TMP_NAME_MAX - 1) || is_upload(s, e->d_name))
            continue;
        tmp_remove(&s->root, e->d_name);
        report->strays++;
    }
    return 0;
}

static int sweep_folder(
    struct tw_storage *s, const char *folder, struct tw_storage_gc_report *report, struct tw_error *error)
{
    CLEANUP(close_folder) DIR *dir = open_folder(s->root.blobs_fd, folder);
    if (!dir)
        return root_fail(&s->root, errno, "read", ROOT_BLOBS, error);
    for (struct dirent *e; (e = readdir(dir)) && !gc_is_stopping(s);) {
        char hex[TW_SHA256_LEN + 1];
        uint8_t sha[SHA_BYTES];
        /* What has another name was put there by somebody else, who may want it back. */
        if (strlen(e->d_name) != TW_SHA256_LEN - 2)
            continue;
        snprintf(hex, sizeof hex, "%.2s%.62s", folder, e->d_name);
        if (name_sha_from_hex(hex, sha) == 0)
            report->strays += blob_drop_stray(s, sha);
    }
    return 0;
}

/* The folder is looked at outside of the lock first: nearly always all is well. */
static int check_row(
    struct tw_storage *s, const struct catalog_blob *blob, struct tw_storage_gc_report *report, struct tw_error *error)
{
    int r = blob->state == BLOB_GOOD ? blob_look(&s->root, blob->sha, blob->size) : 0;
    if (r != -ENOENT && r != -EBADMSG)
        return 0;
    CATALOG_LOCKED(s);
    int64_t id = 0;
    uint64_t size;
    enum blob_state state;
    int found = catalog_find_blob(s, blob->sha, &id, &size, &state, error);
    r = blob_look(&s->root, blob->sha, blob->size);
    if (found <= 0 || id != blob->id || (r != -ENOENT && r != -EBADMSG))
        return found < 0 ? -1 : 0;
    char hex[TW_SHA256_LEN + 1];
    text_hex(blob->sha, SHA_BYTES, hex);
    log_error("the content %s is %s", hex, r == -ENOENT ? "gone" : "damaged");
    report->missing += r == -ENOENT;
    return catalog_mark(s, id, r == -ENOENT ? BLOB_MISSING : BLOB_DAMAGED, error);
}

static int next_row(struct tw_storage *s, int64_t after, struct catalog_blob *ret, struct tw_error *error)
{
    CATALOG_LOCKED(s);
    return catalog_next_blob(s, after, ret, error);
}

int sweep_blobs(struct tw_storage *s, struct tw_storage_gc_report *report, struct tw_error *error)
{
    for (unsigned i = 0; i < 256; i++) {
        char folder[3];
        snprintf(folder, sizeof folder, "%02x", i);
        if (sweep_folder(s, folder, report, error) < 0)
            return -1;
    }
    struct catalog_blob blob = {0};
    int r;
    while ((r = next_row(s, blob.id, &blob, error)) > 0 && !gc_is_stopping(s)) {
        if (check_row(s, &blob, report, error) < 0)
            return -1;
    }
    return r < 0 ? -1 : 0;
}
