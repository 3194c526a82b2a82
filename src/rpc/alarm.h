/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many alarms on one libuv timer: a heap of intrusive nodes. Setting and clearing one costs no
 * system call and no allocation in the usual case, and the libuv timer is touched only when the
 * earliest one changes.
 */
#ifndef RPC_ALARM_H
#define RPC_ALARM_H

#include <stddef.h>
#include <stdint.h>

#include <uv.h>

struct alarm {
    uint64_t at_us; /* monotonic */
    size_t place;   /* in the heap, from 1; 0: not set */
    void (*ring)(struct alarm *alarm);
};

struct alarm_queue {
    uv_timer_t timer;
    struct alarm **heap;
    size_t count, cap;
    uint64_t armed_us; /* when the timer is due; UINT64_MAX: it is stopped */
};

int alarm_queue_init(struct alarm_queue *queue, uv_loop_t *loop);
/* The queue's memory, after queue->timer was closed. */
void alarm_queue_done(struct alarm_queue *queue);

/* Sets it, or moves it if it was set. alarm->ring is called on the loop, once, not set any more. 0
 * or -ENOMEM. */
int alarm_set(struct alarm_queue *queue, struct alarm *alarm, uint64_t at_us);
void alarm_clear(struct alarm_queue *queue, struct alarm *alarm);

#endif
