/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which control groups this process lives in, and whether it may make some below: looking only, nothing is changed. Used
 * by the launcher before it makes any, and by whoever wants to tell a person what this machine offers.
 */
#ifndef SLOT_CGROUP_H
#define SLOT_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "slot/protocol.h"

/* cpu has the quota, cpuacct (version 1 only; in version 2 cpu.stat is always there) the time used. */
#define CGROUP_CONTROLLERS(X) \
    X(MEMORY, "memory")       \
    X(CPU, "cpu")             \
    X(CPUACCT, "cpuacct")     \
    X(PIDS, "pids")

enum cgroup_controller {
#define X(name, text) CGROUP_##name,
    CGROUP_CONTROLLERS(X)
#undef X
        CGROUP_CONTROLLER_MAX
};

enum { CGROUP_PATH_MAX = 1024 };

/* Our process leaf below a delegated group of version 2, where inner groups may hold no processes. */
#define CGROUP_LEAF "hivemind-node"

struct cgroup_place {
    bool present;              /* mounted where we see it, and our own group lies below that mount */
    bool writable;             /* groups can be made there */
    char own[CGROUP_PATH_MAX]; /* the folder in which they are or would be made; "" where there is none */
};

struct cgroup_view {
    int version; /* 0: none here. 1 where any of the controllers is on a hierarchy of version 1, else 2 */
    struct cgroup_place controller[CGROUP_CONTROLLER_MAX]; /* version 2: `own` is the same for all */
    char mount[CGROUP_PATH_MAX];                           /* version 2: the top of what is mounted */
    bool in_leaf;   /* version 2: we are in the leaf already, and own is the folder above it */
    bool real_root; /* version 2: `mount` is the root of the machine's groups */
    bool delegated; /* version 2: the service manager has left the group to us */
    bool shared;    /* version 2: processes beside us (and our parent) live in our own group */
};

const char *cgroup_controller_to_string(enum cgroup_controller controller);

/*
 * Reads /proc/self/cgroup and /proc/self/mountinfo as given. Lines that are none are passed over. Fills version, present,
 * own, mount and in_leaf, everything else is zero.
 */
void cgroup_parse(const char *cgroup, const char *mountinfo, struct cgroup_view *ret);

/* How the folders are looked at. */
struct cgroup_look {
    const char *root; /* what stands before every path; "" */
    bool as_root;     /* for a node that root starts */
    pid_t parent;     /* whose presence in our group does not count as shared; 0: nobody's */
};
/* Fills in the rest of a view that was parsed: what is there and may be written. */
void cgroup_look(const struct cgroup_look *look, struct cgroup_view *view);

/*
 * The same of this process, together with a look at the folders. `parent`: whose presence in our group does not count as
 * shared; 0: nobody's. 0 or -errno where /proc cannot be read; *ret is filled in any case.
 */
int cgroup_find(pid_t parent, struct cgroup_view *ret);

/* What is missing for limits on memory, CPU and processes, and how to come to it, in one sentence; "" if nothing. */
void cgroup_explain(const struct cgroup_view *view, char ret[PROTOCOL_DETAIL_MAX]);

/* Bits LAUNCHER_GROUP_*: what could be limited here. */
uint32_t cgroup_limits(const struct cgroup_view *view);
/* Of such bits: what they leave without a limit, as the beginning of a sentence; "" if nothing. */
const char *cgroup_unlimited(uint32_t limits);

#endif
