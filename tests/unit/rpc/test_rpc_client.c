/* SPDX-License-Identifier: Apache-2.0 */
/* The client against the server, over loopback. */
#include "harness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "rpc/client.h"
#include "rpc/health.h"

#include "health.pb-c.h"
#include "taskworker.pb-c.h"

/* What became of one call. */
struct outcome {
    struct rpc_client *client;
    struct rpc_client_call *call;
    struct tw_error status;
    unsigned done, messages;
    size_t bytes;
    int32_t last_health;
    bool pause_first, cancel_first;
};

static void on_message(struct rpc_client_call *call, const uint8_t *msg, size_t len, void *ctx)
{
    struct outcome *o = ctx;
    assert_int_equal(o->done, 0);
    o->messages++;
    o->bytes += len;
    if (o->pause_first && o->messages == 1)
        rpc_client_pause(call, true);
    if (o->cancel_first && o->messages == 1)
        rpc_client_cancel(call);
    o->last_health = len == 2 && msg[0] == 8 ? msg[1] : -1;
}

static void on_done(struct rpc_client_call *call UNUSED, const struct tw_error *status, void *ctx)
{
    struct outcome *o = ctx;
    o->done++;
    o->status = *status;
    o->call = NULL;
}

static const struct rpc_client_callbacks callbacks = {.on_message = on_message, .on_done = on_done};

static struct rpc_client *client_for(struct harness *h, uint16_t port, uint64_t connect_timeout_us)
{
    char target[64];
    struct tw_error error;
    struct rpc_client *client = NULL;
    snprintf(target, sizeof target, "127.0.0.1:%u", port);
    const struct rpc_client_options options = {.target = target, .connect_timeout_us = connect_timeout_us};
    if (rpc_client_new(&h->loop, &options, &client, &error) < 0)
        fail_msg("%s", error.message);
    return client;
}

static struct outcome start(struct rpc_client *client, const char *method, const ProtobufCMessage *request,
    uint64_t timeout_us, struct outcome *o)
{
    o->call = rpc_client_start(client, method, request, timeout_us, &callbacks, o);
    assert_non_null(o->call);
    assert_int_equal(o->done, 0);
    return *o;
}

static void start_simple(struct rpc_client *client, const char *method, struct outcome *o)
{
    Taskworker__GetTaskRequest request = TASKWORKER__GET_TASK_REQUEST__INIT;
    start(client, method, &request.base, 0, o);
}

static void test_unary(void **state UNUSED)
{
    struct harness h;
    struct tw_error error;
    harness_init(&h, NULL);
    struct rpc_client *client = client_for(&h, rpc_server_port(h.server), 0);
    Taskworker__GetStatusRequest request = TASKWORKER__GET_STATUS_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rpc_client_unary(client, SERVICE "GetStatus", &request.base,
                             &taskworker__get_status_response__descriptor, 5000000, &response, &error),
            0);
        assert_string_equal(((Taskworker__GetStatusResponse *)response)->node_id, "echo");
        protobuf_c_message_free_unpacked(response, NULL);
    }
    assert_int_equal(harness_stats(&h).connections, 1);
    assert_int_equal(rpc_client_unary(client, SERVICE "No", &request.base, &taskworker__get_status_response__descriptor,
                         5000000, &response, &error),
        -1);
    assert_int_equal(error.code, TW_UNIMPLEMENTED);
    assert_string_equal(error.message, "unknown method " SERVICE "No");
    assert_int_equal(rpc_client_unary(client, SERVICE "WaitTask", &request.base,
                         &taskworker__wait_task_response__descriptor, 50000, &response, &error),
        -1);
    assert_int_equal(error.code, TW_DEADLINE_EXCEEDED);
    RUN_UNTIL(&h, h.echo.waiting == 0);
    Taskworker__ExecuteTaskRequest silent = TASKWORKER__EXECUTE_TASK_REQUEST__INIT;
    silent.task_type = (char *)"silent";
    assert_int_equal(rpc_client_unary(client, SERVICE "ExecuteTask", &silent.base,
                         &taskworker__execute_task_response__descriptor, 0, &response, &error),
        -1);
    assert_int_equal(error.code, TW_INVALID_ARGUMENT);
    assert_string_equal(error.message, "100% sch\xc3\xb6n schlecht"); /* made fit for a terminal */
    assert_true(!strncmp(h.echo.peer, "127.0.0.1:", 10));
    rpc_client_free(client);
    harness_done(&h);
}

