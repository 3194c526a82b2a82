/* SPDX-License-Identifier: Apache-2.0 */
/* Killing, losing, growing, shrinking, closing: what happens when things end that should not, and what is left then. */
#include "harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"

/* How long the tasks of this very program sleep, to find them by. */
static char marker[32];

static const char *with_marker(const char *format_with_one_string)
{
    static char source[1000];
    const char *at = strstr(format_with_one_string, "%s");
    assert_non_null(at);
    snprintf(
        source, sizeof source, "%.*s%s%s", (int)(at - format_with_one_string), format_with_one_string, marker, at + 2);
    return source;
}

/* Host pids of processes whose command line contains the text. */
static size_t find_processes(const char *text, pid_t *ret, size_t max)
{
    DIR *d = opendir("/proc");
    size_t n = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) && n < max;) {
        char path[300], *data;
        size_t len;
        if (e->d_name[0] < '1' || e->d_name[0] > '9')
            continue;
        snprintf(path, sizeof path, "/proc/%s/cmdline", e->d_name);
        if (file_read(path, 1 << 20, &data, &len) < 0)
            continue;
        if (memmem(data, len, text, strlen(text)))
            ret[n++] = (pid_t)atoi(e->d_name);
        free(data);
    }
    closedir(d);
    return n;
}

static size_t count_mounts(void)
{
    char *data;
    size_t len, n = 0;
    assert_int_equal(file_read("/proc/self/mountinfo", 16 << 20, &data, &len), 0);
    for (size_t i = 0; i < len; i++)
        n += data[i] == '\n';
    free(data);
    return n;
}

static void wait_output(struct job *job)
{
    world_wait(job->world, &job->has_output, 30);
    assert_false(job->ended);
}

/* It carries the marker as an argument: there from the start, and no child of it is needed. */
static void start_sleeper(struct world *w, struct job *job)
{
    const char *const args[] = {marker, NULL};
    job_start(w, job, "shell", "echo up; while :; do sleep 1000; done", args);
}

static void test_kill(void **state)
{
    (void)state;
    struct world w;
    struct job j = {0};
    world_open(&w, 1);
    job_start(&w, &j, "shell", "trap '' TERM INT HUP; echo up; sleep 1000", NULL);
    wait_output(&j);
    w.rt->ops->kill(j.run);
    w.rt->ops->kill(j.run);
    world_wait(&w, &j.ended, 10);
    assert_int_equal(j.end, RUN_SIGNALED);
    assert_int_equal(j.signal, SIGKILL);
    assert_string_equal(job_out(&j), "up\n");
    job_done(&j);
    world_close(&w);
}

static void test_usage_of_the_killed_counts(void **state)
{
    (void)state;
    struct world w;
    struct job j = {0};
    world_open(&w, 1);
    /* A child that burns 50 ms and is never waited for, and the task itself, killed together. */
    job_start(&w, &j, "python",
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    while time.process_time() < 0.05: pass\n"
        "    print('burnt', flush=True)\n"
        "time.sleep(600)\n",
        NULL);
    world_wait(&w, &j.has_output, 30);
    w.rt->ops->kill(j.run);
    world_wait(&w, &j.ended, 30);
    assert_int_equal(j.end, RUN_SIGNALED);
    assert_int_equal(j.signal, SIGKILL);
    assert_true(j.usage.user_us + j.usage.system_us >= 40000);
    assert_true(j.usage.max_rss_bytes > 2 << 20);
    job_done(&j);
    world_close(&w);
}

static void test_kill_early(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, 1);
    /* While it waits for a slot: none is there yet. */
    struct job j = {0};
    job_start(&w, &j, "shell", "echo ran", NULL);
    w.rt->ops->kill(j.run);
    assert_false(j.ended);
    world_wait(&w, &j.ended, 10);
    assert_int_equal(j.end, RUN_SIGNALED);
    assert_false(j.was_ready);
    job_done(&j);
    /* While it is prepared, and when it is ready: it never runs. */
    job_run(&w, &j, "shell", "true");
    job_done(&j);
    job_start(&w, &j, "shell", "echo ran", NULL);
    w.rt->ops->kill(j.run);
    world_wait(&w, &j.ended, 10);
    assert_int_equal(j.end, RUN_SIGNALED);
    assert_false(j.was_ready);
    job_done(&j);
    j.hold = true;
    job_start(&w, &j, "shell", "echo ran", NULL);
    world_wait(&w, &j.was_ready, 10);
    w.rt->ops->kill(j.run);
    w.rt->ops->go(j.run); /* too late, and harmless */
    world_wait(&w, &j.ended, 10);
    assert_int_equal(j.end, RUN_SIGNALED);
    assert_int_equal(j.out.len, 0);
    assert_int_equal(j.usage.wall_us, 0);
    job_done(&j);
    /* The slot is as good as new. */
    job_run(&w, &j, "shell", "echo fine");
    assert_string_equal(job_out(&j), "fine\n");
    job_done(&j);
    world_close(&w);
}

