/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes. Each call makes a struct write and queues it; a job takes what has gathered, up to a
 * bound, and carries it out in three steps:
 *   1. prepare: whatever is to be on disk before the row that refers to it (payload files, large
 * logs) is written there and fsynced. A failure here is the one write's own.
 *   2. one transaction with all of them. A write that the database's contents forbid (id taken,
 * task over) is `refused` and changes nothing; any other failure rolls the transaction back, and
 * each write is tried on its own.
 *   3. settle: files that nothing refers to (any more) are removed.
 * What a crash leaves between the steps are files without a row, which the next start sweeps away.
 *
 * The job touches its batch, the writer's connection and the folder; the queue and the callbacks
 * are the loop thread's.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "store/internal.h"

enum { CACHE_IDLE_BYTES = 2 << 20, SMALL_BATCH = 8 };

enum write_kind {
    WRITE_ADMIT,
    WRITE_ATTEMPT,
    WRITE_REQUEUE,
    WRITE_FINISH,
};

enum outcome {
    OUTCOME_OK,
    OUTCOME_REFUSED, /* by the contents; nothing was changed */
    OUTCOME_FAILED,  /* the transaction is of no use any more */
};

struct write {
    struct list link;
    enum write_kind kind;
    uint64_t seq;
    struct tw_error *error; /* the outcome, NULL: success; owned unless it is &no_memory */
    bool prepared;          /* step 1 went well */
    void *ctx;

    /* admit; `task` is the caller's */
    struct store_task *task;
    struct store_task *existing; /* the id is taken by the same content */
    char *args, *env;
    store_admit_cb admit_cb;

    /* attempt */
    uint32_t attempt;
    uint64_t started_us;

    /* finish; `info` and `result` are the caller's */
    const struct tw_task_info *info;
    const void *result;
    size_t result_len;
    struct log_state log;
    bool log_known;   /* `log` was taken from the open log */
    bool log_dropped; /* the log file goes once this is committed: its content is in the row, or it
                         has none */
    uint8_t *log_data;
    store_done_cb done_cb;

    char file[PAYLOAD_NAME_MAX]; /* of the input or the result, "" for none */
};

static struct tw_error no_memory = {.code = TW_RESOURCE_EXHAUSTED, .sys_errno = ENOMEM, .message = "out of memory"};

static void write_set_error(struct write *w, const struct tw_error *error)
{
    if (w->error != &no_memory)
        free(w->error);
    w->error = NULL;
    if (!error)
        return;
    w->error = malloc(sizeof *error);
    if (w->error)
        *w->error = *error;
    else
        w->error = &no_memory;
}

static void forget_existing(struct write *w)
{
    if (w->existing)
        store_task_done(w->existing);
    free(w->existing);
    w->existing = NULL;
}

static void write_free(struct write *w)
{
    write_set_error(w, NULL);
    forget_existing(w);
    free(w->args);
    free(w->env);
    free(w->log_data);
    free(w);
}

/* --- step 1 --- */

static size_t payload_len(const struct write *w)
{
    return w->kind == WRITE_ADMIT ? w->task->spec.data_len : w->kind == WRITE_FINISH ? w->result_len : 0;
}

static int prepare_payload(struct store *store, struct write *w, const void *data, size_t len, struct tw_error *error)
{
    return len > STORE_INLINE_MAX ? payload_write(&store->folder, data, len, w->file, error) : 0;
}

static int prepare_admit(struct store *store, struct write *w, struct tw_error *error)
{
    const struct store_task *task = w->task;
    if (row_encode_spec(&task->spec, &w->args, &w->env, error) < 0)
        return -1;
    if (task->spec.data_len > STORE_INLINE_MAX) {
        /* Do not write a large file for a task that is only handed in again. */
        CLEANUP_QUERY struct db_query q = db_query(&store->writer, STORE_SQL_SEQ_OF_ID);
        db_bind_text(&q, 1, task->info.id);
        int r = db_step(&q, error);
        if (r != 0)
            return r < 0 ? -1 : 0;
    }
    return prepare_payload(store, w, task->spec.data, task->spec.data_len, error);
}

static int log_error_set(const struct store *store, const struct write *w, int err, struct tw_error *error)
{
    return error_set_errno(
        error, err, "cannot keep the log of task %llu in %s/logs", (unsigned long long)w->seq, store->folder.path);
}

