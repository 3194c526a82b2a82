/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include "access/rates.h"
#include "base/util.h"

#define SECOND UINT64_C(1000000)

static int setup(void **state)
{
    *state = rates_new(64);
    assert_non_null(*state);
    return 0;
}

static int teardown(void **state)
{
    assert_null(rates_free(*state));
    return 0;
}

static void limit(struct rates *r, enum rate_kind kind, enum rate_scope scope, uint64_t milli, uint64_t burst)
{
    assert_int_equal(rates_set(r, kind, scope, (struct rate_limit){.per_second_milli = milli, .burst = burst}), 0);
}

static struct rate_key user(struct rates *r, const char *name)
{
    return rates_key(r, RATE_USER, name, strlen(name));
}

/* How many single ones can be taken at this time. */
static unsigned drain(struct rates *r, enum rate_kind kind, const struct rate_key *key, uint64_t now)
{
    unsigned n = 0;
    while (rates_take(r, kind, key, 1, now, NULL))
        n++;
    return n;
}

static void test_without_limit(void **state)
{
    struct rates *r = *state;
    struct rate_key ann = user(r, "ann");
    uint64_t wait = 1;
    for (int i = 0; i < 100000; i++)
        assert_true(rates_take(r, RATE_REQUEST, &ann, RATE_BURST_MAX, 5, &wait));
    assert_int_equal(wait, 0);
    rates_give_back(r, RATE_REQUEST, &ann, 1, 5);
}

static void test_burst_and_rate(void **state)
{
    struct rates *r = *state;
    struct rate_key ann = user(r, "ann"), bob = user(r, "bob");
    uint64_t now = 7 * SECOND, wait;
    limit(r, RATE_REQUEST, RATE_USER, 2000, 5);
    assert_int_equal(drain(r, RATE_REQUEST, &ann, now), 5);
    assert_false(rates_take(r, RATE_REQUEST, &ann, 1, now, &wait));
    assert_int_equal(wait, SECOND / 2);
    assert_false(rates_take(r, RATE_REQUEST, &ann, 3, now, &wait));
    assert_int_equal(wait, SECOND * 3 / 2);
    assert_false(rates_take(r, RATE_REQUEST, &ann, 1, now + SECOND / 2 - 1, &wait));
    assert_int_equal(wait, 1);
    assert_true(rates_take(r, RATE_REQUEST, &ann, 1, now + SECOND / 2, &wait));
    assert_int_equal(wait, 0);
    /* Each has his own, and each kind. */
    assert_int_equal(drain(r, RATE_REQUEST, &bob, now), 5);
    limit(r, RATE_LOGIN, RATE_USER, 1, 1);
    assert_true(rates_take(r, RATE_LOGIN, &ann, 1, now, NULL));
    assert_false(rates_take(r, RATE_LOGIN, &ann, 1, now, &wait));
    assert_int_equal(wait, 1000 * SECOND);
    /* Never more than the burst, however long it takes. */
    assert_int_equal(drain(r, RATE_REQUEST, &ann, now + 1000 * SECOND), 5);
}

/* A thirtieth of a second at a time: nothing is lost by rounding, nothing won. */
static void test_it_is_exact(void **state)
{
    struct rates *r = *state;
    struct rate_key ann = user(r, "ann");
    uint64_t now = SECOND, begun;
    unsigned given = 0;
    limit(r, RATE_REQUEST, RATE_USER, 7001, 3);
    (void)drain(r, RATE_REQUEST, &ann, now);
    for (begun = now; now < begun + 3000 * SECOND; now += 33331)
        given += drain(r, RATE_REQUEST, &ann, now);
    given += drain(r, RATE_REQUEST, &ann, begun + 3000 * SECOND);
    assert_int_equal(given, 3000 * 7001 / 1000);
}

static void test_more_than_the_burst_is_owed(void **state)
{
    struct rates *r = *state;
    struct rate_key ann = user(r, "ann");
    uint64_t wait;
    limit(r, RATE_BYTES, RATE_USER, 1000 * 1000, 4000); /* 1000 a second */
    assert_true(rates_take(r, RATE_BYTES, &ann, 10000, SECOND, NULL));
    assert_false(rates_take(r, RATE_BYTES, &ann, 1, SECOND, &wait));
    assert_int_equal(wait, 6 * SECOND + 1000);
    assert_false(rates_take(r, RATE_BYTES, &ann, 10000, SECOND, &wait));
    assert_int_equal(wait, 10 * SECOND);
    assert_true(rates_take(r, RATE_BYTES, &ann, 10000, 11 * SECOND, NULL));
}

