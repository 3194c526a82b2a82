/* SPDX-License-Identifier: Apache-2.0 */
/* Namespaces, and what only they allow: a procfs and an overlay of one's own. All of it is tried, in a child. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "doctor/facts.h"
#include "doctor/internal.h"
#include "base/try.h"

#define TRY_US UINT64_C(1500000)
enum { NOT_TRIED = -1 };

static int write_self(const char *file, const char *text)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/%s", file);
    CLEANUP_FD int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    return write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : errno;
}

static int enter(int flag)
{
    return unshare(flag) == 0 ? 0 : errno;
}

static int map_self(unsigned uid, unsigned gid)
{
    char text[64];
    int r = write_self("setgroups", "deny");
    if (r && r != ENOENT)
        return r;
    snprintf(text, sizeof text, "0 %u 1\n", uid);
    r = write_self("uid_map", text);
    if (r)
        return r;
    snprintf(text, sizeof text, "0 %u 1\n", gid);
    return write_self("gid_map", text);
}

/* As process 1 of a new pid namespace, in a mount namespace that nobody else sees. */
static int mount_proc(void *arg)
{
    (void)arg;
    return mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0 ? 0 : errno;
}

/* On a tmpfs that covers /tmp for this child alone. */
static int mount_overlay(void)
{
    static const char *const folders[] = {"/tmp/lower", "/tmp/upper", "/tmp/work", "/tmp/merged"};
    if (mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=700") < 0)
        return errno;
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        if (mkdir(folders[i], 0700) < 0)
            return errno;
    }
    const char *const options[] = {"lowerdir=/tmp/lower,upperdir=/tmp/upper,workdir=/tmp/work,userxattr",
        "lowerdir=/tmp/lower,upperdir=/tmp/upper,workdir=/tmp/work"};
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        if (mount("overlay", "/tmp/merged", "overlay", 0, options[i]) == 0)
            return 0;
        if (errno != EINVAL) /* which is how kernels before 5.11 say that they do not know userxattr */
            break;
    }
    return errno;
}

static void try_all(const void *arg, void *ret)
{
    struct namespaces *n = ret;
    unsigned uid = geteuid(), gid = getegid();
    (void)arg;
    *n = (struct namespaces){0, NOT_TRIED, NOT_TRIED, NOT_TRIED, NOT_TRIED, NOT_TRIED, NOT_TRIED, NOT_TRIED, NOT_TRIED,
        NOT_TRIED, NOT_TRIED};
    n->user = enter(CLONE_NEWUSER);
    if (n->user)
        return;
    n->maps = map_self(uid, gid);
    n->mount = enter(CLONE_NEWNS);
    n->net = enter(CLONE_NEWNET);
    n->ipc = enter(CLONE_NEWIPC);
    n->uts = enter(CLONE_NEWUTS);
    n->cgroup = enter(CLONE_NEWCGROUP);
    n->pid = enter(CLONE_NEWPID);
    if (n->maps || n->mount || n->pid)
        return;
    /* Never without: the mounts below would be everybody's. A security module may refuse it where it let us in. */
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
        n->mount = errno;
        return;
    }
    n->proc = try_fork(mount_proc, NULL);
    n->overlay = mount_overlay();
}

void namespaces_try(const struct doctor *d, struct namespaces *ret)
{
    *ret = (struct namespaces){0};
    ret->failed = try_run(doctor_time(d, TRY_US), try_all, NULL, ret, sizeof *ret);
}

static bool sysctl_is(const struct doctor *d, const char *path, uint64_t value)
{
    uint64_t v;
    return doctor_number(d, path, &v) && v == value;
}

static bool in_filter(const struct doctor *d)
{
    CLEANUP_FREE char *status = doctor_read(d, "/proc/self/status");
    uint64_t mode;
    return status && facts_field(status, "Seccomp", &mode) && mode == 2;
}

/* Names what stands in the way, the likeliest first. */
static void name_the_cause(const struct doctor *d, struct doctor_check *c, int error)
{
    if (sysctl_is(d, "/proc/sys/user/max_user_namespaces", 0)) {
        check_add(c, "user.max_user_namespaces is 0");
        check_fix(c, "sysctl -w user.max_user_namespaces=65536 (and in /etc/sysctl.d/ to keep it)");
    } else if (error == ENOSPC || error == EUSERS) {
        check_add(c, "as many as are allowed are in use, or they are nested too deeply");
        check_fix(c, "sysctl -w user.max_user_namespaces=65536");
    } else if (!d->root && sysctl_is(d, "/proc/sys/kernel/unprivileged_userns_clone", 0)) {
        check_add(c, "kernel.unprivileged_userns_clone is 0");
        check_fix(
            c, "sysctl -w kernel.unprivileged_userns_clone=1 (and in /etc/sysctl.d/ to keep it), or start as root");
    } else if (!d->root && sysctl_is(d, "/proc/sys/kernel/apparmor_restrict_unprivileged_userns", 1)) {
        check_add(c, "kernel.apparmor_restrict_unprivileged_userns is 1");
        check_fix(c,
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile with \"userns,\", or "
            "start as root");
    } else if (in_filter(d)) {
        check_add(c, "a seccomp filter is around this process: a container's?");
        check_fix(c,
            "start the container with --security-opt seccomp=unconfined (or a profile that allows unshare, "
            "mount and pivot_root)");
    } else {
        check_fix(c, "see dmesg and the settings of the container or security module around this process");
    }
}

