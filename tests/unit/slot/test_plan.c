/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "slot/plan.h"

static const char *const args[] = {"one", "", "drei \xc3\xa4"};
static const struct plan_env env[] = {{"NAME", "value"}, {"_x9", ""}};

static const char *const outputs[] = {"result.csv", "out/**/*.png"};

static struct plan plan_ok(void)
{
    return (struct plan){
        .kind = PLAN_PYTHON,
        .limits = {.open_files = 64, .file_bytes = 5, .processes = 6},
        .task_id = "task_001",
        .args = args,
        .n_args = ARRAY_LEN(args),
        .env = env,
        .n_env = ARRAY_LEN(env),
        .outputs = outputs,
        .n_outputs = ARRAY_LEN(outputs),
    };
}

static void encode(const struct plan *plan, struct buf *out)
{
    buf_init(out, 4 << 20);
    assert_int_equal(plan_encode(plan, out), PLAN_OK);
}

/* The decoder gets exactly sized heap memory, so that the address sanitizer sees one byte too far. */
static enum plan_error decode(const void *data, size_t len, struct plan *ret)
{
    void *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, data, len);
    enum plan_error e = plan_decode(copy, len, ret);
    free(copy);
    return e;
}

static void test_round_trip(void **state)
{
    (void)state;
    struct plan in = plan_ok();
    CLEANUP_BUF struct buf raw;
    CLEANUP_PLAN struct plan out;
    encode(&in, &raw);
    assert_int_equal(decode(raw.data, raw.len, &out), PLAN_OK);
    assert_int_equal(out.kind, PLAN_PYTHON);
    assert_memory_equal(&in.limits, &out.limits, sizeof in.limits);
    assert_string_equal(out.task_id, "task_001");
    assert_int_equal(out.n_args, 3);
    assert_int_equal(out.n_outputs, 2);
    for (size_t i = 0; i < out.n_outputs; i++)
        assert_string_equal(out.outputs[i], outputs[i]);
    for (size_t i = 0; i < out.n_args; i++)
        assert_string_equal(out.args[i], args[i]);
    assert_int_equal(out.n_env, 2);
    for (size_t i = 0; i < out.n_env; i++) {
        assert_string_equal(out.env[i].name, env[i].name);
        assert_string_equal(out.env[i].value, env[i].value);
    }
}

static void test_cut_anywhere(void **state)
{
    (void)state;
    struct plan in = plan_ok(), out;
    CLEANUP_BUF struct buf raw;
    encode(&in, &raw);
    for (size_t len = 0; len < raw.len; len++) {
        assert_int_equal(decode(raw.data, len, &out), PLAN_CUT);
        plan_done(&out);
    }
    buf_append_u8(&raw, 0);
    assert_int_equal(decode(raw.data, raw.len, &out), PLAN_TRAILING);
    plan_done(&out);
}

/* No byte may make the decoder read or write out of bounds; what it accepts must be in range. */
static void test_every_byte_changed(void **state)
{
    (void)state;
    struct plan in = plan_ok(), out;
    CLEANUP_BUF struct buf raw;
    encode(&in, &raw);
    for (size_t i = 0; i < raw.len; i++) {
        uint8_t was = raw.data[i];
        const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff, (uint8_t)(was + 1), (uint8_t)(was ^ 0x20)};
        for (size_t v = 0; v < ARRAY_LEN(values); v++) {
            raw.data[i] = values[v];
            if (decode(raw.data, raw.len, &out) == PLAN_OK) {
                assert_true(out.n_outputs <= PLAN_OUTPUTS_MAX);
                assert_true(out.kind > 0 && out.kind < PLAN_KIND_MAX);
                assert_true(out.n_args <= PLAN_ARGS_MAX && out.n_env <= PLAN_ENV_MAX);
                for (size_t k = 0; k < out.n_env; k++)
                    assert_true(plan_name_ok(out.env[k].name));
            }
            plan_done(&out);
        }
        raw.data[i] = was;
    }
}

static void test_refused(void **state)
{
    (void)state;
    CLEANUP_BUF struct buf raw = BUF_INIT(4 << 20);
    struct plan p = plan_ok();
    p.kind = PLAN_KIND_MAX;
    assert_int_equal(plan_encode(&p, &raw), PLAN_BAD_KIND);
    p = plan_ok();
    p.limits.file_bytes = 0;
    assert_int_equal(plan_encode(&p, &raw), PLAN_BAD_LIMIT);
    p = plan_ok();
    p.limits.open_files = 3;
    assert_int_equal(plan_encode(&p, &raw), PLAN_BAD_LIMIT);
    p = plan_ok();
    p.n_outputs = PLAN_OUTPUTS_MAX + 1;
    assert_int_equal(plan_encode(&p, &raw), PLAN_TOO_LARGE);
    const char *const up[] = {"../up"};
    p = plan_ok();
    p.outputs = up;
    p.n_outputs = 1;
    assert_int_equal(plan_encode(&p, &raw), PLAN_BAD_PATTERN);
    p = plan_ok();
    p.n_args = PLAN_ARGS_MAX + 1;
    assert_int_equal(plan_encode(&p, &raw), PLAN_TOO_LARGE);
    p = plan_ok();
    p.n_env = PLAN_ENV_MAX + 1;
    assert_int_equal(plan_encode(&p, &raw), PLAN_TOO_LARGE);
    char *long_one = malloc(PLAN_STRING_MAX + 2);
    memset(long_one, 'x', PLAN_STRING_MAX + 1);
    long_one[PLAN_STRING_MAX + 1] = '\0';
    const char *long_args[9] = {long_one};
    p = plan_ok();
    p.args = long_args;
    p.n_args = 1;
    assert_int_equal(plan_encode(&p, &raw), PLAN_TOO_LARGE);
    /* Each fits, all together do not. */
    for (size_t i = 0; i < ARRAY_LEN(long_args); i++)
        long_args[i] = long_one + 1;
    p.n_args = ARRAY_LEN(long_args);
    buf_reset(&raw);
    assert_int_equal(plan_encode(&p, &raw), PLAN_TOO_LARGE);
    free(long_one);
    const struct plan_env bad = {"A=B", ""};
    p = plan_ok();
    p.env = &bad;
    p.n_env = 1;
    buf_reset(&raw);
    assert_int_equal(plan_encode(&p, &raw), PLAN_BAD_NAME);
}

static void test_nul_inside(void **state)
{
    (void)state;
    struct plan in = plan_ok(), out;
    CLEANUP_BUF struct buf raw;
    encode(&in, &raw);
    uint8_t *at = memmem(raw.data, raw.len, "value", 5);
    assert_non_null(at);
    at[2] = 0;
    assert_int_equal(decode(raw.data, raw.len, &out), PLAN_BAD_STRING);
    plan_done(&out);
}

static void test_names(void **state)
{
    (void)state;
    assert_true(plan_name_ok("A"));
    assert_true(plan_name_ok("_a_9Z"));
    const char *const bad[] = {"", "9A", "A-B", "A=B", "A B", "\xc3\xa4", "A\n"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(plan_name_ok(bad[i]));
    char name[PLAN_NAME_MAX + 2];
    memset(name, 'A', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_false(plan_name_ok(name));
    name[PLAN_NAME_MAX] = '\0';
    assert_true(plan_name_ok(name));
    for (unsigned e = 0; e < PLAN_ERROR_MAX; e++)
        assert_string_not_equal(plan_error_to_string((enum plan_error)e), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_every_byte_changed),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_nul_inside),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
