/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The paths of the host that a slot shows beside the usual ones: those that the operator named, and with the host's network
 * what it takes to find others there by name. While they are brought in the new root folder stands, but is not entered yet:
 * each is opened in the host's view first, then looked up in a chroot of the new root, where a symlink leads where it will
 * lead for a task. Nothing is ever made in a folder of the host's: a place to mount at lies on our own tmpfs.
 */
#include "slot/slot.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fd.h"

/* What it takes beside a network to reach others by name, and to know them. */
static const char *const network_paths[] = {"/etc/resolv.conf", "/etc/ssl/certs"};

/* --- in the chroot --- */

static bool in_sight(const char *path, const struct stat *wanted)
{
    struct stat st;
    return stat(path, &st) == 0 && st.st_dev == wanted->st_dev && st.st_ino == wanted->st_ino;
}

static int make_one(const char *path, bool folder)
{
    if (folder)
        return mkdir(path, 0755);
    CLEANUP_FD int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    return fd < 0 ? -1 : 0;
}

/* The place to mount at, with the folders above it, as far as they are not there yet. */
static int make_place(const char *path, bool folder)
{
    char part[PATH_MAX];
    struct stat root, above, there;
    if (stat("/", &root) < 0)
        return -1;
    above = root;
    for (const char *end = path; *end; above = there) {
        end += 1 + strcspn(end + 1, "/");
        snprintf(part, sizeof part, "%.*s", (int)(end - path), path);
        if (stat(part, &there) == 0)
            continue;
        if (errno != ENOENT)
            return -1;
        errno = EROFS;
        if (above.st_dev != root.st_dev || make_one(part, *end || folder) < 0 || stat(part, &there) < 0)
            return -1;
    }
    return 0;
}

static int show(const char *source, const char *path, const struct stat *st)
{
    if (in_sight(path, st)) /* below another one */
        return 0;
    if (make_place(path, S_ISDIR(st->st_mode)) < 0)
        return -1;
    return mount(source, path, NULL, MS_BIND | MS_REC, NULL);
}

/* --- one path --- */

/* May this be shown under this name? Names with a colon cannot be said, and need not be found by way of a symlink. */
static bool name_ok(const char *path)
{
    char copy[PATH_MAX];
    const char *list = path;
    return profile_next_path(&list, copy, sizeof copy) == 1 && !*list && !strcmp(copy, path);
}

static int bring_in(const char *path)
{
    char source[40], real[PATH_MAX];
    struct stat st;
    CLEANUP_FD int fd = open(path, O_PATH | O_CLOEXEC);
    CLEANUP_FD int host = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    CLEANUP_FD int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || host < 0 || here < 0 || fstat(fd, &st) < 0 || !realpath(path, real))
        return -1;
    errno = EINVAL; /* through a socket or a pipe one can write whatever the mount says */
    if ((!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode)) || chroot(".") < 0)
        return -1;
    snprintf(source, sizeof source, "/proc/self/fd/%d", fd);
    int r = show(source, path, &st);
    /* A symlink in what is shown already: then what it leads to is what is missing. */
    if (r < 0 && strcmp(real, path) != 0 && name_ok(real))
        r = show(source, real, &st) < 0 || !in_sight(path, &st) ? -1 : 0;
    int saved = errno;
    if (fchdir(host) < 0 || chroot(".") < 0 || fchdir(here) < 0)
        return -1;
    errno = saved;
    return r;
}

/* Afterwards, when the new root is the root. What is no mount of its own lies below one that is locked already. */
static int lock(const char *path)
{
    const unsigned long wanted = ST_RDONLY | ST_NOSUID | ST_NODEV;
    struct statvfs st;
    (void)slot_mount_lock(path, true, MS_NODEV);
    if (statvfs(path, &st) < 0)
        return -1;
    errno = EACCES;
    return (st.f_flag & wanted) == wanted ? 0 : -1;
}

/* --- all of them --- */

static int for_all(const struct slot *slot, int (*each)(const char *path), struct slot_error *error)
{
    const char *list = slot->profile.paths;
    char path[PATH_MAX];
    int r;
    while ((r = profile_next_path(&list, path, sizeof path)) == 1) {
        if (each(path) < 0)
            return slot_error_set(error, STAGE_ROOT, "SANDBOX_PATHS: %.120s", path);
    }
    errno = EINVAL;
    if (r < 0)
        return slot_error_set(error, STAGE_ROOT, "SANDBOX_PATHS: %.120s", path);
    for (size_t i = 0; slot->host_network && i < ARRAY_LEN(network_paths); i++) {
        if (each(network_paths[i]) < 0 && errno != ENOENT)
            return slot_error_set(error, STAGE_ROOT, "%s", network_paths[i]);
    }
    return 0;
}

int slot_extra_bring_in(const struct slot *slot, struct slot_error *error)
{
    return for_all(slot, bring_in, error);
}

int slot_extra_lock(const struct slot *slot, struct slot_error *error)
{
    return for_all(slot, lock, error);
}
