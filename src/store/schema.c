/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The database file: who it belongs to (application_id), how it is laid out (user_version), and the
 * connections.
 *
 * The tasks table holds what a list shows and nothing large, so that pages of it stay cheap;
 * inputs, results and logs are tables of their own under the same number. Every index ends in the
 * rowid, which is seq: tasks_by_state gives one state's tasks in order of admission, tasks_by_type
 * the same for a type and a state.
 *
 * A layout is made by the steps from nothing to it, and an older database is brought up to date by
 * those that it lacks, in one transaction: a crash in between leaves the old one. Nothing is brought
 * back: whoever may want the older version again keeps a copy of the folder.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "store/internal.h"

enum {
    APPLICATION_ID = 0x484d574b, /* "HMWK" */
    VERSION = 8,
    BUSY_MS = 10000,
    WRITER_CACHE_KIB = 8192, /* for bursts; write.c gives back what is above 2 MiB when one is over */
    READER_CACHE_KIB = 1024,
};

static const char *const statements[] = {
#define X(name, sql) [STORE_SQL_##name] = sql,
    STORE_STATEMENTS(X)
#undef X
};

/* AUTOINCREMENT: a number is never used again, logs and page tokens hang on it. */
static const char schema_v1[] =
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE tasks ("
    "  seq INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  id TEXT NOT NULL UNIQUE,"
    "  type TEXT NOT NULL,"
    "  owner TEXT NOT NULL,"
    "  state INTEGER NOT NULL CHECK (state BETWEEN 1 AND 7)," /* enum tw_task_state */
    "  reason INTEGER NOT NULL CHECK (reason >= 0),"          /* enum tw_reason */
    "  message TEXT NOT NULL,"
    "  error TEXT NOT NULL,"
    "  exit_code INTEGER NOT NULL DEFAULT 0,"
    "  signal INTEGER NOT NULL DEFAULT 0,"
    "  attempt INTEGER NOT NULL,"
    "  retries INTEGER NOT NULL,"
    "  timeout_us INTEGER NOT NULL,"
    "  created_us INTEGER NOT NULL,"
    "  started_us INTEGER NOT NULL DEFAULT 0,"
    "  finished_us INTEGER NOT NULL DEFAULT 0,"
    "  result_size INTEGER NOT NULL DEFAULT 0,"
    "  log_size INTEGER NOT NULL DEFAULT 0,"
    "  log_truncated INTEGER NOT NULL DEFAULT 0,"
    "  wall_us INTEGER NOT NULL DEFAULT 0,"
    "  user_us INTEGER NOT NULL DEFAULT 0,"
    "  system_us INTEGER NOT NULL DEFAULT 0,"
    "  max_rss_bytes INTEGER NOT NULL DEFAULT 0,"
    "  digest BLOB NOT NULL CHECK (length(digest) = 32)"
    ") STRICT;"
    "CREATE INDEX tasks_by_state ON tasks (state);"
    "CREATE INDEX tasks_by_type ON tasks (type, state);"
    /* data or file, and neither for nothing; args: ["a"], env: [["NAME","value"]], NULL for none.
     */
    "CREATE TABLE inputs ("
    "  seq INTEGER PRIMARY KEY REFERENCES tasks ON DELETE CASCADE,"
    "  args TEXT, env TEXT, size INTEGER NOT NULL, data BLOB, file TEXT"
    ") STRICT;"
    "CREATE INDEX inputs_by_file ON inputs (file) WHERE file IS NOT NULL;"
    "CREATE TABLE results ("
    "  seq INTEGER PRIMARY KEY REFERENCES tasks ON DELETE CASCADE,"
    "  size INTEGER NOT NULL, data BLOB, file TEXT"
    ") STRICT;"
    "CREATE INDEX results_by_file ON results (file) WHERE file IS NOT NULL;"
    /* Of finished tasks that printed something; data NULL: in logs/. */
    "CREATE TABLE logs ("
    "  seq INTEGER PRIMARY KEY REFERENCES tasks ON DELETE CASCADE,"
    "  size INTEGER NOT NULL, data BLOB"
    ") STRICT;";

/*
 * What a task asked for beyond its input, and what it used and ran under. options:
 * {"memory_bytes":1048576}, NULL for none. receipts: of finished tasks that had begun; layers and
 * missing are bits 1 << enum tw_layer.
 */
#define NUMBER(name) "  " #name " INTEGER NOT NULL,"
#define LIMIT(name) "  " STORE_LIMIT_COLUMN(name) " INTEGER NOT NULL,"
static const char schema_v2[] =
    "ALTER TABLE inputs ADD COLUMN options TEXT;"
    "CREATE TABLE receipts ("
    "  seq INTEGER PRIMARY KEY REFERENCES tasks ON DELETE CASCADE,"
    "  runtime INTEGER NOT NULL," /* enum tw_runtime */
    "  network INTEGER NOT NULL," /* enum tw_network */
    "  layers INTEGER NOT NULL,"
    "  missing INTEGER NOT NULL,"
    "  denied INTEGER NOT NULL," STORE_RECEIPT_USAGE_2(NUMBER) TW_LIMITS(LIMIT) "  denied_calls TEXT NOT NULL"
                                                                                ") STRICT;";
#undef NUMBER
#undef LIMIT

/* When a task may start, beside its turn. */
static const char schema_v3[] = "ALTER TABLE tasks ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;"
                                "ALTER TABLE tasks ADD COLUMN not_before_us INTEGER NOT NULL DEFAULT 0;"
                                "ALTER TABLE tasks ADD COLUMN queue_timeout_us INTEGER NOT NULL DEFAULT 0;";

/*
 * What a task's life leaves behind beside its end. attempts: those that were not the last; labels and deps: of whom there are
 * any; on_seq comes before seq. events: kind is enum tw_event_kind; the number of one that was removed is never used again.
 */
#define NUMBER(name) "  " #name " INTEGER NOT NULL,"
#define LIMIT(name) "  " STORE_LIMIT_COLUMN(name) " INTEGER NOT NULL,"
static const char schema_v4[] =
    "ALTER TABLE tasks ADD COLUMN retry_delay_us INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE tasks ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE tasks ADD COLUMN retry_of TEXT NOT NULL DEFAULT '';"
    "CREATE INDEX tasks_by_owner ON tasks (owner);"
    "CREATE INDEX tasks_dead ON tasks (seq) WHERE " STORE_DEAD ";"
    "CREATE TABLE attempts ("
    "  seq INTEGER NOT NULL REFERENCES tasks ON DELETE CASCADE,"
    "  attempt INTEGER NOT NULL, reason INTEGER NOT NULL, message TEXT NOT NULL, error TEXT NOT NULL,"
    "  exit_code INTEGER NOT NULL, signal INTEGER NOT NULL, started_us INTEGER NOT NULL, finished_us INTEGER NOT NULL,"
    "  wall_us INTEGER NOT NULL, user_us INTEGER NOT NULL, system_us INTEGER NOT NULL, max_rss_bytes INTEGER NOT NULL,"
    "  runtime INTEGER NOT NULL, network INTEGER NOT NULL, layers INTEGER NOT NULL, missing INTEGER NOT NULL,"
    "  denied INTEGER NOT NULL, denied_calls TEXT NOT NULL," STORE_RECEIPT_USAGE_2(NUMBER) TW_LIMITS(
        LIMIT) "  PRIMARY KEY (seq, attempt)) STRICT, WITHOUT ROWID;"
               "CREATE TABLE labels ("
               "  key TEXT NOT NULL, value TEXT NOT NULL, seq INTEGER NOT NULL REFERENCES tasks ON DELETE CASCADE,"
               "  PRIMARY KEY (key, value, seq)) STRICT, WITHOUT ROWID;"
               "CREATE INDEX labels_of_task ON labels (seq);"
               "CREATE TABLE deps ("
               "  seq INTEGER NOT NULL REFERENCES tasks ON DELETE CASCADE,"
               "  on_seq INTEGER NOT NULL REFERENCES tasks ON DELETE CASCADE,"
               "  PRIMARY KEY (seq, on_seq)) STRICT, WITHOUT ROWID;"
               "CREATE INDEX deps_on ON deps (on_seq);"
               "CREATE TABLE events ("
               "  n INTEGER PRIMARY KEY AUTOINCREMENT, seq INTEGER NOT NULL, time_us INTEGER NOT NULL, kind INTEGER "
               "NOT NULL,"
               "  attempt INTEGER NOT NULL, reason INTEGER NOT NULL) STRICT;";
#undef NUMBER
#undef LIMIT

/* Which GPUs it had: bits. */
static const char schema_v5[] = "ALTER TABLE receipts ADD COLUMN gpus INTEGER NOT NULL DEFAULT 0;"
                                "ALTER TABLE attempts ADD COLUMN gpus INTEGER NOT NULL DEFAULT 0;";

static const char schema_v6[] = "ALTER TABLE tasks ADD COLUMN stopping INTEGER NOT NULL DEFAULT 0;";

/* Whose result others may have: hex of a hash. */
static const char schema_v7[] = "ALTER TABLE tasks ADD COLUMN cache_key TEXT;"
                                "CREATE INDEX tasks_by_cache_key ON tasks (cache_key) WHERE cache_key IS NOT NULL;";

/* More of what a task used: of its workspace, and what it left. */
#define COLUMN_OF(table, name) "ALTER TABLE " table " ADD COLUMN " #name " INTEGER NOT NULL DEFAULT 0;"
#define RECEIPTS(name) COLUMN_OF("receipts", name)
#define ATTEMPTS(name) COLUMN_OF("attempts", name)
static const char schema_v8[] = STORE_RECEIPT_USAGE_8(RECEIPTS) STORE_RECEIPT_USAGE_8(ATTEMPTS);
#undef RECEIPTS
#undef ATTEMPTS
#undef COLUMN_OF

/* steps[n] makes layout n + 1 of layout n. */
static const char *const steps[VERSION] = {
    schema_v1, schema_v2, schema_v3, schema_v4, schema_v5, schema_v6, schema_v7, schema_v8};

static int fail_newer(const struct folder *f, int64_t version, struct tw_error *error)
{
    return error_set(error, TW_FAILED_PRECONDITION,
        "%s was written by a newer version of this program (layout %lld, this one knows %d): "
        "install that version",
        f->db_path, (long long)version, VERSION);
}

static int fail_foreign(const struct folder *f, struct tw_error *error)
{
    return error_set(error, TW_FAILED_PRECONDITION,
        "%s is a database of another program: choose another storage folder", f->db_path);
}

static uint32_t u32be(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/*
 * Looks at the file's header before SQLite does, which might roll a journal back or forward: what
 * is not ours or too new stays exactly as it is. The values in the write-ahead log, which may be
 * newer, are checked once it is open.
 */
static int check_header(const struct folder *f, struct tw_error *error)
{
    uint8_t header[100] = {0};
    CLEANUP_FD int fd = open(f->db_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = fd < 0 ? -errno : fd_read_all(fd, header, sizeof header);
    if (n < 0)
        return error_set_errno(error, (int)n, "cannot read %s", f->db_path);
    if (n == 0)
        return 0; /* new */
    if ((size_t)n < sizeof header || memcmp(header, "SQLite format 3", 16) != 0)
        return error_set(error, TW_DATA_LOSS,
            "%s is damaged (not a database): restore it from a backup, or move the storage folder "
            "away",
            f->db_path);
    uint32_t version = u32be(header + 60), application = u32be(header + 68);
    /* Both are 0 while the transaction that made the schema is only in the write-ahead log. */
    if (application != APPLICATION_ID && (application != 0 || version != 0))
        return fail_foreign(f, error);
    return version > VERSION ? fail_newer(f, version, error) : 0;
}

/* The header's checks again, now that the write-ahead log counts too. */
static int check_marks(struct db *db, const struct folder *f, int64_t *ret_version, struct tw_error *error)
{
    int64_t tables = 0, application = 0;
    if (db_get_int(db, "PRAGMA user_version", ret_version, error) < 0 ||
        db_get_int(db, "PRAGMA application_id", &application, error) < 0 ||
        db_get_int(db, "SELECT count(*) FROM sqlite_schema", &tables, error) < 0)
        return -1;
    bool is_new = *ret_version == 0 && application == 0 && tables == 0;
    if (!is_new && application != APPLICATION_ID)
        return fail_foreign(f, error);
    return *ret_version > VERSION || *ret_version < 0 ? fail_newer(f, *ret_version, error) : 0;
}

static int bring_up_to_date(struct db *db, int64_t from, struct tw_error *error)
{
    char marks[80];
    snprintf(marks, sizeof marks, "PRAGMA application_id=%d; PRAGMA user_version=%d;", APPLICATION_ID, VERSION);
    if (db_exec(db, "BEGIN IMMEDIATE", error) < 0)
        return -1;
    int r = 0;
    for (int64_t version = from; r == 0 && version < VERSION; version++)
        r = db_exec(db, steps[version], error);
    if (r < 0 || db_exec(db, marks, error) < 0 || db_exec(db, "COMMIT", error) < 0) {
        db_rollback(db);
        return -1;
    }
    if (from > 0)
        log_info("%s was brought from layout %d to %d", db->path, (int)from, VERSION);
    return 0;
}

/* A node that cannot write finds out here, not when it has promised to keep something. */
static int prove_writable(struct db *db, struct tw_error *error)
{
    char sql[120];
    snprintf(sql, sizeof sql, "INSERT OR REPLACE INTO meta (key, value) VALUES ('opened_us', %llu)",
        (unsigned long long)clock_wall_us());
    return db_exec(db, sql, error);
}

static int set_up_writer(struct db *db, const struct folder *f, struct tw_error *error)
{
    int64_t version = 0;
    if (check_marks(db, f, &version, error) < 0)
        return -1;
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    /* The journal's limit is what stays of the -wal file after a checkpoint, whatever a burst made
     * of it. */
    if (db_exec(db,
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; "
            "PRAGMA wal_autocheckpoint=" STRINGIFY(
                STORE_JOURNAL_PAGES) "; "
                                     "PRAGMA journal_size_limit=" STRINGIFY(
                                         STORE_JOURNAL_BYTES) "; PRAGMA cell_size_check=ON;",
            error) < 0)
        return -1;
    if (version < VERSION && bring_up_to_date(db, version, error) < 0)
        return -1;
    return prove_writable(db, error);
}

int schema_open_writer(struct db *db, const struct folder *f, struct tw_error *error)
{
    if (check_header(f, error) < 0)
        return -1;
    const struct db_options options = {.path = f->db_path,
        .sql = statements,
        .n_sql = ARRAY_LEN(statements),
        .cache_kib = WRITER_CACHE_KIB,
        .busy_ms = BUSY_MS};
    if (db_open(db, &options, error) < 0)
        return -1;
    /* Until its version is known, closing must not carry the write-ahead log over into it. */
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (set_up_writer(db, f, error) < 0) {
        db_close(db);
        return -1;
    }
    return 0;
}

int schema_open_reader(struct db *db, const struct folder *f, struct tw_error *error)
{
    const struct db_options options = {.path = f->db_path,
        .sql = statements,
        .n_sql = ARRAY_LEN(statements),
        .cache_kib = READER_CACHE_KIB,
        .busy_ms = BUSY_MS};
    if (db_open(db, &options, error) < 0)
        return -1;
    if (db_exec(db, "PRAGMA query_only=ON", error) < 0) {
        db_close(db);
        return -1;
    }
    return 0;
}
