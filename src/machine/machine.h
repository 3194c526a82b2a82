/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this machine offers to tasks and how loaded it is. Nothing is kept between two calls but what the caller holds, and
 * nothing is locked: two threads may call anything here as long as they do not share a struct. Nothing logs.
 *
 * Text of the kernel's is parsed by pure functions that take it for hostile: they need a NUL-terminated string, return
 * false for what they do not understand, and touch *ret on success only.
 */
#ifndef MACHINE_MACHINE_H
#define MACHINE_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <taskworker/error.h>

/* --- what is there --- */

enum { MACHINE_GPUS_MAX = 16, MACHINE_NAME_MAX = 96 };

/* The minor number of a GPU whose library does not say it. */
#define MACHINE_MINOR_UNKNOWN UINT32_MAX
/* What a limit is where there is none. */
#define MACHINE_NO_LIMIT UINT64_MAX

/* Where it is looked. NULL or all zero: the machine itself. Otherwise for tests. */
struct machine_source {
    const char *root;    /* put before the paths of files in /proc and /sys; NULL: nothing. Borrowed */
    unsigned processors; /* how many this process may use; 0: the kernel is asked */
};

/*
 * score: cores * highest clock of the multiprocessors in MHz / 1000, which is 10^9 core cycles a second: 4070 for a T4, 33454
 * for an H100. Where the driver does not tell both it is half of the memory in MiB, which is of the same order but no more.
 * It compares GPUs, also of different machines; it says nothing about how long a program takes.
 */
struct machine_gpu {
    char name[MACHINE_NAME_MAX]; /* as the driver says it */
    char uuid[MACHINE_NAME_MAX]; /* "GPU-..."; "" where the library does not say it */
    unsigned index;              /* NVML's */
    unsigned minor;              /* of /dev/nvidiaN, or MACHINE_MINOR_UNKNOWN */
    uint64_t memory_bytes;       /* all of it; 0: not known */
    unsigned score;              /* 0: not known */
};

struct machine_gpus {
    bool loaded;    /* libnvidia-ml.so.1 is there, with the functions that are needed */
    int error;      /* NVML's own number, 0 for success */
    unsigned count; /* how many NVML counts; fewer may be usable, and no more than MACHINE_GPUS_MAX are described */
    char driver[MACHINE_NAME_MAX];
    struct machine_gpu gpus[MACHINE_GPUS_MAX];
    unsigned n_gpus;
};

/*
 * The GPUs of NVIDIA's, by NVML (docs.nvidia.com/deploy/nvml-api), which is loaded for the time of the call. No library, no
 * driver and no GPU are no errors. The library is another's code in this process and may take seconds or, with a broken
 * driver, not return: not for a thread that others wait for. One call at a time.
 */
void machine_gpus_find(struct machine_gpus *ret);

/*
 * cpu_millis: thousandths of a processor; the online processors that this process may use (sched_getaffinity(2)), and no more
 * than the CPU quota of any control group above it (cpu.max; version 1: cpu.cfs_quota_us by cpu.cfs_period_us); at least 1.
 * memory_bytes: MemTotal (proc_meminfo(5)), and no more than any of those groups allows (memory.max; version 1:
 * memory.limit_in_bytes). Groups as the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst have them.
 */
struct machine_totals {
    uint64_t cpu_millis;
    uint64_t memory_bytes;
    uint64_t disk_bytes;      /* of the file system of the path that was given */
    uint64_t disk_free_bytes; /* of these, what a user without privileges may still take */
    struct machine_gpu gpus[MACHINE_GPUS_MAX];
    unsigned n_gpus;
};

/* All of it; -1 with *error where /proc/meminfo or the file system cannot be read. May block as machine_gpus_find() does. */
int machine_totals_find(
    const struct machine_source *source, const char *disk_path, struct machine_totals *ret, struct tw_error *error);
/* Its parts, but for the GPUs. */
uint64_t machine_cpu_millis(const struct machine_source *source);
int machine_memory_bytes(const struct machine_source *source, uint64_t *ret); /* -errno; -EBADMSG: not understood */
int machine_disk(const char *path, uint64_t *ret_bytes, uint64_t *ret_free_bytes);

/*
 * How fast the processors are: MiB/s of BLAKE2b over a buffer of 64 KiB (which stays in the processor's own cache), by one
 * thread, times the processors of machine_cpu_millis(). Takes about 60 ms of the calling thread: six slices of 10 ms, of which
 * the fastest counts, so that one in which the thread had to wait does not. It is measured at each call: who needs it twice
 * keeps it. 0 or -errno.
 */
