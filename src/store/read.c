/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads: a queue, and a few readers with a connection each that take from it. There are fewer
 * readers than threads in the pool, so that a write never waits for reads. A job takes several
 * small reads, or one that may bring much memory.
 *
 * A log is in a file while its task runs, and maybe in the database afterwards. The row is written
 * before the file goes, so: look for the row, then for the file, and when that is gone for the row
 * once more.
 *
 * An offset into a log is good if it is where a record starts, which only a walk from the log's
 * start can tell: a task may print what looks like records. Where reads ended is remembered, so
 * that whoever goes on there walks nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/text.h"
#include "store/read.h"

enum {
    LOG_READ_MAX = 4 << 20,
};

static struct tw_error no_memory = {.code = TW_RESOURCE_EXHAUSTED, .sys_errno = ENOMEM, .message = "out of memory"};

static void read_free(struct read *r)
{
    for (size_t i = 0; i < r->n_tasks; i++)
        store_task_done(&r->tasks[i]);
    for (size_t i = 0; i < r->n_attempts; i++)
        tw_attempt_info_done(&r->attempts[i]);
    for (size_t i = 0; i < r->n_events; i++) {
        free(r->events[i].id);
        free(r->events[i].type);
        free(r->events[i].owner);
    }
    find_done(&r->find);
    free(r->attempts);
    free(r->events);
    if (r->error != &no_memory)
        free(r->error);
    free(r->tasks);
    free(r->data);
    free(r->id);
    free(r);
}

/* --- tasks --- */

static int fail_unknown(const char *id, struct tw_error *error)
{
    return error_set(error, TW_NOT_FOUND, "there is no task '%s'", id);
}

static int fail_unknown_seq(uint64_t seq, struct tw_error *error)
{
    return error_set(error, TW_NOT_FOUND, "there is no task number %llu", (unsigned long long)seq);
}

static int read_task(struct db *db, struct read *r, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(db, r->kind == READ_CACHED ? STORE_SQL_FIND_CACHED : STORE_SQL_GET);
    db_bind_text(&q, 1, r->id);
    int step = db_step(&q, error);
    if (step <= 0)
        return step < 0 ? -1 : fail_unknown(r->id, error);
    r->tasks = calloc(1, sizeof *r->tasks);
    if (!r->tasks)
        return error_oom(error);
    if (row_load(&q, true, r->tasks, error) < 0)
        return -1;
    r->n_tasks = 1;
    return 0;
}

/* --- payloads --- */

/* The bytes of a row with size, data, file from `column` on. */
static int take_payload(
    const struct store *store, const struct db_query *q, int column, struct read *r, struct tw_error *error)
{
    uint64_t size = db_u64(q, column);
    if (!db_is_null(q, column + 2)) {
        CLEANUP_FREE char *name = db_text(q, column + 2);
        if (!name)
            return error_oom(error);
        if (payload_read(&store->folder, name, size, &r->data, error) < 0)
            return -1;
        r->len = (size_t)size;
        return 0;
    }
    const void *data = db_blob(q, column + 1, &r->len);
    if (r->len != size)
        return error_set(error, TW_DATA_LOSS, "%s holds %zu bytes where %llu are due: restore it from a backup",
            store->folder.db_path, r->len, (unsigned long long)size);
    r->data = (uint8_t *)text_dup(data ? data : "", r->len);
    return r->data ? 0 : error_oom(error);
}

static int read_input(const struct store *store, struct db *db, struct read *r, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(db, STORE_SQL_INPUT);
    db_bind_u64(&q, 1, r->seq);
    int step = db_step(&q, error);
    if (step <= 0)
        return step < 0 ? -1 : fail_unknown_seq(r->seq, error);
    return take_payload(store, &q, 0, r, error);
}

static int read_result(const struct store *store, struct db *db, struct read *r, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(db, STORE_SQL_RESULT);
    db_bind_text(&q, 1, r->id);
    int step = db_step(&q, error);
    if (step <= 0)
        return step < 0 ? -1 : fail_unknown(r->id, error);
    if (db_int(&q, 0) < TW_TASK_COMPLETED)
        return error_set(error, TW_FAILED_PRECONDITION, "task '%s' has not ended yet", r->id);
    return db_is_null(&q, 1) ? 0 : take_payload(store, &q, 1, r, error);
}