static int prepare_log(struct store *store, struct write *w, struct tw_error *error)
{
    CLEANUP_FD int fd = tasklog_open_file(&store->folder, w->seq, O_RDONLY);
    if (fd < 0) {
        w->log = (struct log_state){.truncated = w->log.truncated};
        return fd == -ENOENT ? 0 : log_error_set(store, w, fd, error);
    }
    int r = 0;
    if (!w->log_known) {
        bool truncated = w->log.truncated;
        r = tasklog_scan(fd, UINT64_MAX, &w->log);
        w->log.truncated |= truncated;
    }
    if (r < 0)
        return log_error_set(store, w, r, error);
    w->log_dropped = w->log.end <= STORE_INLINE_MAX;
    if (w->log.end == 0)
        return 0;
    if (!w->log_dropped) {
        r = tasklog_sync(&store->folder, w->seq, fd);
        return r < 0 ? log_error_set(store, w, r, error) : 0;
    }
    w->log_data = malloc((size_t)w->log.end);
    if (!w->log_data)
        return error_oom(error);
    ssize_t n = fd_read_all(fd, w->log_data, (size_t)w->log.end);
    if (n != (ssize_t)w->log.end)
        return log_error_set(store, w, n < 0 ? (int)n : EIO, error);
    return 0;
}

static int prepare(struct store *store, struct write *w, struct tw_error *error)
{
    switch (w->kind) {
    case WRITE_ADMIT:
        return prepare_admit(store, w, error);
    case WRITE_FINISH:
        if (w->info->state < TW_TASK_COMPLETED || w->info->state > TW_TASK_STOPPED)
            return error_set(error, TW_INVALID_ARGUMENT, "task %llu cannot end in state %d", (unsigned long long)w->seq,
                (int)w->info->state);
        if (prepare_log(store, w, error) < 0)
            return -1;
        return prepare_payload(store, w, w->result, w->result_len, error);
    case WRITE_ATTEMPT:
    case WRITE_REQUEUE:
        break;
    }
    return 0;
}

static void prepare_all(struct store *store)
{
    struct tw_error error;
    bool wrote = false;
    list_for_each (it, &store->batch) {
        struct write *w = CONTAINER_OF(it, struct write, link);
        w->prepared = prepare(store, w, &error) == 0;
        if (!w->prepared)
            write_set_error(w, &error);
        wrote |= w->file[0] != '\0';
    }
    if (!wrote || payload_sync(&store->folder, &error) == 0)
        return;
    list_for_each (it, &store->batch) {
        struct write *w = CONTAINER_OF(it, struct write, link);
        if (w->prepared && w->file[0] != '\0') {
            w->prepared = false;
            write_set_error(w, &error);
        }
    }
}

/* --- step 2 --- */

static enum outcome of(int r)
{
    return r < 0 ? OUTCOME_FAILED : OUTCOME_OK;
}

static const char *or_empty(const char *s)
{
    return s ? s : "";
}

/* Binds data and file, of which at most one is there. */
static void bind_payload(struct db_query *q, int at, const struct write *w, const void *data, size_t len)
{
    if (w->file[0] != '\0')
        db_bind_text(q, at + 1, w->file);
    else if (len > 0)
        db_bind_blob(q, at, data, len);
}

static enum outcome apply_existing(struct store *store, struct write *w, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&store->writer, STORE_SQL_GET);
    db_bind_text(&q, 1, w->task->info.id);
    int r = db_step(&q, error);
    if (r == 0)
        error_set(error, TW_INTERNAL, "task '%s' is in the index of %s and not in it", w->task->info.id,
            store->folder.db_path);
    if (r <= 0)
        return OUTCOME_FAILED;
    w->existing = calloc(1, sizeof *w->existing);
    if (!w->existing)
        return of(error_oom(error));
    if (row_load(&q, true, w->existing, error) < 0)
        return OUTCOME_FAILED;
    if (memcmp(w->existing->digest, w->task->digest, STORE_DIGEST_LEN) == 0)
        return OUTCOME_OK;
    forget_existing(w);
    error_set(error, TW_ALREADY_EXISTS, "task '%s' exists with other content: choose another id", w->task->info.id);
    return OUTCOME_REFUSED;
}

