/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control groups as they are mounted: which version, whether this user could make groups below its own, and with which
 * controllers. Only looked at; a group is not made, since that would be a change.
 */
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/parse.h"
#include "doctor/facts.h"
#include "doctor/internal.h"

enum { WANTED = 3, LIMIT_TEXT_MAX = 64 };

/* Version 1 says "no limit" by a number that no machine reaches. */
#define NO_LIMIT (UINT64_C(1) << 60)

static const char *const wanted[WANTED] = {"memory", "cpu", "pids"};

/* A place where groups for tasks could be made. */
struct group_folder {
    char path[PATH_MAX]; /* "": not mounted */
    bool writable;
};

struct groups {
    bool v2_mounted, v1_mounted;
    bool v2; /* its controllers are with version 2 */
    struct group_folder unified;
    struct group_folder v1[WANTED];
    bool controller[WANTED]; /* usable by us */
};

/* Our own group in the hierarchy with this controller ("": version 2), out of /proc/self/cgroup; "/" if it is not there. */
static void own_group(const char *text, const char *controller, char *out, size_t size)
{
    CLEANUP_FREE char *copy = strdup(text);
    snprintf(out, size, "/");
    for (char *rest = copy, *line; copy && (line = facts_line(&rest));) {
        const char *number = strsep(&line, ":"), *names = strsep(&line, ":");
        if (!number || !names || !line)
            continue;
        bool here = *controller ? facts_list_has(names, ',', controller) : !*names && !strcmp(number, "0");
        if (here)
            snprintf(out, size, "%s", line);
    }
}

/* The folder of our own group below a mount; what lies above the mount's root is not in sight. */
static void fill_folder(
    const struct doctor *d, const struct facts_mount *m, const char *group, struct group_folder *ret)
{
    size_t len = strlen(m->root);
    if (len > 1 && !strncmp(group, m->root, len) && (group[len] == '/' || group[len] == '\0'))
        group += len;
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s%s", m->point, strcmp(group, "/") ? group : "");
    if (n < 0 || n >= PATH_MAX || strstr(path, "/../") || !doctor_path(d, path, ret->path))
        return;
    ret->writable = access(ret->path, W_OK | X_OK) == 0;
}

static void look_at_mount(const struct doctor *d, const struct facts_mount *m, const char *own, struct groups *ret)
{
    char group[PATH_MAX];
    if (!strcmp(m->type, "cgroup2")) {
        ret->v2_mounted = true;
        own_group(own, "", group, sizeof group);
        fill_folder(d, m, group, &ret->unified);
        return;
    }
    if (strcmp(m->type, "cgroup") != 0)
        return;
    ret->v1_mounted = true;
    for (size_t i = 0; i < WANTED; i++) {
        if (!facts_list_has(m->super, ',', wanted[i]))
            continue;
        own_group(own, wanted[i], group, sizeof group);
        fill_folder(d, m, group, &ret->v1[i]);
    }
}

static void find_groups(const struct doctor *d, struct groups *ret)
{
    CLEANUP_FREE char *mounts = doctor_read(d, "/proc/self/mountinfo");
    CLEANUP_FREE char *own = doctor_read(d, "/proc/self/cgroup");
    *ret = (struct groups){0};
    for (char *rest = mounts, *line; mounts && (line = facts_line(&rest));) {
        struct facts_mount m;
        if (facts_mount(line, &m))
            look_at_mount(d, &m, own ? own : "", ret);
    }
    char path[PATH_MAX], controllers[512] = "";
    const char *unified = ret->unified.path + (d->options->root ? strlen(d->options->root) : 0);
    int n = *ret->unified.path ? snprintf(path, sizeof path, "%s/cgroup.controllers", unified) : 0;
    if (n > 0 && n < PATH_MAX)
        (void)doctor_line(d, path, controllers, sizeof controllers);
    for (size_t i = 0; i < WANTED; i++) {
        bool in_v2 = facts_list_has(controllers, ' ', wanted[i]);
        ret->v2 = ret->v2 || in_v2;
        ret->controller[i] = (in_v2 && ret->unified.writable) || ret->v1[i].writable;
    }
}

static bool read_limit(const struct group_folder *folder, const char *file, uint64_t *ret)
{
    char path[PATH_MAX];
    CLEANUP_FREE char *text = NULL;
    uint64_t limit;
    int n = *folder->path ? snprintf(path, sizeof path, "%s/%s", folder->path, file) : 0;
    if (n <= 0 || n >= PATH_MAX || file_read(path, LIMIT_TEXT_MAX, &text, NULL) < 0)
        return false;
    text[strcspn(text, "\n")] = '\0';
    if (parse_u64(text, 0, NO_LIMIT, &limit) < 0) /* "max" as well */
        return false;
    *ret = limit;
    return true;
}

