/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's folder: who may use it, its lock, and the payload files in it. Names are resolved
 * relative to open folders, so neither chdir nor renaming the folder leads elsewhere.
 *
 * After folder_open() the fds and the path do not change: any thread may use the functions on
 * payloads.
 */
#ifndef STORE_FOLDER_H
#define STORE_FOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <taskworker/error.h>

#define DB_NAME "taskworker.db"

struct folder {
    char *path;                             /* without slashes at its end */
    char *db_path;                          /* path/taskworker.db */
    int dir_fd, files_fd, logs_fd, lock_fd; /* -1: not open */
};

/*
 * Checks the folder (made if it is not there), takes the lock, makes what is missing in it; the
 * database file exists afterwards, maybe empty. On failure nothing is left open.
 */
int folder_open(struct folder *f, const char *path, struct tw_error *error);
/* Gives the lock back. */
void folder_close(struct folder *f);

enum { PAYLOAD_NAME_MAX = 33 };

/* Writes and fsyncs a new file with a random name; it is durable only after payload_sync(). */
int payload_write(
    const struct folder *f, const void *data, size_t len, char ret_name[PAYLOAD_NAME_MAX], struct tw_error *error);
int payload_sync(const struct folder *f, struct tw_error *error);
/* Reads a file of exactly `size` bytes into *ret (free it, NUL-terminated beyond); otherwise it is
 * DATA_LOSS. */
int payload_read(const struct folder *f, const char *name, uint64_t size, uint8_t **ret, struct tw_error *error);
void payload_unlink(const struct folder *f, const char *name);

#endif
