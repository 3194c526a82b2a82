/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <string.h>

#include "base/heap.h"
#include "base/util.h"

enum { N = 500 };

static uint32_t state_of_random = 1;

static uint32_t random_below(uint32_t n)
{
    state_of_random = state_of_random * 1664525 + 1013904223;
    return (state_of_random >> 8) % n;
}

static void it_sorts(void **state)
{
    (void)state;
    static struct heap_node nodes[N];
    struct heap h = {0};
    assert_null(heap_first(&h));
    for (size_t i = 0; i < N; i++)
        heap_push(&h, &nodes[i], random_below(100));
    uint64_t last = 0;
    for (size_t i = 0; i < N; i++) {
        struct heap_node *first = heap_first(&h);
        assert_non_null(first);
        assert_true(first->key >= last);
        last = first->key;
        heap_remove(&h, first);
        static const struct heap_node none;
        assert_memory_equal(first, &none, sizeof none);
    }
    assert_null(heap_first(&h));
}

/* Random pushes and removals of any node, against a list of what is in. */
static void any_node_can_go(void **state)
{
    (void)state;
    static struct heap_node nodes[N];
    static bool in[N];
    struct heap h = {0};
    for (int round = 0; round < 50000; round++) {
        size_t i = random_below(N);
        if (in[i])
            heap_remove(&h, &nodes[i]);
        else
            heap_push(&h, &nodes[i], random_below(1000));
        in[i] = !in[i];
        const struct heap_node *least = NULL;
        for (size_t k = 0; k < N; k++) {
            if (in[k] && (!least || nodes[k].key < least->key))
                least = &nodes[k];
        }
        assert_true(!least == !heap_first(&h));
        if (least)
            assert_int_equal(heap_first(&h)->key, least->key);
    }
}

/* What is sorted already makes the deepest trees: nothing may recurse over them. */
static void a_deep_heap(void **state)
{
    (void)state;
    enum { DEEP = 1000000 };
    struct heap_node *nodes = calloc(DEEP, sizeof *nodes);
    struct heap h = {0};
    assert_non_null(nodes);
    for (size_t i = 0; i < DEEP; i++)
        heap_push(&h, &nodes[i], DEEP - i); /* each becomes the parent of all before */
    heap_remove(&h, &nodes[0]);
    for (size_t i = DEEP - 1; i > 0; i--) {
        assert_ptr_equal(heap_first(&h), &nodes[i]);
        heap_remove(&h, &nodes[i]);
    }
    assert_null(heap_first(&h));
    for (size_t i = 0; i < DEEP; i++)
        heap_push(&h, &nodes[i], i); /* each becomes a child of the first */
    for (size_t i = 0; i < DEEP; i++)
        heap_remove(&h, &nodes[i]);
    assert_null(heap_first(&h));
    free(nodes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_sorts), cmocka_unit_test(any_node_can_go), cmocka_unit_test(a_deep_heap)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
