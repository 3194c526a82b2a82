/* SPDX-License-Identifier: Apache-2.0 */
#include "node/monitor/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/util.h"
#include "node/monitor/parse.h"

/* PAGES_MAX is twice what full rings of all series there may be take: a bound that a mistake would reach, and nothing else. */
enum {
    APPLICATION_ID = 0x484d5748, /* "HMWH" */
    VERSION = 1,
    CACHE_KIB = 256,
    BUSY_MS = 2000,
    PAGES_MAX = 24576,
};

enum {
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_PUT,
    SQL_CLEAR_SERIES,
    SQL_PUT_SERIES,
    SQL_SET_NEXT,
    SQL_GET_NEXT,
    SQL_ALL_SERIES,
    SQL_ALL,
    SQL_MAX
};

static const char *const statements[SQL_MAX] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_PUT] = "INSERT OR REPLACE INTO points (place, at, data) VALUES (?1, ?2, ?3)",
    [SQL_CLEAR_SERIES] = "DELETE FROM series",
    [SQL_PUT_SERIES] = "INSERT OR REPLACE INTO series (id, name, label) VALUES (?1, ?2, ?3)",
    [SQL_SET_NEXT] = "INSERT OR REPLACE INTO meta (key, value) VALUES ('next_id', ?1)",
    [SQL_GET_NEXT] = "SELECT value FROM meta WHERE key = 'next_id'",
    [SQL_ALL_SERIES] = "SELECT id, name, label FROM series ORDER BY id",
    [SQL_ALL] = "SELECT place, at, data FROM points",
};

/* data: id and bits of a float, both 32 bits little-endian, for each series that was known. */
static const char schema[] =
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "INSERT INTO meta VALUES ('next_id', 1);"
    "CREATE TABLE series (id INTEGER PRIMARY KEY, name TEXT NOT NULL, label TEXT NOT NULL) STRICT;"
    "CREATE TABLE points (place INTEGER PRIMARY KEY, at INTEGER NOT NULL, data BLOB NOT NULL) STRICT;";

void file_past_free(struct file_past *past)
{
    for (size_t i = 0; past && i < MONITOR_SERIES_MAX; i++)
        free(past->columns[i]);
    if (past)
        free(past->at);
    free(past);
}

void file_batch_free(struct file_batch *batch)
{
    if (batch)
        buf_done(&batch->bytes);
    free(batch);
}

static void past_cleanup(struct file_past **past)
{
    file_past_free(*past);
}

/* --- opening --- */

/* SQLite would make it with the umask's mode. */
static int make_file(const char *path, struct tw_error *error)
{
    CLEANUP_FD int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd < 0 ? error_set_errno(error, errno, "cannot open %s", path) : 0;
}

static int make_schema(struct db *db, struct tw_error *error)
{
    char marks[80];
    snprintf(marks, sizeof marks, "PRAGMA application_id=%d; PRAGMA user_version=%d;", APPLICATION_ID, VERSION);
    if (db_exec(db, "BEGIN IMMEDIATE", error) < 0)
        return -1;
    if (db_exec(db, schema, error) == 0 && db_exec(db, marks, error) == 0 && db_exec(db, "COMMIT", error) == 0)
        return 0;
    db_rollback(db);
    return -1;
}

/* 1: it is empty, 0: it is ours. */
static int check_marks(struct db *db, struct tw_error *error)
{
    int64_t version = 0, application = 0, tables = 0, good = 0;
    if (db_get_int(db, "PRAGMA user_version", &version, error) < 0 ||
        db_get_int(db, "PRAGMA application_id", &application, error) < 0 ||
        db_get_int(db, "SELECT count(*) FROM sqlite_schema", &tables, error) < 0)
        return -1;
    if (version == 0 && application == 0 && tables == 0)
        return 1;
    if (application != APPLICATION_ID || version != VERSION)
        return error_set(error, TW_FAILED_PRECONDITION,
            "%s was written by another program or a newer version of this one: move it away", db->path);
    if (db_get_int(db, "SELECT count(*) FROM pragma_quick_check WHERE quick_check = 'ok'", &good, error) < 0)
        return -1;
    return good ? 0 : db_fail(db, SQLITE_CORRUPT, error);
}

