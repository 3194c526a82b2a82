/* SPDX-License-Identifier: Apache-2.0 */
/* The privileged work of hivemind-launcher: new namespaces, id maps, exec of hivemind-slot. */
#include "slot/launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "slot/caps.h"
#include "slot/channel.h"

enum { TASK_UID = 1000 }; /* inside a slot's user namespace; 0 is the slot itself */

/* --- the child: from clone to exec --- */

static _Noreturn void child_fail(int control)
{
    struct slot_reply reply = {
        .header = {.magic = SLOT_MAGIC, .version = PROTOCOL_VERSION, .type = SLOT_FAILED},
        .stage = STAGE_EXEC_SLOT,
        .error = errno,
    };
    (void)channel_send(control, &reply, sizeof reply, NULL, 0);
    _exit(127);
}

static void child_arrange_fds(int control, int exe)
{
    /* Out of the way first: the numbers below are taken one after the other. */
    enum { EXE_FD = PROTOCOL_PROFILE_FD + 1 };
    int c = fcntl(control, F_DUPFD_CLOEXEC, 16), e = fcntl(exe, F_DUPFD_CLOEXEC, 16);
    int p = fcntl(PROTOCOL_PROFILE_FD, F_DUPFD_CLOEXEC, 16);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (c < 0 || e < 0 || p < 0 || null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0 ||
        dup2(c, PROTOCOL_FD) < 0 || dup2(p, PROTOCOL_PROFILE_FD) < 0 || dup3(e, EXE_FD, O_CLOEXEC) < 0)
        child_fail(control);
    if (syscall(SYS_close_range, EXE_FD + 1, ~0u, 0) < 0)
        child_fail(PROTOCOL_FD);
}

static _Noreturn void child_run(const struct launcher_setup *setup, bool host_network, int control, int sync)
{
    char byte = 0;
    /* The launcher was made undumpable, and its child inherits that: its /proc files would belong to root. */
    if (!setup->privileged)
        (void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    if (write(sync, &byte, 1) != 1 || read(sync, &byte, 1) != 1)
        _exit(126); /* the launcher could not write the maps, and says so itself */
    /* Here, and not by the clone: its root is to be the slot's own group. Kernels without these do without. */
    (void)unshare(CLONE_NEWCGROUP);

    if (setresgid(0, 0, 0) < 0 || (setup->privileged && setgroups(0, NULL) < 0) || setresuid(0, 0, 0) < 0)
        child_fail(control);
    /* Changing ids cleared it. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        child_fail(control);
    child_arrange_fds(control, setup->slot_exe);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    const char *const argv[] = {"hivemind-slot", setup->privileged ? "two-ids" : "one-id",
        host_network ? "host-network" : "own-network", setup->inputs ? "inputs" : "no-inputs", NULL};
    /* What libraries look up late, each task would look up anew, in its own copy of the tables. */
    char bind_now[] = "LD_BIND_NOW=1", *envp[] = {bind_now, NULL};
    execveat(PROTOCOL_PROFILE_FD + 1, "", (char *const *)argv, envp, AT_EMPTY_PATH);
    child_fail(PROTOCOL_FD);
}

/* --- the parent --- */

static int PRINTF_LIKE(2, 3) explain(char detail[PROTOCOL_DETAIL_MAX], const char *fmt, ...)
{
    int saved = errno;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(detail, PROTOCOL_DETAIL_MAX, fmt, ap);
    va_end(ap);
    return -saved;
}

static int write_proc(pid_t pid, const char *file, const char *text)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    CLEANUP_FD int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    /* One write: the kernel takes a map only whole. */
    return write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
}

static int write_maps(const struct launcher_setup *setup, pid_t pid, uint32_t index, char detail[PROTOCOL_DETAIL_MAX])
{
    char uids[64], gids[64];
    if (setup->privileged) {
        uint32_t first = setup->uid_base + 2 * index;
        snprintf(uids, sizeof uids, "0 %u 1\n%d %u 1\n", first, TASK_UID, first + 1);
        snprintf(gids, sizeof gids, "%s", uids);
    } else {
        snprintf(uids, sizeof uids, "0 %u 1\n", (unsigned)geteuid());
        snprintf(gids, sizeof gids, "0 %u 1\n", (unsigned)getegid());
        if (write_proc(pid, "setgroups", "deny") < 0)
            return explain(detail, "cannot write the slot's setgroups");
    }
    if (write_proc(pid, "uid_map", uids) < 0)
        return explain(detail, "cannot write the slot's uid map");
    if (write_proc(pid, "gid_map", gids) < 0)
        return explain(detail, "cannot write the slot's gid map");
    return 0;
}

/* `group_dir`: to be born into, or -1; *ret_in_group: it was. */
static pid_t clone_slot(bool host_network, int group_dir, int *ret_pidfd, bool *ret_in_group)
{
    uint64_t flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
    if (host_network)
        flags &= ~(uint64_t)CLONE_NEWNET;
    struct clone_args args = {
        .flags = flags | CLONE_PIDFD,
        .pidfd = (uintptr_t)ret_pidfd,
        .exit_signal = SIGCHLD,
    };
    *ret_in_group = false;
    if (group_dir >= 0) {
        struct clone_args into = args;
        into.flags |= CLONE_INTO_CGROUP;
        into.cgroup = (uint64_t)group_dir;
        pid_t pid = (pid_t)syscall(SYS_clone3, &into, sizeof into);
        *ret_in_group = pid >= 0;
        if (pid >= 0)
            return pid; /* else without: older kernels know no such flag, and what else is wrong is wrong again */
    }
    return (pid_t)syscall(SYS_clone3, &args, sizeof args);
}

