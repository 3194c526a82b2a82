/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The library's face: puts store, runtime, engine and RPC server together on one loop, and takes them down again in the
 * order in which they need each other:
 *
 *   engine drains (running tasks end, all is on disk) -> RPC server drains (last answers go out) -> runtime closes
 *   (sandboxes, launcher) -> store closes -> the loop has nothing left
 *
 * While the engine drains the server keeps answering, so that an operator can see what it is waiting for.
 */
#include "lib/worker_internal.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/text.h"

enum {
    DEFAULT_CONCURRENT = 4,
    DEFAULT_QUEUED = 10000,
    DEFAULT_MAX_TASK = 100 << 20,
    DEFAULT_MAX_RESULT = 16 << 20,
    DEFAULT_MAX_LOG = 64 << 20,
    DEFAULT_SPARE_SANDBOXES = 2,
    DEFAULT_PROCESSES = 1024,
    DEFAULT_OPEN_FILES = 1024,
    DEFAULT_WORKSPACE = 1 << 30,
    DEFAULT_TMP = 256 << 20,
    DEFAULT_OVERCOMMIT = 1500,
    LEAST_MEMORY = 64 << 20, /* of a task, however small the machine: Python starts in that */
};
static const uint64_t default_retry_delay_us = 1000000, default_max_retry_delay_us = 300 * UINT64_C(1000000),
                      default_grace_us = 5000000, default_detach_us = 600 * UINT64_C(1000000);
static const uint64_t default_file_bytes = 4ull << 30;
static const uint64_t default_timeout_us = 300ull * 1000000;
static const uint64_t rpc_grace_us = 2ull * 1000000;

/* --- options --- */

/*
 * A caller's struct of options begins with its size as the caller knows it. A shorter one is an older caller's: what it
 * does not know is zero, the default. A longer one is a newer caller's, and fine as long as it sets nothing beyond.
 */
int options_take(void *to, size_t known, const void *from, const char *name, struct tw_error *error)
{
    enum { SIZE_MAX_SANE = 4096 };
    size_t size;
    memcpy(&size, from, sizeof size);
    if (size < sizeof size || size > SIZE_MAX_SANE)
        return error_set(error, TW_INVALID_ARGUMENT, "size of struct %s is not set: sizeof(struct %s)", name, name);
    for (size_t i = known; i < size; i++) {
        if (((const unsigned char *)from)[i])
            return error_set(error, TW_INVALID_ARGUMENT, "struct %s sets something that libtaskworker %s does not know",
                name, HIVEMIND_VERSION);
    }
    memset(to, 0, known);
    memcpy(to, from, MIN(size, known));
    return 0;
}

/* --- the way down --- */

static void worker_stopped(struct tw_worker *w)
{
    w->stopped = true;
    log_debug("the worker has stopped");
    if (w->on_stopped)
        w->on_stopped(w->on_stopped_ctx);
}

static void on_wake_closed(uv_handle_t *handle)
{
    worker_stopped(handle->data);
}

static void on_store_closed(void *ctx)
{
    struct tw_worker *w = ctx;
    w->store = NULL;
    engine_free(STEAL(w->engine)); /* only now: the store's last answers went to it */
    uv_close((uv_handle_t *)&w->wake, on_wake_closed);
}

static void on_resources_stopped(void *ctx)
{
    struct tw_worker *w = ctx;
    retention_stop(&w->retention);
    if (w->store)
        store_close(w->store, on_store_closed, w);
    else
        on_store_closed(w);
}

static void on_environments_idle(void *ctx)
{
    struct tw_worker *w = ctx;
    resources_stop(&w->resources, on_resources_stopped, w);
}

static void on_runtime_closed(void *ctx)
{
    struct tw_worker *w = ctx;
    w->runtime = NULL;
    environments_stop(&w->environments, on_environments_idle, w);
}

static void on_gate_closed(void *ctx)
{
    struct tw_worker *w = ctx;
    environments_close(&w->environments);
    if (w->runtime)
        w->runtime->ops->close(w->runtime, on_runtime_closed, w);
    else
        on_runtime_closed(w);
}

static void on_accounts_idle(void *ctx)
{
    struct tw_worker *w = ctx;
    gate_close(STEAL(w->gate), on_gate_closed, w);
}

