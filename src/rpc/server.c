/* SPDX-License-Identifier: Apache-2.0 */
/* Listening, accepting, draining, freeing. What happens inside a connection is in session.c and
 * call.c. */
#include "rpc/server_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <malloc.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/util.h"

enum {
    LISTEN_BACKLOG = 1024,
    NOTICE_US = 1000000, /* how long a connection has to answer the first GOAWAY's ping */
    LOG_WHY_MAX = 100,
    TRIM_BYTES = 8 * 1024 * 1024,
    TRIM_CALLS = 256,
    ACCEPT_ROUND = 64, /* connections that are taken in one round of the loop */
};

static struct server_conn *server_conn_of(struct conn *conn)
{
    return CONTAINER_OF(conn, struct server_conn, conn);
}

static struct rpc_server *server_of(struct hub *hub)
{
    return CONTAINER_OF(hub, struct rpc_server, hub);
}

/* --- connections --- */

static void check_drained(struct rpc_server *server)
{
    if (!server->draining || server->listening || server->connections || !server->on_drained)
        return;
    alarm_clear(&server->hub.alarms, &server->grace);
    void (*done)(void *ctx) = STEAL(server->on_drained);
    done(server->drained_ctx);
}

/* Who cannot talk to us is told to the operator, who may have to help; one line in ten seconds, however many come. */
static void log_tls_trouble(struct rpc_server *server, const struct server_conn *sc, const char *what)
{
    char more[LOG_MORE_MAX];
    if (log_pause_over(&server->tls, more))
        log_warning("rpc: no connection with the client %s: %s%s", sc->peer, what, more);
}

static bool on_conn_hold(struct conn *conn, size_t bytes)
{
    return budget_take(conn_budget(server_conn_of(conn)), true, bytes);
}

static void on_conn_let_go(struct conn *conn, size_t bytes)
{
    budget_give(conn_budget(server_conn_of(conn)), true, bytes);
}

static void on_conn_ready(struct conn *conn)
{
    bounds_end_handshake(server_conn_of(conn));
}

static void on_conn_end(struct conn *conn, const char *why)
{
    struct server_conn *sc = server_conn_of(conn);
    const char *failure = conn->tls ? tls_stream_failure(conn->tls) : NULL;
    if (failure)
        log_tls_trouble(sc->server, sc, failure);
    else if (why == conn_unexpected_tls)
        log_tls_trouble(sc->server, sc, "it speaks TLS, and this port does not: TLS_CERT is not set");
    while (!list_empty(&sc->calls))
        call_end(CONTAINER_OF(sc->calls.next, struct rpc_call, link));
}

static void on_conn_free(struct conn *conn)
{
    struct server_conn *sc = server_conn_of(conn);
    struct rpc_server *server = sc->server;
    bounds_give_connection(sc);
    free(sc);
    server->connections--;
    if (!server->freed)
        check_drained(server);
}

static bool conn_is_busy(const struct conn *conn)
{
    return CONTAINER_OF(conn, const struct server_conn, conn)->n_calls > 0;
}

/* 0 or -ENOMEM. */
static int set_peer(struct server_conn *sc)
{
    int len = sizeof sc->address;
    char host[INET6_ADDRSTRLEN] = "?";
    if (uv_tcp_getpeername(&sc->conn.tcp, (struct sockaddr *)&sc->address, &len) < 0) {
        sc->address.ss_family = AF_UNSPEC;
        snprintf(sc->peer, sizeof sc->peer, "?");
    } else if (sc->address.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&sc->address;
        uv_ip6_name(in6, host, sizeof host);
        snprintf(sc->peer, sizeof sc->peer, "[%s]:%u", host, ntohs(in6->sin6_port));
    } else {
        const struct sockaddr_in *in4 = (const struct sockaddr_in *)&sc->address;
        uv_ip4_name(in4, host, sizeof host);
        snprintf(sc->peer, sizeof sc->peer, "%s:%u", host, ntohs(in4->sin_port));
    }
    sc->from = peers_get(&sc->server->peers, (const struct sockaddr *)&sc->address, &sc->server->budget);
    return sc->from ? 0 : -ENOMEM;
}

