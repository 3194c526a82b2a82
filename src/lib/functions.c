/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/functions.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/timer.h"
#include "base/util.h"
#include "lib/threads.h"

enum { NAME_BYTES_MAX = 256, THREADS_MAX = TW_FUNCTIONS_AT_ONCE };

struct function {
    char *name;
    tw_function *call;
    void *ctx;
};

struct functions {
    struct runtime rt;
    uv_loop_t *loop;
    struct runtime *below;
    struct map known; /* struct function, by name */
    struct list runs;
    struct threads *threads;
    bool closing;
    void (*closed)(void *ctx);
    void *closed_ctx;
};

struct function_run {
    struct run base;
    struct functions *functions;
    struct list link;
    struct run_events events;
    void *ctx;
    const struct function *function; /* NULL: there is none of this name */
    struct tw_function_call call;    /* of what is below */
    char *task_id, *owner, *args, *kwargs;
    uv_timer_t *soon; /* what is to be told is told from the loop, never from within a call of the engine's */
    struct job job;
    bool added, over, killed;
    uint64_t begun_us;
    size_t max_result;
    /* Of the thread while it works. */
    int returned;
    char *result;
    struct tw_error error;
};

static struct functions *functions_of(const struct runtime *rt)
{
    return CONTAINER_OF(rt, struct functions, rt);
}

static struct function_run *run_of(struct run *run)
{
    return CONTAINER_OF(run, struct function_run, base);
}

/* --- its end --- */

static void close_if_idle(struct functions *f);

static void finish(struct function_run *run, const struct run_outcome *outcome)
{
    struct functions *f = run->functions;
    timer_free(&run->soon);
    list_remove(&run->link);
    run->events.ended(run->ctx, outcome);
    free(run->task_id);
    free(run->owner);
    free(run->args);
    free(run->kwargs);
    free(run->result);
    free(run);
    close_if_idle(f);
}

static struct tw_receipt receipt_of(void)
{
    /* Nothing stands between it and the node: every layer is missing. */
    return (struct tw_receipt){.missing = (UINT64_C(1) << TW_LAYER_MAX) - 1};
}

static void settle(struct function_run *run)
{
    const char *result = run->result ? run->result : "null";
    struct run_outcome o = {
        .end = RUN_EXITED,
        .receipt = receipt_of(),
        .usage = {.wall_us = clock_monotonic_us() - run->begun_us},
    };
    if (run->killed) {
        o.end = RUN_SIGNALED;
        o.signal = SIGKILL;
    } else if (run->returned < 0) {
        o.exit_code = 1;
        o.error = run->error.message;
    } else if (strlen(result) > run->max_result) {
        o.result_too_large = true;
    } else if (!json_is_valid(result, strlen(result))) {
        o.bad_result = true;
        o.message = "what the function returned is not JSON";
    } else {
        o.result = result;
        o.result_len = strlen(result);
    }
    finish(run, &o);
}

/* --- its way --- */

static void on_work(struct job *job)
{
    struct function_run *run = CONTAINER_OF(job, struct function_run, job);
    run->returned = run->function->call(run->function->ctx, &run->call, &run->result, &run->error);
}

static void on_worked(struct job *job)
{
    settle(CONTAINER_OF(job, struct function_run, job));
}

static void on_soon(uv_timer_t *timer)
{
    struct function_run *run = timer->data;
    const struct run_outcome unknown = {
        .end = RUN_BAD_INPUT, .message = "task_data names no function that there is here"};
    if (run->killed || run->over)
        settle(run);
    else if (!run->function)
        finish(run, &unknown);
    else
        run->events.ready(run->ctx);
}

static void op_go(struct run *base)
{
    struct function_run *run = run_of(base);
    if (run->killed)
        return;
    run->begun_us = clock_monotonic_us();
    run->job = (struct job){.work = on_work, .done = on_worked};
    int r = threads_add(run->functions->threads, &run->job);
    run->added = r == 0;
    if (run->added)
        return;
    run->over = true;
    run->returned = -1;
    error_set_errno(&run->error, r, "no thread can be started for the function");
    uv_timer_start(run->soon, on_soon, 0, 0);
}

