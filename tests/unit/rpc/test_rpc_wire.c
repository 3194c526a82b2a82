/* SPDX-License-Identifier: Apache-2.0 */
/* What the server makes of what arrives on the wire: legal, odd and hostile requests. */
#include "harness.h"

#include <stdlib.h>
#include <zlib.h>

static const uint8_t empty_message[5] = {0};

static void finish_stream(struct harness *h, struct raw_stream *s)
{
    RUN_UNTIL(h, s->closed);
}

static void test_good_call(void **state UNUSED)
{
    static const char *const types[] = {"application/grpc", "application/grpc+proto", "application/grpc;charset=x"};
    struct harness h;
    struct raw raw;
    harness_init(&h, NULL);
    raw_init(&raw, &h, 65535);
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        const char *const headers[] = {"content-type", types[i], NULL};
        struct raw_stream *s = raw_call(&raw, SERVICE "GetStatus", empty_message, 5, true, headers);
        finish_stream(&h, s);
        assert_int_equal(s->http_status, 200);
        assert_int_equal(s->grpc_status, 0);
        assert_true(s->data.len > 5);
        assert_int_equal(s->data.data[4], s->data.len - 5);
        assert_int_equal(s->error, NGHTTP2_NO_ERROR);
        assert_string_equal(s->accept_encoding, "identity,gzip");
    }
    assert_int_equal(h.echo.done, ARRAY_LEN(types));
    assert_int_equal(harness_stats(&h).calls, 0);
    assert_int_equal(harness_stats(&h).calls_total, ARRAY_LEN(types));
    assert_int_equal(harness_stats(&h).inflight_bytes, 0);
    raw_done(&raw);
    harness_done(&h);
}

/* One request each: what it is and what must come back. */
static const struct refusal {
    const char *path, *header, *value;
    const void *body;
    size_t len;
    int http_status, grpc_status;
    const char *message; /* part of it */
} refusals[] = {
    {SERVICE "GetStatus", "content-type", "application/json", empty_message, 5, 415, -1, ""},
    {SERVICE "GetStatus", "content-type", "application/grpc+json", empty_message, 5, 415, -1, ""},
    {SERVICE "GetStatus", "content-type", "application/grpcx", empty_message, 5, 415, -1, ""},
    {SERVICE "GetStatus", ":method", "GET", empty_message, 5, 405, -1, ""},
    {SERVICE "GetStatus", ":method", "PUT", empty_message, 5, 405, -1, ""},
    {SERVICE "Nothing", "x", "y", empty_message, 5, 200, TW_UNIMPLEMENTED, "unknown method " SERVICE "Nothing"},
    {"/", "x", "y", empty_message, 5, 200, TW_UNIMPLEMENTED, "unknown method /"},
    {SERVICE "GetStatus", "grpc-encoding", "snappy", empty_message, 5, 200, TW_UNIMPLEMENTED, "snappy"},
    {SERVICE "GetStatus", "grpc-timeout", "5", empty_message, 5, 200, TW_INVALID_ARGUMENT, "grpc-timeout"},
    {SERVICE "GetStatus", "grpc-timeout", "0n", "", 0, 200, TW_DEADLINE_EXCEEDED, "deadline"},
    {SERVICE "GetStatus", "x", "y", "\1\0\0\0\1x", 6, 200, TW_INTERNAL, "without grpc-encoding"},
    {SERVICE "GetStatus", "grpc-encoding", "identity", "\1\0\0\0\1x", 6, 200, TW_INTERNAL, "without grpc-encoding"},
    {SERVICE "GetStatus", "grpc-encoding", "gzip", "\1\0\0\0\1x", 6, 200, TW_INTERNAL, "gzip"},
    {SERVICE "GetStatus", "x", "y", "\7\0\0\0\0", 5, 200, TW_INTERNAL, "first byte"},
    {SERVICE "GetStatus", "x", "y", "", 0, 200, TW_UNIMPLEMENTED, "got none"},
    {SERVICE "GetStatus", "x", "y", "\0\0\0", 3, 200, TW_INTERNAL, "ends within"},
    {SERVICE "GetStatus", "x", "y", "\0\0\0\0\5ab", 7, 200, TW_INTERNAL, "ends within"},
    {SERVICE "GetStatus", "x", "y", "\0\0\0\0\0\0\0\0\0\0", 10, 200, TW_UNIMPLEMENTED, "got more"},
    {SERVICE "GetStatus", "x", "y", "\0\0\0\0\0\0", 6, 200, TW_UNIMPLEMENTED, "got more"},
    {"/echo.Echo/Small", "x", "y", "\0\0\0\0\145", 5, 200, TW_RESOURCE_EXHAUSTED, "limit of 100 bytes"},
    {SERVICE "GetStatus", "x", "y", "\0\377\377\377\377", 5, 200, TW_RESOURCE_EXHAUSTED, "limit of 4194304 bytes"},
    {"/echo.Echo/Chat", "x", "y", "\0\0\0\0\5ab", 7, 200, TW_INTERNAL, "ends within"},
};

