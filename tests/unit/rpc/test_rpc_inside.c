/* SPDX-License-Identifier: Apache-2.0 */
/* A gateway's connection from within the program: it says whom its calls are for, and is believed. */
#include "harness.h"

#include <arpa/inet.h>

#include "base/error.h"
#include "rpc/client.h"
#include "rpc/status.h"

#include "taskworker.pb-c.h"

struct outcome {
    struct tw_error status;
    unsigned done, messages;
};

struct gate {
    unsigned asked;
    char peer[80], authorization[80];
    int family;
    uint8_t address[16];
};

static void on_message(struct rpc_client_call *call UNUSED, const uint8_t *msg UNUSED, size_t len UNUSED, void *ctx)
{
    ((struct outcome *)ctx)->messages++;
}

static void on_done(struct rpc_client_call *call UNUSED, const struct tw_error *status, void *ctx)
{
    struct outcome *o = ctx;
    o->done++;
    o->status = *status;
}

static const struct rpc_client_callbacks callbacks = {.on_message = on_message, .on_done = on_done};

static int authorize(void *ctx, const struct rpc_call *call, struct who *ret_who, struct tw_error *error UNUSED)
{
    struct gate *gate = ctx;
    const char *authorization = rpc_call_metadata(call, "authorization");
    const struct sockaddr *address = rpc_call_peer_address(call);
    gate->asked++;
    snprintf(gate->peer, sizeof gate->peer, "%s", rpc_call_peer(call));
    snprintf(gate->authorization, sizeof gate->authorization, "%s", authorization ? authorization : "");
    gate->family = address->sa_family;
    if (gate->family == AF_INET)
        memcpy(gate->address, &((const struct sockaddr_in *)(const void *)address)->sin_addr, 4);
    else if (gate->family == AF_INET6)
        memcpy(gate->address, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, 16);
    *ret_who = (struct who){.role = ROLE_ADMIN};
    return 0;
}

static struct rpc_client *connect_inside(struct harness *h)
{
    struct rpc_client_options options = {.has_fd = true, .fd = -1};
    struct rpc_client *client = NULL;
    struct tw_error error;
    assert_int_equal(rpc_server_connect(h->server, &options.fd), 0);
    if (rpc_client_new(&h->loop, &options, &client, &error) < 0)
        fail_msg("%s", error.message);
    return client;
}

static void call_as(
    struct harness *h, struct rpc_client *client, const char *token, const char *from, struct outcome *o)
{
    Taskworker__GetStatusRequest request = TASKWORKER__GET_STATUS_REQUEST__INIT;
    const struct rpc_client_caller caller = {.token = token, .from = from};
    *o = (struct outcome){0};
    assert_non_null(rpc_client_start_for(client, &caller, SERVICE "GetStatus", &request.base, 0, &callbacks, o));
    RUN_UNTIL(h, o->done);
}

static void test_whom_it_is_for(void **state UNUSED)
{
    struct gate gate = {0};
    struct harness h;
    struct outcome o;
    harness_init(&h, &(struct rpc_server_options){.authorize = authorize, .authorize_ctx = &gate});
    struct rpc_client *client = connect_inside(&h);
    call_as(&h, client, "twt_abc", "10.1.2.3:99", &o);
    assert_int_equal(o.status.code, TW_OK);
    assert_int_equal(o.messages, 1);
    assert_string_equal(gate.peer, "10.1.2.3:99");
    assert_string_equal(gate.authorization, "Bearer twt_abc");
    assert_int_equal(gate.family, AF_INET);
    assert_memory_equal(gate.address, "\x0a\x01\x02\x03", 4);

    call_as(&h, client, NULL, "[2001:db8::7]:65535", &o);
    assert_int_equal(o.status.code, TW_OK);
    assert_string_equal(gate.peer, "[2001:db8::7]:65535");
    assert_string_equal(gate.authorization, "");
    assert_int_equal(gate.family, AF_INET6);
    assert_memory_equal(gate.address, "\x20\x01\x0d\xb8", 4);

    /* Nothing of that stays for the next one. */
    call_as(&h, client, NULL, NULL, &o);
    assert_string_equal(gate.peer, "inside");
    assert_int_equal(gate.family, AF_UNSPEC);

    static const char *const bad[] = {"", ":", "1.2.3.4", "1.2.3.4:", "1.2.3.4:65536", "1.2.3:4", "[::1]", "[::1:5",
        "::1:5", "[]:5", "[1.2.3.4]:5", "a:5", "[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff:1111:2222:3333]:5"};
    unsigned asked = gate.asked;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        call_as(&h, client, NULL, bad[i], &o);
        if (o.status.code != TW_INVALID_ARGUMENT)
            fail_msg("\"%s\": %s", bad[i], o.status.message);
    }
    assert_int_equal(gate.asked, asked);
    rpc_client_free(client);
    harness_done(&h);
}

