/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: what the node remembers. One SQLite database (WAL) with tasks, their inputs, results and finished logs, and
 * beside it plain files for what is large or still growing.
 *
 * Writes are queued on the loop thread and carried out by one job at a time in libuv's pool; whatever has gathered while
 * a job ran goes into the next as one transaction with one fsync (group commit). A write's callback runs on the loop
 * thread when its transaction is on disk, in the order of the calls. A transaction that fails as a whole (disk full) is
 * tried again write by write, so that one bad write does not take others with it.
 *
 * Reads run in the pool too, on a connection of their own, and see every write whose callback has run.
 *
 * Everything but the pool jobs belongs to the loop's thread.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include <taskworker/task.h>

struct store;

/* Payloads up to this many bytes live in the database, larger ones in files of their own. */
enum { STORE_INLINE_MAX = 64 * 1024 };
/* The hash of a task's content (BLAKE2b-256): same id and same digest is the same task handed in again. */
enum { STORE_DIGEST_LEN = 32 };

/* A task's request, owned: what a tw_task_spec said, copied. */
struct store_spec {
    char **args;
    size_t n_args;
    struct store_env {
        char *name, *value;
    } * env;
    size_t n_env;
    uint8_t *data; /* NULL when it was not loaded (store_load_input fetches it) */
    size_t data_len;
    struct tw_limits limits;
    enum tw_network network;
    bool fresh_interpreter;
    uint64_t grace_us; /* 0: the node's default */
    bool after_any;
    bool after_own;  /* what belongs to another owner is not there to come after; not kept */
    bool for_caller; /* not kept for another start of the node */
    uint32_t gpus;
    uint64_t gpu_memory_bytes;
    struct tw_input *inputs; /* its own, with all strings, none of them NULL */
    size_t n_inputs;
    uint8_t inputs_digest[STORE_DIGEST_LEN]; /* of what they are; not kept */
    uint64_t inputs_set;                     /* where they are; 0: nowhere. Below 2^63 */
    char **outputs;                          /* patterns of what it leaves */
    size_t n_outputs;
};
void store_spec_done(struct store_spec *spec);

/* A deep copy; -ENOMEM leaves nothing. */
int store_info_copy(const struct tw_task_info *from, struct tw_task_info *to);

/* One row of the tasks table. `info` is what is shown, the rest is what it takes to run the task. */
struct store_task {
    uint64_t seq; /* order of admission, the primary key; set by store_admit */
    uint8_t digest[STORE_DIGEST_LEN];
    struct tw_task_info info;
    struct store_spec spec;
    char *cache_key; /* hex; NULL: its result is for nobody else */
};
void store_task_done(struct store_task *task);

struct store_options {
    const char *path; /* the folder; made (0700) if it is not there, its parent must be */
};

/*
 * Opens or makes the store: takes the lock (a second node on the same folder is FAILED_PRECONDITION, naming the folder
 * and the other's pid), brings the schema up to date (a newer schema than ours is FAILED_PRECONDITION, and nothing is
 * touched), checks that it can write, and sweeps files that nothing refers to.
 * A corrupt database is DATA_LOSS with the path and what to do; nothing is ever deleted or recreated by itself.
 */
int store_open(uv_loop_t *loop, const struct store_options *options, struct store **ret, struct tw_error *error);

/* Carries out what is queued, closes, then calls `done` on the loop. No call may come after it. */
void store_close(struct store *store, void (*done)(void *ctx), void *ctx);

/*
 * At start, before the loop runs: every task that is not in a final state, in order of admission, without its input data.
 * `each` takes the task over (store_task_done). Runs on the calling thread, and so do the writes that `each` asks for: they
 * are on disk, and have called back, when this returns.
 */
int store_recover(
    struct store *store, void (*each)(void *ctx, struct store_task *task), void *ctx, struct tw_error *error);

/* A number that the node keeps about itself; before the loop runs. NOT_FOUND where there is none of this name. */
int store_get_number(struct store *store, const char *name, uint64_t *ret, struct tw_error *error);

/* --- writes --- */

/*
 * error is NULL on success. UNAVAILABLE (another program holds the database) and RESOURCE_EXHAUSTED (disk, memory) pass:
 * try again. After any other failure of the disk (INTERNAL, DATA_LOSS) the write may yet be found at the next start.
 *
 * A call that has no memory even to be queued calls back at once, from within the call.
 */
typedef void (*store_done_cb)(void *ctx, const struct tw_error *error);

