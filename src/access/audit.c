/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. Who writes a record copies it into a queue and goes on; one thread takes what has gathered there, numbers,
 * chains and writes it (audit_chain.c), and syncs once for all of it when a durable one is among it, else within a second. Then it
 * remembers the head, at most once a second, and tells those who wait: on the loop, by a uv_async, or right here without a loop.
 * Order is kept all the way: the queue is the order of the log and of the callbacks.
 *
 * A full disk. A durable record is refused, and with it whatever it stands for: nothing administrative is done that the log does not
 * know of. Others are counted and dropped, since work goes on; as soon as there is room "audit.lost" says how many there were. It is
 * tried every second. The same holds when the queue is full, a quarter of which is for durable records, so that a flood of others does
 * not keep administrators out.
 *
 * Threads: everything in struct audit below `lock` is under it; `chain` is the thread's own.
 */
#include "access/audit.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <uv.h>

#include "access/audit_chain.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/list.h"
#include "base/log.h"

#define DEFAULT_FILE_BYTES (UINT64_C(16) << 20)
enum { DEFAULT_FILES = 16, DEFAULT_QUEUED = 1024, SECOND_US = 1000000 };

struct pending {
    struct list node;
    struct audit_entry entry;
    enum audit_mode mode;
    audit_done_fn done;
    void *ctx;
    int result;
};

struct audit {
    struct audit_chain chain;
    size_t max_queued;
    pthread_t thread;
    uv_async_t *async; /* NULL: no loop */

    pthread_mutex_t lock;
    pthread_cond_t work, flushed;
    struct list queue;    /* struct pending, to be written */
    struct list finished; /* to be told on the loop */
    size_t queued;
    bool stopping;
    uint64_t lost, lost_since_us;
    int lost_error;
    uint64_t put, settled; /* records that came, and those of them whose fate is known on disk */
    uint64_t flush_wanted; /* sync what came up to this */
    uint64_t failed_at;    /* the newest of `put` that could not be made durable */
    int failed_error;
    uint64_t written, refused;
    int error;
};

/* --- the thread --- */

struct round {
    struct pending *all[AUDIT_BATCH_MAX];
    size_t n;
    uint64_t lost; /* those that "audit.lost" in front of them speaks of */
    uint64_t upto; /* of `put` */
    bool sync, flush;
    struct audit_entry lost_entry;
};

static void count_lost(struct audit *a, uint64_t n, int error)
{
    if (a->lost == 0)
        a->lost_since_us = clock_wall_us();
    a->lost += n;
    a->lost_error = error;
}

static void say_lost(struct audit *a, struct round *round)
{
    char since[CLOCK_TEXT_MAX];
    round->lost = a->lost;
    if (a->lost == 0)
        return;
    audit_own_entry(&round->lost_entry, "audit.lost", "", AUDIT_ERROR, "%llu records lost since %s: %s",
        (unsigned long long)a->lost, clock_format(a->lost_since_us, since),
        a->lost_error == -ENOBUFS ? "too many waited" : strerrordesc_np(-a->lost_error));
}

static void wait_for_work(struct audit *a, bool timed)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += 1;
    while (list_empty(&a->queue) && !a->stopping && a->flush_wanted <= a->settled) {
        if (!timed)
            pthread_cond_wait(&a->work, &a->lock);
        else if (pthread_cond_timedwait(&a->work, &a->lock, &until) == ETIMEDOUT)
            return;
    }
}

/* False: that was the last one. */
static bool take_round(struct audit *a, struct round *round, bool timed)
{
    pthread_mutex_lock(&a->lock);
    if (list_empty(&a->queue))
        wait_for_work(a, timed);
    round->n = 0;
    round->sync = false;
    for (struct pending *p; round->n < AUDIT_BATCH_MAX - 1 && (p = LIST_FIRST(&a->queue, struct pending, node));) {
        list_remove(&p->node);
        round->all[round->n++] = p;
        round->sync = round->sync || p->mode == AUDIT_DURABLE;
    }
    a->queued -= round->n;
    round->upto = a->put - a->queued;
    round->flush = a->flush_wanted > a->settled || a->stopping;
    say_lost(a, round);
    bool more = round->n > 0 || !a->stopping;
    pthread_mutex_unlock(&a->lock);
    return more;
}

