/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A seat is a sandbox that waits for its task: pid 1 (slot_init.c) holds fresh namespaces, and a second process, a fork of
 * the slot, has mounted the folders, given up its privileges, loaded the filter, and reads its socket for a START. So
 * nearly all that a sandbox costs can be paid ahead, while the slot has nothing else to do.
 */
#include "slot/slot.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "slot/channel.h"

/*
 * As fork() would, so that the C library's idea of the thread's id stays right in the child; where the kernel cannot tell
 * the address, only functions that nothing here uses would notice.
 */
static pid_t fork_with_pidfd(int *ret_pidfd)
{
    struct clone_args args = {.flags = CLONE_PIDFD, .pidfd = (uintptr_t)ret_pidfd, .exit_signal = SIGCHLD};
    int *tid_address = NULL;
    if (prctl(PR_GET_TID_ADDRESS, &tid_address, 0, 0, 0) == 0 && tid_address) {
        args.flags |= CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
        args.child_tid = (uintptr_t)tid_address;
    }
    return (pid_t)syscall(SYS_clone3, &args, sizeof args);
}

/* A child of ours in the pid namespace of `init`. It is our child, so that its end and usage come to us. */
static pid_t fork_into(const struct slot *slot, const struct init *init, int *ret_pidfd, struct slot_error *error)
{
    if (setns(init->pidfd, CLONE_NEWPID) < 0)
        return slot_error_set(error, STAGE_NAMESPACES, "entering its pid namespace");
    pid_t pid = fork_with_pidfd(ret_pidfd);
    if (pid == 0)
        return 0;
    if (pid < 0)
        slot_error_set(error, STAGE_FORK, "%s", "");
    if (setns(slot->pid_namespace, CLONE_NEWPID) < 0)
        _exit(1); /* cannot be; whatever we made from here on would be in the wrong place */
    return pid;
}

int seat_make(const struct slot *slot, const struct slot_shape *shape, struct seat *ret, struct slot_error *error)
{
    int pair[2];
    struct seat seat = NO_SEAT;
    seat.shape = *shape;
    if (init_start(&seat.init, error) < 0)
        return -1;
    int r = channel_pair(pair);
    if (r < 0) {
        errno = -r;
        slot_error_set(error, STAGE_NAMESPACES, "a connection to its process");
    } else {
        CLEANUP_FD int theirs = pair[1];
        seat.socket = pair[0];
        seat.pid = fork_into(slot, &seat.init, &seat.pidfd, error);
        if (seat.pid == 0)
            slot_task_run(slot, shape, seat.init.pidfd, theirs);
    }
    if (seat.pid < 0) {
        fd_close(&seat.socket);
        fd_close(&seat.init.socket); /* on which it ends */
        init_reap(&seat.init);
        return -1;
    }
    char path[40];
    snprintf(path, sizeof path, "/proc/%d/io", (int)seat.pid);
    seat.io = open(path, O_RDONLY | O_CLOEXEC); /* -1 where the kernel counts no such thing */
    *ret = seat;
    return 0;
}

int seat_give(const struct seat *seat, const struct slot_shape *shape, const int *fds, struct slot_error *error)
{
    uint8_t start = (uint8_t)shape->runtime;
    int r = channel_send(seat->socket, &start, 1, fds, SLOT_START_FDS);
    errno = -r;
    return r < 0 ? slot_error_set(error, STAGE_REQUEST, "handing it over") : 0;
}

bool seat_fits(const struct seat *seat, const struct slot_shape *shape)
{
    /* Which runtime it is for makes no difference to what is made ahead. */
    return seat->shape.tmp_bytes == shape->tmp_bytes && seat->shape.shm_bytes == shape->shm_bytes &&
        seat->shape.workspace_bytes == shape->workspace_bytes && seat->shape.network == shape->network &&
        seat->shape.gpu_minors == shape->gpu_minors && seat->shape.inputs == shape->inputs &&
        seat->shape.environment == shape->environment; /* outputs are asked for later */
}

void seat_close(struct seat *seat)
{
    fd_close(&seat->pidfd);
    fd_close(&seat->socket);
    fd_close(&seat->workspace);
    fd_close(&seat->io);
    fd_close(&seat->watch.fd);
    seat->pid = -1;
}