struct server_conn *server_conn_new(struct rpc_server *server, bool inside)
{
    struct server_conn *sc = calloc(1, sizeof *sc);
    if (!sc)
        return NULL;
    sc->server = server;
    sc->inside = inside;
    list_init(&sc->calls);
    if (server->options.tls && !inside &&
        !(sc->conn.tls = tls_stream_new(server->options.tls, &server->hub.sealed, NULL, NULL))) {
        free(sc);
        return NULL;
    }
    if (conn_init(&sc->conn, &server->hub) < 0) {
        tls_stream_free(sc->conn.tls);
        free(sc);
        return NULL;
    }
    server->connections++;
    return sc;
}

/*
 * Nothing is said to it: behind the SETTINGS that have to come before a GOAWAY clients of gRPC try again without an end, but a connection
 * that ends before them is UNAVAILABLE to them at once.
 */
static void refuse_connection(struct server_conn *sc, const char *why)
{
    char more[LOG_MORE_MAX];
    if (log_pause_over(&sc->server->refused, more))
        log_warning("rpc: a connection of the client %s is refused: %s%s", sc->peer, why, more);
    conn_abort(&sc->conn, "too many connections");
}

static void accept_one(struct rpc_server *server)
{
    struct server_conn *sc = server_conn_new(server, false);
    server->accept_pending = !sc;
    if (!sc)
        return; /* tried again on the next tick */
    if (uv_accept((uv_stream_t *)&server->listener, (uv_stream_t *)&sc->conn.tcp) < 0) {
        conn_abort(&sc->conn, "not accepted");
        return;
    }
    char why[LOG_WHY_MAX];
    if (set_peer(sc) < 0) {
        conn_abort(&sc->conn, "out of memory");
        return;
    }
    if (!bounds_take_connection(sc, why, sizeof why)) {
        refuse_connection(sc, why);
        return;
    }
    nghttp2_session *session = session_new(sc);
    if (!session || conn_start(&sc->conn, session, true) < 0)
        conn_abort(&sc->conn, "out of memory");
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct rpc_server *server = CONTAINER_OF(listener, struct rpc_server, listener);
    hub_wake(&server->hub); /* ends the round */
    if (status == 0 && ++server->accepted > ACCEPT_ROUND) {
        server->accept_pending = true; /* the others first */
        return;
    }
    if (status == 0) {
        accept_one(server);
        return;
    }
    /* Out of descriptors: libuv has closed those that waited, so that they do not wake the loop for
     * ever. */
    char more[LOG_MORE_MAX];
    if (log_pause_over(&server->refused, more))
        log_warning("rpc: connections cannot be accepted: %s%s", uv_strerror(status), more);
}

struct server_conn *server_attach(
    struct rpc_server *server, void (*sink)(struct conn *conn, const uint8_t *data, size_t len))
{
    struct server_conn *sc = server_conn_new(server, false);
    if (!sc)
        return NULL;
    sc->conn.sink = sink;
    snprintf(sc->peer, sizeof sc->peer, "?");
    nghttp2_session *session = session_new(sc);
    if (!session || conn_start(&sc->conn, session, true) < 0) {
        conn_abort(&sc->conn, "out of memory");
        return NULL;
    }
    return sc;
}

/* --- the hub's hooks --- */

static void on_flushed(struct hub *hub)
{
    struct rpc_server *server = server_of(hub);
    calls_run_drained(server);
    server->accepted = 0;
    if (server->accept_pending && server->listening)
        accept_one(server);
}

