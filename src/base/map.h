/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash map from strings to pointers. Keys are borrowed and must live as long as their entry (usually the key is a field
 * of the value). Hashing is SipHash with a random key per map, so that hostile keys cannot make it slow.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

struct map_entry {
    const char *key; /* NULL: free */
    void *value;
    uint64_t hash;
};

struct map {
    struct map_entry *entries; /* open addressing, linear probing, capacity a power of two */
    size_t cap;
    size_t count;
    uint64_t secret[2];
};

void map_init(struct map *m);
void map_done(struct map *m);
void *map_get(const struct map *m, const char *key);
int map_put(struct map *m, const char *key, void *value); /* 0, -EEXIST or -ENOMEM */
void *map_remove(struct map *m, const char *key);         /* the value that was there, or NULL */

/* Every entry, in no order; the map must not change meanwhile. */
#define map_for_each(it, m)                                                             \
    for (struct map_entry *it = (m)->entries; it && it < (m)->entries + (m)->cap; it++) \
        if (it->key)

#endif
