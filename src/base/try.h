/* SPDX-License-Identifier: Apache-2.0 */
/* Things that change the process that tries them, or may hang or crash: tried in a child that has a deadline. */
#ifndef BASE_TRY_H
#define BASE_TRY_H

#include <stddef.h>
#include <stdint.h>

/* Runs in the child. What it starts stays in its process group, and dies with it. */
typedef void (*try_function)(const void *arg, void *ret);

/*
 * Runs `function` in a child and copies what it put into `ret` (size bytes, zero at first). 0; -ETIMEDOUT; -ECHILD when the
 * child died instead of answering (a filter that kills); or -errno. Afterwards there is no child any more, except one that
 * the kernel does not let die: that one goes when it can.
 */
int try_run(uint64_t limit_us, try_function function, const void *arg, void *ret, size_t size);

/*
 * For the child: forks, with a parent-death signal, runs `function` there and returns its errno as what it returned
 * (0 to 254), or 255 if it died.
 */
int try_fork(int (*function)(void *arg), void *arg);

#endif