void check_user_namespaces(struct doctor *d, struct doctor_check *c)
{
    const struct namespaces *n = &d->namespaces;
    uint64_t max;
    check_cost(c, "Every sandbox is made in one: without them no task runs.");
    check_fix(c, "sysctl -w user.max_user_namespaces=65536");
    if (n->failed == -ECHILD && in_filter(d)) {
        check_set(c, DOCTOR_MISSING, "the process that tried it was killed by the seccomp filter around it");
        check_fix(c, "start the container with --security-opt seccomp=unconfined");
    } else if (n->failed) {
        check_untried(c, n->failed);
    } else if (n->user || n->maps) {
        int error = n->user ? n->user : n->maps;
        check_set(
            c, DOCTOR_MISSING, "%s: %s", n->user ? "none can be made" : "its ids cannot be mapped", strerror(error));
        name_the_cause(d, c, error);
    } else {
        check_set(c, DOCTOR_OK, "made one and became root in it");
        if (doctor_number(d, "/proc/sys/user/max_user_namespaces", &max))
            check_add(c, "at most %llu", (unsigned long long)max);
    }
}

void check_namespaces(struct doctor *d, struct doctor_check *c)
{
    const struct namespaces *n = &d->namespaces;
    const struct {
        const char *name;
        int error;
    } kinds[] = {{"mount", n->mount}, {"pid", n->pid}, {"net", n->net}, {"ipc", n->ipc}, {"uts", n->uts}};
    check_cost(c, "A task would see the files, processes or network of the machine: without them none is run.");
    check_fix(c, "a kernel with CONFIG_NAMESPACES and all below it");
    if (n->failed) {
        check_untried(c, n->failed);
        return;
    }
    if (n->user) {
        check_set(c, DOCTOR_MISSING, "they need a user namespace");
        check_fix(c, "user namespaces first, see above");
        return;
    }
    int error = 0;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (!kinds[i].error)
            continue;
        error = kinds[i].error;
        check_add(c, "no %s namespace: %s", kinds[i].name, strerror(error));
    }
    if (error) {
        c->status = DOCTOR_MISSING;
        if (error == EPERM || error == EACCES || error == ENOSPC)
            name_the_cause(d, c, error);
        return;
    }
    check_set(c, n->cgroup ? DOCTOR_DEGRADED : DOCTOR_OK, "made mount, pid, net, ipc, uts%s",
        n->cgroup ? "; no cgroup namespace" : " and cgroup");
    if (n->cgroup) {
        check_cost(c, "A task sees the name of the control group that it is in.");
        check_fix(c, "a kernel with CONFIG_CGROUPS (4.6 or newer)");
    }
}

void check_procfs(struct doctor *d, struct doctor_check *c)
{
    const struct namespaces *n = &d->namespaces;
    check_cost(c, "Each task gets a /proc that shows its own processes alone: without it none is run.");
    check_fix(c,
        "unmask /proc of the container around this process: --security-opt systempaths=unconfined (Docker), "
        "procMount: Unmasked (Kubernetes)");
    if (n->failed)
        check_untried(c, n->failed);
    else if (n->proc == NOT_TRIED)
        check_set(c, DOCTOR_MISSING, "it needs user, mount and pid namespaces");
    else if (n->proc == 0)
        check_set(c, DOCTOR_OK, "mounted one in a pid namespace");
    else if (n->proc == EPERM)
        check_set(c, DOCTOR_MISSING, "cannot be mounted: parts of /proc are covered, as containers do");
    else
        check_set(c, DOCTOR_MISSING, "cannot be mounted: %s", strerror(n->proc));
}

void check_overlayfs(struct doctor *d, struct doctor_check *c)
{
    const struct namespaces *n = &d->namespaces;
    check_cost(
        c, "A task's file system cannot be laid over another one; the workspace is a folder of its own as ever.");
    check_fix(c, "a kernel of version 5.11 or newer with CONFIG_OVERLAY_FS (modprobe overlay)");
    if (n->failed)
        check_untried(c, n->failed);
    else if (n->overlay == NOT_TRIED)
        check_set(c, DOCTOR_MISSING, "it needs user and mount namespaces");
    else if (n->overlay == 0)
        check_set(c, DOCTOR_OK, "mounted one in a user namespace");
    else
        check_set(c, DOCTOR_MISSING, "cannot be mounted in a user namespace: %s",
            n->overlay == ENODEV ? "the kernel has no overlay" : strerror(n->overlay));
}
