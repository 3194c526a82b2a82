/* SPDX-License-Identifier: Apache-2.0 */
/* AccountService: the audit log, read while it is written, piece by piece, and checked. */
#include "account_fixture.h"

#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <unistd.h>

#define MESSAGE (&taskworker__query_audit_response__descriptor)

static Taskworker__QueryAuditRequest everything(void)
{
    return (Taskworker__QueryAuditRequest)TASKWORKER__QUERY_AUDIT_REQUEST__INIT;
}

static void write_records(struct account_fixture *f, size_t n, const char *user, enum audit_outcome outcome)
{
    char object[32];
    for (size_t i = 0; i < n; i++) {
        snprintf(object, sizeof object, "o%zu", i);
        const struct audit_record record = {.user = user, .action = "test.write", .object = object, .outcome = outcome};
        assert_int_equal(audit_write(f->audit, &record, AUDIT_GROUPED, NULL, NULL), 0);
    }
    assert_int_equal(audit_flush(f->audit), 0);
}

static struct raw_stream *query(struct account_fixture *f, const Taskworker__QueryAuditRequest *request)
{
    struct raw_stream *s = account_ask(f, "QueryAudit", f->admin.text, request);
    account_expect_stream(f, s, TW_OK, "");
    return s;
}

/* How many records have come, which have to follow each other upwards or downwards without a gap; `ret_damaged` may be NULL. */
static size_t count_run(const struct raw_stream *s, int step, uint64_t first, bool *ret_damaged)
{
    const uint8_t *p = s->data.data;
    size_t left = s->data.len, n = 0;
    while (left >= 5) {
        size_t len = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
        if (left - 5 < len)
            break;
        Taskworker__QueryAuditResponse *r = taskworker__query_audit_response__unpack(NULL, len, p + 5);
        assert_non_null(r);
        if (r->record)
            assert_int_equal(r->record->seq, (int64_t)first + step * (int64_t)n++);
        else if (ret_damaged)
            *ret_damaged = r->damaged;
        taskworker__query_audit_response__free_unpacked(r, NULL);
        p += 5 + len;
        left -= 5 + len;
    }
    assert_true(left == 0 || s->grpc_status < 0);
    return n;
}

/* --- what is found --- */

static void test_query(void **state UNUSED)
{
    struct account_fixture f;
    account_begin_test(&f, NULL);
    write_records(&f, 10, "ann", AUDIT_OK);
    write_records(&f, 5, "bob", AUDIT_DENIED);
    Taskworker__QueryAuditRequest request = everything();
    struct raw_stream *s = query(&f, &request);
    assert_int_equal(count_run(s, -1, 16, NULL), 16); /* the first one is the log's own */
    Taskworker__QueryAuditResponse *r = account_message(s, 0, MESSAGE);
    assert_string_equal(r->record->user, "bob");
    assert_string_equal(r->record->action, "test.write");
    assert_string_equal(r->record->object, "o4");
    assert_int_equal(r->record->outcome, TASKWORKER__AUDIT_RECORD__OUTCOME__DENIED);
    assert_int_equal(strlen(r->record->hash), 64);
    assert_true(r->record->time_us > 0);
    taskworker__query_audit_response__free_unpacked(r, NULL);

    request.user = (char *)"ann";
    request.oldest_first = true;
    assert_int_equal(count_run(query(&f, &request), 1, 2, NULL), 10);
    request.limit = 3;
    assert_int_equal(count_run(query(&f, &request), 1, 2, NULL), 3);
    request.after_seq = 5;
    request.before_seq = 8;
    request.limit = 0;
    assert_int_equal(count_run(query(&f, &request), 1, 6, NULL), 2);

    request = everything();
    request.outcome = TASKWORKER__AUDIT_RECORD__OUTCOME__DENIED;
    assert_int_equal(count_run(query(&f, &request), -1, 16, NULL), 5);
    request = everything();
    request.action = (char *)"test.";
    request.object = (char *)"o0";
    request.limit = 1;
    assert_int_equal(count_run(query(&f, &request), -1, 12, NULL), 1);
    request.object = (char *)"o";
    assert_int_equal(count_run(query(&f, &request), -1, 0, NULL), 0);
    request = everything();
    request.until_us = 1;
    assert_int_equal(count_run(query(&f, &request), -1, 0, NULL), 0);
    request.until_us = 0;
    request.since_us = INT64_MAX;
    assert_int_equal(count_run(query(&f, &request), -1, 0, NULL), 0);
    account_end_test(&f);
}

