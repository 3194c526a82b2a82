/* SPDX-License-Identifier: Apache-2.0 */
/* The Python source of a task that calls a function by name; functions.py has what it leans on. */
#ifndef SLOT_FUNCTION_SOURCE_H
#define SLOT_FUNCTION_SOURCE_H

#include "base/buf.h"

enum {
    FUNCTIONS_BYTES_MAX = 1024 * 1024, /* of a file of functions */
    FUNCTION_CALL_MAX = 16 * 1024 * 1024,
};

/* The name that tracebacks have for the file. */
#define FUNCTIONS_NAME "functions.py"

/* What functions.py holds. */
const char *functions_support(void);

/*
 * Appends the source of a call: `data` is the JSON that says what is called. `functions` is the operator's file where the
 * interpreter does not have it loaded, else NULL. Check the buffer's error.
 */
void function_source(const char *functions, const void *data, size_t len, struct buf *out);

#endif
