/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each owner has a heap of its entries that are awake, the highest priority first and then the lowest order. An owner that has
 * such entries and may start one stands in the ring of its first entry's priority; a bit for each ring finds the highest. To
 * take is to take the first owner of that ring and its first entry, and to put the owner last in the ring it then belongs to.
 */
#include "task/queue.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

enum { ORDER_BITS = 56 };
#define FIRST_ORDER (UINT64_C(1) << (ORDER_BITS - 1)) /* in the middle: those at the front count down from it */

struct queue_owner {
    char *name;
    size_t refs;
    unsigned running;
    struct heap awake;
    struct list link; /* in the ring `ring`; linked to itself: in none */
    size_t ring;
};

static size_t ring_of(int priority)
{
    return (size_t)(priority - QUEUE_PRIORITY_MIN);
}

static uint64_t order_key(const struct queue_entry *e)
{
    return (uint64_t)(QUEUE_PRIORITY_MAX - e->priority) << ORDER_BITS | e->order;
}

static struct queue_entry *first_of(const struct queue_owner *owner)
{
    struct heap_node *first = heap_first(&owner->awake);
    return first ? CONTAINER_OF(first, struct queue_entry, by_order) : NULL;
}

/* --- the rings --- */

static void leave_ring(struct queue *q, struct queue_owner *owner)
{
    if (list_empty(&owner->link))
        return;
    list_remove(&owner->link);
    if (list_empty(&q->ready[owner->ring]))
        q->any_ready[owner->ring / 64] &= ~(UINT64_C(1) << owner->ring % 64);
}

static bool is_at_limit(const struct queue *q, const struct queue_owner *owner)
{
    return q->max_running_per_owner && owner->running >= q->max_running_per_owner;
}

/* Where the owner belongs: it keeps its turn where it stands already, unless it is told to wait for its next or to have it now. */
enum turn { TURN_KEEP, TURN_LAST, TURN_NEXT };

static void settle(struct queue *q, struct queue_owner *owner, enum turn turn)
{
    const struct queue_entry *first = first_of(owner);
    if (!first || is_at_limit(q, owner)) {
        leave_ring(q, owner);
        return;
    }
    size_t ring = ring_of(first->priority);
    if (turn == TURN_KEEP && !list_empty(&owner->link) && owner->ring == ring)
        return;
    leave_ring(q, owner);
    owner->ring = ring;
    list_push(turn == TURN_NEXT ? q->ready[ring].next : &q->ready[ring], &owner->link);
    q->any_ready[ring / 64] |= UINT64_C(1) << ring % 64;
}

static struct queue_owner *next_owner(const struct queue *q)
{
    for (size_t i = ARRAY_LEN(q->any_ready); i-- > 0;) {
        if (q->any_ready[i]) {
            size_t ring = i * 64 + 63 - (size_t)__builtin_clzll(q->any_ready[i]);
            return LIST_FIRST(&q->ready[ring], struct queue_owner, link);
        }
    }
    return NULL;
}

/* --- owners --- */

void queue_init(struct queue *q, unsigned max_running_per_owner)
{
    *q = (struct queue){.order = FIRST_ORDER, .front = FIRST_ORDER, .max_running_per_owner = max_running_per_owner};
    map_init(&q->owners);
    for (size_t i = 0; i < QUEUE_PRIORITIES; i++)
        list_init(&q->ready[i]);
}

void queue_done(struct queue *q)
{
    assert(q->len == 0);
    map_done(&q->owners);
}

void queue_set_max_running_per_owner(struct queue *q, unsigned max)
{
    q->max_running_per_owner = max;
    map_for_each (it, &q->owners)
        settle(q, it->value, TURN_KEEP);
}

struct queue_owner *queue_owner_get(struct queue *q, const char *name)
{
    struct queue_owner *owner = map_get(&q->owners, name);
    if (owner) {
        owner->refs++;
        return owner;
    }
    owner = calloc(1, sizeof *owner);
    if (!owner)
        return NULL;
    owner->refs = 1;
    owner->name = strdup(name);
    list_init(&owner->link);
    if (!owner->name || map_put(&q->owners, owner->name, owner) < 0) {
        free(owner->name);
        free(owner);
        return NULL;
    }
    return owner;
}

