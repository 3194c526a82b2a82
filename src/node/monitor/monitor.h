/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the machine is doing: once a second the processors, memory, disks, network, pressure and temperatures, and what
 * the daemon adds of its own. All of them are series of numbers described by one table, out of which JSON, OpenMetrics and
 * charts can be made without knowing any of them.
 *
 * A series is fixed (MONITOR_CPU_BUSY, always there), of a device (one for each processor, interface, ...; bounded in number,
 * known by its label), or added by the daemon. Its index is where its value stands in a sample and in a point of the history;
 * it stays as long as the monitor, but the index of a device that has been gone for a quarter of an hour may be given to another
 * one. NAN: not known.
 *
 * The past is kept at three steps (1 s for 15 minutes, 10 s for 6 hours, 5 min for 30 days), in memory and in a database, neither
 * of which grows beyond that: 47 KB of memory for each series, a few MB of disk. The database is for charts alone: where it is
 * full, broken or cannot be opened, the log says so once and the monitor goes on without.
 *
 * All functions are for the loop's thread, which is never blocked: whatever reads files runs in libuv's pool. Callbacks come on
 * the loop's thread too.
 */
#ifndef NODE_MONITOR_MONITOR_H
#define NODE_MONITOR_MONITOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include <taskworker/error.h>

/* Name, unit ("": a plain number), what it is. Names end in their unit, as OpenMetrics has it. A ratio is 0 to 1. */
#define MONITOR_FIXED_SERIES(X)                                                                                        \
    X(CPU_BUSY, "cpu_busy_ratio", "ratio", "Share of the processors' time that was used, by others too (steal)")       \
    X(CPU_USER, "cpu_user_ratio", "ratio", "Share of the processors' time used by programs")                           \
    X(CPU_SYSTEM, "cpu_system_ratio", "ratio", "Share of the processors' time used by the kernel")                     \
    X(CPU_IOWAIT, "cpu_iowait_ratio", "ratio", "Share of the processors' time in which they waited for disks")         \
    X(CPU_STEAL, "cpu_steal_ratio", "ratio", "Share of the processors' time that other virtual machines took")         \
    X(LOAD_1, "load_1m", "", "Load average of one minute")                                                             \
    X(LOAD_5, "load_5m", "", "Load average of five minutes")                                                           \
    X(LOAD_15, "load_15m", "", "Load average of fifteen minutes")                                                      \
    X(MEMORY_TOTAL, "memory_total_bytes", "bytes", "Memory of the machine")                                            \
    X(MEMORY_USED, "memory_used_bytes", "bytes", "Memory that is not available to new programs")                       \
    X(SWAP_TOTAL, "swap_total_bytes", "bytes", "Swap space of the machine")                                            \
    X(SWAP_USED, "swap_used_bytes", "bytes", "Swap space that is in use")                                              \
    X(DISK_TOTAL, "disk_total_bytes", "bytes", "Size of the file system that the node stores on")                      \
    X(DISK_FREE, "disk_free_bytes", "bytes", "What ordinary users may still take of that file system")                 \
    X(DISK_READ, "disk_read_bytes_per_second", "bytes_per_second", "Read from all disks")                              \
    X(DISK_WRITE, "disk_write_bytes_per_second", "bytes_per_second", "Written to all disks")                           \
    X(NETWORK_RECEIVE, "network_receive_bytes_per_second", "bytes_per_second", "Received from outside the machine")    \
    X(NETWORK_TRANSMIT, "network_transmit_bytes_per_second", "bytes_per_second", "Sent to outside the machine")        \
    X(PRESSURE_CPU, "pressure_cpu_some_ratio", "ratio", "Share of 10 s in which some program waited for a processor")  \
    X(PRESSURE_MEMORY, "pressure_memory_some_ratio", "ratio", "Share of 10 s in which some program waited for memory") \
    X(PRESSURE_MEMORY_FULL, "pressure_memory_full_ratio", "ratio", "Share of 10 s in which all waited for memory")     \
    X(PRESSURE_IO, "pressure_io_some_ratio", "ratio", "Share of 10 s in which some program waited for a disk")         \
    X(PRESSURE_IO_FULL, "pressure_io_full_ratio", "ratio", "Share of 10 s in which all waited for a disk")