static void test_others_are_not_believed(void **state UNUSED)
{
    struct gate gate = {0};
    struct harness h;
    struct raw raw;
    harness_init(&h, &(struct rpc_server_options){.authorize = authorize, .authorize_ctx = &gate});
    raw_init(&raw, &h, 65535);
    const char *const lie[] = {RPC_FROM_HEADER, "10.1.2.3:99", NULL};
    struct raw_stream *s = raw_call(&raw, SERVICE "GetStatus", "\0\0\0\0", 5, true, lie);
    RUN_UNTIL(&h, s->closed);
    assert_int_equal(s->grpc_status, TW_OK);
    assert_string_equal(gate.peer, "?");
    raw_done(&raw);
    harness_done(&h);
}

enum { MANY = 3000 };

static void test_it_is_many_clients(void **state UNUSED)
{
    static struct outcome outcomes[MANY];
    static struct rpc_client_call *calls[MANY];
    struct harness h;
    harness_init(&h, &(struct rpc_server_options){.max_streams = 10});
    struct rpc_client *client = connect_inside(&h);
    Taskworker__WaitTaskRequest request = TASKWORKER__WAIT_TASK_REQUEST__INIT;
    memset(outcomes, 0, sizeof outcomes);
    for (size_t i = 0; i < MANY; i++) {
        calls[i] = rpc_client_start_for(client, NULL, SERVICE "WaitTask", &request.base, 0, &callbacks, &outcomes[i]);
        assert_non_null(calls[i]);
    }
    RUN_UNTIL(&h, h.echo.waiting == MANY);
    /* All of them think better of it, which would be a flood if it were one client. */
    for (size_t i = 0; i < MANY; i++)
        rpc_client_cancel(calls[i]);
    RUN_UNTIL(&h, h.echo.done == MANY);
    struct outcome o;
    call_as(&h, client, NULL, NULL, &o);
    assert_int_equal(o.status.code, TW_OK);
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(outcomes[i].status.code, TW_CANCELLED);
    rpc_client_free(client);
    harness_done(&h);
}

static void test_a_slow_reader_holds_it_up(void **state UNUSED)
{
    struct harness h;
    struct outcome o = {0};
    harness_init(&h, NULL);
    struct rpc_client *client = connect_inside(&h);
    Taskworker__StreamLogsRequest request = TASKWORKER__STREAM_LOGS_REQUEST__INIT;
    request.offset = 20000; /* messages of 1000 bytes */
    struct rpc_client_call *call =
        rpc_client_start_for(client, NULL, SERVICE "StreamLogs", &request.base, 0, &callbacks, &o);
    assert_non_null(call);
    rpc_client_pause(call, true);
    RUN_UNTIL(&h, h.echo.choked);
    while (uv_run(&h.loop, UV_RUN_NOWAIT) && h.echo.choked == 0)
        continue;
    assert_true(h.echo.streamed < 5000);
    rpc_client_pause(call, false);
    RUN_UNTIL(&h, o.done);
    assert_int_equal(o.status.code, TW_OK);
    assert_int_equal(o.messages, 20000);
    rpc_client_free(client);
    harness_done(&h);
}

static void test_the_end(void **state UNUSED)
{
    struct harness h;
    struct outcome o = {0}, later = {0};
    harness_init(&h, NULL);
    struct rpc_client *client = connect_inside(&h);
    Taskworker__WaitTaskRequest request = TASKWORKER__WAIT_TASK_REQUEST__INIT;
    assert_non_null(rpc_client_start_for(client, NULL, SERVICE "WaitTask", &request.base, 0, &callbacks, &o));
    RUN_UNTIL(&h, h.echo.waiting == 1);
    rpc_server_free(h.server);
    h.server = NULL;
    RUN_UNTIL(&h, o.done);
    assert_int_equal(o.status.code, TW_UNAVAILABLE);
    assert_non_null(rpc_client_start_for(client, NULL, SERVICE "WaitTask", &request.base, 0, &callbacks, &later));
    RUN_UNTIL(&h, later.done);
    assert_int_equal(later.status.code, TW_UNAVAILABLE);
    rpc_client_free(client);
    harness_done(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whom_it_is_for),
        cmocka_unit_test(test_others_are_not_believed),
        cmocka_unit_test(test_it_is_many_clients),
        cmocka_unit_test(test_a_slow_reader_holds_it_up),
        cmocka_unit_test(test_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
