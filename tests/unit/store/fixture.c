/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

int fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    log_set_level(LOG_ERROR);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    strcpy(f->folder, "/tmp/hivemind-store-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof f->path, "%s/store", f->folder);
    *state = f;
    return 0;
}

int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    if (f->store)
        fixture_close(f);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    nftw(f->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(f);
    log_done();
    return 0;
}

void fixture_open(struct fixture *f)
{
    const struct store_options options = {.path = f->path};
    if (store_open(&f->loop, &options, &f->store, &f->error) < 0)
        fail_msg("store_open: %s", f->error.message);
}

enum tw_code fixture_open_fails(struct fixture *f, const char *path)
{
    const struct store_options options = {.path = path};
    struct store *store = NULL;
    memset(&f->error, 0, sizeof f->error);
    assert_int_equal(store_open(&f->loop, &options, &store, &f->error), -1);
    assert_null(store);
    assert_true(strlen(f->error.message) > 0);
    return f->error.code;
}

static void set_true(void *ctx)
{
    *(bool *)ctx = true;
}

void fixture_close(struct fixture *f)
{
    bool done = false;
    store_close(f->store, set_true, &done);
    fixture_run(f, &done);
    f->store = NULL;
}

static void on_deadline(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("a callback did not come within its time");
}

void fixture_run(struct fixture *f, const bool *done)
{
    uv_timer_t timer;
    uv_timer_init(&f->loop, &timer);
    uv_timer_start(&timer, on_deadline, 20000, 0);
    while (!*done)
        uv_run(&f->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    while (uv_is_closing((uv_handle_t *)&timer) && uv_run(&f->loop, UV_RUN_NOWAIT))
        ;
}

const char *fixture_name(struct fixture *f, const char *name)
{
    static char path[200];
    snprintf(path, sizeof path, "%s/%s", f->path, name);
    return path;
}

void fixture_sql(struct fixture *f, const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(fixture_name(f, "taskworker.db"), &db), SQLITE_OK);
    char *message = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", sql, message);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

int64_t fixture_sql_int(struct fixture *f, const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *stmt;
    assert_int_equal(sqlite3_open(fixture_name(f, "taskworker.db"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return value;
}

static size_t files_seen;

static int count_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)path, (void)st, (void)ftw;
    files_seen += type == FTW_F;
    return 0;
}

size_t fixture_count_files(struct fixture *f, const char *name)
{
    files_seen = 0;
    nftw(fixture_name(f, name), count_one, 16, FTW_PHYS);
    return files_seen;
}

struct store_task fixture_task(const char *id, const void *data, size_t len)
{
    struct store_task task = {.info = {
                                  .id = strdup(id),
                                  .type = strdup("python"),
                                  .owner = strdup(""),
                                  .message = strdup(""),
                                  .error = strdup(""),
                                  .state = TW_TASK_QUEUED,
                                  .timeout_us = 300000000,
                                  .created_us = 1700000000000000,
                              }};
    task.spec.data = malloc(len ? len : 1);
    assert_non_null(task.spec.data);
    memcpy(task.spec.data, data, len);
    task.spec.data_len = len;
    for (size_t i = 0; i < len; i++)
        task.digest[i % STORE_DIGEST_LEN] = (uint8_t)(task.digest[i % STORE_DIGEST_LEN] * 31 + task.spec.data[i]);
    return task;
}

void outcome_done(struct outcome *o)
{
    free(o->data);
    *o = (struct outcome){0};
}

static void keep_error(struct outcome *o, const struct tw_error *error)
{
    assert_false(o->done); /* once only */
    o->done = true;
    if (error)
        o->error = *error;
    if (error)
        assert_true(error->code != TW_OK && error->message[0] != '\0');
}

static void on_admit(void *ctx, const struct store_task *existing, const struct tw_error *error)
{
    struct outcome *o = ctx;
    keep_error(o, error);
    o->existing = existing != NULL;
    if (existing) {
        o->seq = existing->seq;
        o->state = existing->info.state;
    }
}

enum tw_code fixture_admit_task(struct fixture *f, struct store_task *task, struct outcome *o)
{
    *o = (struct outcome){0};
    store_admit(f->store, task, on_admit, o);
    fixture_run(f, &o->done);
    if (o->error.code == TW_OK && !o->existing)
        o->seq = task->seq;
    return o->error.code;
}

enum tw_code fixture_admit(struct fixture *f, const char *id, const void *data, size_t len, struct outcome *o)
{
    struct store_task task = fixture_task(id, data, len);
    (void)fixture_admit_task(f, &task, o);
    store_task_done(&task);
    return o->error.code;
}

uint64_t fixture_add(struct fixture *f, const char *id)
{
    struct outcome o;
    assert_int_equal(fixture_admit(f, id, "result = 1", 10, &o), TW_OK);
    assert_true(o.seq > 0);
    return o.seq;
}

static void on_done(void *ctx, const struct tw_error *error)
{
    keep_error(ctx, error);
}

enum tw_code fixture_attempt(struct fixture *f, uint64_t seq, uint32_t attempt)
{
    struct outcome o = {0};
    store_attempt(f->store, seq, attempt, 1700000001000000, on_done, &o);
    fixture_run(f, &o.done);
    return o.error.code;
}

enum tw_code fixture_requeue(struct fixture *f, uint64_t seq)
{
    const struct store_requeued requeued = {.attempt = 1, .message = "again"};
    return fixture_requeue_as(f, seq, &requeued);
}

enum tw_code fixture_requeue_as(struct fixture *f, uint64_t seq, const struct store_requeued *requeued)
{
    struct outcome o = {0};
    store_requeue(f->store, seq, requeued, on_done, &o);
    fixture_run(f, &o.done);
    return o.error.code;
}

enum tw_code fixture_finish_info(struct fixture *f, uint64_t seq, const struct tw_task_info *info)
{
    struct outcome o = {0};
    store_finish(f->store, seq, info, NULL, 0, on_done, &o);
    fixture_run(f, &o.done);
    f->error = o.error;
    return o.error.code;
}

enum tw_code fixture_finish(struct fixture *f, uint64_t seq, enum tw_task_state state, const void *result, size_t len)
{
    char message[] = "ended", error[] = "Traceback";
    struct tw_task_info info = {.state = state,
        .reason = state == TW_TASK_FAILED ? TW_REASON_EXIT_CODE : TW_REASON_NONE,
        .message = message,
        .error = error,
        .exit_code = state == TW_TASK_FAILED ? 3 : 0,
        .attempt = 1,
        .started_us = 1700000001000000,
        .finished_us = 1700000002000000,
        .usage = {.wall_us = 1, .user_us = 2, .system_us = 3, .max_rss_bytes = 4}};
    struct outcome o = {0};
    store_finish(f->store, seq, &info, result, len, on_done, &o);
    fixture_run(f, &o.done);
    f->error = o.error;
    return o.error.code;
}

static void on_bytes(void *ctx, const void *data, size_t len, const struct tw_error *error)
{
    struct outcome *o = ctx;
    keep_error(o, error);
    o->data = malloc(len + 1);
    assert_non_null(o->data);
    if (len > 0)
        memcpy(o->data, data, len);
    o->data[len] = '\0';
    o->len = len;
}

enum tw_code fixture_input(struct fixture *f, uint64_t seq, struct outcome *o)
{
    *o = (struct outcome){0};
    store_load_input(f->store, seq, on_bytes, o);
    fixture_run(f, &o->done);
    return o->error.code;
}

enum tw_code fixture_result(struct fixture *f, const char *id, struct outcome *o)
{
    *o = (struct outcome){0};
    store_load_result(f->store, id, on_bytes, o);
    fixture_run(f, &o->done);
    return o->error.code;
}

enum tw_code fixture_log(struct fixture *f, uint64_t seq, uint64_t offset, size_t max, struct outcome *o)
{
    *o = (struct outcome){0};
    store_log_read(f->store, seq, offset, max, on_bytes, o);
    fixture_run(f, &o->done);
    return o->error.code;
}

struct get_outcome {
    struct outcome base;
    struct store_task *ret;
};

static void copy_lists(struct tw_task_info *to, const struct tw_task_info *from)
{
    to->labels = calloc(from->n_labels + 1, sizeof *to->labels);
    to->after = calloc(from->n_after + 1, sizeof *to->after);
    assert_true(to->labels && to->after);
    for (size_t i = 0; i < from->n_labels; i++)
        to->labels[i] = (struct tw_label){.key = strdup(from->labels[i].key), .value = strdup(from->labels[i].value)};
    for (size_t i = 0; i < from->n_after; i++) {
        to->after[i].id = strdup(from->after[i].id);
        to->after[i].state = from->after[i].state;
    }
}

static void on_get(void *ctx, const struct store_task *task, const struct tw_error *error)
{
    struct get_outcome *o = ctx;
    keep_error(&o->base, error);
    if (error)
        return;
    /* Taken out of the callback by its parts: what the store lends is gone afterwards. */
    *o->ret = (struct store_task){.seq = task->seq,
        .info = task->info,
        .spec = {.limits = task->spec.limits,
            .network = task->spec.network,
            .fresh_interpreter = task->spec.fresh_interpreter,
            .grace_us = task->spec.grace_us,
            .after_any = task->spec.after_any}};
    memcpy(o->ret->digest, task->digest, sizeof task->digest);
    o->ret->info.id = strdup(task->info.id);
    o->ret->info.type = strdup(task->info.type);
    o->ret->info.owner = strdup(task->info.owner);
    o->ret->info.message = strdup(task->info.message);
    o->ret->info.error = strdup(task->info.error);
    o->ret->info.retry_of = strdup(task->info.retry_of);
    copy_lists(&o->ret->info, &task->info);
    o->ret->spec.n_args = task->spec.n_args;
    o->ret->spec.args = calloc(task->spec.n_args + 1, sizeof *task->spec.args);
    for (size_t i = 0; i < task->spec.n_args; i++)
        o->ret->spec.args[i] = strdup(task->spec.args[i]);
    o->ret->spec.n_env = task->spec.n_env;
    o->ret->spec.env = calloc(task->spec.n_env + 1, sizeof *task->spec.env);
    for (size_t i = 0; i < task->spec.n_env; i++) {
        o->ret->spec.env[i].name = strdup(task->spec.env[i].name);
        o->ret->spec.env[i].value = strdup(task->spec.env[i].value);
    }
    assert_null(task->spec.data);
}

enum tw_code fixture_get(struct fixture *f, const char *id, struct store_task *ret)
{
    struct get_outcome o = {.ret = ret};
    *ret = (struct store_task){0};
    store_get(f->store, id, on_get, &o);
    fixture_run(f, &o.base.done);
    return o.base.error.code;
}
