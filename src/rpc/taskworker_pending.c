/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/taskworker_pending.h"

#include <string.h>

#include "base/error.h"
#include "rpc/wire_check.h"

void pending_drop(struct pending *p, unsigned refs)
{
    p->refs -= refs;
    if (p->refs)
        return;
    free(p->id);
    if (p->request)
        protobuf_c_message_free_unpacked(p->request, NULL);
    free(p);
}

void pending_unref(struct pending *p)
{
    pending_drop(p, 1);
}

static void on_timer_closed(uv_handle_t *handle)
{
    pending_unref(handle->data);
}

void pending_stop_timer(struct pending *p)
{
    if (!p->timer_used)
        return;
    p->timer_used = false;
    uv_close((uv_handle_t *)&p->timer, on_timer_closed);
}

static void on_call_done(struct rpc_call *call UNUSED, void *ctx)
{
    struct pending *p = ctx;
    p->call = NULL;
    pending_stop_timer(p);
    unsigned refs = 1;
    if (p->wait) {
        engine_wait_cancel(STEAL(p->wait)); /* and with it the engine's */
        refs++;
    }
    pending_drop(p, refs);
}

int pending_unpack(struct rpc_call *call, const ProtobufCMessageDescriptor *descriptor, const uint8_t *msg, size_t len,
    void *ret_request)
{
    struct tw_error error;
    if (wire_check(descriptor, msg, len, &error) < 0) {
        rpc_call_finish_error(call, &error);
        return -1;
    }
    ProtobufCMessage *request = protobuf_c_message_unpack(descriptor, NULL, len, msg);
    *(ProtobufCMessage **)ret_request = request;
    if (request)
        return 0;
    error_set(&error, TW_INVALID_ARGUMENT, "the request is not a valid %s message", descriptor->name);
    rpc_call_finish_error(call, &error);
    return -1;
}

/* Unpacks the request and makes the pending; NULL when the call has been refused already. */
struct pending *pending_begin(struct rpc_call *call, struct taskworker_service *service,
    const ProtobufCMessageDescriptor *descriptor, const uint8_t *msg, size_t len, void *ret_request)
{
    struct tw_error error;
    struct pending *p = NULL;
    if (pending_unpack(call, descriptor, msg, len, ret_request) < 0)
        return NULL;
    p = calloc(1, sizeof *p);
    if (!p) {
        error_oom(&error);
        rpc_call_finish_error(call, &error);
        return NULL;
    }
    *p = (struct pending){.service = service, .call = call, .refs = 2};
    rpc_call_set_on_done(call, on_call_done, p);
    return p;
}

void pending_free_request(void *p)
{
    protobuf_c_message_free_unpacked(*(ProtobufCMessage **)p, NULL);
}
void pending_fail(struct pending *p, const struct tw_error *error)
{
    if (p->call)
        rpc_call_finish_error(p->call, error);
}

int pending_require_id(const char *id, struct tw_error *error)
{
    return *id ? 0 : error_set(error, TW_INVALID_ARGUMENT, "task_id is empty");
}

/* --- may he see it? --- */

void pending_refuse(struct pending *p, const struct tw_error *error)
{
    pending_fail(p, error);
    pending_unref(p);
}

static void on_looked(void *ctx, const struct tw_task_info *info, uint64_t seq UNUSED, const struct tw_error *error)
{
    struct pending *p = ctx;
    struct tw_error hidden;
    if (!p->call) { /* nobody to ask for any more */
        pending_unref(p);
        return;
    }
    if (!error && !owner_may_see(p->call, info->owner))
        error = owner_hide_task(p->id, &hidden);
    if (error)
        p->refuse(p, error);
    else
        p->then(p);
}

void pending_look(struct pending *p, const char *id, void (*then)(struct pending *p),
    void (*refuse)(struct pending *p, const struct tw_error *error))
{
    struct tw_error error = {0};
    p->then = then;
    p->refuse = refuse;
    if (pending_require_id(id, &error) == 0 && !(p->id = strdup(id)))
        error_oom(&error);
    if (p->call)
        rpc_call_set_object(p->call, id);
    if (error.code)
        refuse(p, &error);
    else if (owner_sees_all(p->call))
        then(p);
    else
        engine_get(p->service->engine, id, on_looked, p);
}
