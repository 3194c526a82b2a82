/* SPDX-License-Identifier: Apache-2.0 */
/* The bounds, and many who come to them at once. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "fixture.h"

#define MIB (UINT64_C(1) << 20)

static void assert_exhausted(struct fixture *f, enum tw_code code, const char *word)
{
    assert_int_equal(code, TW_RESOURCE_EXHAUSTED);
    if (!strstr(f->error.message, word))
        fail_msg("not the right sentence: %s", f->error.message);
}

static void test_total(void **state)
{
    struct fixture *f = *state;
    static char data[6000];
    fixture_fill(data, sizeof data, 1);
    f->options.max_bytes = 10000;
    fixture_open(f);
    assert_int_equal(fixture_put(f, "ann", "a", data, 6000), TW_OK);
    assert_exhausted(f, fixture_put(f, "bob", "b", data + 1, 4001), "storage is full");
    assert_int_equal(fixture_put(f, "bob", "b", data + 1, 4000), TW_OK);
    assert_exhausted(f, fixture_put(f, "bob", "c", data, 1), "storage is full");
    assert_int_equal(fixture_put(f, "bob", "empty", data, 0), TW_OK);
    assert_int_equal(fixture_count(f, "tmp"), 0);
    /* What was deleted makes room at once, though nobody has cleaned up yet; what is open does not. */
    const struct tw_file_ref ref = {.owner = "ann", .name = "a"};
    struct tw_file *file;
    assert_int_equal(tw_storage_get(f->s, &ref, &file, &f->error), 0);
    assert_int_equal(fixture_delete(f, "ann", "a"), TW_OK);
    assert_exhausted(f, fixture_put(f, "bob", "c", data + 2, 5000), "storage is full");
    tw_file_close(file);
    assert_int_equal(fixture_put(f, "bob", "c", data + 2, 5000), TW_OK);
    /* A bound that is lowered below what is there removes nothing. */
    f->options.max_bytes = 1000;
    tw_storage_reload(f->s, &f->options);
    assert_exhausted(f, fixture_put(f, "bob", "d", data, 1), "storage is full");
    assert_int_equal(fixture_get(f, "bob", "c", data + 2, 5000), TW_OK);
    fixture_assert_sound(f);
}

static void test_owner(void **state)
{
    struct fixture *f = *state;
    static char data[6000];
    fixture_fill(data, sizeof data, 1);
    f->options.max_owner_bytes = 10000;
    f->options.max_owner_files = 3;
    fixture_open(f);
    assert_int_equal(fixture_put(f, "ann", "a", data, 6000), TW_OK);
    assert_exhausted(f, fixture_put(f, "ann", "b", data, 6000), "'ann'"); /* shared or not */
    assert_int_equal(fixture_put(f, "bob", "b", data, 6000), TW_OK);
    /* The version before makes room for the next. */
    assert_int_equal(fixture_put(f, "ann", "a", data + 1, 5999), TW_OK);
    assert_int_equal(fixture_put(f, "ann", "b", data, 4000), TW_OK);
    assert_exhausted(f, fixture_put(f, "ann", "c", data, 2), "'ann'");
    assert_int_equal(fixture_put(f, "ann", "c", data, 1), TW_OK);
    assert_exhausted(f, fixture_put(f, "ann", "d", data, 0), "3 files");
    assert_int_equal(fixture_delete(f, "ann", "c"), TW_OK);
    assert_int_equal(fixture_put(f, "ann", "d", data, 0), TW_OK);
    assert_int_equal(fixture_stat(f, "ann").bytes, 9999);
    fixture_assert_sound(f);
}

/* Both reckon with the version before to go: one of them has to find out. */
static void test_two_next_versions(void **state)
{
    struct fixture *f = *state;
    static char data[6000];
    fixture_fill(data, sizeof data, 1);
    f->options.max_owner_bytes = 10000;
    fixture_open(f);
    assert_int_equal(fixture_put(f, "ann", "a", data, 6000), TW_OK);
    const struct tw_put_options o[2] = {{.size = sizeof *o, .owner = "ann", .name = "a", .length = 5000},
        {.size = sizeof *o, .owner = "ann", .name = "b", .length = 4000}};
    struct tw_upload *u[2];
    assert_int_equal(tw_storage_put(f->s, &o[0], &u[0], &f->error), 0);
    assert_int_equal(tw_upload_write(u[0], data, 5000, &f->error), 0);
    /* 6000 are there and 5000 set aside: nothing is certain yet. */
    assert_exhausted(f, tw_storage_put(f->s, &o[1], &u[1], &f->error) < 0 ? f->error.code : TW_OK, "'ann'");
    assert_int_equal(tw_upload_commit(u[0], NULL, &f->error), 0);
    assert_int_equal(tw_storage_put(f->s, &o[1], &u[1], &f->error), 0);
    assert_int_equal(tw_upload_write(u[1], data, 4000, &f->error), 0);
    assert_int_equal(tw_upload_commit(u[1], NULL, &f->error), 0);
    assert_int_equal(fixture_stat(f, "ann").bytes, 9000);
}

