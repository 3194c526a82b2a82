/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One attempt of one task, from run_start to `ended`. A run is over when three things are known: how it ended (the slot
 * said so, or was lost), that its pipes have reached their end, and that the last of its processes is dead; the slot vouches
 * for that when it reports an exit, and a pidfd of the task's pid 1 does where the slot is lost. `ended` is always told from
 * the loop's next round, so that no callback runs inside another.
 */
#include "exec/pool.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"
#include "exec/run_limits.h"
#include "slot/function_source.h"

/* Where the spec sets no limit: what a plan can hold. */
static const uint64_t no_limit = UINT64_C(1) << 49;

static uint64_t limit_or_none(uint64_t limit, uint64_t none)
{
    return limit && limit < none ? limit : none;
}

static const unsigned next_states[RUN_STATE_MAX] = {
    [RUN_IS_WAITING] = 1u << RUN_IS_PREPARING | 1u << RUN_IS_DRAINING,
    [RUN_IS_PREPARING] = 1u << RUN_IS_READY | 1u << RUN_IS_DRAINING,
    [RUN_IS_READY] = 1u << RUN_IS_RUNNING | 1u << RUN_IS_DRAINING,
    [RUN_IS_RUNNING] = 1u << RUN_IS_DRAINING,
    [RUN_IS_DRAINING] = 1u << RUN_IS_ENDED,
};

void run_move(struct sandbox_run *run, enum run_state to)
{
    assert(next_states[run->state] & 1u << to);
    run->state = to;
}

/* --- making one --- */

static bool kind_of(const char *type, enum plan_kind *ret)
{
    *ret = !strcmp(type, "shell")         ? PLAN_SHELL
        : !strcmp(type, "package")        ? PLAN_PACKAGE
        : !strcmp(type, RUN_REQUIREMENTS) ? PLAN_REQUIREMENTS
                                          : PLAN_PYTHON;
    return *ret != PLAN_PYTHON || !strcmp(type, "python") || !strcmp(type, "function");
}

static bool is_warm(const struct sandbox_run *run, const struct run_spec *spec)
{
    return run->sandbox->launcher->warm && !spec->fresh_interpreter;
}

static struct slot_shape shape_of(const struct sandbox_run *run, const struct run_spec *spec)
{
    uint64_t tmp = limit_or_none(spec->limits.tmp_bytes, no_limit);
    return (struct slot_shape){
        .tmp_bytes = tmp,
        .shm_bytes = tmp,
        .workspace_bytes = limit_or_none(spec->limits.workspace_bytes, no_limit),
        .network = spec->network == TW_NETWORK_DEFAULT ? TW_NETWORK_NONE : spec->network,
        .gpu_minors = spec->gpu_minors,
        .inputs = spec->inputs,
        .environment = spec->environment,
        .outputs = spec->n_outputs > 0,
        .runtime = run->kind == PLAN_SHELL ? TW_RUNTIME_SHELL
            : is_warm(run, spec)           ? TW_RUNTIME_PYTHON_WARM
                                           : TW_RUNTIME_PYTHON_FRESH,
    };
}

static struct plan_limits plan_limits_of(const struct sandbox_run *run, const struct tw_limits *limits)
{
    /* Where the group counts processes it is to be the one that says no, since it also tells of it. */
    bool counted = launcher_group_layers(run->sandbox->launcher) & UINT64_C(1) << TW_LAYER_CGROUP_PIDS;
    return (struct plan_limits){
        .open_files = limit_or_none(limits->open_files, 1024 * 1024),
        .file_bytes = limit_or_none(limits->file_bytes, no_limit),
        .processes = limit_or_none(limits->processes + (counted && limits->processes ? 8 : 0), 4 * 1024 * 1024),
        /* A second more, which is for who counts all processes together to find out first. */
        .cpu_seconds = limits->cpu_time_us ? limits->cpu_time_us / 1000000 + 2 : 0,
    };
}

/* The task's source as a memfd, or -errno. */
static int make_source(const struct sandbox_run *run, const struct run_spec *spec)
{
    CLEANUP_BUF struct buf source = BUF_INIT(SIZE_MAX / 2);
    if (strcmp(spec->type, "function") != 0)
        return fd_sealed_memfd("source", spec->data, spec->data_len);
    function_source(is_warm(run, spec) ? NULL : run->sandbox->launcher->functions, spec->data, spec->data_len, &source);
    return source.error ? source.error : fd_sealed_memfd("source", source.data, source.len);
}

