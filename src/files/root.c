/* SPDX-License-Identifier: Apache-2.0 */
#include "files/root.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"
#include "files/inputs.h"

/* Who had the files before may be about to end: a node lets go of its tasks a moment before it does of these. */
enum { LOCK_PATIENCE_MS = 2000 };

static bool is_own_name(const char *name)
{
    /* lost+found: a file system of its own. Those of the database: of a start that was cut short. */
    static const char *const own[] = {".", "..", ROOT_DB, ROOT_DB "-journal", ROOT_DB "-wal", ROOT_DB "-shm", ROOT_LOCK,
        ROOT_BLOBS, ROOT_TMP, INPUTS_FOLDER, "lost+found"};
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        if (!strcmp(name, own[i]))
            return true;
    }
    return false;
}

/* 1, with its name in `other`, if there is anything but what may be there; -errno. */
static int find_other(int dir_fd, bool (*may_be)(const char *name), char other[NAME_MAX + 1])
{
    CLEANUP_FD int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir)
        return -errno;
    (void)fd_steal(&fd);
    int r = 0;
    for (struct dirent *e; r == 0 && (e = readdir(dir));) {
        r = !may_be(e->d_name);
        snprintf(other, NAME_MAX + 1, "%s", e->d_name);
    }
    closedir(dir);
    return r;
}

static bool is_dots(const char *name)
{
    return !strcmp(name, ".") || !strcmp(name, "..");
}

