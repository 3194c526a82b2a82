/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call of a function is a task of the type "function", whose data says what is called. The caller waits for its end, and
 * nobody else could have its result: so when the caller goes, by its deadline or in whatever way, the task is stopped.
 */
#include "rpc/function_service.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "rpc/owner.h"
#include "rpc/taskworker_convert.h"
#include "rpc/taskworker_pending.h"

enum { NAME_MAX_BYTES = 256, USER_MAX_BYTES = 128, REQUEST_MAX = 17 << 20, DATA_MAX = 7 * REQUEST_MAX };

struct function_call {
    struct taskworker_service *service;
    struct rpc_call *call; /* NULL: the caller has gone */
    struct engine_wait *wait;
    char *id;      /* of the task; NULL: it is being admitted */
    unsigned refs; /* the call; the engine or the store */
};

static void drop(struct function_call *c, unsigned refs)
{
    c->refs -= refs;
    if (c->refs)
        return;
    free(c->id);
    free(c);
}

static void on_stopped(void *ctx UNUSED, const struct tw_task_info *info UNUSED, const void *result UNUSED,
    size_t len UNUSED, const struct tw_error *error UNUSED)
{
    /* Nobody waits for it. */
}

static void on_call_done(struct rpc_call *call UNUSED, void *ctx)
{
    struct function_call *c = ctx;
    unsigned refs = 1;
    c->call = NULL;
    if (c->wait) {
        engine_wait_cancel(STEAL(c->wait)); /* and with it the engine's */
        engine_stop(c->service->engine, c->id, on_stopped, NULL);
        refs++;
    }
    drop(c, refs);
}

/* --- the request as the task's data --- */

static int add_value(struct buf *out, const char *text, bool is_json)
{
    if (!is_json)
        return json_append_quoted(out, text);
    return json_is_valid(text, strlen(text)) ? buf_append_str(out, text) : -EINVAL;
}

static int add_args(const Taskworker__CallFunctionRequest *r, struct buf *out, struct tw_error *error)
{
    buf_append_str(out, ",\"args\":[");
    for (size_t i = 0; i < r->n_args; i++) {
        if (i > 0)
            buf_append_str(out, ",");
        if (add_value(out, r->args[i], r->json_args) == -EINVAL)
            return error_set(error, TW_INVALID_ARGUMENT, "argument %zu is no JSON", i + 1);
    }
    buf_append_str(out, "]");
    return 0;
}

static int add_kwargs(const Taskworker__CallFunctionRequest *r, struct buf *out, struct tw_error *error)
{
    buf_append_str(out, ",\"kwargs\":{");
    for (size_t i = 0; i < r->n_kwargs; i++) {
        if (i > 0)
            buf_append_str(out, ",");
        json_append_quoted(out, r->kwargs[i]->key);
        buf_append_str(out, ":");
        if (add_value(out, r->kwargs[i]->value, r->json_args) == -EINVAL)
            return error_set(error, TW_INVALID_ARGUMENT, "the argument \"%.60s\" is no JSON", r->kwargs[i]->key);
    }
    buf_append_str(out, "}}");
    return 0;
}

/* Values that are JSON already are taken as they stand: to parse them would lose long numbers, and more. */
static char *data_of(const Taskworker__CallFunctionRequest *r, struct tw_error *error)
{
    struct buf out CLEANUP_BUF = BUF_INIT(DATA_MAX);
    buf_append_str(&out, "{\"function\":");
    json_append_quoted(&out, r->function_name);
    if (add_args(r, &out, error) < 0 || add_kwargs(r, &out, error) < 0)
        return NULL;
    char *text = buf_steal(&out, NULL);
    if (!text)
        error_oom(error);
    return text;
}

static int check(const Taskworker__CallFunctionRequest *r, struct tw_error *error)
{
    size_t name = strlen(r->function_name), user = strlen(r->user_id);
    if (name == 0)
        return error_set(error, TW_INVALID_ARGUMENT, "function_name is missing");
    if (name > NAME_MAX_BYTES)
        return error_set(error, TW_INVALID_ARGUMENT, "function_name is longer than %d bytes", NAME_MAX_BYTES);
    if (user > USER_MAX_BYTES)
        return error_set(error, TW_INVALID_ARGUMENT, "user_id is longer than %d bytes", USER_MAX_BYTES);
    for (const char *p = r->user_id; *p; p++) {
        if ((unsigned char)*p < ' ' || *p == 127)
            return error_set(error, TW_INVALID_ARGUMENT, "user_id has a control character in it");
    }
    return 0;
}

