/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 by OpenSSL's EVP, which uses the processor's instructions for it. */
#ifndef FILES_DIGEST_H
#define FILES_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/evp.h>

#include "base/util.h"

static inline void digest_free(EVP_MD_CTX **hash)
{
    EVP_MD_CTX_free(*hash);
    *hash = NULL;
}
#define CLEANUP_DIGEST CLEANUP(digest_free)

/* Makes it anew, or makes one. NULL: no memory, or no SHA-256 in this OpenSSL. */
static inline EVP_MD_CTX *digest_begin(EVP_MD_CTX *hash)
{
    EVP_MD_CTX *fresh = hash ? hash : EVP_MD_CTX_new();
    if (fresh && EVP_DigestInit_ex(fresh, EVP_sha256(), NULL) == 1)
        return fresh;
    if (!hash)
        EVP_MD_CTX_free(fresh);
    return NULL;
}

static inline bool digest_add(EVP_MD_CTX *hash, const void *data, size_t len)
{
    return EVP_DigestUpdate(hash, data, len) == 1;
}

static inline bool digest_end(EVP_MD_CTX *hash, uint8_t ret[32])
{
    return EVP_DigestFinal_ex(hash, ret, NULL) == 1;
}

#endif
