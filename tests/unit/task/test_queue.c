/* SPDX-License-Identifier: Apache-2.0 */
/* The queue by itself: its order, its bounds, its times; then random operations beside a model that looks at everything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "task/queue.h"

static struct queue_entry entry(struct queue *q, const char *owner, int priority)
{
    struct queue_entry e = {.owner = queue_owner_get(q, owner), .priority = priority};
    assert_non_null(e.owner);
    return e;
}

static void put_all(struct queue *q, struct queue_entry *entries, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (entries[i].in)
            queue_remove(q, &entries[i]);
        if (entries[i].running)
            queue_finished(q, &entries[i]);
        queue_owner_put(q, entries[i].owner);
    }
    assert_int_equal(q->len, 0);
    queue_done(q);
}

/* Takes all of them and writes down whose turn it was, by index. */
static void assert_order(struct queue *q, const struct queue_entry *entries, const char *order)
{
    char got[32] = "";
    const struct queue_entry *e;
    for (size_t i = 0; i < sizeof got - 1 && (e = queue_take(q, 1)); i++)
        got[i] = (char)('0' + (e - entries));
    assert_string_equal(got, order);
}

static void priorities_then_turns_then_order(void **state)
{
    (void)state;
    struct queue q;
    queue_init(&q, 0);
    struct queue_entry e[] = {entry(&q, "a", 0), entry(&q, "a", 0), entry(&q, "a", -100), entry(&q, "b", 0),
        entry(&q, "b", 100), entry(&q, "c", 0), entry(&q, "b", 0), entry(&q, "c", -1)};
    for (size_t i = 0; i < ARRAY_LEN(e); i++)
        queue_add(&q, &e[i], false, 0);
    assert_int_equal(q.len, 8);
    assert_order(&q, e, "40531672"); /* b has had its turn when its 4 was taken: it is behind c */
    assert_int_equal(q.len, 0);
    put_all(&q, e, ARRAY_LEN(e));
}

static void the_front(void **state)
{
    (void)state;
    struct queue q;
    queue_init(&q, 0);
    struct queue_entry e[] = {
        entry(&q, "a", 0), entry(&q, "b", 0), entry(&q, "b", 0), entry(&q, "b", 0), entry(&q, "b", -1)};
    queue_add(&q, &e[0], false, 0);
    queue_add(&q, &e[1], false, 0);
    queue_add(&q, &e[2], true, 0);
    queue_add(&q, &e[3], true, 0);
    queue_add(&q, &e[4], true, 0); /* before others of its priority only */
    assert_order(&q, e, "30214");
    put_all(&q, e, ARRAY_LEN(e));
}

static void owners_have_a_bound(void **state)
{
    (void)state;
    struct queue q;
    queue_init(&q, 2);
    struct queue_entry e[] = {entry(&q, "a", 9), entry(&q, "a", 9), entry(&q, "a", 9), entry(&q, "b", 0)};
    for (size_t i = 0; i < ARRAY_LEN(e); i++)
        queue_add(&q, &e[i], false, 0);
    assert_order(&q, e, "013");
    assert_int_equal(queue_owner_running(e[0].owner), 2);
    assert_non_null(strstr(queue_why(&q, &e[2]), "MAX_TASKS_PER_OWNER"));
    queue_finished(&q, &e[3]);
    assert_null(queue_take(&q, 1));
    queue_finished(&q, &e[1]);
    assert_string_equal(queue_why(&q, &e[2]), "waits for its turn");
    assert_order(&q, e, "2");
    queue_add(&q, &e[1], false, 0);
    assert_null(queue_take(&q, 1));
    queue_set_max_running_per_owner(&q, 3);
    assert_order(&q, e, "1");
    queue_add(&q, &e[3], false, 0);
    queue_set_max_running_per_owner(&q, 1);
    assert_order(&q, e, "3");
    put_all(&q, e, ARRAY_LEN(e));
}