static void on_inputs_idle(void *ctx)
{
    struct tw_worker *w = ctx;
    account_service_stop(STEAL(w->account_service), on_accounts_idle, w);
}

static void on_files_idle(void *ctx)
{
    struct tw_worker *w = ctx;
    inputs_stop(&w->inputs, on_inputs_idle, w);
}

static void on_rpc_drained(void *ctx)
{
    struct tw_worker *w = ctx;
    worker_stop_listening(w);
    file_service_stop(&w->files, on_files_idle, w);
}

static void on_engine_drained(void *ctx)
{
    struct tw_worker *w = ctx;
    worker_close_calls(w);
    if (w->server) {
        taskworker_service_end(&w->service);
        rpc_server_drain(w->server, rpc_grace_us, on_rpc_drained, w);
    } else {
        on_rpc_drained(w);
    }
}

static void begin_shutdown(struct tw_worker *w, int how)
{
    if (how <= w->shutting_down)
        return;
    if (!w->shutting_down && w->health)
        rpc_health_shutdown(w->health);
    w->shutting_down = how;
    engine_shutdown(w->engine, (enum tw_shutdown)how, on_engine_drained, w);
}

/*
 * Without sandboxes there is nothing to do here. What is queued waits for the next start, and so does what goes on since an
 * earlier one, which has nothing to do with the launcher of this one or with a mistake in its settings.
 */
static void on_broken(void *ctx, const struct tw_error *error)
{
    struct tw_worker *w = ctx;
    log_error("the node stops: %s", error->message);
    w->failure = *error;
    begin_shutdown(w, TW_SHUTDOWN_DETACH);
}

static void on_trouble(void *ctx, const struct tw_error *error)
{
    struct tw_worker *w = ctx;
    engine_stall(w->engine, error ? error->message : NULL);
}

static void on_wake(uv_async_t *async)
{
    struct tw_worker *w = async->data;
    int how = atomic_load(&w->asked);
    if (!w->started && !how) {
        w->started = true;
        engine_start(w->engine);
        resources_measure(&w->resources, w->loop);
    }
    worker_run_calls(w);
    if (how)
        begin_shutdown(w, how);
}

void tw_worker_shutdown(struct tw_worker *worker, enum tw_shutdown how)
{
    int seen = atomic_load(&worker->asked);
    while (seen < (int)how && !atomic_compare_exchange_weak(&worker->asked, &seen, (int)how))
        ;
    uv_async_send(&worker->wake);
}

static struct tw_shutdown_answer on_shutdown_call(void *ctx, enum tw_shutdown how, uint64_t timeout_us)
{
    struct tw_worker *w = ctx;
    return w->on_shutdown_request(w->on_shutdown_request_ctx, how, timeout_us);
}

void tw_worker_set_on_shutdown_request(struct tw_worker *worker,
    struct tw_shutdown_answer (*on_request)(void *ctx, enum tw_shutdown how, uint64_t timeout_us), void *ctx)
{
    worker->on_shutdown_request = on_request;
    worker->on_shutdown_request_ctx = ctx;
    worker->service.on_shutdown = on_request ? on_shutdown_call : NULL;
    worker->service.on_shutdown_ctx = worker;
}

const char *tw_worker_failure(const struct tw_worker *worker)
{
    return worker->failure.code != TW_OK ? worker->failure.message : NULL;
}

void tw_worker_set_on_stopped(struct tw_worker *worker, void (*on_stopped)(void *ctx), void *ctx)
{
    worker->on_stopped = on_stopped;
    worker->on_stopped_ctx = ctx;
}

/* --- life --- */

static uint64_t share_of_memory(uint64_t memory, unsigned slots)
{
    uint64_t share = memory / slots;
    return memory ? MAX(share - share % (1 << 20), (uint64_t)LEAST_MEMORY) : 0;
}

static uint64_t or_default(uint64_t value, uint64_t otherwise)
{
    return value ? value : otherwise;
}

