/* SPDX-License-Identifier: Apache-2.0 */
/* The worker behind include/taskworker/worker.h; private to src/lib. */
#ifndef LIB_WORKER_INTERNAL_H
#define LIB_WORKER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include <taskworker/taskworker.h>

#include "base/list.h"
#include "exec/sandbox.h"
#include "lib/environments.h"
#include "lib/functions.h"
#include "lib/gate.h"
#include "lib/inputs.h"
#include "lib/resources.h"
#include "lib/retention.h"
#include "rpc/file_service.h"
#include "rpc/function_service.h"
#include "rpc/health.h"
#include "rpc/reflection.h"
#include "rpc/server.h"
#include "rpc/taskworker_service.h"
#include "rpc/tls.h"
#include "store/store.h"
#include "task/engine.h"

struct tw_launcher {
    struct launcher *launcher;
    char runtime_version[65]; /* of all that decides how a task runs in its sandboxes; hex */
};

struct tw_worker {
    uv_loop_t *loop;
    uv_loop_t own_loop;
    char *node_id;
    char runtime_version[65];
    char *warnings[2];
    size_t n_warnings;
    struct store *store;
    struct runtime *runtime;
    struct engine *engine;
    struct resources resources;
    struct retention retention;
    uint64_t max_task_size;
    unsigned slots;           /* tasks at once */
    unsigned spare_sandboxes; /* made ahead of need */

    struct rpc_server *server; /* NULL until tw_worker_listen, and after it has drained */
    struct rpc_health *health;
    struct rpc_reflection *reflection;
    struct gate *gate; /* NULL: nobody is asked who he is */
    struct account_service *account_service;
    uint16_t port;
    struct rpc_tls *tls; /* NULL: plain text */
    struct taskworker_service service;
    struct file_service files; /* without storage where there is none */
    struct inputs inputs;
    struct environments environments;

    uv_async_t wake;   /* something for the loop's thread: calls, or a shutdown */
    atomic_int asked;  /* enum tw_shutdown, 0: none */
    int shutting_down; /* what was begun of it, loop thread */
    bool started, stopped;
    struct tw_error failure; /* why it stopped by itself; code TW_OK: it did not */
    void (*on_stopped)(void *ctx);
    void *on_stopped_ctx;
    struct tw_shutdown_answer (*on_shutdown_request)(void *ctx, enum tw_shutdown how, uint64_t timeout_us);
    void *on_shutdown_request_ctx;

    pthread_mutex_t lock; /* the two below */
    struct list calls;    /* struct thread_call, from other threads */
    bool closed;          /* no call is taken any more */
};

/* A caller's options, whose first member is their size, as ours: 0, or -1 with INVALID_ARGUMENT. */
int options_take(void *to, size_t known, const void *from, const char *name, struct tw_error *error);

/* listen.c: frees the server, with what belongs to it; there may be none. */
void worker_stop_listening(struct tw_worker *worker);

/* calls.c: carries out what other threads have asked for. */
void worker_run_calls(struct tw_worker *worker);
/* Refuses calls from now on; those on their way were answered by the engine. */
void worker_close_calls(struct tw_worker *worker);

#endif
