/* SPDX-License-Identifier: Apache-2.0 */
/* TLS of the server, byte by byte and without a socket: handshakes as they should not be, and what becomes of them. */
#include "harness.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/clock.h"
#include "rpc/server_internal.h"
#include "tls_files.h"

#include "taskworker.pb-c.h"

static struct tls_files files;

static int setup(void **state UNUSED)
{
    tls_files_init(&files);
    return 0;
}

static int teardown(void **state UNUSED)
{
    tls_files_done(&files);
    return 0;
}

static const unsigned char h2_only[] = {2, 'h', '2'};

/* An SSL of OpenSSL's, whose bytes the test carries to the server and back. */
struct wire {
    struct harness h;
    struct rpc_tls *tls;
    SSL_CTX *ctx;
    SSL *ssl;
    BIO *in, *out; /* the SSL's */
    struct conn *conn;
    struct buf heard; /* of the server, not given to the SSL yet */
};

static void on_sink(struct conn *conn, const uint8_t *data, size_t len)
{
    struct wire *w = conn->tcp.data;
    assert_int_equal(buf_append(&w->heard, data, len), 0);
}

static void wire_init(struct wire *w, int version, const struct rpc_server_options *given)
{
    struct rpc_server_options options = given ? *given : (struct rpc_server_options){0};
    *w = (struct wire){.heard = BUF_INIT(SIZE_MAX / 2)};
    options.tls = w->tls = tls_files_server(&files, "node", RPC_TLS_AUTH_OFF, NULL);
    harness_init(&w->h, &options);
    struct server_conn *sc = server_attach(w->h.server, on_sink);
    assert_non_null(sc);
    w->conn = &sc->conn;
    w->conn->tcp.data = w;
    w->ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_security_level(w->ctx, 0);
    SSL_CTX_set_min_proto_version(w->ctx, version);
    SSL_CTX_set_max_proto_version(w->ctx, version);
    w->ssl = SSL_new(w->ctx);
    SSL_set_alpn_protos(w->ssl, h2_only, sizeof h2_only);
    w->in = BIO_new(BIO_s_mem());
    w->out = BIO_new(BIO_s_mem());
    SSL_set_bio(w->ssl, w->in, w->out);
    SSL_set_connect_state(w->ssl);
}

static bool is_closed(const struct wire *w)
{
    list_for_each (it, &w->h.server->hub.conns) {
        if (CONTAINER_OF(it, struct conn, link) == w->conn)
            return w->conn->state == CONN_CLOSED;
    }
    return true;
}

static void wire_done(struct wire *w)
{
    if (!is_closed(w))
        conn_abort(w->conn, "test over");
    SSL_free(w->ssl);
    SSL_CTX_free(w->ctx);
    harness_done(&w->h);
    rpc_tls_unref(w->tls);
    buf_done(&w->heard);
}

/* What the SSL has to say, in pieces of `step` bytes. */
static void carry(struct wire *w, size_t step)
{
    uint8_t piece[4096];
    int n;
    while ((n = BIO_read(w->out, piece, (int)MIN(step, sizeof piece))) > 0) {
        if (!is_closed(w))
            conn_receive(w->conn, piece, (size_t)n);
    }
    if (w->heard.len)
        BIO_write(w->in, w->heard.data, (int)w->heard.len);
    buf_reset(&w->heard);
}

static bool shake(struct wire *w, size_t step)
{
    for (int i = 0; i < 10 && !SSL_is_init_finished(w->ssl); i++) {
        ERR_clear_error();
        int r = SSL_do_handshake(w->ssl);
        if (r != 1 && SSL_get_error(w->ssl, r) != SSL_ERROR_WANT_READ) {
            carry(w, step);
            return false;
        }
        carry(w, step);
    }
    return SSL_is_init_finished(w->ssl);
}

/* Lets the server act until its side of the connection has come to an end. */
static void expect_end(struct wire *w)
{
    RUN_UNTIL(&w->h, is_closed(w));
}

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";

static void say(struct wire *w, const void *data, size_t len)
{
    assert_int_equal(SSL_write(w->ssl, data, (int)len), (int)len);
    carry(w, 4096);
}

