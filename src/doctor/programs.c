/* SPDX-License-Identifier: Apache-2.0 */
/* The helper programs, the interpreter, and the interpreter in the slot program. */
#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "doctor/facts.h"
#include "doctor/internal.h"
#include "base/try.h"

#define TRY_US UINT64_C(1500000)
#define SYSTEM_PYTHON "/usr/bin/python3"
enum { VERSION_MAX = 64, PROGRAM_MAX = 64 * 1024 * 1024 };

static bool has_launcher(const char *folder, const char *below, char out[PATH_MAX])
{
    char path[PATH_MAX], file[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s%s", folder, below);
    if (n < 0 || n >= PATH_MAX || !realpath(path, out))
        return false;
    n = snprintf(file, sizeof file, "%s/hivemind-launcher", out);
    return n > 0 && n < PATH_MAX && access(file, F_OK) == 0;
}

/* Where the daemon would look: what it was told, beside the programs, where they were installed for. */
static void find_libexec(struct doctor *d)
{
    static const char *const beside[] = {"", "/../slot"};
    char own[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", own, sizeof own - 1);
    const char *exe_dir = d->options->exe_dir;
    if (d->options->libexec_dir) {
        snprintf(d->libexec, sizeof d->libexec, "%s", d->options->libexec_dir);
        return;
    }
    if (!exe_dir && n > 0) {
        own[n] = '\0';
        *strrchr(own, '/') = '\0';
        exe_dir = own;
    }
    for (size_t i = 0; exe_dir && i < ARRAY_LEN(beside); i++) {
        if (has_launcher(exe_dir, beside[i], d->libexec))
            return;
    }
    snprintf(d->libexec, sizeof d->libexec, "%s", HIVEMIND_LIBEXECDIR);
}

static bool program_path(struct doctor *d, const char *program, char out[PATH_MAX])
{
    if (!*d->libexec)
        find_libexec(d);
    int n = snprintf(out, PATH_MAX, "%s/%s", d->libexec, program);
    return n > 0 && n < PATH_MAX;
}

struct file {
    int error;
    bool usable; /* a file that this user may execute */
    mode_t mode;
};

/* In a child: a file server that is away would hold us for ever. */
static void try_file(const void *arg, void *ret)
{
    struct file *f = ret;
    struct stat st;
    if (stat(arg, &st) < 0) {
        f->error = errno;
        return;
    }
    f->mode = st.st_mode;
    f->usable = S_ISREG(st.st_mode) && access(arg, X_OK) == 0;
}

static void check_program(struct doctor *d, struct doctor_check *c, const char *program)
{
    char path[PATH_MAX];
    struct file f = {0};
    check_cost(c, "The node does not start without it.");
    check_fix(c, "install it, or set LIBEXEC_DIR (--libexec-dir) to the folder where it is");
    if (!program_path(d, program, path)) {
        check_set(c, DOCTOR_MISSING, "the folder of the helper programs has too long a name");
        return;
    }
    int r = try_run(doctor_time(d, TRY_US), try_file, path, &f, sizeof f);
    if (r < 0) {
        check_untried(c, r);
    } else if (f.error) {
        check_set(c, DOCTOR_MISSING, "%.200s: %s", path, strerror(f.error));
    } else if (!f.usable) {
        check_set(c, DOCTOR_MISSING, "%.200s is no program that this user may execute", path);
        check_fix(c, "chmod 755 %.200s", path);
    } else if (d->root && !(f.mode & S_IXOTH)) {
        /* In a slot root is another user's id. */
        check_set(c, DOCTOR_MISSING, "%.200s may be executed by its owner alone, and slots are not", path);
        check_fix(c, "chmod 755 %.200s", path);
    } else {
        check_set(c, DOCTOR_OK, "%.200s", path);
    }
}

void check_launcher(struct doctor *d, struct doctor_check *c)
{
    check_program(d, c, "hivemind-launcher");
}

void check_slot(struct doctor *d, struct doctor_check *c)
{
    check_program(d, c, "hivemind-slot");
}

/* --- Python --- */

static _Noreturn void exec_version(const char *program, int out)
{
    char version_flag[] = "--version", name[] = "python3", path[] = "PATH=/usr/bin:/bin";
    char *argv[] = {name, version_flag, NULL}, *envp[] = {path, NULL};
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (null >= 0 && dup2(null, 0) >= 0 && dup2(out, 1) >= 0 && dup2(null, 2) >= 0)
        execve(program, argv, envp);
    _exit(127);
}

/* What a program says to --version; "" if nothing. */
static void try_version(const void *arg, void *ret)
{
    char *text = ret;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return;
    pid_t pid = fork();
    if (pid == 0)
        exec_version(arg, ends[1]);
    close(ends[1]);
    if (pid < 0)
        return;
    ssize_t n = fd_read_all(ends[0], text, VERSION_MAX - 1);
    text[n > 0 ? n : 0] = '\0';
    text[strcspn(text, "\r\n")] = '\0';
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
}

static const char *python_of(const struct doctor *d)
{
    return d->options->python ? d->options->python : SYSTEM_PYTHON;
}

/* 0 and "3.11.2", or why not. */
static int python_version(const struct doctor *d, char out[VERSION_MAX])
{
    static const char lead[] = "Python ";
    char said[VERSION_MAX] = "";
    struct file f = {0};
    int r = try_run(doctor_time(d, TRY_US), try_file, python_of(d), &f, sizeof f);
    if (r == 0 && !f.usable)
        r = f.error ? -f.error : -EACCES;
    if (r == 0)
        r = try_run(doctor_time(d, TRY_US), try_version, python_of(d), said, sizeof said);
    if (r < 0)
        return r;
    if (strncmp(said, lead, sizeof lead - 1) != 0)
        return -ENOEXEC;
    snprintf(out, VERSION_MAX, "%s", said + sizeof lead - 1);
    return 0;
}

void check_python(struct doctor *d, struct doctor_check *c)
{
    char version[VERSION_MAX];
    int r = python_version(d, version);
    check_cost(c, "Python tasks cannot be run; shell tasks can.");
    check_fix(c, "apt-get install python3, or PYTHON (--python) for one elsewhere");
    if (r == -ENOENT || r == -EACCES || r == -ENOTDIR)
        check_set(c, DOCTOR_MISSING, "%.200s: %s", python_of(d), strerror(-r));
    else if (r == -ENOEXEC)
        check_set(c, DOCTOR_DEGRADED, "%.200s does not tell a version of Python", python_of(d));
    else if (r < 0)
        check_untried(c, r);
    else
        check_set(c, DOCTOR_OK, "%s, %.200s", version, python_of(d));
}

/* The name of the library that the slot program was linked with: "libpython3.11.so.1.0". */
static bool find_library(const char *path, char out[VERSION_MAX])
{
    static const char lead[] = "libpython3.";
    CLEANUP_FREE char *program = NULL;
    size_t len = 0;
    if (file_read(path, PROGRAM_MAX, &program, &len) < 0)
        return false;
    const char *end = program + len;
    for (const char *p = program; (p = memmem(p, (size_t)(end - p), lead, sizeof lead - 1)); p++) {
        size_t n = strnlen(p, (size_t)(end - p));
        const char *so = n < VERSION_MAX ? memmem(p, n, ".so", 3) : NULL;
        if (!so || !isdigit((unsigned char)p[sizeof lead - 1]))
            continue;
        snprintf(out, VERSION_MAX, "%s", p);
        return true;
    }
    return false;
}

struct library {
    bool readable, loaded;
    char name[VERSION_MAX]; /* "": the program names none */
    char version[VERSION_MAX];
};

static void try_library(const void *arg, void *ret)
{
    struct library *l = ret;
    struct stat st;
    /* Anything but a file might never be read to its end. */
    l->readable = stat(arg, &st) == 0 && S_ISREG(st.st_mode) && access(arg, R_OK) == 0;
    if (!l->readable || !find_library(arg, l->name))
        return;
    void *handle = dlopen(l->name, RTLD_LAZY | RTLD_LOCAL);
    if (!handle)
        return;
    l->loaded = true;
    const char *(*get_version)(void) = NULL;
    *(void **)&get_version = dlsym(handle, "Py_GetVersion");
    if (get_version)
        snprintf(l->version, sizeof l->version, "%.*s", (int)strcspn(get_version(), " "), get_version());
}

void check_libpython(struct doctor *d, struct doctor_check *c)
{
    char path[PATH_MAX], outside[VERSION_MAX] = "";
    struct library library = {0};
    check_cost(c, "Python tasks start an interpreter each, some ten times slower.");
    check_fix(
        c, "apt-get install libpython3.11 (the one that hivemind-slot was built with), and PYTHON=" SYSTEM_PYTHON);
    if (strcmp(python_of(d), SYSTEM_PYTHON) != 0) {
        check_set(c, DOCTOR_DEGRADED, "only " SYSTEM_PYTHON " can be warm, and PYTHON is another");
        return;
    }
    if (!program_path(d, "hivemind-slot", path)) {
        check_set(c, DOCTOR_MISSING, "there is no hivemind-slot");
        return;
    }
    int r = try_run(doctor_time(d, TRY_US), try_library, path, &library, sizeof library);
    if (r < 0) {
        check_untried(c, r);
        return;
    }
    const char *name = library.name;
    unsigned major = 0, minor = 0, other_major = 0, other_minor = 0;
    if (!library.readable) {
        check_set(c, DOCTOR_MISSING, "%.200s cannot be read", path);
    } else if (!*name) {
        check_set(c, DOCTOR_UNKNOWN, "%.200s names no library of Python", path);
    } else if (!library.loaded) {
        check_set(c, DOCTOR_MISSING, "%s is not installed: hivemind-slot cannot start", name);
        check_fix(c, "apt-get install %.*s", (int)(strstr(name, ".so") - name), name);
    } else if (python_version(d, outside) < 0 || !facts_version(outside, &major, &minor) ||
        !facts_version(library.version, &other_major, &other_minor)) {
        check_set(c, DOCTOR_UNKNOWN, "%s is %s, but there is nothing to compare it with", name, library.version);
    } else if (major != other_major || minor != other_minor) {
        check_set(c, DOCTOR_DEGRADED, "%s is %s, but " SYSTEM_PYTHON " is %s", name, library.version, outside);
        check_cost(c, "Warm tasks see another Python than " SYSTEM_PYTHON ", and not the modules installed for that.");
        check_fix(c, "build hivemind-slot with the Python of this machine, or PYTHON_WARM=off");
    } else {
        check_set(c, DOCTOR_OK, "%s is %s, as " SYSTEM_PYTHON, name, library.version);
    }
}
