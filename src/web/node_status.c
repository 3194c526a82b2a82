/* SPDX-License-Identifier: Apache-2.0 */
/* What the node is and has. The fields, and what they are called, are those of the HiveMind worker's interface. */
#include "web/handlers.h"

#include "base/util.h"
#include "web/internal.h"

#include "taskworker.pb-c.h"

#define GIB_BYTES 1073741824.0

struct shares {
    double cpu, memory_gb, gpu, gpu_memory_gb;
};

static json_t *pack_shares(const struct shares *s)
{
    return json_pack("{s:f, s:f, s:f, s:f}", "cpu", s->cpu, "memory_gb", s->memory_gb, "gpu", s->gpu, "gpu_memory_gb",
        s->gpu_memory_gb);
}

/* Scores of processors and GPUs, and GiB: what there is for tasks, and what of it no running task was given. */
static void find_shares(const Taskworker__GetStatusResponse *s, struct shares *ret_total, struct shares *ret_free)
{
    uint64_t cpu_free = s->cpu_millis - MIN(s->cpu_millis_allocated, s->cpu_millis);
    uint64_t memory_free = s->memory_bytes - MIN(s->memory_bytes_allocated, s->memory_bytes);
    *ret_total = (struct shares){.cpu = (double)s->cpu_score, .memory_gb = (double)s->memory_bytes / GIB_BYTES};
    *ret_free = (struct shares){
        .cpu = s->cpu_millis ? (double)s->cpu_score * (double)cpu_free / (double)s->cpu_millis : 0,
        .memory_gb = (double)memory_free / GIB_BYTES,
    };
    for (size_t i = 0; i < s->n_gpus; i++) {
        const Taskworker__Gpu *gpu = s->gpus[i];
        uint64_t left = gpu->whole ? 0 : gpu->memory_bytes - MIN(gpu->memory_bytes_allocated, gpu->memory_bytes);
        ret_total->gpu += (double)gpu->score;
        ret_total->gpu_memory_gb += (double)gpu->memory_bytes / GIB_BYTES;
        ret_free->gpu += gpu->whole || gpu->tasks ? 0 : (double)gpu->score;
        ret_free->gpu_memory_gb += (double)left / GIB_BYTES;
    }
}

static double cpu_percent(const struct machine_load *load)
{
    return load->busy_known ? (double)load->busy_per_mille / 10 : 0;
}

static double memory_percent(const struct machine_memory *m)
{
    return m->total_bytes ? 100.0 * (double)(m->total_bytes - m->available_bytes) / (double)m->total_bytes : 0;
}

static void on_status(struct web_request *r, const ProtobufCMessage *message)
{
    const Taskworker__GetStatusResponse *s = (const void *)message;
    const struct machine_load *load = web_load(r->web);
    struct shares total, left;
    find_shares(s, &total, &left);
    json_t *warnings = json_array();
    for (size_t i = 0; warnings && i < s->n_warnings; i++)
        (void)json_array_append_new(warnings, json_string(s->warnings[i]));
    /* Of the node pool and of trust there is nothing to tell yet: null, and no number that somebody might believe. */
    web_reply(r, MHD_HTTP_OK,
        json_pack("{s:s, s:s, s:b, s:b, s:f, s:f, s:o, s:o, s:I, s:n, s:n, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:o}",
            "node_id", s->node_id, "status",
            s->state == TASKWORKER__GET_STATUS_RESPONSE__STATE__DRAINING ? "draining" : "serving", "is_registered", 0,
            "docker_available", 0, "cpu_percent", cpu_percent(load), "memory_percent", memory_percent(&load->memory),
            "available_resources", pack_shares(&left), "total_resources", pack_shares(&total), "running_tasks",
            (json_int_t)s->running_tasks, "trust_score", "trust_group", "version", s->version, "started_us",
            (json_int_t)s->started_us, "queued_tasks", (json_int_t)s->queued_tasks, "max_concurrent_tasks",
            (json_int_t)s->max_concurrent_tasks, "completed_tasks", (json_int_t)s->completed_tasks, "failed_tasks",
            (json_int_t)s->failed_tasks, "stopped_tasks", (json_int_t)s->stopped_tasks, "warnings", warnings));
}

static void on_resources(struct web_request *r, const ProtobufCMessage *message)
{
    const Taskworker__GetStatusResponse *s = (const void *)message;
    const struct machine_load *load = web_load(r->web);
    web_reply(r, MHD_HTTP_OK,
        json_pack("{s:f, s:f, s:f, s:I}", "cpu_available", 100 - cpu_percent(load), "memory_available",
            (double)load->memory.available_bytes / GIB_BYTES, "disk_available", (double)s->disk_free_bytes / GIB_BYTES,
            "running_tasks", (json_int_t)s->running_tasks));
}

static void ask(struct web *web, struct web_request *r, void (*done)(struct web_request *, const ProtobufCMessage *))
{
    Taskworker__GetStatusRequest request = TASKWORKER__GET_STATUS_REQUEST__INIT;
    web_call(web, r,
        &(struct web_call){
            .method = "/taskworker.TaskWorkerService/GetStatus",
            .request = &request.base,
            .answer = &taskworker__get_status_response__descriptor,
            .done = done,
        });
}

void handle_status(struct web *web, struct web_request *r)
{
    ask(web, r, on_status);
}

void handle_resources(struct web *web, struct web_request *r)
{
    ask(web, r, on_resources);
}
