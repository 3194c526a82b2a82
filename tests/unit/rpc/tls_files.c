/* SPDX-License-Identifier: Apache-2.0 */
#include "tls_files.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"

enum { DAY_S = 86400, PLACES = 8, FILE_MAX = 65536 };

const char *tls_file(const struct tls_files *f, const char *name)
{
    static char places[PLACES][TLS_PATH_MAX + 256];
    static unsigned next;
    char *place = places[next++ % PLACES];
    snprintf(place, sizeof places[0], "%s/%s", f->folder, name);
    return place;
}

static const char *with_suffix(const struct tls_files *f, const char *name, const char *suffix)
{
    char file[64];
    snprintf(file, sizeof file, "%s%s", name, suffix);
    return tls_file(f, file);
}

static X509 *make(const char *file, const struct tls_files *f, const struct cert_request *request, EVP_PKEY **ret_key,
    X509 *issuer, EVP_PKEY *issuer_key)
{
    struct tw_error error;
    X509 *cert = NULL;
    if (cert_make_key(ret_key, &error) < 0 || cert_make(request, *ret_key, issuer, issuer_key, &cert, &error) < 0 ||
        cert_write(with_suffix(f, file, ".crt"), cert, &error) < 0 ||
        cert_write_key(with_suffix(f, file, ".key"), *ret_key, &error) < 0)
        fail_msg("%s", error.message);
    return cert;
}

void tls_files_add(struct tls_files *f, const char *file, const struct cert_request *request, bool by_other_ca)
{
    EVP_PKEY *key = NULL;
    X509 *cert =
        make(file, f, request, &key, by_other_ca ? f->other_ca : f->ca, by_other_ca ? f->other_key : f->ca_key);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static void add(struct tls_files *f, const char *file, enum cert_use use, const char *name, const char *host,
    int64_t end_s, bool by_other_ca)
{
    const char *hosts[] = {host, "localhost", "::1"};
    const struct cert_request request = {.use = use,
        .name = name,
        .hosts = hosts,
        .n_hosts = use == CERT_NODE ? ARRAY_LEN(hosts) : 0,
        .begin_s = -10 * DAY_S,
        .end_s = end_s};
    tls_files_add(f, file, &request, by_other_ca);
}

void tls_files_init(struct tls_files *f)
{
    const struct cert_request ca = {.use = CERT_CA, .name = "test CA", .begin_s = -20 * DAY_S, .end_s = 100 * DAY_S};
    const char *hosts[] = {"127.0.0.1"};
    struct cert_request self = {
        .use = CERT_NODE, .name = "self", .hosts = hosts, .n_hosts = 1, .begin_s = -10 * DAY_S, .end_s = DAY_S};
    EVP_PKEY *key = NULL;
    *f = (struct tls_files){.folder = "/tmp/hivemind-tls-XXXXXX"};
    assert_non_null(mkdtemp(f->folder));
    f->ca = make("ca", f, &ca, &f->ca_key, NULL, NULL);
    f->other_ca = make("other", f, &ca, &f->other_key, NULL, NULL);
    add(f, "node", CERT_NODE, "node", "127.0.0.1", 10 * DAY_S, false);
    add(f, "node2", CERT_NODE, "node", "127.0.0.1", 10 * DAY_S, false);
    const char *elsewhere[] = {"elsewhere.example", "192.0.2.1"};
    const struct cert_request far = {
        .use = CERT_NODE, .name = "far", .hosts = elsewhere, .n_hosts = 2, .begin_s = -10 * DAY_S, .end_s = DAY_S};
    tls_files_add(f, "elsewhere", &far, false);
    add(f, "expired", CERT_NODE, "node", "127.0.0.1", -DAY_S, false);
    add(f, "client", CERT_CLIENT, "alice", NULL, 10 * DAY_S, false);
    add(f, "late", CERT_CLIENT, "alice", NULL, -DAY_S, false);
    add(f, "stranger", CERT_CLIENT, "alice", NULL, 10 * DAY_S, true);
    X509_free(make("self", f, &self, &key, NULL, NULL));
    EVP_PKEY_free(key);
}

void tls_files_done(struct tls_files *f)
{
    DIR *dir = opendir(f->folder);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] != '.')
            (void)unlink(tls_file(f, entry->d_name));
    }
    closedir(dir);
    assert_int_equal(rmdir(f->folder), 0);
    X509_free(f->ca);
    X509_free(f->other_ca);
    EVP_PKEY_free(f->ca_key);
    EVP_PKEY_free(f->other_key);
}

static void copy(const struct tls_files *f, const char *from, const char *to, const char *suffix, mode_t mode)
{
    char *data = NULL;
    size_t len = 0;
    assert_int_equal(file_read(with_suffix(f, from, suffix), FILE_MAX, &data, &len), 0);
    assert_int_equal(file_write_atomic(with_suffix(f, to, suffix), data, len, mode), 0);
    free(data);
}

void tls_files_copy(const struct tls_files *f, const char *from, const char *to)
{
    copy(f, from, to, ".crt", 0644);
    copy(f, from, to, ".key", 0600);
}

const char *tls_files_pin(const struct tls_files *f, const char *name, char out[CERT_PIN_TEXT])
{
    struct tw_error error;
    STACK_OF(X509) *chain = NULL;
    uint8_t pin[CERT_PIN_LEN];
    if (certs_read_chain(with_suffix(f, name, ".crt"), &chain, &error) < 0)
        fail_msg("%s", error.message);
    assert_int_equal(cert_pin(sk_X509_value(chain, 0), pin), 0);
    cleanup_chain(&chain);
    return cert_pin_text(pin, out);
}

struct rpc_tls *tls_files_server(
    const struct tls_files *f, const char *name, enum rpc_tls_auth auth, const char *client_ca)
{
    struct tw_error error;
    struct rpc_tls *tls = NULL;
    const struct rpc_tls_options options = {.cert = with_suffix(f, name, ".crt"),
        .key = with_suffix(f, name, ".key"),
        .client_ca = client_ca ? tls_file(f, client_ca) : NULL,
        .client_auth = auth};
    if (rpc_tls_new(&options, &tls, &error) < 0)
        fail_msg("%s", error.message);
    return tls;
}
