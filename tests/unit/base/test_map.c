/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/util.h"

static void empty_map_answers(void **state)
{
    (void)state;
    struct map m;
    map_init(&m);
    assert_null(map_get(&m, "x"));
    assert_null(map_remove(&m, "x"));
    map_for_each (it, &m)
        fail();
    map_done(&m);
    map_done(&m);
}

static void put_get_remove(void **state)
{
    (void)state;
    struct map m;
    map_init(&m);
    int one = 1, two = 2;
    assert_int_equal(map_put(&m, "a", &one), 0);
    assert_int_equal(map_put(&m, "", &two), 0); /* the empty string is a key like any other */
    assert_int_equal(map_put(&m, "a", &two), -EEXIST);
    assert_ptr_equal(map_get(&m, "a"), &one);
    assert_ptr_equal(map_get(&m, ""), &two);
    assert_null(map_get(&m, "b"));
    assert_int_equal(m.count, 2);
    assert_ptr_equal(map_remove(&m, "a"), &one);
    assert_null(map_remove(&m, "a"));
    assert_null(map_get(&m, "a"));
    assert_int_equal(m.count, 1);
    map_done(&m);
}

static void each_map_hashes_differently(void **state)
{
    (void)state;
    struct map a, b;
    map_init(&a);
    map_init(&b);
    assert_memory_not_equal(a.secret, b.secret, sizeof a.secret);
    map_put(&a, "key", &a);
    map_put(&b, "key", &b);
    uint64_t hash_a = 0, hash_b = 0;
    map_for_each (it, &a)
        hash_a = it->hash;
    map_for_each (it, &b)
        hash_b = it->hash;
    assert_true(hash_a != hash_b);
    map_done(&a);
    map_done(&b);
}

/*
 * Keys that all begin at the same place, or at the last places of the table so that probing wraps around: removing each
 * of them must leave the others findable. The secret is fixed, so that the collisions can be searched for.
 */
static void check_removals(size_t home_from, size_t n_homes)
{
    enum { KEYS = 8 };
    static char keys[KEYS][16];
    struct map m;
    map_init(&m);
    m.secret[0] = m.secret[1] = 42;
    size_t found = 0;
    for (unsigned i = 0; found < KEYS; i++) {
        snprintf(keys[found], sizeof keys[found], "k%u", i);
        assert_int_equal(map_put(&m, keys[found], keys[found]), 0);
        uint64_t hash = 0;
        map_for_each (it, &m) {
            if (it->key == keys[found])
                hash = it->hash;
        }
        assert_int_equal(m.cap, 16);
        if (((hash - home_from) & 15) < n_homes)
            found++;
        else
            assert_non_null(map_remove(&m, keys[found]));
    }
    for (size_t gone = 0; gone < KEYS; gone++) {
        assert_ptr_equal(map_remove(&m, keys[gone]), keys[gone]);
        for (size_t i = 0; i < KEYS; i++)
            assert_ptr_equal(map_get(&m, keys[i]), i == gone ? NULL : keys[i]);
        assert_int_equal(map_put(&m, keys[gone], keys[gone]), 0);
    }
    map_done(&m);
}

static void collisions_survive_removal(void **state)
{
    (void)state;
    check_removals(3, 1);
    check_removals(15, 1);
    check_removals(13, 4);
    check_removals(14, 2);
}

/* Random operations against a plain array that says what must be there. */
static void behaves_like_the_model(void **state)
{
    (void)state;
    enum { KEYS = 600, STEPS = 200000 };
    static char keys[KEYS][12];
    bool present[KEYS] = {false};
    size_t count = 0;
    for (size_t i = 0; i < KEYS; i++)
        snprintf(keys[i], sizeof keys[i], "key-%zu", i);
    struct map m;
    map_init(&m);
    unsigned seed = 12345;
    for (unsigned step = 0; step < STEPS; step++) {
        size_t i = (size_t)rand_r(&seed) % KEYS;
        /* Waves: mostly filling, then mostly emptying. */
        bool put = rand_r(&seed) % 10 < (step / 5000 % 2 ? 3 : 7);
        if (put) {
            assert_int_equal(map_put(&m, keys[i], keys[i]), present[i] ? -EEXIST : 0);
            count += !present[i];
            present[i] = true;
        } else {
            assert_ptr_equal(map_remove(&m, keys[i]), present[i] ? keys[i] : NULL);
            count -= present[i];
            present[i] = false;
        }
        assert_int_equal(m.count, count);
        size_t j = (size_t)rand_r(&seed) % KEYS;
        assert_ptr_equal(map_get(&m, keys[j]), present[j] ? keys[j] : NULL);
        if (step % 1000 == 0) {
            size_t seen = 0;
            map_for_each (it, &m) {
                assert_true(present[((const char *)it->value - keys[0]) / (ptrdiff_t)sizeof keys[0]]);
                seen++;
            }
            assert_int_equal(seen, count);
            for (size_t k = 0; k < KEYS; k++)
                assert_ptr_equal(map_get(&m, keys[k]), present[k] ? keys[k] : NULL);
        }
    }
    map_done(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_map_answers),
        cmocka_unit_test(put_get_remove),
        cmocka_unit_test(each_map_hashes_differently),
        cmocka_unit_test(collisions_survive_removal),
        cmocka_unit_test(behaves_like_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
