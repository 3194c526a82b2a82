/* SPDX-License-Identifier: Apache-2.0 */
/* File descriptors and files. All functions return -errno on failure and retry EINTR; every fd made here is CLOEXEC. */
#ifndef BASE_FD_H
#define BASE_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/util.h"

/* Closes *fd if it is not negative and sets it to -1; errno is kept. */
void fd_close(int *fd);
#define CLEANUP_FD CLEANUP(fd_close)

static inline int fd_steal(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

/*
 * Occupies those of the descriptors 0 to 2 that are closed, so that nothing opened later takes their places and is written to
 * as if it were one of them. They are open the wrong way round: to use one fails as it did (EBADF).
 */
int fd_occupy_standard(void);

int fd_write_all(int fd, const void *data, size_t len);
/* Reads until len bytes or the end of the file; returns how many. */
ssize_t fd_read_all(int fd, void *data, size_t len);
int fd_set_nonblocking(int fd, bool on);
int fd_set_cloexec(int fd, bool on);

/*
 * Locks an open file for writing, as the lock of this open file and not of the process: closing another fd of the file does not lose
 * it, and a second opening in this process is kept out too. One that is taken is waited for, at most this long, since who is about to
 * end may hold it: -EAGAIN.
 */
int fd_lock(int fd, unsigned patience_ms);

/* A memfd with these bytes, sealed against every change, offset 0. */
int fd_sealed_memfd(const char *name, const void *data, size_t len);

/* The whole file, at most max bytes (-EFBIG beyond), NUL-terminated; free *ret. */
int file_read(const char *path, size_t max, char **ret, size_t *ret_len);

/* Writes aside, fsyncs, renames, fsyncs the folder: afterwards the file has all of the new content or all of the old. */
int file_write_atomic(const char *path, const void *data, size_t len, mode_t mode);

#endif