/* Reads frames that the server has sent; returns how many bytes came. */
static size_t listen_to(struct wire *w)
{
    uint8_t bytes[4096];
    size_t sum = 0;
    int n;
    carry(w, 4096);
    while ((n = SSL_read(w->ssl, bytes, sizeof bytes)) > 0)
        sum += (size_t)n;
    return sum;
}

static void expect_settings(struct wire *w)
{
    size_t sum = 0;
    RUN_UNTIL(&w->h, (sum += listen_to(w)) >= 9);
}

/* --- handshakes --- */

/* Whatever the pieces are that the handshake arrives in. */
static void test_every_cut(void **state UNUSED)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    static const size_t steps[] = {1, 2, 3, 5, 7, 64, 500, 4096};
    for (size_t v = 0; v < ARRAY_LEN(versions); v++) {
        for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
            struct wire w;
            wire_init(&w, versions[v], NULL);
            assert_true(shake(&w, steps[i]));
            say(&w, preface, sizeof preface - 1);
            expect_settings(&w);
            assert_int_equal(SSL_version(w.ssl), versions[v]);
            assert_false(SSL_session_reused(w.ssl));
            wire_done(&w);
        }
    }
}

static void test_old_versions(void **state UNUSED)
{
    static const int versions[] = {TLS1_VERSION, TLS1_1_VERSION};
    for (size_t v = 0; v < ARRAY_LEN(versions); v++) {
        struct wire w;
        wire_init(&w, versions[v], NULL);
        SSL_set_cipher_list(w.ssl, "ALL:@SECLEVEL=0");
        assert_false(shake(&w, 4096));
        expect_end(&w);
        wire_done(&w);
    }
}

/* The client's view of a refusal: the reason that the alert stands for. */
static void expect_alert(struct wire *w, int reason)
{
    carry(w, 4096);
    ERR_clear_error();
    assert_int_equal(SSL_do_handshake(w->ssl), -1);
    assert_int_equal(ERR_GET_REASON(ERR_peek_last_error()), reason);
    expect_end(w);
}

static void test_alpn(void **state UNUSED)
{
    static const unsigned char others[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1', 3, 'h', '2', 'c'};
    for (int none = 0; none < 2; none++) {
        struct wire w;
        wire_init(&w, TLS1_3_VERSION, NULL);
        SSL_set_alpn_protos(w.ssl, none ? NULL : others, none ? 0 : sizeof others);
        SSL_do_handshake(w.ssl);
        expect_alert(&w, SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL);
        wire_done(&w);
    }
}

static void test_weak_ciphers(void **state UNUSED)
{
    static const char *const lists[] = {
        "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES128-SHA256", "AES128-GCM-SHA256", "aNULL"};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        struct wire w;
        wire_init(&w, TLS1_2_VERSION, NULL);
        assert_int_equal(SSL_set_cipher_list(w.ssl, lists[i]), 1);
        SSL_do_handshake(w.ssl);
        expect_alert(&w, SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE);
        wire_done(&w);
    }
}

static void test_slow_handshake(void **state UNUSED)
{
    const struct rpc_server_options options = {.handshake_us = 100000, .keepalive_us = 10000000};
    static const size_t sent[] = {0, 1, 6, 100};
    for (size_t i = 0; i < ARRAY_LEN(sent); i++) {
        struct wire w;
        uint8_t bytes[100];
        wire_init(&w, TLS1_3_VERSION, &options);
        SSL_do_handshake(w.ssl);
        assert_int_equal(BIO_read(w.out, bytes, sizeof bytes), (int)sizeof bytes);
        uint64_t began = clock_monotonic_us();
        conn_receive(w.conn, bytes, sent[i]);
        expect_end(&w);
        assert_in_range(clock_monotonic_us() - began, 100000 / 2, 10000000);
        wire_done(&w);
    }
}

static void test_done_in_time(void **state UNUSED)
{
    struct wire w;
    const struct rpc_server_options options = {.handshake_us = 50000, .keepalive_us = 10000000};
    wire_init(&w, TLS1_3_VERSION, &options);
    assert_true(shake(&w, 4096));
    say(&w, preface, sizeof preface - 1);
    uint64_t began = clock_monotonic_us();
    RUN_UNTIL(&w.h, clock_monotonic_us() - began > 200000);
    assert_false(is_closed(&w)); /* the time was for the handshake alone */
    wire_done(&w);
}

