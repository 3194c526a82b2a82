/* SPDX-License-Identifier: Apache-2.0 */
/* The warm interpreter: CPython inside of hivemind-slot, started once, forked for each Python task. */
#ifndef SLOT_WARM_H
#define SLOT_WARM_H

#include "slot/plan.h"
#include "slot/slot.h"

/*
 * Starts the interpreter and loads what tasks usually need, and the modules of `preload` (profile.h). Once per process, after
 * the root folder stands (it reads its library from there) and before anything is forked. Where the operator's code ends the
 * process, or does not come back, `control` is told so (loading.h).
 */
int warm_init(int control, const char *preload, const char *functions, struct slot_error *error);

/* The memory that every task writes to (warm_pages.c). */
enum { WARM_RANGES_MAX = 400 };
struct warm_pages {
    size_t n;
    struct warm_range {
        uintptr_t begin;
        size_t size;
    } ranges[WARM_RANGES_MAX];
};
void warm_pages_learn(struct warm_pages *pages);
void warm_pages_copy(const struct warm_pages *pages);
/* Moves the code of the library with this in its path onto huge pages. While nothing of it runs. */
void warm_pages_move_code(const char *library);
/* A task like any other, in this process. 0, or -1 where it went wrong. */
int warm_rehearse(void);

/* In the fork of it that is to run a task. The first is for speed alone, and runs nobody's code but ours. */
void warm_copy_pages(void);
/* Once, and before warm_become(); modules may have their own part in this: after all privileges are given up. */
void warm_after_fork(void);

/*
 * In the task's process, confined already: makes the interpreter the task's own (arguments, environment), so that only
 * the source is left to run. `env` becomes the process's environment.
 */
int warm_become(const struct plan *plan, char **env, struct slot_error *error);

/* Runs the source on its fd to the end of the process. */
_Noreturn void warm_run(void);

#endif
