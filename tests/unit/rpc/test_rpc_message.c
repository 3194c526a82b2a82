/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/util.h"
#include "rpc/alarm.h"
#include "rpc/message.h"

enum { MIB = 1024 * 1024 };

/* A message in wire form, gzip if asked for; free it. `wrong` changes the announced length. */
static uint8_t *wire(const void *data, size_t len, bool gzip, size_t *ret_len)
{
    size_t room = len + len / 1000 + 200;
    uint8_t *out = malloc(room);
    size_t n = len;
    if (gzip) {
        z_stream z = {0};
        assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
        z.next_in = (Bytef *)(uintptr_t)data;
        z.avail_in = (uInt)len;
        z.next_out = out + MESSAGE_HEADER;
        z.avail_out = (uInt)(room - MESSAGE_HEADER);
        assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
        n = z.total_out;
        deflateEnd(&z);
    } else if (len) {
        memcpy(out + MESSAGE_HEADER, data, len);
    }
    out[0] = gzip;
    for (int i = 0; i < 4; i++)
        out[1 + i] = (uint8_t)(n >> (24 - 8 * i));
    *ret_len = n + MESSAGE_HEADER;
    return out;
}

/* Feeds in pieces of `step` until something other than MORE comes or all is fed. */
static enum message_result feed(struct message_reader *r, const uint8_t *data, size_t len, size_t step)
{
    enum message_result result = MESSAGE_MORE;
    while (len && result == MESSAGE_MORE) {
        size_t n = MIN(step, len), left = n;
        const uint8_t *p = data;
        result = message_feed(r, &p, &left);
        data += n - left;
        len -= n - left;
    }
    return result;
}

static void test_pieces(void **state UNUSED)
{
    static const size_t lengths[] = {0, 1, 255, 256, 1000, 70000, 300000};
    static const size_t steps[] = {1, 2, 5, 7, 1000, 16384, 1000000};
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        for (int gzip = 0; gzip < 2; gzip++) {
            size_t len = lengths[i], n;
            CLEANUP_FREE uint8_t *data = malloc(len + 1);
            for (size_t j = 0; j < len; j++)
                data[j] = (uint8_t)(j * j >> 3);
            CLEANUP_FREE uint8_t *bytes = wire(data, len, gzip, &n);
            for (size_t s = 0; s < ARRAY_LEN(steps); s++) {
                struct budget budget;
                budget_init(&budget, 16 * MIB);
                struct message_reader r = {0};
                message_reader_init(&r, len, &budget, true);
                assert_int_equal(feed(&r, bytes, n, steps[s]), MESSAGE_READY);
                assert_int_equal(r.body.len, len);
                assert_true(!len || !memcmp(r.body.data, data, len));
                assert_true(budget.small + budget.big >= len);
                message_next(&r);
                assert_false(message_partial(&r));
                assert_int_equal(budget.small + budget.big, 0);
                message_reader_done(&r);
            }
        }
    }
}

static void test_two_in_one_piece(void **state UNUSED)
{
    static const uint8_t bytes[] = {0, 0, 0, 0, 2, 'h', 'i', 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 'x'};
    struct message_reader r = {0};
    message_reader_init(&r, 10, NULL, false);
    const uint8_t *p = bytes;
    size_t left = sizeof bytes;
    assert_int_equal(message_feed(&r, &p, &left), MESSAGE_READY);
    assert_int_equal(r.body.len, 2);
    assert_int_equal(left, 11);
    message_next(&r);
    assert_int_equal(message_feed(&r, &p, &left), MESSAGE_READY);
    assert_int_equal(r.body.len, 0);
    message_next(&r);
    assert_int_equal(message_feed(&r, &p, &left), MESSAGE_READY);
    assert_int_equal(r.body.data[0], 'x');
    assert_int_equal(left, 0);
    message_reader_done(&r);
}

static enum message_result try_bytes(const uint8_t *bytes, size_t len, size_t max, bool gzip)
{
    struct budget budget;
    budget_init(&budget, 64 * MIB);
    struct message_reader r = {0};
    message_reader_init(&r, max, &budget, gzip);
    enum message_result result = feed(&r, bytes, len, 1000);
    message_reader_done(&r);
    assert_int_equal(budget.small + budget.big, 0);
    return result;
}

