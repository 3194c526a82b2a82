/* SPDX-License-Identifier: Apache-2.0 */
#include "slot/channel.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"

void channel_fds_done(struct channel_fds *fds)
{
    for (size_t i = 0; i < CHANNEL_FDS_MAX; i++)
        fd_close(&fds->fd[i]);
    fds->n = 0;
}

int channel_pair(int ret[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret) < 0 ? -errno : 0;
}

union fd_space {
    char raw[CMSG_SPACE(CHANNEL_FDS_MAX * sizeof(int))];
    struct cmsghdr align;
};

int channel_send(int sock, const void *message, size_t len, const int *fds, size_t n_fds)
{
    union fd_space space = {0};
    struct iovec iov = {.iov_base = (void *)message, .iov_len = len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (n_fds > CHANNEL_FDS_MAX || len == 0)
        return -EINVAL;
    if (n_fds > 0) {
        msg.msg_control = space.raw;
        msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
    }
    ssize_t n;
    do
        n = sendmsg(sock, &msg, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    return (size_t)n == len ? 0 : -EMSGSIZE;
}

ssize_t channel_recv(int sock, void *message, size_t cap, struct channel_fds *fds)
{
    union fd_space space = {0};
    struct iovec iov = {.iov_base = message, .iov_len = cap};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = space.raw, .msg_controllen = sizeof space.raw};
    *fds = (struct channel_fds){0};
    for (size_t i = 0; i < CHANNEL_FDS_MAX; i++)
        fds->fd[i] = -1;
    ssize_t n;
    do
        n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count && fds->n < CHANNEL_FDS_MAX; i++)
            memcpy(&fds->fd[fds->n++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
    }
    if ((msg.msg_flags & MSG_CTRUNC) && fds->n < CHANNEL_FDS_MAX)
        return -EMFILE; /* there was room for more, but not in our table of descriptors */
    if (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
        return -EMSGSIZE;
    return n;
}
