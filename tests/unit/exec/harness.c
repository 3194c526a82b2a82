/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

enum { ORDINARY_UID = 65534, EXIT_SKIP = 77 };

/* Where the ordinary user finds the helper programs: the build folder may be closed to it. */
static const char libexec_variable[] = "HIVEMIND_TEST_LIBEXEC";

const char *libexec_dir(void)
{
    const char *dir = getenv(libexec_variable);
    return dir ? dir : LIBEXEC_DIR;
}

static int wait_code(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static bool user_namespaces_allowed(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(unshare(CLONE_NEWUSER) == 0 ? 0 : 1);
    return pid > 0 && wait_code(pid) == 0;
}

static void copy_program(const char *dir, const char *name)
{
    char from[512], to[512], *data;
    size_t len;
    snprintf(from, sizeof from, "%s/%s", LIBEXEC_DIR, name);
    snprintf(to, sizeof to, "%s/%s", dir, name);
    int r = file_read(from, 256 << 20, &data, &len);
    if (r < 0) {
        fprintf(stderr, "cannot read %s: %s\n", from, strerror(-r));
        exit(1);
    }
    CLEANUP_FD int fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
    if (fd < 0 || fd_write_all(fd, data, len) < 0 || fchmod(fd, 0755) < 0)
        exit(1);
    free(data);
}

static int run_as_user(char **argv)
{
    static const char *const programs[] = {"hivemind-launcher", "hivemind-slot"};
    char dir[] = "/tmp/hivemind-test-XXXXXX", path[128];
    if (!mkdtemp(dir) || chmod(dir, 0755) < 0)
        return 1;
    for (size_t i = 0; i < ARRAY_LEN(programs); i++)
        copy_program(dir, programs[i]);
    int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    pid_t pid = fork();
    if (pid == 0) {
        setenv(libexec_variable, dir, 1);
        if (setgroups(0, NULL) == 0 && setresgid(ORDINARY_UID, ORDINARY_UID, ORDINARY_UID) == 0 &&
            setresuid(ORDINARY_UID, ORDINARY_UID, ORDINARY_UID) == 0)
            fexecve(self, argv, environ);
        _exit(1);
    }
    int code = wait_code(pid);
    close(self);
    for (size_t i = 0; i < ARRAY_LEN(programs); i++) {
        snprintf(path, sizeof path, "%s/%s", dir, programs[i]);
        unlink(path);
    }
    rmdir(dir);
    return code;
}

int run_as_both(char **argv, int (*tests)(void))
{
    if (geteuid() != 0 && !user_namespaces_allowed()) {
        fprintf(stderr, "SKIPPED as an ordinary user: user namespaces are not allowed here\n");
        return getenv("CI") ? 1 : EXIT_SKIP;
    }
    pid_t self = getpid();
    int code = tests();
    if (getpid() != self) /* a child in which a check failed: the rest is not for it */
        _exit(1);
    if (geteuid() != 0)
        return code;
    fprintf(stderr, "--- once more as an ordinary user\n");
    int second = run_as_user(argv);
    return code ? code : second == EXIT_SKIP ? 0 : second;
}

size_t children_of(pid_t pid, pid_t *ret, size_t max)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    FILE *f = fopen(path, "re");
    size_t n = 0;
    int child;
    while (f && n < max && fscanf(f, "%d", &child) == 1)
        ret[n++] = child;
    if (f)
        fclose(f);
    return n;
}

size_t count_fds(void)
{
    size_t n = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

void wait_gone(pid_t pid, unsigned seconds)
{
    CLEANUP_FD int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0) {
        assert_int_equal(errno, ESRCH);
        return;
    }
    struct pollfd p = {.fd = pidfd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, (int)seconds * 1000), 1);
}

void world_open(struct world *w, unsigned slots)
{
    struct launcher_options options = {0};
    world_open_with(w, slots, &options);
}

void world_open_with(struct world *w, unsigned slots, struct launcher_options *options)
{
    world_open_sparing(w, slots, slots, options);
}

void world_open_sparing(struct world *w, unsigned slots, unsigned spare, struct launcher_options *options)
{
    struct tw_error error = {0};
    struct launcher *launcher;
    options->libexec_dir = options->libexec_dir ? options->libexec_dir : libexec_dir();
    options->max_slots = 32;
    options->python_cold = options->python_cold || getenv("TEST_PYTHON_COLD");
    options->uid_base = 1900000000;
    memset(w, 0, sizeof *w);
    assert_int_equal(uv_loop_init(&w->loop), 0);
    if (launcher_start(options, &launcher, &error) < 0)
        fail_msg("%s", error.message);
    w->privileged = launcher_privileged(launcher);
    if (sandbox_new(&w->loop, launcher, slots, spare, &w->rt, &error) < 0)
        fail_msg("%s", error.message);
    pid_t children[64]; /* in order of age */
    size_t n = children_of(getpid(), children, ARRAY_LEN(children));
    assert_in_range(n, 1, ARRAY_LEN(children));
    w->launcher = children[n - 1];
    uv_timer_init(&w->loop, &w->deadline);
}