static void test_bad(void **state UNUSED)
{
    static const uint8_t too_big[] = {0, 0, 0, 0, 11}, huge[] = {0, 0xff, 0xff, 0xff, 0xff}, flag[] = {2, 0, 0, 0, 0},
                         compressed[] = {1, 0, 0, 0, 1, 0}, garbage[] = {1, 0, 0, 0, 4, 1, 2, 3, 4},
                         empty_gzip[] = {1, 0, 0, 0, 0};
    assert_int_equal(try_bytes(too_big, 5, 10, false), MESSAGE_TOO_BIG);
    assert_int_equal(try_bytes(too_big, 5, 11, false), MESSAGE_MORE);
    assert_int_equal(try_bytes(huge, 5, 10, true), MESSAGE_TOO_BIG);
    assert_int_equal(try_bytes(flag, 5, 10, true), MESSAGE_BAD_FLAG);
    assert_int_equal(try_bytes(compressed, 6, 10, false), MESSAGE_NO_ENCODING);
    assert_int_equal(try_bytes(garbage, 9, 10, true), MESSAGE_BAD_GZIP);
    assert_int_equal(try_bytes(empty_gzip, 5, 10, true), MESSAGE_BAD_GZIP);
}

static void test_gzip_cut_or_with_more(void **state UNUSED)
{
    size_t n;
    CLEANUP_FREE uint8_t *bytes = wire("hello hello hello", 17, true, &n);
    CLEANUP_FREE uint8_t *longer = calloc(1, n + 1);
    memcpy(longer, bytes, n);
    longer[4]++;
    assert_int_equal(try_bytes(longer, n + 1, 100, true), MESSAGE_BAD_GZIP);
    longer[4] = (uint8_t)(bytes[4] - 1);
    assert_int_equal(try_bytes(longer, n - 1, 100, true), MESSAGE_BAD_GZIP);
    bytes[n - 5] ^= 1; /* the check sum */
    assert_int_equal(try_bytes(bytes, n, 100, true), MESSAGE_BAD_GZIP);
}

/* What is wrong with it first is what is said, in whatever pieces it comes. */
static void test_too_big_before_it_is_bad(void **state UNUSED)
{
    static const uint8_t zeros[2000];
    size_t n;
    CLEANUP_FREE uint8_t *bytes = wire(zeros, sizeof zeros, true, &n);
    bytes[n - 5] ^= 1; /* the check sum */
    for (size_t step = 1; step <= n; step++) {
        struct message_reader r = {0};
        message_reader_init(&r, sizeof zeros - 1, NULL, true);
        assert_int_equal(feed(&r, bytes, n, step), MESSAGE_TOO_BIG);
        message_reader_done(&r);
    }
}

static void test_bomb(void **state UNUSED)
{
    size_t len = 20 * MIB, n;
    CLEANUP_FREE uint8_t *zeros = calloc(1, len);
    CLEANUP_FREE uint8_t *bytes = wire(zeros, len, true, &n);
    struct budget budget;
    budget_init(&budget, 64 * MIB);
    struct message_reader r = {0};
    message_reader_init(&r, len - 1, &budget, true);
    assert_int_equal(feed(&r, bytes, n, 100), MESSAGE_TOO_BIG);
    assert_null(r.body.data);
    assert_int_equal(budget.small + budget.big, 0);
    message_reader_init(&r, len, &budget, true);
    assert_int_equal(feed(&r, bytes, n, 100), MESSAGE_READY);
    message_reader_done(&r);
}

/* However much it would become: until it has come whole and is known to be good, the compressed bytes are all that is held. */
static void test_bomb_costs_what_it_sends(void **state UNUSED)
{
    size_t n, len = 60 * MIB, most = 0;
    CLEANUP_FREE uint8_t *zeros = calloc(1, len);
    CLEANUP_FREE uint8_t *bytes = wire(zeros, len, true, &n);
    struct budget budget;
    budget_init(&budget, 100u * MIB);
    struct message_reader r = {0};
    message_reader_init(&r, len, &budget, true);
    enum message_result result = MESSAGE_MORE;
    for (size_t i = 0; i + 1 < n && result == MESSAGE_MORE; i++) {
        result = feed(&r, bytes + i, 1, 1);
        most = MAX(most, budget.small + budget.big);
    }
    assert_int_equal(result, MESSAGE_MORE);
    assert_true(most < 512 * 1024);
    assert_int_equal(feed(&r, bytes + n - 1, 1, 1), MESSAGE_READY);
    assert_int_equal(r.body.len, len);
    assert_memory_equal(r.body.data, zeros, len);
    assert_int_equal(budget.big, len); /* no more than its length */
    message_reader_done(&r);
    assert_int_equal(budget.small + budget.big, 0);
}

