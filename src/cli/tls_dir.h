/* SPDX-License-Identifier: Apache-2.0 */
/* The folder of `hivemind tls`: a private CA, the node's certificate and those of clients. */
#ifndef CLI_TLS_DIR_H
#define CLI_TLS_DIR_H

#include <limits.h>

#include "certs/make.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "cli/output.h"

struct tls_dir {
    char path[PATH_MAX]; /* absolute */
};

/* The one that was given, else the usual one. 0, or an exit code after a message. With `make` it is there afterwards. */
int tls_dir_find(struct cli *cli, const char *given, bool make, struct tls_dir *ret);

/* "DIR/NAME.crt"; "" where it is too long, which no file is called. */
struct tls_path {
    char text[PATH_MAX];
};
struct tls_path tls_path_of(const struct tls_dir *dir, const char *name, const char *suffix);

/* A certificate and its key. Release with tls_pair_done(). */
struct tls_pair {
    X509 *cert;
    EVP_PKEY *key;
};
void tls_pair_done(struct tls_pair *pair);
int tls_pair_read(const struct tls_dir *dir, const char *name, struct tls_pair *ret, struct tw_error *error);
/* Makes and writes one, the key first. */
int tls_pair_make(const struct tls_dir *dir, const char *name, const struct cert_request *request,
    const struct tls_pair *ca, struct tls_pair *ret, struct tw_error *error);

/* What others may hold it to: an object for --json, or some lines. */
json_t *tls_json_of(const char *path, const X509 *cert);
void tls_print_of(const char *path, const X509 *cert);
/* "sha256:..." */
const char *tls_pin_of(const X509 *cert, char out[CERT_PIN_TEXT]);

/* tls_init.c: whole verbs below "tls". */
int tls_verb_init(struct cli *cli, int argc, char **argv);
int tls_verb_client(struct cli *cli, int argc, char **argv);

#endif
