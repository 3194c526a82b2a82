/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the daemon, hivemind-launcher and hivemind-slot say to each other.
 *
 * Two connections, both SOCK_SEQPACKET, one fixed-size message per packet, fds by SCM_RIGHTS:
 *
 *   daemon <-> launcher   Each request is answered by one reply of the same type, ADOPT by one more for each slot that is
 *                         kept. Requests may be sent without waiting for the answers. An index stays taken until its
 *                         DESTROY was answered. A daemon that leaves tasks running for its successor has the launcher
 *                         KEEP what belongs to each, then DETACHes; the successor ADOPTs (launcher_keep.c).
 *   daemon <-> slot       The slot begins with HELLO (its root stands) or FAILED. Then START (with fds), answered by
 *                         READY or FAILED or EXITED; GO; KILL at any time after START; TERMINATE, PAUSE and RESUME after
 *                         GO, earlier or later they mean nothing; the end is EXITED or FAILED, exactly one per START,
 *                         and before EXITED, once nothing of the task runs any more, comes an OUTPUT for each of the
 *                         files that it is to leave. Meanwhile the slot heeds nothing, and it is of no use afterwards.
 *
 * All run on one machine from one installation, so numbers are in host order; the version still is checked, for a daemon
 * that was upgraded under its feet. The *_check functions judge bytes that came in; a message they refuse ends the
 * connection.
 */
#ifndef SLOT_PROTOCOL_H
#define SLOT_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PROTOCOL_VERSION = 7, PROTOCOL_SLOTS_MAX = 4096, PROTOCOL_DETAIL_MAX = 160, PROTOCOL_PATH_MAX = 1024 };

/* Both lie in one folder, where this bit tells them apart. */
#define PROTOCOL_ENVIRONMENT_BIT (UINT64_C(1) << 63)

/* The fds that a helper program is started on: its connection, and the slots' profile (profile.h). */
enum { PROTOCOL_FD = 3, PROTOCOL_PROFILE_FD };

struct protocol_header {
    uint32_t magic;
    uint16_t version;
    uint16_t type;
};

/* --- daemon <-> launcher --- */

#define LAUNCHER_MAGIC 0x686d6c63u

enum launcher_type {
    LAUNCHER_HELLO = 1,
    LAUNCHER_CREATE,
    LAUNCHER_DESTROY,
    LAUNCHER_KEEP,   /* 1 to CHANNEL_FDS_MAX fds, which the launcher holds for the slot and never looks at */
    LAUNCHER_DETACH, /* one fd, a bound socket (SOCK_SEQPACKET): the next daemon comes there within `seconds`, or never */
    LAUNCHER_ADOPT, /* on such a connection: what is kept, and then, with LAUNCHER_ADOPTED, that it is taken over */
    LAUNCHER_TYPE_MAX
};

struct launcher_request {
    struct protocol_header header;
    uint32_t index;   /* CREATE, DESTROY, KEEP: below the launcher's number of slots; else 0 */
    uint32_t flags;   /* CREATE: LAUNCHER_HOST_NETWORK; ADOPT: LAUNCHER_ADOPTED; else 0 */
    uint32_t seconds; /* DETACH: 1 to LAUNCHER_SECONDS_MAX; else 0 */
    uint32_t uid;     /* DETACH: who may adopt, beside root; else 0 */
};
enum {
    LAUNCHER_HOST_NETWORK = 1, /* the slot gets no network namespace of its own */
    LAUNCHER_ADOPTED = 1,      /* the fds have arrived; from now on the tasks' lives hang on this connection */
    LAUNCHER_SECONDS_MAX = 30 * 24 * 3600
};

/* Flags of the HELLO reply. The last three: slots get control groups in which this can be limited. */
enum {
    LAUNCHER_PRIVILEGED = 1,
    LAUNCHER_GROUP_MEMORY = 2,
    LAUNCHER_GROUP_CPU = 4,
    LAUNCHER_GROUP_PIDS = 8,
    LAUNCHER_FLAGS = 15
};

/*
 * Files of a slot's control group, as the daemon needs them for each task. Version 1 and 2 of the interface have different
 * names for them, and most have the same meaning.
 */
