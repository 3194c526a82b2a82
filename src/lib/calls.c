/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls from other threads. The caller's stack holds a thread_call; it is handed to the loop's thread, which starts it and
 * fills in the outcome when the engine answers, and the caller sleeps until then.
 */
#include "lib/worker_internal.h"

#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"
#include "base/timer.h"

enum call_kind { CALL_SUBMIT, CALL_WAIT, CALL_STOP };

struct thread_call {
    struct list link;
    struct tw_worker *worker;
    enum call_kind kind;
    const struct tw_task_spec *spec;
    const char *id;
    uint64_t timeout_us;
    bool want_result;
    struct engine_wait *wait;
    uv_timer_t *timer; /* on the heap: it closes after the caller has gone */
    /* the outcome */
    struct tw_error error;
    bool failed;
    char *ret_id;
    struct tw_task_info info;
    char *result;
    size_t result_len;
    pthread_mutex_t lock;
    pthread_cond_t answered;
    bool done;
};

static void answer(struct thread_call *c)
{
    pthread_mutex_lock(&c->lock);
    c->done = true;
    pthread_cond_signal(&c->answered);
    pthread_mutex_unlock(&c->lock);
}

static void answer_error(struct thread_call *c, const struct tw_error *error)
{
    c->failed = true;
    c->error = *error;
    answer(c);
}

static void on_admitted(void *ctx, const struct tw_task_info *info, bool existing UNUSED, const struct tw_error *error)
{
    struct thread_call *c = ctx;
    if (error) {
        answer_error(c, error);
        return;
    }
    c->ret_id = strdup(info->id);
    if (c->ret_id) {
        answer(c);
    } else {
        struct tw_error oom;
        error_oom(&oom);
        answer_error(c, &oom);
    }
}

static void keep_result(struct thread_call *c, const void *result, size_t len)
{
    struct tw_error oom;
    c->result = text_dup(result, len);
    c->result_len = len;
    if (c->result) {
        answer(c);
    } else {
        tw_task_info_done(&c->info);
        error_oom(&oom);
        answer_error(c, &oom);
    }
}

static void on_result(void *ctx, const void *result, size_t len, const struct tw_error *error)
{
    struct thread_call *c = ctx;
    if (!error) {
        keep_result(c, result, len);
        return;
    }
    tw_task_info_done(&c->info);
    answer_error(c, error);
}

static void on_end(
    void *ctx, const struct tw_task_info *info, const void *result, size_t len, const struct tw_error *error)
{
    struct thread_call *c = ctx;
    struct tw_error oom;
    c->wait = NULL;
    timer_free(&c->timer);
    if (error) {
        answer_error(c, error);
    } else if (store_info_copy(info, &c->info) < 0) {
        error_oom(&oom);
        answer_error(c, &oom);
    } else if (!c->want_result) {
        answer(c);
    } else if (result || !info->result_size) {
        keep_result(c, result, len);
    } else {
        store_load_result(c->worker->store, info->id, on_result, c);
    }
}

static void on_timeout(uv_timer_t *timer)
{
    struct thread_call *c = timer->data;
    struct tw_error error;
    engine_wait_cancel(STEAL(c->wait));
    timer_free(&c->timer);
    error_set(&error, TW_DEADLINE_EXCEEDED, "task %s has not ended yet", c->id);
    answer_error(c, &error);
}

static void start_wait(struct thread_call *c)
{
    struct tw_error oom;
    if (c->timeout_us) {
        c->timer = timer_new(c->worker->loop, c);
        if (!c->timer) {
            error_oom(&oom);
            answer_error(c, &oom);
            return;
        }
        uv_timer_start(c->timer, on_timeout, c->timeout_us / 1000 + !!(c->timeout_us % 1000), 0);
    }
    /* With an answer at once the caller may be gone when engine_wait returns NULL: touch c only if it did not. */
    struct engine_wait *wait = engine_wait(c->worker->engine, c->id, on_end, c);
    if (wait)
        c->wait = wait;
}

void worker_run_calls(struct tw_worker *worker)
{
    struct list calls;
    list_init(&calls);
    pthread_mutex_lock(&worker->lock);
    list_splice(&calls, &worker->calls);
    pthread_mutex_unlock(&worker->lock);
    while (!list_empty(&calls)) {
        struct thread_call *c = LIST_FIRST(&calls, struct thread_call, link);
        list_remove(&c->link);
        switch (c->kind) {
        case CALL_SUBMIT:
            engine_admit(worker->engine, c->spec, NULL, on_admitted, c);
            break;
        case CALL_WAIT:
            start_wait(c);
            break;
        case CALL_STOP:
            engine_stop(worker->engine, c->id, on_end, c);
            break;
        }
    }
}

void worker_close_calls(struct tw_worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    worker->closed = true;
    pthread_mutex_unlock(&worker->lock);
    worker_run_calls(worker); /* what came in before; the engine refuses or answers */
}

/* Hands the call over and sleeps until it is answered. */
static int perform(struct tw_worker *worker, struct thread_call *c, struct tw_error *error)
{
    c->worker = worker;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->answered, NULL);
    pthread_mutex_lock(&worker->lock);
    bool closed = worker->closed;
    if (!closed) {
        list_push(&worker->calls, &c->link);
        uv_async_send(&worker->wake);
    }
    pthread_mutex_unlock(&worker->lock);
    if (closed) {
        c->failed = true;
        error_set(&c->error, TW_UNAVAILABLE, "the worker has shut down");
    } else {
        pthread_mutex_lock(&c->lock);
        while (!c->done)
            pthread_cond_wait(&c->answered, &c->lock);
        pthread_mutex_unlock(&c->lock);
    }
    pthread_cond_destroy(&c->answered);
    pthread_mutex_destroy(&c->lock);
    if (c->failed)
        error_copy(error, &c->error);
    return c->failed ? -1 : 0;
}

int tw_worker_submit(struct tw_worker *worker, const struct tw_task_spec *spec, char **ret_id, struct tw_error *error)
{
    struct tw_task_spec copy;
    if (options_take(&copy, sizeof copy, spec, "tw_task_spec", error) < 0)
        return -1;
    struct thread_call c = {.kind = CALL_SUBMIT, .spec = &copy};
    if (perform(worker, &c, error) < 0)
        return -1;
    if (ret_id)
        *ret_id = c.ret_id;
    else
        free(c.ret_id);
    return 0;
}

int tw_worker_wait(struct tw_worker *worker, const char *id, uint64_t timeout_us, struct tw_task_info *ret,
    char **ret_result, size_t *ret_result_len, struct tw_error *error)
{
    struct thread_call c = {.kind = CALL_WAIT, .id = id, .timeout_us = timeout_us, .want_result = ret_result};
    if (perform(worker, &c, error) < 0)
        return -1;
    if (ret)
        *ret = c.info;
    else
        tw_task_info_done(&c.info);
    if (ret_result)
        *ret_result = c.result;
    if (ret_result_len)
        *ret_result_len = c.result_len;
    return 0;
}

int tw_worker_stop_task(struct tw_worker *worker, const char *id, struct tw_error *error)
{
    struct thread_call c = {.kind = CALL_STOP, .id = id};
    if (perform(worker, &c, error) < 0)
        return -1;
    tw_task_info_done(&c.info);
    return 0;
}
