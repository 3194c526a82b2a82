/* SPDX-License-Identifier: Apache-2.0 */
/* Asking a task to end, stopping it and letting it go on; and all of that when it is not the moment. */
#include "harness.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

enum { TREE_MAX = 64, WAIT_S = 30 };

static char state_of(pid_t pid)
{
    char path[64], text[512] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return '-';
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    const char *end = strrchr(text, ')');
    return end && end[1] ? end[2] : '-';
}

static size_t count_stopped(pid_t root)
{
    pid_t pids[TREE_MAX];
    size_t n = children_of(root, pids, TREE_MAX), stopped = 0;
    for (size_t i = 0; i < n; i++) {
        stopped += state_of(pids[i]) == 'T';
        n += children_of(pids[i], pids + n, TREE_MAX - n);
    }
    return stopped;
}

/* Until so many processes below the launcher are stopped. */
static void wait_stopped(struct world *w, size_t n)
{
    uint64_t deadline = clock_monotonic_us() + WAIT_S * UINT64_C(1000000);
    while (count_stopped(w->launcher) != n) {
        if (clock_monotonic_us() > deadline)
            fail_msg("%zu processes are stopped, and not %zu", count_stopped(w->launcher), n);
        (void)poll(NULL, 0, 1);
    }
}

static void wait_output(struct job *job)
{
    job->has_output = false;
    world_wait(job->world, &job->has_output, WAIT_S);
    assert_false(job->ended);
}

/* Takes what lies in the pipes; more does not come while all is stopped. */
static void drain(struct job *job)
{
    size_t before;
    do {
        before = job->out.len;
        (void)uv_run(&job->world->loop, UV_RUN_NOWAIT);
        (void)uv_run(&job->world->loop, UV_RUN_NOWAIT);
    } while (job->out.len != before);
}

static void start_python(struct world *w, struct job *job, const char *source, bool fresh)
{
    struct run_spec spec = {
        .task_id = "test-1",
        .type = "python",
        .data = source,
        .data_len = strlen(source),
        .max_result = 1 << 20,
        .fresh_interpreter = fresh,
    };
    job_start_spec(w, job, &spec);
}

static void expect_killed(struct job *job, int signal)
{
    world_wait(job->world, &job->ended, WAIT_S);
    assert_int_equal(job->n_ended, 1);
    assert_int_equal(job->end, RUN_SIGNALED);
    assert_int_equal(job->signal, signal);
    job_done(job);
}

static void expect_exit(struct job *job, int code)
{
    world_wait(job->world, &job->ended, WAIT_S);
    assert_int_equal(job->n_ended, 1);
    assert_int_equal(job->end, RUN_EXITED);
    assert_int_equal(job->exit_code, code);
}

static const char counter[] =
    "import time\nn = 0\nwhile True:\n    n += 1\n    print(n, flush=True)\n    time.sleep(0.005)\n";

/* --- terminate --- */

static void test_terminate(void **state)
{
    (void)state;
    struct world w;
    struct job j = {0};
    world_open(&w, 1);
    for (int fresh = 0; fresh < 2; fresh++) {
        start_python(&w, &j, "import time\nprint('up', flush=True)\ntime.sleep(1000)\n", fresh);
        wait_output(&j);
        w.rt->ops->terminate(j.run);
        expect_killed(&j, SIGTERM);
    }
    job_start(&w, &j, "shell", "echo up; while :; do sleep 1000; done", NULL);
    wait_output(&j);
    w.rt->ops->terminate(j.run);
    expect_killed(&j, SIGTERM);
    world_close(&w);
}

static void test_terminate_handled(void **state)
{
    (void)state;
    struct world w;
    struct job j = {0};
    world_open(&w, 1);
    for (int fresh = 0; fresh < 2; fresh++) {
        start_python(&w, &j,
            "import signal, sys, time\n"
            "def end(*_):\n"
            "    global result\n"
            "    result = 'partial'\n"
            "    sys.exit(7)\n"
            "signal.signal(signal.SIGTERM, end)\n"
            "print('up', flush=True)\n"
            "time.sleep(1000)\n",
            fresh);
        wait_output(&j);
        w.rt->ops->terminate(j.run);
        expect_exit(&j, 7);
        assert_string_equal(j.result, "\"partial\"");
        job_done(&j);
    }
    job_start(&w, &j, "shell", "trap 'echo bye; exit 5' TERM; sleep 1000 & echo up; wait; echo no", NULL);
    wait_output(&j);
    w.rt->ops->terminate(j.run);
    expect_exit(&j, 5);
    assert_string_equal(job_out(&j), "up\nbye\n");
    job_done(&j);
    world_close(&w);
}