enum group_file {
    GROUP_MEMORY_CURRENT, /* r */
    GROUP_MEMORY_PEAK,    /* rw: a write begins anew */
    GROUP_MEMORY_MAX,     /* rw */
    GROUP_MEMORY_SWAP,    /* rw; version 1: memory and swap together */
    GROUP_MEMORY_EVENTS,  /* r; version 2: POLLPRI tells of a change */
    GROUP_MEMORY_NOTIFY,  /* an eventfd; version 1 only */
    GROUP_CPU_MAX,        /* rw */
    GROUP_CPU_USAGE,      /* r */
    GROUP_CPU_STAT,       /* r; version 1 only: the other has all in one */
    GROUP_PIDS_MAX,       /* rw */
    GROUP_PIDS_EVENTS,    /* r */
    GROUP_FILE_MAX
};

struct launcher_reply {
    struct protocol_header header;
    uint32_t index;
    int32_t error; /* 0 or a positive errno */
    int32_t pid;   /* CREATE, ADOPT: of the slot; ADOPT: 0 says that this was all */
    uint32_t flags;
    uint32_t group_version;           /* CREATE: of the control group interface, 1 or 2; 0: the slot has no group */
    uint32_t group_files;             /* CREATE: bits 1 << enum group_file; 0 with version 0 only */
    char detail[PROTOCOL_DETAIL_MAX]; /* HELLO: the warning; else what failed. NUL-terminated */
    char group_detail[PROTOCOL_DETAIL_MAX]; /* HELLO: what cannot be limited, and how to change that; "": all can */
};
/*
 * A CREATE reply without error carries the daemon's end of the slot's connection, and behind it the files of the slot's
 * control group that group_files names, in the order of enum group_file. An ADOPT reply with a pid carries the fds that
 * KEEP brought, in the same order.
 */

/* --- daemon <-> slot --- */

#define SLOT_MAGIC 0x686d736cu

enum slot_request_type {
    SLOT_START = 1,
    SLOT_GO,
    SLOT_KILL,
    SLOT_TERMINATE, /* SIGTERM for all processes of the task, and no deadline; lets a paused one go on */
    SLOT_PAUSE,     /* SIGSTOP */
    SLOT_RESUME,    /* SIGCONT */
    SLOT_REQUEST_MAX
};

/* The fds of START, in this order. */
enum slot_start_fd {
    SLOT_FD_PLAN,   /* sealed memfd, plan.h */
    SLOT_FD_SOURCE, /* sealed memfd, the task's source */
    SLOT_FD_STDOUT, /* write ends of pipes */
    SLOT_FD_STDERR,
    SLOT_FD_RESULT,
    SLOT_START_FDS
};

/* What a task's sandbox is to be like; the slot may make one before it knows of a task. All zero but for START. */
struct slot_shape {
    uint64_t tmp_bytes;       /* size of /tmp */
    uint64_t shm_bytes;       /* size of /dev/shm */
    uint64_t workspace_bytes; /* size of /workspace */
    uint32_t network;         /* enum tw_network, not DEFAULT */
    uint32_t runtime;         /* enum tw_runtime, not NONE */
    uint64_t gpu_minors;      /* bits 1 << N: the devices /dev/nvidiaN that it can reach */
    uint64_t inputs;          /* the number of the folder that it sees as /inputs; 0: an empty one */
    uint64_t environment;     /* and as /environment, with PROTOCOL_ENVIRONMENT_BIT; 0: likewise */
    uint64_t outputs;         /* 1: the plan has patterns of what it is to leave */
};

struct slot_request {
    struct protocol_header header;
    uint64_t serial; /* of the START that it is about; never 0 */
    struct slot_shape shape;
};

enum slot_reply_type {
    SLOT_HELLO = 1, /* serial 0: the slot can take tasks */
    SLOT_READY,     /* one fd: a pidfd of the task's pid 1; it becomes readable when nothing of the task is left */
    SLOT_EXITED,
    SLOT_FAILED, /* serial 0: the slot is of no use */
    SLOT_OUTPUT, /* a struct slot_output, with one fd: the file, open for reading */
    SLOT_REPLY_MAX
};

