/* SPDX-License-Identifier: Apache-2.0 */
/* The client against the server with TLS, over loopback: who is believed, and that all else is as in plain text. */
#include "harness.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "rpc/client.h"
#include "tls_files.h"

#include "taskworker.pb-c.h"

static struct tls_files files;

static int setup(void **state UNUSED)
{
    tls_files_init(&files);
    return 0;
}

static int teardown(void **state UNUSED)
{
    tls_files_done(&files);
    return 0;
}

/* --- a server, a client, a call --- */

static struct rpc_tls *begin(struct harness *h, const char *cert, enum rpc_tls_auth auth, const char *client_ca)
{
    struct rpc_tls *tls = tls_files_server(&files, cert, auth, client_ca);
    const struct rpc_server_options options = {.tls = tls};
    harness_init(h, &options);
    return tls;
}

static void end(struct harness *h, struct rpc_tls *tls)
{
    harness_done(h);
    rpc_tls_unref(tls);
}

static struct rpc_client *client_of(struct harness *h, const char *host, const struct rpc_client_tls *tls)
{
    char target[64];
    struct tw_error error;
    struct rpc_client *client = NULL;
    snprintf(target, sizeof target, "%s:%u", host, rpc_server_port(h->server));
    const struct rpc_client_options options = {.target = target, .tls = tls};
    if (rpc_client_new(&h->loop, &options, &client, &error) < 0)
        fail_msg("%s", error.message);
    return client;
}

/* GetStatus; the code, and the message in *error. */
static enum tw_code ask(struct rpc_client *client, struct tw_error *error)
{
    Taskworker__GetStatusRequest request = TASKWORKER__GET_STATUS_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    *error = (struct tw_error){0};
    if (rpc_client_unary(client, SERVICE "GetStatus", &request.base, &taskworker__get_status_response__descriptor,
            20000000, &response, error) < 0)
        return error->code;
    assert_string_equal(((Taskworker__GetStatusResponse *)response)->node_id, "echo");
    protobuf_c_message_free_unpacked(response, NULL);
    return TW_OK;
}

static enum tw_code ask_once(
    struct harness *h, const char *host, const struct rpc_client_tls *tls, struct tw_error *error)
{
    struct rpc_client *client = client_of(h, host, tls);
    enum tw_code code = ask(client, error);
    rpc_client_free(client);
    return code;
}

#define EXPECT(h, host, client_tls, expected)                                                          \
    do {                                                                                               \
        struct tw_error expect_error;                                                                  \
        enum tw_code expect_code = ask_once(h, host, client_tls, &expect_error);                       \
        if (expect_code != (expected))                                                                 \
            fail_msg("line %d: %s: %s", __LINE__, error_code_name(expect_code), expect_error.message); \
    } while (0)
#define EXPECT_FAILURE(h, host, client_tls, words)                                          \
    do {                                                                                    \
        struct tw_error expect_error;                                                       \
        assert_int_equal(ask_once(h, host, client_tls, &expect_error), TW_UNAUTHENTICATED); \
        if (!strstr(expect_error.message, words))                                           \
            fail_msg("line %d: %s", __LINE__, expect_error.message);                        \
    } while (0)

struct outcome {
    struct rpc_client_call *call;
    struct tw_error status;
    unsigned done, messages;
    size_t bytes;
    bool pause_first;
};

static void on_message(struct rpc_client_call *call, const uint8_t *msg UNUSED, size_t len, void *ctx)
{
    struct outcome *o = ctx;
    o->messages++;
    o->bytes += len;
    if (o->pause_first && o->messages == 1)
        rpc_client_pause(call, true);
}

static void on_done(struct rpc_client_call *call UNUSED, const struct tw_error *status, void *ctx)
{
    struct outcome *o = ctx;
    o->done++;
    o->status = *status;
}

static void start(struct rpc_client *client, const char *method, const ProtobufCMessage *request, struct outcome *o)
{
    static const struct rpc_client_callbacks callbacks = {.on_message = on_message, .on_done = on_done};
    o->call = rpc_client_start(client, method, request, 0, &callbacks, o);
    assert_non_null(o->call);
}

