/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A folder in which something is put together that is then there as a whole, or not at all. Its paths have been judged (names.h). All
 * return 0 (or a descriptor) or -errno. Private to src/package.
 */
#ifndef PACKAGE_STAGING_H
#define PACKAGE_STAGING_H

#include <stddef.h>
#include <sys/types.h>

#include "package/names.h"

struct staging {
    int top, folder;                /* where it is to be in the end, and this folder in there; -1: there is none */
    char name[32];                  /* of it */
    int last;                       /* the folder that was needed last, */
    char last_path[NAMES_PATH_MAX]; /* and its path */
    struct staged_link {
        char *path, *target;
    } * links;
    size_t n_links;
};
#define STAGING_NONE                        \
    (struct staging)                        \
    {                                       \
        .top = -1, .folder = -1, .last = -1 \
    }

/* The folder is borrowed. */
int staging_begin(struct staging *s, int folder_fd);
/* A new file, open for writing; the folders on its way are made. */
int staging_file(struct staging *s, const char *path, mode_t mode);
int staging_folder(struct staging *s, const char *path);
int staging_link_later(struct staging *s, const char *path, const char *target);
/* Makes the links, and moves all that it has up to where it is to be: -EEXIST where a name is taken,
   -EXDEV where a link leads out; then nothing is moved. */
int staging_commit(struct staging *s);
/* Removes what is left of it. */
void staging_drop(struct staging *s);

#endif
