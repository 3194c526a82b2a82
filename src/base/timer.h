/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A timer of libuv's on the heap, which goes when it has closed: its owner may go before. A header alone, so that the helper
 * programs do not link libuv.
 */
#ifndef BASE_TIMER_H
#define BASE_TIMER_H

#include <stdlib.h>

#include <uv.h>

#include "base/util.h"

/* From a timer's callback: with 0 libuv would call it again at once, before it looks for anything else. */
enum { TIMER_NEXT_ROUND_MS = 1 };

static inline void timer_on_closed(uv_handle_t *handle)
{
    free(handle);
}

/* Not started; timer->data is `data`. NULL: no memory. */
static inline uv_timer_t *timer_new(uv_loop_t *loop, void *data)
{
    uv_timer_t *timer = calloc(1, sizeof *timer);
    if (timer) {
        (void)uv_timer_init(loop, timer); /* never fails */
        timer->data = data;
    }
    return timer;
}

/* Its callback is not called any more. *timer is NULL afterwards, and may be before. */
static inline void timer_free(uv_timer_t **timer)
{
    if (*timer)
        uv_close((uv_handle_t *)STEAL(*timer), timer_on_closed);
}

#endif
