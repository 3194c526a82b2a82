/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handlers that stand in for the real service in tests and benchmarks; they speak its messages, so that any client of
 * taskworker.proto can call them.
 *
 *   GetStatus    answers at once
 *   ExecuteTask  answers with the length of task_data as message; task_type "bad": success=false and INVALID_ARGUMENT,
 *                "silent": INVALID_ARGUMENT alone
 *   WaitTask     never answers
 *   GetResult    task_id is a number: that many bytes of 'x'
 *   StreamLogs   offset is a number: that many messages of 1000 bytes, then the end unless `follow` is set
 *   /echo.Echo/Chat          each message comes back, sixteen times as long; ends when the client has
 *   /echo.Echo/Vital         as GetStatus; is served when there is no room for others
 *   /echo.Echo/Small         a unary method that takes 100 bytes
 */
#ifndef TESTS_ECHO_SERVICE_H
#define TESTS_ECHO_SERVICE_H

#include "rpc/server.h"

struct echo {
    unsigned done;    /* on_done of any call */
    unsigned waiting; /* WaitTask */
    unsigned executed;
    unsigned half_closed, chat_messages;
    unsigned drained; /* on_drain */
    unsigned choked;  /* rpc_call_send said stop */
    size_t streamed;  /* messages of StreamLogs that were queued */
    char peer[64], metadata[64], method[128];
    char identity[160]; /* of the caller of GetStatus; "-": it has none */
    uint64_t deadline_us;
    struct rpc_call *last_wait;
};

int echo_service_add(struct rpc_server *server, struct echo *echo);

#endif
