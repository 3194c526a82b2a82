/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the store share. Nothing here is for other modules; tests look at the counters.
 */
#ifndef STORE_INTERNAL_H
#define STORE_INTERNAL_H

#include <stdatomic.h>

#include "base/list.h"
#include "base/sqlite.h"
#include "store/folder.h"
#include "store/store.h"

/* --- schema.c: the database --- */

/* What the receipts table has of the usage; the rest stands in tasks, where layout 1 put it. */
#define STORE_RECEIPT_USAGE_2(X) \
    X(peak_memory_bytes)         \
    X(minor_faults)              \
    X(major_faults)              \
    X(read_bytes)                \
    X(written_bytes)             \
    X(waits)                     \
    X(preemptions)               \
    X(processes)
/* What came with layout 8. */
#define STORE_RECEIPT_USAGE_8(X) \
    X(workspace_bytes)           \
    X(outputs)                   \
    X(output_bytes)
#define STORE_RECEIPT_USAGE(X) STORE_RECEIPT_USAGE_2(X) STORE_RECEIPT_USAGE_8(X)
/* Limits have columns with names of their own: there is a limit of processes, and how many there were. */
#define STORE_LIMIT_COLUMN(name) "max_" #name

/* The columns that row_load() reads, in its order; then what only the task itself needs. */
#define STORE_R_USAGE(name) ", r." #name
#define STORE_R_LIMIT(name) ", r." STORE_LIMIT_COLUMN(name)
#define STORE_INFO_COLUMNS                                                                                           \
    "t.seq, t.id, t.type, t.owner, t.state, t.reason, t.message, t.error, t.exit_code, t.signal, "                   \
    "t.attempt, t.retries, t.timeout_us, t.created_us, t.started_us, t.finished_us, "                                \
    "t.result_size, t.log_size, t.log_truncated, t.wall_us, t.user_us, t.system_us, "                                \
    "t.max_rss_bytes, t.digest, t.priority, t.not_before_us, t.queue_timeout_us, "                                   \
    "t.retry_delay_us, t.paused, t.retry_of, t.stopping, "                                                           \
    "(SELECT json_group_array(json_array(key, value)) FROM labels WHERE labels.seq = t.seq), "                       \
    "r.runtime, r.network, r.layers, r.missing, r.denied, r.denied_calls, r.gpus" STORE_RECEIPT_USAGE(STORE_R_USAGE) \
        TW_LIMITS(STORE_R_LIMIT)
#define STORE_ONE(name) +1
enum {
    STORE_RECEIPT_COLUMN = 32, /* where the receipt begins, */
    STORE_RECEIPT_USAGE_COLUMN = STORE_RECEIPT_COLUMN + 7,
    STORE_RECEIPT_LIMITS_COLUMN = STORE_RECEIPT_USAGE_COLUMN STORE_RECEIPT_USAGE(STORE_ONE),
    STORE_INFO_COLUMNS_COUNT = STORE_RECEIPT_LIMITS_COLUMN TW_LIMITS(STORE_ONE)
};
#define STORE_SPEC_COLUMNS                                                                                     \
    "i.args, i.env, i.options, "                                                                               \
    "(SELECT json_group_array(json_array(o.id, o.state)) FROM deps JOIN tasks o ON o.seq = deps.on_seq WHERE " \
    "deps.seq = t.seq), t.cache_key"
#define STORE_TASKS_AND_RECEIPTS "tasks t LEFT JOIN receipts r USING (seq)"

#define STORE_INTO_USAGE(name) ", " #name
#define STORE_INTO_LIMIT(name) ", " STORE_LIMIT_COLUMN(name)
#define STORE_PLACE(name) ", ?"
#define STORE_RECEIPT_COLUMNS                                                                               \
    ", runtime, network, layers, missing, denied, denied_calls, gpus" STORE_RECEIPT_USAGE(STORE_INTO_USAGE) \
        TW_LIMITS(STORE_INTO_LIMIT)