static void op_kill(struct run *base)
{
    struct function_run *run = run_of(base);
    if (run->killed)
        return;
    run->killed = true;
    /* One that has begun ends when it returns: nothing can interrupt it. */
    if (!run->added || threads_cancel(run->functions->threads, &run->job))
        uv_timer_start(run->soon, on_soon, 0, 0);
}

/* The data of such a task: {"function": NAME, "args": [...], "kwargs": {...}}, in parts of its text. */
struct call_data {
    char *name; /* NULL: there is none, or the data is no such object */
    struct json_slice args, kwargs;
};

/* NULL: it is no string. One with a NUL in it is nobody's name, and none of the parts that are looked for. */
static char *string_of(struct json_slice slice)
{
    json_t *value = json_loadb(slice.text, slice.len, JSON_DECODE_ANY, NULL);
    const char *text = json_string_value(value);
    char *copy = text ? strdup(text) : NULL;
    json_decref(value);
    return copy;
}

/* The values go to the function as they stand. Of two members with the same name the last one counts, as in Python. */
static struct call_data parse(const struct run_spec *spec)
{
    struct call_data d = {.args = {"[]", 2}, .kwargs = {"{}", 2}};
    struct json_walk walk;
    struct json_slice name, value;
    if (!json_walk_object(spec->data, spec->data_len, &walk))
        return d;
    while (json_walk_next(&walk, &name, &value)) {
        CLEANUP_FREE char *key = string_of(name);
        if (key && !strcmp(key, "args")) {
            d.args = value;
        } else if (key && !strcmp(key, "kwargs")) {
            d.kwargs = value;
        } else if (key && !strcmp(key, "function")) {
            free(d.name);
            d.name = string_of(value);
        }
    }
    if (*d.args.text != '[' || *d.kwargs.text != '{')
        free(STEAL(d.name));
    return d;
}

static struct run *begin(struct functions *f, const struct function *function, const struct call_data *data,
    const struct run_spec *spec, const struct run_events *events, void *ctx)
{
    struct function_run *run = calloc(1, sizeof *run);
    if (!run)
        return NULL;
    *run = (struct function_run){
        .base = {.rt = &f->rt},
        .functions = f,
        .events = *events,
        .ctx = ctx,
        .function = function,
        .max_result = spec->max_result,
        .task_id = strdup(spec->task_id),
        .owner = strdup(spec->owner ? spec->owner : ""),
        .args = strndup(data->args.text, data->args.len),
        .kwargs = strndup(data->kwargs.text, data->kwargs.len),
        .soon = timer_new(f->loop, run),
    };
    list_push(&f->runs, &run->link);
    run->call = (struct tw_function_call){.name = function ? function->name : "",
        .args = run->args,
        .kwargs = run->kwargs,
        .owner = run->owner,
        .task_id = run->task_id};
    if (run->task_id && run->owner && run->args && run->kwargs && run->soon) {
        uv_timer_start(run->soon, on_soon, 0, 0);
        return &run->base;
    }
    timer_free(&run->soon);
    list_remove(&run->link);
    free(run->task_id);
    free(run->owner);
    free(run->args);
    free(run->kwargs);
    free(run);
    return NULL;
}

/* --- the runtime --- */

static bool op_serves(const struct runtime *rt, const char *type)
{
    const struct functions *f = functions_of(rt);
    return (f->known.count > 0 && !strcmp(type, "function")) || f->below->ops->serves(f->below, type);
}

static struct run *op_start(
    struct runtime *rt, const struct run_spec *spec, const struct run_events *events, void *ctx, struct tw_error *error)
{
    struct functions *f = functions_of(rt);
    struct call_data data = {0};
    bool ours = f->known.count > 0 && !strcmp(spec->type, "function");
    if (ours)
        data = parse(spec);
    const struct function *function = data.name ? map_get(&f->known, data.name) : NULL;
    free(STEAL(data.name));
    if (!function && (!ours || f->below->ops->serves(f->below, spec->type)))
        return f->below->ops->start(f->below, spec, events, ctx, error);
    struct run *run = f->closing ? NULL : begin(f, function, &data, spec, events, ctx);
    if (!run && !f->closing)
        error_oom(error);
    else if (!run)
        error_set(error, TW_UNAVAILABLE, "the node is closing");
    return run;
}

