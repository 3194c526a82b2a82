/* SPDX-License-Identifier: Apache-2.0 */
#include "base/suggest.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

#include "base/util.h"

enum { WORD_MAX = 64 }; /* longer words are nobody's typing error */

static char fold(char c)
{
    return c == '_' ? '-' : (char)tolower((unsigned char)c);
}

/* Optimal string alignment over three rows; both words are at most WORD_MAX long. */
static size_t edit_distance(const char *a, size_t la, const char *b, size_t lb)
{
    size_t rows[3][WORD_MAX + 1];
    for (size_t j = 0; j <= lb; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= la; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t change = fold(a[i - 1]) != fold(b[j - 1]);
            size_t best = MIN(above[j], row[j - 1]) + 1;
            best = MIN(best, above[j - 1] + change);
            if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) && fold(a[i - 2]) == fold(b[j - 1]))
                best = MIN(best, before[j - 2] + 1);
            row[j] = best;
        }
    }
    return rows[la % 3][lb];
}

const char *suggest_nearest(const char *word, const char *const *names, size_t n)
{
    size_t len = strnlen(word, WORD_MAX + 1), best = SIZE_MAX;
    const char *found = NULL;
    if (len == 0 || len > WORD_MAX)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        size_t name_len = strnlen(names[i], WORD_MAX + 1);
        if (name_len > WORD_MAX)
            continue;
        size_t distance = edit_distance(word, len, names[i], name_len);
        /* A third of the letters may be wrong, in a short word one. */
        if (distance <= MAX((size_t)1, MIN(len, name_len) / 3) && distance < best) {
            best = distance;
            found = names[i];
        }
    }
    return found;
}
