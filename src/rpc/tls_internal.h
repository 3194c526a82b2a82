/* SPDX-License-Identifier: Apache-2.0 */
/* What tls.c (certificates and rules) and tls_stream.c (one connection) share. */
#ifndef RPC_TLS_INTERNAL_H
#define RPC_TLS_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include "certs/certs.h"
#include "rpc/tls.h"

struct rpc_tls {
    unsigned refs; /* the loop's thread alone */
    SSL_CTX *ctx;  /* the newest; each connection holds the one that it began with */
    BIO_METHOD *wire;
    bool is_server;
    char *cert, *key, *ca; /* paths; ca: of clients, or of the server */
    enum rpc_tls_auth client_auth;
    bool has_pin;
    uint8_t pin[CERT_PIN_LEN];
};

/* tls_stream.c: callbacks of a context, and how a stream's bytes come and go. NULL: no memory. */
void tls_stream_set_callbacks(SSL_CTX *ctx, bool is_server);
BIO_METHOD *tls_stream_wire_new(void);

#endif