static void times(void **state)
{
    (void)state;
    struct queue q;
    queue_init(&q, 0);
    struct queue_entry e[] = {entry(&q, "a", 0), entry(&q, "a", 0), entry(&q, "a", 0)};
    e[0].not_before_us = 2000;
    e[0].deadline_us = 50;
    e[1].not_before_us = 1000;
    e[2].deadline_us = 60;
    assert_true(queue_next_us(&q, 0, 0) == UINT64_MAX);
    queue_add(&q, &e[0], false, 500);
    queue_add(&q, &e[1], false, 1000); /* its time has come */
    assert_false(e[1].asleep);
    queue_remove(&q, &e[1]);
    queue_add(&q, &e[1], false, 999);
    queue_add(&q, &e[2], false, 999);
    assert_int_equal(queue_next_us(&q, 999, 0), 1);
    assert_int_equal(queue_next_us(&q, 400, 0), 50);
    assert_int_equal(queue_next_us(&q, 400, 51), 0);
    assert_int_equal(queue_next_us(&q, 5000, 0), 0);
    assert_string_equal(queue_why(&q, &e[1]), "waits until its start time");
    assert_order(&q, e, "2");
    queue_wake(&q, 999);
    assert_null(queue_take(&q, 1));
    queue_wake(&q, 1000);
    assert_order(&q, e, "1");
    assert_null(queue_take_expired(&q, 49));
    assert_ptr_equal(queue_take_expired(&q, 50), &e[0]); /* also while it sleeps */
    assert_false(e[0].in);
    assert_null(queue_take_expired(&q, UINT64_MAX));
    assert_true(queue_next_us(&q, 0, 0) == UINT64_MAX);
    put_all(&q, e, ARRAY_LEN(e));
}

static void owners_are_counted(void **state)
{
    (void)state;
    struct queue q;
    queue_init(&q, 0);
    struct queue_owner *a = queue_owner_get(&q, "a"), *b = queue_owner_get(&q, "");
    assert_ptr_not_equal(a, b);
    assert_ptr_equal(queue_owner_get(&q, "a"), a);
    queue_owner_put(&q, a);
    assert_ptr_equal(queue_owner_get(&q, "a"), a);
    queue_owner_put(&q, a);
    queue_owner_put(&q, a);
    queue_owner_put(&q, b);
    assert_int_equal(q.owners.count, 0);
    queue_done(&q);
}

/* --- beside a model --- */

enum { ENTRIES = 60, OWNERS = 5, ROUNDS = 40000 };

static uint32_t state_of_random = 7;

static uint32_t random_below(uint32_t n)
{
    state_of_random = state_of_random * 1664525 + 1013904223;
    return (state_of_random >> 8) % n;
}

struct model {
    struct queue q;
    struct queue_entry e[ENTRIES];
    uint64_t came[ENTRIES]; /* larger: later */
    uint64_t clock, wall, monotonic;
    unsigned limit;
};

static bool may_start(const struct model *m, size_t i)
{
    return m->e[i].in && m->e[i].not_before_us <= m->wall &&
        (!m->limit || queue_owner_running(m->e[i].owner) < m->limit);
}

/* Whether k must not go before i: of a lower priority, or of the same owner and priority and later. */
static bool is_behind(const struct model *m, size_t k, size_t i)
{
    if (m->e[k].priority != m->e[i].priority)
        return m->e[k].priority < m->e[i].priority;
    return m->e[k].owner == m->e[i].owner && m->came[k] > m->came[i];
}

static void check_take(struct model *m)
{
    queue_wake(&m->q, m->wall);
    struct queue_entry *e = queue_take(&m->q, 1);
    size_t i = e ? (size_t)(e - m->e) : 0;
    for (size_t k = 0; k < ENTRIES; k++) {
        if (!may_start(m, k))
            continue;
        if (!e)
            fail_msg("nothing was taken, but %zu waits", k);
        if (is_behind(m, i, k))
            fail_msg("%zu was taken before %zu", i, k);
    }
    if (e)
        assert_true(e->running && !e->in && e->not_before_us <= m->wall);
}