static int write_round(struct audit *a, struct round *round)
{
    struct audit_entry *entries[AUDIT_BATCH_MAX];
    size_t n = 0;
    if (round->lost > 0)
        entries[n++] = &round->lost_entry;
    for (size_t i = 0; i < round->n; i++)
        entries[n++] = &round->all[i]->entry;
    return n > 0 ? audit_chain_write(&a->chain, entries, n) : 0;
}

/* Puts down what became of a round; those that nobody waits for go. */
static void settle(struct audit *a, struct round *round, int wrote, int synced, struct list *told)
{
    pthread_mutex_lock(&a->lock);
    int result = wrote < 0 ? wrote : synced;
    size_t grouped = 0;
    for (size_t i = 0; i < round->n; i++) {
        struct pending *p = round->all[i];
        p->result = result;
        grouped += p->mode == AUDIT_GROUPED;
        a->refused += p->mode == AUDIT_DURABLE && result < 0;
        if (p->done)
            list_push(told, &p->node);
        else
            free(p);
    }
    if (wrote < 0 && grouped > 0)
        count_lost(a, grouped, wrote);
    if (wrote == 0) {
        a->written += round->n + (round->lost > 0);
        a->lost -= round->lost;
    }
    if (result < 0) {
        a->failed_at = round->upto;
        a->failed_error = result;
    }
    if (round->n > 0 || round->lost > 0 || result < 0)
        a->error = result;
    if (round->sync)
        a->settled = round->upto;
    pthread_cond_broadcast(&a->flushed);
    pthread_mutex_unlock(&a->lock);
}

static void tell(struct list *told)
{
    for (struct pending *p; (p = LIST_FIRST(told, struct pending, node)); free(p)) {
        list_remove(&p->node);
        p->done(p->ctx, p->result);
    }
}

static void hand_over(struct audit *a, struct list *told)
{
    if (list_empty(told))
        return;
    if (!a->async) {
        tell(told);
        return;
    }
    pthread_mutex_lock(&a->lock);
    list_splice(&a->finished, told);
    pthread_mutex_unlock(&a->lock);
    (void)uv_async_send(a->async);
}

/* One layer logs, when it begins and when it ends. */
static void log_change(int was, int is)
{
    if (is < 0 && was != is)
        log_error("the audit log cannot be written (%s): administrative changes are denied until it can",
            strerrordesc_np(-is));
    else if (is == 0 && was < 0)
        log_info("the audit log can be written again");
}

static void *write_records(void *arg)
{
    struct audit *a = arg;
    struct round round;
    struct list told;
    uint64_t synced_us = 0, remembered_us = 0;
    int was = 0;
    bool timed = true;
    list_init(&told);
    while (take_round(a, &round, timed)) {
        uint64_t now = clock_monotonic_us();
        int wrote = write_round(a, &round), synced = 0;
        round.sync = round.sync || round.flush || now - synced_us >= SECOND_US;
        if (round.sync) {
            synced = audit_chain_sync(&a->chain);
            synced_us = now;
        }
        settle(a, &round, wrote, synced, &told);
        hand_over(a, &told);
        bool due = round.flush || now - remembered_us >= SECOND_US;
        if (due && !a->chain.dirty) {
            (void)audit_chain_remember(&a->chain); /* it is tried again: the head is only older meanwhile */
            remembered_us = now;
        }
        if (round.n > 0 || wrote < 0 || synced < 0) {
            log_change(was, wrote < 0 ? wrote : synced);
            was = wrote < 0 ? wrote : synced;
        }
        timed = a->chain.dirty || a->chain.head_seq != a->chain.last.seq || wrote < 0 || round.lost > 0;
    }
    (void)audit_chain_sync(&a->chain);
    (void)audit_chain_remember(&a->chain);
    return NULL;
}

