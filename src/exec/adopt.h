/* SPDX-License-Identifier: Apache-2.0 */
/* What leave.c and adopt.c share. */
#ifndef EXEC_ADOPT_H
#define EXEC_ADOPT_H

#include <sys/un.h>

#include "exec/handover.h"
#include "exec/pool.h"

enum { FORMER_NAME_MAX = 64 };

/* A launcher of a daemon that is gone, with tasks that go on. */
struct former {
    struct list link; /* in handing.formers */
    struct sandbox *sandbox;
    struct launcher launcher;
    uv_poll_t *poll; /* NULL before take_over() */
    char socket_name[FORMER_NAME_MAX];
};

/* What such a launcher holds for one slot. */
struct handed {
    struct list link; /* in handing.handed */
    struct former *former;
    uint32_t index;
    pid_t pid;
    struct channel_fds fds;
    struct buf raw;
    struct handover h;       /* points into raw */
    struct sandbox_run *run; /* NULL: nobody has taken it up */
};

/* The folder of the sockets, O_PATH, or -errno. */
int handing_open_folder(const struct sandbox *s);
/* 0 or -errno. */
int handing_address(int folder, const char *name, struct sockaddr_un *ret);

#endif
