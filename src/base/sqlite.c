/* SPDX-License-Identifier: Apache-2.0 */
#include "base/sqlite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

static int fail_io(struct db *db, int rc, const char *path, struct tw_error *error)
{
    int err = db->handle ? sqlite3_system_errno(db->handle) : 0;
    if (err == ENOSPC || err == EDQUOT) {
        error_set(error, TW_RESOURCE_EXHAUSTED, "the disk that holds %s is full: free some space there", path);
    } else if (err != 0) {
        error_set_errno(error, err, "cannot read or write %s (SQLite %d)", path, rc);
    } else {
        error_set(error, TW_INTERNAL, "cannot read or write %s (SQLite %d)", path, rc);
    }
    if (error)
        error->sys_errno = err;
    return -1;
}

int db_fail(struct db *db, int rc, struct tw_error *error)
{
    const char *path = db->path ? db->path : "the database";
    switch (rc & 0xff) {
    case SQLITE_NOMEM:
        return error_oom(error);
    case SQLITE_FULL:
        error_set(error, TW_RESOURCE_EXHAUSTED, "the disk that holds %s is full: free some space there", path);
        if (error)
            error->sys_errno = ENOSPC;
        return -1;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return error_set(error, TW_DATA_LOSS,
            "%s is damaged (%s): restore it from a backup, or save what is left with "
            "`sqlite3 FILE .recover`",
            path, sqlite3_errstr(rc));
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return error_set(
            error, TW_UNAVAILABLE, "another program holds %s locked: end its transaction, then try again", path);
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return error_set(error, TW_PERMISSION_DENIED, "%s is read-only: make it writable", path);
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        return fail_io(db, rc, path, error);
    default:
        return error_set(error, TW_INTERNAL, "%s: %s (SQLite %d)", path,
            db->handle ? sqlite3_errmsg(db->handle) : sqlite3_errstr(rc), rc);
    }
}

static int configure(struct db *db, const struct db_options *options, struct tw_error *error)
{
    char *sql = sqlite3_mprintf("PRAGMA cache_size=-%d; PRAGMA foreign_keys=ON;"
                                "PRAGMA trusted_schema=OFF; PRAGMA temp_store=MEMORY;",
        options->cache_kib);
    if (!sql)
        return error_oom(error);
    sqlite3_busy_timeout(db->handle, options->busy_ms);
    sqlite3_extended_result_codes(db->handle, 1);
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    int r = db_exec(db, sql, error);
    sqlite3_free(sql);
    if (r < 0)
        return -1;
    int rc = sqlite3_prepare_v3(db->handle, "ROLLBACK", -1, SQLITE_PREPARE_PERSISTENT, &db->rollback, NULL);
    return rc == SQLITE_OK ? 0 : db_fail(db, rc, error);
}

int db_open(struct db *db, const struct db_options *options, struct tw_error *error)
{
    *db = (struct db){.sql = options->sql, .n_sql = options->n_sql};
    db->path = strdup(options->path);
    db->stmts = calloc(options->n_sql ? options->n_sql : 1, sizeof *db->stmts);
    if (!db->path || !db->stmts) {
        db_close(db);
        return error_oom(error);
    }
    int rc = sqlite3_open_v2(options->path, &db->handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    int r = rc == SQLITE_OK ? configure(db, options, error) : db_fail(db, rc, error);
    if (r < 0)
        db_close(db);
    return r;
}

void db_close(struct db *db)
{
    for (size_t i = 0; db->stmts && i < db->n_sql; i++)
        sqlite3_finalize(db->stmts[i]);
    sqlite3_finalize(db->rollback);
    free(db->stmts);
    sqlite3_close(db->handle);
    free(db->path);
    *db = (struct db){0};
}

int db_exec(struct db *db, const char *sql, struct tw_error *error)
{
    int rc = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : db_fail(db, rc, error);
}

int db_get_int(struct db *db, const char *sql, int64_t *ret, struct tw_error *error)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db->handle, sql, -1, &stmt, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        *ret = sqlite3_column_int64(stmt, 0);
    int r = 0;
    if (rc == SQLITE_DONE)
        r = error_set(error, TW_NOT_FOUND, "%s has no answer to \"%s\"", db->path, sql);
    else if (rc != SQLITE_ROW)
        r = db_fail(db, rc, error);
    sqlite3_finalize(stmt);
    return r;
}

