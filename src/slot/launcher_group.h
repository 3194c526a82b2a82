/* SPDX-License-Identifier: Apache-2.0 */
/* The control groups that hivemind-launcher makes: one for each slot, all of them below one of its own. */
#ifndef SLOT_LAUNCHER_GROUP_H
#define SLOT_LAUNCHER_GROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "slot/cgroup.h"
#include "slot/protocol.h"

/* One hierarchy; in version 1 there may be one per controller. */
struct group_tree {
    unsigned controllers; /* bits 1 << enum cgroup_controller */
    int top, base;        /* folders: the one we may make groups in, and our own in it, which is locked while we live */
};

struct launcher_groups {
    int version; /* 0: there are none, and every call here does nothing */
    struct group_tree tree[CGROUP_CONTROLLER_MAX];
    size_t n_trees;
    char name[64];
    uint32_t limits; /* bits LAUNCHER_GROUP_* */
    bool
        override; /* removing `base` takes CAP_DAC_OVERRIDE: nobody owns the right to write in the root of a hierarchy */
    bool complained;  /* of a slot without its group */
    uint64_t serial;  /* of the last group made */
    uint64_t *behind; /* groups whose slot is dead, but not yet all that was in it */
    size_t n_behind, max_behind;
};

/* The group of one slot. */
struct slot_group {
    uint64_t serial; /* 0: none */
    int dir[CGROUP_CONTROLLER_MAX];
    int fd[GROUP_FILE_MAX]; /* -1: not there */
};

/*
 * Finds where groups can be made, removes what dead launchers left there, and makes the one for this launcher; needs all
 * the privileges that we were started with. In version 2 this process and `daemon` may be moved into a leaf for that. What
 * cannot be limited comes as a sentence in `missing`, or "".
 */
void launcher_groups_open(
    struct launcher_groups *groups, pid_t daemon, size_t slots, char missing[PROTOCOL_DETAIL_MAX]);
/* Removes all groups, waiting for a moment where something in there still is about to die. */
void launcher_groups_close(struct launcher_groups *groups);

/* Before the slot is cloned. Without the group the slot is as good as it can be: this cannot fail. */
void launcher_group_make(struct launcher_groups *groups, struct slot_group *ret);
/* The folder to clone into, version 2 only; -1: there is none. */
int launcher_group_clone_dir(const struct launcher_groups *groups, const struct slot_group *group);
/* Puts the new process there (`cloned`: it is there already) and opens the files of where it could be put. */
void launcher_group_join(struct launcher_groups *groups, struct slot_group *group, pid_t pid, bool cloned);
/* The files that are there, in order, into fds; *ret_files says which. They stay the group's. */
size_t launcher_group_files(const struct slot_group *group, int fds[GROUP_FILE_MAX], uint32_t *ret_files);
/* Closes all fds; the group stays. */
void launcher_group_close(struct slot_group *group);

/* When the slot has been reaped. What still dies in there is tried again by launcher_groups_tidy(). */
void launcher_group_remove(struct launcher_groups *groups, uint64_t serial);
/* True: something is left, call again soon. */
bool launcher_groups_tidy(struct launcher_groups *groups);

#endif
