/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes from the wire into one side of TLS: an even first byte makes it the server's, which wants a client's certificate, an odd one the
 * client's. Then pieces: two bytes of length (at most what is left), and the bytes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/util.h"
#include "certs/make.h"
#include "rpc/tls_stream.h"

#define CHECK(condition)  \
    do {                  \
        if (!(condition)) \
            abort();      \
    } while (0)

enum { YEAR_S = 365 * 86400, OUT_MAX = 256 * 1024, OPENED = 64 * 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
    struct rpc_tls *server, *client;
    uint8_t opened[OPENED];
} world;

static void make_world(void)
{
    static const char *const hosts[] = {"127.0.0.1"};
    const struct cert_request ca = {.use = CERT_CA, .name = "ca", .end_s = YEAR_S};
    const struct cert_request node = {.use = CERT_NODE, .name = "node", .hosts = hosts, .n_hosts = 1, .end_s = YEAR_S};
    char folder[] = "/tmp/fuzz-tls-XXXXXX", cert_path[64], key_path[64], ca_path[64];
    EVP_PKEY *ca_key = NULL, *key = NULL;
    X509 *ca_cert = NULL, *cert = NULL;
    struct tw_error error;
    log_set_level(LOG_ERROR);
    CHECK(mkdtemp(folder));
    snprintf(ca_path, sizeof ca_path, "%s/ca.crt", folder);
    snprintf(cert_path, sizeof cert_path, "%s/node.crt", folder);
    snprintf(key_path, sizeof key_path, "%s/node.key", folder);
    CHECK(cert_make_key(&ca_key, &error) == 0 && cert_make_key(&key, &error) == 0);
    CHECK(cert_make(&ca, ca_key, NULL, NULL, &ca_cert, &error) == 0);
    CHECK(cert_make(&node, key, ca_cert, ca_key, &cert, &error) == 0);
    CHECK(cert_write(ca_path, ca_cert, &error) == 0 && cert_write(cert_path, cert, &error) == 0);
    CHECK(cert_write_key(key_path, key, &error) == 0);
    const struct rpc_tls_options options = {
        .cert = cert_path, .key = key_path, .client_ca = ca_path, .client_auth = RPC_TLS_AUTH_OPTIONAL};
    const struct rpc_client_tls client = {.ca = ca_path};
    CHECK(rpc_tls_new(&options, &world.server, &error) == 0);
    CHECK(rpc_tls_new_client(&client, &world.client, &error) == 0);
    CHECK(unlink(ca_path) == 0 && unlink(cert_path) == 0 && unlink(key_path) == 0 && rmdir(folder) == 0);
    X509_free(ca_cert);
    X509_free(cert);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(key);
}

static void play(struct tls_stream *s, struct buf *out, struct cursor c)
{
    uint8_t high, low;
    const uint8_t *bytes;
    while (tls_stream_state(s) <= TLS_OPEN && cursor_u8(&c, &high) && cursor_u8(&c, &low)) {
        size_t len = MIN((size_t)high << 8 | low, c.left);
        CHECK(cursor_bytes(&c, len, &bytes));
        tls_stream_feed(s, bytes, len);
        while (tls_stream_read(s, world.opened, sizeof world.opened) > 0)
            ;
        tls_stream_feed(s, NULL, 0);
        CHECK(!out->error);
        buf_reset(out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cursor c = cursor_of(data, size);
    CLEANUP_BUF struct buf out = BUF_INIT(OUT_MAX);
    uint8_t role;
    if (!world.server)
        make_world();
    if (!cursor_u8(&c, &role))
        return 0;
    struct tls_stream *s = tls_stream_new(role & 1 ? world.client : world.server, &out, "127.0.0.1", "127.0.0.1:1");
    CHECK(s);
    tls_stream_begin(s);
    play(s, &out, c);
    CHECK(!tls_stream_identity(s)); /* nobody has the CA's key */
    CHECK((tls_stream_state(s) == TLS_FAILED) == (tls_stream_failure(s) != NULL));
    tls_stream_close(s);
    tls_stream_free(s);
    return 0;
}
