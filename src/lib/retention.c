/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/retention.h"

#include <errno.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/timer.h"

/* A little at a time, so that no write has to wait for long. */
enum { FIRST_MS = 1000, LOOK_MS = 60 * 1000, AGAIN_MS = 100 };

static void on_timer(uv_timer_t *timer);

static void on_pruned(void *ctx, size_t removed, bool more, const struct tw_error *error)
{
    struct retention *r = ctx;
    r->busy = false;
    if (error)
        log_warning("old tasks could not be removed: %s", error->message);
    if (removed)
        log_debug("%zu old tasks were removed", removed);
    if (r->timer)
        uv_timer_start(r->timer, on_timer, more && !error ? AGAIN_MS : LOOK_MS, 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct retention *r = timer->data;
    uint64_t now = clock_wall_us();
    const struct store_retention keep = {
        .ended_before_us = r->keep_us && now > r->keep_us ? now - r->keep_us : 0,
        .max_tasks = r->max_tasks,
        .max_bytes = r->max_bytes,
    };
    if (r->busy)
        return;
    if (!keep.ended_before_us && !keep.max_tasks && !keep.max_bytes) {
        uv_timer_start(timer, on_timer, LOOK_MS, 0);
        return;
    }
    r->busy = true;
    store_prune(r->store, &keep, on_pruned, r);
}

int retention_start(struct retention *r, uv_loop_t *loop, struct store *store)
{
    *r = (struct retention){.store = store, .timer = timer_new(loop, r)};
    if (!r->timer)
        return -ENOMEM;
    uv_timer_start(r->timer, on_timer, FIRST_MS, 0);
    uv_unref((uv_handle_t *)r->timer);
    return 0;
}

void retention_set(struct retention *r, uint64_t keep_us, uint64_t max_tasks, uint64_t max_bytes)
{
    r->keep_us = keep_us;
    r->max_tasks = max_tasks;
    r->max_bytes = max_bytes;
}

void retention_stop(struct retention *r)
{
    timer_free(&r->timer);
}
