/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of AccountService to the types of src/access and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>

#include "base/util.h"
#include "rpc/account_convert.h"

static void test_roles(void **state UNUSED)
{
    struct tw_error error;
    enum role back = ROLE_MAX;
    for (enum role role = 0; role < ROLE_MAX; role++) {
        const ProtobufCEnumValue *v =
            protobuf_c_enum_descriptor_get_value(&taskworker__user__role__descriptor, (int)role_to_message(role));
        assert_int_equal(strcasecmp(v->name, role_to_string(role)), 0);
        assert_int_equal(role_from_message(role_to_message(role), ROLE_MAX, &back, &error), 0);
        assert_int_equal(back, role);
    }
    assert_int_equal(role_from_message(0, ROLE_OPERATOR, &back, &error), 0);
    assert_int_equal(back, ROLE_OPERATOR);
    assert_int_equal(role_to_message(ROLE_MAX), 0);
    static const int wrong[] = {5, 6, -1, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_int_equal(role_from_message((Taskworker__User__Role)wrong[i], 0, &back, &error), -1);
        assert_int_equal(error.code, TW_INVALID_ARGUMENT);
    }
}

static void test_lifetimes(void **state UNUSED)
{
    struct tw_error error;
    uint64_t us = 1;
    assert_int_equal(expiry_from_lifetime(0, 5000, &us, &error), 0);
    assert_int_equal(us, 0);
    assert_int_equal(expiry_from_lifetime(1, 5000, &us, &error), 0);
    assert_int_equal(us, 6000);
    assert_int_equal(expiry_from_lifetime(INT64_C(315576000000), 0, &us, &error), 0);
    assert_int_equal(expiry_from_lifetime(INT64_C(315576000001), 0, &us, &error), -1);
    assert_int_equal(expiry_from_lifetime(-1, 0, &us, &error), -1);
    assert_int_equal(expiry_from_lifetime(INT64_MIN, 0, &us, &error), -1);
    assert_int_equal(error.code, TW_INVALID_ARGUMENT);
}

static void test_addresses(void **state UNUSED)
{
    static const struct {
        const char *given, *expected;
    } cases[] = {
        {"10.1.2.3", "10.1.2.3"},
        {"::1", "::/64"},
        {"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
        {"2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"},
        {"2001:db8:1:3::1", "2001:db8:1:3::/64"},
        {"::ffff:10.1.2.3", "10.1.2.3"},
    };
    char text[LOGINS_ADDRESS_BYTES + 1];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sockaddr_storage address = {0};
        struct sockaddr_in *v4 = (struct sockaddr_in *)&address;
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address;
        if (strchr(cases[i].given, ':')) {
            v6->sin6_family = AF_INET6;
            v6->sin6_port = htons(4711);
            assert_int_equal(inet_pton(AF_INET6, cases[i].given, &v6->sin6_addr), 1);
        } else {
            v4->sin_family = AF_INET;
            v4->sin_port = htons(4711);
            assert_int_equal(inet_pton(AF_INET, cases[i].given, &v4->sin_addr), 1);
        }
        login_address((struct sockaddr *)&address, text);
        assert_string_equal(text, cases[i].expected);
    }
    const struct sockaddr_storage none = {.ss_family = AF_UNSPEC};
    login_address((const struct sockaddr *)&none, text);
    assert_string_equal(text, "");
}

static void test_filter(void **state UNUSED)
{
    struct tw_error error;
    struct audit_filter filter;
    Taskworker__QueryAuditRequest request = TASKWORKER__QUERY_AUDIT_REQUEST__INIT;
    assert_int_equal(audit_filter_from_request(&request, &filter, &error), 0);
    assert_true(!filter.user && !filter.object && !filter.by_outcome && !filter.limit && !filter.oldest_first);
    assert_string_equal(filter.action_prefix, "");
    request.outcome = TASKWORKER__AUDIT_RECORD__OUTCOME__ERROR;
    request.user = (char *)"ann";
    request.until_us = 7;
    assert_int_equal(audit_filter_from_request(&request, &filter, &error), 0);
    assert_true(filter.by_outcome && filter.outcome == AUDIT_ERROR && filter.until_us == 7);
    assert_string_equal(filter.user, "ann");
    request.outcome = (Taskworker__AuditRecord__Outcome)-1;
    assert_int_equal(audit_filter_from_request(&request, &filter, &error), -1);
}

static void test_token_names(void **state UNUSED)
{
    struct tw_error error;
    char name[ACCOUNTS_TOKEN_NAME_MAX + 2];
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_int_equal(token_name_check(name, &error), -1);
    name[sizeof name - 2] = '\0';
    assert_int_equal(token_name_check(name, &error), 0);
    assert_int_equal(token_name_check("a laptop \xc3\xa4", &error), 0);
    assert_int_equal(token_name_check("", &error), -1);
    assert_int_equal(token_name_check("a\tb", &error), -1);
    assert_int_equal(token_name_check("\xe2\x80\xae evil", &error), -1); /* turns the text around */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_roles),
        cmocka_unit_test(test_lifetimes),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_filter),
        cmocka_unit_test(test_token_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
