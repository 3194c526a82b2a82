/* SPDX-License-Identifier: Apache-2.0 */
/* The next version of a file by a librsync delta; whatever is wrong with it, the version before stays. */
#include <stdlib.h>

#include "base/buf.h"
#include "fixture.h"

enum { OLD = 100000 };

/* librsync's format: see its delta.c. */
static void delta_begin_text(struct buf *b)
{
    static const uint8_t magic[] = {0x72, 0x73, 0x02, 0x36};
    buf_init(b, 1 << 20);
    buf_append(b, magic, sizeof magic);
}

static void add_number(struct buf *b, uint64_t n)
{
    for (int shift = 56; shift >= 0; shift -= 8)
        buf_append(b, &(uint8_t){(uint8_t)(n >> shift)}, 1);
}

static void add_copy(struct buf *b, uint64_t at, uint64_t len)
{
    buf_append(b, &(uint8_t){0x54}, 1);
    add_number(b, at);
    add_number(b, len);
}

static void add_literal(struct buf *b, const char *text)
{
    buf_append(b, &(uint8_t){0x44}, 1);
    add_number(b, strlen(text));
    buf_append(b, text, strlen(text));
}

static void add_end(struct buf *b)
{
    buf_append(b, &(uint8_t){0}, 1);
}

static enum tw_code patch(struct fixture *f, const struct tw_patch_options *options, const struct buf *delta,
    size_t piece, struct tw_file_info *ret)
{
    struct tw_patch *p = NULL;
    int r = tw_storage_patch(f->s, options, &p, &f->error);
    for (size_t at = 0; r == 0 && at < delta->len; at += piece) {
        r = tw_patch_write(p, delta->data + at, MIN(piece, delta->len - at), &f->error);
        if (r < 0)
            tw_patch_abort(p);
    }
    if (r == 0)
        r = tw_patch_commit(p, ret, &f->error);
    return r == 0 ? TW_OK : f->error.code;
}

static const struct tw_patch_options of_a = {.size = sizeof of_a, .file = {.owner = "ann", .name = "a"}};

static void put_old(struct fixture *f, char *old)
{
    fixture_open(f);
    fixture_fill(old, OLD, 1);
    assert_int_equal(fixture_put(f, "ann", "a", old, OLD), TW_OK);
}

static void test_a_delta(void **state)
{
    struct fixture *f = *state;
    char *data = malloc(2 * OLD + 3);
    static const size_t pieces[] = {1, 7, 1 << 20};
    struct tw_file_info info;
    struct buf delta;
    put_old(f, data);
    delta_begin_text(&delta);
    add_copy(&delta, 0, OLD);
    add_literal(&delta, "and");
    add_copy(&delta, 0, OLD);
    add_end(&delta);
    memcpy(data + OLD, "and", 3);
    memcpy(data + OLD + 3, data, OLD);
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        struct tw_file_info now = fixture_find(f, "ann", "a");
        struct tw_patch_options options = of_a;
        options.base_version = now.version;
        options.base_modified_us = now.modified_us;
        assert_int_equal(patch(f, &options, &delta, pieces[i], &info), TW_OK);
        assert_int_equal(info.version, now.version + 1);
        assert_int_equal(fixture_get(f, "ann", "a", data, 2 * OLD + 3), TW_OK);
        tw_file_info_done(&info);
        tw_file_info_done(&now);
        assert_int_equal(fixture_put(f, "ann", "a", data, OLD), TW_OK);
    }
    buf_done(&delta);
    free(data);
    (void)fixture_gc(f);
    fixture_assert_sound(f);
}

static void assert_refused(
    struct fixture *f, const struct tw_patch_options *options, struct buf *delta, enum tw_code code, const char *old)
{
    assert_int_equal(patch(f, options, delta, 5, NULL), code);
    assert_int_equal(fixture_get(f, "ann", "a", old, OLD), TW_OK);
    assert_int_equal(fixture_stat(f, NULL).reserved_bytes, 0);
    assert_int_equal(fixture_count(f, "tmp"), 0);
    buf_done(delta);
    delta_begin_text(delta);
}

