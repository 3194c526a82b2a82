/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each slot has one control group (in version 1: one in each hierarchy), made before the slot is cloned and removed after
 * it has been reaped; a slot's tasks are born into it at no cost. They all lie in a folder of this launcher's own,
 * hivemind-PID-TIME, on which it holds a lock as long as it lives: so the next launcher can tell what was left behind by a
 * dead one from what belongs to a living one, also across pid namespaces, and sweeps the former. The daemon gets the
 * group's files opened, since it has no right to open them itself, and needs none to use them.
 *
 * In version 2 a group that gives controllers to those below must hold no processes. Where the group that we are in is
 * ours to divide, the daemon and we move into a leaf of it for good; the service manager removes that with the group.
 * Root on a machine without delegation uses the root of all groups, which is exempt from that rule.
 */
#include "slot/launcher_group.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/parse.h"
#include "slot/caps.h"

enum { NAME_ATTEMPTS = 8, MOVE_ROUNDS = 16, LIST_MAX = 64 * 1024 };
/* How long is waited for processes that are dying; what lives longer is left to the next launcher. */
enum { SWEEP_US = 500 * 1000, CLOSE_US = 4000 * 1000 };

static const char prefix[] = "hivemind-";

/* How a file is called in each version; NULL: it has none. */
struct file_kind {
    const char *name[2];
    enum cgroup_controller controller;
    int flags;
};

/* O_NONBLOCK: from Linux 6.16 on a lower limit is set without waiting here for memory to be given back. */
static const struct file_kind kinds[GROUP_FILE_MAX] = {
    [GROUP_MEMORY_CURRENT] = {{"memory.usage_in_bytes", "memory.current"}, CGROUP_MEMORY, O_RDONLY},
    [GROUP_MEMORY_PEAK] = {{"memory.max_usage_in_bytes", "memory.peak"}, CGROUP_MEMORY, O_RDWR},
    [GROUP_MEMORY_MAX] = {{"memory.limit_in_bytes", "memory.max"}, CGROUP_MEMORY, O_RDWR | O_NONBLOCK},
    [GROUP_MEMORY_SWAP] = {{"memory.memsw.limit_in_bytes", NULL}, CGROUP_MEMORY, O_RDWR},
    [GROUP_MEMORY_EVENTS] = {{"memory.oom_control", "memory.events"}, CGROUP_MEMORY, O_RDONLY},
    [GROUP_MEMORY_NOTIFY] = {{NULL, NULL}, CGROUP_MEMORY, 0}, /* open_notify() */
    [GROUP_CPU_MAX] = {{"cpu.cfs_quota_us", "cpu.max"}, CGROUP_CPU, O_RDWR},
    [GROUP_CPU_USAGE] = {{"cpuacct.usage", "cpu.stat"}, CGROUP_CPUACCT, O_RDONLY},
    [GROUP_CPU_STAT] = {{"cpuacct.stat", NULL}, CGROUP_CPUACCT, O_RDONLY},
    [GROUP_PIDS_MAX] = {{"pids.max", "pids.max"}, CGROUP_PIDS, O_RDWR},
    [GROUP_PIDS_EVENTS] = {{"pids.events", "pids.events"}, CGROUP_PIDS, O_RDONLY},
};

static const char SOCKET_BYTES[] = "33554432";

/* --- folders and files --- */