/* Each refusal with and without the end of the request: in the second case the client is told to stop sending. */
static void test_refusals(void **state UNUSED)
{
    struct harness h;
    struct raw raw;
    harness_init(&h, NULL);
    raw_init(&raw, &h, 65535);
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        const struct refusal *r = &refusals[i];
        const char *const headers[] = {r->header, r->value, NULL};
        struct raw_stream *s = raw_call(&raw, r->path, r->body, r->len, true, headers);
        finish_stream(&h, s);
        if ((int)s->http_status != r->http_status || s->grpc_status != r->grpc_status ||
            !strstr(s->message, r->message))
            fail_msg("refusal %zu: http %u grpc %d %s", i, s->http_status, s->grpc_status, s->message);
        assert_int_equal(s->error, NGHTTP2_NO_ERROR);
        assert_int_equal(s->data.len, 0);
    }
    assert_int_equal(harness_stats(&h).calls, 0);
    assert_int_equal(harness_stats(&h).inflight_bytes, 0);
    raw_done(&raw);
    harness_done(&h);
}

static void test_early_refusal_stops_the_upload(void **state UNUSED)
{
    struct harness h;
    struct raw raw;
    harness_init(&h, NULL);
    raw_init(&raw, &h, 65535);
    struct raw_stream *s = raw_call(&raw, SERVICE "GetStatus", "\0\377\0\0\0", 5, false, NULL);
    finish_stream(&h, s);
    assert_int_equal(s->grpc_status, TW_RESOURCE_EXHAUSTED);
    assert_true(s->ended);
    assert_int_equal(s->error, NGHTTP2_NO_ERROR);
    assert_int_equal(harness_stats(&h).inflight_bytes, 0);
    raw_done(&raw);
    harness_done(&h);
}

static size_t gzip(const void *data, size_t len, uint8_t *out, size_t room)
{
    z_stream z = {
        .next_in = (Bytef *)(uintptr_t)data, .avail_in = (uInt)len, .next_out = out + 5, .avail_out = (uInt)(room - 5)};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    size_t n = z.total_out;
    deflateEnd(&z);
    out[0] = 1;
    for (int i = 0; i < 4; i++)
        out[1 + i] = (uint8_t)(n >> (24 - 8 * i));
    return n + 5;
}

