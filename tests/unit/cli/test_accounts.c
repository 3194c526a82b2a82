/* SPDX-License-Identifier: Apache-2.0 */
/* Roles, lifetimes and states of tokens, as people write and read them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/clock.h"
#include "cli/accounts.h"

/* What is wrong is said on standard error, which the test does not look at. */
static struct cli quiet(void)
{
    struct cli cli;
    cli_init(&cli);
    return cli;
}

static void test_roles(void **state UNUSED)
{
    static const char *const names[] = {"viewer", "submitter", "operator", "admin"};
    struct cli cli = quiet();
    Taskworker__User__Role role;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(role_parse(&cli, names[i], &role), 0);
        assert_int_equal(role, i + 1);
        assert_string_equal(role_name(role), names[i]);
        const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(&taskworker__user__role__descriptor, i + 1);
        assert_int_equal(strcasecmp(v->name, names[i]), 0);
    }
    assert_int_equal(role_parse(&cli, NULL, &role), 0);
    assert_int_equal(role, TASKWORKER__USER__ROLE__ROLE_UNSPECIFIED);
    assert_int_equal(role_parse(&cli, "root", &role), EXIT_USAGE);
    assert_int_equal(role_parse(&cli, "", &role), EXIT_USAGE);
    assert_string_equal(role_name((Taskworker__User__Role)9), "?");
    cli_done(&cli);
}

static void test_lifetimes(void **state UNUSED)
{
    struct cli cli = quiet();
    int64_t ms = -1;
    assert_int_equal(lifetime_parse(&cli, "30d", "never", &ms), 0);
    assert_int_equal(ms, INT64_C(2592000000));
    assert_int_equal(lifetime_parse(&cli, NULL, "12h", &ms), 0);
    assert_int_equal(ms, 43200000);
    assert_int_equal(lifetime_parse(&cli, "never", "12h", &ms), 0);
    assert_int_equal(ms, 0);
    static const char *const wrong[] = {"", "0", "soon", "-1h", "1us"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_int_equal(lifetime_parse(&cli, wrong[i], "never", &ms), EXIT_USAGE);
    cli_done(&cli);
}

static void test_tokens(void **state UNUSED)
{
    Taskworker__Token token = TASKWORKER__TOKEN__INIT;
    char when[40];
    assert_string_equal(token_state(&token), "ok");
    token.expires_us = (int64_t)clock_wall_us() + INT64_C(1000000000);
    assert_string_equal(token_state(&token), "ok");
    token.expires_us = 1;
    assert_string_equal(token_state(&token), "expired");
    token.revoked_us = 1;
    assert_string_equal(token_state(&token), "revoked");
    assert_string_equal(format_moment(0, "never", when), "never");
    assert_string_equal(format_moment(INT64_C(1896114600123456), "never", when), "2030-01-31T18:30:00Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_roles),
        cmocka_unit_test(test_lifetimes),
        cmocka_unit_test(test_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
