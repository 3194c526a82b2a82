/* SPDX-License-Identifier: Apache-2.0 */
/* An intrusive doubly linked list: the node lives in the element, the head is a node of its own. Nothing is allocated. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/util.h"

struct list {
    struct list *prev, *next;
};

static inline void list_init(struct list *l)
{
    l->prev = l->next = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

static inline void list_push(struct list *head, struct list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

/* Also right for a node that is in no list, as long as it was initialised. */
static inline void list_remove(struct list *node)
{
    node->prev->next = node->next; /* NOLINT(clang-analyzer-core.NullDereference): it takes LIST_FIRST for NULL here */
    node->next->prev = node->prev;
    list_init(node);
}

/* Moves all of `from` to the end of `to`. */
static inline void list_splice(struct list *to, struct list *from)
{
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

/* The first element or NULL. */
#define LIST_FIRST(head, type, member) (list_empty(head) ? NULL : CONTAINER_OF((head)->next, type, member))

/* `it` is a struct list *; the _safe form allows removing it (only it) in the body. */
#define list_for_each(it, head) for (struct list *it = (head)->next; it != (head); it = it->next)
#define list_for_each_safe(it, head) \
    for (struct list *it = (head)->next, *it##_next = it->next; it != (head); it = it##_next, it##_next = it->next)

#endif
