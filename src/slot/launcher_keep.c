/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A daemon that is to be restarted can leave its tasks running. It gives the launcher whatever a task's run consists of on
 * its side (the slot's connection, the read ends of the pipes, a memfd that says what is what) and a bound socket in its
 * storage folder. When it is gone the launcher kills the slots for which it holds nothing and waits at that socket. What
 * the tasks print meanwhile stays in their pipes, and stops them when these are full; what the slots report stays in their
 * connections. The next daemon is shown everything that is held. Only when it says that it has taken that over do the
 * tasks' lives hang on it; should it fail before, the launcher waits for another one. When nobody has come by the deadline
 * all ends as if the daemon had died.
 *
 * Who comes is asked of the kernel (SO_PEERCRED): root, or the user that the daemon was. The other side can ask the same
 * about us, since the credentials of a listening socket are those of who called listen().
 */
#include "slot/launcher_keep.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

/* A daemon that does not read what it has asked for is given up after this. */
enum { SEND_DEADLINE_S = 5 };

int keeper_listen(struct keeper *k, const struct launcher_request *request, struct channel_fds *fds)
{
    int type = 0, domain = 0;
    socklen_t len = sizeof type, domain_len = sizeof domain;
    CLEANUP_FD int fd = fd_steal(&fds->fd[0]);
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_len) < 0)
        return -errno;
    if (type != SOCK_SEQPACKET || domain != AF_UNIX)
        return -EPROTOTYPE;
    int r = fd_set_nonblocking(fd, true);
    if (r < 0)
        return r;
    if (listen(fd, 1) < 0)
        return -errno;
    fd_close(&k->listener);
    *k = (struct keeper){
        .listener = fd_steal(&fd),
        .uid = request->uid,
        .wait_us = request->seconds * UINT64_C(1000000),
    };
    return 0;
}

int keeper_accept(struct keeper *k, int *ret_control, int *ret_parent)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    struct timeval patience = {.tv_sec = SEND_DEADLINE_S};
    struct sockaddr_storage from;
    socklen_t from_len = sizeof from;
    CLEANUP_FD int control = accept4(k->listener, (struct sockaddr *)&from, &from_len, SOCK_CLOEXEC);
    if (control < 0 || getsockopt(control, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 || peer.pid <= 0 ||
        (peer.uid != 0 && peer.uid != k->uid && peer.uid != geteuid()) ||
        setsockopt(control, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) < 0)
        return -EAGAIN;
    int parent = (int)syscall(SYS_pidfd_open, peer.pid, 0);
    if (parent < 0)
        return -EAGAIN;
    *ret_control = fd_steal(&control);
    *ret_parent = parent;
    return 0;
}

void keeper_begin(struct keeper *k)
{
    if (k->deadline_us == 0)
        k->deadline_us = clock_monotonic_us() + k->wait_us;
}

int keeper_timeout_ms(const struct keeper *k)
{
    uint64_t now = clock_monotonic_us(), left = k->deadline_us > now ? k->deadline_us - now : 0;
    return (int)MIN((left + 999) / 1000, (uint64_t)INT32_MAX);
}

void keeper_done(struct keeper *k)
{
    fd_close(&k->listener);
}
