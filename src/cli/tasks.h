/* SPDX-License-Identifier: Apache-2.0 */
/* Many tasks: the labels that they are found by, and the walk over all pages of a list. */
#ifndef CLI_TASKS_H
#define CLI_TASKS_H

#include "cli/options.h"
#include "taskworker.pb-c.h"

/* KEY=VALUE of the command line, split. All entries of maps from string to string look alike in memory. */
struct labels {
    struct words given; /* the target of an option of kind OPTION_LIST */
    char **keys, **values;
    Taskworker__ListTasksRequest__LabelsEntry *entries, **list; /* for ListTasks */
    size_t n;
};
/* 0, or the exit code after a message. */
int labels_parse(struct cli *cli, struct labels *labels);
void labels_done(struct labels *labels);

#define LABELS_OPTION(l, text)                                                                              \
    {                                                                                                       \
        .name = "label", .letter = 'l', .kind = OPTION_LIST, .target = &(l)->given, .metavar = "KEY=VALUE", \
        .help = text                                                                                        \
    }

/*
 * Calls `each` for the tasks that the request (without page size and token) finds, newest first, at most `limit`, until it
 * returns other than 0, which then is the result. *ret_more (may be NULL): there are others. Returns 0 or the exit code.
 */
int tasks_walk(struct cli *cli, Taskworker__ListTasksRequest *request, uint64_t limit,
    int (*each)(struct cli *cli, const Taskworker__Task *task, void *ctx), void *ctx, bool *ret_more);

#endif
