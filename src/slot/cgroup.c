/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /proc/self/cgroup says in which group of each hierarchy this process is, as a path from the hierarchy's root (or from
 * that of our cgroup namespace); /proc/self/mountinfo says which part of a hierarchy is mounted where. Put together they
 * give the folder of our own group. Version 1 has a hierarchy per controller, any of which may be missing, and processes
 * may live anywhere in it. Version 2 has one for all, in which a group that gives controllers to those below it may hold
 * no processes itself, the root of the machine's groups excepted; so there one needs a group that is really one's own,
 * which a service manager gives by delegation (Delegate=yes), marked by an extended attribute of the folder.
 */
#include "slot/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/parse.h"
#include "base/text.h"

enum { PROC_MAX = 4 << 20, FILE_MAX = 1 << 20, LINE_MAX_BYTES = 8192, MOUNT_FIELDS = 5 };

const char *cgroup_controller_to_string(enum cgroup_controller controller)
{
    static const char *const names[] = {
#define X(name, text) [CGROUP_##name] = text,
        CGROUP_CONTROLLERS(X)
#undef X
    };
    return (unsigned)controller < ARRAY_LEN(names) ? names[controller] : "?";
}

/* --- the two files --- */

/* The next line of *text into line, without its end; false after the last. One that is too long comes as "". */
static bool next_line(const char **text, char line[LINE_MAX_BYTES])
{
    if (!**text)
        return false;
    size_t len = strcspn(*text, "\n");
    size_t keep = len < LINE_MAX_BYTES ? len : 0;
    memcpy(line, *text, keep);
    line[keep] = '\0';
    *text += len + ((*text)[len] == '\n');
    return true;
}

/* Is the word one of those in a list with commas between? */
static bool in_list(const char *list, const char *word)
{
    size_t len = strlen(word);
    for (const char *p = list; *p; p += *p == ',') {
        size_t n = strcspn(p, ",");
        if (n == len && !memcmp(p, word, len))
            return true;
        p += n;
    }
    return false;
}

/* A path of ours: absolute, not out of our namespace ("/.."), and short enough. */
static bool path_ok(const char *path)
{
    size_t len = strlen(path);
    return path[0] == '/' && len < CGROUP_PATH_MAX && !strstr(path, "/../") &&
        (len < 3 || strcmp(path + len - 3, "/..") != 0) && text_is_utf8(path, len);
}

/* What the lines of /proc/self/cgroup say: the path in the hierarchy of each controller, and in that of version 2. */
struct paths {
    char v1[CGROUP_CONTROLLER_MAX][CGROUP_PATH_MAX], v2[CGROUP_PATH_MAX];
};

static void parse_paths(const char *text, struct paths *ret)
{
    char line[LINE_MAX_BYTES];
    while (next_line(&text, line)) {
        char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL;
        uint64_t number;
        if (!path)
            continue;
        *list++ = *path++ = '\0';
        if (parse_u64(line, 0, UINT32_MAX, &number) < 0 || !path_ok(path))
            continue;
        if (number == 0 && !*list)
            snprintf(ret->v2, sizeof ret->v2, "%s", path);
        for (enum cgroup_controller c = 0; number != 0 && c < CGROUP_CONTROLLER_MAX; c++) {
            if (in_list(list, cgroup_controller_to_string(c)))
                snprintf(ret->v1[c], sizeof ret->v1[c], "%s", path);
        }
    }
}

/* Takes the kernel's \ooo back, in place. */
static void unescape(char *s)
{
    char *to = s;
    for (; *s; to++) {
        bool octal =
            s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' && s[3] <= '7';
        unsigned byte = octal ? (unsigned)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0')) : (unsigned char)*s;
        *to = (char)byte;
        s += octal ? 4 : 1;
    }
    *to = '\0';
}

struct mount {
    char *root, *point, *type, *options;
};

/* "31 23 0:28 ROOT POINT rw,.. optional... - TYPE SOURCE OPTIONS" */
static bool parse_mount(char *line, struct mount *ret)
{
    char *fields[MOUNT_FIELDS], *save = NULL, *word = strtok_r(line, " ", &save);
    for (size_t i = 0; i < MOUNT_FIELDS; i++, word = strtok_r(NULL, " ", &save)) {
        if (!word)
            return false;
        fields[i] = word;
    }
    while (word && strcmp(word, "-") != 0)
        word = strtok_r(NULL, " ", &save);
    char *type = word ? strtok_r(NULL, " ", &save) : NULL, *source = type ? strtok_r(NULL, " ", &save) : NULL;
    char *options = source ? strtok_r(NULL, " ", &save) : NULL;
    if (!options)
        return false;
    *ret = (struct mount){fields[3], fields[4], type, options};
    unescape(ret->root);
    unescape(ret->point);
    return path_ok(ret->root) && path_ok(ret->point);
}