static void on_closed(void *ctx)
{
    struct world *w = ctx;
    w->closed = true;
    uv_stop(&w->loop);
}

void world_close(struct world *w)
{
    w->rt->ops->close(w->rt, on_closed, w);
    world_wait(w, &w->closed, 30);
    uv_close((uv_handle_t *)&w->deadline, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    assert_int_equal(kill(w->launcher, 0), -1);
}

static void on_late(uv_timer_t *timer)
{
    struct world *w = CONTAINER_OF(timer, struct world, deadline);
    w->late = true;
    uv_stop(&w->loop);
}

void world_wait(struct world *w, const bool *flag, unsigned seconds)
{
    w->late = false;
    uv_update_time(&w->loop);
    uv_timer_start(&w->deadline, on_late, seconds * UINT64_C(1000), 0);
    while (!*flag && !w->late)
        uv_run(&w->loop, UV_RUN_DEFAULT); /* every callback below stops it: a flag may have been set before the wait */
    uv_timer_stop(&w->deadline);
    if (!*flag)
        fail_msg("nothing happened for %u seconds", seconds);
}

static void on_ready(void *ctx)
{
    struct job *job = ctx;
    assert_false(job->was_ready);
    job->was_ready = true;
    uv_stop(&job->world->loop);
    if (!job->hold)
        job->world->rt->ops->go(job->run);
}

static void on_output(void *ctx, enum tw_stream stream, const void *data, size_t len)
{
    struct job *job = ctx;
    assert_true(job->was_ready);
    assert_false(job->ended);
    assert_int_equal(buf_append(stream == TW_STREAM_STDOUT ? &job->out : &job->err, data, len), 0);
    job->has_output = true;
    uv_stop(&job->world->loop);
}

static void on_ended(void *ctx, const struct run_outcome *o)
{
    struct job *job = ctx;
    assert_non_null(job->run); /* not from within start */
    job->ended = true;
    uv_stop(&job->world->loop);
    job->n_ended++;
    job->end = o->end;
    job->exit_code = o->exit_code;
    job->signal = o->signal;
    job->usage = o->usage;
    job->receipt = o->receipt;
    job->limit = o->limit;
    job->result_too_large = o->result_too_large;
    snprintf(job->message, sizeof job->message, "%s", o->message ? o->message : "");
    job->error = o->error ? strdup(o->error) : NULL;
    if (o->result) {
        job->result = calloc(1, o->result_len + 1);
        assert_non_null(job->result);
        memcpy(job->result, o->result, o->result_len);
        job->result_len = o->result_len;
    }
}

void job_start_spec(struct world *w, struct job *job, const struct run_spec *spec)
{
    static const struct run_events events = {.ready = on_ready, .output = on_output, .ended = on_ended};
    struct tw_error error = {0};
    struct run_spec copy = *spec;
    static const struct tw_limits none;
    if (!memcmp(&copy.limits, &none, sizeof none))
        copy.limits = (struct tw_limits){.processes = 1024,
            .open_files = 1024,
            .file_bytes = UINT64_C(4) << 30,
            .workspace_bytes = UINT64_C(1) << 30,
            .tmp_bytes = 256 << 20};
    if (copy.network == TW_NETWORK_DEFAULT)
        copy.network = TW_NETWORK_NONE;
    job->world = w;
    buf_init(&job->out, 512 << 20);
    buf_init(&job->err, 512 << 20);
    job->run = w->rt->ops->start(w->rt, &copy, &events, job, &error);
    if (!job->run)
        fail_msg("%s", error.message);
    assert_false(job->ended);
}

void job_start(struct world *w, struct job *job, const char *type, const char *source, const char *const *args)
{
    struct run_spec spec = {
        .task_id = "test-1",
        .type = type,
        .data = source,
        .data_len = strlen(source),
        .args = args,
        .max_result = 1 << 20,
    };
    while (args && args[spec.n_args])
        spec.n_args++;
    job_start_spec(w, job, &spec);
}

void job_run(struct world *w, struct job *job, const char *type, const char *source)
{
    job_start(w, job, type, source, NULL);
    world_wait(w, &job->ended, 60);
    assert_int_equal(job->n_ended, 1);
}

static const char *text_of(struct buf *b)
{
    assert_int_equal(buf_append_u8(b, 0), 0);
    b->len--;
    return (const char *)b->data;
}

const char *job_out(struct job *job)
{
    return text_of(&job->out);
}

const char *job_err(struct job *job)
{
    return text_of(&job->err);
}

void job_done(struct job *job)
{
    buf_done(&job->out);
    buf_done(&job->err);
    free(job->error);
    free(job->result);
    *job = (struct job){0};
}
