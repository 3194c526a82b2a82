/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operator's own code (PYTHON_PRELOAD, FUNCTIONS) runs in the slot before it serves anybody. Whatever it does there, the
 * daemon is told which setting it came from: a mistake like that would be the same in every other slot.
 */
#ifndef SLOT_LOADING_H
#define SLOT_LOADING_H

#include "slot/slot.h"

enum { LOADING_MAX_S = 20 }; /* for all of it; less than the daemon waits for a slot */

/* From here on, should the process end or take too long, a last message says so. */
void loading_begin(int control);
/* What is loaded now: "FUNCTIONS: the file". */
void loading_next(const char *subject);
/* It has come back: is there nothing left of it but what it has defined? 0, or -1 with the error. */
int loading_check(bool threads, struct slot_error *error);
void loading_end(void);

/* Ends the process as _exit() does, but not in silence where something is being loaded. */
_Noreturn void loading_exit(int status);

#endif
