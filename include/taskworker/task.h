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
#define TW_REASONS(X)                                                                                             \
    X(NONE, 0, "none")                                                                                            \
    X(EXIT_CODE, 1, "exit_code")         /* ended by itself with a code other than 0 */                           \
    X(SIGNAL, 2, "signal")               /* killed by a signal that the node did not send */                      \
    X(TIMEOUT_QUEUE, 3, "timeout_queue") /* waited too long for a slot */                                         \
    X(TIMEOUT_WALL, 4, "timeout_wall")   /* ran longer than its time-out */                                       \
    X(TIMEOUT_CPU, 5, "timeout_cpu")     /* used more CPU time than allowed */                                    \
    X(OOM, 6, "oom")                     /* used more memory than allowed */                                      \
    X(OUTPUT_LIMIT, 7, "output_limit")   /* printed more than allowed, or result too large */                     \
    X(DISK_LIMIT, 8, "disk_limit")       /* wrote more than allowed */                                            \
    X(PIDS_LIMIT, 9, "pids_limit")       /* more processes than allowed */                                        \
    X(STOPPED_BY_USER, 10, "stopped_by_user")                                                                     \
    X(SHUTDOWN, 11, "shutdown")                   /* the node was told to stop its tasks and leave */             \
    X(LOST, 12, "lost")                           /* the node died or lost the sandbox under the task */          \
    X(BAD_INPUT, 13, "bad_input")                 /* the input cannot be run (not Python, no UTF-8) */            \
    X(IMAGE_ERROR, 14, "image_error")             /* the container image cannot be had */                         \
    X(SANDBOX_ERROR, 15, "sandbox_error")         /* the node could not make the sandbox */                       \
    X(STORAGE_ERROR, 16, "storage_error")         /* the node could not keep the result */                        \
    X(BAD_RESULT, 17, "bad_result")               /* ended well, but what it left as its result cannot be read */ \
    X(DEPENDENCY, 18, "dependency")               /* a task that it was to come after did not end well */         \
    X(ENVIRONMENT_ERROR, 19, "environment_error") /* what its package requires could not be installed */

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

/* How much of the network a task sees. The numbers are stored and sent. */
#define TW_NETWORKS(X)                                                                        \
    X(DEFAULT, 0, "default")   /* in a spec: what the node gives to those that ask nothing */ \
    X(NONE, 1, "none")         /* interfaces that are down */                                 \
    X(LOOPBACK, 2, "loopback") /* its own 127.0.0.1, which nobody else can reach */           \
    X(HOST, 3, "host")         /* what the node itself sees */

enum tw_network {
#define X(name, number, text) TW_NETWORK_##name = number,
    TW_NETWORKS(X)
#undef X
        TW_NETWORK_MAX
};

/*
 * Limits of one task. 0 in a spec: the node's own, which also is the most that can be asked for. 0 in a receipt: this was
 * not limited.
 */
#define TW_LIMITS(X)                                                                                              \
    X(memory_bytes)    /* RAM of all its processes together with what lies in its folders */                      \
    X(cpu_millis)      /* thousandths of a processor: 1500 is one and a half */                                   \
    X(cpu_time_us)     /* processor time of all its processes together */                                         \
    X(processes)       /* processes and threads at once */                                                        \
    X(open_files)      /* per process */                                                                          \
    X(file_bytes)      /* size of one file */                                                                     \
    X(workspace_bytes) /* size of /workspace */                                                                   \
    X(tmp_bytes)       /* size of /tmp, and of /dev/shm */                                                        \
    X(output_bytes)    /* stdout and stderr together; beyond it output is dropped, or the task stopped, by the */ \
                       /* node's setting */

struct tw_limits {
#define X(name) uint64_t name;
    TW_LIMITS(X)
#undef X
};

struct tw_env {
    const char *name;
    const char *value;
};

/*
 * What tasks are found by. A key has 1 to 63 letters, digits, '-', '_', '.' or '/', a value up to 255 bytes of UTF-8 without
 * control characters. Keys that begin with "hivemind." are the node's own.
 */
struct tw_label {
    const char *key;
    const char *value;
};
enum { TW_LABELS_MAX = 32, TW_AFTER_MAX = 256 };

/* The labels of a task that came in a batch: the batch's id, and the task's place in it or its index in the array. */
#define TW_LABEL_BATCH "hivemind.batch"
#define TW_LABEL_INDEX "hivemind.index"