static void test_nothing_before_go(void **state)
{
    (void)state;
    struct world w;
    struct job j = {.hold = true};
    pid_t found[4];
    world_open(&w, 1);
    job_start(&w, &j, "shell", with_marker("sleep %s & echo ran"), NULL);
    world_wait(&w, &j.was_ready, 10);
    assert_int_equal(find_processes(marker, found, 4), 0);
    assert_int_equal(j.out.len, 0);
    w.rt->ops->go(j.run);
    world_wait(&w, &j.ended, 10);
    assert_string_equal(job_out(&j), "ran\n");
    job_done(&j);
    world_close(&w);
}

/* A daemon with the usual double fork, in a session of its own, holding the output open. */
static void test_left_behind(void **state)
{
    (void)state;
    struct world w;
    struct job j = {0};
    pid_t found[4];
    world_open(&w, 1);
    const char *source =
        with_marker("import os, signal\nr, w = os.pipe()\nif os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0:\n"
                    "    for s in (1, 2, 15): signal.signal(s, signal.SIG_IGN)\n    os.write(w, b'x')\n"
                    "    os.execv('/bin/sleep', ['sleep', '%s'])\n  os._exit(0)\nos.read(r, 1)\nresult = 1");
    job_run(&w, &j, "python", source);
    assert_int_equal(j.end, RUN_EXITED);
    assert_int_equal(find_processes(marker, found, 4), 0);
    job_done(&j);
    world_close(&w);
}

static void test_slot_killed(void **state)
{
    (void)state;
    struct world w;
    struct job j = {0};
    pid_t slots[4], found[4];
    world_open(&w, 1);
    for (int round = 0; round < 3; round++) {
        start_sleeper(&w, &j);
        wait_output(&j);
        assert_int_equal(children_of(w.launcher, slots, 4), 1);
        assert_true(find_processes(marker, found, 4) > 0);
        kill(slots[0], SIGKILL);
        world_wait(&w, &j.ended, 10);
        assert_int_equal(j.end, RUN_LOST);
        assert_int_equal(find_processes(marker, found, 4), 0);
        job_done(&j);
    }
    /* Idle slots, too. */
    job_run(&w, &j, "shell", "true");
    job_done(&j);
    assert_int_equal(children_of(w.launcher, slots, 4), 1);
    kill(slots[0], SIGKILL);
    wait_gone(slots[0], 10);
    job_run(&w, &j, "shell", "echo back");
    assert_int_equal(j.end, RUN_EXITED);
    assert_string_equal(job_out(&j), "back\n");
    job_done(&j);
    world_close(&w);
}

static void test_launcher_killed(void **state)
{
    (void)state;
    struct world w;
    struct job a = {0}, b = {0}, waiting = {0}, late = {0};
    pid_t slots[4], found[4];
    world_open(&w, 2);
    start_sleeper(&w, &a);
    start_sleeper(&w, &b);
    wait_output(&a);
    wait_output(&b);
    job_start(&w, &waiting, "shell", "true", NULL);
    size_t n = children_of(w.launcher, slots, 4);
    assert_int_equal(n, 2);
    kill(w.launcher, SIGKILL);
    world_wait(&w, &a.ended, 10);
    world_wait(&w, &b.ended, 10);
    world_wait(&w, &waiting.ended, 10);
    assert_int_equal(a.end, RUN_LOST);
    assert_int_equal(b.end, RUN_LOST);
    assert_int_equal(waiting.end, RUN_SANDBOX_ERROR);
    job_run(&w, &late, "shell", "true");
    assert_int_equal(late.end, RUN_SANDBOX_ERROR);
    assert_non_null(strstr(late.message, "hivemind-launcher"));
    for (size_t i = 0; i < n; i++)
        wait_gone(slots[i], 10);
    assert_int_equal(find_processes(marker, found, 4), 0);
    job_done(&a);
    job_done(&b);
    job_done(&waiting);
    job_done(&late);
    world_close(&w);
}

