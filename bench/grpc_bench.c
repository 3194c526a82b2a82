/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tasks through gRPC, as a client that costs next to nothing: each is handed in (ExecuteTask), waited for with its result
 * (WaitTask), and how it ended is compared with how it should have.
 *
 *   grpc_bench HOST:PORT WHAT COUNT IN_FLIGHT [PAUSE_MS]
 *
 * WHAT is python (`result = 42`), cached (the same from the result cache), shell (`true`), status (GetStatus alone, which is what the client itself takes) or mixed
 * (all kinds of tasks, well behaved and otherwise, in a fixed order). With a pause each of those in flight leaves the node
 * alone for that long between two tasks. Prints one line: the rate, and how long one took in microseconds, p50 and p99.
 * Exits with 1 when a call failed or a task ended otherwise than it should.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/parse.h"
#include "base/util.h"
#include "rpc/client.h"
#include "taskworker.pb-c.h"

#define STATE(name) TASKWORKER__TASK__STATE__##name
#define REASON(name) TASKWORKER__TASK__REASON__##name

enum { COUNT_MAX = 10000000, IN_FLIGHT_MAX = 1024, ID_MAX = 200, TOLD_MAX = 10 };
enum { CALL_US = 60 * 1000 * 1000 };

struct kind {
    const char *name;
    unsigned weight; /* among the mixed ones */
    const char *type, *source;
    int64_t timeout_ms;
    uint64_t memory_bytes;
    Taskworker__Task__State state;
    Taskworker__Task__Reason reason;
    bool cached;  /* what such a task has left before will do */
    bool any_end; /* depends on what the machine offers */
    const char *result;
};

static const struct kind kinds[] = {
    {.name = "python", .weight = 600, .type = "python", .source = "result = 42", .result = "42"},
    {.name = "cached", .type = "python", .source = "result = 42", .cached = true, .result = "42"},
    {.name = "shell", .weight = 130, .type = "shell", .source = "true", .result = ""},
    {.name = "traceback",
        .weight = 50,
        .type = "python",
        .source = "def f(n):\n    return 1 / n\nf(0)",
        .state = STATE(FAILED),
        .reason = REASON(EXIT_CODE)},
    {.name = "exit code",
        .weight = 30,
        .type = "shell",
        .source = "exit 3",
        .state = STATE(FAILED),
        .reason = REASON(EXIT_CODE)},
    {.name = "signal",
        .weight = 20,
        .type = "python",
        .source = "import os\nos.kill(os.getpid(), 9)",
        .state = STATE(FAILED),
        .reason = REASON(SIGNAL)},
    {.name = "time-out",
        .weight = 20,
        .type = "python",
        .source = "import time\ntime.sleep(1000)",
        .timeout_ms = 80,
        .state = STATE(FAILED),
        .reason = REASON(TIMEOUT_WALL)},
    {.name = "time-out of many",
        .weight = 10,
        .type = "shell",
        .source = "for i in 1 2 3 4 5; do setsid sleep 1000 & done; trap '' TERM; while :; do sleep 1000; done",
        .timeout_ms = 80,
        .state = STATE(FAILED),
        .reason = REASON(TIMEOUT_WALL)},
    {.name = "double fork",
        .weight = 40,
        .type = "python",
        .source = "import os, time\n"
                  "if os.fork() == 0:\n"
                  "    os.setsid()\n"
                  "    if os.fork() == 0:\n"
                  "        time.sleep(1000)\n"
                  "    os._exit(0)\n"
                  "result = 42",
        .result = "42"},
    {.name = "leftovers",
        .weight = 30,
        .type = "shell",
        .source =
            "sleep 1000 & setsid sleep 1000 >/dev/null 2>&1 & echo x >/tmp/left; mkdir -p deep/er; mkfifo deep/er/p"},
    {.name = "many processes",
        .weight = 20,
        .type = "shell",
        .source = "for i in 1 2 3 4 5 6 7 8 9 10; do /bin/true & done; wait"},
    {.name = "large output",
        .weight = 15,
        .type = "python",
        .source = "for i in range(4000):\n    print('x' * 63)\nresult = 42",
        .result = "42"},
    {.name = "large workspace",
        .weight = 15,
        .type = "python",
        .source = "for folder in '/workspace', '/tmp', '/dev/shm':\n"
                  "    with open(folder + '/file', 'wb') as f:\n"
                  "        f.write(bytes(4 << 20))\n"
                  "result = 42",
        .result = "42"},
    {.name = "large result", .weight = 5, .type = "python", .source = "result = 'x' * 100000"},
    {.name = "memory",
        .weight = 10,
        .type = "python",
        .source = "x = bytearray(32 << 20)\nresult = 42",
        .result = "42"},
    {.name = "too much memory",
        .weight = 5,
        .type = "python",
        .source = "x = b'x' * (100 << 20)",
        .memory_bytes = 48 << 20,
        .any_end = true},
};