/*
 * Whether the task's result may be one that is there already: of a task of the same owner with the same type, data, arguments,
 * environment, inputs (by their contents), limits, network and GPUs, on the same version of this library and its interpreter, that
 * runs or has completed. It is for who knows that it would come to the same.
 */
enum tw_cache {
    TW_CACHE_OFF = 0,
    TW_CACHE_USE = 1,     /* then no task is made, and the answer has the id of that one */
    TW_CACHE_REFRESH = 2, /* it is run in any case, and is what later ones find */
};

/*
 * A stored file (storage.h) of the task's owner that the task sees, read-only, as it is when the task is accepted: whatever becomes
 * of the file then, the task has it.
 */
struct tw_input {
    const char *file_id, *name; /* one of them; the other NULL or "" */
    const char *path;           /* below /inputs; NULL or "": the file's name */
};

/*
 * What a caller asks for. Set `size` to sizeof(struct tw_task_spec) and every field you do not know to zero. The library
 * copies what it needs: everything may be freed when the call returns.
 */
struct tw_task_spec {
    size_t size;
    const char *id;          /* NULL or "": the node makes one; else 1 to 128 bytes, see tw_task_id_check() */
    const char *type;        /* "python", "shell", "package" (data: an archive) or "function" */
    const char *owner;       /* NULL: nobody in particular */
    const void *data;        /* the source text */
    size_t data_len;         /* 1 to the node's MAX_TASK_SIZE */
    const char *const *args; /* the script's arguments, without its own name */
    size_t n_args;
    const struct tw_env *env; /* the task's whole environment beside the few variables of the sandbox */
    size_t n_env;
    uint64_t timeout_us; /* wall clock, from the start of the process; 0: the node's default */
    uint32_t retries;    /* how many more attempts it gets when one was lost or failed, see tw_reason_is_retried() */
    struct tw_limits limits;
    enum tw_network network;
    bool fresh_interpreter; /* python: an interpreter and an address layout of its own, not a fork of a warm one */
    int32_t priority;       /* TW_PRIORITY_MIN to TW_PRIORITY_MAX; higher goes first */
    uint64_t not_before_us; /* it is not started before this time; 0: at once */
    /* How long it may wait from its admission, or from not_before_us, until it is started for the first time. Beyond it the
     * task fails with TW_REASON_TIMEOUT_QUEUE. 0: the node's default. */
    uint64_t queue_timeout_us;
    /* Before the attempt that follows a failed one; doubled with each further, up to a bound of the node's. 0: its default. A
     * lost attempt is followed at once. */
    uint64_t retry_delay_us;
    /* When it is to end early (stop, wall time-out): from SIGTERM to SIGKILL. 0: the node's default. */
    uint64_t grace_us;
    const struct tw_label *labels;
    size_t n_labels;
    /* Ids of tasks that have to end before it may start: all of them well, or else it fails with TW_REASON_DEPENDENCY. */
    const char *const *after;
    size_t n_after;
    bool after_any;       /* however they end */
    const char *retry_of; /* for the record: the id of a task that this one repeats; NULL: none */
    /* It is not started before so long after its admission: in place of not_before_us, which would differ at each try. */
    uint64_t delay_us;
    /* Whole GPUs that it has for itself while it runs, or a share of one's memory; not both. More than the node has: INVALID_ARGUMENT. */
    uint32_t gpus;
    uint64_t gpu_memory_bytes;
    const struct tw_input *inputs; /* stored files that it finds in /inputs */
    size_t n_inputs;
    /*
     * Patterns of the files below its workspace that it leaves: within a part of a path `*`, `?`, `[a-z]`, as a part `**` for any number of parts; one
     * for a folder is for all that is in there. Each is kept as a file of the owner, named ID/PATH, however the task ends.
     */
    const char *const *outputs;
    size_t n_outputs;
    enum tw_cache cache;
    /* Somebody waits for its result who does not outlast the node: it is not left running, and does not wait for another start. */
    bool for_caller;
    bool after_own; /* of `after`, tasks of another owner are as if they were not there */
};

enum { TW_INPUTS_MAX = 256, TW_INPUT_NAME_MAX = 1024, TW_OUTPUTS_MAX = 64, TW_OUTPUT_PATTERN_MAX = 1024 };

