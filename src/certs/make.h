/* SPDX-License-Identifier: Apache-2.0 */
/* Making a private CA, and certificates that it signs. Keys are EC on P-256: every client of gRPC knows that. */
#ifndef CERTS_MAKE_H
#define CERTS_MAKE_H

#include "certs/certs.h"

enum cert_use {
    CERT_CA,     /* signs the others, and no further CA */
    CERT_NODE,   /* a server */
    CERT_CLIENT, /* and nothing else */
};

struct cert_request {
    enum cert_use use;
    const char *name; /* the common name, 1 to 64 bytes */
    const char *const *hosts;
    size_t n_hosts;
    int64_t begin_s, end_s; /* of its validity, from now; not beyond that of its issuer */
};

/* A name of letters, digits, dots and dashes, of at most 128 bytes, that may begin with "*.", or an IP address. */
bool cert_is_host(const char *text);

int cert_make_key(EVP_PKEY **ret, struct tw_error *error);
/* issuer NULL: it signs itself, with `key`. */
int cert_make(const struct cert_request *request, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key, X509 **ret,
    struct tw_error *error);

/* Written aside, then renamed; the key file is its owner's alone. */
int cert_write(const char *path, X509 *cert, struct tw_error *error);
int cert_write_key(const char *path, EVP_PKEY *key, struct tw_error *error);

#endif
