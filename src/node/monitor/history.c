/* SPDX-License-Identifier: Apache-2.0 */
#include "node/monitor/history.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/util.h"

int history_init(struct history *h, struct series_set *set)
{
    *h = (struct history){
        .set = set, .at = calloc(HISTORY_POINTS, sizeof *h->at), .dirty = calloc(HISTORY_POINTS, sizeof *h->dirty)};
    size_t first = 0;
#define X(i, step, points)                                                                                   \
    h->rings[i] = (struct history_ring){.step_us = (step)*UINT64_C(1000000), .n = (points), .first = first}; \
    first += (points);
    HISTORY_RINGS(X)
#undef X
    if (h->at && h->dirty)
        return 0;
    history_done(h);
    return -ENOMEM;
}

void history_done(struct history *h)
{
    free(h->at);
    free(h->dirty);
    *h = (struct history){0};
}

/* The means of the points from `begin` to before `end` (stretches of ring r) into `out`, by index; false: there is none. */
static bool mean(const struct history *h, const struct history_ring *r, uint64_t begin, uint64_t end, double *out)
{
    bool any = false;
    unsigned counts[MONITOR_SERIES_MAX] = {0};
    for (size_t i = 0; i < h->set->n; i++)
        out[i] = 0;
    for (uint64_t s = begin; s < end; s++) {
        size_t place = history_place(r, s);
        if (h->at[place] != s)
            continue;
        for (size_t i = 0; i < h->set->n; i++) {
            uint32_t bits = h->set->all[i].column ? h->set->all[i].column[place] : 0;
            if (bits == 0)
                continue;
            out[i] += series_value(bits);
            counts[i]++;
            any = true;
        }
    }
    for (size_t i = 0; i < h->set->n; i++)
        out[i] = counts[i] ? out[i] / counts[i] : NAN;
    return any;
}

static void put(struct history *h, const struct history_ring *r, uint64_t stretch, const double *values, size_t n)
{
    size_t place = history_place(r, stretch);
    h->at[place] = stretch;
    for (size_t i = 0; i < h->set->n; i++) {
        if (h->set->all[i].column)
            h->set->all[i].column[place] = i < n ? series_bits(values[i]) : 0;
    }
}

/* Makes the point of a stretch out of the finer ring; one that is not over is not for the database. */
static void thin(struct history *h, size_t i, uint64_t stretch, bool is_over)
{
    const struct history_ring *r = &h->rings[i], *finer = &h->rings[i - 1];
    uint64_t ratio = r->step_us / finer->step_us;
    double values[MONITOR_SERIES_MAX];
    if (!stretch || !mean(h, finer, stretch * ratio, (stretch + 1) * ratio, values))
        return;
    put(h, r, stretch, values, h->set->n);
    h->dirty[history_place(r, stretch)] = is_over;
}

void history_add(struct history *h, uint64_t wall_us, const double *values, size_t n)
{
    /* Finer ones first: the coarser ones are made of them. */
    for (size_t i = 1; i < HISTORY_RINGS_N; i++) {
        uint64_t now = wall_us / h->rings[i].step_us;
        if (h->rings[i].open == now)
            continue;
        thin(h, i, h->rings[i].open, true);
        h->rings[i].open = now;
    }
    uint64_t stretch = wall_us / h->rings[0].step_us;
    if (!stretch) /* 1970: 0 stands for no point */
        return;
    put(h, &h->rings[0], stretch, values, n);
    h->dirty[history_place(&h->rings[0], stretch)] = 1;
}

/* Whatever the finer ring has points of and the coarser one has none was cut off by the end of the node. */
void history_resume(struct history *h)
{
    for (size_t i = 1; i < HISTORY_RINGS_N; i++) {
        const struct history_ring *r = &h->rings[i], *finer = &h->rings[i - 1];
        for (size_t p = finer->first; p < finer->first + finer->n; p++) {
            uint64_t stretch = h->at[p] / (r->step_us / finer->step_us);
            if (stretch != r->open && h->at[history_place(r, stretch)] != stretch)
                thin(h, i, stretch, true);
        }
    }
}

void history_mark_all(struct history *h)
{
    for (size_t p = 0; p < HISTORY_POINTS; p++)
        h->dirty[p] = h->at[p] != 0;
}

/* Without a point of an older time there would be nothing to draw of it: the first ring that reaches back that far. */
static const struct history_ring *ring_for(const struct history *h, uint64_t now_us, uint64_t from_us)
{
    for (size_t i = 0; i + 1 < HISTORY_RINGS_N; i++) {
        const struct history_ring *r = &h->rings[i];
        if (now_us - from_us < r->step_us * (r->n - 1))
            return r;
    }
    return &h->rings[HISTORY_RINGS_N - 1];
}

size_t history_read(struct history *h, uint64_t now_us, uint64_t from_us, uint64_t to_us, size_t max_points,
    monitor_point point, void *ctx)
{
    to_us = MIN(to_us, now_us);
    if (from_us > to_us || max_points == 0)
        return 0;
    for (size_t i = 1; i < HISTORY_RINGS_N; i++) /* as far as they have come */
        thin(h, i, h->rings[i].open, false);
    const struct history_ring *r = ring_for(h, now_us, from_us);
    uint64_t newest = to_us / r->step_us, oldest = now_us / r->step_us;
    oldest = MAX(oldest > r->n ? oldest - r->n + 1 : 1, from_us / r->step_us + (from_us % r->step_us != 0));
    if (oldest > newest)
        return 0;
    /* Groups begin at multiples of their size, so that they stay the same while time goes on; that may make one more. */
    uint64_t group = MAX((newest - oldest + 1) / max_points, UINT64_C(1));
    while (newest / group - oldest / group >= max_points)
        group++;
    size_t n = 0;
    double values[MONITOR_SERIES_MAX];
    for (uint64_t s = oldest / group * group; s <= newest; s += group) {
        if (!mean(h, r, MAX(s, oldest), MIN(s + group, newest + 1), values))
            continue;
        point(ctx, s * r->step_us, group * r->step_us, values, h->set->n);
        n++;
    }
    return n;
}
