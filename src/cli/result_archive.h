/* SPDX-License-Identifier: Apache-2.0 */
/* All that is left of a task that has ended, in one zip (package/result.h). */
#ifndef CLI_RESULT_ARCHIVE_H
#define CLI_RESULT_ARCHIVE_H

#include "cli/cli.h"
#include "taskworker.pb-c.h"

/* Writes it to a file, which takes its place when it is whole. An exit code. */
int result_archive_write(struct cli *cli, const Taskworker__Task *task, const char *path);

#endif
