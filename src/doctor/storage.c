/* SPDX-License-Identifier: Apache-2.0 */
/* The folder where a node keeps what must survive. It need not be there yet; then the nearest folder above counts. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "doctor/internal.h"
#include "base/try.h"

#define TRY_US UINT64_C(1000000)
#define SPACE_LOW (UINT64_C(1024) * 1024 * 1024)
#define SPACE_NONE (UINT64_C(16) * 1024 * 1024)
#define INODES_LOW UINT64_C(10000)
#define MIB (UINT64_C(1024) * 1024)

enum file_system { LOCAL, VOLATILE, REMOTE, LAYERED };

/* Numbers of the kernel's magic.h, and of file systems that have theirs elsewhere. */
static const struct {
    uint32_t magic;
    enum file_system kind;
    const char *name;
} file_systems[] = {
    {0xef53, LOCAL, "ext4"},
    {0x58465342, LOCAL, "xfs"},
    {0x9123683e, LOCAL, "btrfs"},
    {0x2fc12fc1, LOCAL, "zfs"},
    {0xf2f52010, LOCAL, "f2fs"},
    {0xca451a4e, LOCAL, "bcachefs"},
    {0x01021994, VOLATILE, "tmpfs"},
    {0x858458f6, VOLATILE, "ramfs"},
    {0x794c7630, LAYERED, "overlay"},
    {0x6969, REMOTE, "NFS"},
    {0xff534d42, REMOTE, "CIFS"},
    {0xfe534d42, REMOTE, "SMB"},
    {0x517b, REMOTE, "SMB"},
    {0x01021997, REMOTE, "9p"},
    {0x00c36400, REMOTE, "Ceph"},
    {0x65735546, REMOTE, "FUSE"},
    {0x5346414f, REMOTE, "AFS"},
    {0x47504653, REMOTE, "GPFS"},
    {0x0bd00bd0, REMOTE, "Lustre"},
    {0x19830326, REMOTE, "BeeGFS"},
};

struct place {
    char path[PATH_MAX]; /* of it, or of the nearest that is there */
    bool exists;
    bool is_folder, writable, read_only;
    uid_t owner;
    uint64_t free_bytes, free_inodes, inodes;
    uint32_t magic;
    int error;
};

/* In a child: a file server that is away would hold us for ever. */
static void look(const void *arg, void *ret)
{
    struct place *p = ret;
    struct stat st;
    struct statvfs v;
    struct statfs f;
    snprintf(p->path, sizeof p->path, "%s", (const char *)arg);
    p->exists = stat(p->path, &st) == 0;
    bool there = p->exists;
    while (!there && errno == ENOENT && strcmp(p->path, "/") != 0) {
        char *slash = strrchr(p->path, '/');
        if (!slash)
            break;
        slash[slash == p->path] = '\0';
        there = stat(p->path, &st) == 0;
    }
    if (!there || statvfs(p->path, &v) < 0 || statfs(p->path, &f) < 0) {
        p->error = errno;
        return;
    }
    p->is_folder = S_ISDIR(st.st_mode);
    p->writable = access(p->path, W_OK | X_OK) == 0;
    p->read_only = v.f_flag & ST_RDONLY;
    p->owner = st.st_uid;
    p->free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
    p->free_inodes = v.f_favail;
    p->inodes = v.f_files;
    p->magic = (uint32_t)f.f_type;
}

/* As the daemon chooses it. */
static void find_storage(struct doctor *d)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    char *out = d->storage;
    if (d->options->storage_path)
        snprintf(out, sizeof d->storage, "%s", d->options->storage_path);
    else if (d->root)
        snprintf(out, sizeof d->storage, "/var/lib/hivemind");
    else if (state && *state == '/')
        snprintf(out, sizeof d->storage, "%s/hivemind", state);
    else if (home && *home == '/')
        snprintf(out, sizeof d->storage, "%s/.local/state/hivemind", home);
    else
        snprintf(out, sizeof d->storage, "/var/tmp/hivemind-%u", (unsigned)getuid());
}

