/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemon takes away from itself before it listens to anybody. */
#ifndef NODE_HARDENING_H
#define NODE_HARDENING_H

#include <taskworker/error.h>

/*
 * For good, for all threads: no capability, nothing to be gained by exec, and a filter that refuses the system calls which a daemon
 * on a network never needs (hardening.c has the list). The launcher and what it starts are older and stay as they are. -1: `error`
 * says what this machine does not allow.
 */
int hardening_enter(struct tw_error *error);

#endif