static int explain_clone(char detail[PROTOCOL_DETAIL_MAX])
{
    switch (errno) {
    case EPERM:
    case EACCES:
        return explain(detail,
            "user namespaces are not allowed here (see kernel.unprivileged_userns_clone, "
            "kernel.apparmor_restrict_unprivileged_userns)");
    case ENOSPC:
    case EUSERS:
        return explain(detail, "no more namespaces are allowed (see user.max_user_namespaces)");
    default:
        return explain(detail, "cannot make the slot's namespaces");
    }
}

/* Lets the child go on once its maps are written. */
static int release_child(
    const struct launcher_setup *setup, pid_t pid, uint32_t index, int sync, char detail[PROTOCOL_DETAIL_MAX])
{
    char byte = 0;
    if (read(sync, &byte, 1) != 1) {
        errno = ESRCH;
        return explain(detail, "the slot died at its start");
    }
    int r = write_maps(setup, pid, index, detail);
    if (r < 0)
        return r;
    return send(sync, &byte, 1, MSG_NOSIGNAL) == 1 ? 0 : explain(detail, "the slot died at its start");
}

static void drop_group(const struct launcher_setup *setup, struct slot_group *group)
{
    launcher_group_close(group);
    launcher_group_remove(setup->groups, group->serial);
}

int slot_process_create(const struct launcher_setup *setup, const struct launcher_request *request,
    struct slot_process *ret, int *ret_control, char detail[PROTOCOL_DETAIL_MAX])
{
    bool host_network = request->flags & LAUNCHER_HOST_NETWORK;
    int control[2], sync[2];
    if (channel_pair(control) < 0)
        return explain(detail, "cannot make the slot's connection");
    CLEANUP_FD int daemon_end = control[0];
    CLEANUP_FD int slot_end = control[1];
    if (channel_pair(sync) < 0)
        return explain(detail, "cannot make the slot's connection");
    CLEANUP_FD int our_sync = sync[0];
    CLEANUP_FD int child_sync = sync[1];
    CLEANUP_FD int pidfd = -1;
    int new_pidfd = -1;
    struct slot_group group;
    bool in_group;
    launcher_group_make(setup->groups, &group);
    pid_t pid = clone_slot(host_network, launcher_group_clone_dir(setup->groups, &group), &new_pidfd, &in_group);
    if (pid < 0) {
        int r = explain_clone(detail);
        drop_group(setup, &group);
        return r;
    }
    if (pid == 0) {
        close(our_sync);
        child_run(setup, host_network, slot_end, child_sync);
    }
    pidfd = new_pidfd;
    fd_close(&child_sync);
    launcher_group_join(setup->groups, &group, pid, in_group);
    int r = release_child(setup, pid, request->index, our_sync, detail);
    if (r < 0) {
        (void)syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
        (void)waitpid(pid, NULL, 0);
        drop_group(setup, &group);
        return r;
    }
    *ret = (struct slot_process){.pid = pid, .pidfd = fd_steal(&pidfd), .group = group};
    *ret_control = fd_steal(&daemon_end);
    return 0;
}

/* --- privileges of the launcher itself --- */

/* True when every id of the range exists in our user namespace. */
static bool ids_mapped(const char *file, uint64_t first, uint64_t count)
{
    FILE *f = fopen(file, "re");
    if (!f)
        return false;
    uint64_t inside, outside, length;
    bool found = false;
    while (!found && fscanf(f, "%lu %lu %lu", &inside, &outside, &length) == 3)
        found = first >= inside && first + count <= inside + length;
    fclose(f);
    return found;
}

void launcher_find_privileges(struct launcher_setup *setup, uint32_t slots, char warning[PROTOCOL_DETAIL_MAX])
{
    const uint64_t need = CAP_BIT(CAP_SETUID) | CAP_BIT(CAP_SETGID) | CAP_BIT(CAP_KILL);
    uint64_t first = setup->uid_base, count = 2 * (uint64_t)slots;
    warning[0] = '\0';
    setup->privileged = false;
    if (geteuid() != 0 || (caps_effective() & need) != need)
        snprintf(warning, PROTOCOL_DETAIL_MAX, "not started as root: all sandboxes share this user's id");
    else if (!ids_mapped("/proc/self/uid_map", first, count) || !ids_mapped("/proc/self/gid_map", first, count))
        snprintf(warning, PROTOCOL_DETAIL_MAX, "this system has no ids %lu to %lu: all sandboxes share one user id",
            first, first + count - 1);
    else
        setup->privileged = true;
}

int launcher_drop_privileges(const struct launcher_setup *setup)
{
    uint64_t keep = 0, have = caps_effective();
    if (setup->privileged)
        keep = CAP_BIT(CAP_SETUID) | CAP_BIT(CAP_SETGID) | CAP_BIT(CAP_KILL);
    else if (geteuid() == 0) /* root of a container that has no ids to give: mapping its own id 0 takes this one */
        keep = have & (CAP_BIT(CAP_SETUID) | CAP_BIT(CAP_SETGID) | CAP_BIT(CAP_SETFCAP));
    int r = 0;
    uint64_t latent = setup->groups->override ? have & CAP_BIT(CAP_DAC_OVERRIDE) : 0;
    if (have & CAP_BIT(CAP_SETPCAP))
        r = caps_bound(keep);
    if (r == 0)
        r = caps_set_latent(keep, latent);
    if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        r = -errno;
    if (r == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        r = -errno;
    return r;
}
