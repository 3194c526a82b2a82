/* SPDX-License-Identifier: Apache-2.0 */
/* Removes tasks that have ended from the store when their time is over. On the loop's thread. */
#ifndef LIB_RETENTION_H
#define LIB_RETENTION_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "store/store.h"

struct retention {
    struct store *store;
    uint64_t keep_us;   /* from a task's end; 0: for ever */
    uint64_t max_tasks; /* 0: no bound */
    uint64_t max_bytes; /* likewise */
    uv_timer_t *timer;
    bool busy; /* the store owes an answer */
};

/* -ENOMEM. */
int retention_start(struct retention *r, uv_loop_t *loop, struct store *store);
/* From the next look on. */
void retention_set(struct retention *r, uint64_t keep_us, uint64_t max_tasks, uint64_t max_bytes);
/* Before the store is closed. An answer that is still owed may come until it has. */
void retention_stop(struct retention *r);

#endif
