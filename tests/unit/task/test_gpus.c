/* SPDX-License-Identifier: Apache-2.0 */
/* Who holds which GPU, and what the queue makes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "task/queue.h"

#define WHOLE(n) ((struct gpu_need){.whole = (n)})
#define SHARE(bytes) ((struct gpu_need){.memory_bytes = (bytes)})

static struct gpus three(void)
{
    return (struct gpus){.device = {{.memory_bytes = 10}, {.memory_bytes = 20}, {.memory_bytes = 30}}, .n = 3};
}

static void whole_devices(void **state UNUSED)
{
    struct gpus g = three();
    assert_false(gpus_fit(&g, &WHOLE(4)));
    assert_true(gpus_fit(&g, &WHOLE(3)));
    uint32_t two = gpus_take(&g, &WHOLE(2)), one = gpus_take(&g, &WHOLE(1));
    assert_int_equal(two | one, 7);
    assert_int_equal(two & one, 0);
    assert_int_equal(gpus_free(&g), 0);
    assert_false(gpus_fit(&g, &WHOLE(1)));
    assert_false(gpus_fit(&g, &SHARE(1)));
    gpus_give_back(&g, &WHOLE(2), two);
    assert_true(gpus_fit(&g, &WHOLE(2)));
    gpus_give_back(&g, &WHOLE(1), one);
    assert_int_equal(gpus_free(&g), 3);
}

static void shares_go_where_they_fit_closely(void **state UNUSED)
{
    struct gpus g = three();
    assert_int_equal(gpus_take(&g, &SHARE(15)), 2); /* the second: the least that will do */
    assert_int_equal(gpus_take(&g, &SHARE(5)), 2);  /* shared already, and so before one that is free */
    assert_int_equal(gpus_take(&g, &SHARE(5)), 1);
    assert_int_equal(gpus_free(&g), 1);
    assert_int_equal(gpus_take(&g, &WHOLE(1)), 4);
    assert_false(gpus_fit(&g, &SHARE(6)));
    assert_true(gpus_fit(&g, &SHARE(5)));
    gpus_give_back(&g, &SHARE(15), 2);
    assert_true(gpus_fit(&g, &SHARE(15)));
    assert_false(gpus_fit(&g, &WHOLE(1))); /* somebody has five of it yet */
    gpus_give_back(&g, &SHARE(5), 2);
    assert_true(gpus_fit(&g, &WHOLE(1)));
}

static void what_can_never_be(void **state UNUSED)
{
    struct gpus g = three(), none = {0}, unknown = {.n = 1};
    assert_true(gpus_could_fit(&g, &WHOLE(3)) && gpus_could_fit(&g, &SHARE(30)));
    assert_false(gpus_could_fit(&g, &WHOLE(4)) || gpus_could_fit(&g, &SHARE(31)));
    assert_false(gpus_could_fit(&none, &WHOLE(1)) || gpus_could_fit(&none, &SHARE(1)));
    assert_false(gpus_could_fit(&unknown, &SHARE(1)));
    assert_true(gpus_could_fit(&unknown, &WHOLE(1)));
    assert_true(gpus_fit(&none, &WHOLE(0)) && gpus_could_fit(&none, &WHOLE(0)));
}

/* What was held before is held again, even where it is not free; what is not there any more is left out. */
static void held_by_somebody_already(void **state UNUSED)
{
    struct gpus g = three();
    assert_int_equal(gpus_hold(&g, &WHOLE(2), 5 | 1u << 9), 5);
    assert_int_equal(gpus_hold(&g, &SHARE(25), 2), 2); /* more than it has */
    assert_false(gpus_fit(&g, &SHARE(1)));
    gpus_give_back(&g, &SHARE(25), 2);
    gpus_give_back(&g, &WHOLE(2), 5);
    assert_int_equal(gpus_free(&g), 3);
    assert_int_equal(gpus_largest_share(&g), 30);
}

static uint32_t seed = 12345;

static uint32_t random_below(uint32_t n)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % n;
}