static void test_largest_numbers(void **state)
{
    struct rates *r = *state;
    struct rate_key ann = user(r, "ann");
    uint64_t wait;
    limit(r, RATE_BYTES, RATE_USER, 1, RATE_BURST_MAX);
    assert_true(rates_take(r, RATE_BYTES, &ann, UINT64_MAX, 0, NULL));
    assert_false(rates_take(r, RATE_BYTES, &ann, UINT64_MAX, 0, &wait));
    assert_int_equal(wait, RATE_BURST_MAX * 1000 * SECOND);
    assert_true(rates_take(r, RATE_BYTES, &ann, 1, UINT64_MAX, NULL));
    limit(r, RATE_BYTES, RATE_USER, RATE_PER_SECOND_MAX_MILLI, 1);
    assert_true(rates_take(r, RATE_BYTES, &ann, UINT64_MAX, UINT64_MAX, NULL));
    limit(r, RATE_BYTES, RATE_USER, 1, RATE_BURST_MAX); /* the most that can be missing */
    assert_false(rates_take(r, RATE_BYTES, &ann, UINT64_MAX, UINT64_MAX, &wait));
    assert_int_equal(wait, (2 * RATE_BURST_MAX - 1) * 1000 * SECOND);
    limit(r, RATE_BYTES, RATE_USER, RATE_PER_SECOND_MAX_MILLI, RATE_BURST_MAX);
    rates_give_back(r, RATE_BYTES, &ann, UINT64_MAX, UINT64_MAX);
    assert_false(rates_take(r, RATE_BYTES, &ann, RATE_BURST_MAX, UINT64_MAX, NULL));

    struct rate_limit wrong[] = {
        {1, 0}, {1, RATE_BURST_MAX + 1}, {RATE_PER_SECOND_MAX_MILLI + 1, 1}, {UINT64_MAX, UINT64_MAX}};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_int_equal(rates_set(r, RATE_REQUEST, RATE_USER, wrong[i]), -ERANGE);
    assert_true(rates_take(r, RATE_REQUEST, &ann, 1, 0, NULL)); /* still without */
}

static void test_a_clock_that_jumps(void **state)
{
    struct rates *r = *state;
    struct rate_key ann = user(r, "ann");
    uint64_t now = 1000 * SECOND, wait;
    limit(r, RATE_REQUEST, RATE_USER, 1000, 3);
    assert_int_equal(drain(r, RATE_REQUEST, &ann, now), 3);
    now = 10 * SECOND; /* far back: counted from there on, neither locked out nor given anything */
    assert_false(rates_take(r, RATE_REQUEST, &ann, 1, now, &wait));
    assert_int_equal(wait, SECOND);
    assert_true(rates_take(r, RATE_REQUEST, &ann, 1, now + SECOND, NULL));
    assert_int_equal(drain(r, RATE_REQUEST, &ann, UINT64_MAX), 3);
    assert_int_equal(drain(r, RATE_REQUEST, &ann, 0), 0);
}

static void test_giving_back(void **state)
{
    struct rates *r = *state;
    struct rate_key ann = user(r, "ann"), bob = user(r, "bob");
    limit(r, RATE_REQUEST, RATE_USER, 1, 4);
    assert_int_equal(drain(r, RATE_REQUEST, &ann, SECOND), 4);
    rates_give_back(r, RATE_REQUEST, &ann, 2, SECOND);
    assert_int_equal(drain(r, RATE_REQUEST, &ann, SECOND), 2);
    rates_give_back(r, RATE_REQUEST, &ann, UINT64_MAX, SECOND);
    assert_int_equal(drain(r, RATE_REQUEST, &ann, SECOND), 4);
    rates_give_back(r, RATE_REQUEST, &bob, 1, SECOND); /* unknown: nothing */
    assert_int_equal(drain(r, RATE_REQUEST, &bob, SECOND), 4);
}

