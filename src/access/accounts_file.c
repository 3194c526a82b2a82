/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of the accounts: that nobody else can read or change it, whose it is (application_id), and how it is laid out
 * (user_version). It is held as long as it is open: what is in memory cannot be passed by another program's writes.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/accounts_internal.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/text.h"

enum {
    APPLICATION_ID = 0x484d5741, /* "HMWA" */
    VERSION = 1,
    PATIENCE_MS = 2000,
    CACHE_KIB = 512,
};

static const char *const statements[] = {
#define X(name, sql) [ACCOUNTS_SQL_##name] = sql,
    ACCOUNTS_STATEMENTS(X)
#undef X
};

/* AUTOINCREMENT: the number of a user who is gone is never another one's. The rows of removed users stay, to keep their names. */
static const char schema_v1[] =
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "INSERT INTO meta VALUES ('first_due', 1);"
    "CREATE TABLE users ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"
    "  role INTEGER NOT NULL CHECK (role BETWEEN 0 AND 3)," /* enum role */
    "  disabled INTEGER NOT NULL CHECK (disabled BETWEEN 0 AND 1),"
    "  password TEXT," /* Argon2id; NULL: none */
    "  generation INTEGER NOT NULL,"
    "  created_us INTEGER NOT NULL, changed_us INTEGER NOT NULL, removed_us INTEGER NOT NULL DEFAULT 0) STRICT;"
    "CREATE TABLE tokens ("
    "  seq INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),"
    "  user INTEGER NOT NULL REFERENCES users, name TEXT NOT NULL,"
    "  role INTEGER NOT NULL CHECK (role BETWEEN 0 AND 3),"
    "  created_us INTEGER NOT NULL, expires_us INTEGER NOT NULL, used_us INTEGER NOT NULL DEFAULT 0,"
    "  revoked_us INTEGER NOT NULL DEFAULT 0, first INTEGER NOT NULL CHECK (first BETWEEN 0 AND 1)) STRICT;"
    "CREATE INDEX tokens_by_user ON tokens (user);";

/* --- the file --- */

/* Who may write to the folder may put another file in its place, or files beside it that SQLite would heed. */
static int check_folder(int fd, const char *path, struct tw_error *error)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return error_set_errno(error, errno, "cannot look at the folder of %s", path);
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return error_set(error, TW_PERMISSION_DENIED,
            "the folder of %s belongs to uid %u, this process is uid %u: chown it", path, (unsigned)st.st_uid,
            (unsigned)geteuid());
    if (st.st_mode & (S_IWGRP | S_IWOTH))
        return error_set(error, TW_FAILED_PRECONDITION,
            "others may write to the folder of %s (mode %04o): `chmod go-w` it", path, (unsigned)st.st_mode & 07777);
    return 0;
}

static int check_file(int folder, const char *name, const char *path, struct tw_error *error)
{
    struct stat st;
    if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return error_set_errno(error, errno, "cannot look at %s", path);
    if (!S_ISREG(st.st_mode))
        return error_set(error, TW_FAILED_PRECONDITION, "%s is not a regular file: move it away", path);
    if (st.st_uid != geteuid())
        return error_set(error, TW_PERMISSION_DENIED, "%s belongs to uid %u, this process is uid %u: `chown %u %s`",
            path, (unsigned)st.st_uid, (unsigned)geteuid(), (unsigned)geteuid(), path);
    if (st.st_mode & (S_IRWXG | S_IRWXO))
        return error_set(error, TW_FAILED_PRECONDITION,
            "others may read or change %s (mode %04o), which holds who may use this node: `chmod 600 %s`, and "
            "consider its tokens and passwords known",
            path, (unsigned)st.st_mode & 07777, path);
    return 0;
}

/* SQLite would make it with the umask's mode; what it puts beside it takes its mode from it. */
static int make_file(int folder, const char *name, const char *path, struct tw_error *error)
{
    CLEANUP_FD int fd = openat(folder, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 && errno == EEXIST)
        return 0;
    if (fd < 0 || fchmod(fd, 0600) < 0 || fsync(folder) < 0)
        return error_set_errno(error, errno, "cannot make %s", path);
    return 0;
}

