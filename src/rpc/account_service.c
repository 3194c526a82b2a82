/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. A call that changes something is a job. It is checked; if it takes a password, that is looked at (logins.h); then
 * it is written to the audit log, and only when that record is on disk it is done and answered. So what was done is in the log in
 * every case; where it failed after all, or its caller had gone or was not let in any more by then, a second record says that it
 * was not done. While the log cannot be written nothing is done.
 *
 * Passwords and tokens are in the request and the answer alone: the request is unpacked into memory that is wiped when it is freed,
 * and the server wipes what it has received and sent of these methods (`secret`).
 */
#include "rpc/account_service.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "rpc/account_convert.h"
#include "rpc/account_internal.h"
#include "rpc/wire_check.h"

enum { REQUEST_MAX = 16384 };

void account_service_enter(struct account_service *service)
{
    service->open++;
}

static void end_if_idle(struct account_service *service)
{
    void (*done)(void *ctx) = service->on_idle;
    void *ctx = service->idle_ctx;
    if (service->open > 0 || !done)
        return;
    free(service->audit_path);
    free(service);
    done(ctx);
}

void account_service_leave(struct account_service *service)
{
    service->open--;
    end_if_idle(service);
}

/* --- requests --- */

static void *take_memory(void *ctx UNUSED, size_t size)
{
    return malloc(size);
}

static void wipe_memory(void *ctx UNUSED, void *memory)
{
    if (memory)
        explicit_bzero(memory, malloc_usable_size(memory));
    free(memory);
}

static ProtobufCAllocator wiping(void)
{
    return (ProtobufCAllocator){.alloc = take_memory, .free = wipe_memory};
}

void account_free_request(void *request)
{
    ProtobufCAllocator allocator = wiping();
    if (request)
        protobuf_c_message_free_unpacked(request, &allocator);
}

/* The server has asked already, by the table of rights; it must not depend on that alone. */
static int check_caller(const struct rpc_call *call, const struct account_service *service, struct tw_error *error)
{
    const struct who *who = rpc_call_who(call);
    const char *method = rpc_call_method(call);
    if (!service->options.accounts || !who)
        return error_set(error, TW_FAILED_PRECONDITION,
            "this node asks nobody who he is (--dev), so it has no users, tokens or audit log");
    if (rights_allow(who->role, method) || rights_allow_nobody(method))
        return 0;
    return error_set(error, TW_PERMISSION_DENIED, "this takes another role than %s", role_to_string(who->role));
}

void *account_unpack(struct rpc_call *call, const struct account_service *service,
    const ProtobufCMessageDescriptor *descriptor, const uint8_t *msg, size_t len)
{
    struct tw_error error;
    ProtobufCAllocator allocator = wiping();
    ProtobufCMessage *request = NULL;
    if (check_caller(call, service, &error) == 0 && wire_check(descriptor, msg, len, &error) == 0 &&
        !(request = protobuf_c_message_unpack(descriptor, &allocator, len, msg)))
        error_set(&error, TW_INVALID_ARGUMENT, "the request is not a valid %s message", descriptor->name);
    if (!request)
        rpc_call_finish_error(call, &error);
    return request;
}

/* --- jobs --- */

static void job_end(struct account_job *job)
{
    struct account_service *service = job->service;
    if (job->call)
        rpc_call_set_on_done(job->call, NULL, NULL);
    account_free_request(job->request);
    free(job);
    account_service_leave(service);
}

static void job_refuse(struct account_job *job, const struct tw_error *error)
{
    if (job->call)
        rpc_call_finish_error(job->call, error);
    job_end(job);
}

static struct audit_record record_of(
    const struct account_job *job, const char *action, const char *object, const char *detail)
{
    return (struct audit_record){.user = job->who.user,
        .token = job->who.token,
        .from = job->from,
        .action = action,
        .object = object,
        .detail = detail};
}

void account_job_note(const struct account_job *job, const char *action, const char *object, const char *detail,
    enum audit_outcome outcome)
{
    struct audit_record record = record_of(job, action, object, detail);
    record.outcome = outcome;
    if (job->service->options.audit)
        (void)audit_write(job->service->options.audit, &record, AUDIT_GROUPED, NULL, NULL);
}

static const char *object_of(const struct account_job *job)
{
    return job->object ? job->object : job->user;
}

void account_job_done(struct account_job *job, const struct tw_error *error)
{
    const struct account_service_options *o = &job->service->options;
    if (error) {
        char detail[AUDIT_DETAIL_MAX + 1];
        snprintf(detail, sizeof detail, "not done: %s", error->message);
        account_job_note(job, job->act->action, object_of(job), detail, AUDIT_ERROR);
        job_refuse(job, error);
        return;
    }
    if (job->act->invalidates && o->on_changed)
        o->on_changed(o->ctx);
    job_end(job);
}

/* Whether there is still somebody who wants it, and may have it. */
static int check_still_wanted(const struct account_job *job, struct tw_error *error)
{
    uint64_t deadline_us = job->call ? rpc_call_deadline_us(job->call) : 0;
    if (!job->call)
        return error_set(error, TW_CANCELLED, "the caller had gone");
    if (deadline_us && clock_monotonic_us() >= deadline_us)
        return error_set(error, TW_DEADLINE_EXCEEDED, "the call's deadline has passed");
    if (!accounts_still_valid(job->service->options.accounts, &job->who, clock_wall_us()))
        return error_set(error, TW_UNAUTHENTICATED, "your account or your token was changed meanwhile");
    return 0;
}

static void apply(struct account_job *job)
{
    struct tw_error error = {0};
    int r = check_still_wanted(job, &error);
    if (r == 0)
        r = job->act->apply(job, &error);
    if (r <= 0)
        account_job_done(job, r < 0 ? &error : NULL);
}

