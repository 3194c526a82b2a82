/* SPDX-License-Identifier: Apache-2.0 */
/* The task entity and the engine that holds it; private to src/task. */
#ifndef TASK_TASK_H
#define TASK_TASK_H

#include <sodium.h>

#include "base/list.h"
#include "base/map.h"
#include "task/engine.h"
#include "task/queue.h"
#include "task/state.h"

struct attempt;

/* A queued task keeps its data in memory only up to this size; else it is read back at its start. */
enum { QUEUED_DATA_MAX = 1024 };

/* One task comes after another. */
struct edge {
    struct list in_other;     /* the other's dependents, or engine->loose; linked to itself: that one has ended */
    struct task *task;        /* the one that waits */
    size_t index;             /* in its info.after */
    enum tw_task_state state; /* in engine->loose: how the other has ended, */
    enum tw_reason reason;    /* and why */
};

struct task {
    struct store_task record; /* what the store knows; record.info is what everybody sees */
    struct engine *engine;
    struct queue_entry entry; /* in engine->queue while QUEUED */
    struct edge *edges;       /* info.n_after of them, NULL: none */
    size_t n_after_left;      /* tasks that have to end before it may start */
    struct list dependents;   /* struct edge, of tasks that come after this one */
    bool held;                /* QUEUED, but not in the queue: it is paused, or comes after others */
    uint64_t released_us;     /* on the wall clock: when it was held last; 0: never */
    struct attempt *attempt;  /* while ALLOCATED, PREPARING or RUNNING, and until its end is on disk */
    struct list waits;        /* struct engine_wait */
    struct list watches;      /* struct engine_watch */
    size_t queue_bytes;       /* what it counts for in engine->queue_bytes */
    unsigned false_starts;    /* times that it could not be begun though others could */
    uint64_t begun_seen;      /* engine->begun at the last of them */
    enum tw_reason end_asked; /* why it is to be ended, NONE: it is not; the first reason stays */
};

struct engine {
    struct engine_options options;
    struct map tasks; /* id -> struct task, all live ones */
    struct queue queue;
    struct task *came_last; /* into the queue; NULL: it is gone */
    unsigned running;       /* attempts that hold a slot */
    unsigned finishing;     /* ends on their way to disk */
    struct admitting {
        size_t n, queue_bytes,
            bytes;      /* the tasks; what they will hold in the queue; what they hold now, data included */
    } admitting;        /* all that are on their way to disk */
    unsigned held;      /* tasks that wait, but not in the queue */
    struct list loose;  /* struct edge, of which the task has to be told; some in each round of the loop, */
    uv_timer_t *loosen; /* by this */
    size_t queue_bytes;
    struct map cache; /* struct cache_entry, by its key (cache.c) */
    uint64_t cache_hits, cache_misses;
    struct map input_sets; /* struct input_set, by their numbers (inputs.c) */
    bool started;          /* engine_start() was called: nothing is started before */
    bool draining;
    bool leaving; /* and running tasks go on without us */
    bool drained; /* on_drained was called: whoever asks from now on is told so */
    bool scheduling;
    char *trouble;      /* why nothing is started at present, or was until nothing proved it over; NULL: all is well */
    bool paused;        /* until `resume` fires */
    bool stalled;       /* until the runtime can begin tasks again */
    uv_timer_t *resume; /* on the heap: it closes after the engine has gone */
    uv_timer_t *alarm;  /* the same; for those who wait for a time */
    unsigned resume_ms;
    unsigned overcommit;   /* thousandths */
    int64_t wall_ahead_us; /* of the monotonic clock, when the queue was looked at last */
    uint64_t begun;        /* attempts whose task was let go */
    void (*on_drained)(void *ctx);
    void *on_drained_ctx;
    uint64_t accepted, completed, failed, stopped;
    uint64_t last_end_us, pace_us; /* monotonic; the time from one end to the next of late, 0: not known */
};

struct engine_wait {
    struct list link;
    engine_wait_cb cb;
    void *ctx;
    bool for_stop; /* NOT_STOPPED by then is an error for it */
    bool cancelled;
    struct engine *engine; /* while it is looked up in the store */
};

/* Moves the task along the state table; an illegal move is a bug: it asserts, and without asserts it is logged and not made. */
void task_move(struct task *task, enum tw_task_state to);
/* Replaces the sentence that is shown; without memory the old one stays. */
void task_set_message(struct task *task, const char *fmt, ...) PRINTF_LIKE(2, 3);
struct task *task_new(struct engine *engine, struct store_task *record);
void task_free(struct task *task);

/* --- what is asked for (spec.c) --- */
/* `from_outside`: a client may not set the labels that are the node's own. */
int spec_check(const struct engine *engine, const struct tw_task_spec *spec, bool from_outside, struct tw_error *error);
/* The part of the digest that the tasks of an array share: type, owner and data. */
struct spec_digest {
    uint8_t state[sizeof(crypto_generichash_state)]; /* a copy: the type itself wants to lie on a boundary */
};
void spec_begin_digest(const struct tw_task_spec *spec, struct spec_digest *ret);
/*
 * The record of a checked spec, of which everything is copied but *take_data, if that is given (spec->data itself). `begun`: its
 * digest so far, or NULL. -ENOMEM; store_task_done() it in either case.
 */
int spec_record(const struct engine *engine, const struct tw_task_spec *spec, const struct spec_digest *begun,
    void **take_data, struct store_task *record);
