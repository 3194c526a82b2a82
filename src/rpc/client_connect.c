/* SPDX-License-Identifier: Apache-2.0 */
/* Finding the server: names to addresses, one address after the other, and patience in between. */
#include "rpc/client_internal.h"

#include <errno.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/parse.h"

/* SETTINGS are the first thing that a server sends, of its own accord: what says nothing is none. */
#define FIRST_WORD_US UINT64_C(5000000)

enum { BACKOFF_FIRST_US = 100000, BACKOFF_MAX_US = 5000000 };

static void next_address(struct rpc_client *client);

static void on_retry(struct alarm *alarm)
{
    client_connect(CONTAINER_OF(alarm, struct rpc_client, retry));
}

static void fail_waiting(struct rpc_client *client, enum tw_code code, const char *text)
{
    while (!list_empty(&client->waiting))
        client_call_fail(CONTAINER_OF(client->waiting.next, struct rpc_client_call, link), code, text);
}

/* No connection: try again later, as long as calls wait. */
static void back_off(struct rpc_client *client)
{
    uint64_t now = clock_monotonic_us();
    uint64_t wait = client->backoff_us ? client->backoff_us : BACKOFF_FIRST_US;
    client->backoff_us = MIN(wait * 2, (uint64_t)BACKOFF_MAX_US);
    wait = wait * 4 / 5 + now % (wait * 2 / 5 + 1); /* plus or minus a fifth */
    client->retry.ring = on_retry;
    if (client->freed || list_empty(&client->waiting))
        return;
    if (client->fail_fast && client->refused) {
        fail_waiting(client, client->last_error.code, client->last_error.message);
        return;
    }
    if (alarm_set(&client->hub.alarms, &client->retry, now + wait) < 0)
        fail_waiting(client, TW_RESOURCE_EXHAUSTED, "out of memory");
}

static void cannot_connect(struct rpc_client *client, int err)
{
    client->refused = err == UV_ECONNREFUSED;
    bool no_name = err == UV_EAI_NONAME || err == UV_EAI_NODATA;
    error_set(&client->last_error, TW_UNAVAILABLE, "cannot connect to %s: %s", client->target,
        no_name ? "there is no host of this name" : uv_strerror(err));
}

void client_connect_done(struct rpc_client *client)
{
    if (client->addresses)
        uv_freeaddrinfo(client->addresses);
    client->addresses = client->next_address = NULL;
}

void client_describe_end(const struct client_conn *cc, const char *why, struct tw_error *ret)
{
    const char *target = cc->client->target, *tls = cc->conn.tls ? tls_stream_failure(cc->conn.tls) : NULL;
    if (why == conn_unexpected_tls)
        error_set(ret, TW_UNAUTHENTICATED, "%s takes TLS only; use --tls, or write it as tls://%s", target, target);
    else if (tls && tls_stream_is_hopeless(cc->conn.tls))
        error_set(ret, TW_UNAUTHENTICATED, "%s", tls);
    else if (cc->heard)
        error_set(ret, TW_UNAVAILABLE, "the connection to %s is lost: %s", target, tls ? tls : why);
    else if (cc->conn.tls && (tls || tls_stream_state(cc->conn.tls) == TLS_SHAKING))
        error_set(
            ret, TW_UNAVAILABLE, "cannot connect to %s: the TLS handshake has failed (%s)", target, tls ? tls : why);
    else
        error_set(ret, TW_UNAVAILABLE, "cannot connect to %s: what listens there does not answer as gRPC does (%s)",
            target, why);
}

static void on_connect(uv_connect_t *req, int status)
{
    struct client_conn *cc = CONTAINER_OF(req, struct client_conn, connect);
    struct rpc_client *client = cc->client;
    if (cc->conn.state == CONN_CLOSED)
        return;
    alarm_clear(&client->hub.alarms, &cc->timeout);
    nghttp2_session *session = status == 0 ? client_session_new(cc) : NULL;
    if (!session) {
        cannot_connect(client, status ? status : UV_ENOMEM);
        conn_abort(&cc->conn, "not connected");
        next_address(client);
        return;
    }
    client_connect_done(client);
    client->backoff_us = 0;
    client->n_connections++;
    client->last_error = (struct tw_error){0};
    if (conn_start(&cc->conn, session, false) < 0) {
        conn_abort(&cc->conn, "out of memory");
        back_off(client);
    } else {
        (void)alarm_set(
            &client->hub.alarms, &cc->timeout, clock_monotonic_us() + MAX(client->connect_timeout_us, FIRST_WORD_US));
        client_send_waiting(cc);
    }
}