/* --- on the loop --- */

static void on_finished(uv_async_t *async)
{
    struct audit *a = async->data;
    struct list told;
    list_init(&told);
    pthread_mutex_lock(&a->lock);
    list_splice(&told, &a->finished);
    pthread_mutex_unlock(&a->lock);
    tell(&told);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

static int start_async(struct audit *a, uv_loop_t *loop)
{
    if (!loop)
        return 0;
    uv_async_t *async = calloc(1, sizeof *async);
    if (!async)
        return -ENOMEM;
    int r = uv_async_init(loop, async, on_finished);
    if (r < 0) {
        free(async);
        return r;
    }
    async->data = a;
    a->async = async;
    return 0;
}

/* --- opening and closing --- */

/* Timed waits are on the clock that nobody sets. */
static int init_locks(struct audit *a)
{
    pthread_condattr_t attr;
    int r = pthread_condattr_init(&attr);
    if (r != 0)
        return -r;
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC); /* there is one */
    (void)pthread_mutex_init(&a->lock, NULL);                /* these never fail */
    (void)pthread_cond_init(&a->work, &attr);
    (void)pthread_cond_init(&a->flushed, NULL);
    pthread_condattr_destroy(&attr);
    return 0;
}

static void audit_free(struct audit *a)
{
    for (struct pending *p; (p = LIST_FIRST(&a->queue, struct pending, node)); free(p))
        list_remove(&p->node);
    if (a->async)
        uv_close((uv_handle_t *)a->async, on_closed);
    audit_chain_close(&a->chain);
    pthread_cond_destroy(&a->flushed);
    pthread_cond_destroy(&a->work);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

/* Signals are the main thread's. */
static int start_thread(struct audit *a)
{
    sigset_t all, old;
    sigfillset(&all);
    int r = pthread_sigmask(SIG_SETMASK, &all, &old);
    if (r != 0)
        return -r;
    r = pthread_create(&a->thread, NULL, write_records, a);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    return -r;
}

static int put(struct audit *a, struct pending *p)
{
    pthread_mutex_lock(&a->lock);
    size_t room = p->mode == AUDIT_DURABLE ? a->max_queued : a->max_queued - a->max_queued / 4;
    bool full = a->queued >= room;
    if (!full) {
        list_push(&a->queue, &p->node);
        a->queued++;
        a->put++;
        pthread_cond_signal(&a->work);
    } else if (p->mode == AUDIT_GROUPED) {
        count_lost(a, 1, -ENOBUFS);
    } else {
        a->refused++;
    }
    pthread_mutex_unlock(&a->lock);
    return full ? -ENOBUFS : 0;
}

/* The first record of this life. */
static int put_opened(struct audit *a, const struct audit_found *found)
{
    struct pending *p = calloc(1, sizeof *p);
    if (!p)
        return -ENOMEM;
    bool bad = found->damaged > 0 || found->head_missing || found->head_ahead;
    audit_own_entry(&p->entry, "audit.opened", "", bad ? AUDIT_ERROR : AUDIT_OK, "%s%s%s",
        found->fresh                ? "a new log"
            : found->damaged > 0    ? "lines at the end are damaged"
            : found->head_ahead     ? "the head remembers records that are not there"
            : found->head_missing   ? "there was no head"
            : found->cut_bytes == 0 ? "ended well"
                                    : "",
        bad && found->cut_bytes > 0 ? "; " : "", found->cut_bytes > 0 ? "an unfinished last line was cut off" : "");
    if (bad)
        log_warning("the audit log is not as it was left: %s; `hivemind audit verify` says where", p->entry.detail);
    list_init(&p->node);
    if (put(a, p) < 0)
        free(p);
    return 0;
}

int audit_open(const struct audit_options *o, struct audit **ret, struct tw_error *error)
{
    struct audit_found found;
    struct audit *a = calloc(1, sizeof *a);
    if (!a)
        return error_oom(error);
    a->max_queued = MAX(o->max_queued ? o->max_queued : DEFAULT_QUEUED, (size_t)4);
    list_init(&a->queue);
    list_init(&a->finished);
    int r = init_locks(a);
    if (r < 0) {
        free(a);
        return error_set_errno(error, r, "cannot make locks");
    }
    if (audit_chain_open(&a->chain, o->path, o->max_file_bytes ? o->max_file_bytes : DEFAULT_FILE_BYTES,
            MAX(o->keep_files ? o->keep_files : DEFAULT_FILES, (size_t)2), &found, error) < 0) {
        audit_free(a);
        return -1;
    }
    r = start_async(a, o->loop);
    if (r == 0)
        r = put_opened(a, &found);
    if (r == 0)
        r = start_thread(a);
    if (r < 0) {
        audit_free(a);
        return error_set_errno(error, r, "cannot start the thread of the audit log");
    }
    *ret = a;
    return 0;
}

void audit_close(struct audit *a)
{
    if (!a)
        return;
    pthread_mutex_lock(&a->lock);
    a->stopping = true;
    pthread_cond_signal(&a->work);
    pthread_mutex_unlock(&a->lock);
    pthread_join(a->thread, NULL);
    tell(&a->finished);
    audit_free(a);
}

/* --- writing --- */

int audit_write(struct audit *a, const struct audit_record *record, enum audit_mode mode, audit_done_fn done, void *ctx)
{
    static const char own[] = "audit.";
    const char *action = record->action;
    if (!action || !*action || !strncmp(action, own, sizeof own - 1) || record->outcome >= AUDIT_OUTCOME_MAX)
        return -EINVAL;
    struct pending *p = malloc(sizeof *p);
    if (!p) {
        pthread_mutex_lock(&a->lock);
        if (mode == AUDIT_GROUPED)
            count_lost(a, 1, -ENOMEM);
        pthread_mutex_unlock(&a->lock);
        return -ENOMEM;
    }
    list_init(&p->node);
    p->mode = mode;
    p->done = mode == AUDIT_DURABLE ? done : NULL;
    p->ctx = ctx;
    p->entry.wall_us = clock_wall_us() / 1000 * 1000;
    p->entry.outcome = record->outcome;
    audit_text(p->entry.user, AUDIT_USER_MAX, record->user);
    audit_text(p->entry.token, AUDIT_TOKEN_MAX, record->token);
    audit_text(p->entry.from, AUDIT_FROM_MAX, record->from);
    audit_text(p->entry.action, AUDIT_ACTION_MAX, action);
    audit_text(p->entry.object, AUDIT_OBJECT_MAX, record->object);
    audit_text(p->entry.detail, AUDIT_DETAIL_MAX, record->detail);
    int r = put(a, p);
    if (r < 0)
        free(p);
    return r;
}

int audit_flush(struct audit *a)
{
    pthread_mutex_lock(&a->lock);
    uint64_t wanted = a->put, failed_before = a->failed_at;
    a->flush_wanted = MAX(a->flush_wanted, wanted);
    pthread_cond_signal(&a->work);
    while (a->settled < wanted)
        pthread_cond_wait(&a->flushed, &a->lock);
    int r = a->failed_at > failed_before ? a->failed_error : 0;
    pthread_mutex_unlock(&a->lock);
    return r;
}

void audit_get_stats(struct audit *a, struct audit_stats *ret)
{
    pthread_mutex_lock(&a->lock);
    *ret = (struct audit_stats){
        .written = a->written, .lost = a->lost, .refused = a->refused, .queued = a->queued, .error = a->error};
    pthread_mutex_unlock(&a->lock);
}
