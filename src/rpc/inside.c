/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections from within the program: one end of a pair of sockets is a connection like any other, so that flow control, deadlines and
 * the order of shutting down hold for a gateway's calls as for everybody's. What is different is who may be believed: the gateway says for
 * each call whom it is from.
 */
#include "rpc/server_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/parse.h"
#include "base/util.h"

int rpc_server_connect(struct rpc_server *server, int *ret_fd)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return -errno;
    CLEANUP_FD int ours = pair[0], theirs = pair[1];
    struct server_conn *sc = server_conn_new(server, true);
    if (!sc)
        return -ENOMEM;
    snprintf(sc->peer, sizeof sc->peer, "inside");
    int r = uv_tcp_open(&sc->conn.tcp, ours);
    if (r == 0)
        ours = -1; /* the handle's */
    nghttp2_session *session = r == 0 ? session_new(sc) : NULL;
    if (!session || conn_start(&sc->conn, session, true) < 0) {
        conn_abort(&sc->conn, "out of memory");
        return r < 0 ? r : -ENOMEM;
    }
    *ret_fd = fd_steal(&theirs);
    return 0;
}

/* "1.2.3.4:5" or "[::1]:5". */
static int parse_address(const char *text, struct sockaddr_storage *ret)
{
    const char *colon = strrchr(text, ':');
    bool v6 = *text == '[';
    char host[INET6_ADDRSTRLEN];
    uint64_t port;
    if (!colon || colon < text + 2 || (v6 && colon[-1] != ']') || parse_u64(colon + 1, 0, UINT16_MAX, &port) < 0)
        return -EINVAL;
    size_t len = (size_t)(colon - text) - (v6 ? 2 : 0);
    if (len >= sizeof host)
        return -EINVAL;
    memcpy(host, text + v6, len);
    host[len] = '\0';
    int r = v6 ? uv_ip6_addr(host, (int)port, (struct sockaddr_in6 *)ret)
               : uv_ip4_addr(host, (int)port, (struct sockaddr_in *)ret);
    return r < 0 ? -EINVAL : 0;
}

int call_set_from(struct rpc_call *call, const char *text)
{
    struct call_from *from = calloc(1, sizeof *from);
    if (!from)
        return -ENOMEM;
    if (strlen(text) >= sizeof from->text || parse_address(text, &from->address) < 0) {
        free(from);
        return -EINVAL;
    }
    snprintf(from->text, sizeof from->text, "%s", text);
    free(call->from);
    call->from = from;
    return 0;
}
