/* SPDX-License-Identifier: Apache-2.0 */
/* The table of rights against what is served, and against what each role is for. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "access/rights.h"
#include "base/buf.h"
#include "base/util.h"

extern const unsigned char proto_served[];
extern const size_t proto_served_len;

/* --- a walk through a serialized FileDescriptorSet, as far as the names of methods go --- */

enum {
    SET_FILE = 1,
    FILE_PACKAGE = 2,
    FILE_SERVICE = 6,
    SERVICE_NAME = 1,
    SERVICE_METHOD = 2,
    METHOD_NAME = 1,
};

static uint64_t varint(struct cursor *c)
{
    uint64_t v = 0;
    uint8_t byte = 0x80;
    for (unsigned shift = 0; byte & 0x80; shift += 7) {
        assert_true(shift < 64 && cursor_u8(c, &byte));
        v |= (uint64_t)(byte & 0x7f) << shift;
    }
    return v;
}

/* The next field that holds bytes and has this number. */
static bool next(struct cursor *c, uint32_t number, struct cursor *ret)
{
    while (c->left) {
        uint64_t tag = varint(c);
        const uint8_t *data = NULL;
        uint64_t len = 0;
        if ((tag & 7) == 0) {
            (void)varint(c);
            continue;
        }
        len = (tag & 7) == 2 ? varint(c) : (tag & 7) == 1 ? 8 : 4;
        assert_true(cursor_bytes(c, len, &data));
        if (tag >> 3 == number && (tag & 7) == 2) {
            *ret = cursor_of(data, len);
            return true;
        }
    }
    return false;
}

static void name_of(struct cursor message, uint32_t number, char ret[100])
{
    struct cursor name;
    assert_true(next(&message, number, &name));
    snprintf(ret, 100, "%.*s", (int)name.left, (const char *)name.data);
}

typedef void (*method_fn)(const char *method, void *ctx);

static void each_method_of(struct cursor file, method_fn fn, void *ctx)
{
    char package[100], service_name[100], method_name[100], full[310];
    struct cursor service, method;
    name_of(file, FILE_PACKAGE, package);
    while (next(&file, FILE_SERVICE, &service)) {
        name_of(service, SERVICE_NAME, service_name);
        while (next(&service, SERVICE_METHOD, &method)) {
            name_of(method, METHOD_NAME, method_name);
            snprintf(full, sizeof full, "/%s.%s/%s", package, service_name, method_name);
            fn(full, ctx);
        }
    }
}

static void each_method(method_fn fn, void *ctx)
{
    struct cursor set = cursor_of(proto_served, proto_served_len), file;
    while (next(&set, SET_FILE, &file))
        each_method_of(file, fn, ctx);
}

/* --- */

static void check_has_row(const char *method, void *ctx)
{
    size_t *n = ctx;
    const struct right *right = rights_needed(method);
    if (!right)
        fail_msg("%s has no row in src/access/rights.c: nobody may call it", method);
    else
        assert_string_equal(right->method, method);
    ++*n;
}

static void test_every_method_has_a_row(void **state UNUSED)
{
    size_t served = 0, n;
    each_method(check_has_row, &served);
    assert_true(served >= 45);
    (void)rights_table(&n);
    assert_int_equal(n, served); /* and no row without a method */
}

/* By halves it is found in a table only that is in order, and in which nothing is twice. */
static void test_order(void **state UNUSED)
{
    size_t n;
    const struct right *table = rights_table(&n);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && strcmp(table[i - 1].method, table[i].method) >= 0)
            fail_msg("%s is out of its place", table[i].method);
        assert_ptr_equal(rights_needed(table[i].method), &table[i]);
        assert_true(table[i].role < ROLE_MAX && table[i].reach < REACH_MAX);
    }
}

