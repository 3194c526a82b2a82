/* SPDX-License-Identifier: Apache-2.0 */
/* From a command line to an ExecuteTaskRequest: where the source text comes from, of which type it is. */
#ifndef CLI_SUBMISSION_H
#define CLI_SUBMISSION_H

#include <taskworker/task.h>

#include "cli/options.h"
#include "cli/tasks.h"
#include "taskworker.pb-c.h"

/* What submit and run share; targets of options. */
struct submission {
    const char *id;
    const char *type;
    uint64_t timeout_us;
    uint64_t retries;
    const char *priority; /* a number; NULL: 0 */
    const char *at;       /* a time as in when.h; NULL: at once, or after delay_us */
    uint64_t delay_us;
    uint64_t queue_timeout_us;
    uint64_t retry_delay_us, grace_us;
    struct words after;
    bool after_any;
    struct labels labels;
    Taskworker__ExecuteTaskRequest__LabelsEntry *label_entries, **label_list;
    struct tw_limits limits; /* 0: the node's own */
    const char *network, *gpu, *cache;
    struct words inputs, outputs;
    Taskworker__TaskInput *input_entries, **input_list;
    bool fresh;
    struct words env;
    bool or_command; /* the verb takes a command as well: words for who forgot "--" */
    char *data;      /* the source text */
    size_t data_len;
    const char *guessed_type;
    Taskworker__ExecuteTaskRequest__EnvEntry *entries;
    Taskworker__ExecuteTaskRequest__EnvEntry **entry_pointers;
    char **names; /* of the variables, cut off at '=' */
    size_t n_env;
    Taskworker__Limits limits_message;
    Taskworker__ExecuteTaskRequest request; /* borrows from all of the above, and from args */
};

/* A limit of the task; the node says which are too much. */
#define SUBMISSION_LIMIT(s, option, type, field, low, high, meta, text)                                   \
    {                                                                                                     \
        .name = option, .kind = OPTION_##type, .target = &(s)->limits.field, .min = (low), .max = (high), \
        .metavar = meta, .help = text " [the node's]"                                                     \
    }