/* --- whom the client believes --- */

static void test_verified(void **state UNUSED)
{
    struct harness h;
    struct rpc_tls *tls = begin(&h, "node", RPC_TLS_AUTH_OFF, NULL);
    const struct rpc_client_tls good = {.ca = tls_file(&files, "ca.crt")};
    EXPECT(&h, "127.0.0.1", &good, TW_OK);
    EXPECT(&h, "localhost", &good, TW_OK);
    assert_string_equal(h.echo.identity, "-");
    const struct rpc_client_tls other = {.ca = tls_file(&files, "other.crt")};
    EXPECT_FAILURE(&h, "127.0.0.1", &other, "is not signed by the CA in");
    const struct rpc_client_tls none = {0}; /* those of the machine */
    EXPECT_FAILURE(&h, "127.0.0.1", &none, "is not signed by any CA that this machine trusts");
    RUN_UNTIL(&h, harness_stats(&h).connections == 0);
    end(&h, tls);
}

static void test_bad_certificates(void **state UNUSED)
{
    const struct rpc_client_tls ca = {.ca = tls_file(&files, "ca.crt")};
    static const struct {
        const char *cert, *words;
    } cases[] = {
        {"elsewhere", "is not for 127.0.0.1, but for elsewhere.example, 192.0.2.1"},
        {"expired", "its own was good until "},
        {"self", "is not signed by the CA in"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct harness h;
        struct rpc_tls *tls = begin(&h, cases[i].cert, RPC_TLS_AUTH_OFF, NULL);
        EXPECT_FAILURE(&h, "127.0.0.1", &ca, cases[i].words);
        end(&h, tls);
    }
}

/* A client's certificate does not make a server, even with the right name in it. */
static void test_wrong_use(void **state UNUSED)
{
    struct harness h;
    const char *hosts[] = {"127.0.0.1"};
    const struct cert_request request = {
        .use = CERT_CLIENT, .name = "mallory", .hosts = hosts, .n_hosts = 1, .begin_s = -10, .end_s = 1000};
    tls_files_add(&files, "mallory", &request, false);
    struct rpc_tls *tls = begin(&h, "mallory", RPC_TLS_AUTH_OFF, NULL);
    const struct rpc_client_tls ca = {.ca = tls_file(&files, "ca.crt")};
    EXPECT_FAILURE(&h, "127.0.0.1", &ca, "is refused");
    end(&h, tls);
}

static void test_pins(void **state UNUSED)
{
    struct harness h;
    char pin[CERT_PIN_TEXT], wrong[CERT_PIN_TEXT];
    struct rpc_tls *tls = begin(&h, "self", RPC_TLS_AUTH_OFF, NULL);
    struct rpc_client_tls pinned = {.pin = tls_files_pin(&files, "self", pin)};
    EXPECT(&h, "127.0.0.1", &pinned, TW_OK);
    pinned.pin = tls_files_pin(&files, "node", wrong);
    EXPECT_FAILURE(&h, "127.0.0.1", &pinned, "has another pin");
    pinned.pin = pin;
    pinned.ca = tls_file(&files, "ca.crt"); /* then both count */
    EXPECT_FAILURE(&h, "127.0.0.1", &pinned, "is not signed by");
    end(&h, tls);
}

static void test_client_options(void **state UNUSED)
{
    static const struct {
        struct rpc_client_tls tls;
        const char *words;
    } cases[] = {
        {{.ca = "/nowhere/ca.crt"}, "cannot read the certificate file /nowhere/ca.crt"},
        {{.ca = "/dev/null"}, "the certificate file /dev/null is not a file"},
        {{.cert = "/nowhere/a.crt"}, "the key is missing"},
        {{.key = "/nowhere/a.key"}, "the certificate is missing"},
        {{.pin = "sha256:12"}, "\"sha256:12\" is not a pin"},
        {{.pin = "md5:12"}, "\"md5:12\" is not a pin"},
    };
    uv_loop_t loop;
    uv_loop_init(&loop);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tw_error error;
        struct rpc_client *client;
        const struct rpc_client_options options = {.target = "127.0.0.1:1", .tls = &cases[i].tls};
        assert_int_equal(rpc_client_new(&loop, &options, &client, &error), -1);
        if (!strstr(error.message, cases[i].words))
            fail_msg("%s", error.message);
    }
    uv_loop_close(&loop);
}

