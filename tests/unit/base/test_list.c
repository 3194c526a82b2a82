/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "base/list.h"

struct item {
    int number;
    struct list link;
};

static void check(struct list *head, const int *want, size_t n)
{
    size_t i = 0;
    list_for_each (it, head) {
        assert_true(i < n);
        assert_int_equal(CONTAINER_OF(it, struct item, link)->number, want[i++]);
        assert_ptr_equal(it->next->prev, it);
    }
    assert_int_equal(i, n);
    assert_int_equal(list_empty(head), n == 0);
}

static void keeps_order(void **state)
{
    (void)state;
    struct list head;
    struct item items[4];
    list_init(&head);
    check(&head, NULL, 0);
    assert_null(LIST_FIRST(&head, struct item, link));
    for (int i = 0; i < 4; i++) {
        items[i].number = i;
        list_push(&head, &items[i].link);
    }
    check(&head, (int[]){0, 1, 2, 3}, 4);
    assert_ptr_equal(LIST_FIRST(&head, struct item, link), &items[0]);
    list_remove(&items[1].link);
    check(&head, (int[]){0, 2, 3}, 3);
    list_remove(&items[1].link); /* in no list any more: nothing happens */
    check(&head, (int[]){0, 2, 3}, 3);
    list_remove(&items[0].link);
    list_remove(&items[3].link);
    check(&head, (int[]){2}, 1);
    list_push(&head, &items[1].link);
    check(&head, (int[]){2, 1}, 2);
}

static void safe_walk_allows_removal(void **state)
{
    (void)state;
    struct list head;
    struct item items[6];
    list_init(&head);
    for (int i = 0; i < 6; i++) {
        items[i].number = i;
        list_push(&head, &items[i].link);
    }
    list_for_each_safe (it, &head) {
        if (CONTAINER_OF(it, struct item, link)->number % 2 == 0)
            list_remove(it);
    }
    check(&head, (int[]){1, 3, 5}, 3);
    list_for_each_safe (it, &head)
        list_remove(it);
    check(&head, NULL, 0);
}

static void splice_moves_all(void **state)
{
    (void)state;
    struct list a, b;
    struct item items[4];
    list_init(&a);
    list_init(&b);
    for (int i = 0; i < 4; i++) {
        items[i].number = i;
        list_push(i < 2 ? &a : &b, &items[i].link);
    }
    list_splice(&a, &b);
    check(&a, (int[]){0, 1, 2, 3}, 4);
    check(&b, NULL, 0);
    list_splice(&a, &b);
    check(&a, (int[]){0, 1, 2, 3}, 4);
    list_splice(&b, &a); /* into an empty one */
    check(&b, (int[]){0, 1, 2, 3}, 4);
    check(&a, NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_order),
        cmocka_unit_test(safe_walk_allows_removal),
        cmocka_unit_test(splice_moves_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