/* Whatever happens, no device is promised twice, and in the end nothing is held. */
static void the_ledger_is_exact(void **state UNUSED)
{
    enum { MANY = 40, STEPS = 50000, DEVICES = 5 };
    struct {
        struct gpu_need need;
        uint32_t devices;
        bool held;
    } all[MANY] = {0};
    struct gpus g = {.n = DEVICES};
    for (size_t i = 0; i < DEVICES; i++)
        g.device[i].memory_bytes = 100;
    for (int step = 0; step < STEPS; step++) {
        size_t i = random_below(MANY);
        if (all[i].held) {
            gpus_give_back(&g, &all[i].need, all[i].devices);
            all[i].held = false;
        } else {
            all[i].need = random_below(3) ? SHARE(1 + random_below(100)) : WHOLE(1 + random_below(DEVICES));
            all[i].held = gpus_fit(&g, &all[i].need);
            if (all[i].held)
                all[i].devices = gpus_take(&g, &all[i].need);
        }
        for (size_t d = 0; d < DEVICES; d++) {
            uint64_t used = 0;
            unsigned whole = 0, sharers = 0;
            for (size_t t = 0; t < MANY; t++) {
                if (!all[t].held || !(all[t].devices & 1u << d))
                    continue;
                whole += all[t].need.whole > 0;
                sharers += all[t].need.whole == 0;
                used += all[t].need.memory_bytes;
            }
            assert_true(whole <= 1 && (whole == 0 || sharers == 0) && used <= 100);
            assert_true(
                used == g.device[d].used_bytes && sharers == g.device[d].sharers && !!whole == g.device[d].whole);
        }
    }
    for (size_t i = 0; i < MANY; i++) {
        if (all[i].held)
            gpus_give_back(&g, &all[i].need, all[i].devices);
    }
    assert_int_equal(gpus_free(&g), DEVICES);
}

/* --- in the queue --- */

static struct queue_entry entry(struct queue *q, const char *owner, struct gpu_need need)
{
    return (struct queue_entry){.owner = queue_owner_get(q, owner), .need = {.gpus = need}};
}

static void tasks_take_turns_at_a_gpu(void **state UNUSED)
{
    const uint64_t memory[] = {100};
    struct queue q;
    queue_init(&q, 0);
    queue_set_gpus(&q, memory, 1);
    struct queue_entry first = entry(&q, "a", WHOLE(1)), second = entry(&q, "a", WHOLE(1)),
                       plain = entry(&q, "a", WHOLE(0));
    queue_add(&q, &first, false, 1);
    queue_add(&q, &second, false, 1);
    queue_add(&q, &plain, false, 1);
    assert_ptr_equal(queue_take(&q, 1), &first);
    assert_int_equal(first.gpus, 1);
    assert_ptr_equal(queue_take(&q, 1), &plain); /* goes before the one that does not fit */
    assert_null(queue_take(&q, 1));
    queue_finished(&q, &first);
    assert_int_equal(first.gpus, 0);
    assert_ptr_equal(queue_take(&q, 1), &second);
    queue_finished(&q, &second);
    queue_finished(&q, &plain);
    for (int i = 0; i < 3; i++)
        queue_owner_put(&q, first.owner);
    queue_done(&q);
}

/* It waits for a GPU that has gone since: that must not hold up the others for ever. */
static void who_can_never_start_holds_nobody_up(void **state UNUSED)
{
    struct queue q;
    queue_init(&q, 0);
    struct queue_entry stuck = entry(&q, "a", WHOLE(1)), plain = entry(&q, "a", WHOLE(0));
    queue_add(&q, &stuck, false, 1);
    for (uint64_t now = 1; now < 10 * (uint64_t)QUEUE_BACKFILL_US; now += QUEUE_BACKFILL_US) {
        queue_add(&q, &plain, false, 1);
        assert_ptr_equal(queue_take(&q, now), &plain);
        assert_null(queue_take(&q, now));
        queue_finished(&q, &plain);
    }
    queue_remove(&q, &stuck);
    queue_owner_put(&q, stuck.owner);
    queue_owner_put(&q, stuck.owner);
    queue_done(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_devices),
        cmocka_unit_test(shares_go_where_they_fit_closely),
        cmocka_unit_test(what_can_never_be),
        cmocka_unit_test(held_by_somebody_already),
        cmocka_unit_test(the_ledger_is_exact),
        cmocka_unit_test(tasks_take_turns_at_a_gpu),
        cmocka_unit_test(who_can_never_start_holds_nobody_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