/* synchronous=NORMAL: a crash of the machine may take the last seconds, and a commit waits for no disk. */
static int set_up(struct db *db, bool *ret_new, struct tw_error *error)
{
    char sql[120];
    snprintf(sql, sizeof sql, "PRAGMA max_page_count=%d; PRAGMA journal_size_limit=1048576;", PAGES_MAX);
    if (db_exec(db, "PRAGMA locking_mode=EXCLUSIVE;", error) < 0)
        return -1;
    int is_new = check_marks(db, error);
    if (is_new < 0)
        return -1;
    *ret_new = is_new;
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    if (db_exec(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cell_size_check=ON;", error) < 0 ||
        db_exec(db, sql, error) < 0)
        return -1;
    return is_new ? make_schema(db, error) : 0;
}

static int open_once(struct db *db, const char *path, bool *ret_new, struct tw_error *error)
{
    const struct db_options options = {
        .path = path, .sql = statements, .n_sql = SQL_MAX, .cache_kib = CACHE_KIB, .busy_ms = BUSY_MS};
    if (make_file(path, error) < 0 || db_open(db, &options, error) < 0)
        return -1;
    /* Until it is known whose it is, closing must not carry the write-ahead log over into it. */
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (set_up(db, ret_new, error) == 0)
        return 0;
    db_close(db);
    return -1;
}

/* --- reading --- */

static int read_series(struct db *db, struct file_past *past, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(db, SQL_ALL_SERIES);
    int r;
    while ((r = db_step(&q, error)) > 0 && past->n_series < MONITOR_SERIES_MAX) {
        struct file_series *s = &past->series[past->n_series];
        size_t name_len, label_len;
        int64_t id = db_int(&q, 0);
        const char *name = db_blob(&q, 1, &name_len), *label = db_blob(&q, 2, &label_len);
        if (id < 1 || id >= UINT32_MAX || !name || name_len >= sizeof s->name || label_len >= sizeof s->label)
            continue;
        *s = (struct file_series){.id = (uint32_t)id};
        memcpy(s->name, name, name_len);
        parse_label(label ? label : "", label_len, s->label);
        past->next_id = MAX(past->next_id, s->id + 1);
        past->columns[past->n_series] = calloc(HISTORY_POINTS, sizeof **past->columns);
        if (!past->columns[past->n_series])
            return error_oom(error);
        past->n_series++;
    }
    return r < 0 ? -1 : 0;
}

/* By id, of which they are in the order. Values are mostly in that order too. */
static size_t find_series(const struct file_past *past, uint32_t id, size_t hint)
{
    size_t low = 0, high = past->n_series;
    if (hint < high && past->series[hint].id == id)
        return hint;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (past->series[mid].id < id)
            low = mid + 1;
        else
            high = mid;
    }
    return low < past->n_series && past->series[low].id == id ? low : MONITOR_SERIES_MAX;
}

static bool is_place(uint64_t place, uint64_t at)
{
    size_t first = 0;
#define X(i, step, n)                                \
    if (place >= first && place - first < (n))       \
        return at != 0 && first + at % (n) == place; \
    first += (n);
    HISTORY_RINGS(X)
#undef X
    return false;
}

/* What makes no sense is left out. */
static void read_point(struct file_past *past, uint64_t place, uint64_t at, const void *data, size_t len)
{
    struct cursor c = cursor_of(data, len);
    uint32_t id, bits;
    if (!is_place(place, at))
        return;
    past->at[place] = at;
    for (size_t hint = 0; cursor_u32le(&c, &id) && cursor_u32le(&c, &bits);) {
        size_t i = find_series(past, id, hint);
        if (i == MONITOR_SERIES_MAX || !isfinite(series_value(bits)))
            continue;
        past->columns[i][place] = bits;
        hint = i + 1;
    }
}

static int read_all(struct db *db, struct file_past *past, struct tw_error *error)
{
    uint64_t next = 1;
    if (db_do_u64(db, SQL_GET_NEXT, &next, error) < 0)
        return -1;
    past->next_id = next >= 1 && next < UINT32_MAX ? (uint32_t)next : 1;
    if (read_series(db, past, error) < 0)
        return -1;
    CLEANUP_QUERY struct db_query q = db_query(db, SQL_ALL);
    int r;
    while ((r = db_step(&q, error)) > 0) {
        size_t len;
        const void *data = db_blob(&q, 2, &len);
        read_point(past, db_u64(&q, 0), db_u64(&q, 1), data, len);
    }
    return r;
}

static int open_and_read(struct db *db, const char *path, struct file_past **ret, struct tw_error *error)
{
    CLEANUP(past_cleanup) struct file_past *past = calloc(1, sizeof *past);
    if (!past || !(past->at = calloc(HISTORY_POINTS, sizeof *past->at)))
        return error_oom(error);
    if (open_once(db, path, &past->is_new, error) < 0)
        return -1;
    if (read_all(db, past, error) < 0) {
        db_close(db);
        return -1;
    }
    *ret = STEAL(past);
    return 0;
}

/* Kept for whoever wants to look, until the next one. */
static int put_aside(const char *path, struct tw_error *error)
{
    char aside[PATH_MAX], beside[PATH_MAX];
    int n = snprintf(aside, sizeof aside, "%s.broken", path);
    if (n < 0 || n >= (int)sizeof aside || rename(path, aside) < 0)
        return error_set_errno(error, n >= (int)sizeof aside ? ENAMETOOLONG : errno, "cannot move %s away", path);
    static const char *const ends[] = {"-wal", "-shm", "-journal"};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        n = snprintf(beside, sizeof beside, "%s%s", path, ends[i]);
        if (n > 0 && n < (int)sizeof beside)
            (void)unlink(beside);
    }
    return 0;
}

