/* SPDX-License-Identifier: Apache-2.0 */
/* One write: what write.c queues and commits in groups, and apply.c knows how to carry out. */
#ifndef STORE_WRITE_H
#define STORE_WRITE_H

#include "store/internal.h"

enum write_kind {
    WRITE_ADMIT,
    WRITE_BATCH,
    WRITE_ATTEMPT,
    WRITE_REQUEUE,
    WRITE_PAUSE,
    WRITE_STOPPING,
    WRITE_NUMBER,
    WRITE_FINISH,
    WRITE_PRUNE,
};

enum outcome {
    OUTCOME_OK,
    OUTCOME_REFUSED, /* by the contents; nothing was changed */
    OUTCOME_FAILED,  /* the transaction is of no use any more */
};

struct write {
    struct list link;
    enum write_kind kind;
    uint32_t attempt; /* of attempt, and requeue */
    bool prepared;    /* step 1 went well */
    bool paused;      /* of pause */
    bool log_known;   /* of finish: `log` was taken from the open log */
    bool log_dropped; /* the log file goes once this is committed: its content is in the row, or it has none */
    bool prune_more;  /* of prune */
    uint64_t seq;
    struct tw_error *error; /* the outcome, NULL: success; owned unless it is &no_memory */
    void *ctx;

    /* admit; `task` is the caller's */
    struct store_task *task;
    struct store_task *existing; /* the id is taken by the same content */
    struct spec_texts texts;
    store_admit_cb admit_cb;

    /* batch */
    struct write *parts; /* of kind WRITE_ADMIT; what becomes of them is in the whole's error */
    size_t n_parts;
    bool only_known;  /* none is written: each has to be there */
    bool *were_there; /* of each part: for the callback, which must not want for memory */
    store_batch_cb batch_cb;

    /* attempt, and requeue */
    uint64_t started_us;

    /* number */
    const char *name; /* a literal */
    uint64_t number;

    /* requeue */
    uint64_t not_before_us;
    char *message;
    struct tw_attempt_info former; /* attempt 0: none */

    /* finish; `info` and `result` are the caller's */
    const struct tw_task_info *info;
    const void *result;
    size_t result_len;
    struct log_state log;
    uint8_t *log_data;
    store_done_cb done_cb;

    /* prune */
    struct store_retention keep;
    struct pruned {
        uint64_t seq;
        char files[2][PAYLOAD_NAME_MAX]; /* "" for none */
        bool has_log;
    } * pruned; /* what goes when this is committed */
    size_t n_pruned;
    uint64_t behind[TW_TASK_STATE_MAX]; /* the store's pruned_task from then on */
    store_pruned_cb pruned_cb;

    char file[PAYLOAD_NAME_MAX]; /* of the input or the result, "" for none */
};

void write_forget_existing(struct write *w);
/* Payload files were written for it. */
bool write_has_files(const struct write *w);

/* On the pool's thread: what must be on disk before the transaction; -1 is this write's own failure. */
int write_prepare(struct store *store, struct write *w, struct tw_error *error);
/* Within the transaction. The error is filled unless it is OUTCOME_OK. */
enum outcome write_apply(struct store *store, struct write *w, struct tw_error *error);

/* apply_life.c, for apply.c: as write_apply() for one kind each. */
enum outcome apply_attempt(struct store *store, struct write *w, struct tw_error *error);
enum outcome apply_requeue(struct store *store, struct write *w, struct tw_error *error);
enum outcome apply_pause(struct store *store, struct write *w, struct tw_error *error);
enum outcome apply_stopping(struct store *store, struct write *w, struct tw_error *error);

/* What they share. A negative result of SQLite ends the transaction. */
enum outcome write_outcome(int r);
/* An UPDATE of one open task; refused where it has ended. */
enum outcome write_update(struct store *store, struct write *w, struct db_query *q, struct tw_error *error);
/* Attempt 0: the one that the task is at. */
enum outcome write_event(struct store *store, uint64_t seq, enum tw_event_kind kind, uint32_t attempt,
    enum tw_reason reason, struct tw_error *error);
void write_bind_receipt(struct db_query *q, int at, const struct tw_usage *usage, const struct tw_receipt *r);
static inline const char *or_empty(const char *s)
{
    return s ? s : "";
}

/* The same for WRITE_PRUNE, and its files once it is committed. */
enum outcome apply_prune(struct store *store, struct write *w, struct tw_error *error);
void settle_pruned(struct store *store, const struct write *w);

#endif
