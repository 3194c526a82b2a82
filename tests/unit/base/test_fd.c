/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

static char folder[] = "/tmp/test_fd_XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder); /* fails when a test left a file */
}

static const char *path_of(const char *name)
{
    static char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void close_forgets_and_keeps_errno(void **state)
{
    (void)state;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int number = fd;
    errno = 1234;
    fd_close(&fd);
    assert_int_equal(errno, 1234);
    assert_int_equal(fd, -1);
    assert_int_equal(fcntl(number, F_GETFD), -1);
    fd_close(&fd);

    fd = 5;
    assert_int_equal(fd_steal(&fd), 5);
    assert_int_equal(fd, -1);
}

/* In a child, since cmocka speaks through the descriptors in question. Ends with the number of the check that failed. */
static int closed_standard_in_child(void)
{
    for (int fd = 0; fd <= 2; fd += 2) /* not the one between them */
        close(fd);
    if (fd_occupy_standard() < 0)
        return 1;
    int next = open("/dev/null", O_RDWR | O_CLOEXEC);
    char byte;
    if (next <= STDERR_FILENO)
        return 2;
    if (read(STDIN_FILENO, &byte, 1) != -1 || errno != EBADF)
        return 3;
    if (write(STDERR_FILENO, "x", 1) != -1 || errno != EBADF)
        return 4;
    close(next);
    if (fd_occupy_standard() < 0 || open("/dev/null", O_RDWR | O_CLOEXEC) != next)
        return 5; /* took one where none was missing */
    return 0;
}

static void closed_standard_descriptors_are_occupied(void **state)
{
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(closed_standard_in_child());
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void pipes_carry_all(void **state)
{
    (void)state;
    int p[2];
    assert_int_equal(pipe2(p, O_CLOEXEC), 0);
    assert_int_equal(fd_write_all(p[1], "hello", 5), 0);
    fd_close(&p[1]);
    char got[10];
    assert_int_equal(fd_read_all(p[0], got, sizeof got), 5); /* the end of the file, not an error */
    assert_memory_equal(got, "hello", 5);
    fd_close(&p[0]);
    assert_int_equal(fd_write_all(-1, "x", 1), -EBADF);
    assert_int_equal(fd_read_all(-1, got, 1), -EBADF);
}

static void flags_go_on_and_off(void **state)
{
    (void)state;
    CLEANUP_FD int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_int_equal(fd_set_nonblocking(fd, true), 0);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_int_equal(fd_set_nonblocking(fd, false), 0);
    assert_false(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_int_equal(fd_set_cloexec(fd, false), 0);
    assert_int_equal(fcntl(fd, F_GETFD), 0);
    assert_int_equal(fd_set_cloexec(fd, true), 0);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(fd_set_nonblocking(-1, true), -EBADF);
    assert_int_equal(fd_set_cloexec(-1, true), -EBADF);
}

static void sealed_memfd_cannot_change(void **state)
{
    (void)state;
    CLEANUP_FD int fd = fd_sealed_memfd("test", "payload", 7);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    char got[10];
    assert_int_equal(fd_read_all(fd, got, sizeof got), 7);
    assert_memory_equal(got, "payload", 7);
    assert_int_equal(fd_write_all(fd, "x", 1), -EPERM);
    assert_int_equal(ftruncate(fd, 0), -1);
    assert_ptr_equal(mmap(NULL, 7, PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
}

static void atomic_write_and_read_back(void **state)
{
    (void)state;
    const char *path = path_of("file");
    assert_int_equal(file_write_atomic(path, "one", 3, 0600), 0);
    assert_int_equal(file_write_atomic(path, "second", 6, 0600), 0);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);

    CLEANUP_FREE char *got = NULL;
    size_t len = 0;
    assert_int_equal(file_read(path, 6, &got, &len), 0); /* exactly at the limit */
    assert_int_equal(len, 6);
    assert_string_equal(got, "second");
    CLEANUP_FREE char *unlimited = NULL;
    assert_int_equal(file_read(path, SIZE_MAX, &unlimited, NULL), 0);
    assert_string_equal(unlimited, "second");
    char *untouched = (char *)path;
    assert_int_equal(file_read(path, 5, &untouched, NULL), -EFBIG);
    assert_ptr_equal(untouched, path);
    assert_int_equal(unlink(path), 0);
}

static void failed_atomic_write_leaves_the_old(void **state)
{
    (void)state;
    const char *path = path_of("taken");
    assert_int_equal(mkdir(path, 0700), 0); /* a folder cannot be replaced by a file */
    assert_true(file_write_atomic(path, "x", 1, 0600) < 0);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(file_write_atomic(path_of("no/such/folder"), "x", 1, 0600), -ENOENT);
    char endless[5000];
    memset(endless, 'a', sizeof endless);
    endless[sizeof endless - 1] = '\0';
    assert_int_equal(file_write_atomic(endless, "x", 1, 0600), -ENAMETOOLONG);

    DIR *dir = opendir(folder); /* no temporary file is left */
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir));)
        assert_true(e->d_name[0] == '.');
    closedir(dir);
}

static void read_of_odd_things(void **state)
{
    (void)state;
    char *got = NULL;
    size_t len = 99;
    assert_int_equal(file_read(path_of("none"), 10, &got, &len), -ENOENT);
    assert_int_equal(file_read(folder, 10, &got, &len), -EISDIR);
    assert_int_equal(file_read("/dev/zero", 100000, &got, &len), -EFBIG); /* no size to trust, and no end */
    assert_null(got);
    assert_int_equal(file_read("/dev/null", 0, &got, &len), 0);
    assert_int_equal(len, 0);
    free(got);
    assert_int_equal(file_read("/proc/self/status", SIZE_MAX, &got, &len), 0); /* says that it has 0 bytes */
    assert_true(len > 0);
    assert_int_equal(strlen(got), len);
    free(got);
    /* Says so too, and can be read in one piece only. */
    assert_int_equal(file_read("/proc/sys/kernel/pid_max", 100, &got, &len), 0);
    assert_true(len > 2 && got[len - 1] == '\n');
    free(got);
}

static void large_files_grow_to_the_limit(void **state)
{
    (void)state;
    enum { SIZE = 300000 };
    CLEANUP_FREE char *data = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        data[i] = (char)('a' + i % 26);
    const char *path = path_of("large");
    assert_int_equal(file_write_atomic(path, data, SIZE, 0600), 0);
    static const size_t limits[] = {SIZE, SIZE + 1, SIZE * 10};
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        CLEANUP_FREE char *got = NULL;
        size_t len = 0;
        assert_int_equal(file_read(path, limits[i], &got, &len), 0);
        assert_int_equal(len, SIZE);
        assert_memory_equal(got, data, SIZE);
    }
    char *got = NULL;
    assert_int_equal(file_read(path, SIZE - 1, &got, NULL), -EFBIG);
    assert_int_equal(unlink(path), 0);
}