static void test_message_with_error(void **state UNUSED)
{
    struct harness h;
    struct outcome o = {0};
    harness_init(&h, NULL);
    struct rpc_client *client = client_for(&h, rpc_server_port(h.server), 0);
    Taskworker__ExecuteTaskRequest bad = TASKWORKER__EXECUTE_TASK_REQUEST__INIT;
    bad.task_type = (char *)"bad";
    start(client, SERVICE "ExecuteTask", &bad.base, 0, &o);
    RUN_UNTIL(&h, o.done);
    assert_int_equal(o.status.code, TW_INVALID_ARGUMENT);
    assert_string_equal(o.status.message, "bad type");
    assert_int_equal(o.messages, 1);
    rpc_client_free(client);
    harness_done(&h);
}

static void test_big_messages(void **state UNUSED)
{
    enum { SIZE = 100 * 1000 * 1000 };
    struct harness h;
    struct outcome up = {0}, down = {0}, small = {0}, over = {0};
    harness_init(&h, NULL);
    struct rpc_client *client = client_for(&h, rpc_server_port(h.server), 0);
    Taskworker__ExecuteTaskRequest execute = TASKWORKER__EXECUTE_TASK_REQUEST__INIT;
    execute.task_data.len = SIZE;
    execute.task_data.data = calloc(1, SIZE + 20 * 1024 * 1024);
    start(client, SERVICE "ExecuteTask", &execute.base, 0, &up);
    start_simple(client, SERVICE "GetStatus", &small);
    RUN_UNTIL(&h, small.done);
    assert_int_equal(up.done, 0); /* the small one did not have to wait */
    RUN_UNTIL(&h, up.done);
    assert_int_equal(up.status.code, TW_OK);
    assert_int_equal(harness_stats(&h).inflight_bytes, 0);
    execute.task_data.len = SIZE + 20 * 1024 * 1024;
    start(client, SERVICE "ExecuteTask", &execute.base, 0, &over);
    RUN_UNTIL(&h, over.done);
    assert_int_equal(over.status.code, TW_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(over.status.message, "115343360"));
    assert_int_equal(h.echo.executed, 1);
    free(execute.task_data.data);
    Taskworker__GetResultRequest get = TASKWORKER__GET_RESULT_REQUEST__INIT;
    get.task_id = (char *)"100000000";
    start(client, SERVICE "GetResult", &get.base, 0, &down);
    RUN_UNTIL(&h, down.done);
    assert_int_equal(down.status.code, TW_OK);
    assert_true(down.bytes > SIZE);
    get.task_id = (char *)"120000000"; /* more than a client takes by default */
    struct outcome huge = {0};
    start(client, SERVICE "GetResult", &get.base, 0, &huge);
    RUN_UNTIL(&h, huge.done);
    assert_int_equal(huge.status.code, TW_RESOURCE_EXHAUSTED);
    RUN_UNTIL(&h, harness_stats(&h).calls == 0);
    rpc_client_free(client);
    harness_done(&h);
}

