/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The native sandbox as a runtime: a launcher process, a pool of slots, one task per slot at a time.
 */
#ifndef EXEC_SANDBOX_H
#define EXEC_SANDBOX_H

#include <uv.h>

#include "task/runtime.h"

struct launcher; /* the connection to hivemind-launcher */

struct launcher_options {
    const char *libexec_dir;    /* where hivemind-launcher and hivemind-slot lie; absolute */
    unsigned max_slots;         /* the launcher never makes more than this many; 1 to 4096 */
    uint32_t uid_base;          /* root only: slots get host uids and gids from here, two each */
    const char *python;         /* the interpreter; NULL: /usr/bin/python3 */
    bool python_cold;           /* a fresh interpreter per task; always so for any other than /usr/bin/python3 */
    const char *python_preload; /* modules for the warm one, separated by commas; NULL: none */
    const char *sandbox_paths;  /* host paths that tasks see beside the usual, separated by colons; NULL: none */
    const char *functions;      /* Python source of functions that tasks of that type call by name; NULL: none */
    const char *inputs;         /* the folder with tasks' inputs (files/inputs.h), absolute; NULL: there are none */
    const char *sandbox_root;   /* stands for the host's system, and makes interpreters cold; NULL: the host's own */
};

/*
 * Starts hivemind-launcher (fork and exec, empty environment, fixed fds) and waits for its greeting, at most 5 s. Call it
 * while still privileged, and before other threads exist; afterwards the process may drop its privileges.
 * When the process that called this dies, in whatever way, the launcher kills its slots, cleans up and exits.
 */
int launcher_start(const struct launcher_options *options, struct launcher **ret, struct tw_error *error);
/* Closes the connection and waits for the launcher's end. NULL is allowed. */
void launcher_free(struct launcher *launcher);

/* True: slots have uids of their own. False (no root): one host uid, see launcher_warning(). */
bool launcher_privileged(const struct launcher *launcher);
/* The interpreter of its tasks, as they see it. */
const char *launcher_python(const struct launcher *launcher);
/* What this launcher cannot do, in one sentence for a person, or NULL. */
const char *launcher_warning(const struct launcher *launcher);

/* What control groups can limit here for each task: bits 1 << TW_LAYER_CGROUP_*; 0: there are none. */
uint64_t launcher_group_layers(const struct launcher *launcher);
/* Which of memory, CPU and processes of a task is not limited, why, and what helps, in one sentence, or NULL. */
const char *launcher_group_warning(const struct launcher *launcher);

/*
 * Takes the launcher over. At most `slots` of them run tasks at once; what is needed and `spare` more are made, in the
 * background.
 */
int sandbox_new(uv_loop_t *loop, struct launcher *launcher, unsigned slots, unsigned spare, struct runtime **ret,
    struct tw_error *error);
/*
 * Before anything is started: `folder`, from now on, is where runs are left to the next daemon, and those that another one
 * has left there can be taken up (runtime_ops.take_up). Whoever calls this must be the only one that uses the folder. Waits
 * for the launchers of former daemons; one that does not answer makes this fail.
 */
int sandbox_find_left(struct runtime *rt, const char *folder, struct tw_error *error);

#endif
