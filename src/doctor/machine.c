/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel, memory, the clock, and the limits that a process has here. */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/timex.h>
#include <sys/utsname.h>

#include "base/clock.h"
#include "base/parse.h"
#include "doctor/facts.h"
#include "doctor/internal.h"
#include "machine/machine.h"

enum {
    KERNEL_MAJOR = 5, /* 5.10: what Debian 11 had, and the oldest one that this is meant for */
    KERNEL_MINOR = 10,
    MEMORY_LOW_MIB = 512,
    PRESSURE_HIGH = 1000, /* 10 % */
    FILES_LOW = 4096,
    PROCESSES_LOW = 4096,
};

#define MIB (UINT64_C(1024) * 1024)

/* Before this there was no such program, after that the clock is surely wrong. */
#define CLOCK_EARLIEST UINT64_C(1735689600) /* 2025 */
#define CLOCK_LATEST UINT64_C(4102444800)   /* 2100 */

void check_kernel(struct doctor *d, struct doctor_check *c)
{
    char release[128];
    struct utsname name;
    unsigned major, minor;
    check_cost(c, "Older kernels lack some walls of the sandbox, and are not tested.");
    check_fix(c, "install a kernel of version %d.%d or newer", KERNEL_MAJOR, KERNEL_MINOR);
    if (!doctor_line(d, "/proc/sys/kernel/osrelease", release, sizeof release)) {
        if (uname(&name) < 0) {
            check_set(c, DOCTOR_UNKNOWN, "neither /proc nor uname says its version");
            return;
        }
        snprintf(release, sizeof release, "%s", name.release);
    }
    if (!facts_version(release, &major, &minor))
        check_set(c, DOCTOR_UNKNOWN, "%.100s is no version", release);
    else if (major < KERNEL_MAJOR || (major == KERNEL_MAJOR && minor < KERNEL_MINOR))
        check_set(c, DOCTOR_DEGRADED, "Linux %.100s is older than %d.%d", release, KERNEL_MAJOR, KERNEL_MINOR);
    else
        check_set(c, DOCTOR_OK, "Linux %.100s", release);
}

void check_memory(struct doctor *d, struct doctor_check *c)
{
    CLEANUP_FREE char *text = doctor_read(d, "/proc/meminfo");
    uint64_t total, available;
    check_cost(c, "Tasks share what is there; with little of it the kernel ends some of them.");
    check_fix(c, "end other programs, give the machine more memory, or lower MAX_CONCURRENT_TASKS");
    if (!text || !facts_field(text, "MemTotal", &total) || !facts_field(text, "MemAvailable", &available)) {
        check_set(c, DOCTOR_UNKNOWN, "/proc/meminfo does not say it");
        return;
    }
    uint64_t limit = UINT64_MAX;
    bool limited = groups_limit(d, true, &limit) && limit / 1024 < total;
    bool low = available / 1024 < MEMORY_LOW_MIB || limit / MIB < MEMORY_LOW_MIB;
    check_set(c, low ? DOCTOR_DEGRADED : DOCTOR_OK, "%llu MiB of %llu MiB available",
        (unsigned long long)available / 1024, (unsigned long long)total / 1024);
    if (limited)
        check_add(c, "%llu MiB of it for this control group", (unsigned long long)(limit / MIB));
}

void check_swap(struct doctor *d, struct doctor_check *c)
{
    CLEANUP_FREE char *text = doctor_read(d, "/proc/meminfo");
    uint64_t total, left;
    check_cost(
        c, "With swap a task goes on slowly beyond the machine's memory, and slows down all others; without it ends.");
    check_fix(c, "nothing: a node is as well without swap");
    if (!text || !facts_field(text, "SwapTotal", &total) || !facts_field(text, "SwapFree", &left))
        check_set(c, DOCTOR_UNKNOWN, "/proc/meminfo does not say it");
    else if (total == 0)
        check_set(c, DOCTOR_OK, "none");
    else if (left < total / 10) {
        check_set(c, DOCTOR_DEGRADED, "%llu MiB of %llu MiB free", (unsigned long long)left / 1024,
            (unsigned long long)total / 1024);
        check_cost(c, "The machine has run out of memory already: everything on it is slow.");
        check_fix(c, "end other programs, or give the machine more memory");
    } else
        check_set(c, DOCTOR_OK, "%llu MiB of %llu MiB free", (unsigned long long)left / 1024,
            (unsigned long long)total / 1024);
}

