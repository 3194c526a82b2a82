/* SPDX-License-Identifier: Apache-2.0 */
/* Time, floods and draining. */
#include "harness.h"

#include "base/clock.h"

static const uint8_t empty_message[5] = {0};

/* Time-outs as short as a test can bear. */
static const struct rpc_server_options hasty = {
    .keepalive_us = 100000, .keepalive_timeout_us = 100000, .idle_request_us = 100000};

static void test_rapid_reset(void **state UNUSED)
{
    struct harness h;
    struct raw raw;
    harness_init(&h, NULL);
    raw_init(&raw, &h, 65535);
    for (int i = 0; i < 5000 && !raw.goaways && !raw_closed(&raw); i++) {
        raw.count = 0;
        struct raw_stream *s = raw_call(&raw, SERVICE "WaitTask", empty_message, 5, true, NULL);
        nghttp2_submit_rst_stream(raw.session, 0, s->id, NGHTTP2_CANCEL);
        raw_flush(&raw);
        uv_run(&h.loop, UV_RUN_NOWAIT);
    }
    RUN_UNTIL(&h, raw_closed(&raw));
    assert_int_equal(raw.goaway_code, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_in_range(harness_stats(&h).calls_total, 1000, 2500);
    assert_int_equal(harness_stats(&h).calls, 0);
    raw_done(&raw);
    harness_done(&h);
}

/* As many calls cancelled at once as a connection may have: that is no flood. */
static void test_many_cancelled_at_once(void **state UNUSED)
{
    struct harness h;
    struct raw raw;
    harness_init(&h, NULL);
    raw_init(&raw, &h, 65535);
    raw_call(&raw, SERVICE "GetStatus", empty_message, 5, true, NULL);
    RUN_UNTIL(&h, raw.streams[0].closed);
    buf_done(&raw.streams[0].data);
    int32_t first = 0, last = 0;
    for (int i = 0; i < 1000; i++) {
        raw.count = 0;
        last = raw_call(&raw, SERVICE "WaitTask", empty_message, 5, true, NULL)->id;
        first = first ? first : last;
    }
    RUN_UNTIL(&h, h.echo.waiting == 1000);
    for (int32_t id = first; id <= last; id += 2)
        nghttp2_submit_rst_stream(raw.session, 0, id, NGHTTP2_CANCEL);
    raw_flush(&raw);
    assert_int_equal(h.echo.waiting, 0);
    struct raw_stream *s = raw_call(&raw, SERVICE "GetStatus", empty_message, 5, true, NULL);
    RUN_UNTIL(&h, s->closed);
    assert_int_equal(s->grpc_status, 0);
    raw_done(&raw);
    harness_done(&h);
}

/* Frames that are legal and lead nowhere, again and again. */
static void flood(const uint8_t *frame, size_t len, bool deaf)
{
    struct harness h;
    struct raw raw;
    harness_init(&h, NULL);
    raw_init(&raw, &h, 65535);
    raw_flush(&raw);
    uv_run(&h.loop, UV_RUN_NOWAIT);
    raw.deaf = deaf;
    for (int i = 0; i < 30000 && !raw_closed(&raw) && !raw.goaways; i++) {
        raw_bytes(&raw, frame, len);
        if (i % 100 == 0)
            uv_run(&h.loop, UV_RUN_NOWAIT);
    }
    RUN_UNTIL(&h, raw_closed(&raw));
    assert_int_equal(raw.goaway_code, NGHTTP2_ENHANCE_YOUR_CALM);
    raw_done(&raw);
    harness_done(&h);
}

static void test_floods(void **state UNUSED)
{
    static const uint8_t ping[17] = {0, 0, 8, 6}, settings[9] = {0, 0, 0, 4},
                         priority[14] = {0, 0, 5, 2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 1};
    flood(ping, sizeof ping, false);
    flood(settings, sizeof settings, true); /* its acknowledgements would confuse our own session */
    flood(priority, sizeof priority, false);
    flood(ping, sizeof ping, true);
}

static void test_garbage(void **state UNUSED)
{
    static const char http1[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    struct harness h;
    struct raw raw;
    harness_init(&h, NULL);
    raw_init(&raw, &h, 65535);
    raw_bytes(&raw, http1, sizeof http1 - 1);
    RUN_UNTIL(&h, raw_closed(&raw));
    raw_done(&raw);
    raw_init(&raw, &h, 65535);
    raw_flush(&raw);
    raw_bytes(&raw, "\xff\xff\xff\x01\x05\x00\x00\x00\x01", 9); /* a frame of 16 MiB */
    RUN_UNTIL(&h, raw_closed(&raw));
    assert_int_equal(raw.goaway_code, NGHTTP2_FRAME_SIZE_ERROR);
    raw_done(&raw);
    harness_done(&h);
}

/* --- time --- */

static void test_unfinished_business(void **state UNUSED)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    static const uint8_t settings[9] = {0, 0, 0, 4}, half_head[4] = {0, 0, 8, 6}, half_ping[12] = {0, 0, 8, 6},
                         open_headers[10] = {0, 0, 1, 1, 0, 0, 0, 0, 1, 0x83};
    static const struct {
        const void *bytes;
        size_t len;
        bool greeted;
    } cases[] = {{"", 0, false}, {preface, 10, false}, {preface, 24, false}, {half_head, sizeof half_head, true},
        {half_ping, sizeof half_ping, true}, {open_headers, sizeof open_headers, true}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct harness h;
        struct raw raw;
        harness_init(&h, &hasty);
        raw_init(&raw, &h, 65535);
        raw.deaf = true; /* else it would greet by itself */
        if (cases[i].greeted) {
            raw_bytes(&raw, preface, 24);
            raw_bytes(&raw, settings, sizeof settings);
        }
        raw_bytes(&raw, cases[i].bytes, cases[i].len);
        uint64_t start = clock_monotonic_us();
        harness_start_deadline(&h);
        while (!raw_closed(&raw) && !h.late)
            uv_run(&h.loop, UV_RUN_ONCE);
        if (h.late)
            fail_msg("case %zu stays open", i);
        assert_true(clock_monotonic_us() - start >= 90000);
        RUN_UNTIL(&h, harness_stats(&h).connections == 0);
        assert_int_equal(harness_stats(&h).calls, 0);
        raw_done(&raw);
        harness_done(&h);
    }
}

struct drip {
    uv_timer_t timer;
    struct raw *raw;
    struct raw_stream *stream;
    unsigned count;
};

static void on_drip(uv_timer_t *timer)
{
    struct drip *d = CONTAINER_OF(timer, struct drip, timer);
    d->count++;
    if (!d->stream->closed)
        raw_more(d->raw, d->stream, "x", 1, false);
}

/* One byte now and then, in frames of its own: every frame is complete, the request never is. */
static void drip(const char *path)
{
    struct harness h;
    struct raw raw;
    harness_init(&h, &hasty);
    raw_init(&raw, &h, 65535);
    struct drip d = {.raw = &raw};
    d.stream = raw_call(&raw, path, "\0\0\0\1\0", 5, false, NULL);
    uv_timer_init(&h.loop, &d.timer);
    uv_timer_start(&d.timer, on_drip, 10, 10);
    RUN_UNTIL(&h, d.stream->closed);
    assert_int_equal(d.stream->grpc_status, TW_DEADLINE_EXCEEDED);
    assert_non_null(strstr(d.stream->message, "did not arrive in time"));
    assert_true(d.count >= 3);
    assert_int_equal(raw.goaways, 0);
    uv_close((uv_handle_t *)&d.timer, NULL);
    raw_done(&raw);
    harness_done(&h);
}

static void test_byte_by_byte(void **state UNUSED)
{
    drip(SERVICE "ExecuteTask");
    drip("/echo.Echo/Chat");
}

static void on_timer_flag(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

/* Connections and calls on which nothing happens for long, for good reason. */
static void test_idle_is_no_fault(void **state UNUSED)
{
    struct harness h;
    struct raw idle, waiting, talking;
    bool passed = false;
    uv_timer_t timer;
    harness_init(&h, &hasty);
    raw_init(&idle, &h, 65535);
    raw_init(&waiting, &h, 65535);
    raw_init(&talking, &h, 65535);
    raw_flush(&idle);
    struct raw_stream *wait = raw_call(&waiting, SERVICE "WaitTask", empty_message, 5, true, NULL);
    struct raw_stream *chat = raw_call(&talking, "/echo.Echo/Chat", "\0\0\0\0\2hi", 7, false, NULL);
    uv_timer_init(&h.loop, &timer);
    timer.data = &passed;
    uv_timer_start(&timer, on_timer_flag, 700, 0);
    RUN_UNTIL(&h, passed);
    assert_false(raw_closed(&idle) || raw_closed(&waiting) || raw_closed(&talking));
    assert_false(wait->closed || chat->closed);
    assert_int_equal(idle.pings, 0);
    assert_true(waiting.pings >= 2); /* asked whether they are alive, and they were */
    assert_int_equal(h.echo.waiting, 1);
    uv_close((uv_handle_t *)&timer, NULL);
    raw_done(&idle);
    raw_done(&waiting);
    raw_done(&talking);
    harness_done(&h);
}

static void test_keepalive(void **state UNUSED)
{
    struct harness h;
    struct raw raw;
    harness_init(&h, &hasty);
    raw_init(&raw, &h, 65535);
    raw_call(&raw, SERVICE "WaitTask", empty_message, 5, true, NULL);
    RUN_UNTIL(&h, h.echo.waiting == 1);
    raw.deaf = true; /* gone without a word */
    RUN_UNTIL(&h, raw_closed(&raw));
    assert_int_equal(h.echo.waiting, 0);
    assert_int_equal(h.echo.done, 1);
    raw_done(&raw);
    harness_done(&h);
}

static void test_deadline(void **state UNUSED)
{
    static const char *const headers[] = {"grpc-timeout", "50m", NULL};
    struct harness h;
    struct raw raw;
    harness_init(&h, NULL);
    raw_init(&raw, &h, 65535);
    uint64_t start = clock_monotonic_us();
    struct raw_stream *wait = raw_call(&raw, SERVICE "WaitTask", empty_message, 5, true, headers);
    struct raw_stream *half = raw_call(&raw, SERVICE "ExecuteTask", "\0\0\0\0\7abc", 8, false, headers);
    struct raw_stream *chat = raw_call(&raw, "/echo.Echo/Chat", "\0\0\0\0\2hi", 7, false, headers);
    RUN_UNTIL(&h, wait->closed && half->closed && chat->closed);
    assert_in_range(clock_monotonic_us() - start, 50000, 5000000);
    assert_int_equal(wait->grpc_status, TW_DEADLINE_EXCEEDED);
    assert_int_equal(half->grpc_status, TW_DEADLINE_EXCEEDED);
    assert_int_equal(chat->grpc_status, TW_DEADLINE_EXCEEDED);
    assert_int_equal(h.echo.done, 2);
    assert_int_equal(harness_stats(&h).calls, 0);
    assert_int_equal(harness_stats(&h).inflight_bytes, 0);
    raw_done(&raw);
    harness_done(&h);
}

/* An answer that nobody fetches does not stay for ever. */
static void test_unread_answer(void **state UNUSED)
{
    static const uint8_t request[] = {0, 0, 0, 0, 6, 0x0a, 4, '9', '9', '9', '9'};
    struct harness h;
    struct raw raw;
    harness_init(&h, &hasty);
    raw_init(&raw, &h, 10);
    struct raw_stream *s = raw_call(&raw, SERVICE "GetResult", request, sizeof request, true, NULL);
    RUN_UNTIL(&h, s->closed);
    assert_int_equal(s->error, NGHTTP2_CANCEL);
    assert_int_equal(s->data.len, 10);
    assert_int_equal(h.echo.done, 1);
    assert_false(raw_closed(&raw));
    raw_done(&raw);
    harness_done(&h);
}

/* --- draining --- */

static void on_drained(void *ctx)
{
    (*(unsigned *)ctx)++;
}

static void test_drain(void **state UNUSED)
{
    struct harness h;
    struct raw busy, idle;
    unsigned drained = 0;
    harness_init(&h, NULL);
    raw_init(&busy, &h, 65535);
    raw_init(&idle, &h, 65535);
    raw_flush(&idle);
    struct raw_stream *s = raw_call(&busy, "/echo.Echo/Chat", "\0\0\0\0\2hi", 7, false, NULL);
    RUN_UNTIL(&h, s->data.len > 0);
    rpc_server_drain(h.server, 60000000, on_drained, &drained);
    RUN_UNTIL(&h, busy.goaways == 2 && raw_closed(&idle));
    assert_int_equal(busy.goaway_code, NGHTTP2_NO_ERROR);
    assert_int_equal(busy.goaway_last, s->id);
    assert_int_equal(idle.goaways, 2);
    assert_int_equal(drained, 0);
    size_t before = s->data.len;
    raw_more(&busy, s, "\0\0\0\0\2yo", 7, true); /* what was begun is carried on */
    RUN_UNTIL(&h, s->closed);
    assert_true(s->data.len > before);
    assert_int_equal(s->grpc_status, 0);
    RUN_UNTIL(&h, drained == 1);
    assert_true(raw_closed(&busy));
    raw_done(&busy);
    raw_done(&idle);
    harness_done(&h);
    assert_int_equal(drained, 1);
}

static void test_drain_grace(void **state UNUSED)
{
    struct harness h;
    struct raw raw;
    unsigned drained = 0;
    harness_init(&h, NULL);
    raw_init(&raw, &h, 65535);
    struct raw_stream *s = raw_call(&raw, SERVICE "WaitTask", empty_message, 5, true, NULL);
    RUN_UNTIL(&h, h.echo.waiting == 1);
    rpc_server_drain(h.server, 60000000, on_drained, &drained);
    rpc_server_drain(h.server, 50000, NULL, NULL); /* hurry */
    RUN_UNTIL(&h, drained == 1);
    assert_int_equal(s->grpc_status, TW_UNAVAILABLE);
    assert_int_equal(h.echo.waiting, 0);
    raw_done(&raw);
    harness_done(&h);
}

static void test_drain_without_connections(void **state UNUSED)
{
    struct harness h;
    unsigned drained = 0;
    harness_init(&h, NULL);
    rpc_server_drain(h.server, 60000000, on_drained, &drained);
    assert_int_equal(drained, 0); /* never from within */
    RUN_UNTIL(&h, drained == 1);
    harness_done(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rapid_reset),
        cmocka_unit_test(test_many_cancelled_at_once),
        cmocka_unit_test(test_floods),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_unfinished_business),
        cmocka_unit_test(test_byte_by_byte),
        cmocka_unit_test(test_idle_is_no_fault),
        cmocka_unit_test(test_keepalive),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_unread_answer),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_drain_grace),
        cmocka_unit_test(test_drain_without_connections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
