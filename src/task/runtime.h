/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the engine asks of a runtime (the native sandbox; a container engine later). All calls and callbacks are on the
 * loop thread.
 */
#ifndef TASK_RUNTIME_H
#define TASK_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <taskworker/task.h>

struct runtime;
struct run; /* one attempt of one task in a runtime */

struct run_env {
    const char *name, *value;
};

/*
 * A type that no client can ask for: opens a package as a task of type "package" does, in a sandbox like its own, and prints on stdout what
 * it requires and does not bring (package/requirements.h), or nothing. Nothing of the package is run.
 */
#define RUN_REQUIREMENTS "requirements"

/* Everything is borrowed during run_start only: the runtime copies what it needs longer. */
struct run_spec {
    const char *task_id;
    const char *type;
    const char *owner; /* "": nobody in particular; tasks of two owners never share an interpreter */
    const void *data;
    size_t data_len;
    const char *const *args;
    size_t n_args;
    const struct run_env *env;
    size_t n_env;
    size_t max_result;       /* bytes; a longer result ends as OUTPUT_LIMIT (python) or is cut in front (shell) */
    struct tw_limits limits; /* resolved: 0 is no limit; output_bytes is the engine's own business */
    enum tw_network network; /* resolved: never DEFAULT */
    bool fresh_interpreter;
    uint64_t gpu_minors;        /* bits 1 << N of the devices /dev/nvidiaN that it is given */
    uint64_t inputs;            /* the set of stored files that it sees (files/inputs.h); 0: none */
    uint64_t environment;       /* what was installed for it (files/environments.h); 0: nothing */
    const char *const *outputs; /* patterns (base/glob.h) of the files below its workspace that it leaves */
    size_t n_outputs;
};

enum run_end {
    RUN_EXITED,        /* by itself, with exit_code */
    RUN_SIGNALED,      /* by a signal */
    RUN_BAD_INPUT,     /* the input cannot be run; `message` says why */
    RUN_SANDBOX_ERROR, /* never started: the sandbox could not be made; `message` says why */
    RUN_LOST,          /* the sandbox went away under it (slot or launcher died) */
};

/* A file that a task leaves. */
struct run_file {
    const char *path; /* below its workspace, as a name in a storage may be; borrowed during the call */
    int fd;           /* open for reading; the receiver's */
    uint64_t size;
    bool executable;
};

/* Borrowed during run_events.ended. */
struct run_outcome {
    enum run_end end;
    int exit_code;       /* RUN_EXITED */
    int signal;          /* RUN_SIGNALED */
    const char *message; /* one sentence, may be NULL */
    const char *error;   /* what the task says of its failure (traceback), UTF-8, may be NULL */
    const void *result;
    size_t result_len;
    bool result_too_large;
    bool bad_result; /* RUN_EXITED: what came as its result is none; `message` says why */
    /*
     * What the kernel says it ran into, if anything: OOM, TIMEOUT_CPU (both end it whatever `end` is), or PIDS_LIMIT and
     * DISK_LIMIT (which explain a bad end, and are no more than a remark at a good one). NONE otherwise.
     */
    enum tw_reason limit;
    uint32_t files_left; /* files that it was to leave and that could not be told of */
    struct tw_usage usage;
    struct tw_receipt receipt; /* all zero where the task never began */
};

/*
 * What the daemon that takes a run over has to know of it: how far its time has gone, on the monotonic clock, which is the
 * machine's, and what it holds, whatever the settings say by then.
 */
struct run_carried {
    uint64_t begun_us;
    uint64_t wall_from_us, wall_left_us; /* when the wall clock was started last, and what was left of it then */
    uint64_t held_cpu_millis, held_memory_bytes; /* in the engine's ledger */
    /* Told by take_up() alone. */
    uint64_t gpu_minors;
    uint64_t environment;
    struct tw_limits limits; /* as in its run_spec */
};

