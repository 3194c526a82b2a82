/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cleaning up: files that are too old, contents that no file uses. In small pieces: each holds db_lock for a few rows and
 * moves their contents to tmp/; the removal itself, which takes its time for large ones, is done outside of the lock. None of
 * it has to be durable at once, so nobody waits for the disk: what a crash brings back is unused still.
 *
 * The cleaner is a thread of its own. It does all of it at the start and every ten minutes, and removes contents whenever
 * some have become unused.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "files/internal.h"

enum { SLICE_ROWS = 32, INTERVAL_S = 600 };

/* --- one piece --- */

struct slice {
    int64_t after, after_us; /* where the one before ended */
    size_t n;                /* rows that were looked at */
    struct {
        int64_t id;
        uint64_t size;
        uint8_t sha[SHA_BYTES];
        char tmp[TMP_NAME_MAX];
        bool removed;
    } rows[SLICE_ROWS];
};

static int take_row(struct slice *slice, const struct db_query *q, int sha_column, struct tw_error *error)
{
    size_t len, i = slice->n++;
    const void *sha = db_blob(q, sha_column, &len);
    if (len != SHA_BYTES)
        return error_set(error, TW_DATA_LOSS, "%s holds a hash that cannot be: restore it from a backup", q->db->path);
    memset(&slice->rows[i], 0, sizeof slice->rows[i]);
    slice->rows[i].id = slice->after = db_int(q, 0);
    memcpy(slice->rows[i].sha, sha, SHA_BYTES);
    return 0;
}

static int look_for_unused(struct tw_storage *s, struct slice *slice, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&s->db, FILES_SQL_UNUSED);
    db_bind_int(&q, 1, slice->after);
    db_bind_int(&q, 2, SLICE_ROWS);
    int r;
    while ((r = db_step(&q, error)) > 0) {
        if (take_row(slice, &q, 1, error) < 0)
            return -1;
        slice->rows[slice->n - 1].size = db_u64(&q, 2);
    }
    return r;
}

static int look_for_old(struct tw_storage *s, struct slice *slice, uint64_t before_us, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&s->db, FILES_SQL_EXPIRED);
    db_bind_u64(&q, 1, before_us);
    db_bind_int(&q, 2, slice->after_us);
    db_bind_int(&q, 3, slice->after);
    db_bind_int(&q, 4, SLICE_ROWS);
    int r;
    while ((r = db_step(&q, error)) > 0) {
        slice->after_us = db_int(&q, 1);
        if (take_row(slice, &q, 2, error) < 0)
            return -1;
    }
    return r;
}

/* Those that nobody holds. */
static int remove_rows(struct tw_storage *s, struct slice *slice, enum files_statement which, struct tw_error *error)
{
    for (size_t i = 0; i < slice->n; i++) {
        if (pin_is_held(s, slice->rows[i].sha))
            continue;
        CLEANUP_QUERY struct db_query q = db_query(&s->db, which);
        db_bind_int(&q, 1, slice->rows[i].id);
        if (db_run(&q, error) < 0)
            return -1;
        slice->rows[i].removed = true;
    }
    return 0;
}

static int remove_without_waiting(
    struct tw_storage *s, struct slice *slice, enum files_statement which, struct tw_error *error)
{
    if (db_exec(&s->db, "PRAGMA synchronous=NORMAL", error) < 0)
        return -1;
    int r = db_do(&s->db, FILES_SQL_BEGIN, error);
    if (r == 0 && (remove_rows(s, slice, which, error) < 0 || db_do(&s->db, FILES_SQL_COMMIT, error) < 0)) {
        db_rollback(&s->db);
        r = -1;
    }
    struct tw_error other;
    if (db_exec(&s->db, "PRAGMA synchronous=FULL", &other) < 0) {
        error_copy(error, &other);
        r = -1; /* the rows may be gone and their contents not: the sweep finds those */
    }
    return r;
}

static int remove_unused_slice(struct tw_storage *s, struct slice *slice, struct tw_error *error)
{
    CATALOG_LOCKED(s);
    slice->n = 0;
    if (look_for_unused(s, slice, error) < 0)
        return -1;
    if (slice->n > 0 && remove_without_waiting(s, slice, FILES_SQL_BLOB_REMOVE, error) < 0)
        return -1;
    for (size_t i = 0; i < slice->n; i++) {
        if (slice->rows[i].removed)
            blob_take_away(&s->root, slice->rows[i].sha, slice->rows[i].tmp);
    }
    return 0;
}

