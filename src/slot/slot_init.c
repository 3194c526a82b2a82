/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pid 1 of a seat: it holds the pid and mount namespaces, reaps what the task leaves behind, and kills, stops or ends all of
 * it when told to. It runs no code of the task, has one capability (to kill), and dies with the slot, whose own pid namespace its own
 * lies in.
 *
 * It shares the slot's memory (CLONE_VM): to copy an interpreter's page tables for a process that only waits would cost as
 * much as the task's own fork. In return it must keep off everything that the C library has once per thread, errno first,
 * since the slot's thread goes on at the same time: so it makes system calls by itself, and calls nothing else.
 */
#include "slot/slot.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/parse.h"
#include "slot/caps.h"
#include "slot/channel.h"

enum { BLOCK_SIZE = 32 * 1024, LOADAVG_MAX = 64, IO_MAX = 256, PAUSE_AGAIN_S = 1, WATCH_NS = 250 * 1000 * 1000 };

struct init_block {
    int socket;
    uint64_t reaped;
    struct rusage usage;
    bool folder_full;
    uint64_t folder_bytes, workspace_bytes;
    char io[IO_MAX];           /* its /proc/PID/io */
    char loadavg[LOADAVG_MAX]; /* as read from its /proc; its last word is the pid that was given out last */
};

