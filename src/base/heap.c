/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pairing heap (Fredman, Sedgewick, Sleator, Tarjan: The pairing heap, 1986): a tree in which no parent has a larger key than
 * its children. Two trees are melded by making the larger first a child of the smaller; taking a node out melds its children in
 * pairs from left to right, then the pairs from right to left. No recursion: a heap may be as deep as it is large.
 */
#include "base/heap.h"

#include <stddef.h>

/* Both are roots: no sibling, no parent. Either may be NULL. */
static struct heap_node *meld(struct heap_node *a, struct heap_node *b)
{
    if (!a || !b)
        return a ? a : b;
    if (b->key < a->key) {
        struct heap_node *smaller = b;
        b = a;
        a = smaller;
    }
    b->next = a->child;
    if (b->next)
        b->next->prev = b;
    b->prev = a;
    a->child = b;
    return a;
}

/* Makes one tree of the list of siblings that begins here. */
static struct heap_node *meld_siblings(struct heap_node *first)
{
    struct heap_node *pairs = NULL; /* linked by next, the last one first */
    while (first) {
        struct heap_node *a = first, *b = a->next;
        first = b ? b->next : NULL;
        a->next = a->prev = NULL;
        if (b)
            b->next = b->prev = NULL;
        struct heap_node *pair = meld(a, b);
        pair->next = pairs;
        pairs = pair;
    }
    struct heap_node *all = NULL;
    while (pairs) {
        struct heap_node *next = pairs->next;
        pairs->next = NULL;
        all = meld(all, pairs);
        pairs = next;
    }
    return all;
}

void heap_push(struct heap *h, struct heap_node *node, uint64_t key)
{
    *node = (struct heap_node){.key = key};
    h->first = meld(h->first, node);
}

void heap_remove(struct heap *h, struct heap_node *node)
{
    struct heap_node *children = meld_siblings(node->child);
    if (node == h->first) {
        h->first = children;
    } else {
        if (node->prev->child == node)
            node->prev->child = node->next;
        else
            node->prev->next = node->next;
        if (node->next)
            node->next->prev = node->prev;
        h->first = meld(h->first, children);
    }
    *node = (struct heap_node){0};
}
