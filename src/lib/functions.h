/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A runtime for the program's own functions (tw_worker_register_function), in front of another one, to which it passes on
 * everything else. A function runs on a thread of threads.h; all other work is done on the loop's thread.
 */
#ifndef LIB_FUNCTIONS_H
#define LIB_FUNCTIONS_H

#include <uv.h>

#include <taskworker/worker.h>

#include "task/runtime.h"

/* Takes `below` over: closing this one closes it. */
int functions_new(uv_loop_t *loop, struct runtime *below, struct runtime **ret, struct tw_error *error);
int functions_register(struct runtime *rt, const char *name, tw_function *function, void *ctx, struct tw_error *error);

#endif
