/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much of the server its clients may have. Everything that is held for a client is counted twice, for all of them together and for
 * those of one address, in numbers (peers.h) and in bytes (struct budget). Bytes are reckoned by what a thing was measured to cost, so
 * that the daemon's memory is bounded by what it has promised and not by what malloc has found out too late. Who finds no room is told so with
 * a time to try again; the refusal needs some room itself, which is set aside; beyond that a call is not even looked at. Health checks are served
 * from what is set aside for refusals.
 *
 * Time is shared out as well. In one round of the loop the connections of an address are worked for as long as TURN_US, and then are
 * not read from until the next round, however many there are; so others wait that long and not until all is done.
 */
#include "rpc/server_internal.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"

enum {
    LOG_PAUSE_US = 10000000,
    CONN_BYTES = 14 * 1024, /* what one takes, measured */
    CONN_TLS_BYTES = 40 * 1024,
    REFUSALS_MAX = 4096,
    TURN_US = 4000,            /* of work for one address in one round of the loop, and ... */
    TURN_INFLATE = 512 * 1024, /* ... bytes made of what it has compressed */
    RETRY_AFTER_MS = 500,      /* what those are told whom there is no room for, ... */
    RETRY_SPREAD_MS = 1000,    /* ... and up to so much more, so that they do not all come back at once */
    RETRY_STEP_MS = 37,
};

bool log_pause_over(struct log_pause *pause, char ret_more[static LOG_MORE_MAX])
{
    uint64_t now = clock_monotonic_us();
    if (pause->at_us && now - pause->at_us < LOG_PAUSE_US) {
        pause->unlogged++;
        return false;
    }
    *ret_more = '\0';
    if (pause->unlogged)
        snprintf(ret_more, LOG_MORE_MAX, " (and %u others since the last such line)", pause->unlogged);
    *pause = (struct log_pause){.at_us = now};
    return true;
}

/* --- connections --- */

static size_t conn_cost(const struct rpc_server *server)
{
    return server->options.tls ? CONN_TLS_BYTES : CONN_BYTES;
}

void bounds_init(struct rpc_server *server)
{
    const struct rpc_server_options *o = &server->options;
    peers_init(&server->peers);
    size_t *max = server->peers.max, *each = server->peers.each;
    size_t room = o->max_memory / 2 / conn_cost(server);
    max[PEER_CONNECTIONS] = MAX(MIN(room, (size_t)o->max_connections), (size_t)1);
    each[PEER_CONNECTIONS] = o->max_connections_per_address ? o->max_connections_per_address
                                                            : max[PEER_CONNECTIONS] - max[PEER_CONNECTIONS] / 4;
    max[PEER_HANDSHAKES] = o->max_handshakes;
    each[PEER_HANDSHAKES] = (max[PEER_HANDSHAKES] + 3) / 4;
    max[PEER_CALLS] = o->max_calls;
    each[PEER_CALLS] = (max[PEER_CALLS] + 1) / 2;
    max[PEER_REFUSALS] = REFUSALS_MAX;
    each[PEER_REFUSALS] = REFUSALS_MAX / 4;
    max[PEER_LASTING] = o->max_lasting;
    each[PEER_LASTING] = (max[PEER_LASTING] + 1) / 2;
    server->budget = (struct budget){.max_big = o->max_inflight - o->max_inflight / 8, .max_small = o->max_memory / 2};
}

bool bounds_take_connection(struct server_conn *sc, char *ret_why, size_t size)
{
    struct rpc_server *server = sc->server;
    struct peers *peers = &server->peers;
    enum peer_verdict verdict = peers_take(peers, sc->from, PEER_CONNECTIONS);
    sc->counted = verdict == PEER_FINE;
    if (verdict == PEER_TOO_MANY)
        snprintf(ret_why, size, "its address has %zu, as many as one may have", peers->each[PEER_CONNECTIONS]);
    else if (verdict == PEER_FULL)
        snprintf(ret_why, size, "there are %zu, the limit", peers->max[PEER_CONNECTIONS]);
    if (verdict != PEER_FINE)
        return false;
    if (!server->options.tls)
        return true;
    verdict = peers_take(peers, sc->from, PEER_HANDSHAKES);
    sc->shaking = verdict == PEER_FINE;
    if (!sc->shaking)
        snprintf(
            ret_why, size, "too many TLS handshakes %sare under way", verdict == PEER_FULL ? "" : "of its address ");
    return sc->shaking;
}

void bounds_end_handshake(struct server_conn *sc)
{
    if (sc->shaking)
        peers_give(&sc->server->peers, sc->from, PEER_HANDSHAKES);
    sc->shaking = false;
}

