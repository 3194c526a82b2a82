/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL reads and writes through a BIO of ours that holds no bytes: it takes from the piece that was fed, and appends to
 * the hub's buffer. What it needs to keep of a record that has not arrived whole it keeps itself, 16 KiB at most, and gives
 * that memory back between records. So an idle connection costs its keys, and no more than a record is ever held here.
 *
 * On the server the SSL, which is large, is made when a first record has come whole: until then a client costs the bytes that it has sent.
 * Who speaks something else is told so in a way that it understands.
 */
#include "rpc/tls_stream.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "rpc/tls_internal.h"

enum {
    RECORD_FIRST = 20, /* content types of TLS: change_cipher_spec, ... */
    RECORD_ALERT = 21,
    RECORD_HANDSHAKE = 22,
    RECORD_LAST = 23,
    RECORD_HEAD = 5,
    RECORD_MAX = RECORD_HEAD + 16384, /* of a handshake: not encrypted */
    /* Key updates that a peer may ask for in so long: each costs work. OpenSSL's own limit is one for 2^24 records. */
    RENEWALS_MAX = 32,
    RENEWALS_US = 10000000,
    FAILURE_MAX = 360,
};

struct tls_stream {
    struct rpc_tls *tls;
    SSL *ssl;
    struct buf *out;
    const uint8_t *in; /* fed, and not taken yet */
    size_t in_len;
    struct buf
        first; /* record of a client, as far as it has come; then what OpenSSL has not taken of it, from first_pos on */
    size_t first_pos;
    const char *host, *target; /* of a client */
    enum tls_state state;
    bool heard;         /* a first byte of the peer's */
    const char *misuse; /* found by a callback: the end, as soon as OpenSSL has returned */
    bool hopeless;
    unsigned renewals;
    uint64_t renewals_since_us;
    char *failure;
    char *identity;
};

/* --- the wire --- */

static int wire_read(BIO *bio, char *to, size_t max, size_t *ret)
{
    struct tls_stream *s = BIO_get_data(bio);
    bool early = s->first_pos < s->first.len;
    const uint8_t *from = early ? s->first.data + s->first_pos : s->in;
    size_t n = MIN(max, early ? s->first.len - s->first_pos : s->in_len);
    BIO_clear_retry_flags(bio);
    *ret = n;
    if (!n) {
        BIO_set_retry_read(bio);
        return 0;
    }
    memcpy(to, from, n);
    if (!early) {
        s->in += n;
        s->in_len -= n;
        return 1;
    }
    s->first_pos += n;
    if (s->first_pos == s->first.len) {
        buf_done(&s->first);
        s->first_pos = 0;
    }
    return 1;
}

static int wire_write(BIO *bio, const char *data, size_t len, size_t *ret)
{
    struct tls_stream *s = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *ret = len;
    return buf_append(s->out, data, len) == 0;
}

static long wire_ctrl(BIO *bio UNUSED, int what, long number UNUSED, void *data UNUSED)
{
    return what == BIO_CTRL_FLUSH;
}

BIO_METHOD *tls_stream_wire_new(void)
{
    BIO_METHOD *wire = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "wire");
    if (wire && BIO_meth_set_read_ex(wire, wire_read) && BIO_meth_set_write_ex(wire, wire_write) &&
        BIO_meth_set_ctrl(wire, wire_ctrl))
        return wire;
    BIO_meth_free(wire);
    return NULL;
}

/* --- failing --- */