static void test_pause(void **state UNUSED)
{
    struct harness h;
    struct outcome o = {.pause_first = true}, other = {0};
    harness_init(&h, NULL);
    struct rpc_client *client = client_for(&h, rpc_server_port(h.server), 0);
    Taskworker__StreamLogsRequest request = TASKWORKER__STREAM_LOGS_REQUEST__INIT;
    request.offset = 20000;
    start(client, SERVICE "StreamLogs", &request.base, 0, &o);
    RUN_UNTIL(&h, h.echo.choked > 0 && o.messages > 1000);
    start_simple(client, SERVICE "GetStatus", &other);
    RUN_UNTIL(&h, other.done); /* other calls go on */
    assert_true(h.echo.streamed < 3000);
    assert_int_equal(o.done, 0);
    rpc_client_pause(o.call, false);
    RUN_UNTIL(&h, o.done);
    assert_int_equal(o.messages, 20000);
    assert_int_equal(o.status.code, TW_OK);
    rpc_client_free(client);
    harness_done(&h);
}

static void test_cancel(void **state UNUSED)
{
    struct harness h;
    struct outcome wait = {0}, stream = {.cancel_first = true}, unsent = {0};
    harness_init(&h, NULL);
    struct rpc_client *client = client_for(&h, rpc_server_port(h.server), 0);
    start_simple(client, SERVICE "WaitTask", &unsent);
    rpc_client_cancel(unsent.call); /* before there is a connection */
    assert_int_equal(unsent.done, 0);
    start_simple(client, SERVICE "WaitTask", &wait);
    Taskworker__StreamLogsRequest request = TASKWORKER__STREAM_LOGS_REQUEST__INIT;
    request.offset = 1000;
    request.follow = true;
    start(client, SERVICE "StreamLogs", &request.base, 0, &stream);
    RUN_UNTIL(&h, h.echo.waiting == 1 && stream.done && unsent.done);
    assert_int_equal(stream.messages, 1);
    assert_int_equal(stream.status.code, TW_CANCELLED);
    assert_int_equal(unsent.status.code, TW_CANCELLED);
    rpc_client_cancel(wait.call);
    assert_int_equal(wait.done, 0); /* never from within */
    RUN_UNTIL(&h, wait.done && h.echo.done == 2);
    assert_int_equal(wait.status.code, TW_CANCELLED);
    assert_int_equal(harness_stats(&h).calls, 0);
    rpc_client_free(client);
    harness_done(&h);
}

static void test_free_with_calls(void **state UNUSED)
{
    struct harness h;
    struct outcome wait = {0}, unsent = {0};
    harness_init(&h, NULL);
    struct rpc_client *client = client_for(&h, rpc_server_port(h.server), 0);
    start_simple(client, SERVICE "WaitTask", &wait);
    RUN_UNTIL(&h, h.echo.waiting == 1);
    rpc_client_free(client);
    assert_int_equal(wait.done, 1);
    assert_int_equal(wait.status.code, TW_CANCELLED);
    RUN_UNTIL(&h, h.echo.waiting == 0);
    client = client_for(&h, rpc_server_port(h.server), 0);
    start_simple(client, SERVICE "WaitTask", &unsent);
    rpc_client_free(client);
    assert_int_equal(unsent.done, 1);
    rpc_client_free(NULL);
    harness_done(&h);
}

/* A port on which nobody listens: bound, so that nobody else can take it. */
static uint16_t dead_port(int *ret_fd)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    *ret_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(*ret_fd, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(getsockname(*ret_fd, (struct sockaddr *)&addr, &len), 0);
    return ntohs(addr.sin_port);
}

static void test_nobody_there(void **state UNUSED)
{
    struct harness h;
    struct outcome o = {0}, soon = {0};
    int fd;
    char expected[100];
    harness_init(&h, NULL);
    uint16_t port = dead_port(&fd);
    struct rpc_client *client = client_for(&h, port, 300000);
    uint64_t begin = clock_monotonic_us();
    start_simple(client, SERVICE "GetStatus", &o);
    Taskworker__GetStatusRequest request = TASKWORKER__GET_STATUS_REQUEST__INIT;
    start(client, SERVICE "GetStatus", &request.base, 50000, &soon);
    RUN_UNTIL(&h, soon.done);
    assert_int_equal(soon.status.code, TW_DEADLINE_EXCEEDED);
    RUN_UNTIL(&h, o.done);
    assert_in_range(clock_monotonic_us() - begin, 300000, 10000000);
    assert_int_equal(o.status.code, TW_UNAVAILABLE);
    snprintf(expected, sizeof expected, "cannot connect to 127.0.0.1:%u: connection refused", port);
    assert_string_equal(o.status.message, expected);
    close(fd);
    rpc_client_free(client);
    harness_done(&h);
}