static int write_in(int dir, const char *name, const char *text)
{
    CLEANUP_FD int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n;
    do
        n = write(fd, text, strlen(text));
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

static int open_folder(int dir, const char *name)
{
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* Calls `visit` for every folder in there; what it removes meanwhile does no harm. */
static void for_each_folder(int dir, void (*visit)(int dir, const char *name, uint64_t deadline), uint64_t deadline)
{
    int copy = open_folder(dir, ".");
    DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
    if (!d) {
        fd_close(&copy);
        return;
    }
    struct dirent *e;
    while ((e = readdir(d))) {
        if (e->d_type == DT_DIR && e->d_name[0] != '.')
            visit(dir, e->d_name, deadline);
    }
    closedir(d);
}

static void remove_one(int dir, const char *name, uint64_t deadline)
{
    (void)deadline;
    (void)unlinkat(dir, name, AT_REMOVEDIR);
}

/* Removes a launcher's folder with the groups in it; until the deadline it waits for what still dies in there. */
static void remove_base(int top, int base, const char *name, uint64_t deadline)
{
    const struct timespec nap = {.tv_nsec = 5 * 1000 * 1000};
    for (;;) {
        for_each_folder(base, remove_one, deadline);
        if (unlinkat(top, name, AT_REMOVEDIR) == 0 || errno != EBUSY || clock_monotonic_us() >= deadline)
            return;
        (void)nanosleep(&nap, NULL);
    }
}

/* --- what dead launchers left --- */

/* hivemind-NUMBER-NUMBER */
static bool is_ours(const char *name)
{
    size_t len = sizeof prefix - 1;
    if (strncmp(name, prefix, len) != 0)
        return false;
    size_t pid = strspn(name + len, "0123456789");
    const char *dash = name + len + pid;
    return pid > 0 && *dash == '-' && dash[1] && dash[1 + strspn(dash + 1, "0123456789")] == '\0';
}

static void sweep_one(int top, const char *name, uint64_t deadline)
{
    if (!is_ours(name))
        return;
    CLEANUP_FD int base = open_folder(top, name);
    if (base < 0 || flock(base, LOCK_EX | LOCK_NB) < 0)
        return;                               /* its launcher lives */
    (void)write_in(base, "cgroup.kill", "1"); /* they have lost their launcher and are dying anyway */
    remove_base(top, base, name, deadline);
}

/* --- ours --- */

/*
 * Makes and locks our folder. Between the two another launcher may take it for a dead one's and remove it: then the lock
 * is on something that is there no more, and the next name is tried.
 */
static int make_base(int top, char name[64])
{
    for (unsigned i = 0; i < NAME_ATTEMPTS; i++) {
        struct stat locked, there;
        if (!name[0] || i > 0)
            snprintf(name, 64, "%s%d-%llu", prefix, (int)getpid(), (unsigned long long)clock_monotonic_us());
        if (mkdirat(top, name, 0755) < 0 && errno != EEXIST)
            return -errno;
        CLEANUP_FD int base = open_folder(top, name);
        if (base >= 0 && flock(base, LOCK_EX | LOCK_NB) == 0 && fstat(base, &locked) == 0 &&
            fstatat(top, name, &there, AT_SYMLINK_NOFOLLOW) == 0 && locked.st_ino == there.st_ino)
            return fd_steal(&base);
    }
    return -EBUSY;
}

static int open_tree(struct launcher_groups *g, const char *own, unsigned controllers)
{
    struct stat st;
    CLEANUP_FD int top = open_folder(AT_FDCWD, own);
    if (top < 0)
        return top;
    for_each_folder(top, sweep_one, clock_monotonic_us() + SWEEP_US);
    int base = make_base(top, g->name);
    if (base < 0)
        return base;
    if (fstat(top, &st) < 0 || st.st_uid != geteuid() || !(st.st_mode & S_IWUSR))
        g->override = true;
    g->tree[g->n_trees++] = (struct group_tree){.controllers = controllers, .top = fd_steal(&top), .base = base};
    return 0;
}

static void open_v1(struct launcher_groups *g, const struct cgroup_view *view)
{
    unsigned done = 0;
    for (size_t c = 0; c < CGROUP_CONTROLLER_MAX; c++) {
        const struct cgroup_place *p = &view->controller[c];
        unsigned together = 0; /* some controllers share a hierarchy: cpu,cpuacct */
        for (size_t other = 0; other < CGROUP_CONTROLLER_MAX; other++)
            together |= !strcmp(view->controller[other].own, p->own) ? 1u << other : 0;
        if (p->writable && !(done & 1u << c) && open_tree(g, p->own, together) == 0)
            done |= together;
    }
}

/* Moves what lives in the group into its leaf: all where the group is ours, else us and our daemon. */
static int move_to_leaf(int own, pid_t daemon, bool all)
{
    char text[32];
    if (mkdirat(own, CGROUP_LEAF, 0755) < 0 && errno != EEXIST)
        return -errno;
    CLEANUP_FD int leaf = open_folder(own, CGROUP_LEAF);
    if (leaf < 0)
        return leaf;
    const pid_t ours[] = {daemon, getpid()};
    for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
        snprintf(text, sizeof text, "%d", (int)ours[i]);
        int r = write_in(leaf, "cgroup.procs", text);
        if (r < 0)
            return r;
    }
    for (int round = 0; all && round < MOVE_ROUNDS; round++) { /* they may fork meanwhile */
        CLEANUP_FD int fd = openat(own, "cgroup.procs", O_RDONLY | O_CLOEXEC);
        CLEANUP_FREE char *list = calloc(1, LIST_MAX);
        ssize_t n = fd < 0 || !list ? -1 : fd_read_all(fd, list, LIST_MAX - 1);
        char *save = NULL;
        if (n <= 0)
            break;
        for (char *pid = strtok_r(list, "\n", &save); pid; pid = strtok_r(NULL, "\n", &save))
            (void)write_in(leaf, "cgroup.procs", pid);
    }
    return 0;
}

/* Gives the controllers to the groups below; one that is refused is missed when its files are. */
static void enable_controllers(int dir)
{
    static const char *const wanted[] = {"+memory", "+cpu", "+pids"};
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        (void)write_in(dir, "cgroup.subtree_control", wanted[i]);
}

static int open_v2(struct launcher_groups *g, const struct cgroup_view *view, pid_t daemon)
{
    const struct cgroup_place *p = &view->controller[CGROUP_CPUACCT];
    if (!p->writable)
        return 0;
    bool top_is_root = view->real_root && !strcmp(p->own, view->mount);
    CLEANUP_FD int own = open_folder(AT_FDCWD, p->own);
    if (own < 0)
        return own;
    int r = top_is_root || view->in_leaf ? 0 : move_to_leaf(own, daemon, view->delegated);
    if (r < 0)
        return r;
    enable_controllers(own);
    r = open_tree(g, p->own, (1u << CGROUP_CONTROLLER_MAX) - 1);
    if (r == 0)
        enable_controllers(g->tree[0].base);
    return r;
}

/* What can be limited is what a group has the files for. */
static uint32_t probe(struct launcher_groups *g)
{
    struct slot_group group;
    int fds[GROUP_FILE_MAX];
    uint32_t files;
    launcher_group_make(g, &group);
    launcher_group_join(g, &group, 0, true);
    (void)launcher_group_files(&group, fds, &files);
    launcher_group_close(&group);
    launcher_group_remove(g, group.serial);
    return (files & 1u << GROUP_MEMORY_MAX ? LAUNCHER_GROUP_MEMORY : 0u) |
        (files & 1u << GROUP_CPU_MAX ? LAUNCHER_GROUP_CPU : 0u) |
        (files & 1u << GROUP_PIDS_MAX ? LAUNCHER_GROUP_PIDS : 0u);
}

void launcher_groups_open(struct launcher_groups *g, pid_t daemon, size_t slots, char missing[PROTOCOL_DETAIL_MAX])
{
    struct cgroup_view view;
    *g = (struct launcher_groups){0};
    int r = cgroup_find(daemon, &view);
    cgroup_explain(&view, missing);
    g->behind = calloc(slots + 1, sizeof *g->behind);
    g->max_behind = slots;
    if (r < 0 || !g->behind)
        return;
    g->version = view.version;
    if (view.version == 1)
        open_v1(g, &view);
    else if (view.version == 2)
        r = open_v2(g, &view, daemon);
    if (g->n_trees == 0)
        g->version = 0;
    else
        g->limits = probe(g);
    if (g->limits != cgroup_limits(&view)) /* it looked better than it is */
        snprintf(missing, PROTOCOL_DETAIL_MAX, "%s (cgroup v%d: %s)", cgroup_unlimited(g->limits), view.version,
            r < 0 ? strerror(-r) : "the controllers cannot be used");
}

void launcher_groups_close(struct launcher_groups *g)
{
    if (g->override)
        (void)caps_set_latent(caps_effective() | CAP_BIT(CAP_DAC_OVERRIDE), 0);
    uint64_t deadline = clock_monotonic_us() + CLOSE_US;
    for (size_t i = 0; i < g->n_trees; i++) {
        struct group_tree *t = &g->tree[i];
        remove_base(t->top, t->base, g->name, deadline);
        fd_close(&t->base);
        fd_close(&t->top);
    }
    free(g->behind);
    *g = (struct launcher_groups){0};
}

/* --- one slot's --- */

static void group_name(uint64_t serial, char ret[32])
{
    snprintf(ret, 32, "%llu", (unsigned long long)serial);
}

void launcher_group_make(struct launcher_groups *g, struct slot_group *ret)
{
    char name[32];
    *ret = (struct slot_group){.serial = g->n_trees ? ++g->serial : 0};
    for (size_t i = 0; i < CGROUP_CONTROLLER_MAX; i++)
        ret->dir[i] = -1;
    for (size_t i = 0; i < GROUP_FILE_MAX; i++)
        ret->fd[i] = -1;
    group_name(ret->serial, name);
    for (size_t i = 0; i < g->n_trees; i++) {
        if (mkdirat(g->tree[i].base, name, 0755) == 0)
            ret->dir[i] = open_folder(g->tree[i].base, name);
        /* Version 1 counts what lies in sockets apart, version 2 with the rest. Where there is no such file, so be it. */
        if (ret->dir[i] >= 0 && g->version == 1)
            (void)write_in(ret->dir[i], "memory.kmem.tcp.limit_in_bytes", SOCKET_BYTES);
    }
}

int launcher_group_clone_dir(const struct launcher_groups *g, const struct slot_group *group)
{
    return g->version == 2 ? group->dir[0] : -1;
}

/* Version 1: the kernel tells through an eventfd that somebody has to be killed. */
static int open_notify(int dir, int events)
{
    char text[32];
    CLEANUP_FD int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0 || events < 0)
        return -1;
    snprintf(text, sizeof text, "%d %d", fd, events);
    return write_in(dir, "cgroup.event_control", text) == 0 ? fd_steal(&fd) : -1;
}