static void fail(struct tls_stream *s, bool hopeless, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void fail(struct tls_stream *s, bool hopeless, const char *fmt, ...)
{
    char text[FAILURE_MAX];
    if (s->state == TLS_FAILED)
        return;
    s->state = TLS_FAILED;
    s->hopeless = hopeless;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    s->failure = strdup(text);
}

/* What the client did not like about the server's certificate, and what to do. */
static void refuse_server(struct tls_stream *s, const X509 *cert, const uint8_t their_pin[CERT_PIN_LEN], int verdict)
{
    char hosts[128], until[CERT_TIME_TEXT], pin[CERT_PIN_TEXT];
    const char *why = X509_verify_cert_error_string(verdict);
    cert_pin_text(their_pin, pin);
    switch (verdict) {
    case X509_V_ERR_APPLICATION_VERIFICATION:
        fail(s, true, "the key of %s has another pin than the one that was given: it has %s", s->target, pin);
        break;
    case X509_V_ERR_CERT_HAS_EXPIRED:
        fail(s, true, "the certificate of %s has expired: one of its chain is too old, its own was good until %s",
            s->target, cert_time_text(X509_get0_notAfter(cert), until));
        break;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        fail(s, true, "the certificate of %s is not for %s, but for %s", s->target, s->host,
            *cert_hosts(cert, hosts, sizeof hosts) ? hosts : "no host at all");
        break;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_UNTRUSTED:
        fail(s, true,
            "the certificate of %s is not signed by %s%s (%s); use --ca FILE, or, if that is its pin, --pin %s",
            s->target, s->tls->ca ? "the CA in " : "any CA that this machine trusts", s->tls->ca ? s->tls->ca : "", why,
            pin);
        break;
    default:
        fail(s, true, "the certificate of %s is refused: %s", s->target, why);
    }
}

static void fail_client(struct tls_stream *s, int reason)
{
    switch (reason) {
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
        fail(s, true, "%s wants to see a certificate of this client; use --cert FILE and --key FILE", s->target);
        break;
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
        fail(s, true, "%s does not know the CA that has signed this client's certificate", s->target);
        break;
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
        fail(s, true, "%s says that this client's certificate has expired", s->target);
        break;
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
        fail(s, true, "%s refuses this client's certificate", s->target);
        break;
    case SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL:
        fail(s, true, "%s speaks TLS, but not HTTP/2, and so not gRPC", s->target);
        break;
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
        fail(s, true, "%s refuses the TLS handshake%s", s->target,
            s->tls->cert ? "" : "; it may want a certificate of this client (--cert FILE and --key FILE)");
        break;
    default:
        fail(s, false, "no TLS with %s: %s", s->target, certs_reason());
    }
}

static void fail_server(struct tls_stream *s, int reason)
{
    long verdict = s->ssl ? SSL_get_verify_result(s->ssl) : X509_V_OK;
    switch (reason) {
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
        fail(s, true, "its certificate is refused: %s", X509_verify_cert_error_string(verdict));
        break;
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        fail(s, true, "it shows no certificate, and TLS_CLIENT_AUTH is required");
        break;
    case SSL_R_UNSUPPORTED_PROTOCOL:
        fail(s, true, "it speaks a version of TLS below 1.2");
        break;
    case SSL_R_NO_SHARED_CIPHER:
        fail(s, true, "it has no cipher that is good enough");
        break;
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
        fail(s, true, "it does not know the CA of this node's certificate (its --ca, or its list of CAs)");
        break;
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
        fail(s, true, "it says that this node's certificate has expired");
        break;
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
        fail(s, true,
            "it refuses this node's certificate: the name that it uses for the node may be missing there, or it "
            "knows another pin");
        break;
    default:
        fail(s, true, "%s", certs_reason());
    }
}

/* After a call of OpenSSL that did not do all that was asked for. */
static void look_at_end(struct tls_stream *s, int result)
{
    int error = SSL_get_error(s->ssl, result);
    if (error == SSL_ERROR_ZERO_RETURN) {
        s->state = TLS_ENDED;
    } else if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
        /* The queue begins with the cause. */
        int reason = ERR_GET_REASON(ERR_peek_error());
        if (s->misuse)
            fail(s, true, "%s", s->misuse);
        else if (s->tls->is_server)
            fail_server(s, reason);
        else
            fail_client(s, reason);
    }
    ERR_clear_error();
}

/* --- callbacks of OpenSSL --- */

