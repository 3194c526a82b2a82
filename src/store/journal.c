/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room in the write-ahead log, made ahead. A commit that makes the file longer has the file system write its own journal as
 * well, a commit into blocks that are there already has not, which is a third less time. So zeros are appended while nothing
 * waits to be written, once the store is in use: SQLite takes them for the end of the log, as it does what an older round has
 * left there (https://www.sqlite.org/fileformat2.html#walformat).
 *
 * It is a comfort: where the disk is nearly full, or anything fails, the log grows as it always did.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "store/internal.h"

enum { CHUNK_BYTES = 1 << 20, PIECE_BYTES = 64 << 10 };

/* What must be free besides, so that nobody else goes short of it. */
#define SPARE_BYTES (UINT64_C(512) << 20)

static bool append_zeros(int fd, off_t from, size_t n)
{
    static const char zeros[PIECE_BYTES];
    for (size_t done = 0; done < n;) {
        ssize_t written = pwrite(fd, zeros, MIN(n - done, sizeof zeros), from + (off_t)done);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        done += (size_t)written;
    }
    return fdatasync(fd) == 0;
}

bool journal_make_room(const struct folder *f)
{
    CLEANUP_FD int fd = openat(f->dir_fd, DB_NAME "-wal", O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    struct statvfs disk;
    if (fd < 0 || fstat(fd, &st) < 0 || fstatvfs(fd, &disk) < 0)
        return false;
    if (st.st_size >= STORE_JOURNAL_BYTES || (uint64_t)disk.f_bavail * disk.f_frsize < SPARE_BYTES)
        return false;
    size_t n = (size_t)MIN((off_t)CHUNK_BYTES, STORE_JOURNAL_BYTES - st.st_size);
    if (append_zeros(fd, st.st_size, n))
        return st.st_size + (off_t)n < STORE_JOURNAL_BYTES;
    (void)!ftruncate(fd, st.st_size);
    return false;
}
