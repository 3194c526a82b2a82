/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A task that is a package. Nobody but the task itself ever opens it: in its sandbox, confined, once it was let go, so that what that
 * takes is the task's. It is done by a child, since libarchive and what comes with it shall not stay in the interpreter.
 */
#include "slot/slot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"
#include "package/entry.h"
#include "package/requirements.h"
#include "package/unpack.h"

enum { WHY_MAX = PROTOCOL_DETAIL_MAX - 1 };

static const char required[] = "requirements.txt", wheels[] = "wheels", own_wheels[] = "/tmp/.hivemind-packages",
                  environment[] = "/environment";

/* A sentence that fits, and is text, whatever is in it. */
static int fail(struct slot_error *error, int err, const char *why)
{
    CLEANUP_FREE char *text = text_line(why, strlen(why), WHY_MAX);
    errno = err;
    return slot_error_set(error, STAGE_PACKAGE, "%s", text ? text : "out of memory");
}

static int wait_for(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return -1;
    }
    return status;
}

static _Noreturn void unpack_in_child(int source, int report)
{
    struct tw_error error = {0};
    const struct package_limits limits = {0}; /* the workspace has its size */
    int folder = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        error_set_errno(&error, errno, "cannot open the workspace");
    if (folder >= 0 && package_unpack(source, folder, &limits, NULL, &error) == 0)
        _exit(0);
    (void)fd_write_all(report, error.message, strlen(error.message));
    _exit(1);
}

static int unpack(int source, struct slot_error *error)
{
    int pipe[2];
    char why[sizeof((struct tw_error *)0)->message];
    if (pipe2(pipe, O_CLOEXEC) < 0)
        return fail(error, errno, "a pipe");
    pid_t pid = fork();
    if (pid == 0)
        unpack_in_child(source, pipe[1]);
    int err = errno;
    close(pipe[1]);
    CLEANUP_FD int from = pipe[0];
    if (pid < 0)
        return fail(error, err, "a process to unpack it");
    ssize_t n = fd_read_all(from, why, sizeof why - 1);
    why[MAX(n, (ssize_t)0)] = '\0';
    int status = wait_for(pid);
    if (status == 0)
        return 0;
    if (n <= 0)
        snprintf(
            why, sizeof why, "the package could not be unpacked: what did so was killed, perhaps for want of memory");
    return fail(error, EINVAL, why);
}

/* --- what it requires --- */

/* More than comments in it. */
static bool names_something(const char *text)
{
    for (; *text; text += strcspn(text, "\n"), text += *text == '\n') {
        text += strspn(text, " \t\r");
        if (*text && *text != '#' && *text != '\n')
            return true;
    }
    return false;
}

static bool brings_wheels(void)
{
    struct stat st;
    return stat(wheels, &st) == 0 && S_ISDIR(st.st_mode);
}

static _Noreturn void install_in_child(const char *python)
{
    const char *const argv[] = {python, "-I", "-m", "pip", "install", "--quiet", "--no-input", "--no-index",
        "--only-binary=:all:", "--no-cache-dir", "--disable-pip-version-check", "--no-compile", "--find-links", wheels,
        "--target", own_wheels, "-r", required, NULL};
    const char *const env[] = {"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/tmp", "LANG=C.UTF-8", "TMPDIR=/tmp", NULL};
    (void)dup2(STDERR_FILENO, STDOUT_FILENO);
    execve(python, (char *const *)argv, (char *const *)env);
    dprintf(STDERR_FILENO, "cannot start %s: %s\n", python,
        strerror(errno)); /* NOLINT(concurrency-mt-unsafe): one thread */
    _exit(127);
}

static int install(const char *python, struct slot_error *error)
{
    if (!brings_wheels())
        return fail(error, EINVAL,
            "its requirements.txt names packages, but it brings no folder wheels/ with them, and this node fetches "
            "none (PACKAGE_INDEX)");
    pid_t pid = fork();
    if (pid == 0)
        install_in_child(python);
    if (pid < 0)
        return fail(error, errno, "a process to install what it requires");
    int status = wait_for(pid);
    return status == 0
        ? 0
        : fail(error, EINVAL,
              "what its requirements.txt names could not be installed from its wheels/: see the log for why");
}