/* The folder of the group `path` seen through the mount; false where the mount does not show it. */
static bool place(const struct mount *m, const char *path, char ret[CGROUP_PATH_MAX])
{
    size_t root = strcmp(m->root, "/") != 0 ? strlen(m->root) : 0;
    if (!path[0] || strncmp(path, m->root, root) != 0 || (path[root] && path[root] != '/'))
        return false;
    const char *below = path + root;
    int n = snprintf(ret, CGROUP_PATH_MAX, "%s%s", m->point, strcmp(below, "/") != 0 ? below : "");
    if (n > 0 && n < CGROUP_PATH_MAX)
        return true;
    ret[0] = '\0';
    return false;
}

/* Version 2: the leaf is ours, and what is above it is what we divide. */
static void leave_leaf(struct cgroup_view *view, char own[CGROUP_PATH_MAX])
{
    static const char leaf[] = "/" CGROUP_LEAF;
    size_t len = strlen(own), cut = sizeof leaf - 1;
    view->in_leaf = len > cut && !strcmp(own + len - cut, leaf) && strcmp(own, view->mount) != 0;
    if (view->in_leaf)
        own[len - cut] = '\0';
}

void cgroup_parse(const char *cgroup, const char *mountinfo, struct cgroup_view *ret)
{
    struct paths paths = {0};
    char line[LINE_MAX_BYTES], v2[CGROUP_PATH_MAX] = "";
    *ret = (struct cgroup_view){0};
    parse_paths(cgroup, &paths);
    while (next_line(&mountinfo, line)) { /* of two mounts at one place the later one is seen */
        struct mount m;
        if (!parse_mount(line, &m))
            continue;
        if (!strcmp(m.type, "cgroup2") && place(&m, paths.v2, v2))
            snprintf(ret->mount, sizeof ret->mount, "%s", m.point);
        for (enum cgroup_controller c = 0; !strcmp(m.type, "cgroup") && c < CGROUP_CONTROLLER_MAX; c++) {
            struct cgroup_place *p = &ret->controller[c];
            if (in_list(m.options, cgroup_controller_to_string(c)) && place(&m, paths.v1[c], p->own))
                p->present = true;
        }
    }
    for (size_t c = 0; c < CGROUP_CONTROLLER_MAX; c++) {
        if (paths.v1[c][0])
            ret->version = 1; /* also where it is mounted nowhere: it cannot be in version 2 then */
    }
    if (ret->version == 0 && v2[0]) {
        ret->version = 2;
        leave_leaf(ret, v2);
        for (size_t c = 0; c < CGROUP_CONTROLLER_MAX; c++)
            snprintf(ret->controller[c].own, CGROUP_PATH_MAX, "%s", v2);
    }
}

/* --- the folders --- */

/* A file of a folder, or with name "" the folder itself, as they are to be found from here. */
static bool path_in(const struct cgroup_look *look, const char *folder, const char *name, char ret[PATH_MAX])
{
    int n = snprintf(ret, PATH_MAX, "%s%s%s%s", look->root, folder, name[0] ? "/" : "", name);
    return n > 0 && n < PATH_MAX;
}

/* A file of a folder, NUL-terminated; free it. NULL: it cannot be read. */
static char *read_in(const struct cgroup_look *look, const char *folder, const char *name)
{
    char path[PATH_MAX], *text = NULL;
    size_t len;
    return path_in(look, folder, name, path) && file_read(path, FILE_MAX, &text, &len) == 0 ? text : NULL;
}

static bool may(const struct cgroup_look *look, const char *folder, const char *name, int how)
{
    char path[PATH_MAX];
    /* By the effective ids and capabilities, and by how it is mounted. */
    return path_in(look, folder, name, path) && faccessat(AT_FDCWD, path, how, AT_EACCESS) == 0;
}

static bool has_mark(const struct cgroup_look *look, const char *folder, const char *attribute)
{
    char path[PATH_MAX], value[8] = "";
    return path_in(look, folder, "", path) && getxattr(path, attribute, value, sizeof value - 1) == 1 &&
        value[0] == '1';
}

/* Does anybody but us and our parent live in this very group? */
static bool shared_with_others(const struct cgroup_look *look, const char *folder)
{
    CLEANUP_FREE char *text = read_in(look, folder, "cgroup.procs");
    char line[LINE_MAX_BYTES];
    for (const char *p = text ? text : ""; next_line(&p, line);) {
        uint64_t pid;
        /* 0 is a process that our pid namespace does not show. */
        if (parse_u64(line, 0, INT32_MAX, &pid) < 0 ||
            ((pid_t)pid != getpid() && (pid == 0 || (pid_t)pid != look->parent)))
            return true;
    }
    return !text;
}

static bool has_controller(const struct cgroup_look *look, const char *folder, enum cgroup_controller controller)
{
    CLEANUP_FREE char *have = read_in(look, folder, "cgroup.controllers");
    for (char *p = have; p && *p; p++)
        *p = *p == ' ' || *p == '\n' ? ',' : *p;
    return have && in_list(have, cgroup_controller_to_string(controller));
}