static void test_refused(void **state UNUSED)
{
    struct account_fixture f;
    char text[400];
    account_begin_test(&f, NULL);
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    struct token boss = account_person(&f, "boss", ROLE_OPERATOR);
    Taskworker__QueryAuditRequest request = everything();
    account_expect(&f, "QueryAudit", boss.text, &request, TW_PERMISSION_DENIED, "");
    const Taskworker__VerifyAuditRequest verify = TASKWORKER__VERIFY_AUDIT_REQUEST__INIT;
    account_expect(&f, "VerifyAudit", boss.text, &verify, TW_PERMISSION_DENIED, "");
    request.since_us = -1;
    account_expect(&f, "QueryAudit", f.admin.text, &request, TW_INVALID_ARGUMENT, "since_us");
    request = everything();
    request.user = text;
    account_expect(&f, "QueryAudit", f.admin.text, &request, TW_INVALID_ARGUMENT, "user has more than 128");
    request = everything();
    request.action = text;
    account_expect(&f, "QueryAudit", f.admin.text, &request, TW_INVALID_ARGUMENT, "action");
    request = everything();
    request.outcome = (Taskworker__AuditRecord__Outcome)4;
    account_expect(&f, "QueryAudit", f.admin.text, &request, TW_INVALID_ARGUMENT, "outcome is 4");
    account_end_test(&f);
}

static void test_no_log(void **state UNUSED)
{
    struct account_fixture f;
    account_begin_test(&f, &(struct account_fixture_options){.no_audit = true});
    const Taskworker__QueryAuditRequest request = everything();
    const Taskworker__VerifyAuditRequest verify = TASKWORKER__VERIFY_AUDIT_REQUEST__INIT;
    account_expect(&f, "QueryAudit", f.admin.text, &request, TW_FAILED_PRECONDITION, "keeps no audit log");
    account_expect(&f, "VerifyAudit", f.admin.text, &verify, TW_FAILED_PRECONDITION, "keeps no audit log");
    account_end_test(&f);
}

/* --- piece by piece --- */

enum { MANY = 40000 };

/* More than is looked at in one piece, and more than is found in one: nothing is lost or comes twice where they meet. */
static void test_pieces(void **state UNUSED)
{
    struct account_fixture f;
    account_begin_test(&f, NULL);
    write_records(&f, MANY, "ann", AUDIT_OK);
    Taskworker__QueryAuditRequest request = everything();
    request.user = (char *)"ann";
    assert_int_equal(count_run(query(&f, &request), -1, MANY + 1, NULL), MANY);
    request.limit = 5000;
    assert_int_equal(count_run(query(&f, &request), -1, MANY + 1, NULL), 5000);
    request.oldest_first = true;
    assert_int_equal(count_run(query(&f, &request), 1, 2, NULL), 5000);
    request.limit = 0;
    request.object = (char *)"o39999"; /* a needle: whole pieces have nothing */
    struct raw_stream *s = query(&f, &request);
    assert_int_equal(count_run(s, 1, MANY + 1, NULL), 1);
    account_end_test(&f);
}

/* Who reads slowly holds up nobody but himself, and gets all of it. */
static void test_slow_reader(void **state UNUSED)
{
    struct account_fixture f;
    account_begin_test(&f, &(struct account_fixture_options){.window = 10000});
    write_records(&f, 8000, "ann", AUDIT_OK);
    Taskworker__QueryAuditRequest request = everything();
    struct raw_stream *slow = account_ask(&f, "QueryAudit", f.admin.text, &request);
    RUN_UNTIL(&f.h, slow->data.len == 10000);
    request.limit = 10;
    assert_int_equal(count_run(query(&f, &request), -1, 8001, NULL), 10);
    assert_int_equal(slow->grpc_status, -1);
    raw_read_on(&f.raw);
    account_expect_stream(&f, slow, TW_OK, "");
    assert_int_equal(count_run(slow, -1, 8001, NULL), 8001);
    account_end_test(&f);
}

static void test_who_leaves(void **state UNUSED)
{
    struct account_fixture f;
    account_begin_test(&f, &(struct account_fixture_options){.window = 10000});
    write_records(&f, 20000, "ann", AUDIT_OK);
    const Taskworker__QueryAuditRequest request = everything();
    Taskworker__QueryAuditRequest one = everything();
    struct raw_stream *s[3];
    one.limit = 1;
    s[0] = account_ask(&f, "QueryAudit", f.admin.text, &request);
    /* They take turns: when these have been answered, the first one has had its turns, too, and waits for its reader. */
    for (int i = 0; i < 8; i++)
        (void)query(&f, &one);
    s[1] = account_ask(&f, "QueryAudit", f.admin.text, &request); /* is read */
    s[2] = account_ask(&f, "QueryAudit", f.admin.text, &request); /* waits for its turn */
    for (size_t i = 0; i < ARRAY_LEN(s); i++) {
        nghttp2_submit_rst_stream(f.raw.session, 0, s[i]->id, NGHTTP2_CANCEL);
        raw_flush(&f.raw);
    }
    RUN_UNTIL(&f.h, harness_stats(&f.h).calls == 0);
    (void)query(&f, &one);
    for (size_t i = 0; i < ARRAY_LEN(s); i++)
        (void)account_ask(&f, "QueryAudit", f.admin.text, &request);
    account_end_test(&f); /* in the middle of it */
}

