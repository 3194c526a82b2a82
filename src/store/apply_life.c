/* SPDX-License-Identifier: Apache-2.0 */
/* What happens to a task between its admission and its end, in the transaction. */
#include "store/write.h"

enum outcome apply_attempt(struct store *store, struct write *w, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&store->writer, STORE_SQL_ATTEMPT);
    db_bind_u64(&q, 1, w->seq);
    db_bind_int(&q, 2, w->attempt);
    db_bind_u64(&q, 3, w->started_us);
    enum outcome outcome = write_update(store, w, &q, error);
    return outcome == OUTCOME_OK ? write_event(store, w->seq, TW_EVENT_STARTED, w->attempt, TW_REASON_NONE, error)
                                 : outcome;
}

void write_bind_receipt(struct db_query *q, int at, const struct tw_usage *usage, const struct tw_receipt *r)
{
    db_bind_int(q, at++, r->runtime);
    db_bind_int(q, at++, r->network);
    db_bind_u64(q, at++, r->layers);
    db_bind_u64(q, at++, r->missing);
    db_bind_u64(q, at++, r->denied);
    db_bind_text(q, at++, r->denied_calls);
    db_bind_int(q, at++, r->gpus);
#define X(name) db_bind_u64(q, at++, usage->name);
    STORE_RECEIPT_USAGE(X)
#undef X
#define X(name) db_bind_u64(q, at++, r->limits.name);
    TW_LIMITS(X)
#undef X
}

static enum outcome apply_former(struct store *store, const struct write *w, struct tw_error *error)
{
    const struct tw_attempt_info *a = &w->former;
    CLEANUP_QUERY struct db_query q = db_query(&store->writer, STORE_SQL_FORMER);
    db_bind_u64(&q, 1, w->seq);
    db_bind_int(&q, 2, a->attempt);
    db_bind_int(&q, 3, a->reason);
    db_bind_text(&q, 4, or_empty(a->message));
    db_bind_text(&q, 5, or_empty(a->error));
    db_bind_int(&q, 6, a->exit_code);
    db_bind_int(&q, 7, a->signal);
    db_bind_u64(&q, 8, a->started_us);
    db_bind_u64(&q, 9, a->finished_us);
    db_bind_u64(&q, 10, a->usage.wall_us);
    db_bind_u64(&q, 11, a->usage.user_us);
    db_bind_u64(&q, 12, a->usage.system_us);
    db_bind_u64(&q, 13, a->usage.max_rss_bytes);
    write_bind_receipt(&q, 14, &a->usage, &a->receipt);
    return write_outcome(db_run(&q, error));
}

static enum outcome update_requeued(struct store *store, struct write *w, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&store->writer, STORE_SQL_REQUEUE);
    db_bind_u64(&q, 1, w->seq);
    db_bind_int(&q, 2, w->attempt);
    db_bind_u64(&q, 3, w->not_before_us);
    db_bind_text(&q, 4, or_empty(w->message));
    return write_update(store, w, &q, error);
}

enum outcome apply_requeue(struct store *store, struct write *w, struct tw_error *error)
{
    enum outcome outcome = update_requeued(store, w, error);
    if (outcome == OUTCOME_OK && w->former.attempt)
        outcome = apply_former(store, w, error);
    if (outcome == OUTCOME_OK)
        outcome = write_event(store, w->seq, TW_EVENT_REQUEUED, w->attempt, w->former.reason, error);
    return outcome;
}

/* Whether an open task stands like this already: then there is nothing to do, and nothing happens. */
static bool is_paused_so(struct store *store, const struct write *w, enum outcome *ret, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&store->writer, STORE_SQL_IS_PAUSED);
    db_bind_u64(&q, 1, w->seq);
    db_bind_int(&q, 2, w->paused);
    int r = db_step(&q, error);
    *ret = write_outcome(r);
    return r != 0;
}

enum outcome apply_pause(struct store *store, struct write *w, struct tw_error *error)
{
    enum outcome outcome;
    if (is_paused_so(store, w, &outcome, error))
        return outcome;
    CLEANUP_QUERY struct db_query q = db_query(&store->writer, STORE_SQL_PAUSE);
    db_bind_u64(&q, 1, w->seq);
    db_bind_int(&q, 2, w->paused);
    outcome = write_update(store, w, &q, error);
    return outcome == OUTCOME_OK
        ? write_event(store, w->seq, w->paused ? TW_EVENT_PAUSED : TW_EVENT_RESUMED, w->attempt, TW_REASON_NONE, error)
        : outcome;
}

enum outcome apply_stopping(struct store *store, struct write *w, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&store->writer, STORE_SQL_STOPPING);
    db_bind_u64(&q, 1, w->seq);
    return write_update(store, w, &q, error);
}
