/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The root folder of all tasks of a slot: a small tmpfs with the host's /usr bound into it and a few files of our own,
 * made once, then read-only for good. Tasks get their own /proc, /tmp, /workspace and /dev/shm on top of it, each time
 * anew, in mount namespaces copied from this one.
 */
#include "slot/slot.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"

/* All paths below are relative to the new root, which is the current folder while it is built. */
struct own_file {
    const char *path, *content;
};

static const char *const folders[] = {"dev", "dev/shm", "etc", "proc", "tmp", "usr", "var", "var/tmp", "workspace",
    "inputs", "environment", "run", "root", "home"};

static const struct own_file files[] = {
    {"etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\n"
        "task:x:1000:1000:task:/workspace:/bin/sh\n"
        "nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"},
    {"etc/group", "root:x:0:\ntask:x:1000:\nnogroup:x:65534:\n"},
    {"etc/hosts", "127.0.0.1 localhost sandbox\n::1 localhost sandbox\n"},
    {"etc/hostname", "sandbox\n"},
    {"etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n"},
};

/* Of the host, where it has them; symlinks are copied, all else is bound. */
static const char *const host_paths[] = {"bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc/alternatives",
    "etc/ld.so.cache", "etc/ld.so.conf", "etc/ld.so.conf.d", "etc/localtime", "etc/timezone", "etc/mime.types",
    "etc/protocols", "etc/services"};

static const char *const devices[] = {"null", "zero", "full", "random", "urandom"};

static const struct {
    const char *path, *target;
} links[] = {{"dev/fd", "/proc/self/fd"}, {"dev/stdin", "/proc/self/fd/0"}, {"dev/stdout", "/proc/self/fd/1"},
    {"dev/stderr", "/proc/self/fd/2"}};

static int fail(struct slot_error *error, const char *what)
{
    return slot_error_set(error, STAGE_ROOT, "%s", what);
}

static int make_file(const char *path, const char *content)
{
    CLEANUP_FD int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return -1;
    int r = fd_write_all(fd, content, strlen(content));
    errno = r < 0 ? -r : errno;
    return r < 0 ? -1 : 0;
}

/* Of what lies below `system`; what it does not have is left out. */
static int bring_in(const char *system, const char *path)
{
    char source[PATH_MAX], target[PATH_MAX];
    struct stat st;
    snprintf(source, sizeof source, "%s/%s", system, path);
    if (lstat(source, &st) < 0)
        return errno == ENOENT ? 0 : -1;
    if (S_ISLNK(st.st_mode)) {
        ssize_t n = readlink(source, target, sizeof target - 1);
        if (n < 0)
            return -1;
        target[n] = '\0';
        return symlink(target, path);
    }
    if (S_ISDIR(st.st_mode) ? mkdir(path, 0755) < 0 : make_file(path, "") < 0)
        return -1;
    return mount(source, path, NULL, MS_BIND | MS_REC, NULL);
}

/* A place to build on: any folder will do, since the mount over it is seen by this namespace alone. */
static int enter_new_root(struct slot_error *error)
{
    static const char *const places[] = {"/tmp", "/run", "/mnt"};
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        if (mount("tmpfs", places[i], "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m,nr_inodes=1024") == 0)
            return chdir(places[i]) < 0 ? fail(error, places[i]) : 0;
        if (errno != ENOENT)
            return fail(error, "a tmpfs");
    }
    return fail(error, "no folder to mount on");
}

