/* SPDX-License-Identifier: Apache-2.0 */
/* What a task has for itself: its /proc, and the folders that it may write to. */
#include "slot/slot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Readable by all in every procfs, and about the whole machine. /proc/sys, sysrq-trigger, bus, fs and irq need no mask:
 * all of it is read-only.
 */
static const char *const masked_files[] = {"/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/latency_stats",
    "/proc/interrupts", "/proc/sched_debug", "/proc/timer_stats"};
static const char *const masked_folders[] = {"/proc/acpi", "/proc/asound", "/proc/scsi"};

static int mask(struct slot_error *error)
{
    for (size_t i = 0; i < ARRAY_LEN(masked_files); i++) {
        if (mount("/dev/null", masked_files[i], NULL, MS_BIND, NULL) < 0 && errno != ENOENT)
            return slot_error_set(error, STAGE_PROC, "masking %s", masked_files[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(masked_folders); i++) { /* by the slot's own empty, read-only folder */
        if (mount("/home", masked_folders[i], NULL, MS_BIND, NULL) < 0 && errno != ENOENT)
            return slot_error_set(error, STAGE_PROC, "masking %s", masked_folders[i]);
    }
    return 0;
}

static int mount_proc(const struct slot *slot, int *ret_proc, struct slot_error *error)
{
    const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    /* Numbers for the option came with 5.8 as an alternative to the names, and are all that older ones know. */
    if (mount("proc", "/proc", "proc", flags, "hidepid=2") < 0)
        return slot_error_set(error, STAGE_PROC,
            errno == EPERM ? "not allowed here: in a container, its own /proc must not be masked" : "");
    if (slot->one_id) {
        *ret_proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (*ret_proc < 0 || mount("/proc", "/proc", NULL, MS_BIND, NULL) < 0)
            return slot_error_set(error, STAGE_PROC, "the second time");
    }
    if (mask(error) < 0)
        return -1;
    return slot_mount_lock("/proc", false, MS_NODEV | MS_NOEXEC) < 0 ? slot_error_set(error, STAGE_PROC, "read-only")
                                                                     : 0;
}

static int mount_folder(
    const struct slot *slot, const char *path, unsigned mode, uint64_t size, struct slot_error *error)
{
    char options[128];
    int owner = slot->one_id ? 0 : SLOT_TASK_UID; /* with one id the task is, seen from here, the same user */
    snprintf(options, sizeof options, "mode=%o,uid=%d,gid=%d,size=%lu,nr_inodes=65536", mode, owner, owner, size);
    if (mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, options) < 0)
        return slot_error_set(error, STAGE_FOLDERS, "%s", path);
    return 0;
}

int slot_folders_mount(const struct slot *slot, const struct slot_shape *shape, int *ret_proc, struct slot_error *error)
{
    if (mount_proc(slot, ret_proc, error) < 0 || slot_inputs_give(slot, shape->inputs, "/inputs", error) < 0 ||
        slot_inputs_give(slot, shape->environment, "/environment", error) < 0 ||
        mount_folder(slot, "/tmp", 01777, shape->tmp_bytes, error) < 0 ||
        mount_folder(slot, "/workspace", 0700, shape->workspace_bytes, error) < 0 ||
        mount_folder(slot, "/dev/shm", 01777, shape->shm_bytes, error) < 0)
        return -1;
    if (mount("/tmp", "/var/tmp", NULL, MS_BIND, NULL) < 0)
        return slot_error_set(error, STAGE_FOLDERS, "/var/tmp");
    return slot_gpus_give(slot, shape->gpu_minors, error);
}
