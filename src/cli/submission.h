/* SPDX-License-Identifier: Apache-2.0 */
/* From a command line to an ExecuteTaskRequest: where the source text comes from, of which type it is. */
#ifndef CLI_SUBMISSION_H
#define CLI_SUBMISSION_H

#include "cli/options.h"
#include "taskworker.pb-c.h"

/* What submit and run share; targets of options. */
struct submission {
    const char *id;
    const char *type;
    uint64_t timeout_us;
    uint64_t retries;
    struct words env;
    bool or_command; /* the verb takes a command as well: words for who forgot "--" */
    char *data;      /* the source text */
    size_t data_len;
    const char *guessed_type;
    Taskworker__ExecuteTaskRequest__EnvEntry *entries;
    Taskworker__ExecuteTaskRequest__EnvEntry **entry_pointers;
    char **names; /* of the variables, cut off at '=' */
    size_t n_env;
    Taskworker__ExecuteTaskRequest request; /* borrows from all of the above, and from args */
};

/* The shared options, as initialisers of struct option for a submission s. */
#define SUBMISSION_OPTIONS(s)                                                                                        \
    {.name = "id", .kind = OPTION_TEXT, .target = &(s)->id, .metavar = "ID", .help = "its id [the node makes one]"}, \
        {.name = "type",                                                                                             \
            .kind = OPTION_TEXT,                                                                                     \
            .target = &(s)->type,                                                                                    \
            .metavar = "TYPE",                                                                                       \
            .help = "python or shell [by .py, .sh or the #! line; from - python]"},                                  \
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
            .help = "more attempts if the node dies under it [0]"},                                                  \
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
void submission_done(struct submission *s);

/* "python", "shell", or NULL: by the ending of the name, else by the first line. name "-": standard input. */
const char *submission_guess_type(const char *name, const char *data, size_t len);
/* The words so quoted that sh takes each as it is, behind "exec"; free it. NULL: no memory. */
char *submission_quote(char *const *words, size_t n, size_t *ret_len);

#endif
