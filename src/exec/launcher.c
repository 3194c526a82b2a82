/* SPDX-License-Identifier: Apache-2.0 */
/* Starting hivemind-launcher and speaking with it; its own theory of operation stands in slot/launcher_main.c. */
#include "exec/launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "slot/channel.h"
#include "slot/profile.h"

/* The one whose library the slot program is linked with. */
static const char SYSTEM_PYTHON[] = "/usr/bin/python3";

enum { HELLO_DEADLINE_MS = 5000, END_DEADLINE_MS = 10000 };

/* Everything that the child needs, made before the fork: between it and the exec no memory may be allocated. */
struct launch {
    char program[PATH_MAX], slot[PATH_MAX];
    char slots[16], uid_base[16], parent[16], inputs[PATH_MAX];
    bool warm;
    int profile; /* sealed, as slot/profile.h has it */
};

static _Noreturn void child_exec(const struct launch *launch, int socket, int problem)
{
    const char *const argv[] = {
        launch->program, launch->slot, launch->slots, launch->uid_base, launch->parent, launch->inputs, NULL};
    enum { PROBLEM_FD = PROTOCOL_PROFILE_FD + 1 };
    char *envp[] = {NULL};
    sigset_t none;
    sigemptyset(&none);
    (void)setsid(); /* a terminal's signals are for the daemon */
    int s = fcntl(socket, F_DUPFD_CLOEXEC, 16), p = fcntl(problem, F_DUPFD_CLOEXEC, 16);
    int profile = fcntl(launch->profile, F_DUPFD_CLOEXEC, 16);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (s >= 0 && p >= 0 && profile >= 0 && null >= 0 && dup2(null, 0) >= 0 && dup2(null, 1) >= 0 &&
        dup2(s, PROTOCOL_FD) >= 0 && dup2(profile, PROTOCOL_PROFILE_FD) >= 0 && dup3(p, PROBLEM_FD, O_CLOEXEC) >= 0 &&
        syscall(SYS_close_range, PROBLEM_FD + 1, ~0u, 0) == 0) {
        sigprocmask(SIG_SETMASK, &none, NULL);
        execve(launch->program, (char *const *)argv, envp);
        problem = PROBLEM_FD;
    }
    int saved = errno;
    (void)!write(problem, &saved, sizeof saved);
    _exit(127);
}

/* Waits for the launcher's greeting and checks it. */
static int shake_hands(struct launcher *l, struct tw_error *error)
{
    uint64_t deadline = clock_monotonic_us() + HELLO_DEADLINE_MS * UINT64_C(1000);
    struct launcher_reply hello = {0};
    int r = launcher_request(l, LAUNCHER_HELLO, 0, 0);
    while (r == 0) {
        CLEANUP_FDS struct channel_fds none;
        r = launcher_receive(l, &hello, &none);
        if (r != -EAGAIN)
            break;
        uint64_t now = clock_monotonic_us();
        struct pollfd p = {.fd = l->socket, .events = POLLIN};
        r = now < deadline ? 0 : -ETIMEDOUT;
        if (r == 0 && poll(&p, 1, (int)((deadline - now) / 1000) + 1) < 0 && errno != EINTR)
            r = -errno;
    }
    if (r == 0 && hello.header.type != LAUNCHER_HELLO)
        r = -EPROTO;
    if (r < 0)
        return error_set_errno(error, r, "hivemind-launcher does not answer");
    l->privileged = hello.flags & LAUNCHER_PRIVILEGED;
    l->layers = (hello.flags & LAUNCHER_GROUP_MEMORY ? UINT64_C(1) << TW_LAYER_CGROUP_MEMORY : 0) |
        (hello.flags & LAUNCHER_GROUP_CPU ? UINT64_C(1) << TW_LAYER_CGROUP_CPU : 0) |
        (hello.flags & LAUNCHER_GROUP_PIDS ? UINT64_C(1) << TW_LAYER_CGROUP_PIDS : 0);
    memcpy(l->warning, hello.detail, sizeof l->warning);
    memcpy(l->group_warning, hello.group_detail, sizeof l->group_warning);
    return 0;
}

/* What is certain to fail in every sandbox is said here, once, and at the start. */
static int check_path(const char *path, struct tw_error *error)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return errno == EACCES /* for us; the sandboxes may be someone who can */
            ? 0
            : error_set_errno(error, errno, "SANDBOX_PATHS: %.200s", path);
    if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
        return error_set(error, TW_INVALID_ARGUMENT, "SANDBOX_PATHS: %.200s is neither a file nor a folder", path);
    return 0;
}