/* Encodes the plan and copies the source. 0 also where the input is at fault: then the run ends with that. */
static int make_files(struct sandbox_run *run, const struct run_spec *spec, struct tw_error *error)
{
    CLEANUP_FREE struct plan_env *env = calloc(spec->n_env + 1, sizeof *env);
    CLEANUP_BUF struct buf raw = BUF_INIT(2 * (size_t)PLAN_BYTES_MAX);
    if (!env)
        return error_oom(error);
    for (size_t i = 0; i < spec->n_env; i++)
        env[i] = (struct plan_env){.name = spec->env[i].name, .value = spec->env[i].value};
    struct plan plan = {
        .kind = run->kind,
        .limits = plan_limits_of(run, &spec->limits),
        .task_id = spec->task_id,
        .args = spec->args,
        .n_args = spec->n_args,
        .env = env,
        .n_env = spec->n_env,
        .outputs = spec->outputs,
        .n_outputs = spec->n_outputs,
    };
    enum plan_error bad = plan_encode(&plan, &raw);
    if (bad == PLAN_NO_MEMORY)
        return error_oom(error);
    if (bad) {
        run_failed(run, RUN_BAD_INPUT, "the task cannot be run: %s", plan_error_to_string(bad));
        return 0;
    }
    run->plan_fd = fd_sealed_memfd("plan", raw.data, raw.len);
    if (run->plan_fd < 0)
        return error_set_errno(error, run->plan_fd, "cannot make the task's plan");
    run->source_fd = make_source(run, spec);
    if (run->source_fd < 0)
        return error_set_errno(error, run->source_fd, "cannot copy the task's source");
    return 0;
}

void run_free(struct sandbox_run *run)
{
    fd_close(&run->plan_fd);
    fd_close(&run->source_fd);
    fd_close(&run->pidfd);
    free(run->owner);
    free(run->task_id);
    buf_done(&run->tail);
    result_reader_done(&run->reader);
    list_remove(&run->in_all);
    list_remove(&run->in_queue);
    free(run);
}

struct sandbox_run *run_new(
    struct sandbox *s, const struct run_spec *spec, const struct run_events *events, void *ctx, struct tw_error *error)
{
    struct sandbox_run *run = calloc(1, sizeof *run);
    if (!run) {
        error_oom(error);
        return NULL;
    }
    *run = (struct sandbox_run){
        .base = {.rt = &s->rt},
        .sandbox = s,
        .events = *events,
        .ctx = ctx,
        .serial = s->next_serial++,
        .plan_fd = -1,
        .source_fd = -1,
        .pidfd = -1,
        .limits = spec->limits,
        .max_tail = MIN(spec->max_result, (size_t)RUN_TAIL_MAX),
    };
    list_init(&run->in_queue);
    list_push(&s->all, &run->in_all);
    buf_init(&run->tail, 2 * (size_t)RUN_TAIL_MAX);
    result_reader_init(&run->reader, spec->max_result);
    run->owner = strdup(spec->owner ? spec->owner : "");
    run->task_id = strdup(spec->task_id ? spec->task_id : "");
    if (!run->owner || !run->task_id) {
        error_oom(error);
        run_free(run);
        return NULL;
    }
    if (!kind_of(spec->type, &run->kind)) {
        run_failed(run, RUN_BAD_INPUT, "the task cannot be run: the type must be python, shell, package or function");
    } else if (!strcmp(spec->type, "function") && spec->data_len > FUNCTION_CALL_MAX) {
        run_failed(run, RUN_BAD_INPUT, "the task cannot be run: a call has at most %d bytes", FUNCTION_CALL_MAX);
    } else if (make_files(run, spec, error) < 0) {
        run_free(run);
        return NULL;
    }
    run->shape = shape_of(run, spec);
    return run;
}