static struct tw_limits task_limits_from(const struct tw_limits *given, uint64_t memory, unsigned slots)
{
    return (struct tw_limits){
        .memory_bytes = given->memory_bytes ? given->memory_bytes : share_of_memory(memory, slots),
        .cpu_millis = given->cpu_millis,
        .cpu_time_us = given->cpu_time_us,
        .processes = or_default(given->processes, DEFAULT_PROCESSES),
        .open_files = or_default(given->open_files, DEFAULT_OPEN_FILES),
        .file_bytes = or_default(given->file_bytes, default_file_bytes),
        .workspace_bytes = or_default(given->workspace_bytes, DEFAULT_WORKSPACE),
        .tmp_bytes = or_default(given->tmp_bytes, DEFAULT_TMP),
    };
}

/* Fills in what concerns single tasks; what cannot be is INVALID_ARGUMENT. */
static int task_options_from(
    const struct tw_worker *w, const struct tw_worker_options *o, struct engine_options *ret, struct tw_error *error)
{
    ret->cpu_millis = o->max_cpu_millis ? o->max_cpu_millis : w->resources.cpu_millis;
    ret->memory_bytes = o->max_memory_bytes ? o->max_memory_bytes : w->resources.memory_bytes;
    ret->task_limits = task_limits_from(&o->task_limits, ret->memory_bytes, w->slots);
    ret->task_network = o->task_network ? o->task_network : TW_NETWORK_NONE;
    ret->max_task_network = o->max_task_network ? o->max_task_network : TW_NETWORK_LOOPBACK;
    ret->stop_on_output_limit = o->stop_on_output_limit;
    ret->default_queue_timeout_us = o->default_queue_timeout_us;
    ret->max_running_per_owner = o->max_tasks_per_owner;
    ret->max_queued_per_owner = o->max_queued_per_owner;
    ret->retry_delay_us = or_default(o->retry_delay_us, default_retry_delay_us);
    ret->max_retry_delay_us = or_default(o->max_retry_delay_us, default_max_retry_delay_us);
    ret->grace_us = or_default(o->stop_grace_us, default_grace_us);
    ret->detach_seconds =
        (uint32_t)MIN(or_default(o->detach_timeout_us, default_detach_us) / 1000000, (uint64_t)UINT32_MAX);
    if (!tw_network_to_string(ret->task_network) || !tw_network_to_string(ret->max_task_network))
        return error_set(error, TW_INVALID_ARGUMENT, "task_network and max_task_network have to be one of tw_network");
    if (ret->task_network > ret->max_task_network)
        return error_set(error, TW_INVALID_ARGUMENT, "task_network is \"%s\", but max_task_network only \"%s\"",
            tw_network_to_string(ret->task_network), tw_network_to_string(ret->max_task_network));
    return engine_check_limits(&ret->task_limits, error) < 0 ? error_wrap(error, "task_limits") : 0;
}

static void fill_engine_options(
    const struct tw_worker *w, const struct tw_worker_options *o, struct engine_options *ret)
{
    ret->loop = w->loop;
    ret->store = w->store;
    ret->runtime = w->runtime;
    ret->max_running = w->slots;
    ret->gpus = w->resources.gpus;
    ret->n_gpus = w->resources.n_gpus;
    ret->max_queued = o->max_queued_tasks ? o->max_queued_tasks : DEFAULT_QUEUED;
    ret->default_timeout_us = or_default(o->default_timeout_us, default_timeout_us);
    ret->max_task_size = w->max_task_size;
    ret->max_result_size = or_default(o->max_result_size, DEFAULT_MAX_RESULT);
    ret->max_log_size = or_default(o->max_log_size, DEFAULT_MAX_LOG);
    ret->runtime_version = w->runtime_version;
}

/* Copied: the launcher goes before the worker does. Without memory it is said in the log alone. */
static void add_warning(struct tw_worker *w, const char *text)
{
    char *copy = text ? strdup(text) : NULL;
    if (copy)
        w->warnings[w->n_warnings++] = copy;
}

static void collect_warnings(struct tw_worker *w, const struct launcher *launcher)
{
    add_warning(w, launcher_warning(launcher));
    add_warning(w, launcher_group_warning(launcher));
}

static unsigned overcommit_of(const struct tw_worker_options *o)
{
    return o->max_overcommit ? o->max_overcommit : DEFAULT_OVERCOMMIT;
}