static enum outcome apply_input(struct store *store, struct write *w, struct tw_error *error)
{
    const struct store_spec *spec = &w->task->spec;
    if (spec->data_len > STORE_INLINE_MAX && w->file[0] == '\0') {
        error_set(error, TW_ABORTED, "another program removed task '%s' from %s: hand it in again", w->task->info.id,
            store->folder.db_path);
        return OUTCOME_FAILED;
    }
    CLEANUP_QUERY struct db_query q = db_query(&store->writer, STORE_SQL_ADMIT_INPUT);
    db_bind_u64(&q, 1, w->seq);
    db_bind_text(&q, 2, w->args);
    db_bind_text(&q, 3, w->env);
    db_bind_u64(&q, 4, spec->data_len);
    bind_payload(&q, 5, w, spec->data, spec->data_len);
    return of(db_run(&q, error));
}

static enum outcome apply_admit(struct store *store, struct write *w, struct tw_error *error)
{
    const struct tw_task_info *info = &w->task->info;
    {
        CLEANUP_QUERY struct db_query q = db_query(&store->writer, STORE_SQL_ADMIT);
        db_bind_text(&q, 1, or_empty(info->id));
        db_bind_text(&q, 2, or_empty(info->type));
        db_bind_text(&q, 3, or_empty(info->owner));
        db_bind_int(&q, 4, info->state);
        db_bind_int(&q, 5, info->reason);
        db_bind_text(&q, 6, or_empty(info->message));
        db_bind_text(&q, 7, or_empty(info->error));
        db_bind_int(&q, 8, info->attempt);
        db_bind_int(&q, 9, info->retries);
        db_bind_u64(&q, 10, info->timeout_us);
        db_bind_u64(&q, 11, info->created_us);
        db_bind_blob(&q, 12, w->task->digest, STORE_DIGEST_LEN);
        if (db_run(&q, error) < 0)
            return OUTCOME_FAILED;
    }
    if (sqlite3_changes(store->writer.handle) == 0)
        return apply_existing(store, w, error);
    w->seq = (uint64_t)sqlite3_last_insert_rowid(store->writer.handle);
    return apply_input(store, w, error);
}

/* Why an UPDATE of an open task found none. */
static enum outcome refuse_update(struct store *store, struct write *w, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&store->writer, STORE_SQL_STATE);
    db_bind_u64(&q, 1, w->seq);
    int r = db_step(&q, error);
    if (r < 0)
        return OUTCOME_FAILED;
    if (r == 0)
        error_set(error, TW_NOT_FOUND, "there is no task number %llu", (unsigned long long)w->seq);
    else
        error_set(error, TW_FAILED_PRECONDITION, "task number %llu has ended", (unsigned long long)w->seq);
    return OUTCOME_REFUSED;
}

static enum outcome run_update(struct store *store, struct write *w, struct db_query *q, struct tw_error *error)
{
    if (db_run(q, error) < 0)
        return OUTCOME_FAILED;
    return sqlite3_changes(store->writer.handle) == 0 ? refuse_update(store, w, error) : OUTCOME_OK;
}

static enum outcome apply_attempt(struct store *store, struct write *w, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&store->writer, STORE_SQL_ATTEMPT);
    db_bind_u64(&q, 1, w->seq);
    db_bind_int(&q, 2, w->attempt);
    db_bind_u64(&q, 3, w->started_us);
    return run_update(store, w, &q, error);
}

static enum outcome apply_requeue(struct store *store, struct write *w, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&store->writer, STORE_SQL_REQUEUE);
    db_bind_u64(&q, 1, w->seq);
    return run_update(store, w, &q, error);
}

static enum outcome apply_end(struct store *store, struct write *w, struct tw_error *error)
{
    const struct tw_task_info *info = w->info;
    CLEANUP_QUERY struct db_query q = db_query(&store->writer, STORE_SQL_FINISH);
    db_bind_u64(&q, 1, w->seq);
    db_bind_int(&q, 2, info->state);
    db_bind_int(&q, 3, info->reason);
    db_bind_text(&q, 4, or_empty(info->message));
    db_bind_text(&q, 5, or_empty(info->error));
    db_bind_int(&q, 6, info->exit_code);
    db_bind_int(&q, 7, info->signal);
    db_bind_int(&q, 8, info->attempt);
    db_bind_u64(&q, 9, info->started_us);
    db_bind_u64(&q, 10, info->finished_us);
    db_bind_u64(&q, 11, w->result_len);
    db_bind_u64(&q, 12, w->log.kept);
    db_bind_int(&q, 13, w->log.truncated);
    db_bind_u64(&q, 14, info->usage.wall_us);
    db_bind_u64(&q, 15, info->usage.user_us);
    db_bind_u64(&q, 16, info->usage.system_us);
    db_bind_u64(&q, 17, info->usage.max_rss_bytes);
    return run_update(store, w, &q, error);
}

