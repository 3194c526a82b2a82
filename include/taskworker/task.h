/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A task: what is asked for (tw_task_spec) and what became of it (tw_task_info).
 *
 * Times are microseconds: points in time since the Unix epoch, durations as such. 0 means "not yet" or "not given".
 */
#ifndef TASKWORKER_TASK_H
#define TASKWORKER_TASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <taskworker/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Where a task is. The last three are final: a task that reached one of them never changes again. */
#define TW_TASK_STATES(X)                                          \
    X(QUEUED, 1)    /* accepted and durable, waiting for a slot */ \
    X(ALLOCATED, 2) /* a slot is set aside */                      \
    X(PREPARING, 3) /* its input is loaded, its sandbox is made */ \
    X(RUNNING, 4)   /* its process exists */                       \
    X(COMPLETED, 5) /* ended well */                               \
    X(FAILED, 6)    /* ended badly; the reason says how */         \
    X(STOPPED, 7)   /* ended on request */

enum tw_task_state {
    TW_TASK_STATE_NONE = 0,
#define X(name, number) TW_TASK_##name = number,
    TW_TASK_STATES(X)
#undef X
        TW_TASK_STATE_MAX
};

/* How a task ended, apart from where it is. The numbers are stored and sent: never reuse one. */
#define TW_REASONS(X)                                                                            \
    X(NONE, 0, "none")                                                                           \
    X(EXIT_CODE, 1, "exit_code")         /* ended by itself with a code other than 0 */          \
    X(SIGNAL, 2, "signal")               /* killed by a signal that the node did not send */     \
    X(TIMEOUT_QUEUE, 3, "timeout_queue") /* waited too long for a slot */                        \
    X(TIMEOUT_WALL, 4, "timeout_wall")   /* ran longer than its time-out */                      \
    X(TIMEOUT_CPU, 5, "timeout_cpu")     /* used more CPU time than allowed */                   \
    X(OOM, 6, "oom")                     /* used more memory than allowed */                     \
    X(OUTPUT_LIMIT, 7, "output_limit")   /* result larger than the node keeps */                 \
    X(DISK_LIMIT, 8, "disk_limit")       /* wrote more than allowed */                           \
    X(PIDS_LIMIT, 9, "pids_limit")       /* more processes than allowed */                       \
    X(STOPPED_BY_USER, 10, "stopped_by_user")                                                    \
    X(SHUTDOWN, 11, "shutdown")           /* the node was told to stop its tasks and leave */    \
    X(LOST, 12, "lost")                   /* the node died or lost the sandbox under the task */ \
    X(BAD_INPUT, 13, "bad_input")         /* the input cannot be run (not Python, no UTF-8) */   \
    X(IMAGE_ERROR, 14, "image_error")     /* the container image cannot be had */                \
    X(SANDBOX_ERROR, 15, "sandbox_error") /* the node could not make the sandbox */              \
    X(STORAGE_ERROR, 16, "storage_error") /* the node could not keep the result */               \
    X(BAD_RESULT, 17, "bad_result")       /* ended well, but what it left as its result cannot be read */

enum tw_reason {
#define X(name, number, text) TW_REASON_##name = number,
    TW_REASONS(X)
#undef X
        TW_REASON_MAX
};

enum tw_stream {
    TW_STREAM_STDOUT = 1,
    TW_STREAM_STDERR = 2,
};

struct tw_env {
    const char *name;
    const char *value;
};

/*
 * What a caller asks for. Set `size` to sizeof(struct tw_task_spec) and every field you do not know to zero. The library
 * copies what it needs: everything may be freed when the call returns.
 */
struct tw_task_spec {
    size_t size;
    const char *id;          /* NULL or "": the node makes one; else 1 to 128 bytes, see tw_task_id_check() */
    const char *type;        /* "python" or "shell" */
    const char *owner;       /* NULL: nobody in particular */
    const void *data;        /* the source text */
    size_t data_len;         /* 1 to the node's MAX_TASK_SIZE */
    const char *const *args; /* the script's arguments, without its own name */
    size_t n_args;
    const struct tw_env *env; /* the task's whole environment beside the few variables of the sandbox */
    size_t n_env;
    uint64_t timeout_us; /* wall clock, from the start of the process; 0: the node's default */
    uint32_t retries;    /* how many more attempts a task gets whose attempt was lost */
};

struct tw_usage {
    uint64_t wall_us;
    uint64_t user_us;
    uint64_t system_us;
    uint64_t max_rss_bytes;
};

/* What became of a task. Strings belong to the struct's owner: tw_task_info_done() frees them. */
struct tw_task_info {
    char *id;
    char *type;
    char *owner; /* never NULL, may be "" */
    enum tw_task_state state;
    enum tw_reason reason;
    char *message; /* one sentence for a person, never NULL */
    char *error;   /* what the task itself says of its failure (a traceback), never NULL, may be "" */
    int32_t exit_code;
    int32_t signal;   /* 0, or the signal that ended the task */
    uint32_t attempt; /* 1 for the first; 0 before it */
    uint32_t retries;
    uint64_t timeout_us;
    uint64_t created_us;
    uint64_t started_us;
    uint64_t finished_us;
    uint64_t result_size; /* bytes */
    uint64_t log_size;    /* bytes of output kept */
    bool log_truncated;   /* output went missing: limit or full disk */
    struct tw_usage usage;
};

/* Names as in the lists above ("QUEUED", "timeout_wall"); NULL for a number that is none of them. */
TW_PUBLIC const char *tw_task_state_to_string(enum tw_task_state state);
TW_PUBLIC const char *tw_reason_to_string(enum tw_reason reason);

/* Frees what the info holds, not the info; it is all zero afterwards. NULL is allowed. */
TW_PUBLIC void tw_task_info_done(struct tw_task_info *info);

/*
 * Checks a task id: 1 to 128 bytes of valid UTF-8 without control characters, slashes, backslashes or white space, and not
 * starting with '-' or '.'. Returns 0, or -1 with INVALID_ARGUMENT.
 */
TW_PUBLIC int tw_task_id_check(const char *id, size_t len, struct tw_error *error);

#ifdef __cplusplus
}
#endif
#endif
