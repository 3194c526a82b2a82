/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each owner has its entries that are awake in a few lanes, by what they need: in a lane all need the same, so that whether the
 * first one fits is said for all of it (but the last, where those go for whom there is no other). A lane is a heap, the highest
 * priority first and then the lowest order; who is first of them all is the owner's first. An owner that has
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

enum { LANES = 8, OWNERS_LOOKED_AT = 256 };

struct lane {
    struct queue_need need; /* of all in it, but for the last lane */
    struct heap awake;
};

struct queue_owner {
    char *name;
    size_t refs;
    unsigned running;
    struct lane lanes[LANES];
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

/* --- the ledger --- */

static bool fits(uint64_t need, uint64_t used, uint64_t total)
{
    return total == 0 || need == 0 || (used <= total && need <= total - used);
}

/* What of it is not free, and what of it is wanted at all: enum queue_kind. */
static unsigned lacks(const struct queue *q, const struct queue_need *need)
{
    return (fits(need->cpu_millis, q->used.cpu_millis, q->total.cpu_millis) ? 0 : QUEUE_CPU) |
        (fits(need->memory_bytes, q->used.memory_bytes, q->total.memory_bytes) ? 0 : QUEUE_MEMORY) |
        (gpus_fit(&q->gpus, &need->gpus) ? 0 : QUEUE_GPU);
}

static unsigned wants(const struct queue_need *need)
{
    return (need->cpu_millis ? QUEUE_CPU : 0) | (need->memory_bytes ? QUEUE_MEMORY : 0) |
        (gpus_none(&need->gpus) ? 0 : QUEUE_GPU);
}

bool queue_has_free(const struct queue *q, const struct queue_need *need)
{
    return lacks(q, need) == 0;
}

static void hold(struct queue *q, const struct queue_need *need)
{
    q->used.cpu_millis += need->cpu_millis;
    q->used.memory_bytes += need->memory_bytes;
}

static void give_back(struct queue *q, const struct queue_need *need)
{
    assert(q->used.cpu_millis >= need->cpu_millis && q->used.memory_bytes >= need->memory_bytes);
    q->used.cpu_millis -= need->cpu_millis;
    q->used.memory_bytes -= need->memory_bytes;
}

/* --- the lanes --- */

static bool is_same(const struct queue_need *a, const struct queue_need *b)
{
    return a->cpu_millis == b->cpu_millis && a->memory_bytes == b->memory_bytes && a->gpus.whole == b->gpus.whole &&
        a->gpus.memory_bytes == b->gpus.memory_bytes;
}

static unsigned lane_for(const struct queue_owner *owner, const struct queue_need *need)
{
    unsigned empty = LANES - 1;
    for (unsigned i = LANES - 1; i-- > 0;) {
        if (!heap_first(&owner->lanes[i].awake))
            empty = i;
        else if (is_same(&owner->lanes[i].need, need))
            return i;
    }
    return empty;
}

static void enter_lane(struct queue_entry *e)
{
    e->lane = lane_for(e->owner, &e->need);
    struct lane *lane = &e->owner->lanes[e->lane];
    lane->need = e->need;
    heap_push(&lane->awake, &e->by_order, order_key(e));
}

static void leave_lane(struct queue_entry *e)
{
    heap_remove(&e->owner->lanes[e->lane].awake, &e->by_order);
}

static bool may_start(const struct queue *q, const struct queue_need *need, unsigned kept)
{
    return !(wants(need) & kept) && queue_has_free(q, need);
}

/* The owner's first entry; with `q`, the first that fits into what is free there and wants nothing of what is kept. */
static struct queue_entry *first_fitting(const struct queue_owner *owner, const struct queue *q, unsigned kept)
{
    const struct heap_node *best = NULL;
    for (size_t i = 0; i < LANES; i++) {
        const struct heap_node *first = heap_first(&owner->lanes[i].awake);
        if (first && (!best || first->key < best->key) &&
            (!q || may_start(q, &CONTAINER_OF(first, struct queue_entry, by_order)->need, kept)))
            best = first;
    }
    return best ? CONTAINER_OF(best, struct queue_entry, by_order) : NULL;
}

static struct queue_entry *first_of(const struct queue_owner *owner)
{
    return first_fitting(owner, NULL, 0);
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

/*
 * What is kept for an entry from others: nothing at first, and then what it lacks. Who wants none of that takes nothing away from
 * it. Nothing is kept for one that waits for GPUs that have gone.
 */
static unsigned kept_for(const struct queue *q, const struct queue_entry *first, uint64_t now)
{
    bool long_ago = first->passed_us && now - MIN(now, first->passed_us) >= QUEUE_BACKFILL_US;
    return long_ago && gpus_could_fit(&q->gpus, &first->need.gpus) ? lacks(q, &first->need) : 0;
}

/*
 * Walks the owners in their turn, the highest ring first, and sums up what is kept for their first entries. Only so many are looked
 * at: what is free is not worth a search without end. `look` says whether to go on.
 */
struct walk {
    const struct queue *q;
    uint64_t now;
    unsigned kept;
    bool (*look)(struct walk *w, const struct queue_owner *owner, struct queue_entry *first);
    const struct queue_entry *asks; /* queue_kept_from() */
    struct queue_entry *found;
};

static void walk_owners(struct walk *w)
{
    unsigned looked_at = 0;
    for (size_t i = ARRAY_LEN(w->q->any_ready); i-- > 0;) {
        for (uint64_t bits = w->q->any_ready[i]; bits;) {
            size_t bit = 63 - (size_t)__builtin_clzll(bits);
            bits &= ~(UINT64_C(1) << bit);
            list_for_each (it, &w->q->ready[i * 64 + bit]) {
                const struct queue_owner *owner = CONTAINER_OF(it, struct queue_owner, link);
                struct queue_entry *first = first_of(owner); /* who stands in a ring has one */
                if (!w->look(w, owner, first) || ++looked_at == OWNERS_LOOKED_AT)
                    return;
                w->kept |= kept_for(w->q, first, w->now);
            }
        }
    }
}

static bool look_for_next(struct walk *w, const struct queue_owner *owner, struct queue_entry *first)
{
    bool fits_here = may_start(w->q, &first->need, w->kept);
    if (!fits_here && !first->passed_us)
        first->passed_us = w->now;
    unsigned kept = w->kept | kept_for(w->q, first, w->now);
    w->found = fits_here ? first : first_fitting(owner, w->q, kept);
    return !w->found && (kept & (QUEUE_CPU | QUEUE_MEMORY)) == 0; /* everybody wants these */
}

/* Whose turn it is: the first entry of the first owner in the highest ring; where that does not fit the next that does. */
static struct queue_entry *next_entry(const struct queue *q, uint64_t now)
{
    struct walk w = {.q = q, .now = now, .look = look_for_next};
    walk_owners(&w);
    return w.found;
}

static bool look_for_keeper(struct walk *w, const struct queue_owner *owner, struct queue_entry *first)
{
    bool own = owner == w->asks->owner;
    if (first != w->asks && (kept_for(w->q, first, w->now) & wants(&w->asks->need)))
        w->found = first;
    return !w->found && !own;
}

const struct queue_entry *queue_kept_from(const struct queue *q, const struct queue_entry *e, uint64_t monotonic_us)
{
    struct walk w = {.q = q, .now = monotonic_us, .look = look_for_keeper, .asks = e};
    if (!is_at_limit(q, e->owner))
        walk_owners(&w);
    return w.found;
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

void queue_set_total(struct queue *q, const struct queue_need *total)
{
    q->total = *total;
}

void queue_set_gpus(struct queue *q, const uint64_t *memory_bytes, size_t n)
{
    q->gpus = (struct gpus){.n = MIN(n, (size_t)GPUS_MAX)};
    for (size_t i = 0; i < q->gpus.n; i++)
        q->gpus.device[i].memory_bytes = memory_bytes[i];
}

void queue_set_need(struct queue *q, struct queue_entry *e, const struct queue_need *need)
{
    bool awake = e->in && !e->asleep;
    (void)q;
    assert(!e->running); /* it gives back what it took */
    if (awake)
        leave_lane(e);
    e->need = *need;
    if (awake)
        enter_lane(e); /* its place in the order stays, and so does its owner's */
}

struct queue_owner *queue_owner_get_many(struct queue *q, const char *name, size_t n)
{
    struct queue_owner *owner = map_get(&q->owners, name);
    if (owner) {
        owner->refs += n;
        return owner;
    }
    owner = calloc(1, sizeof *owner);
    if (!owner)
        return NULL;
    owner->refs = n;
    owner->name = strdup(name);
    list_init(&owner->link);
    if (!owner->name || map_put(&q->owners, owner->name, owner) < 0) {
        free(owner->name);
        free(owner);
        return NULL;
    }
    return owner;
}

struct queue_owner *queue_owner_get(struct queue *q, const char *name)
{
    return queue_owner_get_many(q, name, 1);
}

void queue_owner_put_many(struct queue *q, struct queue_owner *owner, size_t n)
{
    owner->refs -= n;
    if (owner->refs)
        return;
    assert(owner->running == 0 && !first_of(owner) && list_empty(&owner->link));
    map_remove(&q->owners, owner->name);
    free(owner->name);
    free(owner);
}

void queue_owner_put(struct queue *q, struct queue_owner *owner)
{
    queue_owner_put_many(q, owner, 1);
}

unsigned queue_owner_running(const struct queue_owner *owner)
{
    return owner->running;
}

size_t queue_owner_waiting(const struct queue *q, const char *name)
{
    const struct queue_owner *owner = map_get(&q->owners, name);
    return owner ? owner->refs - MIN(owner->refs, (size_t)owner->running) : 0;
}

/* --- entries --- */

static void wake(struct queue *q, struct queue_entry *e, enum turn turn)
{
    enter_lane(e);
    settle(q, e->owner, turn);
}

void queue_add(struct queue *q, struct queue_entry *e, bool front, uint64_t wall_us)
{
    assert(!e->in && !e->running && e->priority >= QUEUE_PRIORITY_MIN && e->priority <= QUEUE_PRIORITY_MAX);
    e->in = true;
    e->passed_us = 0;
    e->order = front ? --q->front : q->order++;
    e->asleep = e->not_before_us > wall_us;
    q->len++;
    q->n_asleep += e->asleep;
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
        leave_lane(e);
    if (e->deadline_us)
        heap_remove(&q->expiring, &e->by_deadline);
    q->n_asleep -= e->asleep;
    e->in = e->asleep = false;
    q->len--;
}

void queue_remove(struct queue *q, struct queue_entry *e)
{
    take_out(q, e);
    settle(q, e->owner, TURN_KEEP);
}

static void begin_running(struct queue *q, struct queue_entry *e)
{
    e->running = true;
    e->owner->running++;
    hold(q, &e->need);
}

struct queue_entry *queue_take(struct queue *q, uint64_t monotonic_us)
{
    struct queue_entry *e = next_entry(q, monotonic_us);
    if (!e)
        return NULL;
    take_out(q, e);
    begin_running(q, e);
    e->gpus = gpus_none(&e->need.gpus) ? 0 : gpus_take(&q->gpus, &e->need.gpus);
    settle(q, e->owner, TURN_LAST);
    return e;
}

void queue_hold(struct queue *q, struct queue_entry *e, uint32_t gpus)
{
    assert(!e->in && !e->running);
    begin_running(q, e);
    e->gpus = gpus_hold(&q->gpus, &e->need.gpus, gpus);
    settle(q, e->owner, TURN_KEEP);
}

void queue_finished(struct queue *q, struct queue_entry *e)
{
    assert(e->running && e->owner->running > 0);
    e->running = false;
    e->owner->running--;
    give_back(q, &e->need);
    gpus_give_back(&q->gpus, &e->need.gpus, e->gpus);
    e->gpus = 0;
    settle(q, e->owner, TURN_KEEP);
}

void queue_wake(struct queue *q, uint64_t wall_us)
{
    struct heap_node *first;
    while ((first = heap_first(&q->sleeping)) && first->key <= wall_us) {
        struct queue_entry *e = CONTAINER_OF(first, struct queue_entry, by_time);
        heap_remove(&q->sleeping, first);
        e->asleep = false;
        q->n_asleep--;
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
