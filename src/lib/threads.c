/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/threads.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/util.h"

struct threads {
    uv_loop_t *loop;
    uv_async_t wake; /* something is done; there once the first job has come */
    bool has_wake;
    void (*closed)(void *ctx);
    void *closed_ctx;
    unsigned max, n; /* of the loop's thread alone, as all above */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct list waiting, done; /* struct job; with all below under the lock */
    unsigned n_waiting, idle;
    bool closing;
    pthread_t ids[];
};

static void *run_jobs(void *arg)
{
    struct threads *t = arg;
    pthread_mutex_lock(&t->lock);
    for (;;) {
        struct job *job = LIST_FIRST(&t->waiting, struct job, link);
        if (job) {
            list_remove(&job->link);
            job->waiting = false;
            t->n_waiting--;
            pthread_mutex_unlock(&t->lock);
            job->work(job);
            pthread_mutex_lock(&t->lock);
            list_push(&t->done, &job->link);
            uv_async_send(&t->wake);
        } else if (t->closing) {
            break;
        } else {
            t->idle++;
            pthread_cond_wait(&t->changed, &t->lock);
            t->idle--;
        }
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

static void on_wake(uv_async_t *wake)
{
    struct threads *t = wake->data;
    struct list done;
    list_init(&done);
    pthread_mutex_lock(&t->lock);
    list_splice(&done, &t->done);
    pthread_mutex_unlock(&t->lock);
    /* The last one may close the threads, which go in a later round of the loop. */
    for (struct job *job; (job = LIST_FIRST(&done, struct job, link));) {
        list_remove(&job->link);
        job->done(job);
    }
}

int threads_new(uv_loop_t *loop, unsigned max, struct threads **ret)
{
    struct threads *t = calloc(1, sizeof *t + max * sizeof *t->ids);
    if (!t)
        return -ENOMEM;
    t->loop = loop;
    t->max = max;
    list_init(&t->waiting);
    list_init(&t->done);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->changed, NULL);
    *ret = t;
    return 0;
}

static int make_wake(struct threads *t)
{
    int r = t->has_wake ? 0 : uv_async_init(t->loop, &t->wake, on_wake);
    t->has_wake = r == 0;
    t->wake.data = t;
    return r;
}

int threads_add(struct threads *t, struct job *job)
{
    int r = make_wake(t);
    if (r < 0)
        return r;
    pthread_mutex_lock(&t->lock);
    list_push(&t->waiting, &job->link);
    job->waiting = true;
    bool more = ++t->n_waiting > t->idle && t->n < t->max;
    pthread_cond_signal(&t->changed);
    pthread_mutex_unlock(&t->lock);
    if (more && (r = -pthread_create(&t->ids[t->n], NULL, run_jobs, t)) == 0)
        t->n++;
    if (t->n > 0) /* where no more can be had, those that are there do it */
        return 0;
    (void)threads_cancel(t, job);
    return r;
}

bool threads_cancel(struct threads *t, struct job *job)
{
    pthread_mutex_lock(&t->lock);
    bool waiting = job->waiting;
    if (waiting) {
        list_remove(&job->link);
        job->waiting = false;
        t->n_waiting--;
    }
    pthread_mutex_unlock(&t->lock);
    return waiting;
}

static void threads_free(struct threads *t)
{
    void (*closed)(void *ctx) = t->closed;
    void *ctx = t->closed_ctx;
    pthread_cond_destroy(&t->changed);
    pthread_mutex_destroy(&t->lock);
    free(t);
    closed(ctx);
}

static void on_wake_closed(uv_handle_t *handle)
{
    threads_free(handle->data);
}

void threads_close(struct threads *t, void (*closed)(void *ctx), void *ctx)
{
    t->closed = closed;
    t->closed_ctx = ctx;
    pthread_mutex_lock(&t->lock);
    t->closing = true;
    pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->lock);
    for (unsigned i = 0; i < t->n; i++)
        pthread_join(t->ids[i], NULL);
    if (t->has_wake)
        uv_close((uv_handle_t *)&t->wake, on_wake_closed);
    else
        threads_free(t);
}