struct bench {
    struct rpc_client *client;
    const struct kind *only; /* NULL: mixed, or no task at all */
    bool status;
    uint64_t pause_ms; /* before each but the first */
    unsigned count, started, running, pausing, wrong;
    uint32_t *times_us; /* of those that have ended */
    unsigned ended;
};

struct flight {
    struct bench *bench;
    const struct kind *kind;
    uv_timer_t pause;
    uint64_t begun_us;
    char id[ID_MAX];
    bool answered, waiting;
};

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "grpc_bench: %s\n", what);
    exit(1);
}

static void next(struct flight *f);

static void wrong(struct flight *f, const char *what)
{
    f->bench->wrong++;
    if (f->bench->wrong <= TOLD_MAX)
        fprintf(stderr, "grpc_bench: %s %s: %s\n", f->kind ? f->kind->name : "GetStatus", f->id, what);
}

static const struct kind *kind_of(const struct bench *b, unsigned number)
{
    unsigned total = 0, place;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        total += kinds[i].weight;
    if (b->only || b->status)
        return b->only;
    place = (unsigned)((uint64_t)number * 7919 % total); /* a prime: they come well mixed */
    for (size_t i = 0;; i++) {
        if (place < kinds[i].weight)
            return &kinds[i];
        place -= kinds[i].weight;
    }
}

static bool ended_well(const struct kind *k, const Taskworker__WaitTaskResponse *r)
{
    const Taskworker__Task__State state = k->state ? k->state : STATE(COMPLETED);
    const Taskworker__Task *t = r->task;
    if (!t)
        return false;
    if (k->any_end)
        return t->state == STATE(COMPLETED) || t->state == STATE(FAILED);
    if (t->state != state || t->reason != k->reason)
        return false;
    const size_t len = k->result ? strlen(k->result) : 0;
    return !k->result || (r->result.len == len && (len == 0 || !memcmp(r->result.data, k->result, len)));
}

static void on_waited(struct rpc_client_call *call UNUSED, const uint8_t *msg, size_t len, void *ctx)
{
    struct flight *f = ctx;
    f->answered = true;
    if (f->bench->status)
        return;
    Taskworker__WaitTaskResponse *r = taskworker__wait_task_response__unpack(NULL, len, msg);
    if (!r)
        wrong(f, "WaitTask's answer is not valid");
    else if (!ended_well(f->kind, r)) {
        char text[256] = "its answer has no task";
        if (r->task)
            snprintf(text, sizeof text, "ended in state %d, reason %d: %s", (int)r->task->state, (int)r->task->reason,
                r->task->message);
        wrong(f, text);
    }
    taskworker__wait_task_response__free_unpacked(r, NULL);
}

static void on_accepted(struct rpc_client_call *call UNUSED, const uint8_t *msg, size_t len, void *ctx)
{
    struct flight *f = ctx;
    Taskworker__ExecuteTaskResponse *r = taskworker__execute_task_response__unpack(NULL, len, msg);
    f->answered = r && strlen(r->task_id) < sizeof f->id;
    if (f->answered)
        strncpy(f->id, r->task_id, sizeof f->id - 1);
    taskworker__execute_task_response__free_unpacked(r, NULL);
}

static void start_call(
    struct flight *f, const char *method, const ProtobufCMessage *request, const struct rpc_client_callbacks *callbacks)
{
    char path[80];
    snprintf(path, sizeof path, "/taskworker.TaskWorkerService/%s", method);
    f->answered = false;
    if (!rpc_client_start(f->bench->client, path, request, CALL_US, callbacks, f))
        die("no memory");
}

static void on_pause_over(uv_timer_t *timer)
{
    struct flight *f = CONTAINER_OF(timer, struct flight, pause);
    f->bench->pausing--;
    next(f);
}

