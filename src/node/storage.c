/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "node/privileges.h"

/* Makes every folder above the last part of the path that is missing. */
static int make_parents(const char *path, struct tw_error *error)
{
    char part[PATH_MAX];
    if ((size_t)snprintf(part, sizeof part, "%s", path) >= sizeof part)
        return error_set(error, TW_INVALID_ARGUMENT, "the path of the storage folder is too long");
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0755) < 0 && errno != EEXIST)
            return error_set_errno(
                error, errno, "cannot make the folder %s for STORAGE_PATH (choose another with --storage-path)", part);
        *slash = '/';
    }
    return 0;
}

static bool is_empty(int dir)
{
    int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    if (!d) {
        fd_close(&copy);
        return false;
    }
    size_t entries = 0;
    while (readdir(d))
        entries++;
    closedir(d);
    return entries <= 2; /* "." and ".." */
}

/* Words that make root give away a folder are for one that is recognisably a node's; any other may be the system's. */
static int complain_of_owner(int dir, const char *path, uid_t has, const struct identity *owner, struct tw_error *error)
{
    char name[64];
    privileges_name_of(has, name);
    if (geteuid() == 0 && faccessat(dir, "taskworker.db", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return error_set(error, TW_FAILED_PRECONDITION,
            "STORAGE_PATH %s is the storage of a node that ran as %s (uid %u), but the worker runs as uid %u: set "
            "WORKER_USER to its owner, choose another folder, or give it to the worker (chown -R %u:%u %s)",
            path, name, (unsigned)has, (unsigned)owner->uid, (unsigned)owner->uid, (unsigned)owner->gid, path);
    if (geteuid() == 0)
        return error_set(error, TW_FAILED_PRECONDITION,
            "STORAGE_PATH %s belongs to %s (uid %u) and is not empty or not root's, but the worker runs as uid %u and "
            "needs a folder of its own: choose an empty or a new one (--storage-path)",
            path, name, (unsigned)has, (unsigned)owner->uid);
    return error_set(error, TW_FAILED_PRECONDITION,
        "STORAGE_PATH %s belongs to %s (uid %u), but the worker was started by uid %u: start it as the owner, or "
        "choose another "
        "folder (--storage-path)",
        path, name, (unsigned)has, (unsigned)owner->uid);
}

/* Who could write there may have left something; who could only read gets no further from now on. */
static int close_to_others(int dir, const char *path, const struct stat *st, struct tw_error *error)
{
    if (st->st_mode & (S_IWGRP | S_IWOTH))
        return error_set(error, TW_FAILED_PRECONDITION,
            "STORAGE_PATH %s can be written to by others (mode %04o): look at what is in there, then chmod 700 %s",
            path, (unsigned)st->st_mode & 07777, path);
    if (!(st->st_mode & (S_IRWXG | S_IRWXO)))
        return 0;
    if (fchmod(dir, 0700) < 0)
        return error_set_errno(error, errno, "cannot close STORAGE_PATH %s to others (chmod 700)", path);
    log_warning("STORAGE_PATH %s was open to others (mode %04o): now it is not", path, (unsigned)st->st_mode & 07777);
    return 0;
}

int storage_prepare(const char *path, const struct identity *owner, struct tw_error *error)
{
    if (make_parents(path, error) < 0)
        return -1;
    bool made = mkdir(path, 0700) == 0;
    if (!made && errno != EEXIST)
        return error_set_errno(
            error, errno, "cannot make the folder STORAGE_PATH %s (choose another with --storage-path)", path);
    /* No following of a link that somebody else may have put there: the folder may be about to change hands. */
    CLEANUP_FD int dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0 && (errno == ENOTDIR || errno == ELOOP))
        return error_set(
            error, TW_FAILED_PRECONDITION, "STORAGE_PATH %s is not a folder (links are not followed)", path);
    if (dir < 0)
        return error_set_errno(error, errno, "cannot open STORAGE_PATH %s", path);
    struct stat st;
    if (fstat(dir, &st) < 0)
        return error_set_errno(error, errno, "cannot look at STORAGE_PATH %s", path);
    if (st.st_uid == owner->uid)
        return close_to_others(dir, path, &st, error);
    bool ours_to_give = geteuid() == 0 && st.st_uid == 0 && is_empty(dir);
    if (!ours_to_give)
        return complain_of_owner(dir, path, st.st_uid, owner, error);
    if (fchown(dir, owner->uid, owner->gid) < 0 || fchmod(dir, 0700) < 0)
        return error_set_errno(error, errno, "cannot give STORAGE_PATH %s to uid %u", path, (unsigned)owner->uid);
    return 0;
}

int storage_make_temporary(const struct identity *owner, char **ret, struct tw_error *error)
{
    const char *base = getenv("TMPDIR");
    CLEANUP_FREE char *path = NULL;
    if (asprintf(&path, "%s/hivemind-dev-XXXXXX", base && *base == '/' ? base : "/tmp") < 0) {
        path = NULL;
        return error_oom(error);
    }
    if (!mkdtemp(path))
        return error_set_errno(error, errno, "cannot make a temporary folder %s", path);
    if (owner->uid != geteuid() && chown(path, owner->uid, owner->gid) < 0) {
        int saved = errno;
        (void)rmdir(path);
        return error_set_errno(
            error, saved, "cannot give the temporary folder %s to uid %u", path, (unsigned)owner->uid);
    }
    *ret = STEAL(path);
    return 0;
}

static int remove_entry(const char *path, UNUSED const struct stat *st, UNUSED int kind, UNUSED struct FTW *where)
{
    (void)remove(path);
    return 0;
}

void storage_remove(const char *path)
{
    (void)nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}
