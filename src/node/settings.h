/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every setting of the daemon, in one table: its key, kind, default, range and help. The key is the name in a file and in
 * the environment; the flag follows from it (GRPC_PORT: --grpc-port). Defaults are text and go through the same parser as
 * what people write.
 */
#ifndef NODE_SETTINGS_H
#define NODE_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum setting_type {
    SETTING_COUNT,
    SETTING_PORT,
    SETTING_SIZE,
    SETTING_DURATION, /* the number is in microseconds */
    SETTING_CPUS,     /* the number is in thousandths */
    SETTING_BOOL,
    SETTING_CHOICE, /* the number is the index in `choices` */
    SETTING_PATH,
    SETTING_HOST,
    SETTING_ADDRESS, /* HOST:PORT */
    SETTING_USER,
    SETTING_NAME,
    SETTING_MODULES, /* names of Python modules, separated by commas */
    SETTING_PATHS,   /* absolute, separated by colons */
    SETTING_INDEX,   /* of Python packages: "default", "off", or its address */
};

enum setting_group {
    GROUP_NETWORK,
    GROUP_TASKS,
    GROUP_LIMITS,
    GROUP_STORAGE,
    GROUP_PROCESS,
    GROUP_LOG,
    GROUP_LATER,
    GROUP_MAX
};

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)
#define TIB (GIB * 1024)
#define MSEC UINT64_C(1000)
#define SEC (MSEC * 1000)
#define DAY (SEC * 86400)

/* The slots of a node at most: what the launcher prepares for, and two host uids each. */
enum { NODE_SLOTS_MAX = 1024 };

/*
 * X(key, fields of struct setting...). Those of GROUP_LATER are known and checked, so that a configuration written for
 * the whole product works, and do nothing yet.
 */
