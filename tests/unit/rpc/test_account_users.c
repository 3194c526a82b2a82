/* SPDX-License-Identifier: Apache-2.0 */
/* AccountService: users and their passwords, and that everything is written down before it is done. */
#include "account_fixture.h"

#include <errno.h>
#include <stdlib.h>

#include "access/delays.h"
#include "base/clock.h"

enum { VIEWER = 1, SUBMITTER = 2, OPERATOR = 3, ADMIN = 4 }; /* as on the wire */

static Taskworker__AddUserRequest add_request(const char *name, int role)
{
    Taskworker__AddUserRequest r = TASKWORKER__ADD_USER_REQUEST__INIT;
    r.name = (char *)name;
    r.role = (Taskworker__User__Role)role;
    return r;
}

static Taskworker__RemoveUserRequest remove_request(const char *name)
{
    Taskworker__RemoveUserRequest r = TASKWORKER__REMOVE_USER_REQUEST__INIT;
    r.name = (char *)name;
    return r;
}

static Taskworker__SetUserRequest set_request(const char *name, int role, bool set_disabled, bool disabled)
{
    Taskworker__SetUserRequest r = TASKWORKER__SET_USER_REQUEST__INIT;
    r.name = (char *)name;
    r.role = (Taskworker__User__Role)role;
    r.set_disabled = set_disabled;
    r.disabled = disabled;
    return r;
}

static bool is_there(const struct account_fixture *f, const char *name)
{
    struct accounts_user user;
    return accounts_find_user(f->accounts, name, &user, NULL) == 0;
}

static void expect_add(
    struct account_fixture *f, const char *token, const char *name, int role, enum tw_code code, const char *words)
{
    const Taskworker__AddUserRequest r = add_request(name, role);
    account_expect(f, "AddUser", token, &r, code, words);
}

static void expect_set(
    struct account_fixture *f, const char *token, Taskworker__SetUserRequest r, enum tw_code code, const char *words)
{
    account_expect(f, "SetUser", token, &r, code, words);
}

static void test_add(void **state UNUSED)
{
    struct account_fixture f;
    account_begin_test(&f, NULL);
    const Taskworker__AddUserRequest ann = add_request("ann", SUBMITTER);
    Taskworker__UserResponse *r =
        account_get(&f, "AddUser", f.admin.text, &ann, &taskworker__user_response__descriptor);
    assert_string_equal(r->user->name, "ann");
    assert_int_equal(r->user->role, SUBMITTER);
    assert_true(r->user->created_us > 0 && !r->user->disabled && !r->user->has_password && !r->user->tokens);
    taskworker__user_response__free_unpacked(r, NULL);
    expect_add(&f, f.admin.text, "ann", VIEWER, TW_ALREADY_EXISTS, "already");
    expect_add(&f, f.admin.text, "Ann Example", VIEWER, TW_INVALID_ARGUMENT, "");
    expect_add(&f, f.admin.text, "", VIEWER, TW_INVALID_ARGUMENT, "");
    expect_add(&f, f.admin.text, "bob", 0, TW_INVALID_ARGUMENT, "role is missing");
    expect_add(&f, f.admin.text, "bob", 5, TW_INVALID_ARGUMENT, "role is 5");
    expect_add(&f, f.admin.text, "bob", -1, TW_INVALID_ARGUMENT, "no such role");
    assert_false(is_there(&f, "bob"));
    account_end_test(&f);
}

/* The table of rights says so, and the service asks it, whatever the server lets through. */
static void test_who_may(void **state UNUSED)
{
    static const enum role roles[] = {ROLE_VIEWER, ROLE_SUBMITTER, ROLE_OPERATOR};
    struct account_fixture f;
    account_begin_test(&f, NULL);
    for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
        struct token token = account_person(&f, role_to_string(roles[i]), roles[i]);
        expect_add(&f, token.text, "eve", ADMIN, TW_PERMISSION_DENIED, "another role");
        expect_set(
            &f, token.text, set_request(role_to_string(roles[i]), ADMIN, false, false), TW_PERMISSION_DENIED, "");
    }
    expect_add(&f, NULL, "eve", ADMIN, TW_PERMISSION_DENIED, "");
    assert_false(is_there(&f, "eve"));
    assert_int_equal(f.changes, 0);
    account_end_test(&f);
}

