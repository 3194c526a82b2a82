/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports: free or taken, and by whom if /proc tells. A bind without listen says it for certain; nothing can connect to it and
 * it is gone at once.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/parse.h"
#include "doctor/facts.h"
#include "doctor/internal.h"

#define OWNER_US UINT64_C(500000)
#define NODE_US UINT64_C(1000000)
enum { GRPC_PORT = 50053, WEB_PORT = 5000, NODE_NAME_MAX = 128 };

/* 0 free, or the errno of bind. */
static int bind_error(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    CLEANUP_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    /* As the daemon does: connections that end just now are no reason. */
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    return bind(fd, (struct sockaddr *)&address, sizeof address) == 0 ? 0 : errno;
}

static bool has_socket(const char *pid, const char *wanted)
{
    char path[64 + NAME_MAX], target[64];
    snprintf(path, sizeof path, "/proc/%.20s/fd", pid);
    DIR *fds = opendir(path);
    bool found = false;
    for (struct dirent *e; fds && !found && (e = readdir(fds));) {
        snprintf(path, sizeof path, "/proc/%.20s/fd/%s", pid, e->d_name);
        ssize_t n = readlink(path, target, sizeof target - 1);
        if (n <= 0)
            continue;
        target[n] = '\0';
        found = !strcmp(target, wanted);
    }
    if (fds)
        closedir(fds);
    return found;
}

/* The process with this socket: its id, or 0. */
static uint64_t find_process(uint64_t inode, uint64_t deadline)
{
    char wanted[64];
    uint64_t pid = 0;
    snprintf(wanted, sizeof wanted, "socket:[%llu]", (unsigned long long)inode);
    DIR *proc = opendir("/proc");
    for (struct dirent *e; proc && pid == 0 && clock_monotonic_us() < deadline && (e = readdir(proc));) {
        if (isdigit((unsigned char)e->d_name[0]) && has_socket(e->d_name, wanted))
            (void)parse_u64(e->d_name, 1, INT32_MAX, &pid);
    }
    if (proc)
        closedir(proc);
    return pid;
}

static void add_owner(struct doctor *d, struct doctor_check *c, uint16_t port)
{
    static const char *const tables[] = {"/proc/net/tcp", "/proc/net/tcp6"};
    uint64_t inode = 0, pid = 0, deadline = clock_monotonic_us() + doctor_time(d, OWNER_US);
    for (size_t i = 0; i < ARRAY_LEN(tables) && pid == 0; i++) {
        CLEANUP_FREE char *text = doctor_read(d, tables[i]);
        if (text && facts_listener(text, port, &inode))
            pid = find_process(inode, deadline);
    }
    char path[64], name[64] = "?";
    snprintf(path, sizeof path, "/proc/%llu/comm", (unsigned long long)pid);
    if (pid && doctor_line(d, path, name, sizeof name))
        check_add(c, "by %s, process %llu", name, (unsigned long long)pid);
    else
        check_add(c, "by a process that cannot be seen from here");
}

static void check_port(struct doctor *d, struct doctor_check *c, uint16_t port, const char *setting)
{
    char node[NODE_NAME_MAX] = "";
    int error = bind_error(port);
    if (error == 0) {
        check_set(c, DOCTOR_OK, "%u is free", port);
    } else if (error == EADDRINUSE) {
        bool ours = d->options->ask_node && d->options->ask_node(d->options->ctx, port, doctor_time(d, NODE_US), node);
        check_set(c, ours ? DOCTOR_OK : DOCTOR_DEGRADED, "%u is taken", port);
        if (ours)
            check_add(c, "by a node, %.100s: fine", node);
        add_owner(d, c, port);
    } else if (error == EACCES || error == EPERM) {
        check_set(c, DOCTOR_DEGRADED, "%u is not for this user: %s", port, strerror(error));
    } else {
        check_set(c, DOCTOR_UNKNOWN, "%u: %s", port, strerror(error));
    }
    check_fix(c, "%s for another one, or end what has it", setting);
}

void check_grpc_port(struct doctor *d, struct doctor_check *c)
{
    check_cost(c, "A node does not start on a port that is taken.");
    check_port(d, c, d->options->grpc_port ? d->options->grpc_port : GRPC_PORT, "GRPC_PORT (--grpc-port)");
}

void check_web_port(struct doctor *d, struct doctor_check *c)
{
    check_cost(c, "The web page, once there is one, needs another port; tasks do not need it.");
    check_port(d, c, d->options->web_port ? d->options->web_port : WEB_PORT, "WEB_PORT (--web-port)");
}