/* Takes the launcher over, whatever comes of it. */
static int build(
    struct tw_worker *w, const struct tw_worker_options *o, struct tw_launcher *launcher, struct tw_error *error)
{
    struct store_options store_options = {.path = o->storage_path};
    struct engine_options engine_options = {0};
    if (task_options_from(w, o, &engine_options, error) < 0) {
        tw_launcher_free(launcher);
        return -1;
    }
    if (!launcher && (tw_launcher_start(NULL, &launcher, error) < 0 || !launcher))
        return -1;
    collect_warnings(w, launcher->launcher);
    memcpy(w->runtime_version, launcher->runtime_version, sizeof w->runtime_version);
    if (store_open(w->loop, &store_options, &w->store, error) < 0 ||
        sandbox_new(w->loop, launcher->launcher, w->slots, w->spare_sandboxes, &w->runtime, error) < 0) {
        tw_launcher_free(launcher);
        return -1;
    }
    struct environments_options environments_options = {.loop = w->loop,
        .python = launcher_python(launcher->launcher),
        .index_url = o->package_index,
        .version = w->runtime_version,
        .max_bytes = o->max_environments_bytes};
    int r = environments_init(&w->environments, &environments_options);
    free(launcher); /* what was in it is the runtime's now */
    if (r < 0)
        return error_oom(error);
    if (sandbox_find_left(w->runtime, o->storage_path, error) < 0 ||
        functions_new(w->loop, w->runtime, &w->runtime, error) < 0)
        return -1;
    w->environments.runtime = w->runtime;
    w->runtime->on_broken = on_broken;
    w->runtime->on_trouble = on_trouble;
    w->runtime->owner_ctx = w;
    fill_engine_options(w, o, &engine_options);
    resources_recall(&w->resources, w->store);
    if (engine_new(&engine_options, &w->engine, error) < 0)
        return -1;
    r = resources_watch(&w->resources, w->loop, w->engine, o->storage_path, overcommit_of(o));
    if (r == 0)
        r = retention_start(&w->retention, w->loop, w->store);
    retention_set(&w->retention, o->retention_us, o->max_kept_tasks, o->max_kept_bytes);
    return r < 0 ? error_oom(error) : 0;
}

static int worker_init(struct tw_worker *w, const struct tw_worker_options *options, struct tw_error *error)
{
    if (!options->storage_path || !*options->storage_path)
        return error_set(error, TW_INVALID_ARGUMENT, "storage_path is missing");
    if (sodium_init() < 0)
        return error_set(error, TW_INTERNAL, "libsodium cannot be initialised");
    w->node_id = strdup(options->node_id ? options->node_id : "worker");
    if (!w->node_id)
        return error_oom(error);
    w->loop = options->loop;
    int r = w->loop ? 0 : uv_loop_init(&w->own_loop);
    if (r == 0 && !w->loop)
        w->loop = &w->own_loop;
    if (r == 0)
        r = uv_async_init(w->loop, &w->wake, on_wake);
    w->wake.data = w;
    return r < 0 ? error_set_errno(error, r, "cannot set up the event loop") : 0;
}

int tw_worker_new(const struct tw_worker_options *given, struct tw_worker **ret, struct tw_error *error)
{
    struct tw_worker_options copy = {0}, *options = &copy;
    if (options_take(&copy, sizeof copy, given, "tw_worker_options", error) < 0)
        return -1;              /* not even the launcher can be taken over: nobody knows whether there is one */
    (void)fd_occupy_standard(); /* libuv ends the program when it gets to close one of these */
    struct tw_worker *w = calloc(1, sizeof *w);
    if (!w) {
        tw_launcher_free(options->launcher);
        return error_oom(error);
    }
    w->slots = options->max_concurrent_tasks ? options->max_concurrent_tasks : DEFAULT_CONCURRENT;
    w->spare_sandboxes = options->spare_sandboxes ? options->spare_sandboxes : DEFAULT_SPARE_SANDBOXES;
    w->max_task_size = options->max_task_size ? options->max_task_size : DEFAULT_MAX_TASK;
    list_init(&w->calls);
    pthread_mutex_init(&w->lock, NULL);
    resources_find(&w->resources, !options->no_gpus);
    if (worker_init(w, options, error) < 0) {
        tw_launcher_free(options->launcher);
        w->stopped = true;
        tw_worker_free(w);
        return -1;
    }
    if (build(w, options, options->launcher, error) < 0) {
        on_rpc_drained(w); /* what there is goes down in order, now */
        while (!w->stopped)
            uv_run(w->loop, UV_RUN_ONCE);
        tw_worker_free(w);
        return -1;
    }
    uv_async_send(&w->wake); /* no task starts before the loop runs: the program may yet fail to listen */
    *ret = w;
    return 0;
}

