/* SPDX-License-Identifier: Apache-2.0 */
/* How many slots there are, and the seats that they make ahead of their tasks. */
#include "harness.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "exec/pool.h"

enum { SLOTS = 8 };

/* --- waiting for what nobody tells --- */

struct watch_for {
    struct world *w;
    bool (*seen)(struct world *w, size_t n);
    size_t n;
    bool done;
};

static void on_look(uv_timer_t *timer)
{
    struct watch_for *watch = timer->data;
    watch->done = watch->seen(watch->w, watch->n);
    if (watch->done)
        uv_stop(&watch->w->loop);
}

static void wait_until(struct world *w, bool (*seen)(struct world *w, size_t n), size_t n)
{
    struct watch_for watch = {.w = w, .seen = seen, .n = n};
    uv_timer_t timer = {.data = &watch};
    assert_int_equal(uv_timer_init(&w->loop, &timer), 0);
    assert_int_equal(uv_timer_start(&timer, on_look, 0, 2), 0);
    world_wait(w, &watch.done, 30);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&w->loop, UV_RUN_NOWAIT); /* it lies on our stack */
}

static struct sandbox *sandbox_in(struct world *w)
{
    return CONTAINER_OF(w->rt, struct sandbox, rt);
}

static size_t count_in(struct world *w, enum slot_state state)
{
    const struct sandbox *s = sandbox_in(w);
    size_t n = 0;
    for (uint32_t i = 0; i < s->launcher->slots; i++)
        n += s->slots[i].state == state;
    return n;
}

/* So many, all of them idle, and no other on its way up or down. */
static bool so_many_idle(struct world *w, size_t n)
{
    return count_in(w, SLOT_IS_IDLE) == n && count_in(w, SLOT_IS_EMPTY) == sandbox_in(w)->launcher->slots - n;
}

static size_t slot_processes(struct world *w, pid_t pids[64])
{
    return children_of(w->launcher, pids, 64);
}

/* --- how many --- */

static void test_slots_come_with_the_tasks_and_go_after_them(void **state UNUSED)
{
    struct world w;
    struct job jobs[SLOTS] = {0};
    struct launcher_options options = {0};
    pid_t pids[64];
    world_open_sparing(&w, SLOTS, 1, &options);
    wait_until(&w, so_many_idle, 1);
    assert_int_equal(slot_processes(&w, pids), 1);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < SLOTS; i++) {
            jobs[i].hold = true;
            job_start(&w, &jobs[i], "shell", "true", NULL);
        }
        for (size_t i = 0; i < SLOTS; i++)
            world_wait(&w, &jobs[i].was_ready, 60);
        assert_int_equal(slot_processes(&w, pids), SLOTS);
        for (size_t i = 0; i < SLOTS; i++) {
            w.rt->ops->kill(jobs[i].run);
            world_wait(&w, &jobs[i].ended, 30);
            job_done(&jobs[i]);
        }
        assert_true(so_many_idle(&w, SLOTS));
        sandbox_turn_demand(sandbox_in(&w)); /* they were needed until just now */
        assert_true(so_many_idle(&w, SLOTS));
        sandbox_turn_demand(sandbox_in(&w));
        wait_until(&w, so_many_idle, 1);
        assert_int_equal(slot_processes(&w, pids), 1);
    }
    world_close(&w);
}

static void test_busy_slots_stay(void **state UNUSED)
{
    struct world w;
    struct job jobs[2] = {{.hold = true}, {.hold = true}};
    struct launcher_options options = {0};
    world_open_sparing(&w, SLOTS, 1, &options);
    for (size_t i = 0; i < ARRAY_LEN(jobs); i++) {
        job_start(&w, &jobs[i], "shell", "echo fine", NULL);
        world_wait(&w, &jobs[i].was_ready, 60);
    }
    for (int i = 0; i < 4; i++)
        sandbox_turn_demand(sandbox_in(&w));
    assert_int_equal(count_in(&w, SLOT_IS_BUSY), 2);
    for (size_t i = 0; i < ARRAY_LEN(jobs); i++) {
        w.rt->ops->go(jobs[i].run);
        world_wait(&w, &jobs[i].ended, 60);
        assert_int_equal(jobs[i].end, RUN_EXITED);
        assert_string_equal(job_out(&jobs[i]), "fine\n");
        job_done(&jobs[i]);
    }
    world_close(&w);
}

/* --- seats --- */

static pid_t only_slot(struct world *w)
{
    pid_t pids[64];
    assert_int_equal(slot_processes(w, pids), 1);
    return pids[0];
}

/* Its pid 1 and what will become a task: all that an idle slot has, once what was before has been cleared away. */
static bool seat_is_ahead(struct world *w, size_t n)
{
    pid_t pids[8];
    return children_of(only_slot(w), pids, ARRAY_LEN(pids)) == n;
}

static void run_one(struct world *w)
{
    struct job job = {0};
    job_run(w, &job, "python", "result = 42");
    if (job.end != RUN_EXITED)
        fail_msg("ended with %d: %s", job.end, job.message);
    assert_string_equal(job.result, "42");
    job_done(&job);
}