/* One that left for a session of its own is asked too, and the task is given the time that it takes. */
static void test_terminate_tree(void **state)
{
    (void)state;
    struct world w;
    struct job j = {0};
    world_open(&w, 1);
    start_python(&w, &j,
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "r, w = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        os.close(r)\n"
        "        signal.signal(signal.SIGTERM, signal.SIG_DFL)\n"
        "        print('up', flush=True)\n"
        "        time.sleep(1000)\n"
        "    os._exit(0)\n"
        "os.close(w)\n"
        "os.read(r, 1)\n"
        "begin = time.monotonic()\n"
        "while time.monotonic() < begin + 1.2: pass\n" /* longer than what a slot gives to one that is to be killed */
        "sys.exit(4)\n",
        false);
    wait_output(&j);
    w.rt->ops->terminate(j.run);
    expect_exit(&j, 4);
    job_done(&j);
    /* One that does not heed it, and is killed then. */
    job_start(&w, &j, "shell", "trap '' TERM; echo up; while :; do echo on; done >/dev/null", NULL);
    wait_output(&j);
    w.rt->ops->terminate(j.run);
    w.rt->ops->terminate(j.run);
    w.rt->ops->kill(j.run);
    w.rt->ops->terminate(j.run);
    w.rt->ops->pause(j.run, true);
    expect_killed(&j, SIGKILL);
    world_close(&w);
}

/* Nothing runs: nothing happens. */
static void test_too_early(void **state)
{
    (void)state;
    struct world w;
    struct job j = {.hold = true};
    world_open(&w, 1);
    job_start(&w, &j, "shell", "echo ran", NULL);
    w.rt->ops->terminate(j.run);
    w.rt->ops->pause(j.run, true);
    world_wait(&w, &j.was_ready, WAIT_S);
    w.rt->ops->terminate(j.run);
    w.rt->ops->pause(j.run, true);
    w.rt->ops->go(j.run);
    expect_exit(&j, 0);
    assert_string_equal(job_out(&j), "ran\n");
    job_done(&j);
    world_close(&w);
}

/* Right behind `go`, at the end, in between: whatever it hits, the run ends once and the slot takes the next. */
static void test_at_any_moment(void **state)
{
    (void)state;
    struct world w;
    struct job j = {0};
    world_open(&w, 1);
    for (int i = 0; i < 40; i++) {
        j.hold = true;
        job_start(&w, &j, i % 4 < 2 ? "python" : "shell", i % 4 < 2 ? "print('x')" : "echo x", NULL);
        world_wait(&w, &j.was_ready, WAIT_S);
        w.rt->ops->go(j.run);
        for (int round = 0; round < i / 4 && !j.ended; round++)
            (void)uv_run(&w.loop, UV_RUN_NOWAIT);
        if (!j.ended && i % 2) {
            w.rt->ops->pause(j.run, true);
            w.rt->ops->pause(j.run, false);
        } else if (!j.ended) {
            w.rt->ops->terminate(j.run);
        }
        world_wait(&w, &j.ended, WAIT_S);
        assert_true(j.end == RUN_EXITED || (i % 2 == 0 && j.end == RUN_SIGNALED && j.signal == SIGTERM));
        job_done(&j);
    }
    world_close(&w);
}

/* --- pause --- */

static void test_pause(void **state)
{
    (void)state;
    struct world w;
    struct job j = {0};
    world_open(&w, 1);
    job_start(&w, &j, "python", counter, NULL);
    wait_output(&j);
    for (int round = 0; round < 3; round++) {
        w.rt->ops->pause(j.run, true);
        w.rt->ops->pause(j.run, true);
        wait_stopped(&w, 1);
        drain(&j);
        assert_int_equal(count_stopped(w.launcher), 1);
        assert_false(j.ended);
        w.rt->ops->pause(j.run, false);
        w.rt->ops->pause(j.run, false);
        wait_output(&j);
        wait_stopped(&w, 0);
    }
    w.rt->ops->terminate(j.run);
    expect_killed(&j, SIGTERM);
    world_close(&w);
}

/* Each in a session of its own; the task's own process waits for them, and is stopped with them. */
static void test_pause_tree(void **state)
{
    (void)state;
    struct world w;
    struct job j = {0};
    world_open(&w, 1);
    start_python(&w, &j,
        "import os, time\n"
        "r, w = os.pipe()\n"
        "for i in range(3):\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        os.write(w, b'x')\n"
        "        while True: time.sleep(0.001)\n"
        "for i in range(3): os.read(r, 1)\n"
        "print('up', flush=True)\n"
        "os.wait()\n",
        false);
    wait_output(&j);
    w.rt->ops->pause(j.run, true);
    wait_stopped(&w, 4);
    w.rt->ops->pause(j.run, false);
    wait_stopped(&w, 0);
    w.rt->ops->pause(j.run, true);
    wait_stopped(&w, 4);
    w.rt->ops->kill(j.run);
    expect_killed(&j, SIGKILL);
    /* The slot is as good as new. */
    job_run(&w, &j, "shell", "echo fine");
    assert_string_equal(job_out(&j), "fine\n");
    job_done(&j);
    world_close(&w);
}