static int check_root(const char *root, struct tw_error *error)
{
    char usr[PATH_MAX];
    struct stat st;
    if (!*root)
        return 0;
    if (root[0] != '/')
        return error_set(error, TW_INVALID_ARGUMENT, "SANDBOX_ROOT: %.200s is no absolute path", root);
    int n = snprintf(usr, sizeof usr, "%s/usr", root);
    if (n < 0 || (size_t)n >= sizeof usr)
        return error_set(error, TW_INVALID_ARGUMENT, "SANDBOX_ROOT: too long a path");
    if (stat(usr, &st) < 0 ? errno != EACCES : !S_ISDIR(st.st_mode))
        return error_set(error, TW_INVALID_ARGUMENT,
            "SANDBOX_ROOT: %.200s has no folder usr, so it is no system that tasks could run in", root);
    return 0;
}

static int check_lists(const struct slot_profile *p, struct tw_error *error)
{
    char part[PATH_MAX], module[PROFILE_MODULE_MAX];
    const char *paths = p->paths, *modules = p->preload;
    int r;
    while ((r = profile_next_path(&paths, part, sizeof part)) == 1) {
        if (check_path(part, error) < 0)
            return -1;
    }
    if (r < 0)
        return error_set(error, TW_INVALID_ARGUMENT,
            "SANDBOX_PATHS: %.200s cannot be shown to tasks: an absolute path, and nothing that the sandbox has of its "
            "own",
            part);
    while ((r = profile_next_module(&modules, module, sizeof module)) == 1)
        ;
    return r == 0 ? 0 : error_set(error, TW_INVALID_ARGUMENT, "PYTHON_PRELOAD: %s is no name of a module", module);
}

static int make_profile(const struct launcher_options *o, struct launch *launch, struct tw_error *error)
{
    CLEANUP_BUF struct buf raw = BUF_INIT(2 * (size_t)PROFILE_BYTES_MAX);
    struct slot_profile p = {
        .python = o->python ? o->python : SYSTEM_PYTHON,
        .preload = o->python_preload ? o->python_preload : "",
        .paths = o->sandbox_paths ? o->sandbox_paths : "",
        .root = o->sandbox_root ? o->sandbox_root : "",
        .functions = o->functions ? o->functions : "",
    };
    /* What is embedded is the system's interpreter, and needs the system's library. */
    p.warm = launch->warm = !o->python_cold && !strcmp(p.python, SYSTEM_PYTHON) && !*p.root;
    if (strlen(p.functions) > FUNCTIONS_BYTES_MAX)
        return error_set(
            error, TW_INVALID_ARGUMENT, "FUNCTIONS: the file is larger than %d bytes", FUNCTIONS_BYTES_MAX);
    if (p.python[0] != '/')
        return error_set(error, TW_INVALID_ARGUMENT, "the interpreter must be an absolute path");
    if (check_root(p.root, error) < 0 || check_lists(&p, error) < 0)
        return -1;
    int r = profile_encode(&p, &raw);
    if (r == 0)
        r = launch->profile = fd_sealed_memfd("profile", raw.data, raw.len);
    return r < 0 ? error_set_errno(error, r, "cannot make the sandboxes' profile") : 0;
}

static int prepare(const struct launcher_options *o, struct launch *launch, struct tw_error *error)
{
    if (!o->libexec_dir || o->libexec_dir[0] != '/')
        return error_set(error, TW_INVALID_ARGUMENT, "the folder of the helper programs must be an absolute path");
    if (o->max_slots < 1 || o->max_slots > PROTOCOL_SLOTS_MAX)
        return error_set(error, TW_INVALID_ARGUMENT, "the number of slots must be 1 to %d, not %u", PROTOCOL_SLOTS_MAX,
            o->max_slots);
    if (o->uid_base > UINT32_MAX - 2 * PROTOCOL_SLOTS_MAX)
        return error_set(error, TW_INVALID_ARGUMENT, "the first user id of the slots is too high: %u", o->uid_base);
    int n = snprintf(launch->program, sizeof launch->program, "%s/hivemind-launcher", o->libexec_dir);
    int m = snprintf(launch->slot, sizeof launch->slot, "%s/hivemind-slot", o->libexec_dir);
    if (n < 0 || (size_t)n >= sizeof launch->program || m < 0 || (size_t)m >= sizeof launch->slot)
        return error_set(error, TW_INVALID_ARGUMENT, "the folder of the helper programs has too long a name");
    snprintf(launch->slots, sizeof launch->slots, "%u", o->max_slots);
    snprintf(launch->uid_base, sizeof launch->uid_base, "%u", o->uid_base);
    snprintf(launch->parent, sizeof launch->parent, "%d", (int)getpid());
    snprintf(launch->inputs, sizeof launch->inputs, "%s", o->inputs ? o->inputs : "");
    return make_profile(o, launch, error);
}

