/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. For each kind and scope there is a table of fixed size, made of sets of eight buckets. A key's hash, under
 * a secret, says its set; it has one of the eight there. So a call looks at eight buckets at most and nothing is ever allocated.
 *
 * What when there are more keys than buckets? To throw one out and begin with a full one would give tokens away: who has used up
 * his own would come with many addresses until it is forgotten. So a new key takes over the fullest bucket of its set *as it is*.
 * A bucket that is full again (nobody used it for burst / rate seconds) says nothing, and to take it over loses nothing; what is
 * owed is never forgotten. It follows:
 *  - Nobody gains by an eviction. A key is thrown out as the fullest of its set. All others have no more then and gain no
 *    faster, so whichever it takes over when it comes back, it finds no more there than its own would hold.
 *  - With ever so many addresses an attacker gets no more than the table's buckets give together.
 *  - Who is near his limit is never displaced by those who are not.
 * The price: while an attacker keeps more addresses near their limits than the table has buckets, those who have not been seen
 * lately share buckets with him and are refused too. The secret keeps him from choosing whom, and users and tokens have tables of
 * their own, which addresses do not touch.
 *
 * Arithmetic is in units of a thousand millionth of a token: thousandths a second times microseconds, exactly, without rounding.
 * RATE_BURST_MAX keeps a bucket, and as much owed, within 63 bits.
 */
#include "access/rates.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/util.h"

enum { WAYS = 8 };
#define UNITS INT64_C(1000000000) /* of a token */
#define SLOTS_MAX ((size_t)1 << 24)

struct bucket {
    uint64_t hash[2]; /* 0, 0: of nobody, and full */
    int64_t level;    /* in units, as of stamp_us; negative: owed */
    uint64_t stamp_us;
};

struct table {
    uint64_t rate; /* units a microsecond; 0: no limit */
    int64_t cap;   /* units */
    struct bucket *buckets;
};

struct rates {
    struct table tables[RATE_KIND_MAX][RATE_SCOPE_MAX];
    size_t sets; /* of each table; a power of two */
    uint8_t secret[crypto_shorthash_siphashx24_KEYBYTES];
};

_Static_assert(crypto_shorthash_siphashx24_BYTES == sizeof((struct rate_key *)NULL)->hash, "a key is such a hash");
_Static_assert(RATE_BURST_MAX <= INT64_MAX / UNITS, "a full bucket, and as much owed, fit");

struct rates *rates_new(size_t slots)
{
    slots = MIN(slots ? slots : RATES_SLOTS, SLOTS_MAX);
    struct rates *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    for (r->sets = 1; r->sets * WAYS < slots;)
        r->sets *= 2;
    randombytes_buf(r->secret, sizeof r->secret);
    return r;
}

struct rates *rates_free(struct rates *r)
{
    if (!r)
        return NULL;
    for (size_t i = 0; i < RATE_KIND_MAX * RATE_SCOPE_MAX; i++)
        free(r->tables[i / RATE_SCOPE_MAX][i % RATE_SCOPE_MAX].buckets);
    sodium_memzero(r->secret, sizeof r->secret);
    free(r);
    return NULL;
}

int rates_set(struct rates *r, enum rate_kind kind, enum rate_scope scope, struct rate_limit limit)
{
    struct table *t = &r->tables[kind][scope];
    if (limit.per_second_milli == 0) {
        t->rate = 0;
        free(t->buckets);
        t->buckets = NULL;
        return 0;
    }
    if (limit.per_second_milli > RATE_PER_SECOND_MAX_MILLI || limit.burst == 0 || limit.burst > RATE_BURST_MAX)
        return -ERANGE;
    if (!t->buckets)
        t->buckets = calloc(r->sets * WAYS, sizeof *t->buckets);
    if (!t->buckets)
        return -ENOMEM;
    t->rate = limit.per_second_milli;
    t->cap = (int64_t)limit.burst * UNITS;
    return 0;
}

/* --- keys --- */

struct rate_key rates_key(const struct rates *r, enum rate_scope scope, const void *data, size_t len)
{
    struct rate_key key = {.scope = scope};
    uint8_t hash[sizeof key.hash];
    crypto_shorthash_siphashx24(hash, data, len, r->secret);
    memcpy(key.hash, hash, sizeof hash);
    return key;
}

struct rate_key rates_key_of_peer(const struct rates *r, const struct sockaddr *peer, socklen_t len)
{
    uint8_t what[9] = {0}; /* which family, and the bytes that count */
    if (len >= sizeof(struct sockaddr_in) && peer->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, peer, sizeof in);
        what[0] = 4;
        memcpy(what + 1, &in.sin_addr, 4);
    } else if (len >= sizeof(struct sockaddr_in6) && peer->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, peer, sizeof in6);
        bool mapped = IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr);
        what[0] = mapped ? 4 : 6;
        memcpy(what + 1, in6.sin6_addr.s6_addr + (mapped ? 12 : 0), mapped ? 4 : 8);
    }
    return rates_key(r, RATE_ADDRESS, what, sizeof what);
}

/* --- buckets --- */

