/* SPDX-License-Identifier: Apache-2.0 */
/* Docker Engine, asked over its socket for its version. It may be absent, not ours to use, silent or somebody else. */
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "doctor/facts.h"
#include "doctor/internal.h"

#define ANSWER_US UINT64_C(2000000)
#define DEFAULT_SOCKET "/var/run/docker.sock"
enum { ANSWER_MAX = 64 * 1024 };

static const char request[] = "GET /version HTTP/1.0\r\nHost: docker\r\nUser-Agent: hivemind-doctor\r\n\r\n";

/* Waits for the events until the deadline; 0, -ETIMEDOUT or -errno. */
static int wait_for(int fd, short events, uint64_t deadline)
{
    for (;;) {
        uint64_t now = clock_monotonic_us();
        struct pollfd p = {.fd = fd, .events = events};
        if (now >= deadline)
            return -ETIMEDOUT;
        int n = poll(&p, 1, (int)((deadline - now) / 1000) + 1);
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
    }
}

static int dial(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path) + 1);
    CLEANUP_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    /* A unix socket connects at once or says EAGAIN when its queue is full: then nobody takes from it. */
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return errno == EAGAIN ? -ETIMEDOUT : -errno;
    return fd_steal(&fd);
}

static int send_request(int fd, uint64_t deadline)
{
    for (size_t done = 0; done < sizeof request - 1;) {
        ssize_t n = send(fd, request + done, sizeof request - 1 - done, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return -errno;
        done += n > 0 ? (size_t)n : 0;
        int r = n < 0 ? wait_for(fd, POLLOUT, deadline) : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

/* Everything to the end of the connection. */
static int read_answer(int fd, struct buf *answer, uint64_t deadline)
{
    for (;;) {
        char part[4096];
        int r = wait_for(fd, POLLIN, deadline);
        if (r < 0)
            return r;
        ssize_t n = recv(fd, part, sizeof part, 0);
        if (n == 0)
            return 0;
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return -errno;
        if (n > 0 && buf_append(answer, part, (size_t)n) < 0)
            return answer->error == -E2BIG ? -EMSGSIZE : -ENOMEM;
    }
}

/* A version, or "?" for anything that does not look like one. */
static const char *version_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    size_t len = text ? strlen(text) : 0;
    bool plain = len > 0 && len < 64 &&
        strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.+~-_") == len;
    return plain ? text : "?";
}

static void judge_answer(struct doctor_check *c, const char *path, const struct buf *answer)
{
    const char *body = NULL;
    size_t len = 0;
    unsigned status = answer->len ? facts_http((const char *)answer->data, answer->len, &body, &len) : 0;
    json_t *version = status == 200 ? json_loadb(body, len, 0, NULL) : NULL;
    if (json_is_string(json_object_get(version, "ApiVersion")))
        check_set(c, DOCTOR_OK, "version %s, API %s, %.150s", version_of(version, "Version"),
            version_of(version, "ApiVersion"), path);
    else if (status && status != 200)
        check_set(c, DOCTOR_UNKNOWN, "%.150s refuses to tell its version: HTTP status %u", path, status);
    else
        check_set(c, DOCTOR_UNKNOWN, "what answers at %.150s is no Docker Engine", path);
    json_decref(version);
}

static int ask(struct doctor *d, const char *path, struct buf *answer)
{
    uint64_t deadline = clock_monotonic_us() + doctor_time(d, ANSWER_US);
    int r = dial(path);
    CLEANUP_FD int fd = r;
    if (r >= 0)
        r = send_request(fd, deadline);
    return r < 0 ? r : read_answer(fd, answer, deadline);
}

void check_docker(struct doctor *d, struct doctor_check *c)
{
    static const char scheme[] = "unix://";
    const char *host = d->options->docker_host;
    char path[PATH_MAX];
    CLEANUP_BUF struct buf answer = BUF_INIT(ANSWER_MAX);
    check_cost(c, "Tasks in containers are not to be had; all others need no Docker.");
    check_fix(c, "apt-get install docker.io, or DOCKER_HOST=unix:///PATH for an engine elsewhere");
    if (host && *host && strncmp(host, scheme, sizeof scheme - 1) != 0) {
        check_set(c, DOCTOR_UNKNOWN, "DOCKER_HOST is %.150s, and only unix:// is looked at", host);
        return;
    }
    if (host && *host)
        snprintf(path, sizeof path, "%s", host + sizeof scheme - 1);
    else if (!doctor_path(d, DEFAULT_SOCKET, path))
        return;
    int r = ask(d, path, &answer);
    switch (-r) {
    case 0:
        judge_answer(c, path, &answer);
        break;
    case ENOENT:
    case ENOTDIR:
        check_set(c, DOCTOR_MISSING, "none: there is no %.150s", path);
        break;
    case EACCES:
    case EPERM:
        check_set(c, DOCTOR_MISSING, "one is there, but this user may not use %.150s", path);
        check_fix(c, "usermod -aG docker USER (which makes that user as good as root), then log in again");
        break;
    case ECONNREFUSED:
        check_set(c, DOCTOR_MISSING, "%.150s is there, but nobody listens", path);
        check_fix(c, "systemctl start docker");
        break;
    case ETIMEDOUT:
        check_set(c, DOCTOR_UNKNOWN, "%.150s does not answer in time", path);
        check_fix(c, "systemctl restart docker");
        break;
    case EMSGSIZE:
        check_set(c, DOCTOR_UNKNOWN, "what answers at %.150s is no Docker Engine: it does not stop talking", path);
        break;
    default:
        check_set(c, DOCTOR_UNKNOWN, "%.150s: %s", path, strerror(-r));
        break;
    }
}