#define STORE_RECEIPT_PLACES ", ?, ?, ?, ?, ?, ?, ?" STORE_RECEIPT_USAGE(STORE_PLACE) TW_LIMITS(STORE_PLACE)

/*
 * Two steps to find tasks by anything but state and type: how far down a bounded number of entries of the index that is to lead
 * reaches, and which of these tasks match. ?1: below this number; ?2: the bound, then the lowest number; ?3: how many at most.
 */
#define STORE_DEAD "state = 6 AND retries > 0 AND attempt > retries"
#define STORE_FLOOR(leader) \
    "SELECT min(seq), count(*) FROM (SELECT seq FROM " leader " AND seq < ?1 ORDER BY seq DESC LIMIT ?2)"
#define STORE_MATCHES_LABELS                                                                                     \
    "(?12 IS NULL OR NOT EXISTS (SELECT 1 FROM json_each(?12) j WHERE NOT EXISTS (SELECT 1 FROM labels x WHERE " \
    "x.key = j.value->>0 AND x.value = j.value->>1 AND x.seq = t.seq)))"
#define STORE_MATCHES                                                                                              \
    "(?4 >> t.state) & 1 AND (?5 IS NULL OR t.owner = ?5) AND (?6 IS NULL OR t.type = ?6) AND t.created_us >= ?7 " \
    "AND t.created_us < ?8 AND (?11 = 0 OR (t.state = 6 AND t.retries > 0 AND t.attempt > t.retries)) "            \
    "AND " STORE_MATCHES_LABELS
#define STORE_FIND(leader)                                                                                      \
    "SELECT d.seq FROM (SELECT seq FROM " leader " AND seq < ?1 AND seq >= ?2 ORDER BY seq DESC) d CROSS JOIN " \
    "tasks t ON t.seq = d.seq WHERE " STORE_MATCHES " ORDER BY d.seq DESC LIMIT ?3"

/* The states that are not final, and those that are, as SQL. */
#define STORE_OPEN_STATES "(1, 2, 3, 4)"

/* Of those with a number from ?1 to before ?2: what is older than ?3, and what belongs to a task that is gone. */
#define STORE_OLD_EVENTS \
    "n >= ?1 AND n < ?2 AND (time_us < ?3 OR NOT EXISTS (SELECT 1 FROM tasks t WHERE t.seq = events.seq))"
/* The name, in meta, of the highest number of an event that was removed. */
#define STORE_GONE_EVENT "gone_event"

