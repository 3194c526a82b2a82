/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The task's process, from the fork to the exec of the interpreter: everything is taken away here, step by step, then it
 * reports READY and waits for GO. Whatever fails is reported with its step. Only code of ours runs up to the exec; a warm
 * interpreter would take over where task_exec() begins.
 */
#include "slot/slot.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "bootstrap.inc"
#include "slot/caps.h"
#include "slot/channel.h"
#include "slot/warm.h"

/* Where the task finds its fds beside 0, 1 and 2; bootstrap.py knows them too. */
enum { TASK_FD_SOURCE = 3, TASK_FD_RESULT = 4, TASK_FD_REPORT = 5, TASK_FD_FREE = 6 };

static int write_at(int folder, const char *path, const char *text)
{
    CLEANUP_FD int fd = openat(folder, path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    return write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
}

/* With one id only: a user namespace of the task's own, in which that id has the usual number. */
static int enter_own_user_namespace(int proc, struct slot_error *error)
{
    char map[32];
    snprintf(map, sizeof map, "%d 0 1\n", SLOT_TASK_UID);
    if (unshare(CLONE_NEWUSER) < 0)
        return slot_error_set(error, STAGE_IDS, "a user namespace");
    if (write_at(proc, "self/uid_map", map) < 0 || write_at(proc, "self/gid_map", map) < 0)
        return slot_error_set(error, STAGE_IDS, "writing the id maps");
    return 0;
}

static int drop_privileges(const struct slot *slot, int proc, struct slot_error *error)
{
    const unsigned long bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
        SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED | SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_SETUID_FIXUP_LOCKED;
    if (slot->one_id && enter_own_user_namespace(proc, error) < 0)
        return -1;
    if (caps_bound(0) < 0 || prctl(PR_SET_SECUREBITS, bits, 0, 0, 0) < 0)
        return slot_error_set(error, STAGE_PRIVILEGES, "the bounding set");
    if (!slot->one_id &&
        (setgroups(0, NULL) < 0 || setresgid(SLOT_TASK_UID, SLOT_TASK_UID, SLOT_TASK_UID) < 0 ||
            setresuid(SLOT_TASK_UID, SLOT_TASK_UID, SLOT_TASK_UID) < 0))
        return slot_error_set(error, STAGE_IDS, "user %d", SLOT_TASK_UID);
    int r = caps_set(0);
    errno = -r;
    if (r < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return slot_error_set(error, STAGE_PRIVILEGES, "capabilities");
    return 0;
}

static int set_limit(int resource, uint64_t value, const char *name, struct slot_error *error)
{
    struct rlimit old, limit = {.rlim_cur = value, .rlim_max = value};
    if (getrlimit(resource, &old) < 0)
        return slot_error_set(error, STAGE_LIMITS, "%s", name);
    /* A lower limit that is there already stays. */
    limit.rlim_max = MIN(limit.rlim_max, old.rlim_max);
    limit.rlim_cur = MIN(limit.rlim_cur, limit.rlim_max);
    if (setrlimit(resource, &limit) < 0)
        return slot_error_set(error, STAGE_LIMITS, "%s", name);
    return 0;
}

static int set_limits(const struct plan_limits *limits, struct slot_error *error)
{
    const struct {
        int resource;
        uint64_t value;
        const char *name;
    } list[] = {
        {RLIMIT_CORE, 0, "core files"},
        {RLIMIT_NOFILE, limits->open_files, "open files"},
        {RLIMIT_FSIZE, limits->file_bytes, "file size"},
        {RLIMIT_NPROC, limits->processes, "processes"},
        {RLIMIT_AS, limits->address_space ? limits->address_space : RLIM_INFINITY, "address space"},
        {RLIMIT_STACK, 8 * 1024 * 1024, "stack"},
        {RLIMIT_MEMLOCK, 64 * 1024, "locked memory"},
        {RLIMIT_MSGQUEUE, 0, "message queues"},
        {RLIMIT_RTPRIO, 0, "real-time priority"},
        {RLIMIT_NICE, 0, "nice"},
    };
    for (size_t i = 0; i < ARRAY_LEN(list); i++) {
        if (set_limit(list[i].resource, list[i].value, list[i].name, error) < 0)
            return -1;
    }
    return 0;
}

/* 0 to 4 as the task expects them, the report at 5, nothing else. */
static int arrange_fds(const struct slot_start *start, int *report, struct slot_error *error)
{
    int from[TASK_FD_FREE] = {
        [0] = open("/dev/null", O_RDONLY | O_CLOEXEC),
        [1] = start->fd[SLOT_FD_STDOUT],
        [2] = start->fd[SLOT_FD_STDERR],
        [TASK_FD_SOURCE] = start->fd[SLOT_FD_SOURCE],
        [TASK_FD_RESULT] = start->fd[SLOT_FD_RESULT],
        [TASK_FD_REPORT] = *report,
    };
    /* First out of the way of each other. */
    for (int i = 0; i < TASK_FD_FREE; i++) {
        from[i] = fcntl(from[i], F_DUPFD_CLOEXEC, 32);
        if (from[i] < 0)
            return slot_error_set(error, STAGE_FDS, "%s", "");
    }
    for (int i = 0; i < TASK_FD_FREE; i++) {
        bool keep = i != TASK_FD_REPORT && (i != TASK_FD_RESULT || start->plan.kind == PLAN_PYTHON);
        if (dup3(from[i], i, keep ? 0 : O_CLOEXEC) < 0)
            return slot_error_set(error, STAGE_FDS, "%s", "");
    }
    *report = TASK_FD_REPORT;
    if (syscall(SYS_close_range, TASK_FD_FREE, ~0u, 0) < 0)
        return slot_error_set(error, STAGE_FDS, "closing the others");
    return 0;
}

void slot_reset_signals(void)
{
    for (int sig = 1; sig < NSIG; sig++)
        (void)signal(sig, SIG_DFL); /* fails for SIGKILL, SIGSTOP and those of the C library */
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The base, then the task's own over it; TASK_ID cannot be had otherwise. NULL: no memory. */
static char **make_environment(const struct plan *plan)
{
    const struct plan_env base[] = {
        {"PATH", "/usr/local/bin:/usr/bin:/bin"}, {"HOME", "/workspace"}, {"LANG", "C.UTF-8"}, {"TMPDIR", "/tmp"}};
    const struct plan_env last[] = {{"TASK_ID", plan->task_id}};
    const struct {
        const struct plan_env *vars;
        size_t n;
    } sets[] = {{base, ARRAY_LEN(base)}, {plan->env, plan->n_env}, {last, ARRAY_LEN(last)}};
    size_t n = 0;
    char **env = calloc(ARRAY_LEN(base) + plan->n_env + ARRAY_LEN(last) + 1, sizeof *env);
    for (size_t s = 0; env && s < ARRAY_LEN(sets); s++) {
        for (size_t i = 0; i < sets[s].n; i++) {
            const struct plan_env *v = &sets[s].vars[i];
            size_t at = 0, len = strlen(v->name);
            while (at < n && (strncmp(env[at], v->name, len) != 0 || env[at][len] != '='))
                at++;
            if (asprintf(&env[at], "%s=%s", v->name, v->value) < 0)
                return NULL; /* what was made goes with the process */
            n = MAX(n, at + 1);
        }
    }
    return env;
}

static char **make_arguments(const struct slot *slot, const struct plan *plan)
{
    const char *python[] = {slot->python, "-I", "-c", bootstrap_py}, *shell[] = {"/bin/sh", "/dev/fd/3"};
    const char **head = plan->kind == PLAN_PYTHON ? python : shell;
    size_t n = plan->kind == PLAN_PYTHON ? ARRAY_LEN(python) : ARRAY_LEN(shell);
    char **argv = calloc(n + plan->n_args + 1, sizeof *argv);
    if (argv) {
        memcpy(argv, head, n * sizeof *argv);
        memcpy(argv + n, plan->args, plan->n_args * sizeof *argv);
    }
    return argv;
}

static int load_filter(const struct slot *slot, struct slot_error *error)
{
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &slot->filter) < 0)
        return slot_error_set(error, STAGE_SECCOMP, "%s", "");
    return 0;
}

static int confine(
    const struct slot *slot, const struct slot_start *start, int *report, int proc, struct slot_error *error)
{
    if (setsid() < 0)
        return slot_error_set(error, STAGE_FORK, "a session");
    if (drop_privileges(slot, proc, error) < 0 || arrange_fds(start, report, error) < 0 ||
        set_limits(&start->plan.limits, error) < 0)
        return -1;
    umask(022);
    if (chdir("/workspace") < 0)
        return slot_error_set(error, STAGE_FOLDERS, "entering /workspace");
    slot_reset_signals();
    return 0;
}

static _Noreturn void fail(int report, const struct slot_error *error)
{
    struct init_report r = {.type = INIT_FAILED, .error = *error};
    (void)channel_send(report, &r, sizeof r, NULL, 0);
    _exit(127);
}

static _Noreturn void task_exec(char **argv, char **env, int report)
{
    struct slot_error error = {0};
    execve(argv[0], argv, env);
    slot_error_set(&error, STAGE_EXEC, "%s", argv[0]);
    fail(report, &error);
}

_Noreturn void slot_task_run(const struct slot *slot, const struct slot_start *start, int report, int proc)
{
    struct slot_error error = {0};
    char **env = make_environment(&start->plan), **argv = make_arguments(slot, &start->plan);
    if (!env || !argv) {
        errno = ENOMEM;
        slot_error_set(&error, STAGE_PLAN, "%s", "");
        fail(report, &error);
    }
    bool warm = slot->warm && start->plan.kind == PLAN_PYTHON;
    if (confine(slot, start, &report, proc, &error) < 0 || load_filter(slot, &error) < 0 ||
        (warm && warm_become(&start->plan, env, &error) < 0))
        fail(report, &error);

    struct init_report ready = {.type = INIT_READY};
    char go;
    if (channel_send(report, &ready, sizeof ready, NULL, 0) < 0 || recv(report, &go, 1, 0) != 1)
        _exit(127); /* the slot is gone, and pid 1 with it */
    if (warm) {
        close(report);
        warm_run();
    }
    task_exec(argv, env, report);
}
