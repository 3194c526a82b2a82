/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/tls_dir.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <openssl/x509v3.h>

#include "base/text.h"

#define SYSTEM_DIR "/etc/hivemind/tls"

/* --- the folder --- */

static char *usual_dir(void)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    char *text = NULL;
    int n = -1;
    if (geteuid() == 0)
        return strdup(SYSTEM_DIR);
    if (config && *config == '/')
        n = asprintf(&text, "%s/hivemind/tls", config);
    else if (home && *home == '/')
        n = asprintf(&text, "%s/.config/hivemind/tls", home);
    return n < 0 ? NULL : text;
}

/* Root's are for everybody to pass through, as a node is another user; what is secret is so by its own mode. */
static int make_folders(const char *path)
{
    char part[PATH_MAX];
    mode_t mode = geteuid() == 0 ? 0755 : 0700;
    size_t len = strlen(path);
    if (len >= sizeof part)
        return -ENAMETOOLONG;
    memcpy(part, path, len + 1);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, mode) < 0 && errno != EEXIST)
            return -errno;
        *slash = '/';
    }
    return mkdir(part, mode) < 0 && errno != EEXIST ? -errno : 0;
}

/* It is printed as a line of a configuration and of a shell. */
static bool can_be_quoted(const char *path)
{
    size_t len = strlen(path);
    return text_is_utf8(path, len) && !text_has_control(path, len) && !strchr(path, '\'');
}

int tls_dir_find(struct cli *cli, const char *given, bool make, struct tls_dir *ret)
{
    CLEANUP_FREE char *usual = given ? NULL : usual_dir();
    const char *path = given ? given : usual;
    if (!path) {
        cli_error(cli, TW_INVALID_ARGUMENT, "there is no $HOME to keep certificates in; name a folder with --dir");
        return EXIT_USAGE;
    }
    int r = make ? make_folders(path) : 0;
    if (r == 0 && !realpath(path, ret->path))
        r = -errno;
    if (r < 0) {
        cli_error(cli, r == -ENOENT ? TW_NOT_FOUND : TW_INTERNAL, "cannot use the folder %s: %s%s", path, strerror(-r),
            r == -ENOENT ? "; \"hivemind tls init\" makes one" : "");
        return r == -ENOENT ? EXIT_NOT_FOUND : EXIT_TROUBLE;
    }
    if (!can_be_quoted(ret->path)) {
        cli_error(cli, TW_INVALID_ARGUMENT, "the folder %s has a quotation mark or a control character in its name",
            ret->path);
        return EXIT_USAGE;
    }
    return 0;
}

struct tls_path tls_path_of(const struct tls_dir *dir, const char *name, const char *suffix)
{
    struct tls_path path;
    int n = snprintf(path.text, sizeof path.text, "%s/%s%s", dir->path, name, suffix);
    if (n < 0 || (size_t)n >= sizeof path.text)
        path.text[0] = '\0';
    return path;
}

/* --- pairs --- */

void tls_pair_done(struct tls_pair *pair)
{
    X509_free(pair->cert);
    EVP_PKEY_free(pair->key);
    *pair = (struct tls_pair){0};
}

int tls_pair_read(const struct tls_dir *dir, const char *name, struct tls_pair *ret, struct tw_error *error)
{
    CLEANUP_CHAIN STACK_OF(X509) *chain = NULL;
    if (certs_read_chain(tls_path_of(dir, name, ".crt").text, &chain, error) < 0 ||
        certs_read_key(tls_path_of(dir, name, ".key").text, &ret->key, error) < 0)
        return -1;
    ret->cert = sk_X509_shift(chain);
    return 0;
}

int tls_pair_make(const struct tls_dir *dir, const char *name, const struct cert_request *request,
    const struct tls_pair *ca, struct tls_pair *ret, struct tw_error *error)
{
    if (cert_make_key(&ret->key, error) < 0 ||
        cert_make(request, ret->key, ca ? ca->cert : NULL, ca ? ca->key : NULL, &ret->cert, error) < 0 ||
        cert_write_key(tls_path_of(dir, name, ".key").text, ret->key, error) < 0 ||
        cert_write(tls_path_of(dir, name, ".crt").text, ret->cert, error) < 0)
        return -1;
    return 0;
}

/* --- showing --- */

const char *tls_pin_of(const X509 *cert, char out[CERT_PIN_TEXT])
{
    uint8_t pin[CERT_PIN_LEN];
    if (cert_pin(cert, pin) < 0)
        snprintf(out, CERT_PIN_TEXT, "?");
    else
        cert_pin_text(pin, out);
    return out;
}

enum { FINGERPRINT_TEXT = 7 + 2 * EVP_MAX_MD_SIZE + 1, HOSTS_TEXT = 1024 };

struct described {
    char name[CERT_NAME_MAX + 1], hosts[HOSTS_TEXT], until[CERT_TIME_TEXT], pin[CERT_PIN_TEXT];
    char fingerprint[FINGERPRINT_TEXT];
    const char *use;
    int64_t until_us; /* since the epoch; 0: it cannot be told */
    bool expired;
};

static void describe(const X509 *cert, struct described *d)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    uint32_t use = X509_get_extended_key_usage((X509 *)(uintptr_t)cert);
    *d = (struct described){.expired = cert_has_expired(cert), .fingerprint = "sha256:"};
    if (cert_identity(cert, d->name) < 0)
        snprintf(d->name, sizeof d->name, "?");
    cert_hosts(cert, d->hosts, sizeof d->hosts);
    cert_time_text(X509_get0_notAfter(cert), d->until);
    tls_pin_of(cert, d->pin);
    if (X509_digest(cert, EVP_sha256(), digest, &len) == 1)
        text_hex(digest, len, d->fingerprint + strlen(d->fingerprint));
    d->use = X509_get_extension_flags((X509 *)(uintptr_t)cert) & EXFLAG_CA ? "ca"
        : use == XKU_SSL_SERVER                                            ? "node"
        : use == XKU_SSL_CLIENT                                            ? "client"
                                                                           : "other";
    struct tm tm;
    if (ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm) == 1)
        d->until_us = (int64_t)timegm(&tm) * 1000000;
}

json_t *tls_json_of(const char *path, const X509 *cert)
{
    struct described d;
    describe(cert, &d);
    return json_pack("{s:o, s:o, s:s, s:o, s:I, s:b, s:s, s:s}", "file", json_text(path), "name", json_text(d.name),
        "use", d.use, "hosts", json_text(d.hosts), "not_after_us", (json_int_t)d.until_us, "expired", d.expired, "pin",
        d.pin, "fingerprint", d.fingerprint);
}

void tls_print_of(const char *path, const X509 *cert)
{
    struct described d;
    describe(cert, &d);
    output_text(stdout, path);
    printf("\n  use, name    %s, ", d.use);
    output_text(stdout, d.name);
    if (*d.hosts)
        printf("\n  for          %s", d.hosts);
    printf("\n  good until   %s%s\n", d.until, d.expired ? " (it has EXPIRED)" : "");
    if (strcmp(d.use, "ca") != 0 && strcmp(d.use, "client") != 0)
        printf("  pin          %s\n", d.pin);
    printf("  fingerprint  %s\n", d.fingerprint);
}
