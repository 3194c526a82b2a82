/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control groups of slots, with real tasks: limits hold, what runs into them is said, nothing is left behind. What the
 * machine cannot limit is not tested, and said aloud: in CI that is a failure.
 */
#include "harness.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/parse.h"
#include "slot/cgroup.h"

enum { MIB = 1 << 20 };

static uint64_t limits_here(void)
{
    struct cgroup_view view;
    assert_int_equal(cgroup_find(getppid(), &view), 0);
    return cgroup_limits(&view);
}

static bool offered(uint32_t limit, const char *what)
{
    if (limits_here() & limit)
        return true;
    fprintf(stderr, "SKIPPED: %s cannot be limited here\n", what);
    if (geteuid() == 0 && getenv("CI"))
        fail();
    return false;
}

static void run_limited(struct world *w, struct job *job, const char *type, const char *source, struct tw_limits limits)
{
    struct run_spec spec = {
        .task_id = "test-1",
        .type = type,
        .data = source,
        .data_len = strlen(source),
        .max_result = 1 << 20,
        .limits = limits,
    };
    job_start_spec(w, job, &spec);
    world_wait(w, &job->ended, 60);
    assert_int_equal(job->n_ended, 1);
}

/* The groups that carry the launcher's pid, in all hierarchies. */
static size_t groups_of(pid_t launcher)
{
    struct cgroup_view view;
    char start[64];
    size_t n = 0;
    assert_int_equal(cgroup_find(getppid(), &view), 0);
    snprintf(start, sizeof start, "hivemind-%d-", (int)launcher);
    for (size_t c = 0; c < CGROUP_CONTROLLER_MAX; c++) {
        DIR *d = view.controller[c].own[0] ? opendir(view.controller[c].own) : NULL;
        struct dirent *e;
        while (d && (e = readdir(d)))
            n += !strncmp(e->d_name, start, strlen(start));
        if (d)
            closedir(d);
    }
    return n;
}

static void test_memory(void **state)
{
    static const char bomb[] = "b = []\nfor i in range(4096):\n    b.append(bytearray(1 << 20))\nresult = len(b)\n";
    struct world w;
    (void)state;
    if (!offered(LAUNCHER_GROUP_MEMORY, "memory"))
        return;
    world_open(&w, 1);
    for (int round = 0; round < 3; round++) {
        struct job job = {0};
        run_limited(&w, &job, "python", bomb, (struct tw_limits){.memory_bytes = 64 * MIB});
        assert_int_equal(job.limit, TW_REASON_OOM);
        assert_null(job.result);
        assert_true(job.receipt.layers & UINT64_C(1) << TW_LAYER_CGROUP_MEMORY); /* the first of a slot's tasks, too */
        assert_int_equal(job.receipt.limits.memory_bytes, 64 * MIB);
        assert_in_range(job.usage.peak_memory_bytes, 32 * MIB, 64 * MIB + 8 * MIB);
        job_done(&job);
        /* The next one has its memory, and an honest peak of its own. */
        run_limited(&w, &job, "python", "b = bytearray(40 << 20)\nresult = len(b)",
            (struct tw_limits){.memory_bytes = 64 * MIB});
        assert_int_equal(job.limit, TW_REASON_NONE);
        assert_int_equal(job.end, RUN_EXITED);
        assert_string_equal(job.result, "41943040");
        assert_in_range(job.usage.peak_memory_bytes, 40 * MIB, 56 * MIB);
        job_done(&job);
    }
    world_close(&w);
}

/* The kernel kills the child only, where it kills one: the rest of the run goes with it. */
static void test_memory_of_child(void **state)
{
    static const char source[] = "import os, time\n"
                                 "if os.fork() == 0:\n"
                                 "    b = []\n"
                                 "    while True:\n"
                                 "        b.append(bytearray(1 << 20))\n"
                                 "time.sleep(1000)\n";
    struct world w;
    struct job job = {0};
    (void)state;
    if (!offered(LAUNCHER_GROUP_MEMORY, "memory"))
        return;
    world_open(&w, 1);
    run_limited(&w, &job, "python", source, (struct tw_limits){.memory_bytes = 48 * MIB});
    assert_int_equal(job.limit, TW_REASON_OOM);
    assert_null(job.result);
    job_done(&job);
    world_close(&w);
}

