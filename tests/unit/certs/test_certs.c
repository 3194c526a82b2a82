/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/x509v3.h>

#include "../tree.h"
#include "certs/make.h"

enum { DAY_S = 86400 };

struct world {
    char root[64];
    EVP_PKEY *ca_key, *key;
    X509 *ca;
    struct tw_error error;
};

static const char *path_of(const struct world *w, const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", w->root, name);
    return path;
}

static X509 *make(struct world *w, const struct cert_request *request)
{
    X509 *cert = NULL;
    if (cert_make(request, w->key, w->ca, w->ca_key, &cert, &w->error) < 0)
        return NULL;
    return cert;
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    const struct cert_request ca = {.use = CERT_CA, .name = "CA", .begin_s = -DAY_S, .end_s = 10 * DAY_S};
    assert_non_null(w);
    tree_make(w->root);
    assert_int_equal(cert_make_key(&w->ca_key, &w->error), 0);
    assert_int_equal(cert_make_key(&w->key, &w->error), 0);
    assert_int_equal(cert_make(&ca, w->ca_key, NULL, NULL, &w->ca, &w->error), 0);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    X509_free(w->ca);
    EVP_PKEY_free(w->ca_key);
    EVP_PKEY_free(w->key);
    tree_remove(w->root);
    free(w);
    return 0;
}