/* Before any work is done for a client that will not do. */
static int on_client_hello(SSL *ssl, int *alert, void *ctx UNUSED)
{
    struct tls_stream *s = SSL_get_app_data(ssl);
    const unsigned char *list;
    size_t len;
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &list, &len))
        return SSL_CLIENT_HELLO_SUCCESS;
    s->misuse = "it does not offer HTTP/2 (ALPN h2), without which there is no gRPC";
    *alert = TLS1_AD_NO_APPLICATION_PROTOCOL;
    return SSL_CLIENT_HELLO_ERROR;
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
    unsigned int in_len, void *ctx UNUSED)
{
    struct tls_stream *s = SSL_get_app_data(ssl);
    for (unsigned int i = 0; i < in_len && in[i] < in_len - i; i += in[i] + 1u) {
        if (in[i] == 2 && !memcmp(in + i + 1, "h2", 2)) {
            *out = in + i + 1;
            *out_len = 2;
            return SSL_TLSEXT_ERR_OK;
        }
    }
    s->misuse = "it does not offer HTTP/2 (ALPN h2), without which there is no gRPC";
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* Forbidden in HTTP/2. OpenSSL answers with an alert, and would go on. */
static void on_info(const SSL *ssl, int where, int ret)
{
    struct tls_stream *s = SSL_get_app_data(ssl);
    if ((where & SSL_CB_WRITE_ALERT) == SSL_CB_WRITE_ALERT && (ret & 0xff) == SSL_AD_NO_RENEGOTIATION)
        s->misuse = "it wants to renegotiate";
}

/* What comes of the handshake's protocol once it is over: with TLS 1.3 new keys, each of which costs work. */
static void on_protocol(
    int is_ours, int version UNUSED, int type, const void *data UNUSED, size_t len UNUSED, SSL *ssl, void *ctx UNUSED)
{
    struct tls_stream *s = SSL_get_app_data(ssl);
    if (is_ours || type != SSL3_RT_HANDSHAKE || s->state != TLS_OPEN)
        return;
    uint64_t now = clock_monotonic_us();
    if (now - s->renewals_since_us > RENEWALS_US) {
        s->renewals_since_us = now;
        s->renewals = 0;
    }
    if (++s->renewals > RENEWALS_MAX)
        s->misuse = "it asks for new keys again and again";
}

/* A client's judgement of the server's chain. */
static int on_verify(X509_STORE_CTX *store, void *ctx UNUSED)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_stream *s = SSL_get_app_data(ssl);
    const X509 *cert = X509_STORE_CTX_get0_cert(store);
    uint8_t pin[CERT_PIN_LEN];
    bool good = false;
    if (cert_pin(cert, pin) < 0)
        X509_STORE_CTX_set_error(store, X509_V_ERR_OUT_OF_MEM);
    else if (s->tls->has_pin && CRYPTO_memcmp(pin, s->tls->pin, sizeof pin) != 0)
        X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
    else if (s->tls->has_pin && !s->tls->ca)
        good = true;
    else
        good = X509_verify_cert(store) == 1;
    if (good)
        X509_STORE_CTX_set_error(store, X509_V_OK);
    else
        refuse_server(s, cert, pin, X509_STORE_CTX_get_error(store));
    return good;
}

void tls_stream_set_callbacks(SSL_CTX *ctx, bool is_server)
{
    SSL_CTX_set_info_callback(ctx, on_info);
    SSL_CTX_set_msg_callback(ctx, on_protocol);
    if (!is_server) {
        SSL_CTX_set_cert_verify_callback(ctx, on_verify, NULL);
        return;
    }
    SSL_CTX_set_client_hello_cb(ctx, on_client_hello, NULL);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
}

/* --- beginning --- */

struct tls_stream *tls_stream_new(struct rpc_tls *tls, struct buf *out, const char *host, const char *target)
{
    struct tls_stream *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->tls = rpc_tls_ref(tls);
    s->out = out;
    s->host = host;
    s->target = target;
    buf_init(&s->first, RECORD_MAX);
    return s;
}