static enum outcome apply_finish(struct store *store, struct write *w, struct tw_error *error)
{
    enum outcome outcome = apply_end(store, w, error);
    if (outcome == OUTCOME_OK && w->result_len > 0) {
        CLEANUP_QUERY struct db_query q = db_query(&store->writer, STORE_SQL_FINISH_RESULT);
        db_bind_u64(&q, 1, w->seq);
        db_bind_u64(&q, 2, w->result_len);
        bind_payload(&q, 3, w, w->result, w->result_len);
        outcome = of(db_run(&q, error));
    }
    if (outcome == OUTCOME_OK && w->log.end > 0) {
        CLEANUP_QUERY struct db_query q = db_query(&store->writer, STORE_SQL_FINISH_LOG);
        db_bind_u64(&q, 1, w->seq);
        db_bind_u64(&q, 2, w->log.end);
        db_bind_blob(&q, 3, w->log_data, w->log_data ? (size_t)w->log.end : 0);
        outcome = of(db_run(&q, error));
    }
    return outcome;
}

static enum outcome apply(struct store *store, struct write *w, struct tw_error *error)
{
    switch (w->kind) {
    case WRITE_ADMIT:
        return apply_admit(store, w, error);
    case WRITE_ATTEMPT:
        return apply_attempt(store, w, error);
    case WRITE_REQUEUE:
        return apply_requeue(store, w, error);
    case WRITE_FINISH:
        return apply_finish(store, w, error);
    }
    return OUTCOME_FAILED;
}

static int run_query(struct store *store, enum store_statement which, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&store->writer, which);
    return db_run(&q, error);
}

static int try_transaction(struct store *store, struct list *first, struct list *end, struct tw_error *error)
{
    db_rollback(&store->writer); /* one that could not be rolled back before */
    if (run_query(store, STORE_SQL_BEGIN_WRITE, error) < 0)
        return -1;
    for (struct list *it = first; it != end; it = it->next) {
        struct write *w = CONTAINER_OF(it, struct write, link);
        if (!w->prepared)
            continue;
        enum outcome outcome = apply(store, w, error);
        if (outcome == OUTCOME_FAILED)
            return -1;
        if (outcome == OUTCOME_REFUSED)
            write_set_error(w, error);
    }
    return run_query(store, STORE_SQL_COMMIT, error);
}

/* One transaction over the prepared writes from `first` to before `end`. -1: each of them has the
 * error. */
static int transact(struct store *store, struct list *first, struct list *end, struct tw_error *error)
{
    if (try_transaction(store, first, end, error) == 0) {
        atomic_fetch_add(&store->commits, 1);
        return 0;
    }
    db_rollback(&store->writer);
    for (struct list *it = first; it != end; it = it->next) {
        struct write *w = CONTAINER_OF(it, struct write, link);
        if (!w->prepared)
            continue;
        forget_existing(w);
        write_set_error(w, error);
    }
    return -1;
}

/* Would each write alone fare better? Not when the database is damaged, or locked for longer than
 * anybody should wait. */
static bool worth_another_try(const struct tw_error *error)
{
    return error->code != TW_DATA_LOSS && error->code != TW_UNAVAILABLE;
}

static void transact_all(struct store *store)
{
    struct tw_error error;
    struct list *head = &store->batch;
    bool alone = head->next->next == head;
    if (transact(store, head->next, head, &error) == 0)
        return;
    log_warning("writing to the store failed%s: %s", alone ? "" : ", trying each write alone", error.message);
    if (alone || !worth_another_try(&error))
        return;
    list_for_each (it, head) {
        struct write *w = CONTAINER_OF(it, struct write, link);
        if (!w->prepared)
            continue;
        write_set_error(w, NULL);
        (void)transact(store, it, it->next, &error);
    }
}

/* --- step 3 --- */

static void settle_files(struct store *store)
{
    list_for_each (it, &store->batch) {
        struct write *w = CONTAINER_OF(it, struct write, link);
        if (w->file[0] != '\0' && (w->error || w->existing))
            payload_unlink(&store->folder, w->file);
        if (w->log_dropped && !w->error)
            tasklog_unlink(&store->folder, w->seq);
    }
}