enum { TW_PRIORITY_MIN = -100, TW_PRIORITY_MAX = 100 };

/* What a task used, all its processes together: while it runs as far as can be seen, at its end exactly. */
#define TW_USAGE(X)                                                                             \
    X(wall_us)                                                                                  \
    X(user_us)                                                                                  \
    X(system_us)                                                                                \
    X(max_rss_bytes)     /* of the largest process */                                           \
    X(peak_memory_bytes) /* of all of them and their folders at once; 0: unknown (no cgroup) */ \
    X(minor_faults)      /* pages that were mapped without reading */                           \
    X(major_faults)                                                                             \
    X(read_bytes) /* by read() and the like, from whatever */                                   \
    X(written_bytes)                                                                            \
    X(waits)           /* context switches because it waited */                                 \
    X(preemptions)     /* context switches because others had their turn */                     \
    X(processes)       /* processes and threads that were started */                            \
    X(workspace_bytes) /* at most in its workspace, as far as was seen */                       \
    X(outputs)         /* files that it left, and that are kept; */                             \
    X(output_bytes)    /* their sizes together */

struct tw_usage {
#define X(name) uint64_t name;
    TW_USAGE(X)
#undef X
};

/* What ran the task. Stored and sent. */
#define TW_RUNTIMES(X)                                                              \
    X(NONE, 0, "none")               /* nothing yet, or nothing at all */           \
    X(PYTHON_WARM, 1, "python_warm") /* a fork of the sandbox's warm interpreter */ \
    X(PYTHON_FRESH, 2, "python_fresh")                                              \
    X(SHELL, 3, "shell")

enum tw_runtime {
#define X(name, number, text) TW_RUNTIME_##name = number,
    TW_RUNTIMES(X)
#undef X
        TW_RUNTIME_MAX
};

/* What stands between a task and the rest of the machine. The numbers are bits in stored and sent masks: never reuse one. */
#define TW_LAYERS(X)                                                                           \
    X(USER_NAMESPACE, 0, "user_namespace")                                                     \
    X(PID_NAMESPACE, 1, "pid_namespace")                                                       \
    X(MOUNT_NAMESPACE, 2, "mount_namespace")                                                   \
    X(NETWORK_NAMESPACE, 3, "network_namespace")                                               \
    X(IPC_NAMESPACE, 4, "ipc_namespace")                                                       \
    X(UTS_NAMESPACE, 5, "uts_namespace")                                                       \
    X(CGROUP_NAMESPACE, 6, "cgroup_namespace")                                                 \
    X(OWN_USER, 7, "own_user")               /* a host uid that nothing else has */            \
    X(NO_CAPABILITIES, 8, "no_capabilities") /* none held, none to be had */                   \
    X(NO_NEW_PRIVILEGES, 9, "no_new_privileges")                                               \
    X(SECCOMP, 10, "seccomp")                                                                  \
    X(SECCOMP_WATCHED, 11, "seccomp_watched") /* refused system calls are counted and named */ \
    X(LANDLOCK, 12, "landlock")                                                                \
    X(READ_ONLY_ROOT, 13, "read_only_root")                                                    \
    X(PRIVATE_FOLDERS, 14, "private_folders")                                                  \
    X(RESOURCE_LIMITS, 15, "resource_limits") /* rlimits */                                    \
    X(CGROUP_MEMORY, 16, "cgroup_memory")                                                      \
    X(CGROUP_CPU, 17, "cgroup_cpu")                                                            \
    X(CGROUP_PIDS, 18, "cgroup_pids")

enum tw_layer {
#define X(name, bit, text) TW_LAYER_##name = bit,
    TW_LAYERS(X)
#undef X
        TW_LAYER_MAX
};

/* Under which conditions a task ran (its last attempt). All zero before it began. */
struct tw_receipt {
    enum tw_runtime runtime;
    enum tw_network network;
    uint64_t layers;  /* in force: bits 1 << enum tw_layer */
    uint64_t missing; /* what a task of this kind has on a machine that offers everything, and this one had not */
    struct tw_limits limits; /* as they were applied */
    uint64_t denied;         /* system calls that the filter refused; meaningful with TW_LAYER_SECCOMP_WATCHED */
    char denied_calls[96];   /* which ones, the first few: "bpf 1, ptrace 3" */
    uint32_t gpus;           /* that it had, whole or shared: bits 1 << the node's number of it */
};