struct sandbox_run *run_taken_up(struct sandbox *s, const char *task_id, const struct run_events *events, void *ctx)
{
    CLEANUP_FREE char *id = strdup(task_id);
    struct sandbox_run *run = id ? calloc(1, sizeof *run) : NULL;
    if (!run)
        return NULL;
    *run = (struct sandbox_run){
        .base = {.rt = &s->rt},
        .sandbox = s,
        .events = *events,
        .ctx = ctx,
        .state = RUN_IS_RUNNING,
        .task_id = STEAL(id),
        .plan_fd = -1,
        .source_fd = -1,
        .pidfd = -1,
    };
    list_init(&run->in_queue);
    list_push(&s->all, &run->in_all);
    return run;
}

/* --- its output --- */

static void maybe_ended(struct sandbox_run *run)
{
    struct sandbox *s = run->sandbox;
    if (run->state != RUN_IS_DRAINING || run->pipes_open > 0 || run->pidfd_poll || run->files > 0)
        return;
    run_move(run, RUN_IS_ENDED);
    list_remove(&run->in_queue);
    list_push(&s->ended, &run->in_queue);
    sandbox_pump(s);
}

static void keep_tail(struct sandbox_run *run, const char *data, size_t len)
{
    if (len > run->max_tail) {
        data += len - run->max_tail;
        len = run->max_tail;
        buf_reset(&run->tail);
        run->tail_cut = true;
    }
    if (run->tail.len + len > run->tail.max) { /* twice what is kept, so that bytes are moved seldom */
        buf_consume(&run->tail, run->tail.len - (run->max_tail - len));
        run->tail_cut = true;
    }
    (void)buf_append(&run->tail, data, len); /* without memory the result is shorter; the log has it all */
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    struct sandbox *s = ((struct run_pipe *)handle)->run->sandbox;
    (void)suggested;
    *ret = uv_buf_init(s->io, sizeof s->io);
}

static void on_pipe_closed(uv_handle_t *handle)
{
    struct run_pipe *pipe = (struct run_pipe *)handle;
    struct sandbox_run *run = pipe->run;
    free(pipe);
    run->pipes_open--;
    maybe_ended(run);
}

static void close_pipe(struct run_pipe *pipe)
{
    pipe->run->pipes[pipe->index] = NULL;
    uv_close((uv_handle_t *)&pipe->handle, on_pipe_closed);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *data)
{
    struct run_pipe *pipe = (struct run_pipe *)stream;
    struct sandbox_run *run = pipe->run;
    if (n < 0) {
        close_pipe(pipe);
    } else if (n > 0 && pipe->which == 0) {
        result_reader_feed(&run->reader, data->base, (size_t)n);
    } else if (n > 0) {
        if (run->kind == PLAN_SHELL && pipe->which == TW_STREAM_STDOUT)
            keep_tail(run, data->base, (size_t)n);
        run->events.output(run->ctx, (enum tw_stream)pipe->which, data->base, (size_t)n);
    }
}

int run_attach_pipes(struct sandbox_run *run, int fds[RUN_PIPES])
{
    static const int which[RUN_PIPES] = {TW_STREAM_STDOUT, TW_STREAM_STDERR, 0};
    for (size_t i = 0; i < RUN_PIPES; i++) {
        struct run_pipe *pipe = fds[i] >= 0 ? calloc(1, sizeof *pipe) : NULL;
        if (fds[i] < 0)
            continue;
        if (!pipe)
            return -ENOMEM;
        pipe->run = run;
        pipe->index = i;
        pipe->which = which[i];
        int r = uv_pipe_init(run->sandbox->loop, &pipe->handle, 0);
        if (r < 0) {
            free(pipe);
            return r;
        }
        run->pipes_open++;
        run->pipes[i] = pipe;
        r = uv_pipe_open(&pipe->handle, fds[i]);
        if (r == 0) {
            fds[i] = -1;
            r = uv_read_start((uv_stream_t *)&pipe->handle, on_alloc, on_read);
        }
        if (r < 0) {
            close_pipe(pipe);
            return r;
        }
    }
    return 0;
}

void run_read_no_more(struct sandbox_run *run)
{
    for (size_t i = 0; i < RUN_PIPES; i++) {
        if (run->pipes[i])
            uv_read_stop((uv_stream_t *)&run->pipes[i]->handle);
    }
}