/* Name, unit, what it is, the name of its label, how many there may be. */
#define MONITOR_DEVICE_SERIES(X)                                                                                      \
    X(CORE_BUSY, "core_busy_ratio", "ratio", "Share of one processor's time that was used", "core", 128)              \
    X(INTERFACE_RECEIVE, "interface_receive_bytes_per_second", "bytes_per_second",                                    \
        "Received by one network interface", "interface", 16)                                                         \
    X(INTERFACE_TRANSMIT, "interface_transmit_bytes_per_second", "bytes_per_second", "Sent by one network interface", \
        "interface", 16)                                                                                              \
    X(DEVICE_READ, "device_read_bytes_per_second", "bytes_per_second", "Read from one disk", "device", 16)            \
    X(DEVICE_WRITE, "device_write_bytes_per_second", "bytes_per_second", "Written to one disk", "device", 16)         \
    X(DEVICE_BUSY, "device_busy_ratio", "ratio", "Share of the time in which one disk had something to do", "device", \
        16)                                                                                                           \
    X(TEMPERATURE, "temperature_celsius", "celsius", "What one sensor measures", "sensor", 16)

enum monitor_fixed {
#define X(id, name, unit, help) MONITOR_##id,
    MONITOR_FIXED_SERIES(X)
#undef X
        MONITOR_FIXED_MAX
};

enum monitor_device {
#define X(id, name, unit, help, label, max) MONITOR_##id,
    MONITOR_DEVICE_SERIES(X)
#undef X
        MONITOR_DEVICE_MAX
};

enum {
#define X(id, name, unit, help, label, max) +max
    MONITOR_DEVICES_MAX = 0 MONITOR_DEVICE_SERIES(X), /* of all kinds together */
#undef X
    MONITOR_ADDED_MAX = 32,
    MONITOR_SERIES_MAX = MONITOR_FIXED_MAX + MONITOR_DEVICES_MAX + MONITOR_ADDED_MAX,
    MONITOR_LABEL_MAX = 48,
};

struct monitor;

struct monitor_sample {
    uint64_t wall_us; /* when it was taken; 0: there is none yet. One that is old: the machine does not answer */
    size_t n;         /* indices of series so far */
    double values[MONITOR_SERIES_MAX]; /* by index */
};

struct monitor_series {
    const char *name, *unit, *help;
    const char *label_name; /* NULL: it has no label */
    char label
        [MONITOR_LABEL_MAX]; /* printable ASCII without quotes and backslashes: fit for JSON and OpenMetrics as it is */
};

struct monitor_options {
    const char *path;      /* of the database, made where it is missing, its folder not; NULL: memory alone. Copied */
    const char *disk_path; /* whose file system is watched; NULL: none. Copied */
    const char *root;      /* as in machine_source: put before paths of /proc, /sys and /dev, for tests. Copied */
    unsigned interval_ms;  /* 0: a second, in the middle of each of the clock's */
    unsigned flush_ms;     /* how often the database is written; 0: 10 s */
    /* Called for each sample, which is monitor_latest()'s, and once when the past has been read; both may be NULL. */
    void (*sampled)(void *ctx, const struct monitor_sample *sample);
    void (*loaded)(void *ctx);
    void *ctx;
};

/*
 * Begins at once; keeps no loop from ending. What is wrong with the database is logged, no error: -1 with *error for want of
 * memory or a path that is too long only.
 */
int monitor_open(uv_loop_t *loop, const struct monitor_options *options, struct monitor **ret, struct tw_error *error);
/*
 * Writes what is not on disk yet and frees all; `closed` (may be NULL) comes when that is done, never from within. No other
 * callback comes once this has been called. It waits for a disk that hangs, as the loop's own end would. NULL: nothing happens.
 */
void monitor_close(struct monitor *monitor, void (*closed)(void *ctx), void *ctx);

/*
 * A series of the daemon's own: `read` is asked with each sample. The three strings are borrowed until the monitor is closed. To be
 * called right after monitor_open(), so that its past is found. Returns its index; -EEXIST: there is one of this name; -ENOSPC:
 * there are too many; -ENOMEM.
 */
int monitor_add(struct monitor *monitor, const char *name, const char *unit, const char *help,
    double (*read)(void *ctx), void *ctx);

/* Never NULL; valid until the next sample. */
const struct monitor_sample *monitor_latest(const struct monitor *monitor);
/* false: there is no series with this index. Indices go from 0 to n of the latest sample, with gaps. The strings are borrowed. */
bool monitor_series(const struct monitor *monitor, size_t index, struct monitor_series *ret);

/*
 * The points from from_us to to_us (wall clock), oldest first: means over step_us from at_us on, no more than max_points of them
 * (at least 1) and none where nothing is known. The finest step that reaches back to from_us is taken. What lies in the future,
 * after a clock that was wrong, is left out. The callback must not call back into the monitor. Returns the number of points.
 */
typedef void (*monitor_point)(void *ctx, uint64_t at_us, uint64_t step_us, const double *values, size_t n);
size_t monitor_history(
    struct monitor *monitor, uint64_t from_us, uint64_t to_us, size_t max_points, monitor_point point, void *ctx);

#endif
