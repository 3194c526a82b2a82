/* SPDX-License-Identifier: Apache-2.0 */
/* One call from start to end, for programs that have nothing else to do meanwhile. */
#include "rpc/client_internal.h"

#include "base/error.h"

struct unary {
    const ProtobufCMessageDescriptor *descriptor;
    ProtobufCMessage *response;
    struct tw_error status;
    bool done, bad;
};

static void on_unary_message(struct rpc_client_call *call UNUSED, const uint8_t *msg, size_t len, void *ctx)
{
    struct unary *u = ctx;
    if (u->response || u->bad) {
        u->bad = true;
        return;
    }
    u->response = protobuf_c_message_unpack(u->descriptor, NULL, len, msg);
    u->bad = !u->response;
}

static void on_unary_done(struct rpc_client_call *call UNUSED, const struct tw_error *status, void *ctx)
{
    struct unary *u = ctx;
    u->status = *status;
    u->done = true;
}

int rpc_client_unary(struct rpc_client *client, const char *method, const ProtobufCMessage *request,
    const ProtobufCMessageDescriptor *descriptor, uint64_t timeout_us, ProtobufCMessage **ret, struct tw_error *error)
{
    static const struct rpc_client_callbacks callbacks = {.on_message = on_unary_message, .on_done = on_unary_done};
    struct unary u = {.descriptor = descriptor};
    if (!rpc_client_start(client, method, request, timeout_us, &callbacks, &u))
        return error_oom(error);
    while (!u.done)
        uv_run(client->hub.loop, UV_RUN_ONCE);
    if (u.status.code == TW_OK && u.response && !u.bad) {
        *ret = u.response;
        return 0;
    }
    if (u.response)
        protobuf_c_message_free_unpacked(u.response, NULL);
    if (u.status.code == TW_OK)
        return error_set(error, TW_INTERNAL, "the server's answer to %s is not one valid message", method);
    error_copy(error, &u.status);
    return -1;
}
