/* SPDX-License-Identifier: Apache-2.0 */
#include "certs/make.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"

enum { SERIAL_BITS = 127, COMMON_NAME_MAX = 64 };

static int failed(struct tw_error *error, const char *what)
{
    return error_set(error, TW_INTERNAL, "cannot make %s: %s", what, certs_reason());
}

bool cert_is_host(const char *text)
{
    struct in6_addr raw;
    if (inet_pton(AF_INET, text, &raw) == 1 || inet_pton(AF_INET6, text, &raw) == 1)
        return true;
    bool letter = false;
    size_t len = strlen(text), wild = text[0] == '*' && text[1] == '.' ? 2 : 0;
    const char *name = text + wild;
    if (len <= wild || len > CERT_NAME_MAX)
        return false;
    len -= wild;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)name[i];
        bool edge = i == 0 || i == len - 1 || name[i - 1] == '.' || name[i + 1] == '.';
        if (!isalnum(c) && (edge || (c != '-' && c != '.')))
            return false;
        letter = letter || isalpha(c);
    }
    return letter; /* digits and dots alone are an address, and then it is none */
}

int cert_make_key(EVP_PKEY **ret, struct tw_error *error)
{
    ERR_clear_error();
    *ret = EVP_EC_gen("P-256");
    return *ret ? 0 : failed(error, "a key");
}

/* --- what is in a certificate --- */

static bool add_host(GENERAL_NAMES *names, const char *host)
{
    uint8_t raw[16];
    size_t len = inet_pton(AF_INET, host, raw) == 1 ? 4 : inet_pton(AF_INET6, host, raw) == 1 ? 16 : 0;
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_STRING *value = ASN1_STRING_type_new(len ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);
    if (!name || !value ||
        ASN1_STRING_set(value, len ? (const void *)raw : host, (int)(len ? len : strlen(host))) != 1) {
        GENERAL_NAME_free(name);
        ASN1_STRING_free(value);
        return false;
    }
    GENERAL_NAME_set0_value(name, len ? GEN_IPADD : GEN_DNS, value);
    if (sk_GENERAL_NAME_push(names, name) > 0)
        return true;
    GENERAL_NAME_free(name);
    return false;
}

static bool add_hosts(X509 *cert, const struct cert_request *request)
{
    if (!request->n_hosts)
        return true;
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    bool good = names;
    for (size_t i = 0; good && i < request->n_hosts; i++)
        good = add_host(names, request->hosts[i]);
    good = good && X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, X509V3_ADD_APPEND) == 1;
    GENERAL_NAMES_free(names);
    return good;
}

/* Constant texts only: the language of these has commas and colons. */
static bool add_text(X509 *cert, X509 *issuer, int nid, const char *text)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, text);
    bool good = extension && X509_add_ext(cert, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return good;
}

static bool add_extensions(X509 *cert, X509 *issuer, const struct cert_request *request)
{
    bool is_ca = request->use == CERT_CA;
    return add_text(cert, issuer, NID_basic_constraints, is_ca ? "critical,CA:TRUE,pathlen:0" : "critical,CA:FALSE") &&
        add_text(cert, issuer, NID_key_usage, is_ca ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature") &&
        add_text(cert, issuer, NID_subject_key_identifier, "hash") &&
        (is_ca || add_text(cert, issuer, NID_authority_key_identifier, "keyid:always")) &&
        (is_ca || add_text(cert, issuer, NID_ext_key_usage, request->use == CERT_NODE ? "serverAuth" : "clientAuth")) &&
        add_hosts(cert, request);
}

static bool set_serial(X509 *cert)
{
    BIGNUM *number = BN_new();
    bool good = number && BN_rand(number, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
        BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert));
    BN_free(number);
    return good;
}

static bool set_validity(X509 *cert, X509 *issuer, const struct cert_request *request)
{
    if (!X509_gmtime_adj(X509_getm_notBefore(cert), (long)request->begin_s) ||
        !X509_gmtime_adj(X509_getm_notAfter(cert), (long)request->end_s))
        return false;
    const ASN1_TIME *last = issuer ? X509_get0_notAfter(issuer) : NULL;
    return !last || ASN1_TIME_compare(X509_get0_notAfter(cert), last) <= 0 || X509_set1_notAfter(cert, last) == 1;
}

int cert_make(const struct cert_request *request, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key, X509 **ret,
    struct tw_error *error)
{
    size_t len = strlen(request->name);
    if (len < 1 || len > COMMON_NAME_MAX || !text_is_utf8(request->name, len) || text_has_control(request->name, len))
        return error_set(error, TW_INVALID_ARGUMENT,
            "\"%.80s\" cannot be the name in a certificate: that has 1 to 64 bytes of UTF-8 without control characters",
            request->name);
    ERR_clear_error();
    X509 *cert = X509_new();
    X509_NAME *subject = cert ? X509_get_subject_name(cert) : NULL;
    if (subject && X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) &&
        set_validity(cert, issuer, request) && X509_set_pubkey(cert, key) == 1 &&
        X509_NAME_add_entry_by_NID(
            subject, NID_commonName, MBSTRING_UTF8, (const unsigned char *)request->name, (int)len, -1, 0) == 1 &&
        X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer) : subject) == 1 &&
        add_extensions(cert, issuer ? issuer : cert, request) &&
        X509_sign(cert, issuer_key ? issuer_key : key, EVP_sha256()) > 0) {
        *ret = cert;
        return 0;
    }
    X509_free(cert);
    return failed(error, "a certificate");
}

/* --- files --- */

static int write_bio(const char *path, BIO *bio, mode_t mode, struct tw_error *error)
{
    char *data = NULL;
    long len = BIO_get_mem_data(bio, &data);
    int r = file_write_atomic(path, data, (size_t)len, mode);
    return r < 0 ? error_set_errno(error, r, "cannot write %s", path) : 0;
}

int cert_write(const char *path, X509 *cert, struct tw_error *error)
{
    BIO *bio = BIO_new(BIO_s_mem());
    int r = bio && PEM_write_bio_X509(bio, cert) == 1 ? write_bio(path, bio, 0644, error) : failed(error, path);
    BIO_free(bio);
    return r;
}

int cert_write_key(const char *path, EVP_PKEY *key, struct tw_error *error)
{
    BIO *bio = BIO_new(BIO_s_secmem()); /* wiped when it is freed, in any case */
    int r = bio && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1
        ? write_bio(path, bio, 0600, error)
        : failed(error, path);
    BIO_free(bio);
    return r;
}