void tls_stream_free(struct tls_stream *s)
{
    if (!s)
        return;
    SSL_free(s->ssl);
    buf_done(&s->first);
    rpc_tls_unref(s->tls);
    free(s->failure);
    free(s->identity);
    free(s);
}

/* Whom the server's certificate has to be for; a name is told to it, too (SNI), as RFC 6066 wants it. */
static bool expect_host(struct tls_stream *s)
{
    struct in6_addr raw;
    X509_VERIFY_PARAM *param = SSL_get0_param(s->ssl);
    if (inet_pton(AF_INET, s->host, &raw) == 1)
        return X509_VERIFY_PARAM_set1_ip(param, (const unsigned char *)&raw, 4) == 1;
    if (inet_pton(AF_INET6, s->host, &raw) == 1)
        return X509_VERIFY_PARAM_set1_ip(param, (const unsigned char *)&raw, 16) == 1;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return X509_VERIFY_PARAM_set1_host(param, s->host, 0) == 1 && SSL_set_tlsext_host_name(s->ssl, s->host) == 1;
}

static bool make_ssl(struct tls_stream *s)
{
    ERR_clear_error();
    s->ssl = SSL_new(s->tls->ctx);
    BIO *bio = s->ssl ? BIO_new(s->tls->wire) : NULL;
    if (bio) {
        BIO_set_data(bio, s);
        BIO_set_init(bio, 1);
        SSL_set_bio(s->ssl, bio, bio);
        SSL_set_app_data(s->ssl, s);
    }
    if (!bio || (!s->tls->is_server && !expect_host(s))) {
        fail(s, false, "%s", certs_reason());
        return false;
    }
    if (s->tls->is_server)
        SSL_set_accept_state(s->ssl);
    else
        SSL_set_connect_state(s->ssl);
    return true;
}

/* --- who speaks without TLS --- */

#define H1_TEXT "This port takes gRPC over TLS.\n"
static const char h1_answer[] =
    "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: 31\r\n\r\n" H1_TEXT;
_Static_assert(sizeof(H1_TEXT) - 1 == 31, "the length that stands in the header");

/*
 * To HTTP/2 an alert, protocol_version. A GOAWAY would be kinder, but behind the SETTINGS that have to come first clients of gRPC try
 * again without an end; so they say at once that they cannot connect, and ours knows why.
 */
static const uint8_t alert[] = {RECORD_ALERT, 3, 3, 0, 2, 2, 70};

static void answer_plain(struct tls_stream *s)
{
    uint8_t first = s->in[0];
    if (!s->tls->is_server) {
        fail(s, true, "%s does not speak TLS; leave out --tls, or have the node use a certificate (TLS_CERT)",
            s->target);
    } else if (!memcmp(s->in, "PRI", MIN(s->in_len, (size_t)3))) {
        buf_append(s->out, alert, sizeof alert);
        fail(s, true, "it speaks HTTP/2 without TLS; its address of this node needs tls:// or https://");
    } else if (first >= 'A' && first <= 'Z') {
        buf_append(s->out, h1_answer, sizeof h1_answer - 1);
        fail(s, true, "it speaks HTTP/1 without TLS");
    } else {
        fail(s, true, "it does not speak TLS");
    }
}

static bool looks_like_tls(const struct tls_stream *s)
{
    uint8_t first = s->in[0];
    return s->tls->is_server ? first == RECORD_HANDSHAKE : first >= RECORD_FIRST && first <= RECORD_LAST;
}

/* --- the handshake --- */

/* HTTP/2 was agreed upon, and a client's certificate names somebody. */
static void check_peer(struct tls_stream *s)
{
    const unsigned char *protocol;
    unsigned int len;
    SSL_get0_alpn_selected(s->ssl, &protocol, &len);
    if (len != 2 || memcmp(protocol, "h2", 2) != 0) {
        if (s->tls->is_server)
            fail(s, true, "no HTTP/2 was agreed upon");
        else
            fail(s, true, "%s speaks TLS, but not HTTP/2, and so not gRPC", s->target);
        return;
    }
    X509 *cert = s->tls->is_server ? SSL_get0_peer_certificate(s->ssl) : NULL;
    if (!cert)
        return;
    char name[CERT_NAME_MAX + 1];
    if (SSL_get_verify_result(s->ssl) != X509_V_OK || cert_identity(cert, name) < 0)
        fail(s, true, "its certificate names nobody, or more than one common name");
    else if (!(s->identity = strdup(name)))
        fail(s, false, "out of memory");
}