static void open_files(const struct launcher_groups *g, struct slot_group *group, size_t tree)
{
    int dir = group->dir[tree];
    for (size_t f = 0; f < GROUP_FILE_MAX; f++) {
        const char *name = kinds[f].name[g->version - 1];
        if (!name || !(g->tree[tree].controllers & 1u << kinds[f].controller))
            continue;
        int fd = openat(dir, name, kinds[f].flags | O_CLOEXEC);
        if (fd < 0 && kinds[f].flags & O_RDWR && (errno == EACCES || errno == EPERM || errno == EINVAL))
            fd = openat(dir, name, O_RDONLY | O_CLOEXEC); /* memory.peak before Linux 6.12 */
        group->fd[f] = fd;
    }
    if (g->version == 1 && g->tree[tree].controllers & 1u << CGROUP_MEMORY)
        group->fd[GROUP_MEMORY_NOTIFY] = open_notify(dir, group->fd[GROUP_MEMORY_EVENTS]);
    if (g->version == 2) {
        /* No way around the limit by swapping, and no half-killed task. Missing files: no memory controller. */
        (void)write_in(dir, "memory.swap.max", "0");
        (void)write_in(dir, "memory.oom.group", "1");
    }
}

void launcher_group_join(struct launcher_groups *g, struct slot_group *group, pid_t pid, bool cloned)
{
    char text[32];
    snprintf(text, sizeof text, "%d", (int)pid);
    for (size_t i = 0; i < g->n_trees; i++) {
        int r = group->dir[i] < 0 ? -ENOENT : cloned ? 0 : write_in(group->dir[i], "cgroup.procs", text);
        if (r == 0)
            open_files(g, group, i);
        else if (!g->complained)
            fprintf(stderr, "hivemind-launcher: a sandbox is without its control group: %s\n", strerror(-r));
        g->complained |= r < 0;
    }
}

