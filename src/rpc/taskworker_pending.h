/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each call of the service is one `struct pending`: it ties what the client waits for to what the engine or the store
 * will say. Either side may go first (the client cancels, or the answer comes), so the pending is counted by both and
 * goes when both have let go.
 */
#ifndef RPC_TASKWORKER_PENDING_H
#define RPC_TASKWORKER_PENDING_H

#include "rpc/owner.h"
#include "rpc/taskworker_service.h"
#include "taskworker.pb-c.h"

struct pending {
    struct taskworker_service *service;
    struct rpc_call *call; /* NULL once the call is over */
    unsigned refs;         /* the call; the engine or the store; the timer */
    struct engine_wait *wait;
    bool include_result;
    bool may_be_cached; /* ExecuteTask: what was there before is a hit */
    uint64_t states;    /* ListTasks: the states that were asked for, all: 0 */
    char *id;           /* pending_look() */
    void *request;      /* kept for what comes after it; NULL: none */
    void (*then)(struct pending *p);
    void (*refuse)(struct pending *p, const struct tw_error *error);
    uint64_t timeout_us;
    uv_timer_t timer; /* WaitTask with timeout_ms */
    bool timer_used;
};

/*
 * Unpacks the request (CLEANUP_REQUEST frees it) and makes the pending, with a reference for the call and one for who is going
 * to answer. NULL: the call has been refused already.
 */
struct pending *pending_begin(struct rpc_call *call, struct taskworker_service *service,
    const ProtobufCMessageDescriptor *descriptor, const uint8_t *msg, size_t len, void *ret_request);
/* Only the first half of that: 0, or -1 when the call has been refused. */
int pending_unpack(struct rpc_call *call, const ProtobufCMessageDescriptor *descriptor, const uint8_t *msg, size_t len,
    void *ret_request);
void pending_free_request(void *p);
#define CLEANUP_REQUEST CLEANUP(pending_free_request)

void pending_drop(struct pending *p, unsigned refs);
void pending_unref(struct pending *p);
void pending_stop_timer(struct pending *p);
/* Ends the call with the error, unless it is over. */
void pending_fail(struct pending *p, const struct tw_error *error);
int pending_require_id(const char *id, struct tw_error *error);

/*
 * Calls `then` once it is known that the caller may see the task, at once where he may see all; p->id is its id. Else `refuse` gets
 * NOT_FOUND, or what else is wrong, and has to let go of p. Takes over the answerer's reference to p.
 */
void pending_look(struct pending *p, const char *id, void (*then)(struct pending *p),
    void (*refuse)(struct pending *p, const struct tw_error *error));
/* Ends the call with the error, and lets go of p. */
void pending_refuse(struct pending *p, const struct tw_error *error);

/* ExecuteTask's answers, which RetryTask has too. */
void pending_refuse_task(struct pending *p, const struct tw_error *error);
void pending_on_admitted(void *ctx, const struct tw_task_info *info, bool existing, const struct tw_error *error);

/* Handlers of taskworker_life.c; ctx: struct taskworker_service. */
void taskworker_execute_batch(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx);
void taskworker_retry_task(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx);
void taskworker_pause_task(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx);
void taskworker_resume_task(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx);
void taskworker_list_attempts(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx);
void taskworker_shutdown(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx);
/* taskworker_events.c */
void taskworker_watch_tasks(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx);
/* There are new events; ctx: struct taskworker_service. */
void taskworker_on_event(void *ctx);

#endif
