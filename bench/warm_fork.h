/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks in forks of a warm interpreter without any isolation: what the sandbox is compared with. */
#ifndef BENCH_WARM_FORK_H
#define BENCH_WARM_FORK_H

/* Makes this process the warm interpreter, the very one that a slot is. Once. 0, or -1 with the reason on stderr. */
int warm_fork_init(void);

/*
 * Runs `result = 42` count times with in_flight at once: source from a memfd, result and output through pipes, each task
 * reaped and its result checked. 0, or -1 with the reason on stderr.
 */
int warm_fork_run(unsigned count, unsigned in_flight);

#endif
