/* SPDX-License-Identifier: Apache-2.0 */
/* Contexts: what is the same for all TLS connections of a server or client. tls_stream.c has the single one. */
#include "rpc/tls.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/error.h"
#include "base/log.h"
#include "rpc/tls_internal.h"

/* RFC 9113 9.2.2 forbids all others of TLS 1.2 that are left; those of 1.3 are good as they are. */
#define CIPHERS_1_2 "ECDHE+AESGCM:ECDHE+CHACHA20"

static const unsigned char alpn_h2[] = {2, 'h', '2'};

static int new_context(bool is_server, SSL_CTX **ret, struct tw_error *error)
{
    ERR_clear_error();
    SSL_CTX *ctx = SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());
    if (!ctx)
        return error_set(error, TW_INTERNAL, "TLS cannot be set up: %s", certs_reason());
    *ret = ctx;
    SSL_CTX_set_security_level(ctx, 2); /* 112 bits: RSA of 2048 and more */
    SSL_CTX_set_options(ctx,
        SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE |
            SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_max_cert_list(ctx, 32 * 1024); /* what a peer may send of them */
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 || SSL_CTX_set_max_proto_version(ctx, 0) != 1 ||
        SSL_CTX_set_cipher_list(ctx, CIPHERS_1_2) != 1 || SSL_CTX_set_num_tickets(ctx, 0) != 1 ||
        (!is_server && SSL_CTX_set_alpn_protos(ctx, alpn_h2, sizeof alpn_h2) != 0))
        return error_set(error, TW_INTERNAL, "TLS cannot be set up: %s", certs_reason());
    tls_stream_set_callbacks(ctx, is_server);
    return 0;
}

/* What clients can hold it to. */
static int log_certificate(const struct rpc_tls *tls, const X509 *own, const char *until)
{
    uint8_t pin[CERT_PIN_LEN];
    char text[CERT_PIN_TEXT], hosts[256];
    if (cert_pin(own, pin) == 0)
        log_info("rpc: TLS with the certificate in %s, for %s, good until %s, with the pin %s", tls->cert,
            *cert_hosts(own, hosts, sizeof hosts) ? hosts : "no host at all", until, cert_pin_text(pin, text));
    return 0;
}

/* Its own certificate, those above it, and the key. */
static int use_own(const struct rpc_tls *tls, SSL_CTX *ctx, bool reloading, struct tw_error *error)
{
    CLEANUP_CHAIN STACK_OF(X509) *chain = NULL;
    CLEANUP_KEY EVP_PKEY *key = NULL;
    char until[CERT_TIME_TEXT];
    if (certs_read_chain(tls->cert, &chain, error) < 0 || certs_read_key(tls->key, &key, error) < 0)
        return -1;
    X509 *own = sk_X509_value(chain, 0);
    if (X509_check_private_key(own, key) != 1)
        return error_set(error, TW_INVALID_ARGUMENT, "the key in %s is not that of the first certificate in %s: %s",
            tls->key, tls->cert, certs_reason());
    if (SSL_CTX_use_certificate(ctx, own) != 1 || SSL_CTX_use_PrivateKey(ctx, key) != 1)
        return error_set(
            error, TW_INVALID_ARGUMENT, "the certificate in %s cannot be used: %s", tls->cert, certs_reason());
    for (int i = 1; i < sk_X509_num(chain); i++) {
        if (SSL_CTX_add1_chain_cert(ctx, sk_X509_value(chain, i)) != 1)
            return error_set(error, TW_INVALID_ARGUMENT, "certificate %d of %s cannot be used: %s", i + 1, tls->cert,
                certs_reason());
    }
    if (!tls->is_server)
        return 0; /* if it has expired the server will tell its client so */
    cert_time_text(X509_get0_notAfter(own), until);
    if (!cert_has_expired(own))
        return log_certificate(tls, own, until);
    if (reloading)
        return error_set(error, TW_INVALID_ARGUMENT, "the certificate in %s has expired (%s)", tls->cert, until);
    log_warning("rpc: the certificate in %s has expired (%s): clients will refuse it", tls->cert, until);
    return 0;
}

/* Whose signatures count. */
static int use_ca(SSL_CTX *ctx, const char *path, bool is_server, struct tw_error *error)
{
    CLEANUP_CHAIN STACK_OF(X509) *list = NULL;
    if (certs_read_chain(path, &list, error) < 0)
        return -1;
    for (int i = 0; i < sk_X509_num(list); i++) {
        X509 *ca = sk_X509_value(list, i);
        if (X509_check_ca(ca) == 0)
            return error_set(error, TW_INVALID_ARGUMENT, "certificate %d of %s is not that of a CA", i + 1, path);
        if (X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), ca) != 1 ||
            (is_server && SSL_CTX_add_client_CA(ctx, ca) != 1))
            return error_set(
                error, TW_INVALID_ARGUMENT, "certificate %d of %s cannot be used: %s", i + 1, path, certs_reason());
    }
    return 0;
}