/* A system call and nothing else: the result or -errno. */
static inline long raw(long nr, long a, long b, long c, long d, long e)
{
#if defined(__x86_64__)
    long ret;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    __asm__ volatile("syscall"
                     : "=a"(ret)
                     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return ret;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = nr;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
    return x0;
#else
#error "the raw system call of this architecture is missing"
#endif
}

#define NO_LIBRARY __attribute__((no_sanitize("address", "undefined", "thread"), no_stack_protector))

/* Reaps who is dead; with `all`, waits until nobody is left. */
NO_LIBRARY static inline void reap(struct init_block *block, bool all)
{
    for (;;) {
        long pid = raw(SYS_wait4, -1, 0, all ? 0 : WNOHANG, 0, 0);
        if (pid > 0)
            block->reaped++;
        else if (pid != -EINTR)
            return;
    }
}

/* For all others in the namespace; none slips through by forking: a fork begins again when its process has a signal. */
NO_LIBRARY static inline void signal_all(int sig)
{
    (void)raw(SYS_kill, -1, sig, 0, 0, 0);
}

NO_LIBRARY static inline void obey(char order)
{
    if (order == INIT_PAUSE) {
        signal_all(SIGSTOP);
    } else if (order == INIT_RESUME) {
        signal_all(SIGCONT);
    } else if (order == INIT_TERMINATE) {
        signal_all(SIGTERM);
        signal_all(SIGCONT); /* what is stopped takes no other signal until it goes on */
    } else {
        signal_all(SIGKILL);
    }
}

NO_LIBRARY static inline void watch_workspace(struct init_block *block)
{
    struct statfs st = {0};
    if (raw(SYS_statfs, (long)"/workspace", (long)&st, 0, 0, 0) != 0)
        return;
    uint64_t bytes = (st.f_blocks - st.f_bfree) * (uint64_t)st.f_bsize;
    if (bytes > block->workspace_bytes)
        block->workspace_bytes = bytes;
}

NO_LIBRARY static inline void look_into(const char *path, struct init_block *block)
{
    struct statfs st = {0};
    if (raw(SYS_statfs, (long)path, (long)&st, 0, 0, 0) != 0)
        return;
    block->folder_full |= st.f_bfree == 0 || st.f_ffree == 0;
    block->folder_bytes += (st.f_blocks - st.f_bfree) * (uint64_t)st.f_bsize;
}

NO_LIBRARY static inline void read_file(const char *path, char *ret, size_t size)
{
    long fd = raw(SYS_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC, 0, 0);
    if (fd >= 0) {
        (void)raw(SYS_read, fd, (long)ret, (long)size - 1, 0, 0);
        (void)raw(SYS_close, fd, 0, 0, 0, 0);
    }
}

NO_LIBRARY static inline void report(struct init_block *block)
{
    watch_workspace(block);
    look_into("/workspace", block);
    look_into("/tmp", block);
    look_into("/dev/shm", block);
    (void)raw(SYS_getrusage, RUSAGE_CHILDREN, (long)&block->usage, 0, 0, 0);
    read_file("/proc/loadavg", block->loadavg, LOADAVG_MAX);
    if (block->reaped > 0)
        read_file("/proc/self/io", block->io, IO_MAX);
    char done = INIT_END;
    (void)raw(SYS_write, block->socket, (long)&done, 1, 0, 0);
}

NO_LIBRARY static inline bool drop_privileges(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[2];
    data[0].effective = data[0].permitted = 1u << CAP_KILL;
    data[0].inheritable = data[1].effective = data[1].permitted = data[1].inheritable = 0;
    return raw(SYS_capset, (long)&header, (long)data, 0, 0, 0) == 0;
}

NO_LIBRARY static int init_main(void *arg)
{
    struct init_block *block = arg;
    int sock = block->socket;
    uint64_t child = UINT64_C(1) << (SIGCHLD - 1);
    if (sock > 0)
        (void)raw(SYS_close_range, 0, sock - 1, 0, 0, 0);
    (void)raw(SYS_close_range, sock + 1, -1, 0, 0, 0);
    (void)raw(SYS_rt_sigprocmask, SIG_BLOCK, (long)&child, 0, sizeof child, 0);
    long signals = raw(SYS_signalfd4, -1, (long)&child, sizeof child, SFD_CLOEXEC | SFD_NONBLOCK, 0);
    if (!drop_privileges() || signals < 0)
        return 1; /* the end of its namespace, which is seen by all */
    struct pollfd polls[2] = {0};
    polls[0].fd = sock;
    polls[1].fd = (int)signals;
    polls[0].events = polls[1].events = POLLIN;
    bool paused = false, watching = false;
    for (;;) {
        char order = 0, drop[128];
        struct timespec again = {.tv_sec = PAUSE_AGAIN_S}, soon = {.tv_nsec = WATCH_NS};
        long n = raw(SYS_ppoll, (long)polls, 2, paused ? (long)&again : watching ? (long)&soon : 0, 0, 0);
        if (n == 0 && watching)
            watch_workspace(block);
        if (n == 0 && paused)
            obey(INIT_PAUSE); /* processes that wake each other may have outlived the first try */
        if (n <= 0)
            continue;
        if (polls[1].revents) {
            (void)raw(SYS_read, signals, (long)drop, sizeof drop, 0, 0);
            reap(block, false);
        }
        if (!polls[0].revents)
            continue;
        if (raw(SYS_read, sock, (long)&order, 1, 0, 0) != 1)
            return 0; /* the slot is gone, or does not want us any more; so is then everything here */
        if (order == INIT_WATCH) {
            watching = true;
            continue;
        }
        obey(order);
        paused = order == INIT_PAUSE;
        if (order == INIT_END) {
            reap(block, true);
            report(block);
            return 0;
        }
    }
}

int init_start(struct init *ret, struct slot_error *error)
{
    int pair[2], pidfd = -1;
    struct init_block *block =
        mmap(NULL, BLOCK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (block == MAP_FAILED)
        return slot_error_set(error, STAGE_NAMESPACES, "memory for its pid 1");
    int r = channel_pair(pair);
    if (r < 0) {
        munmap(block, BLOCK_SIZE);
        errno = -r;
        return slot_error_set(error, STAGE_NAMESPACES, "a connection to its pid 1");
    }
    CLEANUP_FD int ours = pair[0];
    CLEANUP_FD int theirs = pair[1];
    block->socket = theirs;
    pid_t pid = clone(init_main, (char *)block + BLOCK_SIZE,
        CLONE_VM | CLONE_NEWPID | CLONE_NEWNS | CLONE_PIDFD | SIGCHLD, block, &pidfd);
    if (pid < 0) {
        slot_error_set(error, STAGE_NAMESPACES, "clone");
        munmap(block, BLOCK_SIZE);
        return -1;
    }
    *ret = (struct init){.pid = pid, .pidfd = pidfd, .socket = fd_steal(&ours), .block = block};
    return 0;
}

void init_order(const struct init *init, enum init_order order)
{
    char byte = (char)order;
    (void)send(init->socket, &byte, 1, MSG_NOSIGNAL);
}

void init_take_report(const struct init *init, struct init_report *ret)
{
    const struct init_block *block = init->block;
    const char *last = strrchr(block->loadavg, ' ');
    char number[24];
    uint64_t last_pid = 0;
    snprintf(number, sizeof number, "%.*s", last ? (int)strcspn(last + 1, "\n") : 0, last ? last + 1 : "");
    (void)parse_u64(number, 0, UINT64_MAX, &last_pid);
    *ret = (struct init_report){
        .usage = slot_usage_of(&block->usage),
        .folder_full = block->folder_full,
        .folder_bytes = block->folder_bytes,
        .workspace_bytes = block->workspace_bytes,
    };
    ret->usage.processes = last_pid > 1 ? last_pid - 1 : 0;
    slot_usage_set_io(&ret->usage, block->io);
}

void init_reap(struct init *init)
{
    siginfo_t info;
    if (init->pidfd >= 0) {
        while (waitid(P_PIDFD, (id_t)init->pidfd, &info, WEXITED) < 0 && errno == EINTR)
            ;
    }
    fd_close(&init->pidfd);
    fd_close(&init->socket);
    if (init->block)
        munmap(init->block, BLOCK_SIZE);
    *init = (struct init)NO_INIT;
}
