/* SPDX-License-Identifier: Apache-2.0 */
/* The worker's RPC server: what it offers, to whom, and with which TLS. */
#include "lib/worker_internal.h"

#include "base/clock.h"
#include "base/error.h"

void worker_stop_listening(struct tw_worker *w)
{
    if (w->gate)
        w->gate->server = NULL;
    rpc_server_free(STEAL(w->server));
    rpc_health_free(STEAL(w->health));
    rpc_reflection_free(STEAL(w->reflection));
    rpc_tls_unref(STEAL(w->tls));
}

static void on_nothing(void *ctx UNUSED)
{
}

static int begin_tls(struct tw_worker *worker, const struct tw_rpc_options *options, struct tw_error *error)
{
    const struct rpc_tls_options o = {
        .cert = options->tls_cert,
        .key = options->tls_key,
        .client_ca = options->tls_client_ca,
        .client_auth = (enum rpc_tls_auth)options->tls_client_auth,
    };
    _Static_assert((int)TW_TLS_CLIENT_AUTH_REQUIRED == RPC_TLS_AUTH_REQUIRED, "the same words");
    if ((unsigned)options->tls_client_auth > TW_TLS_CLIENT_AUTH_REQUIRED)
        return error_set(error, TW_INVALID_ARGUMENT, "tls_client_auth is %u", (unsigned)options->tls_client_auth);
    if (!o.cert && !o.key && !o.client_ca && o.client_auth == RPC_TLS_AUTH_OFF)
        return 0;
    return rpc_tls_new(&o, &worker->tls, error);
}

int tw_worker_reload_tls(struct tw_worker *worker, struct tw_error *error)
{
    if (!worker->tls)
        return error_set(error, TW_FAILED_PRECONDITION, "this worker listens without TLS");
    return rpc_tls_reload(worker->tls, error);
}

static int offer_services(struct tw_worker *worker, struct tw_error *error)
{
    bool files = worker->files.storage;
    bool failed = taskworker_service_register(worker->server, &worker->service, worker->max_task_size, error) < 0 ||
        (files && file_service_register(worker->server, &worker->files, error) < 0) ||
        function_service_register(worker->server, &worker->service, error) < 0 ||
        access_begin_service(worker->gate, worker->loop, worker->server, &worker->account_service, error) < 0 ||
        rpc_health_new(worker->server, &worker->health, error) < 0 ||
        rpc_reflection_new(worker->server, &worker->reflection, error) < 0 ||
        rpc_health_set(worker->health, "", true) < 0 ||
        rpc_health_set(worker->health, "taskworker.TaskWorkerService", true) < 0 ||
        rpc_health_set(worker->health, "taskworker.RPCService", true) < 0 ||
        rpc_health_set(worker->health, "taskworker.AccountService", true) < 0 ||
        (files && rpc_health_set(worker->health, "taskworker.FileService", true) < 0);
    return failed ? -1 : 0;
}

int tw_worker_listen(struct tw_worker *worker, const struct tw_rpc_options *given, struct tw_error *error)
{
    struct tw_rpc_options copy = {0}, *options = &copy;
    if (options_take(&copy, sizeof copy, given, "tw_rpc_options", error) < 0)
        return -1;
    if (worker->server)
        return error_set(error, TW_FAILED_PRECONDITION, "this worker listens already");
    if (begin_tls(worker, options, error) < 0)
        return -1;
    struct rpc_server_options o = {
        .tls = worker->tls,
        .host = options->host,
        .port = options->port,
        .max_connections = options->max_connections,
        .max_inflight = options->max_inflight,
        .max_memory = options->max_memory,
        .max_connections_per_address = options->max_connections_per_address,
        .authorize = worker->gate ? gate_authorize : NULL,
        .on_finished = gate_on_finished,
        .authorize_ctx = worker->gate,
    };
    if (rpc_server_new(worker->loop, &o, &worker->server, error) < 0) {
        rpc_tls_unref(STEAL(worker->tls));
        return -1;
    }
    worker->service = (struct taskworker_service){
        .loop = worker->loop,
        .engine = worker->engine,
        .store = worker->store,
        .node_id = worker->node_id,
        .started_us = clock_wall_us(),
        .cpu_score = &worker->resources.cpu_score,
        .disk_bytes = &worker->resources.disk_bytes,
        .disk_free_bytes = &worker->resources.disk_free_bytes,
        .warnings = (const char *const *)worker->warnings,
        .n_warnings = worker->n_warnings,
    };
    tw_worker_set_on_shutdown_request(worker, worker->on_shutdown_request, worker->on_shutdown_request_ctx);
    worker->files.loop = worker->loop;
    if (offer_services(worker, error) < 0) {
        worker_stop_listening(worker);
        account_service_stop(STEAL(worker->account_service), on_nothing, NULL); /* at once: it has no calls yet */
        return -1;
    }
    if (worker->gate)
        worker->gate->server = worker->server;
    worker->port = rpc_server_port(worker->server);
    return 0;
}

int tw_worker_connect(struct tw_worker *worker, int *ret_fd, struct tw_error *error)
{
    if (!worker->server)
        return error_set(error, TW_FAILED_PRECONDITION, "this worker does not listen");
    int r = rpc_server_connect(worker->server, ret_fd);
    return r < 0 ? error_set_errno(error, r, "cannot connect to the worker") : 0;
}

uint16_t tw_worker_rpc_port(const struct tw_worker *worker)
{
    return worker->port;
}
