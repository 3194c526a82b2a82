/* SPDX-License-Identifier: Apache-2.0 */
#include "store/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/text.h"

#define LOCK_NAME "lock"
#define FILES_NAME "files"
#define LOGS_NAME "logs"

/* A node that was asked to end closes its port some milliseconds before it lets go of its folder, and a start may follow upon that. */
enum { LOCK_PATIENCE_MS = 2000 };

/* Is the folder empty but for `known` names? -errno when it cannot be read; 1 with the first other
 * name in `other`. */
static int has_other_names(int dir_fd, const char *const *known, size_t n_known, char *other, size_t other_len)
{
    CLEANUP_FD int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    DIR *dir = fdopendir(fd);
    if (!dir)
        return -errno;
    (void)fd_steal(&fd);
    int r = 0;
    for (struct dirent *e; r == 0 && (e = readdir(dir));) {
        bool is_known = !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..");
        for (size_t i = 0; i < n_known && !is_known; i++)
            is_known = !strcmp(e->d_name, known[i]);
        if (!is_known) {
            snprintf(other, other_len, "%s", e->d_name);
            r = 1;
        }
    }
    closedir(dir);
    return r;
}

static bool subfolder_in_use(int dir_fd, const char *name)
{
    CLEANUP_FD int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    char other[NAME_MAX + 1];
    return fd >= 0 && has_other_names(fd, NULL, 0, other, sizeof other) == 1;
}

/*
 * Is this ours, or free to become ours? A folder with anything foreign in it and no database is
 * somebody's home, and one with our files but without the database that refers to them has lost it:
 * making a new one would sweep them away.
 */
