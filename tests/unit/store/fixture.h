/* SPDX-License-Identifier: Apache-2.0 */
/* A store in a temporary folder on a loop of its own, and calls that run the loop until their
 * callback has come. */
#ifndef TESTS_STORE_FIXTURE_H
#define TESTS_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <uv.h>

#include "base/util.h"
#include "store/internal.h"
#include "store/store.h"

struct fixture {
    uv_loop_t loop;
    char folder[64]; /* temporary; the store's is in it */
    char path[80];
    struct store *store; /* NULL: closed */
    struct tw_error error;
};

int fixture_setup(void **state);
int fixture_teardown(void **state);

/* These fail the test when they fail. */
void fixture_open(struct fixture *f);
void fixture_close(struct fixture *f);
/* Opening that is to fail: returns the code, the rest is in f->error. */
enum tw_code fixture_open_fails(struct fixture *f, const char *path);
/* Runs the loop until *done, at most 20 seconds. */
void fixture_run(struct fixture *f, const bool *done);
/* Runs SQL on the closed store's database. */
void fixture_sql(struct fixture *f, const char *sql);
/* The one number that SQL gives. */
int64_t fixture_sql_int(struct fixture *f, const char *sql);
/* "path/name" in a static buffer. */
const char *fixture_name(struct fixture *f, const char *name);
/* How many files there are below path/name. */
size_t fixture_count_files(struct fixture *f, const char *name);

/* A task with this id and data (both copied), type python, digest made from the data. */
struct store_task fixture_task(const char *id, const void *data, size_t len);

/* The outcome of one call; `error.code` is TW_OK on success. */
struct outcome {
    bool done;
    struct tw_error error;
    uint64_t seq;
    bool existing;
    enum tw_task_state state;
    uint8_t *data; /* bytes reads; freed by outcome_done() */
    size_t len;
};
void outcome_done(struct outcome *o);

enum tw_code fixture_admit_task(struct fixture *f, struct store_task *task, struct outcome *o);
enum tw_code fixture_admit(struct fixture *f, const char *id, const void *data, size_t len, struct outcome *o);
/* Admits a task with small data and returns its seq. */
uint64_t fixture_add(struct fixture *f, const char *id);
enum tw_code fixture_attempt(struct fixture *f, uint64_t seq, uint32_t attempt);
enum tw_code fixture_requeue(struct fixture *f, uint64_t seq);
enum tw_code fixture_requeue_as(struct fixture *f, uint64_t seq, const struct store_requeued *requeued);
enum tw_code fixture_finish(struct fixture *f, uint64_t seq, enum tw_task_state state, const void *result, size_t len);
enum tw_code fixture_finish_info(struct fixture *f, uint64_t seq, const struct tw_task_info *info);
enum tw_code fixture_input(struct fixture *f, uint64_t seq, struct outcome *o);
enum tw_code fixture_result(struct fixture *f, const char *id, struct outcome *o);
enum tw_code fixture_log(struct fixture *f, uint64_t seq, uint64_t offset, size_t max, struct outcome *o);
/* The task is moved to *ret (store_task_done). */
enum tw_code fixture_get(struct fixture *f, const char *id, struct store_task *ret);

#endif