int machine_measure_cpu_score(uint64_t *ret);

/* --- how loaded it is --- */

/* Since boot, in ticks, over all processors. Busy is all but idle and iowait: also steal, the time that others took from us. */
struct machine_ticks {
    uint64_t busy, total;
};

struct machine_memory {
    uint64_t total_bytes, available_bytes; /* available is never more than total */
};

/* How much of the last 10 and 60 seconds was lost, in hundredths of a percent (0 to 10000). */
struct machine_stall {
    unsigned avg10, avg60;
};

/* some: at least one process stood still; full: all of them did. Kernels before 5.13 have no `full` for cpu: zero. */
struct machine_pressure {
    bool present; /* the kernel measures it (CONFIG_PSI, psi=1) */
    struct machine_stall some, full;
};

/* /proc/stat: proc_stat(5). */
bool machine_parse_stat(const char *text, struct machine_ticks *ret);
/* /proc/meminfo: proc_meminfo(5). */
bool machine_parse_meminfo(const char *text, struct machine_memory *ret);
/* /proc/pressure/cpu, memory or io: the kernel's Documentation/accounting/psi.rst. */
bool machine_parse_pressure(const char *text, struct machine_pressure *ret);
/* cpu.max of version 2, and cpu.cfs_quota_us and cpu.cfs_period_us of version 1: thousandths of a processor, rounded up. */
bool machine_parse_cpu_max(const char *text, uint64_t *ret_millis);
bool machine_parse_cfs(const char *quota, const char *period, uint64_t *ret_millis);
/* memory.max of version 2, and memory.limit_in_bytes of version 1. */
bool machine_parse_memory_limit(const char *text, uint64_t *ret_bytes);

struct machine_load {
    bool busy_known;         /* false: the first sample, or /proc/stat was not understood */
    unsigned busy_per_mille; /* of all processors, from the sample before to this one: 0 to 1000 */
    bool memory_known;
    struct machine_memory memory;
    struct machine_pressure cpu, memory_pressure, io;
};

/* What one sample leaves for the next. */
struct machine_load_state {
    struct machine_source source;
    struct machine_ticks ticks;
    bool have_ticks, have_busy;
    unsigned busy_per_mille;
};

/* source: NULL or as above; it is copied. */
void machine_load_init(struct machine_load_state *state, const struct machine_source *source);
/*
 * Reads five files of /proc, which takes less than a millisecond, and does not wait for anything. 0, or -errno of the first of
 * /proc/stat and /proc/meminfo that cannot be read (-EBADMSG: not understood); *ret is filled with the rest in any case.
 */
int machine_load_sample(struct machine_load_state *state, struct machine_load *ret);

/* --- how much more than it has may be promised --- */

/*
 * Tasks seldom use all that they asked for. per_mille says how much may be promised, in thousandths of what is there; it goes
 * up slowly while the machine is quiet and comes down fast when there is pressure, and is never below 1000:
 *
 * up, by 100 every 30 s to the ceiling: busy stayed under 700 per mille for 2 minutes, and there is no want of memory (some
 *   avg10 of memory under 1 %, where the kernel says it, and more than a tenth of the memory available).
 * down, by 250 every 10 s, the first time at once: some avg10 of cpu above 60 %, or of memory above 5 %; where the kernel does
 *   not say it for cpu, busy was above 900 per mille for 30 s.
 *
 * Pressure begins the 2 minutes anew. So does a sample that is missing, has no busy share, or comes more than 30 s after the
 * one before, since nobody saw what was between. A step changes per_mille once at most, however long ago the last one was.
 */
enum { OVERCOMMIT_MIN = 1000 };

struct overcommit {
    unsigned per_mille;
    bool started, quiet, busy, raised, lowered; /* whether the times below are times */
    uint64_t last_us;                           /* of the last step */
    uint64_t quiet_since_us, busy_since_us;
    uint64_t raised_us, lowered_us;
};

void overcommit_init(struct overcommit *o);
/*
 * One sample, about every 10 s; now_us is monotonic (one that goes back makes the windows begin anew). Nothing but this changes
 * *o. A ceiling below 1000 counts as 1000; one below per_mille holds at once. Returns per_mille.
 */
unsigned overcommit_step(
    struct overcommit *o, const struct machine_load *load, uint64_t now_us, unsigned ceiling_per_mille);

#endif
