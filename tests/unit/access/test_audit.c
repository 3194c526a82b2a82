/* SPDX-License-Identifier: Apache-2.0 */
/* Writing from several threads and on a loop, order, what is refused, and what a query finds. */
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <uv.h>

#include "audit_fixture.h"

static bool keep_last(void *ctx, const struct audit_entry *entry)
{
    *(struct audit_entry *)ctx = *entry;
    return false;
}

static struct audit_entry newest(struct fixture *f, const char *action)
{
    struct audit_entry e = {0};
    const struct audit_filter filter = {.action_prefix = action};
    assert_int_equal(audit_query(f->path, &filter, keep_last, &e, NULL, &f->error), 0);
    return e;
}

static void test_what_is_written_is_read(void **state)
{
    struct fixture *f = *state;
    char user[400];
    memset(user, 'u', sizeof user - 1);
    user[sizeof user - 1] = '\0';
    const struct audit_record record = {
        .user = user,
        .token = "t1",
        .from = "[::1]:5",
        .action = "user.add",
        .object = "a\n\"b\"\x80",
        .detail = "why\tnot",
        .outcome = AUDIT_DENIED,
    };
    fixture_open(f);
    assert_int_equal(audit_write(f->audit, &record, AUDIT_GROUPED, NULL, NULL), 0);
    assert_int_equal(audit_flush(f->audit), 0);
    struct audit_entry e = newest(f, "user.");
    assert_int_equal(e.seq, 2);
    user[AUDIT_USER_MAX] = '\0';
    assert_string_equal(e.user, user);
    assert_string_equal(e.token, "t1");
    assert_string_equal(e.from, "[::1]:5");
    assert_string_equal(e.action, "user.add");
    assert_string_equal(e.object, "a \"b\"\xef\xbf\xbd");
    assert_string_equal(e.detail, "why not");
    assert_int_equal(e.outcome, AUDIT_DENIED);
    assert_string_equal(newest(f, "audit.").detail, "a new log");
    struct audit_stats stats;
    audit_get_stats(f->audit, &stats);
    assert_int_equal(stats.written, 2);
    assert_int_equal(stats.error, 0);
}

static void test_not_to_be_written(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    assert_int_equal(fixture_write(f, "ann", "", "x"), -EINVAL);
    assert_int_equal(fixture_write(f, "ann", NULL, "x"), -EINVAL);
    assert_int_equal(fixture_write(f, "ann", "audit.removed", "x"), -EINVAL);
    const struct audit_record record = {.action = "x", .outcome = AUDIT_OUTCOME_MAX};
    assert_int_equal(audit_write(f->audit, &record, AUDIT_GROUPED, NULL, NULL), -EINVAL);
}

static void test_one_writer(void **state)
{
    struct fixture *f = *state;
    struct audit *other = NULL;
    fixture_open(f);
    assert_int_equal(audit_open(&f->options, &other, &f->error), -1);
    assert_int_equal(f->error.code, TW_FAILED_PRECONDITION);
    assert_non_null(strstr(f->error.message, f->path));
}

static void test_no_folder(void **state)
{
    struct fixture *f = *state;
    struct audit *other = NULL;
    f->options.path = "/nowhere/audit";
    assert_int_equal(audit_open(&f->options, &other, &f->error), -1);
    assert_int_equal(f->error.code, TW_NOT_FOUND);
    /* A link is not followed. */
    char link[100];
    snprintf(link, sizeof link, "%s/link", f->root);
    assert_int_equal(symlink("/tmp", link), 0);
    f->options.path = link;
    assert_int_equal(audit_open(&f->options, &other, &f->error), -1);
}

static void test_goes_on(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 1; i <= 5; i++) {
        fixture_open(f);
        fixture_write_many(f, 10);
        fixture_close(f);
        fixture_assert_sound(f);
        assert_int_equal(f->report.last_seq, 11 * i);
        assert_int_equal(f->report.head_seq, 11 * i);
    }
    assert_string_equal(newest(f, "audit.").detail, "ended well");
}

/* --- callbacks --- */

struct order {
    struct fixture *f;
    uv_thread_t thread;
    unsigned n;
};

struct call {
    struct order *order;
    unsigned number;
};

static void on_done(void *ctx, int result)
{
    struct call *call = ctx;
    uv_thread_t self = uv_thread_self();
    assert_int_equal(result, 0);
    assert_int_equal(call->number, call->order->n);
    assert_true(uv_thread_equal(&self, &call->order->thread));
    call->order->n++;
}