/* The lowest role for each, written down a second time: a right is not widened by a slip. */
static const struct {
    const char *method;
    int role; /* -1: nobody in particular */
    enum rights_reach reach;
} expected[] = {
    {"/grpc.health.v1.Health/Check", -1, REACH_NODE},
    {"/grpc.health.v1.Health/Watch", -1, REACH_NODE},
    {"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", ROLE_VIEWER, REACH_NODE},
    {"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", ROLE_VIEWER, REACH_NODE},
    {"/taskworker.AccountService/Login", -1, REACH_NODE},
    {"/taskworker.AccountService/WhoAmI", ROLE_VIEWER, REACH_SELF},
    {"/taskworker.AccountService/SetPassword", ROLE_VIEWER, REACH_SELF},
    {"/taskworker.AccountService/AddToken", ROLE_VIEWER, REACH_SELF},
    {"/taskworker.AccountService/RevokeToken", ROLE_VIEWER, REACH_SELF},
    {"/taskworker.AccountService/ListTokens", ROLE_VIEWER, REACH_SELF},
    {"/taskworker.AccountService/AddUser", ROLE_ADMIN, REACH_NODE},
    {"/taskworker.AccountService/RemoveUser", ROLE_ADMIN, REACH_NODE},
    {"/taskworker.AccountService/SetUser", ROLE_ADMIN, REACH_NODE},
    {"/taskworker.AccountService/ListUsers", ROLE_ADMIN, REACH_NODE},
    {"/taskworker.AccountService/QueryAudit", ROLE_ADMIN, REACH_NODE},
    {"/taskworker.AccountService/VerifyAudit", ROLE_ADMIN, REACH_NODE},
    {"/taskworker.TaskWorkerService/GetStatus", ROLE_VIEWER, REACH_NODE},
    {"/taskworker.TaskWorkerService/GetTask", ROLE_VIEWER, REACH_OWNED},
    {"/taskworker.TaskWorkerService/WaitTask", ROLE_VIEWER, REACH_OWNED},
    {"/taskworker.TaskWorkerService/ListAttempts", ROLE_VIEWER, REACH_OWNED},
    {"/taskworker.TaskWorkerService/ListTasks", ROLE_VIEWER, REACH_OWNED},
    {"/taskworker.TaskWorkerService/WatchTasks", ROLE_VIEWER, REACH_OWNED},
    {"/taskworker.TaskWorkerService/StreamLogs", ROLE_VIEWER, REACH_OWNED},
    {"/taskworker.TaskWorkerService/GetResult", ROLE_VIEWER, REACH_OWNED},
    {"/taskworker.FileService/Get", ROLE_VIEWER, REACH_OWNED},
    {"/taskworker.FileService/GetStream", ROLE_VIEWER, REACH_OWNED},
    {"/taskworker.FileService/FindFile", ROLE_VIEWER, REACH_OWNED},
    {"/taskworker.FileService/ListFiles", ROLE_VIEWER, REACH_OWNED},
    {"/taskworker.FileService/GetStorage", ROLE_VIEWER, REACH_OWNED},
    {"/taskworker.TaskWorkerService/ExecuteTask", ROLE_SUBMITTER, REACH_OWNED},
    {"/taskworker.TaskWorkerService/ExecuteBatch", ROLE_SUBMITTER, REACH_OWNED},
    {"/taskworker.TaskWorkerService/RetryTask", ROLE_SUBMITTER, REACH_OWNED},
    {"/taskworker.TaskWorkerService/StopTask", ROLE_SUBMITTER, REACH_OWNED},
    {"/taskworker.TaskWorkerService/PauseTask", ROLE_SUBMITTER, REACH_OWNED},
    {"/taskworker.TaskWorkerService/ResumeTask", ROLE_SUBMITTER, REACH_OWNED},
    {"/taskworker.RPCService/CallFunction", ROLE_SUBMITTER, REACH_OWNED},
    {"/taskworker.FileService/Push", ROLE_SUBMITTER, REACH_OWNED},
    {"/taskworker.FileService/PushStream", ROLE_SUBMITTER, REACH_OWNED},
    {"/taskworker.FileService/Revise", ROLE_SUBMITTER, REACH_OWNED},
    {"/taskworker.FileService/ReviseStream", ROLE_SUBMITTER, REACH_OWNED},
    {"/taskworker.FileService/Synchronous", ROLE_SUBMITTER, REACH_OWNED},
    {"/taskworker.FileService/DeleteFile", ROLE_SUBMITTER, REACH_OWNED},
    {"/taskworker.FileService/CollectGarbage", ROLE_OPERATOR, REACH_NODE},
    {"/taskworker.FileService/CheckFiles", ROLE_OPERATOR, REACH_NODE},
    {"/taskworker.TaskWorkerService/Shutdown", ROLE_OPERATOR, REACH_NODE},
};

