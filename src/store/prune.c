/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removing tasks that have ended, and events, so that a store does not grow for ever. One call is one write: it looks at a bounded
 * number of the oldest tasks of each final state and of the events, however many there are. Where all of these have to stay, since
 * open tasks come after them, or go, the next call goes on behind them, until one finds nothing more to do: then it begins with the
 * oldest again. What hangs on a task in other tables goes with it (ON DELETE CASCADE); its files go when that is on disk.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/write.h"

enum { EVENTS_AT_ONCE = 5000, FINAL_STATES = TW_TASK_STATE_MAX - TW_TASK_COMPLETED };

struct candidate {
    uint64_t seq, ended_us;
    int64_t bytes; /* once it is chosen */
    int state;
    bool chosen;
};

struct candidates {
    struct candidate list[FINAL_STATES * STORE_PRUNE_MAX]; /* lowest number first */
    size_t n;
    uint64_t last
        [TW_TASK_STATE_MAX]; /* the number that the look at a state ended with, if there may be others behind; else 0 */
};

/* The oldest of one state. Those that an open task comes after count for the bound and are left out. */
static int look_at_state(struct store *store, int state, struct candidates *c, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&store->writer, STORE_SQL_PRUNE_LOOK);
    db_bind_int(&q, 1, state);
    db_bind_int(&q, 2, STORE_PRUNE_MAX);
    db_bind_u64(&q, 3, store->pruned_task[state]);
    uint64_t last = 0;
    size_t seen = 0;
    int step;
    while ((step = db_step(&q, error)) > 0) {
        seen++;
        last = db_u64(&q, 0);
        if (!db_int(&q, 2))
            c->list[c->n++] = (struct candidate){.seq = last, .ended_us = db_u64(&q, 1), .state = state};
    }
    c->last[state] = seen == STORE_PRUNE_MAX ? last : 0;
    return step;
}

static int by_seq(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static int look(struct store *store, struct candidates *c, struct tw_error *error)
{
    for (int state = TW_TASK_COMPLETED; state < TW_TASK_STATE_MAX; state++) {
        if (look_at_state(store, state, c, error) < 0)
            return -1;
    }
    qsort(c->list, c->n, sizeof *c->list, by_seq);
    return 0;
}

/* Counted once; from then on the writer knows. */
static int count_all(struct store *store, struct tw_error *error)
{
    if (store->counted)
        return 0;
    CLEANUP_QUERY struct db_query q = db_query(&store->writer, STORE_SQL_COUNT);
    if (db_step(&q, error) <= 0)
        return -1;
    /* What this transaction has added is counted when it is on disk. */
    store->there.tasks = db_int(&q, 0) - store->added.tasks;
    store->there.bytes = db_int(&q, 1) - store->added.bytes;
    store->counted = true;
    return 0;
}

static int size_of(struct store *store, uint64_t seq, int64_t *ret, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&store->writer, STORE_SQL_SIZE);
    db_bind_u64(&q, 1, seq);
    if (db_step(&q, error) <= 0)
        return -1;
    *ret = db_int(&q, 0);
    return 0;
}

static int64_t bound_of(uint64_t max)
{
    return max ? (int64_t)MIN(max, (uint64_t)INT64_MAX) : INT64_MAX;
}

static int take(struct store *store, struct candidate *one, struct store_count *ret, struct tw_error *error)
{
    one->chosen = true;
    ret->tasks++;
    if (size_of(store, one->seq, &one->bytes, error) < 0)
        return -1;
    ret->bytes += one->bytes;
    return 0;
}

/* First those that are too old, then, oldest first, as many as there are too many, or too much of. */
static int choose(struct store *store, const struct store_retention *keep, struct candidates *c,
    struct store_count *ret, struct tw_error *error)
{
    int64_t tasks = store->there.tasks + store->added.tasks, bytes = store->there.bytes + store->added.bytes;
    *ret = (struct store_count){0};
    for (size_t i = 0; i < c->n && ret->tasks < STORE_PRUNE_MAX; i++) {
        if (c->list[i].ended_us < keep->ended_before_us && take(store, &c->list[i], ret, error) < 0)
            return -1;
    }
    for (size_t i = 0; i < c->n && ret->tasks < STORE_PRUNE_MAX; i++) {
        if (tasks - ret->tasks <= bound_of(keep->max_tasks) && bytes - ret->bytes <= bound_of(keep->max_bytes))
            break;
        if (!c->list[i].chosen && take(store, &c->list[i], ret, error) < 0)
            return -1;
    }
    return 0;
}

