/* SPDX-License-Identifier: Apache-2.0 */
#include "base/try.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/util.h"

/* How long a killed child may take to go. */
#define REAP_US UINT64_C(500000)
enum { DIED = 255 };

static int left_ms(uint64_t deadline)
{
    uint64_t now = clock_monotonic_us();
    return now >= deadline ? 0 : (int)((deadline - now) / 1000) + 1;
}

static _Noreturn void child_run(try_function function, const void *arg, size_t size, int answer, pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)signal(SIGCHLD, SIG_DFL); /* whoever started us may ignore it, and then there is no status to wait for */
    sigprocmask(SIG_SETMASK, &none, NULL);
    void *ret = calloc(1, size);
    if (ret) {
        function(arg, ret);
        (void)fd_write_all(answer, ret, size);
    }
    free(ret);
    _exit(0);
}

/* Takes the whole answer, or says why there is none. */
static int read_answer(int fd, void *ret, size_t size, uint64_t deadline)
{
    for (size_t done = 0; done < size;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int wait = left_ms(deadline);
        int n = wait > 0 ? poll(&p, 1, wait) : 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ETIMEDOUT;
        ssize_t got = read(fd, (char *)ret + done, size - done);
        if (got < 0 && errno != EINTR)
            return -errno;
        if (got == 0)
            return -ECHILD;
        done += got > 0 ? (size_t)got : 0;
    }
    return 0;
}

/* A process that hangs in the kernel cannot be waited for: whoever inherits it reaps it. */
static void end_child(pid_t pid)
{
    (void)kill(-pid, SIGKILL);
    (void)kill(pid, SIGKILL);
    CLEANUP_FD int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd p = {.fd = pidfd, .events = POLLIN};
    uint64_t deadline = clock_monotonic_us() + REAP_US;
    while (pidfd >= 0 && poll(&p, 1, left_ms(deadline)) < 0 && errno == EINTR)
        ;
    while (waitpid(pid, NULL, pidfd >= 0 ? WNOHANG : 0) < 0 && errno == EINTR)
        ;
}

int try_run(uint64_t limit_us, try_function function, const void *arg, void *ret, size_t size)
{
    int ends[2];
    pid_t parent = getpid();
    if (limit_us == 0)
        return -ETIMEDOUT;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    CLEANUP_FD int ours = ends[0];
    CLEANUP_FD int theirs = ends[1];
    pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0)
        child_run(function, arg, size, theirs, parent);
    (void)setpgid(pid, pid); /* whoever comes first */
    fd_close(&theirs);
    CLEANUP_FREE void *answer = calloc(1, size);
    int r = answer ? read_answer(ours, answer, size, clock_monotonic_us() + limit_us) : -ENOMEM;
    end_child(pid);
    if (r == 0)
        memcpy(ret, answer, size);
    return r;
}

int try_fork(int (*function)(void *arg), void *arg)
{
    int status = 0;
    pid_t pid = fork();
    if (pid < 0)
        return errno;
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(function(arg) & 0xff);
    }
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return DIED;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : DIED;
}