static void test_too_many(void **state UNUSED)
{
    struct account_fixture f;
    struct raw_stream *s[9];
    account_begin_test(&f, NULL);
    const Taskworker__QueryAuditRequest request = everything();
    for (size_t i = 0; i < ARRAY_LEN(s); i++)
        s[i] = account_ask(&f, "QueryAudit", f.admin.text, &request);
    account_expect_stream(&f, s[8], TW_RESOURCE_EXHAUSTED, "8 others are reading");
    for (size_t i = 0; i < 8; i++)
        account_expect_stream(&f, s[i], TW_OK, "");
    (void)query(&f, &request);
    account_end_test(&f);
}

/* --- checking --- */

static void change_byte(struct account_fixture *f, const char *needle)
{
    char pattern[120];
    glob_t files;
    char text[8192];
    assert_int_equal(audit_flush(f->audit), 0);
    snprintf(pattern, sizeof pattern, "%s/audit-*.jsonl", f->audit_path);
    assert_int_equal(glob(pattern, 0, NULL, &files), 0);
    int fd = open(files.gl_pathv[0], O_RDWR | O_CLOEXEC);
    globfree(&files);
    ssize_t n = pread(fd, text, sizeof text, 0);
    assert_true(n > 0);
    const char *at = memmem(text, (size_t)n, needle, strlen(needle));
    assert_non_null(at);
    assert_int_equal(pwrite(fd, "X", 1, at - text), 1);
    close(fd);
}

static Taskworker__VerifyAuditResponse *verify(struct account_fixture *f)
{
    const Taskworker__VerifyAuditRequest request = TASKWORKER__VERIFY_AUDIT_REQUEST__INIT;
    return account_get(f, "VerifyAudit", f->admin.text, &request, &taskworker__verify_audit_response__descriptor);
}

static void test_verify(void **state UNUSED)
{
    struct account_fixture f;
    account_begin_test(&f, NULL);
    write_records(&f, 9, "ann", AUDIT_OK);
    Taskworker__VerifyAuditResponse *r = verify(&f);
    assert_int_equal(r->problem, TASKWORKER__VERIFY_AUDIT_RESPONSE__PROBLEM__NONE);
    assert_int_equal(r->records, 10);
    assert_int_equal(r->files, 1);
    assert_int_equal(r->first_seq, 1);
    assert_int_equal(r->last_seq, 10);
    Taskworker__QueryAuditRequest request = everything();
    request.limit = 1;
    Taskworker__QueryAuditResponse *newest = account_message(query(&f, &request), 0, MESSAGE);
    assert_string_equal(r->last_hash, newest->record->hash);
    taskworker__query_audit_response__free_unpacked(newest, NULL);
    taskworker__verify_audit_response__free_unpacked(r, NULL);

    change_byte(&f, "\"object\":\"o3\"");
    r = verify(&f);
    assert_int_not_equal(r->problem, TASKWORKER__VERIFY_AUDIT_RESPONSE__PROBLEM__NONE);
    assert_int_equal(r->line, 5);
    assert_non_null(strstr(r->file, "audit-"));
    assert_true(*r->message);
    taskworker__verify_audit_response__free_unpacked(r, NULL);

    /* A line that is no record any more is passed over, and that is said. */
    bool damaged = false;
    request = everything();
    request.before_seq = 5;
    assert_int_equal(count_run(query(&f, &request), -1, 4, &damaged), 4);
    assert_true(damaged);
    account_end_test(&f);
}

static void test_verify_once(void **state UNUSED)
{
    struct account_fixture f;
    account_begin_test(&f, NULL);
    const Taskworker__VerifyAuditRequest request = TASKWORKER__VERIFY_AUDIT_REQUEST__INIT;
    struct raw_stream *first = account_ask(&f, "VerifyAudit", f.admin.text, &request);
    struct raw_stream *second = account_ask(&f, "VerifyAudit", f.admin.text, &request);
    account_expect_stream(&f, second, TW_RESOURCE_EXHAUSTED, "already");
    account_expect_stream(&f, first, TW_OK, "");
    taskworker__verify_audit_response__free_unpacked(verify(&f), NULL);
    (void)account_ask(&f, "VerifyAudit", f.admin.text, &request);
    account_end_test(&f); /* its caller goes meanwhile */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_query),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_no_log),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_who_leaves),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_verify),
        cmocka_unit_test(test_verify_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
