/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine: the one owner of all live tasks, on the loop's thread. It admits tasks (durably), queues them, starts them
 * when a slot is free, and carries each to exactly one end. A task is live from the moment its admission is on disk until
 * its end is on disk; before and after it exists only in the store.
 *
 * Callbacks come on the loop's thread and may come from within the call that asked for them.
 */
#ifndef TASK_ENGINE_H
#define TASK_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "base/list.h"
#include <taskworker/worker.h>

#include "store/store.h"
#include "task/gpus.h"
#include "task/runtime.h"

struct engine;
struct task;

/* A GPU that tasks can have; its number is its place in the list. */
struct engine_gpu {
    const char *name, *uuid; /* "": not known */
    unsigned minor;          /* of /dev/nvidiaN */
    uint64_t memory_bytes;   /* 0: not known */
    unsigned score;
};

/*
 * Who keeps the files that tasks name as inputs and that they leave as outputs; without `gather` nobody does. All on the loop's thread.
 * gather: has these files of the owner put together for a task, fills in what is not said of them (id, name, path: the strings
 * are replaced by others from malloc) and what `to` points to. All is borrowed until `done`, which comes from the loop.
 * release: no task has a use for the set any more.
 * keep: stores a file that a task of the owner leaves, durable, as ID/PATH. The fd is taken over; `done` comes from the loop.
 */
typedef void (*engine_gathered_cb)(void *ctx, const struct tw_error *error);
struct engine_gathered {
    uint64_t *set;   /* its number, never 0 */
    uint8_t *digest; /* of all paths and contents, STORE_DIGEST_LEN bytes */
};
struct engine_files {
    void (*gather)(void *ctx, const char *owner, struct tw_input *inputs, size_t n, struct engine_gathered to,
        engine_gathered_cb done, void *done_ctx);
    void (*release)(void *ctx, uint64_t set);
    void (*keep)(void *ctx, const char *owner, const char *task_id, const struct run_file *file,
        engine_gathered_cb done, void *done_ctx);
    void *ctx;
};

/*
 * Who makes ready what a task has to find when it begins: what its package requires. All on the loop's thread; without `begin` nobody does.
 * begin: 0 with NULL where there is nothing to do for this task; 0 with what is under way: `done` comes once, from the loop, and until then
 * what the spec points to is borrowed, and `output` may come with what is to be in the task's log; or -1: it cannot even be begun.
 * cancel: has `done` come soon.
 * hold: a task that goes on since an earlier engine has this environment. release: one task less has it.
 */
struct engine_prepared {
    enum tw_reason reason; /* NONE: it can begin; LOST: it cannot for now, which is not its fault; else how it ends */
    const char *message;   /* NULL: the usual one */
    uint64_t environment;  /* 0: it needs none */
};
struct engine_prepare_events {
    void (*output)(void *ctx, enum tw_stream stream, const void *data, size_t len);
    void (*done)(void *ctx, const struct engine_prepared *prepared);
};
struct preparation;
struct engine_preparing {
    int (*begin)(void *ctx, const struct run_spec *spec, const struct engine_prepare_events *events, void *events_ctx,
        struct preparation **ret, struct tw_error *error);
    void (*cancel)(struct preparation *preparation);
    void (*hold)(void *ctx, uint64_t environment);
    void (*release)(void *ctx, uint64_t environment);
    void *ctx;
};

struct engine_options {
    uv_loop_t *loop;
    struct store *store;     /* borrowed; outlives the engine */
    struct runtime *runtime; /* borrowed; closed by the owner after the engine has drained */
    unsigned max_running;
    unsigned max_queued;
    uint64_t default_timeout_us;
    uint64_t max_task_size;
    uint64_t max_result_size;
    uint64_t max_log_size;
    struct tw_limits task_limits; /* what a task gets that asks for nothing, and the most it may ask for; 0: no limit */
    enum tw_network task_network, max_task_network; /* never DEFAULT */
    bool stop_on_output_limit;
    uint64_t default_queue_timeout_us; /* 0: for ever */
    unsigned max_running_per_owner;    /* 0: no bound */
    unsigned max_queued_per_owner;     /* 0: no bound */
    uint64_t cpu_millis, memory_bytes; /* what all tasks together may take; 0: not bounded */
    uint64_t retry_delay_us;           /* of a task that names none */
    uint64_t max_retry_delay_us;       /* however often it was doubled */
    uint64_t grace_us;                 /* of a task that names none */
    const struct engine_gpu *gpus;     /* borrowed; n_gpus of them, GPUS_MAX at most */
    size_t n_gpus;
    uint32_t detach_seconds; /* within which the next engine takes running tasks up */
    struct engine_files files;
    struct engine_preparing preparing;
    const char *runtime_version; /* borrowed; another one where the same task might come to something else */
};

