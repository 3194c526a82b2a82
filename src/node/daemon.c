/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of a start matters. The launcher is started first, as a process of its own, while the program may still be
 * root; then root is given up for good; only then is anything opened that bytes from outside flow through: the store and,
 * when nothing is left that has to be done once (hardening.h), the network. From there on one loop runs everything, on this thread: the library's work and the signals. A signal never
 * does more than ask the library to shut down; the loop ends when the library says that it has stopped, and what is left
 * is closed in the reverse order of the start. Two timers bound this: one turns a drain into a stop, one gives up on a stop
 * that does not end, which loses nothing, since everything that was accepted is on disk.
 */
#include "node/daemon.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include <taskworker/taskworker.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "node/access.h"
#include "node/complain.h"
#include "node/hardening.h"
#include "node/notify.h"
#include "node/options.h"
#include "node/privileges.h"
#include "node/programs.h"
#include "node/webpart.h"

/* How long a stop may take beyond the grace of the tasks: killing them and closing files is a matter of milliseconds. */
enum { STOP_OVERDUE_MS = 10000, DETACH_LEAST_US = 5000000 };

static const int watched_signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR2};

enum phase {
    PHASE_RUNNING,
    PHASE_DRAINING,
    PHASE_STOPPING,
};

struct node {
    struct config *config;
    const struct config_input *input;
    struct notify notify;
    struct identity identity;
    char *storage;          /* absolute */
    bool storage_temporary; /* remove it at the end */
    struct tw_launcher *launcher;
    struct tw_worker *worker;
    struct tw_storage *files;
    struct webpart web;
    uv_loop_t loop;
    uv_signal_t signals[ARRAY_LEN(watched_signals)];
    uv_timer_t timer;
    bool handles_open;
    bool serving;
    enum phase phase;
    enum tw_shutdown shutdown; /* how it goes down; 0 before it does */
    bool stopped;
};

static int fail(const struct tw_error *error, const char *doing)
{
    log_error("%s: %s", doing, error->message);
    return -1;
}

/* --- log --- */

static void on_library_log(enum tw_log_level level, const char *message, UNUSED void *ctx)
{
    static const enum log_level levels[] = {[TW_LOG_ERROR] = LOG_ERROR,
        [TW_LOG_WARNING] = LOG_WARNING,
        [TW_LOG_INFO] = LOG_INFO,
        [TW_LOG_DEBUG] = LOG_DEBUG};
    log_write((size_t)level < ARRAY_LEN(levels) ? levels[level] : LOG_ERROR, "%s", message);
}

/* The choices of LOG_LEVEL stand in the order of both enums, those of LOG_FORMAT in the order of enum log_format. */
static void apply_log_settings(const struct config *c)
{
    log_set_output(STDERR_FILENO, (enum log_format)config_number(c, SETTING_LOG_FORMAT));
    log_set_level((enum log_level)config_number(c, SETTING_LOG_LEVEL));
    tw_log_set_level((enum tw_log_level)config_number(c, SETTING_LOG_LEVEL));
}

/* The choices are those of enum tw_network behind DEFAULT, in its order. */
static void log_config_warnings(const struct node *node)
{
    const struct config *c = node->config;
    for (enum setting_id id = 0; id < SETTING_MAX; id++) {
        if (setting_get(id)->group == GROUP_LATER && config_given(c, id) && strncmp(c->values[id].where, "as ", 3) != 0)
            log_warning("%s is set (%s), but has no effect in this version", setting_get(id)->key, c->values[id].where);
    }
    if (config_number(c, SETTING_DEV))
        log_warning(
            "DEVELOPMENT MODE (--dev): no authentication; do not use this for anything that matters. State is in "
            "%s%s",
            node->storage, node->storage_temporary ? ", which is removed at the end" : "");
    if (!setting_host_is_loopback(config_text(c, SETTING_GRPC_HOST)) && !config_text(c, SETTING_TLS_CERT))
        log_warning("INSECURE: listening on %s without encryption (--insecure-listen): tokens go there in plain text",
            config_text(c, SETTING_GRPC_HOST));
    if (option_network(c, SETTING_MAX_TASK_NETWORK) == TW_NETWORK_HOST)
        log_warning("MAX_TASK_NETWORK is host (%s): tasks can reach all that this machine reaches, its services on "
                    "loopback and this node's own port included",
            c->values[SETTING_MAX_TASK_NETWORK].where);
    if (!node->input->root && config_given(c, SETTING_WORKER_USER))
        log_warning("WORKER_USER is set (%s), but has no effect: only root can become somebody else",
            c->values[SETTING_WORKER_USER].where);
    if (node->input->root && node->identity.uid == 0)
        log_warning("this user namespace maps nobody but root: the worker stays what it is");
}

