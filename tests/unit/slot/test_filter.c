/* SPDX-License-Identifier: Apache-2.0 */
/* Programs for seccomp, run by an interpreter of our own: the builder's trees, then what the tasks' filter decides. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/audit.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "slot/filter_program.h"
#include "slot/slot.h"

#if defined(__x86_64__)
enum { NATIVE = (int)AUDIT_ARCH_X86_64, OTHER = (int)AUDIT_ARCH_I386 };
#else
enum { NATIVE = (int)AUDIT_ARCH_AARCH64, OTHER = (int)AUDIT_ARCH_ARM };
#endif

int slot_error_set(struct slot_error *error, enum slot_stage stage, const char *fmt, ...)
{
    (void)error;
    (void)stage;
    (void)fmt;
    return -1;
}

/* As the kernel would, on what these programs consist of. */
static uint32_t run(const struct sock_fprog *program, const struct seccomp_data *data)
{
    uint32_t a = 0;
    for (size_t pc = 0; pc < program->len; pc++) {
        const struct sock_filter *c = &program->filter[pc];
        bool yes = false;
        switch (c->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            assert_true(c->k + sizeof a <= sizeof *data);
            memcpy(&a, (const char *)data + c->k, sizeof a);
            continue;
        case BPF_RET | BPF_K:
            return c->k;
        case BPF_JMP | BPF_JEQ | BPF_K:
            yes = a == c->k;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            yes = a >= c->k;
            break;
        case BPF_JMP | BPF_JSET | BPF_K:
            yes = a & c->k;
            break;
        default:
            fail_msg("instruction %zu: %#x", pc, c->code);
        }
        pc += yes ? c->jt : c->jf;
    }
    fail_msg("ran over its end");
    return 0;
}

/* --- the builder --- */

static int build_table(const uint8_t *label_of, uint32_t n, uint8_t labels, struct sock_fprog *ret)
{
    static struct filter_program p;
    memset(&p, 0, sizeof p);
    filter_load(&p, offsetof(struct seccomp_data, nr));
    filter_dispatch(&p, label_of, n, 1);
    for (uint8_t label = 1; label <= labels; label++) {
        filter_label(&p, label);
        filter_return(&p, 100 + label);
    }
    return filter_finish(&p, ret);
}

static void trees_find_every_number(void **state)
{
    (void)state;
    enum { N = 400 };
    uint32_t random = 1;
    for (uint32_t round = 0; round < 300; round++) {
        uint8_t label_of[N];
        uint32_t labels = 1 + round % 7, label = 1, n = 1 + round * 7 % N;
        for (uint32_t k = 0; k < n; k++) {
            random = random * 1664525 + 1013904223;
            if ((random >> 16) % 8 == 0)
                label = 1 + (random >> 20) % labels;
            label_of[k] = (uint8_t)label;
        }
        struct sock_fprog program;
        assert_int_equal(build_table(label_of, n, (uint8_t)labels, &program), 0);
        for (uint32_t k = 0; k < n + 3; k++) {
            struct seccomp_data data = {.nr = (int)k};
            assert_int_equal(run(&program, &data), 100 + (k < n ? label_of[k] : 1));
        }
        struct seccomp_data last = {.nr = -1};
        assert_int_equal(run(&program, &last), 101);
        free(program.filter);
    }
}

static void what_cannot_be_is_an_error(void **state)
{
    (void)state;
    static uint8_t label_of[1025];
    static struct filter_program p;
    struct sock_fprog program;
    for (size_t k = 0; k < sizeof label_of; k++)
        label_of[k] = 1 + k % 2;
    assert_int_equal(build_table(label_of, 200, 2, &program), 0);
    free(program.filter);
    assert_int_equal(build_table(label_of, 400, 2, &program), -E2BIG);  /* a jump too far */
    assert_int_equal(build_table(label_of, 1024, 2, &program), -E2BIG); /* too many labels */
    assert_int_equal(build_table(label_of, 1025, 2, &program), -E2BIG);
    assert_int_equal(build_table(label_of, 0, 2, &program), -E2BIG);
    assert_int_equal(build_table(label_of, 10, 1, &program), -EINVAL); /* label 2 is nowhere */
    assert_int_equal(filter_finish(&p, &program), -E2BIG);             /* nothing at all */
}

