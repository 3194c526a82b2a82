/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AccountService on real accounts, logins and an audit log in a folder of their own, behind a server that finds callers by their tokens.
 * Link with -Wl,--wrap=audit_write: the test decides what becomes of durable records.
 */
#ifndef TESTS_ACCOUNT_FIXTURE_H
#define TESTS_ACCOUNT_FIXTURE_H

#include "harness.h"

#include "access/audit.h"
#include "rpc/account_service.h"
#include "taskworker.pb-c.h"

#define ACCOUNTS "/taskworker.AccountService/"

enum audit_mood {
    AUDIT_WORKS,
    AUDIT_IS_FULL, /* durable records are not taken */
    AUDIT_IS_SLOW, /* nor answered, until account_audit_answers() */
};

struct account_fixture {
    char folder[64], accounts_path[96], audit_path[96];
    struct harness h;
    struct raw raw;
    struct accounts *accounts;
    struct logins *logins;
    struct audit *audit;
    struct rates *rates;
    struct account_service *service;
    struct token admin; /* of the user "admin" */
    unsigned changes;   /* of on_changed */
};

struct account_fixture_options {
    bool asks_nobody; /* the server has no `authorize`, the service no accounts */
    bool no_audit;
    uint32_t window; /* of the client; 0: wide */
};

void account_begin_test(struct account_fixture *f, const struct account_fixture_options *options);
void account_end_test(struct account_fixture *f);

void account_set_mood(enum audit_mood mood);
/* How many durable records wait for an answer. */
unsigned account_audit_waiting(void);
/* Gives it to the eldest. */
void account_audit_answers(int result);

/* A user with this role, and a token limited to it. */
struct token account_person(struct account_fixture *f, const char *name, enum role role);
struct token account_token(
    struct account_fixture *f, const char *user, const char *name, enum role role, uint64_t expires_us);
void account_give_password(struct account_fixture *f, const char *user, const char *password);

/* token NULL: without one. */
struct raw_stream *account_ask(struct account_fixture *f, const char *method, const char *token, const void *request);
struct raw_stream *account_ask_bytes(
    struct account_fixture *f, const char *method, const char *token, const void *bytes, size_t len);
void account_expect_stream(struct account_fixture *f, struct raw_stream *s, enum tw_code code, const char *words);
void account_expect(struct account_fixture *f, const char *method, const char *token, const void *request,
    enum tw_code code, const char *words);
/* The only message of the answer, unpacked. */
void *account_get(struct account_fixture *f, const char *method, const char *token, const void *request,
    const ProtobufCMessageDescriptor *descriptor);
/* The n-th message that has come on this stream, unpacked; NULL: there is none. */
void *account_message(const struct raw_stream *s, size_t n, const ProtobufCMessageDescriptor *descriptor);

/* Everything that is in the audit log by now; free() it. */
char *account_audit_text(struct account_fixture *f);

#endif