/* Before its first instruction, and in the middle of a system call that has to go on. */
static void test_pause_at_once(void **state)
{
    (void)state;
    struct world w;
    struct job j = {0};
    world_open(&w, 1);
    for (int i = 0; i < 4; i++) {
        j.hold = true;
        job_start(&w, &j, i % 2 ? "python" : "shell", i % 2 ? "import time\ntime.sleep(0.05)" : "sleep 0.05", NULL);
        world_wait(&w, &j.was_ready, WAIT_S);
        w.rt->ops->go(j.run);
        w.rt->ops->pause(j.run, true);
        /* A shell that is just starting a program waits for that in the kernel, and is not stopped itself. */
        uint64_t deadline = clock_monotonic_us() + WAIT_S * UINT64_C(1000000);
        while (count_stopped(w.launcher) == 0 && clock_monotonic_us() < deadline)
            (void)poll(NULL, 0, 1);
        assert_true(count_stopped(w.launcher) > 0);
        w.rt->ops->pause(j.run, false);
        expect_exit(&j, 0);
        job_done(&j);
    }
    world_close(&w);
}

static void test_terminate_paused(void **state)
{
    (void)state;
    struct world w;
    struct job j = {0};
    world_open(&w, 1);
    job_start(&w, &j, "python", counter, NULL);
    wait_output(&j);
    w.rt->ops->pause(j.run, true);
    wait_stopped(&w, 1);
    w.rt->ops->terminate(j.run);
    expect_killed(&j, SIGTERM);
    job_start(&w, &j, "shell", "trap 'echo bye; exit 5' TERM; sleep 1000 & echo up; wait; echo no", NULL);
    wait_output(&j);
    w.rt->ops->pause(j.run, true);
    wait_stopped(&w, 2);
    w.rt->ops->terminate(j.run);
    expect_exit(&j, 5);
    job_done(&j);
    world_close(&w);
}

/* Its processor time is watched again when it goes on. */
static void test_cpu_time(void **state)
{
    (void)state;
    struct world w;
    struct job j = {0};
    const char *source = "print('up', flush=True)\nwhile True: pass\n";
    struct run_spec spec = {
        .task_id = "test-1",
        .type = "python",
        .data = source,
        .data_len = strlen(source),
        .max_result = 1024,
        .limits = {.processes = 64,
            .open_files = 1024,
            .file_bytes = 1 << 20,
            .workspace_bytes = 1 << 20,
            .tmp_bytes = 1 << 20,
            .cpu_time_us = 500000},
    };
    world_open(&w, 1);
    job_start_spec(&w, &j, &spec);
    wait_output(&j);
    w.rt->ops->pause(j.run, true);
    wait_stopped(&w, 1);
    drain(&j);
    assert_false(j.ended);
    w.rt->ops->pause(j.run, false);
    world_wait(&w, &j.ended, WAIT_S);
    assert_int_equal(j.limit, TW_REASON_TIMEOUT_CPU);
    job_done(&j);
    world_close(&w);
}

/* The runtime is closed over a paused task. */
static void test_close_paused(void **state)
{
    (void)state;
    struct world w;
    struct job j = {0};
    world_open(&w, 1);
    job_start(&w, &j, "python", counter, NULL);
    wait_output(&j);
    w.rt->ops->pause(j.run, true);
    wait_stopped(&w, 1);
    world_close(&w);
    assert_true(j.ended);
    job_done(&j);
}

static int tests(void)
{
    const struct CMUnitTest list[] = {
        cmocka_unit_test(test_terminate),
        cmocka_unit_test(test_terminate_handled),
        cmocka_unit_test(test_terminate_tree),
        cmocka_unit_test(test_too_early),
        cmocka_unit_test(test_at_any_moment),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_pause_tree),
        cmocka_unit_test(test_pause_at_once),
        cmocka_unit_test(test_terminate_paused),
        cmocka_unit_test(test_cpu_time),
        cmocka_unit_test(test_close_paused),
    };
    return cmocka_run_group_tests(list, NULL, NULL);
}

int main(int argc, char **argv)
{
    (void)argc;
    return run_as_both(argv, tests);
}
