/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/environments_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/timer.h"
#include "base/util.h"
#include "package/requirements.h"

enum {
    LOOK_MS = 2 * 60 * 1000,
    ZIP_LIST_MAX = 16 * 1024 * 1024, /* at its end, a zip's list of names is within this */
};
static const uint64_t default_max_bytes = UINT64_C(5) << 30;

/* --- what there is --- */

struct folder_job {
    uv_work_t req;
    struct environments *of;
    uint64_t number;
    struct tw_error error;
    bool failed;
};

static void go_idle(struct environments *of)
{
    void (*idle)(void *ctx) = STEAL(of->idle);
    for (struct list *it = of->entries.next, *next; of->loop && it != &of->entries; it = next) {
        next = it->next;
        struct entry *e = CONTAINER_OF(it, struct entry, link);
        list_remove(&e->link);
        free(e);
    }
    free(STEAL(of->python));
    free(STEAL(of->index_url));
    idle(of->idle_ctx);
}

void environments_job_over(struct environments *of)
{
    if (--of->jobs == 0 && of->idle)
        go_idle(of);
}

static void on_folder_done(uv_work_t *req, int status UNUSED)
{
    struct folder_job *job = CONTAINER_OF(req, struct folder_job, req);
    struct environments *of = job->of;
    if (job->failed)
        log_warning("what was installed for a package is still there, until the next start: %s", job->error.message);
    free(job);
    environments_job_over(of);
}

static void folder_work(struct environments *of, uint64_t number, uv_work_cb work)
{
    struct folder_job *job = calloc(1, sizeof *job);
    if (!job)
        return; /* the next start finds it */
    *job = (struct folder_job){.of = of, .number = number};
    of->jobs++;
    (void)uv_queue_work(of->loop, &job->req, work, on_folder_done); /* fails only without a job */
}

static void remove_folder(uv_work_t *req)
{
    struct folder_job *job = CONTAINER_OF(req, struct folder_job, req);
    job->failed = environment_remove(job->of->storage, job->number, &job->error) < 0;
}

static void note_use(uv_work_t *req)
{
    const struct folder_job *job = CONTAINER_OF(req, struct folder_job, req);
    environment_used(job->of->storage, job->number);
}

void environments_remove_folder(struct environments *of, uint64_t number)
{
    folder_work(of, number, remove_folder);
}

/* Those that were used longest ago go first. */
static void evict(struct environments *of)
{
    while (of->bytes > of->max_bytes && !of->closing) {
        struct entry *oldest = NULL;
        list_for_each (it, &of->entries) {
            struct entry *e = CONTAINER_OF(it, struct entry, link);
            if (e->pins == 0 && (!oldest || e->info.used_us < oldest->info.used_us))
                oldest = e;
        }
        if (!oldest)
            return;
        of->bytes -= oldest->info.bytes;
        list_remove(&oldest->link);
        environments_remove_folder(of, oldest->info.number);
        free(oldest);
    }
}

static bool add(struct environments *of, const struct environment_info *info, unsigned pins)
{
    struct entry *e = calloc(1, sizeof *e);
    if (!e)
        return false;
    e->info = *info;
    e->pins = pins;
    list_push(&of->entries, &e->link);
    of->bytes += info->bytes;
    return true;
}

bool environments_add(struct environments *of, const struct environment_info *info, unsigned pins)
{
    bool added = add(of, info, pins);
    evict(of);
    return added;
}

static struct entry *find_number(const struct environments *of, uint64_t number)
{
    list_for_each (it, &of->entries) {
        struct entry *e = CONTAINER_OF(it, struct entry, link);
        if (e->info.number == number)
            return e;
    }
    return NULL;
}

static struct entry *find_key(const struct environments *of, const uint8_t key[ENVIRONMENT_KEY_BYTES])
{
    list_for_each (it, &of->entries) {
        struct entry *e = CONTAINER_OF(it, struct entry, link);
        if (!memcmp(e->info.key, key, sizeof e->info.key))
            return e;
    }
    return NULL;
}

static void hold(void *ctx, uint64_t number)
{
    struct entry *e = find_number(ctx, number);
    if (e)
        e->pins++;
}

