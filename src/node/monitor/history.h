/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The past in three rings. A point belongs to the stretch of wall clock that its time falls into, and stands where that stretch's number
 * modulo the ring's length says: so nothing is moved, a stretch that comes again after the clock was put back is written over,
 * and what a wrong clock left in the future is just not asked for until the time comes.
 *
 * A coarser ring's point is the mean of the finer ring's, made when its stretch is over. So nothing is kept beside the rings, and
 * a restart in between loses nothing.
 *
 * The column of a series has the three rings behind each other.
 */
#ifndef NODE_MONITOR_HISTORY_H
#define NODE_MONITOR_HISTORY_H

#include "node/monitor/series.h"

/* Seconds, points. Each step is a multiple of the one before. */
#define HISTORY_RINGS(X) \
    X(0, 1, 900)         \
    X(1, 10, 2160)       \
    X(2, 300, 8640)

enum {
#define X(i, step, n) +1
    HISTORY_RINGS_N = 0 HISTORY_RINGS(X),
#undef X
#define X(i, step, n) +n
    HISTORY_POINTS = 0 HISTORY_RINGS(X),
#undef X
};

struct history_ring {
    uint64_t step_us;
    size_t n, first; /* first: where it begins in a column */
    uint64_t open;   /* number of the stretch that is not over; 0: none */
};

struct history {
    struct history_ring rings[HISTORY_RINGS_N];
    uint64_t *at;   /* number of each point's stretch; 0: there is no point. HISTORY_POINTS of them */
    uint8_t *dirty; /* not in the database */
    struct series_set *set;
};

/* 0 or -ENOMEM. The set is borrowed. */
int history_init(struct history *h, struct series_set *set);
void history_done(struct history *h);
/* values by index, n of them. */
void history_add(struct history *h, uint64_t wall_us, const double *values, size_t n);
/* After points have been put in from the database: makes those of coarser rings that the node's end cut off. */
void history_resume(struct history *h);
void history_mark_all(struct history *h);
/* As monitor_history(); now_us is the wall clock. */
size_t history_read(struct history *h, uint64_t now_us, uint64_t from_us, uint64_t to_us, size_t max_points,
    monitor_point point, void *ctx);

static inline size_t history_place(const struct history_ring *r, uint64_t stretch)
{
    return r->first + (size_t)(stretch % r->n);
}

#endif