/* Where the next call goes on; whether it may find more to remove. */
static bool go_on_from(const struct store *store, const struct candidates *c, size_t chosen, struct write *w)
{
    bool left[TW_TASK_STATE_MAX] = {0}, more = chosen == STORE_PRUNE_MAX;
    for (size_t i = 0; i < c->n; i++)
        left[c->list[i].state] |= !c->list[i].chosen;
    for (int state = TW_TASK_COMPLETED; state < TW_TASK_STATE_MAX; state++) {
        bool behind = c->last[state] && !left[state];
        more |= c->last[state] && (behind || chosen > 0);
        w->behind[state] = behind ? c->last[state] : store->pruned_task[state];
    }
    if (!more)
        memset(w->behind, 0, sizeof w->behind);
    return more;
}

/* Its files are remembered. */
static int note_files(struct store *store, uint64_t seq, struct pruned *ret, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&store->writer, STORE_SQL_PRUNE_FILES);
    db_bind_u64(&q, 1, seq);
    if (db_step(&q, error) <= 0)
        return -1;
    *ret = (struct pruned){.seq = seq, .has_log = db_int(&q, 2) != 0};
    for (int i = 0; i < 2; i++) {
        size_t len;
        const char *name = db_blob(&q, i, &len);
        if (len == PAYLOAD_NAME_MAX - 1) /* any other is none of ours */
            memcpy(ret->files[i], name, len);
    }
    return 0;
}

static int remove_task(struct store *store, uint64_t seq, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&store->writer, STORE_SQL_PRUNE);
    db_bind_u64(&q, 1, seq);
    return db_run(&q, error);
}

static int remove_chosen(struct store *store, struct write *w, const struct candidates *c,
    const struct store_count *chosen, struct tw_error *error)
{
    for (size_t i = 0; i < c->n; i++) {
        if (!c->list[i].chosen)
            continue;
        if (note_files(store, c->list[i].seq, &w->pruned[w->n_pruned], error) < 0 ||
            remove_task(store, c->list[i].seq, error) < 0)
            return -1;
        w->n_pruned++;
    }
    store->added.tasks -= chosen->tasks;
    store->added.bytes -= chosen->bytes;
    return 0;
}

static int on_old_events(struct store *store, enum store_statement which, uint64_t from,
    const struct store_retention *keep, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&store->writer, which);
    db_bind_u64(&q, 1, from);
    db_bind_u64(&q, 2, from + EVENTS_AT_ONCE);
    db_bind_u64(&q, 3, MIN(keep->ended_before_us, (uint64_t)INT64_MAX));
    return db_run(&q, error);
}

/*
 * Events have no index by task, which would cost each write something: each call goes on through them where the last one
 * stopped, and round and round. The highest number that is gone is kept: who goes on behind a lower one has missed something.
 */
static int remove_events(struct store *store, const struct store_retention *keep, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query first = db_query(&store->writer, STORE_SQL_PRUNE_NEXT_EVENT);
    db_bind_u64(&first, 1, store->pruned_event);
    if (db_step(&first, error) <= 0)
        return -1;
    uint64_t from = db_u64(&first, 0);
    store->pruned_event = from > 0 ? from + EVENTS_AT_ONCE : 0;
    if (from == 0)
        return 0;
    if (on_old_events(store, STORE_SQL_PRUNE_MARK, from, keep, error) < 0)
        return -1;
    return on_old_events(store, STORE_SQL_PRUNE_EVENTS, from, keep, error);
}

static int prune(struct store *store, struct write *w, struct candidates *c, struct tw_error *error)
{
    const struct store_retention *keep = &w->keep;
    struct store_count chosen;
    if ((keep->max_tasks > 0 || keep->max_bytes > 0) && count_all(store, error) < 0)
        return -1;
    if (look(store, c, error) < 0 || choose(store, keep, c, &chosen, error) < 0)
        return -1;
    size_t n = (size_t)chosen.tasks;
    w->n_pruned = 0; /* of a try before */
    free(w->pruned);
    w->pruned = calloc(n + 1, sizeof *w->pruned);
    if (!w->pruned)
        return error_oom(error);
    w->prune_more = go_on_from(store, c, n, w);
    if (remove_chosen(store, w, c, &chosen, error) < 0)
        return -1;
    return remove_events(store, keep, error);
}

enum outcome apply_prune(struct store *store, struct write *w, struct tw_error *error)
{
    struct candidates *c = calloc(1, sizeof *c);
    int r = c ? prune(store, w, c, error) : error_oom(error);
    free(c);
    return r < 0 ? OUTCOME_FAILED : OUTCOME_OK;
}

void settle_pruned(struct store *store, const struct write *w)
{
    if (w->kind == WRITE_PRUNE)
        memcpy(store->pruned_task, w->behind, sizeof store->pruned_task);
    for (size_t i = 0; i < w->n_pruned; i++) {
        const struct pruned *p = &w->pruned[i];
        for (size_t k = 0; k < ARRAY_LEN(p->files); k++) {
            if (p->files[k][0] != '\0')
                payload_unlink(&store->folder, p->files[k]);
        }
        if (p->has_log)
            tasklog_unlink(&store->folder, p->seq);
    }
}
