/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

void fd_close(int *fd)
{
    if (*fd < 0)
        return;
    int saved = errno;
    close(*fd);
    errno = saved;
    *fd = -1;
}

int fd_occupy_standard(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        /* Inherited by programs started from here, for which the same holds. */
        int got = open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY); /* the lowest that is free */
        if (got < 0)
            return -errno;
        if (got > STDERR_FILENO)
            close(got); /* another thread was faster */
    }
    return 0;
}

int fd_write_all(int fd, const void *data, size_t len)
{
    const uint8_t *p = data;
    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

ssize_t fd_read_all(int fd, void *data, size_t len)
{
    uint8_t *p = data;
    size_t done = 0;
    while (done < len) {
        ssize_t n = read(fd, p + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

int fd_set_nonblocking(int fd, bool on)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return -errno;
    return fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) < 0 ? -errno : 0;
}

int fd_set_cloexec(int fd, bool on)
{
    return fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0) < 0 ? -errno : 0;
}

int fd_lock(int fd, unsigned patience_ms)
{
    enum { LOOK_MS = 20 };
    uint64_t until = clock_monotonic_us() + patience_ms * UINT64_C(1000);
    for (;;) {
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
            return 0;
        if (errno != EAGAIN && errno != EACCES)
            return -errno;
        if (clock_monotonic_us() >= until)
            return -EAGAIN;
        (void)poll(NULL, 0, LOOK_MS);
    }
}

int fd_sealed_memfd(const char *name, const void *data, size_t len)
{
    CLEANUP_FD int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    int r = fd_write_all(fd, data, len);
    if (r < 0)
        return r;
    if (lseek(fd, 0, SEEK_SET) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
        return -errno;
    return fd_steal(&fd);
}

int file_read(const char *path, size_t max, char **ret, size_t *ret_len)
{
    max = MIN(max, SIZE_MAX / 4); /* "no limit" must not overflow below */
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (S_ISDIR(st.st_mode))
        return -EISDIR;
    /* Files of the kernel's say that they are empty, and some of them (sysctls) can be read in one piece only. */
    bool sized = S_ISREG(st.st_mode) && st.st_size > 0 && (uint64_t)st.st_size < max;
    size_t cap = sized ? (size_t)st.st_size + 1 : MIN(max, (size_t)65536) + 1;
    CLEANUP_FREE char *data = malloc(cap + 1);
    size_t len = 0;
    while (data) {
        ssize_t n = fd_read_all(fd, data + len, cap - len);
        if (n < 0)
            return (int)n;
        len += (size_t)n;
        if (len > max)
            return -EFBIG;
        if (len < cap)
            break;
        cap = MIN(cap * 2, max + 1);
        char *bigger = realloc(data, cap + 1);
        if (!bigger)
            return -ENOMEM;
        data = bigger;
    }
    if (!data)
        return -ENOMEM;
    data[len] = '\0';
    *ret = STEAL(data);
    if (ret_len)
        *ret_len = len;
    return 0;
}

static int write_and_sync(const char *path, const void *data, size_t len, mode_t mode)
{
    CLEANUP_FD int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return -errno;
    int r = fd_write_all(fd, data, len);
    if (r < 0)
        return r;
    return fsync(fd) < 0 ? -errno : 0;
}

int file_write_atomic(const char *path, const void *data, size_t len, mode_t mode)
{
    char aside[PATH_MAX], folder[PATH_MAX];
    int n = snprintf(aside, sizeof aside, "%s.%d.new", path, (int)getpid());
    if (n < 0 || (size_t)n >= sizeof aside)
        return -ENAMETOOLONG;
    snprintf(folder, sizeof folder, "%s", path);
    (void)unlink(aside); /* left by a crash of a process with our pid */
    int r = write_and_sync(aside, data, len, mode);
    if (r == 0 && rename(aside, path) < 0)
        r = -errno;
    if (r < 0) {
        (void)unlink(aside);
        return r;
    }
    CLEANUP_FD int dir = open(dirname(folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || fsync(dir) < 0)
        return -errno;
    return 0;
}