/* malloc keeps what was freed in pieces; after a burst it is told to hand it back. */
static void trim_memory(struct rpc_server *server)
{
    bool burst_is_over = server->calls_peak > TRIM_CALLS && server->calls < server->calls_peak / 2;
    if (server->freed_bytes < TRIM_BYTES && !burst_is_over)
        return;
    if (burst_is_over)
        call_pool_trim(server);
    server->freed_bytes = 0;
    server->calls_peak = server->calls;
    malloc_trim(0);
}

static void on_tick(struct hub *hub, uint64_t now)
{
    struct rpc_server *server = server_of(hub);
    if (server->accept_pending && server->listening)
        accept_one(server);
    if (server->draining) {
        list_for_each (it, &hub->conns) {
            struct server_conn *sc = server_conn_of(CONTAINER_OF(it, struct conn, link));
            if (sc->drain == DRAIN_NOTICE && now - sc->drain_us >= NOTICE_US)
                server_conn_final_goaway(sc);
        }
    }
    trim_memory(server);
}

static void on_hub_closed(struct hub *hub)
{
    struct rpc_server *server = server_of(hub);
    call_pool_trim(server);
    while (server->entries) {
        struct method_entry *next = server->entries->next;
        free(server->entries);
        server->entries = next;
    }
    map_done(&server->methods);
    peers_done(&server->peers);
    if (server->callbacks)
        nghttp2_session_callbacks_del(server->callbacks);
    if (server->option)
        nghttp2_option_del(server->option);
    hub_done(hub);
    rpc_tls_unref(server->options.tls);
    free(server);
}

static const struct hub_ops server_hub_ops = {
    .on_end = on_conn_end,
    .on_free = on_conn_free,
    .on_ready = on_conn_ready,
    .may_read = bounds_may_read,
    .worked = bounds_worked,
    .hold = on_conn_hold,
    .let_go = on_conn_let_go,
    .is_busy = conn_is_busy,
    .on_flushed = on_flushed,
    .on_tick = on_tick,
    .on_closed = on_hub_closed,
};

/* --- beginning --- */

static void fill_defaults(struct rpc_server_options *o)
{
    o->max_message = o->max_message ? o->max_message : 4u * 1024 * 1024;
    o->max_inflight = o->max_inflight ? o->max_inflight : 512u * 1024 * 1024;
    o->max_memory = o->max_memory ? o->max_memory : 64u * 1024 * 1024;
    o->max_connections = o->max_connections ? o->max_connections : 4096;
    o->max_handshakes = o->max_handshakes ? o->max_handshakes : 1024;
    o->max_calls = o->max_calls ? o->max_calls : 16384;
    o->max_lasting = o->max_lasting ? o->max_lasting : 8192;
    o->max_streams = o->max_streams ? o->max_streams : 1000;
    o->max_header_list = o->max_header_list ? MIN(o->max_header_list, (size_t)UINT16_MAX) : 16u * 1024;
    o->keepalive_us = o->keepalive_us ? o->keepalive_us : 30000000;
    o->keepalive_timeout_us = o->keepalive_timeout_us ? o->keepalive_timeout_us : 20000000;
    o->idle_request_us = o->idle_request_us ? o->idle_request_us : 60000000;
    o->handshake_us = o->handshake_us ? o->handshake_us : 10000000;
    o->host = o->host && *o->host ? o->host : "127.0.0.1";
}

/* A name may have several addresses; one IPv4 address is what clients expect of "localhost". */
static int resolve(const char *host, uint16_t port, struct sockaddr_storage *ret, struct tw_error *error)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *list = NULL;
    char service[8];
    snprintf(service, sizeof service, "%u", port);
    int e = getaddrinfo(host, service, &hints, &list);
    if (e != 0 || !list)
        return error_set(error, TW_INVALID_ARGUMENT, "cannot listen on %s: %s", host,
            e == EAI_SYSTEM ? strerror(errno) : gai_strerror(e));
    const struct addrinfo *best = list;
    for (const struct addrinfo *ai = list; ai; ai = ai->ai_next) {
        if (ai->ai_family == AF_INET) {
            best = ai;
            break;
        }
    }
    memcpy(ret, best->ai_addr, best->ai_addrlen);
    freeaddrinfo(list);
    return 0;
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct rpc_server *server = CONTAINER_OF((uv_tcp_t *)handle, struct rpc_server, listener);
    server->listening = false;
    if (!server->freed)
        check_drained(server);
    hub_release(&server->hub);
}

