/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AccountService of proto/taskworker.proto: users, tokens, logins and the audit log. What changes something is one job
 * (account_service.c): it is checked, then written to the audit log durably, then done, then answered. Everything is on the loop's
 * thread, but for reading the audit log, which goes to libuv's pool, one piece after the other (account_audit.c).
 */
#ifndef RPC_ACCOUNT_SERVICE_H
#define RPC_ACCOUNT_SERVICE_H

#include <uv.h>

#include <taskworker/error.h>

#include "access/accounts.h"
#include "access/audit.h"
#include "access/logins.h"
#include "access/rates.h"
#include "rpc/server.h"

struct account_service;

/* All of it is borrowed and has to outlive the service, but for the options themselves and `audit_path`. */
struct account_service_options {
    uv_loop_t *loop;
    struct accounts *accounts; /* NULL: nobody is asked who he is, and every call is FAILED_PRECONDITION */
    struct logins *logins;     /* with `accounts` */
    struct audit *audit;       /* NULL: nothing is written down */
    const char *audit_path;    /* its folder; with `audit` */
    /* RATE_LOGIN: how many logins of an address that fail are written down, and how often who is no administrator changes his account.
       NULL: there is no limit. */
    struct rates *rates;
    void (*on_changed)(void *ctx); /* whoever kept a struct who has to ask about him again; may be NULL */
    void *ctx;
};

/* Adds the methods to the server. */
int account_service_new(struct rpc_server *server, const struct account_service_options *options,
    struct account_service **ret, struct tw_error *error);
/*
 * After the server was freed, and before the logins and the audit log are closed: `done` is called, at once or from the loop, when
 * nothing uses them any more, and the service is freed by then. NULL is allowed.
 */
void account_service_stop(struct account_service *service, void (*done)(void *ctx), void *ctx);

#endif
