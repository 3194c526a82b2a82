/* SPDX-License-Identifier: Apache-2.0 */
/* Inside hivemind-launcher. */
#ifndef SLOT_LAUNCHER_H
#define SLOT_LAUNCHER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "slot/protocol.h"

struct launcher_setup {
    int slot_exe;    /* O_PATH: the slot needs no way to the folder it lies in */
    bool privileged; /* may write id maps of two ids */
    uint32_t uid_base;
};

struct slot_process {
    pid_t pid;
    int pidfd;
};

/*
 * Makes one slot: namespaces, id maps, exec. *ret_control is the daemon's end of the slot's connection. Returns 0 or
 * -errno with a sentence in detail. What goes wrong from the exec on the slot's connection tells.
 * A cgroup for the slot would be made here, before the clone, and removed by the caller when the slot has been reaped.
 */
int slot_process_create(const struct launcher_setup *setup, const struct launcher_request *request,
    struct slot_process *ret, int *ret_control, char detail[PROTOCOL_DETAIL_MAX]);

/* Fills setup->privileged; a sentence into warning (or "") that says what is missing. */
void launcher_find_privileges(struct launcher_setup *setup, uint32_t slots, char warning[PROTOCOL_DETAIL_MAX]);
/* Gives up every capability that making slots does not need, and any way to new ones. 0 or -errno. */
int launcher_drop_privileges(const struct launcher_setup *setup);

#endif
