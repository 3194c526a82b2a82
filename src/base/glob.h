/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patterns for paths. Within a part (what is between two slashes) `*` stands for any number of bytes, `?` for one character,
 * `[a-z]` and `[!a-z]` for one of these or none of these, and a backslash takes the next character as it is. A part `**` stands for any number of parts,
 * none included. A name that begins with a dot is a name like any other.
 *
 * Matching takes time in proportion to the product of both lengths at worst, whatever is in them.
 */
#ifndef BASE_GLOB_H
#define BASE_GLOB_H

#include <stdbool.h>

/* NULL: it is a pattern for paths below some folder; else what is wrong with it, as the end of a sentence that begins with it. */
const char *glob_flaw(const char *pattern);

/* Whether the pattern is for this path, or for a folder that it lies in. */
bool glob_covers(const char *pattern, const char *path);

#endif
