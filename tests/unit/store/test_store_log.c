/* SPDX-License-Identifier: Apache-2.0 */
/* Logs: appending, reading from any offset, limits, crashes, the move into the database. */
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "fixture.h"

static const char *log_name(struct fixture *f, uint64_t seq)
{
    char name[64];
    snprintf(name, sizeof name, "logs/%02x/%llu.log", (unsigned)(seq & 0xff), (unsigned long long)seq);
    return fixture_name(f, name);
}

static bool log_file_exists(struct fixture *f, uint64_t seq)
{
    return access(log_name(f, seq), F_OK) == 0;
}

/* Checks that the bytes are whole records; their content joined in a static buffer. */
static const char *join(const struct outcome *o)
{
    static char text[200000];
    const uint8_t *p = o->data;
    size_t left = o->len, n = 0;
    struct store_log_record record;
    while (store_log_parse(&p, &left, &record)) {
        assert_true(n + record.len < sizeof text);
        assert_true(record.wall_us > 1600000000000000);
        memcpy(text + n, record.data, record.len);
        n += record.len;
    }
    assert_int_equal(left, 0);
    text[n] = '\0';
    return text;
}

static void test_parse(void **state)
{
    (void)state;
    uint8_t bytes[STORE_LOG_HEADER + 3] = {
        3, 0, 0, 0, TW_STREAM_STDERR, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 'a', 'b', 'c'};
    const uint8_t *p = bytes;
    size_t len = sizeof bytes;
    struct store_log_record record;
    assert_true(store_log_parse(&p, &len, &record));
    assert_int_equal(record.stream, TW_STREAM_STDERR);
    assert_int_equal(record.wall_us, 0x201);
    assert_int_equal(record.len, 3);
    assert_int_equal(record.size, sizeof bytes);
    assert_int_equal(len, 0);
    for (size_t cut = 0; cut < sizeof bytes; cut++) {
        p = bytes;
        len = cut;
        assert_false(store_log_parse(&p, &len, &record));
        assert_ptr_equal(p, bytes);
        assert_int_equal(len, cut);
    }
    static const struct {
        size_t at;
        uint8_t value;
    } damage[] = {{0, 0}, {3, 1}, {4, 0}, {4, 3}, {5, 1}, {6, 1}, {7, 1}};
    for (size_t i = 0; i < ARRAY_LEN(damage); i++) {
        uint8_t bad[sizeof bytes];
        memcpy(bad, bytes, sizeof bytes);
        bad[damage[i].at] = damage[i].value;
        p = bad;
        len = sizeof bad;
        assert_false(store_log_parse(&p, &len, &record));
    }
}

static void test_append_and_read(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    uint64_t seq = fixture_add(f, "a");
    struct outcome o;
    assert_int_equal(fixture_log(f, seq, 0, 1000, &o), TW_OK);
    assert_int_equal(o.len, 0);
    outcome_done(&o);
    assert_int_equal(fixture_log(f, seq, 16, 1000, &o), TW_OUT_OF_RANGE);
    outcome_done(&o);
    assert_int_equal(fixture_log(f, seq + 1, 0, 1000, &o), TW_NOT_FOUND);
    outcome_done(&o);

    struct store_log *log = store_log_open(f->store, seq, 1 << 20);
    assert_non_null(log);
    assert_int_equal(store_log_append(log, TW_STREAM_STDOUT, "", 0), 0);
    assert_false(log_file_exists(f, seq)); /* not before there is something to keep */
    assert_int_equal(store_log_end(log), 0);
    assert_int_equal(store_log_append(log, TW_STREAM_STDOUT, "one", 3), 3);
    uint64_t second = store_log_end(log);
    assert_int_equal(second, STORE_LOG_HEADER + 3);
    assert_int_equal(store_log_append(log, TW_STREAM_STDERR, "two", 3), 3);
    bool truncated = true;
    assert_int_equal(store_log_size(log, &truncated), 6);
    assert_false(truncated);

    for (int finished = 0; finished < 2; finished++) {
        assert_int_equal(fixture_log(f, seq, 0, 1000, &o), TW_OK);
        assert_string_equal(join(&o), "onetwo");
        outcome_done(&o);
        assert_int_equal(fixture_log(f, seq, 0, 0, &o), TW_OK); /* at least one record */
        assert_string_equal(join(&o), "one");
        outcome_done(&o);
        assert_int_equal(fixture_log(f, seq, second, 1000, &o), TW_OK);
        assert_string_equal(join(&o), "two");
        assert_int_equal(o.data[4], TW_STREAM_STDERR);
        outcome_done(&o);
        assert_int_equal(fixture_log(f, seq, 2 * second, 1000, &o), TW_OK);
        assert_int_equal(o.len, 0);
        outcome_done(&o);
        static const uint64_t bad[] = {1, 3, 16, 18, 20, 37, 39, 1000, UINT64_MAX, INT64_MAX};
        for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
            assert_int_equal(fixture_log(f, seq, bad[i], 1000, &o), TW_OUT_OF_RANGE);
            outcome_done(&o);
        }
        if (finished)
            break;
        assert_int_equal(fixture_finish(f, seq, TW_TASK_COMPLETED, NULL, 0), TW_OK);
        assert_int_equal(store_log_append(log, TW_STREAM_STDOUT, "late", 4), 0);
        store_log_free(log);
        assert_false(log_file_exists(f, seq)); /* it is in the database now */
    }
    struct store_task got;
    assert_int_equal(fixture_get(f, "a", &got), TW_OK);
    assert_int_equal(got.info.log_size, 6);
    assert_false(got.info.log_truncated);
    store_task_done(&got);
}