/* --- logs --- */

static int fail_offset(const struct read *r, struct tw_error *error)
{
    return error_set(error, TW_OUT_OF_RANGE, "offset %llu is not where an entry of the log starts: begin at 0",
        (unsigned long long)r->offset);
}

static int log_error_set(const struct store *store, const struct read *r, int err, struct tw_error *error)
{
    return error_set_errno(error, err, "cannot read the log of task number %llu in %s/logs", (unsigned long long)r->seq,
        store->folder.path);
}

/* How many of the bytes are whole records: at most max_bytes, but at least one if there is one. */
static size_t whole_records(const uint8_t *data, size_t len, size_t max_bytes)
{
    const uint8_t *p = data;
    size_t left = len, taken = 0;
    struct store_log_record record;
    while (store_log_parse(&p, &left, &record) && (taken == 0 || taken + record.size <= max_bytes))
        taken += record.size;
    return taken;
}

static int read_log_blob(const struct db_query *q, struct read *r, struct tw_error *error)
{
    size_t len, at = 0;
    const uint8_t *data = db_blob(q, 2, &len), *p = data;
    size_t left = len;
    struct store_log_record record;
    while (at < r->offset && store_log_parse(&p, &left, &record))
        at += record.size;
    if (at != r->offset)
        return fail_offset(r, error);
    r->len = left > 0 ? whole_records(p, left, r->max_bytes) : 0;
    r->data = (uint8_t *)text_dup(r->len ? (const void *)p : "", r->len);
    return r->data ? 0 : error_oom(error);
}

static int read_log_file(const struct store *store, int fd, uint64_t limit, struct read *r, struct tw_error *error)
{
    if (!r->verified) {
        struct log_state state;
        int err = tasklog_scan(fd, MIN(r->offset, limit), &state);
        if (err < 0)
            return log_error_set(store, r, err, error);
        if (state.end != r->offset)
            return fail_offset(r, error);
    }
    size_t want = MAX(r->max_bytes, (size_t)STORE_LOG_HEADER + STORE_LOG_RECORD_MAX);
    want = (size_t)MIN((uint64_t)want, limit - r->offset);
    r->data = malloc(want ? want : 1);
    if (!r->data)
        return error_oom(error);
    ssize_t n;
    do
        n = pread(fd, r->data, want, (off_t)r->offset);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return log_error_set(store, r, errno, error);
    r->len = whole_records(r->data, (size_t)n, r->max_bytes);
    return 0;
}

/* 1: done with it, one way or another in *result; 0: the task is there and its log must be a file,
 * of at most *limit bytes. */
static int look_for_row(struct db *db, struct read *r, uint64_t *limit, int *result, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(db, STORE_SQL_LOG);
    db_bind_u64(&q, 1, r->seq);
    int step = db_step(&q, error);
    if (step <= 0) {
        *result = step < 0 ? -1 : fail_unknown_seq(r->seq, error);
        return 1;
    }
    if (!db_is_null(&q, 2)) {
        *result = read_log_blob(&q, r, error);
        return 1;
    }
    *limit = db_is_null(&q, 1) ? r->limit : db_u64(&q, 1);
    return 0;
}

static int read_log(const struct store *store, struct db *db, struct read *r, struct tw_error *error)
{
    for (int look = 0; look < 2; look++) {
        uint64_t limit;
        int result;
        if (look_for_row(db, r, &limit, &result, error))
            return result;
        CLEANUP_FD int fd = tasklog_open_file(&store->folder, r->seq, O_RDONLY);
        if (fd >= 0)
            return r->offset > limit ? fail_offset(r, error) : read_log_file(store, fd, limit, r, error);
        if (fd != -ENOENT)
            return log_error_set(store, r, fd, error);
    }
    return r->offset > 0 ? fail_offset(r, error) : 0; /* nothing was printed */
}

/* Only a hint: two logs in one place push each other out, and then somebody walks. */
static struct verified *verified_slot(struct store *store, uint64_t seq, uint64_t offset)
{
    uint64_t hash = (seq * UINT64_C(0x9e3779b97f4a7c15)) ^ (offset * UINT64_C(0xc2b2ae3d27d4eb4f));
    return &store->verified[(hash >> 32) % STORE_VERIFIED];
}

