/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of `hivemind storage` share. */
#ifndef CLI_FILES_H
#define CLI_FILES_H

#include "cli/cli.h"
#include "cli/options.h"
#include "cli/output.h"
#include "taskworker.pb-c.h"

#define FILES_METHOD(name) "/taskworker.FileService/" name

/* How far something is, on a terminal's standard error; nothing elsewhere. */
struct meter {
    const struct cli *cli;
    uint64_t began_us, shown_us;
    bool shown;
};
void meter_begin(struct meter *m, const struct cli *cli);
/* total 0: not known. */
void meter_show(struct meter *m, uint64_t done, uint64_t total);
void meter_end(struct meter *m);

/* The last part of a path or name. */
const char *files_base_name(const char *path);
json_t *json_file(const Taskworker__File *file);

/* files_put.c, files_get.c: whole verbs below "storage". */
int files_put(struct cli *cli, int argc, char **argv);
int files_get(struct cli *cli, int argc, char **argv);

/* Fetches one file to a path, or to standard output ("-"). An exit code. */
int files_get_one(struct cli *cli, Taskworker__FileRequest *which, const char *path);
/* files_get_all.c: all files whose names begin with the prefix, which ends in a slash, into a folder. */
int files_get_all(struct cli *cli, const char *prefix, const char *owner, const char *top);

#endif
