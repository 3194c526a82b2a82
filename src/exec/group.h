/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control group of a slot, seen from the daemon: files that the launcher opened, version 1 or 2 of the interface alike.
 * It holds the slot's own process and, at one time, one task; limits are set anew for each. All on the loop thread. Where
 * there are no control groups `group` is NULL, which every function here takes.
 */
#ifndef EXEC_GROUP_H
#define EXEC_GROUP_H

#include <uv.h>

#include <taskworker/task.h>

#include "slot/protocol.h"

struct group;

/*
 * What is known of a group beyond its files, for the daemon that takes it over: the limits as they were written; the memory that
 * it held before its first task; memory, peak and processor time when its present task began; the counters, as read last and
 * as they were then.
 */
#define GROUP_STATE(X)  \
    X(memory)           \
    X(cpu)              \
    X(pids)             \
    X(first_base)       \
    X(base)             \
    X(peak)             \
    X(user_us)          \
    X(system_us)        \
    X(oom_kills)        \
    X(pids_hits)        \
    X(oom_kills_before) \
    X(hits_before)
struct group_state {
#define X(name) uint64_t name;
    GROUP_STATE(X)
#undef X
};

/*
 * Takes over the fds that came with a CREATE reply behind the slot's connection, in whatever way this ends. NULL: there
 * are none, or no memory (logged). `on_oom` is called from the loop when the kernel has killed something in the group for
 * want of memory.
 */
struct group *group_new(
    uv_loop_t *loop, const struct launcher_reply *reply, int *fds, size_t n_fds, void (*on_oom)(void *ctx), void *ctx);
void group_free(struct group *group);

/* The files that are there, in order, with the bits of what they are; they stay the group's. Returns how many. */
size_t group_files(const struct group *group, int fds[GROUP_FILE_MAX], uint32_t *ret_files, uint32_t *ret_version);
const struct group_state *group_state(const struct group *group);
/* For a group that another daemon began with. */
void group_set_state(struct group *group, const struct group_state *state);

/* The limits that can be set here: bits of TW_LAYER_CGROUP_*. */
uint64_t group_layers(const struct group *group);

/*
 * Before a task begins: sets its limits (memory on top of what the slot itself holds) and notes the counters. Returns the
 * bits of group_layers() that are in force for it.
 */
uint64_t group_begin(struct group *group, const struct tw_limits *limits);

/* The sandbox stands, its task begins: from now on the number of its processes is exact. */
void group_go(struct group *group, const struct tw_limits *limits);

/* What the task has used since group_begin; leaves alone what is not known here. False: nothing is. */
bool group_usage(const struct group *group, struct tw_usage *usage);

/* What it ran into since group_begin: TW_REASON_OOM, TW_REASON_PIDS_LIMIT or TW_REASON_NONE. */
enum tw_reason group_verdict(struct group *group);

#endif
