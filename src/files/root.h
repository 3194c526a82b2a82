/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The storage's folder: whose it is, its lock, and what is in it. Names are resolved relative to open folders, so neither
 * chdir nor renaming the folder leads elsewhere. After root_open() nothing in here changes: any thread may use it.
 */
#ifndef FILES_ROOT_H
#define FILES_ROOT_H

#include <taskworker/error.h>

#define ROOT_DB "files.db"
#define ROOT_LOCK "lock"
#define ROOT_BLOBS "blobs" /* ab/cdef...: by the hash of the content */
#define ROOT_TMP "tmp"     /* uploads, and what is being removed */

struct root {
    char *path;                                       /* without slashes at its end */
    char *db_path;                                    /* path/files.db */
    int dir_fd, blobs_fd, tmp_fd, inputs_fd, lock_fd; /* -1: not open */
};

/*
 * Checks the folder (made if it is not there), takes the lock, makes what is missing in it; the database file exists
 * afterwards, maybe empty. On failure nothing is left open.
 */
int root_open(struct root *root, const char *path, struct tw_error *error);
/* Gives the lock back. */
void root_close(struct root *root);

/* The error of something that failed in the folder with `err`; `what` names it, below the folder. Returns -1. */
int root_fail(const struct root *root, int err, const char *verb, const char *what, struct tw_error *error);

#endif
