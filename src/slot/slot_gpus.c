/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The devices of GPUs. They cannot be made here, only bound, and the host's are in reach only while the slot's root is built,
 * when nobody knows yet which task will have which: so all of them are bound into a folder, each task that has some gets
 * these bound to where they belong, and the folder is covered for every task. Where the host has none nothing of this is there.
 */
#include "slot/slot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

#define STORE "dev/.gpus"

/* What every user of a GPU needs, beside its own device. */
static const char *const shared[] = {"nvidiactl", "nvidia-uvm"};

/* The n-th name: nvidia0 to nvidia63, then the shared ones. False: there are no more. */
static bool name_of(size_t n, char ret[SLOT_GPU_PATH_MAX])
{
    if (n >= SLOT_GPU_MINORS + ARRAY_LEN(shared))
        return false;
    if (n < SLOT_GPU_MINORS)
        snprintf(ret, SLOT_GPU_PATH_MAX, "nvidia%zu", n);
    else
        snprintf(ret, SLOT_GPU_PATH_MAX, "%s", shared[n - SLOT_GPU_MINORS]);
    return true;
}

static bool is_there(const struct slot *slot, size_t n)
{
    return n < SLOT_GPU_MINORS ? slot->gpu_minors & UINT64_C(1) << n : slot->gpu_shared & 1u << (n - SLOT_GPU_MINORS);
}

static void note(struct slot *slot, size_t n)
{
    if (n < SLOT_GPU_MINORS)
        slot->gpu_minors |= UINT64_C(1) << n;
    else
        slot->gpu_shared |= 1u << (n - SLOT_GPU_MINORS);
}

static int make_place(const char *folder, const char *name)
{
    char path[2 * SLOT_GPU_PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    CLEANUP_FD int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    return fd < 0 ? -1 : 0;
}

int slot_gpus_bring_in(struct slot *slot, struct slot_error *error)
{
    char name[SLOT_GPU_PATH_MAX], source[2 * SLOT_GPU_PATH_MAX], target[2 * SLOT_GPU_PATH_MAX];
    struct stat st;
    for (size_t n = 0; name_of(n, name); n++) {
        snprintf(source, sizeof source, "/dev/%s", name);
        if (stat(source, &st) < 0 || !S_ISCHR(st.st_mode))
            continue;
        if (!slot->gpu_minors && !slot->gpu_shared && mkdir(STORE, 0755) < 0)
            return slot_error_set(error, STAGE_ROOT, "a place for GPUs");
        snprintf(target, sizeof target, STORE "/%s", name);
        if (make_place(STORE, name) < 0 || make_place("dev", name) < 0 ||
            mount(source, target, NULL, MS_BIND, NULL) < 0)
            return slot_error_set(error, STAGE_ROOT, "%s", source);
        note(slot, n);
    }
    return 0;
}

int slot_gpus_lock(const struct slot *slot, struct slot_error *error)
{
    char name[SLOT_GPU_PATH_MAX], path[2 * SLOT_GPU_PATH_MAX];
    for (size_t n = 0; name_of(n, name); n++) {
        snprintf(path, sizeof path, "/" STORE "/%s", name);
        if (is_there(slot, n) && slot_mount_lock(path, false, MS_NOEXEC) < 0)
            return slot_error_set(error, STAGE_ROOT, "making %s read-only", path);
    }
    return 0;
}

bool slot_gpus_next(const struct slot *slot, uint64_t minors, size_t *at, char ret[SLOT_GPU_PATH_MAX])
{
    char name[SLOT_GPU_PATH_MAX];
    for (; minors && name_of(*at, name); (*at)++) {
        if (!is_there(slot, *at) || (*at < SLOT_GPU_MINORS && !(minors & UINT64_C(1) << *at)))
            continue;
        snprintf(ret, SLOT_GPU_PATH_MAX, "/dev/%.30s", name);
        (*at)++;
        return true;
    }
    return false;
}

int slot_gpus_give(const struct slot *slot, uint64_t minors, struct slot_error *error)
{
    char path[SLOT_GPU_PATH_MAX], source[2 * SLOT_GPU_PATH_MAX];
    if (minors & ~slot->gpu_minors) {
        errno = ENODEV;
        return slot_error_set(error, STAGE_FOLDERS, "a GPU that this machine had when the node was started is gone");
    }
    for (size_t at = 0; slot_gpus_next(slot, minors, &at, path);) {
        snprintf(source, sizeof source, "/" STORE "/%s", strrchr(path, '/') + 1);
        if (mount(source, path, NULL, MS_BIND, NULL) < 0 || slot_mount_lock(path, false, MS_NOEXEC) < 0)
            return slot_error_set(error, STAGE_FOLDERS, "%s", path);
    }
    /* By the slot's own empty folder. */
    if ((slot->gpu_minors || slot->gpu_shared) && mount("/home", "/" STORE, NULL, MS_BIND, NULL) < 0)
        return slot_error_set(error, STAGE_FOLDERS, "covering the GPUs of others");
    return 0;
}
