/* SPDX-License-Identifier: Apache-2.0 */
#include "certs/certs.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"

enum { FILE_MAX = 256 * 1024, CHAIN_MAX = 100 };

const char *certs_reason(void)
{
    unsigned long code = ERR_peek_last_error();
    const char *text = code ? ERR_reason_error_string(code) : NULL;
    if (code && ERR_SYSTEM_ERROR(code))
        text = strerror((int)ERR_GET_REASON(code));
    ERR_clear_error();
    return text ? text : "out of memory";
}

/* --- files --- */

/* Through the descriptor that is then read, so that nobody swaps the file in between. */
static int check_secret(const char *path, const struct stat *st, struct tw_error *error)
{
    if (st->st_mode & (S_IRWXG | S_IRWXO))
        return error_set(error, TW_PERMISSION_DENIED,
            "others than its owner may use the key file %s (mode %03o): chmod 600 it, and make a new key if it was so "
            "for long",
            path, (unsigned)(st->st_mode & 0777));
    if (st->st_uid != geteuid() && st->st_uid != 0)
        return error_set(error, TW_PERMISSION_DENIED,
            "the key file %s belongs to the user with the id %u, and neither to root nor to who reads it (%u)", path,
            (unsigned)st->st_uid, (unsigned)geteuid());
    return 0;
}

/* The bytes of a file of PEM, *ret from OPENSSL_malloc(). */
static int read_pem(const char *path, bool secret, char **ret, size_t *ret_len, struct tw_error *error)
{
    const char *what = secret ? "key" : "certificate";
    struct stat st;
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_set_errno(error, errno, "cannot read the %s file %s", what, path);
    if (!S_ISREG(st.st_mode) || st.st_size > FILE_MAX)
        return error_set(error, TW_INVALID_ARGUMENT, "the %s file %s is %s", what, path,
            S_ISREG(st.st_mode) ? "longer than 256 KiB" : "not a file");
    if (secret && check_secret(path, &st, error) < 0)
        return -1;
    size_t size = (size_t)st.st_size;
    char *data = OPENSSL_malloc(size + 1);
    if (!data)
        return error_oom(error);
    ssize_t n = fd_read_all(fd, data, size);
    if (n < 0) {
        OPENSSL_clear_free(data, size + 1);
        return error_set_errno(error, (int)n, "cannot read the %s file %s", what, path);
    }
    *ret = data;
    *ret_len = (size_t)n;
    return 0;
}

/* A new reference to each certificate of the text; NULL with an empty queue of errors: no memory. */
static STACK_OF(X509) * parse_chain(const char *data, size_t len)
{
    STACK_OF(X509) *chain = sk_X509_new_null();
    BIO *bio = BIO_new_mem_buf(data, (int)len);
    X509 *cert = NULL;
    ERR_clear_error();
    while (chain && bio && sk_X509_num(chain) < CHAIN_MAX && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
        if (sk_X509_push(chain, cert) <= 0)
            X509_free(cert);
    }
    BIO_free(bio);
    return chain;
}

int certs_read_chain(const char *path, STACK_OF(X509) * *ret, struct tw_error *error)
{
    char *data = NULL;
    size_t len = 0;
    if (read_pem(path, false, &data, &len, error) < 0)
        return -1;
    CLEANUP_CHAIN STACK_OF(X509) *chain = parse_chain(data, len);
    OPENSSL_free(data);
    if (!chain)
        return error_oom(error);
    unsigned long last = ERR_peek_last_error();
    bool at_end = ERR_GET_LIB(last) == ERR_LIB_PEM && ERR_GET_REASON(last) == PEM_R_NO_START_LINE;
    if (sk_X509_num(chain) == 0 && (at_end || !last))
        return error_set(error, TW_INVALID_ARGUMENT,
            "there is no certificate in %s: it has to be PEM (-----BEGIN CERTIFICATE-----)", path);
    if (last && !at_end)
        return error_set(error, TW_INVALID_ARGUMENT, "certificate %d of %s cannot be read: %s", sk_X509_num(chain) + 1,
            path, certs_reason());
    ERR_clear_error();
    *ret = STEAL(chain);
    return 0;
}

/* There is nobody to ask; without this OpenSSL would, on the terminal. */
static int on_passphrase(char *out UNUSED, int size UNUSED, int writing UNUSED, void *ctx)
{
    *(bool *)ctx = true;
    return -1;
}

int certs_read_key(const char *path, EVP_PKEY **ret, struct tw_error *error)
{
    char *data = NULL;
    size_t len = 0;
    bool asked = false;
    if (read_pem(path, true, &data, &len, error) < 0)
        return -1;
    ERR_clear_error();
    BIO *bio = BIO_new_mem_buf(data, (int)len);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, on_passphrase, &asked) : NULL;
    BIO_free(bio);
    OPENSSL_clear_free(data, len + 1);
    if (!key)
        error_set(error, TW_INVALID_ARGUMENT,
            asked ? "the key in %s has a passphrase, which nobody can type here%s%s"
                  : "there is no private key in %s%s%s",
            path, asked ? "" : ": ", asked ? "" : certs_reason());
    ERR_clear_error();
    *ret = key;
    return key ? 0 : -1;
}