#define STORE_STATEMENTS(X)                                                                                           \
    X(BEGIN_WRITE, "BEGIN IMMEDIATE")                                                                                 \
    X(BEGIN_READ, "BEGIN")                                                                                            \
    X(COMMIT, "COMMIT")                                                                                               \
    X(ADMIT,                                                                                                          \
        "INSERT INTO tasks (id, type, owner, state, reason, message, error, attempt, retries, "                       \
        "timeout_us, created_us, digest, priority, not_before_us, queue_timeout_us, retry_delay_us, retry_of, "       \
        "cache_key) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18) "        \
        "ON CONFLICT (id) DO NOTHING")                                                                                \
    X(ADMIT_LABEL, "INSERT OR IGNORE INTO labels (key, value, seq) VALUES (?1, ?2, ?3)")                              \
    X(ADMIT_DEP, "INSERT OR IGNORE INTO deps (seq, on_seq) VALUES (?1, ?2)")                                          \
    X(DEP_OF_ID, "SELECT seq, state, owner IS NOT ?2 FROM tasks WHERE id = ?1")                                       \
    X(SAVEPOINT, "SAVEPOINT batch")                                                                                   \
    X(SAVEPOINT_UNDO, "ROLLBACK TO batch")                                                                            \
    X(SAVEPOINT_END, "RELEASE batch")                                                                                 \
    X(EVENT,                                                                                                          \
        "INSERT INTO events (seq, time_us, kind, attempt, reason) VALUES (?1, ?2, ?3, "                               \
        "coalesce(nullif(?4, 0), (SELECT attempt FROM tasks WHERE seq = ?1)), ?5)")                                   \
    X(ADMIT_INPUT,                                                                                                    \
        "INSERT INTO inputs (seq, args, env, size, data, file, options) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")         \
    X(ATTEMPT,                                                                                                        \
        "UPDATE tasks SET state = 4, attempt = ?2, started_us = ?3 WHERE seq = ?1 AND state "                         \
        "IN " STORE_OPEN_STATES)                                                                                      \
    X(REQUEUE,                                                                                                        \
        "UPDATE tasks SET state = 1, attempt = ?2, not_before_us = ?3, message = ?4 WHERE seq = ?1 AND state "        \
        "IN " STORE_OPEN_STATES)                                                                                      \
    X(FORMER,                                                                                                         \
        "INSERT OR REPLACE INTO attempts (seq, attempt, reason, message, error, exit_code, signal, started_us, "      \
        "finished_us, wall_us, user_us, system_us, max_rss_bytes" STORE_RECEIPT_COLUMNS ") VALUES "                   \
        "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?" STORE_RECEIPT_PLACES ")")                                            \
    X(FORMERS,                                                                                                        \
        "SELECT attempt, reason, message, error, exit_code, signal, started_us, finished_us, wall_us, user_us, "      \
        "system_us, max_rss_bytes" STORE_RECEIPT_COLUMNS " FROM attempts WHERE seq = ?1 ORDER BY attempt")            \
    X(STOPPING, "UPDATE tasks SET stopping = 1 WHERE seq = ?1 AND state IN " STORE_OPEN_STATES)                       \
    X(PAUSE, "UPDATE tasks SET paused = ?2 WHERE seq = ?1 AND state IN " STORE_OPEN_STATES)                           \
    X(IS_PAUSED, "SELECT 1 FROM tasks WHERE seq = ?1 AND paused = ?2 AND state IN " STORE_OPEN_STATES)                \
    X(FINISH,                                                                                                         \
        "UPDATE tasks SET state = ?2, paused = 0, stopping = 0, reason = ?3, message = ?4, error = ?5, exit_code = "  \
        "?6, "                                                                                                        \
        "signal = ?7, attempt = ?8, started_us = ?9, finished_us = ?10, result_size = ?11, "                          \
        "log_size = ?12, log_truncated = ?13, wall_us = ?14, user_us = ?15, system_us = ?16, "                        \
        "max_rss_bytes = ?17 WHERE seq = ?1 AND state IN " STORE_OPEN_STATES)                                         \
    X(FINISH_RECEIPT, "INSERT INTO receipts (seq" STORE_RECEIPT_COLUMNS ") VALUES (?" STORE_RECEIPT_PLACES ")")       \
    X(FINISH_RESULT, "INSERT INTO results (seq, size, data, file) VALUES (?1, ?2, ?3, ?4)")                           \
    X(FINISH_LOG, "INSERT INTO logs (seq, size, data) VALUES (?1, ?2, ?3)")                                           \
    X(PRUNE_LOOK,                                                                                                     \
        "SELECT t.seq, max(t.finished_us, t.created_us), EXISTS (SELECT 1 FROM deps d CROSS JOIN tasks o ON o.seq = " \
        "d.seq "                                                                                                      \
        "WHERE d.on_seq = t.seq AND o.state IN " STORE_OPEN_STATES                                                    \
        ") FROM tasks t WHERE t.state = ?1 AND t.seq > ?3 ORDER BY t.seq LIMIT ?2")                                   \
    X(PRUNE_FILES,                                                                                                    \
        "SELECT i.file, r.file, l.seq IS NOT NULL AND l.data IS NULL FROM (SELECT ?1 AS seq) LEFT JOIN inputs i "     \
        "USING (seq) "                                                                                                \
        "LEFT JOIN results r USING (seq) LEFT JOIN logs l USING (seq)")                                               \
    X(PRUNE, "DELETE FROM tasks WHERE seq = ?1")                                                                      \
    X(PRUNE_NEXT_EVENT, "SELECT coalesce(min(n), 0) FROM events WHERE n >= ?1")                                       \
    X(PRUNE_EVENTS, "DELETE FROM events WHERE " STORE_OLD_EVENTS)                                                     \
    X(PRUNE_MARK,                                                                                                     \
        "INSERT INTO meta (key, value) SELECT '" STORE_GONE_EVENT "', max(n) FROM events WHERE " STORE_OLD_EVENTS     \
        " HAVING max(n) IS NOT NULL ON CONFLICT (key) DO UPDATE SET value = max(value, excluded.value)")              \
    X(COUNT,                                                                                                          \
        "SELECT (SELECT count(*) FROM tasks), (SELECT coalesce(sum(size), 0) FROM inputs) + (SELECT "                 \
        "coalesce(sum(size), 0) FROM results) + (SELECT coalesce(sum(size), 0) FROM logs)")                           \
    X(SIZE,                                                                                                           \
        "SELECT coalesce((SELECT size FROM inputs WHERE seq = ?1), 0) + coalesce((SELECT size FROM results WHERE "    \
        "seq = ?1), 0) + coalesce((SELECT size FROM logs WHERE seq = ?1), 0)")                                        \
    X(NUMBER, "SELECT value FROM meta WHERE key = ?1")                                                                \
    X(SET_NUMBER, "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")                                         \
    X(STATE, "SELECT state FROM tasks WHERE seq = ?1")                                                                \
    X(SEQ_OF_ID, "SELECT seq FROM tasks WHERE id = ?1")                                                               \
    X(GET,                                                                                                            \
        "SELECT " STORE_INFO_COLUMNS ", " STORE_SPEC_COLUMNS " FROM " STORE_TASKS_AND_RECEIPTS                        \
        " LEFT JOIN inputs i USING (seq) WHERE t.id = ?1")                                                            \
    X(FIND_CACHED,                                                                                                    \
        "SELECT " STORE_INFO_COLUMNS ", " STORE_SPEC_COLUMNS " FROM " STORE_TASKS_AND_RECEIPTS                        \
        " LEFT JOIN inputs i USING (seq) WHERE t.seq = (SELECT max(seq) FROM tasks WHERE cache_key = ?1 AND state = " \
        "5)")                                                                                                         \
    X(GET_INFO, "SELECT " STORE_INFO_COLUMNS " FROM " STORE_TASKS_AND_RECEIPTS " WHERE t.seq = ?1")                   \
    X(RECOVER,                                                                                                        \
        "SELECT " STORE_INFO_COLUMNS ", " STORE_SPEC_COLUMNS " FROM " STORE_TASKS_AND_RECEIPTS                        \
        " LEFT JOIN inputs i USING (seq) WHERE t.seq IN (SELECT seq FROM tasks WHERE state IN " STORE_OPEN_STATES     \
        ") ORDER BY t.seq")                                                                                           \
    X(INPUT, "SELECT size, data, file FROM inputs WHERE seq = ?1")                                                    \
    X(RESULT,                                                                                                         \
        "SELECT t.state, r.size, r.data, r.file FROM tasks t LEFT JOIN results r USING (seq) "                        \
        "WHERE t.id = ?1")                                                                                            \
    X(LOG,                                                                                                            \
        "SELECT t.state, l.size, l.data FROM tasks t LEFT JOIN logs l USING (seq) "                                   \
        "WHERE t.seq = ?1")                                                                                           \
    X(FILE_USED,                                                                                                      \
        "SELECT 1 FROM inputs WHERE file = ?1 UNION ALL SELECT 1 FROM results WHERE file = ?1 "                       \
        "LIMIT 1")                                                                                                    \
    X(LIST, "SELECT seq FROM tasks WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2")                                        \
    X(LIST_STATE, "SELECT seq FROM tasks WHERE state = ?3 AND seq < ?1 ORDER BY seq DESC LIMIT ?2")                   \
    X(LIST_TYPE_STATE,                                                                                                \
        "SELECT seq FROM tasks WHERE type = ?4 AND state = ?3 AND seq < ?1 ORDER BY seq DESC "                        \
        "LIMIT ?2")                                                                                                   \
    X(FLOOR_ALL, STORE_FLOOR("tasks WHERE 1"))                                                                        \
    X(FLOOR_OWNER, STORE_FLOOR("tasks WHERE owner = ?5"))                                                             \
    X(FLOOR_LABEL, STORE_FLOOR("labels WHERE key = ?9 AND value = ?10"))                                              \
    X(FLOOR_DEAD, STORE_FLOOR("tasks INDEXED BY tasks_dead WHERE " STORE_DEAD))                                       \
    X(FIND_ALL, STORE_FIND("tasks WHERE 1"))                                                                          \
    X(FIND_OWNER, STORE_FIND("tasks WHERE owner = ?5"))                                                               \
    X(FIND_LABEL, STORE_FIND("labels WHERE key = ?9 AND value = ?10"))                                                \
    X(FIND_DEAD, STORE_FIND("tasks INDEXED BY tasks_dead WHERE " STORE_DEAD))                                         \
    X(LAST_EVENT, "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events'")                          \
    X(FIRST_EVENT, "SELECT coalesce(min(n), 0) FROM events")                                                          \
    X(GONE_EVENT, "SELECT coalesce((SELECT value FROM meta WHERE key = '" STORE_GONE_EVENT "'), 0)")                  \
    X(EVENTS,                                                                                                         \
        "SELECT e.n, e.time_us, e.kind, e.attempt, e.reason, t.id, t.type, t.owner FROM events e "                    \
        "LEFT JOIN tasks t ON t.seq = e.seq WHERE e.n > ?1 AND e.n <= ?2 AND (t.seq IS NULL OR ((?5 IS NULL OR "      \
        "t.owner = ?5) "                                                                                              \
        "AND (?6 IS NULL OR t.type = ?6) AND " STORE_MATCHES_LABELS ")) ORDER BY e.n LIMIT ?3")