static void check_expired(struct model *m)
{
    struct queue_entry *e = queue_take_expired(&m->q, m->monotonic);
    for (size_t k = 0; k < ENTRIES; k++) {
        const struct queue_entry *other = &m->e[k];
        if (other->in && other->deadline_us && other->deadline_us <= m->monotonic)
            assert_true(e && e->deadline_us <= other->deadline_us);
    }
    if (e)
        assert_true(!e->in && e->deadline_us && e->deadline_us <= m->monotonic);
}

static void check_next(const struct model *m)
{
    uint64_t least = UINT64_MAX;
    size_t in = 0;
    for (size_t k = 0; k < ENTRIES; k++) {
        const struct queue_entry *e = &m->e[k];
        in += e->in;
        if (e->in && e->asleep)
            least = MIN(least, e->not_before_us > m->wall ? e->not_before_us - m->wall : 0);
        if (e->in && e->deadline_us)
            least = MIN(least, e->deadline_us > m->monotonic ? e->deadline_us - m->monotonic : 0);
    }
    assert_true(queue_next_us(&m->q, m->wall, m->monotonic) == least);
    assert_int_equal(m->q.len, in);
}

static void add_one(struct model *m, struct queue_entry *e)
{
    bool front = random_below(8) == 0;
    e->priority = (int)random_below(4) - 2;
    e->not_before_us = random_below(3) ? 0 : m->wall + random_below(40);
    e->deadline_us = random_below(3) ? 0 : m->monotonic + 1 + random_below(40);
    /* The model's order: those at the front come before all that there are. */
    m->came[e - m->e] = front ? (UINT64_C(1) << 32) - ++m->clock : (UINT64_C(1) << 32) + ++m->clock;
    queue_add(&m->q, e, front, m->wall);
}

static void random_operations(void **state)
{
    (void)state;
    static struct model m;
    queue_init(&m.q, 0);
    for (size_t i = 0; i < ENTRIES; i++) {
        char name[2] = {(char)('a' + i % OWNERS), '\0'};
        m.e[i] = entry(&m.q, name, 0);
    }
    for (int round = 0; round < ROUNDS; round++) {
        struct queue_entry *e = &m.e[random_below(ENTRIES)];
        m.monotonic += random_below(3);
        m.wall = random_below(200) ? m.wall + random_below(3) : random_below(10000); /* now and then it is set */
        if (e->running && random_below(2))
            queue_finished(&m.q, e);
        else if (e->in && random_below(6) == 0)
            queue_remove(&m.q, e);
        else if (!e->in && !e->running)
            add_one(&m, e);
        if (random_below(300) == 0)
            queue_set_max_running_per_owner(&m.q, m.limit = random_below(4));
        check_expired(&m);
        /* Awake is awake: what was woken stays so when the clock is set back. */
        for (size_t k = 0; k < ENTRIES; k++) {
            if (m.e[k].in && !m.e[k].asleep)
                m.e[k].not_before_us = 0;
        }
        if (random_below(2))
            check_take(&m);
        check_next(&m);
    }
    put_all(&m.q, m.e, ENTRIES);
}

/* No owner waits for more than one turn of each other that has the same priority. */
static void turns_are_fair(void **state)
{
    (void)state;
    enum { EACH = 10 };
    static struct queue_entry e[OWNERS * EACH];
    struct queue q;
    queue_init(&q, 0);
    for (size_t i = 0; i < OWNERS * EACH; i++) { /* all of one owner's first */
        char name[2] = {(char)('a' + i / EACH), '\0'};
        e[i] = entry(&q, name, 0);
        queue_add(&q, &e[i], false, 0);
    }
    for (size_t i = 0; i < OWNERS * EACH; i++) {
        struct queue_entry *taken = queue_take(&q, 1);
        assert_int_equal((size_t)(taken - e), i % OWNERS * EACH + i / OWNERS);
    }
    put_all(&q, e, OWNERS * EACH);
}

/* --- what entries need --- */

static struct queue_entry needing(struct queue *q, const char *owner, uint64_t cpu, uint64_t memory)
{
    struct queue_entry e = entry(q, owner, 0);
    e.need = (struct queue_need){cpu, memory};
    return e;
}

