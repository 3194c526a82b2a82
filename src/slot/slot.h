/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside hivemind-slot.
 *
 *   slot_main.c    the loop: requests of the daemon, what becomes of the task
 *   slot_seat.c    a seat: a sandbox with everything in it but the task; made on demand, or ahead while nothing runs
 *   slot_init.c    its pid 1
 *   slot_task.c    its other process, which becomes the task
 *   slot_root.c    the root folder that all seats have in common, slot_extra.c: what the operator adds to it;
 *                  slot_inputs.c: the files that a task has asked for;
 *                  slot_folders.c: what each has for itself; slot_outputs.c: what it leaves;
 *                  slot_package.c: one that is a package
 *   slot_filter.c, slot_landlock.c, slot_watch.c   what the task may ask of the kernel, and what it asked beyond
 */
#ifndef SLOT_SLOT_H
#define SLOT_SLOT_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "base/util.h"
#include "slot/plan.h"
#include "slot/profile.h"
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
    int pid_namespace;           /* the slot's own */
    bool one_id;                 /* no second id in this user namespace: each task gets a user namespace of its own */
    bool host_network;           /* no network namespace of its own */
    bool inputs;                 /* it was started in the folder of tasks' inputs */
    struct slot_profile profile; /* points into what is mapped for good */
    struct sock_fprog filter;    /* refused calls come to the slot */
    struct sock_fprog silent;    /* for where that cannot be: they fail without a word */
    uint64_t layers;             /* bits of enum tw_layer that every task here has */
    bool loopback_up;
    uint64_t gpu_minors; /* of the GPUs' devices that the host has, bits 1 << N */
    unsigned gpu_shared; /* and which of those that they share */
};

/* --- slot_root.c --- */
/* Builds the read-only root of all tasks and moves this process into it: the host's files are gone afterwards. */
int slot_root_build(struct slot *slot, struct slot_error *error);
/* Makes the mount at path, and with recursive all below it, read-only, nosuid and what `more` (MS_NODEV, ...) says. */
int slot_mount_lock(const char *path, bool recursive, unsigned long more);

/* --- slot_extra.c: paths that the operator named --- */
/* While the new root is the current folder, and not entered yet; it has its /proc. */
int slot_extra_bring_in(const struct slot *slot, struct slot_error *error);
/* Read-only, once it is entered. */
int slot_extra_lock(const struct slot *slot, struct slot_error *error);

/* --- slot_gpus.c --- */
enum { SLOT_GPU_MINORS = 64, SLOT_GPU_PATH_MAX = 40 };
/* As for the paths above; the first notes what there is. */
int slot_gpus_bring_in(struct slot *slot, struct slot_error *error);
int slot_gpus_lock(const struct slot *slot, struct slot_error *error);
/* In the mount namespace of a seat: shows the task these devices, and hides the others. */
int slot_gpus_give(const struct slot *slot, uint64_t minors, struct slot_error *error);
/* Takes the next path of what these minors mean to a task; *at begins at 0. False: there are no more. */
bool slot_gpus_next(const struct slot *slot, uint64_t minors, size_t *at, char ret[SLOT_GPU_PATH_MAX]);

/* --- slot_inputs.c --- */
/* Before the new root is built on anything: a way to the folder that this was started in, or -1. */
int slot_inputs_open(const struct slot *slot, struct slot_error *error);
/* As for the paths above. */
int slot_inputs_bring_in(const struct slot *slot, int folder, struct slot_error *error);
int slot_inputs_lock(const struct slot *slot, struct slot_error *error);
/* In the mount namespace of a seat, before its /tmp is mounted: shows the task this set in the folder `path`. */
int slot_inputs_give(const struct slot *slot, uint64_t set, const char *path, struct slot_error *error);

/* --- slot_outputs.c --- */
struct slot_outputs {
    uint32_t sent, left; /* files; left: matched, but could not be sent */
};
/*
 * Sends an OUTPUT for each file below the workspace, which is taken over, that the plan wants. Nothing may run in there any more.
 * 0 or -errno; -EPIPE and the like: there is no daemon.
 */
int slot_outputs_send(const struct slot *slot, uint64_t serial, int plan_fd, int *workspace, struct slot_outputs *ret);

/* --- slot_package.c: a task that is a package --- */
struct slot_package {
    bool is_shell;
    char folder[300]; /* in which it works */
    char file[300];   /* that is run, in there */
    char python_path[400];
};
/*
 * In the task's process, in its workspace, when it was let go: unpacks what is on `source`, installs what it requires (unless `installed`: it is
 * in /environment), goes to its folder, and puts the file to be run in the source's place.
 */
int slot_package_open(
    int source, const char *python, bool installed, struct slot_package *ret, struct slot_error *error);
/* Likewise, but prints what it requires and does not bring, if anything. */
int slot_package_list(int source, struct slot_error *error);

/* --- slot_folders.c --- */
/*
 * In the mount namespace of a seat: its /proc, /tmp, /workspace and /dev/shm. Where the task will have to write its id
 * maps (one_id), *ret_proc gets a way to a writable /proc, which is to be closed before the task's program starts.
 */
int slot_folders_mount(
    const struct slot *slot, const struct slot_shape *shape, int *ret_proc, struct slot_error *error);

