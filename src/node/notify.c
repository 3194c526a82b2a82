/* SPDX-License-Identifier: Apache-2.0 */
#include "node/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/fd.h"

/* "/path", or "@name" for an abstract one. Returns the length of the address, or -errno. */
static int make_address(const char *name, struct sockaddr_un *ret)
{
    size_t len = strlen(name);
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    if ((name[0] != '/' && name[0] != '@') || len < 2)
        return -EAFNOSUPPORT; /* among them vsock: */
    if (len >= sizeof ret->sun_path)
        return -ENAMETOOLONG;
    memcpy(ret->sun_path, name, len);
    if (name[0] == '@')
        ret->sun_path[0] = '\0';
    return (int)(offsetof(struct sockaddr_un, sun_path) + len + (name[0] == '/'));
}

int notify_init(struct notify *n)
{
    struct sockaddr_un address;
    const char *name = getenv("NOTIFY_SOCKET");
    n->fd = -1;
    if (!name || !*name)
        return 0;
    int len = make_address(name, &address);
    (void)unsetenv("NOTIFY_SOCKET");
    if (len < 0)
        return len;
    /* Non-blocking: a service manager that does not read must not stop the worker. */
    CLEANUP_FD int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, (socklen_t)len) < 0)
        return -errno;
    n->fd = fd_steal(&fd);
    return 0;
}

void notify_done(struct notify *n)
{
    fd_close(&n->fd);
}

int notify_send(const struct notify *n, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    if (n->fd < 0)
        return 0;
    va_start(ap, fmt);
    int len = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (len < 0 || (size_t)len >= sizeof text)
        return -EMSGSIZE;
    return send(n->fd, text, (size_t)len, MSG_NOSIGNAL) < 0 ? -errno : 0;
}