size_t launcher_group_files(const struct slot_group *group, int fds[GROUP_FILE_MAX], uint32_t *ret_files)
{
    size_t n = 0;
    *ret_files = 0;
    for (size_t f = 0; f < GROUP_FILE_MAX; f++) {
        if (group->fd[f] < 0)
            continue;
        fds[n++] = group->fd[f];
        *ret_files |= UINT32_C(1) << f;
    }
    return n;
}

void launcher_group_close(struct slot_group *group)
{
    for (size_t i = 0; i < CGROUP_CONTROLLER_MAX; i++)
        fd_close(&group->dir[i]);
    for (size_t i = 0; i < GROUP_FILE_MAX; i++)
        fd_close(&group->fd[i]);
}

static bool remove_everywhere(const struct launcher_groups *g, uint64_t serial)
{
    char name[32];
    bool gone = true;
    group_name(serial, name);
    for (size_t i = 0; i < g->n_trees; i++)
        gone &= unlinkat(g->tree[i].base, name, AT_REMOVEDIR) == 0 || errno != EBUSY;
    return gone;
}

void launcher_group_remove(struct launcher_groups *g, uint64_t serial)
{
    /* With the list full the oldest is left to launcher_groups_close(): what lives in there has not died for long. */
    if (serial == 0 || remove_everywhere(g, serial))
        return;
    if (g->n_behind == g->max_behind)
        memmove(g->behind, g->behind + 1, --g->n_behind * sizeof *g->behind);
    g->behind[g->n_behind++] = serial;
}

bool launcher_groups_tidy(struct launcher_groups *g)
{
    size_t kept = 0;
    for (size_t i = 0; i < g->n_behind; i++) {
        if (!remove_everywhere(g, g->behind[i]))
            g->behind[kept++] = g->behind[i];
    }
    g->n_behind = kept;
    return kept > 0;
}
