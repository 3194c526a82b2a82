/* SPDX-License-Identifier: Apache-2.0 */
/* The output of a task, as it comes. */
#ifndef CLI_FOLLOW_H
#define CLI_FOLLOW_H

#include "cli/output.h"

struct follow_options {
    const char *id;
    bool follow; /* until the task has ended; else what there is */
    bool raw;    /* not made harmless on terminals */
    bool quiet;  /* with follow: nothing is left to do when nobody reads standard output any more (EXIT_READER_GONE) */
    bool known;  /* the node has accepted it: a node that is not there is away, not wrong */
    /* With follow: whether the task has ended, once its stream has. A node that shuts down ends streams as well. */
    int (*has_ended)(void *ctx, bool *ret, struct tw_error *error); /* 0 or -1 */
    void *ctx;
};

/* What was seen. The end of standard error is for telling whether something was printed there already. */
enum { FOLLOW_TAIL_MAX = 4096 };
struct follow_seen {
    char tail[FOLLOW_TAIL_MAX];
    size_t tail_len;
};

/*
 * Prints standard output and standard error of the task to those of this program; with --json both to standard output,
 * {"stream":"stdout","time_us":...,"data":"..."} a line. With `follow`, a lost connection is made again and the stream
 * goes on where it was. Returns 0 or the exit code.
 */
int follow_logs(struct cli *cli, const struct follow_options *options, struct follow_seen *ret);

#endif
