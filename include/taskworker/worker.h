/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker: the engine that accepts tasks, keeps them, runs them in sandboxes and answers for them.
 *
 * Threads: a worker lives in one libuv loop. Either the program brings its own loop (options.loop) and runs it, or it
 * leaves that NULL and calls tw_worker_run() on a thread of its choice. Functions marked [any thread] may be called from
 * anywhere; all others from the loop's thread, or before the loop runs.
 */
#ifndef TASKWORKER_WORKER_H
#define TASKWORKER_WORKER_H

#include <taskworker/task.h>

#ifdef __cplusplus
extern "C" {
#endif

struct uv_loop_s;
struct tw_launcher;
struct tw_worker;

/*
 * The launcher makes sandboxes. It is a process of its own and the only one that keeps the caller's privileges: start it
 * while the program is still root, then drop to an unprivileged user, then make the worker. In a program without root,
 * and where nothing is to be dropped, leave it out: tw_worker_new() starts one.
 */
struct tw_launcher_options {
    size_t size;             /* sizeof(struct tw_launcher_options) */
    const char *libexec_dir; /* NULL: where libtaskworker was installed for */
    uint32_t max_slots;      /* 0: 1024 */
    uint32_t slot_uid_base;  /* root: two host uids per slot from here; 0: 1900000000 */
    const char *python;      /* NULL: /usr/bin/python3 */
    bool python_cold; /* start an interpreter for each task; else, and with /usr/bin/python3 only, fork a warm one */
    const char
        *python_preload; /* modules, separated by commas, that the warm interpreter loads beside its own; NULL: none */
    const char
        *sandbox_paths; /* host paths, separated by colons, that tasks see read-only beside the usual; NULL: none */
    const char *sandbox_root; /* a folder that takes the place of the host's system for tasks; NULL: the host's own */
    /* Python source of functions that clients call by name (tasks of the type "function"), at most 1 MiB; NULL: none. */
    const char *functions;
    /*
     * The folder of the storage whose files tasks may name as inputs (tw_worker_set_storage()): it has to be known this early,
     * is made if it is not there, and then belongs to whom the folder above it belongs to. Absolute; NULL: tasks have no inputs.
     */
    const char *storage_path;
};
TW_PUBLIC int tw_launcher_start(
    const struct tw_launcher_options *options, struct tw_launcher **ret, struct tw_error *error);
/* Only for a launcher that was not given to a worker. NULL is allowed. */
TW_PUBLIC void tw_launcher_free(struct tw_launcher *launcher);

struct tw_storage; /* storage.h */

struct tw_worker_options {
    size_t size;                   /* sizeof(struct tw_worker_options) */
    struct uv_loop_s *loop;        /* NULL: the worker makes its own, for tw_worker_run() */
    struct tw_launcher *launcher;  /* taken over, whatever comes of the call; NULL: the worker starts one */
    const char *node_id;           /* shown to clients; NULL: "worker" */
    const char *storage_path;      /* the folder for everything that must survive; required */
    uint32_t max_concurrent_tasks; /* 0: 4 */
    uint32_t max_queued_tasks;     /* accepted and not started; 0: 10000 */
    uint64_t default_timeout_us;   /* of a task that names none; 0: 300 s */
    uint64_t max_task_size;        /* bytes of task_data; 0: 100 MiB */
    uint64_t max_result_size;      /* bytes; 0: 16 MiB */
    uint64_t max_log_size;         /* bytes of output kept per task; 0: 64 MiB */
    /*
     * What a task gets that asks for nothing and, but for memory and processors, the most it may ask for. 0: an equal share of the
     * node's memory; no limit of processors and their time; 1024 processes; 1024 files; 4 GiB a file; 1 GiB of /workspace; 256 MiB of /tmp.
     * output_bytes is ignored: it is max_log_size.
     */
    struct tw_limits task_limits;
    enum tw_network task_network;      /* of tasks that ask for nothing; DEFAULT: none */
    enum tw_network max_task_network;  /* the most a task may ask for; DEFAULT: loopback */
    bool stop_on_output_limit;         /* a task that prints too much is stopped; else only its output is dropped */
    uint32_t spare_sandboxes;          /* made ahead of need; 0: 2 */
    uint64_t default_queue_timeout_us; /* of a task that names none; 0: it may wait for ever */
    uint32_t max_tasks_per_owner;      /* of one owner at once; 0: as many as there are slots */
    uint32_t max_queued_per_owner;     /* accepted and not started, of one owner; 0: as many as may wait at all */
    /*
     * What all tasks together may take; 0: what the machine has, of the memory nine tenths. A task takes what its limits say of
     * memory and processors (an equal share where there is none) from its start to its end, and waits while that is not free.
     */
    uint64_t max_cpu_millis, max_memory_bytes;
    /* How much of the processors may be promised at most while they are idle, in thousandths; 0: 1500. */
    uint32_t max_overcommit;
    uint64_t retry_delay_us;     /* of a task that names none, before its second attempt; 0: 1 s */
    uint64_t max_retry_delay_us; /* however often it was doubled; 0: 5 min */
    uint64_t retention_us;       /* how long a task that has ended is kept, with all that belongs to it; 0: for ever */
    uint64_t max_kept_tasks;     /* beyond so many the oldest that have ended go; 0: no bound */
    uint64_t max_kept_bytes;     /* likewise, of their inputs, results and logs together */
    uint64_t stop_grace_us;      /* of a task that names none, from SIGTERM to SIGKILL; 0: 5 s */
    bool no_gpus;                /* leave those of the machine alone */
    uint64_t detach_timeout_us;  /* how long tasks that were left running wait for the next worker; 0: 10 min */
    /*
     * From where what packages name in their requirements.txt is installed, in a sandbox with the machine's network: the address of an index as
     * pip takes it, "" for pip's own; NULL: nothing is, packages have to bring it. It needs tw_worker_set_storage(), in whose folder it is kept
     * for the next task of the same owner that names the same, up to max_environments_bytes in all (0: 5 GiB) but for what is in use.
     */
    const char *package_index;
    uint64_t max_environments_bytes;
};

/*
 * Opens the store, takes up the tasks it holds and begins to run them as soon as the loop runs. A folder that another worker has is
 * waited for, 2 s at most, since that one may be about to end.
 */
TW_PUBLIC int tw_worker_new(const struct tw_worker_options *options, struct tw_worker **ret, struct tw_error *error);

/*
 * The files that clients may keep here (FileService in proto/taskworker.proto), and that tasks may name as inputs if the launcher was
 * told of the same folder (storage_path). Once, before the loop runs and before tw_worker_listen(); the storage is
 * borrowed, and closed after tw_worker_free() at the earliest. A worker without has no FileService.
 */
TW_PUBLIC void tw_worker_set_storage(struct tw_worker *worker, struct tw_storage *storage);

/* Runs the worker's own loop until it has shut down. Returns 0, or -1 when the loop is the caller's. */
TW_PUBLIC int tw_worker_run(struct tw_worker *worker);

enum tw_shutdown {
    TW_SHUTDOWN_DRAIN = 1, /* refuse new tasks, let running ones end; queued ones stay on disk for the next start */
    /*
     * Leave running tasks to the next worker with the same storage_path: they go on, kept by the launcher, and that worker
     * takes them up with all that they print meanwhile and with their results. It has to be there within detach_timeout_us,
     * with the rights that this one had. The launcher stays a child of this process. Where it cannot be done this is a DRAIN.
     */
    TW_SHUTDOWN_DETACH = 2,
    TW_SHUTDOWN_STOP = 3, /* stop running ones too, reason shutdown: queued again if retries are left, else STOPPED */
};
/*
 * Begins to shut down; may be called again with a later one of these to hurry. [any thread], also from a signal handler.
 * When all is written and closed, on_stopped (if set) is called on the loop's thread and tw_worker_run() returns.
 */
TW_PUBLIC void tw_worker_shutdown(struct tw_worker *worker, enum tw_shutdown how);
TW_PUBLIC void tw_worker_set_on_stopped(struct tw_worker *worker, void (*on_stopped)(void *ctx), void *ctx);

/* What becomes of a node that was asked to end. */
struct tw_shutdown_answer {
    enum tw_shutdown how; /* what it does, which may not be what was asked for */
    bool forgets_queued;  /* its storage_path is a temporary one: what waits does not wait for another start */
};

/*
 * What to do when a client asks for the end of the node (Shutdown in proto/taskworker.proto): on the loop's thread. `how` 0: as
 * the program likes; timeout_us: of a drain, 0 likewise. The answer goes to the client. NULL, as at first: such calls are
 * refused.
 */
TW_PUBLIC void tw_worker_set_on_shutdown_request(struct tw_worker *worker,
    struct tw_shutdown_answer (*on_request)(void *ctx, enum tw_shutdown how, uint64_t timeout_us), void *ctx);

/*
 * Why the worker has stopped by itself (its launcher died, so that it can make no sandboxes), or NULL. What was queued is
 * kept. For on_stopped, and after tw_worker_run(); lives as long as the worker.
 */
TW_PUBLIC const char *tw_worker_failure(const struct tw_worker *worker);

/* Only after it has stopped (or before its loop ever ran). NULL is allowed. */
TW_PUBLIC void tw_worker_free(struct tw_worker *worker);

/*
 * Changes of a running worker: max_concurrent_tasks, max_queued_tasks and default_timeout_us (0 leaves them as they are),
 * and default_queue_timeout_us, max_tasks_per_owner, max_queued_per_owner, the retry delays, stop_grace_us, detach_timeout_us, retention_us,
 * max_kept_tasks, max_kept_bytes, max_overcommit, max_cpu_millis, max_memory_bytes, task_limits, task_network, max_task_network and
 * stop_on_output_limit (0 means what it means to tw_worker_new()), for tasks that have not started yet; the rest is ignored.
 */
TW_PUBLIC void tw_worker_reload(struct tw_worker *worker, const struct tw_worker_options *options);

/*
 * Hands a task in, from any thread but the loop's; returns when it is on disk. `ret_id` gets its id (free() it), may be
 * NULL. Errors as ExecuteTask in proto/taskworker.proto. [any thread]
 */
TW_PUBLIC int tw_worker_submit(
    struct tw_worker *worker, const struct tw_task_spec *spec, char **ret_id, struct tw_error *error);

/*
 * Waits until the task has ended, at most timeout_us (0: for ever; DEADLINE_EXCEEDED after). Fills *ret (release it with
 * tw_task_info_done) and, unless ret_result is NULL, the result (free() it; NUL-terminated beyond its length).
 * From any thread but the loop's. [any thread]
 */
TW_PUBLIC int tw_worker_wait(struct tw_worker *worker, const char *id, uint64_t timeout_us, struct tw_task_info *ret,
    char **ret_result, size_t *ret_result_len, struct tw_error *error);

/* Ends a task; returns when it has ended. From any thread but the loop's. [any thread] */
TW_PUBLIC int tw_worker_stop_task(struct tw_worker *worker, const char *id, struct tw_error *error);

/*
 * A function of the program's own, which clients call by name (RPCService.CallFunction, tasks of the type "function"). It runs in
 * this process, on a thread of the worker's own (not the loop's), and perhaps on several at once: nothing isolates it, nothing limits
 * it, and it cannot be interrupted, so a stop, a time-out and the end of the worker wait until it returns. At most
 * TW_FUNCTIONS_AT_ONCE run at once; the next waits for one of them to return. All that is in the call is borrowed. Returns 0 with *ret_result, JSON from malloc() (NULL: null), or -1 with the error, whose message the caller is told.
 */
enum { TW_FUNCTIONS_AT_ONCE = 32 };
struct tw_function_call {
    const char *name;
    const char *args;   /* JSON as the caller wrote it: an array */
    const char *kwargs; /* JSON: an object */
    const char *owner;  /* "": nobody in particular */
    const char *task_id;
};
typedef int tw_function(void *ctx, const struct tw_function_call *call, char **ret_result, struct tw_error *error);
/* Before the loop runs. It goes before one of the same name in the launcher's file of functions. ALREADY_EXISTS: a second one. */
TW_PUBLIC int tw_worker_register_function(
    struct tw_worker *worker, const char *name, tw_function *function, void *ctx, struct tw_error *error);

/* What this worker cannot do, each in a sentence; the n-th, or NULL when there are no more. Lives as long as the worker. */
TW_PUBLIC const char *tw_worker_warning(const struct tw_worker *worker, size_t n);

/* How many tasks there are, and what those that run have been given. */
struct tw_counts {
    size_t size; /* sizeof(struct tw_counts): set it before the call */
    uint32_t running, queued;
    uint64_t accepted, completed, failed, stopped; /* since the worker's start */
    uint64_t cpu_millis, memory_bytes;             /* what there is for tasks; 0: not bounded */
    uint64_t cpu_millis_used, memory_bytes_used;   /* what is given of it */
};
/* On the loop's thread; cheap. */
TW_PUBLIC void tw_worker_get_counts(const struct tw_worker *worker, struct tw_counts *ret);

/*
 * The library's own log lines. The handler is called from any thread and must not call the library. NULL: back to the
 * default, which is stderr. [any thread]
 */
enum tw_log_level { TW_LOG_ERROR, TW_LOG_WARNING, TW_LOG_INFO, TW_LOG_DEBUG };
TW_PUBLIC void tw_log_set_handler(void (*handler)(enum tw_log_level level, const char *message, void *ctx), void *ctx);
TW_PUBLIC void tw_log_set_level(enum tw_log_level level);

/* "0.1.0" */
TW_PUBLIC const char *tw_version(void);

#ifdef __cplusplus
}
#endif
#endif
