/* SPDX-License-Identifier: Apache-2.0 */
#include <stdbool.h>

#include "access/delays.h"
#include "fixture.h"

#define START (1000 * SECOND)

static struct delays *make(void)
{
    struct delays *d = delays_new();
    assert_non_null(d);
    return d;
}

/* Three for nothing, then 1 s, 2 s, 4 s... up to 5 minutes. */
static void test_grows(void **state UNUSED)
{
    struct delays *d = make();
    struct delays_key key = delays_key(d, "ann", "10.0.0.1");
    uint64_t now = START, expected = SECOND;
    for (int i = 0; i < DELAYS_FREE_TRIES; i++)
        assert_int_equal(delays_try(d, key, now), 0);
    for (int i = 0; i < 40; i++) {
        assert_int_equal(delays_try(d, key, now), 0);
        assert_int_equal(delays_try(d, key, now), expected);
        assert_int_equal(delays_try(d, key, now + expected - 1), 1); /* to ask early costs nothing */
        now += expected;
        expected = MIN(2 * expected, (uint64_t)DELAYS_LONGEST_US);
    }
    assert_int_equal(expected, 300 * SECOND);
    delays_succeeded(d, key);
    for (int i = 0; i <= DELAYS_FREE_TRIES; i++)
        assert_int_equal(delays_try(d, key, now), 0);
    assert_int_equal(delays_try(d, key, now), SECOND);
    assert_null(delays_free(d));
}

static void fail_often(struct delays *d, const char *user, const char *address, uint64_t now)
{
    for (int i = 0; i <= DELAYS_FREE_TRIES; i++)
        assert_int_equal(delays_try(d, delays_key(d, user, address), now), 0);
    assert_true(delays_try(d, delays_key(d, user, address), now) > 0);
}

/* Nobody shuts another one out. */
static void test_apart(void **state UNUSED)
{
    struct delays *d = make();
    fail_often(d, "ann", "10.0.0.1", START);
    assert_int_equal(delays_try(d, delays_key(d, "ann", "10.0.0.2"), START), 0);
    assert_int_equal(delays_try(d, delays_key(d, "bob", "10.0.0.1"), START), 0);
    assert_int_equal(delays_try(d, delays_key(d, "ann1", "0.0.0.1"), START), 0);
    assert_true(delays_key(d, "ab", "c").hash != delays_key(d, "a", "bc").hash);
    assert_true(delays_key(d, "", "a").hash != delays_key(d, "a", "").hash);
    struct delays *other = make(); /* with another secret */
    assert_true(delays_key(d, "ann", "10.0.0.1").hash != delays_key(other, "ann", "10.0.0.1").hash);
    delays_free(other);
    delays_free(d);
}

static void test_given_back(void **state UNUSED)
{
    struct delays *d = make();
    struct delays_key key = delays_key(d, "ann", "10.0.0.1");
    for (int i = 0; i < 10; i++) {
        assert_int_equal(delays_try(d, key, START), 0);
        delays_give_back(d, key);
    }
    fail_often(d, "ann", "10.0.0.1", START);
    delays_give_back(d, delays_key(d, "bob", "10.0.0.1"));
    delays_succeeded(d, delays_key(d, "bob", "10.0.0.1"));
    delays_free(d);
}

static void test_forgotten(void **state UNUSED)
{
    struct delays *d = make();
    struct delays_key key = delays_key(d, "ann", "10.0.0.1");
    fail_often(d, "ann", "10.0.0.1", START);
    assert_int_equal(delays_try(d, key, START + SECOND + DELAYS_FORGET_US), 0); /* not yet */
    assert_int_equal(delays_try(d, key, START + SECOND + DELAYS_FORGET_US), 2 * SECOND);
    fail_often(d, "ann", "10.0.0.1", START + 2 * (2 * SECOND + DELAYS_FORGET_US));
    delays_free(d);
}

/* Any number of pairs takes no more memory, and does not make the one that has to wait longest free. */
static void test_many(void **state UNUSED)
{
    struct delays *d = make();
    uint64_t now = START;
    struct delays_key ann = delays_key(d, "ann", "10.0.0.1");
    for (int i = 0; i < 20; i++) {
        uint64_t wait = delays_try(d, ann, now);
        now += wait;
    }
    assert_true(delays_try(d, ann, now) > 0);
    for (int i = 0; i < 3 * DELAYS_PAIRS; i++) {
        char address[20];
        snprintf(address, sizeof address, "10.1.%d.%d", i / 256, i % 256);
        assert_int_equal(delays_try(d, delays_key(d, "ann", address), now), 0);
    }
    assert_true(delays_try(d, ann, now) > 0);
    delays_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grows),
        cmocka_unit_test(test_apart),
        cmocka_unit_test(test_given_back),
        cmocka_unit_test(test_forgotten),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