/*
 * A new task, with spec and data. On success task->seq is set and `existing` is NULL. When the id is taken: with the same
 * digest no error, and `existing` is what the store holds under the id (borrowed, final or not); with another digest
 * ALREADY_EXISTS. `task` is borrowed until the callback; where it comes after others their states are filled in. One that is
 * not there is INVALID_ARGUMENT, one that ended badly already FAILED_PRECONDITION unless spec.after_any is set.
 */
typedef void (*store_admit_cb)(void *ctx, const struct store_task *existing, const struct tw_error *error);
void store_admit(struct store *store, struct store_task *task, store_admit_cb cb, void *ctx);

/*
 * All of these tasks or, on any failure, none; the error names the task. They may come after each other, the later after the
 * earlier. `existing` (during the callback) tells of each whether it was there already with the same content; where some were
 * and some not it is another batch (ALREADY_EXISTS).
 */
typedef void (*store_batch_cb)(void *ctx, const bool *existing, const struct tw_error *error);
void store_admit_batch(struct store *store, struct store_task *tasks, size_t n, store_batch_cb cb, void *ctx);

/* Whether all of these are there already, with the same content; NOT_FOUND names the first that is not. Nothing is written. */
void store_check_batch(struct store *store, struct store_task *tasks, size_t n, store_batch_cb cb, void *ctx);

/* An attempt begins: the task's attempt counter and started_us, state RUNNING. Scalars are copied at once. */
void store_attempt(
    struct store *store, uint64_t seq, uint32_t attempt, uint64_t started_us, store_done_cb cb, void *ctx);

/*
 * The task goes back to the queue: state QUEUED again, with what `info` now says of attempt, not_before_us and message. Its log is
 * kept and appended to. `ended` is the attempt that is over and becomes one of its former attempts; NULL where none had begun.
 * All of it is copied at once.
 */
struct store_requeued {
    uint32_t attempt;
    uint64_t not_before_us;
    const char *message;
    const struct tw_task_info *ended; /* reason, message, error, exit_code, signal, attempt, times, usage, receipt */
};
void store_requeue(
    struct store *store, uint64_t seq, const struct store_requeued *requeued, store_done_cb cb, void *ctx);

/* A number that the node keeps about itself, under a name (a literal). */
void store_set_number(struct store *store, const char *name, uint64_t value, store_done_cb cb, void *ctx);

/* Whether it is held on request. */
void store_pause(struct store *store, uint64_t seq, bool paused, store_done_cb cb, void *ctx);
/* Its end was asked for, and takes a while. FAILED_PRECONDITION: it has ended. */
void store_stopping(struct store *store, uint64_t seq, store_done_cb cb, void *ctx);

/*
 * The end of a task: `info` with final state, reason and everything else, and its result. Both are borrowed until the
 * callback. The log written by store_log_append so far belongs to it: a small one moves into the database, a large one is
 * fsynced. info->log_size and log_truncated are taken from the log itself.
 */
void store_finish(struct store *store, uint64_t seq, const struct tw_task_info *info, const void *result,
    size_t result_len, store_done_cb cb, void *ctx);

/*
 * Removes tasks that have ended, at most 500 in one call, lowest number first: those that ended before a time, and as many as
 * there are too many in all. What an open task comes after stays. With them go their payloads, logs and events; events of
 * other tasks go when they are older than that time. Only the oldest 500 in each final state are looked at, so that a call
 * costs the same however many there are. `more`: calling again may remove others, also behind 500 that have to stay.
 */
struct store_retention {
    uint64_t ended_before_us; /* 0: no bound */
    uint64_t max_tasks;       /* 0: no bound; open ones count */
    uint64_t
        max_bytes; /* of what tasks were handed in with, left as results and printed; 0: no bound; open ones count */
};
typedef void (*store_pruned_cb)(void *ctx, size_t removed, bool more, const struct tw_error *error);
void store_prune(struct store *store, const struct store_retention *keep, store_pruned_cb cb, void *ctx);

/* --- reads: results are borrowed, valid during the callback; error is NULL on success, NOT_FOUND for an unknown task --- */

typedef void (*store_task_cb)(void *ctx, const struct store_task *task, const struct tw_error *error);
void store_get(struct store *store, const char *id, store_task_cb cb, void *ctx); /* without input data */
/* Likewise the newest completed task with this key. */
void store_find_cached(struct store *store, const char *key, store_task_cb cb, void *ctx);

typedef void (*store_bytes_cb)(void *ctx, const void *data, size_t len, const struct tw_error *error);
void store_load_input(struct store *store, uint64_t seq, store_bytes_cb cb, void *ctx);
void store_load_result(struct store *store, const char *id, store_bytes_cb cb, void *ctx);

