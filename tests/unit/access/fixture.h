/* SPDX-License-Identifier: Apache-2.0 */
/* Accounts in a folder of their own, and calls that end the test where they go wrong. */
#ifndef ACCESS_FIXTURE_H
#define ACCESS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "access/accounts.h"
#include "base/util.h"

#define SECOND UINT64_C(1000000)

struct fixture {
    char folder[64], path[80];
    struct accounts_options options;
    struct accounts *a;
    struct token first; /* of the last opening; its text is "" if there was none */
    struct tw_error error;
};

/* Nothing is open. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

void fixture_open(struct fixture *f);
void fixture_close(struct fixture *f);
void fixture_reopen(struct fixture *f);
/* The code of the error; the error is in f->error. */
enum tw_code fixture_open_fails(struct fixture *f);
/* By another connection, while the accounts are closed. */
void fixture_sql(struct fixture *f, const char *sql);

void fixture_add_user(struct fixture *f, const char *name, enum role role);
struct token fixture_add_token(struct fixture *f, const char *user, const char *name, enum role role);
struct accounts_user fixture_user(struct fixture *f, const char *name);
/* At the present time. */
enum accounts_verdict fixture_check(struct fixture *f, const struct token *token, struct who *ret);
/* "" and a space behind each: the names of all users, in order. */
const char *fixture_users(struct fixture *f);

#define assert_ok(f, call)                                 \
    do {                                                   \
        if ((call) < 0)                                    \
            fail_msg("%s: %s", #call, (f)->error.message); \
    } while (0)

#define assert_fails(f, call, expected, word)                                     \
    do {                                                                          \
        memset(&(f)->error, 0, sizeof(f)->error);                                 \
        assert_int_equal((call), -1);                                             \
        if ((f)->error.code != (expected) || !strstr((f)->error.message, (word))) \
            fail_msg("%s: %d %s", #call, (f)->error.code, (f)->error.message);    \
    } while (0)

#endif