void queue_owner_put(struct queue *q, struct queue_owner *owner)
{
    if (--owner->refs)
        return;
    assert(owner->running == 0 && !first_of(owner) && list_empty(&owner->link));
    map_remove(&q->owners, owner->name);
    free(owner->name);
    free(owner);
}

unsigned queue_owner_running(const struct queue_owner *owner)
{
    return owner->running;
}

/* --- entries --- */

static void wake(struct queue *q, struct queue_entry *e, enum turn turn)
{
    heap_push(&e->owner->awake, &e->by_order, order_key(e));
    settle(q, e->owner, turn);
}

void queue_add(struct queue *q, struct queue_entry *e, bool front, uint64_t wall_us)
{
    assert(!e->in && !e->running && e->priority >= QUEUE_PRIORITY_MIN && e->priority <= QUEUE_PRIORITY_MAX);
    e->in = true;
    e->order = front ? --q->front : q->order++;
    e->asleep = e->not_before_us > wall_us;
    q->len++;
    if (e->deadline_us)
        heap_push(&q->expiring, &e->by_deadline, e->deadline_us);
    if (e->asleep)
        heap_push(&q->sleeping, &e->by_time, e->not_before_us);
    else
        wake(q, e, front ? TURN_NEXT : TURN_KEEP);
}

/* Out of all heaps; its owner is left where it stands. */
static void take_out(struct queue *q, struct queue_entry *e)
{
    assert(e->in);
    if (e->asleep)
        heap_remove(&q->sleeping, &e->by_time);
    else
        heap_remove(&e->owner->awake, &e->by_order);
    if (e->deadline_us)
        heap_remove(&q->expiring, &e->by_deadline);
    e->in = e->asleep = false;
    q->len--;
}

void queue_remove(struct queue *q, struct queue_entry *e)
{
    take_out(q, e);
    settle(q, e->owner, TURN_KEEP);
}

struct queue_entry *queue_take(struct queue *q)
{
    struct queue_owner *owner = next_owner(q);
    struct queue_entry *e = owner ? first_of(owner) : NULL; /* who stands in a ring has one */
    if (!e)
        return NULL;
    take_out(q, e);
    e->running = true;
    owner->running++;
    settle(q, owner, TURN_LAST);
    return e;
}

void queue_finished(struct queue *q, struct queue_entry *e)
{
    assert(e->running && e->owner->running > 0);
    e->running = false;
    e->owner->running--;
    settle(q, e->owner, TURN_KEEP);
}

void queue_wake(struct queue *q, uint64_t wall_us)
{
    struct heap_node *first;
    while ((first = heap_first(&q->sleeping)) && first->key <= wall_us) {
        struct queue_entry *e = CONTAINER_OF(first, struct queue_entry, by_time);
        heap_remove(&q->sleeping, first);
        e->asleep = false;
        wake(q, e, TURN_KEEP);
    }
}

struct queue_entry *queue_take_expired(struct queue *q, uint64_t monotonic_us)
{
    struct heap_node *first = heap_first(&q->expiring);
    if (!first || first->key > monotonic_us)
        return NULL;
    struct queue_entry *e = CONTAINER_OF(first, struct queue_entry, by_deadline);
    queue_remove(q, e);
    return e;
}

uint64_t queue_next_us(const struct queue *q, uint64_t wall_us, uint64_t monotonic_us)
{
    const struct heap_node *sleeper = heap_first(&q->sleeping), *expires = heap_first(&q->expiring);
    uint64_t until_wake = !sleeper ? UINT64_MAX : sleeper->key > wall_us ? sleeper->key - wall_us : 0;
    uint64_t until_expiry = !expires ? UINT64_MAX : expires->key > monotonic_us ? expires->key - monotonic_us : 0;
    return MIN(until_wake, until_expiry);
}

const char *queue_why(const struct queue *q, const struct queue_entry *e)
{
    if (e->asleep)
        return "waits until its start time";
    if (is_at_limit(q, e->owner))
        return "waits until another task of its owner has ended (MAX_TASKS_PER_OWNER)";
    return "waits for its turn";
}
