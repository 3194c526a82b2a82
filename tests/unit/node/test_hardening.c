/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's own filter, each time in a process that is thrown away. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "node/hardening.h"

/* Says what is wrong on standard error; 0 if nothing is. */
static int in_child(int (*check)(void))
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct tw_error error = {0};
        if (hardening_enter(&error) < 0) {
            fprintf(stderr, "%s\n", error.message);
            _exit(2);
        }
        _exit(check());
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int complain(const char *what, long result)
{
    fprintf(stderr, "%s: %ld, %s\n", what, result, strerror(errno));
    return 1;
}

static int refused_calls(void)
{
    static const struct {
        const char *name;
        long number;
    } calls[] = {
        {"mount", SYS_mount},
        {"umount2", SYS_umount2},
        {"bpf", SYS_bpf},
        {"setns", SYS_setns},
        {"unshare", SYS_unshare},
        {"keyctl", SYS_keyctl},
        {"add_key", SYS_add_key},
        {"userfaultfd", SYS_userfaultfd},
        {"process_vm_readv", SYS_process_vm_readv},
        {"process_vm_writev", SYS_process_vm_writev},
        {"perf_event_open", SYS_perf_event_open},
        {"open_by_handle_at", SYS_open_by_handle_at},
        {"init_module", SYS_init_module},
        {"finit_module", SYS_finit_module},
        {"kexec_load", SYS_kexec_load},
        {"io_uring_setup", SYS_io_uring_setup},
        {"pivot_root", SYS_pivot_root},
        {"chroot", SYS_chroot},
        {"setuid", SYS_setuid},
        {"setresuid", SYS_setresuid},
        {"capset", SYS_capset},
        {"kcmp", SYS_kcmp},
        {"pidfd_getfd", SYS_pidfd_getfd},
        {"clock_settime", SYS_clock_settime},
        {"sethostname", SYS_sethostname},
        {"personality", SYS_personality},
        {"mknodat", SYS_mknodat},
        {"reboot", SYS_reboot},
#ifndef HIVEMIND_SANITIZED
        {"ptrace", SYS_ptrace},
        {"execve", SYS_execve},
        {"execveat", SYS_execveat},
#endif
    };
    int wrong = 0;
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        errno = 0;
        long r = syscall(calls[i].number, -1L, 0L, 0L, 0L, 0L, 0L);
        if (r != -1 || errno != EPERM)
            wrong += complain(calls[i].name, r);
    }
    static const int families[] = {AF_PACKET, AF_ALG, AF_VSOCK, AF_BLUETOOTH, AF_XDP, AF_MAX, 1000};
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        int fd = socket(families[i], SOCK_STREAM, 0);
        if (fd != -1 || errno != EAFNOSUPPORT)
            wrong += complain("socket", families[i]);
    }
    return wrong ? 1 : 0;
}

static void *of_thread(void *done)
{
    *(bool *)done = true;
    return NULL;
}

static int needed_calls(void)
{
    pthread_t thread;
    bool done = false;
    int pair[2];
    static const int families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};
    if (pthread_create(&thread, NULL, of_thread, &done) != 0 || pthread_join(thread, NULL) != 0 || !done)
        return complain("a thread", 0);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return complain("socketpair", 0);
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        int fd = socket(families[i], families[i] == AF_NETLINK ? SOCK_RAW : SOCK_STREAM, 0);
        if (fd < 0 && errno != EAFNOSUPPORT && errno != EPERM)
            return complain("socket", families[i]);
        if (fd < 0 && families[i] == AF_UNIX)
            return complain("a unix socket", 0);
    }
    if (kill(getpid(), 0) < 0 || open("/dev/null", O_RDONLY | O_CLOEXEC) < 0)
        return complain("kill or open", 0);
    return 0;
}

#ifndef HIVEMIND_SANITIZED
static int no_processes(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    return pid == -1 && errno == EPERM ? 0 : complain("fork", pid);
}
#endif

static int nothing_left(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3] = {0};
    if (syscall(SYS_capget, &header, caps) < 0)
        return complain("capget", -1);
    for (size_t i = 0; i < ARRAY_LEN(caps); i++) {
        if (caps[i].permitted || caps[i].effective || caps[i].inheritable)
            return complain("a capability is left", (long)i);
    }
    return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : complain("no_new_privs", 0);
}

static void what_it_refuses(void **state UNUSED)
{
    assert_int_equal(in_child(refused_calls), 0);
}

static void what_it_lets_pass(void **state UNUSED)
{
    assert_int_equal(in_child(needed_calls), 0);
}

static void what_is_given_up(void **state UNUSED)
{
    assert_int_equal(in_child(nothing_left), 0);
}

static void no_process_is_made(void **state UNUSED)
{
#ifdef HIVEMIND_SANITIZED
    print_message("built with a sanitizer, which needs them\n");
#else
    assert_int_equal(in_child(no_processes), 0);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_refuses),
        cmocka_unit_test(what_it_lets_pass),
        cmocka_unit_test(what_is_given_up),
        cmocka_unit_test(no_process_is_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