/* The bounds on one task's arguments and environment, and on all that the queue holds in memory. */
enum {
    ENGINE_MAX_ARGS = 1024,
    ENGINE_MAX_ENV = 1024,
    ENGINE_MAX_ARGS_BYTES = 128 * 1024,
    ENGINE_MAX_QUEUE_BYTES = 64 * 1024 * 1024,
    ENGINE_MAX_ADMITTING_BYTES = 256 * 1024 * 1024, /* of tasks on their way to disk; a larger one goes alone */
    ENGINE_MAX_RETRIES = 1000,
    ENGINE_MAX_BATCH = 10000,
};

/* Takes up what the store holds: queued tasks are queued again, running ones go on if they were left running, and else are
 * run again or end as LOST. */
int engine_new(const struct engine_options *options, struct engine **ret, struct tw_error *error);
/* Before it is started, or never. */
void engine_set_files(struct engine *engine, const struct engine_files *files);
/* Likewise; it hears at once what the tasks hold that go on. */
void engine_set_preparing(struct engine *engine, const struct engine_preparing *preparing);
/* Whether a live task has this set. */
bool engine_has_inputs(const struct engine *engine, uint64_t set);
/* Begins to run what was taken up. */
void engine_start(struct engine *engine);
/* Only after engine_shutdown's callback, or before the loop ever ran. NULL is allowed. */
void engine_free(struct engine *engine);

/* New limits from now on; zero leaves one as it is. */
void engine_set_limits(struct engine *engine, unsigned max_running, unsigned max_queued, uint64_t default_timeout_us);
/* How much may be promised of the processors, in thousandths of options.cpu_millis: 1000 or more. */
void engine_set_overcommit(struct engine *engine, unsigned per_mille);
/* Those of `from` that concern single tasks and owners: for all that are admitted or started from now on. */
void engine_set_task_limits(struct engine *engine, const struct engine_options *from);
/* Whether limits are such that a task can live with them (0: no limit). INVALID_ARGUMENT names the one that is not. */
int engine_check_limits(const struct tw_limits *limits, struct tw_error *error);

/*
 * The only door for tasks. The spec is copied, but for its data when `take_data` is given: that is spec->data itself, from
 * malloc, and belongs to the engine from now on, whatever comes of the task (100 MB need no second copy).
 * `info` is the task as it stands: QUEUED for a new one; `existing` when the id was handed in before with the same content.
 * On failure info is NULL.
 */
typedef void (*engine_admit_cb)(
    void *ctx, const struct tw_task_info *info, bool existing, const struct tw_error *error);
void engine_admit(
    struct engine *engine, const struct tw_task_spec *spec, void *take_data, engine_admit_cb cb, void *ctx);

/*
 * Many tasks, all of them or none. batch_id: their label TW_LABEL_BATCH, NULL or "": the engine makes one; a task without an id
 * gets BATCH-N. With array_count there has to be one spec, which is admitted so many times, with its index in the environment
 * (HIVEMIND_ARRAY_INDEX) and in the label TW_LABEL_INDEX.
 *
 * It is made over some rounds of the loop, so that thousands of tasks hold nobody up: the specs and all that they point to are
 * borrowed until the callback. A batch that was admitted before gets the same answer again, also where there is no room for it; for
 * that it needs a batch_id, or an id for each task.
 */
struct engine_batch {
    const char *batch_id;
    const struct tw_task_spec *specs;
    size_t n_specs;
    unsigned array_first, array_count;
};
/* ids: of all tasks, in order. On failure both are NULL, and the error names the task. */
typedef void (*engine_batch_cb)(
    void *ctx, const char *batch_id, const char *const *ids, size_t n, const struct tw_error *error);
void engine_admit_batch(struct engine *engine, const struct engine_batch *batch, engine_batch_cb cb, void *ctx);