#define SETTINGS(X)                                                                                                    \
    X(GRPC_HOST, .type = SETTING_HOST, .group = GROUP_NETWORK, .fallback = "127.0.0.1", .metavar = "ADDRESS",          \
        .help = "address to listen on. Any other than a loopback address needs TLS (TLS_CERT), or "                    \
                "--insecure-listen")                                                                                   \
    X(GRPC_PORT, .type = SETTING_PORT, .group = GROUP_NETWORK, .fallback = "50053", .metavar = "PORT",                 \
        .help = "port of the gRPC service; 0: any free one, named in the log")                                         \
    X(NODE_PORT, .type = SETTING_PORT, .group = GROUP_NETWORK, .fallback = "50053", .metavar = "PORT",                 \
        .help = "another name of --grpc-port")                                                                         \
    X(INSECURE_LISTEN, .type = SETTING_BOOL, .group = GROUP_NETWORK, .fallback = "false",                              \
        .help = "allow --grpc-host to be reachable from other machines without TLS: tokens and tasks go in plain "     \
                "text then")                                                                                           \
    X(NODE_ID, .type = SETTING_NAME, .group = GROUP_NETWORK, .computed = "worker-HOSTNAME-PORT", .metavar = "NAME",    \
        .help = "the name of this node, as its clients see it")                                                        \
    X(TLS_CERT, .type = SETTING_PATH, .group = GROUP_NETWORK, .computed = "none", .metavar = "FILE",                   \
        .help = "certificate of this node (PEM, with those between it and its CA): the gRPC port then takes TLS "      \
                "only. hivemind tls init makes one. The files are read again on SIGHUP")                               \
    X(TLS_KEY, .type = SETTING_PATH, .group = GROUP_NETWORK, .computed = "none", .metavar = "FILE",                    \
        .help = "its key (PEM), a file that nobody but its owner can read")                                            \
    X(TLS_CLIENT_CA, .type = SETTING_PATH, .group = GROUP_NETWORK, .computed = "none", .metavar = "FILE",              \
        .help = "the CA that has signed the certificates of clients")                                                  \
    X(TLS_CLIENT_AUTH, .type = SETTING_CHOICE, .group = GROUP_NETWORK, .fallback = "off", .metavar = "MODE",           \
        .choices = "off optional required",                                                                            \
        .help = "certificates of clients: not asked for; checked if there is one; or nobody gets in without")          \
    X(MAX_REQUESTS_PER_USER, .type = SETTING_COUNT, .group = GROUP_NETWORK, .fallback = "5000", .max = 1000000,        \
        .metavar = "N", .help = "calls a second of one user, and four times as many at once; 0: no limit")             \
    X(MAX_SUBMISSIONS_PER_USER, .type = SETTING_COUNT, .group = GROUP_NETWORK, .fallback = "1000", .max = 1000000,     \
        .metavar = "N", .help = "likewise, those that hand tasks in")                                                  \
    X(MAX_BYTES_PER_USER, .type = SETTING_SIZE, .group = GROUP_NETWORK, .fallback = "0", .min = 4 * KIB,               \
        .max = 8 * GIB, .zero = true, .metavar = "SIZE",                                                               \
        .help = "bytes a second of one user's requests and answers, and four times as many at once; 0: no limit")      \
    X(MAX_CONNECTIONS, .type = SETTING_COUNT, .group = GROUP_NETWORK, .fallback = "4096", .min = 1, .max = 1000000,    \
        .metavar = "N", .help = "connections of clients; CLIENT_MEMORY has to have room for them")                     \
    X(MAX_CONNECTIONS_PER_ADDRESS, .type = SETTING_COUNT, .group = GROUP_NETWORK, .fallback = "0", .max = 1000000,     \
        .metavar = "N", .help = "of these, from one address (of IPv6: one /64); 0: three quarters of them")            \
    X(CLIENT_MEMORY, .type = SETTING_SIZE, .group = GROUP_NETWORK, .fallback = "64M", .min = 4 * MIB, .max = 64 * GIB, \
        .metavar = "SIZE",                                                                                             \
        .help =                                                                                                        \
            "held for clients beside large requests and answers; a part of it for one address. Beyond it they get "    \
            "RESOURCE_EXHAUSTED")                                                                                      \
    X(WEB, .type = SETTING_BOOL, .group = GROUP_NETWORK, .env = "HIVEMIND_WEB", .fallback = "false",                   \
        .help = "Web pages and REST over HTTP on WEB_PORT")                                                            \
    X(WEB_HOST, .type = SETTING_HOST, .group = GROUP_NETWORK, .fallback = "127.0.0.1", .metavar = "ADDRESS",           \
        .help = "address of the web interface, which has no TLS yet: any other than a loopback address needs "         \
                "--insecure-listen")                                                                                   \
    X(WEB_PORT, .type = SETTING_PORT, .group = GROUP_NETWORK, .fallback = "5000", .metavar = "PORT",                   \
        .help = "port of the web interface; 0: any free one, named in the log")                                        \
    X(FLASK_PORT, .type = SETTING_PORT, .group = GROUP_NETWORK, .fallback = "5000", .metavar = "PORT",                 \
        .help = "another name of --web-port")                                                                          \
    X(SESSION_TIMEOUT, .type = SETTING_COUNT, .group = GROUP_NETWORK, .fallback = "24", .min = 1, .max = 8760,         \
        .metavar = "HOURS", .help = "how long a login to the web interface lasts")                                     \
    X(MAX_CONCURRENT_TASKS, .type = SETTING_COUNT, .group = GROUP_TASKS, .fallback = "4", .min = 1,                    \
        .max = NODE_SLOTS_MAX, .reload = true, .metavar = "N", .help = "tasks that run at the same time")              \
    X(MAX_QUEUED_TASKS, .type = SETTING_COUNT, .group = GROUP_TASKS, .fallback = "10000", .min = 1, .max = 10000000,   \
        .reload = true, .metavar = "N", .help = "tasks that wait; more are refused (RESOURCE_EXHAUSTED)")              \
    X(DEFAULT_TIMEOUT, .type = SETTING_DURATION, .group = GROUP_TASKS, .fallback = "300", .min = MSEC,                 \
        .max = 365 * DAY, .reload = true, .metavar = "TIME", .help = "how long a task may run that names no time-out") \
    X(DEFAULT_QUEUE_TIMEOUT, .type = SETTING_DURATION, .group = GROUP_TASKS, .fallback = "0", .min = MSEC,             \
        .max = 365 * DAY, .zero = true, .reload = true, .metavar = "TIME",                                             \
        .help = "how long a task may wait for its start that names no queue time-out; 0: for ever")                    \
    X(MAX_TASKS_PER_OWNER, .type = SETTING_COUNT, .group = GROUP_TASKS, .fallback = "0", .min = 0,                     \
        .max = NODE_SLOTS_MAX, .reload = true, .metavar = "N",                                                         \
        .help = "tasks of one owner that run at the same time; 0: as many as there are slots")                         \
    X(MAX_QUEUED_PER_OWNER, .type = SETTING_COUNT, .group = GROUP_TASKS, .fallback = "0", .min = 0, .max = 10000000,   \
        .reload = true, .metavar = "N", .help = "tasks of one owner that wait; 0: as many as MAX_QUEUED_TASKS")        \
    X(RETRY_DELAY, .type = SETTING_DURATION, .group = GROUP_TASKS, .fallback = "1", .min = MSEC, .max = DAY,           \
        .reload = true, .metavar = "TIME",                                                                             \
        .help = "from a failed attempt to the next, of tasks that name none; doubled each time")                       \
    X(MAX_RETRY_DELAY, .type = SETTING_DURATION, .group = GROUP_TASKS, .fallback = "300", .min = MSEC, .max = 7 * DAY, \
        .reload = true, .metavar = "TIME", .help = "the longest it becomes by doubling")                               \
    X(STOP_GRACE, .type = SETTING_DURATION, .group = GROUP_TASKS, .fallback = "5", .min = MSEC, .max = DAY,            \
        .reload = true, .metavar = "TIME",                                                                             \
        .help = "how long a task that is to end has after SIGTERM, before it is killed")                               \
    X(MAX_TASK_SIZE, .type = SETTING_SIZE, .group = GROUP_TASKS, .fallback = "100M", .min = 1, .max = GIB,             \
        .metavar = "SIZE", .help = "the longest task_data")                                                            \
    X(MAX_RESULT_SIZE, .type = SETTING_SIZE, .group = GROUP_TASKS, .fallback = "16M", .min = 1, .max = 100 * MIB,      \
        .metavar = "SIZE", .help = "the longest result that is kept")                                                  \
    X(MAX_LOG_SIZE, .type = SETTING_SIZE, .group = GROUP_TASKS, .fallback = "64M", .min = 1, .max = TIB,               \
        .metavar = "SIZE", .help = "how much of a task's output is kept")                                              \
    X(PYTHON, .type = SETTING_PATH, .group = GROUP_TASKS, .fallback = "/usr/bin/python3", .env = "HIVEMIND_PYTHON",    \
        .metavar = "FILE", .help = "the interpreter of python tasks")                                                  \
    X(PYTHON_WARM, .type = SETTING_BOOL, .group = GROUP_TASKS, .fallback = "true",                                     \
        .help = "python tasks are forks of a warm interpreter, which is fast; off: each starts one of its own, with "  \
                "an address layout of its own. Always off for a PYTHON other than /usr/bin/python3")                   \
    X(PYTHON_PRELOAD, .type = SETTING_MODULES, .group = GROUP_TASKS, .computed = "none", .metavar = "MODULES",         \
        .help =                                                                                                        \
            "modules that the warm interpreter loads ahead, separated by commas: tasks that import them start sooner") \
    X(GPUS, .type = SETTING_BOOL, .group = GROUP_TASKS, .fallback = "true",                                            \
        .help = "let tasks have the GPUs of this machine, if they ask for some")                                       \
    X(FUNCTIONS, .type = SETTING_PATH, .group = GROUP_TASKS, .computed = "none", .metavar = "FILE",                    \
        .help = "a Python file of functions that clients can call by name (hivemind call)")                            \
    X(SANDBOX_PATHS, .type = SETTING_PATHS, .group = GROUP_TASKS, .computed = "none", .metavar = "PATHS",              \
        .help = "files and folders of this machine that tasks can read beside the usual ones, separated by colons")    \
    X(SANDBOX_ROOT, .type = SETTING_PATH, .group = GROUP_TASKS, .computed = "this machine's own", .metavar = "FOLDER", \
        .help = "a folder with a system of its own, which tasks see in place of this machine's")                       \
    X(SPARE_SANDBOXES, .type = SETTING_COUNT, .group = GROUP_TASKS, .fallback = "2", .min = 1, .max = NODE_SLOTS_MAX,  \
        .metavar = "N", .help = "sandboxes that are made ahead of need")                                               \
    X(MAX_CPU_CORES, .type = SETTING_CPUS, .group = GROUP_LIMITS, .computed = "all", .min = 10, .max = 65536000,       \
        .metavar = "N", .help = "processors that all tasks together may take, such as 3.5; 0: all")                    \
    X(MAX_MEMORY_GB, .type = SETTING_COUNT, .group = GROUP_LIMITS, .computed = "nine tenths of all", .min = 1,         \
        .max = 1048576, .metavar = "GB", .help = "memory that all tasks together may take, in GiB")                    \
    X(CPU_OVERCOMMIT, .type = SETTING_CPUS, .group = GROUP_LIMITS, .fallback = "1.5", .min = 1000, .max = 16000,       \
        .metavar = "FACTOR",                                                                                           \
        .help = "how much more of the processors may be promised while they are idle; 1: no more than there is")       \
    X(TASK_MEMORY, .type = SETTING_SIZE, .group = GROUP_LIMITS, .computed = "an equal share", .min = 16 * MIB,         \
        .max = 1024 * TIB, .reload = true, .metavar = "SIZE",                                                          \
        .help = "memory of all its processes, with what lies in its folders. An equal share: nine tenths of what the " \
                "machine has, divided by MAX_CONCURRENT_TASKS")                                                        \
    X(TASK_CPUS, .type = SETTING_CPUS, .group = GROUP_LIMITS, .fallback = "0", .min = 10, .max = 65536000,             \
        .zero = true, .reload = true, .metavar = "N", .help = "processors that it may use, such as 1.5; 0: all")       \
    X(TASK_CPU_TIME, .type = SETTING_DURATION, .group = GROUP_LIMITS, .fallback = "0", .min = MSEC, .max = 365 * DAY,  \
        .zero = true, .reload = true, .metavar = "TIME", .help = "processor time of all its processes; 0: no limit")   \
    X(TASK_PROCESSES, .type = SETTING_COUNT, .group = GROUP_LIMITS, .fallback = "1024", .min = 2, .max = 4194304,      \
        .reload = true, .metavar = "N", .help = "processes and threads that it may have at once")                      \
    X(TASK_OPEN_FILES, .type = SETTING_COUNT, .group = GROUP_LIMITS, .fallback = "1024", .min = 16, .max = 1048576,    \
        .reload = true, .metavar = "N", .help = "files that each of its processes may have open")                      \
    X(TASK_FILE_SIZE, .type = SETTING_SIZE, .group = GROUP_LIMITS, .fallback = "4G", .min = 4 * KIB,                   \
        .max = 1024 * TIB, .reload = true, .metavar = "SIZE", .help = "size of one file that it writes")               \
    X(TASK_WORKSPACE_SIZE, .type = SETTING_SIZE, .group = GROUP_LIMITS, .fallback = "1G", .min = 64 * KIB,             \
        .max = 1024 * TIB, .reload = true, .metavar = "SIZE", .help = "size of its /workspace")                        \
    X(TASK_TMP_SIZE, .type = SETTING_SIZE, .group = GROUP_LIMITS, .fallback = "256M", .min = 64 * KIB,                 \
        .max = 1024 * TIB, .reload = true, .metavar = "SIZE", .help = "size of its /tmp, and of its /dev/shm")         \
    X(TASK_NETWORK, .type = SETTING_CHOICE, .group = GROUP_LIMITS, .fallback = "none", .reload = true,                 \
        .metavar = "NETWORK", .choices = "none loopback host", .help = "the network of a task that asks for none")     \
    X(MAX_TASK_NETWORK, .type = SETTING_CHOICE, .group = GROUP_LIMITS, .fallback = "loopback", .reload = true,         \
        .metavar = "NETWORK", .choices = "none loopback host",                                                         \
        .help = "the most that a task may ask for. loopback: its own 127.0.0.1; host: all that this machine sees")     \
    X(OUTPUT_LIMIT_ACTION, .type = SETTING_CHOICE, .group = GROUP_LIMITS, .fallback = "drop", .reload = true,          \
        .metavar = "ACTION", .choices = "drop stop",                                                                   \
        .help = "what becomes of a task that prints more than is kept: the rest is dropped, or it is stopped")         \
    X(STORAGE_PATH, .type = SETTING_PATH, .group = GROUP_STORAGE, .computed = "see below", .metavar = "FOLDER",        \
        .help = "where tasks, results and logs are kept")                                                              \
    X(RETENTION, .type = SETTING_DURATION, .group = GROUP_STORAGE, .fallback = "30d", .max = 3650 * DAY, .zero = true, \
        .reload = true, .metavar = "TIME",                                                                             \
        .help = "how long tasks that have ended are kept, with results, logs and events; 0: for ever")                 \
    X(MAX_KEPT_TASKS, .type = SETTING_COUNT, .group = GROUP_STORAGE, .fallback = "1000000", .max = 1000000000,         \
        .reload = true, .metavar = "N",                                                                                \
        .help = "tasks that are kept; beyond it the oldest that have ended go; 0: all")                                \
    X(MAX_KEPT_SIZE, .type = SETTING_SIZE, .group = GROUP_STORAGE, .fallback = "5G", .zero = true, .min = MIB,         \
        .max = 1024 * 1024 * GIB, .reload = true, .metavar = "SIZE",                                                   \
        .help = "of their inputs, results and logs together; beyond it the oldest that have ended go; 0: all")         \
    X(MAX_STORAGE_SIZE, .type = SETTING_SIZE, .group = GROUP_STORAGE, .fallback = "10G", .min = MIB,                   \
        .max = 1024 * 1024 * GIB, .reload = true, .metavar = "SIZE",                                                   \
        .help = "of all files that users keep here (hivemind storage), and that are on their way; more is refused")    \
    X(MAX_STORAGE_PER_OWNER, .type = SETTING_SIZE, .group = GROUP_STORAGE, .fallback = "0", .zero = true, .min = MIB,  \
        .max = 1024 * 1024 * GIB, .reload = true, .metavar = "SIZE",                                                   \
        .help = "of those of one owner; 0: MAX_STORAGE_SIZE alone counts")                                             \
    X(FILE_RETENTION, .type = SETTING_DURATION, .group = GROUP_STORAGE, .fallback = "0", .max = 3650 * DAY,            \
        .zero = true, .reload = true, .metavar = "TIME",                                                               \
        .help = "how long a file is kept, reckoned from its newest version; 0: until it is deleted")                   \
    X(PACKAGE_INDEX, .type = SETTING_INDEX, .group = GROUP_STORAGE, .fallback = "default", .metavar = "INDEX",         \
        .help = "from where what packages name in their requirements.txt is installed: default is pip's own index, "   \
                "off means that they have to bring it, an address is that of another index")                           \
    X(MAX_ENVIRONMENTS_SIZE, .type = SETTING_SIZE, .group = GROUP_STORAGE, .fallback = "5G", .min = MIB,               \
        .max = 1024 * 1024 * GIB, .reload = true, .metavar = "SIZE",                                                   \
        .help = "of all that was installed for packages and is kept for the next that name the same; beyond it what "  \
                "was used longest ago goes")                                                                           \
    X(WORKER_USER, .type = SETTING_USER, .group = GROUP_PROCESS, .computed = "hivemind", .metavar = "USER",            \
        .help = "whom to run as when started as root: a name or a number. Without an account called hivemind "         \
                "the default is the number 1899999999")                                                                \
    X(LIBEXEC_DIR, .type = SETTING_PATH, .group = GROUP_PROCESS, .computed = "as installed", .metavar = "FOLDER",      \
        .help = "where hivemind-launcher and hivemind-slot are")                                                       \
    X(SLOT_UID_BASE, .type = SETTING_COUNT, .group = GROUP_PROCESS, .fallback = "1900000000", .min = 100000,           \
        .max = UINT32_MAX - 1 - 2 * NODE_SLOTS_MAX, .metavar = "UID",                                                  \
        .help = "started as root: tasks run under the 2048 user ids from here, which nothing else may use")            \
    X(MAX_WORKERS, .type = SETTING_COUNT, .group = GROUP_PROCESS, .fallback = "4", .min = 1, .max = 1024,              \
        .metavar = "N", .help = "threads for blocking work (disk); requests need none")                                \
    X(DRAIN_TIMEOUT, .type = SETTING_DURATION, .group = GROUP_PROCESS, .fallback = "25", .max = 7 * DAY,               \
        .reload = true, .metavar = "TIME",                                                                             \
        .help = "how long SIGTERM lets running tasks go on before it stops them. The default leaves room within "      \
                "the 30 seconds that container platforms give")                                                        \
    X(SHUTDOWN_MODE, .type = SETTING_CHOICE, .group = GROUP_PROCESS, .fallback = "drain", .reload = true,              \
        .metavar = "MODE", .choices = "drain detach stop",                                                             \
        .help = "what SIGTERM does with running tasks: drain lets them end (DRAIN_TIMEOUT), detach leaves them "       \
                "running for the node's next start (DETACH_TIMEOUT), stop ends them")                                  \
    X(DETACH_TIMEOUT, .type = SETTING_DURATION, .group = GROUP_PROCESS, .fallback = "10m", .min = SEC,                 \
        .max = 30 * DAY, .reload = true, .metavar = "TIME",                                                            \
        .help = "how long tasks that were left running wait for the next start, before they are ended")                \
    X(DEV, .type = SETTING_BOOL, .group = GROUP_PROCESS, .fallback = "false", .env = "HIVEMIND_DEV",                   \
        .help = "to try things out: other defaults. Loopback only, no authentication, and state in a temporary "       \
                "folder that is removed at the end; --storage-path still wins, and is kept")                           \
    X(LOG_LEVEL, .type = SETTING_CHOICE, .group = GROUP_LOG, .fallback = "info", .reload = true, .metavar = "LEVEL",   \
        .choices = "error warning info debug", .help = "how much is logged")                                           \
    X(LOG_FORMAT, .type = SETTING_CHOICE, .group = GROUP_LOG, .fallback = "auto", .reload = true, .metavar = "FORMAT", \
        .choices = "auto text json",                                                                                   \
        .help = "auto: text on a terminal, else one JSON "                                                             \
                "object a line")                                                                                       \
    X(MASTER_ADDRESS, .type = SETTING_ADDRESS, .group = GROUP_LATER, .computed = "none", .metavar = "HOST:PORT",       \
        .help = "the node pool to join")                                                                               \
    X(DOCKER_ENABLED, .type = SETTING_BOOL, .group = GROUP_LATER, .fallback = "true",                                  \
        .help = "allow tasks in Docker containers")                                                                    \
    X(DOCKER_NETWORK, .type = SETTING_NAME, .group = GROUP_LATER, .fallback = "hivemind", .metavar = "NAME",           \
        .help = "the network of those containers")                                                                     \
    X(TRUST_THRESHOLD, .type = SETTING_COUNT, .group = GROUP_LATER, .fallback = "50", .max = 100, .metavar = "SCORE",  \
        .help = "trust score below which a node gets no work")

