/* SPDX-License-Identifier: Apache-2.0 */
/* What hivemind-launcher does for tasks that outlive their daemon; inside hivemind-launcher. */
#ifndef SLOT_LAUNCHER_KEEP_H
#define SLOT_LAUNCHER_KEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "slot/channel.h"
#include "slot/protocol.h"

struct keeper {
    int listener;         /* where the next daemon comes; -1: with our daemon we end */
    uint32_t uid;         /* who may come, beside root */
    uint64_t wait_us;     /* for how long it may, from the end of ours */
    uint64_t deadline_us; /* monotonic: until when; 0: ours still lives */
};

/* LAUNCHER_DETACH: takes the socket out of fds and listens on it. 0 or -errno. */
int keeper_listen(struct keeper *k, const struct launcher_request *request, struct channel_fds *fds);
/*
 * Takes one connection, if one has come from somebody who may. 0 with the connection and a pidfd of who is at its other
 * end, -EAGAIN otherwise.
 */
int keeper_accept(struct keeper *k, int *ret_control, int *ret_parent);
/* Our daemon has ended. Not to be put off by others that come and go. */
void keeper_begin(struct keeper *k);
/* For poll(): how long until the deadline; 0: it has passed. */
int keeper_timeout_ms(const struct keeper *k);
void keeper_done(struct keeper *k);

#endif
