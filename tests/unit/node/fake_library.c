/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_library.h"

#include <string.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include <taskworker/taskworker.h>

#include "base/error.h"
#include "base/fd.h"

struct fake_library fake_library = {.events_fd = -1};

struct tw_launcher {
    int unused;
};

struct tw_worker {
    uv_async_t stopped;
    uv_async_t busy; /* keeps the loop alive, as a listener does */
    void (*on_stopped)(void *ctx);
    void *ctx;
    struct tw_launcher *launcher;
};

static void event(const char *fmt, ...) PRINTF_LIKE(1, 2);
static void event(const char *fmt, ...)
{
    va_list ap;
    char line[300];
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (n > 0)
        (void)fd_write_all(fake_library.events_fd, line, (size_t)n);
}

int tw_launcher_start(const struct tw_launcher_options *options, struct tw_launcher **ret, struct tw_error *error)
{
    (void)error;
    event("launcher uid=%u base=%u python=%s preload=%s paths=%s root=%s\n", (unsigned)geteuid(),
        options->slot_uid_base, options->python, options->python_preload ? options->python_preload : "-",
        options->sandbox_paths ? options->sandbox_paths : "-", options->sandbox_root ? options->sandbox_root : "-");
    *ret = calloc(1, sizeof **ret);
    return *ret ? 0 : -1;
}

void tw_launcher_free(struct tw_launcher *launcher)
{
    if (launcher)
        event("launcher freed\n");
    free(launcher);
}

static void on_stopped(uv_async_t *handle)
{
    struct tw_worker *worker = handle->data;
    if (worker->on_stopped)
        worker->on_stopped(worker->ctx);
}

static void limits_event(const struct tw_worker_options *options)
{
    const struct tw_limits *l = &options->task_limits;
    event("limits memory=%llu cpus=%llu cpu_time=%llu processes=%llu files=%llu file=%llu workspace=%llu tmp=%llu\n",
        (unsigned long long)l->memory_bytes, (unsigned long long)l->cpu_millis, (unsigned long long)l->cpu_time_us,
        (unsigned long long)l->processes, (unsigned long long)l->open_files, (unsigned long long)l->file_bytes,
        (unsigned long long)l->workspace_bytes, (unsigned long long)l->tmp_bytes);
    event("networks %d %d stop=%d spare=%u\n", (int)options->task_network, (int)options->max_task_network,
        options->stop_on_output_limit, options->spare_sandboxes);
}

int tw_worker_new(const struct tw_worker_options *options, struct tw_worker **ret, struct tw_error *error)
{
    event("new uid=%u gid=%u groups=%d slots=%u\n", (unsigned)geteuid(), (unsigned)getegid(), getgroups(0, NULL),
        options->max_concurrent_tasks);
    event("storage %s\n", options->storage_path);
    limits_event(options);
    if (fake_library.new_fails) {
        tw_launcher_free(options->launcher);
        return error_set(error, TW_INTERNAL, "the store is on strike");
    }
    struct tw_worker *worker = calloc(1, sizeof *worker);
    if (!worker)
        return -1;
    worker->launcher = options->launcher;
    worker->stopped.data = worker;
    uv_async_init(options->loop, &worker->stopped, on_stopped);
    uv_async_init(options->loop, &worker->busy, NULL);
    *ret = worker;
    return 0;
}

int tw_worker_listen(struct tw_worker *worker, const struct tw_rpc_options *options, struct tw_error *error)
{
    (void)worker;
    event("listen %s:%u\n", options->host, options->port);
    if (options->tls_cert)
        event("tls cert=%s key=%s ca=%s auth=%d\n", options->tls_cert, options->tls_key, options->tls_client_ca,
            (int)options->tls_client_auth);
    if (fake_library.listen_fails)
        return error_set(error, TW_UNAVAILABLE, "the port is taken");
    event("running\n");
    if (fake_library.breaks_down)
        uv_async_send(&worker->stopped);
    return 0;
}