/* --- the answer --- */

static void reply(struct function_call *c, const struct tw_task_info *info, const void *result, size_t len)
{
    Taskworker__CallFunctionResponse response = TASKWORKER__CALL_FUNCTION_RESPONSE__INIT;
    CLEANUP_FREE char *text = len ? text_dup(result, len) : NULL;
    bool well = info->state == TW_TASK_COMPLETED;
    response.status = well;
    response.task_id = info->id;
    if (well && text)
        response.result = text;
    response.exit_code = info->exit_code;
    if (!well)
        response.error = info->error && *info->error ? info->error : info->message;
    if (c->call)
        rpc_call_reply(c->call, &response.base);
}

static void refuse(struct function_call *c, const struct tw_error *error)
{
    if (!c->call)
        return;
    Taskworker__CallFunctionResponse response = TASKWORKER__CALL_FUNCTION_RESPONSE__INIT;
    response.error = (char *)error->message;
    rpc_call_send(c->call, &response.base);
    rpc_call_finish_error(c->call, error);
}

static void on_ended(
    void *ctx, const struct tw_task_info *info, const void *result, size_t len, const struct tw_error *error)
{
    struct function_call *c = ctx;
    c->wait = NULL;
    if (error)
        refuse(c, error);
    else
        reply(c, info, result, len);
    drop(c, 1);
}

static void on_admitted(void *ctx, const struct tw_task_info *info, bool existing UNUSED, const struct tw_error *error)
{
    struct function_call *c = ctx;
    struct engine *engine = c->service->engine;
    struct tw_error oom;
    if (info && !(c->id = strdup(info->id))) {
        error_oom(&oom);
        error = &oom;
    }
    if (info && c->call)
        rpc_call_set_object(c->call, info->id);
    if (info && (error || !c->call))
        engine_stop(engine, info->id, on_stopped, NULL);
    if (error)
        refuse(c, error);
    if (error || !c->call) {
        drop(c, 1);
        return;
    }
    c->refs++; /* the wait may be over within the call */
    struct engine_wait *wait = engine_wait(engine, c->id, on_ended, c);
    c->wait = wait; /* NULL: it is */
    drop(c, 1);
}

static void call_function(struct rpc_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    CLEANUP_REQUEST Taskworker__CallFunctionRequest *request = NULL;
    struct tw_error error;
    if (pending_unpack(call, &taskworker__call_function_request__descriptor, msg, len, &request) < 0)
        return;
    CLEANUP_FREE char *data = check(request, &error) == 0 && owner_take(call, &request->user_id, &error) == 0
        ? data_of(request, &error)
        : NULL;
    struct function_call *c = calloc(1, sizeof *c);
    if (!c || !data) {
        if (!c)
            error_oom(&error);
        free(c);
        rpc_call_finish_error(call, &error);
        return;
    }
    *c = (struct function_call){.service = ctx, .call = call, .refs = 2};
    rpc_call_set_on_done(call, on_call_done, c);
    struct tw_task_spec spec = {
        .size = sizeof spec,
        .type = "function",
        .owner = request->user_id,
        .data = data,
        .data_len = strlen(data),
        .for_caller = true,
    };
    engine_admit(c->service->engine, &spec, STEAL(data), on_admitted, c);
}

int function_service_register(struct rpc_server *server, struct taskworker_service *service, struct tw_error *error)
{
    static const struct rpc_method methods[] = {
        {.name = "/taskworker.RPCService/CallFunction",
            .max_request = REQUEST_MAX,
            .lasting = true,
            .unary = call_function},
        {0},
    };
    int r = rpc_server_add_methods(server, methods, service);
    return r < 0 ? error_set_errno(error, r, "cannot register RPCService") : 0;
}