static void what_does_not_fit_waits(void **state)
{
    (void)state;
    struct queue q;
    queue_init(&q, 0);
    queue_set_total(&q, &(struct queue_need){4, 100});
    struct queue_entry e[] = {needing(&q, "a", 3, 10), needing(&q, "a", 2, 10), needing(&q, "a", 1, 10),
        needing(&q, "b", 1, 91), needing(&q, "b", 1, 0)};
    for (size_t i = 0; i < ARRAY_LEN(e); i++)
        queue_add(&q, &e[i], false, 0);
    assert_order(&q, e, "04"); /* 3 wants too much memory, and 4 is behind it; 1 and 2 more than is left */
    assert_int_equal(q.used.cpu_millis, 4);
    assert_int_equal(q.used.memory_bytes, 10);
    assert_false(queue_has_free(&q, &e[2].need));
    queue_finished(&q, &e[0]);
    assert_order(&q, e, "12");
    queue_finished(&q, &e[1]);
    queue_finished(&q, &e[2]);
    assert_order(&q, e, "3");
    queue_finished(&q, &e[3]);
    queue_finished(&q, &e[4]);
    assert_int_equal(q.used.cpu_millis, 0);
    assert_int_equal(q.used.memory_bytes, 0);
    put_all(&q, e, ARRAY_LEN(e));
}

static void small_ones_go_before_a_big_one_for_a_while(void **state)
{
    (void)state;
    struct queue q;
    queue_init(&q, 0);
    queue_set_total(&q, &(struct queue_need){4, 0});
    struct queue_entry e[] = {
        needing(&q, "a", 2, 0), needing(&q, "a", 4, 0), needing(&q, "a", 1, 0), needing(&q, "b", 1, 0)};
    for (size_t i = 0; i < ARRAY_LEN(e); i++)
        queue_add(&q, &e[i], false, 0);
    const uint64_t now = 1000;
    assert_ptr_equal(queue_take(&q, now), &e[0]);
    assert_ptr_equal(queue_take(&q, now), &e[3]); /* the other owner's turn */
    for (int i = 0; i < 2; i++) {
        assert_ptr_equal(queue_take(&q, now + (i ? QUEUE_BACKFILL_US - 1 : 0)), &e[2]);
        queue_finished(&q, &e[2]);
        queue_add(&q, &e[2], false, 0);
    }
    assert_null(queue_take(&q, now + QUEUE_BACKFILL_US)); /* there is room for it, but that is kept */
    queue_finished(&q, &e[0]);
    queue_finished(&q, &e[3]);
    assert_ptr_equal(queue_take(&q, now + QUEUE_BACKFILL_US), &e[1]);
    assert_null(queue_take(&q, now + QUEUE_BACKFILL_US));
    queue_finished(&q, &e[1]);
    assert_ptr_equal(queue_take(&q, now + QUEUE_BACKFILL_US), &e[2]);
    put_all(&q, e, ARRAY_LEN(e));
}

/* What is kept for one is kept from those alone that want it too. */
static void only_what_lacks_is_kept(void **state)
{
    (void)state;
    struct queue q;
    queue_init(&q, 0);
    queue_set_total(&q, &(struct queue_need){4, 0});
    queue_set_gpus(&q, (const uint64_t[]){100}, 1);
    struct queue_entry e[] = {needing(&q, "a", 1, 0), needing(&q, "a", 1, 0), needing(&q, "b", 1, 0),
        needing(&q, "b", 1, 0), needing(&q, "a", 1, 0)};
    e[0].need.gpus.whole = e[1].need.gpus.whole = e[2].need.gpus.whole = 1;
    const uint64_t now = 1000, later = now + QUEUE_BACKFILL_US;
    for (size_t i = 0; i < 2; i++)
        queue_add(&q, &e[i], false, 0);
    assert_ptr_equal(queue_take(&q, now), &e[0]);
    assert_null(queue_take(&q, now)); /* passed over from now on */
    for (size_t i = 2; i < ARRAY_LEN(e); i++)
        queue_add(&q, &e[i], false, 0);
    assert_ptr_equal(queue_kept_from(&q, &e[2], later), &e[1]);
    assert_null(queue_kept_from(&q, &e[3], later));
    assert_ptr_equal(queue_take(&q, later), &e[4]);
    assert_ptr_equal(queue_take(&q, later), &e[3]);
    assert_null(queue_take(&q, later));
    queue_finished(&q, &e[0]);
    assert_ptr_equal(queue_take(&q, later), &e[1]);
    queue_finished(&q, &e[1]);
    assert_ptr_equal(queue_take(&q, later), &e[2]);
    for (size_t i = 2; i < ARRAY_LEN(e); i++)
        queue_finished(&q, &e[i]);
    put_all(&q, e, ARRAY_LEN(e));
}