int tw_worker_reload_tls(struct tw_worker *worker, struct tw_error *error)
{
    (void)worker;
    event("reload tls\n");
    return fake_library.listen_fails ? error_set(error, TW_INVALID_ARGUMENT, "a bad certificate") : 0;
}

uint16_t tw_worker_rpc_port(const struct tw_worker *worker)
{
    (void)worker;
    return 4711;
}

void tw_worker_shutdown(struct tw_worker *worker, enum tw_shutdown how)
{
    event("shutdown %d\n", (int)how);
    if (how == TW_SHUTDOWN_STOP || !fake_library.drain_hangs)
        uv_async_send(&worker->stopped);
}

void tw_worker_set_on_stopped(struct tw_worker *worker, void (*stopped)(void *ctx), void *ctx)
{
    worker->on_stopped = stopped;
    worker->ctx = ctx;
}

void tw_worker_set_storage(struct tw_worker *worker, struct tw_storage *storage)
{
    (void)worker;
    (void)storage;
}

int tw_storage_open(const struct tw_storage_options *options, struct tw_storage **ret, struct tw_error *error)
{
    (void)error;
    event("files %s %llu\n", options->path, (unsigned long long)options->max_bytes);
    *ret = NULL;
    return 0;
}

void tw_storage_close(struct tw_storage *storage)
{
    (void)storage;
}

void tw_storage_reload(struct tw_storage *storage, const struct tw_storage_options *options)
{
    (void)storage;
    (void)options;
}

void tw_worker_set_on_shutdown_request(struct tw_worker *worker,
    struct tw_shutdown_answer (*on_request)(void *ctx, enum tw_shutdown how, uint64_t timeout_us), void *ctx)
{
    (void)worker;
    (void)on_request;
    (void)ctx;
}

const char *tw_worker_failure(const struct tw_worker *worker)
{
    (void)worker;
    return fake_library.breaks_down ? "it broke down" : NULL;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void tw_worker_free(struct tw_worker *worker)
{
    if (!worker)
        return;
    free(worker->launcher);
    uv_close((uv_handle_t *)&worker->busy, NULL);
    uv_close((uv_handle_t *)&worker->stopped, on_closed);
    event("freed\n");
}

void tw_worker_reload(struct tw_worker *worker, const struct tw_worker_options *options)
{
    (void)worker;
    event("reload slots=%u timeout=%llu\n", options->max_concurrent_tasks,
        (unsigned long long)options->default_timeout_us);
    limits_event(options);
}

void tw_worker_get_counts(const struct tw_worker *worker, struct tw_counts *ret)
{
    (void)worker;
    *ret = (struct tw_counts){.size = ret->size};
}

const char *tw_worker_warning(const struct tw_worker *worker, size_t n)
{
    (void)worker;
    return n == 0 ? "this is a fake" : NULL;
}

void tw_log_set_handler(void (*handler)(enum tw_log_level level, const char *message, void *ctx), void *ctx)
{
    if (handler)
        handler(TW_LOG_INFO, "a line of the library", ctx);
}

void tw_log_set_level(enum tw_log_level level)
{
    event("log level %d\n", (int)level);
}

int tw_worker_set_access(struct tw_worker *worker, const struct tw_access_options *options, struct tw_error *error)
{
    (void)worker;
    (void)error;
    event("access %s requests=%u submissions=%u\n", strrchr(options->path, '/'), options->max_requests,
        options->max_submissions);
    return 0;
}

const char *tw_worker_first_token(const struct tw_worker *worker)
{
    (void)worker;
    return NULL;
}

int tw_worker_first_token_shown(struct tw_worker *worker, struct tw_error *error)
{
    (void)worker;
    (void)error;
    return 0;
}

int tw_access_reset_admin(
    const struct tw_access_options *options, char *ret_user, char *ret_token, struct tw_error *error)
{
    (void)options;
    (void)ret_user;
    (void)ret_token;
    return error_set(error, TW_UNAVAILABLE, "another node has them open");
}

int tw_worker_connect(struct tw_worker *worker UNUSED, int *ret_fd UNUSED, struct tw_error *error UNUSED)
{
    return -1; /* WEB is off */
}
