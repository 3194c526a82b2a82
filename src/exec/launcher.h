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
    pid_t pid;  /* -1: another daemon's child */
    int pidfd;  /* -1 likewise */
    int socket; /* not blocking once the launcher has greeted */
    uint32_t slots;
    bool privileged;
    bool warm;      /* its slots hold a warm interpreter */
    bool detaching; /* has been asked to wait for another daemon, and has not answered */
    char *python;
    char *functions; /* the source of functions that can be called by name; NULL: there are none */
    uint64_t layers; /* TW_LAYER_CGROUP_*: what control groups can limit here */
    char warning[PROTOCOL_DETAIL_MAX], group_warning[PROTOCOL_DETAIL_MAX];
};

/* Asks for something; 0 or -errno. */
int launcher_request(struct launcher *launcher, enum launcher_type type, uint32_t index, uint32_t flags);
/* The same for what needs more; its header is filled in. The fds stay the caller's. */
int launcher_send(
    struct launcher *launcher, enum launcher_type type, struct launcher_request *request, const int *fds, size_t n_fds);
/*
 * Takes one reply, and its fds: the new slot's connection, behind it the files of its group. They are the caller's to close,
 * and always filled. 0, -EAGAIN, or what ends the connection.
 */
int launcher_receive(struct launcher *launcher, struct launcher_reply *ret, struct channel_fds *ret_fds);
/* Closes the connection, upon which the launcher ends, unless it has been told to wait for another daemon. */
void launcher_hang_up(struct launcher *launcher);
/* It waits for another daemon: it is not ours to wait for any more. */
void launcher_leave(struct launcher *launcher);

#endif