/* Forks and waits until the exec has happened or failed. */
static int spawn(const struct launch *launch, struct launcher *l, struct tw_error *error)
{
    int pair[2], problem[2];
    int r = channel_pair(pair);
    if (r < 0)
        return error_set_errno(error, r, "cannot make a connection for hivemind-launcher");
    l->socket = pair[0];
    CLEANUP_FD int theirs = pair[1];
    if (pipe2(problem, O_CLOEXEC) < 0)
        return error_set_errno(error, errno, "cannot make a pipe for hivemind-launcher");
    CLEANUP_FD int read_end = problem[0];
    CLEANUP_FD int write_end = problem[1];
    l->pid = fork();
    if (l->pid < 0)
        return error_set_errno(error, errno, "cannot fork for hivemind-launcher");
    if (l->pid == 0)
        child_exec(launch, theirs, write_end);
    fd_close(&write_end);
    int problem_errno;
    if (fd_read_all(read_end, &problem_errno, sizeof problem_errno) == (ssize_t)sizeof problem_errno)
        return error_set_errno(error, problem_errno, "cannot start %s", launch->program);
    l->pidfd = (int)syscall(SYS_pidfd_open, l->pid, 0);
    if (l->pidfd < 0 || fd_set_cloexec(l->pidfd, true) < 0)
        return error_set_errno(error, errno, "cannot watch hivemind-launcher");
    r = fd_set_nonblocking(l->socket, true);
    return r < 0 ? error_set_errno(error, r, "cannot set up the connection to hivemind-launcher") : 0;
}

int launcher_start(const struct launcher_options *options, struct launcher **ret, struct tw_error *error)
{
    CLEANUP_FREE struct launch *launch = calloc(1, sizeof *launch);
    struct launcher *l = calloc(1, sizeof *l);
    if (!launch || !l) {
        free(l);
        return error_oom(error);
    }
    launch->profile = -1;
    *l = (struct launcher){.pid = -1, .pidfd = -1, .socket = -1, .slots = options->max_slots};
    l->python = strdup(options->python ? options->python : SYSTEM_PYTHON);
    l->functions = options->functions && *options->functions ? strdup(options->functions) : NULL;
    int r = !l->python ? error_oom(error)
        : prepare(options, launch, error) < 0 || spawn(launch, l, error) < 0 || shake_hands(l, error) < 0 ? -1
                                                                                                          : 0;
    fd_close(&launch->profile);
    if (r < 0) {
        launcher_free(l);
        return -1;
    }
    l->warm = launch->warm;
    *ret = l;
    return 0;
}

void launcher_hang_up(struct launcher *launcher)
{
    fd_close(&launcher->socket);
}

void launcher_leave(struct launcher *launcher)
{
    launcher_hang_up(launcher);
    launcher->pid = -1;
}

void launcher_free(struct launcher *launcher)
{
    if (!launcher)
        return;
    launcher_hang_up(launcher);
    if (launcher->pid > 0) {
        struct pollfd p = {.fd = launcher->pidfd, .events = POLLIN};
        if (launcher->pidfd >= 0 && poll(&p, 1, END_DEADLINE_MS) == 0)
            (void)kill(launcher->pid, SIGKILL); /* its slots die with it; without the right to do so we wait on */
        while (waitpid(launcher->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    fd_close(&launcher->pidfd);
    free(launcher->functions);
    free(launcher->python);
    free(launcher);
}

const char *launcher_python(const struct launcher *launcher)
{
    return launcher->python;
}

bool launcher_privileged(const struct launcher *launcher)
{
    return launcher->privileged;
}

const char *launcher_warning(const struct launcher *launcher)
{
    return launcher->warning[0] ? launcher->warning : NULL;
}

uint64_t launcher_group_layers(const struct launcher *launcher)
{
    return launcher->layers;
}

const char *launcher_group_warning(const struct launcher *launcher)
{
    return launcher->group_warning[0] ? launcher->group_warning : NULL;
}

int launcher_send(
    struct launcher *launcher, enum launcher_type type, struct launcher_request *request, const int *fds, size_t n_fds)
{
    request->header = (struct protocol_header){LAUNCHER_MAGIC, PROTOCOL_VERSION, (uint16_t)type};
    return launcher->socket < 0 ? -EPIPE : channel_send(launcher->socket, request, sizeof *request, fds, n_fds);
}

int launcher_request(struct launcher *launcher, enum launcher_type type, uint32_t index, uint32_t flags)
{
    struct launcher_request request = {.index = index, .flags = flags};
    return launcher_send(launcher, type, &request, NULL, 0);
}

int launcher_receive(struct launcher *launcher, struct launcher_reply *ret, struct channel_fds *ret_fds)
{
    char raw[sizeof *ret + 1];
    ssize_t n = channel_recv(launcher->socket, raw, sizeof raw, ret_fds);
    if (n <= 0)
        return n < 0 ? (int)n : -EPIPE;
    if (launcher_reply_check(raw, (size_t)n, ret_fds->n, launcher->slots, ret) != MESSAGE_OK)
        return -EPROTO;
    return 0;
}
