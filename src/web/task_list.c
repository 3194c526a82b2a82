/* SPDX-License-Identifier: Apache-2.0 */
/* The tasks that run, and stopping one, as the HiveMind worker's interface has them. */
#include "web/handlers.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/util.h"
#include "web/internal.h"

#include "taskworker.pb-c.h"

#define TASK(name) "/taskworker.TaskWorkerService/" name

#define GIB_BYTES 1073741824.0

enum { PAGE = 1000 };

static const char *state_name(Taskworker__Task__State state)
{
    const ProtobufCEnumValue *value =
        protobuf_c_enum_descriptor_get_value(&taskworker__task__state__descriptor, (int)state);
    return value ? value->name : "UNKNOWN";
}

static json_t *pack_time(int64_t us)
{
    time_t seconds = (time_t)(us / 1000000);
    struct tm tm;
    char day[32], text[48];
    if (us <= 0 || !gmtime_r(&seconds, &tm))
        return json_null();
    strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text, sizeof text, "%s.%06uZ", day, (unsigned)(us % 1000000));
    return json_string(text);
}

/* --- what runs --- */

static json_t *pack_task(const Taskworker__Task *task)
{
    int64_t now = (int64_t)clock_wall_us();
    double elapsed = task->started_us ? (double)MAX(now - task->started_us, 0) / 1e6 : 0;
    return json_pack("{s:s, s:s, s:o, s:f, s:{}, s:s, s:s, s:b}", "task_id", task->task_id, "status",
        state_name(task->state), "start_time", pack_time(task->started_us), "elapsed", elapsed, "resources",
        "task_type", task->task_type, "owner", task->owner, "paused", task->paused);
}

/* What it asked for; 0: nothing in particular, so it has what the node gives. */
static json_t *pack_resources(const Taskworker__Task *task)
{
    const Taskworker__Limits *limits = task->limits;
    return json_pack("{s:f, s:f, s:i, s:f}", "cpu", limits ? (double)limits->cpu_millis / 1000 : 0.0, "memory_gb",
        limits ? (double)limits->memory_bytes / GIB_BYTES : 0.0, "gpu", (int)task->gpus, "gpu_memory_gb",
        (double)task->gpu_memory_bytes / GIB_BYTES);
}

/* What each asked for only GetTask tells; they are asked about one after the other. */
static void ask_details(struct web_request *r);

static void on_detail(struct web_request *r, const ProtobufCMessage *message)
{
    const Taskworker__GetTaskResponse *answer = (const void *)message;
    if (answer->task)
        (void)json_object_set_new(json_array_get(r->building, r->built), "resources", pack_resources(answer->task));
    r->built++;
    ask_details(r);
}

/* It may be gone by now. */
static void on_no_detail(struct web_request *r, const struct tw_error *error)
{
    if (error->code != TW_NOT_FOUND) {
        web_problem_of(r, error);
        return;
    }
    r->built++;
    ask_details(r);
}

static void ask_details(struct web_request *r)
{
    const char *id = json_string_value(json_object_get(json_array_get(r->building, r->built), "task_id"));
    Taskworker__GetTaskRequest request = TASKWORKER__GET_TASK_REQUEST__INIT;
    if (!id) { /* behind the last */
        web_reply(r, MHD_HTTP_OK, json_pack("{s:O}", "tasks", r->building));
        return;
    }
    request.task_id = (char *)(uintptr_t)id;
    web_call(web_of(r), r,
        &(struct web_call){
            .method = TASK("GetTask"),
            .request = &request.base,
            .answer = &taskworker__get_task_response__descriptor,
            .done = on_detail,
            .failed = on_no_detail,
        });
}

static void on_page(struct web_request *r, const ProtobufCMessage *message);

static void ask_page(struct web *web, struct web_request *r, char *page_token)
{
    Taskworker__Task__State states[] = {
        TASKWORKER__TASK__STATE__ALLOCATED, TASKWORKER__TASK__STATE__PREPARING, TASKWORKER__TASK__STATE__RUNNING};
    Taskworker__ListTasksRequest request = TASKWORKER__LIST_TASKS_REQUEST__INIT;
    request.states = states;
    request.n_states = ARRAY_LEN(states);
    request.page_size = PAGE;
    request.page_token = page_token;
    web_call(web, r,
        &(struct web_call){
            .method = TASK("ListTasks"),
            .request = &request.base,
            .answer = &taskworker__list_tasks_response__descriptor,
            .done = on_page,
        });
}

static void on_page(struct web_request *r, const ProtobufCMessage *message)
{
    const Taskworker__ListTasksResponse *page = (const void *)message;
    for (size_t i = 0; i < page->n_tasks; i++)
        (void)json_array_append_new(r->building, pack_task(page->tasks[i]));
    if (*page->next_page_token)
        ask_page(r->web, r, page->next_page_token);
    else
        ask_details(r);
}

void handle_tasks(struct web *web, struct web_request *r)
{
    r->building = json_array();
    ask_page(web, r, (char *)(uintptr_t)protobuf_c_empty_string);
}

/* --- stopping one --- */

static void on_stopped(struct web_request *r, const ProtobufCMessage *message UNUSED)
{
    char text[WEB_SEGMENT_MAX + 32];
    snprintf(text, sizeof text, "Task %s stopped", web_request_segment(r));
    web_reply(r, MHD_HTTP_OK, json_pack("{s:b, s:s}", "success", 1, "message", text));
}

static void on_not_stopped(struct web_request *r, const struct tw_error *error)
{
    if (error->code == TW_NOT_FOUND)
        web_reply(r, MHD_HTTP_NOT_FOUND, json_pack("{s:b, s:s}", "success", 0, "error", "Task not found"));
    else
        web_problem_of(r, error);
}

void handle_stop_task(struct web *web, struct web_request *r)
{
    Taskworker__StopTaskRequest request = TASKWORKER__STOP_TASK_REQUEST__INIT;
    request.task_id = (char *)(uintptr_t)web_request_segment(r);
    web_call(web, r,
        &(struct web_call){
            .method = TASK("StopTask"),
            .request = &request.base,
            .answer = &taskworker__stop_task_response__descriptor,
            .done = on_stopped,
            .failed = on_not_stopped,
        });
}
