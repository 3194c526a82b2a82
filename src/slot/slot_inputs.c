/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stored files that a task has asked for: the daemon has linked them into a folder (files/inputs.h), whose number comes with
 * the START. The folder of all of these is bound below /tmp while the slot's root is built, where each task's own /tmp covers it,
 * and so is out of reach; the one of the task is bound to /inputs before that. What was installed for it lies there as well, and is
 * bound to /environment.
 */
#include "slot/slot.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/fd.h"

#define STORE "tmp/.inputs"

int slot_inputs_open(const struct slot *slot, struct slot_error *error)
{
    if (!slot->inputs)
        return -1;
    int fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? slot_error_set(error, STAGE_ROOT, "the folder of inputs") : fd;
}

int slot_inputs_bring_in(const struct slot *slot, int folder, struct slot_error *error)
{
    char source[40];
    if (!slot->inputs)
        return 0;
    snprintf(source, sizeof source, "/proc/self/fd/%d", folder);
    if (mkdir(STORE, 0755) < 0 || mount(source, STORE, NULL, MS_BIND, NULL) < 0)
        return slot_error_set(error, STAGE_ROOT, "the folder of inputs");
    return 0;
}

int slot_inputs_lock(const struct slot *slot, struct slot_error *error)
{
    if (slot->inputs && slot_mount_lock("/" STORE, false, MS_NODEV) < 0)
        return slot_error_set(error, STAGE_ROOT, "making the inputs read-only");
    return 0;
}

int slot_inputs_give(const struct slot *slot, uint64_t set, const char *path, struct slot_error *error)
{
    char source[sizeof STORE + 24];
    if (set == 0)
        return 0;
    snprintf(source, sizeof source, "/" STORE "/%016" PRIx64, set);
    errno = ENOENT;
    if (!slot->inputs || mount(source, path, NULL, MS_BIND, NULL) < 0 || slot_mount_lock(path, false, MS_NODEV) < 0)
        return slot_error_set(error, STAGE_FOLDERS, "the task's %s", path);
    return 0;
}