static int check_contents(const struct folder *f, struct tw_error *error)
{
    /* storage: the files that users keep; lost+found: a file system of its own; the lock: another node is starting here right now. */
    static const char *const known[] = {DB_NAME, LOCK_NAME, FILES_NAME, LOGS_NAME, "storage", "lost+found"};
    struct stat st;
    if (fstatat(f->dir_fd, DB_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        if (!S_ISREG(st.st_mode))
            return error_set(error, TW_FAILED_PRECONDITION,
                "%s is not a regular file: move it away or choose another storage folder", f->db_path);
        if (st.st_size > 0)
            return 0;
    }
    char other[NAME_MAX + 1];
    int r = has_other_names(f->dir_fd, known, ARRAY_LEN(known), other, sizeof other);
    if (r < 0)
        return error_set_errno(error, r, "cannot read the storage folder %s", f->path);
    CLEANUP_FREE char *shown = r > 0 ? text_printable(other, strlen(other), 60, false) : NULL;
    if (r > 0 && strncmp(other, DB_NAME, strlen(DB_NAME)) != 0)
        return error_set(error, TW_FAILED_PRECONDITION,
            "%s is not empty and holds no " DB_NAME " (but \"%s\"): choose an empty or a new folder for storage",
            f->path, shown ? shown : "?");
    if (r > 0 || subfolder_in_use(f->dir_fd, FILES_NAME) || subfolder_in_use(f->dir_fd, LOGS_NAME))
        return error_set(error, TW_DATA_LOSS,
            "%s is missing or empty, but other parts of the store are there: restore it from a "
            "backup, or move %s away",
            f->db_path, f->path);
    return 0;
}

static int check_owner(const struct folder *f, struct tw_error *error)
{
    struct stat st;
    if (fstat(f->dir_fd, &st) < 0)
        return error_set_errno(error, errno, "cannot look at the storage folder %s", f->path);
    if (st.st_uid != geteuid())
        return error_set(error, TW_PERMISSION_DENIED,
            "the storage folder %s belongs to uid %u, this process is uid %u: run as its owner or "
            "chown it",
            f->path, (unsigned)st.st_uid, (unsigned)geteuid());
    /* Others may have put anything there; and closing such a folder (/tmp) to them would break the
     * machine. */
    if (st.st_mode & (S_IWGRP | S_IWOTH))
        return error_set(error, TW_FAILED_PRECONDITION,
            "others may write to the storage folder %s: `chmod 700` it, or choose a folder of the "
            "node's own",
            f->path);
    return 0;
}

static int open_top(struct folder *f, struct tw_error *error)
{
    struct stat st;
    if (lstat(f->path, &st) < 0) {
        if (errno != ENOENT)
            return error_set_errno(error, errno, "cannot look at the storage folder %s", f->path);
        if (mkdir(f->path, 0700) < 0 && errno != EEXIST) {
            int err = errno;
            return error_set_errno(error, err, "cannot make the storage folder %s%s", f->path,
                err == ENOENT ? " (make its parent folder first)" : "");
        }
    } else if (!S_ISDIR(st.st_mode)) {
        return error_set(error, TW_FAILED_PRECONDITION,
            "the storage path %s is %s, not a folder: name a folder of the node's own", f->path,
            S_ISLNK(st.st_mode) ? "a symbolic link" : "a file");
    }
    /* By its path and before it is opened: a strict umask may have left it unreadable to ourselves.
     */
    if (lstat(f->path, &st) == 0 && st.st_uid == geteuid() && (st.st_mode & 0700) != 0700 && chmod(f->path, 0700) < 0)
        return error_set_errno(error, errno, "cannot make the storage folder %s usable", f->path);
    f->dir_fd = open(f->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (f->dir_fd < 0)
        return error_set_errno(error, errno, "cannot open the storage folder %s", f->path);
    return check_owner(f, error);
}

/* The error text of a lock that is taken: the pid in it is a hint, the lock itself is the kernel's.
 */
static int fail_locked(const struct folder *f, struct tw_error *error)
{
    char pid[24] = "";
    ssize_t n = pread(f->lock_fd, pid, sizeof pid - 1, 0);
    pid[n > 0 ? n : 0] = '\0';
    pid[strcspn(pid, "\n")] = '\0';
    uint64_t number;
    if (parse_u64(pid, 1, INT_MAX, &number) < 0)
        snprintf(pid, sizeof pid, "unknown");
    return error_set(error, TW_FAILED_PRECONDITION,
        "another node (pid %s) is using the storage folder %s: stop it, or choose another folder", pid, f->path);
}

static int take_lock(struct folder *f, struct tw_error *error)
{
    f->lock_fd = openat(f->dir_fd, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (f->lock_fd < 0)
        return error_set_errno(error, errno, "cannot write to the storage folder %s", f->path);
    int r = fd_lock(f->lock_fd, LOCK_PATIENCE_MS);
    if (r < 0)
        return r == -EAGAIN ? fail_locked(f, error) : error_set_errno(error, r, "cannot lock %s/" LOCK_NAME, f->path);
    char pid[24];
    int n = snprintf(pid, sizeof pid, "%d\n", (int)getpid());
    /* Only for people: a full disk must not keep the node from saying so in better words later. */
    if (fchmod(f->lock_fd, 0600) < 0 || ftruncate(f->lock_fd, 0) < 0 || pwrite(f->lock_fd, pid, (size_t)n, 0) != n)
        log_debug("cannot write the pid to %s/" LOCK_NAME, f->path);
    return 0;
}

static int open_subfolder(const struct folder *f, const char *name, int *ret_fd, struct tw_error *error)
{
    if (mkdirat(f->dir_fd, name, 0700) < 0 && errno != EEXIST)
        return error_set_errno(error, errno, "cannot make %s/%s", f->path, name);
    struct stat st;
    if (fstatat(f->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode) &&
        (st.st_mode & 07777) != 0700 && fchmodat(f->dir_fd, name, 0700, 0) < 0)
        return error_set_errno(error, errno, "cannot close %s/%s to others", f->path, name);
    *ret_fd = openat(f->dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*ret_fd < 0)
        return error_set_errno(error, errno, "cannot open %s/%s", f->path, name);
    return 0;
}

/* SQLite would make the file with the umask's mode; its -wal and -shm take theirs from it. */
static int make_db_file(const struct folder *f, struct tw_error *error)
{
    CLEANUP_FD int fd = openat(f->dir_fd, DB_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || fchmod(fd, 0600) < 0)
        return error_set_errno(error, errno, "cannot write to %s", f->db_path);
    return 0;
}

static int sync_new_folder(const struct folder *f, struct tw_error *error)
{
    CLEANUP_FD int parent = openat(f->dir_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* A parent that we may not read is not ours to sync. */
    if ((parent >= 0 && fsync(parent) < 0) || fsync(f->dir_fd) < 0)
        return error_set_errno(error, errno, "cannot write to the storage folder %s", f->path);
    return 0;
}

static int prepare(struct folder *f, struct tw_error *error)
{
    if (open_top(f, error) < 0 || check_contents(f, error) < 0)
        return -1;
    if (fchmod(f->dir_fd, 0700) < 0)
        return error_set_errno(error, errno, "cannot close the storage folder %s to others", f->path);
    if (take_lock(f, error) < 0)
        return -1;
    /* Again: another node may have made it a store, or lost it, before we had the lock. */
    if (check_contents(f, error) < 0)
        return -1;
    if (open_subfolder(f, FILES_NAME, &f->files_fd, error) < 0 || open_subfolder(f, LOGS_NAME, &f->logs_fd, error) < 0)
        return -1;
    return make_db_file(f, error) < 0 ? -1 : sync_new_folder(f, error);
}

int folder_open(struct folder *f, const char *path, struct tw_error *error)
{
    *f = (struct folder){.dir_fd = -1, .files_fd = -1, .logs_fd = -1, .lock_fd = -1};
    size_t len = path ? strlen(path) : 0;
    while (len > 1 && path[len - 1] == '/')
        len--; /* "folder/" would follow a symbolic link */
    if (len == 0)
        return error_set(error, TW_INVALID_ARGUMENT, "the storage path is empty: name a folder");
    if (len > PATH_MAX - 64)
        return error_set(error, TW_INVALID_ARGUMENT, "the storage path is longer than %d bytes", PATH_MAX - 64);
    f->path = text_dup(path, len);
    if (!f->path || asprintf(&f->db_path, "%s/" DB_NAME, f->path) < 0) {
        f->db_path = NULL;
        folder_close(f);
        return error_oom(error);
    }
    if (prepare(f, error) < 0) {
        folder_close(f);
        return -1;
    }
    return 0;
}

void folder_close(struct folder *f)
{
    fd_close(&f->files_fd);
    fd_close(&f->logs_fd);
    fd_close(&f->lock_fd);
    fd_close(&f->dir_fd);
    free(f->path);
    free(f->db_path);
    f->path = f->db_path = NULL;
}

/* --- payloads --- */

static int payload_error(const struct folder *f, int err, const char *name, const char *verb, struct tw_error *error)
{
    if (err == ENOSPC || err == EDQUOT) {
        error_set(error, TW_RESOURCE_EXHAUSTED, "the disk that holds %s is full: free some space there", f->path);
        if (error)
            error->sys_errno = err;
        return -1;
    }
    return error_set_errno(error, err, "cannot %s %s/" FILES_NAME "/%s", verb, f->path, name);
}

int payload_write(
    const struct folder *f, const void *data, size_t len, char ret_name[PAYLOAD_NAME_MAX], struct tw_error *error)
{
    uint8_t random[(PAYLOAD_NAME_MAX - 1) / 2];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return error_set_errno(error, errno, "no random bytes");
    text_hex(random, sizeof random, ret_name);
    CLEANUP_FD int fd = openat(f->files_fd, ret_name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    int r = fd < 0 ? -errno : 0;
    if (r == 0 && fchmod(fd, 0600) < 0)
        r = -errno;
    if (r == 0)
        r = fd_write_all(fd, data, len);
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    if (r == 0)
        return 0;
    payload_error(f, -r, ret_name, "write", error);
    if (fd >= 0)
        payload_unlink(f, ret_name);
    ret_name[0] = '\0';
    return -1;
}

int payload_sync(const struct folder *f, struct tw_error *error)
{
    return fsync(f->files_fd) < 0 ? payload_error(f, errno, "", "write", error) : 0;
}

int payload_read(const struct folder *f, const char *name, uint64_t size, uint8_t **ret, struct tw_error *error)
{
    /* The name comes from the database: one that is none of ours leads nowhere. */
    if (strlen(name) != PAYLOAD_NAME_MAX - 1 || strspn(name, "0123456789abcdef") != PAYLOAD_NAME_MAX - 1)
        return error_set(error, TW_DATA_LOSS, "%s names a payload file that cannot be", f->db_path);
    CLEANUP_FD int fd = openat(f->files_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    if (fd < 0 && errno == ENOENT)
        return error_set(error, TW_DATA_LOSS, "%s/" FILES_NAME "/%s is gone: restore it from a backup", f->path, name);
    if (fd < 0 || fstat(fd, &st) < 0)
        return payload_error(f, errno, name, "read", error);
    if ((uint64_t)st.st_size != size || size > SSIZE_MAX - 1)
        return error_set(error, TW_DATA_LOSS,
            "%s/" FILES_NAME "/%s has %llu bytes instead of %llu: restore it from a backup", f->path, name,
            (unsigned long long)st.st_size, (unsigned long long)size);
    CLEANUP_FREE uint8_t *data = malloc((size_t)size + 1);
    if (!data)
        return error_oom(error);
    ssize_t n = fd_read_all(fd, data, (size_t)size);
    if (n < 0)
        return payload_error(f, (int)-n, name, "read", error);
    if ((uint64_t)n != size)
        return error_set(
            error, TW_DATA_LOSS, "%s/" FILES_NAME "/%s ended early: restore it from a backup", f->path, name);
    data[n] = '\0';
    *ret = STEAL(data);
    return 0;
}

void payload_unlink(const struct folder *f, const char *name)
{
    if (unlinkat(f->files_fd, name, 0) < 0 && errno != ENOENT)
        log_warning("cannot remove %s/" FILES_NAME "/%s: %s", f->path, name, strerror(errno));
}
