/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who waits, and who is next. The highest priority goes first; among equals the owners take turns, one task each; an owner's
 * own tasks go in the order in which they came. An owner that runs as many as it may has no turn until one of them is done.
 * Where the next one needs more than is free, a later one that fits may go before it. After a while (QUEUE_BACKFILL_US from
 * when it was first passed over) that is so only for who wants nothing of what it lacks: that is kept for it. An entry with a
 * time before which it is not to start sleeps until then, one with a deadline can be asked for when that passes.
 *
 * Nothing here allocates but queue_owner_get(): whoever has its owner can be put in. What is asked of the queue costs the
 * logarithm of an owner's entries at most. No threads, no clocks: the caller says what time it is. Private to src/task.
 */
#ifndef TASK_QUEUE_H
#define TASK_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "task/gpus.h"

/* What a task takes while it runs, or what there is of it. */
struct queue_need {
    uint64_t cpu_millis;
    uint64_t memory_bytes;
    struct gpu_need gpus;
};

enum queue_kind { QUEUE_CPU = 1, QUEUE_MEMORY = 2, QUEUE_GPU = 4 }; /* bits */

enum { QUEUE_PRIORITY_MIN = -100, QUEUE_PRIORITY_MAX = 100, QUEUE_PRIORITIES = 201 };

struct queue {
    struct map owners;                   /* by name */
    struct list ready[QUEUE_PRIORITIES]; /* struct queue_owner, by the priority of its first entry, in turn */
    uint64_t any_ready[(QUEUE_PRIORITIES + 63) / 64]; /* bits: ready[] is not empty */
    struct heap sleeping;                             /* by not_before_us */
    struct heap expiring;                             /* by deadline_us */
    size_t len, n_asleep;                             /* all entries; those of them that sleep */
    uint64_t order, front; /* the places of the next entry behind the others, and of the last one before them */
    unsigned max_running_per_owner; /* 0: no bound */
    /* The ledger: what running entries hold of what there is. Of a kind of which there is nothing at all nobody needs any. */
    struct queue_need total, used; /* but for the GPUs, */
    struct gpus gpus;              /* which are these */
};

/* Counted references: a task that waits or runs has one, and so has one that is on its way. */
struct queue_owner;

struct queue_entry {
    /* Set by the caller before queue_add(), and not changed while it is in. */
    struct queue_owner *owner;
    int priority;           /* QUEUE_PRIORITY_MIN to QUEUE_PRIORITY_MAX */
    uint64_t not_before_us; /* on the wall clock; 0: at once */
    uint64_t deadline_us;   /* on the monotonic clock; 0: none */
    struct queue_need need; /* no more than the total; changed by queue_set_need() */
    /* The queue's own; all zero before the first queue_add(). */
    struct heap_node by_order, by_time, by_deadline;
    uint64_t order;
    uint64_t passed_us; /* when it was first passed over, since there was not enough free; 0: it was not */
    unsigned lane;
    uint32_t gpus; /* those that it holds, as bits; while it runs */
    bool in, asleep, running;
};

enum { QUEUE_BACKFILL_US = 10 * 1000 * 1000 };

void queue_init(struct queue *q, unsigned max_running_per_owner);
/* When it is empty and all owners are given back. */
void queue_done(struct queue *q);
void queue_set_max_running_per_owner(struct queue *q, unsigned max);

/* What there is, from now on; what is held beyond it stays held. */
void queue_set_total(struct queue *q, const struct queue_need *total);
/* For an entry that does not run. */
void queue_set_need(struct queue *q, struct queue_entry *e, const struct queue_need *need);
/* Likewise of GPUs; before anything is held. */
void queue_set_gpus(struct queue *q, const uint64_t *memory_bytes, size_t n);
/* Whether so much is free. */
bool queue_has_free(const struct queue *q, const struct queue_need *need);

/* NULL: no memory. */
struct queue_owner *queue_owner_get(struct queue *q, const char *name);
void queue_owner_put(struct queue *q, struct queue_owner *owner);
/* So many references at once. */
struct queue_owner *queue_owner_get_many(struct queue *q, const char *name, size_t n);
void queue_owner_put_many(struct queue *q, struct queue_owner *owner, size_t n);
unsigned queue_owner_running(const struct queue_owner *owner);
/* How many have a reference to the owner of this name and do not run. */
size_t queue_owner_waiting(const struct queue *q, const char *name);

/* `front`: before the others of its owner with its priority, and its owner has the next turn. */
void queue_add(struct queue *q, struct queue_entry *e, bool front, uint64_t wall_us);
void queue_remove(struct queue *q, struct queue_entry *e);

/* Takes the next one out; it holds what it needs, and counts for its owner as running, until queue_finished(). NULL: nobody may
 * start now. */
struct queue_entry *queue_take(struct queue *q, uint64_t monotonic_us);
/* For an entry that is not in: it runs already, and holds what it needs, even where that is not free; of GPUs these. */
void queue_hold(struct queue *q, struct queue_entry *e, uint32_t gpus);
void queue_finished(struct queue *q, struct queue_entry *e);

/* Wakes those whose time has come. */
void queue_wake(struct queue *q, uint64_t wall_us);
/* Takes out one whose deadline has passed; NULL: there is none. */
struct queue_entry *queue_take_expired(struct queue *q, uint64_t monotonic_us);
/* How long until one of these two finds something; UINT64_MAX: never. */
uint64_t queue_next_us(const struct queue *q, uint64_t wall_us, uint64_t monotonic_us);

/* The one for which something is kept that this one, which is awake, wants too; NULL: there is none, or its owner is at its limit. */
const struct queue_entry *queue_kept_from(const struct queue *q, const struct queue_entry *e, uint64_t monotonic_us);
/* Why it is not its turn, for a person; never NULL. */
const char *queue_why(const struct queue *q, const struct queue_entry *e);

#endif