/* The daemon's part is played by a child: it reports the pids of all its helpers, then is killed. */
static void test_daemon_killed(void **state)
{
    (void)state;
    int report[2];
    pid_t pids[4] = {0}, found[4];
    assert_int_equal(pipe2(report, O_CLOEXEC), 0);
    pid_t daemon = fork();
    if (daemon == 0) {
        struct world w;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        struct job j = {0};
        world_open(&w, 2);
        start_sleeper(&w, &j);
        wait_output(&j);
        job_run(&w, &(struct job){0}, "shell", "true"); /* by now both slots stand */
        pids[0] = w.launcher;
        if (children_of(w.launcher, pids + 1, 3) != 2 || write(report[1], pids, sizeof pids) != sizeof pids)
            _exit(1);
        for (;;)
            pause();
    }
    close(report[1]);
    struct pollfd p = {.fd = report[0], .events = POLLIN};
    assert_int_equal(poll(&p, 1, 30000), 1);
    assert_int_equal(read(report[0], pids, sizeof pids), sizeof pids);
    close(report[0]);
    assert_true(find_processes(marker, found, 4) > 0);
    kill(daemon, SIGKILL);
    assert_int_equal(waitpid(daemon, NULL, 0), daemon);
    for (size_t i = 0; i < 3; i++)
        wait_gone(pids[i], 10);
    wait_gone(found[0], 10);
}

static void test_many(void **state)
{
    (void)state;
    struct world w;
    static struct job jobs[64];
    pid_t children[64];
    size_t mounts = count_mounts();
    world_open(&w, 16);
    job_run(&w, &jobs[0], "shell", "true");
    job_done(&jobs[0]);
    for (size_t i = 0; i < ARRAY_LEN(jobs); i++)
        job_start(&w, &jobs[i], i % 2 ? "python" : "shell", i % 2 ? "result = 1; print('x')" : "echo x", NULL);
    for (size_t i = 0; i < ARRAY_LEN(jobs); i++) {
        world_wait(&w, &jobs[i].ended, 60);
        assert_int_equal(jobs[i].end, RUN_EXITED);
        assert_int_equal(jobs[i].exit_code, 0);
        assert_string_equal(job_out(&jobs[i]), "x\n");
        job_done(&jobs[i]);
    }
    size_t fds = count_fds(), slots = children_of(w.launcher, children, 64);
    assert_int_equal(slots, 16);
    for (int i = 0; i < 200; i++) {
        struct job j = {0};
        job_run(&w, &j, "shell", i % 3 ? "echo x; exit 3" : "kill -9 $$");
        assert_int_equal(j.end, i % 3 ? RUN_EXITED : RUN_SIGNALED);
        job_done(&j);
    }
    assert_int_equal(count_fds(), fds);
    assert_int_equal(count_mounts(), mounts);
    assert_int_equal(children_of(w.launcher, children, 64), 16);
    for (size_t i = 0; i < 16; i++) {
        /* A seat made ahead has two; what was there of the last task goes by itself. */
        pid_t below[16];
        time_t deadline = time(NULL) + 10;
        while (children_of(children[i], below, 16) > 2 && time(NULL) < deadline)
            sched_yield();
        assert_true(children_of(children[i], below, 16) <= 2);
    }
    world_close(&w);
}

static void test_resize(void **state)
{
    (void)state;
    struct world w;
    struct job jobs[6] = {0};
    pid_t children[8];
    world_open(&w, 1);
    for (size_t i = 0; i < 3; i++)
        job_start(&w, &jobs[i], "shell", "echo up; sleep 1000", NULL);
    wait_output(&jobs[0]);
    assert_false(jobs[1].was_ready);
    w.rt->ops->resize(w.rt, 3);
    wait_output(&jobs[1]);
    wait_output(&jobs[2]);
    assert_int_equal(children_of(w.launcher, children, 8), 3);
    /* Shrinking waits for what runs. */
    w.rt->ops->resize(w.rt, 1);
    job_start(&w, &jobs[3], "shell", "echo up", NULL);
    w.rt->ops->kill(jobs[1].run);
    w.rt->ops->kill(jobs[2].run);
    world_wait(&w, &jobs[1].ended, 10);
    world_wait(&w, &jobs[2].ended, 10);
    assert_false(jobs[0].ended);
    assert_false(jobs[3].was_ready);
    w.rt->ops->kill(jobs[0].run);
    world_wait(&w, &jobs[3].ended, 10);
    assert_int_equal(jobs[3].end, RUN_EXITED);
    /* More than the launcher makes is cut to that; none is none, until there are some again. */
    w.rt->ops->resize(w.rt, 0);
    job_start(&w, &jobs[4], "shell", "echo up", NULL);
    w.rt->ops->resize(w.rt, 1000000);
    world_wait(&w, &jobs[4].ended, 30);
    assert_int_equal(jobs[4].end, RUN_EXITED);
    for (size_t i = 0; i < ARRAY_LEN(jobs) - 1; i++)
        job_done(&jobs[i]);
    world_close(&w);
}

