/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/alarm.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/util.h"

static void put(struct alarm_queue *q, size_t place, struct alarm *a)
{
    q->heap[place - 1] = a;
    a->place = place;
}

static void sift_up(struct alarm_queue *q, struct alarm *a)
{
    size_t i = a->place;
    for (; i > 1 && q->heap[i / 2 - 1]->at_us > a->at_us; i /= 2)
        put(q, i, q->heap[i / 2 - 1]);
    put(q, i, a);
}

static void sift_down(struct alarm_queue *q, struct alarm *a)
{
    size_t i = a->place;
    for (;;) {
        size_t child = 2 * i;
        if (child > q->count)
            break;
        if (child < q->count && q->heap[child]->at_us < q->heap[child - 1]->at_us)
            child++;
        if (q->heap[child - 1]->at_us >= a->at_us)
            break;
        put(q, i, q->heap[child - 1]);
        i = child;
    }
    put(q, i, a);
}

static void on_timer(uv_timer_t *timer);

/* The timer may be due too early, never too late: then it finds nothing to do and is set again. */
static void arm(struct alarm_queue *q)
{
    if (!q->count) {
        if (q->armed_us != UINT64_MAX)
            uv_timer_stop(&q->timer);
        q->armed_us = UINT64_MAX;
        return;
    }
    uint64_t at = q->heap[0]->at_us;
    if (at >= q->armed_us)
        return;
    uint64_t now = clock_monotonic_us();
    uv_timer_start(&q->timer, on_timer, at > now ? (at - now + 999) / 1000 : 0, 0);
    q->armed_us = at;
}

static void on_timer(uv_timer_t *timer)
{
    struct alarm_queue *q = CONTAINER_OF(timer, struct alarm_queue, timer);
    uint64_t now = clock_monotonic_us();
    while (q->count && q->heap[0]->at_us <= now) {
        struct alarm *a = q->heap[0];
        q->armed_us = 0; /* no arming in between */
        alarm_clear(q, a);
        a->ring(a);
    }
    q->armed_us = UINT64_MAX;
    arm(q);
}

int alarm_queue_init(struct alarm_queue *q, uv_loop_t *loop)
{
    *q = (struct alarm_queue){.armed_us = UINT64_MAX};
    return uv_timer_init(loop, &q->timer);
}

void alarm_queue_done(struct alarm_queue *q)
{
    free(q->heap);
    q->heap = NULL;
    q->count = q->cap = 0;
}

int alarm_set(struct alarm_queue *q, struct alarm *a, uint64_t at_us)
{
    if (!a->place) {
        if (q->count == q->cap) {
            size_t cap = q->cap ? q->cap * 2 : 64;
            struct alarm **heap = reallocarray(q->heap, cap, sizeof(struct alarm *));
            if (!heap)
                return -ENOMEM;
            q->heap = heap;
            q->cap = cap;
        }
        a->at_us = at_us;
        put(q, ++q->count, a);
        sift_up(q, a);
    } else {
        a->at_us = at_us;
        sift_up(q, a);
        sift_down(q, a);
    }
    arm(q);
    return 0;
}

void alarm_clear(struct alarm_queue *q, struct alarm *a)
{
    if (!a->place)
        return;
    struct alarm *last = q->heap[q->count - 1];
    size_t place = a->place;
    q->count--;
    a->place = 0;
    if (last != a) {
        put(q, place, last);
        sift_up(q, last);
        sift_down(q, last);
    }
    if (!q->count && q->armed_us)
        arm(q);
}
