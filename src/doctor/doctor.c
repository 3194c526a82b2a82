/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doctor walks a table of checks (internal.h) in its order. A check reads what the kernel says about itself, or better
 * tries the thing: a promise in /proc is worth less than a namespace that was really made. Whatever a try would change
 * (namespaces, mounts, filters, loaded libraries) happens in a child in a process group of its own that is killed at its
 * deadline (try.c), so that nothing outlives the run and nothing can hang it; all deadlines together are cut to the time of
 * the run, and a check that gets none left is "unknown". Nothing is written outside such a child's own namespaces. What is
 * read is taken for hostile and goes through facts.c, which does no I/O. The verdict comes last, from the checks alone.
 */
#include "doctor/doctor.h"

#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/parse.h"
#include "doctor/internal.h"
#include "base/try.h"

#define RUN_US UINT64_C(4500000)
#define NAME_US UINT64_C(500000)
enum { FILE_MAX = 8 * 1024 * 1024, USER_MAX = sizeof((struct doctor_report *)NULL)->user };

static const struct {
    const char *name, *title;
    enum doctor_area area;
    bool needed;
    void (*run)(struct doctor *d, struct doctor_check *c);
} checks[] = {
#define X(name, title, area, needed) {#name, title, DOCTOR_AREA_##area, needed, check_##name},
    DOCTOR_CHECKS(X)
#undef X
};
_Static_assert(sizeof checks / sizeof checks[0] <= DOCTOR_CHECKS_MAX, "a report holds every check");

const char *doctor_status_to_string(enum doctor_status status)
{
    static const char *const names[] = {
#define X(name, text) text,
        DOCTOR_STATUSES(X)
#undef X
    };
    return status < DOCTOR_STATUS_MAX ? names[status] : "?";
}

const char *doctor_area_to_string(enum doctor_area area)
{
    static const char *const names[] = {
#define X(name, text) text,
        DOCTOR_AREAS(X)
#undef X
    };
    return area < DOCTOR_AREA_MAX ? names[area] : "?";
}

/* --- writing down --- */

void check_set(struct doctor_check *c, enum doctor_status status, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(c->found, sizeof c->found, fmt, ap);
    va_end(ap);
    c->status = status;
}

void check_cost(struct doctor_check *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(c->cost, sizeof c->cost, fmt, ap);
    va_end(ap);
}

void check_fix(struct doctor_check *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(c->fix, sizeof c->fix, fmt, ap);
    va_end(ap);
}

void check_add(struct doctor_check *c, const char *fmt, ...)
{
    size_t len = strlen(c->found);
    va_list ap;
    if (len > 0)
        len += (size_t)snprintf(c->found + len, sizeof c->found - len, ", ");
    if (len >= sizeof c->found)
        return;
    va_start(ap, fmt);
    vsnprintf(c->found + len, sizeof c->found - len, fmt, ap);
    va_end(ap);
}

void check_untried(struct doctor_check *c, int r)
{
    if (r == -ETIMEDOUT)
        check_set(c, DOCTOR_UNKNOWN, "no answer in time");
    else if (r == -ECHILD)
        check_set(c, DOCTOR_UNKNOWN, "the process that tried it was killed");
    else
        check_set(c, DOCTOR_UNKNOWN, "could not be tried: %s", strerror(-r));
}

/* --- reading --- */

uint64_t doctor_time(const struct doctor *d, uint64_t wanted_us)
{
    uint64_t now = clock_monotonic_us();
    return now >= d->deadline_us ? 0 : MIN(wanted_us, d->deadline_us - now);
}

bool doctor_path(const struct doctor *d, const char *path, char out[PATH_MAX])
{
    int n = snprintf(out, PATH_MAX, "%s%s", d->options->root ? d->options->root : "", path);
    return n > 0 && n < PATH_MAX;
}

char *doctor_read(const struct doctor *d, const char *path)
{
    char full[PATH_MAX];
    char *text = NULL;
    return doctor_path(d, path, full) && file_read(full, FILE_MAX, &text, NULL) == 0 ? text : NULL;
}

bool doctor_line(const struct doctor *d, const char *path, char *out, size_t size)
{
    CLEANUP_FREE char *text = doctor_read(d, path);
    if (!text)
        return false;
    snprintf(out, size, "%.*s", (int)strcspn(text, "\n"), text);
    return true;
}

bool doctor_number(const struct doctor *d, const char *path, uint64_t *ret)
{
    char text[32];
    return doctor_line(d, path, text, sizeof text) && parse_u64(text, 0, UINT64_MAX, ret) == 0;
}

bool doctor_exists(const struct doctor *d, const char *path)
{
    char full[PATH_MAX];
    return doctor_path(d, path, full) && access(full, F_OK) == 0;
}

bool doctor_on_path(const char *program)
{
    const char *path = getenv("PATH");
    CLEANUP_FREE char *copy = strdup(path && *path ? path : "/usr/bin:/bin");
    for (char *rest = copy, *folder; copy && (folder = strsep(&rest, ":"));) {
        char full[PATH_MAX];
        int n = snprintf(full, sizeof full, "%s/%s", folder, program);
        if (*folder == '/' && n > 0 && n < PATH_MAX && access(full, X_OK) == 0)
            return true;
    }
    return false;
}

