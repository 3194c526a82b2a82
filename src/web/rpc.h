/* SPDX-License-Identifier: Apache-2.0 */
/* What handlers of methods of the service share. */
#ifndef WEB_RPC_H
#define WEB_RPC_H

#include "web/request.h"

/* The request's message: of its body (may be NULL), its parameters and the address. NULL: it was answered. */
ProtobufCMessage *web_rpc_message(struct web_request *request, const json_t *body);
/* Calls the route's method and frees the message. `done` NULL: the answer becomes the answer. */
void web_rpc_call(struct web *web, struct web_request *request, ProtobufCMessage *message,
    void (*done)(struct web_request *request, const ProtobufCMessage *message));

#endif