int tw_worker_run(struct tw_worker *worker)
{
    if (worker->loop != &worker->own_loop)
        return -1;
    /* A peer that hangs up must not kill the program. */
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, NULL);
    uv_run(worker->loop, UV_RUN_DEFAULT);
    return 0;
}

void tw_worker_free(struct tw_worker *worker)
{
    if (!worker)
        return;
    if (!worker->stopped) { /* its loop never ran: let it go down in order */
        tw_worker_shutdown(worker, TW_SHUTDOWN_STOP);
        while (!worker->stopped)
            uv_run(worker->loop, UV_RUN_ONCE);
    }
    if (worker->loop == &worker->own_loop)
        uv_loop_close(worker->loop);
    pthread_mutex_destroy(&worker->lock);
    free(worker->node_id);
    for (size_t i = 0; i < worker->n_warnings; i++)
        free(worker->warnings[i]);
    free(worker);
}

void tw_worker_reload(struct tw_worker *worker, const struct tw_worker_options *given)
{
    struct tw_worker_options copy = {0}, *options = &copy;
    if (options_take(&copy, sizeof copy, given, "tw_worker_options", NULL) < 0)
        return;
    worker->slots = options->max_concurrent_tasks ? options->max_concurrent_tasks : worker->slots;
    struct engine_options of_tasks = {0};
    struct tw_error error;
    resources_set_ceiling(&worker->resources, overcommit_of(options));
    environments_set_max(&worker->environments, options->max_environments_bytes);
    retention_set(&worker->retention, options->retention_us, options->max_kept_tasks, options->max_kept_bytes);
    if (task_options_from(worker, options, &of_tasks, &error) == 0)
        engine_set_task_limits(worker->engine, &of_tasks);
    else
        log_error("the limits of tasks stay as they were: %s", error.message);
    engine_set_limits(
        worker->engine, options->max_concurrent_tasks, options->max_queued_tasks, options->default_timeout_us);
}

int tw_worker_register_function(
    struct tw_worker *worker, const char *name, tw_function *function, void *ctx, struct tw_error *error)
{
    return functions_register(worker->runtime, name, function, ctx, error);
}

const char *tw_worker_warning(const struct tw_worker *worker, size_t n)
{
    return n < worker->n_warnings ? worker->warnings[n] : NULL;
}

void tw_worker_get_counts(const struct tw_worker *worker, struct tw_counts *ret)
{
    struct engine_status status = {0};
    struct tw_counts counts = {.size = ret->size};
    engine_get_status(worker->engine, &status);
    counts.running = status.running;
    counts.queued = status.queued;
    counts.accepted = status.accepted;
    counts.completed = status.completed;
    counts.failed = status.failed;
    counts.stopped = status.stopped;
    counts.cpu_millis = status.cpu_millis;
    counts.memory_bytes = status.memory_bytes;
    counts.cpu_millis_used = status.cpu_millis_used;
    counts.memory_bytes_used = status.memory_bytes_used;
    memcpy(ret, &counts, MIN(ret->size, sizeof counts)); /* a program may be older than the library */
}

void tw_worker_set_storage(struct tw_worker *worker, struct tw_storage *storage)
{
    worker->files.storage = storage;
    if (!storage)
        return;
    inputs_begin(&worker->inputs, worker->loop, storage, worker->engine);
    environments_begin(&worker->environments, storage, worker->engine);
}

/* --- small things --- */

const char *tw_version(void)
{
    return HIVEMIND_VERSION;
}

void tw_log_set_level(enum tw_log_level level)
{
    log_set_level((enum log_level)level);
}

void tw_log_set_handler(void (*handler)(enum tw_log_level level, const char *message, void *ctx), void *ctx)
{
    _Static_assert((int)TW_LOG_ERROR == LOG_ERROR && (int)TW_LOG_DEBUG == LOG_DEBUG, "the same levels");
    log_set_handler((log_handler)handler, ctx);
}