/* What looks like a record within a task's output is none. */
static void test_forged_record(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    uint64_t seq = fixture_add(f, "a");
    struct store_log *log = store_log_open(f->store, seq, 1 << 20);
    uint8_t forged[64] = {4, 0, 0, 0, TW_STREAM_STDOUT};
    store_log_append(log, TW_STREAM_STDOUT, forged, sizeof forged);
    struct outcome o;
    assert_int_equal(fixture_log(f, seq, STORE_LOG_HEADER, 1000, &o), TW_OUT_OF_RANGE);
    outcome_done(&o);
    store_log_free(log);
}

static void test_large_log(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    uint64_t seq = fixture_add(f, "a");
    struct store_log *log = store_log_open(f->store, seq, 1 << 20);
    size_t len = 100000; /* more than a record holds, more than the database takes */
    char *text = malloc(len + 1);
    assert_non_null(text);
    for (size_t i = 0; i < len; i++)
        text[i] = (char)('a' + i % 23);
    text[len] = '\0';
    assert_int_equal(store_log_append(log, TW_STREAM_STDOUT, text, len), len);
    assert_int_equal(fixture_finish(f, seq, TW_TASK_COMPLETED, NULL, 0), TW_OK);
    store_log_free(log);
    assert_true(log_file_exists(f, seq));
    fixture_close(f);
    fixture_open(f);
    assert_true(log_file_exists(f, seq)); /* the sweep knows it */
    struct outcome o;
    assert_int_equal(fixture_log(f, seq, 0, 1 << 20, &o), TW_OK);
    assert_string_equal(join(&o), text);
    uint64_t end = o.len;
    outcome_done(&o);
    assert_int_equal(fixture_log(f, seq, end, 100, &o), TW_OK);
    assert_int_equal(o.len, 0);
    outcome_done(&o);
    assert_int_equal(fixture_log(f, seq, end + 1, 100, &o), TW_OUT_OF_RANGE);
    outcome_done(&o);
    free(text);
}

static void test_limit(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    uint64_t seq = fixture_add(f, "a"), none = fixture_add(f, "b");
    struct store_log *log = store_log_open(f->store, seq, 10);
    assert_int_equal(store_log_append(log, TW_STREAM_STDOUT, "1234567", 7), 7);
    assert_int_equal(store_log_append(log, TW_STREAM_STDOUT, "89abc", 5), 3);
    assert_int_equal(store_log_append(log, TW_STREAM_STDOUT, "d", 1), 0);
    store_log_free(log);
    fixture_close(f);
    fixture_open(f); /* a crash: that something is missing must be known still */
    struct outcome o;
    assert_int_equal(fixture_finish(f, seq, TW_TASK_FAILED, NULL, 0), TW_OK);
    assert_int_equal(fixture_log(f, seq, 0, 1000, &o), TW_OK);
    assert_string_equal(join(&o), "123456789a");
    outcome_done(&o);
    struct store_task got;
    assert_int_equal(fixture_get(f, "a", &got), TW_OK);
    assert_int_equal(got.info.log_size, 10);
    assert_true(got.info.log_truncated);
    store_task_done(&got);

    log = store_log_open(f->store, none, 0);
    assert_int_equal(store_log_append(log, TW_STREAM_STDOUT, "x", 1), 0);
    assert_int_equal(fixture_finish(f, none, TW_TASK_COMPLETED, NULL, 0), TW_OK);
    store_log_free(log);
    assert_int_equal(fixture_get(f, "b", &got), TW_OK);
    assert_true(got.info.log_truncated);
    store_task_done(&got);
}

/* A crash in the middle of a record: readers stop before it, the next attempt goes on where it was
 * cut. */