static int prepare_file(const char *path, struct tw_error *error)
{
    const char *slash = path ? strrchr(path, '/') : NULL, *name = slash ? slash + 1 : path;
    size_t len = path ? strnlen(path, PATH_MAX) : 0;
    if (len == 0 || len > PATH_MAX - 64 || !*name)
        return error_set(error, TW_INVALID_ARGUMENT, "the path of the accounts is not that of a file");
    CLEANUP_FREE char *folder = slash ? text_dup(path, MAX((size_t)(slash - path), (size_t)1)) : text_dup(".", 1);
    if (!folder)
        return error_oom(error);
    CLEANUP_FD int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(error, errno, "cannot open the folder %s", folder);
    if (check_folder(fd, path, error) < 0 || make_file(fd, name, path, error) < 0)
        return -1;
    return check_file(fd, name, path, error);
}

/* --- the database in it --- */

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
        return error_set(error, TW_FAILED_PRECONDITION,
            "%s is a database of another program: move it away, or name another file", db->path);
    if (version != VERSION)
        return error_set(error, TW_FAILED_PRECONDITION,
            "%s was written by a newer version of this program (layout %lld, this one knows %d): install that version",
            db->path, (long long)version, VERSION);
    return 1;
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

/* Who cannot write finds out here. It also takes the lock, which is kept. */
static int prove_writable(struct db *db, struct tw_error *error)
{
    char sql[120];
    snprintf(sql, sizeof sql, "INSERT OR REPLACE INTO meta (key, value) VALUES ('opened_us', %llu)",
        (unsigned long long)clock_wall_us());
    return db_exec(db, sql, error);
}

static int check_sound(struct db *db, struct tw_error *error)
{
    int64_t good = 0;
    if (db_get_int(db, "SELECT count(*) FROM pragma_quick_check WHERE quick_check = 'ok'", &good, error) < 0)
        return -1;
    return good ? 0 : db_fail(db, SQLITE_CORRUPT, error);
}

static int set_up(struct db *db, struct tw_error *error)
{
    /* Held alone from the first look on: so the write-ahead log needs no file of shared memory either. */
    if (db_exec(db, "PRAGMA locking_mode=EXCLUSIVE;", error) < 0)
        return -1;
    int is_ours = check_marks(db, error);
    if (is_ours < 0)
        return -1;
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    /* secure_delete: of hashes that were replaced nothing is left in the file, once the log has been carried over. */
    if (db_exec(db,
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cell_size_check=ON; PRAGMA secure_delete=ON;",
            error) < 0)
        return -1;
    if (!is_ours && make_schema(db, error) < 0)
        return -1;
    return prove_writable(db, error) < 0 ? -1 : check_sound(db, error);
}

int accounts_file_open(struct db *db, const char *path, unsigned patience_ms, struct tw_error *error)
{
    if (prepare_file(path, error) < 0)
        return -1;
    const struct db_options options = {.path = path,
        .sql = statements,
        .n_sql = ARRAY_LEN(statements),
        .cache_kib = CACHE_KIB,
        .busy_ms = (int)MIN(patience_ms ? patience_ms : (unsigned)PATIENCE_MS, (unsigned)INT_MAX)};
    struct tw_error local = {0}, *why = error ? error : &local;
    int r = db_open(db, &options, why);
    if (r == 0) {
        /* Until it is known whose it is, closing must not carry the write-ahead log over into it. */
        sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        r = set_up(db, why);
        if (r < 0)
            db_close(db);
    }
    if (r < 0 && why->code == TW_UNAVAILABLE)
        error_set(
            why, TW_UNAVAILABLE, "another program has %s open, perhaps a node that runs: end it, then try again", path);
    return r;
}

/* --- what is read from it --- */

bool accounts_read_text(const struct db_query *q, int column, size_t max, char *ret)
{
    size_t len = 0;
    const void *data = db_blob(q, column, &len);
    if (!data || len > max || memchr(data, 0, len) || !text_is_utf8(data, len))
        return false;
    memcpy(ret, data, len);
    ret[len] = '\0';
    return true;
}

bool accounts_read_bytes(const struct db_query *q, int column, size_t len, void *ret)
{
    size_t has = 0;
    const void *data = db_blob(q, column, &has);
    if (!data || has != len)
        return false;
    memcpy(ret, data, len);
    return true;
}

int accounts_fail_damaged(const struct accounts *a, const char *table, struct tw_error *error)
{
    return error_set(error, TW_DATA_LOSS,
        "%s is damaged: a row of its table %s makes no sense: restore it from a backup", a->db.path, table);
}