static void remember_verified(struct store *store, uint64_t seq, uint64_t offset)
{
    *verified_slot(store, seq, offset) = (struct verified){.seq = seq, .offset = offset};
}

/* --- jobs --- */

static int carry_out(const struct store *store, struct db *db, struct read *r, struct tw_error *error)
{
    switch (r->kind) {
    case READ_TASK:
    case READ_CACHED:
        return read_task(db, r, error);
    case READ_LIST:
        return read_list(db, r, error);
    case READ_ATTEMPTS:
        return read_attempts(db, r, error);
    case READ_EVENTS:
        return read_events(db, r, error);
    case READ_INPUT:
        return read_input(store, db, r, error);
    case READ_RESULT:
        return read_result(store, db, r, error);
    case READ_LOG:
        return read_log(store, db, r, error);
    }
    return error_set(error, TW_INTERNAL, "no such read");
}

static void read_job(uv_work_t *req)
{
    struct reader *reader = CONTAINER_OF(req, struct reader, req);
    list_for_each (it, &reader->batch) {
        struct read *r = CONTAINER_OF(it, struct read, link);
        struct tw_error error;
        db_rollback(&reader->db); /* a transaction that could not be ended would show the same old snapshot for ever */
        int result = carry_out(reader->store, &reader->db, r, &error);
        /* The file of a task that was removed meanwhile goes after its row: a second look finds neither. */
        if (result < 0 && error.code == TW_DATA_LOSS && (r->kind == READ_INPUT || r->kind == READ_RESULT))
            result = carry_out(reader->store, &reader->db, r, &error);
        if (result == 0)
            continue;
        r->error = malloc(sizeof error);
        if (r->error)
            *r->error = error;
        else
            r->error = &no_memory;
    }
}

static void call_back(struct store *store, const struct read *r)
{
    switch (r->kind) {
    case READ_TASK:
    case READ_CACHED:
        r->cb.task(r->ctx, r->error ? NULL : r->tasks, r->error);
        return;
    case READ_LIST:
        r->cb.list(r->ctx, r->error ? NULL : r->tasks, r->error ? 0 : r->n_tasks, r->error ? 0 : r->next, r->error);
        return;
    case READ_ATTEMPTS:
        r->cb.attempts(r->ctx, r->error ? NULL : r->attempts, r->error ? 0 : r->n_attempts, r->error);
        return;
    case READ_EVENTS:
        r->cb.events(
            r->ctx, r->error ? NULL : r->events, r->error ? 0 : r->n_events, r->error ? r->offset : r->next, r->error);
        return;
    case READ_LOG:
        if (!r->error)
            remember_verified(store, r->seq, r->offset + r->len);
        break;
    case READ_INPUT:
    case READ_RESULT:
        break;
    }
    r->cb.bytes(r->ctx, r->error ? NULL : r->data, r->error ? 0 : r->len, r->error);
}

static void read_job_done(uv_work_t *req, int status)
{
    (void)status; /* only uv_cancel() makes it other than 0 */
    struct reader *reader = CONTAINER_OF(req, struct reader, req);
    struct store *store = reader->store;
    struct list done;
    list_init(&done);
    list_splice(&done, &reader->batch);
    reader->busy = false;
    read_kick(store);
    list_for_each_safe (it, &done) {
        struct read *r = CONTAINER_OF(it, struct read, link);
        list_remove(it);
        call_back(store, r);
        read_free(r);
    }
    store_settle(store);
}

static bool is_small(const struct read *r)
{
    return r->kind == READ_TASK || r->kind == READ_CACHED;
}

static void fill_batch(struct store *store, struct reader *reader)
{
    for (size_t n = 0; n < STORE_READ_BATCH && !list_empty(&store->reads); n++) {
        struct read *r = LIST_FIRST(&store->reads, struct read, link);
        if (n > 0 && !is_small(r))
            break;
        list_remove(&r->link);
        list_push(&reader->batch, &r->link);
        if (!is_small(r))
            break;
    }
}