static void test_waits_for_the_server(void **state UNUSED)
{
    struct harness h;
    struct outcome o = {0};
    int fd;
    harness_init(&h, NULL);
    uint16_t port = dead_port(&fd);
    struct rpc_client *client = client_for(&h, port, 0);
    start_simple(client, SERVICE "GetStatus", &o);
    for (int i = 0; i < 5; i++)
        uv_run(&h.loop, UV_RUN_NOWAIT);
    close(fd);
    const struct rpc_server_options options = {.port = port};
    struct rpc_server *late = NULL;
    struct tw_error error;
    if (rpc_server_new(&h.loop, &options, &late, &error) < 0)
        fail_msg("%s", error.message);
    echo_service_add(late, &h.echo);
    RUN_UNTIL(&h, o.done);
    assert_int_equal(o.status.code, TW_OK);
    /* The server goes, with a call open, and another comes in its place. */
    struct outcome lost = {0}, again = {0};
    start_simple(client, SERVICE "WaitTask", &lost);
    RUN_UNTIL(&h, h.echo.waiting == 1);
    rpc_server_free(late);
    RUN_UNTIL(&h, lost.done);
    assert_int_equal(lost.status.code, TW_UNAVAILABLE);
    if (rpc_server_new(&h.loop, &options, &late, &error) < 0)
        fail_msg("%s", error.message);
    echo_service_add(late, &h.echo);
    start_simple(client, SERVICE "GetStatus", &again);
    RUN_UNTIL(&h, again.done);
    assert_int_equal(again.status.code, TW_OK);
    rpc_client_free(client);
    rpc_server_free(late);
    harness_done(&h);
}

static void on_drained(void *ctx)
{
    (*(unsigned *)ctx)++;
}

static void test_goaway(void **state UNUSED)
{
    struct harness h;
    struct outcome wait = {0}, next = {0};
    unsigned drained = 0;
    harness_init(&h, NULL);
    struct rpc_client *client = client_for(&h, rpc_server_port(h.server), 200000);
    start_simple(client, SERVICE "WaitTask", &wait);
    RUN_UNTIL(&h, h.echo.waiting == 1);
    rpc_server_drain(h.server, 60000000, on_drained, &drained);
    /* Nobody listens any more: a new call does not go to the connection that is being drained once the client knows. */
    for (int i = 0; i < 20; i++)
        uv_run(&h.loop, UV_RUN_NOWAIT);
    start_simple(client, SERVICE "GetStatus", &next);
    RUN_UNTIL(&h, next.done);
    assert_int_equal(next.status.code, TW_UNAVAILABLE);
    assert_int_equal(wait.done, 0);
    rpc_call_finish(h.echo.last_wait, TW_NOT_FOUND, "gone");
    RUN_UNTIL(&h, wait.done && drained);
    assert_int_equal(wait.status.code, TW_NOT_FOUND);
    rpc_client_free(client);
    harness_done(&h);
}

