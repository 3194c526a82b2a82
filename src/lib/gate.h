/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who gets in: what stands behind the RPC server's `authorize`. It has the accounts, the limits of rate and the audit log, and asks them
 * in the order that ARCHITECTURE.md tells ("Who may do what"), without touching the disk. On the loop's thread. Private to src/lib.
 */
#ifndef LIB_GATE_H
#define LIB_GATE_H

#include <uv.h>

#include <taskworker/access.h>

#include "access/accounts.h"
#include "access/audit.h"
#include "access/logins.h"
#include "access/rates.h"
#include "rpc/account_service.h"
#include "rpc/server.h"

struct gate {
    uv_loop_t *loop;
    struct accounts *accounts;
    struct logins *logins;
    struct audit *audit; /* NULL: none */
    char *audit_path;    /* its folder */
    struct rates *rates;
    struct rpc_server *server; /* whose calls are asked about again; NULL: none yet */
    struct token first;        /* until somebody has seen it; "": there is none */
    bool counts_bytes;         /* RATE_BYTES has limits */
    uv_timer_t *look, *soon;
    unsigned looks;
    bool flush_failed; /* which has been said */
    void (*closed)(void *ctx);
    void *closed_ctx;
};

/* Nothing of `options` is kept. */
int gate_open(uv_loop_t *loop, const struct tw_access_options *options, struct gate **ret, struct tw_error *error);
/* After the server has gone. `closed` comes at once for NULL, else from the loop; the gate is freed by then. */
void gate_close(struct gate *gate, void (*closed)(void *ctx), void *ctx);

/* As `authorize` and `on_finished` of struct rpc_server_options; ctx: struct gate. */
int gate_authorize(void *ctx, const struct rpc_call *call, struct who *ret, struct tw_error *error);
void gate_on_finished(void *ctx, const struct rpc_call *call, enum tw_code code);

/*
 * The accounts have changed: open calls are asked about again, in the loop's next round. For whoever changes them, after each change, also
 * from within a handler.
 */
void gate_changed(struct gate *gate);

/* access.c: AccountService, also where there is no gate (NULL): then it says so. */
int access_begin_service(struct gate *gate, uv_loop_t *loop, struct rpc_server *server, struct account_service **ret,
    struct tw_error *error);

/* access.c: makes the folder of the accounts if need be, and opens them. */
int access_open_accounts(
    const struct tw_access_options *options, struct accounts **ret, struct token *ret_first, struct tw_error *error);

#endif
