/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs tasks in the real sandbox, with the real helper programs, through the runtime's interface on a loop of its own.
 * Every wait ends on an event or, as a failure, at a deadline.
 */
#ifndef TESTS_EXEC_HARNESS_H
#define TESTS_EXEC_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "exec/sandbox.h"

struct world {
    uv_loop_t loop;
    struct runtime *rt;
    pid_t launcher;
    bool privileged;
    bool closed;
    bool late; /* the deadline has passed */
    uv_timer_t deadline;
};

/* One run and all that was told of it. */
struct job {
    struct world *world;
    struct run *run;
    bool hold; /* do not say go at `ready` */
    bool was_ready, has_output, ended;
    int n_ended;
    struct buf out, err;
    enum run_end end;
    int exit_code, signal;
    char message[500];
    char *error;
    char *result; /* NUL-terminated; NULL: none */
    size_t result_len;
    bool result_too_large;
    struct tw_usage usage;
    struct tw_receipt receipt;
    enum tw_reason limit;
};

/*
 * Runs the tests of a program twice: as it was started and, when that was as root, once more as an ordinary user. Where
 * that user may not make user namespaces the second run is skipped aloud, or fails if the environment has CI.
 */
int run_as_both(char **argv, int (*tests)(void));

void world_open(struct world *w, unsigned slots);
/* With other options; options->libexec_dir NULL: the usual. */
void world_open_with(struct world *w, unsigned slots, struct launcher_options *options);
/* With as many slots ahead of need as `spare`; the others have all. */
void world_open_sparing(struct world *w, unsigned slots, unsigned spare, struct launcher_options *options);
const char *libexec_dir(void);
void world_close(struct world *w);
/* Runs the loop until *flag is true; fails the test after seconds. */
void world_wait(struct world *w, const bool *flag, unsigned seconds);

/* Starts a task; `args` NULL-terminated or NULL. */
void job_start(struct world *w, struct job *job, const char *type, const char *source, const char *const *args);
void job_start_spec(struct world *w, struct job *job, const struct run_spec *spec);
/* Starts it and waits for its end. */
void job_run(struct world *w, struct job *job, const char *type, const char *source);
void job_done(struct job *job);
const char *job_out(struct job *job);
const char *job_err(struct job *job);

/* Children of a process (of its main thread), at most max; how many. */
size_t children_of(pid_t pid, pid_t *ret, size_t max);
size_t count_fds(void);
/* Waits until the process is no more, at most seconds. */
void wait_gone(pid_t pid, unsigned seconds);

#endif
