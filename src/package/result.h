/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The result of a task package: a zip of the files that the workspace has after the run, and of what the node says of it, in three
 * files of its own at the top:
 *
 *   execution_log.txt  who, where, when, how it ended and what it used: package_execution_log()
 *   task_logs.txt      all that the task has printed
 *   task_stopped.txt   only of a task that was stopped: why
 *
 * Everything is written as it comes; memory does not grow with it. A struct package_result is for one thread at a time.
 */
#ifndef PACKAGE_RESULT_H
#define PACKAGE_RESULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <taskworker/task.h>

#include "base/buf.h"
#include "base/util.h"

#define PACKAGE_EXECUTION_LOG "execution_log.txt"
#define PACKAGE_TASK_LOGS "task_logs.txt"
#define PACKAGE_TASK_STOPPED "task_stopped.txt"

struct package_result;

/* max_bytes: of the archive, more is RESOURCE_EXHAUSTED; 0: no bound. The fd stays the caller's, and need not be seekable. */
int package_result_new(struct package_result **ret, int out_fd, uint64_t max_bytes, struct tw_error *error);
/* Without package_result_end() the archive is left incomplete, with nothing that would pass for an end. Takes NULL. */
struct package_result *package_result_free(struct package_result *result);
static inline void cleanup_package_result(struct package_result **result)
{
    *result = package_result_free(*result);
}
#define CLEANUP_PACKAGE_RESULT CLEANUP(cleanup_package_result)

/* Whether a path is one of the node's own three; a file of the workspace that has it is left out. */
bool package_result_is_own(const char *path);

/*
 * A file of the workspace: exactly `size` bytes from where the fd stands. ALREADY_EXISTS for one of the node's own paths and
 * INVALID_ARGUMENT for one that is not relative UTF-8: then nothing was written, and others can follow. After any other error every
 * call fails. That no path comes twice is the caller's to see to.
 */
int package_result_add_file(
    struct package_result *result, const char *path, int fd, uint64_t size, bool executable, struct tw_error *error);
int package_result_add_folder(struct package_result *result, const char *path, struct tw_error *error);

/* Texts of the node's own, from memory, or from a callback: at most `max` bytes into `to`; how many; 0 at the end; -errno. */
typedef ssize_t (*package_source)(void *arg, void *to, size_t max);
int package_result_add_text(
    struct package_result *result, const char *path, const void *data, size_t len, struct tw_error *error);
int package_result_add_source(
    struct package_result *result, const char *path, package_source source, void *arg, struct tw_error *error);

/* Completes the archive. *ret_bytes (may be NULL): its size. */
int package_result_end(struct package_result *result, uint64_t *ret_bytes, struct tw_error *error);

/* What execution_log.txt says. NULL strings are as "". */
struct package_execution {
    const char *task_id;
    const char *node;    /* its name */
    const char *status;  /* the name of its state */
    const char *reason;  /* the name of its reason */
    const char *message; /* one sentence */
    int32_t exit_code;
    int32_t signal; /* 0: none */
    uint32_t attempt;
    uint64_t started_us, finished_us; /* since the epoch; 0: it did not */
    struct tw_usage usage;
};

/*
 * Appends it, as lines "key: value" in this order, each once and whatever the value:
 *
 *   task_id, node
 *   status       COMPLETED, FAILED or STOPPED
 *   reason       none, or as in task.h: exit_code, signal, timeout_wall, oom, ...
 *   message      a sentence, or nothing
 *   exit_code    of the process
 *   signal       that ended it, or 0
 *   attempt      from 1
 *   started, finished  UTC, 2026-01-31T12:00:00.123456Z, or "-"
 *   and of the use of resources a line for each number of struct tw_usage, by its name: wall_us, user_us, system_us,
 *   max_rss_bytes, peak_memory_bytes (0: not known), ...
 *
 * A value is one line of UTF-8 without control characters. Lines may be added at the end in later versions. 0, or what the
 * buffer says.
 */
int package_execution_log(const struct package_execution *execution, struct buf *out);

#endif