enum setting_id {
#define X(key, ...) SETTING_##key,
    SETTINGS(X)
#undef X
        SETTING_MAX
};

struct setting {
    const char *key;
    const char *env; /* its name in the environment; NULL: the key. PYTHON and DEV alone would catch other people's */
    enum setting_type type;
    enum setting_group group;
    const char *fallback; /* the default; NULL: worked out at start, or nothing */
    const char *computed; /* for help, when fallback is NULL */
    const char *choices;  /* separated by spaces */
    uint64_t min, max;    /* in the units of the number */
    bool zero;            /* 0 is allowed though it is below min */
    bool reload;          /* SIGHUP can change it */
    const char *metavar;
    const char *help;
};

enum { SETTING_TEXT_MAX = 4096, SETTING_EXPECTED_MAX = 160, SETTING_FLAG_MAX = 40 };

const struct setting *setting_get(enum setting_id id);
const char *setting_env(enum setting_id id);
/* "--grpc-port" */
const char *setting_flag(enum setting_id id, char out[SETTING_FLAG_MAX]);
/* The setting with this key, in its exact case; SETTING_MAX: none. */
enum setting_id setting_by_key(const char *key);
/* The setting with this flag (without the dashes, len bytes); SETTING_MAX: none. */
enum setting_id setting_by_flag(const char *flag, size_t len);

/* Checks a value and sets *ret_number (0 for the kinds that are text). 0 or -EINVAL. */
int setting_parse(enum setting_id id, const char *text, uint64_t *ret_number);
/* What would be right: "a whole number from 1 to 1024". */
const char *setting_expected(enum setting_id id, char out[SETTING_EXPECTED_MAX]);

/* Whether an address can be reached from this machine alone. */
bool setting_host_is_loopback(const char *host);

#endif
