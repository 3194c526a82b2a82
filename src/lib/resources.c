/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/resources.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/timer.h"
#include "base/try.h"

enum { SAMPLE_MS = 10000, GPUS_US = 5 * 1000 * 1000 };

static void find_gpus(const void *arg, void *ret)
{
    (void)arg;
    machine_gpus_find(ret);
}

static void resources_find_gpus(struct resources *r)
{
    if (access("/dev/nvidiactl", F_OK) < 0)
        return;
    int failed = try_run(GPUS_US, find_gpus, NULL, &r->found, sizeof r->found);
    if (failed < 0)
        log_warning("the GPUs of this machine cannot be used: their driver does not answer (%s)", strerror(-failed));
    else if (!r->found.loaded || r->found.error)
        log_warning("the GPUs of this machine cannot be used: hivemind doctor tells more");
    if (r->found.count > r->found.n_gpus)
        log_warning("this machine has %u GPUs, of which the node can use %u", r->found.count, r->found.n_gpus);
    for (unsigned i = 0; failed == 0 && i < r->found.n_gpus && r->n_gpus < GPUS_MAX; i++) {
        const struct machine_gpu *g = &r->found.gpus[i];
        unsigned minor = g->minor == MACHINE_MINOR_UNKNOWN ? g->index : g->minor;
        if (minor >= 64) {
            log_warning("GPU %u cannot be used: the node serves /dev/nvidia0 to /dev/nvidia63", minor);
            continue;
        }
        r->gpus[r->n_gpus++] = (struct engine_gpu){
            .name = g->name, .uuid = g->uuid, .minor = minor, .memory_bytes = g->memory_bytes, .score = g->score};
        log_info("GPU %u: %s, %llu MiB", minor, g->name, (unsigned long long)(g->memory_bytes >> 20));
    }
}

void resources_find(struct resources *r, bool with_gpus)
{
    r->disk_fd = -1;
    if (with_gpus)
        resources_find_gpus(r);
    uint64_t memory = 0;
    r->cpu_millis = machine_cpu_millis(NULL);
    if (machine_memory_bytes(NULL, &memory) == 0)
        r->memory_bytes = memory - memory / 10;
}

void resources_recall(struct resources *r, struct store *store)
{
    uint64_t processors = 0;
    struct tw_error error;
    r->store = store;
    if (store_get_number(store, "cpu_score_processors", &processors, &error) < 0 || processors != r->cpu_millis ||
        store_get_number(store, "cpu_score", &r->cpu_score, &error) < 0)
        r->cpu_score = 0;
}

struct score_job {
    uv_work_t req;
    struct resources *resources;
    uint64_t score;
};

static void measure(uv_work_t *req)
{
    struct score_job *job = CONTAINER_OF(req, struct score_job, req);
    if (machine_measure_cpu_score(&job->score) < 0)
        job->score = 0;
}

static void on_kept(void *ctx UNUSED, const struct tw_error *error)
{
    if (error)
        log_warning("the CPU score could not be kept: %s", error->message);
}

static void on_measured(uv_work_t *req, int status UNUSED)
{
    struct score_job *job = CONTAINER_OF(req, struct score_job, req);
    struct resources *r = job->resources;
    r->job = NULL;
    r->cpu_score = job->score;
    if (job->score) {
        store_set_number(r->store, "cpu_score", job->score, on_kept, NULL);
        store_set_number(r->store, "cpu_score_processors", r->cpu_millis, on_kept, NULL);
    }
    free(job);
    if (r->stopped)
        r->stopped(r->stopped_ctx);
}

void resources_measure(struct resources *r, uv_loop_t *loop)
{
    if (r->cpu_score || r->job || !(r->job = calloc(1, sizeof *r->job)))
        return;
    r->job->resources = r;
    (void)uv_queue_work(loop, &r->job->req, measure, on_measured); /* fails only without a job */
}

static void look_at_disk(struct resources *r)
{
    struct statvfs st;
    if (r->disk_fd < 0 || fstatvfs(r->disk_fd, &st) < 0)
        return;
    r->disk_bytes = (uint64_t)st.f_blocks * st.f_frsize;
    r->disk_free_bytes = (uint64_t)st.f_bavail * st.f_frsize;
}

static void on_sample(uv_timer_t *timer)
{
    struct resources *r = timer->data;
    look_at_disk(r);
    struct machine_load load;
    unsigned before = r->overcommit.per_mille;
    (void)machine_load_sample(&r->load, &load); /* what is missing counts as not known */
    unsigned now = overcommit_step(&r->overcommit, &load, clock_monotonic_us(), r->ceiling);
    if (now == before)
        return;
    log_debug("of the processors %u in 1000 may be promised", now);
    engine_set_overcommit(r->engine, now);
}

int resources_watch(
    struct resources *r, uv_loop_t *loop, struct engine *engine, const char *storage_path, unsigned ceiling)
{
    r->disk_fd = open(storage_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    look_at_disk(r);
    r->engine = engine;
    r->ceiling = ceiling;
    machine_load_init(&r->load, NULL);
    overcommit_init(&r->overcommit);
    r->timer = timer_new(loop, r);
    if (!r->timer)
        return -ENOMEM;
    uv_timer_start(r->timer, on_sample, SAMPLE_MS, SAMPLE_MS);
    uv_unref((uv_handle_t *)r->timer);
    return 0;
}

void resources_set_ceiling(struct resources *r, unsigned ceiling)
{
    r->ceiling = ceiling;
}

void resources_stop(struct resources *r, void (*done)(void *ctx), void *ctx)
{
    timer_free(&r->timer);
    fd_close(&r->disk_fd);
    r->stopped = done;
    r->stopped_ctx = ctx;
    if (!r->job)
        done(ctx);
}