/* --- start --- */

static int prepare_storage(struct node *node)
{
    struct tw_error error = {0};
    char absolute[PATH_MAX];
    const char *path = config_text(node->config, SETTING_STORAGE_PATH);
    if (!path) {
        if (storage_make_temporary(&node->identity, &node->storage, &error) < 0)
            return fail(&error, "cannot start");
        node->storage_temporary = true;
        return 0;
    }
    if (storage_prepare(path, &node->identity, &error) < 0)
        return fail(&error, "cannot start");
    node->storage = strdup(realpath(path, absolute) ? absolute : path);
    if (!node->storage)
        log_error("cannot start: out of memory");
    return node->storage ? 0 : -1;
}

/* NULL: no memory, which has been said. */
static char *path_of_files(const struct node *node)
{
    char *path = NULL;
    if (asprintf(&path, "%s/storage", node->storage) >= 0)
        return path;
    log_error("cannot start: out of memory");
    return NULL;
}

static int start_launcher(struct node *node)
{
    struct tw_error error = {0};
    const struct config *c = node->config;
    CLEANUP_FREE char *functions = NULL;
    CLEANUP_FREE char *files = path_of_files(node);
    if (!files || programs_read_functions(c, &functions) < 0)
        return -1;
    struct tw_launcher_options options = {
        .size = sizeof options,
        .libexec_dir = config_text(c, SETTING_LIBEXEC_DIR),
        .max_slots = NODE_SLOTS_MAX,
        .slot_uid_base = (uint32_t)config_number(c, SETTING_SLOT_UID_BASE),
        .python = config_text(c, SETTING_PYTHON),
        .python_cold = !config_number(c, SETTING_PYTHON_WARM),
        .python_preload = config_text(c, SETTING_PYTHON_PRELOAD),
        .sandbox_paths = config_text(c, SETTING_SANDBOX_PATHS),
        .sandbox_root = config_text(c, SETTING_SANDBOX_ROOT),
        .functions = functions,
        .storage_path = files,
    };
    if (tw_launcher_start(&options, &node->launcher, &error) < 0)
        return fail(&error, "cannot start the launcher of sandboxes");
    return 0;
}

static int settle_process(struct node *node)
{
    struct tw_error error = {0};
    char threads[24];
    (void)umask(077); /* from here on: the folders above the storage folder may be anybody's */
    (void)signal(SIGPIPE, SIG_IGN);
    process_raise_file_limit();
    snprintf(threads, sizeof threads, "%llu", (unsigned long long)config_number(node->config, SETTING_MAX_WORKERS));
    if (setenv("UV_THREADPOOL_SIZE", threads, 1) < 0) {
        log_error("cannot start: out of memory");
        return -1;
    }
    if (node->input->root && privileges_drop(&node->identity, &error) < 0)
        return fail(&error, "cannot give up root");
    process_forbid_core_dumps();
    if (access(node->storage, R_OK | W_OK | X_OK) < 0) {
        log_error("cannot start: uid %u cannot use STORAGE_PATH %s: %s; check the rights of the folders above it",
            (unsigned)node->identity.uid, node->storage, strerror(errno));
        return -1;
    }
    return 0;
}

static void on_stopped(void *ctx)
{
    struct node *node = ctx;
    node->stopped = true;
    uv_stop(&node->loop);
}

