/* SPDX-License-Identifier: Apache-2.0 */
#include "steps.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

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

/* Is this the one that fails? */
static bool step(void)
{
    if (!atomic_load(&armed) || atomic_fetch_add(&done, 1) != wanted)
        return false;
    if (how == STEPS_KILL)
        raise(SIGKILL);
    errno = error_number;
    return true;
}

/* --- those of the storage --- */

ssize_t __real_write(int fd, const void *data, size_t len);
ssize_t __wrap_write(int fd, const void *data, size_t len);
ssize_t __wrap_write(int fd, const void *data, size_t len)
{
    /* A disk that becomes full in the middle takes a part. */
    if (step()) {
        int err = errno;
        (void)!__real_write(fd, data, len / 2);
        errno = err;
        return -1;
    }
    return __real_write(fd, data, len);
}

#define WRAP(name, parameters, arguments)             \
    int __real_##name parameters;                     \
    int __wrap_##name parameters;                     \
    int __wrap_##name parameters                      \
    {                                                 \
        return step() ? -1 : __real_##name arguments; \
    }
WRAP(fsync, (int fd), (fd))
WRAP(fchmod, (int fd, mode_t mode), (fd, mode))
WRAP(renameat, (int old_at, const char *old, int new_at, const char *new), (old_at, old, new_at, new))
WRAP(unlinkat, (int at, const char *name, int flags), (at, name, flags))
WRAP(mkdirat, (int at, const char *name, mode_t mode), (at, name, mode))

int __real_openat(int at, const char *name, int flags, ...);
int __wrap_openat(int at, const char *name, int flags, ...);
int __wrap_openat(int at, const char *name, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    int mode = flags & O_CREAT ? va_arg(ap, int) : 0;
    va_end(ap);
    return flags & O_CREAT && step() ? -1 : __real_openat(at, name, flags, mode);
}

/* --- those of SQLite --- */

static ssize_t (*sqlite_write)(int fd, const void *data, size_t len);
static ssize_t (*sqlite_pwrite)(int fd, const void *data, size_t len, off_t at);
static int (*sqlite_ftruncate)(int fd, off_t len);
static int (*sqlite_unlink)(const char *path);

static ssize_t step_write(int fd, const void *data, size_t len)
{
    return step() ? -1 : sqlite_write(fd, data, len);
}

static ssize_t step_pwrite(int fd, const void *data, size_t len, off_t at)
{
    return step() ? -1 : sqlite_pwrite(fd, data, len, at);
}

static int step_ftruncate(int fd, off_t len)
{
    return step() ? -1 : sqlite_ftruncate(fd, len);
}

static int step_unlink(const char *path)
{
    return step() ? -1 : sqlite_unlink(path);
}

static void replace(const char *name, void *keep, sqlite3_syscall_ptr ours)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    sqlite3_syscall_ptr real = vfs->xGetSystemCall(vfs, name);
    if (real && vfs->xSetSystemCall(vfs, name, ours) == SQLITE_OK)
        memcpy(keep, &real, sizeof real);
}

void steps_init(void)
{
    replace("write", &sqlite_write, (sqlite3_syscall_ptr)step_write);
    replace("pwrite", &sqlite_pwrite, (sqlite3_syscall_ptr)step_pwrite);
    replace("pwrite64", &sqlite_pwrite, (sqlite3_syscall_ptr)step_pwrite);
    replace("ftruncate", &sqlite_ftruncate, (sqlite3_syscall_ptr)step_ftruncate);
    replace("unlink", &sqlite_unlink, (sqlite3_syscall_ptr)step_unlink);
}
