/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One installation: a folder, a run of pip whose files are copied into it, and its label, or nothing. Some are under way at once, the others
 * wait in turn.
 */
#include "lib/environments_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"
#include "base/timer.h"
#include "base/util.h"
#include "package/requirements.h"

enum {
    AT_ONCE = 2,
    INSTALL_MS = 15 * 60 * 1000,
    SAID_BEGIN = 16 * 1024, /* of what pip says, the first bytes are kept, */
    SAID_END = 16 * 1024,   /* and at least so many of the last */
};

#define TARGET "env"

static void fail(struct build *b, enum tw_reason reason, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void fail(struct build *b, enum tw_reason reason, const char *fmt, ...)
{
    va_list ap;
    if (b->reason != TW_REASON_NONE)
        return; /* the first one counts */
    b->reason = reason;
    va_start(ap, fmt);
    vsnprintf(b->why.message, sizeof b->why.message, fmt, ap);
    va_end(ap);
}

static void build_free(struct build *b)
{
    list_remove(&b->link);
    timer_free(&b->deadline);
    fd_close(&b->folder);
    buf_done(&b->said);
    free(b->task_id);
    free(b->owner);
    free(b->script);
    free(b);
}

/* --- its end --- */

static void begin_next(struct environments *of);

/* Nothing of it is on its way any more: it is there, or has failed, or nobody wants it. */
static void over(struct build *b)
{
    struct environments *of = b->of;
    struct list waiters;
    unsigned n = 0;
    list_init(&waiters);
    list_splice(&waiters, &b->waiters); /* to tell one may bring the next */
    list_for_each (it, &waiters)
        n++;
    if (b->reason == TW_REASON_NONE && !environments_add(of, &b->info, n)) {
        fail(b, TW_REASON_LOST, "out of memory for what its package requires");
        environments_remove_folder(of, b->info.number);
    }
    list_remove(&b->link);
    of->building -= b->begun;
    begin_next(of);
    while (!list_empty(&waiters)) {
        struct preparation *p = LIST_FIRST(&waiters, struct preparation, link);
        list_remove(&p->link);
        p->build = NULL;
        preparation_tell(p, b->reason, b->reason == TW_REASON_NONE ? NULL : b->why.message,
            b->reason == TW_REASON_NONE ? b->info.number : 0);
    }
    build_free(b);
}

/* --- the disk --- */

struct job {
    uv_work_t req;
    struct build *build;
    struct tw_error error;
    bool failed;
    /* of a file */
    int fd;
    bool executable;
    uint64_t bytes;
    char path[];
};

static struct job *job_new(struct build *b, const char *path)
{
    struct job *job = calloc(1, sizeof *job + strlen(path) + 1);
    if (!job)
        return NULL;
    job->build = b;
    job->fd = -1;
    memcpy(job->path, path, strlen(path) + 1);
    return job;
}

static void job_begin(struct job *job, uv_work_cb work, uv_after_work_cb after)
{
    struct environments *of = job->build->of;
    of->jobs++;
    (void)uv_queue_work(of->loop, &job->req, work, after); /* fails only without a job */
}

static void remove_work(uv_work_t *req)
{
    struct job *job = CONTAINER_OF(req, struct job, req);
    (void)environment_remove(job->build->of->storage, job->build->info.number, NULL); /* else the next start does */
}

static void on_removed(uv_work_t *req, int status UNUSED)
{
    struct job *job = CONTAINER_OF(req, struct job, req);
    struct environments *of = job->build->of;
    over(job->build);
    free(job);
    environments_job_over(of);
}

static void take_away(struct build *b)
{
    struct job *job = job_new(b, "");
    fd_close(&b->folder);
    if (job)
        job_begin(job, remove_work, on_removed);
    else
        over(b); /* the next start takes it away */
}

static void finish_work(uv_work_t *req)
{
    struct job *job = CONTAINER_OF(req, struct job, req);
    job->failed = environment_finish(job->build->of->storage, &job->build->info, &job->error) < 0;
}

static void on_finished(uv_work_t *req, int status UNUSED)
{
    struct job *job = CONTAINER_OF(req, struct job, req);
    struct build *b = job->build;
    struct environments *of = b->of;
    if (job->failed) {
        fail(b, TW_REASON_STORAGE_ERROR, "what it requires could not be kept: %s", job->error.message);
        take_away(b);
    } else {
        b->info.used_us = clock_wall_us();
        over(b);
    }
    free(job);
    environments_job_over(of);
}

static void keep(struct build *b)
{
    struct job *job = job_new(b, "");
    fd_close(&b->folder);
    if (job) {
        job_begin(job, finish_work, on_finished);
        return;
    }
    fail(b, TW_REASON_LOST, "out of memory for what its package requires");
    over(b);
}

static void add_work(uv_work_t *req)
{
    struct job *job = CONTAINER_OF(req, struct job, req);
    struct build *b = job->build;
    job->failed =
        environment_add(b->of->storage, b->folder, job->path, job->fd, job->executable, &job->bytes, &job->error) < 0;
    fd_close(&job->fd);
}

static void on_added(uv_work_t *req, int status UNUSED)
{
    struct job *job = CONTAINER_OF(req, struct job, req);
    struct build *b = job->build;
    struct environments *of = b->of;
    if (job->failed)
        fail(b, TW_REASON_STORAGE_ERROR, "what it requires could not be kept: %s", job->error.message);
    b->info.bytes += job->bytes;
    free(job);
    b->run->rt->ops->file_kept(b->run);
    environments_job_over(of);
}

/* --- its run --- */

static void run_ready(void *ctx)
{
    struct build *b = ctx;
    b->run->rt->ops->go(b->run);
}

static void remember(struct build *b, const void *data, size_t len)
{
    if (b->said.len + len > b->said.max && len < SAID_END) {
        /* Out of the middle. */
        size_t end = b->said.len - SAID_BEGIN, drop = MIN(end, end + len - SAID_END);
        memmove(b->said.data + SAID_BEGIN, b->said.data + SAID_BEGIN + drop, end - drop);
        b->said.len -= drop;
    }
    if (b->said.len + len <= b->said.max)
        (void)buf_append(&b->said, data, len);
}

static void run_output(void *ctx, enum tw_stream stream, const void *data, size_t len)
{
    struct build *b = ctx;
    for (size_t at = 0; at < len; at += SAID_END / 2)
        remember(b, (const char *)data + at, MIN(len - at, (size_t)SAID_END / 2));
    list_for_each_safe (it, &b->waiters) {
        struct preparation *p = CONTAINER_OF(it, struct preparation, link);
        p->events->output(p->ctx, stream, data, len);
    }
}

static void run_file(void *ctx, const struct run_file *file)
{
    struct build *b = ctx;
    static const char below[] = TARGET "/";
    bool ours = !strncmp(file->path, below, sizeof below - 1);
    struct job *job = ours && b->reason == TW_REASON_NONE ? job_new(b, file->path + sizeof below - 1) : NULL;
    if (job) {
        job->fd = file->fd;
        job->executable = file->executable;
        job_begin(job, add_work, on_added);
        return;
    }
    if (ours)
        fail(b, TW_REASON_LOST, "out of memory for what its package requires");
    close(file->fd);
    b->run->rt->ops->file_kept(b->run);
}

static void judge(struct build *b, const struct run_outcome *o)
{
    CLEANUP_FREE char *why = requirements_why(b->said.data, b->said.len);
    bool ended = o->end == RUN_EXITED || o->end == RUN_SIGNALED;
    /* pip clears up behind itself, so its word for it is all there is. */
    bool full = o->limit == TW_REASON_DISK_LIMIT || (why && strstr(why, strerrordesc_np(ENOSPC)));
    if (b->late)
        fail(b, TW_REASON_ENVIRONMENT_ERROR, "what it requires was not installed within 15 minutes");
    else if (o->limit == TW_REASON_OOM)
        fail(b, TW_REASON_ENVIRONMENT_ERROR,
            "installing what it requires took more than its memory: ask for more (limits.memory_bytes)");
    else if (ended && full && (o->signal || o->exit_code))
        fail(b, TW_REASON_ENVIRONMENT_ERROR,
            "installing what it requires took more than its workspace has room for: ask for more "
            "(limits.workspace_bytes)");
    else if (o->limit == TW_REASON_TIMEOUT_CPU)
        fail(b, TW_REASON_ENVIRONMENT_ERROR, "installing what it requires took more than its processor time");
    else if (ended && o->signal)
        fail(b, TW_REASON_ENVIRONMENT_ERROR, "what it requires could not be installed: pip was killed by signal %d",
            o->signal);
    else if (ended && o->exit_code)
        fail(b, TW_REASON_ENVIRONMENT_ERROR, "what it requires could not be installed: %s", why ? why : "pip failed");
    else if (!ended)
        fail(b, TW_REASON_LOST, "%s", o->message ? o->message : "pip could not be run");
    else if (o->files_left)
        fail(b, TW_REASON_ENVIRONMENT_ERROR, "%u files of what it requires could not be kept", (unsigned)o->files_left);
}

static void run_ended(void *ctx, const struct run_outcome *outcome)
{
    struct build *b = ctx;
    b->run = NULL;
    uv_timer_stop(b->deadline);
    if (b->abandoned)
        fail(b, TW_REASON_LOST, "it was given up");
    judge(b, outcome);
    if (b->reason == TW_REASON_NONE)
        keep(b);
    else
        take_away(b);
}

static const struct run_events build_events = {
    .ready = run_ready, .output = run_output, .file = run_file, .ended = run_ended};

static void on_late(uv_timer_t *timer)
{
    struct build *b = timer->data;
    b->late = true;
    b->run->rt->ops->kill(b->run);
}

static int start_run(struct build *b, struct tw_error *error)
{
    static const char *const outputs[] = {TARGET};
    static const struct run_env env[] = {{"PIP_CONFIG_FILE", "/dev/null"}, {"TMPDIR", "/workspace/tmp"}};
    const char *args[REQUIREMENTS_PIP_ARGUMENTS];
    const struct requirements_pip pip = {.python = b->of->python,
        .file = "/tmp/requirements.txt",
        .target = "/workspace/" TARGET,
        .index_url = b->of->index_url};
    struct run_spec spec = {.task_id = b->task_id,
        .type = "shell",
        .owner = b->owner,
        .data = b->script,
        .data_len = strlen(b->script),
        .args = args,
        .env = env,
        .n_env = ARRAY_LEN(env),
        .max_result = 1,
        .limits = b->limits,
        .network = TW_NETWORK_HOST,
        .outputs = outputs,
        .n_outputs = ARRAY_LEN(outputs)};
    requirements_pip_arguments(&pip, args);
    while (args[spec.n_args])
        spec.n_args++;
    b->run = b->of->runtime->ops->start(b->of->runtime, &spec, &build_events, b, error);
    return b->run ? 0 : -1;
}

static void make_work(uv_work_t *req)
{
    struct job *job = CONTAINER_OF(req, struct job, req);
    struct build *b = job->build;
    b->folder = environment_begin(b->of->storage, b->info.number, &job->error);
    job->failed = b->folder < 0;
}

static void on_made(uv_work_t *req, int status UNUSED)
{
    struct job *job = CONTAINER_OF(req, struct job, req);
    struct build *b = job->build;
    struct environments *of = b->of;
    if (job->failed)
        fail(b, TW_REASON_LOST, "what it requires cannot be installed: %s", job->error.message);
    else if (b->abandoned || of->closing)
        fail(b, TW_REASON_LOST, "it was given up");
    else if (start_run(b, &job->error) < 0)
        fail(b, TW_REASON_LOST, "what it requires cannot be installed: %s", job->error.message);
    if (b->run)
        uv_timer_start(b->deadline, on_late, INSTALL_MS, 0);
    else
        take_away(b);
    free(job);
    environments_job_over(of);
}

static void begin_next(struct environments *of)
{
    list_for_each_safe (it, &of->builds) {
        struct build *b = CONTAINER_OF(it, struct build, link);
        struct job *job = b->begun || of->building == AT_ONCE || of->closing ? NULL : job_new(b, "");
        if (!job)
            continue; /* also without memory: the next one that ends looks again */
        b->begun = true;
        of->building++;
        job_begin(job, make_work, on_made);
    }
}

/* --- who waits for it --- */

/* A name that nothing in canonical requirements can be: those of projects are in lower case. */
static char *script_of(const struct buf *required)
{
    static const char head[] = "mkdir tmp && cat >/tmp/requirements.txt <<'END_OF_REQUIREMENTS' && exec \"$@\"\n",
                      foot[] = "END_OF_REQUIREMENTS\n";
    CLEANUP_BUF struct buf text = BUF_INIT(SIZE_MAX / 2);
    (void)buf_append_str(&text, head);
    (void)buf_append(&text, required->data, required->len);
    (void)buf_append_str(&text, foot);
    return text.error ? NULL : text_dup(text.data, text.len);
}

static struct build *build_new(const struct preparation *p, const uint8_t key[ENVIRONMENT_KEY_BYTES])
{
    struct environments *of = p->of;
    struct build *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    *b = (struct build){.of = of,
        .limits = p->limits,
        .folder = -1,
        .task_id = strdup(p->task_id),
        .owner = strdup(p->owner),
        .script = script_of(&p->required),
        .deadline = timer_new(of->loop, b)};
    memcpy(b->info.key, key, sizeof b->info.key);
    list_init(&b->waiters);
    buf_init(&b->said, SAID_BEGIN + 2 * SAID_END);
    list_push(&of->builds, &b->link);
    bool numbered = getrandom(&b->info.number, sizeof b->info.number, 0) == (ssize_t)sizeof b->info.number;
    b->info.number |= ENVIRONMENTS_BIT;
    if (numbered && b->task_id && b->owner && b->script && b->deadline)
        return b;
    build_free(b);
    return NULL;
}

int build_join(struct preparation *p, const uint8_t key[ENVIRONMENT_KEY_BYTES])
{
    struct build *found = NULL;
    list_for_each (it, &p->of->builds) {
        struct build *b = CONTAINER_OF(it, struct build, link);
        if (!b->abandoned && b->reason == TW_REASON_NONE && !memcmp(b->info.key, key, sizeof b->info.key))
            found = b;
    }
    struct build *b = found ? found : build_new(p, key);
    if (!b)
        return -ENOMEM;
    p->build = b;
    list_push(&b->waiters, &p->link);
    if (!found)
        begin_next(p->of);
    return 0;
}

static void abandon(struct build *b)
{
    b->abandoned = true;
    if (!b->begun)
        build_free(b);
    else if (b->run)
        b->run->rt->ops->kill(b->run);
    /* else its folder is being made, or what it has become is being dealt with */
}

void build_leave(struct preparation *p)
{
    struct build *b = STEAL(p->build);
    list_remove(&p->link);
    if (list_empty(&b->waiters))
        abandon(b);
}

void builds_close(struct environments *of)
{
    list_for_each_safe (it, &of->builds) {
        struct build *b = CONTAINER_OF(it, struct build, link);
        if (list_empty(&b->waiters)) /* as all are by now: the engine has drained */
            abandon(b);
    }
}
