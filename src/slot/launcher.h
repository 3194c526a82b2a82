/* SPDX-License-Identifier: Apache-2.0 */
/* Inside hivemind-launcher. */
#ifndef SLOT_LAUNCHER_H
#define SLOT_LAUNCHER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "slot/launcher_group.h"
#include "slot/protocol.h"

struct launcher_setup {
    int slot_exe;    /* O_PATH: the slot needs no way to the folder it lies in */
    bool privileged; /* may write id maps of two ids */
    bool inputs;     /* the current folder is the one in which tasks' inputs are; slots have it as theirs, too */
    uint32_t uid_base;
    struct launcher_groups *groups;
};

struct slot_process {
    pid_t pid;
    int pidfd;
    struct slot_group group; /* its fds are closed once the daemon has been sent them */
};

/*
 * Makes one slot: namespaces, id maps, exec. *ret_control is the daemon's end of the slot's connection. Returns 0 or
 * -errno with a sentence in detail. What goes wrong from the exec on the slot's connection tells.
 * The slot's control group is made before the clone; the caller removes it when the slot has been reaped.
 */
int slot_process_create(const struct launcher_setup *setup, const struct launcher_request *request,
    struct slot_process *ret, int *ret_control, char detail[PROTOCOL_DETAIL_MAX]);

/* Fills setup->privileged; a sentence into warning (or "") that says what is missing. */
void launcher_find_privileges(struct launcher_setup *setup, uint32_t slots, char warning[PROTOCOL_DETAIL_MAX]);
/*
 * Gives up every capability that making slots does not need, and any way to new ones; what the removal of the groups needs
 * at the end is kept, but not in effect until then. 0 or -errno.
 */
int launcher_drop_privileges(const struct launcher_setup *setup);

#endif
