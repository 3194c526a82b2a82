/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kill -9 at each step, and at any moment; and each step failing. What was acknowledged is there in the next life, and the chain is
 * whole, before and after the log is opened again.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "audit_fixture.h"
#include "steps.h"

enum { SCRIPT_RECORDS = 24 };

/* True: it was killed; false: it came to its end. */
static bool was_killed(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
        fail_msg("the child failed: %d", WEXITSTATUS(status));
    return WIFSIGNALED(status);
}

/* Says in the pipe which record is on disk. */
struct ack {
    int fd;
    uint32_t number;
};

static void on_done(void *ctx, int result)
{
    struct ack *ack = ctx;
    const struct iovec number = {.iov_base = &ack->number, .iov_len = sizeof ack->number};
    if (result == 0 && writev(ack->fd, &number, 1) != sizeof ack->number) /* that is no step */
        _exit(3);
}

static int write_durable(struct fixture *f, struct ack *ack)
{
    char object[16];
    snprintf(object, sizeof object, "%u", ack->number);
    const struct audit_record record = {.user = "ann", .action = "token.add", .object = object};
    return audit_write(f->audit, &record, AUDIT_DURABLE, on_done, ack);
}

/* One by one, with small files, so that each kind of step comes at a place of its own. */
static void run_script(struct fixture *f, int out, int step, enum steps_end end)
{
    struct ack acks[SCRIPT_RECORDS];
    if (step >= 0)
        steps_arm(step, end, EIO);
    if (audit_open(&f->options, &f->audit, &f->error) < 0)
        _exit(end == STEPS_FAIL ? 0 : 1);
    for (uint32_t i = 0; i < SCRIPT_RECORDS; i++) {
        acks[i] = (struct ack){.fd = out, .number = i};
        if (write_durable(f, &acks[i]) < 0 || (audit_flush(f->audit) < 0 && end != STEPS_FAIL))
            _exit(2);
    }
    audit_close(f->audit);
    _exit(end == STEPS_FAIL && steps_disarm() <= step ? 9 : 0);
}

struct seen {
    uint8_t there[SCRIPT_RECORDS];
};

static bool see(void *ctx, const struct audit_entry *entry)
{
    struct seen *seen = ctx;
    unsigned number = (unsigned)strtoul(entry->object, NULL, 10);
    assert_true(number < SCRIPT_RECORDS);
    seen->there[number] = 1;
    return true;
}

static void check_acks(struct fixture *f, const uint32_t *acks, size_t n, int step)
{
    struct seen seen = {{0}};
    const struct audit_filter filter = {.action_prefix = "token.add"};
    assert_int_equal(audit_query(f->path, &filter, see, &seen, NULL, &f->error), 0);
    /* The files that are kept hold the newest ones. */
    for (size_t i = 0; i < n; i++) {
        if (acks[i] + 6 >= acks[n - 1] && !seen.there[acks[i]])
            fail_msg("step %d: record %u was acknowledged and is not there", step, acks[i]);
    }
}

/* The last exit code of a child that came to its end means that there are no more steps. */
static bool one_life(struct fixture *f, int step, enum steps_end end)
{
    int fds[2], status;
    uint32_t acks[SCRIPT_RECORDS];
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(fds[0]);
        run_script(f, fds[1], step, end);
    }
    close(fds[1]);
    ssize_t n = fd_read_all(fds[0], acks, sizeof acks);
    close(fds[0]);
    assert_true(n >= 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 9)
        fail_msg("step %d: the child failed: %d", step, WEXITSTATUS(status));
    fixture_assert_sound(f);
    check_acks(f, acks, (size_t)n / sizeof *acks, step);
    return end == STEPS_FAIL ? WIFEXITED(status) && WEXITSTATUS(status) != 9 : WIFSIGNALED(status);
}

static void at_every_step(struct fixture *f, enum steps_end end)
{
    f->options.max_file_bytes = 1500;
    f->options.keep_files = 4;
    int step = 0;
    for (bool more = true; more; step++) {
        more = one_life(f, step, end);
        if (f->report.head_seq > 0 || f->report.records > 0) {
            fixture_open(f);
            fixture_close(f);
            fixture_assert_sound(f);
        }
        if (step % 2 == 0) /* every other time it begins with nothing */
            (void)tree_remove(f->path);
    }
    assert_true(step > 100);
    print_message("%d steps\n", step - 1);
}

static void test_kill_at_every_step(void **state)
{
    at_every_step(*state, STEPS_KILL);
}

static void test_kill_within_a_step(void **state)
{
    at_every_step(*state, STEPS_KILL_HALF);
}

static void test_every_step_fails(void **state)
{
    at_every_step(*state, STEPS_FAIL);
}

/* --- at any moment --- */

enum { ROUNDS = 15 };

static void keep_writing(struct fixture *f, int out)
{
    static struct ack acks[1000000];
    if (audit_open(&f->options, &f->audit, &f->error) < 0)
        _exit(5);
    for (uint32_t i = 0; i < ARRAY_LEN(acks); i++) {
        acks[i] = (struct ack){.fd = out, .number = i};
        while ((i % 8 ? fixture_write(f, "ann", "task.submit", "x") : write_durable(f, &acks[i])) < 0)
            (void)audit_flush(f->audit);
    }
    _exit(6);
}

static void test_kill_at_any_moment(void **state)
{
    struct fixture *f = *state;
    uint64_t records = 0;
    f->options.max_file_bytes = 20000;
    for (int round = 0; round < ROUNDS; round++) {
        int fds[2];
        uint16_t random = 0;
        uint32_t number, acked = 0;
        assert_int_equal(pipe(fds), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            close(fds[0]);
            keep_writing(f, fds[1]);
        }
        close(fds[1]);
        (void)!getrandom(&random, sizeof random, 0);
        for (unsigned i = 0; fd_read_all(fds[0], &number, sizeof number) == sizeof number; i++) {
            acked = number;
            if (i == random % 200u)
                assert_int_equal(kill(child, SIGKILL), 0);
        }
        close(fds[0]);
        assert_true(was_killed(child));
        fixture_assert_sound(f);
        assert_true(f->report.last_seq >= records + acked);
        records = f->report.last_seq;
        char object[16];
        snprintf(object, sizeof object, "%u", acked);
        assert_true(fixture_count(f, &(struct audit_filter){.object = object}) >= 1);
        fixture_open(f);
        fixture_close(f);
        fixture_assert_sound(f);
    }
    print_message("%u records over %d crashes\n", (unsigned)records, ROUNDS);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(test_kill_at_every_step),
        T(test_kill_within_a_step),
        T(test_every_step_fails),
        T(test_kill_at_any_moment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