/* It stops where it may inflate no more, and goes on from there. */
static void test_allowance(void **state UNUSED)
{
    size_t n, len = 3 * MIB, allowance = 0, rounds = 0;
    CLEANUP_FREE uint8_t *zeros = calloc(1, len);
    CLEANUP_FREE uint8_t *bytes = wire(zeros, len, true, &n);
    struct message_reader r = {0};
    message_reader_init(&r, len, NULL, true);
    r.allowance = &allowance;
    const uint8_t *p = bytes;
    size_t left = n;
    assert_int_equal(message_feed(&r, &p, &left), MESSAGE_MORE);
    assert_int_equal(left, n - 5);
    enum message_result result;
    do {
        allowance = 100 * 1024;
        result = message_feed(&r, &p, &left);
        assert_true(result == MESSAGE_READY || left || message_unpacking(&r));
    } while (result == MESSAGE_MORE && rounds++ < 1000);
    assert_int_equal(result, MESSAGE_READY);
    assert_in_range(rounds, 40, 70); /* twice three MiB, and a few steps beyond each allowance */
    assert_int_equal(r.body.len, len);
    assert_memory_equal(r.body.data, zeros, len);
    message_reader_done(&r);
}

static void test_memory_follows_what_came(void **state UNUSED)
{
    static const uint8_t head[] = {0, 0x06, 0, 0, 0}; /* 96 MiB announced */
    static uint8_t some[1000];
    struct message_reader r = {0};
    message_reader_init(&r, 100u * MIB, NULL, false);
    assert_int_equal(feed(&r, head, sizeof head, 5), MESSAGE_MORE);
    assert_int_equal(r.body.cap, 0);
    assert_int_equal(feed(&r, some, sizeof some, 1000), MESSAGE_MORE);
    assert_true(r.body.cap <= 2048);
    message_reader_done(&r);
}

static void test_budget(void **state UNUSED)
{
    static const uint8_t big_head[] = {0, 0, 0x10, 0, 0}, small_head[] = {0, 0, 0, 4, 0};
    CLEANUP_FREE uint8_t *bytes = calloc(1, MIB);
    struct budget budget;
    budget_init(&budget, MIB);
    struct message_reader a = {0}, b = {0}, c = {0};
    message_reader_init(&a, MIB, &budget, false);
    message_reader_init(&b, MIB, &budget, false);
    message_reader_init(&c, MIB, &budget, false);
    feed(&a, big_head, 5, 5);
    feed(&b, big_head, 5, 5);
    assert_int_equal(feed(&a, bytes, 500 * 1024, 10000), MESSAGE_MORE);
    assert_int_equal(feed(&b, bytes, 600 * 1024, 10000), MESSAGE_NO_BUDGET);
    assert_null(b.body.data);
    assert_int_equal(budget.big, a.body.cap);
    /* The small one does not compete with them. */
    feed(&c, small_head, 5, 5);
    assert_int_equal(feed(&c, bytes, 1024, 100), MESSAGE_READY);
    assert_int_equal(budget.small, c.body.cap);
    message_reader_done(&a);
    message_reader_done(&b);
    message_reader_done(&c);
    assert_int_equal(budget.big + budget.small, 0);
}

/* --- alarms --- */

struct bell {
    struct alarm alarm;
    unsigned rung;
    uint64_t *last;
};

static void ring(struct alarm *alarm)
{
    struct bell *bell = CONTAINER_OF(alarm, struct bell, alarm);
    bell->rung++;
    assert_true(alarm->at_us >= *bell->last); /* in order */
    *bell->last = alarm->at_us;
}

static void test_alarms(void **state UNUSED)
{
    enum { COUNT = 500 };
    static struct bell bells[COUNT];
    uint64_t last = 0;
    uv_loop_t loop;
    struct alarm_queue queue;
    uv_loop_init(&loop);
    alarm_queue_init(&queue, &loop);
    for (size_t i = 0; i < COUNT; i++) {
        bells[i] = (struct bell){.alarm.ring = ring, .last = &last};
        assert_int_equal(alarm_set(&queue, &bells[i].alarm, 1 + i * 7919 % 1000), 0); /* all long past */
    }
    for (size_t i = 0; i < COUNT; i += 3)
        alarm_clear(&queue, &bells[i].alarm);
    for (size_t i = 1; i < COUNT; i += 3)
        assert_int_equal(alarm_set(&queue, &bells[i].alarm, 1 + i * 104729 % 1000), 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(bells[i].rung, i % 3 != 0);
        assert_int_equal(bells[i].alarm.place, 0);
    }
    assert_int_equal(queue.count, 0);
    uv_close((uv_handle_t *)&queue.timer, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    alarm_queue_done(&queue);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_two_in_one_piece),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_gzip_cut_or_with_more),
        cmocka_unit_test(test_too_big_before_it_is_bad),
        cmocka_unit_test(test_bomb),
        cmocka_unit_test(test_bomb_costs_what_it_sends),
        cmocka_unit_test(test_allowance),
        cmocka_unit_test(test_memory_follows_what_came),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_alarms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
