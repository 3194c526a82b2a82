/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How often somebody may do something: token buckets for each kind of thing and each user, token or address. A bucket holds at
 * most `burst` and gains `rate` a second; what is taken and not there is refused, with the time after which it would be.
 *
 * For one thread. Time is whatever the caller's clock says, best a monotonic one.
 */
#ifndef ACCESS_RATES_H
#define ACCESS_RATES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define RATE_KINDS(X)           \
    X(REQUEST, "request")       \
    X(SUBMISSION, "submission") \
    X(BYTES, "bytes")           \
    X(LOGIN, "login")

enum rate_kind {
#define X(name, text) RATE_##name,
    RATE_KINDS(X)
#undef X
        RATE_KIND_MAX
};

/* Whose bucket. Each scope has room of its own, so that addresses, of which anybody can have many, do not displace users. */
enum rate_scope { RATE_USER, RATE_TOKEN, RATE_ADDRESS, RATE_SCOPE_MAX };

#define RATE_BURST_MAX (UINT64_C(1) << 33) /* also the most that one call takes: 8 GiB, as bytes */
#define RATE_PER_SECOND_MAX_MILLI (RATE_BURST_MAX * UINT64_C(1000)) /* thousandths a second */

struct rate_limit {
    uint64_t per_second_milli; /* thousandths a second: 500 is one in two seconds; 0: no limit */
    uint64_t burst;            /* at least 1 where there is a limit */
};

/* Whose bucket, as a hash under the secret of these rates. It is made once for a connection or call, and used for every kind. */
struct rate_key {
    uint64_t hash[2];
    enum rate_scope scope;
};

struct rates;

enum { RATES_SLOTS = 4096 }; /* how many keys of a scope are known apart, by default; 32 bytes for each and each kind */

/* No limits at first. slots: rounded up to a power of two; 0: RATES_SLOTS. NULL: no memory. */
struct rates *rates_new(size_t slots);
struct rates *rates_free(struct rates *rates);

/* At any time; what is in the buckets stays, up to the new burst. -ERANGE: a number that cannot be. */
int rates_set(struct rates *rates, enum rate_kind kind, enum rate_scope scope, struct rate_limit limit);

/* Of the name of a user or the id of a token: any bytes. */
struct rate_key rates_key(const struct rates *rates, enum rate_scope scope, const void *data, size_t len);

/*
 * Of a peer. An IPv4 address counts by itself, also where it is mapped into IPv6; of an IPv6 address the first 64 bits do, since the
 * rest of them is the free choice of who has the network. All peers without an address (Unix sockets) are one.
 */
struct rate_key rates_key_of_peer(const struct rates *rates, const struct sockaddr *peer, socklen_t len);

/*
 * Takes `amount`. False: there is not enough, nothing was taken, and *ret_retry_after_us (may be NULL) says when there will be if
 * nobody else takes. More than the burst is given when the bucket is full, and owed then.
 */
bool rates_take(struct rates *rates, enum rate_kind kind, const struct rate_key *key, uint64_t amount, uint64_t now_us,
    uint64_t *ret_retry_after_us);

/* From each of the keys, or from none. Retry after: the longest. */
bool rates_take_all(struct rates *rates, enum rate_kind kind, const struct rate_key *keys, size_t n, uint64_t amount,
    uint64_t now_us, uint64_t *ret_retry_after_us);

/*
 * Takes what was used already and could not be asked for before, whether it is there or not: what is missing is owed, RATE_BURST_MAX
 * at most.
 */
void rates_owe(struct rates *rates, enum rate_kind kind, const struct rate_key *key, uint64_t amount, uint64_t now_us);

/* For what was taken and then not used; never above the burst. What was forgotten meanwhile is not made anew by this. */
void rates_give_back(
    struct rates *rates, enum rate_kind kind, const struct rate_key *key, uint64_t amount, uint64_t now_us);

const char *rate_kind_to_string(enum rate_kind kind);

#endif
