/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes. Each call makes a struct write and queues it; a job takes what has gathered, up to a bound, and carries it out
 * in three steps:
 *   1. prepare: whatever is to be on disk before the row that refers to it (payload files, large logs) is written there
 *      and fsynced. A failure here is the one write's own.
 *   2. one transaction with all of them. A write that the database's contents forbid (id taken, task over) is `refused`
 *      and changes nothing; any other failure rolls the transaction back, and each write is tried on its own.
 *   3. settle: files that nothing refers to (any more) are removed.
 * What a crash leaves between the steps are files without a row, which the next start sweeps away.
 *
 * The job touches its batch, the writer's connection and the folder; the queue and the callbacks are the loop thread's.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "store/write.h"

enum { CACHE_IDLE_BYTES = 2 << 20, SMALL_BATCH = 8 };

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

void write_forget_existing(struct write *w)
{
    if (w->existing)
        store_task_done(w->existing);
    free(w->existing);
    w->existing = NULL;
}

static void write_free(struct write *w)
{
    write_set_error(w, NULL);
    write_forget_existing(w);
    spec_texts_done(&w->texts);
    for (size_t i = 0; i < w->n_parts; i++) {
        write_forget_existing(&w->parts[i]);
        spec_texts_done(&w->parts[i].texts);
    }
    free(w->parts);
    free(w->were_there);
    tw_attempt_info_done(&w->former);
    free(w->message);
    free(w->log_data);
    free(w->pruned);
    free(w);
}

/* --- step 1 --- */

static size_t payload_len(const struct write *w)
{
    size_t len = w->kind == WRITE_ADMIT ? w->task->spec.data_len : w->kind == WRITE_FINISH ? w->result_len : 0;
    for (size_t i = 0; i < w->n_parts; i++)
        len += w->parts[i].task->spec.data_len;
    return len;
}

static void prepare_all(struct store *store)
{
    struct tw_error error;
    bool wrote = false;
    list_for_each (it, &store->batch) {
        struct write *w = CONTAINER_OF(it, struct write, link);
        w->prepared = write_prepare(store, w, &error) == 0;
        if (!w->prepared)
            write_set_error(w, &error);
        wrote |= write_has_files(w);
    }
    if (!wrote || payload_sync(&store->folder, &error) == 0)
        return;
    list_for_each (it, &store->batch) {
        struct write *w = CONTAINER_OF(it, struct write, link);
        if (w->prepared && write_has_files(w)) {
            w->prepared = false;
            write_set_error(w, &error);
        }
    }
}

/* --- step 2 --- */

static int try_transaction(struct store *store, struct list *first, struct list *end, struct tw_error *error)
{
    db_rollback(&store->writer); /* one that could not be rolled back before */
    store->event = store->last_event;
    store->added = (struct store_count){0};
    if (db_do(&store->writer, STORE_SQL_BEGIN_WRITE, error) < 0)
        return -1;
    for (struct list *it = first; it != end; it = it->next) {
        struct write *w = CONTAINER_OF(it, struct write, link);
        if (!w->prepared)
            continue;
        enum outcome outcome = write_apply(store, w, error);
        if (outcome == OUTCOME_FAILED)
            return -1;
        if (outcome == OUTCOME_REFUSED)
            write_set_error(w, error);
    }
    return db_do(&store->writer, STORE_SQL_COMMIT, error);
}

/* One transaction over the prepared writes from `first` to before `end`. -1: each of them has the
 * error. */