static int make_server(const struct rpc_tls *tls, bool reloading, SSL_CTX **ret, struct tw_error *error)
{
    static const int verify[] = {
        [RPC_TLS_AUTH_OFF] = SSL_VERIFY_NONE,
        [RPC_TLS_AUTH_OPTIONAL] = SSL_VERIFY_PEER,
        [RPC_TLS_AUTH_REQUIRED] = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
    };
    if (new_context(true, ret, error) < 0 || use_own(tls, *ret, reloading, error) < 0)
        return -1;
    if (tls->client_auth == RPC_TLS_AUTH_OFF)
        return 0;
    SSL_CTX_set_verify(*ret, verify[tls->client_auth], NULL);
    return use_ca(*ret, tls->ca, true, error);
}

static int make_client(const struct rpc_tls *tls, SSL_CTX **ret, struct tw_error *error)
{
    if (new_context(false, ret, error) < 0 || (tls->cert && use_own(tls, *ret, false, error) < 0))
        return -1;
    SSL_CTX_set_verify(*ret, SSL_VERIFY_PEER, NULL);
    if (tls->ca)
        return use_ca(*ret, tls->ca, false, error);
    if (SSL_CTX_set_default_verify_paths(*ret) != 1)
        return error_set(error, TW_INTERNAL, "the CAs of this machine cannot be read: %s", certs_reason());
    ERR_clear_error();
    return 0;
}

static int make_context(struct rpc_tls *tls, bool reloading, struct tw_error *error)
{
    SSL_CTX *ctx = NULL;
    int r = tls->is_server ? make_server(tls, reloading, &ctx, error) : make_client(tls, &ctx, error);
    if (r < 0) {
        SSL_CTX_free(ctx);
        return -1;
    }
    SSL_CTX_free(tls->ctx);
    tls->ctx = ctx;
    return 0;
}

int rpc_tls_reload(struct rpc_tls *tls, struct tw_error *error)
{
    return make_context(tls, true, error);
}

/* --- their life --- */

static struct rpc_tls *allocate(bool is_server, const char *cert, const char *key, const char *ca)
{
    struct rpc_tls *tls = calloc(1, sizeof *tls);
    if (!tls)
        return NULL;
    *tls = (struct rpc_tls){.refs = 1, .is_server = is_server, .wire = tls_stream_wire_new()};
    tls->cert = cert ? strdup(cert) : NULL;
    tls->key = key ? strdup(key) : NULL;
    tls->ca = ca ? strdup(ca) : NULL;
    if (tls->wire && !tls->cert == !cert && !tls->key == !key && !tls->ca == !ca)
        return tls;
    rpc_tls_unref(tls);
    return NULL;
}

int rpc_tls_new(const struct rpc_tls_options *o, struct rpc_tls **ret, struct tw_error *error)
{
    if (!o->cert || !o->key || (o->client_auth != RPC_TLS_AUTH_OFF && !o->client_ca))
        return error_set(error, TW_INVALID_ARGUMENT, "TLS needs a certificate, its key%s",
            o->cert && o->key ? ", and the CA that has signed the certificates of clients" : "");
    struct rpc_tls *tls = allocate(true, o->cert, o->key, o->client_ca);
    if (!tls)
        return error_oom(error);
    tls->client_auth = o->client_auth;
    if (make_context(tls, false, error) < 0) {
        rpc_tls_unref(tls);
        return -1;
    }
    *ret = tls;
    return 0;
}

int rpc_tls_new_client(const struct rpc_client_tls *o, struct rpc_tls **ret, struct tw_error *error)
{
    if (!o->cert != !o->key)
        return error_set(error, TW_INVALID_ARGUMENT,
            "a client's certificate and its key go together: the %s is missing", o->cert ? "key" : "certificate");
    struct rpc_tls *tls = allocate(false, o->cert, o->key, o->ca);
    if (!tls)
        return error_oom(error);
    tls->has_pin = o->pin;
    if (o->pin && cert_pin_parse(o->pin, tls->pin) < 0) {
        rpc_tls_unref(tls);
        return error_set(error, TW_INVALID_ARGUMENT,
            "\"%.100s\" is not a pin: it has to be sha256: and 64 digits of hex, as \"hivemind tls show\" prints it",
            o->pin);
    }
    if (make_context(tls, false, error) < 0) {
        rpc_tls_unref(tls);
        return -1;
    }
    *ret = tls;
    return 0;
}

struct rpc_tls *rpc_tls_ref(struct rpc_tls *tls)
{
    tls->refs++;
    return tls;
}

void rpc_tls_unref(struct rpc_tls *tls)
{
    if (!tls || --tls->refs)
        return;
    SSL_CTX_free(tls->ctx);
    BIO_meth_free(tls->wire);
    free(tls->cert);
    free(tls->key);
    free(tls->ca);
    free(tls);
}
