/* SPDX-License-Identifier: Apache-2.0 */
/* Lists by owner, labels, times and dead letters: what matches, and pages that lead on however few do. */
#include "fixture.h"

struct page {
    bool done;
    enum tw_code code;
    size_t n;
    uint64_t next;
    uint64_t seqs[1000];
};

static void on_page(void *ctx, const struct store_task *tasks, size_t n, uint64_t next, const struct tw_error *error)
{
    struct page *page = ctx;
    *page = (struct page){.done = true, .code = error ? error->code : TW_OK, .n = n, .next = next};
    for (size_t i = 0; i < n; i++) {
        page->seqs[i] = tasks[i].seq;
        assert_true(i == 0 || tasks[i].seq < tasks[i - 1].seq);
    }
}

static size_t list(struct fixture *f, struct page *page, const struct store_filter *filter)
{
    page->done = false;
    store_list(f->store, filter, on_page, page);
    fixture_run(f, &page->done);
    assert_int_equal(page->code, TW_OK);
    return page->n;
}

/* All pages; returns how many there were. */
static size_t list_all(struct fixture *f, struct page *page, struct store_filter filter, size_t *ret_n)
{
    size_t pages = 0;
    uint64_t last = UINT64_MAX;
    *ret_n = 0;
    do {
        *ret_n += list(f, page, &filter);
        assert_true(page->n <= filter.limit);
        assert_true(page->n == 0 || page->seqs[0] < last); /* none is shown twice */
        if (page->n > 0)
            last = page->seqs[page->n - 1];
        assert_true(page->next == 0 || page->next <= last);
        filter.before = page->next;
        pages++;
    } while (page->next);
    return pages;
}

/*
 * Tasks from 1 to n, made at their number in microseconds. Every tenth is me's; label even=yes on every second and third=it's
 * "three" on every third; failed with their retries used up is every fiftieth, and with some left every fifth else.
 */
static void fill(struct fixture *f, int n)
{
    char sql[1500];
    fixture_open(f);
    fixture_close(f);
    snprintf(sql, sizeof sql,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) "
        "INSERT INTO tasks (id, type, owner, state, reason, message, error, attempt, retries, timeout_us, created_us, "
        "finished_us, digest) SELECT 't' || i, iif(i %% 4 = 0, 'shell', 'python'), iif(i %% 10 = 0, 'me', 'you'), "
        "iif(i %% 5 = 0, 6, 5), 0, '', '', iif(i %% 50 = 0, 3, 1), 2, 0, i, i, zeroblob(32) FROM n;"
        "INSERT INTO labels SELECT 'even', 'yes', seq FROM tasks WHERE seq %% 2 = 0;"
        "INSERT INTO labels SELECT 'third', 'it''s \"thrée\"', seq FROM tasks WHERE seq %% 3 = 0;",
        n);
    fixture_sql(f, sql);
    fixture_open(f);
}

static const struct tw_label both[] = {{"even", "yes"}, {"third", "it's \"thrée\""}};

static void test_what_matches(void **state)
{
    struct fixture *f = *state;
    struct page page;
    fill(f, 100);
    assert_int_equal(list(f, &page, &(struct store_filter){.owner = "me", .limit = 100}), 10);
    assert_int_equal(page.seqs[0], 100);
    assert_int_equal(page.next, 0);
    assert_int_equal(list(f, &page, &(struct store_filter){.owner = "nobody", .limit = 100}), 0);
    assert_int_equal(list(f, &page, &(struct store_filter){.owner = "me", .type = "shell", .limit = 100}), 5);
    assert_int_equal(
        list(f, &page, &(struct store_filter){.owner = "me", .states = 1u << TW_TASK_COMPLETED, .limit = 9}), 0);

    assert_int_equal(list(f, &page, &(struct store_filter){.labels = both, .n_labels = 1, .limit = 100}), 50);
    assert_int_equal(list(f, &page, &(struct store_filter){.labels = both + 1, .n_labels = 1, .limit = 100}), 33);
    assert_int_equal(list(f, &page, &(struct store_filter){.labels = both, .n_labels = 2, .limit = 100}), 16);
    assert_int_equal(page.seqs[0], 96);
    assert_int_equal(
        list(f, &page, &(struct store_filter){.labels = both, .n_labels = 2, .owner = "me", .limit = 100}), 3);
    static const struct tw_label other[] = {{"even", "no"}, {"even", "yes' OR 1"}, {"EVEN", "yes"}, {"even", ""}};
    for (size_t i = 0; i < ARRAY_LEN(other); i++)
        assert_int_equal(list(f, &page, &(struct store_filter){.labels = &other[i], .n_labels = 1, .limit = 9}), 0);

    assert_int_equal(list(f, &page, &(struct store_filter){.created_from_us = 91, .limit = 100}), 10);
    assert_int_equal(list(f, &page, &(struct store_filter){.created_to_us = 11, .limit = 100}), 10);
    assert_int_equal(page.seqs[0], 10);
    assert_int_equal(
        list(f, &page, &(struct store_filter){.created_from_us = 20, .created_to_us = 21, .limit = 100}), 1);
    assert_int_equal(list(f, &page, &(struct store_filter){.created_from_us = UINT64_MAX, .limit = 100}), 0);
    assert_int_equal(list(f, &page, &(struct store_filter){.created_to_us = UINT64_MAX, .limit = 100}), 100);

    assert_int_equal(list(f, &page, &(struct store_filter){.dead_letters = true, .limit = 100}), 2);
    assert_int_equal(page.seqs[1], 50);
    assert_int_equal(
        list(f, &page, &(struct store_filter){.dead_letters = true, .labels = both, .n_labels = 1, .limit = 9}), 2);
    assert_int_equal(
        list(f, &page, &(struct store_filter){.dead_letters = true, .labels = both, .n_labels = 2, .limit = 9}), 0);
    assert_int_equal(list(f, &page, &(struct store_filter){.dead_letters = true, .owner = "you", .limit = 9}), 0);
}

