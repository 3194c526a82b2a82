/* SPDX-License-Identifier: Apache-2.0 */
/* An engine on a real store in a temporary folder, with a runtime whose tasks do what the test says. */
#ifndef TEST_TASK_FIXTURE_H
#define TEST_TASK_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/list.h"
#include "task/engine.h"

/* A run that the engine started and that has not ended. */
struct fake_run {
    struct run base;
    struct list link;
    char *task_id;
    uint8_t *data;
    size_t data_len;
    const struct run_events *events;
    void *ctx;
    struct tw_limits limits; /* as it was started with */
    enum tw_network network;
    bool fresh_interpreter;
    struct tw_usage usage; /* to answer with, if knows_usage */
    bool knows_usage;
    unsigned usage_asked;
    bool ready; /* for the test's own book-keeping */
    bool went, killed, terminated, paused;
    unsigned pauses; /* times that it was paused or let go on */
};

struct fixture {
    uv_loop_t loop;
    char folder[64];
    struct store *store;
    struct engine *engine;
    struct runtime runtime;
    struct list runs; /* struct fake_run, in order of start */
    unsigned started; /* run_start calls that succeeded */
    bool refuse;      /* run_start fails */
    unsigned max_running, max_queued;
    struct tw_limits limits; /* for fixture_open, as the one below */
    bool stop_on_output_limit;
    uint64_t queue_timeout_us;
    unsigned max_running_per_owner, max_queued_per_owner;
    uint64_t grace_us; /* 0: longer than any test */
    uint64_t cpu_millis, memory_bytes;
};

int fixture_setup(void **state);
int fixture_teardown(void **state);
/* Closes engine and store as a dying process would leave them: nothing is drained, queued writes are made. */
void fixture_crash(struct fixture *f);
void fixture_open(struct fixture *f);
/* The same without engine_start(). */
void fixture_take_up(struct fixture *f);
/* Opens the store, calls `before`, and expects that the engine cannot take up what is there. */
enum tw_code fixture_take_up_fails(struct fixture *f, void (*before)(void));

/* Runs the loop until *flag or `condition(f)`; fails the test after 10 s. */
void run_until(struct fixture *f, const bool *flag);
void run_until_true(struct fixture *f, bool (*condition)(struct fixture *f));
void run_until_runs(struct fixture *f, unsigned started);

struct fake_run *run_of(struct fixture *f, const char *task_id);
/* ready, and wait for go */
void run_to_go(struct fixture *f, struct fake_run *run);
void run_end(struct fake_run *run, const struct run_outcome *outcome);
void run_end_well(struct fake_run *run, const char *result);

/* What a callback said. */
struct said {
    bool called;
    bool existing;
    struct tw_error error; /* code TW_OK: none */
    struct tw_task_info info;
    char result[64];
};
void said_done(struct said *said);
void on_admit(void *ctx, const struct tw_task_info *info, bool existing, const struct tw_error *error);
void on_end(void *ctx, const struct tw_task_info *info, const void *result, size_t len, const struct tw_error *error);
void on_task(void *ctx, const struct tw_task_info *info, uint64_t seq, const struct tw_error *error);

struct tw_task_spec spec_of(const char *id, const char *data);
/* Admits and waits for the answer; fails the test unless it was accepted as new. */
void admit(struct fixture *f, const struct tw_task_spec *spec);
/* The error code of an admission. */
enum tw_code admit_code(struct fixture *f, const struct tw_task_spec *spec);
/* The state of a task, live or stored. */
enum tw_task_state state_of(struct fixture *f, const char *id);

#endif