static void test_set_and_remove(void **state UNUSED)
{
    struct account_fixture f;
    struct who who;
    account_begin_test(&f, NULL);
    struct token ann = account_person(&f, "ann", ROLE_SUBMITTER);
    expect_set(&f, f.admin.text, set_request("ann", 0, false, true), TW_INVALID_ARGUMENT, "what is to be changed");
    expect_set(&f, f.admin.text, set_request("bob", VIEWER, false, false), TW_NOT_FOUND, "bob");
    expect_set(&f, f.admin.text, set_request("", VIEWER, false, false), TW_INVALID_ARGUMENT, "missing");
    assert_int_equal(f.changes, 0);
    expect_set(&f, f.admin.text, set_request("ann", VIEWER, false, true), TW_OK, "");
    assert_int_equal(accounts_check_token(f.accounts, ann.text, TOKEN_TEXT_LEN, clock_wall_us(), &who), ACCOUNTS_OK);
    assert_int_equal(who.role, ROLE_VIEWER);
    assert_int_equal(f.changes, 1);
    expect_set(&f, f.admin.text, set_request("ann", SUBMITTER, true, true), TW_OK, "");
    assert_int_equal(
        accounts_check_token(f.accounts, ann.text, TOKEN_TEXT_LEN, clock_wall_us(), &who), ACCOUNTS_DISABLED);
    expect_set(&f, f.admin.text, set_request("ann", 0, true, false), TW_OK, "");
    assert_int_equal(accounts_check_token(f.accounts, ann.text, TOKEN_TEXT_LEN, clock_wall_us(), &who), ACCOUNTS_OK);
    assert_int_equal(who.role, ROLE_SUBMITTER);

    const Taskworker__RemoveUserRequest r = remove_request("ann"), none = remove_request("nobody");
    account_expect(&f, "RemoveUser", f.admin.text, &none, TW_NOT_FOUND, "nobody");
    account_expect(&f, "RemoveUser", f.admin.text, &r, TW_OK, "");
    assert_false(is_there(&f, "ann"));
    assert_int_equal(f.changes, 4);
    expect_add(&f, f.admin.text, "ann", VIEWER, TW_ALREADY_EXISTS, "was removed");
    account_end_test(&f);
}

static void test_last_admin(void **state UNUSED)
{
    struct account_fixture f;
    account_begin_test(&f, NULL);
    const Taskworker__RemoveUserRequest r = remove_request("admin");
    account_expect(&f, "RemoveUser", f.admin.text, &r, TW_FAILED_PRECONDITION, "last administrator");
    expect_set(&f, f.admin.text, set_request("admin", VIEWER, false, false), TW_FAILED_PRECONDITION, "last");
    expect_set(&f, f.admin.text, set_request("admin", VIEWER, true, true), TW_FAILED_PRECONDITION, "last");
    CLEANUP_FREE char *log = account_audit_text(&f);
    assert_non_null(strstr(log, "not done: 'admin' is the last administrator"));
    account_end_test(&f);
}

/* --- what is not on disk is not done --- */

static void test_nothing_before_the_log(void **state UNUSED)
{
    struct account_fixture f;
    account_begin_test(&f, NULL);
    const Taskworker__AddUserRequest ann = add_request("ann", VIEWER), bob = add_request("bob", VIEWER);
    account_set_mood(AUDIT_IS_SLOW);
    struct raw_stream *first = account_ask(&f, "AddUser", f.admin.text, &ann);
    struct raw_stream *second = account_ask(&f, "AddUser", f.admin.text, &bob);
    RUN_UNTIL(&f.h, account_audit_waiting() == 2);
    assert_false(is_there(&f, "ann"));
    assert_int_equal(first->grpc_status, -1);
    account_audit_answers(0);
    assert_true(is_there(&f, "ann"));
    account_expect_stream(&f, first, TW_OK, "");
    account_audit_answers(-EIO);
    account_expect_stream(&f, second, TW_UNAVAILABLE, "nothing was done");
    assert_false(is_there(&f, "bob"));

    account_set_mood(AUDIT_IS_FULL);
    account_expect(&f, "AddUser", f.admin.text, &bob, TW_UNAVAILABLE, "audit log");
    assert_false(is_there(&f, "bob"));
    account_end_test(&f);
}

/* Between the record and the act the caller may lose his rights, or interest. */
static void test_caller_changes(void **state UNUSED)
{
    struct account_fixture f;
    struct tw_error error;
    account_begin_test(&f, NULL);
    struct token ann = account_person(&f, "ann", ROLE_ADMIN);
    const Taskworker__AddUserRequest eve = add_request("eve", ADMIN);
    account_set_mood(AUDIT_IS_SLOW);
    struct raw_stream *s = account_ask(&f, "AddUser", ann.text, &eve);
    RUN_UNTIL(&f.h, account_audit_waiting() == 1);
    assert_int_equal(accounts_set_role(f.accounts, "ann", ROLE_VIEWER, &error), 0);
    account_audit_answers(0);
    account_expect_stream(&f, s, TW_UNAUTHENTICATED, "changed meanwhile");

    s = account_ask(&f, "AddUser", f.admin.text, &eve);
    RUN_UNTIL(&f.h, account_audit_waiting() == 1);
    nghttp2_submit_rst_stream(f.raw.session, 0, s->id, NGHTTP2_CANCEL);
    raw_flush(&f.raw);
    RUN_UNTIL(&f.h, harness_stats(&f.h).calls == 0);
    account_audit_answers(0);
    assert_false(is_there(&f, "eve"));
    CLEANUP_FREE char *log = account_audit_text(&f);
    assert_non_null(strstr(log, "not done: the caller had gone"));
    account_end_test(&f);
}