static void test_pages(void **state)
{
    struct fixture *f = *state;
    struct page page;
    size_t n;
    fill(f, 100);
    assert_int_equal(list_all(f, &page, (struct store_filter){.owner = "me", .limit = 3}, &n), 4);
    assert_int_equal(n, 10);
    assert_int_equal(list_all(f, &page, (struct store_filter){.owner = "me", .limit = 5}, &n), 2);
    assert_int_equal(n, 10);
    assert_int_equal(list_all(f, &page, (struct store_filter){.labels = both, .n_labels = 2, .limit = 1}, &n), 16);
    assert_int_equal(n, 16);
    assert_int_equal(list_all(f, &page, (struct store_filter){.created_from_us = 51, .limit = 7}, &n), 8);
    assert_int_equal(n, 50);
    assert_int_equal(list_all(f, &page, (struct store_filter){.dead_letters = true, .limit = 1}, &n), 2);
    assert_int_equal(n, 2);
    assert_int_equal(list_all(f, &page, (struct store_filter){.limit = 30}, &n), 4);
    assert_int_equal(n, 100);
}

/* More than one call looks at: pages are short or empty, and still lead to all that match. */
static void test_few_of_many(void **state)
{
    struct fixture *f = *state;
    struct page page;
    size_t n;
    fill(f, 45000);
    /* None of the newest 20,000. */
    struct store_filter filter = {.created_to_us = 11, .limit = 100};
    assert_int_equal(list(f, &page, &filter), 0);
    assert_true(page.next > 0);
    assert_int_equal(list_all(f, &page, filter, &n), 3);
    assert_int_equal(n, 10);
    /* Which are rare among what leads. */
    filter = (struct store_filter){.owner = "you", .type = "shell", .created_to_us = 100, .limit = 100};
    assert_int_equal(list_all(f, &page, filter, &n), 3);
    assert_int_equal(n, 20);
    filter = (struct store_filter){.labels = both, .n_labels = 1, .created_to_us = 100, .limit = 100};
    assert_int_equal(list_all(f, &page, filter, &n), 2);
    assert_int_equal(n, 49);
    filter = (struct store_filter){.owner = "me", .created_to_us = 100, .limit = 100};
    assert_int_equal(list_all(f, &page, filter, &n), 1);
    assert_int_equal(n, 9);
    filter = (struct store_filter){.dead_letters = true, .created_to_us = 101, .limit = 100};
    assert_int_equal(list_all(f, &page, filter, &n), 1);
    assert_int_equal(n, 2);
    filter = (struct store_filter){.owner = "you", .limit = 1000};
    assert_int_equal(list_all(f, &page, filter, &n), 41);
    assert_int_equal(n, 40500);
}

static void test_damage_is_told(void **state)
{
    struct fixture *f = *state;
    struct page page = {0};
    fill(f, 10);
    fixture_close(f);
    fixture_sql(f, "INSERT INTO labels VALUES ('k', CAST(x'ff' AS TEXT), 10)");
    fixture_open(f);
    const struct store_filter filter = {.owner = "me", .limit = 10};
    store_list(f->store, &filter, on_page, &page);
    fixture_run(f, &page.done);
    assert_int_equal(page.code, TW_DATA_LOSS);
    assert_int_equal(page.next, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(test_what_matches),
        T(test_pages),
        T(test_few_of_many),
        T(test_damage_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
