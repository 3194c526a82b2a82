/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A few threads for jobs that may block for as long as they like: libuv's pool is small and commits the store, so that four slow
 * jobs there would hold up every task. A thread is started when a job finds none idle, and stays until the end. All calls are
 * made on the loop's thread.
 */
#ifndef LIB_THREADS_H
#define LIB_THREADS_H

#include <stdbool.h>

#include <uv.h>

#include "base/list.h"

struct threads;

/* A part of what its owner keeps until `done`. */
struct job {
    struct list link;
    void (*work)(struct job *job); /* on a thread */
    void (*done)(struct job *job); /* on the loop */
    bool waiting;
};

/* At most `max` jobs run at once, the others wait for their turn. */
int threads_new(uv_loop_t *loop, unsigned max, struct threads **ret);
/* -errno: there is no thread and none can be started; `done` is not called then. */
int threads_add(struct threads *threads, struct job *job);
/* Whether it had not begun: then neither `work` nor `done` will be called. */
bool threads_cancel(struct threads *threads, struct job *job);
/* Once no job is left. Joins the threads; `closed` comes from the loop, or at once where none was ever started. */
void threads_close(struct threads *threads, void (*closed)(void *ctx), void *ctx);

#endif
