/* SPDX-License-Identifier: Apache-2.0 */
#include "access/delays.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/util.h"

struct pair {
    uint64_t hash; /* 0: free */
    uint64_t until_us;
    uint64_t before_us; /* until_us before the last try */
    unsigned failures;
};

struct delays {
    uint8_t secret[crypto_generichash_KEYBYTES];
    struct pair pairs[DELAYS_PAIRS];
};

struct delays *delays_new(void)
{
    struct delays *d = sodium_init() < 0 ? NULL : calloc(1, sizeof *d);
    if (d)
        randombytes_buf(d->secret, sizeof d->secret);
    return d;
}

struct delays *delays_free(struct delays *d)
{
    free(d);
    return NULL;
}

struct delays_key delays_key(const struct delays *d, const char *user, const char *address)
{
    crypto_generichash_state state;
    uint8_t out[crypto_generichash_BYTES_MIN];
    struct delays_key key;
    (void)crypto_generichash_init(&state, d->secret, sizeof d->secret, sizeof out);
    (void)crypto_generichash_update(&state, (const uint8_t *)user, strlen(user) + 1); /* with its end */
    (void)crypto_generichash_update(&state, (const uint8_t *)address, strlen(address));
    (void)crypto_generichash_final(&state, out, sizeof out);
    memcpy(&key.hash, out, sizeof key.hash);
    key.hash += key.hash == 0;
    return key;
}

/* NULL: it has none. */
static struct pair *find(struct delays *d, struct delays_key key)
{
    for (size_t i = 0; i < DELAYS_PAIRS; i++) {
        if (d->pairs[i].hash == key.hash)
            return &d->pairs[i];
    }
    return NULL;
}

static struct pair *make(struct delays *d, struct delays_key key)
{
    struct pair *least = &d->pairs[0];
    for (size_t i = 1; i < DELAYS_PAIRS && least->hash; i++) {
        if (!d->pairs[i].hash || d->pairs[i].until_us < least->until_us)
            least = &d->pairs[i];
    }
    *least = (struct pair){.hash = key.hash};
    return least;
}

static uint64_t delay_after(unsigned failures)
{
    uint64_t delay = DELAYS_FIRST_US;
    if (failures <= DELAYS_FREE_TRIES)
        return 0;
    for (unsigned i = DELAYS_FREE_TRIES + 1; i < failures && delay < DELAYS_LONGEST_US; i++)
        delay *= 2;
    return MIN(delay, (uint64_t)DELAYS_LONGEST_US);
}

uint64_t delays_try(struct delays *d, struct delays_key key, uint64_t now_us)
{
    struct pair *pair = find(d, key);
    if (pair && pair->until_us > now_us)
        return pair->until_us - now_us;
    if (!pair)
        pair = make(d, key);
    if (now_us - pair->until_us > DELAYS_FORGET_US)
        pair->failures = 0;
    pair->before_us = pair->until_us;
    pair->failures += pair->failures < UINT32_MAX;
    pair->until_us = now_us + delay_after(pair->failures);
    return 0;
}

void delays_succeeded(struct delays *d, struct delays_key key)
{
    struct pair *pair = find(d, key);
    if (pair)
        *pair = (struct pair){0};
}

void delays_give_back(struct delays *d, struct delays_key key)
{
    struct pair *pair = find(d, key);
    if (pair && pair->failures > 0) {
        pair->failures--;
        pair->until_us = pair->before_us;
    }
}