static void test_a_seat_that_died_costs_nothing(void **state UNUSED)
{
    struct world w;
    pid_t slot, seat[8];
    world_open(&w, 1);
    for (int which = 1; which <= 3; which++) { /* the one, the other, both */
        run_one(&w);
        wait_until(&w, seat_is_ahead, 2);
        slot = only_slot(&w);
        assert_int_equal(children_of(slot, seat, ARRAY_LEN(seat)), 2);
        for (int i = 0; i < 2; i++) {
            if (which & 1 << i)
                assert_int_equal(kill(seat[i], SIGKILL), 0);
        }
        for (int i = 0; i < 2; i++)
            wait_gone(seat[i], 30); /* without the one the other is of no use */
        run_one(&w);
        assert_int_equal(only_slot(&w), slot); /* nor was the slot given up for it */
    }
    world_close(&w);
}

static void test_a_seat_that_dies_just_then(void **state UNUSED)
{
    struct world w;
    pid_t seat[8];
    world_open(&w, 1);
    for (int i = 0; i < 20; i++) {
        struct job job = {0};
        run_one(&w);
        wait_until(&w, seat_is_ahead, 2);
        assert_int_equal(children_of(only_slot(&w), seat, ARRAY_LEN(seat)), 2);
        if (i % 2)
            job_start(&w, &job, "python", "result = 42", NULL);
        assert_int_equal(kill(seat[i / 2 % 2], SIGKILL), 0);
        if (i % 2 == 0)
            job_start(&w, &job, "python", "result = 42", NULL);
        world_wait(&w, &job.ended, 60);
        /* A task that has not begun is not one that was killed. */
        if (!job.was_ready && job.end == RUN_SIGNALED)
            fail_msg("ended by signal %d without having begun", job.signal);
        job_done(&job);
    }
    world_close(&w);
}

static void test_other_sizes_than_the_seat_was_made_for(void **state UNUSED)
{
    enum { MIB = 1 << 20 };
    static const char measure[] = "import os\n"
                                  "size = lambda path: (lambda s: s.f_blocks * s.f_frsize >> 20)(os.statvfs(path))\n"
                                  "result = [size(p) for p in ('/workspace', '/tmp', '/dev/shm')]";
    static const struct {
        uint64_t workspace, tmp;
        const char *result;
    } cases[] = {
        {64, 32, "[64,32,32]"}, {3, 5, "[3,5,5]"}, {3, 5, "[3,5,5]"}, {64, 5, "[64,5,5]"}, {64, 32, "[64,32,32]"}};
    struct world w;
    world_open(&w, 1);
    pid_t slot = 0;
    for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
        struct job job = {0};
        struct run_spec spec = {.task_id = "test-1",
            .type = "python",
            .data = measure,
            .data_len = strlen(measure),
            .max_result = 1000,
            .limits = {.processes = 64,
                .open_files = 64,
                .workspace_bytes = cases[i / 2].workspace * MIB,
                .tmp_bytes = cases[i / 2].tmp * MIB}};
        if (i % 2 == 0 && i > 0) /* the one before may have left a seat, or not yet */
            wait_until(&w, seat_is_ahead, 2);
        job_start_spec(&w, &job, &spec);
        world_wait(&w, &job.ended, 60);
        assert_non_null(job.result);
        assert_string_equal(job.result, cases[i / 2].result);
        job_done(&job);
        slot = slot ? slot : only_slot(&w);
        assert_int_equal(only_slot(&w), slot);
    }
    world_close(&w);
}

static bool is_child(pid_t parent, pid_t pid)
{
    pid_t pids[8];
    size_t n = children_of(parent, pids, ARRAY_LEN(pids));
    for (size_t i = 0; i < n; i++) {
        if (pids[i] == pid)
            return true;
    }
    return false;
}

/* Its pid 1 is gone when the end of the task is told, and so are its mounts with all that lay in them. */
static void test_what_was_much_is_gone_before_the_next(void **state UNUSED)
{
    static const char fill[] = "with open('/workspace/x', 'wb') as f:\n"
                               "    for _ in range(192): f.write(bytes(1 << 20))";
    struct world w;
    pid_t pids[8];
    world_open(&w, 1);
    for (int i = 0; i < 3; i++) {
        struct job job = {.hold = true}, next = {0};
        job_start(&w, &job, "python", fill, NULL);
        world_wait(&w, &job.was_ready, 60);
        pid_t slot = only_slot(&w);
        size_t n = children_of(slot, pids, ARRAY_LEN(pids)); /* in order of age; the first may be of the one before */
        assert_in_range(n, 2, 4);
        w.rt->ops->go(job.run);
        world_wait(&w, &job.ended, 60);
        assert_false(is_child(slot, pids[n - 2]));
        assert_false(is_child(slot, pids[n - 1]));
        assert_int_equal(job.exit_code, 0);
        job_done(&job);
        job_run(&w, &next, "python", "import os\nresult = os.listdir('/workspace') + os.listdir('/tmp')");
        assert_string_equal(next.result, "[]");
        job_done(&next);
    }
    world_close(&w);
}

static int tests(void)
{
    const struct CMUnitTest list[] = {
        cmocka_unit_test(test_slots_come_with_the_tasks_and_go_after_them),
        cmocka_unit_test(test_busy_slots_stay),
        cmocka_unit_test(test_a_seat_that_died_costs_nothing),
        cmocka_unit_test(test_a_seat_that_dies_just_then),
        cmocka_unit_test(test_other_sizes_than_the_seat_was_made_for),
        cmocka_unit_test(test_what_was_much_is_gone_before_the_next),
    };
    return cmocka_run_group_tests(list, NULL, NULL);
}

int main(int argc UNUSED, char **argv)
{
    return run_as_both(argv, tests);
}
