/* SPDX-License-Identifier: Apache-2.0 */
/* Goes between a daemon and the C library: its wall clock is off by what the test says, and its writes fail as it says. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* As harness/shim.py writes it. */
struct orders {
    volatile int64_t wall_offset_s;
    volatile int64_t write_errno; /* 0: none fails. Only those at a place in a file: they are the database's */
};

static const struct orders *orders;

__attribute__((constructor)) static void take_orders(void)
{
    const char *path = getenv("HARNESS_SHIM");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *map = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *orders, PROT_READ, MAP_SHARED, fd, 0);
    orders = map == MAP_FAILED ? NULL : map;
    if (fd >= 0)
        close(fd);
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
    int r = (int)syscall(SYS_clock_gettime, id, ts);
    if (r == 0 && orders && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        ts->tv_sec += orders->wall_offset_s;
    return r;
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t at)
{
    if (orders && orders->write_errno) {
        errno = (int)orders->write_errno;
        return -1;
    }
    return syscall(SYS_pwrite64, fd, data, len, at);
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
    return pwrite64(fd, data, len, at);
}
