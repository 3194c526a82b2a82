/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the audit log. Its files may be hundreds of megabytes, so that is done in libuv's pool: of all queries one at a time, piece by
 * piece, so that they take turns and the store's commits have the other threads. A piece ends when enough was looked at or found;
 * what was found is sent from the loop, and the next piece is read when the client has taken it.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "base/util.h"
#include "rpc/account_convert.h"
#include "rpc/account_internal.h"

enum {
    QUERIES_MAX = 8,
    PIECE_LOOKED = 16384, /* records */
    PIECE_FOUND = 2048,   /* of these, some 1.3 KiB each in memory */
    RETRY_MS = 1000,
};

struct audit_query {
    struct account_service *service;
    struct rpc_call *call; /* NULL once it is over */
    Taskworker__QueryAuditRequest *request;
    struct list turn; /* in service->readers */
    uv_work_t work;
    struct audit_filter filter; /* its limits move on with each piece */
    bool limited, reading;
    atomic_bool cancelled;
    /* The pool's while it reads, else the loop's. */
    struct audit_entry *found;
    size_t n_found, cap, looked;
    uint64_t last_seq;
    bool stopped; /* there is more than this piece */
    bool damaged;
    int result;
    struct tw_error error;
    size_t sent; /* of those found */
};

static int no_log(const struct account_service *service, struct tw_error *error)
{
    return service->audit_path ? 0 : error_set(error, TW_FAILED_PRECONDITION, "this node keeps no audit log");
}

/* --- in the pool --- */

static bool look(void *ctx, uint64_t seq)
{
    struct audit_query *q = ctx;
    if (q->looked == PIECE_LOOKED || q->n_found == PIECE_FOUND || atomic_load(&q->cancelled)) {
        q->stopped = true;
        return false;
    }
    q->looked++;
    q->last_seq = seq;
    return true;
}

static bool take_entry(void *ctx, const struct audit_entry *entry)
{
    struct audit_query *q = ctx;
    if (q->n_found == q->cap) {
        size_t cap = q->cap ? q->cap * 2 : 16;
        struct audit_entry *grown = reallocarray(q->found, cap, sizeof *grown);
        if (!grown) {
            q->result = error_oom(&q->error);
            return false;
        }
        q->found = grown;
        q->cap = cap;
    }
    q->found[q->n_found++] = *entry;
    return true;
}

static void on_work(uv_work_t *work)
{
    struct audit_query *q = CONTAINER_OF(work, struct audit_query, work);
    uint64_t damaged = 0;
    q->n_found = q->looked = q->sent = 0;
    q->stopped = false;
    q->result = 0;
    if (audit_query(q->service->audit_path, &q->filter, take_entry, q, &damaged, &q->error) < 0)
        q->result = -1;
    q->damaged |= damaged > 0;
}

/* --- on the loop --- */

static void on_worked(uv_work_t *work, int status);

static void read_next(struct account_service *service)
{
    struct audit_query *q = LIST_FIRST(&service->readers, struct audit_query, turn);
    if (!q || service->reading)
        return;
    list_remove(&q->turn);
    service->reading = q->reading = true;
    (void)uv_queue_work(service->options.loop, &q->work, on_work, on_worked); /* fails only without a job */
}

static void read_piece(struct audit_query *q)
{
    list_push(&q->service->readers, &q->turn);
    read_next(q->service);
}

static void query_free(struct audit_query *q)
{
    struct account_service *service = q->service;
    list_remove(&q->turn);
    if (q->call) {
        rpc_call_set_on_drain(q->call, NULL, NULL);
        rpc_call_set_on_done(q->call, NULL, NULL);
    }
    account_free_request(q->request);
    free(q->found);
    free(q);
    service->queries--;
    account_service_leave(service);
}

static void finish(struct audit_query *q)
{
    Taskworker__QueryAuditResponse last = TASKWORKER__QUERY_AUDIT_RESPONSE__INIT;
    last.damaged = true;
    if (q->damaged)
        rpc_call_send(q->call, &last.base);
    rpc_call_finish(q->call, TW_OK, NULL);
    query_free(q);
}

static void move_on(struct audit_query *q)
{
    *(q->filter.oldest_first ? &q->filter.after_seq : &q->filter.before_seq) = q->last_seq;
    if (q->limited)
        q->filter.limit -= MIN(q->filter.limit, (uint64_t)q->n_found);
    bool over = !q->stopped || (q->limited && q->filter.limit == 0);
    if (over)
        finish(q);
    else
        read_piece(q);
}

/* Sends what was found as far as the client takes it. */
static void pump(struct audit_query *q)
{
    struct audit_message message;
    bool room = true;
    while (room && q->sent < q->n_found)
        room = rpc_call_send(q->call, &audit_to_message(&q->found[q->sent++], &message)->base);
    if (room)
        move_on(q);
}

static void on_drain(struct rpc_call *call UNUSED, void *ctx)
{
    struct audit_query *q = ctx;
    if (!q->reading && list_empty(&q->turn))
        pump(q);
}

static void on_worked(uv_work_t *work, int status UNUSED)
{
    struct audit_query *q = CONTAINER_OF(work, struct audit_query, work);
    struct account_service *service = q->service;
    service->reading = q->reading = false;
    read_next(service);
    if (!q->call) {
        query_free(q);
    } else if (q->result < 0) {
        rpc_call_finish_error(q->call, &q->error);
        query_free(q);
    } else {
        pump(q);
    }
}

static void on_query_done(struct rpc_call *call UNUSED, void *ctx)
{
    struct audit_query *q = ctx;
    q->call = NULL;
    atomic_store(&q->cancelled, true);
    if (!q->reading)
        query_free(q);
}

