/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control groups as hivemind-launcher will find them, by its own look (slot/cgroup.h): which version, whether a node that is
 * started here could make groups for its tasks, and with which controllers. A group is not made, since that would be a change.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/parse.h"
#include "doctor/internal.h"
#include "slot/cgroup.h"

enum { WANTED = 3 };

/* Version 1 says "no limit" by a number that no machine reaches. */
#define NO_LIMIT (UINT64_C(1) << 60)

static const enum cgroup_controller wanted[WANTED] = {CGROUP_MEMORY, CGROUP_CPU, CGROUP_PIDS};

/* What the process itself lives in. */
static void parse_groups(const struct doctor *d, struct cgroup_view *ret)
{
    CLEANUP_FREE char *mounts = doctor_read(d, "/proc/self/mountinfo");
    CLEANUP_FREE char *own = doctor_read(d, "/proc/self/cgroup");
    cgroup_parse(own ? own : "", mounts ? mounts : "", ret);
}

/* The same, and what could be made of it. */
static void find_groups(const struct doctor *d, struct cgroup_view *ret)
{
    const struct cgroup_look look = {.root = d->options->root ? d->options->root : "", .as_root = d->root};
    parse_groups(d, ret);
    cgroup_look(&look, ret);
}

static size_t count_writable(const struct cgroup_view *view)
{
    size_t n = 0;
    for (size_t i = 0; i < WANTED; i++)
        n += view->controller[wanted[i]].writable;
    return n;
}

static bool read_limit(const struct doctor *d, const struct cgroup_place *place, const char *file, uint64_t *ret)
{
    char path[CGROUP_PATH_MAX + 64], text[64];
    snprintf(path, sizeof path, "%s/%s", place->own, file);
    return *place->own && doctor_line(d, path, text, sizeof text) &&
        parse_u64(text, 0, NO_LIMIT, ret) == 0; /* "max" is no number either */
}

bool groups_limit(const struct doctor *d, bool memory, uint64_t *ret)
{
    struct cgroup_view view;
    uint64_t limit;
    parse_groups(d, &view);
    const struct cgroup_place *place = &view.controller[memory ? CGROUP_MEMORY : CGROUP_PIDS];
    const char *file = !memory ? "pids.max" : view.version == 1 ? "memory.limit_in_bytes" : "memory.max";
    if (!read_limit(d, place, file, &limit))
        return false;
    *ret = limit;
    return true;
}

void check_cgroup_version(struct doctor *d, struct doctor_check *c)
{
    struct cgroup_view view;
    find_groups(d, &view);
    check_cost(c, "Limits of memory and processors hold for each process of a task and not for the task as a whole.");
    check_fix(c, "mount -t cgroup2 none /sys/fs/cgroup (systemd does so by itself)");
    if (view.version == 0)
        check_set(c, DOCTOR_MISSING, "none are mounted");
    else if (view.version == 2)
        check_set(c, DOCTOR_OK, "version 2");
    else
        check_set(
            c, DOCTOR_OK, "version 1%s", view.mount[0] ? ", with version 2 beside it that has no controllers" : "");
}

void check_cgroup_delegation(struct doctor *d, struct doctor_check *c)
{
    struct cgroup_view view;
    char missing[PROTOCOL_DETAIL_MAX];
    find_groups(d, &view);
    cgroup_explain(&view, missing);
    size_t writable = count_writable(&view);
    check_cost(c, "A task's memory and processors cannot be limited as a whole: one task can starve the others.");
    check_fix(c,
        d->root ? "let the container write to its control groups (-v /sys/fs/cgroup:/sys/fs/cgroup:rw "
                  "--cgroupns=private)"
                : "Delegate=yes in the systemd unit, systemd-run --user --scope -p Delegate=yes, or start as root");
    if (view.version == 0)
        check_set(c, DOCTOR_MISSING, "there are no control groups with controllers");
    else if (writable == 0)
        check_set(c, DOCTOR_MISSING, "version %d: %s", view.version, missing);
    else if (view.version == 2)
        check_set(c, DOCTOR_OK, "version 2: may be made in %.200s", view.controller[0].own);
    else
        check_set(c, writable < WANTED ? DOCTOR_DEGRADED : DOCTOR_OK,
            "version 1: may be made with %zu of the %d controllers", writable, WANTED);
}

void check_cgroup_controllers(struct doctor *d, struct doctor_check *c)
{
    static const char *const costs[WANTED] = {"memory", "processor time", "the number of processes"};
    struct cgroup_view view;
    char list[64] = "", lost[160] = "";
    find_groups(d, &view);
    size_t have = count_writable(&view);
    for (size_t i = 0; i < WANTED; i++) {
        bool here = view.controller[wanted[i]].writable;
        const char *text = here ? cgroup_controller_to_string(wanted[i]) : costs[i];
        char *to = here ? list : lost;
        size_t size = here ? sizeof list : sizeof lost, len = strlen(to);
        snprintf(to + len, size - len, "%s%s", len ? ", " : "", text);
    }
    check_cost(c, "Not limited for a task as a whole: %s.", have == WANTED ? "what the missing ones are for" : lost);
    if (have == 0 && !d->root)
        check_fix(c, "see \"groups for tasks\"");
    else
        check_fix(c,
            view.version == 2
                ? "echo '+memory +cpu +pids' > cgroup.subtree_control in the group above, or Delegate=yes in the "
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