static int transact(struct store *store, struct list *first, struct list *end, struct tw_error *error)
{
    if (try_transaction(store, first, end, error) == 0) {
        atomic_fetch_add(&store->commits, 1);
        store->last_event = store->event;
        store->there.tasks += store->added.tasks;
        store->there.bytes += store->added.bytes;
        return 0;
    }
    db_rollback(&store->writer);
    for (struct list *it = first; it != end; it = it->next) {
        struct write *w = CONTAINER_OF(it, struct write, link);
        if (!w->prepared)
            continue;
        write_forget_existing(w);
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

/*
 * A commit that failed with an I/O error may be on the disk for all that, and come back after a power cut until the next
 * one takes its place: its files stay, and the next start decides.
 */
static bool is_surely_absent(const struct tw_error *error)
{
    return error->code != TW_INTERNAL && error->code != TW_DATA_LOSS;
}

static void settle_payload(struct store *store, const struct write *w, const struct tw_error *error)
{
    if (w->file[0] != '\0' && (w->existing || (error && is_surely_absent(error))))
        payload_unlink(&store->folder, w->file);
}

static void settle_files(struct store *store)
{
    list_for_each (it, &store->batch) {
        struct write *w = CONTAINER_OF(it, struct write, link);
        settle_payload(store, w, w->error);
        for (size_t i = 0; i < w->n_parts; i++)
            settle_payload(store, &w->parts[i], w->error);
        if (!w->error)
            settle_pruned(store, w);
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

static void call_back_batch(struct write *w)
{
    for (size_t i = 0; i < w->n_parts; i++) {
        struct write *part = &w->parts[i];
        if (!w->error && !part->existing)
            part->task->seq = part->seq;
        w->were_there[i] = part->existing;
    }
    w->batch_cb(w->ctx, w->error ? NULL : w->were_there, w->error);
}

static void call_back(struct write *w)
{
    if (w->kind == WRITE_BATCH) {
        call_back_batch(w);
        return;
    }
    if (w->kind == WRITE_PRUNE) {
        w->pruned_cb(w->ctx, w->error ? 0 : w->n_pruned, !w->error && w->prune_more, w->error);
        return;
    }
    if (w->kind != WRITE_ADMIT) {
        w->done_cb(w->ctx, w->error);
        return;
    }
    if (!w->error && !w->existing)
        w->task->seq = w->seq;
    w->admit_cb(w->ctx, w->error ? NULL : w->existing, w->error);
}

static void call_all_back(struct list *done)
{
    list_for_each_safe (it, done) {
        struct write *w = CONTAINER_OF(it, struct write, link);
        list_remove(it);
        call_back(w);
        write_free(w);
    }
}

static void go_on(struct store *store);

static void room_job(uv_work_t *req)
{
    struct store *store = CONTAINER_OF(req, struct store, write_req);
    struct tw_error error;
    /* Within a transaction, although nothing is written in it: so no other program that has the database open writes either. */
    store->wants_room = db_do(&store->writer, STORE_SQL_BEGIN_WRITE, &error) == 0 && journal_make_room(&store->folder);
    db_rollback(&store->writer);
}

static void room_job_done(uv_work_t *req, int status)
{
    (void)status;
    struct store *store = CONTAINER_OF(req, struct store, write_req);
    store->writing = false;
    go_on(store);
}

/* What waits is written first; room for it is made while nothing does. */
static void go_on(struct store *store)
{
    write_kick(store);
    if (!store->writing && store->wants_room && !store->closing) {
        store->writing = true;
        (void)uv_queue_work(store->loop, &store->write_req, room_job, room_job_done); /* fails only without a job */
    }
    store_settle(store);
}

static void tell_events(struct store *store, uint64_t last)
{
    if (last == store->told_event)
        return;
    store->told_event = last;
    if (store->on_event)
        store->on_event(store->on_event_ctx);
}

uint64_t store_last_event(const struct store *store)
{
    return store->told_event;
}

void store_set_on_event(struct store *store, void (*cb)(void *ctx), void *ctx)
{
    store->on_event = cb;
    store->on_event_ctx = ctx;
}

static void write_job_done(uv_work_t *req, int status)
{
    (void)status; /* only uv_cancel() makes it other than 0 */
    struct store *store = CONTAINER_OF(req, struct store, write_req);
    struct list done;
    list_init(&done);
    list_splice(&done, &store->batch);
    store->writing = false;
    uint64_t last_event = store->last_event;
    /* The disk works on while we call back; what the callbacks queue then gathers for the job after
     * that. */
    write_kick(store);
    store->calling = true;
    call_all_back(&done);
    store->calling = false;
    tell_events(store, last_event);
    go_on(store);
}

/* Moves the next job's worth of writes from the queue to the batch. */
static void take_batch(struct store *store)
{
    size_t n = 0, bytes = 0;
    while (!list_empty(&store->writes) && n < STORE_WRITE_BATCH && bytes < STORE_WRITE_BYTES) {
        struct write *w = LIST_FIRST(&store->writes, struct write, link);
        list_remove(&w->link);
        list_push(&store->batch, &w->link);
        n++;
        bytes += payload_len(w);
    }
}

void write_kick(struct store *store)
{
    if (store->writing || store->calling || list_empty(&store->writes))
        return;
    take_batch(store);
    store->writing = true;
    (void)uv_queue_work(store->loop, &store->write_req, write_job, write_job_done); /* fails only without a job */
}

void write_hold(struct store *store)
{
    store->calling = true;
}

void write_release(struct store *store)
{
    while (!list_empty(&store->writes)) {
        take_batch(store);
        write_job(&store->write_req);
        struct list done;
        list_init(&done);
        list_splice(&done, &store->batch);
        call_all_back(&done);
    }
    store->calling = false;
    store->told_event = store->last_event;
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

static void enqueue_batch(
    struct store *store, struct store_task *tasks, size_t n, bool only_known, store_batch_cb cb, void *ctx)
{
    struct write *w = write_new(WRITE_BATCH, 0, ctx);
    struct write *parts = w ? calloc(n ? n : 1, sizeof *parts) : NULL;
    bool *were_there = parts ? calloc(n ? n : 1, sizeof *were_there) : NULL;
    if (!were_there) {
        free(parts);
        free(w);
        cb(ctx, NULL, &no_memory);
        return;
    }
    for (size_t i = 0; i < n; i++)
        parts[i] = (struct write){.kind = WRITE_ADMIT, .task = &tasks[i]};
    w->parts = parts;
    w->were_there = were_there;
    w->n_parts = n;
    w->only_known = only_known;
    w->batch_cb = cb;
    enqueue(store, w);
}

void store_admit_batch(struct store *store, struct store_task *tasks, size_t n, store_batch_cb cb, void *ctx)
{
    enqueue_batch(store, tasks, n, false, cb, ctx);
}

void store_check_batch(struct store *store, struct store_task *tasks, size_t n, store_batch_cb cb, void *ctx)
{
    enqueue_batch(store, tasks, n, true, cb, ctx);
}

static int copy_attempt(struct tw_attempt_info *to, const struct tw_task_info *from)
{
    *to = (struct tw_attempt_info){
        .attempt = from->attempt,
        .reason = from->reason,
        .message = strdup(from->message ? from->message : ""),
        .error = strdup(from->error ? from->error : ""),
        .exit_code = from->exit_code,
        .signal = from->signal,
        .started_us = from->started_us,
        .finished_us = from->finished_us,
        .usage = from->usage,
        .receipt = from->receipt,
    };
    return to->message && to->error ? 0 : -ENOMEM;
}

void store_requeue(
    struct store *store, uint64_t seq, const struct store_requeued *requeued, store_done_cb cb, void *ctx)
{
    struct write *w = write_new(WRITE_REQUEUE, seq, ctx);
    if (!w) {
        cb(ctx, &no_memory);
        return;
    }
    w->attempt = requeued->attempt;
    w->not_before_us = requeued->not_before_us;
    w->message = strdup(requeued->message ? requeued->message : "");
    w->done_cb = cb;
    if (!w->message || (requeued->ended && copy_attempt(&w->former, requeued->ended) < 0)) {
        write_free(w);
        cb(ctx, &no_memory);
        return;
    }
    enqueue(store, w);
}

void store_set_number(struct store *store, const char *name, uint64_t value, store_done_cb cb, void *ctx)
{
    struct write *w = write_new(WRITE_NUMBER, 0, ctx);
    if (!w) {
        cb(ctx, &no_memory);
        return;
    }
    w->name = name;
    w->number = value;
    w->done_cb = cb;
    enqueue(store, w);
}

void store_pause(struct store *store, uint64_t seq, bool paused, store_done_cb cb, void *ctx)
{
    struct write *w = write_new(WRITE_PAUSE, seq, ctx);
    if (!w) {
        cb(ctx, &no_memory);
        return;
    }
    w->paused = paused;
    w->done_cb = cb;
    enqueue(store, w);
}

void store_stopping(struct store *store, uint64_t seq, store_done_cb cb, void *ctx)
{
    struct write *w = write_new(WRITE_STOPPING, seq, ctx);
    if (!w) {
        cb(ctx, &no_memory);
        return;
    }
    w->done_cb = cb;
    enqueue(store, w);
}

void store_prune(struct store *store, const struct store_retention *keep, store_pruned_cb cb, void *ctx)
{
    struct write *w = write_new(WRITE_PRUNE, 0, ctx);
    if (!w) {
        cb(ctx, 0, false, &no_memory);
        return;
    }
    w->keep = *keep;
    w->pruned_cb = cb;
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