/* Less than the interpreter itself takes to move: whom the kernel kills for it, the slot or the task, is not ours to say. */
static void test_memory_tiny(void **state)
{
    struct world w;
    struct job job = {0};
    (void)state;
    if (!offered(LAUNCHER_GROUP_MEMORY, "memory"))
        return;
    world_open(&w, 1);
    run_limited(&w, &job, "python", "b = [bytes([i % 256]) * 4096 for i in range(20000)]\nresult = 1",
        (struct tw_limits){.memory_bytes = 1 * MIB});
    assert_int_equal(job.limit, TW_REASON_OOM);
    assert_null(job.result);
    job_done(&job);
    job_run(&w, &job, "python", "result = 2");
    assert_int_equal(job.limit, TW_REASON_NONE);
    assert_string_equal(job.result, "2");
    job_done(&job);
    world_close(&w);
}

/* The daemon has become somebody else once the launcher stands: the files that it was given are all that it needs. */
static int run_as_nobody(void)
{
    struct world w;
    struct job job = {0};
    world_open(&w, 1);
    if (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0)
        return 1;
    run_limited(&w, &job, "python", "b = bytearray(200 << 20)\nresult = len(b)",
        (struct tw_limits){.memory_bytes = 48 * MIB, .cpu_millis = 2000, .processes = 30});
    bool ok = job.limit == TW_REASON_OOM && job.usage.peak_memory_bytes >= 40 * MIB;
    job_done(&job);
    world_close(&w);
    return ok ? 0 : 2;
}