static void shake(struct tls_stream *s)
{
    ERR_clear_error();
    int r = SSL_do_handshake(s->ssl);
    if (r != 1) {
        look_at_end(s, r);
        return;
    }
    check_peer(s);
    if (s->state == TLS_SHAKING)
        s->state = TLS_OPEN;
}

void tls_stream_begin(struct tls_stream *s)
{
    if (!s->tls->is_server && make_ssl(s))
        shake(s);
}

/* --- bytes --- */

void tls_stream_feed(struct tls_stream *s, const void *data, size_t len)
{
    s->in = data;
    s->in_len = len;
}

/* Takes of what was fed what belongs to the first record. Whether that is whole, or so wrong that OpenSSL shall say so. */
static bool gather_first(struct tls_stream *s)
{
    struct buf *b = &s->first;
    for (;;) {
        size_t whole = b->len < RECORD_HEAD ? RECORD_HEAD : RECORD_HEAD + ((size_t)b->data[3] << 8 | b->data[4]);
        if (whole > RECORD_MAX || (b->len >= RECORD_HEAD && b->len == whole))
            return true;
        size_t n = MIN(whole - b->len, s->in_len);
        if (!n)
            return false;
        if (buf_append(b, s->in, n) < 0) {
            fail(s, false, "out of memory");
            return false;
        }
        s->in += n;
        s->in_len -= n;
    }
}

/* Whether there is an open stream to read from. */
static bool advance(struct tls_stream *s)
{
    if (!s->in_len)
        return false;
    if (!s->heard && !looks_like_tls(s)) {
        answer_plain(s);
        return false;
    }
    s->heard = true;
    if (!s->ssl && !gather_first(s))
        return false;
    if (s->ssl || make_ssl(s))
        shake(s);
    return s->state == TLS_OPEN;
}

size_t tls_stream_read(struct tls_stream *s, uint8_t *to, size_t max)
{
    size_t n = 0;
    if (s->state != TLS_OPEN && (s->state != TLS_SHAKING || !advance(s)))
        return 0;
    while (n < max && s->state == TLS_OPEN) {
        size_t got = 0;
        ERR_clear_error();
        int r = SSL_read_ex(s->ssl, to + n, max - n, &got);
        if (r != 1) {
            look_at_end(s, r);
            break;
        }
        n += got;
    }
    if (s->misuse)
        fail(s, true, "%s", s->misuse);
    return n;
}

int tls_stream_write(struct tls_stream *s, const uint8_t *data, size_t len)
{
    size_t done = 0;
    if (s->state != TLS_OPEN)
        return -1;
    ERR_clear_error();
    if (len == 0 || (SSL_write_ex(s->ssl, data, len, &done) == 1 && done == len))
        return 0;
    fail(s, false, "writing failed: %s", certs_reason());
    return -1;
}

void tls_stream_close(struct tls_stream *s)
{
    if (s->state != TLS_OPEN && s->state != TLS_ENDED)
        return;
    ERR_clear_error();
    (void)SSL_shutdown(s->ssl);
    ERR_clear_error();
    s->state = TLS_ENDED;
}

/* --- what there is to know --- */

enum tls_state tls_stream_state(const struct tls_stream *s)
{
    return s->state;
}

const char *tls_stream_failure(const struct tls_stream *s)
{
    if (s->state != TLS_FAILED)
        return NULL;
    return s->failure ? s->failure : "out of memory";
}

bool tls_stream_is_hopeless(const struct tls_stream *s)
{
    return s->hopeless;
}

const char *tls_stream_identity(const struct tls_stream *s)
{
    return s->identity;
}