static void on_connect_timeout(struct alarm *alarm)
{
    struct client_conn *cc = CONTAINER_OF(alarm, struct client_conn, timeout);
    if (cc->conn.state == CONN_OPEN) {
        conn_abort(&cc->conn, "it accepts connections and says nothing");
        return;
    }
    cannot_connect(cc->client, UV_ETIMEDOUT);
    conn_abort(&cc->conn, "not connected in time");
    next_address(cc->client);
}

static int connect_to(struct rpc_client *client, const struct sockaddr *addr)
{
    struct client_conn *cc = calloc(1, sizeof *cc);
    if (!cc)
        return -ENOMEM;
    cc->client = client;
    list_init(&cc->calls);
    if (client->tls)
        cc->conn.tls = tls_stream_new(client->tls, &client->hub.sealed, client->host, client->target);
    int r = client->tls && !cc->conn.tls ? -ENOMEM : conn_init(&cc->conn, &client->hub);
    if (r < 0) {
        tls_stream_free(cc->conn.tls);
        free(cc);
        return r;
    }
    client->current = cc;
    cc->timeout.ring = on_connect_timeout;
    r = alarm_set(&client->hub.alarms, &cc->timeout, clock_monotonic_us() + client->connect_timeout_us);
    if (r == 0)
        r = uv_tcp_connect(&cc->connect, &cc->conn.tcp, addr, on_connect);
    if (r < 0)
        conn_abort(&cc->conn, "not connected");
    return r;
}

/* Tries the addresses that are left; with none left it backs off. */
static void next_address(struct rpc_client *client)
{
    while (client->next_address && !client->freed) {
        const struct addrinfo *ai = client->next_address;
        client->next_address = ai->ai_next;
        int r = connect_to(client, ai->ai_addr);
        if (r == 0)
            return;
        cannot_connect(client, r);
    }
    client_connect_done(client);
    back_off(client);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
    struct rpc_client *client = CONTAINER_OF(req, struct rpc_client, resolve);
    client->resolving = false;
    client->addresses = client->next_address = list;
    if (status < 0)
        cannot_connect(client, status);
    next_address(client);
    hub_release(&client->hub);
}

int client_take_up(struct rpc_client *client, int fd)
{
    CLEANUP_FD int socket = fd;
    struct client_conn *cc = calloc(1, sizeof *cc);
    if (!cc)
        return -ENOMEM;
    cc->client = client;
    list_init(&cc->calls);
    int r = conn_init(&cc->conn, &client->hub);
    if (r < 0) {
        free(cc);
        return r;
    }
    r = uv_tcp_open(&cc->conn.tcp, socket);
    if (r == 0)
        socket = -1; /* the handle's */
    nghttp2_session *session = r == 0 ? client_session_new(cc) : NULL;
    if (!session || conn_start(&cc->conn, session, false) < 0) {
        conn_abort(&cc->conn, "out of memory");
        return r < 0 ? r : -ENOMEM;
    }
    client->current = cc;
    client->n_connections++;
    return 0;
}

void client_connect(struct rpc_client *client)
{
    if (client->inside) {
        fail_waiting(client, TW_UNAVAILABLE, "the node is ending");
        return;
    }
    if (client->current || client->resolving || client->freed || client->retry.place)
        return;
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct sockaddr_storage addr;
    uint64_t number = 0;
    int port = parse_u64(client->port, 0, UINT16_MAX, &number) == 0 ? (int)number : 0;
    if (uv_ip4_addr(client->host, port, (struct sockaddr_in *)&addr) == 0 ||
        uv_ip6_addr(client->host, port, (struct sockaddr_in6 *)&addr) == 0) {
        int r = connect_to(client, (const struct sockaddr *)&addr);
        if (r < 0) {
            cannot_connect(client, r);
            back_off(client);
        }
        return;
    }
    int r = uv_getaddrinfo(client->hub.loop, &client->resolve, on_resolved, client->host, client->port, &hints);
    if (r < 0) {
        cannot_connect(client, r);
        back_off(client);
        return;
    }
    client->resolving = true;
    hub_hold(&client->hub);
}