void db_rollback(struct db *db)
{
    if (!sqlite3_get_autocommit(db->handle)) {
        (void)sqlite3_step(db->rollback);
        (void)sqlite3_reset(db->rollback);
    }
}

struct db_query db_query(struct db *db, size_t which)
{
    struct db_query q = {.db = db};
    if (!db->stmts[which])
        q.rc = sqlite3_prepare_v3(db->handle, db->sql[which], -1, SQLITE_PREPARE_PERSISTENT, &db->stmts[which], NULL);
    if (q.rc == SQLITE_OK)
        q.stmt = db->stmts[which];
    return q;
}

void db_query_end(struct db_query *q)
{
    if (q->stmt) {
        sqlite3_reset(q->stmt);
        sqlite3_clear_bindings(q->stmt);
    }
    q->stmt = NULL;
}

static void keep_first(struct db_query *q, int rc)
{
    if (q->rc == SQLITE_OK)
        q->rc = rc;
}

void db_bind_int(struct db_query *q, int at, int64_t v)
{
    if (q->stmt)
        keep_first(q, sqlite3_bind_int64(q->stmt, at, v));
}

void db_bind_text(struct db_query *q, int at, const char *s)
{
    if (q->stmt && s)
        keep_first(q, sqlite3_bind_text64(q->stmt, at, s, strlen(s), SQLITE_STATIC, SQLITE_UTF8));
}

void db_bind_blob(struct db_query *q, int at, const void *data, size_t len)
{
    if (q->stmt && data)
        keep_first(q, sqlite3_bind_blob64(q->stmt, at, data, len, SQLITE_STATIC));
}

int db_step(struct db_query *q, struct tw_error *error)
{
    if (q->rc != SQLITE_OK)
        return db_fail(q->db, q->rc, error);
    int rc = sqlite3_step(q->stmt);
    if (rc == SQLITE_ROW)
        return 1;
    if (rc == SQLITE_DONE)
        return 0;
    q->rc = rc;
    return db_fail(q->db, rc, error);
}

int db_run(struct db_query *q, struct tw_error *error)
{
    int r;
    do
        r = db_step(q, error);
    while (r > 0);
    return r;
}

int db_do(struct db *db, size_t which, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(db, which);
    return db_run(&q, error);
}

int db_do_u64(struct db *db, size_t which, uint64_t *ret, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(db, which);
    int r = db_step(&q, error);
    if (r == 0)
        return error_set(error, TW_NOT_FOUND, "%s: there is no row", db->path);
    if (r > 0)
        *ret = db_u64(&q, 0);
    return r < 0 ? -1 : 0;
}

int64_t db_int(const struct db_query *q, int column)
{
    return sqlite3_column_int64(q->stmt, column);
}

bool db_is_null(const struct db_query *q, int column)
{
    return sqlite3_column_type(q->stmt, column) == SQLITE_NULL;
}

const void *db_blob(const struct db_query *q, int column, size_t *ret_len)
{
    const void *data = sqlite3_column_blob(q->stmt, column);
    *ret_len = data ? (size_t)sqlite3_column_bytes(q->stmt, column) : 0;
    return data;
}

char *db_text(const struct db_query *q, int column)
{
    const unsigned char *s = sqlite3_column_text(q->stmt, column);
    if (!s && !db_is_null(q, column))
        return NULL;
    return text_dup(s ? (const char *)s : "", s ? (size_t)sqlite3_column_bytes(q->stmt, column) : 0);
}
