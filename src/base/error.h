/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filling a struct tw_error. Leaf functions return 0 or -errno and know nothing of this; operations fill an error once,
 * where the sentence can still name the thing. All of these return -1, so that `return error_set(...)` reads well, and
 * all accept error == NULL.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <taskworker/error.h>

#include "base/util.h"

int error_set(struct tw_error *error, enum tw_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/*
 * An error that came from the system: `err` is an errno, of either sign. The sentence gets ": <strerror>" appended, and
 * the code follows from the errno (ENOENT: NOT_FOUND, ENOSPC and EDQUOT: RESOURCE_EXHAUSTED, EACCES and EPERM:
 * PERMISSION_DENIED, ENOMEM: RESOURCE_EXHAUSTED, else INTERNAL).
 */
int error_set_errno(struct tw_error *error, int err, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Puts "prefix: " in front of the sentence of an error that is set already. */
int error_wrap(struct tw_error *error, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Out of memory, said the same way everywhere. */
int error_oom(struct tw_error *error);

/* Copies `from` over `to` (either may be NULL). */
void error_copy(struct tw_error *to, const struct tw_error *from);

/* The name of a code; "UNKNOWN" for a number that is none. */
const char *error_code_name(enum tw_code code);

#endif