/*
 * May we divide our own group? Where it belongs to a service manager, only if that has left it to us: in any other unit
 * systemd takes a task that was killed for want of memory for its own failure, and stops the node (OOMPolicy). The manager
 * of a user does not mark what it delegates before systemd 254, but gives the cpu controller to hardly any other unit. The
 * top of all that we see without being the machine's is a container's, where no service manager looks.
 */
static bool divisible(const struct cgroup_look *look, const struct cgroup_view *view, const char *own)
{
    if (!may(look, own, "", W_OK | X_OK) || !may(look, own, "cgroup.procs", W_OK) ||
        !may(look, own, "cgroup.subtree_control", W_OK))
        return false;
    if (view->delegated || view->in_leaf)
        return true;
    bool container = !strcmp(own, view->mount) && !view->real_root;
    return !view->shared && (container || (!look->as_root && has_controller(look, own, CGROUP_CPU)));
}

static void look_v2(const struct cgroup_look *look, struct cgroup_view *view)
{
    const char *own = view->controller[0].own;
    /* Only the root of the machine's groups has no type. */
    view->real_root = may(look, view->mount, "cgroup.procs", F_OK) && !may(look, view->mount, "cgroup.type", F_OK);
    view->delegated =
        has_mark(look, own, "user.delegate") || (look->as_root && has_mark(look, own, "trusted.delegate"));
    view->shared = shared_with_others(look, own);
    const char *top = divisible(look, view, own) ? own : NULL;
    if (!top && look->as_root && view->real_root && may(look, view->mount, "cgroup.subtree_control", W_OK) &&
        may(look, view->mount, "", W_OK | X_OK))
        top = view->mount;
    for (enum cgroup_controller c = 0; c < CGROUP_CONTROLLER_MAX; c++) {
        struct cgroup_place *place_of = &view->controller[c];
        place_of->present = c == CGROUP_CPUACCT || has_controller(look, top ? top : own, c);
        place_of->writable = top && place_of->present;
        if (top && top != own)
            snprintf(place_of->own, sizeof place_of->own, "%s", top);
    }
}

void cgroup_look(const struct cgroup_look *look, struct cgroup_view *view)
{
    for (size_t c = 0; view->version == 1 && c < CGROUP_CONTROLLER_MAX; c++) {
        struct cgroup_place *p = &view->controller[c];
        p->writable = p->present && may(look, p->own, "", W_OK | X_OK);
    }
    if (view->version == 2)
        look_v2(look, view);
}

int cgroup_find(pid_t parent, struct cgroup_view *ret)
{
    const struct cgroup_look look = {.root = "", .as_root = geteuid() == 0, .parent = parent};
    CLEANUP_FREE char *cgroup = NULL;
    CLEANUP_FREE char *mountinfo = NULL;
    size_t len;
    *ret = (struct cgroup_view){0};
    int r = file_read("/proc/self/cgroup", PROC_MAX, &cgroup, &len);
    if (r == 0)
        r = file_read("/proc/self/mountinfo", PROC_MAX, &mountinfo, &len);
    if (r < 0 || !cgroup || !mountinfo)
        return r;
    cgroup_parse(cgroup, mountinfo, ret);
    cgroup_look(&look, ret);
    return 0;
}

uint32_t cgroup_limits(const struct cgroup_view *view)
{
    return (view->controller[CGROUP_MEMORY].writable ? LAUNCHER_GROUP_MEMORY : 0u) |
        (view->controller[CGROUP_CPU].writable ? LAUNCHER_GROUP_CPU : 0u) |
        (view->controller[CGROUP_PIDS].writable ? LAUNCHER_GROUP_PIDS : 0u);
}

const char *cgroup_unlimited(uint32_t limits)
{
    static const char *const texts[] = {
        "memory, CPU and number of processes of a task are not limited",
        "CPU and number of processes of a task are not limited",
        "memory and number of processes of a task are not limited",
        "the number of processes of a task is not limited",
        "memory and CPU of a task are not limited",
        "CPU of a task is not limited",
        "memory of a task is not limited",
        "",
    };
    return texts[limits / LAUNCHER_GROUP_MEMORY & 7];
}

void cgroup_explain(const struct cgroup_view *view, char ret[PROTOCOL_DETAIL_MAX])
{
    uint32_t limits = cgroup_limits(view);
    const char *what = cgroup_unlimited(limits), *why = "";
    ret[0] = '\0';
    if (!what[0])
        return;
    if (view->version == 0)
        why = "no control groups are mounted here";
    else if (view->version == 1 && geteuid() != 0)
        why = "cgroup v1: only root may make groups";
    else if (view->version == 1)
        why = limits ? "cgroup v1: a controller is missing" : "cgroup v1 is not writable or not mounted";
    else if (limits)
        why = "cgroup v2: a controller is not enabled for this node";
    else if (view->delegated)
        why = "the delegated control group is not writable";
    else
        why = "no delegated control group: Delegate=yes in the unit, and nothing else in it";
    snprintf(ret, PROTOCOL_DETAIL_MAX, "%s (%s)", what, why);
}
