/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Environment markers, what stands behind the ';' of a requirement ("Dependency specifiers", PEP 508): comparisons of a variable
 * with a text, joined by and, or and parentheses. They are checked and brought into one form, and not evaluated: that is pip's.
 *
 * Taken are the eleven variables that are defined wherever requirements are installed (so not `extra`), on at least one side of
 * each comparison, and texts of letters, digits, spaces and ._+-*,!<>=~/:() in quotes of either kind.
 */
#ifndef PACKAGE_MARKER_H
#define PACKAGE_MARKER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

enum { MARKER_DEPTH_MAX = 16 }; /* of parentheses */

/*
 * Appends it to *out with one space between its words and double quotes. False: it is no marker (or out->error is set, and there
 * was no room). What is written for one marker is a marker again, and comes out as the same.
 */
bool marker_normalise(const char *s, size_t len, struct buf *out);

#endif