struct run_events {
    /*
     * The sandbox stands and the task's process waits for run_go: nothing of the task has run yet. The engine makes the
     * attempt durable in between.
     */
    void (*ready)(void *ctx);
    void (*output)(void *ctx, enum tw_stream stream, const void *data, size_t len);
    /*
     * One of the files that its patterns are for, once all its processes are dead, however they ended; file_kept() has to follow for each,
     * at once or later, and `ended` comes after the last of these. From the first on the run cannot be killed, left or paused: it has ended.
     */
    void (*file)(void *ctx, const struct run_file *file);
    /*
     * Exactly once, last, never from within run_start: the whole process tree is dead, all output has been delivered.
     * The run is freed when this returns.
     */
    void (*ended)(void *ctx, const struct run_outcome *outcome);
    /* In its place, after leave(): it goes on without us. */
    void (*left)(void *ctx);
};

struct runtime_ops {
    /* Takes one task type the runtime serves? */
    bool (*serves)(const struct runtime *rt, const char *type);
    /* Starts making the sandbox. NULL with the error when that cannot even be tried. */
    struct run *(*start)(struct runtime *rt, const struct run_spec *spec, const struct run_events *events, void *ctx,
        struct tw_error *error);
    /* Lets the task's process begin. Once, after `ready`. */
    void (*go)(struct run *run);
    /* Kills the whole tree, at any time before `ended`; `ended` follows soon. May be called more than once. */
    void (*kill)(struct run *run);
    /*
     * Asks the whole tree to end (SIGTERM), between `go` and `ended`; kill() may follow at any time. Nothing where nothing
     * runs.
     */
    void (*terminate)(struct run *run);
    /*
     * Stops all processes of the task (SIGSTOP), or lets them go on, between `go` and `ended`. May be NULL: not possible
     * here. A paused task can be killed. terminate() of a paused one lets it go on first.
     */
    void (*pause)(struct run *run, bool paused);
    /* The number of a process of the task's on this machine, whose /proc/PID/root is what it sees; 0: not known. May be NULL. */
    uint32_t (*pid)(const struct run *run);
    /* A file is dealt with, and its fd closed. NULL where there are none. */
    void (*file_kept)(struct run *run);
    /* What the run has used so far, as well as can be seen from outside; false: nothing is known. May be NULL. */
    bool (*usage)(struct run *run, struct tw_usage *ret);

    /* --- tasks that outlive their daemon; all NULL where that cannot be --- */

    /* From now on runs can be left to the next daemon that works on the same folder, if it comes within `seconds`. */
    void (*detach)(
        struct runtime *rt, uint32_t seconds, void (*done)(void *ctx, const struct tw_error *error), void *ctx);
    /* Leaves a run that was let go and not killed; `left` or `ended` follows. */
    void (*leave)(struct run *run, const struct run_carried *carried);
    /* A run of this task that another daemon has left, or NULL. Nothing happens to it before take_over(). */
    struct run *(*take_up)(struct runtime *rt, const char *task_id, const struct run_events *events, void *ctx,
        struct run_carried *ret_carried);
    /* The runs that were taken up go on here; what nobody has taken up is killed. */
    void (*take_over)(struct runtime *rt);
    /* Forgets a run that was taken up, before take_over(): it waits for yet another daemon. No event follows. */
    void (*forsake)(struct run *run);

    /* Kills what runs and was not left, takes everything down, frees the runtime, then calls done. */
    void (*close)(struct runtime *rt, void (*done)(void *ctx), void *ctx);
    /* How many tasks it is to run at once from now on. */
    void (*resize)(struct runtime *rt, unsigned slots);
};

/* The first member of every runtime's and run's own struct. */
struct runtime {
    const struct runtime_ops *ops;
    /*
     * Set by the owner, may be NULL: the runtime can run nothing any more and never will. Called once, before the runs
     * that this costs end as RUN_LOST.
     */
    void (*on_broken)(void *ctx, const struct tw_error *error);
    /* Likewise: it can begin nothing at present, and tries by itself until it can; then with NULL. */
    void (*on_trouble)(void *ctx, const struct tw_error *error);
    void *owner_ctx; /* theirs */
};
struct run {
    struct runtime *rt;
};

#endif