/* --- the tasks' filter --- */

enum { ALLOW = -1, KILL = -2, WATCHED = -3 };

static int verdict_of(uint32_t action)
{
    switch (action & SECCOMP_RET_ACTION_FULL) {
    case SECCOMP_RET_ALLOW:
        return ALLOW;
    case SECCOMP_RET_KILL_PROCESS:
        return KILL;
    case SECCOMP_RET_USER_NOTIF:
        return WATCHED;
    case SECCOMP_RET_ERRNO:
        return (int)(action & SECCOMP_RET_DATA);
    default:
        fail_msg("action %#x", action);
        return 0;
    }
}

struct filters {
    struct sock_fprog watched, silent;
};

static int build(void **state)
{
    static struct filters f;
    struct slot_error error;
    *state = &f;
    return slot_filter_build(true, &f.watched, &error) == 0 && slot_filter_build(false, &f.silent, &error) == 0 ? 0
                                                                                                                : -1;
}

static int drop(void **state)
{
    struct filters *f = *state;
    free(f->watched.filter);
    free(f->silent.filter);
    return 0;
}

/* `silent`: what fails by itself; watched, it is handed on, and the listener's answer is the same. */
static void expect(const struct filters *f, struct seccomp_data data, int silent)
{
    int got = verdict_of(run(&f->silent, &data)), watched = verdict_of(run(&f->watched, &data));
    if (got != silent)
        fail_msg(
            "call %d (%llx, %llx, %llx): %d, not %d", data.nr, data.args[0], data.args[1], data.args[2], got, silent);
    if (silent == ALLOW || silent == KILL || data.nr == SYS_clone3) {
        assert_int_equal(watched, silent);
    } else {
        assert_int_equal(watched, WATCHED);
        assert_int_equal(slot_filter_errno(data.nr), silent);
    }
}

static void calls_are_told_apart(void **state)
{
    static const int allowed[] = {SYS_read, SYS_execve, SYS_ioctl, SYS_wait4, SYS_futex, SYS_seccomp, SYS_openat2};
    static const int refused[] = {SYS_mount, SYS_bpf, SYS_ptrace, SYS_setns, SYS_unshare, SYS_io_uring_setup,
        SYS_keyctl, SYS_userfaultfd, SYS_perf_event_open, SYS_process_madvise, SYS_init_module, SYS_clock_settime};
    static const int missing[] = {SYS_clone3, SYS_mbind, SYS_lookup_dcookie, 470, 511, 512, 1000, -1};
    for (size_t i = 0; i < ARRAY_LEN(allowed); i++)
        expect(*state, (struct seccomp_data){.nr = allowed[i], .arch = (uint32_t)NATIVE}, ALLOW);
    for (size_t i = 0; i < ARRAY_LEN(refused); i++)
        expect(*state, (struct seccomp_data){.nr = refused[i], .arch = (uint32_t)NATIVE}, EPERM);
    for (size_t i = 0; i < ARRAY_LEN(missing); i++)
        expect(*state, (struct seccomp_data){.nr = missing[i], .arch = (uint32_t)NATIVE}, ENOSYS);
}

static void other_numbers_kill(void **state)
{
    expect(*state, (struct seccomp_data){.nr = SYS_read, .arch = (uint32_t)OTHER}, KILL);
#if defined(__x86_64__)
    expect(*state, (struct seccomp_data){.nr = SYS_read | 0x40000000, .arch = (uint32_t)NATIVE}, KILL);
    expect(*state, (struct seccomp_data){.nr = 0x40000000 + 520, .arch = (uint32_t)NATIVE}, KILL);
    expect(*state, (struct seccomp_data){.nr = -2, .arch = (uint32_t)NATIVE}, KILL);
#endif
}