static void release(void *ctx, uint64_t number)
{
    struct environments *of = ctx;
    struct entry *e = find_number(of, number);
    if (!e || e->pins == 0)
        return;
    e->pins--;
    e->info.used_us = clock_wall_us();
    evict(of);
}

/* --- one task --- */

static void preparation_free(struct preparation *p)
{
    timer_free(&p->timer);
    buf_done(&p->required);
    free(p->task_id);
    free(p->owner);
    free(p);
}

void preparation_tell(struct preparation *p, enum tw_reason reason, const char *message, uint64_t environment)
{
    const struct engine_prepared prepared = {.reason = reason, .message = message, .environment = environment};
    const struct engine_prepare_events *events = p->events;
    void *ctx = p->ctx;
    preparation_free(p);
    events->done(ctx, &prepared);
}

static void tell_oom(struct preparation *p)
{
    preparation_tell(p, TW_REASON_LOST, "out of memory while what its package requires was looked for", 0);
}

static int key_of(const struct preparation *p, uint8_t ret[ENVIRONMENT_KEY_BYTES], struct tw_error *error)
{
    const struct requirements_context context = {
        .python = p->of->version, .owner = p->owner, .index_url = p->of->index_url};
    CLEANUP_REQUIREMENTS struct requirements list = {0};
    if (requirements_read(p->required.data, p->required.len, &list, error) < 0)
        return -1;
    int r = requirements_key(&list, &context, ret);
    return r < 0 ? error_set_errno(error, r, "the key of what its package requires") : 0;
}

/* What it requires is known: it has come out of the sandbox, and may be anything. */
static void find(struct preparation *p)
{
    uint8_t key[ENVIRONMENT_KEY_BYTES];
    struct tw_error error = {0};
    if (key_of(p, key, &error) < 0) {
        preparation_tell(p, error.code == TW_INVALID_ARGUMENT ? TW_REASON_BAD_INPUT : TW_REASON_LOST, error.message, 0);
        return;
    }
    struct entry *e = find_key(p->of, key);
    if (!e) {
        if (build_join(p, key) < 0)
            tell_oom(p);
        return;
    }
    e->pins++;
    e->info.used_us = clock_wall_us();
    folder_work(p->of, e->info.number, note_use);
    preparation_tell(p, TW_REASON_NONE, NULL, e->info.number);
}

static void look_ready(void *ctx)
{
    struct preparation *p = ctx;
    p->look->rt->ops->go(p->look);
}

static void look_output(void *ctx, enum tw_stream stream, const void *data, size_t len)
{
    struct preparation *p = ctx;
    if (stream == TW_STREAM_STDOUT)
        (void)buf_append(&p->required, data, len);
}

static void look_ended(void *ctx, const struct run_outcome *outcome)
{
    struct preparation *p = ctx;
    p->look = NULL;
    uv_timer_stop(p->timer);
    if (p->cancelled)
        preparation_tell(p, TW_REASON_LOST, "it was given up", 0);
    else if (p->late)
        preparation_tell(p, TW_REASON_BAD_INPUT, "opening its package took longer than 2 minutes", 0);
    else if (outcome->limit == TW_REASON_OOM || outcome->limit == TW_REASON_TIMEOUT_CPU)
        preparation_tell(p, outcome->limit, NULL, 0);
    else if (outcome->end == RUN_SANDBOX_ERROR || outcome->end == RUN_LOST)
        preparation_tell(p, TW_REASON_LOST, outcome->message, 0);
    else if (outcome->end != RUN_EXITED || outcome->exit_code != 0)
        preparation_tell(
            p, TW_REASON_BAD_INPUT, outcome->message ? outcome->message : "its package could not be opened", 0);
    else if (p->required.error)
        preparation_tell(p, TW_REASON_BAD_INPUT, "its requirements.txt names more than there may be", 0);
    else if (p->required.len == 0)
        preparation_tell(p, TW_REASON_NONE, NULL, 0);
    else
        find(p);
}

static const struct run_events look_events = {.ready = look_ready, .output = look_output, .ended = look_ended};