static void test_owing(void **state)
{
    struct rates *r = *state;
    struct rate_key ann = user(r, "ann");
    uint64_t wait;
    rates_owe(r, RATE_BYTES, &ann, UINT64_MAX, SECOND); /* without a limit: nothing */
    limit(r, RATE_BYTES, RATE_USER, 1000, 4);
    assert_true(rates_take(r, RATE_BYTES, &ann, 1, SECOND, NULL));
    rates_owe(r, RATE_BYTES, &ann, 13, SECOND); /* three are there */
    assert_false(rates_take(r, RATE_BYTES, &ann, 1, SECOND, &wait));
    assert_int_equal(wait, 11 * SECOND);
    assert_false(rates_take(r, RATE_BYTES, &ann, 1, 12 * SECOND - 1, NULL));
    assert_true(rates_take(r, RATE_BYTES, &ann, 1, 12 * SECOND, NULL));
    for (int i = 0; i < 3; i++)
        rates_owe(r, RATE_BYTES, &ann, UINT64_MAX, 12 * SECOND); /* so much and no more */
    assert_false(rates_take(r, RATE_BYTES, &ann, 1, 12 * SECOND, &wait));
    assert_int_equal(wait, (RATE_BURST_MAX + 1) * SECOND);
}

static void test_all_or_none(void **state)
{
    struct rates *r = *state;
    uint64_t wait;
    struct rate_key keys[] = {user(r, "ann"), rates_key(r, RATE_TOKEN, "t", 1), rates_key(r, RATE_ADDRESS, "a", 1)};
    limit(r, RATE_REQUEST, RATE_USER, 1000, 10);
    limit(r, RATE_REQUEST, RATE_TOKEN, 100, 2);
    limit(r, RATE_REQUEST, RATE_ADDRESS, 1000, 10);
    assert_true(rates_take_all(r, RATE_REQUEST, keys, 3, 1, SECOND, NULL));
    assert_true(rates_take_all(r, RATE_REQUEST, keys, 3, 1, SECOND, &wait));
    assert_int_equal(wait, 0);
    for (int i = 0; i < 100; i++)
        assert_false(rates_take_all(r, RATE_REQUEST, keys, 3, 1, SECOND, &wait));
    assert_int_equal(wait, 10 * SECOND);
    assert_int_equal(drain(r, RATE_REQUEST, &keys[0], SECOND), 8);
    assert_int_equal(drain(r, RATE_REQUEST, &keys[2], SECOND), 8);
}

static void test_settings_change(void **state)
{
    struct rates *r = *state;
    struct rate_key ann = user(r, "ann");
    limit(r, RATE_REQUEST, RATE_USER, 1, 100);
    assert_true(rates_take(r, RATE_REQUEST, &ann, 1, SECOND, NULL));
    limit(r, RATE_REQUEST, RATE_USER, 1, 3);
    assert_int_equal(drain(r, RATE_REQUEST, &ann, SECOND), 3);
    limit(r, RATE_REQUEST, RATE_USER, 1, 100); /* what is gone is gone */
    assert_int_equal(drain(r, RATE_REQUEST, &ann, SECOND), 0);
    limit(r, RATE_REQUEST, RATE_USER, 0, 0);
    assert_true(rates_take(r, RATE_REQUEST, &ann, 1000, SECOND, NULL));
}

/* --- many keys --- */

static struct rate_key numbered(struct rates *r, enum rate_scope scope, uint64_t n)
{
    return rates_key(r, scope, &n, sizeof n);
}

/* Who has used up his own cannot have it forgotten by coming from elsewhere, be it gently or with all that there is. */
static void test_nobody_gains_by_eviction(void **state)
{
    struct rates *r = *state;
    struct rate_key ann = numbered(r, RATE_ADDRESS, UINT64_MAX);
    limit(r, RATE_LOGIN, RATE_ADDRESS, 1, 5);
    for (int gently = 1; gently >= 0; gently--) {
        assert_true(drain(r, RATE_LOGIN, &ann, SECOND) <= 5);
        for (uint64_t i = 0; i < 100000; i++) {
            struct rate_key other = numbered(r, RATE_ADDRESS, i);
            if (gently)
                (void)rates_take(r, RATE_LOGIN, &other, 1, SECOND, NULL);
            else
                (void)drain(r, RATE_LOGIN, &other, SECOND);
        }
        assert_int_equal(drain(r, RATE_LOGIN, &ann, SECOND), 0);
    }
}

/* Whatever the number of addresses, there is no more than the table holds: 64 buckets of 5, and what they gain. */
static void test_all_together_are_bounded(void **state)
{
    struct rates *r = *state;
    unsigned given = 0;
    limit(r, RATE_LOGIN, RATE_ADDRESS, 1000, 5);
    for (uint64_t i = 0; i < 10000; i++) {
        struct rate_key key = numbered(r, RATE_ADDRESS, i);
        given += drain(r, RATE_LOGIN, &key, SECOND + i * 1000);
    }
    assert_in_range(given, 64 * 5, 64 * (5 + 10));
}

