/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of src/machine share; inside it only. */
#ifndef MACHINE_INTERNAL_H
#define MACHINE_INTERNAL_H

#include "machine/machine.h"

/* A file of the kernel's below source->root, as text (free *ret). 0 or -errno; *ret is NULL then. */
int machine_read(const struct machine_source *source, const char *path, char **ret);

#endif
