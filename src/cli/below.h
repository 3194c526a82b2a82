/* SPDX-License-Identifier: Apache-2.0 */
/* Verbs that have verbs below them: "user add". */
#ifndef CLI_BELOW_H
#define CLI_BELOW_H

#include "cli/cli.h"

struct below {
    const char *name, *summary;
    int (*run)(struct cli *cli, int argc, char **argv);
};

/*
 * Runs the one that argv names, behind options of all verbs; argv[0] is `verb`. Without one, and with --help, it prints which there are.
 * Returns the exit code. `about`: one sentence.
 */
int below_run(
    struct cli *cli, const char *verb, const char *about, const struct below *below, size_t n, int argc, char **argv);

#endif