/* A small batch says that the burst is over: the pages it needed go, so that an idle node stays small. */
static void trim_cache(struct store *store)
{
    int used = 0, highest;
    size_t n = 0;
    list_for_each (it, &store->batch)
        n++;
    if (n > SMALL_BATCH)
        return;
    sqlite3_db_status(store->writer.handle, SQLITE_DBSTATUS_CACHE_USED, &used, &highest, 0);
    if (used > CACHE_IDLE_BYTES)
        sqlite3_db_release_memory(store->writer.handle);
}

static void write_job(uv_work_t *req)
{
    struct store *store = CONTAINER_OF(req, struct store, write_req);
    prepare_all(store);
    transact_all(store);
    settle_files(store);
    trim_cache(store);
}

/* --- the queue --- */

static void call_back(struct write *w)
{
    if (w->kind != WRITE_ADMIT) {
        w->done_cb(w->ctx, w->error);
        return;
    }
    if (!w->error && !w->existing)
        w->task->seq = w->seq;
    w->admit_cb(w->ctx, w->error ? NULL : w->existing, w->error);
}

static void write_job_done(uv_work_t *req, int status)
{
    (void)status; /* only uv_cancel() makes it other than 0 */
    struct store *store = CONTAINER_OF(req, struct store, write_req);
    struct list done;
    list_init(&done);
    list_splice(&done, &store->batch);
    store->writing = false;
    /* The disk works on while we call back; what the callbacks queue then gathers for the job after
     * that. */
    write_kick(store);
    store->calling = true;
    list_for_each_safe (it, &done) {
        struct write *w = CONTAINER_OF(it, struct write, link);
        list_remove(it);
        call_back(w);
        write_free(w);
    }
    store->calling = false;
    write_kick(store);
    store_settle(store);
}

void write_kick(struct store *store)
{
    if (store->writing || store->calling || list_empty(&store->writes))
        return;
    size_t n = 0, bytes = 0;
    while (!list_empty(&store->writes) && n < STORE_WRITE_BATCH && bytes < STORE_WRITE_BYTES) {
        struct write *w = LIST_FIRST(&store->writes, struct write, link);
        list_remove(&w->link);
        list_push(&store->batch, &w->link);
        n++;
        bytes += payload_len(w);
    }
    store->writing = true;
    (void)uv_queue_work(store->loop, &store->write_req, write_job, write_job_done); /* fails only without a job */
}

static struct write *write_new(enum write_kind kind, uint64_t seq, void *ctx)
{
    struct write *w = calloc(1, sizeof *w);
    if (w)
        *w = (struct write){.kind = kind, .seq = seq, .ctx = ctx};
    return w;
}

static void enqueue(struct store *store, struct write *w)
{
    list_push(&store->writes, &w->link);
    write_kick(store);
}

void store_admit(struct store *store, struct store_task *task, store_admit_cb cb, void *ctx)
{
    struct write *w = write_new(WRITE_ADMIT, 0, ctx);
    if (!w) {
        cb(ctx, NULL, &no_memory);
        return;
    }
    w->task = task;
    w->admit_cb = cb;
    enqueue(store, w);
}

void store_attempt(
    struct store *store, uint64_t seq, uint32_t attempt, uint64_t started_us, store_done_cb cb, void *ctx)
{
    struct write *w = write_new(WRITE_ATTEMPT, seq, ctx);
    if (!w) {
        cb(ctx, &no_memory);
        return;
    }
    w->attempt = attempt;
    w->started_us = started_us;
    w->done_cb = cb;
    enqueue(store, w);
}

void store_requeue(struct store *store, uint64_t seq, store_done_cb cb, void *ctx)
{
    struct write *w = write_new(WRITE_REQUEUE, seq, ctx);
    if (!w) {
        cb(ctx, &no_memory);
        return;
    }
    w->done_cb = cb;
    enqueue(store, w);
}

void store_finish(struct store *store, uint64_t seq, const struct tw_task_info *info, const void *result,
    size_t result_len, store_done_cb cb, void *ctx)
{
    struct write *w = write_new(WRITE_FINISH, seq, ctx);
    if (!w) {
        cb(ctx, &no_memory);
        return;
    }
    w->info = info;
    w->result = result;
    w->result_len = result_len;
    w->done_cb = cb;
    struct store_log *log = tasklog_find(store, seq);
    w->log_known = log && tasklog_seal(log, &w->log);
    enqueue(store, w);
}