static void test_gzip(void **state UNUSED)
{
    static const char *const headers[] = {"grpc-encoding", "gzip", NULL};
    static uint8_t bytes[100000];
    size_t len = 5 * 1024 * 1024;
    uint8_t *zeros = calloc(1, len);
    struct harness h;
    struct raw raw;
    harness_init(&h, NULL);
    raw_init(&raw, &h, 65535);
    /* Field 1000, unknown: its key and a length, then zeros. */
    uint8_t field[] = {0xc2, 0x3e, 0xe8, 0x07};
    memcpy(zeros, field, sizeof field);
    size_t n = gzip(zeros, 1004, bytes, sizeof bytes);
    struct raw_stream *s = raw_call(&raw, SERVICE "ExecuteTask", bytes, n, true, headers);
    finish_stream(&h, s);
    assert_int_equal(s->grpc_status, 0);
    assert_int_equal(h.echo.executed, 1);
    n = gzip(zeros, len, bytes, sizeof bytes); /* more than 4 MiB of zeros in 5 KB */
    s = raw_call(&raw, SERVICE "GetStatus", bytes, n, true, headers);
    finish_stream(&h, s);
    assert_int_equal(s->grpc_status, TW_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(s->message, "4194304"));
    free(zeros);
    raw_done(&raw);
    harness_done(&h);
}

static void test_metadata(void **state UNUSED)
{
    static const char *const headers[] = {"x-test", "a value", "grpc-timeout", "100S", NULL};
    struct harness h;
    struct raw raw;
    harness_init(&h, NULL);
    raw_init(&raw, &h, 65535);
    struct raw_stream *s = raw_call(&raw, SERVICE "ExecuteTask", empty_message, 5, true, headers);
    finish_stream(&h, s);
    assert_string_equal(h.echo.metadata, "a value");
    assert_string_equal(h.echo.method, SERVICE "ExecuteTask");
    assert_true(h.echo.deadline_us > 100000000);
    s = raw_call(&raw, SERVICE "ExecuteTask", empty_message, 5, true, NULL);
    finish_stream(&h, s);
    assert_string_equal(h.echo.metadata, "-");
    assert_int_equal(h.echo.deadline_us, 0);
    raw_done(&raw);
    harness_done(&h);
}

static void test_header_list_limit(void **state UNUSED)
{
    static char big[5000];
    const char *const headers[] = {"a", big, "b", big, "c", big, "d", big, NULL};
    struct harness h;
    struct raw raw;
    memset(big, 'v', sizeof big - 1);
    harness_init(&h, NULL);
    raw_init(&raw, &h, 65535);
    struct raw_stream *s = raw_call(&raw, SERVICE "GetStatus", empty_message, 5, true, headers);
    finish_stream(&h, s);
    assert_int_equal(s->grpc_status, TW_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(s->message, "16384"));
    assert_int_equal(raw.goaways, 0);
    raw_done(&raw);
    harness_done(&h);
}

/* A header list of many references to one long entry of the table: small on the wire, huge when decoded. */
static void test_header_bomb(void **state UNUSED)
{
    static uint8_t block[9 + 16384];
    static const uint8_t start[] = {0x83, 0x86, 0x84, 0x40, 1, 'a', 0x7f, 0xa1, 0x1e}; /* POST http / a: 4000 bytes */
    struct harness h;
    struct raw raw;
    harness_init(&h, NULL);
    raw_init(&raw, &h, 65535);
    raw_flush(&raw);
    size_t len = sizeof block - 9, at = 9;
    memcpy(block, (uint8_t[]){0, (uint8_t)(len >> 8), (uint8_t)len, 1, 4, 0, 0, 0, 1}, 9);
    memcpy(block + at, start, sizeof start);
    at += sizeof start;
    memset(block + at, 'v', 4000);
    at += 4000;
    memset(block + at, 0xbe, sizeof block - at); /* the newest entry of the dynamic table */
    raw_bytes(&raw, block, sizeof block);
    RUN_UNTIL(&h, raw_closed(&raw));
    assert_int_equal(raw.goaway_code, NGHTTP2_ENHANCE_YOUR_CALM);
    RUN_UNTIL(&h, harness_stats(&h).connections == 0);
    assert_int_equal(harness_stats(&h).calls, 0);
    raw_done(&raw);
    harness_done(&h);
}

