/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fair peer of the sandbox: the same interpreter as a slot's (slot/warm.c itself) is forked for each task, and the
 * fork does all that a task does (arguments, environment, bootstrap, compilation, result frame, output flushed) but for
 * what keeps it apart from others. The parent does what the daemon does for a result: it hands the source over in a memfd,
 * reads three pipes to their ends, reaps the task and takes its frame apart. It is one process with one poll().
 */
#include "warm_fork.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "slot/result_frame.h"
#include "slot/warm.h"

enum { TASKS_MAX = 1024, RESULT_MAX = 1000 };

/* Where the bootstrap expects them. */
enum { SOURCE_FD = 3, RESULT_FD = 4 };

enum { PIPE_RESULT, PIPE_STDOUT, PIPE_STDERR, PIPES };

struct task {
    pid_t pid;
    unsigned open; /* pipes that have not ended */
    struct result_reader reader;
};

struct peer {
    struct task tasks[TASKS_MAX];
    struct pollfd polls[TASKS_MAX * PIPES]; /* of tasks[i / PIPES] */
};

static int fail(const char *what)
{
    fprintf(stderr, "warm_fork: %s\n", what);
    return -1;
}

/* warm.c reports by it; in a slot it is the loop's (slot/slot.h). */
int slot_error_set(struct slot_error *error, enum slot_stage stage, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(error->detail, sizeof error->detail, fmt, ap);
    va_end(ap);
    error->stage = stage;
    error->error = errno;
    return -1;
}

int warm_fork_init(void)
{
    struct slot_error error = {0};
    return warm_init(-1, "", "", &error) < 0 ? fail(error.detail) : 0;
}

/* In the child: fds 0 to 4 as a task has them, nothing else open that matters, and the task runs. */
static _Noreturn void be_task(int source, const int *ends)
{
    static char path[] = "PATH=/usr/local/bin:/usr/bin:/bin", home[] = "HOME=/workspace", lang[] = "LANG=C.UTF-8";
    char *env[] = {path, home, lang, NULL};
    struct plan plan = {.kind = PLAN_PYTHON};
    struct slot_error error = {0};
    /* First out of the way of the places they go to. */
    int from[] = {
        open("/dev/null", O_RDONLY | O_CLOEXEC), ends[PIPE_STDOUT], ends[PIPE_STDERR], source, ends[PIPE_RESULT]};
    for (size_t i = 0; i < ARRAY_LEN(from); i++) {
        from[i] = fcntl(from[i], F_DUPFD_CLOEXEC, RESULT_FD + 1);
        if (from[i] < 0)
            _exit(120);
    }
    for (int i = 0; i < (int)ARRAY_LEN(from); i++) {
        if (dup2(from[i], i) < 0)
            _exit(121);
    }
    if (close_range(RESULT_FD + 1, ~0u, 0) < 0)
        _exit(122);
    warm_copy_pages();
    warm_after_fork();
    if (warm_become(&plan, env, &error) < 0)
        _exit(123);
    warm_run();
}

static int start(struct task *t, struct pollfd *polls)
{
    static const char text[] = "result = 42\n";
    int theirs[PIPES] = {-1, -1, -1}, r = -1;
    CLEANUP_FD int source = fd_sealed_memfd("task.py", text, sizeof text - 1);
    for (int i = 0; i < PIPES; i++)
        polls[i] = (struct pollfd){.fd = -1, .events = POLLIN};
    for (int i = 0; source >= 0 && i < PIPES; i++) {
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) < 0)
            goto out;
        polls[i].fd = ends[0];
        theirs[i] = ends[1];
    }
    if (source < 0)
        goto out;
    t->pid = fork();
    if (t->pid == 0)
        be_task(source, theirs);
    if (t->pid < 0)
        goto out;
    t->open = PIPES;
    result_reader_init(&t->reader, RESULT_MAX);
    r = 0;
out:
    for (int i = 0; i < PIPES; i++)
        fd_close(&theirs[i]);
    return r < 0 ? fail(strerror(errno)) : 0;
}

/* All its pipes have ended: it did, or is about to. */
static int finish(struct task *t)
{
    int status;
    if (waitpid(t->pid, &status, 0) != t->pid || status != 0)
        return fail("a task failed");
    t->pid = 0;
    result_reader_finish(&t->reader);
    bool good = t->reader.flaw == RESULT_FINE && t->reader.have_result && t->reader.result.len == 2 &&
        !memcmp(t->reader.result.data, "42", 2);
    result_reader_done(&t->reader);
    return good ? 0 : fail("a result is not 42");
}

/* 1: the pipe has ended. */
static int read_pipe(struct task *t, struct pollfd *p, int kind)
{
    char data[4096];
    ssize_t n = read(p->fd, data, sizeof data);
    if (n < 0)
        return fail(strerror(errno));
    if (n > 0 && kind != PIPE_RESULT)
        return fail("a task printed something");
    if (n > 0) {
        result_reader_feed(&t->reader, data, (size_t)n);
        return 0;
    }
    fd_close(&p->fd); /* poll() passes over what is negative */
    return 1;
}

static struct peer peer;

int warm_fork_run(unsigned count, unsigned in_flight)
{
    unsigned left = count, running = 0;
    if (in_flight > TASKS_MAX)
        return fail("too many at once");
    for (unsigned i = 0; i < in_flight; i++, running++, left--) {
        if (left == 0)
            break;
        if (start(&peer.tasks[i], &peer.polls[i * PIPES]) < 0)
            return -1;
    }
    const unsigned places = running;
    while (running > 0) {
        if (poll(peer.polls, places * PIPES, -1) < 0)
            return fail(strerror(errno));
        for (unsigned i = 0; i < places * PIPES; i++) {
            struct task *t = &peer.tasks[i / PIPES];
            if (peer.polls[i].fd < 0 || !peer.polls[i].revents)
                continue;
            peer.polls[i].revents = 0;
            int ended = read_pipe(t, &peer.polls[i], (int)(i % PIPES));
            if (ended < 0)
                return -1;
            t->open -= (unsigned)ended;
            if (!ended || t->open > 0)
                continue;
            running--;
            if (finish(t) < 0)
                return -1;
            if (left > 0 && start(t, &peer.polls[i / PIPES * PIPES]) == 0) {
                left--;
                running++;
            } else if (left > 0)
                return -1;
        }
    }
    return 0;
}
