/* SPDX-License-Identifier: Apache-2.0 */
/* Inside hivemind-slot. */
#ifndef SLOT_SLOT_H
#define SLOT_SLOT_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/util.h"
#include "slot/plan.h"
#include "slot/protocol.h"

/* The user of a task, as its namespace calls it; must be what the launcher maps. */
enum { SLOT_TASK_UID = 1000 };

/* Where and why something failed; `stage` is STAGE_NONE until then. */
struct slot_error {
    uint32_t stage;
    int32_t error;
    char detail[PROTOCOL_DETAIL_MAX];
};
/* Keeps errno, fills the error and returns -1. */
int slot_error_set(struct slot_error *error, enum slot_stage stage, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* What all tasks of a slot have in common. */
struct slot {
    int control;
    bool one_id; /* no second id in this user namespace: each task gets a user namespace of its own */
    bool warm;   /* Python tasks are forks of this process's interpreter; else they start one of their own */
    const char *python;
    struct sock_fprog filter;
};

/* The fds and the plan of one START; the init and the task inherit them by fork. */
struct slot_start {
    struct plan plan;
    int fd[SLOT_START_FDS];
};

/* --- slot_root.c --- */
/* Builds the read-only root of all tasks and moves this process into it: the host's files are gone afterwards. */
int slot_root_build(struct slot_error *error);
/* Makes the mount at path, and with recursive all below it, read-only, nosuid and what `more` (MS_NODEV, ...) says. */
int slot_mount_lock(const char *path, bool recursive, unsigned long more);

/* --- slot_filter.c --- */
/* Compiles the tasks' system call filter. */
int slot_filter_build(struct sock_fprog *ret, struct slot_error *error);

/* --- slot_init.c: pid 1 of a task's pid namespace --- */
enum init_report_type { INIT_READY = 1, INIT_FAILED, INIT_EXITED };
struct init_report {
    uint32_t type;
    int32_t status; /* EXITED: of the task's main process, as wait() gives it */
    struct slot_error error;
};
struct slot_init {
    int pidfd;
    int socket; /* its reports come here; one byte sent there is GO */
    int stop;   /* closing it kills the task and all that it started; only from INIT_READY on */
};
/* Starts one; the fds in *ret are the caller's. */
int slot_init_start(
    const struct slot *slot, const struct slot_start *start, struct slot_init *ret, struct slot_error *error);

/* --- slot_task.c: pid 2, from fork to exec --- */
/* Every signal as in a fresh process. */
void slot_reset_signals(void);
_Noreturn void slot_task_run(const struct slot *slot, const struct slot_start *start, int report, int proc);

#endif
