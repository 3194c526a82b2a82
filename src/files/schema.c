/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The database file: whose it is (application_id), how it is laid out (user_version), and the connections. What can be
 * derived from the files is kept by triggers (how often a content is used, what an owner has, what there is in all), so that
 * no way of changing a row can forget it; fsck counts it again.
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "files/internal.h"

enum {
    APPLICATION_ID = 0x484d5746, /* "HMWF" */
    VERSION = 1,
    BUSY_MS = 10000,
    CACHE_KIB = 2048,
};

/* The write-ahead log is carried over at half of the room that it is given ahead: with the other half files can still be
 * deleted when the disk is full. */
#define JOURNAL_BYTES 4194304
#define JOURNAL_PAGES 512

static const char *const statements[] = {
#define X(name, sql) [FILES_SQL_##name] = sql,
    FILES_STATEMENTS(X)
#undef X
};

/* AUTOINCREMENT: the number of a content that is gone is never another one's. */
static const char schema_v1[] =
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE totals (one INTEGER PRIMARY KEY CHECK (one = 1), blobs INTEGER NOT NULL, bytes INTEGER NOT NULL) "
    "STRICT;"
    "INSERT INTO totals VALUES (1, 0, 0);"
    "CREATE TABLE owners ("
    "  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,"
    "  files INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0) STRICT;"
    "CREATE TABLE blobs ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  sha256 BLOB NOT NULL UNIQUE CHECK (length(sha256) = 32),"
    "  size INTEGER NOT NULL CHECK (size >= 0),"
    "  refs INTEGER NOT NULL DEFAULT 0 CHECK (refs >= 0),"
    "  state INTEGER NOT NULL,"              /* enum blob_state */
    "  checked_us INTEGER NOT NULL) STRICT;" /* when its content was last known to be right, or found not to be */
    "CREATE INDEX blobs_unused ON blobs (id, size) WHERE refs = 0;"
    "CREATE INDEX blobs_bad ON blobs (id) WHERE state <> 0;"
    "CREATE TABLE files ("
    "  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
    "  owner INTEGER NOT NULL REFERENCES owners, name TEXT NOT NULL, blob INTEGER NOT NULL REFERENCES blobs,"
    "  version INTEGER NOT NULL, created_us INTEGER NOT NULL, modified_us INTEGER NOT NULL,"
    "  UNIQUE (owner, name)) STRICT;"
    "CREATE INDEX files_by_blob ON files (blob);"
    "CREATE INDEX files_by_age ON files (modified_us);"
    "CREATE TRIGGER blob_added AFTER INSERT ON blobs BEGIN"
    "  UPDATE totals SET blobs = blobs + 1, bytes = bytes + NEW.size; END;"
    "CREATE TRIGGER blob_removed AFTER DELETE ON blobs BEGIN"
    "  UPDATE totals SET blobs = blobs - 1, bytes = bytes - OLD.size; END;"
    "CREATE TRIGGER file_added AFTER INSERT ON files BEGIN"
    "  UPDATE blobs SET refs = refs + 1 WHERE id = NEW.blob;"
    "  UPDATE owners SET files = files + 1, bytes = bytes + (SELECT size FROM blobs WHERE id = NEW.blob)"
    "    WHERE id = NEW.owner; END;"
    "CREATE TRIGGER file_changed AFTER UPDATE OF blob ON files BEGIN"
    "  UPDATE blobs SET refs = refs + 1 WHERE id = NEW.blob;"
    "  UPDATE blobs SET refs = refs - 1 WHERE id = OLD.blob;"
    "  UPDATE owners SET bytes = bytes + (SELECT size FROM blobs WHERE id = NEW.blob) -"
    "    (SELECT size FROM blobs WHERE id = OLD.blob) WHERE id = NEW.owner; END;"
    "CREATE TRIGGER file_removed AFTER DELETE ON files BEGIN"
    "  UPDATE blobs SET refs = refs - 1 WHERE id = OLD.blob;"
    "  UPDATE owners SET files = files - 1, bytes = bytes - (SELECT size FROM blobs WHERE id = OLD.blob)"
    "    WHERE id = OLD.owner;"
    "  DELETE FROM owners WHERE id = OLD.owner AND files = 0; END;";

