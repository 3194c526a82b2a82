/* SPDX-License-Identifier: Apache-2.0 */
#include "package/staging.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/openat2.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/text.h"
#include "base/util.h"

enum { FOLDER_FLAGS = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC };

int staging_begin(struct staging *s, int folder_fd)
{
    uint64_t number = 0;
    if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number)
        return -EIO;
    snprintf(s->name, sizeof s->name, ".unpacking-%016llx", (unsigned long long)number);
    if (mkdirat(folder_fd, s->name, 0755) < 0)
        return -errno;
    s->top = folder_fd;
    s->folder = openat(folder_fd, s->name, FOLDER_FLAGS);
    return s->folder < 0 ? -errno : 0;
}

/* The folder of a path of this length, made where it is missing: a descriptor of the staging's own. */
static int folder_of(struct staging *s, const char *path, size_t len)
{
    if (len == 0)
        return s->folder;
    if (s->last >= 0 && strlen(s->last_path) == len && !memcmp(s->last_path, path, len))
        return s->last;
    int fd = s->folder;
    for (const char *part = path; part < path + len;) {
        char name[NAMES_PART_MAX + 1];
        size_t n = MIN(strcspn(part, "/"), (size_t)(path + len - part));
        if (n > NAMES_PART_MAX)
            return -ENAMETOOLONG;
        memcpy(name, part, n);
        name[n] = '\0';
        int next = openat(fd, name, FOLDER_FLAGS), err = errno;
        if (next < 0 && err == ENOENT) {
            next = mkdirat(fd, name, 0755) < 0 ? -1 : openat(fd, name, FOLDER_FLAGS);
            err = errno;
        }
        if (fd != s->folder)
            close(fd);
        if (next < 0)
            return -err;
        fd = next;
        part += n + (part[n] == '/');
    }
    fd_close(&s->last);
    s->last = fd;
    memcpy(s->last_path, path, len);
    s->last_path[len] = '\0';
    return fd;
}

static int parent_of(struct staging *s, const char *path, const char **ret_name)
{
    const char *slash = strrchr(path, '/');
    *ret_name = slash ? slash + 1 : path;
    return folder_of(s, path, slash ? (size_t)(slash - path) : 0);
}

int staging_file(struct staging *s, const char *path, mode_t mode)
{
    const char *name;
    int folder = parent_of(s, path, &name);
    if (folder < 0)
        return folder;
    int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    return fd < 0 ? -errno : fd;
}

int staging_folder(struct staging *s, const char *path)
{
    int r = folder_of(s, path, strlen(path));
    return r < 0 ? r : 0;
}

int staging_link_later(struct staging *s, const char *path, const char *target)
{
    struct staged_link *links = reallocarray(s->links, s->n_links + 1, sizeof *links);
    if (!links)
        return -ENOMEM;
    s->links = links;
    struct staged_link link = {strdup(path), strdup(target)};
    s->links[s->n_links++] = link;
    return link.path && link.target ? 0 : -ENOMEM;
}

/* As the kernel follows it, in what is there: what is not there leads nowhere so far. */
static int check_link(const struct staging *s, const char *path)
{
    struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    CLEANUP_FD int fd = (int)syscall(SYS_openat2, s->folder, path, &how, sizeof how);
    return fd < 0 && errno == EXDEV ? -EXDEV
                                    : 0; /* an older kernel does not know: its words were judged, see names.h */
}

static int make_links(struct staging *s)
{
    for (size_t i = 0; i < s->n_links; i++) {
        const char *name;
        int folder = parent_of(s, s->links[i].path, &name);
        if (folder < 0)
            return folder;
        if (symlinkat(s->links[i].target, folder, name) < 0)
            return -errno;
    }
    for (size_t i = 0; i < s->n_links; i++) { /* one can lead out by way of another */
        int r = check_link(s, s->links[i].path);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Calls `each` for every name in the folder; what it returns other than 0 ends it. */
static int for_all(int folder, int (*each)(struct staging *s, int folder, const char *name), struct staging *s)
{
    int fd = openat(folder, ".", FOLDER_FLAGS), r = 0;
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        r = -errno;
        fd_close(&fd);
        return r;
    }
    for (struct dirent *entry; r == 0 && (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            r = each(s, folder, entry->d_name);
    }
    closedir(dir);
    return r;
}

static int must_be_free(struct staging *s, int folder UNUSED, const char *name)
{
    return faccessat(s->top, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0 ? -EEXIST : 0;
}

static int move_up(struct staging *s, int folder, const char *name)
{
    return renameat2(folder, name, s->top, name, RENAME_NOREPLACE) < 0 ? -errno : 0;
}

int staging_commit(struct staging *s)
{
    int r = make_links(s);
    if (r == 0)
        r = for_all(s->folder, must_be_free, s);
    return r < 0 ? r : for_all(s->folder, move_up, s);
}

static int remove_one(struct staging *s, int folder, const char *name)
{
    if (unlinkat(folder, name, 0) == 0)
        return 0;
    int below = openat(folder, name, FOLDER_FLAGS);
    if (below >= 0) {
        (void)for_all(below, remove_one, s);
        close(below);
        (void)unlinkat(folder, name, AT_REMOVEDIR);
    }
    return 0;
}

void staging_drop(struct staging *s)
{
    fd_close(&s->last);
    if (s->folder >= 0) {
        (void)for_all(s->folder, remove_one, s);
        (void)unlinkat(s->top, s->name, AT_REMOVEDIR);
    }
    fd_close(&s->folder);
    for (size_t i = 0; i < s->n_links; i++) {
        free(s->links[i].path);
        free(s->links[i].target);
    }
    free(s->links);
    *s = STAGING_NONE;
}
