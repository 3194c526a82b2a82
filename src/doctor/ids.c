/* SPDX-License-Identifier: Apache-2.0 */
/* User ids for tasks: whether this user can hand them out, and whether they belong to nobody else. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "doctor/facts.h"
#include "doctor/internal.h"
#include "base/try.h"

#define TRY_US UINT64_C(1000000)
#define DEFAULT_UID_BASE UINT32_C(1900000000)
enum { IDS = 2048, TASK_UID = 1000 };

static uint32_t base_of(const struct doctor *d)
{
    return d->options->uid_base ? d->options->uid_base : DEFAULT_UID_BASE;
}

static const struct {
    int bit;
    const char *name;
} needed_caps[] = {{CAP_SETUID, "CAP_SETUID"}, {CAP_SETGID, "CAP_SETGID"}, {CAP_KILL, "CAP_KILL"}};

static _Noreturn void be_mapped(int ready, int go)
{
    char byte = 0;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (unshare(CLONE_NEWUSER) == 0 && write(ready, &byte, 1) == 1)
        (void)!read(go, &byte, 1);
    _exit(0);
}

static int write_map(pid_t pid, const char *file, uint32_t base)
{
    char path[64], text[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    snprintf(text, sizeof text, "0 %u 1\n%d %u 1\n", base, TASK_UID, base + 1);
    CLEANUP_FD int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    return write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : errno;
}

/* As the launcher does it: a process in a new user namespace, and two ids of the range for it. */
static void try_map(const void *arg, void *ret)
{
    uint32_t base = *(const uint32_t *)arg;
    int *error = ret, ready[2], go[2];
    char byte = 0;
    if (pipe2(ready, O_CLOEXEC) < 0 || pipe2(go, O_CLOEXEC) < 0) {
        *error = errno;
        return;
    }
    pid_t pid = fork();
    if (pid < 0) {
        *error = errno;
        return;
    }
    if (pid == 0) {
        close(ready[0]);
        close(go[1]);
        be_mapped(ready[1], go[0]);
    }
    close(ready[1]);
    if (read(ready[0], &byte, 1) != 1)
        *error = EPERM;
    else if ((*error = write_map(pid, "uid_map", base)) == 0)
        *error = write_map(pid, "gid_map", base);
    close(go[1]);
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
}

void check_task_uids(struct doctor *d, struct doctor_check *c)
{
    CLEANUP_FREE char *status = doctor_read(d, "/proc/self/status");
    uint32_t base = base_of(d);
    uint64_t caps = 0;
    int error = 0;
    check_cost(c, "All tasks share one user id with the node: only the other walls keep them apart.");
    check_fix(c, "start hivemind-worker as root: all of it but the launcher gives that up at once");
    if (!d->root) {
        check_set(c, DOCTOR_DEGRADED, "only root can hand them out, and you are not root");
        return;
    }
    if (!status || !facts_field_hex(status, "CapEff", &caps)) {
        check_set(c, DOCTOR_UNKNOWN, "/proc/self/status does not tell the capabilities");
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(needed_caps); i++) {
        if (caps >> needed_caps[i].bit & 1)
            continue;
        check_add(c, "no %s", needed_caps[i].name);
        c->status = DOCTOR_DEGRADED;
        check_fix(c, "give the container CAP_SETUID, CAP_SETGID and CAP_KILL (--cap-add)");
    }
    if (c->status != DOCTOR_OK)
        return;
    int r = try_run(doctor_time(d, TRY_US), try_map, &base, &error, sizeof error);
    if (r < 0)
        check_untried(c, r);
    else if (error) {
        check_set(c, DOCTOR_DEGRADED, "ids %u and %u cannot be mapped: %s", base, base + 1, strerror(error));
        check_fix(c, "see \"user id range\" and \"user namespaces\"");
    } else
        check_set(c, DOCTOR_OK, "handed ids %u and %u to a user namespace", base, base + 1);
}

/* Whom the range belongs to already; false: nobody. */
static bool find_owner(const struct doctor *d, uint32_t base, struct doctor_check *c)
{
    static const struct {
        const char *path;
        bool subordinate;
        const char *words;
    } files[] = {{"/etc/passwd", false, "is the id of"}, {"/etc/subuid", true, "begins the subordinate ids of"}};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        CLEANUP_FREE char *text = doctor_read(d, files[i].path);
        char name[64];
        uint64_t id;
        if (!text || !facts_id_taken(text, files[i].subordinate, base, IDS, name, sizeof name, &id))
            continue;
        check_set(c, DOCTOR_DEGRADED, "%u to %u: %llu %s %s (%s)", base, base + IDS - 1, (unsigned long long)id,
            files[i].words, name, files[i].path);
        return true;
    }
    return false;
}

void check_uid_range(struct doctor *d, struct doctor_check *c)
{
    CLEANUP_FREE char *map = doctor_read(d, "/proc/self/uid_map");
    uint32_t base = base_of(d);
    check_cost(c, "Whoever has one of these ids can reach tasks, and tasks that break out reach what is theirs.");
    check_fix(c, "SLOT_UID_BASE: the first of %d ids that nobody else has", IDS);
    if (find_owner(d, base, c))
        return;
    if (!d->root) {
        check_set(c, DOCTOR_OK, "%u to %u: nobody's; only a node started as root needs them", base, base + IDS - 1);
    } else if (!map) {
        check_set(c, DOCTOR_UNKNOWN, "/proc/self/uid_map cannot be read");
    } else if (!facts_maps(map, base, IDS)) {
        check_set(c, DOCTOR_DEGRADED, "%u to %u do not exist in this user namespace", base, base + IDS - 1);
        check_cost(c, "All tasks share one user id: only the other walls keep them apart.");
        check_fix(c, "SLOT_UID_BASE: the first of %d ids that /proc/self/uid_map has", IDS);
    } else {
        check_set(c, DOCTOR_OK, "%u to %u: mapped, nobody's", base, base + IDS - 1);
    }
}