static void test_targets(void **state UNUSED)
{
    static const char *const bad[] = {"", ":", "host", "host:", ":50", "host:0", "host:65536", "host:1x", "::1:50",
        "[::1]", "[]:5", "http://host:50", "host:000000050", "a b:5"};
    struct harness h;
    struct tw_error error;
    harness_init(&h, NULL);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        const struct rpc_client_options options = {.target = bad[i]};
        struct rpc_client *client = NULL;
        if (rpc_client_new(&h.loop, &options, &client, &error) != -1)
            fail_msg("%s was taken", bad[i]);
        assert_int_equal(error.code, TW_INVALID_ARGUMENT);
    }
    /* A name, which goes the way of the resolver. */
    char target[64];
    snprintf(target, sizeof target, "localhost:%u", rpc_server_port(h.server));
    const struct rpc_client_options options = {.target = target};
    struct rpc_client *client = NULL;
    struct outcome o = {0};
    assert_int_equal(rpc_client_new(&h.loop, &options, &client, &error), 0);
    start_simple(client, SERVICE "GetStatus", &o);
    RUN_UNTIL(&h, o.done);
    assert_int_equal(o.status.code, TW_OK);
    rpc_client_free(client);
    harness_done(&h);
}

static void test_server_errors(void **state UNUSED)
{
    struct harness h;
    struct tw_error error;
    struct rpc_server *server = NULL;
    harness_init(&h, NULL);
    const struct rpc_server_options taken = {.port = rpc_server_port(h.server)},
                                    nowhere = {.host = "no.such.host.invalid"};
    assert_int_equal(rpc_server_new(&h.loop, &taken, &server, &error), -1);
    assert_non_null(strstr(error.message, "in use"));
    assert_int_equal(rpc_server_new(&h.loop, &nowhere, &server, &error), -1);
    assert_non_null(strstr(error.message, "no.such.host.invalid"));
    assert_int_equal(echo_service_add(h.server, &h.echo), -EEXIST);
    rpc_server_free(NULL);
    harness_done(&h);
}

static void test_max_connections(void **state UNUSED)
{
    struct harness h;
    const struct rpc_server_options options = {.max_connections = 2};
    harness_init(&h, &options);
    struct rpc_client *clients[3];
    struct outcome o[3] = {{0}};
    for (size_t i = 0; i < 2; i++) {
        clients[i] = client_for(&h, rpc_server_port(h.server), 0);
        start_simple(clients[i], SERVICE "WaitTask", &o[i]);
    }
    RUN_UNTIL(&h, h.echo.waiting == 2);
    clients[2] = client_for(&h, rpc_server_port(h.server), 0);
    start_simple(clients[2], SERVICE "WaitTask", &o[2]);
    RUN_UNTIL(&h, o[2].done);
    assert_int_equal(o[2].status.code, TW_UNAVAILABLE);
    assert_int_equal(h.echo.waiting, 2);
    rpc_client_free(clients[0]); /* makes room */
    RUN_UNTIL(&h, harness_stats(&h).connections == 1);
    o[2] = (struct outcome){0};
    start_simple(clients[2], SERVICE "GetStatus", &o[2]);
    RUN_UNTIL(&h, o[2].done);
    assert_int_equal(o[2].status.code, TW_OK);
    rpc_client_free(clients[1]);
    rpc_client_free(clients[2]);
    harness_done(&h);
}

