/* SPDX-License-Identifier: Apache-2.0 */
/* Uploads and downloads on a loop, and their end at any moment. */
#include <stdlib.h>

#include <uv.h>

#include "files/stream.h"
#include "fixture.h"

enum { LEN = 500000, PIECE = 60000 };

static char data[LEN];

struct client {
    struct fixture *f;
    uv_loop_t loop;
    struct stream *st;
    struct tw_put_options put;
    size_t at;
    char piece[PIECE];
    struct tw_error error;    /* TW_OK: none */
    unsigned calls, close_at; /* close the stream when so many calls have been begun; 0: at the end */
    bool closed;
};

static void on_closed(void *ctx)
{
    struct client *c = ctx;
    c->closed = true;
}

/* True: the stream goes, in the middle of the call that was just begun. */
static void count_call(struct client *c)
{
    if (++c->calls == c->close_at)
        stream_close(STEAL(c->st), on_closed, c);
}

static bool failed(struct client *c, const struct tw_error *error)
{
    assert_non_null(c->st); /* it does not call after it was closed */
    if (!error)
        return false;
    c->error = *error;
    stream_close(STEAL(c->st), on_closed, c);
    return true;
}

static void on_read(void *ctx, size_t n, const struct tw_error *error)
{
    struct client *c = ctx;
    if (failed(c, error))
        return;
    assert_true(c->at + n <= LEN);
    assert_memory_equal(c->piece, data + c->at, n);
    c->at += n;
    if (n == 0) {
        stream_close(STEAL(c->st), on_closed, c);
        return;
    }
    stream_read(c->st, c->piece, sizeof c->piece, on_read, c);
    count_call(c);
}

static void on_commit(void *ctx, size_t n, const struct tw_error *error)
{
    struct client *c = ctx;
    assert_int_equal(n, 0);
    if (failed(c, error))
        return;
    assert_int_equal(stream_info(c->st)->size, LEN);
    stream_close(STEAL(c->st), on_closed, c);
}

static void on_write(void *ctx, size_t n, const struct tw_error *error)
{
    struct client *c = ctx;
    assert_int_equal(n, 0);
    if (failed(c, error))
        return;
    size_t len = MIN((size_t)PIECE, LEN - c->at), from = c->at;
    c->at += len;
    if (len)
        stream_write(c->st, data + from, len, on_write, c);
    else
        stream_commit(c->st, on_commit, c);
    count_call(c);
}

static void client_run(struct client *c, struct fixture *f, unsigned close_at)
{
    assert_int_equal(uv_loop_init(&c->loop), 0);
    c->f = f;
    c->at = c->calls = 0;
    c->closed = false;
    c->close_at = close_at;
    c->error = (struct tw_error){0};
    c->st = stream_new(&c->loop, f->s);
    assert_non_null(c->st);
}

static void client_end(struct client *c)
{
    assert_int_equal(uv_run(&c->loop, UV_RUN_DEFAULT), 0);
    assert_true(c->closed);
    assert_int_equal(uv_loop_close(&c->loop), 0);
}

static void put(struct client *c, struct fixture *f, const char *name, unsigned close_at)
{
    c->put = (struct tw_put_options){.size = sizeof c->put, .owner = "ann", .name = name, .unknown_length = true};
    client_run(c, f, close_at);
    stream_put(c->st, &c->put, on_write, c);
    count_call(c);
    client_end(c);
}

static void on_get(void *ctx, size_t n, const struct tw_error *error)
{
    struct client *c = ctx;
    assert_int_equal(n, 0);
    if (failed(c, error))
        return;
    assert_int_equal(stream_info(c->st)->size, LEN);
    stream_read(c->st, c->piece, sizeof c->piece, on_read, c);
    count_call(c);
}

static void get(struct client *c, struct fixture *f, const char *name, unsigned close_at)
{
    const struct tw_file_ref ref = {.owner = "ann", .name = name};
    client_run(c, f, close_at);
    stream_get(c->st, &ref, on_get, c);
    count_call(c);
    client_end(c);
}

static void test_put_and_get(void **state)
{
    struct fixture *f = *state;
    static struct client c;
    fixture_fill(data, LEN, 1);
    fixture_open(f);
    put(&c, f, "a", 0);
    assert_int_equal(c.error.code, TW_OK);
    assert_int_equal(fixture_get(f, "ann", "a", data, LEN), TW_OK);
    get(&c, f, "a", 0);
    assert_int_equal(c.error.code, TW_OK);
    assert_int_equal(c.at, LEN);
    get(&c, f, "b", 0);
    assert_int_equal(c.error.code, TW_NOT_FOUND);
    put(&c, f, "../a", 0);
    assert_int_equal(c.error.code, TW_INVALID_ARGUMENT);
    f->options.max_bytes = LEN + 100000;
    tw_storage_reload(f->s, &f->options);
    put(&c, f, "b", 0);
    assert_int_equal(c.error.code, TW_RESOURCE_EXHAUSTED);
    fixture_assert_sound(f);
}

static void test_closed_at_any_moment(void **state)
{
    struct fixture *f = *state;
    static struct client c;
    enum { CALLS = 1 + (LEN + PIECE - 1) / PIECE };
    fixture_fill(data, LEN, 2);
    fixture_open(f);
    for (unsigned i = 1; i <= CALLS; i++) {
        put(&c, f, "a", i);
        fixture_assert_sound(f);
        assert_int_equal(fixture_stat(f, NULL).files, 0);
    }
    /* What closes it during the commit comes too late, or not. */
    put(&c, f, "a", CALLS + 1);
    fixture_assert_sound(f);
    put(&c, f, "a", 0);
    for (unsigned i = 1; i <= CALLS; i++)
        get(&c, f, "a", i);
    fixture_assert_sound(f);
}

static void on_refused(void *ctx, size_t n, const struct tw_error *error)
{
    struct client *c = ctx;
    assert_int_equal(n, 0);
    assert_non_null(error);
    c->error = *error;
    stream_close(STEAL(c->st), NULL, NULL);
    c->closed = true;
}

static void test_out_of_order(void **state)
{
    struct fixture *f = *state;
    static struct client c;
    fixture_open(f);
    for (int i = 0; i < 3; i++) {
        client_run(&c, f, 0);
        if (i == 0)
            stream_write(c.st, "x", 1, on_refused, &c);
        else if (i == 1)
            stream_commit(c.st, on_refused, &c);
        else
            stream_read(c.st, c.piece, 1, on_refused, &c);
        client_end(&c);
        assert_int_equal(c.error.code, TW_FAILED_PRECONDITION);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {T(test_put_and_get), T(test_closed_at_any_moment), T(test_out_of_order)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