void run_read_on(struct sandbox_run *run)
{
    for (size_t i = 0; i < RUN_PIPES; i++) {
        if (run->pipes[i])
            (void)uv_read_start((uv_stream_t *)&run->pipes[i]->handle, on_alloc, on_read);
    }
}

void run_has_left(struct sandbox_run *run)
{
    run->left = true;
    for (size_t i = 0; i < RUN_PIPES; i++) {
        if (run->pipes[i])
            close_pipe(run->pipes[i]);
    }
    run_move(run, RUN_IS_DRAINING);
    maybe_ended(run);
}

/* --- its end --- */

void run_tell(struct sandbox_run *run, enum slot_request_type type)
{
    struct pool_slot *slot = run->slot;
    int r = pool_slot_send(slot, type);
    if (r < 0) {
        pool_slot_break(slot, strerror(-r));
        sandbox_pump(run->sandbox);
    }
}

void run_terminate(struct sandbox_run *run)
{
    if (run->state != RUN_IS_RUNNING || run->killed || run->leaving || run->collecting || !run->slot)
        return;
    if (run->paused) { /* the slot lets it go on with this */
        run->paused = false;
        run_limits_resume(run);
    }
    run_tell(run, SLOT_TERMINATE);
}

void run_pause(struct sandbox_run *run, bool paused)
{
    if (run->state != RUN_IS_RUNNING || run->killed || run->leaving || run->collecting || !run->slot ||
        run->paused == paused)
        return;
    run->paused = paused;
    if (!paused)
        run_limits_resume(run);
    run_tell(run, paused ? SLOT_PAUSE : SLOT_RESUME);
}

void run_kill(struct sandbox_run *run)
{
    if (run->killed || run->leaving || run->collecting || run->state >= RUN_IS_DRAINING)
        return;
    run->killed = true;
    if (run->slot) {
        run_tell(run, SLOT_KILL);
        return;
    }
    run->outcome = (struct run_outcome){.end = RUN_SIGNALED, .signal = SIGKILL};
    run_move(run, RUN_IS_DRAINING);
    maybe_ended(run);
}

static struct tw_usage usage_of(const struct slot_usage *u)
{
    return (struct tw_usage){
        .wall_us = u->wall_us,
        .user_us = u->user_us,
        .system_us = u->system_us,
        .max_rss_bytes = u->max_rss_bytes,
        .minor_faults = u->minor_faults,
        .major_faults = u->major_faults,
        .read_bytes = u->read_bytes,
        .written_bytes = u->written_bytes,
        .waits = u->waits,
        .preemptions = u->preemptions,
        .processes = u->processes,
        .workspace_bytes = u->workspace_bytes,
    };
}

/* What stands in for what the slot cannot know: where everything is to be had, a task has all layers. */
static uint64_t all_layers(const struct sandbox_run *run)
{
    uint64_t all = (UINT64_C(1) << TW_LAYER_MAX) - 1;
    return run->shape.network == TW_NETWORK_HOST ? all & ~(UINT64_C(1) << TW_LAYER_NETWORK_NAMESPACE) : all;
}

/* The limits that nothing here enforces are none. */
static struct tw_limits limits_in_force(const struct sandbox_run *run, uint64_t layers)
{
    struct tw_limits l = run->limits;
    if (!(layers & UINT64_C(1) << TW_LAYER_CGROUP_MEMORY))
        l.memory_bytes = 0;
    if (!(layers & UINT64_C(1) << TW_LAYER_CGROUP_CPU))
        l.cpu_millis = 0;
    return l;
}

static void fill_receipt(struct sandbox_run *run)
{
    struct tw_receipt *r = &run->outcome.receipt;
    uint64_t layers = run->layers | run->group_layers;
    if (!run->layers)
        return; /* it never came to that */
    r->runtime = (enum tw_runtime)run->shape.runtime;
    r->network = (enum tw_network)run->shape.network;
    r->layers = layers;
    r->missing = all_layers(run) & ~layers;
    r->limits = limits_in_force(run, layers);
}

