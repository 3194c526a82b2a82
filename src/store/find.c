/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads that find: lists of tasks, attempts, events.
 *
 * A list by states and type alone takes what it needs from indexes in which each state stands in order. By anything else
 * (labels, owner, times) one index leads, the others' conditions are checked row by row; how many rows one call looks at is
 * bounded, so that a page costs the same however many tasks there are and however few match.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/read.h"

enum { FIND_MAX = 1000, LOOK_AT_MAX = 20000, EVENTS_MAX = 1000, EVENTS_LOOK_AT_MAX = 20000 };

/* --- the filter --- */

static int copy_text(const char *from, char **to)
{
    *to = from ? strdup(from) : NULL;
    return from && !*to ? -ENOMEM : 0;
}

int find_init(struct find *find, const struct store_filter *filter)
{
    *find = (struct find){
        .states = filter->states,
        .created_from_us = filter->created_from_us,
        .created_to_us = filter->created_to_us,
        .dead_letters = filter->dead_letters,
        .before = filter->before,
        .limit = MAX(MIN(filter->limit, (size_t)FIND_MAX), (size_t)1),
    };
    int r = copy_text(filter->type, &find->type);
    if (r == 0)
        r = copy_text(filter->owner, &find->owner);
    if (r == 0 && filter->n_labels > 0) {
        find->labels = row_encode_labels(filter->labels, filter->n_labels);
        r = find->labels ? copy_text(filter->labels[0].key, &find->label_key) : -ENOMEM;
    }
    if (r == 0 && filter->n_labels > 0)
        r = copy_text(filter->labels[0].value, &find->label_value);
    if (r < 0)
        find_done(find);
    return r;
}

void find_done(struct find *find)
{
    free(find->type);
    free(find->owner);
    free(find->label_key);
    free(find->label_value);
    free(find->labels);
    *find = (struct find){0};
}

static int64_t as_number(uint64_t value, uint64_t if_zero)
{
    return (int64_t)MIN(value ? value : if_zero, (uint64_t)INT64_MAX);
}

static uint32_t states_of(const struct find *find)
{
    uint32_t all = (1u << TW_TASK_STATE_MAX) - 2;
    return find->states == 0 ? all : find->states & all;
}

static void bind_labels(struct db_query *q, const struct find *find)
{
    db_bind_text(q, 5, find->owner);
    db_bind_text(q, 6, find->type);
    db_bind_text(q, 12, find->labels);
}

/* --- tasks by states and type --- */

struct seqs {
    uint64_t *list;
    size_t n;
};

static int find_state(struct db *db, const struct read *r, enum store_statement which, int state, struct seqs *found,
    struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(db, which);
    db_bind_int(&q, 1, as_number(r->find.before, INT64_MAX));
    db_bind_int(&q, 2, (int64_t)r->find.limit + 1);
    if (which != STORE_SQL_LIST)
        db_bind_int(&q, 3, state);
    if (which == STORE_SQL_LIST_TYPE_STATE)
        db_bind_text(&q, 4, r->find.type);
    int step;
    while ((step = db_step(&q, error)) > 0)
        found->list[found->n++] = db_u64(&q, 0);
    return step;
}