static bool has_blobs(const struct root *root)
{
    char name[sizeof ROOT_BLOBS "/ff"], other[NAME_MAX + 1];
    bool any = false;
    for (unsigned i = 0; i < 256 && !any; i++) {
        snprintf(name, sizeof name, ROOT_BLOBS "/%02x", i);
        CLEANUP_FD int fd = openat(root->dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        any = fd >= 0 && find_other(fd, is_dots, other) == 1;
    }
    return any;
}

/*
 * Is this ours, or free to become ours? A folder with anything foreign in it and no database is somebody's home, and one with
 * contents but without the database that refers to them has lost it: making a new one would sweep them away.
 */
static int check_contents(const struct root *root, struct tw_error *error)
{
    struct stat st;
    if (fstatat(root->dir_fd, ROOT_DB, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        if (!S_ISREG(st.st_mode))
            return error_set(error, TW_FAILED_PRECONDITION,
                "%s is not a regular file: move it away or choose another folder for files", root->db_path);
        if (st.st_size > 0)
            return 0;
    }
    char other[NAME_MAX + 1];
    int r = find_other(root->dir_fd, is_own_name, other);
    if (r < 0)
        return error_set_errno(error, r, "cannot read the folder %s", root->path);
    CLEANUP_FREE char *shown = r > 0 ? text_line(other, strlen(other), 60) : NULL;
    if (r > 0)
        return error_set(error, TW_FAILED_PRECONDITION,
            "%s is not empty and holds no " ROOT_DB " (but \"%s\"): choose an empty or a new folder for files",
            root->path, shown ? shown : "?");
    if (has_blobs(root))
        return error_set(error, TW_DATA_LOSS,
            "%s is missing or empty, but contents of files are there: restore it from a backup, or move %s away",
            root->db_path, root->path);
    return 0;
}

static int check_owner(const struct root *root, struct tw_error *error)
{
    struct stat st;
    if (fstat(root->dir_fd, &st) < 0)
        return error_set_errno(error, errno, "cannot look at the folder %s", root->path);
    if (st.st_uid != geteuid())
        return error_set(error, TW_PERMISSION_DENIED,
            "the folder %s belongs to uid %u, this process is uid %u: run as its owner or chown it", root->path,
            (unsigned)st.st_uid, (unsigned)geteuid());
    /* Others may have put anything there; and closing such a folder (/tmp) to them would break the machine. */
    if (st.st_mode & (S_IWGRP | S_IWOTH))
        return error_set(error, TW_FAILED_PRECONDITION,
            "others may write to the folder %s: `chmod 700` it, or choose a folder of the storage's own", root->path);
    return 0;
}

static int open_top(struct root *root, struct tw_error *error)
{
    if (mkdir(root->path, 0700) < 0 && errno != EEXIST) {
        int err = errno;
        return error_set_errno(error, err, "cannot make the folder %s%s", root->path,
            err == ENOENT ? " (make its parent folder first)" : "");
    }
    root->dir_fd = open(root->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (root->dir_fd < 0 && (errno == ENOTDIR || errno == ELOOP))
        return error_set(error, TW_FAILED_PRECONDITION,
            "%s is a file or a symbolic link, not a folder: name a folder of the storage's own", root->path);
    if (root->dir_fd < 0)
        return error_set_errno(error, errno, "cannot open the folder %s", root->path);
    return check_owner(root, error);
}

static int take_lock(struct root *root, struct tw_error *error)
{
    root->lock_fd = openat(root->dir_fd, ROOT_LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (root->lock_fd < 0)
        return root_fail(root, errno, "write", ROOT_LOCK, error);
    int r = fd_lock(root->lock_fd, LOCK_PATIENCE_MS);
    if (r == -EAGAIN)
        return error_set(error, TW_FAILED_PRECONDITION,
            "the files in %s are in use by another program: end it, or choose another folder", root->path);
    return r < 0 ? error_set_errno(error, r, "cannot lock %s/" ROOT_LOCK, root->path) : 0;
}

static int open_subfolder(const struct root *root, const char *name, mode_t mode, int *ret_fd, struct tw_error *error)
{
    if (mkdirat(root->dir_fd, name, mode) < 0 && errno != EEXIST)
        return root_fail(root, errno, "make", name, error);
    *ret_fd = openat(root->dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*ret_fd < 0 || fchmod(*ret_fd, mode) < 0)
        return root_fail(root, errno, "open", name, error);
    return 0;
}

/* SQLite would make the file with the umask's mode; its -wal and -shm take theirs from it. */
static int make_db_file(const struct root *root, struct tw_error *error)
{
    CLEANUP_FD int fd = openat(root->dir_fd, ROOT_DB, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd < 0 || fchmod(fd, 0600) < 0 ? root_fail(root, errno, "write", ROOT_DB, error) : 0;
}

/* All at once, so that a put finds its folder durable. */
static int make_blob_folders(const struct root *root, struct tw_error *error)
{
    bool made = false;
    for (unsigned i = 0; i < 256; i++) {
        char name[3];
        snprintf(name, sizeof name, "%02x", i);
        if (mkdirat(root->blobs_fd, name, 0700) == 0)
            made = true;
        else if (errno != EEXIST)
            return root_fail(root, errno, "make", ROOT_BLOBS "/..", error);
    }
    return made && fsync(root->blobs_fd) < 0 ? root_fail(root, errno, "write", ROOT_BLOBS, error) : 0;
}

static int sync_new_folder(const struct root *root, struct tw_error *error)
{
    CLEANUP_FD int parent = openat(root->dir_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* A parent that we may not read is not ours to sync. */
    if ((parent >= 0 && fsync(parent) < 0) || fsync(root->dir_fd) < 0)
        return root_fail(root, errno, "write", "", error);
    return 0;
}

static int prepare(struct root *root, struct tw_error *error)
{
    if (open_top(root, error) < 0 || check_contents(root, error) < 0)
        return -1;
    if (fchmod(root->dir_fd, 0700) < 0)
        return error_set_errno(error, errno, "cannot close the folder %s to others", root->path);
    /* The contents again: another program may have made it its storage, or lost it, before we had the lock. */
    if (take_lock(root, error) < 0 || check_contents(root, error) < 0)
        return -1;
    /* The database first: from then on nobody takes the folder for one that has lost it. */
    if (make_db_file(root, error) < 0 || open_subfolder(root, ROOT_BLOBS, 0700, &root->blobs_fd, error) < 0 ||
        open_subfolder(root, ROOT_TMP, 0700, &root->tmp_fd, error) < 0 ||
        open_subfolder(root, INPUTS_FOLDER, 0711, &root->inputs_fd, error) < 0)
        return -1;
    return make_blob_folders(root, error) < 0 ? -1 : sync_new_folder(root, error);
}

int root_open(struct root *root, const char *path, struct tw_error *error)
{
    *root = (struct root){.dir_fd = -1, .blobs_fd = -1, .tmp_fd = -1, .inputs_fd = -1, .lock_fd = -1};
    size_t len = path ? strlen(path) : 0;
    while (len > 1 && path[len - 1] == '/')
        len--; /* "folder/" would follow a symbolic link */
    if (len == 0)
        return error_set(error, TW_INVALID_ARGUMENT, "the path for files is empty: name a folder");
    if (len > PATH_MAX - 64)
        return error_set(error, TW_INVALID_ARGUMENT, "the path for files is longer than %d bytes", PATH_MAX - 64);
    root->path = text_dup(path, len);
    if (!root->path || asprintf(&root->db_path, "%s/" ROOT_DB, root->path) < 0) {
        root->db_path = NULL;
        root_close(root);
        return error_oom(error);
    }
    if (prepare(root, error) < 0) {
        root_close(root);
        return -1;
    }
    return 0;
}

void root_close(struct root *root)
{
    fd_close(&root->blobs_fd);
    fd_close(&root->tmp_fd);
    fd_close(&root->inputs_fd);
    fd_close(&root->lock_fd);
    fd_close(&root->dir_fd);
    free(root->path);
    free(root->db_path);
    root->path = root->db_path = NULL;
}

int root_fail(const struct root *root, int err, const char *verb, const char *what, struct tw_error *error)
{
    if (err != ENOSPC && err != EDQUOT)
        return error_set_errno(error, err, "cannot %s %s/%s", verb, root->path, what);
    error_set(error, TW_RESOURCE_EXHAUSTED, "the disk that holds %s is full: free some space there", root->path);
    if (error)
        error->sys_errno = err;
    return -1;
}
