/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the sandbox runtime share; inside src/exec only. Everything here is on the loop thread. */
#ifndef EXEC_POOL_H
#define EXEC_POOL_H

#include <uv.h>

#include "base/list.h"
#include "exec/demand.h"
#include "exec/launcher.h"
#include "exec/sandbox.h"
#include "slot/plan.h"
#include "slot/protocol.h"
#include "slot/result_frame.h"

struct sandbox;
struct sandbox_run;
struct former;

/* --- one slot, as the daemon knows it --- */

#define SLOT_STATES(X)                                                     \
    X(EMPTY)    /* no process; the index is free */                        \
    X(CREATING) /* asked of the launcher */                                \
    X(BOOTING)  /* connected, HELLO is awaited */                          \
    X(IDLE)                                                                \
    X(BUSY)    /* has a run */                                             \
    X(BROKEN)  /* connection closed; its destruction is to be asked for */ \
    X(DROPPED) /* its destruction has been asked for */                    \
    X(LEFT)    /* to the next daemon, with its run */

enum slot_state {
#define X(name) SLOT_IS_##name,
    SLOT_STATES(X)
#undef X
        SLOT_STATE_MAX
};

struct pool_slot {
    struct sandbox *sandbox;
    uint32_t index;
    enum slot_state state;
    int fd;
    uv_poll_t *poll;
    uv_timer_t *deadline; /* for HELLO, READY, and the end after KILL */
    struct sandbox_run *run;
    struct former *former; /* the launcher of a former daemon, whose slot it is; NULL: ours */
    bool host_network;
    uint64_t idle_us; /* since when; monotonic */
    /* What its warm interpreter has been through. */
    pid_t pid;
    struct group *group; /* its control group, or NULL */
    char *owner;         /* of the tasks so far; NULL before the first */
    unsigned served;     /* tasks */
    uint64_t up_us;      /* since when it takes tasks; monotonic */
};

/* --- one run --- */

#define RUN_STATES(X)                                                                  \
    X(WAITING)   /* for a slot */                                                      \
    X(PREPARING) /* START was sent */                                                  \
    X(READY)                                                                           \
    X(RUNNING)  /* GO was sent */                                                      \
    X(DRAINING) /* how it ended is known; output and the last processes are awaited */ \
    X(ENDED)    /* to be told in the next round of the loop */

enum run_state {
#define X(name) RUN_IS_##name,
    RUN_STATES(X)
#undef X
        RUN_STATE_MAX
};

enum { RUN_PIPES = 3, RUN_TAIL_MAX = 64 * 1024, RUN_ERROR_MAX = 64 * 1024 };

struct run_pipe {
    uv_pipe_t handle; /* first */
    struct sandbox_run *run;
    size_t index; /* in run->pipes */
    int which;    /* TW_STREAM_STDOUT, TW_STREAM_STDERR, 0: the result */
};

struct sandbox_run {
    struct run base;
    struct sandbox *sandbox;
    struct list in_all, in_queue; /* in_queue: the waiting or the ended */
    struct run_events events;
    void *ctx;
    struct slot_shape shape;
    uint64_t layers; /* that the slot told of, with READY */
    char *owner;
    uint64_t serial;
    struct pool_slot *slot;
    struct handed *handed;      /* taken up, and not yet taken over: what has come of it */
    struct run_carried carried; /* as it is told to the next daemon */
    char *task_id;
    struct run_pipe *pipes[RUN_PIPES]; /* NULL: closed, or about to be */
    uv_poll_t *pidfd_poll;             /* of the task's pid 1, while it is awaited after the loss of the slot */
    size_t max_tail;
    struct buf tail;             /* shell: the end of stdout */
    struct result_reader reader; /* python */
    struct tw_limits limits;
    uint64_t group_layers; /* the limits that its slot's group holds */
    struct tw_usage group_used;
    uv_timer_t *cpu_timer;
    struct run_outcome outcome;
    struct tw_error message;
    enum run_state state;
    enum plan_kind kind;
    enum tw_reason limit; /* what it ran into; NONE so far */
    int plan_fd, source_fd, pidfd;
    unsigned pipes_open;
    bool killed, tail_cut;
    bool paused;        /* as the slot was told last */
    bool leaving, left; /* to the next daemon */
    bool collecting;    /* it has begun to leave its files: none of its processes is there any more */
    unsigned files;     /* that were told of and are not kept yet */
};

/* --- between two daemons (leave.c, adopt.c) --- */

struct handing {
    char *folder; /* where the sockets are at which launchers wait for the next daemon; NULL: none is left anything */
    struct list formers;         /* struct former */
    struct list handed;          /* struct handed */
    struct list leaving;         /* runs, by in_queue */
    struct sandbox_run *keeping; /* one of them, which its launcher has been asked to keep; NULL: none */
    unsigned detaching;          /* launchers that have not said whether they will wait */
    bool detached;               /* they do */
    struct tw_error error;
    void (*done)(void *ctx, const struct tw_error *error);
    void *done_ctx;
};

/* --- the runtime --- */

struct sandbox {
    struct runtime rt;
    uv_loop_t *loop;
    unsigned processors;
    struct launcher *launcher;
    uv_poll_t *launcher_poll;
    bool launcher_dead;
    struct pool_slot *slots; /* as many as the launcher has, or more where a former one had more */
    uint32_t n_slots;
    uint32_t used;   /* all from here on are EMPTY */
    uint32_t target; /* at most so many */
    struct demand demand;
    uv_timer_t *demand_timer;
    unsigned asked;            /* requests the launcher has not answered */
    unsigned failures;         /* in a row */
    bool ever_up;              /* there has been a slot that could take tasks */
    bool trouble, told_broken; /* as the owner was told */
    bool resting;              /* no CREATE until retry fires */
    struct tw_error problem;
    uv_timer_t *retry, *deliver, *answer;
    struct list all, waiting, ended; /* runs */
    uint64_t next_serial;
    struct handing handing;
    bool pumping, pump_again;
    bool closing, hung_up;
    void (*closed)(void *ctx);
    void *closed_ctx;
    char io[64 * 1024]; /* what was read last, for the time of one callback */
};