static void pins_are_read_as_they_are_written(void **state)
{
    struct world *w = *state;
    uint8_t pin[CERT_PIN_LEN], again[CERT_PIN_LEN];
    char text[CERT_PIN_TEXT], other[2 * CERT_PIN_TEXT] = "SHA256:";
    assert_int_equal(cert_pin(w->ca, pin), 0);
    assert_int_equal(cert_pin_parse(cert_pin_text(pin, text), again), 0);
    assert_memory_equal(pin, again, sizeof pin);
    for (size_t i = 0; i < CERT_PIN_LEN; i++)
        snprintf(other + strlen(other), 4, "%s%02X", i ? ":" : "", pin[i]);
    memset(again, 0, sizeof again);
    assert_int_equal(cert_pin_parse(other, again), 0); /* as openssl writes fingerprints */
    assert_memory_equal(pin, again, sizeof pin);
    static const char *const bad[] = {"", "sha256:", "sha256:00", "md5:00", "sha256:0g", "sha256::"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(cert_pin_parse(bad[i], again), -EINVAL);
    char longer[CERT_PIN_TEXT + 1];
    snprintf(longer, sizeof longer, "%s0", text);
    assert_int_equal(cert_pin_parse(longer, again), -EINVAL);
    text[CERT_PIN_TEXT - 2] = '\0';
    assert_int_equal(cert_pin_parse(text, again), -EINVAL);
}

static void hosts_are_names_or_addresses(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "node7.example", "*.example", "10.0.0.7", "::1", "x--y.z1"};
    static const char *const bad[] = {"", ".", "*", "*.", "*.*.a", "a*.b", "-a", "a-", "a..b", "1.2.3", "256.1.1.1",
        "a b", "a:1", "[::1]", "a/b", "a\nb", "\xc3\xb6.example"};
    char longest[130];
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(cert_is_host(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(cert_is_host(bad[i]));
    memset(longest, 'a', sizeof longest);
    longest[129] = '\0';
    assert_false(cert_is_host(longest));
    longest[128] = '\0';
    assert_true(cert_is_host(longest));
}

static void a_certificate_says_what_was_asked_for(void **state)
{
    struct world *w = *state;
    char name[CERT_NAME_MAX + 1], hosts[100], cut[16];
    const char *list[] = {"node7.example", "10.0.0.7", "::1"};
    const struct cert_request node = {.use = CERT_NODE,
        .name = "n\xc3\xb6"
                "de",
        .hosts = list,
        .n_hosts = 3,
        .begin_s = -60,
        .end_s = DAY_S};
    X509 *cert = make(w, &node);
    assert_non_null(cert);
    assert_int_equal(cert_identity(cert, name), 0);
    assert_string_equal(name,
        "n\xc3\xb6"
        "de");
    assert_string_equal(cert_hosts(cert, hosts, sizeof hosts), "node7.example, 10.0.0.7, ::1");
    assert_string_equal(cert_hosts(cert, cut, sizeof cut), "node7.example");
    assert_int_equal(X509_verify(cert, w->ca_key), 1);
    assert_int_equal(X509_check_purpose(cert, X509_PURPOSE_SSL_SERVER, 0), 1);
    assert_int_equal(X509_check_purpose(cert, X509_PURPOSE_SSL_CLIENT, 0), 0);
    assert_int_equal(X509_check_ca(cert), 0);
    assert_int_equal(X509_check_ca(w->ca), 1);
    assert_false(cert_has_expired(cert));
    X509_free(cert);
}

static void none_is_good_for_longer_than_its_ca(void **state)
{
    struct world *w = *state;
    const struct cert_request client = {.use = CERT_CLIENT, .name = "alice", .begin_s = -60, .end_s = 1000 * DAY_S};
    X509 *cert = make(w, &client);
    assert_non_null(cert);
    assert_int_equal(ASN1_TIME_compare(X509_get0_notAfter(cert), X509_get0_notAfter(w->ca)), 0);
    X509_free(cert);
    const struct cert_request old = {.use = CERT_CLIENT, .name = "alice", .begin_s = -2 * DAY_S, .end_s = -DAY_S};
    cert = make(w, &old);
    assert_true(cert_has_expired(cert));
    X509_free(cert);
}

static void names_that_cannot_be_shown_are_refused(void **state)
{
    struct world *w = *state;
    char longest[66];
    memset(longest, 'a', sizeof longest);
    longest[65] = '\0';
    const char *const bad[] = {"", "a\nb", "\xff", "\xe2\x80\xae", longest};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        const struct cert_request request = {.use = CERT_CLIENT, .name = bad[i], .end_s = DAY_S};
        assert_null(make(w, &request));
        assert_int_equal(w->error.code, TW_INVALID_ARGUMENT);
    }
}

/* A subject with these common names, and another name beside them. */
static X509 *with_names(const char *const *names, size_t n, int type, const char *other, size_t other_len)
{
    X509 *cert = X509_new();
    for (size_t i = 0; i < n; i++)
        X509_NAME_add_entry_by_NID(
            X509_get_subject_name(cert), NID_commonName, MBSTRING_UTF8, (const unsigned char *)names[i], -1, -1, 0);
    if (!other)
        return cert;
    GENERAL_NAMES *list = sk_GENERAL_NAME_new_null();
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_STRING *value = ASN1_STRING_type_new(V_ASN1_IA5STRING);
    ASN1_STRING_set(value, other, (int)other_len);
    GENERAL_NAME_set0_value(name, type, value);
    sk_GENERAL_NAME_push(list, name);
    X509_add1_ext_i2d(cert, NID_subject_alt_name, list, 0, X509V3_ADD_APPEND);
    GENERAL_NAMES_free(list);
    return cert;
}

static void one_name_makes_an_identity(void **state)
{
    (void)state;
    static const char *const one[] = {"alice"}, *const two[] = {"alice", "root"};
    static const struct {
        const char *const *names;
        size_t n;
        int type;
        const char *other;
        size_t other_len;
        const char *expected; /* NULL: nobody */
    } cases[] = {
        {one, 1, 0, NULL, 0, "alice"},
        {one, 1, GEN_EMAIL, "mallory@b.example", 17, "alice"},
        {two, 2, 0, NULL, 0, NULL},
        {NULL, 0, 0, NULL, 0, NULL},
        {NULL, 0, GEN_EMAIL, "a@b.example", 11, "a@b.example"},
        {NULL, 0, GEN_URI, "spiffe://house/alice", 20, "spiffe://house/alice"},
        {NULL, 0, GEN_DNS, "alice\0.example", 14, NULL}, /* not "alice" */
        {NULL, 0, GEN_DNS, "a\nb", 3, NULL},
        {NULL, 0, GEN_DNS, "", 0, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char name[CERT_NAME_MAX + 1];
        X509 *cert = with_names(cases[i].names, cases[i].n, cases[i].type, cases[i].other, cases[i].other_len);
        int r = cert_identity(cert, name);
        if (cases[i].expected)
            assert_string_equal(name, cases[i].expected);
        assert_int_equal(r, cases[i].expected ? 0 : -EINVAL);
        X509_free(cert);
    }
}

static void keys_are_for_their_owner_alone(void **state)
{
    struct world *w = *state;
    struct stat st;
    EVP_PKEY *key = NULL;
    (void)umask(0);
    assert_int_equal(cert_write_key(path_of(w, "a.key"), w->key, &w->error), 0);
    assert_int_equal(stat(path_of(w, "a.key"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(certs_read_key(path_of(w, "a.key"), &key, &w->error), 0);
    assert_int_equal(EVP_PKEY_eq(key, w->key), 1);
    EVP_PKEY_free(key);
    static const mode_t bad[] = {0640, 0604, 0660, 0610};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(chmod(path_of(w, "a.key"), bad[i]), 0);
        assert_int_equal(certs_read_key(path_of(w, "a.key"), &key, &w->error), -1);
        assert_int_equal(w->error.code, TW_PERMISSION_DENIED);
    }
    assert_int_equal(chmod(path_of(w, "a.key"), 0400), 0);
    if (geteuid() != 0)
        return;
    assert_int_equal(chown(path_of(w, "a.key"), 12345, 12345), 0);
    assert_int_equal(certs_read_key(path_of(w, "a.key"), &key, &w->error), -1);
    assert_non_null(strstr(w->error.message, "belongs to the user with the id 12345"));
}

static void chains_are_read_whole_or_not(void **state)
{
    struct world *w = *state;
    STACK_OF(X509) *chain = NULL;
    assert_int_equal(cert_write(path_of(w, "one.crt"), w->ca, &w->error), 0);
    char text[8192] = "words in front\n";
    FILE *f = fopen(path_of(w, "one.crt"), "re");
    size_t n = fread(text + 15, 1, 3000, f);
    fclose(f);
    memcpy(text + 15 + n, text + 15, n);
    tree_file(w->root, "/two.crt", text);
    assert_int_equal(certs_read_chain(path_of(w, "two.crt"), &chain, &w->error), 0);
    assert_int_equal(sk_X509_num(chain), 2);
    cleanup_chain(&chain);
    memcpy(text + 15 + n + 60, "!!!!", 4); /* in the middle of the second */
    tree_file(w->root, "/two.crt", text);
    assert_int_equal(certs_read_chain(path_of(w, "two.crt"), &chain, &w->error), -1);
    assert_non_null(strstr(w->error.message, "certificate 2 of"));
    assert_int_equal(certs_read_chain(path_of(w, "none.crt"), &chain, &w->error), -1);
    assert_int_equal(w->error.code, TW_NOT_FOUND);
    assert_int_equal(mkfifo(path_of(w, "pipe.crt"), 0600), 0);
    assert_int_equal(certs_read_chain(path_of(w, "pipe.crt"), &chain, &w->error), -1); /* and does not wait */
    assert_non_null(strstr(w->error.message, "is not a file"));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(pins_are_read_as_they_are_written),
        TEST(hosts_are_names_or_addresses),
        TEST(a_certificate_says_what_was_asked_for),
        TEST(none_is_good_for_longer_than_its_ca),
        TEST(names_that_cannot_be_shown_are_refused),
        TEST(one_name_makes_an_identity),
        TEST(keys_are_for_their_owner_alone),
        TEST(chains_are_read_whole_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