enum store_statement {
#define X(name, sql) STORE_SQL_##name,
    STORE_STATEMENTS(X)
#undef X
        STORE_SQL_MAX
};

/* Checks the database file, makes or upgrades the schema, proves that it can be written. */
int schema_open_writer(struct db *db, const struct folder *folder, struct tw_error *error);
int schema_open_reader(struct db *db, const struct folder *folder, struct tw_error *error);

/* --- journal.c: the write-ahead log --- */

/* What it is made to hold, and what stays of it after a burst; a little more than what is carried over at once. */
#define STORE_JOURNAL_BYTES 16777216
#define STORE_JOURNAL_PAGES 4000

/*
 * Makes it longer by a piece. On the pool's thread, within a write transaction that has written nothing, so that nobody
 * appends to it meanwhile. True if there is more to do.
 */
bool journal_make_room(const struct folder *f);

/* --- row.c: tasks to and from rows --- */

/* Fills *ret from the current row of a statement that selects STORE_INFO_COLUMNS, and
 * STORE_SPEC_COLUMNS if `with_spec`. */
int row_load(struct db_query *q, bool with_spec, struct store_task *ret, struct tw_error *error);
/* The parts of a request that are neither data nor file, as JSON; each NULL when there are none. */
struct spec_texts {
    char *args, *env, *options;
};
void spec_texts_done(struct spec_texts *texts);
/* The labels as JSON, [["key","value"]]; free it. NULL: no memory. */
char *row_encode_labels(const struct tw_label *labels, size_t n);
/* Fills *ret from the current row of FORMERS, of task `seq`. */
int row_load_attempt(const struct db_query *q, uint64_t seq, struct tw_attempt_info *ret, struct tw_error *error);
/* INVALID_ARGUMENT for what is not UTF-8, or a number that the database has no room for. */
int row_encode_spec(const struct store_spec *spec, struct spec_texts *ret, struct tw_error *error);

