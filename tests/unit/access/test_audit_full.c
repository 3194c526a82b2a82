/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A full disk that is one: a small tmpfs in a mount namespace of this process. Where no namespace can be had the test says so and is
 * skipped, but with CI set in the environment it fails.
 */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <pthread.h>
#include <sys/mount.h>
#include <unistd.h>

#include "audit_fixture.h"
#include "base/clock.h"

static int own_namespace(void)
{
    if (unshare(CLONE_NEWNS) == 0)
        return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    char map[64];
    snprintf(map, sizeof map, "%u %u 1", (unsigned)geteuid(), (unsigned)geteuid());
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
        return -1;
    int fd = open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC);
    int r = fd < 0 ? -1 : fd_write_all(fd, map, strlen(map));
    fd_close(&fd);
    return r;
}

static int setup(void **state)
{
    fixture_setup(state);
    struct fixture *f = *state;
    return mount("none", f->root, "tmpfs", 0, "size=1m,mode=0700");
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    fixture_close(f);
    umount2(f->root, MNT_DETACH);
    return fixture_teardown(state);
}

/* Takes all the room that is left. */
static void fill(struct fixture *f)
{
    char path[100], block[4096] = {1};
    snprintf(path, sizeof path, "%s/filler", f->root);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    while (fd_write_all(fd, block, sizeof block) == 0)
        ;
    close(fd);
}

static void make_room(struct fixture *f)
{
    char path[100];
    snprintf(path, sizeof path, "%s/filler", f->root);
    assert_int_equal(unlink(path), 0);
}

struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool done;
    int result;
};

static void on_done(void *ctx, int result)
{
    struct waiter *w = ctx;
    pthread_mutex_lock(&w->lock);
    w->done = true;
    w->result = result;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

static int write_durable(struct fixture *f)
{
    struct waiter w = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    char detail[400];
    memset(detail, 'x', sizeof detail - 1);
    detail[sizeof detail - 1] = '\0';
    const struct audit_record record = {.user = "root", .action = "token.add", .detail = detail};
    assert_int_equal(audit_write(f->audit, &record, AUDIT_DURABLE, on_done, &w), 0);
    pthread_mutex_lock(&w.lock);
    while (!w.done)
        pthread_cond_wait(&w.cond, &w.lock);
    pthread_mutex_unlock(&w.lock);
    return w.result;
}

static struct audit_stats stats_of(struct fixture *f)
{
    struct audit_stats stats;
    audit_get_stats(f->audit, &stats);
    return stats;
}

/* Until nothing is lost that the log does not know of. */
static void wait_until_said(struct fixture *f)
{
    uint64_t until = clock_monotonic_us() + 20000000;
    while (stats_of(f).lost > 0) {
        if (clock_monotonic_us() > until)
            fail_msg("the log does not go on");
        (void)poll(NULL, 0, 10);
    }
}

static void test_durable_ones_are_refused_others_counted(void **state)
{
    struct fixture *f = *state;
    unsigned written = 0;
    fixture_open(f);
    assert_int_equal(audit_flush(f->audit), 0);
    fill(f);
    int r;
    while ((r = write_durable(f)) == 0)
        written++; /* into what is left of the last page */
    assert_int_equal(r, -ENOSPC);
    assert_true(written < 20);
    for (unsigned i = 0; i < 50; i++)
        assert_int_equal(fixture_write(f, "ann", "task.submit", "x"), 0);
    assert_true(audit_flush(f->audit) < 0 || stats_of(f).lost == 0);
    struct audit_stats stats = stats_of(f);
    uint64_t lost = stats.lost;
    assert_true(lost > 0 && lost <= 50);
    assert_int_equal(stats.refused, 1);
    assert_int_equal(stats.error, -ENOSPC);
    fixture_assert_sound(f); /* what is there is whole */
    make_room(f);
    wait_until_said(f);
    assert_int_equal(write_durable(f), 0);
    assert_int_equal(stats_of(f).error, 0);
    fixture_close(f);
    fixture_assert_sound(f);
    assert_int_equal(fixture_count(f, &(struct audit_filter){.action_prefix = "token.add"}), written + 1);
    assert_int_equal(fixture_count(f, &(struct audit_filter){.action_prefix = "task.submit"}), 50 - lost);
    assert_int_equal(fixture_count(f, &(struct audit_filter){.action_prefix = "audit.lost"}), 1);
}

/* A daemon that ends and starts on a full disk, and has a file to rotate. */
static void test_opening_and_rotating(void **state)
{
    struct fixture *f = *state;
    f->options.max_file_bytes = 2000;
    f->options.keep_files = 3;
    fixture_open(f);
    fixture_write_many(f, 5);
    fill(f);
    while (write_durable(f) == 0)
        ;
    fixture_close(f);
    fixture_assert_sound(f);
    fixture_open(f);
    while (write_durable(f) == 0)
        ;
    fixture_assert_sound(f);
    make_room(f);
    uint64_t until = clock_monotonic_us() + 20000000;
    while (write_durable(f) < 0)
        assert_true(clock_monotonic_us() < until);
    fixture_write_many(f, 30);
    fixture_close(f);
    fixture_assert_sound(f);
}

static void test_first_start(void **state)
{
    struct fixture *f = *state;
    fill(f);
    assert_int_equal(audit_open(&f->options, &f->audit, &f->error), -1);
    assert_int_equal(f->error.sys_errno, ENOSPC);
    make_room(f);
    fixture_open(f);
    assert_int_equal(write_durable(f), 0);
    fixture_close(f);
    fixture_assert_sound(f);
}

int main(void)
{
    if (own_namespace() < 0) {
        fprintf(stderr, "SKIPPED: no mount namespace for a small disk: %s\n", strerror(errno));
        return getenv("CI") ? 1 : 77;
    }
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_durable_ones_are_refused_others_counted), T(test_opening_and_rotating), T(test_first_start)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
