/* SPDX-License-Identifier: Apache-2.0 */
/* What each kind of write does: to files before the transaction (write_prepare), to the database in it (write_apply). */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/text.h"
#include "store/write.h"

/* --- before the transaction --- */

static int prepare_payload(struct store *store, struct write *w, const void *data, size_t len, struct tw_error *error)
{
    return len > STORE_INLINE_MAX ? payload_write(&store->folder, data, len, w->file, error) : 0;
}

/* What is no text could not be read again. */
static int check_labels(const struct tw_task_info *info, struct tw_error *error)
{
    for (size_t i = 0; i < info->n_labels; i++) {
        const struct tw_label *label = &info->labels[i];
        if (!text_is_utf8(label->key, strlen(label->key)) || !text_is_utf8(label->value, strlen(label->value)))
            return error_set(error, TW_INVALID_ARGUMENT, "label %zu of task '%s' is not valid UTF-8", i + 1, info->id);
    }
    return 0;
}

static int prepare_admit(struct store *store, struct write *w, struct tw_error *error)
{
    const struct store_task *task = w->task;
    if (!task->info.id || task->info.id[0] == '\0')
        return error_set(error, TW_INVALID_ARGUMENT, "a task needs an id");
    if (task->spec.data_len > 0 && !task->spec.data)
        return error_set(error, TW_INVALID_ARGUMENT, "the data of task '%s' is not loaded", task->info.id);
    spec_texts_done(&w->texts);
    if (check_labels(&task->info, error) < 0 || row_encode_spec(&task->spec, &w->texts, error) < 0)
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

int write_prepare(struct store *store, struct write *w, struct tw_error *error)
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
    case WRITE_BATCH:
        for (size_t i = 0; i < w->n_parts && !w->only_known; i++) {
            if (prepare_admit(store, &w->parts[i], error) < 0)
                return -1;
        }
        break;
    case WRITE_ATTEMPT:
    case WRITE_REQUEUE:
    case WRITE_PAUSE:
    case WRITE_STOPPING:
    case WRITE_NUMBER:
    case WRITE_PRUNE:
        break;
    }
    return 0;
}

bool write_has_files(const struct write *w)
{
    bool any = w->file[0] != '\0';
    for (size_t i = 0; i < w->n_parts; i++)
        any |= w->parts[i].file[0] != '\0';
    return any;
}

/* --- in the transaction --- */

enum outcome write_outcome(int r)
{
    return r < 0 ? OUTCOME_FAILED : OUTCOME_OK;
}

enum outcome write_event(struct store *store, uint64_t seq, enum tw_event_kind kind, uint32_t attempt,
    enum tw_reason reason, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&store->writer, STORE_SQL_EVENT);
    db_bind_u64(&q, 1, seq);
    db_bind_u64(&q, 2, clock_wall_us());
    db_bind_int(&q, 3, kind);
    db_bind_int(&q, 4, attempt);
    db_bind_int(&q, 5, reason);
    if (db_run(&q, error) < 0)
        return OUTCOME_FAILED;
    store->event = (uint64_t)sqlite3_last_insert_rowid(store->writer.handle);
    return OUTCOME_OK;
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
        return write_outcome(error_oom(error));
    if (row_load(&q, true, w->existing, error) < 0)
        return OUTCOME_FAILED;
    if (memcmp(w->existing->digest, w->task->digest, STORE_DIGEST_LEN) == 0)
        return OUTCOME_OK;
    write_forget_existing(w);
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
    db_bind_text(&q, 2, w->texts.args);
    db_bind_text(&q, 3, w->texts.env);
    db_bind_u64(&q, 4, spec->data_len);
    bind_payload(&q, 5, w, spec->data, spec->data_len);
    db_bind_text(&q, 7, w->texts.options);
    return write_outcome(db_run(&q, error));
}

