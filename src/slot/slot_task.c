/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process that becomes a task, from its fork. First what needs no task to be known: the seat's folders are mounted, all
 * privileges given up, Landlock and the filter put on. It says so, and waits for a START. Then the plan is read, by a process
 * that has nothing left to lose; descriptors and limits are set, READY is reported, GO awaited, and the interpreter started,
 * or gone on with. Whatever fails is reported with its step. Only code of ours runs up to there.
 */
#include "slot/slot.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <taskworker/task.h>

#include "base/fd.h"
#include "bootstrap.inc"
#include "slot/caps.h"
#include "slot/channel.h"
#include "slot/warm.h"

/* Where the task finds its fds beside 0, 1 and 2; bootstrap.py knows them too. */
enum { TASK_FD_SOURCE = 3, TASK_FD_RESULT = 4, TASK_FD_SOCKET = 5, TASK_FD_FREE = 6 };

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
    /* A new user namespace brings a full set of what can be had; else the slot has given it up already. */
    if ((slot->one_id && caps_bound(0) < 0) || prctl(PR_SET_SECUREBITS, bits, 0, 0, 0) < 0)
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
    struct rlimit limit = {.rlim_cur = value, .rlim_max = value};
    if (setrlimit(resource, &limit) == 0)
        return 0;
    /* A lower limit that is there already stays. */
    if (errno != EPERM || getrlimit(resource, &limit) < 0)
        return slot_error_set(error, STAGE_LIMITS, "%s", name);
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(resource, &limit) == 0 ? 0 : slot_error_set(error, STAGE_LIMITS, "%s", name);
}

