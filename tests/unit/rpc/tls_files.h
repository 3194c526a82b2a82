/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates for the tests of TLS, good and bad ones, in a folder of their own. */
#ifndef TESTS_TLS_FILES_H
#define TESTS_TLS_FILES_H

#include <stdint.h>

#include "certs/make.h"
#include "rpc/tls.h"

enum { TLS_PATH_MAX = 64 };

struct tls_files {
    char folder[TLS_PATH_MAX];
    X509 *ca, *other_ca;
    EVP_PKEY *ca_key, *other_key;
};

/*
 * ca.crt and other.crt (another CA); node.crt and node.key, for localhost and 127.0.0.1; node2, likewise; elsewhere, for
 * elsewhere.example; expired, for 127.0.0.1 until yesterday; self, for 127.0.0.1 and signed by itself; client ("alice"),
 * late ("alice" until yesterday), stranger ("alice", signed by the other CA), each .crt and .key.
 */
void tls_files_init(struct tls_files *f);
void tls_files_done(struct tls_files *f);

/* "FOLDER/name" in one of a few static places. */
const char *tls_file(const struct tls_files *f, const char *name);
/* One more pair, NAME.crt and NAME.key. */
void tls_files_add(struct tls_files *f, const char *file, const struct cert_request *request, bool by_other_ca);
/* Copies one pair over another. */
void tls_files_copy(const struct tls_files *f, const char *from, const char *to);
/* "sha256:..." of NAME.crt. */
const char *tls_files_pin(const struct tls_files *f, const char *name, char out[CERT_PIN_TEXT]);

struct rpc_tls *tls_files_server(
    const struct tls_files *f, const char *name, enum rpc_tls_auth auth, const char *client_ca);

#endif