/* sandbox.c */
void sandbox_pump(struct sandbox *s);
/* pool_launcher.c. False: it was not asked, because too much is under way, or it has gone. */
bool pool_ask(struct sandbox *s, struct pool_slot *slot, enum launcher_type type, enum slot_state then);
void pool_on_launcher(uv_poll_t *poll, int status, int events);
void pool_launcher_died(struct sandbox *s);
/* No sandbox can ever be made, for the reason in `problem`. */
void sandbox_tell_broken(struct sandbox *s);
/* A span of time is over: what has not been needed in it or in the one before may go. */
void sandbox_turn_demand(struct sandbox *s);
/* A new timer, or NULL; timers and polls are freed when libuv has let go of them. */
int sandbox_poll_new(struct sandbox *s, int fd, uv_poll_cb cb, void *data, uv_poll_t **ret);
void sandbox_poll_free(uv_poll_t **poll);

/* leave.c; the first two are operations of the runtime */
void sandbox_detach(
    struct runtime *rt, uint32_t seconds, void (*done)(void *ctx, const struct tw_error *error), void *ctx);
void sandbox_leave(struct run *run, const struct run_carried *carried);
/* Asks for the next one to be kept, unless one is being kept. */
void sandbox_keep_next(struct sandbox *s);
/* It cannot leave any more, since its slot has gone: it ends here. */
void sandbox_leave_off(struct sandbox_run *run);
/* What a launcher says to KEEP and to DETACH; to the latter also, without an error, when it has gone. */
void sandbox_on_kept(struct sandbox *s, const struct launcher_reply *reply);
void sandbox_on_detached(struct sandbox *s, struct launcher *launcher, uint32_t error);

/* adopt.c; the first three likewise */
struct run *sandbox_take_up(struct runtime *rt, const char *task_id, const struct run_events *events, void *ctx,
    struct run_carried *ret_carried);
void sandbox_take_over(struct runtime *rt);
void sandbox_forsake(struct run *run);
struct launcher *former_launcher(struct former *former);
/* The slot is of no more use: asks for its end. */
void former_destroy(struct pool_slot *slot);
/* Closes all connections: a launcher that was not told anything else takes its slots down. */
void sandbox_forget_formers(struct sandbox *s);

/* pool_slot.c */
/* A connection from the launcher; taken over. */
void pool_slot_connect(struct pool_slot *slot, int fd);
/* A slot that runs this already. The fd is taken over. 0 or -errno, with the slot broken. */
int pool_slot_adopt(struct pool_slot *slot, struct sandbox_run *run, int fd);
/* Closes our end of all that belongs to the slot. */
void pool_slot_disconnect(struct pool_slot *slot);
/* Begins the run in this idle slot; a failure ends the run, and, if it is the slot's, the slot. */
void pool_slot_begin(struct pool_slot *slot, struct sandbox_run *run);
int pool_slot_send(struct pool_slot *slot, enum slot_request_type type);
/* Its messages are read again. */
void pool_slot_read_on(struct pool_slot *slot);
/* May this idle slot take the run, as far as its owner and its network go? */
bool pool_slot_fits(const struct pool_slot *slot, const struct sandbox_run *run);
/* Gives an idle slot up when it has served for long enough. */
void pool_slot_retire_worn(struct pool_slot *slot);
/* Gives the slot up: its run is lost, its connection closed, its destruction asked for by the next pump. */
void pool_slot_break(struct pool_slot *slot, const char *why);

/* run.c */
struct sandbox_run *run_new(
    struct sandbox *s, const struct run_spec *spec, const struct run_events *events, void *ctx, struct tw_error *error);
/* One that was begun by another daemon; NULL: no memory. */
struct sandbox_run *run_taken_up(struct sandbox *s, const char *task_id, const struct run_events *events, void *ctx);
void run_free(struct sandbox_run *run);
/* Its pipes are let be, and read again. */
void run_read_no_more(struct sandbox_run *run);
void run_read_on(struct sandbox_run *run);
/* It is over here as soon as its pipes are closed. */
void run_has_left(struct sandbox_run *run);
void run_move(struct sandbox_run *run, enum run_state to);
static inline bool run_wants_host_network(const struct sandbox_run *run)
{
    return run->shape.network == TW_NETWORK_HOST;
}
/* Takes the read ends of the run's pipes (stdout, stderr, result; -1: it is closed) over and begins to read; 0 or -errno. */
int run_attach_pipes(struct sandbox_run *run, int fds[RUN_PIPES]);
/* Sends the request to the run's slot; one that cannot be told is given up. */
void run_tell(struct sandbox_run *run, enum slot_request_type type);
void run_kill(struct sandbox_run *run);
/* Only while it runs. */
void run_terminate(struct sandbox_run *run);
void run_file_kept(struct sandbox_run *run);
void run_pause(struct sandbox_run *run, bool paused);
/* How it ended; each is followed by the events' `ended` when all is in. The first one counts. */
void run_exited(struct sandbox_run *run, const struct slot_reply *reply);
void run_failed(struct sandbox_run *run, enum run_end end, const char *fmt, ...) PRINTF_LIKE(3, 4);
void run_lost(struct sandbox_run *run, const char *why);
/* Calls `ended` and frees. */
void run_deliver(struct sandbox_run *run);

#endif