static void test_refused_deltas(void **state)
{
    struct fixture *f = *state;
    char *old = malloc(OLD), zeros[TW_SHA256_LEN + 1];
    struct buf delta;
    put_old(f, old);
    delta_begin_text(&delta);
    assert_refused(f, &of_a, &delta, TW_INVALID_ARGUMENT, old); /* it has no end */
    add_end(&delta);
    add_end(&delta);
    assert_refused(f, &of_a, &delta, TW_INVALID_ARGUMENT, old); /* it goes on behind it */
    add_copy(&delta, OLD - 1, 2);
    add_end(&delta);
    assert_refused(f, &of_a, &delta, TW_INVALID_ARGUMENT, old); /* beyond the base */
    add_copy(&delta, UINT64_MAX, 1);
    add_end(&delta);
    assert_refused(f, &of_a, &delta, TW_INVALID_ARGUMENT, old);
    delta.data[0] ^= 1;
    add_end(&delta);
    assert_refused(f, &of_a, &delta, TW_INVALID_ARGUMENT, old); /* something else */
    struct tw_patch_options options = of_a;
    memset(zeros, '0', TW_SHA256_LEN);
    zeros[TW_SHA256_LEN] = '\0';
    options.sha256 = zeros;
    add_literal(&delta, "x");
    add_end(&delta);
    assert_refused(f, &options, &delta, TW_INVALID_ARGUMENT, old); /* another outcome */
    options = of_a;
    options.base_version = 2;
    assert_refused(f, &options, &delta, TW_ABORTED, old);
    options = of_a;
    options.base_modified_us = 1;
    assert_refused(f, &options, &delta, TW_ABORTED, old);
    options = of_a;
    options.file.owner = "bob";
    assert_refused(f, &options, &delta, TW_NOT_FOUND, old);
    buf_done(&delta);
    free(old);
    fixture_assert_sound(f);
}

/* Somebody puts another version between the beginning and the end. */
static void test_another_was_faster(void **state)
{
    struct fixture *f = *state;
    char *old = malloc(OLD);
    struct tw_patch *p = NULL;
    struct buf delta;
    put_old(f, old);
    delta_begin_text(&delta);
    add_copy(&delta, 0, 10);
    add_end(&delta);
    assert_int_equal(tw_storage_patch(f->s, &of_a, &p, &f->error), 0);
    assert_int_equal(tw_patch_write(p, delta.data, delta.len, &f->error), 0);
    assert_int_equal(fixture_put_text(f, "ann", "a", "faster"), TW_OK);
    assert_int_equal(tw_patch_commit(p, NULL, &f->error), -1);
    assert_int_equal(f->error.code, TW_ABORTED);
    assert_int_equal(fixture_get_text(f, "ann", "a", "faster"), TW_OK);
    buf_done(&delta);
    free(old);
    (void)fixture_gc(f);
    fixture_assert_sound(f);
}

/* A few bytes that claim terabytes: the bound of all contents is what they meet. */
static void test_copies_meet_the_bound(void **state)
{
    struct fixture *f = *state;
    char *old = malloc(OLD);
    struct buf delta;
    f->options.max_bytes = 10 * OLD;
    put_old(f, old);
    delta_begin_text(&delta);
    for (int i = 0; i < 1000; i++)
        add_copy(&delta, 0, OLD);
    add_end(&delta);
    assert_refused(f, &of_a, &delta, TW_RESOURCE_EXHAUSTED, old);
    buf_done(&delta);
    free(old);
}

/* A base that is damaged makes nothing, also where nobody says what has to come out. */
static void test_a_damaged_base(void **state)
{
    struct fixture *f = *state;
    char *old = malloc(OLD);
    struct buf delta;
    put_old(f, old);
    struct tw_file_info info = fixture_find(f, "ann", "a");
    fixture_corrupt(f, info.sha256, 5);
    delta_begin_text(&delta);
    add_copy(&delta, 0, 10);
    add_end(&delta);
    assert_int_equal(patch(f, &of_a, &delta, 5, NULL), TW_DATA_LOSS);
    assert_int_equal(fixture_count(f, "tmp"), 0);
    tw_file_info_done(&info);
    buf_done(&delta);
    free(old);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(test_a_delta),
        T(test_refused_deltas),
        T(test_another_was_faster),
        T(test_copies_meet_the_bound),
        T(test_a_damaged_base),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
