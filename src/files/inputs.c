/* SPDX-License-Identifier: Apache-2.0 */
#include "files/inputs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "files/environments.h"
#include "files/internal.h"

enum { DEPTH_MAX = TW_FILE_NAME_MAX / 2 + 1 };

void inputs_name(uint64_t set, char ret[INPUTS_NAME_SIZE])
{
    snprintf(ret, INPUTS_NAME_SIZE, "%016" PRIx64, set);
}

static int open_folder(int at, const char *name)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* --- removing --- */

/* What is in it, folders with all that is in them. */
static int empty_folder(int at, const char *name, unsigned depth)
{
    CLEANUP_FD int fd = open_folder(at, name);
    CLEANUP_FD int list = fd < 0 ? -1 : open_folder(fd, ".");
    if (fd < 0 || list < 0)
        return fd < 0 ? fd : list;
    DIR *dir = fdopendir(list);
    if (!dir)
        return -errno;
    list = -1; /* the stream's */
    int r = 0;
    for (struct dirent *e; r == 0 && (e = readdir(dir));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        if (unlinkat(fd, e->d_name, 0) == 0)
            continue;
        r = errno != EISDIR && errno != EPERM ? -errno : depth == 0 ? -ELOOP : empty_folder(fd, e->d_name, depth - 1);
        if (r == 0 && unlinkat(fd, e->d_name, AT_REMOVEDIR) < 0)
            r = -errno;
    }
    closedir(dir);
    return r;
}

int inputs_remove(struct tw_storage *s, uint64_t set, struct tw_error *error)
{
    char name[INPUTS_NAME_SIZE];
    inputs_name(set, name);
    int r = empty_folder(s->root.inputs_fd, name, DEPTH_MAX);
    if (r == 0 && unlinkat(s->root.inputs_fd, name, AT_REMOVEDIR) < 0)
        r = -errno;
    return r < 0 && r != -ENOENT ? root_fail(&s->root, -r, "remove", INPUTS_FOLDER, error) : 0;
}

int inputs_list(struct tw_storage *s, void (*found)(void *ctx, uint64_t set), void *ctx)
{
    int fd = open_folder(s->root.inputs_fd, ".");
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        int r = fd < 0 ? fd : -errno;
        fd_close(&fd);
        return r;
    }
    for (struct dirent *e; (e = readdir(dir));) {
        uint64_t set;
        if (name_u64_from_hex(e->d_name, &set) == 0 && !(set & ENVIRONMENTS_BIT))
            found(ctx, set);
    }
    closedir(dir);
    return 0;
}

/* --- making --- */

static int taken(const char *path, struct tw_error *error)
{
    return error_set(
        error, TW_INVALID_ARGUMENT, "two inputs are to be at '%.200s', or one of them below the other", path);
}

int inputs_make_folders(
    const struct root *root, int at, const char *path, bool durable, const char **ret_name, struct tw_error *error)
{
    CLEANUP_FD int fd = open_folder(at, ".");
    for (const char *slash; fd >= 0 && (slash = strchr(path, '/')); path = slash + 1) {
        CLEANUP_FREE char *part = strndup(path, (size_t)(slash - path));
        if (!part)
            return error_oom(error);
        if (mkdirat(fd, part, 0755) < 0 && errno != EEXIST)
            return root_fail(root, errno, "make", INPUTS_FOLDER, error);
        int below = open_folder(fd, part);
        if (below == -ENOTDIR || below == -ELOOP)
            return taken(part, error);
        if (below < 0)
            return root_fail(root, -below, "open", INPUTS_FOLDER, error);
        int r = fchmod(below, 0755) < 0 || (durable && fsync(fd) < 0) ? errno : 0; /* whatever the umask made of it */
        close(fd);
        fd = below;
        if (r)
            return root_fail(root, r, "write", INPUTS_FOLDER, error);
    }
    *ret_name = path;
    return fd < 0 ? root_fail(root, -fd, "open", INPUTS_FOLDER, error) : fd_steal(&fd);
}

