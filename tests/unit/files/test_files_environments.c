/* SPDX-License-Identifier: Apache-2.0 */
/* What was installed for packages: whole, or not there. */
#include "fixture.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "files/environments.h"
#include "files/inputs.h"

#define NUMBER (ENVIRONMENTS_BIT | 5)

struct seen {
    size_t n;
    struct environment_info last;
};

static void on_found(void *ctx, const struct environment_info *info)
{
    struct seen *seen = ctx;
    seen->n++;
    seen->last = *info;
}

static struct seen list(struct fixture *f)
{
    struct seen seen = {0};
    assert_int_equal(environments_list(f->s, on_found, &seen), 0);
    return seen;
}

/* A file with a time of its own, for environment_add(). */
static int source(const char *text)
{
    int fd = memfd_create("source", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
    assert_int_equal(futimens(fd, (const struct timespec[]){{.tv_sec = 1000}, {.tv_sec = 1000}}), 0);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static int add(struct fixture *f, int folder, const char *path, const char *text, bool executable)
{
    uint64_t bytes = 0;
    CLEANUP_FD int from = source(text);
    int r = environment_add(f->s, folder, path, from, executable, &bytes, &f->error);
    if (r == 0)
        assert_int_equal(bytes, strlen(text));
    return r;
}

static struct stat stat_of(struct fixture *f, const char *path)
{
    char full[300];
    struct stat st;
    snprintf(full, sizeof full, "%s/inputs/8000000000000005/%s", f->path, path);
    assert_int_equal(stat(full, &st), 0);
    return st;
}

static void make(struct fixture *f)
{
    struct environment_info info = {.number = NUMBER, .key = {1, 2, 0xff}, .bytes = 7};
    CLEANUP_FD int folder = environment_begin(f->s, NUMBER, &f->error);
    assert_true(folder >= 0);
    assert_int_equal(add(f, folder, "pack/__init__.py", "n = 1\n", false), 0);
    assert_int_equal(add(f, folder, "bin/tool", "x", true), 0);
    assert_int_equal(environment_finish(f->s, &info, &f->error), 0);
}

static void test_made_and_found(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    make(f);
    assert_int_equal(stat_of(f, "pack/__init__.py").st_mode & 07777, 0444);
    assert_int_equal(stat_of(f, "pack/__init__.py").st_mtim.tv_sec, 1000); /* a compiled module asks for that */
    assert_int_equal(stat_of(f, "bin/tool").st_mode & 07777, 0555);
    assert_int_equal(stat_of(f, "pack").st_mode & 07777, 0755);
    fixture_close(f);
    fixture_open(f);
    struct seen seen = list(f);
    assert_int_equal(seen.n, 1);
    assert_int_equal(seen.last.number, NUMBER);
    assert_int_equal(seen.last.bytes, 7);
    assert_int_equal(seen.last.key[2], 0xff);
    assert_true(seen.last.used_us > 0);
    assert_int_equal(environment_remove(f->s, NUMBER, &f->error), 0);
    assert_int_equal(environment_remove(f->s, NUMBER, &f->error), 0);
    assert_int_equal(list(f).n, 0);
    assert_int_equal(fixture_count(f, "inputs"), 0);
}

static void on_set(void *ctx, uint64_t set)
{
    (void)set;
    ++*(unsigned *)ctx;
}

static void test_it_is_no_set_of_inputs(void **state)
{
    struct fixture *f = *state;
    unsigned sets = 0;
    fixture_open(f);
    make(f);
    assert_int_equal(inputs_list(f->s, on_set, &sets), 0);
    assert_int_equal(sets, 0);
}

static void write_label(struct fixture *f, const char *text)
{
    char full[300];
    snprintf(full, sizeof full, "%s/inputs/8000000000000005.env", f->path);
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    fclose(file);
}

/* What a crash has left, or somebody has written. */
static void test_what_is_not_whole_goes(void **state)
{
    static const char *const labels[] = {"", "no label\n", "0102 7\n",
        "0102ff0000000000000000000000000000000000000000000000000000000000 7",
        "0102ff0000000000000000000000000000000000000000000000000000000000 x\n",
        "0102FF0000000000000000000000000000000000000000000000000000000000 7\n"};
    struct fixture *f = *state;
    fixture_open(f);
    for (size_t i = 0; i < ARRAY_LEN(labels); i++) {
        make(f);
        write_label(f, labels[i]);
        assert_int_equal(list(f).n, 0);
        assert_int_equal(fixture_count(f, "inputs"), 0);
    }
    make(f);
    write_label(f, "0102ff0000000000000000000000000000000000000000000000000000000000 9\n");
    assert_int_equal(list(f).last.bytes, 9);
    assert_int_equal(environment_remove(f->s, NUMBER, &f->error), 0);
    CLEANUP_FD int folder = environment_begin(f->s, NUMBER, &f->error);
    assert_int_equal(add(f, folder, "half.py", "x", false), 0);
    assert_int_equal(list(f).n, 0); /* it was never finished */
    assert_int_equal(fixture_count(f, "inputs"), 0);
    write_label(f, "0102ff0000000000000000000000000000000000000000000000000000000000 7\n");
    assert_int_equal(list(f).n, 0); /* a label of nothing */
    assert_int_equal(fixture_count(f, "inputs"), 0);
}

static void test_paths_that_cannot_be(void **state)
{
    static const char *const paths[] = {"", "/etc/x", "../x", "a/../../x", "a//b", "a/./b", "a\nb", "a\377"};
    struct fixture *f = *state;
    fixture_open(f);
    CLEANUP_FD int folder = environment_begin(f->s, NUMBER, &f->error);
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        assert_int_equal(add(f, folder, paths[i], "x", false), -1);
    assert_int_equal(add(f, folder, "a", "x", false), 0);
    assert_int_equal(add(f, folder, "a", "y", false), -1); /* twice */
    assert_int_equal(add(f, folder, "a/b", "y", false), -1);
    assert_int_equal(environment_begin(f->s, NUMBER, &f->error), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_made_and_found, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_it_is_no_set_of_inputs, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_what_is_not_whole_goes, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_paths_that_cannot_be, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
