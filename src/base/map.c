/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"

enum { MAP_FIRST_CAP = 16 };

static inline uint64_t rotl(uint64_t x, int b)
{
    return x << b | x >> (64 - b);
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1], v[1] = rotl(v[1], 13) ^ v[0], v[0] = rotl(v[0], 32);
    v[2] += v[3], v[3] = rotl(v[3], 16) ^ v[2];
    v[0] += v[3], v[3] = rotl(v[3], 21) ^ v[0];
    v[2] += v[1], v[1] = rotl(v[1], 17) ^ v[2], v[2] = rotl(v[2], 32);
}

/* SipHash-1-3 (Aumasson and Bernstein, 2012; the reduced-round form that hash tables use). */
static uint64_t siphash13(const uint64_t key[2], const uint8_t *data, size_t len)
{
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575ull, key[1] ^ 0x646f72616e646f6dull, key[0] ^ 0x6c7967656e657261ull,
        key[1] ^ 0x7465646279746573ull};
    uint64_t last = (uint64_t)len << 56;
    for (; len >= 8; data += 8, len -= 8) {
        uint64_t m;
        memcpy(&m, data, 8);
        v[3] ^= m;
        sip_round(v);
        v[0] ^= m;
    }
    for (size_t i = 0; i < len; i++)
        last |= (uint64_t)data[i] << (8 * i);
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void map_init(struct map *m)
{
    *m = (struct map){0};
    if (getrandom(m->secret, sizeof m->secret, GRND_NONBLOCK) != (ssize_t)sizeof m->secret)
        m->secret[0] = clock_monotonic_us() ^ (uintptr_t)m; /* early boot: better than nothing */
}

void map_done(struct map *m)
{
    free(m->entries);
    m->entries = NULL;
    m->cap = m->count = 0;
}

static struct map_entry *find(const struct map *m, const char *key, uint64_t hash)
{
    size_t mask = m->cap - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        struct map_entry *e = &m->entries[i];
        if (!e->key || (e->hash == hash && !strcmp(e->key, key)))
            return e;
    }
}

static int grow(struct map *m)
{
    size_t cap = m->cap ? m->cap * 2 : MAP_FIRST_CAP;
    struct map_entry *old = m->entries, *entries = calloc(cap, sizeof *entries);
    if (!entries)
        return -ENOMEM;
    size_t old_cap = m->cap;
    m->entries = entries;
    m->cap = cap;
    for (size_t i = 0; i < old_cap; i++) {
        if (old[i].key)
            *find(m, old[i].key, old[i].hash) = old[i];
    }
    free(old);
    return 0;
}

static uint64_t hash_of(const struct map *m, const char *key)
{
    return siphash13(m->secret, (const uint8_t *)key, strlen(key));
}

void *map_get(const struct map *m, const char *key)
{
    return m->count ? find(m, key, hash_of(m, key))->value : NULL;
}

int map_put(struct map *m, const char *key, void *value)
{
    if (m->count * 4 >= m->cap * 3) {
        int r = grow(m);
        if (r < 0)
            return r;
    }
    uint64_t hash = hash_of(m, key);
    struct map_entry *e = find(m, key, hash);
    if (e->key)
        return -EEXIST;
    *e = (struct map_entry){.key = key, .value = value, .hash = hash};
    m->count++;
    return 0;
}

void *map_remove(struct map *m, const char *key)
{
    if (!m->count)
        return NULL;
    struct map_entry *e = find(m, key, hash_of(m, key));
    if (!e->key)
        return NULL;
    void *value = e->value;
    *e = (struct map_entry){0};
    m->count--;
    /* Close the gap: entries behind it that probed past this place move up. */
    size_t mask = m->cap - 1, gap = (size_t)(e - m->entries);
    for (size_t i = (gap + 1) & mask; m->entries[i].key; i = (i + 1) & mask) {
        size_t home = m->entries[i].hash & mask;
        if (((i - home) & mask) >= ((i - gap) & mask)) {
            m->entries[gap] = m->entries[i];
            m->entries[i] = (struct map_entry){0};
            gap = i;
        }
    }
    return value;
}