/* --- slot_filter.c --- */
/* Compiles the tasks' system call filter: what is refused fails by itself, or comes to a listener first. */
int slot_filter_build(bool watched, struct sock_fprog *ret, struct slot_error *error);
/* What a refused call fails with: a positive errno. */
int slot_filter_errno(int nr);
/* Loads it into this process, for good. *ret_listener: where refused calls arrive, or -1 where this cannot be had. */
int slot_filter_load(const struct slot *slot, int *ret_listener, struct slot_error *error);

/* --- slot_landlock.c --- */
/* Restricts this process, for good. Sets *ret_in_force; no Landlock here is no error. */
int slot_landlock_restrict(const struct slot *slot, uint64_t gpu_minors, bool *ret_in_force, struct slot_error *error);

/* --- slot_watch.c: the calls that the filter refused --- */
enum { WATCH_NAMES_MAX = 6 };
struct watch {
    int fd; /* the listener, or -1 */
    uint64_t denied;
    struct {
        int nr;
        uint64_t count;
    } calls[WATCH_NAMES_MAX];
};
/* Answers one call that waits there; closes the listener when nobody is left who could call. */
void watch_serve(struct watch *watch);
/* "bpf 1, ptrace 3" */
void watch_describe(const struct watch *watch, char *ret, size_t size);

/* --- slot_usage.c --- */
struct slot_usage slot_usage_of(const struct rusage *u);
/* Takes off what was used before; the largest size stays. */
void slot_usage_subtract(struct slot_usage *usage, const struct slot_usage *before);
void slot_usage_add(struct slot_usage *usage, const struct slot_usage *more);
/* From /proc/PID/io: bytes by read() and write(), of the process and all that it has waited for. */
void slot_usage_set_io(struct slot_usage *usage, const char *text);

/* --- slot_init.c: pid 1 of a seat --- */
struct init_block; /* its memory, shared with us, and its stack */
struct init {
    pid_t pid;
    int pidfd;
    int socket;
    struct init_block *block;
};
/* What it says of the processes that it was left to reap. */
struct init_report {
    struct slot_usage usage;  /* `processes` are all that were started in the namespace but pid 1; 0: unknown */
    bool folder_full;         /* no room left in one of the task's folders */
    uint64_t folder_bytes;    /* in all of them */
    uint64_t workspace_bytes; /* at most in the workspace, as far as was seen */
};
enum init_order {
    INIT_WATCH = 'w',
    INIT_KILL = 'k',
    INIT_END = 'e',
    INIT_TERMINATE = 't',
    INIT_PAUSE = 'p',
    INIT_RESUME = 'r'
};
/* Starts one in fresh pid and mount namespaces. */
int init_start(struct init *ret, struct slot_error *error);
/*
 * WATCH: looks at the size of the workspace from time to time. KILL: kills everything in its namespace. END: the same, reaps it all, answers on the socket with one byte, and exits.
 * TERMINATE: SIGTERM for everything there, and SIGCONT, so that what is stopped can heed it. PAUSE: SIGSTOP, again and again
 * until another order comes. RESUME: SIGCONT.
 */
void init_order(const struct init *init, enum init_order order);
/* After that answer. */
void init_take_report(const struct init *init, struct init_report *ret);
/* Reaps it, waiting if need be, and frees its memory. */
void init_reap(struct init *init);

/* --- slot_seat.c --- */
enum seat_message_type { SEAT_SETTLED = 1, SEAT_FAILED, SEAT_TASK_READY };
struct seat_message {
    uint32_t type;
    uint32_t landlock; /* SETTLED, which also carries its workspace and the listener, if there is one */
    struct slot_error error;
    struct slot_usage usage; /* TASK_READY: what it took to get there, and is not the task's */
};
struct seat {
    struct init init;
    pid_t pid; /* of the process that becomes the task */
    int pidfd;
    int socket;    /* to it; -1 once it has closed its end */
    int workspace; /* its folder, from outside; -1 once nobody is going to look into it */
    int io;        /* its /proc/PID/io, opened while it lives: that of a zombie belongs to the host's root */
    struct slot_shape shape;
    bool landlock, watched;
    struct watch watch;
};
#define NO_INIT                              \
    {                                        \
        .pid = -1, .pidfd = -1, .socket = -1 \
    }
#define NO_SEAT                                                                                                \
    {                                                                                                          \
        .init = NO_INIT, .pid = -1, .pidfd = -1, .socket = -1, .workspace = -1, .io = -1, .watch = {.fd = -1 } \
    }
int seat_make(const struct slot *slot, const struct slot_shape *shape, struct seat *ret, struct slot_error *error);
/* Hands the START over: fds as SLOT_START_FDS. */
int seat_give(const struct seat *seat, const struct slot_shape *shape, const int *fds, struct slot_error *error);
bool seat_fits(const struct seat *seat, const struct slot_shape *shape);
/* Closes what belongs to its second process, once that is reaped. */
void seat_close(struct seat *seat);
/* --- slot_task.c: the process that becomes the task --- */
/* Every signal as in a fresh process. */
void slot_reset_signals(void);
_Noreturn void slot_task_run(const struct slot *slot, const struct slot_shape *shape, int init_pidfd, int socket);

#endif
