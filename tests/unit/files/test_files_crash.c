/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kill -9: at every single step of a few calls, and at any moment while several threads put, read and delete. What was
 * acknowledged is there in the next life, what was not is there as a whole or not at all, and nothing is left over.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "script.h"
#include "steps.h"

/* True: it was killed; false: it came to its end. */
static bool was_killed(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
        fail_msg("the child failed: %d", WEXITSTATUS(status));
    return WIFSIGNALED(status);
}

/* --- at every step --- */

/* Opening looks for each of the 256 folders, one like the other. */
static int step_after(int step)
{
    return step < 10 || step > 250 ? 1 : 24;
}

static void run_script(struct fixture *f, int out, int step)
{
    steps_arm(step, STEPS_KILL, 0);
    if (tw_storage_open(&f->options, &f->s, &f->error) < 0)
        _exit(1);
    for (int i = 0; i < SCRIPT_CALLS; i++) {
        if (script_call(f, i) != TW_OK || fd_write_all(out, "x", 1) < 0)
            _exit(2);
    }
    tw_storage_close(f->s);
    _exit(0);
}

static void test_kill_at_every_step(void **state)
{
    struct fixture *f = *state;
    fixture_open(f); /* so that the folders are there */
    fixture_close(f);
    bool killed = true;
    int step = 0;
    for (; killed; step += step_after(step)) {
        int fds[2];
        char acks[SCRIPT_CALLS + 1];
        assert_int_equal(pipe(fds), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            close(fds[0]);
            run_script(f, fds[1], step);
        }
        close(fds[1]);
        killed = was_killed(child);
        ssize_t n = fd_read_all(fds[0], acks, sizeof acks);
        close(fds[0]);
        fixture_open(f);
        if (!script_is_at(f, (int)n) && !script_is_at(f, (int)n + 1))
            fail_msg("killed at step %d after %d calls: something else is there", step, (int)n);
        script_reset(f);
        fixture_close(f);
    }
    assert_true(step > 300);
    print_message("killed at each of %d steps\n", step - 1);
}

static void test_kill_while_it_is_made(void **state)
{
    struct fixture *f = *state;
    bool killed = true;
    int step = 0;
    for (; killed; step += step_after(step)) {
        char path[80];
        snprintf(path, sizeof path, "%s/files%d", f->folder, step);
        f->options.path = path;
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            steps_arm(step, STEPS_KILL, 0);
            if (tw_storage_open(&f->options, &f->s, &f->error) < 0)
                _exit(1);
            tw_storage_close(f->s);
            _exit(0);
        }
        killed = was_killed(child);
        snprintf(f->path, sizeof f->path, "%s", path);
        fixture_open(f);
        assert_int_equal(fixture_put_text(f, "", "a", "works"), TW_OK);
        fixture_assert_sound(f);
        fixture_close(f);
    }
    assert_true(step > 256);
}

/* --- at any moment --- */

enum { ROUNDS = 12, THREADS = 3, NAMES = 5, LEN_MAX = 60000 };

/* Each thread has names of its own, whose contents say which put they come from. */
struct promise {
    uint32_t thread, name, number; /* number 0: deleted */
};

struct putter {
    struct fixture *f;
    pthread_t thread;
    uint32_t n, base;
    int out;
};

static size_t content_of(const struct promise *p, char *data)
{
    /* Every fourth is the same for all threads. */
    uint64_t seed = p->number % 4 == 0 ? p->number : (uint64_t)p->number * THREADS + p->thread;
    size_t len = 100 + (size_t)(seed * 7919 % (LEN_MAX - 100));
    fixture_fill(data, len, seed);
    return len;
}

static void name_of(const struct promise *p, char name[40])
{
    snprintf(name, 40, "t%u/n%u", p->thread, p->name);
}