/* The shared options, as initialisers of struct option for a submission s. */
#define SUBMISSION_OPTIONS(s)                                                                                        \
    {.name = "id", .kind = OPTION_TEXT, .target = &(s)->id, .metavar = "ID", .help = "its id [the node makes one]"}, \
        {.name = "type",                                                                                             \
            .kind = OPTION_TEXT,                                                                                     \
            .target = &(s)->type,                                                                                    \
            .metavar = "TYPE",                                                                                       \
            .help = "python, shell, package or function [by what it is; from - python]"},                            \
        {.name = "timeout",                                                                                          \
            .kind = OPTION_DURATION,                                                                                 \
            .target = &(s)->timeout_us,                                                                              \
            .min = 1000,                                                                                             \
            .max = UINT64_C(365) * 86400000000,                                                                      \
            .metavar = "TIME",                                                                                       \
            .help = "how long it may run [the node's default]"},                                                     \
        {.name = "retries",                                                                                          \
            .kind = OPTION_COUNT,                                                                                    \
            .target = &(s)->retries,                                                                                 \
            .max = 1000,                                                                                             \
            .metavar = "N",                                                                                          \
            .help = "more attempts if it fails, or the node dies under it [0]"},                                     \
        {.name = "priority",                                                                                         \
            .kind = OPTION_TEXT,                                                                                     \
            .target = &(s)->priority,                                                                                \
            .metavar = "N",                                                                                          \
            .help = "-100 to 100; among those that wait the highest goes first [0]"},                                \
        {.name = "at",                                                                                               \
            .kind = OPTION_TEXT,                                                                                     \
            .target = &(s)->at,                                                                                      \
            .metavar = "WHEN",                                                                                       \
            .help = "not before: 18:30, 2030-01-31 18:30, 2030-01-31T18:30Z, or @SECONDS [at once]"},                \
        {.name = "delay",                                                                                            \
            .kind = OPTION_DURATION,                                                                                 \
            .target = &(s)->delay_us,                                                                                \
            .max = UINT64_C(365) * 86400000000,                                                                      \
            .metavar = "TIME",                                                                                       \
            .help = "not before so much time has passed [0]"},                                                       \
        {.name = "queue-timeout",                                                                                    \
            .kind = OPTION_DURATION,                                                                                 \
            .target = &(s)->queue_timeout_us,                                                                        \
            .min = 1000,                                                                                             \
            .max = UINT64_C(365) * 86400000000,                                                                      \
            .metavar = "TIME",                                                                                       \
            .help = "how long it may wait for its start [the node's default]"},                                      \
        {.name = "retry-delay",                                                                                      \
            .kind = OPTION_DURATION,                                                                                 \
            .target = &(s)->retry_delay_us,                                                                          \
            .min = 1000,                                                                                             \
            .max = UINT64_C(365) * 86400000000,                                                                      \
            .metavar = "TIME",                                                                                       \
            .help = "before its second attempt, doubled with each further [the node's default]"},                    \
        {.name = "grace",                                                                                            \
            .kind = OPTION_DURATION,                                                                                 \
            .target = &(s)->grace_us,                                                                                \
            .min = 1000,                                                                                             \
            .max = UINT64_C(365) * 86400000000,                                                                      \
            .metavar = "TIME",                                                                                       \
            .help = "from SIGTERM to SIGKILL, when it is to end early [the node's default]"},                        \
        {.name = "after",                                                                                            \
            .kind = OPTION_LIST,                                                                                     \
            .target = &(s)->after,                                                                                   \
            .metavar = "ID",                                                                                         \
            .help = "start when this task has completed; may be repeated"},                                          \
        {.name = "after-any",                                                                                        \
            .kind = OPTION_FLAG,                                                                                     \
            .target = &(s)->after_any,                                                                               \
            .help = "however the tasks of --after end"},                                                             \
        LABELS_OPTION(&(s)->labels, "what it is found by; may be repeated"),                                         \
        SUBMISSION_LIMIT(                                                                                            \
            s, "memory", SIZE, memory_bytes, 1, INT64_MAX, "SIZE", "memory of all its processes, and of its files"), \
        SUBMISSION_LIMIT(s, "cpu", CPUS, cpu_millis, 1, INT64_MAX, "N", "processors, such as 0.5"),                  \
        {.name = "gpu",                                                                                              \
            .kind = OPTION_TEXT,                                                                                     \
            .target = &(s)->gpu,                                                                                     \
            .metavar = "N|SIZE",                                                                                     \
            .help = "so many GPUs for itself; or, with a unit (8G), a share of one's memory [none]"},                \
        {.name = "input",                                                                                            \
            .kind = OPTION_LIST,                                                                                     \
            .target = &(s)->inputs,                                                                                  \
            .metavar = "FILE[=PATH]",                                                                                \
            .help = "a stored file (its name, or @ID) to be found in /inputs; may be repeated"},                     \
        {.name = "output",                                                                                           \
            .kind = OPTION_LIST,                                                                                     \
            .target = &(s)->outputs,                                                                                 \
            .metavar = "PATTERN",                                                                                    \
            .help = "files below /workspace to keep as ID/PATH, like result.csv or 'out/*.png'; may be repeated"},   \
        SUBMISSION_LIMIT(s, "cpu-time", DURATION, cpu_time_us, 1000, UINT64_C(365) * 86400000000, "TIME",            \
            "processor time of all its processes"),                                                                  \
        SUBMISSION_LIMIT(s, "processes", COUNT, processes, 1, 4194304, "N", "processes and threads at once"),        \
        SUBMISSION_LIMIT(s, "open-files", COUNT, open_files, 1, 1048576, "N", "open files of each process"),         \
        SUBMISSION_LIMIT(s, "file-size", SIZE, file_bytes, 1, INT64_MAX, "SIZE", "size of one file"),                \
        SUBMISSION_LIMIT(s, "workspace", SIZE, workspace_bytes, 1, INT64_MAX, "SIZE", "size of /workspace"),         \
        SUBMISSION_LIMIT(s, "tmp", SIZE, tmp_bytes, 1, INT64_MAX, "SIZE", "size of /tmp"),                           \
        SUBMISSION_LIMIT(                                                                                            \
            s, "output-limit", SIZE, output_bytes, 1, INT64_MAX, "SIZE", "how much of its output is kept"),          \
        {.name = "network",                                                                                          \
            .kind = OPTION_TEXT,                                                                                     \
            .target = &(s)->network,                                                                                 \
            .metavar = "NETWORK",                                                                                    \
            .help = "none, loopback (its own 127.0.0.1) or host [the node's default]"},                              \
        {.name = "cache",                                                                                            \
            .kind = OPTION_TEXT,                                                                                     \
            .target = &(s)->cache,                                                                                   \
            .metavar = "MODE",                                                                                       \
            .help = "use: a result that the same task has had before will do; refresh: it will not, but this one's"  \
                    " will for others [off]"},                                                                       \
        {.name = "fresh",                                                                                            \
            .kind = OPTION_FLAG,                                                                                     \
            .target = &(s)->fresh,                                                                                   \
            .help = "python: an interpreter of its own, not a fork of a warm one"},                                  \
    {                                                                                                                \
        .name = "env", .letter = 'e', .kind = OPTION_LIST, .target = &(s)->env, .metavar = "NAME=VALUE",             \
        .help = "a variable for the task; NAME alone: as it is here"                                                 \
    }

/* Fills s->request from the options, the file named by args->words and what follows "--". Returns 0 or the exit code. */
int submission_make(struct cli *cli, struct submission *s, const struct arguments *args);
/* The same for a command line: a shell script that becomes the command. */
int submission_make_command(struct cli *cli, struct submission *s, char **words, size_t n);
/* Hands it in. Returns 0 or the exit code. */
int submission_send(struct cli *cli, const struct submission *s, Taskworker__ExecuteTaskResponse **ret);
/* The same as an array of so many tasks; batch_id: NULL: the node makes one. */
int submission_send_array(struct cli *cli, struct submission *s, const char *batch_id, uint64_t first, uint64_t count,
    Taskworker__ExecuteBatchResponse **ret);
void submission_done(struct submission *s);

/* "python", "shell", or NULL: by the ending of the name, else by the first line. name "-": standard input. */
const char *submission_guess_type(const char *name, const char *data, size_t len);
/* The words so quoted that sh takes each as it is, behind "exec"; free it. NULL: no memory. */
char *submission_quote(char *const *words, size_t n, size_t *ret_len);

#endif
