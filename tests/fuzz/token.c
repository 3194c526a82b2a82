/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes to the parser: what it takes is written in one way only, so the token of the secret in it is the same text. And any 32
 * bytes make a token that it takes, unless one of its bits is changed.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "access/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text, size_t len)
{
    uint8_t digest[TOKEN_DIGEST_BYTES], body[36];
    if (token_parse(text, len, digest) != TOKEN_RIGHT)
        return;
    struct token again;
    size_t n = 0;
    assert(len == TOKEN_TEXT_LEN);
    assert(sodium_base642bin(
               body, sizeof body, text + 4, len - 4, NULL, &n, NULL, sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0);
    token_of_secret(body, &again);
    assert(!memcmp(again.text, text, len) && !memcmp(again.digest, digest, sizeof digest));
}

static void check_secret(const uint8_t *secret, uint8_t where)
{
    struct token token;
    uint8_t digest[TOKEN_DIGEST_BYTES];
    token_of_secret(secret, &token);
    assert(token_parse(token.text, TOKEN_TEXT_LEN, digest) == TOKEN_RIGHT);
    assert(!memcmp(token.digest, digest, sizeof digest));
    token.text[where % TOKEN_TEXT_LEN] ^= 1 << where % 7;
    assert(token_parse(token.text, TOKEN_TEXT_LEN, digest) != TOKEN_RIGHT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* A copy of just this size: reading beyond it shows. */
    char *text = malloc(size ? size : 1);
    if (!text)
        return 0;
    if (size > 0)
        memcpy(text, data, size);
    check_text(text, size);
    if (size > TOKEN_SECRET_BYTES)
        check_secret(data, data[TOKEN_SECRET_BYTES]);
    free(text);
    return 0;
}