/* The task that another is to come after: its number, and how it stands. */
static enum outcome find_dep(
    struct store *store, const struct write *w, struct tw_after *after, uint64_t *ret_seq, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&store->writer, STORE_SQL_DEP_OF_ID);
    db_bind_text(&q, 1, after->id);
    db_bind_text(&q, 2, w->task->info.owner);
    int r = db_step(&q, error);
    if (r < 0)
        return OUTCOME_FAILED;
    bool hidden = r > 0 && w->task->spec.after_own && db_int(&q, 2);
    if (r == 0 || hidden || db_u64(&q, 0) == w->seq) { /* itself is not there either, yet */
        error_set(error, TW_INVALID_ARGUMENT, "task '%s' cannot come after '%s': there is no such task",
            w->task->info.id, after->id);
        return OUTCOME_REFUSED;
    }
    *ret_seq = db_u64(&q, 0);
    after->state = (enum tw_task_state)db_int(&q, 1);
    if (after->state > TW_TASK_COMPLETED && !w->task->spec.after_any) {
        error_set(error, TW_FAILED_PRECONDITION, "task '%s' cannot come after '%s', which has ended as %s",
            w->task->info.id, after->id, tw_task_state_to_string(after->state));
        return OUTCOME_REFUSED;
    }
    return OUTCOME_OK;
}

static enum outcome apply_deps(struct store *store, struct write *w, struct tw_error *error)
{
    struct tw_task_info *info = &w->task->info;
    for (size_t i = 0; i < info->n_after; i++) {
        uint64_t on_seq = 0;
        enum outcome outcome = find_dep(store, w, &info->after[i], &on_seq, error);
        if (outcome != OUTCOME_OK)
            return outcome;
        CLEANUP_QUERY struct db_query q = db_query(&store->writer, STORE_SQL_ADMIT_DEP);
        db_bind_u64(&q, 1, w->seq);
        db_bind_u64(&q, 2, on_seq);
        if (db_run(&q, error) < 0)
            return OUTCOME_FAILED;
    }
    return OUTCOME_OK;
}

static enum outcome apply_labels(struct store *store, struct write *w, struct tw_error *error)
{
    const struct tw_task_info *info = &w->task->info;
    for (size_t i = 0; i < info->n_labels; i++) {
        CLEANUP_QUERY struct db_query q = db_query(&store->writer, STORE_SQL_ADMIT_LABEL);
        db_bind_text(&q, 1, info->labels[i].key);
        db_bind_text(&q, 2, info->labels[i].value);
        db_bind_u64(&q, 3, w->seq);
        if (db_run(&q, error) < 0)
            return OUTCOME_FAILED;
    }
    return OUTCOME_OK;
}

/* The row itself; false in *ret_new: the id is taken. */
static enum outcome insert_task(struct store *store, struct write *w, bool *ret_new, struct tw_error *error)
{
    const struct tw_task_info *info = &w->task->info;
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
    db_bind_int(&q, 13, info->priority);
    db_bind_u64(&q, 14, info->not_before_us);
    db_bind_u64(&q, 15, info->queue_timeout_us);
    db_bind_u64(&q, 16, info->retry_delay_us);
    db_bind_text(&q, 17, or_empty(info->retry_of));
    if (w->task->cache_key)
        db_bind_text(&q, 18, w->task->cache_key);
    if (db_run(&q, error) < 0)
        return OUTCOME_FAILED;
    *ret_new = sqlite3_changes(store->writer.handle) != 0;
    if (*ret_new)
        w->seq = (uint64_t)sqlite3_last_insert_rowid(store->writer.handle);
    store->added.tasks += *ret_new;
    store->added.bytes += *ret_new ? (int64_t)w->task->spec.data_len : 0;
    return OUTCOME_OK;
}

