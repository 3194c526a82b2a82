/* SPDX-License-Identifier: Apache-2.0 */
#include "node/monitor/collect.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "machine/machine.h"

/* Less than this between two readings: what is gained is mostly chance. */
enum { APART_MIN_US = 1000 };

int collect_init(struct collector *c, const char *root, const char *disk_path)
{
    *c = (struct collector){.root = root ? root : "", .disk_path = disk_path, .text = malloc(COLLECT_TEXT_MAX)};
    return c->text ? 0 : -ENOMEM;
}

void collect_done(struct collector *c)
{
    free(c->text);
    c->text = NULL;
}

static bool full_path(const struct collector *c, const char *path, char out[PATH_MAX])
{
    int n = snprintf(out, PATH_MAX, "%s%s", c->root, path);
    return n > 0 && n < PATH_MAX;
}

/* O_NONBLOCK: in a tree that is not the kernel's there may be a pipe. */
const char *collect_text(struct collector *c, const char *path)
{
    char full[PATH_MAX];
    if (!full_path(c, path, full))
        return NULL;
    CLEANUP_FD int fd = open(full, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd >= 0 ? fd_read_all(fd, c->text, COLLECT_TEXT_MAX) : -1;
    if (n < 0 || n == COLLECT_TEXT_MAX)
        return NULL;
    c->text[n] = '\0';
    return c->text;
}

bool collect_exists(const struct collector *c, const char *path)
{
    char full[PATH_MAX];
    return full_path(c, path, full) && access(full, F_OK) == 0;
}

void collect_put(struct collect_reading *r, int device, const char *label, double value)
{
    if (r->n_devices == ARRAY_LEN(r->devices))
        return;
    struct collect_value *v = &r->devices[r->n_devices++];
    v->device = device;
    v->value = value;
    snprintf(v->label, sizeof v->label, "%s", label);
}

double collect_rate(uint64_t before, uint64_t now, double seconds)
{
    return seconds > 0 && now >= before ? (double)(now - before) / seconds : NAN;
}

/* Single fields may go back a little (iowait does): then nothing was added to them. */
static double share(uint64_t before, uint64_t now, uint64_t total)
{
    return now > before ? MIN((double)(now - before) / (double)total, 1.0) : 0;
}

/* false: there is nothing to compare with, nothing passed, or all went back (a processor was taken out). */
static bool cpu_passed(const struct parse_cpu *before, const struct parse_cpu *now, bool have, uint64_t *ret)
{
    *ret = have && now->total > before->total ? now->total - before->total : 0;
    return *ret > 0;
}

static double cpu_busy(const struct parse_cpu *before, const struct parse_cpu *now, uint64_t total)
{
    uint64_t was = before->total - before->idle - before->iowait, is = now->total - now->idle - now->iowait;
    return share(was, is, total);
}

static void read_cpu(struct collector *c, struct collect_reading *ret)
{
    const char *text = collect_text(c, "/proc/stat");
    bool seen[ARRAY_LEN(c->have_cpu)] = {false};
    struct parse_cpu now;
    while (text && parse_next_cpu(&text, &now)) {
        size_t i = now.core == PARSE_ALL_CORES ? 0 : (size_t)now.core + 1;
        uint64_t total;
        if (i >= ARRAY_LEN(c->cpus) || seen[i])
            continue;
        const struct parse_cpu *before = &c->cpus[i];
        if (cpu_passed(before, &now, c->have_cpu[i], &total) && i == 0) {
            ret->fixed[MONITOR_CPU_BUSY] = cpu_busy(before, &now, total);
            ret->fixed[MONITOR_CPU_USER] = share(before->user, now.user, total);
            ret->fixed[MONITOR_CPU_SYSTEM] = share(before->system, now.system, total);
            ret->fixed[MONITOR_CPU_IOWAIT] = share(before->iowait, now.iowait, total);
            ret->fixed[MONITOR_CPU_STEAL] = share(before->steal, now.steal, total);
        }
        char label[MONITOR_LABEL_MAX];
        snprintf(label, sizeof label, "%u", now.core);
        if (i > 0)
            collect_put(ret, MONITOR_CORE_BUSY, label, total > 0 ? cpu_busy(before, &now, total) : NAN);
        c->cpus[i] = now;
        seen[i] = true;
    }
    memcpy(c->have_cpu, seen, sizeof seen);
}

static void read_memory(struct collector *c, struct collect_reading *ret)
{
    struct machine_memory memory;
    uint64_t total, used;
    const char *text = collect_text(c, "/proc/meminfo");
    if (text && machine_parse_meminfo(text, &memory)) {
        ret->fixed[MONITOR_MEMORY_TOTAL] = (double)memory.total_bytes;
        ret->fixed[MONITOR_MEMORY_USED] = (double)(memory.total_bytes - memory.available_bytes);
    }
    if (text && parse_swap(text, &total, &used)) {
        ret->fixed[MONITOR_SWAP_TOTAL] = (double)total;
        ret->fixed[MONITOR_SWAP_USED] = (double)used;
    }
}

static void read_load(struct collector *c, struct collect_reading *ret)
{
    double loads[3];
    const char *text = collect_text(c, "/proc/loadavg");
    if (text && parse_loadavg(text, loads)) {
        ret->fixed[MONITOR_LOAD_1] = loads[0];
        ret->fixed[MONITOR_LOAD_5] = loads[1];
        ret->fixed[MONITOR_LOAD_15] = loads[2];
    }
}

/* full < 0: it is not asked for. */
static void read_pressure(struct collector *c, const char *path, int some, int full, struct collect_reading *ret)
{
    struct machine_pressure pressure;
    const char *text = collect_text(c, path);
    if (!text || !machine_parse_pressure(text, &pressure))
        return;
    ret->fixed[some] = pressure.some.avg10 / 10000.0;
    if (full >= 0)
        ret->fixed[full] = pressure.full.avg10 / 10000.0;
}

void collect_read(struct collector *c, uint64_t wall_us, uint64_t now_us, struct collect_reading *ret)
{
    uint64_t bytes, unused;
    bool apart = c->last_us && now_us >= c->last_us + APART_MIN_US;
    ret->wall_us = wall_us;
    ret->n_devices = 0;
    for (size_t i = 0; i < MONITOR_FIXED_MAX; i++)
        ret->fixed[i] = NAN;
    read_cpu(c, ret);
    read_load(c, ret);
    read_memory(c, ret);
    read_pressure(c, "/proc/pressure/cpu", MONITOR_PRESSURE_CPU, -1, ret);
    read_pressure(c, "/proc/pressure/memory", MONITOR_PRESSURE_MEMORY, MONITOR_PRESSURE_MEMORY_FULL, ret);
    read_pressure(c, "/proc/pressure/io", MONITOR_PRESSURE_IO, MONITOR_PRESSURE_IO_FULL, ret);
    if (c->disk_path && machine_disk(c->disk_path, &bytes, &unused) == 0) {
        ret->fixed[MONITOR_DISK_TOTAL] = (double)bytes;
        ret->fixed[MONITOR_DISK_FREE] = (double)unused;
    }
    collect_devices(c, apart ? (double)(now_us - c->last_us) / 1e6 : 0, ret);
    collect_temperatures(c, now_us, ret);
    c->last_us = now_us;
}