/* --- tasklog.c --- */

struct log_state {
    uint64_t end;  /* behind the last whole record */
    uint64_t kept; /* bytes of output */
    bool truncated;
};

/* The running log of a task, or NULL. On the loop thread. */
struct store_log *tasklog_find(struct store *store, uint64_t seq);
/* Nothing is appended from here on. False: only `truncated` is known, the rest is in the file. */
bool tasklog_seal(struct store_log *log, struct log_state *ret);

/* These run on any thread. */
/* The fd of the log file, -ENOENT when there is none. */
int tasklog_open_file(const struct folder *f, uint64_t seq, int flags);
void tasklog_unlink(const struct folder *f, uint64_t seq);
/* Makes the file and its name durable. */
int tasklog_sync(const struct folder *f, uint64_t seq, int fd);
/* Walks whole records from the start, at most to `limit`. */
int tasklog_scan(int fd, uint64_t limit, struct log_state *ret);
/* Removes what a crash left in files/ and logs/. */
int tasklog_sweep(struct store *store, struct tw_error *error);

/* --- write.c, read.c: the two queues --- */

enum {
    STORE_READERS = 2,           /* jobs that read at the same time: libuv's pool has four threads */
    STORE_READ_BATCH = 32,       /* small reads that one job takes */
    STORE_WRITE_BATCH = 512,     /* writes in one transaction, */
    STORE_WRITE_BYTES = 8 << 20, /* or payload bytes, whichever comes first */
    STORE_PRUNE_MAX = 500,       /* tasks that one call removes */
    STORE_VERIFIED = 256,        /* offsets known to be a record's start; a power of two */
};