static void needs_change(void **state)
{
    (void)state;
    struct queue q;
    queue_init(&q, 0);
    queue_set_total(&q, &(struct queue_need){4, 0});
    struct queue_entry e[] = {needing(&q, "a", 4, 0), needing(&q, "a", 4, 0)};
    queue_add(&q, &e[0], false, 0);
    queue_add(&q, &e[1], false, 0);
    assert_order(&q, e, "0");
    const struct queue_need half = {2, 0};
    queue_set_need(&q, &e[1], &half);
    queue_set_total(&q, &(struct queue_need){3, 0}); /* less than is held: nothing is taken away */
    assert_int_equal(q.used.cpu_millis, 4);
    assert_null(queue_take(&q, 1));
    queue_finished(&q, &e[0]);
    assert_order(&q, e, "1");
    queue_finished(&q, &e[1]);
    assert_int_equal(q.used.cpu_millis, 0);
    put_all(&q, e, ARRAY_LEN(e));
}

/* Whatever happens, what is held is what those that run need, never more than there is, and in the end nothing. */
static void the_ledger_is_exact(void **state)
{
    (void)state;
    enum { MANY = 200, STEPS = 50000 };
    static struct queue_entry e[MANY];
    const struct queue_need total = {1000, 4096};
    struct queue q;
    uint64_t now = 1;
    queue_init(&q, 3);
    queue_set_total(&q, &total);
    for (int i = 0; i < MANY; i++) {
        char owner[8];
        snprintf(owner, sizeof owner, "%u", random_below(9));
        e[i] = needing(&q, owner, random_below(40) * 25,
            random_below(5) ? 64 : random_below(4097)); /* many different ones: the last lane */
    }
    for (int step = 0; step < STEPS; step++) {
        struct queue_entry *one = &e[random_below(MANY)];
        const struct queue_need need = {random_below(1001), random_below(4097)};
        now += random_below(1000000);
        if (one->running)
            queue_finished(&q, one);
        else if (one->in && random_below(4) == 0)
            queue_remove(&q, one);
        else if (one->in)
            queue_set_need(&q, one, &need);
        else
            queue_add(&q, one, random_below(2), 0);
        while (random_below(2) && queue_take(&q, now))
            ;
        struct queue_need sum = {0};
        for (int i = 0; i < MANY; i++) {
            sum.cpu_millis += e[i].running ? e[i].need.cpu_millis : 0;
            sum.memory_bytes += e[i].running ? e[i].need.memory_bytes : 0;
        }
        assert_int_equal(sum.cpu_millis, q.used.cpu_millis);
        assert_int_equal(sum.memory_bytes, q.used.memory_bytes);
        assert_true(sum.cpu_millis <= total.cpu_millis && sum.memory_bytes <= total.memory_bytes);
    }
    put_all(&q, e, MANY);
    assert_int_equal(q.used.cpu_millis, 0);
    assert_int_equal(q.used.memory_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(priorities_then_turns_then_order),
        cmocka_unit_test(the_front),
        cmocka_unit_test(owners_have_a_bound),
        cmocka_unit_test(times),
        cmocka_unit_test(owners_are_counted),
        cmocka_unit_test(random_operations),
        cmocka_unit_test(turns_are_fair),
        cmocka_unit_test(what_does_not_fit_waits),
        cmocka_unit_test(small_ones_go_before_a_big_one_for_a_while),
        cmocka_unit_test(only_what_lacks_is_kept),
        cmocka_unit_test(needs_change),
        cmocka_unit_test(the_ledger_is_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