void read_kick(struct store *store)
{
    for (size_t i = 0; i < STORE_READERS && !list_empty(&store->reads); i++) {
        struct reader *reader = &store->readers[i];
        if (reader->busy)
            continue;
        fill_batch(store, reader);
        reader->busy = true;
        (void)uv_queue_work(store->loop, &reader->req, read_job, read_job_done); /* fails only without a job */
    }
}

/* --- calls --- */

static struct read *read_new(enum read_kind kind, const char *id, void *ctx)
{
    struct read *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    *r = (struct read){.kind = kind, .ctx = ctx, .id = id ? strdup(id) : NULL};
    if (id && !r->id) {
        free(r);
        return NULL;
    }
    return r;
}

static void enqueue(struct store *store, struct read *r)
{
    list_push(&store->reads, &r->link);
    read_kick(store);
}

void store_get(struct store *store, const char *id, store_task_cb cb, void *ctx)
{
    struct read *r = read_new(READ_TASK, id, ctx);
    if (!r) {
        cb(ctx, NULL, &no_memory);
        return;
    }
    r->cb.task = cb;
    enqueue(store, r);
}

void store_find_cached(struct store *store, const char *key, store_task_cb cb, void *ctx)
{
    struct read *r = read_new(READ_CACHED, key, ctx);
    if (!r) {
        cb(ctx, NULL, &no_memory);
        return;
    }
    r->cb.task = cb;
    enqueue(store, r);
}

void store_load_input(struct store *store, uint64_t seq, store_bytes_cb cb, void *ctx)
{
    struct read *r = read_new(READ_INPUT, NULL, ctx);
    if (!r) {
        cb(ctx, NULL, 0, &no_memory);
        return;
    }
    r->seq = seq;
    r->cb.bytes = cb;
    enqueue(store, r);
}

void store_load_result(struct store *store, const char *id, store_bytes_cb cb, void *ctx)
{
    struct read *r = read_new(READ_RESULT, id, ctx);
    if (!r) {
        cb(ctx, NULL, 0, &no_memory);
        return;
    }
    r->cb.bytes = cb;
    enqueue(store, r);
}

void store_list(struct store *store, const struct store_filter *filter, store_list_cb cb, void *ctx)
{
    struct read *r = read_new(READ_LIST, NULL, ctx);
    if (!r || find_init(&r->find, filter) < 0) {
        free(r);
        cb(ctx, NULL, 0, 0, &no_memory);
        return;
    }
    r->cb.list = cb;
    enqueue(store, r);
}

void store_attempts(struct store *store, const char *id, store_attempts_cb cb, void *ctx)
{
    struct read *r = read_new(READ_ATTEMPTS, id, ctx);
    if (!r) {
        cb(ctx, NULL, 0, &no_memory);
        return;
    }
    r->cb.attempts = cb;
    enqueue(store, r);
}

void store_events(
    struct store *store, uint64_t after, bool holes, const struct store_filter *filter, store_events_cb cb, void *ctx)
{
    static const struct store_filter all = {0};
    struct read *r = read_new(READ_EVENTS, NULL, ctx);
    if (!r || find_init(&r->find, filter ? filter : &all) < 0) {
        free(r);
        cb(ctx, NULL, 0, after, &no_memory);
        return;
    }
    r->offset = after;
    r->holes = holes || after == 0;
    r->cb.events = cb;
    enqueue(store, r);
}

void store_log_read(struct store *store, uint64_t seq, uint64_t offset, size_t max_bytes, store_bytes_cb cb, void *ctx)
{
    struct read *r = read_new(READ_LOG, NULL, ctx);
    if (!r) {
        cb(ctx, NULL, 0, &no_memory);
        return;
    }
    const struct store_log *log = tasklog_find(store, seq);
    const struct verified *known = verified_slot(store, seq, offset);
    r->seq = seq;
    r->offset = offset;
    r->max_bytes = MIN(max_bytes, (size_t)LOG_READ_MAX);
    r->limit = log ? store_log_end(log) : INT64_MAX; /* what is being appended right now is for the next read */
    r->verified = (known->seq == seq && known->offset == offset) || (log && offset == r->limit);
    r->cb.bytes = cb;
    enqueue(store, r);
}