/* Admits once more what a task was that failed or was stopped. Borrowed during the call only. */
struct engine_again {
    const char *id;
    const char *new_id; /* NULL or "": the engine makes one */
    /*
     * What it is to come after now. None: as before where it never began, else nothing; for one that failed for another's end
     * (DEPENDENCY) that is FAILED_PRECONDITION.
     */
    const char *const *after;
    size_t n_after;
    bool after_own; /* as in struct tw_task_spec */
};
void engine_retry(struct engine *engine, const struct engine_again *again, engine_admit_cb cb, void *ctx);

/* A task that is live, or NULL. Valid until control returns to the loop. */
struct task *engine_find(const struct engine *engine, const char *id);
/* What is shown of it: why it still waits, or, asked of the runtime unless that was done a moment ago, what it uses. */
const struct tw_task_info *task_info(struct task *task);
uint64_t task_seq(const struct task *task);

/* One task, live or stored. `seq` identifies it in the store. */
typedef void (*engine_task_cb)(void *ctx, const struct tw_task_info *info, uint64_t seq, const struct tw_error *error);
void engine_get(struct engine *engine, const char *id, engine_task_cb cb, void *ctx);

/* Holds a live task, or lets it go on; the callback comes when that is on disk and done. */
void engine_set_paused(struct engine *engine, const char *id, bool paused, engine_task_cb cb, void *ctx);

/*
 * Waits for the end of a task. The result comes along when the engine still holds it, else it is NULL and
 * store_load_result has it. UNAVAILABLE when the node goes down before the task has ended.
 */
typedef void (*engine_wait_cb)(
    void *ctx, const struct tw_task_info *info, const void *result, size_t len, const struct tw_error *error);
struct engine_wait;
/* NULL when the callback has been called already, or there is no memory (then it was called with that error). */
struct engine_wait *engine_wait(struct engine *engine, const char *id, engine_wait_cb cb, void *ctx);
/* The callback will not be called. */
void engine_wait_cancel(struct engine_wait *wait);

/* Ends a task; the callback comes when that is on disk. See StopTask in proto/taskworker.proto for the errors. */
void engine_stop(struct engine *engine, const char *id, engine_wait_cb cb, void *ctx);

/*
 * Follows a live task: `changed` is called after each output and, with ended set and for the last time, at its end, or with
 * the error for which it is not followed to there.
 */
struct engine_watch {
    struct list link; /* the engine's while watching */
    void (*changed)(struct engine_watch *watch, bool ended, const struct tw_error *error);
};
/* False: the task is not live (any more), nothing will be called. */
bool engine_watch(struct engine *engine, const char *id, struct engine_watch *watch);
void engine_unwatch(struct engine_watch *watch);

/* Nothing can be begun at present, for this reason; NULL: it can. What waits is not touched meanwhile, but for its time-outs. */
void engine_stall(struct engine *engine, const char *why);

struct engine_status {
    unsigned running, queued, max_running, max_queued;
    uint64_t cpu_millis, memory_bytes;           /* what there is for tasks; 0: not bounded */
    uint64_t cpu_millis_used, memory_bytes_used; /* what those that run have been given of it */
    const struct gpus *gpus;                     /* what is held of them; borrowed, as is the next */
    const struct engine_gpu *gpu;                /* each */
    uint64_t max_task_size;
    bool draining;
    uint32_t detach_seconds;
    const char *trouble; /* why no task is started at present, in a sentence; NULL: all is well. Borrowed */
    uint64_t accepted, completed, failed, stopped; /* since the start, as the next */
    uint64_t cache_hits, cache_misses;             /* of tasks that asked for a result that is there */
};
void engine_get_status(const struct engine *engine, struct engine_status *ret);

/*
 * Refuses new tasks. What becomes of the running ones: with DRAIN they may end; with DETACH they go on without us, for the
 * next engine to take up, or, where that cannot be, may end; with STOP they are stopped (reason SHUTDOWN: queued for the next
 * start if they have retries left or had not begun, else STOPPED). Queued ones stay in the store. `done` is called once, when
 * nothing runs here and all is written; waits that are left have ended by then. A further call hurries the first; its `done`
 * is ignored.
 */
void engine_shutdown(struct engine *engine, enum tw_shutdown how, void (*done)(void *ctx), void *ctx);

#endif
