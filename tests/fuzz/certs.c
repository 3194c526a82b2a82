/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a certificate says, and what people write of one. An even first byte: the rest is a certificate as it comes over the wire, and
 * whatever is said of it has to be fit to be shown. An odd one: the rest is a pin and the name of a host.
 */
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

#include "base/text.h"
#include "base/util.h"
#include "certs/make.h"

#define CHECK(condition)  \
    do {                  \
        if (!(condition)) \
            abort();      \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_shown(const char *text, size_t max)
{
    size_t len = strlen(text);
    CHECK(len <= max && text_is_utf8(text, len) && !text_has_control(text, len));
}

static void look_at(const uint8_t *data, size_t size)
{
    char name[CERT_NAME_MAX + 1], hosts[100], when[CERT_TIME_TEXT];
    uint8_t pin[CERT_PIN_LEN];
    X509 *cert = d2i_X509(NULL, &data, (long)size);
    ERR_clear_error();
    if (!cert)
        return;
    if (cert_identity(cert, name) == 0)
        check_shown(name, CERT_NAME_MAX);
    check_shown(cert_hosts(cert, hosts, sizeof hosts), sizeof hosts - 1);
    check_shown(cert_time_text(X509_get0_notAfter(cert), when), sizeof when - 1);
    (void)cert_has_expired(cert);
    (void)cert_pin(cert, pin);
    X509_free(cert);
    ERR_clear_error();
}

static void read_text(const char *text)
{
    char again[CERT_PIN_TEXT];
    uint8_t pin[CERT_PIN_LEN], same[CERT_PIN_LEN];
    if (cert_pin_parse(text, pin) == 0)
        CHECK(cert_pin_parse(cert_pin_text(pin, again), same) == 0 && !memcmp(pin, same, sizeof pin));
    if (cert_is_host(text))
        check_shown(text, CERT_NAME_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    if (data[0] & 1) {
        CLEANUP_FREE char *text = text_dup(data + 1, size - 1);
        CHECK(text);
        read_text(text);
    } else {
        look_at(data + 1, size - 1);
    }
    return 0;
}
