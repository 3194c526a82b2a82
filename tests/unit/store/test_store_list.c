/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of tasks: order, filters, cursors; and that none of them walks the whole table. */
#include "fixture.h"

struct page {
    bool done, more;
    uint64_t next;
    enum tw_code code;
    size_t n;
    uint64_t seqs[1000];
};

static void on_page(void *ctx, const struct store_task *tasks, size_t n, uint64_t next, const struct tw_error *error)
{
    struct page *page = ctx;
    page->done = true;
    page->code = error ? error->code : TW_OK;
    page->more = next != 0;
    page->next = next;
    page->n = n;
    for (size_t i = 0; i < n; i++) {
        page->seqs[i] = tasks[i].seq;
        assert_true(i == 0 || tasks[i].seq < tasks[i - 1].seq);
        assert_null(tasks[i].spec.data);
        assert_non_null(tasks[i].info.message);
    }
}

static size_t list(
    struct fixture *f, struct page *page, uint32_t states, const char *type, uint64_t before, size_t limit)
{
    const struct store_filter filter = {.states = states, .type = type, .before = before, .limit = limit};
    *page = (struct page){0};
    store_list(f->store, &filter, on_page, page);
    fixture_run(f, &page->done);
    assert_int_equal(page->code, TW_OK);
    return page->n;
}

#define BIT(state) (1u << TW_TASK_##state)

static void test_filters_and_pages(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    struct page page;
    assert_int_equal(list(f, &page, 0, NULL, 0, 10), 0);
    assert_false(page.more);
    fixture_close(f);
    /* 30 tasks; every third has completed, every third is running; every fifth is a shell script.
     */
    fixture_sql(f,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30) "
        "INSERT INTO tasks (id, type, owner, "
        "state, reason, message, error, attempt, retries, timeout_us, created_us, "
        "digest) SELECT 't' || i, "
        "iif(i % 5 = 0, 'shell', 'python'), '', CASE i % 3 WHEN 0 THEN 5 WHEN 1 THEN 4 "
        "ELSE 1 END, 0, '', '', 0, 0, 0, 0, "
        "zeroblob(32) FROM n");
    fixture_open(f);

    assert_int_equal(list(f, &page, 0, NULL, 0, 10), 10);
    assert_true(page.more);
    assert_int_equal(page.seqs[0], 30);
    assert_int_equal(page.seqs[9], 21);
    assert_int_equal(list(f, &page, 0, NULL, 21, 20), 20);
    assert_false(page.more);
    assert_int_equal(page.seqs[19], 1);
    assert_int_equal(list(f, &page, 0, NULL, 1, 20), 0);

    assert_int_equal(list(f, &page, BIT(COMPLETED), NULL, 0, 100), 10);
    assert_int_equal(page.seqs[0], 30);
    assert_int_equal(page.seqs[9], 3);
    assert_int_equal(list(f, &page, BIT(COMPLETED) | BIT(RUNNING), NULL, 29, 3), 3);
    assert_true(page.more);
    assert_int_equal(page.seqs[0], 28);
    assert_int_equal(page.seqs[1], 27);
    assert_int_equal(page.seqs[2], 25);
    assert_int_equal(list(f, &page, BIT(STOPPED), NULL, 0, 3), 0);

    assert_int_equal(list(f, &page, 0, "shell", 0, 100), 6);
    assert_int_equal(page.seqs[0], 30);
    assert_int_equal(page.seqs[5], 5);
    assert_int_equal(list(f, &page, BIT(COMPLETED), "shell", 0, 100), 2);
    assert_int_equal(page.seqs[1], 15);
    assert_int_equal(list(f, &page, 0, "cobol", 0, 100), 0);
    assert_int_equal(list(f, &page, 1u << 31, NULL, 0, 100), 0); /* no such state */

    assert_int_equal(list(f, &page, 0, NULL, UINT64_MAX, 0), 1); /* limits are kept */
    assert_int_equal(list(f, &page, 0, NULL, 0, SIZE_MAX), 30);
}

/* What a subquery gives was bounded when it was made, and the labels that are asked for are few. */
static bool is_scan(const char *step)
{
    return !strncmp(step, "SCAN", 4) && strncmp(step, "SCAN (subquery", 14) != 0 && !strstr(step, "VIRTUAL TABLE") &&
        strcmp(step, "SCAN CONSTANT ROW") != 0;
}

static void test_no_query_scans_the_tasks(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    fixture_close(f);
    static const char *const queries[] = {
#define X(name, sql) sql,
        STORE_STATEMENTS(X)
#undef X
    };
    sqlite3 *db;
    assert_int_equal(sqlite3_open(fixture_name(f, "taskworker.db"), &db), SQLITE_OK);
    for (size_t i = 0; i < ARRAY_LEN(queries); i++) {
        if (i == STORE_SQL_COUNT)
            continue; /* once in the life of a store that is open */
        char *sql = sqlite3_mprintf("EXPLAIN QUERY PLAN %s", queries[i]);
        sqlite3_stmt *stmt;
        assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
        while (sqlite3_step(stmt) == SQLITE_ROW) {
            const char *step = (const char *)sqlite3_column_text(stmt, 3);
            if (is_scan(step) || strstr(step, "TEMP B-TREE"))
                fail_msg("%s: %s", queries[i], step);
        }
        sqlite3_finalize(stmt);
        sqlite3_free(sql);
    }
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(test_filters_and_pages),
        T(test_no_query_scans_the_tasks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
