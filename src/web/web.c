/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libmicrohttpd without threads of its own: its epoll descriptor is polled by the loop, its time-outs are a timer of the loop. While a call
 * of the service is under way its connection is suspended; the answer resumes it, and MHD asks for the response again.
 */
#include "web/internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/util.h"
#include "web/stream.h"

enum {
    BACKLOG = 512,
    MAX_CONNECTIONS = 1000,
    ADDRESS_PART = 4,
    REQUEST_SECONDS = 30,
    CONNECTION_MEMORY = 32 * 1024, /* request line, headers and one read */
    LOAD_EVERY_US = 1000000,
    BEAT_MS = 2000,
};

static void run(struct web *web);

static void on_poll(uv_poll_t *handle, int status UNUSED, int events UNUSED)
{
    run(handle->data);
}

static void on_timer(uv_timer_t *handle)
{
    run(handle->data);
}

static void on_beat(uv_timer_t *handle)
{
    streams_tick(handle->data);
}

static void run(struct web *web)
{
    MHD_UNSIGNED_LONG_LONG ms;
    MHD_run(web->http);
    if (MHD_get_timeout(web->http, &ms) == MHD_YES)
        uv_timer_start(&web->timer, on_timer, ms, 0);
    else
        uv_timer_stop(&web->timer);
}

void web_wake(struct web *web)
{
    if (!web->closing)
        uv_timer_start(&web->timer, on_timer, 0, 0);
}

const struct machine_load *web_load(struct web *web)
{
    uint64_t now = clock_monotonic_us();
    if (!web->loaded_us || now - web->loaded_us >= LOAD_EVERY_US) {
        (void)machine_load_sample(&web->load_state, &web->load);
        web->loaded_us = now;
    }
    return &web->load;
}

/* --- listening --- */

static int parse_host(const char *host, uint16_t port, struct sockaddr_storage *ret)
{
    if (!strcmp(host, "localhost"))
        host = "127.0.0.1";
    if (uv_ip4_addr(host, port, (struct sockaddr_in *)ret) == 0 ||
        uv_ip6_addr(host, port, (struct sockaddr_in6 *)ret) == 0)
        return 0;
    return -EINVAL;
}

static uint16_t port_of(const struct sockaddr_storage *address)
{
    return ntohs(address->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)address)->sin6_port
                                                : ((const struct sockaddr_in *)address)->sin_port);
}

static int listen_at(const struct web_options *o, int *ret, uint16_t *ret_port, struct tw_error *error)
{
    struct sockaddr_storage address = {0};
    socklen_t len;
    int on = 1;
    if (parse_host(o->host, o->port, &address) < 0)
        return error_set(error, TW_INVALID_ARGUMENT, "cannot listen on %s: it is not an address", o->host);
    len = address.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    CLEANUP_FD int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        bind(fd, (struct sockaddr *)&address, len) < 0 || listen(fd, BACKLOG) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) < 0)
        return error_set_errno(error, errno, "cannot listen on %s port %u", o->host, (unsigned)o->port);
    *ret_port = port_of(&address);
    *ret = fd_steal(&fd);
    return 0;
}

/* Paths stay as they came: what is a slash and what stands for one are told apart in request.c. */
static size_t keep_escaped(void *ctx UNUSED, struct MHD_Connection *connection UNUSED, char *text)
{
    return strlen(text);
}

static int start_http(struct web *web, struct tw_error *error)
{
    const struct web_options *o = &web->options;
    int fd = -1;
    if (listen_at(o, &fd, &web->port, error) < 0)
        return -1;
    unsigned connections = o->max_connections ? o->max_connections : MAX_CONNECTIONS;
    web->http = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, web_on_request, web,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, web_on_completed, web, MHD_OPTION_CONNECTION_LIMIT,
        connections, MHD_OPTION_PER_IP_CONNECTION_LIMIT, MAX(connections / ADDRESS_PART, 1u),
        MHD_OPTION_CONNECTION_TIMEOUT, o->request_seconds ? o->request_seconds : (unsigned)REQUEST_SECONDS,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_UNESCAPE_CALLBACK, keep_escaped, NULL,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
    if (!web->http) {
        close(fd);
        return error_set(
            error, TW_INTERNAL, "cannot start the HTTP server on %s port %u", o->host, (unsigned)web->port);
    }
    return 0;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct web *web = handle->data;
    if (--web->open_handles)
        return;
    void (*closed)(void *ctx) = web->closed;
    void *ctx = web->closed_ctx;
    free(web);
    if (closed)
        closed(ctx);
}

static void close_handles(struct web *web)
{
    if (!web->open_handles) {
        free(web);
        return;
    }
    unsigned n = web->open_handles;
    uv_close((uv_handle_t *)&web->timer, on_handle_closed);
    uv_close((uv_handle_t *)&web->beat, on_handle_closed);
    if (n > 2)
        uv_close((uv_handle_t *)&web->poll, on_handle_closed);
}

static int open_handles(struct web *web, struct tw_error *error)
{
    uv_timer_init(web->options.loop, &web->timer);
    uv_timer_init(web->options.loop, &web->beat);
    web->timer.data = web->beat.data = web->poll.data = web;
    web->open_handles = 2;
    uv_timer_start(&web->beat, on_beat, BEAT_MS, BEAT_MS);
    uv_unref((uv_handle_t *)&web->beat);
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(web->http, MHD_DAEMON_INFO_EPOLL_FD);
    int r = info ? uv_poll_init(web->options.loop, &web->poll, info->epoll_fd) : UV_EINVAL;
    if (r < 0)
        return error_set(error, TW_INTERNAL, "cannot poll the HTTP server: %s", uv_strerror(r));
    web->open_handles = 3;
    uv_poll_start(&web->poll, UV_READABLE, on_poll);
    return 0;
}

int web_new(const struct web_options *options, struct web **ret, struct tw_error *error)
{
    struct web *web = calloc(1, sizeof *web);
    CLEANUP_FD int service = options->service;
    if (!web)
        return error_oom(error);
    web->options = *options;
    web->ready = true;
    list_init(&web->requests);
    list_init(&web->streams);
    machine_load_init(&web->load_state, NULL);
    (void)web_load(web); /* how busy it is, is known from the second time on */
    const struct rpc_client_options client = {.has_fd = true, .fd = fd_steal(&service)};
    if (rpc_client_new(options->loop, &client, &web->service, error) < 0) {
        free(web);
        return -1;
    }
    if (start_http(web, error) < 0 || open_handles(web, error) < 0) {
        rpc_client_free(web->service);
        if (web->http)
            MHD_stop_daemon(web->http);
        close_handles(web);
        return -1;
    }
    web->options.host = NULL;
    web_wake(web);
    *ret = web;
    return 0;
}

uint16_t web_port(const struct web *web)
{
    return web->port;
}

void web_set_ready(struct web *web, bool ready)
{
    if (web)
        web->ready = ready;
}

void web_close(struct web *web, void (*closed)(void *ctx), void *ctx)
{
    if (!web) {
        if (closed)
            closed(ctx);
        return;
    }
    web->closed = closed;
    web->closed_ctx = ctx;
    rpc_client_free(STEAL(web->service)); /* its calls end, which answers their requests */
    run(web);
    web->closing = true;
    uv_poll_stop(&web->poll);
    uv_timer_stop(&web->timer);
    MHD_stop_daemon(STEAL(web->http));
    close_handles(web);
}
