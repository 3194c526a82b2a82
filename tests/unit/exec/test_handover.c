/* SPDX-License-Identifier: Apache-2.0 */
/* What goes from one daemon to the next with a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "exec/handover.h"
#include "exec/pool.h"

static struct handover sample(void)
{
    static const uint8_t bytes[] = "some bytes that go along";
    struct handover h = {
        .serial = 7,
        .kind = PLAN_SHELL,
        .shape_tmp = 1,
        .shape_shm = 2,
        .shape_workspace = 3,
        .shape_network = TW_NETWORK_NONE,
        .shape_runtime = TW_RUNTIME_SHELL,
        .max_tail = RUN_TAIL_MAX,
        .max_result = 100,
        .pipes = 5,
        .group_version = 2,
        .group_files = 1u << GROUP_MEMORY_MAX,
        .limits = {.memory_bytes = 1 << 20},
        .group = {.peak = UINT64_MAX},
        .task_id = {bytes, 4},
        .tail = {bytes, 10},
        .frame_header = {bytes, RESULT_FRAME_HEADER},
        .result = {bytes, 20},
        .error = {bytes, 0},
    };
    return h;
}

enum { SAMPLE_FDS = HANDOVER_FD_PIPES + 2 + 1 };

static bool passes(const struct handover *h, size_t n_fds)
{
    CLEANUP_BUF struct buf raw = BUF_INIT(1 << 20);
    struct handover back;
    handover_encode(h, &raw);
    assert_int_equal(raw.error, 0);
    return handover_decode(raw.data, raw.len, n_fds, &back);
}

static void it_arrives_as_it_was(void **state)
{
    (void)state;
    CLEANUP_BUF struct buf raw = BUF_INIT(1 << 20), again = BUF_INIT(1 << 20);
    struct handover h = sample(), back;
    handover_encode(&h, &raw);
    assert_true(handover_decode(raw.data, raw.len, SAMPLE_FDS, &back));
    handover_encode(&back, &again);
    assert_int_equal(raw.len, again.len);
    assert_memory_equal(raw.data, again.data, raw.len);
    assert_int_equal(back.limits.memory_bytes, 1 << 20);
    assert_true(back.group.peak == UINT64_MAX);
    assert_int_equal(back.tail.len, 10);
}

static void what_is_cut_is_refused(void **state)
{
    (void)state;
    CLEANUP_BUF struct buf raw = BUF_INIT(1 << 20);
    struct handover h = sample(), back;
    handover_encode(&h, &raw);
    for (size_t len = 0; len < raw.len; len++)
        assert_false(handover_decode(raw.data, len, SAMPLE_FDS, &back));
    (void)buf_append_u8(&raw, 0);
    assert_false(handover_decode(raw.data, raw.len, SAMPLE_FDS, &back));
    raw.data[4]++; /* its version */
    assert_false(handover_decode(raw.data, raw.len - 1, SAMPLE_FDS, &back));
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    struct handover h = sample();
    assert_true(passes(&h, SAMPLE_FDS));
    assert_false(passes(&h, SAMPLE_FDS - 1));
    assert_false(passes(&h, SAMPLE_FDS + 1));
#define REFUSES(field, value)                 \
    do {                                      \
        h = sample();                         \
        h.field = (value);                    \
        assert_false(passes(&h, SAMPLE_FDS)); \
    } while (0)
    REFUSES(serial, 0);
    REFUSES(kind, PLAN_KIND_MAX);
    REFUSES(kind, 0);
    REFUSES(shape_tmp, 0);
    REFUSES(shape_network, TW_NETWORK_DEFAULT);
    REFUSES(shape_network, TW_NETWORK_MAX);
    REFUSES(shape_runtime, TW_RUNTIME_MAX);
    REFUSES(limit, TW_REASON_MAX);
    REFUSES(flaw, RESULT_FLAW_MAX);
    REFUSES(paused, 2);
    REFUSES(max_tail, RUN_TAIL_MAX + 1);
    REFUSES(max_result, 19);
    REFUSES(pipes, 13);
    REFUSES(group_version, 3);
    REFUSES(group_version, 0);
    REFUSES(group_files, 0);
    REFUSES(task_id.len, 0);
    REFUSES(task_id, ((struct handover_bytes){(const uint8_t *)"a\0b", 3}));
    REFUSES(frame_header.len, RESULT_FRAME_HEADER + 1);
#undef REFUSES
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_arrives_as_it_was),
        cmocka_unit_test(what_is_cut_is_refused),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