/* --- pins --- */

int cert_pin(const X509 *cert, uint8_t out[CERT_PIN_LEN])
{
    unsigned char *der = NULL;
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);
    int r = len > 0 && EVP_Digest(der, (size_t)len, out, NULL, EVP_sha256(), NULL) == 1 ? 0 : -ENOMEM;
    OPENSSL_free(der);
    return r;
}

const char *cert_pin_text(const uint8_t pin[CERT_PIN_LEN], char out[CERT_PIN_TEXT])
{
    int n = snprintf(out, CERT_PIN_TEXT, "sha256:");
    text_hex(pin, CERT_PIN_LEN, out + n);
    return out;
}

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c | 0x20) : NULL;
    return at && (c <= '9' || c >= 'A') ? (int)(at - digits) : -1;
}

int cert_pin_parse(const char *text, uint8_t out[CERT_PIN_LEN])
{
    if (strncasecmp(text, "sha256:", 7) != 0)
        return -EINVAL;
    text += 7;
    for (size_t i = 0; i < CERT_PIN_LEN; i++) {
        int high = hex_digit(text[0]), low = high < 0 ? -1 : hex_digit(text[1]);
        if (low < 0)
            return -EINVAL;
        out[i] = (uint8_t)(high << 4 | low);
        text += 2;
        if (*text == ':' && i + 1 < CERT_PIN_LEN)
            text++;
    }
    return *text ? -EINVAL : 0;
}

/* --- names --- */

static bool take_name(const void *data, int len, char out[CERT_NAME_MAX + 1])
{
    if (len < 1 || len > CERT_NAME_MAX || !text_is_utf8(data, (size_t)len) || text_has_control(data, (size_t)len))
        return false;
    memcpy(out, data, (size_t)len);
    out[len] = '\0';
    return true;
}

static int first_other_name(const X509 *cert, char out[CERT_NAME_MAX + 1])
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    int r = -EINVAL;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        int type = 0;
        const ASN1_STRING *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);
        if (type != GEN_DNS && type != GEN_EMAIL && type != GEN_URI)
            continue;
        r = take_name(ASN1_STRING_get0_data(value), ASN1_STRING_length(value), out) ? 0 : -EINVAL;
        break;
    }
    GENERAL_NAMES_free(names);
    return r;
}

int cert_identity(const X509 *cert, char out[CERT_NAME_MAX + 1])
{
    const X509_NAME *subject = X509_get_subject_name(cert);
    int at = X509_NAME_get_index_by_NID((X509_NAME *)(uintptr_t)subject, NID_commonName, -1);
    if (at < 0)
        return first_other_name(cert, out);
    if (X509_NAME_get_index_by_NID((X509_NAME *)(uintptr_t)subject, NID_commonName, at) >= 0)
        return -EINVAL;
    unsigned char *text = NULL;
    int len = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    bool good = take_name(text, len, out);
    OPENSSL_free(text);
    ERR_clear_error();
    return good ? 0 : -EINVAL;
}

static bool host_of(const GENERAL_NAME *name, char out[CERT_NAME_MAX + 1])
{
    int type = 0;
    const ASN1_STRING *value = GENERAL_NAME_get0_value(name, &type);
    const unsigned char *data = value && (type == GEN_DNS || type == GEN_IPADD) ? ASN1_STRING_get0_data(value) : NULL;
    int len = data ? ASN1_STRING_length(value) : 0;
    if (type == GEN_DNS)
        return take_name(data, len, out);
    return (len == 4 || len == 16) && inet_ntop(len == 4 ? AF_INET : AF_INET6, data, out, CERT_NAME_MAX);
}

const char *cert_hosts(const X509 *cert, char *out, size_t size)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    size_t len = 0;
    *out = '\0';
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        char host[CERT_NAME_MAX + 1];
        if (!host_of(sk_GENERAL_NAME_value(names, i), host) || len + strlen(host) + 3 > size)
            continue;
        len += (size_t)snprintf(out + len, size - len, "%s%s", len ? ", " : "", host);
    }
    GENERAL_NAMES_free(names);
    return out;
}

const char *cert_time_text(const ASN1_TIME *at, char out[CERT_TIME_TEXT])
{
    struct tm tm;
    if (!at || ASN1_TIME_to_tm(at, &tm) != 1 || !strftime(out, CERT_TIME_TEXT, "%Y-%m-%d %H:%M UTC", &tm))
        snprintf(out, CERT_TIME_TEXT, "an unknown time");
    return out;
}

bool cert_has_expired(const X509 *cert)
{
    return X509_cmp_current_time(X509_get0_notAfter(cert)) < 0;
}
