/* SPDX-License-Identifier: Apache-2.0 */
/* What a tree of processes uses, as /proc shows it: where there are no control groups. */
#ifndef EXEC_TREE_H
#define EXEC_TREE_H

#include <stdbool.h>
#include <sys/types.h>

#include <taskworker/task.h>

/*
 * Sums up all descendants of the process, without itself: user_us, system_us (with what their dead children used, as far
 * as it was waited for) and max_rss_bytes (of the largest now). False: there are none, or /proc does not show them.
 */
bool tree_usage(pid_t root, struct tw_usage *usage);

#endif
