/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this machine offers to a node, what is missing, what that costs and how to fix it. Looks from outside, as the user
 * who asks: no node has to be there, and nothing on the machine is changed.
 */
#ifndef DOCTOR_DOCTOR_H
#define DOCTOR_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define DOCTOR_STATUSES(X)                                         \
    X(OK, "ok")             /* there */                            \
    X(DEGRADED, "degraded") /* there, but less than it could be */ \
    X(MISSING, "missing")   /* not there, or not for this user */  \
    X(UNKNOWN, "unknown")   /* could not be found out, or not in time */

enum doctor_status {
#define X(name, text) DOCTOR_##name,
    DOCTOR_STATUSES(X)
#undef X
        DOCTOR_STATUS_MAX
};

#define DOCTOR_AREAS(X)       \
    X(MACHINE, "machine")     \
    X(ISOLATION, "isolation") \
    X(LIMITS, "limits")       \
    X(PROGRAMS, "programs")   \
    X(STORAGE, "storage")     \
    X(EXTRAS, "extras")       \
    X(NETWORK, "network")

enum doctor_area {
#define X(name, text) DOCTOR_AREA_##name,
    DOCTOR_AREAS(X)
#undef X
        DOCTOR_AREA_MAX
};

enum { DOCTOR_CHECKS_MAX = 48, DOCTOR_TEXT_MAX = 320, DOCTOR_SUMMARY_MAX = 1200 };

struct doctor_check {
    enum doctor_area area;
    const char *name;  /* for programs: "user_namespaces" */
    const char *title; /* for people: "user namespaces" */
    enum doctor_status status;
    bool needed; /* a node runs no task without it */
    char found
        [DOCTOR_TEXT_MAX]; /* a phrase with the facts; may hold what others said: make it harmless before it is shown */
    char cost[DOCTOR_TEXT_MAX]; /* a sentence: what it costs not to have it */
    char fix[DOCTOR_TEXT_MAX];  /* a command or setting; "" where there is nothing to be done */
};

struct doctor_options {
    const char *root;         /* put before the paths of files that are read; NULL: none. For tests */
    const char *exe_dir;      /* where this program lies; NULL: /proc/self/exe says it */
    const char *libexec_dir;  /* LIBEXEC_DIR; NULL: as the daemon looks for it */
    const char *storage_path; /* STORAGE_PATH; NULL: the daemon's default */
    const char *python;       /* PYTHON; NULL: /usr/bin/python3 */
    const char *docker_host;  /* DOCKER_HOST; NULL: /var/run/docker.sock */
    uint32_t uid_base;        /* SLOT_UID_BASE; 0: 1900000000 */
    uint16_t grpc_port;       /* 0: 50053 */
    uint16_t web_port;        /* 0: 5000 */
    /*
     * Whether a node answers on this port of 127.0.0.1, within the time; ret_name (128 bytes) gets what it calls itself.
     * NULL: is not asked.
     */
    bool (*ask_node)(void *ctx, uint16_t port, uint64_t timeout_us, char *ret_name);
    void *ctx;
};

struct doctor_report {
    uid_t uid;
    char user[64]; /* its name, or its number */
    struct doctor_check checks[DOCTOR_CHECKS_MAX];
    size_t n_checks;
    bool can_run; /* nothing that is needed is missing */
    char summary[DOCTOR_SUMMARY_MAX];
};

/*
 * Fills the report; takes at most some 5 seconds, whatever hangs. The calling process should have one thread: children are
 * forked, and gone when this returns.
 */
void doctor_run(const struct doctor_options *options, struct doctor_report *ret);
/* NULL: there is none of this name. */
const struct doctor_check *doctor_find(const struct doctor_report *report, const char *name);

const char *doctor_status_to_string(enum doctor_status status);
const char *doctor_area_to_string(enum doctor_area area);

#endif
