/* SPDX-License-Identifier: Apache-2.0 */
#include "steps.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

static atomic_bool armed;
static atomic_int done;
static int wanted, error_number;
static enum steps_end how;

void steps_arm(int n, enum steps_end end, int err)
{
    wanted = n;
    how = end;
    error_number = err;
    atomic_store(&done, 0);
    atomic_store(&armed, true);
}

int steps_disarm(void)
{
    atomic_store(&armed, false);
    return atomic_load(&done);
}

/* Is this the one? */
static bool step(bool has_halves)
{
    if (!atomic_load(&armed) || atomic_fetch_add(&done, 1) != wanted)
        return false;
    if (how == STEPS_KILL || (how == STEPS_KILL_HALF && !has_halves))
        raise(SIGKILL);
    errno = error_number;
    return true;
}

ssize_t __real_write(int fd, const void *data, size_t len);
ssize_t __wrap_write(int fd, const void *data, size_t len);
ssize_t __wrap_write(int fd, const void *data, size_t len)
{
    if (!step(true))
        return __real_write(fd, data, len);
    int err = errno;
    (void)!__real_write(fd, data, len / 2);
    if (how == STEPS_KILL_HALF)
        raise(SIGKILL);
    errno = err;
    return -1;
}

#define WRAP(name, parameters, arguments)                  \
    int __real_##name parameters;                          \
    int __wrap_##name parameters;                          \
    int __wrap_##name parameters                           \
    {                                                      \
        return step(false) ? -1 : __real_##name arguments; \
    }
WRAP(fsync, (int fd), (fd))
WRAP(fdatasync, (int fd), (fd))
WRAP(ftruncate, (int fd, off_t len), (fd, len))
WRAP(renameat, (int old_at, const char *old, int new_at, const char *new), (old_at, old, new_at, new))
WRAP(unlinkat, (int at, const char *name, int flags), (at, name, flags))

int __real_openat(int at, const char *name, int flags, ...);
int __wrap_openat(int at, const char *name, int flags, ...);
int __wrap_openat(int at, const char *name, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    int mode = flags & O_CREAT ? va_arg(ap, int) : 0;
    va_end(ap);
    return flags & O_CREAT && step(false) ? -1 : __real_openat(at, name, flags, mode);
}
