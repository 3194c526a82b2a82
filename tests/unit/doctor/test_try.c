/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/try.h"

#define SECOND UINT64_C(1000000)

/* Orphans would become ours, and every test ends without children. */
static int become_subreaper(void **state)
{
    (void)state;
    return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

/* Grandchildren are killed with the rest; they come to us, and have to come dead. */
static void assert_no_children(void)
{
    uint64_t deadline = clock_monotonic_us() + 5 * SECOND;
    for (;;) {
        siginfo_t info = {0};
        int r = waitid(P_ALL, 0, &info, WEXITED | WNOHANG);
        if (r < 0 && errno == ECHILD)
            return;
        assert_true(clock_monotonic_us() < deadline);
    }
}

static void add_one(const void *arg, void *ret)
{
    *(int *)ret = *(const int *)arg + 1;
}

static void die(const void *arg, void *ret)
{
    (void)arg, (void)ret;
    (void)raise(SIGKILL);
}

static void hang_with_a_child(const void *arg, void *ret)
{
    (void)arg, (void)ret;
    (void)fork();
    for (;;)
        pause();
}

static void large(const void *arg, void *ret)
{
    (void)arg;
    memset(ret, 'x', 300000); /* more than a pipe holds */
}

static int seventeen(void *arg)
{
    (void)arg;
    return 17;
}

static int killed(void *arg)
{
    (void)arg;
    return raise(SIGKILL);
}

static void forks(const void *arg, void *ret)
{
    (void)arg;
    ((int *)ret)[0] = try_fork(seventeen, NULL);
    ((int *)ret)[1] = try_fork(killed, NULL);
}

static void answers_come_back(void **state)
{
    (void)state;
    static char big[300000];
    int in = 41, out = 0, two[2] = {0};
    assert_int_equal(try_run(5 * SECOND, add_one, &in, &out, sizeof out), 0);
    assert_int_equal(out, 42);
    assert_int_equal(try_run(5 * SECOND, large, NULL, big, sizeof big), 0);
    assert_int_equal(big[sizeof big - 1], 'x');
    assert_int_equal(try_run(5 * SECOND, forks, NULL, two, sizeof two), 0);
    assert_int_equal(two[0], 17);
    assert_int_equal(two[1], 255);
    assert_no_children();
}

/* As a parent may have left it to us. */
static void ignored_children_count_too(void **state)
{
    (void)state;
    int two[2] = {0};
    void (*before)(int) = signal(SIGCHLD, SIG_IGN);
    int r = try_run(5 * SECOND, forks, NULL, two, sizeof two);
    (void)signal(SIGCHLD, before);
    assert_int_equal(r, 0);
    assert_int_equal(two[0], 17);
    assert_int_equal(two[1], 255);
    assert_no_children();
}

static void death_is_told(void **state)
{
    (void)state;
    int out = 3;
    assert_int_equal(try_run(5 * SECOND, die, NULL, &out, sizeof out), -ECHILD);
    assert_int_equal(out, 3);
    assert_no_children();
}

static void hanging_ends_with_all_it_started(void **state)
{
    (void)state;
    int out = 3;
    uint64_t begin = clock_monotonic_us();
    assert_int_equal(try_run(SECOND / 10, hang_with_a_child, NULL, &out, sizeof out), -ETIMEDOUT);
    assert_true(clock_monotonic_us() - begin < 4 * SECOND);
    assert_int_equal(out, 3);
    assert_no_children();
    assert_int_equal(try_run(0, add_one, &out, &out, sizeof out), -ETIMEDOUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_come_back),
        cmocka_unit_test(ignored_children_count_too),
        cmocka_unit_test(death_is_told),
        cmocka_unit_test(hanging_ends_with_all_it_started),
    };
    return cmocka_run_group_tests(tests, become_subreaper, NULL);
}
