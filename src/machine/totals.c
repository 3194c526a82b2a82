/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A limit holds for a control group and all below it, so what this process may have is the least of what its own group and
 * each one above it allow. In a container the ones outside are not mounted; what they allow nobody in there can see. Where
 * the groups are, slot/cgroup.h says; from there the walk goes up by name and ends where the path does, since a folder that
 * is no group any more just has no such file.
 */
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/util.h"
#include "machine/internal.h"
#include "slot/cgroup.h"

enum { FILE_MAX = 8 << 20, PROCESSORS_MAX = 1 << 16 };

/* The least that one folder allows; *limit stays where there is nothing that can be read. */
typedef void (*bound_function)(const struct machine_source *source, const char *folder, uint64_t *limit);

int machine_read(const struct machine_source *source, const char *path, char **ret)
{
    char full[PATH_MAX];
    const char *root = source && source->root ? source->root : "";
    int n = snprintf(full, sizeof full, "%s%s", root, path);
    *ret = NULL;
    return n < 0 || n >= (int)sizeof full ? -ENAMETOOLONG : file_read(full, FILE_MAX, ret, NULL);
}

static char *read_in(const struct machine_source *source, const char *folder, const char *name)
{
    char path[PATH_MAX], *text = NULL;
    int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    return n > 0 && n < (int)sizeof path && machine_read(source, path, &text) == 0 ? text : NULL;
}

static void bound_cpu_v2(const struct machine_source *source, const char *folder, uint64_t *limit)
{
    CLEANUP_FREE char *text = read_in(source, folder, "cpu.max");
    uint64_t millis;
    if (text && machine_parse_cpu_max(text, &millis))
        *limit = MIN(*limit, millis);
}

static void bound_cpu_v1(const struct machine_source *source, const char *folder, uint64_t *limit)
{
    CLEANUP_FREE char *quota = read_in(source, folder, "cpu.cfs_quota_us");
    CLEANUP_FREE char *period = read_in(source, folder, "cpu.cfs_period_us");
    uint64_t millis;
    if (quota && period && machine_parse_cfs(quota, period, &millis))
        *limit = MIN(*limit, millis);
}

static void bound_memory(const struct machine_source *source, const char *folder, const char *name, uint64_t *limit)
{
    CLEANUP_FREE char *text = read_in(source, folder, name);
    uint64_t bytes;
    if (text && machine_parse_memory_limit(text, &bytes))
        *limit = MIN(*limit, bytes);
}

static void bound_memory_v2(const struct machine_source *source, const char *folder, uint64_t *limit)
{
    bound_memory(source, folder, "memory.max", limit);
}

static void bound_memory_v1(const struct machine_source *source, const char *folder, uint64_t *limit)
{
    bound_memory(source, folder, "memory.limit_in_bytes", limit);
}

/* The least that the group of this controller and all above it allow. */
static uint64_t least(
    const struct machine_source *source, enum cgroup_controller controller, bound_function v1, bound_function v2)
{
    CLEANUP_FREE char *own = NULL;
    CLEANUP_FREE char *mounts = NULL;
    uint64_t limit = MACHINE_NO_LIMIT;
    struct cgroup_view view;
    if (machine_read(source, "/proc/self/cgroup", &own) < 0 ||
        machine_read(source, "/proc/self/mountinfo", &mounts) < 0)
        return limit;
    cgroup_parse(own, mounts, &view);
    char *folder = view.controller[controller].own;
    for (char *slash; *folder; *slash = '\0') {
        (view.version == 1 ? v1 : v2)(source, folder, &limit);
        slash = strrchr(folder, '/');
        if (!slash)
            break;
    }
    return limit;
}

/* The kernel refuses a set that is smaller than its own, however few processors there are. */
static unsigned usable_processors(void)
{
    for (unsigned room = 1024; room <= PROCESSORS_MAX; room *= 2) {
        cpu_set_t *set = CPU_ALLOC(room);
        size_t size = CPU_ALLOC_SIZE(room);
        int r = set ? sched_getaffinity(0, size, set) : -1;
        unsigned n = r == 0 ? (unsigned)CPU_COUNT_S(size, set) : 0;
        bool too_small = set && r < 0 && errno == EINVAL;
        CPU_FREE(set);
        if (!too_small)
            return MAX(n, 1U);
    }
    return 1;
}

uint64_t machine_cpu_millis(const struct machine_source *source)
{
    uint64_t processors = source && source->processors ? source->processors : usable_processors();
    uint64_t limit = least(source, CGROUP_CPU, bound_cpu_v1, bound_cpu_v2);
    return MAX(MIN(processors * 1000, limit), UINT64_C(1));
}

int machine_memory_bytes(const struct machine_source *source, uint64_t *ret)
{
    CLEANUP_FREE char *text = NULL;
    struct machine_memory memory;
    int r = machine_read(source, "/proc/meminfo", &text);
    if (r < 0)
        return r;
    if (!machine_parse_meminfo(text, &memory))
        return -EBADMSG;
    *ret = MIN(memory.total_bytes, least(source, CGROUP_MEMORY, bound_memory_v1, bound_memory_v2));
    return 0;
}

static uint64_t blocks_to_bytes(uint64_t blocks, uint64_t size)
{
    uint64_t bytes;
    return __builtin_mul_overflow(blocks, size, &bytes) ? UINT64_MAX : bytes;
}

int machine_disk(const char *path, uint64_t *ret_bytes, uint64_t *ret_free_bytes)
{
    struct statvfs fs;
    if (statvfs(path, &fs) < 0)
        return -errno;
    *ret_bytes = blocks_to_bytes(fs.f_blocks, fs.f_frsize);
    *ret_free_bytes = blocks_to_bytes(fs.f_bavail, fs.f_frsize);
    return 0;
}

int machine_totals_find(
    const struct machine_source *source, const char *disk_path, struct machine_totals *ret, struct tw_error *error)
{
    struct machine_totals totals = {.cpu_millis = machine_cpu_millis(source)};
    struct machine_gpus gpus;
    int r = machine_memory_bytes(source, &totals.memory_bytes);
    if (r < 0)
        return error_set_errno(error, r, "how much memory there is: /proc/meminfo");
    r = machine_disk(disk_path, &totals.disk_bytes, &totals.disk_free_bytes);
    if (r < 0)
        return error_set_errno(error, r, "how much room there is in %s", disk_path);
    machine_gpus_find(&gpus);
    memcpy(totals.gpus, gpus.gpus, sizeof totals.gpus);
    totals.n_gpus = gpus.n_gpus;
    *ret = totals;
    return 0;
}