static void op_resize(struct runtime *rt, unsigned slots)
{
    struct runtime *below = functions_of(rt)->below;
    below->ops->resize(below, slots);
}

static void op_detach(
    struct runtime *rt, uint32_t seconds, void (*done)(void *ctx, const struct tw_error *error), void *ctx)
{
    struct runtime *below = functions_of(rt)->below;
    below->ops->detach(below, seconds, done, ctx);
}

static struct run *op_take_up(struct runtime *rt, const char *task_id, const struct run_events *events, void *ctx,
    struct run_carried *ret_carried)
{
    struct runtime *below = functions_of(rt)->below;
    return below->ops->take_up(below, task_id, events, ctx, ret_carried);
}

static void op_take_over(struct runtime *rt)
{
    struct runtime *below = functions_of(rt)->below;
    below->ops->take_over(below);
}

static void on_threads_closed(void *ctx)
{
    struct functions *f = ctx;
    struct runtime *below = f->below;
    void (*closed)(void *ctx) = f->closed;
    void *closed_ctx = f->closed_ctx;
    map_for_each (it, &f->known) {
        struct function *function = it->value;
        free(function->name);
        free(function);
    }
    map_done(&f->known);
    free(f);
    below->ops->close(below, closed, closed_ctx);
}

static void close_if_idle(struct functions *f)
{
    if (f->closing && list_empty(&f->runs))
        threads_close(STEAL(f->threads), on_threads_closed, f);
}

static void op_close(struct runtime *rt, void (*done)(void *ctx), void *ctx)
{
    struct functions *f = functions_of(rt);
    f->closing = true;
    f->closed = done;
    f->closed_ctx = ctx;
    list_for_each_safe (it, &f->runs) {
        op_kill(&CONTAINER_OF(it, struct function_run, link)->base);
    }
    close_if_idle(f);
}

static void on_below_broken(void *ctx, const struct tw_error *error)
{
    struct functions *f = ctx;
    if (f->rt.on_broken)
        f->rt.on_broken(f->rt.owner_ctx, error);
}

/* Functions of the program run all the same. */
static void on_below_trouble(void *ctx, const struct tw_error *error)
{
    struct functions *f = ctx;
    if (f->rt.on_trouble && (!error || f->known.count == 0))
        f->rt.on_trouble(f->rt.owner_ctx, error);
}

static const struct runtime_ops functions_ops = {
    .serves = op_serves,
    .start = op_start,
    .go = op_go,
    .kill = op_kill,
    .detach = op_detach,
    .take_up = op_take_up,
    .take_over = op_take_over,
    .close = op_close,
    .resize = op_resize,
};

int functions_new(uv_loop_t *loop, struct runtime *below, struct runtime **ret, struct tw_error *error)
{
    struct functions *f = calloc(1, sizeof *f);
    if (!f)
        return error_oom(error);
    *f = (struct functions){.rt = {.ops = &functions_ops}, .loop = loop, .below = below};
    map_init(&f->known);
    list_init(&f->runs);
    if (threads_new(loop, THREADS_MAX, &f->threads) < 0) {
        free(f);
        return error_oom(error);
    }
    below->on_broken = on_below_broken;
    below->on_trouble = on_below_trouble;
    below->owner_ctx = f;
    *ret = &f->rt;
    return 0;
}

int functions_register(struct runtime *rt, const char *name, tw_function *call, void *ctx, struct tw_error *error)
{
    struct functions *f = functions_of(rt);
    if (!name || !*name || strlen(name) > NAME_BYTES_MAX || !call)
        return error_set(error, TW_INVALID_ARGUMENT,
            "a function needs a name of at most %d bytes, and what is to be called", NAME_BYTES_MAX);
    struct function *function = calloc(1, sizeof *function);
    char *copy = strdup(name);
    int r = -ENOMEM;
    if (function && copy) {
        *function = (struct function){.name = copy, .call = call, .ctx = ctx};
        r = map_put(&f->known, copy, function);
    }
    if (r == 0)
        return 0;
    free(copy);
    free(function);
    return r == -EEXIST ? error_set(error, TW_ALREADY_EXISTS, "there is a function \"%s\" already", name)
                        : error_oom(error);
}