/* Its text, if it names something; else NULL. */
static int read_requirements(char **ret, size_t *ret_len, struct slot_error *error)
{
    CLEANUP_FREE char *text = NULL;
    int r = file_read(required, REQUIREMENTS_BYTES_MAX, &text, ret_len);
    *ret = NULL;
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return fail(error, -r,
            r == -EFBIG ? "its requirements.txt has more than 256 KiB" : "its requirements.txt cannot be read");
    if (names_something(text))
        *ret = STEAL(text);
    return 0;
}

/* *ret_where: where that can be imported from; "": it requires nothing. */
static int require(const char *python, bool installed, const char **ret_where, struct slot_error *error)
{
    CLEANUP_FREE char *text = NULL;
    size_t len;
    *ret_where = installed ? environment : "";
    if (installed)
        return 0;
    if (read_requirements(&text, &len, error) < 0)
        return -1;
    if (!text)
        return 0;
    *ret_where = own_wheels;
    return install(python, error);
}

/* --- all of it --- */

static int set_paths(const struct package_entry *entry, const char *installed, struct slot_package *ret)
{
    int n = snprintf(ret->folder, sizeof ret->folder, "/workspace%s%s", *entry->folder ? "/" : "", entry->folder);
    if (n < 0 || (size_t)n >= sizeof ret->folder)
        return -1;
    n = snprintf(ret->python_path, sizeof ret->python_path, "%s%s%s", ret->folder, *installed ? ":" : "", installed);
    return n < 0 || (size_t)n >= sizeof ret->python_path ? -1 : 0;
}

/* Unpacks it, and goes to where it works. */
static int enter(int source, struct package_entry *ret, struct slot_error *error)
{
    struct tw_error why = {0};
    if (unpack(source, error) < 0)
        return -1;
    CLEANUP_FD int folder = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return fail(error, errno, "the workspace");
    if (package_find_entry(folder, ret, &why) < 0)
        return fail(error, EINVAL, why.message);
    return *ret->folder && chdir(ret->folder) < 0 ? fail(error, errno, "entering the package's folder") : 0;
}

int slot_package_list(int source, struct slot_error *error)
{
    struct package_entry entry = {0};
    struct tw_error why = {0};
    CLEANUP_FREE char *text = NULL;
    CLEANUP_REQUIREMENTS struct requirements list = {0};
    CLEANUP_BUF struct buf canonical = BUF_INIT(REQUIREMENTS_BYTES_MAX);
    size_t len;
    if (enter(source, &entry, error) < 0 || read_requirements(&text, &len, error) < 0)
        return -1;
    if (!text || brings_wheels())
        return 0;
    if (requirements_read(text, len, &list, &why) < 0)
        return fail(error, EINVAL, why.message);
    int r = requirements_write(&list, &canonical);
    if (r == 0)
        r = fd_write_all(STDOUT_FILENO, canonical.data, canonical.len);
    return r < 0 ? fail(error, -r, "what its requirements.txt names cannot be told") : 0;
}

int slot_package_open(
    int source, const char *python, bool installed, struct slot_package *ret, struct slot_error *error)
{
    struct package_entry entry = {0};
    const char *where = "";
    if (enter(source, &entry, error) < 0 || require(python, installed, &where, error) < 0)
        return -1;
    ret->is_shell = entry.kind == PACKAGE_SHELL;
    if (set_paths(&entry, where, ret) < 0)
        return fail(error, ENAMETOOLONG, "the package's folder");
    CLEANUP_FD int file = open(entry.file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0 || dup2(file, source) < 0)
        return fail(error, errno, entry.file);
    snprintf(ret->file, sizeof ret->file, "./%s", entry.file);
    return 0;
}
