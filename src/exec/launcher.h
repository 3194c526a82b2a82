/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's end of the connection to hivemind-launcher; inside src/exec only. */
#ifndef EXEC_LAUNCHER_H
#define EXEC_LAUNCHER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "exec/sandbox.h"
#include "slot/protocol.h"

struct launcher {
    pid_t pid;
    int pidfd;
    int socket; /* not blocking once the launcher has greeted */
    uint32_t slots;
    bool privileged;
    bool warm; /* its slots hold a warm interpreter */
    char warning[PROTOCOL_DETAIL_MAX];
};

/* Asks for something; 0 or -errno. */
int launcher_request(struct launcher *launcher, enum launcher_type type, uint32_t index, uint32_t flags);
/* Takes one reply; *ret_fd is the new slot's connection or -1. 0, -EAGAIN, or what ends the connection. */
int launcher_receive(struct launcher *launcher, struct launcher_reply *ret, int *ret_fd);
/* Closes the connection, upon which the launcher ends. */
void launcher_hang_up(struct launcher *launcher);

#endif