static int set_limits(const struct plan_limits *limits, struct slot_error *error)
{
    const struct {
        int resource;
        uint64_t value;
        const char *name;
    } list[] = {
        {RLIMIT_NOFILE, limits->open_files, "open files"},
        {RLIMIT_FSIZE, limits->file_bytes, "file size"},
        {RLIMIT_NPROC, limits->processes, "processes"},
        {RLIMIT_CPU, limits->cpu_seconds ? limits->cpu_seconds : RLIM_INFINITY, "processor time"},
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

/*
 * The socket at its place, /dev/null below it, nothing above: so what comes with START cannot be in the way of where it has
 * to go.
 */
static int arrange_own_fds(int socket, struct slot_error *error)
{
    CLEANUP_FD int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CLEANUP_FD int out = open("/dev/null", O_WRONLY | O_CLOEXEC);
    /* All three out of the way of each other first. */
    int from[] = {fcntl(in, F_DUPFD_CLOEXEC, 32), fcntl(out, F_DUPFD_CLOEXEC, 32), fcntl(socket, F_DUPFD_CLOEXEC, 32)};
    for (int i = 0; i < TASK_FD_FREE; i++) {
        int source = from[i == 0 ? 0 : i < TASK_FD_SOCKET ? 1 : 2];
        if (source < 0 || dup3(source, i, i < TASK_FD_SOCKET ? 0 : O_CLOEXEC) < 0)
            return slot_error_set(error, STAGE_FDS, "%s", "");
    }
    in = out = -1; /* overwritten or closed by now */
    if (syscall(SYS_close_range, TASK_FD_FREE, ~0u, 0) < 0)
        return slot_error_set(error, STAGE_FDS, "closing the others");
    return 0;
}

/* 1 to 4 as the task expects them, nothing else. */
static int arrange_task_fds(const struct channel_fds *fds, const struct plan *plan, struct slot_error *error)
{
    const int from[] = {
        -1, fds->fd[SLOT_FD_STDOUT], fds->fd[SLOT_FD_STDERR], fds->fd[SLOT_FD_SOURCE], fds->fd[SLOT_FD_RESULT]};
    for (int i = 1; i < TASK_FD_SOCKET; i++) {
        bool keep = i != TASK_FD_RESULT || plan->kind != PLAN_SHELL;
        if (dup3(from[i], i, keep ? 0 : O_CLOEXEC) < 0)
            return slot_error_set(error, STAGE_FDS, "%s", "");
    }
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
static char **make_environment(const struct plan *plan, const struct slot_package *package)
{
    const struct plan_env base[] = {
        {"PATH", "/usr/local/bin:/usr/bin:/bin"}, {"HOME", "/workspace"}, {"LANG", "C.UTF-8"}, {"TMPDIR", "/tmp"}};
    const struct plan_env last[] = {{"TASK_ID", plan->task_id}};
    const struct plan_env for_package[] = {
        {"PYTHONUNBUFFERED", "1"}, {"PYTHONPATH", package ? package->python_path : ""}};
    const struct {
        const struct plan_env *vars;
        size_t n;
    } sets[] = {{base, ARRAY_LEN(base)}, {for_package, package ? ARRAY_LEN(for_package) : 0}, {plan->env, plan->n_env},
        {last, ARRAY_LEN(last)}};
    size_t n = 0;
    char **env = calloc(ARRAY_LEN(base) + ARRAY_LEN(for_package) + plan->n_env + ARRAY_LEN(last) + 1, sizeof *env);
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

static char **make_arguments(const struct slot *slot, const struct plan *plan, const struct slot_package *package)
{
    bool is_shell = package ? package->is_shell : plan->kind == PLAN_SHELL;
    const char *python[] = {slot->profile.python, "-I", "-c", bootstrap_py},
               *shell[] = {"/bin/sh", package ? package->file : "/dev/fd/3"};
    const char **head = is_shell ? shell : python;
    size_t n = is_shell ? ARRAY_LEN(shell) : ARRAY_LEN(python);
    char **argv = calloc(n + plan->n_args + 1, sizeof *argv);
    if (argv) {
        memcpy(argv, head, n * sizeof *argv);
        for (size_t i = 0; i < plan->n_args; i++)
            argv[n + i] = (char *)plan->args[i];
    }
    return argv;
}

/* --- the START --- */

/* A file that cannot change any more, or what is read twice could be two things. */
static int check_sealed(int fd, off_t max, struct stat *ret, struct slot_error *error)
{
    const int need = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || fstat(fd, ret) < 0)
        return slot_error_set(error, STAGE_REQUEST, "not a memory file");
    errno = EINVAL;
    if ((seals & need) != need || ret->st_size > max)
        return slot_error_set(error, STAGE_REQUEST, "a memory file that is not sealed, or too large");
    return 0;
}

static int read_plan(int fd, struct plan *ret, struct slot_error *error)
{
    struct stat st = {0};
    if (check_sealed(fd, PLAN_BYTES_MAX, &st, error) < 0)
        return -1;
    size_t len = (size_t)st.st_size;
    void *raw = len ? mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    if (raw == MAP_FAILED)
        return slot_error_set(error, STAGE_PLAN, "%s", "");
    enum plan_error bad = plan_decode(raw, len, ret);
    if (raw)
        munmap(raw, len);
    errno = EINVAL;
    return bad ? slot_error_set(error, STAGE_PLAN, "%s", plan_error_to_string(bad)) : 0;
}

static int check_outputs(const int *fds, struct slot_error *error)
{
    for (int i = SLOT_FD_STDOUT; i <= SLOT_FD_RESULT; i++) {
        struct stat st;
        int flags = fcntl(fds[i], F_GETFL);
        if (fstat(fds[i], &st) < 0 || flags < 0)
            return slot_error_set(error, STAGE_REQUEST, "an output");
        errno = EINVAL;
        if (!S_ISFIFO(st.st_mode) || (flags & O_ACCMODE) != O_WRONLY)
            return slot_error_set(error, STAGE_REQUEST, "an output that is not the write end of a pipe");
    }
    return 0;
}

/* Waits for it. Afterwards 1 to 4 are the task's, and only the socket is left besides. Returns the runtime. */
static int take_start(struct plan *ret, struct slot_error *error)
{
    uint8_t start;
    struct stat st = {0};
    CLEANUP_FDS struct channel_fds fds;
    if (channel_recv(TASK_FD_SOCKET, &start, 1, &fds) != 1)
        _exit(0); /* no task comes */
    errno = EPROTO;
    if (fds.n != SLOT_START_FDS)
        return slot_error_set(error, STAGE_REQUEST, "descriptors are missing");
    if (read_plan(fds.fd[SLOT_FD_PLAN], ret, error) < 0 ||
        check_sealed(fds.fd[SLOT_FD_SOURCE], INT64_MAX, &st, error) < 0 || check_outputs(fds.fd, error) < 0)
        return -1;
    int r = arrange_task_fds(&fds, ret, error);
    for (size_t i = 0; i < CHANNEL_FDS_MAX; i++)
        fds.fd[i] = -1; /* closed with all others */
    return r < 0 ? r : start;
}

/* --- from first to last --- */

static void tell(int socket, struct seat_message *m, const int *fds, size_t n_fds)
{
    struct rusage u;
    if (m->type == SEAT_TASK_READY && getrusage(RUSAGE_SELF, &u) == 0)
        m->usage = slot_usage_of(&u);
    if (channel_send(socket, m, sizeof *m, fds, n_fds) < 0)
        _exit(127); /* the slot is gone, and this namespace with it */
}

static _Noreturn void fail(int socket, const struct slot_error *error)
{
    struct seat_message m = {.type = SEAT_FAILED, .error = *error};
    tell(socket, &m, NULL, 0);
    _exit(127);
}

/* All that needs no task to be known. *socket moves to its place. */
static int settle(const struct slot *slot, const struct slot_shape *shape, int init_pidfd, int *socket,
    bool *ret_landlock, int ret_fds[2], struct slot_error *error)
{
    CLEANUP_FD int proc = -1;
    if (setns(init_pidfd, CLONE_NEWNS) < 0)
        return slot_error_set(error, STAGE_NAMESPACES, "entering its mount namespace");
    if (slot_folders_mount(slot, shape, &proc, error) < 0)
        return -1;
    if (setsid() < 0)
        return slot_error_set(error, STAGE_FORK, "a session");
    if (drop_privileges(slot, proc, error) < 0)
        return -1;
    /* What the slot is not to be, and what left its mark here, an ordinary process is: or it could not see its own children. */
    if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0)
        return slot_error_set(error, STAGE_PRIVILEGES, "dumpable");
    fd_close(&proc);
    if (arrange_own_fds(*socket, error) < 0)
        return -1;
    *socket = TASK_FD_SOCKET;
    umask(022);
    if (chdir("/workspace") < 0)
        return slot_error_set(error, STAGE_FOLDERS, "entering /workspace");
    /* 1 is none, see slot_filter.c, after which it cannot be changed. */
    if (set_limit(RLIMIT_CORE, 1, "core files", error) < 0)
        return -1;
    if (slot_landlock_restrict(slot, shape->gpu_minors, ret_landlock, error) < 0)
        return -1;
    ret_fds[0] = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return ret_fds[0] < 0 ? slot_error_set(error, STAGE_FOLDERS, "opening /workspace")
                          : slot_filter_load(slot, &ret_fds[1], error);
}

/* Says that all is ready, and waits to be let go. */
static void await_go(int socket)
{
    char go;
    struct seat_message m = {.type = SEAT_TASK_READY};
    tell(socket, &m, NULL, 0);
    if (recv(socket, &go, 1, 0) != 1)
        _exit(127); /* the slot is gone, and this namespace with it */
}

/* A package is opened when the task is let go, and has its interpreter made ready behind that; all else before. */
static _Noreturn void begin(const struct slot *slot, const struct slot_shape *shape, const struct plan *plan, bool warm,
    bool forked, int socket)
{
    struct slot_error error = {0};
    struct slot_package opened = {0}, *package = plan->kind == PLAN_PACKAGE ? &opened : NULL;
    if (plan->kind == PLAN_REQUIREMENTS) {
        await_go(socket);
        if (slot_package_list(TASK_FD_SOURCE, &error) < 0)
            fail(socket, &error);
        _exit(0);
    }
    if (package) {
        await_go(socket);
        if (slot_package_open(TASK_FD_SOURCE, slot->profile.python, shape->environment != 0, &opened, &error) < 0)
            fail(socket, &error);
        warm = warm && !opened.is_shell;
        if (opened.is_shell)
            close(TASK_FD_RESULT);
    }
    char **env = make_environment(plan, package), **argv = warm ? NULL : make_arguments(slot, plan, package);
    errno = ENOMEM;
    if (!env || (!argv && !warm)) {
        slot_error_set(&error, STAGE_PLAN, "%s", "");
        fail(socket, &error);
    }
    if (warm && !forked)
        warm_after_fork();
    if (warm && warm_become(plan, env, &error) < 0)
        fail(socket, &error);
    if (!package)
        await_go(socket);
    if (warm) {
        close(socket);
        warm_run();
    }
    execve(argv[0], argv, env);
    slot_error_set(&error, STAGE_EXEC, "%s", argv[0]);
    fail(socket, &error);
}

_Noreturn void slot_task_run(const struct slot *slot, const struct slot_shape *shape, int init_pidfd, int socket)
{
    struct slot_error error = {0};
    struct seat_message m = {.type = SEAT_SETTLED};
    struct plan plan = {0};
    bool landlock = false, forked = slot->profile.warm && shape->runtime == TW_RUNTIME_PYTHON_WARM;
    int fds[] = {-1, -1}; /* its workspace, and the listener for refused calls, for the slot */
    if (forked)           /* the task to come will be of the kind of the last one, mostly */
        warm_copy_pages();
    if (settle(slot, shape, init_pidfd, &socket, &landlock, fds, &error) < 0)
        fail(socket, &error);
    m.landlock = landlock;
    tell(socket, &m, fds, fds[1] >= 0 ? 2 : 1);
    fd_close(&fds[0]);
    fd_close(&fds[1]);
    if (forked)
        warm_after_fork();

    int runtime = take_start(&plan, &error);
    if (runtime < 0 || set_limits(&plan.limits, &error) < 0)
        fail(socket, &error);
    begin(slot, shape, &plan, slot->profile.warm && runtime == TW_RUNTIME_PYTHON_WARM, forked, socket);
}