/* What is refused leaves something behind: the caller goes back to a savepoint. */
static enum outcome insert_whole(struct store *store, struct write *w, struct tw_error *error)
{
    bool is_new = false;
    enum outcome outcome = insert_task(store, w, &is_new, error);
    if (outcome == OUTCOME_OK && !is_new)
        return apply_existing(store, w, error);
    if (outcome == OUTCOME_OK)
        outcome = apply_input(store, w, error);
    if (outcome == OUTCOME_OK)
        outcome = apply_labels(store, w, error);
    if (outcome == OUTCOME_OK)
        outcome = apply_deps(store, w, error);
    if (outcome == OUTCOME_OK)
        outcome = write_event(store, w->seq, TW_EVENT_ACCEPTED, 0, TW_REASON_NONE, error);
    return outcome;
}

static enum outcome check_parts(struct store *store, struct write *parts, size_t n, struct tw_error *error)
{
    enum outcome outcome = OUTCOME_OK;
    for (size_t i = 0; i < n && outcome == OUTCOME_OK; i++) {
        CLEANUP_QUERY struct db_query q = db_query(&store->writer, STORE_SQL_SEQ_OF_ID);
        db_bind_text(&q, 1, or_empty(parts[i].task->info.id));
        int r = db_step(&q, error);
        if (r == 0) {
            error_set(error, TW_NOT_FOUND, "there is no task '%s'", parts[i].task->info.id);
            return OUTCOME_REFUSED;
        }
        write_forget_existing(&parts[i]);
        outcome = r < 0 ? OUTCOME_FAILED : apply_existing(store, &parts[i], error);
    }
    return outcome;
}

/* Those of a batch are all new, or the batch is there already. */
static enum outcome refuse_mixture(const struct write *parts, size_t n, struct tw_error *error)
{
    size_t known = 0, fresh = 0; /* the last of each, counted from 1 */
    for (size_t i = 0; i < n; i++)
        *(parts[i].existing ? &known : &fresh) = i + 1;
    if (!known || !fresh)
        return OUTCOME_OK;
    error_set(error, TW_ALREADY_EXISTS,
        "this batch was handed in before, with task '%s' and without task '%s': what is to be added needs a batch of "
        "its own",
        parts[known - 1].task->info.id, parts[fresh - 1].task->info.id);
    return OUTCOME_REFUSED;
}

/* All of them or none. */
static enum outcome insert_parts(struct store *store, struct write *parts, size_t n, struct tw_error *error)
{
    uint64_t event = store->event;
    struct store_count added = store->added;
    struct tw_error other;
    enum outcome outcome = write_outcome(db_do(&store->writer, STORE_SQL_SAVEPOINT, error));
    for (size_t i = 0; i < n && outcome == OUTCOME_OK; i++) {
        write_forget_existing(&parts[i]); /* of a try before */
        outcome = insert_whole(store, &parts[i], error);
    }
    if (outcome == OUTCOME_OK)
        outcome = refuse_mixture(parts, n, error);
    if (outcome == OUTCOME_REFUSED) {
        store->event = event;
        store->added = added;
        if (db_do(&store->writer, STORE_SQL_SAVEPOINT_UNDO, &other) < 0) {
            *error = other;
            return OUTCOME_FAILED;
        }
    }
    if (outcome != OUTCOME_FAILED && db_do(&store->writer, STORE_SQL_SAVEPOINT_END, &other) < 0) {
        *error = other;
        return OUTCOME_FAILED;
    }
    return outcome;
}

static enum outcome apply_admit(struct store *store, struct write *w, struct tw_error *error)
{
    if (w->task->info.n_after > 0)
        return insert_parts(store, w, 1, error);
    return insert_whole(store, w, error); /* is refused before anything was written, or not at all */
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

enum outcome write_update(struct store *store, struct write *w, struct db_query *q, struct tw_error *error)
{
    if (db_run(q, error) < 0)
        return OUTCOME_FAILED;
    return sqlite3_changes(store->writer.handle) == 0 ? refuse_update(store, w, error) : OUTCOME_OK;
}

static enum outcome apply_number(struct store *store, const struct write *w, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&store->writer, STORE_SQL_SET_NUMBER);
    db_bind_text(&q, 1, w->name);
    db_bind_u64(&q, 2, w->number);
    return write_outcome(db_run(&q, error));
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
    return write_update(store, w, &q, error);
}