bool groups_limit(const struct doctor *d, bool memory, uint64_t *ret)
{
    struct groups g;
    find_groups(d, &g);
    return read_limit(&g.unified, memory ? "memory.max" : "pids.max", ret) ||
        read_limit(&g.v1[memory ? 0 : WANTED - 1], memory ? "memory.limit_in_bytes" : "pids.max", ret);
}

/* Whether the service manager has left the group to its processes. */
static bool is_delegated(const struct group_folder *folder)
{
    char value[8] = "";
    return getxattr(folder->path, "user.delegate", value, sizeof value - 1) == 1 && value[0] == '1';
}

void check_cgroup_version(struct doctor *d, struct doctor_check *c)
{
    struct groups g;
    find_groups(d, &g);
    check_cost(c, "Limits of memory and processors hold for each process of a task and not for the task as a whole.");
    check_fix(c, "mount -t cgroup2 none /sys/fs/cgroup (systemd does so by itself)");
    if (!g.v1_mounted && !g.v2_mounted)
        check_set(c, DOCTOR_MISSING, "none are mounted");
    else if (g.v2 || !g.v1_mounted)
        check_set(c, DOCTOR_OK, "version 2");
    else
        check_set(
            c, DOCTOR_OK, "version 1%s", g.v2_mounted ? ", with version 2 beside it that has no controllers" : "");
}

void check_cgroup_delegation(struct doctor *d, struct doctor_check *c)
{
    struct groups g;
    size_t writable = 0, mounted = 0;
    find_groups(d, &g);
    for (size_t i = 0; i < WANTED; i++) {
        mounted += *g.v1[i].path != '\0';
        writable += g.v1[i].writable;
    }
    check_cost(c, "A task's memory and processors cannot be limited as a whole: one task can starve the others.");
    check_fix(c,
        d->root ? "let the container write to its control groups (-v /sys/fs/cgroup:/sys/fs/cgroup:rw "
                  "--cgroupns=private)"
                : "Delegate=yes in the systemd unit, systemd-run --user --scope -p Delegate=yes, or start as root");
    if (g.v2 && g.unified.writable && !d->root && !is_delegated(&g.unified))
        check_set(c, DOCTOR_DEGRADED, "version 2: may be made in %.150s, but only by a node that is alone in there",
            g.unified.path);
    else if (g.v2 && g.unified.writable)
        check_set(c, DOCTOR_OK, "version 2: may be made in %.200s", g.unified.path);
    else if (g.v2)
        check_set(c, DOCTOR_MISSING, "version 2: not allowed in %.200s", g.unified.path);
    else if (writable > 0)
        check_set(c, writable < WANTED ? DOCTOR_DEGRADED : DOCTOR_OK,
            "version 1: may be made with %zu of the %d controllers", writable, WANTED);
    else if (mounted > 0)
        check_set(c, DOCTOR_MISSING, "version 1: this user may make none");
    else
        check_set(c, DOCTOR_MISSING, "there are no control groups with controllers");
}

void check_cgroup_controllers(struct doctor *d, struct doctor_check *c)
{
    static const char *const costs[WANTED] = {"memory", "processor time", "the number of processes"};
    struct groups g;
    size_t have = 0;
    char list[64] = "", lost[160] = "";
    find_groups(d, &g);
    for (size_t i = 0; i < WANTED; i++) {
        const char *text = g.controller[i] ? wanted[i] : costs[i];
        char *to = g.controller[i] ? list : lost;
        size_t size = g.controller[i] ? sizeof list : sizeof lost, len = strlen(to);
        snprintf(to + len, size - len, "%s%s", len ? ", " : "", text);
        have += g.controller[i];
    }
    check_cost(c, "Not limited for a task as a whole: %s.", have == WANTED ? "what the missing ones are for" : lost);
    if (!d->root && !(g.v2 && g.unified.writable))
        check_fix(c, "see \"groups for tasks\"");
    else
        check_fix(c,
            g.v2 ? "echo '+memory +cpu +pids' > cgroup.subtree_control in the group above, or Delegate=yes in the "
                   "systemd unit"
                 : "boot with cgroup_enable=memory, and mount the controllers of version 1, or version 2 instead");
    check_set(c,
        have == WANTED ? DOCTOR_OK
            : have     ? DOCTOR_DEGRADED
                       : DOCTOR_MISSING,
        "%s", have ? list : "none of memory, cpu, pids");
    if (have > 0 && have < WANTED)
        check_add(c, "nothing for %s", lost);
}
