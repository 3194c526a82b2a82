/* SPDX-License-Identifier: Apache-2.0 */
/* Read-only mounts: mount_setattr where the kernel has it (5.12), else each mount by itself. */
#include "slot/slot.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

static const struct {
    unsigned long mount, statvfs, attr;
} flag_names[] = {
    {MS_RDONLY, ST_RDONLY, MOUNT_ATTR_RDONLY},
    {MS_NOSUID, ST_NOSUID, MOUNT_ATTR_NOSUID},
    {MS_NODEV, ST_NODEV, MOUNT_ATTR_NODEV},
    {MS_NOEXEC, ST_NOEXEC, MOUNT_ATTR_NOEXEC},
    {MS_NOATIME, ST_NOATIME, 0},
    {MS_NODIRATIME, ST_NODIRATIME, 0},
    {MS_RELATIME, ST_RELATIME, 0},
};

/* A remount sets all flags: those that are there are kept, some of them are locked in a user namespace. */
static int remount(const char *path, unsigned long flags)
{
    struct statvfs st;
    if (statvfs(path, &st) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(flag_names); i++)
        flags |= st.f_flag & flag_names[i].statvfs ? flag_names[i].mount : 0;
    return mount(NULL, path, NULL, MS_BIND | MS_REMOUNT | flags, NULL);
}

/* mountinfo writes space, tab, newline and backslash as \ooo. In place. */
static void unescape(char *s)
{
    char *to = s;
    for (; *s; s++) {
        if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' && s[3] <= '7') {
            *to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
            s += 3;
        } else {
            *to++ = *s;
        }
    }
    *to = '\0';
}

static int remount_below(const char *prefix, unsigned long flags)
{
    FILE *f = fopen("/proc/self/mountinfo", "re");
    if (!f)
        return -1;
    char line[2 * PATH_MAX + 512], path[sizeof line];
    size_t len = strlen(prefix);
    int r = 0;
    while (r == 0 && fgets(line, sizeof line, f)) {
        if (sscanf(line, "%*d %*d %*s %*s %s", path) != 1)
            continue;
        unescape(path);
        if (strncmp(path, prefix, len) != 0 || path[len] != '/')
            continue;
        if (remount(path, flags) < 0 && errno != ENOENT && errno != EACCES) /* those lie below other mounts */
            r = -1;
    }
    fclose(f);
    return r;
}

int slot_mount_lock(const char *path, bool recursive, unsigned long more)
{
    unsigned long flags = MS_RDONLY | MS_NOSUID | more;
    struct mount_attr attr = {0};
    for (size_t i = 0; i < ARRAY_LEN(flag_names); i++)
        attr.attr_set |= flags & flag_names[i].mount ? flag_names[i].attr : 0;
    if (mount_setattr(AT_FDCWD, path, recursive ? AT_RECURSIVE : 0, &attr, sizeof attr) == 0)
        return 0;
    if (errno != ENOSYS && errno != EINVAL && errno != EPERM) /* EPERM: a filter around us that knows no such call */
        return -1;
    if (remount(path, flags) < 0)
        return -1;
    return recursive ? remount_below(path, flags) : 0;
}