/* --- the verdict --- */

const struct doctor_check *doctor_find(const struct doctor_report *report, const char *name)
{
    for (size_t i = 0; i < report->n_checks; i++) {
        if (!strcmp(report->checks[i].name, name))
            return &report->checks[i];
    }
    return NULL;
}

static bool good(const struct doctor_report *r, const char *name)
{
    const struct doctor_check *c = doctor_find(r, name);
    return c && c->status == DOCTOR_OK;
}

static bool gone(const struct doctor_report *r, const char *name)
{
    const struct doctor_check *c = doctor_find(r, name);
    return !c || c->status == DOCTOR_MISSING;
}

static const char *who(const struct doctor_report *r)
{
    return r->uid == 0 ? "root" : r->user;
}

static void say_why_not(const struct doctor_report *r, struct buf *out)
{
    bool first = true;
    buf_printf(out, "A node started by %s here would not run tasks: ", who(r));
    for (size_t i = 0; i < r->n_checks; i++) {
        const struct doctor_check *c = &r->checks[i];
        if (!c->needed || c->status != DOCTOR_MISSING)
            continue;
        buf_printf(out, "%s%s (%s)", first ? "" : "; ", c->title, c->found);
        first = false;
    }
    buf_append_str(out, ".");
}

static void say_how(const struct doctor_report *r, struct buf *out)
{
    bool own_ids = good(r, "task_uids") && good(r, "uid_range");
    bool groups = good(r, "cgroup_delegation");
    buf_printf(out, "A node started by %s here would run tasks, %s", who(r),
        own_ids ? "each under user ids of its own" : "all under one user id");
    buf_printf(out, ", in namespaces and a seccomp filter%s", gone(r, "landlock") ? "" : ", with Landlock");
    buf_append_str(out,
        groups ? "; control groups limit their memory and processors"
               : "; no control group limits their memory and processors");
    buf_append_str(out, good(r, "libpython") ? "; python tasks start warm" : "; python tasks do not start warm");
    const char *const extras[][2] = {{"docker", "Docker"}, {"gpu", "GPU"}, {"wireguard", "WireGuard"}};
    const char *lead = "; it has ";
    for (size_t i = 0; i < ARRAY_LEN(extras); i++) {
        if (good(r, extras[i][0])) {
            buf_printf(out, "%s%s", lead, extras[i][1]);
            lead = ", ";
        }
    }
    lead = "; it has no ";
    for (size_t i = 0; i < ARRAY_LEN(extras); i++) {
        if (gone(r, extras[i][0])) {
            buf_printf(out, "%s%s", lead, extras[i][1]);
            lead = ", no ";
        }
    }
    buf_append_str(out, ".");
    for (size_t i = 0; i < r->n_checks; i++) {
        if (r->checks[i].needed && r->checks[i].status == DOCTOR_UNKNOWN)
            buf_printf(out, " Not known: %s.", r->checks[i].title);
    }
}

static void summarise(struct doctor_report *r)
{
    struct buf text = BUF_INIT(sizeof r->summary - 1);
    r->can_run = true;
    for (size_t i = 0; i < r->n_checks; i++)
        r->can_run = r->can_run && !(r->checks[i].needed && r->checks[i].status == DOCTOR_MISSING);
    if (r->can_run)
        say_how(r, &text);
    else
        say_why_not(r, &text);
    /* What did not fit is cut: each check says it again. */
    snprintf(r->summary, sizeof r->summary, "%.*s", (int)text.len, text.data ? (const char *)text.data : "");
    buf_done(&text);
}

/* In a child: accounts may be kept by a server that is away. */
static void try_name(const void *arg, void *ret)
{
    struct passwd entry, *found = NULL;
    char text[4096];
    if (getpwuid_r(*(const uid_t *)arg, &entry, text, sizeof text, &found) == 0 && found)
        snprintf(ret, USER_MAX, "%s", entry.pw_name);
}

static void name_user(const struct doctor *d, struct doctor_report *r)
{
    r->uid = geteuid();
    if (try_run(doctor_time(d, NAME_US), try_name, &r->uid, r->user, sizeof r->user) < 0 || !*r->user)
        snprintf(r->user, sizeof r->user, "user %u", (unsigned)r->uid);
}

void doctor_run(const struct doctor_options *options, struct doctor_report *ret)
{
    struct doctor d = {.options = options, .deadline_us = clock_monotonic_us() + RUN_US, .root = geteuid() == 0};
    *ret = (struct doctor_report){0};
    name_user(&d, ret);
    namespaces_try(&d, &d.namespaces);
    for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
        struct doctor_check *c = &ret->checks[ret->n_checks++];
        *c = (struct doctor_check){
            .area = checks[i].area, .name = checks[i].name, .title = checks[i].title, .needed = checks[i].needed};
        checks[i].run(&d, c);
    }
    summarise(ret);
}