static void test_garbage(void **state UNUSED)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *answer; /* how it begins */
    } cases[] = {
        {"GET / HTTP/1.1\r\n\r\n", 18, "HTTP/1.1 400 "},
        {"PRI * HTTP/2.0\r\n", 16, "\x15\x03\x03"},
        {"P", 1, "\x15\x03\x03"},
        {"\0\0\0", 3, ""},
        {"\x80\x2e\x01\x03\x01", 5, ""}, /* SSL 2 */
        {"\x15\x03\x03\0\2\2\x28", 7, ""},
        {"\x17\x03\x03\0\1x", 6, ""},
        {"\x16\x03\x01\0\5hello", 10, "\x15\x03"},
        {"\x16\x03\x03\xff\xff", 5, "\x15\x03"},
        {"\x16\x03\x01\0\0", 5, ""},
        {"\x16\x02\0\0\5hello", 10, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct wire w;
        const struct rpc_server_options options = {.handshake_us = 100000, .keepalive_us = 10000000};
        wire_init(&w, TLS1_3_VERSION, &options);
        conn_receive(w.conn, (const uint8_t *)cases[i].bytes, cases[i].len);
        size_t n = strlen(cases[i].answer);
        if (w.heard.len < n || (n && memcmp(w.heard.data, cases[i].answer, n) != 0))
            fail_msg("case %zu", i);
        expect_end(&w);
        wire_done(&w);
    }
}

/* One byte of each record of a good handshake is another one. */
static void test_flipped_bytes(void **state UNUSED)
{
    for (size_t at = 0; at < 600; at += 13) {
        struct wire w;
        const struct rpc_server_options options = {.handshake_us = 60000, .keepalive_us = 10000000};
        wire_init(&w, at % 2 ? TLS1_2_VERSION : TLS1_3_VERSION, &options);
        size_t seen = 0;
        for (int round = 0; round < 4 && !is_closed(&w); round++) {
            uint8_t bytes[4096];
            ERR_clear_error();
            SSL_do_handshake(w.ssl);
            int n = BIO_read(w.out, bytes, sizeof bytes);
            if (n <= 0)
                break;
            if (at >= seen && at - seen < (size_t)n)
                bytes[at - seen] ^= 0x55;
            seen += (size_t)n;
            conn_receive(w.conn, bytes, (size_t)n);
            carry(&w, 4096);
        }
        bool whole = seen > 0 && SSL_is_init_finished(w.ssl) && !is_closed(&w) && conn_is_ready(w.conn);
        if (whole && at < seen && at != 1 && at != 2) /* the version of the first record means nothing */
            fail_msg("byte %zu was another one, and nobody noticed", at);
        wire_done(&w);
    }
}

/* --- afterwards --- */

static void test_broken_record(void **state UNUSED)
{
    struct wire w;
    uint8_t bytes[256];
    wire_init(&w, TLS1_3_VERSION, NULL);
    assert_true(shake(&w, 4096));
    say(&w, preface, sizeof preface - 1);
    expect_settings(&w);
    SSL_write(w.ssl, "more", 4);
    int n = BIO_read(w.out, bytes, sizeof bytes);
    bytes[n - 1] ^= 1;
    conn_receive(w.conn, bytes, (size_t)n);
    assert_false(conn_is_ready(w.conn));
    expect_end(&w);
    wire_done(&w);
}

static void test_cut_off(void **state UNUSED)
{
    struct wire w;
    uint8_t bytes[256];
    wire_init(&w, TLS1_3_VERSION, NULL);
    assert_true(shake(&w, 4096));
    SSL_write(w.ssl, preface, sizeof preface - 1);
    int n = BIO_read(w.out, bytes, sizeof bytes);
    conn_receive(w.conn, bytes, (size_t)n / 2); /* and no more */
    assert_true(conn_is_ready(w.conn));
    wire_done(&w);
}

static void test_goodbye(void **state UNUSED)
{
    struct wire w;
    wire_init(&w, TLS1_3_VERSION, NULL);
    assert_true(shake(&w, 4096));
    say(&w, preface, sizeof preface - 1);
    SSL_shutdown(w.ssl);
    carry(&w, 4096);
    assert_int_equal(w.conn->state, CONN_CLOSED);
    expect_end(&w);
    wire_done(&w);
}

