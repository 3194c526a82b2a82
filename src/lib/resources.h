/* SPDX-License-Identifier: Apache-2.0 */
/* What the node has for tasks, and how much of it may be promised at the moment. On the loop's thread. */
#ifndef LIB_RESOURCES_H
#define LIB_RESOURCES_H

#include <stdint.h>

#include <uv.h>

#include "machine/machine.h"
#include "store/store.h"
#include "task/engine.h"

struct resources {
    uint64_t cpu_millis, memory_bytes; /* of the machine, less what the node keeps for itself */
    struct machine_gpus found;
    struct engine_gpu gpus[MACHINE_GPUS_MAX]; /* those that tasks can have; point into found */
    size_t n_gpus;
    uint64_t disk_bytes, disk_free_bytes; /* where the node keeps everything; of the last ten seconds */
    int disk_fd;
    uint64_t cpu_score; /* see machine_measure_cpu_score(); 0: not known yet */
    struct store *store;
    struct score_job *job; /* while it is measured */
    struct engine *engine;
    struct machine_load_state load;
    struct overcommit overcommit;
    unsigned ceiling; /* thousandths */
    uv_timer_t *timer;
    void (*stopped)(void *ctx);
    void *stopped_ctx;
};

/*
 * Looks at the machine. What cannot be found out is 0, which nobody is bounded by. GPUs are looked for where there are
 * devices of theirs, in a process of its own, for a few seconds at most: their driver may hang.
 */
void resources_find(struct resources *r, bool with_gpus);
/*
 * The CPU score as the store has it: before the loop runs. Where it has none, for these processors, it is measured, once and by
 * a thread of the pool, when resources_measure() says so, and kept there: a busy machine would measure another one.
 */
void resources_recall(struct resources *r, struct store *store);
void resources_measure(struct resources *r, uv_loop_t *loop);
/* Looks at the load and at the disk of this folder every ten seconds, and tells the engine what may be promised. */
int resources_watch(
    struct resources *r, uv_loop_t *loop, struct engine *engine, const char *storage_path, unsigned ceiling);
void resources_set_ceiling(struct resources *r, unsigned ceiling);
/* `done` may come at once; before the store is closed. */
void resources_stop(struct resources *r, void (*done)(void *ctx), void *ctx);

#endif
