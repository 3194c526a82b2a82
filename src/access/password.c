/* SPDX-License-Identifier: Apache-2.0 */
#include "access/password.h"

#include <errno.h>
#include <string.h>

#include <sodium.h>

#include "base/error.h"
#include "base/text.h"

_Static_assert(ACCOUNTS_HASH_MAX + 1 == crypto_pwhash_argon2id_STRBYTES, "a hash as libsodium writes it");

static size_t memory_of(const struct password_cost *cost)
{
    return cost->memory ? cost->memory : PASSWORD_MEMORY;
}

static unsigned long long passes_of(const struct password_cost *cost)
{
    return cost->passes ? cost->passes : PASSWORD_PASSES;
}

int password_check(const char *password, size_t len, const char *user, struct tw_error *error)
{
    if (len < PASSWORD_MIN || len > PASSWORD_MAX)
        return error_set(
            error, TW_INVALID_ARGUMENT, "a password has %d to %d bytes", (int)PASSWORD_MIN, (int)PASSWORD_MAX);
    if (!text_is_utf8(password, len) || memchr(password, 0, len))
        return error_set(error, TW_INVALID_ARGUMENT, "a password is text in UTF-8");
    if (strlen(user) == len && !strncasecmp(password, user, len))
        return error_set(error, TW_INVALID_ARGUMENT, "the name of a user cannot be his password");
    return 0;
}

int password_hash(const char *password, size_t len, const struct password_cost *cost, struct password_hash *ret)
{
    if (crypto_pwhash_argon2id_str(ret->text, password, len, passes_of(cost), memory_of(cost)) == 0)
        return 0;
    sodium_memzero(ret, sizeof *ret);
    return -ENOMEM; /* of costs that are allowed the only failure */
}

int password_matches(const struct password_hash *hash, const char *password, size_t len)
{
    errno = 0;
    if (crypto_pwhash_argon2id_str_verify(hash->text, password, len) == 0)
        return 1;
    return errno == EINVAL ? 0 : -ENOMEM;
}

bool password_is_outdated(const struct password_hash *hash, const struct password_cost *cost)
{
    return crypto_pwhash_argon2id_str_needs_rehash(hash->text, passes_of(cost), memory_of(cost)) != 0;
}
