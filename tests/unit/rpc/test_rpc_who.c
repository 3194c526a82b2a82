/* SPDX-License-Identifier: Apache-2.0 */
/* A server that asks who calls before it reads a byte of what he wants. */
#include "harness.h"

#include "base/error.h"

static const uint8_t empty_message[5] = {0};

struct gate {
    unsigned asked;
    char method[128];
};

/* Lets in who says that he is ann. */
static int authorize(void *ctx, const struct rpc_call *call, struct who *ret_who, struct tw_error *error)
{
    struct gate *gate = ctx;
    gate->asked++;
    snprintf(gate->method, sizeof gate->method, "%s", rpc_call_method(call));
    const char *name = rpc_call_metadata(call, "x-name");
    if (!name || strcmp(name, "ann") != 0) {
        return error_set(error, TW_RESOURCE_EXHAUSTED, "not now");
    }
    *ret_who = (struct who){.role = ROLE_OPERATOR};
    snprintf(ret_who->user, sizeof ret_who->user, "%s", name);
    return 0;
}

static void test_who_may(void **state UNUSED)
{
    struct gate gate = {0};
    struct harness h;
    struct raw raw;
    harness_init(&h, &(struct rpc_server_options){.authorize = authorize, .authorize_ctx = &gate});
    raw_init(&raw, &h, 65535);
    const char *const ann[] = {"x-name", "ann", NULL};
    raw_call(&raw, SERVICE "WaitTask", empty_message, 5, true, ann);
    RUN_UNTIL(&h, h.echo.waiting == 1);
    const struct who *who = rpc_call_who(h.echo.last_wait);
    assert_non_null(who);
    assert_string_equal(who->user, "ann");
    assert_int_equal(who->role, ROLE_OPERATOR);
    assert_string_equal(gate.method, SERVICE "WaitTask");

    /* The next call has another caller, or none: nothing of the one before is left. */
    const char *const eve[] = {"x-name", "eve", NULL};
    struct raw_stream *s = raw_call(&raw, SERVICE "WaitTask", empty_message, 5, false, eve);
    RUN_UNTIL(&h, s->grpc_status >= 0);
    assert_int_equal(s->grpc_status, TW_RESOURCE_EXHAUSTED);
    assert_string_equal(s->message, "not now");
    assert_int_equal(h.echo.waiting, 1);
    assert_int_equal(gate.asked, 2);

    /* What is not there at all is nobody's business to ask for. */
    s = raw_call(&raw, "/no.Such/Method", empty_message, 5, true, ann);
    RUN_UNTIL(&h, s->closed);
    assert_int_equal(s->grpc_status, TW_UNIMPLEMENTED);
    assert_int_equal(gate.asked, 2);
    raw_done(&raw);
    harness_done(&h);
}

static void test_nobody_is_asked(void **state UNUSED)
{
    struct harness h;
    struct raw raw;
    harness_init(&h, NULL);
    raw_init(&raw, &h, 65535);
    raw_call(&raw, SERVICE "WaitTask", empty_message, 5, true, NULL);
    RUN_UNTIL(&h, h.echo.waiting == 1);
    assert_null(rpc_call_who(h.echo.last_wait));
    raw_done(&raw);
    harness_done(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_may),
        cmocka_unit_test(test_nobody_is_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