static void close_listener(struct rpc_server *server)
{
    if (server->listening && !uv_is_closing((uv_handle_t *)&server->listener))
        uv_close((uv_handle_t *)&server->listener, on_listener_closed);
}

static int start_listening(struct rpc_server *server, const char *host, struct tw_error *error)
{
    struct sockaddr_storage addr = {0};
    if (resolve(host, server->options.port, &addr, error) < 0)
        return -1;
    int r = uv_tcp_init(server->hub.loop, &server->listener);
    if (r == 0) {
        server->listening = true;
        hub_hold(&server->hub);
        r = uv_tcp_bind(&server->listener, (const struct sockaddr *)&addr, 0);
    }
    if (r == 0)
        r = uv_listen((uv_stream_t *)&server->listener, LISTEN_BACKLOG, on_connection);
    int len = sizeof addr;
    if (r == 0)
        r = uv_tcp_getsockname(&server->listener, (struct sockaddr *)&addr, &len);
    if (r < 0)
        return error_set_errno(error, r, "cannot listen on %s port %u", host, server->options.port);
    /* NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): uv_tcp_getsockname() filled it */
    server->port = ntohs(addr.ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)&addr)->sin6_port
                                                    : ((const struct sockaddr_in *)&addr)->sin_port);
    return 0;
}

int rpc_server_new(
    uv_loop_t *loop, const struct rpc_server_options *options, struct rpc_server **ret, struct tw_error *error)
{
    struct rpc_server *server = calloc(1, sizeof *server);
    if (!server)
        return error_oom(error);
    server->options = *options;
    fill_defaults(&server->options);
    const char *host = server->options.host;
    server->options.host = NULL;
    map_init(&server->methods);
    list_init(&server->choked_off);
    bounds_init(server);
    server->hub.keepalive_us = server->options.keepalive_us;
    server->hub.keepalive_timeout_us = server->options.keepalive_timeout_us;
    server->hub.idle_us = server->options.idle_request_us;
    server->hub.handshake_us = server->options.tls ? server->options.handshake_us : 0;
    if (server->options.tls)
        rpc_tls_ref(server->options.tls);
    if (hub_init(&server->hub, loop, &server_hub_ops) < 0 ||
        session_callbacks_new(&server->callbacks, &server->option) < 0) {
        rpc_server_free(server);
        return error_oom(error);
    }
    if (start_listening(server, host, error) < 0) {
        rpc_server_free(server);
        return -1;
    }
    *ret = server;
    return 0;
}

uint16_t rpc_server_port(const struct rpc_server *server)
{
    return server->port;
}

int rpc_server_add_methods(struct rpc_server *server, const struct rpc_method *methods, void *ctx)
{
    for (const struct rpc_method *m = methods; m->name; m++) {
        struct method_entry *entry = calloc(1, sizeof *entry);
        if (!entry)
            return -ENOMEM;
        *entry = (struct method_entry){.method = m, .ctx = ctx};
        int r = map_put(&server->methods, m->name, entry);
        if (r < 0) {
            free(entry);
            return r;
        }
        entry->next = server->entries;
        server->entries = entry;
    }
    return 0;
}

/* --- ending --- */

