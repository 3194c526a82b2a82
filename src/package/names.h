/* SPDX-License-Identifier: Apache-2.0 */
/* The names in an archive: which can be, and which can be beside each other. Private to src/package. */
#ifndef PACKAGE_NAMES_H
#define PACKAGE_NAMES_H

#include <locale.h>
#include <stdbool.h>

#include "base/map.h"

enum { NAMES_PATH_MAX = 1024, NAMES_PART_MAX = 255, NAMES_DEPTH_MAX = 64 };

/* NULL: it can be; else what is wrong with it, as the end of a sentence. */
const char *names_flaw(const char *path);
/* The path without ./ in front and slashes at its end, in `out`; "" is the top folder itself. False: it is too long. */
bool names_trim(const char *raw, char out[NAMES_PATH_MAX]);
/* Whether a link at `path` to `target` stays inside, as far as names go. */
bool names_link_stays(const char *path, const char *target);

struct names {
    struct map all; /* by the name as it is without upper and lower case */
    locale_t locale;
};

int names_init(struct names *names);
void names_done(struct names *names);
/*
 * Takes a name, and the folders that it lies in. NULL: well; else what is wrong, as above; *ret_oom: that there was no memory. A folder may come
 * after what is in it.
 */
const char *names_add(struct names *names, const char *path, bool is_folder, bool *ret_oom);

#endif