void bounds_give_connection(struct server_conn *sc)
{
    struct rpc_server *server = sc->server;
    bounds_end_handshake(sc);
    if (sc->counted)
        peers_give(&server->peers, sc->from, PEER_CONNECTIONS);
    server->freed_bytes += conn_cost(server);
    peers_put(&server->peers, sc->from);
    sc->from = NULL;
}

/* --- turns --- */

static struct turn *turn_of(struct server_conn *sc)
{
    struct turn *turn = sc->from ? &sc->from->turn : &sc->server->turn;
    if (turn->round != sc->server->hub.round)
        *turn = (struct turn){.round = sc->server->hub.round, .allowance = TURN_INFLATE};
    return turn;
}

bool bounds_may_read(struct conn *conn)
{
    return turn_of(CONTAINER_OF(conn, struct server_conn, conn))->us < TURN_US;
}

void bounds_worked(struct conn *conn, uint64_t us)
{
    turn_of(CONTAINER_OF(conn, struct server_conn, conn))->us += us;
}

size_t *bounds_allowance(struct server_conn *sc)
{
    return &turn_of(sc)->allowance;
}

/* --- calls --- */

bool bounds_take_call(struct server_conn *sc, const char **ret_why)
{
    struct rpc_server *server = sc->server;
    enum peer_verdict verdict = peers_take(&server->peers, sc->from, PEER_CALLS);
    *ret_why = verdict == PEER_FINE ? NULL
        : verdict == PEER_FULL      ? "too many calls are open; try again later"
                                    : "too many calls of this address are open; try again later";
    if (verdict == PEER_FINE && !budget_take(conn_budget(sc), true, CALL_BYTES)) {
        peers_give(&server->peers, sc->from, PEER_CALLS);
        *ret_why = "the memory for calls is in use; try again later";
    }
    return !*ret_why || peers_take(&server->peers, sc->from, PEER_REFUSALS) == PEER_FINE;
}

void bounds_give_call(struct rpc_call *call)
{
    struct server_conn *sc = call->conn;
    struct peers *peers = &sc->server->peers;
    peers_give(peers, sc->from, call->crowded ? PEER_REFUSALS : PEER_CALLS);
    if (call->lasting)
        peers_give(peers, sc->from, PEER_LASTING);
    budget_give(conn_budget(sc), true, call->headers_charged + (call->crowded ? 0 : CALL_BYTES));
}

bool bounds_take_lasting(struct rpc_call *call)
{
    struct server_conn *sc = call->conn;
    if (!call->entry->method->lasting)
        return true;
    enum peer_verdict verdict = peers_take(&sc->server->peers, sc->from, PEER_LASTING);
    call->lasting = verdict == PEER_FINE;
    if (verdict == PEER_FULL)
        call_refuse_crowded(call, "too many calls that wait, follow or watch are open; try again later");
    else if (verdict == PEER_TOO_MANY)
        call_refuse_crowded(
            call, "too many calls of this address that wait, follow or watch are open; try again later");
    return call->lasting;
}

void call_refuse_crowded(struct rpc_call *call, const char *text)
{
    struct rpc_server *server = call->conn->server;
    char more[LOG_MORE_MAX];
    if (log_pause_over(&server->crowded, more))
        log_warning("rpc: a call of the client %s is refused: %s%s", call->conn->peer, text, more);
    unsigned ms = RETRY_AFTER_MS + (unsigned)(server->calls_total * RETRY_STEP_MS % RETRY_SPREAD_MS);
    snprintf(call->retry_text, sizeof call->retry_text, "%u", ms);
    rpc_call_finish(call, TW_RESOURCE_EXHAUSTED, text);
}

/* --- answers --- */

bool bounds_take_output(struct rpc_call *call, size_t size)
{
    bool small = size <= OUT_HIGH;
    if (size <= ANSWER_FREE && !call_queued(call))
        return true; /* CALL_BYTES has it */
    if (!budget_take(conn_budget(call->conn), small, size))
        return false;
    *(small ? &call->out_small : &call->out_big) += size;
    return true;
}

void bounds_give_output(struct rpc_call *call, size_t n)
{
    bool all = !call_queued(call);
    size_t big = all ? call->out_big : MIN(n, call->out_big);
    size_t small = all ? call->out_small : MIN(n - big, call->out_small);
    budget_give(conn_budget(call->conn), false, big);
    budget_give(conn_budget(call->conn), true, small);
    call->out_big -= big;
    call->out_small -= small;
}
