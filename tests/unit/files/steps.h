/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every call that changes something on disk is a step, whoever makes it: the storage's own (the linker puts ours in the place of
 * the system's) and SQLite's (which lets its calls be replaced). At the n-th the process kills itself, or the call fails.
 */
#ifndef FILES_STEPS_H
#define FILES_STEPS_H

enum steps_end {
    STEPS_KILL, /* before the step is done */
    STEPS_FAIL, /* the call fails with `err`; those after it do not */
};

void steps_init(void);
/* From now on: n steps are done, then it comes. */
void steps_arm(int n, enum steps_end end, int err);
/* Nothing comes any more; the number of steps since steps_arm(). */
int steps_disarm(void);

#endif