static void test_written_down(void **state UNUSED)
{
    struct account_fixture f;
    account_begin_test(&f, NULL);
    expect_add(&f, f.admin.text, "ann", OPERATOR, TW_OK, "");
    expect_set(&f, f.admin.text, set_request("ann", VIEWER, true, true), TW_OK, "");
    CLEANUP_FREE char *log = account_audit_text(&f);
    char id[TOKEN_ID_LEN + 1], line[200];
    token_id(f.admin.digest, id);
    snprintf(line, sizeof line, "\"user\":\"admin\",\"token\":\"%s\"", id);
    assert_non_null(strstr(log, line));
    assert_non_null(
        strstr(log, "\"action\":\"user.add\",\"object\":\"ann\",\"outcome\":\"ok\",\"detail\":\"role operator\""));
    assert_non_null(strstr(
        log, "\"action\":\"user.set\",\"object\":\"ann\",\"outcome\":\"ok\",\"detail\":\"role viewer, disabled\""));
    account_end_test(&f);
}

static void test_without_a_log(void **state UNUSED)
{
    struct account_fixture f;
    account_begin_test(&f, &(struct account_fixture_options){.no_audit = true});
    expect_add(&f, f.admin.text, "ann", VIEWER, TW_OK, "");
    assert_true(is_there(&f, "ann"));
    account_end_test(&f);
}

/* --- lists --- */

static void test_list(void **state UNUSED)
{
    struct account_fixture f;
    struct tw_error error;
    char name[32], after[70] = "";
    size_t seen = 0, pages = 0;
    account_begin_test(&f, NULL);
    for (int i = 0; i < 250; i++) {
        snprintf(name, sizeof name, "user%03d", i);
        assert_int_equal(accounts_add_user(f.accounts, name, ROLE_VIEWER, &error), 0);
    }
    do {
        Taskworker__ListUsersRequest request = TASKWORKER__LIST_USERS_REQUEST__INIT;
        request.page_size = pages == 0 ? 0 : 60;
        request.page_token = after;
        Taskworker__ListUsersResponse *r =
            account_get(&f, "ListUsers", f.admin.text, &request, &taskworker__list_users_response__descriptor);
        assert_int_equal(r->n_users, pages == 0 ? 100 : MIN((size_t)60, 251 - seen));
        for (size_t i = 0; i < r->n_users; i++, seen++) {
            snprintf(name, sizeof name, "user%03zu", seen - 1);
            assert_string_equal(r->users[i]->name, seen == 0 ? "admin" : name);
        }
        snprintf(after, sizeof after, "%s", r->next_page_token);
        taskworker__list_users_response__free_unpacked(r, NULL);
        pages++;
    } while (*after);
    assert_int_equal(seen, 251);
    assert_int_equal(pages, 4);

    Taskworker__ListUsersRequest request = TASKWORKER__LIST_USERS_REQUEST__INIT;
    request.page_size = 1001;
    account_expect(&f, "ListUsers", f.admin.text, &request, TW_INVALID_ARGUMENT, "page_size is 1001");
    request.page_size = 0;
    request.page_token = (char *)"../x";
    account_expect(&f, "ListUsers", f.admin.text, &request, TW_INVALID_ARGUMENT, "page_token");
    account_end_test(&f);
}

/* --- passwords --- */

static void expect_password(struct account_fixture *f, const char *token, const char *user, const char *old,
    const char *new, enum tw_code code, const char *words)
{
    Taskworker__SetPasswordRequest r = TASKWORKER__SET_PASSWORD_REQUEST__INIT;
    r.user = (char *)user;
    r.old_password = (char *)old;
    r.new_password = (char *)new;
    account_expect(f, "SetPassword", token, &r, code, words);
}

static bool fits(const struct account_fixture *f, const char *user, const char *password)
{
    struct password_hash hash;
    const char *text = accounts_hash(f->accounts, user);
    snprintf(hash.text, sizeof hash.text, "%s", text ? text : "");
    return text && password_matches(&hash, password, strlen(password)) == 1;
}