static int fail_foreign(const struct db *db, struct tw_error *error)
{
    return error_set(error, TW_FAILED_PRECONDITION,
        "%s is a database of another program: choose another folder for files", db->path);
}

static int fail_newer(const struct db *db, int64_t version, struct tw_error *error)
{
    return error_set(error, TW_FAILED_PRECONDITION,
        "%s was written by a newer version of this program (layout %lld, this one knows %d): install that version",
        db->path, (long long)version, VERSION);
}

/* Is it new (0), or ours (1)? */
static int check_marks(struct db *db, struct tw_error *error)
{
    int64_t version = 0, application = 0, tables = 0;
    if (db_get_int(db, "PRAGMA user_version", &version, error) < 0 ||
        db_get_int(db, "PRAGMA application_id", &application, error) < 0 ||
        db_get_int(db, "SELECT count(*) FROM sqlite_schema", &tables, error) < 0)
        return -1;
    if (version == 0 && application == 0 && tables == 0)
        return 0;
    if (application != APPLICATION_ID)
        return fail_foreign(db, error);
    return version == VERSION ? 1 : fail_newer(db, version, error);
}

static int make_schema(struct db *db, struct tw_error *error)
{
    char marks[80];
    snprintf(marks, sizeof marks, "PRAGMA application_id=%d; PRAGMA user_version=%d;", APPLICATION_ID, VERSION);
    if (db_exec(db, "BEGIN IMMEDIATE", error) < 0)
        return -1;
    if (db_exec(db, schema_v1, error) < 0 || db_exec(db, marks, error) < 0 || db_exec(db, "COMMIT", error) < 0) {
        db_rollback(db);
        return -1;
    }
    return 0;
}

/* Who cannot write finds out here, not when something has been promised. */
static int prove_writable(struct db *db, struct tw_error *error)
{
    char sql[120];
    snprintf(sql, sizeof sql, "INSERT OR REPLACE INTO meta (key, value) VALUES ('opened_us', %llu)",
        (unsigned long long)clock_wall_us());
    return db_exec(db, sql, error);
}

/* A comfort: where there is no room, it grows when it has to. SQLite takes zeros behind what it wrote for the log's end. */
static void make_room(const struct root *root)
{
    CLEANUP_FD int fd = openat(root->dir_fd, ROOT_DB "-wal", O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0)
        (void)!fallocate(fd, 0, 0, JOURNAL_BYTES);
}

static int set_up(struct db *db, const struct root *root, struct tw_error *error)
{
    int is_ours = check_marks(db, error);
    if (is_ours < 0)
        return -1;
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    if (db_exec(db,
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cell_size_check=ON;"
            "PRAGMA wal_autocheckpoint=" STRINGIFY(JOURNAL_PAGES) ";"
                                                                  "PRAGMA journal_size_limit=" STRINGIFY(
                                                                      JOURNAL_BYTES) ";",
            error) < 0)
        return -1;
    if ((!is_ours && make_schema(db, error) < 0) || prove_writable(db, error) < 0)
        return -1;
    make_room(root);
    return 0;
}

static int open_connection(struct db *db, const struct root *root, struct tw_error *error)
{
    const struct db_options options = {.path = root->db_path,
        .sql = statements,
        .n_sql = ARRAY_LEN(statements),
        .cache_kib = CACHE_KIB,
        .busy_ms = BUSY_MS};
    return db_open(db, &options, error);
}

int catalog_open(struct db *db, const struct root *root, struct tw_error *error)
{
    if (open_connection(db, root, error) < 0)
        return -1;
    /* Until it is known whose it is, closing must not carry the write-ahead log over into it. */
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (set_up(db, root, error) < 0) {
        db_close(db);
        return -1;
    }
    return 0;
}

int catalog_open_reader(struct db *db, const struct root *root, struct tw_error *error)
{
    if (open_connection(db, root, error) < 0)
        return -1;
    if (db_exec(db, "PRAGMA query_only=ON", error) < 0) {
        db_close(db);
        return -1;
    }
    return 0;
}