static void test_every_role_and_none(void **state UNUSED)
{
    size_t n;
    (void)rights_table(&n);
    assert_int_equal(n, ARRAY_LEN(expected));
    for (size_t i = 0; i < n; i++) {
        const char *method = expected[i].method;
        for (enum role role = 0; role < ROLE_MAX; role++) {
            if (rights_allow(role, method) != ((int)role >= expected[i].role))
                fail_msg("%s by a %s", method, role_to_string(role));
        }
        assert_int_equal(rights_allow_nobody(method), expected[i].role < 0);
        assert_int_equal(rights_needed(method)->reach, expected[i].reach);
    }
}

static void test_unknown_is_refused(void **state UNUSED)
{
    static const char *const methods[] = {"", "/", "/taskworker.TaskWorkerService/",
        "taskworker.TaskWorkerService/GetTask", "/taskworker.TaskWorkerService/GetTas",
        "/taskworker.TaskWorkerService/GetTask ", "/taskworker.TaskWorkerService/gettask",
        "/taskworker.TaskWorkerService/GetTaskX", "/grpc.health.v1.Health/check", "/zzz.Service/Method",
        "//taskworker.TaskWorkerService/GetTask", "\xff\xfe"};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        assert_null(rights_needed(methods[i]));
        assert_false(rights_allow_nobody(methods[i]));
        for (enum role role = 0; role < ROLE_MAX; role++)
            assert_false(rights_allow(role, methods[i]));
    }
    assert_false(rights_allow(ROLE_MAX, "/taskworker.TaskWorkerService/GetStatus"));
    assert_false(rights_allow((enum role) - 1, "/taskworker.TaskWorkerService/GetStatus"));
}

static void test_roles(void **state UNUSED)
{
    static const struct {
        const char *name;
        bool all;
    } roles[] = {{"viewer", false}, {"submitter", false}, {"operator", true}, {"admin", true}};
    assert_int_equal(ARRAY_LEN(roles), ROLE_MAX);
    for (enum role role = 0; role < ROLE_MAX; role++) {
        enum role back = ROLE_MAX;
        assert_string_equal(role_to_string(role), roles[role].name);
        assert_int_equal(role_from_string(roles[role].name, &back), 0);
        assert_int_equal(back, role);
        assert_int_equal(rights_reach_all(role), roles[role].all);
    }
    enum role untouched = ROLE_MAX;
    assert_int_equal(role_from_string("root", &untouched), -EINVAL);
    assert_int_equal(role_from_string("Admin", &untouched), -EINVAL);
    assert_int_equal(role_from_string("", &untouched), -EINVAL);
    assert_int_equal(untouched, ROLE_MAX);
    assert_string_equal(role_to_string(ROLE_MAX), "unknown");
    assert_false(rights_reach_all(ROLE_MAX));
    assert_string_equal(rights_reach_to_string(REACH_NODE), "node");
    assert_string_equal(rights_reach_to_string(REACH_SELF), "self");
    assert_string_equal(rights_reach_to_string(REACH_MAX), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_method_has_a_row),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_every_role_and_none),
        cmocka_unit_test(test_unknown_is_refused),
        cmocka_unit_test(test_roles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
