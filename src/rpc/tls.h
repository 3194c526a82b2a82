/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS for the server and the client: certificates, and the rules by which a peer is believed. TLS 1.2 and 1.3 only, HTTP/2
 * by ALPN only, no renegotiation, no compression, no tickets and so no resumption, no early data.
 */
#ifndef RPC_TLS_H
#define RPC_TLS_H

#include <taskworker/error.h>

#include "rpc/client.h"

struct rpc_tls;

/* In the order of enum tw_tls_client_auth. */
enum rpc_tls_auth {
    RPC_TLS_AUTH_OFF,      /* certificates of clients are not asked for */
    RPC_TLS_AUTH_OPTIONAL, /* one that is shown has to be good */
    RPC_TLS_AUTH_REQUIRED,
};

/* Paths of PEM files, copied. The key file must be its owner's alone. */
struct rpc_tls_options {
    const char *cert; /* the server's own first, then those between it and its CA */
    const char *key;
    const char *client_ca; /* who may sign clients' certificates; NULL only with RPC_TLS_AUTH_OFF */
    enum rpc_tls_auth client_auth;
};

/* The caller's reference; connections have their own. A certificate that has expired is logged and used. */
int rpc_tls_new(const struct rpc_tls_options *options, struct rpc_tls **ret, struct tw_error *error);
int rpc_tls_new_client(const struct rpc_client_tls *options, struct rpc_tls **ret, struct tw_error *error);
struct rpc_tls *rpc_tls_ref(struct rpc_tls *tls);
void rpc_tls_unref(struct rpc_tls *tls);

/*
 * Reads the files again. Connections from now on get what they say, those that are there keep what they had. On any error,
 * and for a certificate that has expired, everything stays as it was.
 */
int rpc_tls_reload(struct rpc_tls *tls, struct tw_error *error);

#endif
