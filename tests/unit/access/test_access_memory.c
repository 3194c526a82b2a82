/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No memory. The accounts' own allocations (linked with --wrap) and SQLite's (its own hook) fail at the n-th, for every n that a row
 * of calls reaches: a call that says it has failed has changed nothing, and goes well when there is memory again.
 */
#include <sqlite3.h>

#include "script.h"

static int left = -1; /* allocations until the failure; negative: none is due */

static bool fails(void)
{
    return left >= 0 && left-- == 0;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__wrap_strdup(const char *s);

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}
void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}
void *__wrap_realloc(void *old, size_t size)
{
    return fails() ? NULL : __real_realloc(old, size);
}
char *__wrap_strdup(const char *s)
{
    return fails() ? NULL : __real_strdup(s);
}

static sqlite3_mem_methods sqlite_memory;

static void *sqlite_malloc(int size)
{
    return fails() ? NULL : sqlite_memory.xMalloc(size);
}
static void *sqlite_realloc(void *old, int size)
{
    return fails() ? NULL : sqlite_memory.xRealloc(old, size);
}

static int install(void **state UNUSED)
{
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &sqlite_memory), SQLITE_OK);
    sqlite3_mem_methods ours = sqlite_memory;
    ours.xMalloc = sqlite_malloc;
    ours.xRealloc = sqlite_realloc;
    return sqlite3_config(SQLITE_CONFIG_MALLOC, &ours);
}

/* Since a call that fails changes nothing, it can be made until it goes well; how often it failed. */
static int call_with_failures(struct fixture *f, int i)
{
    int failed = 0;
    for (int n = 0;; n++) {
        left = n;
        int r = script_call(f, i);
        bool met = left < 0;
        left = -1;
        if (r == 0 && (!met || i > 0)) /* SQLite has done without it, or all was there */
            return failed;
        if (r == 0) { /* opened for all that: again, there is more of it */
            fixture_close(f);
            continue;
        }
        assert_true(met);
        assert_int_equal(f->error.code, TW_RESOURCE_EXHAUSTED);
        assert_string_equal(script_state(f).text, script_expected[i].text);
        failed++;
    }
}

static void test_every_allocation(void **state)
{
    struct fixture *f = *state;
    int failed = 0;
    script_expect();
    for (int i = 0; i < SCRIPT_CALLS; i++) {
        failed += call_with_failures(f, i);
        assert_string_equal(script_state(f).text, script_expected[i + 1].text);
    }
    assert_true(failed > 100);
    fixture_reopen(f);
    assert_string_equal(script_state(f).text, script_expected[SCRIPT_CALLS].text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_allocation, fixture_setup, fixture_teardown)};
    return cmocka_run_group_tests(tests, install, NULL);
}