static void test_close_with_tasks(void **state)
{
    (void)state;
    struct world w;
    struct job running = {0}, held = {.hold = true}, waiting = {0};
    size_t fds = count_fds();
    world_open(&w, 2);
    job_start(&w, &running, "shell", "echo up; sleep 1000", NULL);
    wait_output(&running);
    job_start(&w, &held, "shell", "echo up", NULL);
    world_wait(&w, &held.was_ready, 10);
    job_start(&w, &waiting, "shell", "echo up", NULL);
    world_close(&w);
    assert_int_equal(running.end, RUN_SIGNALED);
    assert_int_equal(held.end, RUN_SIGNALED);
    assert_int_equal(waiting.end, RUN_SIGNALED);
    assert_true(running.ended && held.ended && waiting.ended);
    job_done(&running);
    job_done(&held);
    job_done(&waiting);
    assert_int_equal(count_fds(), fds);
}

static void test_no_slot_can_be_made(void **state)
{
    (void)state;
    char dir[] = "/tmp/hivemind-bad-XXXXXX", path[128], from[512];
    assert_non_null(mkdtemp(dir));
    assert_int_equal(chmod(dir, 0755), 0);
    /* The real launcher, and a slot program that cannot be one. */
    snprintf(path, sizeof path, "%s/hivemind-launcher", dir);
    snprintf(from, sizeof from, "%s/hivemind-launcher", libexec_dir());
    assert_int_equal(symlink(from, path), 0);
    snprintf(path, sizeof path, "%s/hivemind-slot", dir);
    assert_int_equal(file_write_atomic(path, "no program\n", 11, 0644), 0);
    struct launcher_options options = {.libexec_dir = dir};
    struct world w;
    struct job j = {0};
    world_open_with(&w, 3, &options);
    for (int i = 0; i < 3; i++) {
        job_run(&w, &j, "shell", "true");
        assert_int_equal(j.end, RUN_SANDBOX_ERROR);
        assert_non_null(strstr(j.message, "starting hivemind-slot"));
        job_done(&j);
    }
    world_close(&w);
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s/hivemind-launcher", dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void test_no_launcher(void **state)
{
    (void)state;
    struct launcher_options options = {.libexec_dir = "/nonexistent", .max_slots = 1};
    struct launcher *launcher = NULL;
    struct tw_error error = {0};
    size_t fds = count_fds();
    assert_int_equal(launcher_start(&options, &launcher, &error), -1);
    assert_non_null(strstr(error.message, "/nonexistent/hivemind-launcher"));
    options.max_slots = 0;
    assert_int_equal(launcher_start(&options, &launcher, &error), -1);
    options = (struct launcher_options){.libexec_dir = "relative", .max_slots = 1};
    assert_int_equal(launcher_start(&options, &launcher, &error), -1);
    /* Not taken over by a runtime. */
    options.libexec_dir = libexec_dir();
    assert_int_equal(launcher_start(&options, &launcher, &error), 0);
    assert_int_equal(launcher_privileged(launcher), geteuid() == 0);
    assert_int_equal(launcher_warning(launcher) == NULL, geteuid() == 0);
    launcher_free(launcher);
    launcher_free(NULL);
    assert_int_equal(count_fds(), fds);
}

static void test_no_interpreter(void **state)
{
    (void)state;
    struct launcher_options options = {.python = "/usr/bin/no-python"};
    struct world w;
    struct job j = {0};
    world_open_with(&w, 1, &options);
    job_run(&w, &j, "python", "result = 1");
    assert_int_equal(j.end, RUN_SANDBOX_ERROR);
    assert_non_null(strstr(j.message, "/usr/bin/no-python: No such file"));
    job_done(&j);
    job_run(&w, &j, "shell", "true");
    assert_int_equal(j.end, RUN_EXITED);
    job_done(&j);
    world_close(&w);
}

static int tests(void)
{
    snprintf(marker, sizeof marker, "987654.%d", (int)getpid());
    const struct CMUnitTest list[] = {
        cmocka_unit_test(test_kill),
        cmocka_unit_test(test_usage_of_the_killed_counts),
        cmocka_unit_test(test_kill_early),
        cmocka_unit_test(test_nothing_before_go),
        cmocka_unit_test(test_left_behind),
        cmocka_unit_test(test_slot_killed),
        cmocka_unit_test(test_launcher_killed),
        cmocka_unit_test(test_daemon_killed),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_resize),
        cmocka_unit_test(test_close_with_tasks),
        cmocka_unit_test(test_no_slot_can_be_made),
        cmocka_unit_test(test_no_launcher),
        cmocka_unit_test(test_no_interpreter),
    };
    return cmocka_run_group_tests(list, NULL, NULL);
}

int main(int argc, char **argv)
{
    (void)argc;
    return run_as_both(argv, tests);
}
