/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "cli/options.h"
#include "cli/output.h"

static const char *state_name(Taskworker__GetStatusResponse__State state)
{
    const ProtobufCEnumValue *v =
        protobuf_c_enum_descriptor_get_value(&taskworker__get_status_response__state__descriptor, (int)state);
    return v ? v->name : "?";
}

static json_t *gpus_to_json(const Taskworker__GetStatusResponse *r)
{
    json_t *array = json_array();
    for (size_t i = 0; array && i < r->n_gpus; i++) {
        const Taskworker__Gpu *g = r->gpus[i];
        json_array_append_new(array,
            json_pack("{s:o, s:o, s:I, s:I, s:I, s:b, s:I}", "name", json_text(g->name), "uuid", json_text(g->uuid),
                "memory_bytes", (json_int_t)g->memory_bytes, "memory_bytes_allocated",
                (json_int_t)g->memory_bytes_allocated, "tasks", (json_int_t)g->tasks, "whole", g->whole, "score",
                (json_int_t)g->score));
    }
    return array;
}

static json_t *to_json(const Taskworker__GetStatusResponse *r)
{
    json_t *warnings = json_array();
    for (size_t i = 0; warnings && i < r->n_warnings; i++)
        json_array_append_new(warnings, json_text(r->warnings[i]));
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:I, "
        "s:I, s:I, s:I, s:I}",
        "disk_bytes", (json_int_t)r->disk_bytes, "disk_free_bytes", (json_int_t)r->disk_free_bytes, "cache_hits",
        (json_int_t)r->cache_hits, "cache_misses", (json_int_t)r->cache_misses, "gpus", gpus_to_json(r), "node_id",
        json_text(r->node_id), "version", json_text(r->version), "state", state_name(r->state), "started_us",
        (json_int_t)r->started_us, "max_concurrent_tasks", (json_int_t)r->max_concurrent_tasks, "running_tasks",
        (json_int_t)r->running_tasks, "queued_tasks", (json_int_t)r->queued_tasks, "max_queued_tasks",
        (json_int_t)r->max_queued_tasks, "max_task_size", (json_int_t)r->max_task_size, "accepted_tasks",
        (json_int_t)r->accepted_tasks, "completed_tasks", (json_int_t)r->completed_tasks, "failed_tasks",
        (json_int_t)r->failed_tasks, "stopped_tasks", (json_int_t)r->stopped_tasks, "warnings", warnings, "cpu_millis",
        (json_int_t)r->cpu_millis, "cpu_millis_allocated", (json_int_t)r->cpu_millis_allocated, "memory_bytes",
        (json_int_t)r->memory_bytes, "memory_bytes_allocated", (json_int_t)r->memory_bytes_allocated, "cpu_score",
        (json_int_t)r->cpu_score, "last_event", (json_int_t)r->last_event);
}

static void print_status(const struct cli *cli, const Taskworker__GetStatusResponse *r)
{
    char text[32], other[32];
    uint64_t now = clock_wall_us(), started = r->started_us > 0 ? (uint64_t)r->started_us : now;
    bool serving = r->state == TASKWORKER__GET_STATUS_RESPONSE__STATE__SERVING;
    fputs("node       ", stdout);
    output_text(stdout, r->node_id);
    fputs(" at ", stdout);
    output_text(stdout, cli->server);
    fputs("\nversion    ", stdout);
    output_text(stdout, r->version);
    printf("\nstate      %s%s%s, up %s\n", cli->color ? (serving ? "\033[32m" : "\033[33m") : "", state_name(r->state),
        color_off(cli), format_span(now > started ? now - started : 0, text));
    printf("tasks      %u running of at most %u, %u waiting of at most %u\n", r->running_tasks, r->max_concurrent_tasks,
        r->queued_tasks, r->max_queued_tasks);
    printf("accepted   %llu since it was started\n", (unsigned long long)r->accepted_tasks);
    printf("ended      %llu completed, %llu failed, %llu stopped since it was started, older ones among them\n",
        (unsigned long long)r->completed_tasks, (unsigned long long)r->failed_tasks,
        (unsigned long long)r->stopped_tasks);
    if (r->cache_hits + r->cache_misses)
        printf("cache      %llu of %llu results were there already\n", (unsigned long long)r->cache_hits,
            (unsigned long long)(r->cache_hits + r->cache_misses));
    if (r->cpu_millis)
        printf("processors %.4g of %.4g given to tasks, score %llu\n", (double)r->cpu_millis_allocated / 1000,
            (double)r->cpu_millis / 1000, (unsigned long long)r->cpu_score);
    if (r->memory_bytes)
        printf("memory     %s of %s given to tasks\n", format_bytes(r->memory_bytes_allocated, text),
            format_bytes(r->memory_bytes, other));
    if (r->disk_bytes)
        printf(
            "disk       %s of %s free\n", format_bytes(r->disk_free_bytes, text), format_bytes(r->disk_bytes, other));
    for (size_t i = 0; i < r->n_gpus; i++) {
        const Taskworker__Gpu *g = r->gpus[i];
        printf("GPU %zu      ", i);
        output_text(stdout, g->name);
        printf(", %s, score %llu: ", format_bytes(g->memory_bytes, text), (unsigned long long)g->score);
        if (g->whole)
            puts("a task has it");
        else if (g->tasks)
            printf("%u %s %s of it\n", g->tasks, g->tasks == 1 ? "task has" : "tasks share",
                format_bytes(g->memory_bytes_allocated, other));
        else
            puts("free");
    }
    printf("task size  at most %s\n", format_bytes(r->max_task_size, text));
    for (size_t i = 0; i < r->n_warnings; i++) {
        printf("%swarning%s    ", cli->color ? "\033[33m" : "", color_off(cli));
        output_text(stdout, r->warnings[i]);
        putchar('\n');
    }
}

int verb_status(struct cli *cli, int argc, char **argv)
{
    const struct option options[] = {
        {.name = "timeout",
            .kind = OPTION_DURATION,
            .target = &cli->timeout_us,
            .min = 1000,
            .metavar = "TIME",
            .help = "how long to wait for an answer [30s]"},
    };
    const struct syntax syntax = {
        .verb = "status",
        .usage = "[OPTION]...",
        .text = "Prints how the node is: what it does, what it has done since it was started, what it cannot do.",
        .example = "  hivemind status\n"
                   "  hivemind status --server 127.0.0.1:6000 --json",
        .options = options,
        .n_options = ARRAY_LEN(options),
    };
    struct arguments args;
    CLEANUP_MESSAGE Taskworker__GetStatusResponse *response = NULL;
    Taskworker__GetStatusRequest request = TASKWORKER__GET_STATUS_REQUEST__INIT;
    int code = 0;
    if (options_parse(cli, &syntax, argc, argv, &args, &code)) {
        code = cli_call(cli, "GetStatus", &request.base, &taskworker__get_status_response__descriptor, 0, &response);
        if (!code && cli->json)
            output_json(stdout, to_json(response));
        else if (!code)
            print_status(cli, response);
        code = output_finish(cli, code);
    }
    arguments_done(&args);
    return code;
}
