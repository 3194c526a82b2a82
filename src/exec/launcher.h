/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's end of the connection to hivemind-launcher; inside src/exec only. */
#ifndef EXEC_LAUNCHER_H
#define EXEC_LAUNCHER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "exec/sandbox.h"
#include "slot/channel.h"
#include "slot/protocol.h"

struct launcher {
    pid_t pid;
    int pidfd;
    int socket; /* not blocking once the launcher has greeted */
    uint32_t slots;
    bool privileged;
    bool warm;       /* its slots hold a warm interpreter */
    uint64_t layers; /* TW_LAYER_CGROUP_*: what control groups can limit here */
    char warning[PROTOCOL_DETAIL_MAX], group_warning[PROTOCOL_DETAIL_MAX];
};

/* Asks for something; 0 or -errno. */
int launcher_request(struct launcher *launcher, enum launcher_type type, uint32_t index, uint32_t flags);
/*
 * Takes one reply, and its fds: the new slot's connection, behind it the files of its group. They are the caller's to close,
 * and always filled. 0, -EAGAIN, or what ends the connection.
 */
int launcher_receive(struct launcher *launcher, struct launcher_reply *ret, struct channel_fds *ret_fds);
/* Closes the connection, upon which the launcher ends. */
void launcher_hang_up(struct launcher *launcher);

#endif