static void on_done(struct rpc_client_call *call UNUSED, const struct tw_error *status, void *ctx)
{
    static const struct rpc_client_callbacks callbacks = {.on_message = on_waited, .on_done = on_done};
    struct flight *f = ctx;
    struct bench *b = f->bench;
    if (status->code != TW_OK)
        wrong(f, status->message);
    else if (!f->answered)
        wrong(f, "no answer");
    else if (!f->waiting && !b->status) {
        Taskworker__WaitTaskRequest request = TASKWORKER__WAIT_TASK_REQUEST__INIT;
        request.task_id = f->id;
        request.include_result = true;
        f->waiting = true;
        start_call(f, "WaitTask", &request.base, &callbacks);
        return;
    }
    b->times_us[b->ended++] = (uint32_t)MIN(clock_monotonic_us() - f->begun_us, (uint64_t)UINT32_MAX);
    b->running--;
    if (b->pause_ms > 0 && b->started < b->count) {
        b->pausing++;
        uv_timer_start(&f->pause, on_pause_over, b->pause_ms, 0);
    } else
        next(f);
}

static void next(struct flight *f)
{
    static const struct rpc_client_callbacks callbacks = {.on_message = on_accepted, .on_done = on_done},
                                             of_status = {.on_message = on_waited, .on_done = on_done};
    struct bench *b = f->bench;
    if (b->started == b->count)
        return;
    f->kind = kind_of(b, b->started);
    b->started++;
    b->running++;
    f->waiting = false;
    f->id[0] = '\0';
    f->begun_us = clock_monotonic_us();
    if (b->status) {
        Taskworker__GetStatusRequest request = TASKWORKER__GET_STATUS_REQUEST__INIT;
        start_call(f, "GetStatus", &request.base, &of_status);
        return;
    }
    Taskworker__ExecuteTaskRequest request = TASKWORKER__EXECUTE_TASK_REQUEST__INIT;
    Taskworker__Limits limits = TASKWORKER__LIMITS__INIT;
    limits.memory_bytes = f->kind->memory_bytes;
    request.limits = &limits;
    request.task_type = (char *)f->kind->type;
    request.cache = f->kind->cached ? TASKWORKER__CACHE__CACHE_USE : TASKWORKER__CACHE__CACHE_OFF;
    request.task_data = (ProtobufCBinaryData){strlen(f->kind->source), (uint8_t *)f->kind->source};
    request.timeout_ms = f->kind->timeout_ms;
    start_call(f, "ExecuteTask", &request.base, &callbacks);
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void run(struct bench *b, uv_loop_t *loop, unsigned in_flight)
{
    struct flight *flights = calloc(in_flight, sizeof *flights);
    b->times_us = calloc(b->count, sizeof *b->times_us);
    if (!flights || !b->times_us)
        die("no memory");
    const uint64_t begun_us = clock_monotonic_us();
    for (unsigned i = 0; i < in_flight; i++) {
        flights[i].bench = b;
        uv_timer_init(loop, &flights[i].pause);
        next(&flights[i]);
    }
    while (b->running > 0 || b->pausing > 0)
        uv_run(loop, UV_RUN_ONCE);
    const double seconds = (double)(clock_monotonic_us() - begun_us) / 1e6;
    qsort(b->times_us, b->ended, sizeof *b->times_us, by_number);
    printf("rate %.1f p50 %u p99 %u\n", b->ended / seconds, b->times_us[b->ended / 2],
        b->times_us[(size_t)b->ended * 99 / 100]);
    free(b->times_us);
    for (unsigned i = 0; i < in_flight; i++)
        uv_close((uv_handle_t *)&flights[i].pause, NULL);
    uv_run(loop, UV_RUN_NOWAIT);
    free(flights);
}

int main(int argc, char **argv)
{
    struct bench b = {0};
    struct tw_error error;
    uv_loop_t loop;
    uint64_t count, in_flight;
    if (argc < 5 || argc > 6 || parse_u64(argv[3], 1, COUNT_MAX, &count) < 0 ||
        parse_u64(argv[4], 1, IN_FLIGHT_MAX, &in_flight) < 0 ||
        (argc > 5 && parse_u64(argv[5], 0, 60000, &b.pause_ms) < 0))
        die("see the head of bench/grpc_bench.c");
    b.count = (unsigned)count;
    b.status = !strcmp(argv[2], "status");
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (!strcmp(argv[2], kinds[i].name))
            b.only = &kinds[i];
    }
    if (!b.status && !b.only && strcmp(argv[2], "mixed") != 0)
        die("there is no such kind of task");
    if (uv_loop_init(&loop) < 0)
        die("no loop");
    if (rpc_client_new(&loop, &(struct rpc_client_options){.target = argv[1]}, &b.client, &error) < 0)
        die(error.message);
    run(&b, &loop, (unsigned)in_flight);
    rpc_client_free(b.client);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    if (b.wrong > 0)
        fprintf(stderr, "grpc_bench: %u of %u went wrong\n", b.wrong, b.count);
    return b.wrong > 0;
}
