/* SPDX-License-Identifier: Apache-2.0 */
/* What is written to a control group's files and read out of them; the files are memfds, in which anything may stand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "exec/group.h"

enum { MIB = 1 << 20 };

struct fake {
    uv_loop_t loop;
    int fd[GROUP_FILE_MAX]; /* ours; the group has copies */
    struct group *group;
    int n_oom;
    bool free_in_callback;
};

static void put(const struct fake *f, enum group_file file, const char *text)
{
    assert_int_equal(ftruncate(f->fd[file], 0), 0);
    assert_int_equal(pwrite(f->fd[file], text, strlen(text), 0), strlen(text));
}

static void expect(const struct fake *f, enum group_file file, const char *text)
{
    char is[64] = "";
    assert_true(pread(f->fd[file], is, sizeof is - 1, 0) >= 0);
    assert_string_equal(is, text);
    assert_int_equal(ftruncate(f->fd[file], 0), 0); /* shows what is written next, and whether it is */
}

static void on_oom(void *ctx)
{
    struct fake *f = ctx;
    f->n_oom++;
    if (f->free_in_callback) {
        group_free(f->group);
        f->group = NULL;
    }
}

static void fake_open(struct fake *f, uint32_t version, uint32_t files)
{
    struct launcher_reply reply = {.group_version = version, .group_files = files};
    int fds[GROUP_FILE_MAX];
    size_t n = 0;
    *f = (struct fake){0};
    assert_int_equal(uv_loop_init(&f->loop), 0);
    for (enum group_file i = 0; i < GROUP_FILE_MAX; i++) {
        f->fd[i] = i == GROUP_MEMORY_NOTIFY ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
                                            : memfd_create("fake", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        assert_true(f->fd[i] >= 0);
        if (files & 1u << i)
            fds[n++] = fcntl(f->fd[i], F_DUPFD_CLOEXEC, 0);
    }
    put(f, GROUP_MEMORY_EVENTS, "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n");
    put(f, GROUP_PIDS_EVENTS, "max 3\n");
    put(f, GROUP_MEMORY_CURRENT, "10485760\n");
    put(f, GROUP_MEMORY_PEAK, "20971520\n");
    f->group = group_new(&f->loop, &reply, fds, n, on_oom, f);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(fds[i], -1); /* taken over */
}

static void fake_close(struct fake *f)
{
    group_free(f->group);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    for (size_t i = 0; i < GROUP_FILE_MAX; i++)
        close(f->fd[i]);
}

static const uint32_t v1_files = (1u << GROUP_FILE_MAX) - 1;
/* Without the events: a memfd cannot be polled. */
static const uint32_t v2_files = (1u << GROUP_FILE_MAX) - 1 - (1u << GROUP_MEMORY_NOTIFY) - (1u << GROUP_MEMORY_SWAP) -
    (1u << GROUP_CPU_STAT) - (1u << GROUP_MEMORY_EVENTS);

#define LAYER(name) (UINT64_C(1) << TW_LAYER_CGROUP_##name)

static void test_limits_v1(void **state)
{
    struct fake f;
    (void)state;
    fake_open(&f, 1, v1_files);
    assert_int_equal(group_layers(f.group), LAYER(MEMORY) | LAYER(CPU) | LAYER(PIDS));
    struct tw_limits limits = {.memory_bytes = 64 * MIB, .cpu_millis = 1500, .processes = 10};
    assert_int_equal(group_begin(f.group, &limits), group_layers(f.group));
    expect(&f, GROUP_MEMORY_MAX, "79691776"); /* with 10 MiB of the slot's, as 12 */
    expect(&f, GROUP_MEMORY_SWAP, "79691776");
    expect(&f, GROUP_CPU_MAX, "150000");
    expect(&f, GROUP_PIDS_MAX, "20"); /* room for those on their way out */
    /* The same again: nothing is written. */
    put(&f, GROUP_MEMORY_CURRENT, "11000000\n");
    assert_int_equal(group_begin(f.group, &limits), group_layers(f.group));
    expect(&f, GROUP_MEMORY_MAX, "");
    expect(&f, GROUP_CPU_MAX, "");
    expect(&f, GROUP_PIDS_MAX, "");
    group_go(f.group, &limits);
    expect(&f, GROUP_PIDS_MAX, "12"); /* with the slot and its pid 1 */
    /* What a task left behind is no room for the next. */
    put(&f, GROUP_MEMORY_CURRENT, "900000000\n");
    assert_int_equal(group_begin(f.group, &limits), group_layers(f.group));
    expect(&f, GROUP_MEMORY_MAX, "113246208"); /* 64 + 10 + 32, in steps of 4 MiB */
    /* No limits. */
    assert_int_equal(group_begin(f.group, &(struct tw_limits){0}), group_layers(f.group));
    expect(&f, GROUP_MEMORY_MAX, "-1");
    expect(&f, GROUP_CPU_MAX, "-1");
    expect(&f, GROUP_PIDS_MAX, "max");
    /* Too large to be any. */
    limits = (struct tw_limits){.memory_bytes = UINT64_MAX, .cpu_millis = UINT64_MAX, .processes = UINT64_MAX};
    assert_int_equal(group_begin(f.group, &limits), group_layers(f.group));
    expect(&f, GROUP_MEMORY_MAX, "");
    expect(&f, GROUP_CPU_MAX, "");
    expect(&f, GROUP_PIDS_MAX, "");
    /* Less than the kernel takes. */
    limits = (struct tw_limits){.cpu_millis = 1};
    assert_int_equal(group_begin(f.group, &limits), group_layers(f.group));
    expect(&f, GROUP_CPU_MAX, "1000");
    fake_close(&f);
}

static void test_limits_v2(void **state)
{
    struct fake f;
    (void)state;
    fake_open(&f, 2, v2_files);
    struct tw_limits limits = {.memory_bytes = 64 * MIB, .cpu_millis = 500, .processes = 10};
    assert_int_equal(group_begin(f.group, &limits), LAYER(MEMORY) | LAYER(CPU) | LAYER(PIDS));
    expect(&f, GROUP_MEMORY_MAX, "79691776");
    expect(&f, GROUP_CPU_MAX, "50000 100000");
    expect(&f, GROUP_PIDS_MAX, "20");
    assert_int_equal(group_begin(f.group, &(struct tw_limits){0}), LAYER(MEMORY) | LAYER(CPU) | LAYER(PIDS));
    expect(&f, GROUP_MEMORY_MAX, "max");
    expect(&f, GROUP_CPU_MAX, "max");
    expect(&f, GROUP_PIDS_MAX, "max");
    fake_close(&f);
}

/* Each can be missing by itself; one that cannot be written is not in force, and tried again. */
static void test_missing(void **state)
{
    static const struct tw_limits limits = {.memory_bytes = 64 * MIB, .cpu_millis = 500, .processes = 10};
    struct fake f;
    struct tw_usage usage = {.minor_faults = 5};
    (void)state;
    fake_open(&f, 1, 1u << GROUP_PIDS_MAX);
    assert_int_equal(group_layers(f.group), LAYER(PIDS));
    assert_int_equal(group_begin(f.group, &limits), LAYER(PIDS));
    assert_false(group_usage(f.group, &usage));
    assert_int_equal(usage.minor_faults, 5);
    assert_int_equal(group_verdict(f.group), TW_REASON_NONE);
    fake_close(&f);

    fake_open(&f, 1, v1_files);
    assert_int_equal(fcntl(f.fd[GROUP_MEMORY_SWAP], F_ADD_SEALS, F_SEAL_WRITE), 0);
    assert_int_equal(fcntl(f.fd[GROUP_CPU_MAX], F_ADD_SEALS, F_SEAL_WRITE), 0);
    assert_int_equal(group_begin(f.group, &limits), LAYER(PIDS));
    expect(&f, GROUP_MEMORY_MAX, "79691776");
    assert_int_equal(group_begin(f.group, &limits), LAYER(PIDS));
    expect(&f, GROUP_MEMORY_MAX, "79691776");
    fake_close(&f);

    fake_open(&f, 1, 0);
    assert_null(f.group);
    assert_int_equal(group_begin(NULL, &limits), 0);
    assert_int_equal(group_layers(NULL), 0);
    assert_false(group_usage(NULL, &usage));
    assert_int_equal(group_verdict(NULL), TW_REASON_NONE);
    fake_close(&f);
}

static void test_usage(void **state)
{
    struct tw_usage usage = {.max_rss_bytes = 9};
    struct fake f;
    (void)state;
    fake_open(&f, 1, v1_files);
    put(&f, GROUP_CPU_USAGE, "5000000000\n");
    put(&f, GROUP_CPU_STAT, "user 300\nsystem 200\n");
    group_begin(f.group, &(struct tw_limits){0});
    expect(&f, GROUP_MEMORY_PEAK, "00971520\n"); /* begun anew, as far as a memfd can */
    put(&f, GROUP_MEMORY_PEAK, "15728640\n");
    put(&f, GROUP_CPU_USAGE, "6000000000\n");
    put(&f, GROUP_CPU_STAT, "user 360\nsystem 240\n");
    assert_true(group_usage(f.group, &usage));
    assert_int_equal(usage.peak_memory_bytes, 5 * MIB);
    assert_int_equal(usage.user_us, 600 * 1000);
    assert_int_equal(usage.system_us, 400 * 1000);
    assert_int_equal(usage.max_rss_bytes, 9);
    /* Backwards: never a huge number. */
    put(&f, GROUP_MEMORY_PEAK, "1\n");
    put(&f, GROUP_CPU_USAGE, "1\n");
    assert_true(group_usage(f.group, &usage));
    assert_int_equal(usage.peak_memory_bytes, 0);
    assert_int_equal(usage.user_us + usage.system_us, 0);
    fake_close(&f);

    fake_open(&f, 2, v2_files);
    put(&f, GROUP_CPU_USAGE, "usage_usec 50\nuser_usec 30\nsystem_usec 20\nnr_periods 0\n");
    group_begin(f.group, &(struct tw_limits){0});
    put(&f, GROUP_CPU_USAGE, "usage_usec 150\nuser_usec 90\nsystem_usec 60\nnr_periods 0\n");
    assert_true(group_usage(f.group, &usage));
    assert_int_equal(usage.user_us, 60);
    assert_int_equal(usage.system_us, 40);
    fake_close(&f);
}

/* Before Linux 6.12 the peak of version 2 cannot be written: only one that has grown is this task's. */
static void test_old_peak(void **state)
{
    struct launcher_reply reply = {
        .group_version = 2, .group_files = 1u << GROUP_MEMORY_CURRENT | 1u << GROUP_MEMORY_PEAK};
    struct tw_usage usage = {0};
    struct fake f;
    uv_loop_t loop;
    (void)state;
    fake_open(&f, 1, 0);
    assert_int_equal(uv_loop_init(&loop), 0);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", f.fd[GROUP_MEMORY_PEAK]);
    int fds[] = {fcntl(f.fd[GROUP_MEMORY_CURRENT], F_DUPFD_CLOEXEC, 0), open(path, O_RDONLY | O_CLOEXEC)};
    struct group *g = group_new(&loop, &reply, fds, 2, on_oom, &f);
    group_begin(g, &(struct tw_limits){0});
    assert_false(group_usage(g, &usage));
    put(&f, GROUP_MEMORY_PEAK, "31457280\n");
    assert_true(group_usage(g, &usage));
    assert_int_equal(usage.peak_memory_bytes, 20 * MIB);
    group_free(g);
    assert_int_equal(uv_loop_close(&loop), 0);
    fake_close(&f);
}

static void test_verdict(void **state)
{
    static const char *const rubbish[] = {"", "oom_kill", "oom_kill \n", "oom_kill x\n", "oom_kill -1\n",
        "oom_killer 9\n", "x oom_kill 9\n", "oom_kill 99999999999999999999999999999999999999999\n", "oom_kill 9 \n"};
    struct fake f;
    (void)state;
    fake_open(&f, 1, v1_files);
    group_begin(f.group, &(struct tw_limits){0});
    assert_int_equal(group_verdict(f.group), TW_REASON_NONE); /* what was counted before is not this task's */
    for (size_t i = 0; i < sizeof rubbish / sizeof *rubbish; i++) {
        put(&f, GROUP_MEMORY_EVENTS, rubbish[i]);
        assert_int_equal(group_verdict(f.group), TW_REASON_NONE);
    }
    put(&f, GROUP_PIDS_EVENTS, "max 4\n");
    assert_int_equal(group_verdict(f.group), TW_REASON_PIDS_LIMIT);
    put(&f, GROUP_MEMORY_EVENTS, "low 1\noom 3\noom_kill 8");
    assert_int_equal(group_verdict(f.group), TW_REASON_OOM);
    group_begin(f.group, &(struct tw_limits){0});
    assert_int_equal(group_verdict(f.group), TW_REASON_NONE);
    fake_close(&f);
}

/* The kernel tells before it counts: the group is looked at until it has, or is left alone in the end. */
static void test_told(void **state)
{
    struct fake f;
    (void)state;
    fake_open(&f, 1, v1_files);
    group_begin(f.group, &(struct tw_limits){0});
    assert_int_equal(eventfd_write(f.fd[GROUP_MEMORY_NOTIFY], 1), 0);
    assert_int_not_equal(uv_run(&f.loop, UV_RUN_ONCE), 0);
    assert_int_equal(f.n_oom, 0);
    put(&f, GROUP_MEMORY_EVENTS, "oom_kill 8\n");
    while (f.n_oom == 0)
        uv_run(&f.loop, UV_RUN_ONCE);
    assert_int_equal(f.n_oom, 1);
    assert_int_equal(group_verdict(f.group), TW_REASON_OOM);
    /* A false alarm ends: the loop is left with nothing but the poll. */
    group_begin(f.group, &(struct tw_limits){0});
    assert_int_equal(eventfd_write(f.fd[GROUP_MEMORY_NOTIFY], 1), 0);
    do
        uv_run(&f.loop, UV_RUN_ONCE);
    while (uv_backend_timeout(&f.loop) >= 0);
    assert_int_equal(f.n_oom, 1);
    /* The callback may be the end of the group. */
    f.free_in_callback = true;
    put(&f, GROUP_MEMORY_EVENTS, "oom_kill 9\n");
    assert_int_equal(eventfd_write(f.fd[GROUP_MEMORY_NOTIFY], 1), 0);
    while (f.n_oom == 1)
        uv_run(&f.loop, UV_RUN_ONCE);
    assert_null(f.group);
    fake_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits_v1),
        cmocka_unit_test(test_limits_v2),
        cmocka_unit_test(test_missing),
        cmocka_unit_test(test_usage),
        cmocka_unit_test(test_old_peak),
        cmocka_unit_test(test_verdict),
        cmocka_unit_test(test_told),
    };
    return cmocka_run_group_tests_name("group", tests, NULL, NULL);
}
