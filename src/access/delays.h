/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long to wait between wrong passwords: each failure for a user from an address makes the next try from there wait longer. It is
 * kept apart for each pair, so nobody can shut a user out from where that user is. What there is no user for counts alike.
 *
 * In fixed memory: of more pairs than there is room for, the one that has to wait least is forgotten. For one thread.
 */
#ifndef ACCESS_DELAYS_H
#define ACCESS_DELAYS_H

#include <stddef.h>
#include <stdint.h>

enum {
    DELAYS_PAIRS = 1024,
    DELAYS_FREE_TRIES = 3,         /* so many in a row wait for nothing */
    DELAYS_FIRST_US = 1000000,     /* then this, and twice as long after each further one, */
    DELAYS_LONGEST_US = 300000000, /* up to this */
};
#define DELAYS_FORGET_US UINT64_C(3600000000) /* after the wait was over for this long all is forgotten */

struct delays;

/* A pair, as a hash under the secret of these delays. */
struct delays_key {
    uint64_t hash; /* never 0 */
};

/* NULL: no memory. */
struct delays *delays_new(void);
struct delays *delays_free(struct delays *delays);

struct delays_key delays_key(const struct delays *delays, const char *user, const char *address);

/*
 * 0: it may be tried now, and counts as a failure from now on, so that many at once do not get around it; else microseconds to wait.
 * now_us: a monotonic clock.
 */
uint64_t delays_try(struct delays *delays, struct delays_key key, uint64_t now_us);
/* It was none: all failures of the pair are forgotten. */
void delays_succeeded(struct delays *delays, struct delays_key key);
/* It was not tried at all. */
void delays_give_back(struct delays *delays, struct delays_key key);

#endif