void check_pressure(struct doctor *d, struct doctor_check *c)
{
    CLEANUP_FREE char *text = doctor_read(d, "/proc/pressure/memory");
    struct machine_pressure pressure;
    check_cost(c, "Nobody sees when the machine stalls for want of memory.");
    check_fix(c, "boot with psi=1 (and a kernel with CONFIG_PSI)");
    if (!text) {
        check_set(c, DOCTOR_MISSING, "the kernel does not measure it");
    } else if (!machine_parse_pressure(text, &pressure)) {
        check_set(c, DOCTOR_UNKNOWN, "/proc/pressure/memory is not understood");
    } else {
        unsigned full = pressure.full.avg60;
        check_set(c, full > PRESSURE_HIGH ? DOCTOR_DEGRADED : DOCTOR_OK, "stalled %u.%02u %% of the last minute",
            full / 100, full % 100);
        if (full > PRESSURE_HIGH) {
            check_cost(c, "Tasks stand still while the kernel looks for memory.");
            check_fix(c, "end other programs, give the machine more memory, or lower MAX_CONCURRENT_TASKS");
        }
    }
}

void check_huge_pages(struct doctor *d, struct doctor_check *c)
{
    char text[128], choice[32];
    check_cost(c, "The warm interpreter cannot lie on huge pages: some more page faults for each task.");
    check_fix(c, "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled");
    if (!doctor_line(d, "/sys/kernel/mm/transparent_hugepage/enabled", text, sizeof text))
        check_set(c, DOCTOR_MISSING, "the kernel has no transparent huge pages, or hides them");
    else if (!facts_choice(text, choice, sizeof choice))
        check_set(c, DOCTOR_UNKNOWN, "the kernel's answer is not understood");
    else
        check_set(c, strcmp(choice, "never") ? DOCTOR_OK : DOCTOR_DEGRADED, "transparent huge pages: %s", choice);
}

void check_clock(struct doctor *d, struct doctor_check *c)
{
    (void)d;
    char text[CLOCK_TEXT_MAX];
    struct timex state = {0}; /* modes 0: only asks */
    uint64_t now = clock_wall_us();
    int r = adjtimex(&state);
    bool kept = r >= 0 && r != TIME_ERROR && !(state.status & STA_UNSYNC);
    check_cost(c, "Times in lists, logs and receipts are wrong, and tasks come out of order after a correction.");
    check_fix(c, "set it: timedatectl set-ntp true, or chronyd -q 'pool pool.ntp.org iburst'");
    bool sane = now / 1000000 >= CLOCK_EARLIEST && now / 1000000 < CLOCK_LATEST;
    clock_format(now, text);
    text[10] = '\0'; /* the day alone */
    check_set(c, sane ? DOCTOR_OK : DOCTOR_DEGRADED, "%s is %s; %s", text, sane ? "plausible" : "hardly true",
        kept ? "kept in step" : "the kernel does not know whether it is kept in step");
}

static void show_limit(rlim_t v, char out[32])
{
    if (v == RLIM_INFINITY)
        snprintf(out, 32, "unlimited");
    else
        snprintf(out, 32, "%llu", (unsigned long long)v);
}

void check_open_files(struct doctor *d, struct doctor_check *c)
{
    (void)d;
    struct rlimit limit;
    char soft[32], hard[32];
    check_cost(c, "Each connection and each running task needs some: with few a node refuses connections.");
    check_fix(c, "ulimit -n 65536 before it is started, or LimitNOFILE=65536 in its systemd unit");
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        check_set(c, DOCTOR_UNKNOWN, "the kernel does not say it");
        return;
    }
    show_limit(limit.rlim_cur, soft);
    show_limit(limit.rlim_max, hard);
    check_set(c, limit.rlim_max < FILES_LOW ? DOCTOR_DEGRADED : DOCTOR_OK, "%s, at most %s", soft, hard);
}

void check_processes(struct doctor *d, struct doctor_check *c)
{
    struct rlimit limit;
    char soft[32];
    uint64_t pids = UINT64_MAX, threads = UINT64_MAX;
    check_cost(c, "Tasks cannot start processes when all are taken; one task alone may have 1024.");
    check_fix(c, "ulimit -u 32768 before it is started, or LimitNPROC= and TasksMax= in its systemd unit");
    if (getrlimit(RLIMIT_NPROC, &limit) < 0) {
        check_set(c, DOCTOR_UNKNOWN, "the kernel does not say it");
        return;
    }
    (void)doctor_number(d, "/proc/sys/kernel/pid_max", &pids);
    (void)doctor_number(d, "/proc/sys/kernel/threads-max", &threads);
    uint64_t machine = MIN(pids, threads), group = UINT64_MAX;
    bool grouped = groups_limit(d, false, &group);
    uint64_t least = MIN(machine, group);
    if (!d->root)
        least = MIN(least, (uint64_t)limit.rlim_max);
    show_limit(limit.rlim_max, soft);
    check_set(c, least < PROCESSES_LOW ? DOCTOR_DEGRADED : DOCTOR_OK, "%s for this user", d->root ? "unlimited" : soft);
    if (machine != UINT64_MAX)
        check_add(c, "%llu on the machine", (unsigned long long)machine);
    if (grouped)
        check_add(c, "%llu in this control group", (unsigned long long)group);
}
