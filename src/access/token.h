/* SPDX-License-Identifier: Apache-2.0 */
/*
 * API tokens. A token is 52 characters of ASCII:
 *
 *   twt_ and 48 characters of base64url (RFC 4648, section 5), which are 36 bytes: 32 of the secret, 4 of the checksum
 *
 * The secret is 256 random bits. Of it only the digest is kept, SHA-256, and all else follows from that:
 *
 *   checksum    the digest's last 4 bytes: a slip of the pen is told from a token that is not known, without a look-up, and a
 *               scanner for secrets can tell a token from what only looks like one
 *   public id   the digest's first 8 bytes, in hex: how a token is called in lists and logs; who finds a token somewhere can
 *               reckon which one it is, and have it revoked
 *
 * A random secret of this length cannot be guessed from its digest, so a fast hash is right here, and so is showing parts of
 * the digest.
 */
#ifndef ACCESS_TOKEN_H
#define ACCESS_TOKEN_H

#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

#define TOKEN_PREFIX "twt_"

enum {
    TOKEN_SECRET_BYTES = 32,
    TOKEN_CHECKSUM_BYTES = 4,
    TOKEN_DIGEST_BYTES = 32,
    TOKEN_ID_BYTES = 8,
    TOKEN_ID_LEN = 2 * TOKEN_ID_BYTES,
    TOKEN_TEXT_LEN = 52,
};

#define TOKEN_FORMS(X)                                       \
    X(RIGHT, "a token")                                      \
    X(FOREIGN, "not a token: one begins with twt_")          \
    X(LENGTH, "not a whole token: one has 52 characters")    \
    X(ALPHABET, "a token with characters that no token has") \
    X(CHECKSUM, "a mistyped token: its checksum does not match")

enum token_form {
#define X(name, text) TOKEN_##name,
    TOKEN_FORMS(X)
#undef X
        TOKEN_FORM_MAX
};

struct token {
    char text[TOKEN_TEXT_LEN + 1]; /* to be shown once and wiped */
    uint8_t digest[TOKEN_DIGEST_BYTES];
};

/* A new one. 0, or -EIO where the system has no random bytes. */
int token_make(struct token *ret);
/* The one with this secret. */
void token_of_secret(const uint8_t secret[TOKEN_SECRET_BYTES], struct token *ret);
void token_wipe(struct token *token);
#define CLEANUP_TOKEN CLEANUP(token_wipe)

/*
 * [any thread] Takes any bytes. Says what they are and, if they are a token in its form, its digest; else the digest is zeros. How long
 * that takes says nothing about a token's characters, and nothing of them is left behind.
 */
enum token_form token_parse(const char *text, size_t len, uint8_t ret_digest[TOKEN_DIGEST_BYTES]);

void token_id(const uint8_t digest[TOKEN_DIGEST_BYTES], char ret[TOKEN_ID_LEN + 1]);

const char *token_form_to_string(enum token_form form);

#endif