/* Everything is copied by the call. */
struct store_filter {
    uint32_t states;               /* bit 1 << state; 0: all */
    const char *type;              /* NULL: all */
    const char *owner;             /* NULL: all */
    const struct tw_label *labels; /* all of them */
    size_t n_labels;
    uint64_t created_from_us, created_to_us; /* not before, and before; 0: whenever */
    bool dead_letters;                       /* failed, and the retries that it had are used up */
    uint64_t before;                         /* only seq below this; 0: from the newest */
    size_t limit;                            /* 1 to 1000 */
};
/*
 * Newest first. `next` is the `before` of the next page, 0 where there is none. A page may be short, even empty, and yet have
 * a next: one call looks at a bounded number of tasks, however few of them match.
 */
typedef void (*store_list_cb)(
    void *ctx, const struct store_task *tasks, size_t n, uint64_t next, const struct tw_error *error);
void store_list(struct store *store, const struct store_filter *filter, store_list_cb cb, void *ctx);

/* The attempts of a task before its last, in order. */
typedef void (*store_attempts_cb)(
    void *ctx, const struct tw_attempt_info *attempts, size_t n, const struct tw_error *error);
void store_attempts(struct store *store, const char *id, store_attempts_cb cb, void *ctx);

/* --- events ---
 * What happens to tasks, numbered in the order in which it became durable, each in the transaction that makes it true.
 */
struct store_event {
    uint64_t number;
    uint64_t time_us;
    enum tw_event_kind kind;
    uint32_t attempt;
    enum tw_reason reason;
    char *id, *type, *owner; /* of the task */
};
/* The number of the newest event that is durable; 0: there is none. */
uint64_t store_last_event(const struct store *store);
/* `cb` is called on the loop's thread whenever there are new ones, after the callbacks of the writes that brought them. */
void store_set_on_event(struct store *store, void (*cb)(void *ctx), void *ctx);
/*
 * The events behind number `after` of tasks that the filter's type, owner and labels match (all if it is NULL). `upto` is how
 * far the look went: go on from there. OUT_OF_RANGE when events behind `after` are gone already, of whichever task; not for 0,
 * nor with `holes`: then there is what is kept.
 */
typedef void (*store_events_cb)(
    void *ctx, const struct store_event *events, size_t n, uint64_t upto, const struct tw_error *error);
void store_events(
    struct store *store, uint64_t after, bool holes, const struct store_filter *filter, store_events_cb cb, void *ctx);

/* --- logs ---
 * A task's log is a row of records: u32 length, u8 stream (enum tw_stream), 3 zero bytes, u64 wall-clock microseconds (all
 * little-endian), then the bytes. An offset into a log is an offset into this and always at a record's start, so it stays
 * valid across restarts. A record that a crash cut off is no record: readers stop in front of it, and appending after a
 * restart cuts it away.
 */
enum { STORE_LOG_HEADER = 16, STORE_LOG_RECORD_MAX = 64 * 1024 };

struct store_log; /* the log of a task that runs: one writer, on the loop thread */

/* No file is made before the first append. NULL: no memory. */
struct store_log *store_log_open(struct store *store, uint64_t seq, size_t max_bytes);
/*
 * Into the page cache, at once (survives kill -9; power loss only from store_finish on). Beyond max_bytes of output, or
 * when the disk is full, bytes are dropped and log_truncated is set. Returns how many bytes were kept.
 */
size_t store_log_append(struct store_log *log, enum tw_stream stream, const void *data, size_t len);
uint64_t store_log_end(const struct store_log *log);                       /* the offset behind the last record */
uint64_t store_log_size(const struct store_log *log, bool *ret_truncated); /* bytes of output kept; NULL is allowed */
/* After store_finish was called for the task, or when it is given up. NULL is allowed. */
void store_log_free(struct store_log *log);

/*
 * Reads whole records from `offset`, at most max_bytes of file (at least one record). The callback's data are records as
 * above; len 0 means that there is nothing behind the offset now. OUT_OF_RANGE for an offset that is no record's start or
 * lies beyond the end.
 */
void store_log_read(struct store *store, uint64_t seq, uint64_t offset, size_t max_bytes, store_bytes_cb cb, void *ctx);

struct store_log_record {
    enum tw_stream stream;
    uint64_t wall_us;
    const uint8_t *data;
    size_t len;
    size_t size; /* header and bytes: what to add to the offset */
};
/* Takes one record off the front of *data, *len; false when there is no whole record. */
bool store_log_parse(const uint8_t **data, size_t *len, struct store_log_record *ret);

#endif