static void *keep_putting(void *arg)
{
    struct putter *me = arg;
    struct fixture f = *me->f; /* with an error of its own */
    char *data = malloc(LEN_MAX), name[40];
    assert_non_null(data);
    for (uint32_t i = me->base;; i++) {
        struct promise p = {.thread = me->n, .name = i % NAMES, .number = i % 7 == 0 ? 0 : i};
        name_of(&p, name);
        size_t len = content_of(&p, data);
        enum tw_code code = p.number ? fixture_put(&f, "ann", name, data, len) : fixture_delete(&f, "ann", name);
        if ((code != TW_OK && (p.number || code != TW_NOT_FOUND)) || fd_write_all(me->out, &p, sizeof p) < 0)
            _exit(3);
    }
    _exit(4);
}

static void work(struct fixture *f, int out, uint32_t base)
{
    struct putter putters[THREADS];
    f->options.no_background = false;
    if (tw_storage_open(&f->options, &f->s, &f->error) < 0)
        _exit(5);
    for (uint32_t i = 0; i < THREADS; i++) {
        putters[i] = (struct putter){.f = f, .n = i, .base = base, .out = out};
        if (pthread_create(&putters[i].thread, NULL, keep_putting, &putters[i]) != 0)
            _exit(6);
    }
    for (uint32_t i = 0; i < THREADS; i++)
        pthread_join(putters[i].thread, NULL);
    _exit(7);
}

static bool holds(struct fixture *f, const struct promise *p)
{
    char *data = malloc(LEN_MAX), name[40];
    assert_non_null(data);
    name_of(p, name);
    size_t len = content_of(p, data);
    const struct tw_file_ref ref = {.owner = "ann", .name = name};
    struct tw_file_info info = {0};
    bool there = tw_storage_find(f->s, &ref, &info, &f->error) == 0;
    bool same = there && info.size == len && fixture_get(f, "ann", name, data, len) == TW_OK;
    tw_file_info_done(&info);
    free(data);
    return p->number ? same : !there;
}

/*
 * The last that was promised of a name, or else the next of its thread, if that was of this name: it was under way, and may be
 * there though nobody was told. It counts as promised from then on.
 */
static void check_name(struct fixture *f, struct promise *last, uint32_t next)
{
    const struct promise under_way = {.thread = last->thread, .name = last->name, .number = next % 7 == 0 ? 0 : next};
    if (holds(f, last))
        return;
    if (next % NAMES != last->name || !holds(f, &under_way))
        fail_msg("t%u/n%u is not what was promised (%u)", last->thread, last->name, last->number);
    *last = under_way;
}

static void test_kill_at_any_moment(void **state)
{
    struct fixture *f = *state;
    struct promise last[THREADS][NAMES] = {0};
    uint32_t base = 1, next[THREADS];
    for (uint32_t t = 0; t < THREADS; t++) {
        for (uint32_t i = 0; i < NAMES; i++)
            last[t][i] = (struct promise){.thread = t, .name = i};
    }
    for (int round = 0; round < ROUNDS; round++) {
        int fds[2];
        assert_int_equal(pipe(fds), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            close(fds[0]);
            work(f, fds[1], base);
        }
        close(fds[1]);
        for (uint32_t t = 0; t < THREADS; t++)
            next[t] = base;
        uint16_t random = 0;
        (void)!getrandom(&random, sizeof random, 0);
        struct promise p;
        for (unsigned i = 0; fd_read_all(fds[0], &p, sizeof p) == sizeof p; i++) {
            if (i == random % 60u)
                assert_int_equal(kill(child, SIGKILL), 0);
            last[p.thread][p.name] = p;
            next[p.thread]++;
        }
        close(fds[0]);
        assert_true(was_killed(child));
        fixture_open(f);
        for (uint32_t t = 0; t < THREADS; t++) {
            for (uint32_t i = 0; i < NAMES; i++)
                check_name(f, &last[t][i], next[t]);
        }
        fixture_assert_sound(f);
        fixture_close(f);
        for (uint32_t t = 0; t < THREADS; t++)
            base = MAX(base, next[t] + 1);
    }
    print_message("%u puts of each thread over %d crashes\n", base, ROUNDS);
}

int main(void)
{
    steps_init();
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(test_kill_at_every_step),
        T(test_kill_while_it_is_made),
        T(test_kill_at_any_moment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