static void test_own_password(void **state UNUSED)
{
    struct account_fixture f;
    account_begin_test(&f, NULL);
    struct token ann = account_person(&f, "ann", ROLE_VIEWER);
    expect_password(&f, ann.text, "", "", "battery staple", TW_FAILED_PRECONDITION, "no password yet");
    account_give_password(&f, "ann", "correct horse");
    expect_password(&f, ann.text, "", "", "battery staple", TW_INVALID_ARGUMENT, "old_password is missing");
    expect_password(&f, ann.text, "", "wrong horse", "battery staple", TW_PERMISSION_DENIED, "old password is wrong");
    expect_password(&f, ann.text, "", "correct horse", "short", TW_INVALID_ARGUMENT, "");
    assert_true(fits(&f, "ann", "correct horse"));
    assert_int_equal(f.changes, 0);
    expect_password(&f, ann.text, "ann", "correct horse", "battery staple", TW_OK, "");
    assert_true(fits(&f, "ann", "battery staple"));
    assert_int_equal(f.changes, 1);
    /* By trying one can find it no faster than by logging in. */
    for (int i = 0; i <= DELAYS_FREE_TRIES; i++)
        expect_password(&f, ann.text, "", "wrong horse", "battery staple", TW_PERMISSION_DENIED, "wrong");
    expect_password(&f, ann.text, "", "battery staple", "tr0ub4dor&3 x", TW_RESOURCE_EXHAUSTED, "try again");
    assert_true(fits(&f, "ann", "battery staple"));
    account_end_test(&f);
}

static void test_others_password(void **state UNUSED)
{
    struct account_fixture f;
    account_begin_test(&f, NULL);
    struct token ann = account_person(&f, "ann", ROLE_OPERATOR);
    expect_password(&f, ann.text, "admin", "", "battery staple", TW_PERMISSION_DENIED, "role admin");
    expect_password(&f, f.admin.text, "bob", "", "battery staple", TW_NOT_FOUND, "bob");
    expect_password(&f, f.admin.text, "ann", "", "battery staple", TW_OK, "");
    assert_true(fits(&f, "ann", "battery staple"));
    expect_password(&f, f.admin.text, "", "", "correct horse", TW_OK, "");
    assert_true(fits(&f, "admin", "correct horse"));
    expect_password(&f, f.admin.text, "", "wrong horse", "battery staple", TW_PERMISSION_DENIED, "wrong");
    assert_true(fits(&f, "admin", "correct horse"));

    /* With a token that is limited an administrator is none. */
    struct token limited = account_token(&f, "admin", "limited", ROLE_OPERATOR, 0);
    expect_password(&f, limited.text, "ann", "", "correct horse", TW_PERMISSION_DENIED, "role admin");
    expect_password(&f, limited.text, "", "", "battery staple", TW_INVALID_ARGUMENT, "old_password");
    CLEANUP_FREE char *log = account_audit_text(&f);
    assert_non_null(strstr(log, "\"action\":\"user.password\",\"object\":\"ann\",\"outcome\":\"ok\""));
    assert_null(strstr(log, "battery"));
    assert_null(strstr(log, "horse"));
    account_end_test(&f);
}

/* The password is set all the same, and whoever keeps a struct who hears of it. */
static void test_password_while_the_caller_goes(void **state UNUSED)
{
    struct account_fixture f;
    account_begin_test(&f, NULL);
    (void)account_person(&f, "ann", ROLE_VIEWER);
    Taskworker__SetPasswordRequest r = TASKWORKER__SET_PASSWORD_REQUEST__INIT;
    r.user = (char *)"ann";
    r.new_password = (char *)"battery staple";
    account_set_mood(AUDIT_IS_SLOW);
    struct raw_stream *s = account_ask(&f, "SetPassword", f.admin.text, &r);
    RUN_UNTIL(&f.h, account_audit_waiting() == 1);
    account_audit_answers(0);
    nghttp2_submit_rst_stream(f.raw.session, 0, s->id, NGHTTP2_CANCEL);
    raw_flush(&f.raw);
    RUN_UNTIL(&f.h, f.changes == 1);
    assert_true(fits(&f, "ann", "battery staple"));
    account_end_test(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add),
        cmocka_unit_test(test_who_may),
        cmocka_unit_test(test_set_and_remove),
        cmocka_unit_test(test_last_admin),
        cmocka_unit_test(test_nothing_before_the_log),
        cmocka_unit_test(test_caller_changes),
        cmocka_unit_test(test_written_down),
        cmocka_unit_test(test_without_a_log),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_own_password),
        cmocka_unit_test(test_others_password),
        cmocka_unit_test(test_password_while_the_caller_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