static void test_renegotiation(void **state UNUSED)
{
    struct wire w;
    wire_init(&w, TLS1_2_VERSION, NULL);
    assert_true(shake(&w, 4096));
    say(&w, preface, sizeof preface - 1);
    expect_settings(&w);
    assert_int_equal(SSL_renegotiate(w.ssl), 1);
    SSL_do_handshake(w.ssl);
    carry(&w, 4096);
    assert_false(conn_is_ready(w.conn));
    expect_end(&w);
    wire_done(&w);
}

static void update_keys(struct wire *w)
{
    assert_int_equal(SSL_key_update(w->ssl, SSL_KEY_UPDATE_REQUESTED), 1);
    assert_int_equal(SSL_do_handshake(w->ssl), 1);
    carry(w, 4096);
}

static void test_key_updates(void **state UNUSED)
{
    struct wire w;
    wire_init(&w, TLS1_3_VERSION, NULL);
    assert_true(shake(&w, 4096));
    say(&w, preface, sizeof preface - 1);
    expect_settings(&w);
    for (int i = 0; i < 10; i++) {
        update_keys(&w);
        say(&w, "\0\0\x08\6\0\0\0\0\0........", 17); /* PING */
        expect_settings(&w);
    }
    assert_true(conn_is_ready(w.conn));
    for (int i = 0; i < 60 && conn_is_ready(w.conn); i++)
        update_keys(&w);
    assert_false(conn_is_ready(w.conn));
    expect_end(&w);
    wire_done(&w);
}

/* A client's first record in pieces, over the end of another in the same piece, and one that is longer than there are. */
static void test_first_record(void **state UNUSED)
{
    struct wire w;
    uint8_t hello[2048], head[] = {22, 3, 1, 0xff, 0xff};
    wire_init(&w, TLS1_3_VERSION, NULL);
    SSL_do_handshake(w.ssl);
    int n = BIO_read(w.out, hello, sizeof hello - 5);
    assert_in_range(n, 50, 1500);
    /* Cut into two records of the same message, which is legal. */
    int half = n / 2;
    memmove(hello + half + 5, hello + half, (size_t)(n - half));
    memcpy(hello + half, hello, 3);
    hello[half + 3] = (uint8_t)((n - half) >> 8);
    hello[half + 4] = (uint8_t)(n - half);
    hello[3] = (uint8_t)((half - 5) >> 8);
    hello[4] = (uint8_t)(half - 5);
    for (int i = 0; i < half - 1; i++) {
        conn_receive(w.conn, hello + i, 1);
        assert_int_equal(w.heard.len, 0);
    }
    conn_receive(w.conn, hello + half - 1, (size_t)(n + 5 - half + 1));
    assert_true(shake(&w, 4096));
    wire_done(&w);
    wire_init(&w, TLS1_3_VERSION, NULL);
    conn_receive(w.conn, head, 3);
    conn_receive(w.conn, head + 3, 2); /* nobody waits for 64 KiB */
    assert_false(conn_is_ready(w.conn));
    expect_end(&w);
    wire_done(&w);
}

static void on_drained(void *ctx)
{
    *(bool *)ctx = true;
}

/* Who is still shaking hands is not waited for. */
static void test_drain(void **state UNUSED)
{
    struct wire w;
    bool drained = false;
    wire_init(&w, TLS1_3_VERSION, NULL);
    SSL_do_handshake(w.ssl);
    carry(&w, 4096);
    assert_false(conn_is_ready(w.conn));
    uint64_t began = clock_monotonic_us();
    rpc_server_drain(w.h.server, 15000000, on_drained, &drained);
    RUN_UNTIL(&w.h, drained);
    assert_in_range(clock_monotonic_us() - began, 0, 9000000);
    assert_true(is_closed(&w));
    wire_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_old_versions),
        cmocka_unit_test(test_alpn),
        cmocka_unit_test(test_weak_ciphers),
        cmocka_unit_test(test_slow_handshake),
        cmocka_unit_test(test_done_in_time),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_flipped_bytes),
        cmocka_unit_test(test_broken_record),
        cmocka_unit_test(test_cut_off),
        cmocka_unit_test(test_goodbye),
        cmocka_unit_test(test_renegotiation),
        cmocka_unit_test(test_key_updates),
        cmocka_unit_test(test_first_record),
        cmocka_unit_test(test_drain),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