struct reader {
    struct store *store;
    struct db db;
    uv_work_t req;
    struct list batch;
    bool busy;
};

struct store {
    uv_loop_t *loop;
    struct folder folder;
    struct list logs; /* struct store_log that are open */
    bool log_failed;  /* the last append failed, and that was said */

    struct db writer;
    uv_work_t write_req;
    struct list writes; /* waiting */
    struct list batch;  /* in the job */
    bool writing, calling;
    bool wants_room; /* in the journal */

    struct reader readers[STORE_READERS];
    struct list reads;
    struct verified {
        uint64_t seq, offset;
    } verified[STORE_VERIFIED]; /* by a hash of both; offset 0: free */

    uv_work_t close_req;
    bool closing, close_queued;
    void (*closed)(void *ctx);
    void *closed_ctx;

    uint64_t event;      /* the newest in the transaction that is being written; the job's */
    uint64_t last_event; /* the newest that is durable; the loop's, but while a job runs */
    uint64_t told_event;
    void (*on_event)(void *ctx);
    void *on_event_ctx;

    /* Of the write jobs. */
    struct store_count {
        int64_t tasks, bytes; /* bytes: of inputs, results and logs */
    } there, added;           /* on disk, once they were counted; in the transaction that is being written */
    bool counted;
    uint64_t pruned_event;                   /* where pruning goes on in the events, */
    uint64_t pruned_task[TW_TASK_STATE_MAX]; /* and behind which number in the tasks of each final state */

    atomic_uint_fast64_t commits; /* transactions that reached the disk */
};

/* Starts the next job when one can start. */
void write_kick(struct store *store);
/* Between the two, writes gather; write_release carries them out here and now, callbacks included. */
void write_hold(struct store *store);
void write_release(struct store *store);
void read_kick(struct store *store);
/* After every job: goes on with closing once nothing is left. */
void store_settle(struct store *store);

#endif
