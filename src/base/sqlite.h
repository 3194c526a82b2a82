/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thin layer over SQLite: a connection with its statements prepared on first use and kept,
 * bindings whose failure sticks until the step, and SQLite's results turned into errors that name
 * the file and the next step.
 *
 * A connection has no lock of its own: it may move between threads, but only one may be inside it
 * at a time.
 */
#ifndef BASE_SQLITE_H
#define BASE_SQLITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#include "base/error.h"

struct db {
    sqlite3 *handle;
    char *path; /* as given, for messages */
    const char *const *sql;
    size_t n_sql;
    sqlite3_stmt **stmts;   /* n_sql, NULL until first used */
    sqlite3_stmt *rollback; /* prepared at once: it must work when there is no memory left to prepare it */
};

struct db_options {
    const char *path;       /* of an existing file: nothing is created */
    const char *const *sql; /* the statements this connection runs, by index; must outlive it */
    size_t n_sql;
    int cache_kib; /* pages kept in memory */
    int busy_ms;   /* how long to wait for another program's lock */
};

/* On failure nothing is left open. */
int db_open(struct db *db, const struct db_options *options, struct tw_error *error);
/* An all zero db is allowed. */
void db_close(struct db *db);

/* Runs SQL that has no parameters and whose rows are of no interest. */
int db_exec(struct db *db, const char *sql, struct tw_error *error);
/* The first column of the first row; -1 with NOT_FOUND when there is none. */
int db_get_int(struct db *db, const char *sql, int64_t *ret, struct tw_error *error);
/* Ends a transaction that failed; also right when SQLite has rolled back already or none is open.
 */
void db_rollback(struct db *db);

/*
 * Fills the error from what SQLite returned last on this connection: FULL is RESOURCE_EXHAUSTED,
 * CORRUPT and NOTADB are DATA_LOSS, BUSY and LOCKED are UNAVAILABLE, READONLY and PERM are
 * PERMISSION_DENIED, IOERR follows the errno behind it, everything else is INTERNAL. Returns -1.
 */
int db_fail(struct db *db, int rc, struct tw_error *error);

/* One use of a prepared statement. Bound text and blobs are borrowed until db_query_end(). */
struct db_query {
    struct db *db;
    sqlite3_stmt *stmt; /* NULL when rc is set */
    int rc;             /* the first failure: db_step() reports it */
};

struct db_query db_query(struct db *db, size_t which);
void db_query_end(struct db_query *q);
#define CLEANUP_QUERY CLEANUP(db_query_end)

void db_bind_int(struct db_query *q, int at, int64_t v);
static inline void db_bind_u64(struct db_query *q, int at, uint64_t v)
{
    db_bind_int(q, at, (int64_t)v); /* two's complement there and back */
}
void db_bind_text(struct db_query *q, int at, const char *s);                /* NULL: NULL */
void db_bind_blob(struct db_query *q, int at, const void *data, size_t len); /* data NULL: NULL */

/* 1: a row, 0: done, -1: failed. */
int db_step(struct db_query *q, struct tw_error *error);
/* Runs to the end, for statements without rows of interest. */
int db_run(struct db_query *q, struct tw_error *error);

/* One use of a statement without parameters: db_run(), or the first column of the first row, which has to be there. */
int db_do(struct db *db, size_t which, struct tw_error *error);
int db_do_u64(struct db *db, size_t which, uint64_t *ret, struct tw_error *error);

int64_t db_int(const struct db_query *q, int column);
static inline uint64_t db_u64(const struct db_query *q, int column)
{
    return (uint64_t)db_int(q, column);
}
bool db_is_null(const struct db_query *q, int column);
/* Borrowed until the next step; NULL when empty. */
const void *db_blob(const struct db_query *q, int column, size_t *ret_len);
/* A copy with a NUL behind ("" for NULL); NULL: no memory. */
char *db_text(const struct db_query *q, int column);

#endif
