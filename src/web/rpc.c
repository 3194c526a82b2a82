/* SPDX-License-Identifier: Apache-2.0 */
/* Routes that are nothing but a method of the service: its fields come in the address and the body, its answer is the answer. */
#include "web/handlers.h"

#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "base/error.h"
#include "base/util.h"
#include "web/internal.h"
#include "web/message.h"
#include "web/rpc.h"
#include "web/stream.h"

enum { AUDIT_DEFAULT = 100, AUDIT_MAX = 1000 };

struct taking {
    ProtobufCMessage *message;
    struct tw_error error;
    bool failed;
};

static bool take_param(void *ctx, const char *name, const char *value)
{
    struct taking *t = ctx;
    t->failed = message_take_text(t->message, name, value, &t->error) < 0;
    return !t->failed;
}

/* False: it was answered. */
static bool take_all(struct web_request *r, ProtobufCMessage *message, const json_t *body)
{
    const struct web_rpc *rpc = &web_request_route(r)->rpc;
    struct taking t = {.message = message};
    if (body && message_take_json(message, body, &t.error) < 0) {
        web_problem_of(r, &t.error);
        return false;
    }
    if (!web_request_params(r, take_param, &t)) {
        if (t.failed)
            web_problem_of(r, &t.error);
        return false;
    }
    if (rpc->segment && message_take_text(message, rpc->segment, web_request_segment(r), &t.error) < 0) {
        web_problem_of(r, &t.error);
        return false;
    }
    return true;
}

ProtobufCMessage *web_rpc_message(struct web_request *r, const json_t *body)
{
    ProtobufCMessage *message = message_new(web_request_route(r)->rpc.request);
    if (!message) {
        web_answer(r, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL);
        return NULL;
    }
    if (take_all(r, message, body))
        return message;
    protobuf_c_message_free_unpacked(message, NULL);
    return NULL;
}

static void on_answer(struct web_request *r, const ProtobufCMessage *message)
{
    web_reply(r, MHD_HTTP_OK, message_to_json(message));
}

void web_rpc_call(struct web *web, struct web_request *r, ProtobufCMessage *message,
    void (*done)(struct web_request *r, const ProtobufCMessage *message))
{
    const struct web_rpc *rpc = &web_request_route(r)->rpc;
    web_call(web, r,
        &(struct web_call){
            .method = rpc->method,
            .request = message,
            .answer = rpc->answer,
            .done = done ? done : on_answer,
        });
    protobuf_c_message_free_unpacked(message, NULL);
}

void handle_rpc(struct web *web, struct web_request *r)
{
    const json_t *body = NULL;
    if (web_request_has_body(r)) {
        body = web_request_json(r);
        if (!body)
            return;
    }
    ProtobufCMessage *message = web_rpc_message(r, body);
    if (message)
        web_rpc_call(web, r, message, NULL);
}

/* --- the audit log --- */

enum { NOTE_BEGUN };

static void on_record(struct web_stream *stream, const ProtobufCMessage *message, struct buf *out)
{
    uint64_t *begun = &web_stream_note(stream)->numbers[NOTE_BEGUN];
    const Taskworker__QueryAuditResponse *answer = (const void *)message;
    json_t *packed = answer->record ? message_to_json(&answer->record->base) : NULL;
    CLEANUP_FREE char *text = packed ? json_dumps(packed, JSON_COMPACT) : NULL;
    json_decref(packed);
    if (!text) /* only says that lines are damaged, which a check shows */
        return;
    (void)buf_append_str(out, *begun ? "," : "{\"records\":[");
    (void)buf_append_str(out, text);
    *begun = 1;
}

static void on_records_end(struct web_stream *stream, const struct tw_error *status, struct buf *out)
{
    if (status->code == TW_OK)
        (void)buf_append_str(out, web_stream_note(stream)->numbers[NOTE_BEGUN] ? "]}" : "{\"records\":[]}");
}

void handle_audit(struct web *web, struct web_request *r)
{
    ProtobufCMessage *message = web_rpc_message(r, NULL);
    Taskworker__QueryAuditRequest *query = (void *)message;
    if (!query)
        return;
    query->limit = query->limit ? MIN(query->limit, (uint64_t)AUDIT_MAX) : AUDIT_DEFAULT;
    web_stream(web, r,
        &(struct web_stream_options){
            .method = web_request_route(r)->rpc.method,
            .request = message,
            .answer = web_request_route(r)->rpc.answer,
            .type = "application/json",
            .message = on_record,
            .ended = on_records_end,
        });
    protobuf_c_message_free_unpacked(message, NULL);
}

/* --- handing a task in --- */

/* The same request again is to come to the same task: the service knows that of ids, so the key becomes one. */
static int take_key(Taskworker__ExecuteTaskRequest *task, const char *key, struct tw_error *error)
{
    uint8_t hash[16];
    char id[sizeof "key-" + 2 * sizeof hash] = "key-";
    if (!*key || strlen(key) > 255)
        return error_set(error, TW_INVALID_ARGUMENT, "an Idempotency-Key has 1 to 255 characters");
    if (*task->task_id)
        return error_set(
            error, TW_INVALID_ARGUMENT, "a task_id already does what an Idempotency-Key is for: leave one out");
    if (task->cache != TASKWORKER__CACHE__CACHE_OFF)
        return error_set(error, TW_INVALID_ARGUMENT, "with an Idempotency-Key there can be no cache");
    crypto_generichash(hash, sizeof hash, (const uint8_t *)key, strlen(key), NULL, 0);
    sodium_bin2hex(id + 4, sizeof id - 4, hash, sizeof hash);
    return message_take_text(&task->base, "task_id", id, error);
}

/* The text is the data as it stands. */
static int take_source(Taskworker__ExecuteTaskRequest *task, const json_t *source, struct tw_error *error)
{
    if (!json_is_string(source))
        return error_set(error, TW_INVALID_ARGUMENT, "source has to be a text");
    if (task->task_data.len)
        return error_set(error, TW_INVALID_ARGUMENT, "there is task_data and source: leave one out");
    free(task->task_data.data);
    task->task_data.len = json_string_length(source);
    task->task_data.data = malloc(task->task_data.len + 1);
    if (!task->task_data.data) {
        task->task_data.len = 0;
        return error_oom(error);
    }
    memcpy(task->task_data.data, json_string_value(source), task->task_data.len);
    return 0;
}

static void on_accepted(struct web_request *r, const ProtobufCMessage *message)
{
    web_reply(r, MHD_HTTP_CREATED, message_to_json(message));
}

void handle_submit(struct web *web, struct web_request *r)
{
    const char *key = web_request_header(r, "Idempotency-Key");
    const json_t *body = web_request_json(r);
    struct tw_error error = {0};
    if (!body)
        return;
    json_t *source = json_incref(json_object_get(body, "source"));
    (void)json_object_del((json_t *)(uintptr_t)body, "source");
    ProtobufCMessage *message = web_rpc_message(r, body);
    Taskworker__ExecuteTaskRequest *task = (void *)message;
    if (task && ((source && take_source(task, source, &error) < 0) || (key && take_key(task, key, &error) < 0))) {
        web_problem_of(r, &error);
        protobuf_c_message_free_unpacked(message, NULL);
    } else if (task) {
        web_rpc_call(web, r, message, on_accepted);
    }
    json_decref(source);
}