/* What the task may use, as of now: what it asked for within what the node allows. */
void spec_resolve(const struct engine *engine, const struct store_spec *spec, struct tw_limits *ret_limits,
    enum tw_network *ret_network);
/* Bytes that a queued task keeps in memory beside its data. */
size_t record_bytes(const struct store_task *record);
/* NULL: no memory. */
char *spec_make_id(void);
/* The same of these bits, five of each. */
enum { SPEC_ID_LEN = 20 };
char *spec_id_of(const uint8_t raw[SPEC_ID_LEN]);

/* --- admission (admit.c) --- */
void admit_task(struct engine *engine, const struct tw_task_spec *spec, void *take_data, bool from_outside,
    engine_admit_cb cb, void *ctx);
/* Whether these fit: UNAVAILABLE, or RESOURCE_EXHAUSTED with a word about when to try again. */
int admit_check_room(
    const struct engine *engine, const char *owner, const struct admitting *more, struct tw_error *error);
/* They are on their way, and count. The owner, for admit_leave(); NULL: no memory, and it does not count for him. */
struct queue_owner *admit_enter(struct engine *engine, const char *owner, const struct admitting *these);
void admit_leave(struct engine *engine, struct queue_owner *owner, const struct admitting *these);
/* What is on disk now becomes live, if there is memory. Takes the record over unless there is none. The task as it stands. */
const struct tw_task_info *admit_live(struct engine *engine, struct store_task *record);

/* --- dependencies and pauses (hold.c) --- */
/* A task that is new here and QUEUED: into the queue, or held, or it ends because one that it comes after has ended badly. */
void task_begin_waiting(struct task *task);
/* It has ended: those that come after it may start, or end too. */
void task_tell_dependents(struct task *task);
/* Takes the task out of the lists of those that it comes after. */
void task_forget_edges(struct task *task);
/* Why a held task is held, for a person; NULL: it is not. Borrowed, until the next call. */
const char *task_why_held(const struct task *task);

/* --- the queue (schedule.c) --- */
int schedule_init(struct engine *engine); /* -ENOMEM */
void schedule_done(struct engine *engine);
/* What it takes of the node while it runs. */
struct queue_need schedule_need(const struct task *task);
void engine_enqueue(struct task *task, bool front);
void engine_dequeue(struct task *task);
/* The node's totals or the shares of tasks that ask for nothing have changed. */
void schedule_set_totals(struct engine *engine);
void engine_schedule(struct engine *engine);
/* A task has ended: how fast places in the queue become free follows from that. */
void schedule_note_end(struct engine *engine);
/* When somebody whom the queue has no room for may try again. */
uint32_t schedule_retry_ms(const struct engine *engine);
/* Why a queued task has not started yet, for a person. Borrowed, until control returns to the loop. */
const char *engine_why_queued(const struct task *task);
/* The node cannot start or end tasks just now: nothing is started for a while, the longer the more often this is said. */
void engine_pause(struct engine *engine, const char *why);
/* A task has begun, or an end that could not be written has been: the trouble is over. */
void engine_works(struct engine *engine);

/* --- ends (engine.c) --- */
/* The task's end is on disk: tells everybody and forgets it. */
void engine_task_ended(struct task *task, const void *result, size_t result_len);
/* Its end could not be written and the node goes down: whoever waits hears the error; the store keeps it as it was. */
void engine_task_abandoned(struct task *task, const struct tw_error *error);
void engine_check_drained(struct engine *engine);

/* --- from one engine to the next (handover.c) --- */
/* Running tasks leave, if the runtime can do that; those that are being prepared go back to the queue. */
void handover_begin(struct engine *engine);
/* A task that was left running goes on here, from handover_take_over() on. False: it was not, or cannot. */
bool handover_take_up(struct task *task);
void handover_take_over(struct engine *engine);
/* Before that: leaves them to yet another engine. */
void handover_forsake(struct engine *engine);

/* --- one attempt (attempt.c) --- */
void attempt_start(struct task *task);
/* Brings the usage of a running task in task->record.info up to date, at most every so often. */
void attempt_refresh_usage(struct attempt *a);
/* Forgets the attempt, if there is one, without an end: the engine is being freed. */
void attempt_drop(struct task *task);
/* Behind the message of a task that waits once more. */
#define TASK_AGAIN "; waiting to run again"
/* The attempt is over, and the task has not ended: back into the queue, at its head or end. The store has it already. */
void task_requeue(struct task *task, const char *message, bool front);
/*
 * Has the store write that, with info.attempt for its attempts so far. `ended` says how the last of them ended; NULL: it had not
 * begun. All of it is copied at once.
 */
void task_store_requeue(struct task *task, uint64_t not_before_us, const char *message,
    const struct tw_task_info *ended, store_done_cb cb, void *ctx);
/* How long it waits after its last attempt has failed: the delay, doubled with each further attempt. */
uint64_t task_retry_delay(const struct task *task);
/* Lets a running or ready attempt stand still, or go on. */
void attempt_pause(struct attempt *a, bool paused);
/* Ends the task for `reason` (stop, time-out, shutdown), wherever it is. */
void task_end_early(struct task *task, enum tw_reason reason);
/* For a task that has no attempt: writes its end. False: no memory, nothing was done. */
bool task_finish_unstarted(struct task *task, enum tw_task_state state, enum tw_reason reason, const char *message);

#endif
