/* SPDX-License-Identifier: Apache-2.0 */
/* A heap of nodes that lie in what they order: nothing is allocated, nothing can fail. The smallest key is first. */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include <stdbool.h>
#include <stdint.h>

/* All zero: in no heap. */
struct heap_node {
    struct heap_node *child, *next, *prev; /* prev: the elder sibling, or the parent of the eldest */
    uint64_t key;
};

/* All zero: empty. */
struct heap {
    struct heap_node *first;
};

/* The node must be in no heap. Among equal keys the order is any. */
void heap_push(struct heap *h, struct heap_node *node, uint64_t key);
/* The node with the smallest key, or NULL. */
static inline struct heap_node *heap_first(const struct heap *h)
{
    return h->first;
}
/* The node must be in this heap. Afterwards it is all zero. */
void heap_remove(struct heap *h, struct heap_node *node);

#endif
