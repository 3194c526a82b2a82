/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "base/error.h"
#include "base/log.h"

/* --- the runtime --- */

static bool fake_serves(const struct runtime *rt UNUSED, const char *type)
{
    return !strcmp(type, "python") || !strcmp(type, "shell");
}

static struct run *fake_start(
    struct runtime *rt, const struct run_spec *spec, const struct run_events *events, void *ctx, struct tw_error *error)
{
    struct fixture *f = CONTAINER_OF(rt, struct fixture, runtime);
    if (f->refuse) {
        error_set(error, TW_UNAVAILABLE, "no slot to be had");
        return NULL;
    }
    struct fake_run *run = calloc(1, sizeof *run);
    run->base.rt = rt;
    run->task_id = strdup(spec->task_id);
    run->data = malloc(spec->data_len + 1);
    memcpy(run->data, spec->data, spec->data_len);
    run->data[spec->data_len] = '\0';
    run->data_len = spec->data_len;
    run->events = events;
    run->ctx = ctx;
    run->limits = spec->limits;
    run->network = spec->network;
    run->fresh_interpreter = spec->fresh_interpreter;
    list_push(&f->runs, &run->link);
    f->started++;
    unsigned held = 0;
    list_for_each (it, &f->runs) {
        held++;
    }
    assert_true(held <= f->max_running);
    return &run->base;
}

static void fake_go(struct run *run)
{
    struct fake_run *r = CONTAINER_OF(run, struct fake_run, base);
    assert_false(r->went);
    r->went = true;
}

static void fake_kill(struct run *run)
{
    CONTAINER_OF(run, struct fake_run, base)->killed = true;
}

static void fake_terminate(struct run *run)
{
    CONTAINER_OF(run, struct fake_run, base)->terminated = true;
}

static void fake_pause(struct run *run, bool paused)
{
    struct fake_run *fake = CONTAINER_OF(run, struct fake_run, base);
    fake->paused = paused;
    fake->pauses++;
}

static bool fake_usage(struct run *run, struct tw_usage *ret)
{
    struct fake_run *r = CONTAINER_OF(run, struct fake_run, base);
    r->usage_asked++;
    *ret = r->usage;
    return r->knows_usage;
}

static void fake_resize(struct runtime *rt, unsigned slots)
{
    CONTAINER_OF(rt, struct fixture, runtime)->max_running = slots;
}

static void fake_run_free(struct fake_run *run)
{
    list_remove(&run->link);
    free(run->task_id);
    free(run->data);
    free(run);
}

static const struct runtime_ops fake_ops = {.serves = fake_serves,
    .start = fake_start,
    .go = fake_go,
    .kill = fake_kill,
    .terminate = fake_terminate,
    .pause = fake_pause,
    .usage = fake_usage,
    .resize = fake_resize};

void run_end(struct fake_run *run, const struct run_outcome *outcome)
{
    const struct run_events *events = run->events;
    void *ctx = run->ctx;
    fake_run_free(run);
    events->ended(ctx, outcome);
}

void run_end_well(struct fake_run *run, const char *result)
{
    struct run_outcome outcome = {.end = RUN_EXITED, .result = result, .result_len = strlen(result)};
    run_end(run, &outcome);
}

struct fake_run *run_of(struct fixture *f, const char *task_id)
{
    list_for_each (it, &f->runs) {
        struct fake_run *run = CONTAINER_OF(it, struct fake_run, link);
        if (!strcmp(run->task_id, task_id))
            return run;
    }
    return NULL;
}

/* --- the loop --- */