enum { CALLS = 300 };

static void write_durable(struct fixture *f, struct order *order, struct call calls[CALLS])
{
    const struct audit_record record = {.user = "ann", .action = "token.add"};
    for (unsigned i = 0; i < CALLS; i++) {
        calls[i] = (struct call){.order = order, .number = i};
        assert_int_equal(audit_write(f->audit, &record, AUDIT_DURABLE, on_done, &calls[i]), 0);
    }
}

static void test_on_a_loop(void **state)
{
    struct fixture *f = *state;
    uv_loop_t loop;
    struct call calls[CALLS];
    struct order order = {.f = f, .thread = uv_thread_self()};
    assert_int_equal(uv_loop_init(&loop), 0);
    f->options.loop = &loop;
    fixture_open(f);
    write_durable(f, &order, calls);
    assert_int_equal(order.n, 0);
    while (order.n < CALLS)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(fixture_count(f, &(struct audit_filter){.action_prefix = "token.add"}), CALLS);
    /* Closing brings those that have not come. */
    order.n = 0;
    write_durable(f, &order, calls);
    fixture_close(f);
    assert_int_equal(order.n, CALLS);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    fixture_assert_sound(f);
}

/* --- threads --- */

enum { THREADS = 4, EACH = 400 };

static void *keep_writing(void *arg)
{
    struct fixture *f = arg;
    for (unsigned i = 0; i < EACH; i++) {
        const struct audit_record record = {.user = "ann", .action = "task.submit"};
        while (audit_write(f->audit, &record, i % 10 ? AUDIT_GROUPED : AUDIT_DURABLE, NULL, NULL) == -ENOBUFS)
            assert_int_equal(audit_flush(f->audit), 0);
    }
    return NULL;
}

/* It is sound whenever somebody looks, while it is written and rotated. */
static void test_threads(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[THREADS];
    f->options.max_queued = 4096;
    f->options.max_file_bytes = 100000;
    fixture_open(f);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, keep_writing, f), 0);
    for (int i = 0; i < 5; i++) {
        fixture_assert_sound(f);
        (void)fixture_count(f, &(struct audit_filter){.limit = 5});
    }
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(audit_flush(f->audit), 0);
    fixture_assert_sound(f);
    assert_int_equal(fixture_count(f, &(struct audit_filter){.action_prefix = "task."}), THREADS * EACH);
}

/* Too many at once: some are counted and not kept, and the log says how many; durable ones still have room. */
static void test_too_many(void **state)
{
    struct fixture *f = *state;
    unsigned lost = 0, denied = 0, i = 0;
    const struct audit_record record = {.action = "x"};
    f->options.max_queued = 8;
    fixture_open(f);
    for (; lost < 100 && i < 10000000; i++)
        lost += fixture_write(f, "ann", "task.submit", "x") == -ENOBUFS;
    assert_int_equal(lost, 100);
    for (unsigned j = 0; j < 2; j++)
        denied += audit_write(f->audit, &record, AUDIT_DURABLE, NULL, NULL) < 0;
    assert_int_equal(denied, 0);
    fixture_close(f);
    fixture_assert_sound(f);
    assert_int_equal(fixture_count(f, &(struct audit_filter){.action_prefix = "task."}), i - lost);
    assert_true(fixture_count(f, &(struct audit_filter){.action_prefix = "audit.lost"}) >= 1);
    assert_non_null(strstr(newest(f, "audit.lost").detail, "too many waited"));
}

/* Who removes the file under the writer makes a gap that shows, and what comes later is kept. */
static void test_file_removed_meanwhile(void **state)
{
    struct fixture *f = *state;
    char path[160];
    snprintf(path, sizeof path, "%s/audit-%020d.jsonl", f->path, 1);
    fixture_open(f);
    fixture_write_many(f, 3);
    assert_int_equal(unlink(path), 0);
    fixture_write_many(f, 3);
    fixture_close(f);
    assert_int_equal(fixture_verify(f), AUDIT_PROBLEM_REMOVED);
    assert_int_equal(fixture_count(f, &(struct audit_filter){.action_prefix = "task."}), 3);
}

/* --- queries --- */

struct list_of {
    uint64_t seqs[64];
    size_t n;
};