/* Readable for the users of sandboxes, who see no other way to it than this one. */
static int link_content(
    const struct root *root, const struct tw_file *file, int set_fd, const char *path, struct tw_error *error)
{
    char source[40];
    const char *name = path;
    CLEANUP_FD int folder = inputs_make_folders(root, set_fd, path, true, &name, error);
    if (folder < 0)
        return -1;
    snprintf(source, sizeof source, "/proc/self/fd/%d", tw_file_fd(file));
    if (fchmod(tw_file_fd(file), 0444) < 0)
        return root_fail(root, errno, "open", ROOT_BLOBS, error);
    if (linkat(AT_FDCWD, source, folder, name, AT_SYMLINK_FOLLOW) < 0) {
        if (errno == EEXIST)
            return taken(path, error);
        if (errno == EMLINK)
            return error_set(
                error, TW_RESOURCE_EXHAUSTED, "too many tasks wait for one file: its file system allows no more links");
        return root_fail(root, errno, "write", INPUTS_FOLDER, error);
    }
    return fsync(folder) < 0 ? root_fail(root, errno, "write", INPUTS_FOLDER, error) : 0;
}

static int add(struct tw_storage *s, int set_fd, const char *owner, const struct inputs_wanted *wanted,
    struct tw_file_info *ret, struct tw_error *error)
{
    const struct tw_file_ref ref = {.owner = owner, .id = wanted->id, .name = wanted->name};
    struct tw_file *file;
    if (wanted->path && name_check(wanted->path, error) < 0)
        return error_wrap(error, "the path of an input");
    if (tw_storage_get(s, &ref, &file, error) < 0)
        return -1;
    const struct tw_file_info *info = tw_file_info(file);
    int r = link_content(&s->root, file, set_fd, wanted->path ? wanted->path : info->name, error);
    *ret = *info;
    ret->owner = strdup(info->owner);
    ret->name = strdup(info->name);
    if (r == 0 && (!ret->owner || !ret->name))
        r = error_oom(error);
    tw_file_close(file);
    return r;
}

static int make_set(struct tw_storage *s, const char *name, const char *owner, const struct inputs_wanted *wanted,
    size_t n, struct tw_file_info *ret, struct tw_error *error)
{
    const struct root *root = &s->root;
    if (mkdirat(root->inputs_fd, name, 0755) < 0)
        return root_fail(root, errno, "make", INPUTS_FOLDER, error);
    CLEANUP_FD int fd = open_folder(root->inputs_fd, name);
    if (fd < 0 || fchmod(fd, 0755) < 0)
        return root_fail(root, fd < 0 ? -fd : errno, "open", INPUTS_FOLDER, error);
    for (size_t i = 0; i < n; i++) {
        if (add(s, fd, owner, &wanted[i], &ret[i], error) < 0)
            return -1;
    }
    return fsync(fd) < 0 || fsync(root->inputs_fd) < 0 ? root_fail(root, errno, "write", INPUTS_FOLDER, error) : 0;
}

int inputs_make(struct tw_storage *s, uint64_t set, const char *owner, const struct inputs_wanted *wanted, size_t n,
    struct tw_file_info *ret, struct tw_error *error)
{
    char name[INPUTS_NAME_SIZE];
    inputs_name(set, name);
    memset(ret, 0, n * sizeof *ret);
    if (n > INPUTS_MAX)
        return error_set(error, TW_INVALID_ARGUMENT, "%zu inputs are too many: at most %d", n, INPUTS_MAX);
    if (make_set(s, name, owner, wanted, n, ret, error) == 0)
        return 0;
    (void)inputs_remove(s, set, NULL);
    for (size_t i = 0; i < n; i++)
        tw_file_info_done(&ret[i]);
    return -1;
}

/* --- before there is a storage --- */

static int make_like_its_parent(const char *path, mode_t mode, const struct stat *parent)
{
    if (mkdir(path, mode) < 0)
        return errno == EEXIST ? 0 : -errno;
    if (geteuid() == 0 && chown(path, parent->st_uid, parent->st_gid) < 0)
        return -errno;
    return chmod(path, mode) < 0 ? -errno : 0;
}

int inputs_prepare(const char *storage_path, char *ret_path, size_t size)
{
    struct stat parent;
    int n = snprintf(ret_path, size, "%s/..", storage_path);
    if (n < 0 || (size_t)n + sizeof INPUTS_FOLDER >= size)
        return -ENAMETOOLONG;
    snprintf(ret_path, size, "%s", storage_path);
    char *slash = strrchr(ret_path, '/');
    if (slash)
        *slash = '\0';
    if (stat(slash ? (slash == ret_path ? "/" : ret_path) : ".", &parent) < 0)
        return -errno;
    int r = make_like_its_parent(storage_path, 0700, &parent);
    if (r == 0 && stat(storage_path, &parent) < 0)
        r = -errno;
    snprintf(ret_path, size, "%s/" INPUTS_FOLDER, storage_path);
    return r < 0 ? r : make_like_its_parent(ret_path, 0711, &parent);
}
