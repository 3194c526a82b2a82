/* SPDX-License-Identifier: Apache-2.0 */
/* "Did you mean ...?": the known name that a mistyped word is nearest to. */
#ifndef BASE_SUGGEST_H
#define BASE_SUGGEST_H

#include <stddef.h>

/*
 * The one of `names` that takes the fewest edits (insert, delete, change, swap of neighbours; case does not count, and '_'
 * equals '-') to become `word`; NULL when none is near enough to be what was meant. The first of several equals wins.
 */
const char *suggest_nearest(const char *word, const char *const *names, size_t n);

#endif
