/* SPDX-License-Identifier: Apache-2.0 */
/* The inputs of tasks, and what they leave, kept by a storage; its disk is waited for in libuv's pool. On the loop's thread. Private to src/lib. */
#ifndef LIB_INPUTS_H
#define LIB_INPUTS_H

#include <uv.h>

#include "base/list.h"
#include "files/inputs.h"
#include "task/engine.h"

struct inputs {
    uv_loop_t *loop;
    struct tw_storage *storage; /* borrowed; NULL: there are no inputs */
    unsigned jobs;              /* on their way */
    struct list outputs;        /* that wait to be kept, */
    unsigned keeping;           /* and how many are being kept */
    void (*idle)(void *ctx);
    void *idle_ctx;
};

/* From now on the engine's tasks can have inputs; what an earlier run has left for tasks that are over goes. */
void inputs_begin(struct inputs *inputs, uv_loop_t *loop, struct tw_storage *storage, struct engine *engine);
/* outputs.c; as engine_files.keep */
void outputs_keep(void *ctx, const char *owner, const char *task_id, const struct run_file *file,
    engine_gathered_cb done, void *done_ctx);
/* When nothing is on its way any more; nothing may be asked for from then on. */
void inputs_stop(struct inputs *inputs, void (*idle)(void *ctx), void *ctx);

#endif
