/* SPDX-License-Identifier: Apache-2.0 */
/* What another reader makes of an archive: Python's zipfile. To be included behind unit.h. */
#ifndef UNIT_PACKAGE_PYTHON_H
#define UNIT_PACKAGE_PYTHON_H

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>

/* An empty file without a name. */
static inline int new_file(void)
{
    int fd = memfd_create("archive", MFD_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

/* Runs these lines with `z`, a ZipFile of the archive, and returns what they print; it may be freed. Fails if they fail. */
static inline char *python_on_zip(int archive_fd, const char *lines)
{
    static const char head[] = "import os, sys, zipfile\nsys.stdout.reconfigure(encoding='utf-8', newline='\\n')\n"
                               "z = zipfile.ZipFile(os.fdopen(3, 'rb'))\nassert z.testzip() is None\n%s\n";
    int status, out[2];
    char *script = NULL;
    assert_true(asprintf(&script, head, lines) > 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    assert_int_equal(lseek(archive_fd, 0, SEEK_SET), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int in = fcntl(archive_fd, F_DUPFD_CLOEXEC, 10);
        if (dup2(out[1], 1) == 1 && in >= 0 && dup2(in, 3) == 3)
            execl("/usr/bin/python3", "python3", "-I", "-c", script, (char *)NULL);
        _exit(127);
    }
    fd_close(&out[1]);
    char *text = calloc(1, 1 << 20);
    assert_non_null(text);
    assert_true(fd_read_all(out[0], text, (1 << 20) - 1) >= 0);
    fd_close(&out[0]);
    assert_true(waitpid(pid, &status, 0) == pid);
    if (status != 0)
        fail_msg("status %d of:\n%s", status, script);
    free(script);
    return text;
}

static inline void expect_python(int archive_fd, const char *lines, const char *printed)
{
    char *text = python_on_zip(archive_fd, lines);
    assert_string_equal(text, printed);
    free(text);
}

#endif