static int remove_old_slice(struct tw_storage *s, struct slice *slice, uint64_t before_us, struct tw_error *error)
{
    CATALOG_LOCKED(s);
    slice->n = 0;
    if (look_for_old(s, slice, before_us, error) < 0)
        return -1;
    return slice->n > 0 ? remove_without_waiting(s, slice, FILES_SQL_FILE_REMOVE, error) : 0;
}

/* --- all of them --- */

int gc_collect(struct tw_storage *s, struct tw_storage_gc_report *report, struct tw_error *error)
{
    struct slice slice = {0};
    do {
        if (remove_unused_slice(s, &slice, error) < 0)
            return -1;
        for (size_t i = 0; i < slice.n; i++) {
            tmp_remove(&s->root, slice.rows[i].tmp);
            report->blobs += slice.rows[i].removed;
            report->bytes += slice.rows[i].removed ? slice.rows[i].size : 0;
        }
    } while (slice.n == SLICE_ROWS && !gc_is_stopping(s));
    return 0;
}

static int expire(struct tw_storage *s, struct tw_storage_gc_report *report, struct tw_error *error)
{
    pthread_mutex_lock(&s->lock);
    uint64_t retention_us = s->limits.retention_us, now_us = clock_wall_us();
    pthread_mutex_unlock(&s->lock);
    if (retention_us == 0 || retention_us >= now_us)
        return 0;
    struct slice slice = {.after_us = INT64_MIN};
    do {
        if (remove_old_slice(s, &slice, now_us - retention_us, error) < 0)
            return -1;
        for (size_t i = 0; i < slice.n; i++)
            report->files += slice.rows[i].removed;
    } while (slice.n == SLICE_ROWS && !gc_is_stopping(s));
    return 0;
}

int tw_storage_gc(struct tw_storage *s, struct tw_storage_gc_report *ret, struct tw_error *error)
{
    struct tw_storage_gc_report report = {0};
    if (expire(s, &report, error) < 0 || gc_collect(s, &report, error) < 0 || sweep_tmp(s, &report, error) < 0 ||
        sweep_blobs(s, &report, error) < 0)
        return -1;
    if (ret)
        *ret = report;
    return 0;
}

/* --- the cleaner --- */

bool gc_is_stopping(struct tw_storage *s)
{
    pthread_mutex_lock(&s->lock);
    bool stop = s->stop;
    pthread_mutex_unlock(&s->lock);
    return stop;
}

void gc_wake(struct tw_storage *s)
{
    if (!s->has_cleaner)
        return;
    pthread_mutex_lock(&s->lock);
    s->wake = true;
    pthread_cond_signal(&s->woken);
    pthread_mutex_unlock(&s->lock);
}

/* Until there is something to do. False: to stop; *ret_all: it is time for all of it. */
static bool wait_for_work(struct tw_storage *s, const struct timespec *next, bool *ret_all)
{
    int r = 0;
    pthread_mutex_lock(&s->lock);
    while (!s->wake && !s->stop && r != ETIMEDOUT)
        r = pthread_cond_timedwait(&s->woken, &s->lock, next);
    s->wake = false;
    bool stop = s->stop;
    pthread_mutex_unlock(&s->lock);
    *ret_all = r == ETIMEDOUT;
    return !stop;
}

static void *clean(void *arg)
{
    struct tw_storage *s = arg;
    struct timespec next;
    bool all = true;
    do {
        struct tw_storage_gc_report report = {0};
        struct tw_error error;
        int r = all ? tw_storage_gc(s, &report, &error) : gc_collect(s, &report, &error);
        if (r < 0)
            log_warning("cannot clean up in %s: %s", s->root.path, error.message);
        if (all && clock_gettime(CLOCK_MONOTONIC, &next) == 0)
            next.tv_sec += INTERVAL_S;
    } while (wait_for_work(s, &next, &all));
    return NULL;
}

/* Signals are the program's own business: they do not come here. */
static int start_thread(struct tw_storage *s)
{
    sigset_t all, old;
    sigfillset(&all);
    int r = pthread_sigmask(SIG_SETMASK, &all, &old);
    if (r != 0)
        return r;
    r = pthread_create(&s->cleaner, NULL, clean, s);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    return r;
}

int gc_start(struct tw_storage *s, struct tw_error *error)
{
    s->has_cleaner = true; /* which it looks at itself */
    int r = start_thread(s);
    if (r == 0)
        return 0;
    s->has_cleaner = false;
    return error_set_errno(error, r, "cannot start a thread to clean up");
}

void gc_stop(struct tw_storage *s)
{
    if (!s->has_cleaner)
        return;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_signal(&s->woken);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->cleaner, NULL);
    s->has_cleaner = false;
}