/* --- whom the server believes --- */

static void test_client_certificates(void **state UNUSED)
{
    char ca[TLS_PATH_MAX + 16];
    snprintf(ca, sizeof ca, "%s/ca.crt", files.folder);
    static const struct {
        const char *cert;
        bool optional, required; /* whether it gets in */
        const char *words;       /* what the client is told */
    } cases[] = {
        {NULL, true, false, "wants to see a certificate of this client"},
        {"client", true, true, ""},
        {"late", false, false, "has expired"},
        {"stranger", false, false, "does not know the CA"},
        {"node", false, false, "refuses this client's certificate"},
    };
    for (int required = 0; required < 2; required++) {
        struct harness h;
        struct rpc_tls *tls = begin(&h, "node", required ? RPC_TLS_AUTH_REQUIRED : RPC_TLS_AUTH_OPTIONAL, "ca.crt");
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
            char cert[64] = "", key[64] = "";
            if (cases[i].cert) {
                snprintf(cert, sizeof cert, "%s.crt", cases[i].cert);
                snprintf(key, sizeof key, "%s.key", cases[i].cert);
            }
            const struct rpc_client_tls client = {
                .ca = ca, .cert = *cert ? tls_file(&files, cert) : NULL, .key = *key ? tls_file(&files, key) : NULL};
            unsigned before = h.echo.done;
            if (required ? cases[i].required : cases[i].optional) {
                EXPECT(&h, "127.0.0.1", &client, TW_OK);
                assert_string_equal(h.echo.identity, cases[i].cert ? "alice" : "-");
            } else {
                EXPECT_FAILURE(&h, "127.0.0.1", &client, cases[i].words);
                assert_int_equal(h.echo.done, before);
            }
        }
        end(&h, tls);
    }
}

/* With no CA of clients a certificate that is there is not asked for, and makes nobody of its holder. */
static void test_not_asked_for(void **state UNUSED)
{
    struct harness h;
    struct rpc_tls *tls = begin(&h, "node", RPC_TLS_AUTH_OFF, NULL);
    const struct rpc_client_tls client = {.ca = tls_file(&files, "ca.crt"),
        .cert = tls_file(&files, "client.crt"),
        .key = tls_file(&files, "client.key")};
    EXPECT(&h, "127.0.0.1", &client, TW_OK);
    assert_string_equal(h.echo.identity, "-");
    end(&h, tls);
}

/* --- files --- */

static void expect_refused(const struct rpc_tls_options *options, const char *words)
{
    struct tw_error error;
    struct rpc_tls *tls = NULL;
    assert_int_equal(rpc_tls_new(options, &tls, &error), -1);
    if (!strstr(error.message, words))
        fail_msg("%s", error.message);
}

static void write_file(const char *name, const char *text)
{
    assert_int_equal(file_write_atomic(tls_file(&files, name), text, strlen(text), 0600), 0);
}