/* `system`: what stands before the paths of the system that tasks see. */
static int fill(const struct slot *slot, const char *system, struct slot_error *error)
{
    char usr[PATH_MAX];
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        if (mkdir(folders[i], 0755) < 0)
            return fail(error, folders[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        if (make_file(files[i].path, files[i].content) < 0)
            return fail(error, files[i].path);
    }
    for (size_t i = 0; i < ARRAY_LEN(links); i++) {
        if (symlink(links[i].target, links[i].path) < 0)
            return fail(error, links[i].path);
    }
    snprintf(usr, sizeof usr, "%s/usr", system);
    if (mount(usr, "usr", NULL, MS_BIND | MS_REC, NULL) < 0)
        return slot_error_set(error, STAGE_ROOT, "%.120s/usr", slot->profile.root);
    /* The slot's own. A fresh procfs may be mounted only where another one is in full view; tasks get theirs over this one. */
    if (mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
        return fail(error,
            errno == EPERM ? "/proc is not allowed here: in a container, its own /proc must not be masked" : "/proc");
    for (size_t i = 0; i < ARRAY_LEN(host_paths); i++) {
        if (bring_in(system, host_paths[i]) < 0)
            return fail(error, host_paths[i]);
    }
    return slot_extra_bring_in(slot, error);
}

/*
 * Devices cannot be made in a user namespace, only bound, and are the one thing that must not become nodev: so the rest
 * is locked before them. They are bound here, while the host's /dev still is in reach.
 */
static int bind_devices(struct slot_error *error)
{
    char source[64], target[64];
    for (size_t i = 0; i < ARRAY_LEN(devices); i++) {
        snprintf(source, sizeof source, "/dev/%s", devices[i]);
        snprintf(target, sizeof target, "dev/%s", devices[i]);
        if (make_file(target, "") < 0 || mount(source, target, NULL, MS_BIND, NULL) < 0)
            return fail(error, source);
    }
    return 0;
}

static int lock_all(const struct slot *slot, struct slot_error *error)
{
    /* Not recursive from the root: everything but the devices by name. */
    if (slot_mount_lock("/", false, MS_NODEV) < 0 || slot_mount_lock("/usr", true, MS_NODEV) < 0 ||
        slot_mount_lock("/proc", true, MS_NODEV | MS_NOEXEC) < 0)
        return fail(error, "making it read-only");
    char path[PATH_MAX];
    for (size_t i = 0; i < ARRAY_LEN(host_paths); i++) {
        struct stat st;
        snprintf(path, sizeof path, "/%s", host_paths[i]);
        if (lstat(path, &st) == 0 && !S_ISLNK(st.st_mode) && slot_mount_lock(path, true, MS_NODEV) < 0)
            return fail(error, host_paths[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(devices); i++) {
        snprintf(path, sizeof path, "/dev/%s", devices[i]);
        if (slot_mount_lock(path, false, MS_NOEXEC) < 0)
            return fail(error, path);
    }
    return slot_extra_lock(slot, error) < 0 || slot_inputs_lock(slot, error) < 0 ? -1 : slot_gpus_lock(slot, error);
}

int slot_root_build(struct slot *slot, struct slot_error *error)
{
    char system[40] = "";
    CLEANUP_FD int root = -1;
    CLEANUP_FD int inputs = slot_inputs_open(slot, error);
    umask(022);
    if (slot->inputs && inputs < 0)
        return -1;
    if (*slot->profile.root) { /* now: what it is built on may hide it */
        root = open(slot->profile.root, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (root < 0)
            return slot_error_set(error, STAGE_ROOT, "SANDBOX_ROOT: %.120s", slot->profile.root);
        snprintf(system, sizeof system, "/proc/self/fd/%d", root);
    }
    /* Without this a later mount on the host would appear, writable, below /usr. */
    if (mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) < 0)
        return fail(error, "making the mounts private");
    if (enter_new_root(error) < 0 || fill(slot, system, error) < 0 || bind_devices(error) < 0 ||
        slot_gpus_bring_in(slot, error) < 0 || slot_inputs_bring_in(slot, inputs, error) < 0)
        return -1;
    fd_close(&inputs); /* a way out of here */
    /* Puts the old root on top of the new one, and away. */
    if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
        return fail(error, "pivot_root");
    return lock_all(slot, error);
}
