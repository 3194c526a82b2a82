/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system calls that a task's filter refused: each waits until it is answered here, with the same error that it would
 * have had without us. Nothing is ever let through, so it does not matter what becomes of the caller meanwhile.
 */
#include "slot/slot.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/fd.h"

static void count(struct watch *watch, int nr)
{
    watch->denied++;
    for (size_t i = 0; i < WATCH_NAMES_MAX; i++) {
        if (watch->calls[i].count > 0 && watch->calls[i].nr != nr)
            continue;
        watch->calls[i].nr = nr;
        watch->calls[i].count++;
        return;
    }
}

void watch_serve(struct watch *watch)
{
    /* Larger than what we know of: a newer kernel's may be, and it wants it all zero. */
    union {
        struct seccomp_notif request;
        char space[512];
    } in;
    union {
        struct seccomp_notif_resp response;
        char space[512];
    } out;
    memset(&in, 0, sizeof in);
    memset(&out, 0, sizeof out);
    struct pollfd p = {.fd = watch->fd, .events = POLLIN};
    if (poll(&p, 1, 0) == 1 && (p.revents & POLLHUP)) {
        fd_close(&watch->fd);
        return;
    }
    if (!(p.revents & POLLIN) || ioctl(watch->fd, SECCOMP_IOCTL_NOTIF_RECV, &in.request) < 0)
        return; /* who called is gone */
    count(watch, in.request.data.nr);
    out.response.id = in.request.id;
    out.response.error = -slot_filter_errno(in.request.data.nr);
    (void)ioctl(watch->fd, SECCOMP_IOCTL_NOTIF_SEND, &out.response);
}

void watch_describe(const struct watch *watch, char *ret, size_t size)
{
    size_t at = 0;
    ret[0] = '\0';
    for (size_t i = 0; i < WATCH_NAMES_MAX && watch->calls[i].count > 0; i++) {
        char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, watch->calls[i].nr), number[24];
        snprintf(number, sizeof number, "call %d", watch->calls[i].nr);
        int n = snprintf(ret + at, size - at, "%s%s %llu", at ? ", " : "", name ? name : number,
            (unsigned long long)watch->calls[i].count);
        free(name);
        if (n < 0 || (size_t)n >= size - at) {
            ret[at] = '\0'; /* no half of a name */
            return;
        }
        at += (size_t)n;
    }
}
