/* SPDX-License-Identifier: Apache-2.0 */
/* The result of a package, and what execution_log.txt says. */
#include "unit.h"

#include "package/result.h"
#include "python.h"

static ssize_t failing(void *arg, void *to, size_t max)
{
    (void)arg, (void)to, (void)max;
    return -EIO;
}

static ssize_t from_fd(void *arg, void *to, size_t max)
{
    ssize_t n = read(*(int *)arg, to, max);
    return n < 0 ? -errno : n;
}

static void a_whole_one(void **state)
{
    const struct folder *f = *state;
    struct tw_error error = {0};
    CLEANUP_FD int out = new_file();
    CLEANUP_PACKAGE_RESULT struct package_result *result = NULL;
    tree_file(f->root, "/out.txt", "hello");
    tree_file(f->root, "/log", "line 1\nline 2\n");
    CLEANUP_FD int file = openat(f->fd, "out.txt", O_RDONLY | O_CLOEXEC),
                   log = openat(f->fd, "log", O_RDONLY | O_CLOEXEC);
    uint64_t bytes = 0;
    assert_int_equal(package_result_new(&result, out, 0, &error), 0);
    assert_int_equal(package_result_add_folder(result, "a", &error), 0);
    assert_int_equal(package_result_add_file(result, "a/out.txt", file, 5, false, &error), 0);
    assert_int_equal(package_result_add_file(result, PACKAGE_TASK_LOGS, file, 5, false, &error), -1);
    assert_int_equal(error.code, TW_ALREADY_EXISTS);
    assert_int_equal(package_result_add_file(result, "../x", file, 5, false, &error), -1);
    assert_int_equal(error.code, TW_INVALID_ARGUMENT);
    assert_int_equal(package_result_add_text(result, PACKAGE_EXECUTION_LOG, "task_id: t\n", 11, &error), 0);
    assert_int_equal(package_result_add_source(result, PACKAGE_TASK_LOGS, from_fd, &log, &error), 0);
    assert_int_equal(package_result_add_text(result, PACKAGE_TASK_STOPPED, "", 0, &error), 0);
    assert_int_equal(package_result_end(result, &bytes, &error), 0);
    assert_int_equal(lseek(out, 0, SEEK_END), bytes);
    expect_python(out, "for i in z.infolist(): print(i.filename, z.read(i))",
        "a/ b''\n"
        "a/out.txt b'hello'\n"
        "execution_log.txt b'task_id: t\\n'\n"
        "task_logs.txt b'line 1\\nline 2\\n'\n"
        "task_stopped.txt b''\n");
}

static void through_a_pipe(void **state)
{
    struct tw_error error = {0};
    int ends[2];
    CLEANUP_PACKAGE_RESULT struct package_result *result = NULL;
    CLEANUP_FD int whole = new_file();
    static char bytes[32768];
    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(package_result_new(&result, ends[1], 0, &error), 0);
    assert_int_equal(package_result_add_text(result, "x", "text", 4, &error), 0);
    assert_int_equal(package_result_end(result, NULL, &error), 0);
    fd_close(&ends[1]);
    ssize_t n = fd_read_all(ends[0], bytes, sizeof bytes);
    fd_close(&ends[0]);
    assert_true(n > 0);
    assert_int_equal(fd_write_all(whole, bytes, (size_t)n), 0);
    expect_python(whole, "print(z.read('x'))", "b'text'\n");
}

static void a_source_that_fails(void **state)
{
    struct tw_error error = {0};
    CLEANUP_FD int out = new_file();
    CLEANUP_PACKAGE_RESULT struct package_result *result = NULL;
    (void)state;
    assert_int_equal(package_result_new(&result, out, 0, &error), 0);
    assert_int_equal(package_result_add_source(result, PACKAGE_TASK_LOGS, failing, NULL, &error), -1);
    assert_int_equal(error.sys_errno, EIO);
    assert_int_equal(package_result_end(result, NULL, &error), -1);
    assert_int_equal(error.sys_errno, EIO);
    assert_null(package_result_free(NULL));
}

static void the_execution_log(void **state)
{
    static const char whole[] = "task_id: t-1\n"
                                "node: n\n"
                                "status: FAILED\n"
                                "reason: exit_code\n"
                                "message: a  b: c\n"
                                "exit_code: -3\n"
                                "signal: 0\n"
                                "attempt: 2\n"
                                "started: 2023-11-14T22:13:20.000001Z\n"
                                "finished: -\n"
                                "wall_us: 7\n"
                                "user_us: 8\n"
                                "system_us: 0\n"
                                "max_rss_bytes: 0\n"
                                "peak_memory_bytes: 18446744073709551615\n";
    const struct package_execution e = {.task_id = "t-1",
        .node = "n",
        .status = "FAILED",
        .reason = "exit_code",
        .message = "a\n\x1b"
                   "b: c",
        .exit_code = -3,
        .attempt = 2,
        .started_us = 1700000000000001,
        .usage = {.wall_us = 7, .user_us = 8, .peak_memory_bytes = UINT64_MAX}};
    CLEANUP_BUF struct buf out = BUF_INIT(8192), none = BUF_INIT(8192), small = BUF_INIT(64);
    (void)state;
    assert_int_equal(package_execution_log(&e, &out), 0);
    assert_int_equal(buf_append_u8(&out, 0), 0);
    assert_int_equal(strncmp((const char *)out.data, whole, strlen(whole)), 0);
    assert_int_equal(package_execution_log(&(const struct package_execution){0}, &none), 0);
    assert_int_equal(buf_append_u8(&none, 0), 0);
    assert_int_equal(strncmp((const char *)none.data, "task_id:\nnode:\nstatus:\n", 23), 0);
    assert_int_equal(package_execution_log(&e, &small), -E2BIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FOLDER(a_whole_one),
        cmocka_unit_test(through_a_pipe),
        cmocka_unit_test(a_source_that_fails),
        cmocka_unit_test(the_execution_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