static void on_deadline(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

static void run_loop_until(struct fixture *f, const bool *flag, bool (*condition)(struct fixture *f))
{
    bool late = false;
    uv_timer_t timer;
    uv_timer_init(&f->loop, &timer);
    timer.data = &late;
    uv_timer_start(&timer, on_deadline, 10000, 0);
    while (!late && !(flag && *flag) && !(condition && condition(f)))
        uv_run(&f->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_false(late);
}

void run_until(struct fixture *f, const bool *flag)
{
    run_loop_until(f, flag, NULL);
}

void run_until_true(struct fixture *f, bool (*condition)(struct fixture *f))
{
    run_loop_until(f, NULL, condition);
}

void run_until_runs(struct fixture *f, unsigned started)
{
    bool late = false;
    uv_timer_t timer;
    uv_timer_init(&f->loop, &timer);
    timer.data = &late;
    uv_timer_start(&timer, on_deadline, 10000, 0);
    while (!late && f->started < started)
        uv_run(&f->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_false(late);
    assert_int_equal(f->started, started);
}

void run_to_go(struct fixture *f, struct fake_run *run)
{
    assert_non_null(run);
    run->events->ready(run->ctx);
    run_until(f, &run->went);
}

/* --- life --- */

static void set_flag(void *ctx)
{
    *(bool *)ctx = true;
}

static void open_store(struct fixture *f)
{
    struct tw_error error = {0};
    struct store_options options = {.path = f->folder};
    assert_int_equal(store_open(&f->loop, &options, &f->store, &error), 0);
}

static int open_engine(struct fixture *f, struct tw_error *error)
{
    struct engine_options options = {
        .loop = &f->loop,
        .store = f->store,
        .runtime = &f->runtime,
        .max_running = f->max_running,
        .max_queued = f->max_queued,
        .default_timeout_us = 60000000,
        .max_task_size = 1 << 20,
        .max_result_size = 1 << 20,
        .max_log_size = 1 << 20,
        .task_limits = f->limits,
        .task_network = TW_NETWORK_NONE,
        .max_task_network = TW_NETWORK_LOOPBACK,
        .stop_on_output_limit = f->stop_on_output_limit,
        .default_queue_timeout_us = f->queue_timeout_us,
        .retry_delay_us = 1000,
        .max_retry_delay_us = 4000,
        .grace_us = f->grace_us ? f->grace_us : 3600000000u,
        .max_running_per_owner = f->max_running_per_owner,
        .max_queued_per_owner = f->max_queued_per_owner,
        .cpu_millis = f->cpu_millis,
        .memory_bytes = f->memory_bytes,
    };
    return engine_new(&options, &f->engine, error);
}

void fixture_take_up(struct fixture *f)
{
    struct tw_error error = {0};
    open_store(f);
    assert_int_equal(open_engine(f, &error), 0);
}

enum tw_code fixture_take_up_fails(struct fixture *f, void (*before)(void))
{
    struct tw_error error = {0};
    bool closed = false;
    open_store(f);
    before();
    assert_int_equal(open_engine(f, &error), -1);
    store_close(STEAL(f->store), set_flag, &closed);
    run_until(f, &closed);
    return error.code;
}

void fixture_open(struct fixture *f)
{
    fixture_take_up(f);
    engine_start(f->engine);
}

void fixture_crash(struct fixture *f)
{
    bool closed = false;
    engine_free(f->engine);
    store_close(f->store, set_flag, &closed);
    run_until(f, &closed);
    while (!list_empty(&f->runs))
        fake_run_free(LIST_FIRST(&f->runs, struct fake_run, link));
    f->engine = NULL;
    f->store = NULL;
    f->started = 0;
}

int fixture_setup(void **state)
{
    assert_true(sodium_init() >= 0);
    log_set_level(LOG_ERROR);
    struct fixture *f = calloc(1, sizeof *f);
    uv_loop_init(&f->loop);
    list_init(&f->runs);
    f->runtime.ops = &fake_ops;
    f->max_running = 2;
    f->max_queued = 100;
    snprintf(f->folder, sizeof f->folder, "/tmp/test-engine-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    fixture_open(f);
    *state = f;
    return 0;
}

static int remove_entry(const char *path, const struct stat *st UNUSED, int type UNUSED, struct FTW *ftw UNUSED)
{
    return remove(path);
}

int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    bool drained = false, closed = false;
    struct engine_status status = {0};
    if (f->engine)
        engine_get_status(f->engine, &status);
    if (f->engine && status.draining) {
        engine_free(f->engine); /* the test has drained it */
    } else if (f->engine) {
        engine_shutdown(f->engine, TW_SHUTDOWN_STOP, set_flag, &drained);
        while (!list_empty(&f->runs)) {
            struct run_outcome outcome = {.end = RUN_SIGNALED, .signal = 9};
            run_end(LIST_FIRST(&f->runs, struct fake_run, link), &outcome);
        }
        run_until(f, &drained);
        engine_free(f->engine);
    }
    if (f->store) {
        store_close(f->store, set_flag, &closed);
        run_until(f, &closed);
    }
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    nftw(f->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    log_done();
    free(f);
    return 0;
}

/* --- callbacks --- */

static void keep_info(struct said *said, const struct tw_task_info *info, const struct tw_error *error)
{
    assert_false(said->called);
    said->called = true;
    if (error)
        said->error = *error;
    if (info)
        assert_int_equal(store_info_copy(info, &said->info), 0);
}

void said_done(struct said *said)
{
    tw_task_info_done(&said->info);
}

void on_admit(void *ctx, const struct tw_task_info *info, bool existing, const struct tw_error *error)
{
    struct said *said = ctx;
    keep_info(said, info, error);
    said->existing = existing;
}

void on_end(void *ctx, const struct tw_task_info *info, const void *result, size_t len, const struct tw_error *error)
{
    struct said *said = ctx;
    keep_info(said, info, error);
    if (result)
        snprintf(said->result, sizeof said->result, "%.*s", (int)len, (const char *)result);
}

void on_task(void *ctx, const struct tw_task_info *info, uint64_t seq UNUSED, const struct tw_error *error)
{
    keep_info(ctx, info, error);
}

struct tw_task_spec spec_of(const char *id, const char *data)
{
    return (struct tw_task_spec){
        .size = sizeof(struct tw_task_spec), .id = id, .type = "python", .data = data, .data_len = strlen(data)};
}

void admit(struct fixture *f, const struct tw_task_spec *spec)
{
    struct said said = {0};
    engine_admit(f->engine, spec, NULL, on_admit, &said);
    run_until(f, &said.called);
    assert_int_equal(said.error.code, TW_OK);
    assert_false(said.existing);
    said_done(&said);
}

enum tw_code admit_code(struct fixture *f, const struct tw_task_spec *spec)
{
    struct said said = {0};
    engine_admit(f->engine, spec, NULL, on_admit, &said);
    run_until(f, &said.called);
    enum tw_code code = said.error.code;
    said_done(&said);
    return code;
}

enum tw_task_state state_of(struct fixture *f, const char *id)
{
    struct said said = {0};
    engine_get(f->engine, id, on_task, &said);
    run_until(f, &said.called);
    enum tw_task_state state = said.info.state;
    said_done(&said);
    return state;
}