void run_exited(struct sandbox_run *run, const struct slot_reply *reply)
{
    run->outcome = (struct run_outcome){
        .end = WIFEXITED(reply->status) ? RUN_EXITED : RUN_SIGNALED,
        .exit_code = WIFEXITED(reply->status) ? WEXITSTATUS(reply->status) : 0,
        .signal = WIFSIGNALED(reply->status) ? WTERMSIG(reply->status) : 0,
        .usage = usage_of(&reply->usage),
        .files_left = reply->outputs_left,
    };
    struct run_outcome *o = &run->outcome;
    o->receipt.denied = reply->denied;
    snprintf(o->receipt.denied_calls, sizeof o->receipt.denied_calls, "%.*s", (int)sizeof o->receipt.denied_calls - 1,
        reply->detail);
    if (o->signal == SIGXCPU)
        o->limit = TW_REASON_TIMEOUT_CPU;
    else if (reply->folder_full || o->signal == SIGXFSZ)
        o->limit = TW_REASON_DISK_LIMIT;
    run_move(run, RUN_IS_DRAINING);
    maybe_ended(run);
}

void run_file_kept(struct sandbox_run *run)
{
    run->files--;
    if (run->slot)
        pool_slot_read_on(run->slot);
    maybe_ended(run);
}

void run_failed(struct sandbox_run *run, enum run_end end, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(run->message.message, sizeof run->message.message, fmt, ap);
    va_end(ap);
    run->outcome = (struct run_outcome){.end = end, .message = run->message.message};
    run_move(run, RUN_IS_DRAINING);
    maybe_ended(run);
}

static void on_tree_dead(uv_poll_t *poll, int status, int events)
{
    struct sandbox_run *run = poll->data;
    (void)status;
    (void)events;
    sandbox_poll_free(&run->pidfd_poll);
    maybe_ended(run);
}

void run_lost(struct sandbox_run *run, const char *why)
{
    /* Pid 1 dies with the slot, and the rest with it; that takes a moment. */
    if (run->pidfd >= 0)
        (void)sandbox_poll_new(run->sandbox, run->pidfd, on_tree_dead, run, &run->pidfd_poll);
    run_failed(run, RUN_LOST, "the sandbox was lost under the task: %s", why ? why : "it failed");
}

/* What the task said of itself, into the outcome; `error` is freed by the caller. */
static void settle_python(struct sandbox_run *run, char **ret_error)
{
    struct result_reader *r = &run->reader;
    struct run_outcome *o = &run->outcome;
    result_reader_finish(r);
    o->result_too_large = r->too_large;
    if (o->end != RUN_EXITED)
        return;
    if (r->error.len)
        *ret_error = text_printable(r->error.data, r->error.len, RUN_ERROR_MAX, true);
    if (r->flaw) {
        o->bad_result = true;
        snprintf(run->message.message, sizeof run->message.message, "the task's result cannot be used: %s",
            result_flaw_to_string(r->flaw));
        o->message = run->message.message;
        if (!*ret_error)
            *ret_error = text_dup(run->message.message, strlen(run->message.message));
    } else if (r->result.len) {
        o->result = r->result.data;
        o->result_len = r->result.len;
    } else if (!r->too_large) {
        o->result = "null"; /* os._exit and the like */
        o->result_len = 4;
    }
}

static void settle_shell(struct sandbox_run *run)
{
    struct buf *tail = &run->tail;
    if (tail->len > run->max_tail) {
        buf_consume(tail, tail->len - run->max_tail);
        run->tail_cut = true;
    }
    /* Not from within a character. */
    size_t skip = 0;
    while (run->tail_cut && skip < MIN(tail->len, (size_t)3) && (tail->data[skip] & 0xc0) == 0x80)
        skip++;
    buf_consume(tail, skip);
    if (run->outcome.end == RUN_EXITED) {
        run->outcome.result = tail->len ? (const void *)tail->data : "";
        run->outcome.result_len = tail->len;
    }
}

void run_deliver(struct sandbox_run *run)
{
    CLEANUP_FREE char *error = NULL;
    if (run->left) {
        run->events.left(run->ctx);
        run_free(run);
        return;
    }
    if (run->kind != PLAN_SHELL)
        settle_python(run, &error);
    else
        settle_shell(run);
    run->outcome.error = error;
    run_limits_settle(run);
    fill_receipt(run);
    list_remove(&run->in_all);
    list_remove(&run->in_queue);
    run->events.ended(run->ctx, &run->outcome);
    run_free(run);
}