static void arguments_decide(void **state)
{
    const uint64_t high = UINT64_C(1) << 32, all = UINT64_MAX;
    const struct {
        int nr;
        uint64_t args[3];
        int silent;
    } cases[] = {
        {SYS_clone, {SIGCHLD}, ALLOW},
        {SYS_clone, {CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SETTLS}, ALLOW},
        {SYS_clone, {CLONE_NEWUSER | SIGCHLD}, EPERM},
        {SYS_clone, {CLONE_NEWNS | CLONE_VM}, EPERM},
        {SYS_clone, {CLONE_PARENT}, EPERM},
        {SYS_clone, {high | CLONE_NEWNET}, EPERM},
        {SYS_clone, {all}, EPERM},
        {SYS_socket, {AF_UNIX}, ALLOW},
        {SYS_socket, {AF_INET}, ALLOW},
        {SYS_socket, {AF_INET6}, ALLOW},
        {SYS_socket, {0}, EAFNOSUPPORT},
        {SYS_socket, {AF_NETLINK}, EAFNOSUPPORT},
        {SYS_socket, {AF_PACKET}, EAFNOSUPPORT},
        {SYS_socket, {AF_ALG}, EAFNOSUPPORT},
        {SYS_socket, {AF_VSOCK}, EAFNOSUPPORT},
        {SYS_socket, {high | AF_NETLINK}, EAFNOSUPPORT},
        {SYS_socket, {all}, EAFNOSUPPORT},
        {SYS_socketpair, {AF_UNIX}, ALLOW},
        {SYS_socketpair, {AF_INET}, EAFNOSUPPORT},
        {SYS_socketpair, {AF_TIPC}, EAFNOSUPPORT},
        {SYS_personality, {0}, ALLOW},
        {SYS_personality, {UINT32_MAX}, ALLOW},
        {SYS_personality, {0x0040000}, ENOSYS}, /* no random addresses */
        {SYS_setrlimit, {RLIMIT_NOFILE}, ALLOW},
        {SYS_setrlimit, {RLIMIT_CORE}, EPERM},
        {SYS_setrlimit, {high | RLIMIT_CORE}, EPERM},
        {SYS_prlimit64, {0, RLIMIT_NOFILE, 1}, ALLOW},
        {SYS_prlimit64, {0, RLIMIT_CORE, 0}, ALLOW},
        {SYS_prlimit64, {0, RLIMIT_CORE, 4096}, EPERM},
        {SYS_prlimit64, {0, RLIMIT_CORE, high}, EPERM},
        {SYS_prlimit64, {0, high | RLIMIT_CORE, 4096}, EPERM},
        {SYS_prlimit64, {1, RLIMIT_NOFILE, 0}, EPERM},
        {SYS_prlimit64, {high | 1, RLIMIT_NOFILE, 0}, EPERM},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct seccomp_data data = {.nr = cases[i].nr, .arch = (uint32_t)NATIVE};
        memcpy(data.args, cases[i].args, sizeof cases[i].args);
        const struct filters *f = *state;
        int got = verdict_of(run(&f->silent, &data));
        if (got != cases[i].silent)
            fail_msg("case %zu: %d, not %d", i, got, cases[i].silent);
        expect(f, data, cases[i].silent);
    }
}

/* A task pays for each instruction: all are converted and compiled when it is loaded. */
static void the_programs_are_short(void **state)
{
    const struct filters *f = *state;
    assert_true(f->watched.len < 150);
    assert_true(f->silent.len < 170);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trees_find_every_number),
        cmocka_unit_test(what_cannot_be_is_an_error),
        cmocka_unit_test_setup_teardown(calls_are_told_apart, build, drop),
        cmocka_unit_test_setup_teardown(other_numbers_kill, build, drop),
        cmocka_unit_test_setup_teardown(arguments_decide, build, drop),
        cmocka_unit_test_setup_teardown(the_programs_are_short, build, drop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
