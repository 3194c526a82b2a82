/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/reader.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "cli/cli.h"

static void on_event(uv_poll_t *poll, int status UNUSED, int events UNUSED)
{
    struct cli_reader *r = CONTAINER_OF(poll, struct cli_reader, poll);
    (void)uv_poll_stop(poll);
    r->gone = true;
    r->on_gone(r->ctx);
}

/*
 * An epoll of its own stands between: libuv would make standard output itself non-blocking, for everybody who shares it. No events
 * are asked for, since an error and the other end's close are always told. What has no other end (a file) cannot be watched.
 */
void reader_watch(struct cli *cli, void (*on_gone)(void *ctx), void *ctx)
{
    struct cli_reader *r = &cli->reader;
    struct epoll_event nothing = {0};
    int fd = epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0)
        return;
    if (epoll_ctl(fd, EPOLL_CTL_ADD, STDOUT_FILENO, &nothing) < 0 || uv_poll_init(&cli->loop, &r->poll, fd) < 0) {
        close(fd);
        return;
    }
    r->epoll_fd = fd;
    r->watched = true;
    r->on_gone = on_gone;
    r->ctx = ctx;
    (void)uv_poll_start(&r->poll, UV_READABLE, on_event);
}

static void on_closed(uv_handle_t *handle)
{
    close(CONTAINER_OF((uv_poll_t *)handle, struct cli_reader, poll)->epoll_fd);
}

void reader_unwatch(struct cli *cli)
{
    if (cli->reader.watched)
        uv_close((uv_handle_t *)&cli->reader.poll, on_closed);
    cli->reader.watched = false;
}

bool reader_has_left(struct cli *cli, int write_errno)
{
    cli->reader.gone |= cli->reader.watched && write_errno == EPIPE;
    return cli->reader.gone;
}