/* What became of a task. Strings belong to the struct's owner: tw_task_info_done() frees them. */
/* What a task has asked for; 0: nothing in particular, so it has what the node gives. */
struct tw_asked {
    struct tw_limits limits;
    enum tw_network network;
    uint64_t grace_us;
    uint32_t gpus;
    uint64_t gpu_memory_bytes;
    const struct tw_input *inputs; /* with both the id and the name that the file had */
    size_t n_inputs;
    const char *const *outputs; /* patterns */
    size_t n_outputs;
};

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
    struct tw_receipt receipt;
    int32_t priority;
    uint64_t not_before_us;    /* 0: none was given; of one that is tried again: when */
    uint64_t queue_timeout_us; /* 0: it may wait for ever */
    uint64_t retry_delay_us;
    bool paused;             /* on request */
    bool stopping;           /* its end was asked for, and takes a while */
    uint32_t pid;            /* while it runs, where it is known: /proc/PID/root is what it sees, for root. Else 0 */
    char *retry_of;          /* the id of the task that this one repeats, never NULL, may be "" */
    struct tw_label *labels; /* sorted by key */
    size_t n_labels;
    struct tw_after {
        char *id;
        enum tw_task_state state; /* where that one stood when this was written */
    } * after;                    /* the tasks that it comes after; not in lists */
    size_t n_after;
    const struct tw_asked *asked; /* NULL where it is not told: only a question for one task is answered with it */
};

/* An attempt that was not its task's last. */
struct tw_attempt_info {
    uint32_t attempt; /* 1 for the first */
    enum tw_reason reason;
    char *message; /* as in tw_task_info */
    char *error;
    int32_t exit_code;
    int32_t signal;
    uint64_t started_us;
    uint64_t finished_us;
    struct tw_usage usage;
    struct tw_receipt receipt;
};

/* What happens to tasks. Stored and sent. */
#define TW_EVENTS(X)                                                                                     \
    X(ACCEPTED, 1, "accepted")                                                                           \
    X(STARTED, 2, "started")   /* an attempt begins */                                                   \
    X(REQUEUED, 3, "requeued") /* the attempt is over, and there will be another; the reason says why */ \
    X(COMPLETED, 4, "completed")                                                                         \
    X(FAILED, 5, "failed")                                                                               \
    X(STOPPED, 6, "stopped")                                                                             \
    X(PAUSED, 7, "paused")                                                                               \
    X(RESUMED, 8, "resumed")

enum tw_event_kind {
#define X(name, number, text) TW_EVENT_##name = number,
    TW_EVENTS(X)
#undef X
        TW_EVENT_MAX
};

/* Names as in the lists above ("QUEUED", "timeout_wall"); NULL for a number that is none of them. */
TW_PUBLIC const char *tw_task_state_to_string(enum tw_task_state state);
TW_PUBLIC const char *tw_reason_to_string(enum tw_reason reason);
TW_PUBLIC const char *tw_network_to_string(enum tw_network network);
TW_PUBLIC const char *tw_runtime_to_string(enum tw_runtime runtime);
TW_PUBLIC const char *tw_layer_to_string(enum tw_layer layer);
TW_PUBLIC const char *tw_event_to_string(enum tw_event_kind kind);

/*
 * Whether another attempt may fare better, so that a task with retries left gets one: not after what its own input or limits
 * make sure of (bad_input, output_limit, bad_result), what was asked for (a stop), or a queue time-out. What the node stopped
 * for its own end (shutdown) is run again when it is back.
 */
TW_PUBLIC bool tw_reason_is_retried(enum tw_reason reason);

/* Frees what the info holds, not the info; it is all zero afterwards. NULL is allowed. */
TW_PUBLIC void tw_task_info_done(struct tw_task_info *info);
/* The same for an attempt. */
TW_PUBLIC void tw_attempt_info_done(struct tw_attempt_info *info);

/*
 * Checks a task id: 1 to 128 bytes of valid UTF-8 without control characters, slashes, backslashes or white space, and not
 * starting with '-' or '.'. Returns 0, or -1 with INVALID_ARGUMENT.
 */
TW_PUBLIC int tw_task_id_check(const char *id, size_t len, struct tw_error *error);

#ifdef __cplusplus
}
#endif
#endif
