/* SPDX-License-Identifier: Apache-2.0 */
/* The task entity and the engine that holds it; private to src/task. */
#ifndef TASK_TASK_H
#define TASK_TASK_H

#include "base/list.h"
#include "base/map.h"
#include "task/engine.h"
#include "task/queue.h"
#include "task/state.h"

struct attempt;

struct task {
    struct store_task record; /* what the store knows; record.info is what everybody sees */
    struct engine *engine;
    struct queue_entry entry; /* in engine->queue while QUEUED */
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
    unsigned admitting;     /* admissions on their way to disk */
    size_t queue_bytes;
    size_t admitting_bytes;
    bool draining;
    bool drained; /* on_drained was called: whoever asks from now on is told so */
    bool scheduling;
    char *trouble;      /* why nothing is started at present, or was until nothing proved it over; NULL: all is well */
    bool paused;        /* until `resume` fires */
    uv_timer_t *resume; /* on the heap: it closes after the engine has gone */
    uv_timer_t *alarm;  /* the same; for those who wait for a time */
    unsigned resume_ms;
    uint64_t begun; /* attempts whose task was let go */
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

/* --- admission (admit.c) --- */
int spec_check(const struct engine *engine, const struct tw_task_spec *spec, struct tw_error *error);
/* What the task may use, as of now: what it asked for within what the node allows. */
void spec_resolve(const struct engine *engine, const struct store_spec *spec, struct tw_limits *ret_limits,
    enum tw_network *ret_network);
/* Bytes that a queued task with this spec keeps in memory beside its data. */
size_t spec_bytes(const struct store_spec *spec);

/* --- the queue (schedule.c) --- */
int schedule_init(struct engine *engine); /* -ENOMEM */
void schedule_done(struct engine *engine);
void engine_enqueue(struct task *task, bool front);
void engine_dequeue(struct task *task);
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

/* --- one attempt (attempt.c) --- */
void attempt_start(struct task *task);
/* Brings the usage of a running task in task->record.info up to date, at most every so often. */
void attempt_refresh_usage(struct attempt *a);
/* Forgets the attempt, if there is one, without an end: the engine is being freed. */
void attempt_drop(struct task *task);
/* Back into the queue, at its head or end, in memory and, if the attempt is `stored`, on disk. */
void task_requeue(struct task *task, const char *message, bool front, bool stored);
/* Ends the task for `reason` (stop, time-out, shutdown), wherever it is. */
void task_end_early(struct task *task, enum tw_reason reason);
/* For a task that has no attempt: writes its end. False: no memory, nothing was done. */
bool task_finish_unstarted(struct task *task, enum tw_task_state state, enum tw_reason reason, const char *message);

#endif