static void on_late(uv_timer_t *timer)
{
    struct preparation *p = timer->data;
    p->late = true;
    p->look->rt->ops->kill(p->look);
}

static void on_cancelled(uv_timer_t *timer)
{
    preparation_tell(timer->data, TW_REASON_LOST, "it was given up", 0);
}

static void cancel(struct preparation *p)
{
    if (p->cancelled)
        return;
    p->cancelled = true;
    if (p->look) {
        p->look->rt->ops->kill(p->look);
        return;
    }
    build_leave(p);
    uv_timer_start(p->timer, on_cancelled, 0, 0);
}

/* A zip has its names as they stand, at its end. Of others nobody knows. */
static bool may_require(const void *data, size_t len)
{
    static const char name[] = "requirements.txt";
    if (len < 4 || memcmp(data, "PK\3\4", 4) != 0)
        return true;
    size_t list = MIN(len, (size_t)ZIP_LIST_MAX);
    return memmem((const char *)data + (len - list), list, name, sizeof name - 1);
}

static int begin(void *ctx, const struct run_spec *spec, const struct engine_prepare_events *events, void *events_ctx,
    struct preparation **ret, struct tw_error *error)
{
    struct environments *of = ctx;
    *ret = NULL;
    if (!of->index_url || of->closing || strcmp(spec->type, "package") != 0 || !may_require(spec->data, spec->data_len))
        return 0;
    struct preparation *p = calloc(1, sizeof *p);
    if (!p)
        return error_oom(error);
    *p = (struct preparation){.of = of,
        .events = events,
        .ctx = events_ctx,
        .limits = spec->limits,
        .task_id = strdup(spec->task_id),
        .owner = strdup(spec->owner ? spec->owner : ""),
        .timer = timer_new(of->loop, p)};
    list_init(&p->link);
    buf_init(&p->required, REQUIREMENTS_BYTES_MAX);
    const struct run_spec look = {.task_id = spec->task_id,
        .type = RUN_REQUIREMENTS,
        .owner = spec->owner,
        .data = spec->data,
        .data_len = spec->data_len,
        .max_result = 1,
        .limits = spec->limits,
        .network = TW_NETWORK_NONE};
    if (!p->task_id || !p->owner || !p->timer)
        error_oom(error);
    else
        p->look = of->runtime->ops->start(of->runtime, &look, &look_events, p, error);
    if (!p->look) {
        preparation_free(p);
        return -1;
    }
    uv_timer_start(p->timer, on_late, LOOK_MS, 0);
    *ret = p;
    return 0;
}

/* --- its life --- */

int environments_init(struct environments *of, const struct environments_options *options)
{
    *of = (struct environments){.loop = options->loop,
        .version = options->version,
        .max_bytes = options->max_bytes ? options->max_bytes : default_max_bytes,
        .python = strdup(options->python),
        .index_url = options->index_url ? strdup(options->index_url) : NULL};
    list_init(&of->entries);
    list_init(&of->builds);
    return !of->python || (options->index_url && !of->index_url) ? -ENOMEM : 0;
}

void environments_set_max(struct environments *of, uint64_t max_bytes)
{
    of->max_bytes = max_bytes ? max_bytes : default_max_bytes;
    if (of->storage)
        evict(of);
}

static void found(void *ctx, const struct environment_info *info)
{
    (void)add(ctx, info, 0); /* what there is no memory for, the next start finds */
}

void environments_begin(struct environments *of, struct tw_storage *storage, struct engine *engine)
{
    const struct engine_preparing for_engine = {
        .begin = begin, .cancel = cancel, .hold = hold, .release = release, .ctx = of};
    of->storage = storage;
    int r = environments_list(storage, found, of);
    if (r < 0)
        log_warning("cannot look for what was installed for packages: %s", strerror(-r));
    engine_set_preparing(engine, &for_engine);
    evict(of);
}

void environments_close(struct environments *of)
{
    of->closing = true;
    if (of->loop)
        builds_close(of);
}

void environments_stop(struct environments *of, void (*idle)(void *ctx), void *ctx)
{
    of->idle = idle;
    of->idle_ctx = ctx;
    if (of->jobs == 0)
        go_idle(of);
}