static void test_cancel(void **state UNUSED)
{
    struct harness h;
    struct raw raw;
    harness_init(&h, NULL);
    raw_init(&raw, &h, 65535);
    struct raw_stream *s = raw_call(&raw, SERVICE "WaitTask", empty_message, 5, true, NULL);
    RUN_UNTIL(&h, h.echo.waiting == 1);
    nghttp2_submit_rst_stream(raw.session, 0, s->id, NGHTTP2_CANCEL);
    raw_flush(&raw);
    assert_int_equal(h.echo.done, 1);
    assert_int_equal(h.echo.waiting, 0);
    assert_int_equal(harness_stats(&h).calls, 0);
    raw_done(&raw);
    harness_done(&h);
}

static void test_lost_connection_and_free(void **state UNUSED)
{
    struct harness h;
    struct raw one, two;
    harness_init(&h, NULL);
    raw_init(&one, &h, 65535);
    raw_init(&two, &h, 65535);
    raw_call(&one, SERVICE "WaitTask", empty_message, 5, true, NULL);
    raw_call(&two, SERVICE "WaitTask", empty_message, 5, true, NULL);
    raw_call(&two, "/echo.Echo/Chat", "\0\0\0\0\5a", 6, false, NULL);
    raw_call(&two, SERVICE "ExecuteTask", "\0\0\0\0\5a", 6, false, NULL);
    RUN_UNTIL(&h, h.echo.waiting == 2);
    assert_true(harness_stats(&h).inflight_bytes > 0);
    raw_done(&one);
    assert_int_equal(h.echo.done, 1);
    raw_done(&two);
    assert_int_equal(h.echo.done, 3); /* ExecuteTask never reached its handler */
    assert_int_equal(harness_stats(&h).inflight_bytes, 0);
    raw_init(&one, &h, 65535);
    raw_call(&one, SERVICE "WaitTask", empty_message, 5, true, NULL);
    RUN_UNTIL(&h, h.echo.waiting == 1);
    one.conn = NULL;
    harness_done(&h);
    assert_int_equal(h.echo.done, 4);
    raw_done(&one);
}

static void test_chat(void **state UNUSED)
{
    struct harness h;
    struct raw raw;
    harness_init(&h, NULL);
    raw_init(&raw, &h, 65535);
    struct raw_stream *s = raw_call(&raw, "/echo.Echo/Chat", "\0\0\0\0\2hi\0", 8, false, NULL);
    RUN_UNTIL(&h, s->data.len > 0);
    assert_int_equal(h.echo.chat_messages, 1);
    assert_false(s->ended);
    raw_more(&raw, s, "\0\0\0\3you\0\0\0\0\0", 12, true);
    finish_stream(&h, s);
    assert_int_equal(h.echo.chat_messages, 3);
    assert_int_equal(h.echo.half_closed, 1);
    assert_int_equal(s->grpc_status, 0);
    raw_done(&raw);
    harness_done(&h);
}

static void test_message_and_status(void **state UNUSED)
{
    static const uint8_t bad[] = {0, 0, 0, 0, 5, 0x12, 3, 'b', 'a', 'd'};
    struct harness h;
    struct raw raw;
    harness_init(&h, NULL);
    raw_init(&raw, &h, 65535);
    struct raw_stream *s = raw_call(&raw, SERVICE "ExecuteTask", bad, sizeof bad, true, NULL);
    finish_stream(&h, s);
    assert_int_equal(s->grpc_status, TW_INVALID_ARGUMENT);
    assert_string_equal(s->message, "bad type");
    assert_true(s->data.len >= 5);
    raw_done(&raw);
    harness_done(&h);
}