#define SLOT_STAGES(X)                            \
    X(NONE, "nothing")                            \
    X(EXEC_SLOT, "starting hivemind-slot")        \
    X(SETUP, "setting up the slot")               \
    X(ROOT, "building the sandbox's root folder") \
    X(FILTER, "compiling the system call filter") \
    X(PYTHON, "making the warm interpreter")      \
    X(SETTINGS, "loading what the settings name") \
    X(REQUEST, "taking the request")              \
    X(PLAN, "reading the plan")                   \
    X(NAMESPACES, "making the task's namespaces") \
    X(PROC, "mounting /proc")                     \
    X(FOLDERS, "mounting the task's folders")     \
    X(NETWORK, "setting up the task's network")   \
    X(FORK, "starting the task's process")        \
    X(IDS, "taking the task's user id")           \
    X(PRIVILEGES, "dropping privileges")          \
    X(LIMITS, "setting limits")                   \
    X(FDS, "arranging file descriptors")          \
    X(LANDLOCK, "restricting it by Landlock")     \
    X(SECCOMP, "loading the system call filter")  \
    X(PACKAGE, "opening its package")             \
    X(EXEC, "starting the interpreter")

enum slot_stage {
#define X(name, text) STAGE_##name,
    SLOT_STAGES(X)
#undef X
        SLOT_STAGE_MAX
};

struct slot_reply {
    struct protocol_header header;
    uint64_t serial;
    uint32_t stage;        /* FAILED */
    int32_t error;         /* FAILED: a positive errno */
    int32_t status;        /* EXITED: as wait() gives it */
    uint32_t folder_full;  /* EXITED: 1 when one of the task's folders had no room left at its end */
    uint64_t layers;       /* READY: bits 1 << enum tw_layer, what the slot knows to be in force */
    uint64_t denied;       /* EXITED: system calls that the filter refused, as far as they are watched */
    uint32_t outputs;      /* EXITED: how many were sent, */
    uint32_t outputs_left; /* and how many matched, but could not be: a name that cannot be, or they are too many */
    struct slot_usage {    /* EXITED: of the whole process tree, from GO */
        uint64_t wall_us, user_us, system_us, max_rss_bytes, minor_faults, major_faults, read_bytes, written_bytes,
            waits, preemptions, processes, workspace_bytes;
    } usage;
    /* FAILED: which thing, or ""; EXITED: the first few refused calls, "bpf 1, ptrace 3". NUL-terminated */
    char detail[PROTOCOL_DETAIL_MAX];
};

struct slot_output {
    struct protocol_header header; /* SLOT_OUTPUT */
    uint64_t serial;
    uint64_t size; /* bytes */
    uint32_t executable;
    char path[PROTOCOL_PATH_MAX]; /* below the workspace; UTF-8 without control characters, NUL-terminated */
};

/* What is wrong with a message. */
enum message_error {
    MESSAGE_OK,
    MESSAGE_BAD_SIZE,
    MESSAGE_BAD_MAGIC,
    MESSAGE_BAD_VERSION,
    MESSAGE_BAD_TYPE,
    MESSAGE_BAD_FIELD,
    MESSAGE_BAD_FDS,
    MESSAGE_ERROR_MAX
};
const char *message_error_to_string(enum message_error error);
const char *slot_stage_to_string(uint32_t stage);

/* Copies the message to *ret if it is one; n_fds is how many came with it. */
enum message_error launcher_request_check(
    const void *data, size_t len, size_t n_fds, uint32_t slots, struct launcher_request *ret);
enum message_error launcher_reply_check(
    const void *data, size_t len, size_t n_fds, uint32_t slots, struct launcher_reply *ret);
enum message_error slot_request_check(const void *data, size_t len, size_t n_fds, struct slot_request *ret);
enum message_error slot_reply_check(const void *data, size_t len, size_t n_fds, struct slot_reply *ret);
enum message_error slot_output_check(const void *data, size_t len, size_t n_fds, struct slot_output *ret);
/* A path that an OUTPUT may have. */
bool slot_output_path_ok(const char *path);

#endif