/* 0, or what try_run said. */
static int find_place(struct doctor *d, struct place *ret)
{
    if (!*d->storage)
        find_storage(d);
    *ret = (struct place){0};
    return try_run(doctor_time(d, TRY_US), look, d->storage, ret, sizeof *ret);
}

void check_storage_space(struct doctor *d, struct doctor_check *c)
{
    struct place p;
    int r = find_place(d, &p);
    check_cost(c, "A node accepts no task that it cannot write down.");
    check_fix(c, "STORAGE_PATH (--storage-path): a folder of its own on a disk with some GiB free");
    if (r < 0) {
        check_untried(c, r);
        if (r == -ETIMEDOUT)
            check_add(c, "does the file system of %.150s hang?", d->storage);
        return;
    }
    unsigned long long mib = p.free_bytes / MIB;
    bool few = p.inodes > 0 && p.free_inodes < INODES_LOW;
    if (p.error)
        check_set(c, DOCTOR_MISSING, "%.150s: %s", d->storage, strerror(p.error));
    else if (!p.is_folder)
        check_set(c, DOCTOR_MISSING, "%.150s is not a folder", p.path);
    else if (p.read_only)
        check_set(c, DOCTOR_MISSING, "%.150s lies on a file system that is read-only", p.path);
    else if (!d->root && p.exists && p.owner != geteuid())
        check_set(c, DOCTOR_MISSING, "%.150s belongs to user %u, and a node wants a folder of its own", p.path,
            (unsigned)p.owner);
    else if (!p.writable && p.exists)
        check_set(
            c, DOCTOR_MISSING, "%.150s belongs to user %u, and you may not write there", p.path, (unsigned)p.owner);
    else if (!p.writable)
        check_set(c, DOCTOR_MISSING, "%.120s is not there, and you may not make it in %.120s", d->storage, p.path);
    else if (p.free_bytes < SPACE_NONE)
        check_set(c, DOCTOR_MISSING, "%llu MiB free for %.150s: the disk is full", mib, d->storage);
    else
        check_set(c, p.free_bytes < SPACE_LOW || few ? DOCTOR_DEGRADED : DOCTOR_OK, "%llu MiB free for %.150s%s%s", mib,
            d->storage, few ? ", few files more" : "", p.exists ? "" : " (not there yet)");
}

void check_storage_type(struct doctor *d, struct doctor_check *c)
{
    struct place p;
    int r = find_place(d, &p);
    enum file_system kind = LOCAL;
    const char *name = NULL;
    check_cost(c,
        "On a network file system the database's locks and its log are not to be trusted; in memory all is lost at "
        "a restart.");
    check_fix(c, "STORAGE_PATH (--storage-path): a folder on a disk of this machine (ext4, xfs, btrfs)");
    if (r < 0 || p.error) {
        if (r < 0)
            check_untried(c, r);
        else
            check_set(c, DOCTOR_UNKNOWN, "%s", strerror(p.error));
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(file_systems); i++) {
        if (file_systems[i].magic == p.magic) {
            kind = file_systems[i].kind;
            name = file_systems[i].name;
        }
    }
    if (!name)
        check_set(c, DOCTOR_UNKNOWN, "one with the number 0x%x", (unsigned)p.magic);
    else if (kind == VOLATILE) {
        check_set(c, DOCTOR_DEGRADED, "%s: in memory, gone when the machine restarts", name);
        check_cost(c, "Accepted tasks and their results do not survive a restart of the machine.");
    } else if (kind == REMOTE) {
        check_set(c, DOCTOR_DEGRADED, "%s: over a network, or served by another program", name);
        check_cost(c, "The database's locks and its log are not to be trusted there: tasks may be lost.");
    } else if (kind == LAYERED) {
        check_set(c, DOCTOR_DEGRADED, "%s: a container's own layer, gone with the container", name);
        check_cost(c, "Accepted tasks and their results do not outlive the container.");
        check_fix(c, "mount a volume there");
    } else
        check_set(c, DOCTOR_OK, "%s", name);
}
