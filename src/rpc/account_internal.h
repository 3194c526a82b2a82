/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of AccountService share. */
#ifndef RPC_ACCOUNT_INTERNAL_H
#define RPC_ACCOUNT_INTERNAL_H

#include "base/list.h"
#include "rpc/account_service.h"
#include "taskworker.pb-c.h"

struct account_service {
    struct account_service_options options;
    char *audit_path; /* a copy; NULL: none */
    unsigned open;    /* jobs */
    unsigned queries; /* of these; account_audit.c */
    bool verifying;
    bool reading;        /* one of the queries is in the pool, */
    struct list readers; /* and these wait for it */
    void (*on_idle)(void *ctx);
    void *idle_ctx;
};

/* A job begins to use the service, or has ended to: then it may be gone. */
void account_service_enter(struct account_service *service);
void account_service_leave(struct account_service *service);

/* NULL: the call was refused. What is in the request is wiped when it is freed. */
void *account_unpack(struct rpc_call *call, const struct account_service *service,
    const ProtobufCMessageDescriptor *descriptor, const uint8_t *msg, size_t len);
void account_free_request(void *request);

/* --- a call that changes something --- */

struct account_job;

struct account_act {
    const ProtobufCMessageDescriptor *descriptor;
    const char *action; /* in the audit log */
    bool invalidates;   /* a struct who may be out of date afterwards */
    /* May it be done? Fills what the job's comments say. */
    int (*check)(struct account_job *job, struct tw_error *error);
    /* Of a job with a password: what came of it. `who` NULL: it was not the right one, *error says so and may be changed; -1 then. */
    int (*proved)(struct account_job *job, const struct who *who, struct tw_error *error);
    /* Does it and answers: 0. -1: it failed. 1: account_job_done() will be called. */
    int (*apply)(struct account_job *job, struct tw_error *error);
};

struct account_job {
    const struct account_act *act;
    struct account_service *service;
    struct rpc_call *call; /* NULL once it is over */
    void *request;         /* unpacked */
    struct who who;        /* the caller; role ROLE_MAX: not known yet */
    struct login *login;   /* while the password is looked at */
    char from[AUDIT_FROM_MAX + 1];
    char address[LOGINS_ADDRESS_BYTES + 1];
    /* By `check`, which may be done with them as it likes until then. */
    const char *user;     /* whom it is about; the request's, or who.user */
    const char *object;   /* of the audit record; NULL: user */
    const char *password; /* that has to be this user's first; the request's. NULL: none has to */
    enum role role;
    uint64_t expires_us;
    char token_name[ACCOUNTS_TOKEN_NAME_MAX + 1];
    char detail[AUDIT_DETAIL_MAX + 1];
};

void account_job_begin(struct rpc_call *call, struct account_service *service, const struct account_act *act,
    const uint8_t *msg, size_t len);
/* error NULL: it was done, and answered if the call was open. Frees the job. */
void account_job_done(struct account_job *job, const struct tw_error *error);
/* Something more about the job, for the audit log; nobody waits for it. */
void account_job_note(const struct account_job *job, const char *action, const char *object, const char *detail,
    enum audit_outcome outcome);

/* Handlers; ctx: struct account_service. account_tokens.c: */
void account_who_am_i(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx);
void account_login(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx);
void account_add_token(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx);
void account_revoke_token(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx);
void account_list_tokens(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx);
/* account_users.c: */
void account_add_user(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx);
void account_remove_user(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx);
void account_set_user(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx);
void account_list_users(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx);
void account_set_password(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx);
/* account_audit.c: */
void account_query_audit(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx);
void account_verify_audit(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx);

#endif