static int begin_query(struct account_service *service, struct rpc_call *call, Taskworker__QueryAuditRequest *request,
    struct tw_error *error)
{
    struct audit_filter filter;
    if (no_log(service, error) < 0 || audit_filter_from_request(request, &filter, error) < 0)
        return -1;
    if (service->queries >= QUERIES_MAX) {
        error_set(error, TW_RESOURCE_EXHAUSTED, "%d others are reading the audit log: try again in a moment",
            (int)QUERIES_MAX);
        error->retry_ms = RETRY_MS;
        return -1;
    }
    struct audit_query *q = calloc(1, sizeof *q);
    if (!q)
        return error_oom(error);
    q->service = service;
    q->call = call;
    q->request = request;
    q->filter = filter;
    q->filter.look = look;
    q->limited = filter.limit > 0;
    list_init(&q->turn);
    service->queries++;
    account_service_enter(service);
    rpc_call_set_on_done(call, on_query_done, q);
    rpc_call_set_on_drain(call, on_drain, q);
    read_piece(q);
    return 0;
}

void account_query_audit(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    struct tw_error error = {0};
    void *request = account_unpack(call, ctx, &taskworker__query_audit_request__descriptor, msg, len);
    if (!request || begin_query(ctx, call, request, &error) == 0)
        return;
    rpc_call_finish_error(call, &error);
    account_free_request(request);
}

/* --- VerifyAudit --- */

struct verification {
    struct account_service *service;
    struct rpc_call *call; /* NULL once it is over */
    uv_work_t work;
    struct audit_report report;
    struct tw_error error;
    int result;
};

_Static_assert((int)TASKWORKER__VERIFY_AUDIT_RESPONSE__PROBLEM__NONE == AUDIT_PROBLEM_NONE &&
        (int)TASKWORKER__VERIFY_AUDIT_RESPONSE__PROBLEM__CHANGED == AUDIT_PROBLEM_CHANGED &&
        (int)TASKWORKER__VERIFY_AUDIT_RESPONSE__PROBLEM__REMOVED == AUDIT_PROBLEM_REMOVED &&
        (int)TASKWORKER__VERIFY_AUDIT_RESPONSE__PROBLEM__INSERTED == AUDIT_PROBLEM_INSERTED &&
        (int)TASKWORKER__VERIFY_AUDIT_RESPONSE__PROBLEM__SWAPPED == AUDIT_PROBLEM_SWAPPED &&
        (int)TASKWORKER__VERIFY_AUDIT_RESPONSE__PROBLEM__CUT == AUDIT_PROBLEM_CUT &&
        (int)TASKWORKER__VERIFY_AUDIT_RESPONSE__PROBLEM__HEAD == AUDIT_PROBLEM_HEAD &&
        AUDIT_PROBLEM_MAX == AUDIT_PROBLEM_HEAD + 1,
    "the same problems in the same order");

static void on_verify(uv_work_t *work)
{
    struct verification *v = CONTAINER_OF(work, struct verification, work);
    v->result = audit_verify(v->service->audit_path, &v->report, &v->error);
}

static void reply_report(struct rpc_call *call, struct audit_report *r)
{
    Taskworker__VerifyAuditResponse response = TASKWORKER__VERIFY_AUDIT_RESPONSE__INIT;
    char hash[2 * AUDIT_HASH_BYTES + 1];
    text_hex(r->last_hash, sizeof r->last_hash, hash);
    response.files = r->files;
    response.records = r->records;
    response.first_seq = r->first_seq;
    response.last_seq = r->last_seq;
    response.last_hash = hash;
    response.problem = (Taskworker__VerifyAuditResponse__Problem)r->problem;
    response.file = r->file;
    response.line = r->line;
    response.message = r->message;
    response.unfinished_bytes = r->unfinished_bytes;
    rpc_call_reply(call, &response.base);
}

static void on_verified(uv_work_t *work, int status UNUSED)
{
    struct verification *v = CONTAINER_OF(work, struct verification, work);
    struct account_service *service = v->service;
    if (v->call) {
        rpc_call_set_on_done(v->call, NULL, NULL);
        if (v->result < 0)
            rpc_call_finish_error(v->call, &v->error);
        else
            reply_report(v->call, &v->report);
    }
    free(v);
    service->verifying = false;
    account_service_leave(service);
}

static void on_verify_done(struct rpc_call *call UNUSED, void *ctx)
{
    ((struct verification *)ctx)->call = NULL;
}

static int begin_verify(struct account_service *service, struct rpc_call *call, struct tw_error *error)
{
    if (no_log(service, error) < 0)
        return -1;
    if (service->verifying) {
        error_set(error, TW_RESOURCE_EXHAUSTED, "the audit log is being checked already: try again in a moment");
        error->retry_ms = RETRY_MS;
        return -1;
    }
    struct verification *v = calloc(1, sizeof *v);
    if (!v)
        return error_oom(error);
    v->service = service;
    v->call = call;
    service->verifying = true;
    account_service_enter(service);
    rpc_call_set_on_done(call, on_verify_done, v);
    (void)uv_queue_work(service->options.loop, &v->work, on_verify, on_verified); /* fails only without a job */
    return 0;
}

void account_verify_audit(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    struct tw_error error = {0};
    void *request = account_unpack(call, ctx, &taskworker__verify_audit_request__descriptor, msg, len);
    if (request && begin_verify(ctx, call, &error) < 0)
        rpc_call_finish_error(call, &error);
    account_free_request(request);
}
