/* SPDX-License-Identifier: Apache-2.0 */
#include "access/token.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <sodium.h>

#include "base/text.h"
#include "base/util.h"

enum {
    PREFIX_LEN = sizeof TOKEN_PREFIX - 1,
    BODY_BYTES = TOKEN_SECRET_BYTES + TOKEN_CHECKSUM_BYTES,
    BODY_LEN = TOKEN_TEXT_LEN - PREFIX_LEN,
    CHECKSUM_AT = TOKEN_DIGEST_BYTES - TOKEN_CHECKSUM_BYTES,
};

_Static_assert(BODY_LEN * 3 == BODY_BYTES * 4, "a body without padding");
_Static_assert(TOKEN_DIGEST_BYTES == crypto_hash_sha256_BYTES, "SHA-256");

void token_of_secret(const uint8_t secret[TOKEN_SECRET_BYTES], struct token *ret)
{
    uint8_t body[BODY_BYTES];
    (void)crypto_hash_sha256(ret->digest, secret, TOKEN_SECRET_BYTES);
    memcpy(body, secret, TOKEN_SECRET_BYTES);
    memcpy(body + TOKEN_SECRET_BYTES, ret->digest + CHECKSUM_AT, TOKEN_CHECKSUM_BYTES);
    memcpy(ret->text, TOKEN_PREFIX, PREFIX_LEN);
    sodium_bin2base64(
        ret->text + PREFIX_LEN, BODY_LEN + 1, body, sizeof body, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sodium_memzero(body, sizeof body);
}

int token_make(struct token *ret)
{
    uint8_t secret[TOKEN_SECRET_BYTES];
    if (sodium_init() < 0)
        return -EIO;
    randombytes_buf(secret, sizeof secret);
    token_of_secret(secret, ret);
    sodium_memzero(secret, sizeof secret);
    return 0;
}

void token_wipe(struct token *token)
{
    sodium_memzero(token, sizeof *token);
}

/* All ones if `c` is from `first` to `last`, else 0. */
static uint32_t within(uint32_t c, uint32_t first, uint32_t last)
{
    return (((c - first) | (last - c)) >> 31) - 1;
}

/* Without a branch or a look-up that depends on the character. Sets bits in *bad if it is no digit. */
static uint32_t digit_of(uint8_t character, uint32_t *bad)
{
    uint32_t c = character;
    uint32_t upper = within(c, 'A', 'Z'), lower = within(c, 'a', 'z'), number = within(c, '0', '9');
    uint32_t minus = within(c, '-', '-'), underscore = within(c, '_', '_');
    *bad |= ~(upper | lower | number | minus | underscore);
    return (upper & (c - 'A')) | (lower & (c - 'a' + 26)) | (number & (c - '0' + 52)) | (minus & 62) |
        (underscore & 63);
}

/* Not by sodium_base642bin(): that of libsodium 1.0.18 takes bytes above 127 for digits. */
static bool decode(const char *text, uint8_t body[BODY_BYTES])
{
    uint32_t bad = 0;
    for (size_t i = 0; i < BODY_LEN / 4; i++) {
        uint32_t bits = 0;
        for (size_t k = 0; k < 4; k++)
            bits = bits << 6 | digit_of((uint8_t)text[4 * i + k], &bad);
        body[3 * i] = (uint8_t)(bits >> 16);
        body[3 * i + 1] = (uint8_t)(bits >> 8);
        body[3 * i + 2] = (uint8_t)bits;
    }
    return bad == 0;
}

static enum token_form parse_body(const char *text, uint8_t ret_digest[TOKEN_DIGEST_BYTES])
{
    uint8_t body[BODY_BYTES];
    enum token_form form = TOKEN_ALPHABET;
    if (decode(text, body)) {
        (void)crypto_hash_sha256(ret_digest, body, TOKEN_SECRET_BYTES);
        bool same = sodium_memcmp(ret_digest + CHECKSUM_AT, body + TOKEN_SECRET_BYTES, TOKEN_CHECKSUM_BYTES) == 0;
        form = same ? TOKEN_RIGHT : TOKEN_CHECKSUM;
    }
    sodium_memzero(body, sizeof body);
    return form;
}

enum token_form token_parse(const char *text, size_t len, uint8_t ret_digest[TOKEN_DIGEST_BYTES])
{
    enum token_form form = TOKEN_FOREIGN;
    if (len >= PREFIX_LEN && !memcmp(text, TOKEN_PREFIX, PREFIX_LEN))
        form = len == TOKEN_TEXT_LEN ? parse_body(text + PREFIX_LEN, ret_digest) : TOKEN_LENGTH;
    if (form != TOKEN_RIGHT)
        memset(ret_digest, 0, TOKEN_DIGEST_BYTES);
    return form;
}

void token_id(const uint8_t digest[TOKEN_DIGEST_BYTES], char ret[TOKEN_ID_LEN + 1])
{
    text_hex(digest, TOKEN_ID_BYTES, ret);
}

const char *token_form_to_string(enum token_form form)
{
    static const char *const texts[] = {
#define X(name, text) [TOKEN_##name] = text,
        TOKEN_FORMS(X)
#undef X
    };
    return (unsigned)form < TOKEN_FORM_MAX ? texts[form] : "unknown";
}