/* --- shutdown --- */

static void tell_manager(const struct node *node, const char *text)
{
    int r = notify_send(&node->notify, "%s", text);
    if (r < 0)
        log_warning("cannot tell the service manager how it goes: %s", strerror(-r));
}

static uint64_t stop_deadline_ms(const struct node *node)
{
    return config_number(node->config, SETTING_STOP_GRACE) / 1000 + STOP_OVERDUE_MS;
}

static void on_stop_overdue(uv_timer_t *timer)
{
    log_error("stopping took longer than %.3g s: giving up; nothing is lost, the next start tidies up",
        (double)stop_deadline_ms(timer->data) / 1000);
    _exit(1);
}

static void stop_now(struct node *node, const char *why)
{
    if (node->phase == PHASE_STOPPING)
        return;
    web_set_ready(node->web.web, false);
    node->phase = PHASE_STOPPING;
    node->shutdown = TW_SHUTDOWN_STOP;
    log_info("stopping all tasks: %s", why);
    tell_manager(node, "STOPPING=1\nSTATUS=Stopping all tasks");
    uv_timer_start(&node->timer, on_stop_overdue, stop_deadline_ms(node), 0);
    tw_worker_shutdown(node->worker, TW_SHUTDOWN_STOP);
}

static void on_drain_overdue(uv_timer_t *timer)
{
    stop_now(timer->data, "the time to drain (DRAIN_TIMEOUT) is over");
}

/* At most for so long; 0: DRAIN_TIMEOUT. */
static void drain(struct node *node, const char *why, uint64_t us)
{
    us = us ? us : config_number(node->config, SETTING_DRAIN_TIMEOUT);
    if (us == 0) {
        stop_now(node, why);
        return;
    }
    web_set_ready(node->web.web, false);
    node->phase = PHASE_DRAINING;
    if (!node->serving)
        log_info("%s; closing (a task that was begun may go on for %g s)", why, (double)us / (double)SEC);
    else
        log_info("draining: %s; running tasks may go on for %g s (the signal again stops them now), %s", why,
            (double)us / (double)SEC,
            node->storage_temporary ? "queued ones are dropped with the temporary folder"
                                    : "queued ones stay for the next start");
    tell_manager(node, "STOPPING=1\nSTATUS=Waiting for running tasks");
    uv_timer_start(&node->timer, on_drain_overdue, (us + 999) / 1000, 0);
    tw_worker_shutdown(node->worker, TW_SHUTDOWN_DRAIN);
}

/* Leaving them is a matter of milliseconds, which it has even with a DRAIN_TIMEOUT of 0; what ends meanwhile has the time of a drain. */
static void detach(struct node *node, const char *why)
{
    uint64_t us = MAX(config_number(node->config, SETTING_DRAIN_TIMEOUT), (uint64_t)DETACH_LEAST_US);
    web_set_ready(node->web.web, false);
    node->phase = PHASE_DRAINING;
    log_info("detaching: %s; running tasks go on, and wait %.6g s for the next start of this node", why,
        (double)config_number(node->config, SETTING_DETACH_TIMEOUT) / (double)SEC);
    tell_manager(node, "STOPPING=1\nSTATUS=Leaving running tasks to the next start");
    uv_timer_start(&node->timer, on_drain_overdue, (us + 999) / 1000, 0);
    tw_worker_shutdown(node->worker, TW_SHUTDOWN_DETACH);
}

/* As SHUTDOWN_MODE says, whose choices stand in the order of enum tw_shutdown, unless `how` says something else. */
static void shut_down(struct node *node, const char *why, enum tw_shutdown how, uint64_t drain_us)
{
    if (!how)
        how = (enum tw_shutdown)(config_number(node->config, SETTING_SHUTDOWN_MODE) + TW_SHUTDOWN_DRAIN);
    if (how == TW_SHUTDOWN_DETACH && node->storage_temporary) {
        log_warning("running tasks cannot be left to the next start: the storage folder is temporary");
        how = TW_SHUTDOWN_DRAIN;
    }
    node->shutdown = how;
    if (how == TW_SHUTDOWN_STOP)
        stop_now(node, why);
    else if (how == TW_SHUTDOWN_DETACH)
        detach(node, why);
    else
        drain(node, why, drain_us);
}