/* A task that never began has none: everything in it is zero. */
static bool has_receipt(const struct tw_task_info *info)
{
    const struct tw_receipt *r = &info->receipt;
    uint64_t any = (uint64_t)r->runtime | (uint64_t)r->network | r->layers | r->missing | r->denied |
        (unsigned char)r->denied_calls[0] | r->gpus;
#define X(name) any |= info->usage.name;
    STORE_RECEIPT_USAGE(X)
#undef X
#define X(name) any |= r->limits.name;
    TW_LIMITS(X)
#undef X
    return any != 0;
}

static enum outcome apply_receipt(struct store *store, struct write *w, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&store->writer, STORE_SQL_FINISH_RECEIPT);
    db_bind_u64(&q, 1, w->seq);
    write_bind_receipt(&q, 2, &w->info->usage, &w->info->receipt);
    return write_outcome(db_run(&q, error));
}

static enum tw_event_kind event_of(enum tw_task_state state)
{
    return state == TW_TASK_COMPLETED ? TW_EVENT_COMPLETED
        : state == TW_TASK_FAILED     ? TW_EVENT_FAILED
                                      : TW_EVENT_STOPPED;
}

static enum outcome apply_finish(struct store *store, struct write *w, struct tw_error *error)
{
    enum outcome outcome = apply_end(store, w, error);
    if (outcome == OUTCOME_OK && has_receipt(w->info))
        outcome = apply_receipt(store, w, error);
    if (outcome == OUTCOME_OK && w->result_len > 0) {
        CLEANUP_QUERY struct db_query q = db_query(&store->writer, STORE_SQL_FINISH_RESULT);
        db_bind_u64(&q, 1, w->seq);
        db_bind_u64(&q, 2, w->result_len);
        bind_payload(&q, 3, w, w->result, w->result_len);
        outcome = write_outcome(db_run(&q, error));
    }
    if (outcome == OUTCOME_OK && w->log.end > 0) {
        CLEANUP_QUERY struct db_query q = db_query(&store->writer, STORE_SQL_FINISH_LOG);
        db_bind_u64(&q, 1, w->seq);
        db_bind_u64(&q, 2, w->log.end);
        db_bind_blob(&q, 3, w->log_data, w->log_data ? (size_t)w->log.end : 0);
        outcome = write_outcome(db_run(&q, error));
    }
    if (outcome == OUTCOME_OK)
        store->added.bytes += (int64_t)(w->result_len + w->log.end);
    if (outcome == OUTCOME_OK)
        outcome = write_event(store, w->seq, event_of(w->info->state), w->info->attempt, w->info->reason, error);
    return outcome;
}

enum outcome write_apply(struct store *store, struct write *w, struct tw_error *error)
{
    switch (w->kind) {
    case WRITE_ADMIT:
        return apply_admit(store, w, error);
    case WRITE_ATTEMPT:
        return apply_attempt(store, w, error);
    case WRITE_BATCH:
        return w->only_known ? check_parts(store, w->parts, w->n_parts, error)
                             : insert_parts(store, w->parts, w->n_parts, error);
    case WRITE_REQUEUE:
        return apply_requeue(store, w, error);
    case WRITE_PAUSE:
        return apply_pause(store, w, error);
    case WRITE_STOPPING:
        return apply_stopping(store, w, error);
    case WRITE_NUMBER:
        return apply_number(store, w, error);
    case WRITE_FINISH:
        return apply_finish(store, w, error);
    case WRITE_PRUNE:
        return apply_prune(store, w, error);
    }
    return OUTCOME_FAILED;
}
