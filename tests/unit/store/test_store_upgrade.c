/* SPDX-License-Identifier: Apache-2.0 */
/* Stores of older layouts, as versions of this program left them, under this one. */
#include "fixture.h"

static const char layout_1[] =
    "PRAGMA application_id = 0x484d574b; PRAGMA user_version = 1; PRAGMA journal_mode = WAL;"
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE tasks ("
    "  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, type TEXT NOT NULL, owner TEXT NOT NULL,"
    "  state INTEGER NOT NULL CHECK (state BETWEEN 1 AND 7), reason INTEGER NOT NULL CHECK (reason >= 0),"
    "  message TEXT NOT NULL, error TEXT NOT NULL, exit_code INTEGER NOT NULL DEFAULT 0,"
    "  signal INTEGER NOT NULL DEFAULT 0, attempt INTEGER NOT NULL, retries INTEGER NOT NULL,"
    "  timeout_us INTEGER NOT NULL, created_us INTEGER NOT NULL, started_us INTEGER NOT NULL DEFAULT 0,"
    "  finished_us INTEGER NOT NULL DEFAULT 0, result_size INTEGER NOT NULL DEFAULT 0,"
    "  log_size INTEGER NOT NULL DEFAULT 0, log_truncated INTEGER NOT NULL DEFAULT 0,"
    "  wall_us INTEGER NOT NULL DEFAULT 0, user_us INTEGER NOT NULL DEFAULT 0,"
    "  system_us INTEGER NOT NULL DEFAULT 0, max_rss_bytes INTEGER NOT NULL DEFAULT 0,"
    "  digest BLOB NOT NULL CHECK (length(digest) = 32)) STRICT;"
    "CREATE INDEX tasks_by_state ON tasks (state);"
    "CREATE INDEX tasks_by_type ON tasks (type, state);"
    "CREATE TABLE inputs (seq INTEGER PRIMARY KEY REFERENCES tasks ON DELETE CASCADE,"
    "  args TEXT, env TEXT, size INTEGER NOT NULL, data BLOB, file TEXT) STRICT;"
    "CREATE INDEX inputs_by_file ON inputs (file) WHERE file IS NOT NULL;"
    "CREATE TABLE results (seq INTEGER PRIMARY KEY REFERENCES tasks ON DELETE CASCADE,"
    "  size INTEGER NOT NULL, data BLOB, file TEXT) STRICT;"
    "CREATE INDEX results_by_file ON results (file) WHERE file IS NOT NULL;"
    "CREATE TABLE logs (seq INTEGER PRIMARY KEY REFERENCES tasks ON DELETE CASCADE,"
    "  size INTEGER NOT NULL, data BLOB) STRICT;"
    /* one that has ended, one that waits */
    "INSERT INTO tasks VALUES (7, 'old', 'python', 'me', 5, 0, 'completed', '', 0, 0, 1, 2, 300, 1000, 2000, 3000, 2,"
    "  0, 0, 11, 12, 13, 14, zeroblob(32));"
    "INSERT INTO inputs VALUES (7, '[\"a\"]', '[[\"K\",\"v\"]]', 1, x'78', NULL);"
    "INSERT INTO results VALUES (7, 2, x'3432', NULL);"
    "INSERT INTO tasks (seq, id, type, owner, state, reason, message, error, attempt, retries, timeout_us, created_us,"
    "  digest) VALUES (9, 'waits', 'shell', '', 1, 0, 'waiting', '', 0, 0, 300, 1001, zeroblob(32));"
    "INSERT INTO inputs (seq, size, data) VALUES (9, 1, x'79');";

/* The folder as it was then: made by this version, the database in it put in the old one's place. */
static void make_old(struct fixture *f)
{
    fixture_open(f);
    fixture_close(f);
    fixture_sql(f,
        "DROP TABLE events; DROP TABLE deps; DROP TABLE labels; DROP TABLE attempts; DROP TABLE receipts; DROP TABLE "
        "logs; DROP TABLE results; DROP TABLE inputs; DROP TABLE tasks;"
        "DROP TABLE meta;");
    fixture_sql(f, layout_1);
}

static void test_its_tasks_are_intact(void **state)
{
    struct fixture *f = *state;
    struct store_task got;
    struct outcome o;
    make_old(f);
    fixture_open(f);
    assert_int_equal(fixture_get(f, "old", &got), TW_OK);
    assert_int_equal(got.seq, 7);
    assert_string_equal(got.info.owner, "me");
    assert_int_equal(got.info.state, TW_TASK_COMPLETED);
    assert_int_equal(got.info.retries, 2);
    assert_int_equal(got.info.finished_us, 3000);
    assert_int_equal(got.info.usage.wall_us, 11);
    assert_int_equal(got.info.usage.max_rss_bytes, 14);
    assert_int_equal(got.info.usage.processes, 0);
    assert_int_equal(got.info.receipt.runtime, TW_RUNTIME_NONE);
    assert_int_equal(got.spec.n_args, 1);
    assert_string_equal(got.spec.args[0], "a");
    assert_string_equal(got.spec.env[0].value, "v");
    assert_int_equal(got.spec.limits.memory_bytes, 0);
    store_task_done(&got);
    assert_int_equal(fixture_result(f, "old", &o), TW_OK);
    assert_string_equal((char *)o.data, "42");
    outcome_done(&o);
    assert_int_equal(fixture_input(f, 9, &o), TW_OK);
    assert_string_equal((char *)o.data, "y");
    outcome_done(&o);
    fixture_close(f);
    assert_int_equal(fixture_sql_int(f, "PRAGMA user_version"), 8);
}

static void test_it_goes_on(void **state)
{
    struct fixture *f = *state;
    char message[] = "ended", nothing[] = "";
    struct tw_task_info info = {.state = TW_TASK_COMPLETED,
        .message = message,
        .error = nothing,
        .attempt = 1,
        .usage = {.wall_us = 5, .processes = 3},
        .receipt = {.runtime = TW_RUNTIME_SHELL}};
    struct store_task got;
    make_old(f);
    fixture_open(f);
    fixture_close(f);
    fixture_open(f); /* once is enough */
    assert_true(fixture_add(f, "new") > 9);
    assert_int_equal(fixture_attempt(f, 9, 1), TW_OK);
    assert_int_equal(fixture_finish_info(f, 9, &info), TW_OK);
    assert_int_equal(fixture_get(f, "waits", &got), TW_OK);
    assert_int_equal(got.info.usage.processes, 3);
    assert_int_equal(got.info.receipt.runtime, TW_RUNTIME_SHELL);
    store_task_done(&got);
    fixture_close(f);
}

/* What stops the upgrade half-way leaves the old layout, which the old version can still use. */
static void test_all_or_nothing(void **state)
{
    struct fixture *f = *state;
    make_old(f);
    fixture_sql(f, "CREATE TABLE receipts (other TEXT)");
    fixture_open_fails(f, f->path);
    assert_int_equal(fixture_sql_int(f, "PRAGMA user_version"), 1);
    assert_int_equal(fixture_sql_int(f, "SELECT count(*) FROM pragma_table_info('inputs')"), 6);
    assert_int_equal(fixture_sql_int(f, "SELECT count(*) FROM tasks"), 2);
    fixture_sql(f, "DROP TABLE receipts");
    fixture_open(f);
    fixture_close(f);
    assert_int_equal(fixture_sql_int(f, "PRAGMA user_version"), 8);
}

#define DROP_8                                                                                         \
    "ALTER TABLE receipts DROP COLUMN workspace_bytes; ALTER TABLE receipts DROP COLUMN outputs;"      \
    "ALTER TABLE receipts DROP COLUMN output_bytes; ALTER TABLE attempts DROP COLUMN workspace_bytes;" \
    "ALTER TABLE attempts DROP COLUMN outputs; ALTER TABLE attempts DROP COLUMN output_bytes; "
#define DROP_7 DROP_8 "DROP INDEX tasks_by_cache_key; ALTER TABLE tasks DROP COLUMN cache_key; "
#define DROP_6 DROP_7 "ALTER TABLE tasks DROP COLUMN stopping; "
#define DROP_5 DROP_6 "ALTER TABLE receipts DROP COLUMN gpus; "
#define DROP_4                                                                                               \
    DROP_5                                                                                                   \
    "DROP TABLE events; DROP TABLE deps; DROP TABLE labels; DROP TABLE attempts; DROP INDEX tasks_by_owner;" \
    "DROP INDEX tasks_dead; ALTER TABLE tasks DROP COLUMN retry_delay_us;"                                   \
    "ALTER TABLE tasks DROP COLUMN paused; ALTER TABLE tasks DROP COLUMN retry_of;"

static void test_layout_3(void **state)
{
    struct fixture *f = *state;
    struct store_task got;
    fixture_open(f);
    fixture_add(f, "a");
    fixture_close(f);
    fixture_sql(f, DROP_4 "UPDATE tasks SET priority = 5; PRAGMA user_version = 3;");
    fixture_open(f);
    assert_int_equal(store_last_event(f->store), 0);
    assert_int_equal(fixture_get(f, "a", &got), TW_OK);
    assert_int_equal(got.info.priority, 5);
    assert_int_equal(got.info.retry_delay_us, 0);
    assert_false(got.info.paused);
    assert_string_equal(got.info.retry_of, "");
    assert_int_equal(got.info.n_labels, 0);
    assert_int_equal(got.info.n_after, 0);
    assert_int_equal(fixture_attempt(f, got.seq, 1), TW_OK);
    assert_int_equal(store_last_event(f->store), 1);
    store_task_done(&got);
    fixture_close(f);
    assert_int_equal(fixture_sql_int(f, "PRAGMA user_version"), 8);
}

static void test_layout_2(void **state)
{
    struct fixture *f = *state;
    struct store_task got;
    fixture_open(f);
    fixture_add(f, "a");
    fixture_close(f);
    fixture_sql(f,
        DROP_4 "ALTER TABLE tasks DROP COLUMN priority; ALTER TABLE tasks DROP COLUMN not_before_us;"
               "ALTER TABLE tasks DROP COLUMN queue_timeout_us; PRAGMA user_version = 2;");
    fixture_open(f);
    assert_int_equal(fixture_get(f, "a", &got), TW_OK);
    assert_int_equal(got.info.state, TW_TASK_QUEUED);
    assert_int_equal(got.info.priority, 0);
    assert_int_equal(got.info.not_before_us, 0);
    assert_int_equal(got.info.queue_timeout_us, 0);
    store_task_done(&got);
    fixture_add(f, "b");
    fixture_close(f);
    assert_int_equal(fixture_sql_int(f, "PRAGMA user_version"), 8);
}

/* What a task has of GPUs is kept from layout 5 on. */
static void test_layout_4(void **state)
{
    struct fixture *f = *state;
    struct store_task got;
    fixture_open(f);
    fixture_add(f, "a");
    fixture_close(f);
    fixture_sql(f, DROP_5 "ALTER TABLE attempts DROP COLUMN gpus; PRAGMA user_version = 4;");
    fixture_open(f);
    assert_int_equal(fixture_get(f, "a", &got), TW_OK);
    assert_int_equal(got.spec.gpus, 0);
    assert_int_equal(got.info.receipt.gpus, 0);
    store_task_done(&got);
    fixture_close(f);
    assert_int_equal(fixture_sql_int(f, "PRAGMA user_version"), 8);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(test_its_tasks_are_intact),
        T(test_it_goes_on),
        T(test_all_or_nothing),
        T(test_layout_2),
        T(test_layout_3),
        T(test_layout_4),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
