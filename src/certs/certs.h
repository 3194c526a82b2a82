/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates and keys in PEM files: reading them with care, and saying in words what is in them. What a certificate says
 * is hostile text until it has been verified, and a text of limited length without control characters after.
 */
#ifndef CERTS_CERTS_H
#define CERTS_CERTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <taskworker/error.h>

#include "base/util.h"

enum {
    CERT_PIN_LEN = 32,
    CERT_PIN_TEXT = 7 + 2 * CERT_PIN_LEN + 1, /* "sha256:" and hex */
    CERT_NAME_MAX = 128,
    CERT_TIME_TEXT = 32,
};

static inline void cleanup_chain(STACK_OF(X509) * *chain)
{
    sk_X509_pop_free(*chain, X509_free);
}
#define CLEANUP_CHAIN CLEANUP(cleanup_chain)

static inline void cleanup_key(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}
#define CLEANUP_KEY CLEANUP(cleanup_key)

/* All certificates of a file, at least one, in their order. */
int certs_read_chain(const char *path, STACK_OF(X509) * *ret, struct tw_error *error);

/* A private key without a passphrase. A file that others than its owner may read, or that another user owns, is refused. */
int certs_read_key(const char *path, EVP_PKEY **ret, struct tw_error *error);

/* The SHA-256 of the public key, as "openssl pkey -pubin -outform DER | sha256sum" tells it. 0 or -ENOMEM. */
int cert_pin(const X509 *cert, uint8_t out[CERT_PIN_LEN]);
const char *cert_pin_text(const uint8_t pin[CERT_PIN_LEN], char out[CERT_PIN_TEXT]);
/* "sha256:" and 64 digits of hex, with or without colons between the bytes. 0 or -EINVAL. */
int cert_pin_parse(const char *text, uint8_t out[CERT_PIN_LEN]);

/*
 * Whom a certificate was made for: the common name, or else the first of its other names (DNS, e-mail, URI). 0, or -EINVAL
 * where it names nobody, has more than one common name, or one that cannot be shown.
 */
int cert_identity(const X509 *cert, char out[CERT_NAME_MAX + 1]);

/* The hosts that it is for, "a.example, 10.0.0.5", cut to `size`; "" if it names none. */
const char *cert_hosts(const X509 *cert, char *out, size_t size);

/* "2027-01-31 12:00 UTC" */
const char *cert_time_text(const ASN1_TIME *at, char out[CERT_TIME_TEXT]);
bool cert_has_expired(const X509 *cert);

/* What OpenSSL says went wrong last; its queue of errors is empty afterwards. Static text. */
const char *certs_reason(void);

#endif
