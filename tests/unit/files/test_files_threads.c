/* SPDX-License-Identifier: Apache-2.0 */
/* Everything at once from many threads, while the cleaner cleans and somebody checks: each reader gets one put, whole. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "fixture.h"

enum { PUTTERS = 4, READERS = 2, ROUNDS = 60, NAMES = 4, CONTENTS = 6, LEN_MAX = 30000 };

struct shared {
    struct fixture *f;
    atomic_int putting; /* threads */
    atomic_uint reads, problems;
    char contents[CONTENTS][LEN_MAX];
};

static struct shared shared;

struct member {
    pthread_t thread;
    unsigned n;
    struct fixture f; /* with an error of its own */
};

static size_t length_of(unsigned content)
{
    return LEN_MAX - content * 1000;
}

static void problem(const char *what, const struct tw_error *error)
{
    if (atomic_fetch_add(&shared.problems, 1) == 0)
        print_error("%s: %s\n", what, error->message);
}

static void put_once(struct fixture *f, const char *name, unsigned content)
{
    const struct tw_put_options o = {.size = sizeof o, .owner = "ann", .name = name, .unknown_length = true};
    struct tw_upload *u;
    if (tw_storage_put(f->s, &o, &u, &f->error) < 0) {
        problem("put", &f->error);
    } else if (tw_upload_write(u, shared.contents[content], length_of(content), &f->error) < 0) {
        problem("write", &f->error);
        tw_upload_abort(u);
    } else if (content == 3) {
        tw_upload_abort(u);
    } else if (tw_upload_commit(u, NULL, &f->error) < 0) {
        problem("commit", &f->error);
    }
}

static void *put_all(void *arg)
{
    struct member *m = arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        char name[24];
        snprintf(name, sizeof name, "n%u", (i * 7 + m->n) % NAMES);
        put_once(&m->f, name, (i * 5 + m->n) % CONTENTS);
        const struct tw_file_ref ref = {.owner = "ann", .name = name};
        if (i % 3 == 0 && tw_storage_delete(m->f.s, &ref, &m->f.error) < 0 && m->f.error.code != TW_NOT_FOUND)
            problem("delete", &m->f.error);
    }
    atomic_fetch_sub(&shared.putting, 1);
    return NULL;
}

static bool is_a_content(const char *data, size_t len)
{
    for (unsigned i = 0; i < CONTENTS; i++) {
        if (length_of(i) == len && !memcmp(shared.contents[i], data, len))
            return true;
    }
    return false;
}

static void read_once(struct member *m, const char *name, char *data)
{
    const struct tw_file_ref ref = {.owner = "ann", .name = name};
    struct tw_file *file;
    if (tw_storage_get(m->f.s, &ref, &file, &m->f.error) < 0) {
        if (m->f.error.code != TW_NOT_FOUND)
            problem("get", &m->f.error);
        return;
    }
    size_t got = 0;
    ssize_t n;
    while ((n = tw_file_read(file, data + got, MIN((size_t)7000, LEN_MAX - got), &m->f.error)) > 0)
        got += (size_t)n;
    if (n < 0)
        problem("read", &m->f.error);
    else if (!is_a_content(data, got))
        problem("read", &(struct tw_error){.message = "is nothing that was put"});
    atomic_fetch_add(&shared.reads, n == 0);
    tw_file_close(file);
}

static void *read_all(void *arg)
{
    struct member *m = arg;
    char *data = malloc(LEN_MAX);
    for (unsigned i = 0; data && atomic_load(&shared.putting) > 0; i++) {
        char name[24];
        snprintf(name, sizeof name, "n%u", (i + m->n) % NAMES);
        read_once(m, name, data);
    }
    free(data);
    return NULL;
}

static void *look_all(void *arg)
{
    struct member *m = arg;
    const struct tw_file_list_options o = {.size = sizeof o, .owner = "ann", .limit = 2};
    while (atomic_load(&shared.putting) > 0) {
        struct tw_file_list list;
        struct tw_storage_stat stat;
        struct tw_fsck_report report;
        struct tw_storage_gc_report cleaned;
        if (tw_storage_list(m->f.s, &o, &list, &m->f.error) < 0)
            problem("list", &m->f.error);
        tw_file_list_done(&list);
        if (tw_storage_stat(m->f.s, NULL, &stat, &m->f.error) < 0)
            problem("stat", &m->f.error);
        if (tw_storage_gc(m->f.s, &cleaned, &m->f.error) < 0)
            problem("gc", &m->f.error);
        if (tw_storage_fsck(m->f.s, NULL, NULL, &report, &m->f.error) < 0)
            problem("fsck", &m->f.error);
        else if (report.damaged || report.missing || report.wrong_counts || report.healed)
            problem("fsck", &(struct tw_error){.message = "found something"});
    }
    return NULL;
}

static void start(struct member *m, struct fixture *f, unsigned n, void *(*run)(void *arg))
{
    *m = (struct member){.f = *f, .n = n};
    assert_int_equal(pthread_create(&m->thread, NULL, run, m), 0);
}

static void test_all_at_once(void **state)
{
    struct fixture *f = *state;
    static struct member members[PUTTERS + READERS + 1];
    for (unsigned i = 0; i < CONTENTS; i++)
        fixture_fill(shared.contents[i], LEN_MAX, i + 1);
    atomic_store(&shared.putting, PUTTERS);
    f->options.no_background = false;
    fixture_open(f);
    unsigned n = 0;
    for (unsigned i = 0; i < PUTTERS; i++, n++)
        start(&members[n], f, i, put_all);
    for (unsigned i = 0; i < READERS; i++, n++)
        start(&members[n], f, i, read_all);
    start(&members[n], f, 0, look_all);
    for (unsigned i = 0; i <= n; i++)
        assert_int_equal(pthread_join(members[i].thread, NULL), 0);
    assert_int_equal(shared.problems, 0);
    assert_true(shared.reads > 0);
    fixture_close(f);
    f->options.no_background = true;
    fixture_open(f);
    fixture_assert_sound(f);
}

/* Closing does not wait until the cleaner is through. */
static void test_close_while_cleaning(void **state)
{
    struct fixture *f = *state;
    f->options.no_background = false;
    for (int round = 0; round < 20; round++) {
        fixture_open(f);
        for (int i = 0; i < 5; i++)
            assert_int_equal(fixture_put_text(f, "", "a", i % 2 ? "odd" : "even"), TW_OK);
        fixture_close(f);
    }
    f->options.no_background = true;
    fixture_open(f);
    fixture_assert_sound(f);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {T(test_all_at_once), T(test_close_while_cleaning)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
