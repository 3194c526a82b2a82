/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What it costs to ask whether somebody may.
 *
 *   rates_bench KEYS
 *
 * Prints nanoseconds for a call, the median of several rounds: with the key made before, and with making it. More keys than
 * RATES_SLOTS: most calls find their key displaced.
 */
#include <stdio.h>
#include <stdlib.h>

#include "access/rates.h"
#include "base/clock.h"
#include "base/parse.h"

enum { ROUNDS = 9, CALLS = 1000000 };

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "rates_bench: %s\n", what);
    exit(1);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double round_ns(struct rates *rates, const struct rate_key *keys, uint64_t n, bool make)
{
    uint64_t begun = clock_monotonic_us(), allowed = 0;
    for (uint64_t i = 0; i < CALLS; i++) {
        uint64_t which = i * 7919 % n;
        struct rate_key key = make ? rates_key(rates, RATE_ADDRESS, &which, sizeof which) : keys[which];
        allowed += rates_take(rates, RATE_REQUEST, &key, 1, begun + i / 4, NULL);
    }
    if (allowed == 0)
        die("nobody may do anything");
    return (double)(clock_monotonic_us() - begun) * 1000 / CALLS;
}

static double median_ns(struct rates *rates, const struct rate_key *keys, uint64_t n, bool make)
{
    double ns[ROUNDS];
    for (int i = 0; i < ROUNDS; i++)
        ns[i] = round_ns(rates, keys, n, make);
    qsort(ns, ROUNDS, sizeof *ns, compare);
    return ns[ROUNDS / 2];
}

int main(int argc, char **argv)
{
    uint64_t n;
    if (argc != 2 || parse_u64(argv[1], 1, 10000000, &n) < 0)
        die("usage: rates_bench KEYS");
    struct rates *rates = rates_new(0);
    struct rate_key *keys = calloc(n, sizeof *keys);
    const struct rate_limit limit = {.per_second_milli = 100000, .burst = 100};
    if (!rates || !keys || rates_set(rates, RATE_REQUEST, RATE_ADDRESS, limit) < 0)
        die("out of memory");
    for (uint64_t i = 0; i < n; i++)
        keys[i] = rates_key(rates, RATE_ADDRESS, &i, sizeof i);
    printf("ns %.1f with key %.1f\n", median_ns(rates, keys, n, false), median_ns(rates, keys, n, true));
    free(keys);
    rates_free(rates);
    return 0;
}
