/* SPDX-License-Identifier: Apache-2.0 */
/* What is typed without being shown. A command line is seen by everybody on the machine, so no secret is ever taken from there. */
#ifndef CLI_SECRET_H
#define CLI_SECRET_H

#include <stdbool.h>

#include <taskworker/error.h>

#include "cli/credentials.h"

enum { SECRET_MAX = 1024 };

/* CLEANUP_TOKEN_TEXT (credentials.h) wipes and frees what these give. */

/* The first line of a file, or of standard input ("-"); nothing may follow it. INVALID_ARGUMENT: empty, too long, more than a line. */
int secret_read(const char *path, char **ret, struct tw_error *error);
/*
 * Asks on the terminal of the program, whatever standard input is. `show`: what is typed can be seen. FAILED_PRECONDITION: there is no
 * terminal. A signal ends or stops the program as ever, with the terminal as it was; who lets it go on is asked again.
 */
int secret_ask(const char *prompt, bool show, char **ret, struct tw_error *error);
/* Twice, which has to be the same. */
int secret_ask_new(const char *prompt, char **ret, struct tw_error *error);

#endif