static void test_server_files(void **state UNUSED)
{
    const char *cert = tls_file(&files, "node.crt"), *key = tls_file(&files, "node.key");
    struct rpc_tls_options o = {.cert = cert};
    expect_refused(&o, "TLS needs a certificate, its key");
    o.key = tls_file(&files, "node2.key");
    expect_refused(&o, "is not that of the first certificate in");
    o.key = key;
    o.client_auth = RPC_TLS_AUTH_REQUIRED;
    expect_refused(&o, "and the CA that has signed");
    o.client_ca = cert;
    expect_refused(&o, "is not that of a CA");
    o.client_auth = RPC_TLS_AUTH_OFF;
    assert_int_equal(chmod(key, 0640), 0);
    expect_refused(&o, "chmod 600");
    assert_int_equal(chmod(key, 0600), 0);
    write_file("text.crt", "no certificate\n");
    o.cert = tls_file(&files, "text.crt");
    expect_refused(&o, "there is no certificate in");
    write_file("cut.crt", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n");
    o.cert = tls_file(&files, "cut.crt");
    expect_refused(&o, "cannot be read");
    o.cert = cert;
    o.key = tls_file(&files, "node.crt");
    assert_int_equal(chmod(o.key, 0600), 0);
    expect_refused(&o, "there is no private key in");
    o.key = files.folder;
    expect_refused(&o, "is not a file");
}

static const char encrypted_key[] = "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
                                    "MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAi3NQvL0KJ3wAICCAAw\n"
                                    "DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEJ0Z0rCnI7VSa0oFbQ==\n"
                                    "-----END ENCRYPTED PRIVATE KEY-----\n";

static void test_no_terminal_is_asked(void **state UNUSED)
{
    write_file("locked.key", encrypted_key);
    const struct rpc_tls_options o = {.cert = tls_file(&files, "node.crt"), .key = tls_file(&files, "locked.key")};
    expect_refused(&o, "locked.key"); /* and this test ends */
}

static void test_reload(void **state UNUSED)
{
    struct harness h;
    struct tw_error error;
    char first[CERT_PIN_TEXT], second[CERT_PIN_TEXT];
    struct outcome waits = {0};
    tls_files_copy(&files, "node", "live");
    struct rpc_tls *tls = begin(&h, "live", RPC_TLS_AUTH_OFF, NULL);
    const struct rpc_client_tls old = {.pin = tls_files_pin(&files, "node", first)};
    const struct rpc_client_tls new = {.pin = tls_files_pin(&files, "node2", second)};
    struct rpc_client *stays = client_of(&h, "127.0.0.1", &old);
    Taskworker__GetTaskRequest request = TASKWORKER__GET_TASK_REQUEST__INIT;
    start(stays, SERVICE "WaitTask", &request.base, &waits);
    RUN_UNTIL(&h, h.echo.waiting == 1);
    /* Bad ones change nothing. */
    static const char *const bad[] = {"expired", "nothing"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (i == 0)
            tls_files_copy(&files, bad[i], "live");
        else
            write_file("live.crt", "nothing");
        assert_int_equal(rpc_tls_reload(tls, &error), -1);
        EXPECT(&h, "127.0.0.1", &old, TW_OK);
    }
    tls_files_copy(&files, "node2", "live");
    assert_int_equal(rpc_tls_reload(tls, &error), 0);
    EXPECT(&h, "127.0.0.1", &new, TW_OK);
    EXPECT_FAILURE(&h, "127.0.0.1", &old, "has another pin");
    /* The connection that was there has not noticed. */
    assert_int_equal(ask(stays, &error), TW_OK);
    assert_int_equal(waits.done, 0);
    assert_int_equal(rpc_client_connections(stays), 1);
    rpc_client_free(stays);
    end(&h, tls);
}

/* --- bytes --- */

static void test_large(void **state UNUSED)
{
    enum { SIZE = 20 * 1000 * 1000 };
    struct harness h;
    struct rpc_tls *tls = begin(&h, "node", RPC_TLS_AUTH_OFF, NULL);
    const struct rpc_client_tls good = {.ca = tls_file(&files, "ca.crt")};
    struct rpc_client *client = client_of(&h, "127.0.0.1", &good);
    struct outcome up = {0}, down = {0};
    Taskworker__ExecuteTaskRequest execute = TASKWORKER__EXECUTE_TASK_REQUEST__INIT;
    execute.task_data.len = SIZE;
    execute.task_data.data = calloc(1, SIZE);
    start(client, SERVICE "ExecuteTask", &execute.base, &up);
    Taskworker__GetResultRequest get = TASKWORKER__GET_RESULT_REQUEST__INIT;
    get.task_id = (char *)"20000000";
    start(client, SERVICE "GetResult", &get.base, &down);
    RUN_UNTIL(&h, up.done && down.done);
    free(execute.task_data.data);
    assert_int_equal(up.status.code, TW_OK);
    assert_int_equal(down.status.code, TW_OK);
    assert_true(down.bytes > SIZE);
    rpc_client_free(client);
    end(&h, tls);
}

/* A client that does not read stops the handler, as in plain text, and nobody else. */
static void test_backpressure(void **state UNUSED)
{
    struct harness h;
    struct tw_error error;
    struct outcome o = {.pause_first = true};
    struct rpc_tls *tls = begin(&h, "node", RPC_TLS_AUTH_OFF, NULL);
    const struct rpc_client_tls good = {.ca = tls_file(&files, "ca.crt")};
    struct rpc_client *client = client_of(&h, "127.0.0.1", &good);
    Taskworker__StreamLogsRequest request = TASKWORKER__STREAM_LOGS_REQUEST__INIT;
    request.offset = 20000;
    start(client, SERVICE "StreamLogs", &request.base, &o);
    RUN_UNTIL(&h, h.echo.choked > 0 && o.messages > 1000);
    assert_int_equal(ask(client, &error), TW_OK);
    assert_true(h.echo.streamed < 3000);
    assert_int_equal(o.done, 0);
    rpc_client_pause(o.call, false);
    RUN_UNTIL(&h, o.done);
    assert_int_equal(o.messages, 20000);
    assert_int_equal(o.status.code, TW_OK);
    rpc_client_free(client);
    end(&h, tls);
}

static void on_drained(void *ctx)
{
    (*(unsigned *)ctx)++;
}

static void test_drain(void **state UNUSED)
{
    struct harness h;
    unsigned drained = 0;
    struct outcome down = {0};
    struct rpc_tls *tls = begin(&h, "node", RPC_TLS_AUTH_OFF, NULL);
    const struct rpc_client_tls good = {.ca = tls_file(&files, "ca.crt")};
    struct rpc_client *client = client_of(&h, "127.0.0.1", &good);
    Taskworker__GetResultRequest get = TASKWORKER__GET_RESULT_REQUEST__INIT;
    get.task_id = (char *)"5000000";
    start(client, SERVICE "GetResult", &get.base, &down);
    RUN_UNTIL(&h, harness_stats(&h).calls == 1);
    rpc_server_drain(h.server, 10000000, on_drained, &drained);
    RUN_UNTIL(&h, drained && down.done);
    assert_int_equal(down.status.code, TW_OK);
    rpc_client_free(client);
    end(&h, tls);
}

/* --- one side with TLS, the other without --- */

static void test_plain_client(void **state UNUSED)
{
    struct harness h;
    struct rpc_tls *tls = begin(&h, "node", RPC_TLS_AUTH_OFF, NULL);
    EXPECT_FAILURE(&h, "127.0.0.1", NULL, "takes TLS only");
    RUN_UNTIL(&h, harness_stats(&h).connections == 0);
    end(&h, tls);
}

static void test_plain_server(void **state UNUSED)
{
    struct harness h;
    harness_init(&h, NULL);
    const struct rpc_client_tls good = {.ca = tls_file(&files, "ca.crt")};
    EXPECT_FAILURE(&h, "127.0.0.1", &good, "does not speak TLS");
    RUN_UNTIL(&h, harness_stats(&h).connections == 0);
    harness_done(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verified),
        cmocka_unit_test(test_bad_certificates),
        cmocka_unit_test(test_wrong_use),
        cmocka_unit_test(test_pins),
        cmocka_unit_test(test_client_options),
        cmocka_unit_test(test_client_certificates),
        cmocka_unit_test(test_not_asked_for),
        cmocka_unit_test(test_server_files),
        cmocka_unit_test(test_no_terminal_is_asked),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_backpressure),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_plain_client),
        cmocka_unit_test(test_plain_server),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