/* What is in it now. A clock that went back gives nothing and takes nothing. */
static int64_t level_at(const struct table *t, const struct bucket *b, uint64_t now_us)
{
    uint64_t gained;
    if (!b->hash[0] && !b->hash[1])
        return t->cap;
    if (b->level >= t->cap)
        return t->cap;                                        /* the burst may be less than it was */
    uint64_t missing = (uint64_t)t->cap - (uint64_t)b->level; /* unsigned: it may pass 63 bits, never 64 */
    uint64_t elapsed = now_us > b->stamp_us ? now_us - b->stamp_us : 0;
    if (__builtin_mul_overflow(elapsed, t->rate, &gained) || gained >= missing)
        return t->cap;
    return b->level + (int64_t)gained;
}

static struct bucket *set_of(const struct rates *r, const struct table *t, const struct rate_key *key)
{
    return &t->buckets[(key->hash[0] & (r->sets - 1)) * WAYS];
}

static struct bucket *find(struct bucket *set, const struct rate_key *key)
{
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].hash[0] == key->hash[0] && set[i].hash[1] == key->hash[1])
            return &set[i];
    }
    return NULL;
}

/* Of those that are equally full the one that was not used for longest. */
static struct bucket *fullest(const struct table *t, struct bucket *set, uint64_t now_us)
{
    struct bucket *best = set;
    int64_t most = level_at(t, set, now_us);
    for (size_t i = 1; i < WAYS; i++) {
        int64_t level = level_at(t, &set[i], now_us);
        if (level > most || (level == most && set[i].stamp_us < best->stamp_us)) {
            most = level;
            best = &set[i];
        }
    }
    return best;
}

/* The key's own, or the one that it takes over; brought up to now. */
static struct bucket *bucket_for(
    const struct rates *r, const struct table *t, const struct rate_key *key, uint64_t now_us)
{
    struct bucket *set = set_of(r, t, key), *b = find(set, key);
    if (!b)
        b = fullest(t, set, now_us);
    b->level = level_at(t, b, now_us);
    b->stamp_us = now_us;
    memcpy(b->hash, key->hash, sizeof b->hash);
    return b;
}

bool rates_take(struct rates *r, enum rate_kind kind, const struct rate_key *key, uint64_t amount, uint64_t now_us,
    uint64_t *ret_retry_after_us)
{
    const struct table *t = &r->tables[kind][key->scope];
    if (ret_retry_after_us)
        *ret_retry_after_us = 0;
    if (t->rate == 0)
        return true;
    struct bucket *b = bucket_for(r, t, key, now_us);
    int64_t units = (int64_t)MIN(amount, RATE_BURST_MAX) * UNITS, needed = MIN(units, t->cap);
    if (b->level >= needed) {
        b->level -= units;
        return true;
    }
    if (ret_retry_after_us)
        *ret_retry_after_us = ((uint64_t)needed - (uint64_t)b->level + t->rate - 1) / t->rate;
    return false;
}

bool rates_take_all(struct rates *r, enum rate_kind kind, const struct rate_key *keys, size_t n, uint64_t amount,
    uint64_t now_us, uint64_t *ret_retry_after_us)
{
    uint64_t longest = 0, wait;
    bool refused = false;
    size_t taken = 0;
    for (size_t i = 0; i < n; i++) {
        if (rates_take(r, kind, &keys[i], amount, now_us, &wait)) {
            if (!refused)
                taken = i + 1;
            else
                rates_give_back(r, kind, &keys[i], amount, now_us); /* it was to be asked only */
        } else {
            refused = true;
            longest = MAX(longest, wait);
        }
    }
    for (size_t i = 0; refused && i < taken; i++)
        rates_give_back(r, kind, &keys[i], amount, now_us);
    if (ret_retry_after_us)
        *ret_retry_after_us = longest;
    return !refused;
}

void rates_owe(struct rates *r, enum rate_kind kind, const struct rate_key *key, uint64_t amount, uint64_t now_us)
{
    const struct table *t = &r->tables[kind][key->scope];
    if (t->rate == 0)
        return;
    struct bucket *b = bucket_for(r, t, key, now_us);
    int64_t units = (int64_t)MIN(amount, RATE_BURST_MAX) * UNITS, lowest = -(int64_t)RATE_BURST_MAX * UNITS;
    b->level = b->level < lowest + units ? lowest : b->level - units;
}

void rates_give_back(struct rates *r, enum rate_kind kind, const struct rate_key *key, uint64_t amount, uint64_t now_us)
{
    const struct table *t = &r->tables[kind][key->scope];
    if (t->rate == 0)
        return;
    struct bucket *b = find(set_of(r, t, key), key);
    if (!b)
        return;
    int64_t units = (int64_t)MIN(amount, RATE_BURST_MAX) * UNITS, level = level_at(t, b, now_us);
    uint64_t room = (uint64_t)t->cap - (uint64_t)level;
    b->level = (uint64_t)units >= room ? t->cap : level + units;
    b->stamp_us = now_us;
}

const char *rate_kind_to_string(enum rate_kind kind)
{
    static const char *const names[] = {
#define X(name, text) [RATE_##name] = text,
        RATE_KINDS(X)
#undef X
    };
    return kind < RATE_KIND_MAX ? names[kind] : "unknown";
}