/* A client that sends and does not read: neither its answers nor its requests pile up. */
static void test_chat_without_reading(void **state UNUSED)
{
    enum { MESSAGES = 400, SIZE = 4096 };
    struct harness h;
    struct raw raw;
    size_t len = MESSAGES * (SIZE + 5);
    uint8_t *bytes = calloc(1, len);
    for (size_t i = 0; i < MESSAGES; i++)
        bytes[i * (SIZE + 5) + 3] = SIZE >> 8;
    harness_init(&h, NULL);
    raw_init(&raw, &h, 0);
    struct raw_stream *s = raw_call(&raw, "/echo.Echo/Chat", bytes, len, true, NULL);
    RUN_UNTIL(&h, h.echo.choked == 1);
    for (int i = 0; i < 10; i++)
        uv_run(&h.loop, UV_RUN_NOWAIT);
    assert_int_equal(h.echo.chat_messages, 4); /* 4 * 64 KiB are 256 KiB */
    assert_true(s->upload_len > 0);            /* the window is used up */
    assert_true(harness_stats(&h).inflight_bytes <= 1500 * 1024);
    /* Now it reads. */
    raw_read_on(&raw);
    finish_stream(&h, s);
    assert_int_equal(s->grpc_status, 0);
    assert_int_equal(h.echo.chat_messages, MESSAGES);
    assert_true(s->data.len > MESSAGES * SIZE * 16);
    assert_int_equal(harness_stats(&h).inflight_bytes, 0);
    free(bytes);
    raw_done(&raw);
    harness_done(&h);
}

static void test_slow_reader(void **state UNUSED)
{
    static const uint8_t request[] = {0, 0, 0, 0, 3, 0x18, 0xd0, 0x0f}; /* offset: 2000 messages of 1000 bytes */
    struct harness h;
    struct raw raw;
    harness_init(&h, NULL);
    raw_init(&raw, &h, 1000);
    struct raw_stream *s = raw_call(&raw, SERVICE "StreamLogs", request, sizeof request, true, NULL);
    RUN_UNTIL(&h, h.echo.choked == 1);
    assert_in_range(h.echo.streamed, 256, 270);
    raw_read_on(&raw);
    finish_stream(&h, s);
    assert_int_equal(s->grpc_status, 0);
    assert_int_equal(h.echo.streamed, 2000);
    assert_true(h.echo.drained > 0);
    assert_true(s->data.len >= 2000 * 1008);
    assert_int_equal(h.echo.done, 1);
    raw_done(&raw);
    harness_done(&h);
}

static void test_budget(void **state UNUSED)
{
    static const uint8_t head[] = {0, 0, 0x0c, 0, 0}; /* 768 KiB */
    struct rpc_server_options options = {.max_inflight = 1024 * 1024};
    size_t len = 768 * 1024;
    uint8_t *bytes = calloc(1, len + 5);
    memcpy(bytes, head, 5);
    struct harness h;
    struct raw raw;
    harness_init(&h, &options);
    raw_init(&raw, &h, 65535);
    struct raw_stream *one = raw_call(&raw, SERVICE "ExecuteTask", bytes, len, false, NULL);
    RUN_UNTIL(&h, !one->upload_len);
    struct raw_stream *two = raw_call(&raw, SERVICE "ExecuteTask", bytes, len, false, NULL);
    finish_stream(&h, two);
    assert_int_equal(two->grpc_status, TW_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(two->message, "try again"));
    struct raw_stream *small = raw_call(&raw, SERVICE "GetStatus", empty_message, 5, true, NULL);
    finish_stream(&h, small);
    assert_int_equal(small->grpc_status, 0);
    assert_true(harness_stats(&h).inflight_bytes >= len);
    nghttp2_submit_rst_stream(raw.session, 0, one->id, NGHTTP2_CANCEL);
    raw_flush(&raw);
    assert_int_equal(harness_stats(&h).inflight_bytes, 0);
    free(bytes);
    raw_done(&raw);
    harness_done(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_call),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_early_refusal_stops_the_upload),
        cmocka_unit_test(test_gzip),
        cmocka_unit_test(test_metadata),
        cmocka_unit_test(test_header_list_limit),
        cmocka_unit_test(test_header_bomb),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_lost_connection_and_free),
        cmocka_unit_test(test_chat),
        cmocka_unit_test(test_message_and_status),
        cmocka_unit_test(test_chat_without_reading),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
