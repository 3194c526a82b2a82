/* SPDX-License-Identifier: Apache-2.0 */
/* What a handler may set on a call and ask of it. */
#include <string.h>

#include "rpc/server_internal.h"

void rpc_call_set_on_done(struct rpc_call *call, void (*on_done)(struct rpc_call *call, void *ctx), void *ctx)
{
    call->on_done = on_done;
    call->done_ctx = ctx;
}

void rpc_call_set_on_drain(struct rpc_call *call, void (*on_drain)(struct rpc_call *call, void *ctx), void *ctx)
{
    call->on_drain = on_drain;
    call->drain_ctx = ctx;
}

uint64_t rpc_call_deadline_us(const struct rpc_call *call)
{
    return call->deadline_us;
}

const char *rpc_call_metadata(const struct rpc_call *call, const char *name)
{
    if (!call->headers.data)
        return NULL;
    const char *p = (const char *)call->headers.data, *end = p + call->headers.len;
    for (p += strlen(p) + 1; p < end;) {
        const char *value = p + strlen(p) + 1;
        if (!strcmp(p, name))
            return value;
        p = value + strlen(value) + 1;
    }
    return NULL;
}

const char *rpc_call_peer(const struct rpc_call *call)
{
    return call->conn->peer;
}

const char *rpc_call_method(const struct rpc_call *call)
{
    return call->entry ? call->entry->method->name : "";
}
