/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/inputs.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <sodium.h>

#include "base/error.h"
#include "base/log.h"
#include "base/util.h"

struct job {
    uv_work_t req;
    struct inputs *of;
    uint64_t set;
    struct tw_error error;
    bool failed;

    /* gathering; the last three are the engine's until `done` */
    struct inputs_wanted *wanted;
    struct tw_file_info *found;
    size_t n;
    struct engine_gathered to;
    struct tw_input *inputs;
    const char *owner;
    engine_gathered_cb done;
    void *ctx;
};

static void job_free(struct job *job)
{
    for (size_t i = 0; job->found && i < job->n; i++)
        tw_file_info_done(&job->found[i]);
    free(job->found);
    free(job->wanted);
    free(job);
}

static void job_over(struct job *job)
{
    struct inputs *of = job->of;
    job_free(job);
    if (--of->jobs == 0 && of->idle)
        STEAL(of->idle)(of->idle_ctx);
}

/* --- removing --- */

static void remove_set(uv_work_t *req)
{
    struct job *job = CONTAINER_OF(req, struct job, req);
    job->failed = inputs_remove(job->of->storage, job->set, &job->error) < 0;
}

static void on_removed(uv_work_t *req, int status UNUSED)
{
    struct job *job = CONTAINER_OF(req, struct job, req);
    if (job->failed)
        log_warning("the inputs of a task are still there, until the next start: %s", job->error.message);
    job_over(job);
}

static void release(void *ctx, uint64_t set)
{
    struct inputs *of = ctx;
    struct job *job = calloc(1, sizeof *job);
    if (!job) {
        log_warning("out of memory: the inputs of a task stay until the next start");
        return;
    }
    job->of = of;
    job->set = set;
    of->jobs++;
    (void)uv_queue_work(of->loop, &job->req, remove_set, on_removed); /* fails only without a job */
}

/* --- gathering --- */

static void gather_set(uv_work_t *req)
{
    struct job *job = CONTAINER_OF(req, struct job, req);
    uint64_t set = 0;
    while (set == 0) {
        if (getrandom(&set, sizeof set, 0) != (ssize_t)sizeof set)
            set = 0;
        set &= INT64_MAX;
    }
    job->set = set;
    job->failed = inputs_make(job->of->storage, set, job->owner, job->wanted, job->n, job->found, &job->error) < 0;
}

static bool replace(const char **text, const char *by)
{
    char *copy = strdup(by);
    if (!copy)
        return false;
    free((char *)*text);
    *text = copy;
    return true;
}

/* What it has turned out to be. */
static bool fill_in(struct tw_input *input, const struct tw_file_info *info)
{
    return replace(&input->file_id, info->id) && replace(&input->name, info->name) &&
        ((input->path && *input->path) || replace(&input->path, info->name));
}

static void digest_of(const struct job *job)
{
    crypto_generichash_state h;
    crypto_generichash_init(&h, NULL, 0, STORE_DIGEST_LEN);
    for (size_t i = 0; i < job->n; i++) { /* the hash has a fixed length, and ends the path */
        crypto_generichash_update(&h, (const uint8_t *)job->inputs[i].path, strlen(job->inputs[i].path) + 1);
        crypto_generichash_update(&h, (const uint8_t *)job->found[i].sha256, TW_SHA256_LEN);
    }
    crypto_generichash_final(&h, job->to.digest, STORE_DIGEST_LEN);
}

static void on_gathered(uv_work_t *req, int status UNUSED)
{
    struct job *job = CONTAINER_OF(req, struct job, req);
    bool made = !job->failed;
    for (size_t i = 0; i < job->n && !job->failed; i++)
        job->failed = !fill_in(&job->inputs[i], &job->found[i]);
    if (made && job->failed) {
        error_oom(&job->error);
        release(job->of, job->set);
    }
    if (!job->failed) {
        *job->to.set = job->set;
        digest_of(job);
    }
    job->done(job->ctx, job->failed ? &job->error : NULL);
    job_over(job);
}

static void on_no_memory(uv_work_t *req, int status UNUSED)
{
    struct job *job = CONTAINER_OF(req, struct job, req);
    struct tw_error oom;
    error_oom(&oom);
    job->done(job->ctx, &oom);
    job_over(job);
}

static void nothing(uv_work_t *req UNUSED)
{
}

static void gather(void *ctx, const char *owner, struct tw_input *inputs, size_t n, struct engine_gathered to,
    engine_gathered_cb done, void *done_ctx)
{
    struct inputs *of = ctx;
    struct job *job = calloc(1, sizeof *job);
    if (!job) {
        struct tw_error oom;
        error_oom(&oom);
        done(done_ctx, &oom);
        return;
    }
    *job = (struct job){.of = of, .owner = owner, .inputs = inputs, .n = n, .to = to, .done = done, .ctx = done_ctx};
    job->wanted = calloc(n, sizeof *job->wanted);
    job->found = calloc(n, sizeof *job->found);
    of->jobs++;
    if (!job->wanted || !job->found) {
        (void)uv_queue_work(of->loop, &job->req, nothing, on_no_memory);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        bool by_id = *inputs[i].file_id;
        job->wanted[i] = (struct inputs_wanted){.id = by_id ? inputs[i].file_id : NULL,
            .name = by_id ? NULL : inputs[i].name,
            .path = *inputs[i].path ? inputs[i].path : NULL};
    }
    (void)uv_queue_work(of->loop, &job->req, gather_set, on_gathered);
}

/* --- its life --- */

struct sweep {
    struct inputs *of;
    const struct engine *engine;
};

static void sweep(void *ctx, uint64_t set)
{
    const struct sweep *s = ctx;
    if (!engine_has_inputs(s->engine, set))
        release(s->of, set);
}

void inputs_begin(struct inputs *of, uv_loop_t *loop, struct tw_storage *storage, struct engine *engine)
{
    const struct engine_files for_engine = {.gather = gather, .release = release, .keep = outputs_keep, .ctx = of};
    *of = (struct inputs){.loop = loop, .storage = storage};
    list_init(&of->outputs);
    engine_set_files(engine, &for_engine);
    int r = inputs_list(storage, sweep, &(struct sweep){of, engine});
    if (r < 0)
        log_warning("cannot look for inputs of tasks that are over: %s", strerror(-r));
}

void inputs_stop(struct inputs *of, void (*idle)(void *ctx), void *ctx)
{
    of->idle = idle;
    of->idle_ctx = ctx;
    if (of->jobs == 0)
        STEAL(of->idle)(ctx);
}