static void test_unknown_length(void **state)
{
    struct fixture *f = *state;
    static char data[100000];
    fixture_fill(data, sizeof data, 1);
    f->options.max_bytes = 3 * MIB;
    fixture_open(f);
    const struct tw_put_options o = {.size = sizeof o, .owner = "ann", .name = "a", .unknown_length = true};
    struct tw_upload *u;
    assert_int_equal(tw_storage_put(f->s, &o, &u, &f->error), 0);
    uint64_t written = 0;
    while (tw_upload_write(u, data, sizeof data, &f->error) == 0)
        written += sizeof data;
    assert_exhausted(f, f->error.code, "storage is full");
    assert_int_equal(written, 3 * MIB / sizeof data * sizeof data);
    assert_int_equal(tw_upload_write(u, data, 1, &f->error), -1);
    assert_int_equal(f->error.code, TW_FAILED_PRECONDITION);
    assert_int_equal(tw_upload_commit(u, NULL, &f->error), -1);
    assert_int_equal(fixture_count(f, "tmp"), 0);
    assert_int_equal(fixture_put(f, "ann", "a", data, sizeof data), TW_OK);
    fixture_assert_sound(f);
}

/* --- many at once --- */

enum { THREADS = 8, ROUNDS = 12, PIECE = 32 << 10, PIECES = 8 };

struct racer {
    struct fixture *f;
    pthread_t thread;
    unsigned n;
    atomic_bool *over; /* somebody found more than there may be */
    unsigned done, refused;
};

static bool put_one(struct racer *r, unsigned round)
{
    char name[30], data[PIECE];
    snprintf(name, sizeof name, "f%u-%u", r->n, round);
    struct tw_put_options o = {.size = sizeof o, .owner = r->n % 2 ? "odd" : "even", .name = name};
    o.unknown_length = (r->n + round) % 3 == 0;
    o.length = o.unknown_length ? 0 : PIECE * PIECES;
    struct tw_error error;
    struct tw_upload *u;
    if (tw_storage_put(r->f->s, &o, &u, &error) < 0)
        return error.code == TW_RESOURCE_EXHAUSTED ? false : (atomic_store(r->over, true), false);
    for (unsigned i = 0; i < PIECES; i++) {
        fixture_fill(data, sizeof data, (r->n * 1000 + round) * 1000 + i);
        if (tw_upload_write(u, data, sizeof data, &error) < 0) {
            tw_upload_abort(u);
            return false;
        }
    }
    return tw_upload_commit(u, NULL, &error) == 0;
}

static void *race(void *arg)
{
    struct racer *r = arg;
    for (unsigned round = 0; round < ROUNDS; round++) {
        bool ok = put_one(r, round);
        r->done += ok;
        r->refused += !ok;
        struct tw_storage_stat all, own;
        struct tw_error error;
        if (tw_storage_stat(r->f->s, NULL, &all, &error) < 0 || tw_storage_stat(r->f->s, "odd", &own, &error) < 0 ||
            all.blob_bytes + all.reserved_bytes > all.max_bytes || own.bytes > own.max_owner_bytes)
            atomic_store(r->over, true);
    }
    return NULL;
}

static void test_race(void **state)
{
    struct fixture *f = *state;
    static struct racer racers[THREADS];
    atomic_bool over = false;
    f->options.max_bytes = 8 * MIB + 5;
    f->options.max_owner_bytes = 5 * MIB + 3;
    fixture_open(f);
    for (unsigned i = 0; i < THREADS; i++) {
        racers[i] = (struct racer){.f = f, .n = i, .over = &over};
        assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
    }
    unsigned done = 0, refused = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(racers[i].thread, NULL), 0);
        done += racers[i].done;
        refused += racers[i].refused;
    }
    assert_false(over);
    struct tw_storage_stat all = fixture_stat(f, NULL);
    assert_int_equal(all.files, done);
    assert_int_equal(all.blob_bytes, (uint64_t)done * PIECE * PIECES);
    assert_true(all.blob_bytes <= all.max_bytes);
    assert_true(done >= 24 && refused > 0);
    fixture_assert_sound(f);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(test_total),
        T(test_owner),
        T(test_two_next_versions),
        T(test_unknown_length),
        T(test_race),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
