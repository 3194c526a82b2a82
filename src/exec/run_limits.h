/* SPDX-License-Identifier: Apache-2.0 */
/* The limits of one run, its usage, and what it ran into; inside src/exec only. */
#ifndef EXEC_RUN_LIMITS_H
#define EXEC_RUN_LIMITS_H

#include "exec/pool.h"

/* Takes the group of a new slot over; `fds` are what came behind its connection. */
void run_limits_attach(struct pool_slot *slot, const struct launcher_reply *reply, int *fds, size_t n_fds);
/* Sets the limits of the slot's group for the run, before anything of it is started there. */
void run_limits_begin(struct pool_slot *slot, struct sandbox_run *run);
/* The task's process begins: from now on its processor time is watched. */
void run_limits_go(struct sandbox_run *run);
/* The same for one that was begun by another daemon, which set the limits. */
void run_limits_take_up(struct sandbox_run *run);
/* A paused one, which is seldom looked at, goes on. */
void run_limits_resume(struct sandbox_run *run);
/* It is watched no more here. */
void run_limits_rest(struct sandbox_run *run);
/* The run leaves its slot, in whatever way: what the group knows of it is noted. */
void run_limits_end(struct pool_slot *slot, struct sandbox_run *run);
/* Puts what was noted into the outcome. */
void run_limits_settle(struct sandbox_run *run);
/* What it has used so far, in the middle of it. */
bool run_limits_usage(struct sandbox_run *run, struct tw_usage *ret);

#endif
