/* SPDX-License-Identifier: Apache-2.0 */
/* One attempt of a task; private to src/task. attempt.c brings it to its end, ending.c brings that to disk. */
#ifndef TASK_ATTEMPT_H
#define TASK_ATTEMPT_H

#include "task/task.h"

struct attempt {
    struct task *task;               /* NULL: released, only the references below still hold the memory */
    unsigned refs;                   /* the task, the timer, and each store call on its way */
    struct preparation *preparation; /* while what it needs is made ready, before it has a run */
    uint64_t environment;            /* that it has; 0: none */
    struct run *run;                 /* NULL before the runtime took it and after it ended */
    struct store_log *log;           /* may be NULL (no memory): output is not kept then */
    uv_timer_t timer;        /* the wall clock while it runs, then the pause between two tries to write the end */
    struct tw_limits limits; /* of this attempt; 0: none. output_bytes is never 0 */
    uint64_t begun_us;       /* on the monotonic clock, when the task was let go; 0: it was not */
    uint64_t wall_from_us;   /* on the same, when the wall clock was started last; */
    uint64_t wall_left_us;   /* what was left of it then */
    uint64_t usage_seen_us;  /* on the same, when the runtime was asked for its usage last */
    bool holds_slot;
    bool written;    /* the store was asked to make it durable, and has not failed, */
    bool durable;    /* and has done it */
    bool ready;      /* the sandbox waits for its go */
    bool terminated; /* its processes were asked to end */
    struct attempt_outputs {
        bool begun;          /* its processes have ended, and it leaves files: nobody can end it any more */
        bool lost;           /* not all of them could be kept, for the reason in `why` */
        uint64_t n, bytes;   /* that are kept */
        struct tw_error why; /* names the first one */
    } outputs;
    bool cannot_begin;   /* not durable, or the node goes: its run is being killed, the task goes back */
    struct tw_error why; /* of cannot_begin */
    /* The end, until it is on disk; the task's own record knows nothing of it before. */
    bool ending;
    bool again; /* it is not the task's end: that goes back to the queue */
    bool front; /* to its head, since nothing of the attempt had begun */
    uint64_t not_before_us;
    struct tw_task_info final; /* the record with the end in it; owns nothing but the two strings below */
    char *final_message, *final_error;
    uint8_t *result;
    size_t result_len;
    unsigned finish_tries;
};

/* early.c: hurries the end of its run, or of what is done before there is one; that looks at why. */
void attempt_kill(struct attempt *a);
/* Its run has left (handover.c). */
void handover_left(void *ctx);
/* A new one for the task; NULL: no memory. It holds no slot yet. */
struct attempt *attempt_new(struct task *task);
/* What the runtime tells of its run. */
extern const struct run_events attempt_events;
/* FAILED or STOPPED. */
enum tw_task_state attempt_state_for(enum tw_reason reason);
/* Lets the wall clock run with what is left of it. */
void attempt_start_wall_clock(struct attempt *a);
/* It cannot begin here any more: its run, if there is one, is killed, and the task goes back to the queue. */
void attempt_turn_back(struct attempt *a, const struct tw_error *why);

/* How an attempt's task ends. Everything is borrowed but the result. */
struct verdict {
    enum tw_task_state state;
    enum tw_reason reason;
    const char *message; /* NULL: the usual sentence for the reason */
    const char *error;   /* NULL: none */
    int exit_code, signal;
    struct tw_usage usage;
    struct tw_receipt receipt;
    uint8_t *result; /* malloc'd; taken over */
    size_t result_len;
};

/* verdict.c: from what the runtime says. `begun`: the task was let go. */
enum tw_reason verdict_reason(const struct run_outcome *outcome, bool begun);
struct tw_receipt verdict_receipt(const struct run_outcome *outcome, const struct attempt *a, bool begun);
/* The result, if it is one that counts. Without memory for it the verdict is another. */
void verdict_take_result(struct verdict *v, const struct attempt *a, const struct run_outcome *outcome);

/* Settles how the attempt's task ends, gives its slot back, and writes until that is on disk. Once per attempt. */
void attempt_finish(struct attempt *a, const struct verdict *verdict);
/* The same for an attempt after which the task waits for another one. The result is freed. */
void attempt_try_again(struct attempt *a, const struct verdict *verdict, uint64_t delay_us);
/* The same for one of which nothing had begun, though the store was told so: to the queue's head. */
void attempt_turn_in(struct attempt *a, const char *why);
/*
 * The record with the end of this attempt in it, as a former attempt is kept. It owns nothing; its message is the returned
 * string (free it; NULL: no memory), its error the verdict's.
 */
char *attempt_describe_end(const struct attempt *a, const struct verdict *verdict, struct tw_task_info *ret);
void attempt_give_slot_back(struct attempt *a);
/* The attempt is over for the task. */
void attempt_release(struct attempt *a);
void attempt_unref(struct attempt *a);

#endif
