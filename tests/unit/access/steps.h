/* SPDX-License-Identifier: Apache-2.0 */
/* Every call by which the audit log changes something on disk is a step: at the n-th the process kills itself, or the call fails. */
#ifndef ACCESS_STEPS_H
#define ACCESS_STEPS_H

enum steps_end {
    STEPS_KILL,      /* before the step is done */
    STEPS_KILL_HALF, /* a write() in its middle */
    STEPS_FAIL,      /* the call fails with `err`, a write() after one half; those after it do not */
};

/* From now on: n steps are done, then it comes. */
void steps_arm(int n, enum steps_end end, int err);
/* Nothing comes any more; the number of steps since steps_arm(). */
int steps_disarm(void);

#endif
