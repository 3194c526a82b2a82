/* SPDX-License-Identifier: Apache-2.0 */
/* What the checks share; inside src/doctor only. */
#ifndef DOCTOR_INTERNAL_H
#define DOCTOR_INTERNAL_H

#include <limits.h>

#include "base/util.h"
#include "doctor/doctor.h"

/* What was found by trying to make namespaces: errno for each, 0 for success, -1 for not tried. */
struct namespaces {
    int failed; /* 0, or why nothing is known: -errno of try_run */
    int user, maps;
    int mount, pid, net, ipc, uts, cgroup;
    int proc; /* a fresh procfs in there */
    int overlay;
};

struct doctor {
    const struct doctor_options *options;
    uint64_t deadline_us; /* of the whole run */
    bool root;
    struct namespaces namespaces;
    char libexec[PATH_MAX]; /* where the helper programs are; "": nowhere */
    char storage[PATH_MAX];
};

void check_set(struct doctor_check *c, enum doctor_status status, const char *fmt, ...) PRINTF_LIKE(3, 4);
void check_cost(struct doctor_check *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
void check_fix(struct doctor_check *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Appends to what was found, after ", ". */
void check_add(struct doctor_check *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* A try that came to no end: unknown, with the reason. */
void check_untried(struct doctor_check *c, int r);

/* How long something may take that would like `wanted`: less when the run as a whole nears its end. */
uint64_t doctor_time(const struct doctor *d, uint64_t wanted_us);
/* A file below options->root, at most 8 MiB, as text (free it), or NULL. */
char *doctor_read(const struct doctor *d, const char *path);
/* Its first line, cut to fit; false: there is none. */
bool doctor_line(const struct doctor *d, const char *path, char *out, size_t size);
/* Its only number. */
bool doctor_number(const struct doctor *d, const char *path, uint64_t *ret);
/* The path below options->root; false when it is too long. */
bool doctor_path(const struct doctor *d, const char *path, char out[PATH_MAX]);
bool doctor_exists(const struct doctor *d, const char *path);
bool doctor_on_path(const char *program);

/* The checks, in the order of the report: name, title, area, needed, function. */
#define DOCTOR_CHECKS(X)                                    \
    X(kernel, "kernel", MACHINE, false)                     \
    X(memory, "memory", MACHINE, false)                     \
    X(swap, "swap", MACHINE, false)                         \
    X(pressure, "memory pressure", MACHINE, false)          \
    X(huge_pages, "huge pages", MACHINE, false)             \
    X(clock, "clock", MACHINE, false)                       \
    X(user_namespaces, "user namespaces", ISOLATION, true)  \
    X(namespaces, "other namespaces", ISOLATION, true)      \
    X(procfs, "own /proc", ISOLATION, true)                 \
    X(task_uids, "own user ids", ISOLATION, false)          \
    X(uid_range, "user id range", ISOLATION, false)         \
    X(seccomp, "seccomp filter", ISOLATION, true)           \
    X(seccomp_notify, "seccomp watching", ISOLATION, false) \
    X(landlock, "Landlock", ISOLATION, false)               \
    X(overlayfs, "overlay in sandboxes", ISOLATION, false)  \
    X(cgroup_version, "control groups", LIMITS, false)      \
    X(cgroup_delegation, "groups for tasks", LIMITS, false) \
    X(cgroup_controllers, "controllers", LIMITS, false)     \
    X(open_files, "open files", LIMITS, false)              \
    X(processes, "processes", LIMITS, false)                \
    X(launcher, "hivemind-launcher", PROGRAMS, true)        \
    X(slot, "hivemind-slot", PROGRAMS, true)                \
    X(python, "python", PROGRAMS, false)                    \
    X(libpython, "warm python", PROGRAMS, false)            \
    X(storage_space, "storage folder", STORAGE, true)       \
    X(storage_type, "file system", STORAGE, false)          \
    X(docker, "Docker Engine", EXTRAS, false)               \
    X(gpu, "GPU", EXTRAS, false)                            \
    X(grpc_port, "gRPC port", NETWORK, false)               \
    X(web_port, "web port", NETWORK, false)                 \
    X(wireguard, "WireGuard", NETWORK, false)
#define X(name, title, area, needed) void check_##name(struct doctor *d, struct doctor_check *c);
DOCTOR_CHECKS(X)
#undef X

/* What our own control group limits: bytes of memory, or the number of processes; false: nothing. */
bool groups_limit(const struct doctor *d, bool memory, uint64_t *ret);

/* Tries all namespaces once, for the checks of them. */
void namespaces_try(const struct doctor *d, struct namespaces *ret);

#endif
