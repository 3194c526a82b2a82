/* SPDX-License-Identifier: Apache-2.0 */
/* What a start needs from the disk, looked at before it begins, so that what is missing is told in the words of the settings. */
#ifndef NODE_PROGRAMS_H
#define NODE_PROGRAMS_H

#include "node/config.h"

/* The helper programs, SANDBOX_ROOT and PYTHON. 0, or -1 with a word in the log. */
int programs_check(const struct config *c);
/* The operator's file of functions, read while we still may; *ret (free it) stays NULL where there is none. Likewise. */
int programs_read_functions(const struct config *c, char **ret);

#endif