static bool collect(void *ctx, const struct audit_entry *entry)
{
    struct list_of *list = ctx;
    assert_true(list->n < ARRAY_LEN(list->seqs));
    list->seqs[list->n++] = entry->seq;
    return true;
}

static void assert_query(struct fixture *f, struct audit_filter filter, size_t n, uint64_t first, uint64_t last)
{
    for (int oldest_first = 0; oldest_first < 2; oldest_first++) {
        struct list_of list = {.n = 0};
        filter.oldest_first = oldest_first;
        assert_int_equal(audit_query(f->path, &filter, collect, &list, NULL, &f->error), 0);
        assert_int_equal(list.n, n);
        for (size_t i = 1; i < n; i++)
            assert_true((list.seqs[i] > list.seqs[i - 1]) == oldest_first);
        if (n > 0 && !filter.limit) {
            assert_int_equal(list.seqs[oldest_first ? 0 : n - 1], first);
            assert_int_equal(list.seqs[oldest_first ? n - 1 : 0], last);
        }
    }
}

static void test_queries(void **state)
{
    struct fixture *f = *state;
    f->options.max_file_bytes = 3000; /* several files */
    fixture_open(f);
    for (unsigned i = 0; i < 30; i++) {
        fixture_write_many(f, 1);
        const struct audit_record record = {.user = "ann", .action = "login", .object = "o", .outcome = i % 2};
        assert_int_equal(audit_write(f->audit, &record, AUDIT_GROUPED, NULL, NULL), 0);
        assert_int_equal(audit_flush(f->audit), 0);
    }
    fixture_assert_sound(f);
    assert_true(f->report.files > 3);
    uint64_t all = f->report.records, last = f->report.last_seq;
    struct audit_entry end = newest(f, "login");
    assert_query(f, (struct audit_filter){.user = "nobody"}, 0, 0, 0);
    assert_query(f, (struct audit_filter){.action_prefix = "login"}, 30, 3, last);
    assert_query(
        f, (struct audit_filter){.action_prefix = "log", .by_outcome = true, .outcome = AUDIT_DENIED}, 15, 5, last);
    assert_query(f, (struct audit_filter){.user = "bob"}, 30, 2, last - 1);
    assert_query(f, (struct audit_filter){.object = "o", .limit = 7}, 7, 0, 0);
    assert_query(f, (struct audit_filter){.after_seq = 5, .before_seq = 10}, 4, 6, 9);
    assert_query(f, (struct audit_filter){.after_seq = last}, 0, 0, 0);
    assert_query(f, (struct audit_filter){.after_seq = UINT64_MAX, .before_seq = UINT64_MAX}, 0, 0, 0);
    assert_query(f, (struct audit_filter){.since_us = end.wall_us + 1000}, 0, 0, 0);
    assert_query(f, (struct audit_filter){.until_us = end.wall_us, .after_seq = last - 1}, 1, last, last);
    assert_int_equal(fixture_count(f, &(struct audit_filter){0}), all);
}

/* Rubbish is passed over in both directions, however long it is. */
static void test_damaged_lines(void **state)
{
    struct fixture *f = *state;
    char path[160];
    static char rubbish[300000];
    fixture_open(f);
    fixture_write_many(f, 5);
    fixture_close(f);
    memset(rubbish, 'x', sizeof rubbish - 1);
    rubbish[100] = '\n';
    rubbish[sizeof rubbish - 1] = '\n';
    snprintf(path, sizeof path, "%s/audit-%020d.jsonl", f->path, 1);
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(fd_write_all(fd, rubbish, sizeof rubbish), 0);
    close(fd);
    fixture_open(f);
    fixture_write_many(f, 5);
    for (int oldest_first = 0; oldest_first < 2; oldest_first++) {
        uint64_t n = 0, damaged = 0;
        const struct audit_filter filter = {.action_prefix = "task.", .oldest_first = oldest_first};
        assert_int_equal(audit_query(f->path, &filter, fixture_count_one, &n, &damaged, &f->error), 0);
        assert_int_equal(n, 10);
        assert_true(damaged >= 2);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(test_what_is_written_is_read),
        T(test_not_to_be_written),
        T(test_one_writer),
        T(test_no_folder),
        T(test_goes_on),
        T(test_on_a_loop),
        T(test_threads),
        T(test_too_many),
        T(test_file_removed_meanwhile),
        T(test_queries),
        T(test_damaged_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