int file_open(struct db *db, const char *path, struct file_past **ret, struct tw_error *error)
{
    struct tw_error why = {0};
    int r = open_and_read(db, path, ret, &why);
    if (r < 0 && why.code == TW_DATA_LOSS) {
        if (put_aside(path, error) < 0)
            return -1;
        r = open_and_read(db, path, ret, &why);
    }
    if (r < 0)
        error_copy(error, &why);
    return r;
}

/* --- writing --- */

static int write_series(struct db *db, const struct file_batch *b, struct tw_error *error)
{
    if (db_do(db, SQL_CLEAR_SERIES, error) < 0)
        return -1;
    for (size_t i = 0; i < b->n_series; i++) {
        CLEANUP_QUERY struct db_query q = db_query(db, SQL_PUT_SERIES);
        db_bind_u64(&q, 1, b->series[i].id);
        db_bind_text(&q, 2, b->series[i].name);
        db_bind_text(&q, 3, b->series[i].label);
        if (db_run(&q, error) < 0)
            return -1;
    }
    CLEANUP_QUERY struct db_query q = db_query(db, SQL_SET_NEXT);
    db_bind_u64(&q, 1, b->next_id);
    return db_run(&q, error);
}

static int write_rows(struct db *db, const struct file_batch *b, struct tw_error *error)
{
    const uint8_t *data = b->bytes.data;
    for (size_t i = 0; i < b->n_rows; data += b->rows[i].len, i++) {
        CLEANUP_QUERY struct db_query q = db_query(db, SQL_PUT);
        db_bind_u64(&q, 1, b->rows[i].place);
        db_bind_u64(&q, 2, b->rows[i].at);
        db_bind_blob(&q, 3, data ? data : (const void *)"", b->rows[i].len);
        if (db_run(&q, error) < 0)
            return -1;
    }
    return 0;
}

int file_write(struct db *db, const struct file_batch *batch, struct tw_error *error)
{
    if (db_do(db, SQL_BEGIN, error) < 0)
        return -1;
    if ((!batch->with_series || write_series(db, batch, error) == 0) && write_rows(db, batch, error) == 0 &&
        db_do(db, SQL_COMMIT, error) == 0)
        return 0;
    db_rollback(db);
    return -1;
}

/* --- between the history and the data --- */

static void gather_series(struct series_set *set, struct file_batch *b, uint32_t *next_id)
{
    for (size_t i = 0; i < set->n; i++) {
        struct series *s = &set->all[i];
        if (!s->name)
            continue;
        s->id = s->id ? s->id : (*next_id)++;
        struct file_series *f = &b->series[b->n_series++];
        f->id = s->id;
        snprintf(f->name, sizeof f->name, "%s", s->name);
        snprintf(f->label, sizeof f->label, "%s", s->label);
    }
    b->next_id = *next_id;
    b->with_series = true;
    set->changed = false;
}

static int gather_point(const struct history *h, size_t place, struct buf *out)
{
    for (size_t i = 0; i < h->set->n; i++) {
        const struct series *s = &h->set->all[i];
        if (s->name && s->column[place] && s->id) {
            (void)buf_append_u32le(out, s->id);
            (void)buf_append_u32le(out, s->column[place]);
        }
    }
    return out->error;
}

struct file_batch *file_gather(struct history *h, uint32_t *next_id)
{
    struct file_batch *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    buf_init(&b->bytes, (size_t)FILE_BATCH_ROWS * MONITOR_SERIES_MAX * 2 * sizeof(uint32_t));
    if (h->set->changed)
        gather_series(h->set, b, next_id);
    for (size_t place = 0; place < HISTORY_POINTS && b->n_rows < FILE_BATCH_ROWS; place++) {
        size_t before = b->bytes.len;
        if (!h->dirty[place])
            continue;
        if (gather_point(h, place, &b->bytes) < 0) {
            file_give_back(h, b);
            file_batch_free(b);
            return NULL;
        }
        b->rows[b->n_rows].place = (uint32_t)place;
        b->rows[b->n_rows].at = h->at[place];
        b->rows[b->n_rows++].len = b->bytes.len - before;
        h->dirty[place] = 0;
    }
    return b;
}

void file_give_back(struct history *h, const struct file_batch *batch)
{
    h->set->changed = h->set->changed || batch->with_series;
    for (size_t i = 0; i < batch->n_rows; i++)
        h->dirty[batch->rows[i].place] = 1;
}

void file_merge(struct history *h, const struct file_past *past, uint64_t now_us, uint32_t *next_id)
{
    *next_id = MAX(*next_id, past->next_id);
    h->set->changed = true;
    for (size_t i = 0; i < past->n_series; i++) {
        int to = series_of_stored(h->set, past->series[i].name, past->series[i].label, now_us);
        if (to < 0)
            continue;
        struct series *s = &h->set->all[to];
        s->id = past->series[i].id;
        for (size_t place = 0; place < HISTORY_POINTS; place++) {
            if (!h->at[place] && past->at[place])
                s->column[place] = past->columns[i][place];
        }
    }
    for (size_t place = 0; place < HISTORY_POINTS; place++)
        h->at[place] = h->at[place] ? h->at[place] : past->at[place];
    history_resume(h);
    if (past->is_new)
        history_mark_all(h);
}