void server_conn_final_goaway(struct server_conn *sc)
{
    sc->drain = DRAIN_FINAL;
    sc->conn.hold_open = false;
    if (sc->conn.state != CONN_OPEN)
        return;
    nghttp2_session *session = sc->conn.session;
    if (nghttp2_submit_goaway(session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session),
            NGHTTP2_NO_ERROR, NULL, 0) != 0)
        conn_fail(&sc->conn, NGHTTP2_NO_ERROR, "draining");
    conn_wake(&sc->conn);
}

static void drain_conn(struct server_conn *sc, uint64_t now)
{
    if (sc->conn.state != CONN_OPEN || sc->drain)
        return;
    if (!conn_is_ready(&sc->conn)) { /* still in the handshake: it has no calls, and shall have none */
        conn_fail(&sc->conn, (uint32_t)CONN_SILENT, "draining");
        return;
    }
    sc->drain = DRAIN_NOTICE;
    sc->conn.hold_open = true; /* calls may be under way to us that the client sent before it knew */
    sc->drain_us = now;
    if (nghttp2_submit_shutdown_notice(sc->conn.session) != 0 ||
        nghttp2_submit_ping(sc->conn.session, NGHTTP2_FLAG_NONE, NULL) != 0)
        conn_fail(&sc->conn, NGHTTP2_NO_ERROR, "draining");
    conn_wake(&sc->conn);
}

/* The time to drain is over. */
static void on_grace(struct alarm *alarm)
{
    struct rpc_server *server = CONTAINER_OF(alarm, struct rpc_server, grace);
    list_for_each (it, &server->hub.conns) {
        struct server_conn *sc = server_conn_of(CONTAINER_OF(it, struct conn, link));
        if (sc->conn.state != CONN_OPEN)
            continue;
        list_for_each (c, &sc->calls)
            rpc_call_finish(CONTAINER_OF(c, struct rpc_call, link), TW_UNAVAILABLE, "the server is shutting down");
        conn_fail(&sc->conn, NGHTTP2_NO_ERROR, "the time to drain is over");
    }
}

void rpc_server_drain(struct rpc_server *server, uint64_t grace_us, void (*done)(void *ctx), void *ctx)
{
    uint64_t now = clock_monotonic_us();
    if (!server->draining) {
        server->draining = true;
        server->on_drained = done;
        server->drained_ctx = ctx;
        server->grace.ring = on_grace;
        close_listener(server);
        list_for_each (it, &server->hub.conns)
            drain_conn(server_conn_of(CONTAINER_OF(it, struct conn, link)), now);
    } else if (!server->grace.place || now + grace_us >= server->grace.at_us) {
        return; /* a second time can only be to hurry */
    }
    if (alarm_set(&server->hub.alarms, &server->grace, now + grace_us) < 0)
        on_grace(&server->grace);
}

void rpc_server_free(struct rpc_server *server)
{
    if (!server)
        return;
    server->freed = true;
    close_listener(server);
    alarm_clear(&server->hub.alarms, &server->grace);
    hub_close(&server->hub);
}

void rpc_server_recheck(struct rpc_server *server, bool (*is_valid)(void *ctx, const struct who *who), void *ctx)
{
    list_for_each (it, &server->hub.conns) {
        struct server_conn *sc = server_conn_of(CONTAINER_OF(it, struct conn, link));
        if (sc->conn.state != CONN_OPEN)
            continue;
        list_for_each (c, &sc->calls) {
            struct rpc_call *call = CONTAINER_OF(c, struct rpc_call, link);
            if (call->let_in && call->who.role != ROLE_MAX && !call->finished && !is_valid(ctx, &call->who))
                rpc_call_finish(
                    call, TW_UNAUTHENTICATED, "you are not let in any more: the account or its token has changed");
        }
    }
}

void rpc_server_get_stats(const struct rpc_server *server, struct rpc_server_stats *ret)
{
    *ret = (struct rpc_server_stats){
        .connections = server->connections,
        .calls = server->calls,
        .inflight_bytes = server->budget.big + server->budget.small,
        .calls_total = server->calls_total,
    };
}