static bool hurries(const struct node *node, enum tw_shutdown how)
{
    return node->phase == PHASE_RUNNING || (node->phase == PHASE_DRAINING && how > node->shutdown);
}

static struct tw_shutdown_answer on_shutdown_request(void *ctx, enum tw_shutdown how, uint64_t drain_us)
{
    struct node *node = ctx;
    if (hurries(node, how))
        shut_down(node, "a client has asked for it", how, drain_us);
    return (struct tw_shutdown_answer){.how = node->shutdown, .forgets_queued = node->storage_temporary};
}

/* --- reload --- */

/* Moves the values that can change over to the running configuration, and says so. Returns how many changed. */
static size_t take_changes(struct node *node, struct config *fresh)
{
    size_t taken = 0;
    for (enum setting_id id = 0; id < SETTING_MAX; id++) {
        struct setting_value *now = &node->config->values[id], *then = &fresh->values[id];
        if (config_equal(node->config, fresh, id))
            continue;
        if (setting_get(id)->group == GROUP_LATER)
            continue;
        if (!setting_get(id)->reload) {
            log_warning("%s is now \"%s\" (%s); it stays \"%s\" until the next start", setting_get(id)->key,
                then->text ? then->text : "", then->where, now->text ? now->text : "");
            continue;
        }
        log_info("%s changes from \"%s\" to \"%s\" (%s)", setting_get(id)->key, now->text ? now->text : "",
            then->text ? then->text : "", then->where);
        struct setting_value old = *now;
        *now = *then;
        *then = old;
        taken++;
    }
    return taken;
}

/* Apart from the settings: the files may be new where their names are not. */
static void reload_tls(struct node *node)
{
    struct tw_error error = {0};
    if (!config_text(node->config, SETTING_TLS_CERT))
        return;
    if (tw_worker_reload_tls(node->worker, &error) < 0)
        log_error("reload: TLS stays as it was: %s", error.message);
    else
        log_info("reload: the files of TLS were read again, for connections from now on");
}