static void test_unprivileged_daemon(void **state)
{
    int status;
    (void)state;
    if (geteuid() != 0 || !offered(LAUNCHER_GROUP_MEMORY, "memory"))
        return;
    pid_t pid = fork();
    assert_int_not_equal(pid, -1);
    if (pid == 0)
        _exit(run_as_nobody());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* What lies in its folders is memory too. */
static void test_memory_in_files(void **state)
{
    struct world w;
    struct job job = {0};
    (void)state;
    if (!offered(LAUNCHER_GROUP_MEMORY, "memory"))
        return;
    world_open(&w, 1);
    run_limited(&w, &job, "shell", "head -c 200000000 /dev/zero > /tmp/a; echo survived",
        (struct tw_limits){.memory_bytes = 48 * MIB});
    assert_int_equal(job.limit, TW_REASON_OOM);
    job_done(&job);
    run_limited(&w, &job, "shell", "head -c 20000000 /dev/zero > /tmp/a; echo survived",
        (struct tw_limits){.memory_bytes = 48 * MIB});
    assert_int_equal(job.limit, TW_REASON_NONE);
    assert_string_equal(job.result, "survived\n");
    job_done(&job);
    world_close(&w);
}

static void test_processes(void **state)
{
    static const char bomb[] = "import os, time\n"
                               "n = 0\n"
                               "try:\n"
                               "    while n < 1000:\n"
                               "        if os.fork() == 0:\n"
                               "            time.sleep(1000)\n"
                               "        n += 1\n"
                               "except BlockingIOError:\n"
                               "    pass\n"
                               "result = n\n";
    struct world w;
    struct job job = {0};
    (void)state;
    if (!offered(LAUNCHER_GROUP_PIDS, "the number of processes"))
        return;
    world_open(&w, 1);
    run_limited(&w, &job, "python", bomb, (struct tw_limits){.processes = 20});
    assert_int_equal(job.limit, TW_REASON_PIDS_LIMIT);
    uint64_t forked;
    assert_non_null(job.result);
    assert_int_equal(parse_u64(job.result, 0, 1000, &forked), 0);
    assert_int_equal(forked, 19); /* with its own process 20 */
    job_done(&job);
    run_limited(&w, &job, "python", "result = 1", (struct tw_limits){.processes = 20});
    assert_int_equal(job.limit, TW_REASON_NONE);
    job_done(&job);
    world_close(&w);
}

static const char burn[] = "import time\n"
                           "t = time.process_time()\n"
                           "while time.process_time() - t < 0.3:\n"
                           "    pass\n";

static void test_cpu_share(void **state)
{
    struct world w;
    struct job job = {0};
    (void)state;
    if (!offered(LAUNCHER_GROUP_CPU, "CPU"))
        return;
    world_open(&w, 1);
    run_limited(&w, &job, "python", burn, (struct tw_limits){.cpu_millis = 200});
    assert_int_equal(job.end, RUN_EXITED);
    assert_int_equal(job.limit, TW_REASON_NONE);
    /* 0.3 s at a fifth of a processor; the first period's share comes at once. */
    assert_true(job.usage.wall_us > 1000 * 1000);
    job_done(&job);
    world_close(&w);
}

/* Two processes, of which neither alone reaches the limit; with and without groups. */
static void test_cpu_time(void **state)
{
    static const char source[] = "import os\n"
                                 "for i in range(4):\n"
                                 "    if os.fork() == 0:\n"
                                 "        while True:\n"
                                 "            pass\n"
                                 "os.wait()\n";
    struct world w;
    struct job job = {0};
    (void)state;
    world_open(&w, 1);
    run_limited(&w, &job, "python", source, (struct tw_limits){.cpu_time_us = 600 * 1000});
    assert_int_equal(job.limit, TW_REASON_TIMEOUT_CPU);
    assert_int_equal(job.end, RUN_SIGNALED);
    assert_in_range(job.usage.user_us + job.usage.system_us, 550 * 1000, 2500 * 1000);
    job_done(&job);
    world_close(&w);
}

/* What children used whose parent does not wait for them is seen by the group alone. */
static void test_cpu_time_hidden(void **state)
{
    static const char source[] = "import os, signal, time\n"
                                 "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
                                 "for i in range(100000):\n"
                                 "    pid = os.fork()\n"
                                 "    if pid == 0:\n"
                                 "        t = time.process_time()\n"
                                 "        while time.process_time() - t < 0.1:\n"
                                 "            pass\n"
                                 "        os._exit(0)\n"
                                 "    try:\n"
                                 "        os.waitpid(pid, 0)\n"
                                 "    except ChildProcessError:\n"
                                 "        pass\n";
    struct world w;
    struct job job = {0};
    (void)state;
    if (!offered(LAUNCHER_GROUP_MEMORY, "CPU time of children that nobody waits for"))
        return;
    world_open(&w, 1);
    run_limited(&w, &job, "python", source, (struct tw_limits){.cpu_time_us = 500 * 1000});
    assert_int_equal(job.limit, TW_REASON_TIMEOUT_CPU);
    assert_true(job.usage.user_us + job.usage.system_us >= 500 * 1000);
    job_done(&job);
    world_close(&w);
}

static void test_usage_while_running(void **state)
{
    struct world w;
    struct job job = {0};
    struct tw_usage usage;
    (void)state;
    world_open(&w, 1);
    job_start(&w, &job, "python",
        "import time\nb = bytearray(30 << 20)\nt = time.process_time()\nwhile time.process_time() - t < 0.1: pass\n"
        "print('now', flush=True)\ntime.sleep(1000)",
        NULL);
    assert_false(w.rt->ops->usage(job.run, &usage)); /* no slot yet */
    world_wait(&w, &job.has_output, 60);
    assert_true(w.rt->ops->usage(job.run, &usage));
    assert_true(usage.user_us + usage.system_us >= 80 * 1000);
    if (limits_here() & LAUNCHER_GROUP_MEMORY)
        assert_in_range(usage.peak_memory_bytes, 30 * MIB, 50 * MIB);
    else
        assert_in_range(usage.max_rss_bytes, 30 * MIB, 100 * MIB);
    w.rt->ops->kill(job.run);
    world_wait(&w, &job.ended, 60);
    assert_int_equal(job.limit, TW_REASON_NONE);
    job_done(&job);
    world_close(&w);
}

/* A task's group is the root of all that it sees of groups, and there are no files of it to write to. */
static void test_seen_from_inside(void **state)
{
    struct world w;
    struct job job = {0};
    (void)state;
    world_open(&w, 1);
    job_run(
        &w, &job, "shell", "cat /proc/self/cgroup; grep -c cgroup /proc/mounts; ls /sys/fs/cgroup 2>/dev/null; true");
    assert_int_equal(job.end, RUN_EXITED);
    assert_non_null(strstr(job.result, "/\n0\n"));
    if (limits_here())
        assert_null(strstr(job.result, "hivemind"));
    job_done(&job);
    world_close(&w);
}

static void test_nothing_is_left(void **state)
{
    struct world w;
    struct job job = {0};
    (void)state;
    world_open(&w, 3);
    job_run(&w, &job, "shell", "true");
    job_done(&job);
    if (limits_here())
        assert_true(groups_of(w.launcher) > 0);
    world_close(&w);
    assert_int_equal(groups_of(w.launcher), 0);
}

/* Groups of a launcher that was killed are there until the next one starts; those of a living one stay. */
static void test_sweep(void **state)
{
    struct world dead, living, next;
    (void)state;
    if (!limits_here())
        return;
    world_open(&living, 1);
    world_open(&dead, 2);
    assert_int_equal(kill(dead.launcher, SIGKILL), 0);
    world_close(&dead);
    assert_true(groups_of(dead.launcher) > 0);
    world_open(&next, 1);
    assert_int_equal(groups_of(dead.launcher), 0);
    assert_true(groups_of(living.launcher) > 0);
    world_close(&next);
    world_close(&living);
    assert_int_equal(groups_of(living.launcher), 0);
}

static void test_what_is_said(void **state)
{
    struct launcher_options options = {.libexec_dir = libexec_dir(), .max_slots = 1, .uid_base = 1900000000};
    struct launcher *launcher;
    struct tw_error error = {0};
    (void)state;
    uint64_t here = limits_here();
    if (launcher_start(&options, &launcher, &error) < 0)
        fail_msg("%s", error.message);
    uint64_t layers = launcher_group_layers(launcher);
    const char *warning = launcher_group_warning(launcher);
    assert_int_equal(!!(layers & 1u << TW_LAYER_CGROUP_MEMORY), !!(here & LAUNCHER_GROUP_MEMORY));
    assert_int_equal(!!(layers & 1u << TW_LAYER_CGROUP_CPU), !!(here & LAUNCHER_GROUP_CPU));
    assert_int_equal(!!(layers & 1u << TW_LAYER_CGROUP_PIDS), !!(here & LAUNCHER_GROUP_PIDS));
    if (!layers)
        assert_non_null(strstr(warning, "not limited"));
    if (here == (LAUNCHER_GROUP_MEMORY | LAUNCHER_GROUP_CPU | LAUNCHER_GROUP_PIDS))
        assert_null(warning);
    launcher_free(launcher);
}

static int all_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_memory_of_child),
        cmocka_unit_test(test_memory_tiny),
        cmocka_unit_test(test_unprivileged_daemon),
        cmocka_unit_test(test_memory_in_files),
        cmocka_unit_test(test_processes),
        cmocka_unit_test(test_cpu_share),
        cmocka_unit_test(test_cpu_time),
        cmocka_unit_test(test_cpu_time_hidden),
        cmocka_unit_test(test_usage_while_running),
        cmocka_unit_test(test_seen_from_inside),
        cmocka_unit_test(test_nothing_is_left),
        cmocka_unit_test(test_sweep),
        cmocka_unit_test(test_what_is_said),
    };
    return cmocka_run_group_tests_name("sandbox_groups", tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    (void)argc;
    return run_as_both(argv, all_tests);
}