static void test_addresses_do_not_touch_users(void **state)
{
    struct rates *r = *state;
    struct rate_key ann = user(r, "ann"), bob = user(r, "bob");
    for (enum rate_scope scope = 0; scope < RATE_SCOPE_MAX; scope++)
        limit(r, RATE_LOGIN, scope, 1, 5);
    assert_int_equal(drain(r, RATE_LOGIN, &ann, SECOND), 5);
    for (uint64_t i = 0; i < 100000; i++) {
        struct rate_key key = numbered(r, RATE_ADDRESS, i);
        (void)rates_take(r, RATE_LOGIN, &key, 1, SECOND, NULL);
    }
    assert_int_equal(drain(r, RATE_LOGIN, &ann, SECOND), 0);
    assert_int_equal(drain(r, RATE_LOGIN, &bob, SECOND), 5);
}

/* The same calls on a table where all have room: nobody ever gets more from a small one. */
static void test_small_is_never_more_generous(void **state)
{
    struct rates *r = *state, *large = rates_new(1 << 16);
    enum { KEYS = 300 };
    unsigned got[KEYS] = {0}, owed[KEYS] = {0};
    uint64_t random = 12345, now = SECOND;
    assert_non_null(large);
    limit(r, RATE_REQUEST, RATE_ADDRESS, 500, 8);
    limit(large, RATE_REQUEST, RATE_ADDRESS, 500, 8);
    for (int i = 0; i < 200000; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        uint64_t n = (random >> 33) % KEYS * ((random >> 50) % 3) / 2; /* some more often than others */
        struct rate_key small_key = numbered(r, RATE_ADDRESS, n), large_key = numbered(large, RATE_ADDRESS, n);
        got[n] += rates_take(r, RATE_REQUEST, &small_key, 1, now, NULL);
        owed[n] += rates_take(large, RATE_REQUEST, &large_key, 1, now, NULL);
        if (got[n] > owed[n])
            fail_msg("key %d has got more", (int)n);
        now += random >> 60 == 0 ? 3000 : 50;
    }
    rates_free(large);
}

/* --- peers --- */

static struct rate_key peer(struct rates *r, const char *text)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = 1};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = 1};
    if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
        return rates_key_of_peer(r, (struct sockaddr *)&in, sizeof in);
    assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
    return rates_key_of_peer(r, (struct sockaddr *)&in6, sizeof in6);
}

static bool same(struct rates *r, const char *a, const char *b)
{
    struct rate_key x = peer(r, a), y = peer(r, b);
    return memcmp(x.hash, y.hash, sizeof x.hash) == 0;
}

static void test_peers(void **state)
{
    struct rates *r = *state;
    assert_true(same(r, "10.0.0.1", "10.0.0.1"));
    assert_false(same(r, "10.0.0.1", "10.0.0.2"));
    assert_true(same(r, "10.0.0.1", "::ffff:10.0.0.1"));
    assert_true(same(r, "2001:db8:1:2::1", "2001:db8:1:2:ffff::9"));
    assert_false(same(r, "2001:db8:1:2::1", "2001:db8:1:3::1"));
    assert_false(same(r, "32.1.13.184", "2001:db8::"));
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct sockaddr_in cut = {.sin_family = AF_INET};
    struct rate_key a = rates_key_of_peer(r, (struct sockaddr *)&un, 2), b = rates_key_of_peer(r, NULL, 0),
                    c = rates_key_of_peer(r, (struct sockaddr *)&cut, 3);
    assert_memory_equal(a.hash, b.hash, sizeof a.hash);
    assert_memory_equal(a.hash, c.hash, sizeof a.hash);
    struct rates *other = rates_new(1); /* another secret */
    struct rate_key d = rates_key_of_peer(other, NULL, 0);
    assert_memory_not_equal(a.hash, d.hash, sizeof a.hash);
    rates_free(other);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_without_limit),
        T(test_burst_and_rate),
        T(test_it_is_exact),
        T(test_more_than_the_burst_is_owed),
        T(test_largest_numbers),
        T(test_a_clock_that_jumps),
        T(test_giving_back),
        T(test_owing),
        T(test_all_or_none),
        T(test_settings_change),
        T(test_nobody_gains_by_eviction),
        T(test_all_together_are_bounded),
        T(test_addresses_do_not_touch_users),
        T(test_small_is_never_more_generous),
        T(test_peers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