/* Without descriptors, connections are refused and the loop sleeps; with them all is well again. */
static void test_out_of_descriptors(void **state UNUSED)
{
    struct harness h;
    struct rlimit before, tight;
    struct outcome o = {0};
    int fds[64];
    size_t n = 0;
    harness_init(&h, NULL);
    struct rpc_client *client = client_for(&h, rpc_server_port(h.server), 0);
    start_simple(client, SERVICE "GetStatus", &o); /* the loop has all that it needs */
    RUN_UNTIL(&h, o.done);
    struct sockaddr_in addr = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(rpc_server_port(h.server))};
    int extra = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(extra >= 0);
    getrlimit(RLIMIT_NOFILE, &before);
    tight = (struct rlimit){.rlim_cur = (rlim_t)extra + 8, .rlim_max = before.rlim_max};
    setrlimit(RLIMIT_NOFILE, &tight);
    while (n < ARRAY_LEN(fds) && (fds[n] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        n++;
    assert_true(n < ARRAY_LEN(fds));
    assert_int_equal(connect(extra, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(fcntl(extra, F_SETFL, O_NONBLOCK), 0);
    char byte;
    ssize_t got = -1;
    RUN_UNTIL(&h, (got = recv(extra, &byte, 1, 0)) >= 0 || errno != EAGAIN);
    assert_true(got <= 0); /* closed, without a word */
    unsigned rounds = 0;
    harness_start_deadline(&h);
    uv_timer_set_repeat(&h.deadline, 0);
    uv_timer_start(&h.deadline, h.deadline.timer_cb, 100, 0);
    while (!h.late) {
        uv_run(&h.loop, UV_RUN_ONCE);
        rounds++;
    }
    h.late = false;
    assert_in_range(rounds, 1, 20); /* it does not spin */
    o = (struct outcome){0};
    start_simple(client, SERVICE "GetStatus", &o); /* those that are connected are served */
    RUN_UNTIL(&h, o.done);
    assert_int_equal(o.status.code, TW_OK);
    while (n > 0)
        close(fds[--n]);
    close(extra);
    setrlimit(RLIMIT_NOFILE, &before);
    struct rpc_client *second = client_for(&h, rpc_server_port(h.server), 0);
    o = (struct outcome){0};
    start_simple(second, SERVICE "GetStatus", &o);
    RUN_UNTIL(&h, o.done);
    assert_int_equal(o.status.code, TW_OK);
    rpc_client_free(client);
    rpc_client_free(second);
    harness_done(&h);
}

static void test_health(void **state UNUSED)
{
    struct harness h;
    struct tw_error error;
    struct rpc_health *health = NULL;
    struct outcome known = {0}, unknown = {0}, check = {0};
    harness_init(&h, NULL);
    assert_int_equal(rpc_health_new(h.server, &health, &error), 0);
    assert_int_equal(rpc_health_set(health, "", true), 0);
    struct rpc_client *client = client_for(&h, rpc_server_port(h.server), 0);
    Grpc__Health__V1__HealthCheckRequest all = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT, other = all;
    other.service = (char *)"other";
    start(client, "/grpc.health.v1.Health/Check", &all.base, 0, &check);
    RUN_UNTIL(&h, check.done);
    assert_int_equal(check.last_health, 1);
    check = (struct outcome){0};
    start(client, "/grpc.health.v1.Health/Check", &other.base, 0, &check);
    RUN_UNTIL(&h, check.done);
    assert_int_equal(check.status.code, TW_NOT_FOUND);
    start(client, "/grpc.health.v1.Health/Watch", &all.base, 0, &known);
    start(client, "/grpc.health.v1.Health/Watch", &other.base, 0, &unknown);
    RUN_UNTIL(&h, known.messages == 1 && unknown.messages == 1);
    assert_int_equal(known.last_health, 1);
    assert_int_equal(unknown.last_health, 3);
    rpc_health_set(health, "other", true);
    rpc_health_set(health, "other", true); /* no news */
    rpc_health_set(health, "", false);
    RUN_UNTIL(&h, known.messages == 2 && unknown.messages == 2);
    assert_int_equal(known.last_health, 2);
    assert_int_equal(unknown.last_health, 1);
    rpc_health_shutdown(health);
    RUN_UNTIL(&h, known.done && unknown.done);
    assert_int_equal(known.messages, 2);
    assert_int_equal(unknown.messages, 3);
    assert_int_equal(unknown.last_health, 2);
    assert_int_equal(unknown.status.code, TW_UNAVAILABLE);
    rpc_client_free(client);
    harness_done(&h);
    rpc_health_free(health);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unary),
        cmocka_unit_test(test_message_with_error),
        cmocka_unit_test(test_big_messages),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_free_with_calls),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_waits_for_the_server),
        cmocka_unit_test(test_goaway),
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_server_errors),
        cmocka_unit_test(test_max_connections),
        cmocka_unit_test(test_out_of_descriptors),
        cmocka_unit_test(test_health),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
