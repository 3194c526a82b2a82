/* SPDX-License-Identifier: Apache-2.0 */
/* One message, with fds, over a SOCK_SEQPACKET socket. */
#ifndef SLOT_CHANNEL_H
#define SLOT_CHANNEL_H

#include <stddef.h>
#include <sys/types.h>

#include "base/util.h"

enum { CHANNEL_FDS_MAX = 24 };

struct channel_fds {
    int fd[CHANNEL_FDS_MAX]; /* -1 where there is none, or where it was taken out */
    size_t n;                /* how many came */
};

/* Closes what is still in there. */
void channel_fds_done(struct channel_fds *fds);
#define CLEANUP_FDS CLEANUP(channel_fds_done)

/* Two connected ends, both CLOEXEC and blocking. */
int channel_pair(int ret[2]);

/* Sends the whole message or nothing: 0 or -errno (-EAGAIN, -EPIPE, ...). Never raises SIGPIPE. */
int channel_send(int sock, const void *message, size_t len, const int *fds, size_t n_fds);

/*
 * Receives one message: its length, 0 at the end of the connection (an empty message counts as one), or -errno. -EMSGSIZE:
 * longer than cap, or with more fds than fit. The fds are CLOEXEC. *fds is always filled, also on failure.
 */
ssize_t channel_recv(int sock, void *message, size_t cap, struct channel_fds *fds);

#endif