static void test_torn_tail(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    uint64_t seq = fixture_add(f, "a");
    struct store_log *log = store_log_open(f->store, seq, 100);
    store_log_append(log, TW_STREAM_STDOUT, "whole", 5);
    store_log_append(log, TW_STREAM_STDOUT, "torn", 4);
    store_log_free(log);
    fixture_close(f);
    assert_int_equal(truncate(log_name(f, seq), STORE_LOG_HEADER + 5 + STORE_LOG_HEADER + 2), 0);
    fixture_open(f);
    struct outcome o;
    assert_int_equal(fixture_log(f, seq, 0, 1000, &o), TW_OK);
    assert_string_equal(join(&o), "whole");
    outcome_done(&o);
    assert_int_equal(fixture_log(f, seq, STORE_LOG_HEADER + 5, 1000, &o), TW_OK);
    assert_int_equal(o.len, 0);
    outcome_done(&o);
    log = store_log_open(f->store, seq, 100);
    assert_int_equal(store_log_end(log), STORE_LOG_HEADER + 5);
    assert_int_equal(store_log_size(log, NULL), 5);
    store_log_append(log, TW_STREAM_STDOUT, " again", 6);
    assert_int_equal(fixture_log(f, seq, 0, 1000, &o), TW_OK);
    assert_string_equal(join(&o), "whole again");
    outcome_done(&o);
    store_log_free(log);
    /* And one that ends without being taken up again. */
    fixture_close(f);
    assert_int_equal(truncate(log_name(f, seq), STORE_LOG_HEADER + 5 + STORE_LOG_HEADER + 2), 0);
    fixture_open(f);
    assert_int_equal(fixture_finish(f, seq, TW_TASK_FAILED, NULL, 0), TW_OK);
    assert_int_equal(fixture_log(f, seq, 0, 1000, &o), TW_OK);
    assert_string_equal(join(&o), "whole");
    outcome_done(&o);
    assert_false(log_file_exists(f, seq));
}

/* The disk is full, played by a limit on the size of files: what does not fit is dropped, what was
 * there stays. */
static void test_append_without_room(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    uint64_t seq = fixture_add(f, "a");
    struct store_log *log = store_log_open(f->store, seq, 1 << 20);
    store_log_append(log, TW_STREAM_STDOUT, "kept", 4);
    struct rlimit old, none = {.rlim_cur = 30, .rlim_max = RLIM_INFINITY};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    none.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    assert_int_equal(store_log_append(log, TW_STREAM_STDOUT, "dropped", 7), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(store_log_append(log, TW_STREAM_STDOUT, " too", 4), 4);
    struct outcome o;
    assert_int_equal(fixture_log(f, seq, 0, 1000, &o), TW_OK);
    assert_string_equal(join(&o), "kept too");
    outcome_done(&o);
    assert_int_equal(fixture_finish(f, seq, TW_TASK_COMPLETED, NULL, 0), TW_OK);
    store_log_free(log);
    struct store_task got;
    assert_int_equal(fixture_get(f, "a", &got), TW_OK);
    assert_true(got.info.log_truncated);
    assert_int_equal(got.info.log_size, 8);
    store_task_done(&got);
}

/* --- reading while the end of the task moves the log --- */

struct reading {
    size_t left, n;
    bool done;
};

static void on_read(void *ctx, const void *data, size_t len, const struct tw_error *error)
{
    struct reading *r = ctx;
    if (error)
        fail_msg("%s", error->message);
    const struct outcome o = {.data = (uint8_t *)data, .len = len};
    assert_string_equal(join(&o), "the whole log");
    r->n++;
    r->done = --r->left == 0;
}

static void on_finished(void *ctx, const struct tw_error *error)
{
    struct reading *r = ctx;
    assert_null(error);
    r->done = --r->left == 0;
}

static void test_read_during_finish(void **state)
{
    struct fixture *f = *state;
    enum { ROUNDS = 200, READS = 20 };
    fixture_open(f);
    for (size_t round = 0; round < ROUNDS; round++) {
        char id[16];
        snprintf(id, sizeof id, "t%zu", round);
        uint64_t seq = fixture_add(f, id);
        struct store_log *log = store_log_open(f->store, seq, 100);
        store_log_append(log, TW_STREAM_STDOUT, "the whole log", 13);
        const struct tw_task_info info = {.state = TW_TASK_COMPLETED};
        struct reading r = {.left = READS + 1};
        for (size_t i = 0; i < READS; i++) {
            if (i == round % READS)
                store_finish(f->store, seq, &info, NULL, 0, on_finished, &r);
            store_log_read(f->store, seq, 0, 1000, on_read, &r);
        }
        fixture_run(f, &r.done);
        assert_int_equal(r.n, READS);
        store_log_free(log);
        assert_false(log_file_exists(f, seq));
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        T(test_append_and_read),
        T(test_forged_record),
        T(test_large_log),
        T(test_limit),
        T(test_torn_tail),
        T(test_append_without_room),
        T(test_read_during_finish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