static int by_seq_down(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/*
 * The newest limit + 1 of each state, from an index where they stand in order, then the newest of
 * all these: never more than states times limit index entries are touched, however many tasks there
 * are and however few match.
 */
static int find_in_order(struct db *db, const struct read *r, struct seqs *found, struct tw_error *error)
{
    uint32_t states = states_of(&r->find);
    if (r->find.states == 0 && !r->find.type)
        return find_state(db, r, STORE_SQL_LIST, 0, found, error);
    for (int state = 1; state < TW_TASK_STATE_MAX; state++) {
        if (!(states & (1u << state)))
            continue;
        if (find_state(db, r, r->find.type ? STORE_SQL_LIST_TYPE_STATE : STORE_SQL_LIST_STATE, state, found, error) < 0)
            return -1;
    }
    qsort(found->list, found->n, sizeof *found->list, by_seq_down);
    return 0;
}

/* --- tasks by anything else --- */

struct leader {
    enum store_statement floor, find;
};

static struct leader leader_of(const struct find *f)
{
    if (f->dead_letters)
        return (struct leader){STORE_SQL_FLOOR_DEAD, STORE_SQL_FIND_DEAD};
    if (f->label_key)
        return (struct leader){STORE_SQL_FLOOR_LABEL, STORE_SQL_FIND_LABEL};
    if (f->owner)
        return (struct leader){STORE_SQL_FLOOR_OWNER, STORE_SQL_FIND_OWNER};
    return (struct leader){STORE_SQL_FLOOR_ALL, STORE_SQL_FIND_ALL};
}

/* How far down LOOK_AT_MAX entries of the leader reach; *ret_more: there are others below. */
static int find_floor(struct db *db, const struct find *f, uint64_t *ret_floor, bool *ret_more, struct tw_error *error)
{
    enum store_statement which = leader_of(f).floor;
    CLEANUP_QUERY struct db_query q = db_query(db, which);
    db_bind_int(&q, 1, as_number(f->before, INT64_MAX));
    db_bind_int(&q, 2, LOOK_AT_MAX);
    if (which == STORE_SQL_FLOOR_OWNER)
        db_bind_text(&q, 5, f->owner);
    if (which == STORE_SQL_FLOOR_LABEL) {
        db_bind_text(&q, 9, f->label_key);
        db_bind_text(&q, 10, f->label_value);
    }
    if (db_step(&q, error) <= 0)
        return -1;
    *ret_floor = db_u64(&q, 0);
    *ret_more = db_int(&q, 1) == LOOK_AT_MAX;
    return 0;
}

static int find_matching(struct db *db, struct read *r, struct seqs *found, struct tw_error *error)
{
    const struct find *f = &r->find;
    uint64_t floor = 0;
    bool more = false;
    if (find_floor(db, f, &floor, &more, error) < 0)
        return -1;
    CLEANUP_QUERY struct db_query q = db_query(db, leader_of(f).find);
    db_bind_int(&q, 1, as_number(f->before, INT64_MAX));
    db_bind_u64(&q, 2, floor);
    db_bind_int(&q, 3, (int64_t)f->limit + 1);
    db_bind_int(&q, 4, states_of(f));
    bind_labels(&q, f);
    db_bind_int(&q, 7, as_number(f->created_from_us, 0));
    db_bind_int(&q, 8, as_number(f->created_to_us, INT64_MAX));
    db_bind_int(&q, 11, f->dead_letters);
    if (f->label_key && !f->dead_letters) {
        db_bind_text(&q, 9, f->label_key);
        db_bind_text(&q, 10, f->label_value);
    }
    int step;
    while ((step = db_step(&q, error)) > 0)
        found->list[found->n++] = db_u64(&q, 0);
    r->next = more ? floor : 0;
    return step;
}

/* --- a page --- */

static int load_found(struct db *db, struct read *r, const struct seqs *found, struct tw_error *error)
{
    size_t n = MIN(found->n, r->find.limit);
    if (found->n > n)
        r->next = found->list[n - 1];
    r->tasks = calloc(n ? n : 1, sizeof *r->tasks);
    if (!r->tasks)
        return error_oom(error);
    for (size_t i = 0; i < n; i++) {
        CLEANUP_QUERY struct db_query q = db_query(db, STORE_SQL_GET_INFO);
        db_bind_u64(&q, 1, found->list[i]);
        int step = db_step(&q, error);
        if (step == 0)
            return error_set(
                error, TW_DATA_LOSS, "an index of %s names a task that is not there: `REINDEX` it", db->path);
        if (step < 0 || row_load(&q, false, &r->tasks[i], error) < 0)
            return -1;
        r->n_tasks++;
    }
    return 0;
}

static bool is_plain(const struct find *f)
{
    return !f->owner && !f->labels && !f->created_from_us && !f->created_to_us && !f->dead_letters;
}

int read_list(struct db *db, struct read *r, struct tw_error *error)
{
    struct seqs found = {.list = calloc(TW_TASK_STATE_MAX * (r->find.limit + 1), sizeof *found.list)};
    if (!found.list)
        return error_oom(error);
    /* One snapshot, so that what is shown is what was asked for. */
    int result = db_do(db, STORE_SQL_BEGIN_READ, error);
    if (result == 0)
        result = is_plain(&r->find) ? find_in_order(db, r, &found, error) : find_matching(db, r, &found, error);
    if (result == 0)
        result = load_found(db, r, &found, error);
    free(found.list);
    db_rollback(db);
    return result;
}

/* --- attempts --- */

static int seq_of(struct db *db, const char *id, uint64_t *ret, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(db, STORE_SQL_SEQ_OF_ID);
    db_bind_text(&q, 1, id);
    int step = db_step(&q, error);
    if (step == 0)
        return error_set(error, TW_NOT_FOUND, "there is no task '%s'", id);
    *ret = step > 0 ? db_u64(&q, 0) : 0;
    return step < 0 ? -1 : 0;
}

int read_attempts(struct db *db, struct read *r, struct tw_error *error)
{
    size_t room = 0;
    uint64_t seq = 0;
    if (seq_of(db, r->id, &seq, error) < 0)
        return -1;
    CLEANUP_QUERY struct db_query q = db_query(db, STORE_SQL_FORMERS);
    db_bind_u64(&q, 1, seq);
    int step;
    while ((step = db_step(&q, error)) > 0) {
        if (r->n_attempts == room) {
            room = room ? 2 * room : 4;
            struct tw_attempt_info *more = realloc(r->attempts, room * sizeof *more);
            if (!more)
                return error_oom(error);
            r->attempts = more;
        }
        if (row_load_attempt(&q, seq, &r->attempts[r->n_attempts], error) < 0)
            return -1;
        r->n_attempts++;
    }
    return step;
}

/* --- events --- */

static int load_event(const struct db_query *q, struct store_event *e, struct tw_error *error)
{
    *e = (struct store_event){
        .number = db_u64(q, 0),
        .time_us = db_u64(q, 1),
        .kind = (enum tw_event_kind)db_int(q, 2),
        .attempt = (uint32_t)db_int(q, 3),
        .reason = (enum tw_reason)db_int(q, 4),
        .id = db_text(q, 5),
        .type = db_text(q, 6),
        .owner = db_text(q, 7),
    };
    if (!e->id || !e->type || !e->owner)
        return error_oom(error);
    if (!tw_event_to_string(e->kind) || !tw_reason_to_string(e->reason))
        return error_set(error, TW_DATA_LOSS, "%s holds an event %llu that cannot be: restore it from a backup",
            q->db->path, (unsigned long long)e->number);
    return 0;
}

static int fail_gone(uint64_t after, uint64_t gone, struct tw_error *error)
{
    return error_set(error, TW_OUT_OF_RANGE,
        "events behind %llu have been removed, up to %llu: go on behind that, or behind 0 for all that are kept",
        (unsigned long long)after, (unsigned long long)gone);
}

/* What lies in (r->offset, upto]. */
static int load_events(struct db *db, struct read *r, uint64_t upto, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(db, STORE_SQL_EVENTS);
    db_bind_u64(&q, 1, r->offset);
    db_bind_u64(&q, 2, upto);
    db_bind_int(&q, 3, EVENTS_MAX);
    bind_labels(&q, &r->find);
    r->events = calloc(EVENTS_MAX, sizeof *r->events);
    if (!r->events)
        return error_oom(error);
    size_t seen = 0;
    uint64_t number = 0;
    int step;
    while ((step = db_step(&q, error)) > 0) {
        seen++;
        number = db_u64(&q, 0);
        if (!db_is_null(&q, 5)) {
            if (load_event(&q, &r->events[r->n_events++], error) < 0)
                return -1;
        } else if (!r->holes) { /* its task is gone: it is not shown, and soon removed */
            return fail_gone(r->offset, number, error);
        }
    }
    r->next = seen == EVENTS_MAX ? number : upto;
    return step;
}

static int find_events(struct db *db, struct read *r, struct tw_error *error)
{
    uint64_t first = 0, last = 0, gone = 0;
    if (db_do_u64(db, STORE_SQL_FIRST_EVENT, &first, error) < 0 ||
        db_do_u64(db, STORE_SQL_GONE_EVENT, &gone, error) < 0 || db_do_u64(db, STORE_SQL_LAST_EVENT, &last, error) < 0)
        return -1;
    first = first ? first : last + 1; /* all are gone */
    if (r->offset > last)
        return error_set(error, TW_OUT_OF_RANGE, "there is no event %llu yet: the newest is %llu",
            (unsigned long long)r->offset, (unsigned long long)last);
    gone = MAX(gone, first - 1);
    if (!r->holes && r->offset < gone)
        return fail_gone(r->offset, gone, error);
    r->offset = MAX(r->offset, first - 1);
    return load_events(db, r, MIN(last, r->offset + EVENTS_LOOK_AT_MAX), error);
}

int read_events(struct db *db, struct read *r, struct tw_error *error)
{
    int result = db_do(db, STORE_SQL_BEGIN_READ, error);
    if (result == 0)
        result = find_events(db, r, error);
    db_rollback(db);
    return result;
}
