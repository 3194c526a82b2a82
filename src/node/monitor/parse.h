/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text of the kernel's, taken for hostile, as in machine/machine.h: a NUL-terminated string in, false for what is not understood,
 * and *ret touched on success only. What is read line by line skips lines that are not understood, since newer kernels add some.
 */
#ifndef NODE_MONITOR_PARSE_H
#define NODE_MONITOR_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/monitor/monitor.h"

/* Since boot, in ticks. total is all of them, idle included. */
struct parse_cpu {
    unsigned core; /* PARSE_ALL_CORES: all together */
    uint64_t user, system, idle, iowait, steal, total;
};
#define PARSE_ALL_CORES UINT32_MAX

/* Since the interface was made. */
struct parse_interface {
    char name[MONITOR_LABEL_MAX];
    uint64_t received, sent; /* bytes */
};

/* Since boot. */
struct parse_disk {
    char name[MONITOR_LABEL_MAX]; /* without a slash: as the kernel names its folder, with '!' for it */
    uint64_t read_bytes, written_bytes, busy_ms;
};

/* The next line of /proc/stat (proc_stat(5)) from *text on that is about processors; *text moves behind it. */
bool parse_next_cpu(const char **text, struct parse_cpu *ret);
/* /proc/net/dev (proc_pid_net(5)). */
bool parse_next_interface(const char **text, struct parse_interface *ret);
/* /proc/diskstats (the kernel's Documentation/admin-guide/iostats.rst): whole disks and their parts. */
bool parse_next_disk(const char **text, struct parse_disk *ret);
/* /proc/loadavg (proc_loadavg(5)). */
bool parse_loadavg(const char *text, double ret[3]);
/* The swap of /proc/meminfo (proc_meminfo(5)); used is never more than total. */
bool parse_swap(const char *text, uint64_t *ret_total, uint64_t *ret_used);
/* temp*_input and thermal_zone*\/temp (the kernel's Documentation/hwmon/sysfs-interface.rst): degrees, within reason. */
bool parse_temperature(const char *text, double *ret);
/* One word or line as a label: what is not printable, a quote or a backslash becomes '_'; what is too long is cut. */
void parse_label(const char *text, size_t len, char ret[MONITOR_LABEL_MAX]);

#endif
