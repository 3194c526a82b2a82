/* SPDX-License-Identifier: Apache-2.0 */
/* What clients may have of a server, all together and by address. */
#include "harness.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "rpc/server_internal.h"

static const uint8_t empty_message[5] = {0};

static const struct sockaddr *address_of(const char *text, struct sockaddr_storage *out)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    *out = (struct sockaddr_storage){0};
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        out->ss_family = AF_INET;
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &v6->sin6_addr), 1);
        out->ss_family = AF_INET6;
    }
    return (const struct sockaddr *)out;
}

/* The connection counts as one from there. */
static void come_from(struct raw *raw, const char *text)
{
    struct sockaddr_storage storage;
    struct server_conn *sc = CONTAINER_OF((struct conn *)raw->conn, struct server_conn, conn);
    sc->from = peers_get(&sc->server->peers, address_of(text, &storage), &sc->server->budget);
    assert_non_null(sc->from);
}

static void test_addresses(void **state UNUSED)
{
    static const struct {
        const char *a, *b;
        bool same;
    } cases[] = {
        {"10.0.0.1", "10.0.0.1", true},
        {"10.0.0.1", "10.0.0.2", false},
        {"2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true},
        {"2001:db8:0:1::1", "2001:db8:0:2::1", false},
        {"::ffff:10.0.0.1", "10.0.0.1", true},
        {"::1", "10.0.0.1", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sockaddr_storage one, two;
        struct peers peers;
        struct budget whole;
        peers_init(&peers);
        budget_init(&whole, 1024);
        struct peer *a = peers_get(&peers, address_of(cases[i].a, &one), &whole);
        struct peer *b = peers_get(&peers, address_of(cases[i].b, &two), &whole);
        if ((a == b) != cases[i].same)
            fail_msg("%s and %s", cases[i].a, cases[i].b);
        peers_put(&peers, a);
        peers_put(&peers, b);
        assert_int_equal(peers.map.count, 0);
        peers_done(&peers);
    }
}

static void test_shares(void **state UNUSED)
{
    struct sockaddr_storage storage;
    struct peers peers;
    struct budget whole;
    peers_init(&peers);
    budget_init(&whole, 800);
    peers.max[PEER_CALLS] = 3;
    peers.each[PEER_CALLS] = 2;
    struct peer *a = peers_get(&peers, address_of("10.0.0.1", &storage), &whole);
    struct peer *b = peers_get(&peers, address_of("10.0.0.2", &storage), &whole);
    assert_int_equal(peers_take(&peers, a, PEER_CALLS), PEER_FINE);
    assert_int_equal(peers_take(&peers, a, PEER_CALLS), PEER_FINE);
    assert_int_equal(peers_take(&peers, a, PEER_CALLS), PEER_TOO_MANY);
    assert_int_equal(peers_take(&peers, b, PEER_CALLS), PEER_FINE);
    assert_int_equal(peers_take(&peers, b, PEER_CALLS), PEER_FULL);
    assert_int_equal(peers_take(&peers, NULL, PEER_CALLS), PEER_FULL);
    peers_give(&peers, a, PEER_CALLS);
    assert_int_equal(peers_take(&peers, b, PEER_CALLS), PEER_FINE);
    /* Bytes: half of the whole for each, and no more than the whole for both. */
    assert_true(budget_take(&a->budget, false, 350));
    assert_false(budget_take(&a->budget, false, 1));
    assert_true(budget_take(&whole, false, 300));
    assert_false(budget_take(&b->budget, false, 51));
    assert_int_equal(b->budget.big, 0);
    assert_int_equal(whole.big, 650);
    budget_give(&a->budget, false, 350);
    assert_int_equal(whole.big, 300);
    peers_put(&peers, a);
    peers_put(&peers, b);
    peers_done(&peers);
}

static struct raw_stream *status(struct raw *raw)
{
    return raw_call(raw, SERVICE "GetStatus", empty_message, 5, true, NULL);
}

static struct raw_stream *wait_call(struct raw *raw)
{
    return raw_call(raw, SERVICE "WaitTask", empty_message, 5, true, NULL);
}

static void assert_crowded(struct harness *h, struct raw_stream *s, const char *words)
{
    RUN_UNTIL(h, s->closed);
    assert_int_equal(s->grpc_status, TW_RESOURCE_EXHAUSTED);
    if (!strstr(s->message, words))
        fail_msg("%s", s->message);
    assert_in_range(s->retry_ms, 1, 5000);
}

static void assert_served(struct harness *h, struct raw_stream *s)
{
    RUN_UNTIL(h, s->closed);
    assert_int_equal(s->grpc_status, 0);
}

/* Who has as many calls as one address may have hinders nobody else, and has them all back when they have ended. */
static void test_calls_of_one_address(void **state UNUSED)
{
    const struct rpc_server_options options = {.max_calls = 8};
    struct harness h;
    struct raw greedy, second, other;
    harness_init(&h, &options);
    raw_init(&greedy, &h, 65535);
    raw_init(&second, &h, 65535);
    raw_init(&other, &h, 65535);
    come_from(&greedy, "192.0.2.1");
    come_from(&second, "192.0.2.1");
    come_from(&other, "192.0.2.2");
    struct raw_stream *first = wait_call(&greedy);
    for (int i = 0; i < 3; i++)
        wait_call(&greedy);
    RUN_UNTIL(&h, h.echo.waiting == 4);
    assert_crowded(&h, status(&greedy), "of this address");
    assert_crowded(&h, status(&second), "of this address");
    assert_served(&h, status(&other));
    nghttp2_submit_rst_stream(greedy.session, 0, first->id, NGHTTP2_CANCEL);
    raw_flush(&greedy);
    assert_served(&h, status(&second));
    raw_done(&greedy);
    raw_done(&second);
    raw_done(&other);
    harness_done(&h);
}

static void test_lasting_calls(void **state UNUSED)
{
    const struct rpc_server_options options = {.max_lasting = 4};
    struct harness h;
    struct raw greedy, other;
    harness_init(&h, &options);
    raw_init(&greedy, &h, 65535);
    raw_init(&other, &h, 65535);
    come_from(&greedy, "192.0.2.1");
    come_from(&other, "192.0.2.2");
    wait_call(&greedy);
    struct raw_stream *second = wait_call(&greedy);
    assert_crowded(&h, wait_call(&greedy), "of this address that wait");
    assert_served(&h, status(&greedy)); /* others are not of their kind */
    wait_call(&other);
    wait_call(&other);
    RUN_UNTIL(&h, h.echo.waiting == 4);
    nghttp2_submit_rst_stream(greedy.session, 0, second->id, NGHTTP2_CANCEL);
    raw_flush(&greedy);
    wait_call(&greedy);
    RUN_UNTIL(&h, h.echo.waiting == 4);
    assert_crowded(&h, wait_call(&greedy), "that wait");
    raw_done(&greedy);
    raw_done(&other);
    harness_done(&h);
}

/* With all calls taken a vital one is served, from everywhere. */
static void test_vital_calls(void **state UNUSED)
{
    static const uint8_t body[] = {0, 0, 0, 0, 2, 8, 1};
    const struct rpc_server_options options = {.max_calls = 2};
    struct harness h;
    struct raw greedy, other;
    harness_init(&h, &options);
    raw_init(&greedy, &h, 65535);
    raw_init(&other, &h, 65535);
    come_from(&greedy, "192.0.2.1");
    come_from(&other, "192.0.2.2");
    wait_call(&greedy);
    wait_call(&other);
    assert_crowded(&h, status(&other), "too many calls");
    assert_served(&h, raw_call(&other, "/echo.Echo/Vital", body, sizeof body, true, NULL));
    assert_served(&h, raw_call(&greedy, "/echo.Echo/Vital", body, sizeof body, true, NULL));
    raw_done(&greedy);
    raw_done(&other);
    RUN_UNTIL(&h, harness_stats(&h).calls == 0);
    assert_int_equal(harness_stats(&h).inflight_bytes, 0);
    harness_done(&h);
}

/*
 * Refusals that nobody reads have their bound, too: beyond it streams are reset without a look, in such a way that a client
 * may try again.
 */
static void test_unread_refusals(void **state UNUSED)
{
    const struct rpc_server_options options = {.max_calls = 2, .max_streams = 5000};
    struct harness h;
    struct raw raw;
    harness_init(&h, &options);
    raw_init(&raw, &h, 65535);
    come_from(&raw, "192.0.2.1");
    wait_call(&raw);
    RUN_UNTIL(&h, h.echo.waiting == 1);
    struct server_conn *sc = CONTAINER_OF((struct conn *)raw.conn, struct server_conn, conn);
    size_t room = sc->server->peers.each[PEER_REFUSALS];
    sc->from->used[PEER_REFUSALS] = room - 1;
    assert_crowded(&h, status(&raw), "of this address");
    sc->from->used[PEER_REFUSALS] = room;
    struct raw_stream *s = status(&raw);
    RUN_UNTIL(&h, s->closed);
    assert_int_equal(s->error, NGHTTP2_REFUSED_STREAM);
    assert_int_equal(s->grpc_status, -1);
    sc->from->used[PEER_REFUSALS] = 0;
    assert_false(raw_closed(&raw));
    raw_done(&raw);
    harness_done(&h);
}

/* Half-sent small requests of one address leave room for the small requests of others. */
static void test_memory_of_one_address(void **state UNUSED)
{
    enum { SIZE = 60000, MANY = 20 };
    static uint8_t body[5 + SIZE];
    const struct rpc_server_options options = {.max_memory = 2 * 1024 * 1024};
    struct harness h;
    struct raw greedy, other;
    unsigned refused = 0;
    body[3] = SIZE >> 8;
    body[4] = SIZE & 0xff;
    harness_init(&h, &options);
    raw_init(&greedy, &h, 65535);
    raw_init(&other, &h, 65535);
    come_from(&greedy, "192.0.2.1");
    come_from(&other, "192.0.2.2");
    for (int i = 0; i < MANY; i++) {
        struct raw_stream *s = raw_call(&greedy, SERVICE "ExecuteTask", body, sizeof body - 1, false, NULL);
        RUN_UNTIL(&h, s->closed || !s->upload_len);
        uv_run(&h.loop, UV_RUN_NOWAIT);
        refused += s->grpc_status == TW_RESOURCE_EXHAUSTED;
    }
    assert_in_range(refused, MANY / 2, MANY - 4);
    assert_true(harness_stats(&h).inflight_bytes <= 512 * 1024);
    struct raw_stream *s = raw_call(&other, SERVICE "ExecuteTask", body, sizeof body, true, NULL);
    RUN_UNTIL(&h, s->closed);
    assert_int_not_equal(s->grpc_status, TW_RESOURCE_EXHAUSTED);
    raw_done(&greedy);
    raw_done(&other);
    RUN_UNTIL(&h, harness_stats(&h).calls == 0);
    assert_int_equal(harness_stats(&h).inflight_bytes, 0);
    harness_done(&h);
}

/* Answers that wait for clients that do not read: they stop the ones who make them, then end. */
static void test_unread_answers(void **state UNUSED)
{
    static const uint8_t follow[] = {0, 0, 0, 0, 5, 0x10, 1, 0x18, 0xa0, 0x1f}; /* 4,000 messages of 1,000 bytes */
    const struct rpc_server_options options = {.max_memory = 2 * 1024 * 1024};
    struct harness h;
    struct raw slow, other;
    harness_init(&h, &options);
    raw_init(&slow, &h, 0);
    raw_init(&other, &h, 65535);
    come_from(&slow, "192.0.2.1");
    come_from(&other, "192.0.2.2");
    for (int i = 0; i < 40; i++)
        raw_call(&slow, SERVICE "StreamLogs", follow, sizeof follow, true, NULL);
    for (int i = 0; i < 10; i++)
        uv_run(&h.loop, UV_RUN_NOWAIT);
    assert_true(harness_stats(&h).inflight_bytes <= 512 * 1024);
    assert_true(h.echo.choked >= 2);
    struct raw_stream *s = raw_call(&other, SERVICE "StreamLogs", follow, sizeof follow, true, NULL);
    RUN_UNTIL(&h, s->data.len > 1000000);
    raw_done(&slow);
    raw_done(&other);
    RUN_UNTIL(&h, harness_stats(&h).calls == 0);
    assert_int_equal(harness_stats(&h).inflight_bytes, 0);
    harness_done(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_shares),
        cmocka_unit_test(test_calls_of_one_address),
        cmocka_unit_test(test_lasting_calls),
        cmocka_unit_test(test_vital_calls),
        cmocka_unit_test(test_unread_refusals),
        cmocka_unit_test(test_memory_of_one_address),
        cmocka_unit_test(test_unread_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