static void reload(struct node *node)
{
    struct config fresh;
    struct config_errors errors;
    struct tw_worker_options options;
    struct tw_storage_options files;
    (void)notify_send(&node->notify, "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)clock_monotonic_us());
    config_errors_init(&errors);
    if (config_load(node->input, &fresh, &errors) < 0) {
        complain_of_errors(&errors);
        log_error("reload: %zu %s in the configuration; everything stays as it was", errors.count,
            errors.count == 1 ? "mistake" : "mistakes");
    } else {
        size_t changed = take_changes(node, &fresh);
        apply_log_settings(node->config);
        options_of_worker(node->config, node->storage, &options);
        tw_worker_reload(node->worker, &options);
        options_of_files(node->config, &files);
        tw_storage_reload(node->files, &files);
        log_info("reload: %zu %s changed", changed, changed == 1 ? "setting" : "settings");
    }
    config_done(&fresh);
    config_errors_done(&errors);
    reload_tls(node);
    tell_manager(node, "READY=1");
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct node *node = handle->data;
    const char *name = number == SIGINT ? "SIGINT" : "SIGTERM";
    if (number == SIGHUP && node->phase == PHASE_RUNNING)
        reload(node);
    else if (number == SIGHUP)
        log_info("SIGHUP is ignored while the node shuts down");
    else if (number == SIGUSR2 && hurries(node, TW_SHUTDOWN_DETACH))
        shut_down(node, "SIGUSR2", TW_SHUTDOWN_DETACH, 0);
    else if (number == SIGUSR2)
        log_info("SIGUSR2 is ignored: the node is stopping its tasks already, or leaving them");
    else if (node->phase == PHASE_RUNNING)
        shut_down(node, name, 0, 0);
    else
        stop_now(node, name);
}

/* --- the life of a node --- */

static int complain_of_port(const struct node *node, const struct tw_error *error)
{
    unsigned port = (unsigned)config_number(node->config, SETTING_GRPC_PORT);
    fail(error, "cannot serve");
    if (error->code == TW_PERMISSION_DENIED && config_text(node->config, SETTING_TLS_KEY))
        log_error("the files of TLS are read by uid %u, which the worker runs as", (unsigned)node->identity.uid);
    if (strstr(error->message, strerror(EADDRINUSE)))
        log_error("port %u is another program's, or another node's (who holds it: ss -ltnp 'sport = :%u'); choose "
                  "another with --grpc-port (0: any free one)",
            port, port);
    return -1;
}

/* After the worker has the storage folder for itself. */
static int open_files(struct node *node)
{
    struct tw_error error = {0};
    struct tw_storage_options options;
    CLEANUP_FREE char *path = path_of_files(node);
    if (!path)
        return -1;
    options_of_files(node->config, &options);
    options.path = path;
    if (tw_storage_open(&options, &node->files, &error) < 0)
        return fail(&error, "cannot start");
    tw_worker_set_storage(node->worker, node->files);
    return 0;
}

static int start_worker(struct node *node)
{
    struct tw_error error = {0};
    struct tw_worker_options options;
    options_of_worker(node->config, node->storage, &options);
    options.loop = &node->loop;
    options.launcher = STEAL(node->launcher); /* the worker's, whatever comes of it */
    if (tw_worker_new(&options, &node->worker, &error) < 0)
        return fail(&error, "cannot start");
    tw_worker_set_on_stopped(node->worker, on_stopped, node);
    tw_worker_set_on_shutdown_request(node->worker, on_shutdown_request, node);
    if (open_files(node) < 0)
        return -1;
    if (!config_number(node->config, SETTING_DEV) && access_begin(node->config, node->storage, node->worker) < 0)
        return -1;
    if (hardening_enter(&error) < 0)
        return fail(&error, "cannot start");
    struct tw_rpc_options rpc;
    options_of_rpc(node->config, &rpc);
    if (tw_worker_listen(node->worker, &rpc, &error) < 0)
        return complain_of_port(node, &error);
    if (webpart_begin(&node->web, node->config, &node->loop, node->worker, node->storage) < 0)
        return -1;
    if (access_show_first(node->storage, node->worker) < 0)
        return -1;
    node->serving = true;
    return 0;
}

static int open_handles(struct node *node)
{
    int r = uv_loop_init(&node->loop);
    if (r < 0) {
        log_error("cannot start: no event loop: %s", uv_strerror(r));
        return -1;
    }
    node->handles_open = true;
    uv_timer_init(&node->loop, &node->timer);
    node->timer.data = node;
    for (size_t i = 0; i < ARRAY_LEN(watched_signals); i++) {
        uv_signal_init(&node->loop, &node->signals[i]);
        node->signals[i].data = node;
        int failed = uv_signal_start(&node->signals[i], on_signal, watched_signals[i]);
        if (failed)
            log_error("cannot start: signal %d cannot be watched: %s", watched_signals[i], uv_strerror(failed));
        r = r ? r : failed;
    }
    return r ? -1 : 0;
}

static void close_handles(struct node *node)
{
    if (!node->handles_open)
        return;
    uv_close((uv_handle_t *)&node->timer, NULL);
    for (size_t i = 0; i < ARRAY_LEN(watched_signals); i++)
        uv_close((uv_handle_t *)&node->signals[i], NULL);
    /* What is being closed needs some rounds; more than these means that a handle was forgotten. */
    for (int i = 0; i < 100 && uv_run(&node->loop, UV_RUN_NOWAIT); i++)
        ;
    if (uv_loop_close(&node->loop) < 0)
        log_debug("some handles of the event loop were still open at the end");
    node->handles_open = false;
}

static int resolve_identity(struct node *node)
{
    struct tw_error error = {0};
    const char *user = config_text(node->config, SETTING_WORKER_USER);
    node->identity = (struct identity){.uid = geteuid(), .gid = getegid()};
    if (node->input->root && user && privileges_resolve(user, &node->identity, &error) < 0)
        return fail(&error, "cannot start");
    return 0;
}

static int start(struct node *node)
{
    if (resolve_identity(node) < 0)
        return -1;
    if (programs_check(node->config) < 0 || prepare_storage(node) < 0)
        return -1;
    log_config_warnings(node);
    if (start_launcher(node) < 0 || settle_process(node) < 0 || open_handles(node) < 0)
        return -1;
    return start_worker(node);
}

static void log_ready(const struct node *node, uint64_t started)
{
    const struct config *c = node->config;
    const char *warning, *host = config_text(c, SETTING_GRPC_HOST);
    bool v6 = strchr(host, ':');
    for (size_t i = 0; (warning = tw_worker_warning(node->worker, i)); i++)
        log_warning("%s", warning);
    log_info("ready: listening on %s%s%s:%u%s as %s, %llu tasks at once, state in %s, started in %.1f ms",
        v6 ? "[" : "", host, v6 ? "]" : "", (unsigned)tw_worker_rpc_port(node->worker),
        config_text(c, SETTING_TLS_CERT) ? " with TLS" : "", config_text(c, SETTING_NODE_ID),
        (unsigned long long)config_number(c, SETTING_MAX_CONCURRENT_TASKS), node->storage,
        (double)(clock_monotonic_us() - started) / 1000.0);
    tell_manager(node, "READY=1\nSTATUS=Taking tasks");
}

/* A worker that exists but cannot serve goes down in order; what it may have begun to run gets the time of a drain. */
static void give_up(struct node *node)
{
    if (!node->worker)
        return;
    drain(node, "the start failed", 0);
    uv_run(&node->loop, UV_RUN_DEFAULT);
}

static void finish(struct node *node)
{
    webpart_end(&node->web, &node->loop);
    tw_worker_free(node->worker);
    tw_storage_close(node->files);
    tw_launcher_free(node->launcher);
    close_handles(node);
    notify_done(&node->notify);
    if (node->storage_temporary)
        storage_remove(node->storage);
    free(node->storage);
    tw_log_set_handler(NULL, NULL);
}

int daemon_run(struct config *config, const struct config_input *input)
{
    uint64_t started = clock_monotonic_us();
    struct node node = {.config = config, .input = input, .notify = {.fd = -1}};
    tw_log_set_handler(on_library_log, NULL);
    apply_log_settings(config);
    log_info("hivemind-worker %s starts%s%s", HIVEMIND_VERSION, config->file ? ", configured by " : "",
        config->file ? config->file : "");
    int r = notify_init(&node.notify);
    if (r < 0)
        log_warning("cannot reach the service manager ($NOTIFY_SOCKET): %s", strerror(-r));
    if (start(&node) < 0) {
        give_up(&node);
        finish(&node);
        return 1;
    }
    log_ready(&node, started);
    uv_run(&node.loop, UV_RUN_DEFAULT);
    if (!node.stopped) {
        log_error("the event loop ended without having been told to");
        _exit(1);
    }
    const char *failure = tw_worker_failure(node.worker); /* which the log has said */
    bool failed = failure;
    if (failed)
        complain_of_setting(config, failure);
    finish(&node);
    log_info("stopped");
    return failed ? 1 : 0;
}

int daemon_reset_admin(struct config *config, const struct config_input *input)
{
    struct node node = {.config = config, .input = input, .notify = {.fd = -1}};
    if (!config_text(config, SETTING_STORAGE_PATH)) {
        log_error("--reset-admin needs the storage folder of a node: with --dev there are no accounts");
        return 1;
    }
    apply_log_settings(config);
    int r = resolve_identity(&node) < 0 || prepare_storage(&node) < 0 || settle_process(&node) < 0
        ? -1
        : access_reset_admin(node.storage);
    free(node.storage);
    return r < 0 ? 1 : 0;
}
