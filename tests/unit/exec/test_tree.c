/* SPDX-License-Identifier: Apache-2.0 */
/* What a tree of real processes uses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "exec/tree.h"

enum { MIB = 1 << 20 };

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Burns, takes memory, says so, and stays. Its name is made to be taken for the fields behind it. */
static _Noreturn void grandchild(int ready)
{
    size_t len = 24 * MIB;
    char *memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (void)prctl(PR_SET_NAME, ") R 1 1 (x) 9 9");
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (memory != MAP_FAILED)
        memset(memory, 1, len);
    while (cpu_seconds() < 0.2)
        ;
    (void)!write(ready, "x", 1);
    for (;;)
        pause();
}

static void test_usage(void **state)
{
    int ready[2];
    char byte;
    struct tw_usage usage = {.minor_faults = 7};
    (void)state;
    assert_false(tree_usage(getpid(), &usage)); /* no children */
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_int_not_equal(child, -1);
    if (child == 0) {
        if (fork() == 0)
            grandchild(ready[1]);
        for (;;)
            pause();
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_true(tree_usage(getpid(), &usage));
    assert_in_range(usage.user_us + usage.system_us, 150 * 1000, 60 * 1000 * 1000);
    assert_in_range(usage.max_rss_bytes, 24 * MIB, 1024 * MIB);
    assert_int_equal(usage.minor_faults, 7); /* what is not known is left alone */
    assert_true(tree_usage(child, &usage));
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_false(tree_usage(child, &usage)); /* there is no such process */
    /* The grandchild held the other end. */
    assert_int_equal(read(ready[0], &byte, 1), 0);
    close(ready[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_usage)};
    return cmocka_run_group_tests_name("tree", tests, NULL, NULL);
}