/* Two openings of one file keep each other out, in one process too; closing a third does not let go. */
static void locks_are_of_the_open_file(void **state)
{
    (void)state;
    const char *path = path_of("lock");
    int first = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), second = open(path, O_RDWR | O_CLOEXEC);
    int third = open(path, O_RDWR | O_CLOEXEC);
    assert_true(first >= 0 && second >= 0 && third >= 0);
    assert_int_equal(fd_lock(first, 0), 0);
    assert_int_equal(fd_lock(first, 0), 0);
    assert_int_equal(fd_lock(second, 1), -EAGAIN);
    close(third);
    assert_int_equal(fd_lock(second, 0), -EAGAIN);
    close(first);
    assert_int_equal(fd_lock(second, 0), 0);
    close(second);
    assert_int_equal(fd_lock(second, 0), -EBADF);
    assert_int_equal(unlink(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(close_forgets_and_keeps_errno),
        cmocka_unit_test(closed_standard_descriptors_are_occupied),
        cmocka_unit_test(pipes_carry_all),
        cmocka_unit_test(flags_go_on_and_off),
        cmocka_unit_test(sealed_memfd_cannot_change),
        cmocka_unit_test(atomic_write_and_read_back),
        cmocka_unit_test(failed_atomic_write_leaves_the_old),
        cmocka_unit_test(read_of_odd_things),
        cmocka_unit_test(large_files_grow_to_the_limit),
        cmocka_unit_test(locks_are_of_the_open_file),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
