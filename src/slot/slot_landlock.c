/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landlock (landlock(7)): the same walls once more, by another part of the kernel. Everything may be read and executed that
 * is there; written only where the mounts let write as well; no abstract socket and no signal beyond the task's own processes.
 */
#include "slot/slot.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"

/* What came after the headers that this is built with. */
#define FS_REFER (UINT64_C(1) << 13)           /* ABI 2 */
#define FS_TRUNCATE (UINT64_C(1) << 14)        /* ABI 3 */
#define FS_IOCTL_DEV (UINT64_C(1) << 15)       /* ABI 5 */
#define SCOPE_ABSTRACT_UNIX (UINT64_C(1) << 0) /* ABI 6 */
#define SCOPE_SIGNAL (UINT64_C(1) << 1)

struct ruleset {
    uint64_t handled_fs, handled_net, scoped;
};

static const uint64_t reading = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;

static const struct {
    const char *path;
    bool device;
} writable[] = {{"/workspace", false}, {"/tmp", false}, {"/dev/shm", false}, {"/dev/null", true}, {"/dev/zero", true},
    {"/dev/full", true}, {"/dev/random", true}, {"/dev/urandom", true}};

static int add_rule(int ruleset, const char *path, uint64_t access)
{
    CLEANUP_FD int fd = open(path, O_PATH | O_CLOEXEC);
    struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = fd};
    if (fd < 0)
        return -1;
    return (int)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
}

static struct ruleset ruleset_for(long abi, size_t *ret_size)
{
    struct ruleset r = {.handled_fs = (UINT64_C(1) << 13) - 1}; /* all of ABI 1 */
    *ret_size = sizeof r.handled_fs;
    if (abi >= 2)
        r.handled_fs |= FS_REFER;
    if (abi >= 3)
        r.handled_fs |= FS_TRUNCATE;
    if (abi >= 4) /* TCP: the network namespace decides on that, with an error that programs know */
        *ret_size += sizeof r.handled_net;
    if (abi >= 5)
        r.handled_fs |= FS_IOCTL_DEV;
    if (abi >= 6) {
        r.scoped = SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL;
        *ret_size += sizeof r.scoped;
    }
    return r;
}

int slot_landlock_restrict(const struct slot *slot, uint64_t gpu_minors, bool *ret_in_force, struct slot_error *error)
{
    *ret_in_force = false;
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 1)
        return 0;
    size_t size;
    struct ruleset attr = ruleset_for(abi, &size);
    CLEANUP_FD int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
    if (ruleset < 0)
        return slot_error_set(error, STAGE_LANDLOCK, "a set of rules");
    if (add_rule(ruleset, "/", reading) < 0)
        return slot_error_set(error, STAGE_LANDLOCK, "/");
    const uint64_t device = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE | FS_IOCTL_DEV;
    for (size_t i = 0; i < ARRAY_LEN(writable); i++) {
        if (add_rule(ruleset, writable[i].path, attr.handled_fs & (writable[i].device ? device : UINT64_MAX)) < 0)
            return slot_error_set(error, STAGE_LANDLOCK, "%s", writable[i].path);
    }
    char path[SLOT_GPU_PATH_MAX];
    for (size_t at = 0; slot_gpus_next(slot, gpu_minors, &at, path);) {
        if (add_rule(ruleset, path, attr.handled_fs & device) < 0)
            return slot_error_set(error, STAGE_LANDLOCK, "%s", path);
    }
    if (syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
        return slot_error_set(error, STAGE_LANDLOCK, "%s", "");
    *ret_in_force = true;
    return 0;
}
