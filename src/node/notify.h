/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Telling the service manager how it goes (the protocol of sd_notify(3)): datagrams of KEY=VALUE lines to the socket named
 * by $NOTIFY_SOCKET. Without one, everything here does nothing.
 */
#ifndef NODE_NOTIFY_H
#define NODE_NOTIFY_H

#include "base/util.h"

struct notify {
    int fd; /* -1: nobody wants to know */
};

/* Connects, and takes the variable out of the environment so that no child inherits it. 0, or -errno with fd -1. */
int notify_init(struct notify *n);
void notify_done(struct notify *n);
/* 0, or -errno: the caller may log it and go on. */
int notify_send(const struct notify *n, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