static void refuse_unwritten(struct account_job *job, int result)
{
    struct tw_error error = {0};
    error_set_errno(&error, result, "nothing was done, since the audit log cannot be written");
    error.code = TW_UNAVAILABLE;
    job_refuse(job, &error);
}

static void on_written(void *ctx, int result)
{
    struct account_job *job = ctx;
    if (result < 0)
        refuse_unwritten(job, result);
    else
        apply(job);
}

static void write_down(struct account_job *job)
{
    struct audit *audit = job->service->options.audit;
    const struct audit_record record = record_of(job, job->act->action, object_of(job), job->detail);
    int r = audit ? audit_write(audit, &record, AUDIT_DURABLE, on_written, job) : 0;
    if (r < 0)
        refuse_unwritten(job, r);
    else if (!audit)
        apply(job);
}

static void on_proved(void *ctx, const struct who *who, const struct tw_error *error)
{
    struct account_job *job = ctx;
    struct tw_error copy = {0};
    job->login = NULL;
    error_copy(&copy, error);
    if (job->act->proved(job, who, &copy) < 0)
        job_refuse(job, &copy);
    else
        write_down(job);
}

static void on_call_done(struct rpc_call *call UNUSED, void *ctx)
{
    struct account_job *job = ctx;
    job->call = NULL;
    if (!job->login)
        return; /* who owes an answer ends it */
    login_cancel(STEAL(job->login));
    job_end(job);
}

/*
 * Whatever somebody does with his own account is written down, and the log has room for so much only: without this he could write until
 * what he did before is gone. Administrators may have many users to add.
 */
static int check_rate(const struct account_job *job, struct tw_error *error)
{
    const struct account_service_options *o = &job->service->options;
    char text[ACCOUNTS_NAME_MAX + 16];
    uint64_t retry_us = 0;
    if (!o->rates || job->who.role >= ROLE_ADMIN) /* or nobody yet, which logins.h bounds */
        return 0;
    int len = snprintf(text, sizeof text, "account %s", job->who.user); /* no user's name: his refusals count apart */
    const struct rate_key key = rates_key(o->rates, RATE_USER, text, (size_t)len);
    if (rates_take(o->rates, RATE_LOGIN, &key, 1, clock_monotonic_us(), &retry_us))
        return 0;
    const uint32_t retry_ms = (uint32_t)(retry_us / 1000 + 1);
    error_set(error, TW_RESOURCE_EXHAUSTED, "%s changes too much at once: try again in %u ms", job->who.user,
        (unsigned)retry_ms);
    error->retry_ms = retry_ms;
    return -1;
}

void account_job_begin(struct rpc_call *call, struct account_service *service, const struct account_act *act,
    const uint8_t *msg, size_t len)
{
    struct tw_error error = {0};
    void *request = account_unpack(call, service, act->descriptor, msg, len);
    struct account_job *job = request ? calloc(1, sizeof *job) : NULL;
    if (!request)
        return;
    if (!job) {
        account_free_request(request);
        error_oom(&error);
        rpc_call_finish_error(call, &error);
        return;
    }
    *job = (struct account_job){
        .act = act, .service = service, .call = call, .request = request, .who = *rpc_call_who(call)};
    snprintf(job->from, sizeof job->from, "%s", rpc_call_peer(call));
    login_address(rpc_call_peer_address(call), job->address);
    account_service_enter(service);
    if (act->check(job, &error) < 0 || check_rate(job, &error) < 0) {
        job_refuse(job, &error);
        return;
    }
    rpc_call_set_on_done(call, on_call_done, job);
    if (!job->password)
        write_down(job);
    else if (logins_check(service->options.logins, job->user, job->address, job->password, strlen(job->password),
                 on_proved, job, &job->login, &error) < 0)
        job_refuse(job, &error);
}

/* --- the service --- */

static const struct rpc_method methods[] = {
#define METHOD(method, handler, is_secret)                                                             \
    {                                                                                                  \
        .name = "/taskworker.AccountService/" method, .max_request = REQUEST_MAX, .secret = is_secret, \
        .unary = handler                                                                               \
    }
    METHOD("WhoAmI", account_who_am_i, false),
    METHOD("Login", account_login, true),
    METHOD("AddUser", account_add_user, false),
    METHOD("RemoveUser", account_remove_user, false),
    METHOD("SetUser", account_set_user, false),
    METHOD("ListUsers", account_list_users, false),
    METHOD("SetPassword", account_set_password, true),
    METHOD("AddToken", account_add_token, true),
    METHOD("RevokeToken", account_revoke_token, false),
    METHOD("ListTokens", account_list_tokens, false),
    METHOD("QueryAudit", account_query_audit, false),
    METHOD("VerifyAudit", account_verify_audit, false),
#undef METHOD
    {0},
};

int account_service_new(struct rpc_server *server, const struct account_service_options *options,
    struct account_service **ret, struct tw_error *error)
{
    struct account_service *service = calloc(1, sizeof *service);
    if (!service)
        return error_oom(error);
    service->options = *options;
    service->options.audit_path = NULL;
    list_init(&service->readers);
    if (options->audit_path && !(service->audit_path = strdup(options->audit_path))) {
        free(service);
        return error_oom(error);
    }
    int r = rpc_server_add_methods(server, methods, service);
    if (r < 0) {
        free(service->audit_path);
        free(service);
        return error_set_errno(error, r, "cannot register AccountService");
    }
    *ret = service;
    return 0;
}

void account_service_stop(struct account_service *service, void (*done)(void *ctx), void *ctx)
{
    if (!service) {
        done(ctx);
        return;
    }
    service->on_idle = done;
    service->idle_ctx = ctx;
    end_if_idle(service);
}
