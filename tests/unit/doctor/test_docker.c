/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/fd.h"

#define SOCKET "/var/run/docker.sock"

static int listen_at(struct machine *m)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    machine_folder(m, "/var/run");
    snprintf(address.sun_path, sizeof address.sun_path, "%s%s", m->root, SOCKET);
    (void)unlink(address.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 1), 0);
    return fd;
}

/* One connection: reads the request to its blank line, answers and closes; `endless` repeats the answer for ever. */
static _Noreturn void serve(int fd, const char *answer, bool endless)
{
    char request[1024] = "";
    size_t len = 0;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    int c = accept(fd, NULL, NULL);
    while (len < sizeof request - 1 && !strstr(request, "\r\n\r\n")) {
        ssize_t n = read(c, request + len, sizeof request - 1 - len);
        if (n <= 0)
            _exit(2);
        len += (size_t)n;
        request[len] = '\0';
    }
    if (strncmp(request, "GET /version HTTP/1.0\r\n", 23) != 0)
        _exit(3);
    (void)signal(SIGPIPE, SIG_IGN);
    do {
        if (fd_write_all(c, answer, strlen(answer)) < 0)
            _exit(0);
    } while (endless);
    _exit(0);
}

static void look_with(struct machine *m, const char *answer, bool endless)
{
    int fd = listen_at(m), status = -1;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        serve(fd, answer, endless);
    close(fd);
    LOOK(m, docker);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void an_engine_tells_its_version(void **state)
{
    struct machine *m = *state;
    look_with(m,
        "HTTP/1.0 200 OK\r\nContent-Type: "
        "application/json\r\n\r\n{\"Version\":\"20.10.24+dfsg1\",\"ApiVersion\":\"1.41\"}",
        false);
    ASSERT_FOUND(m, OK, "version 20.10.24+dfsg1, API 1.41");
}

static void hostile_answers(void **state)
{
    struct machine *m = *state;
    static const struct {
        const char *answer, *found;
    } cases[] = {
        {"", "no Docker Engine"},
        {"\r\n\r\n", "no Docker Engine"},
        {"HTTP/1.0 200 OK\r\n\r\n", "no Docker Engine"},
        {"HTTP/1.0 200 OK\r\n\r\n[1,2]", "no Docker Engine"},
        {"HTTP/1.0 200 OK\r\n\r\n{\"ApiVersion\":7}", "no Docker Engine"},
        {"HTTP/1.0 200 OK\r\n\r\n{\"ApiVersion\":", "no Docker Engine"},
        {"HTTP/1.0 500 Oh\r\n\r\n{}", "HTTP status 500"},
        {"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "no Docker Engine"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        look_with(m, cases[i].answer, false);
        ASSERT_FOUND(m, UNKNOWN, cases[i].found);
    }
    /* What is no version is not repeated. */
    look_with(m, "HTTP/1.0 200 OK\r\n\r\n{\"ApiVersion\":\"\\u001b[2J\",\"Version\":\"a b\"}", false);
    ASSERT_FOUND(m, OK, "version ?, API ?");
}

static void one_that_never_stops(void **state)
{
    struct machine *m = *state;
    look_with(m, "HTTP/1.0 200 OK\r\n\r\n                                                                     ", true);
    ASSERT_FOUND(m, UNKNOWN, "does not stop talking");
}

static void one_that_hangs(void **state)
{
    struct machine *m = *state;
    int fd = listen_at(m); /* the kernel connects, nobody answers */
    uint64_t begin = clock_monotonic_us();
    m->doctor.deadline_us = begin + 200000;
    LOOK(m, docker);
    ASSERT_FOUND(m, UNKNOWN, "does not answer in time");
    assert_true(clock_monotonic_us() - begin < 3000000);
    close(fd);
}

static void absent_is_not_forbidden(void **state)
{
    struct machine *m = *state;
    LOOK(m, docker);
    ASSERT_FOUND(m, MISSING, "there is no");
    close(listen_at(m));
    LOOK(m, docker);
    ASSERT_FOUND(m, MISSING, "nobody listens");
    int fd = listen_at(m);
    char path[128];
    snprintf(path, sizeof path, "%s%s", m->root, SOCKET);
    assert_int_equal(chmod(path, 0), 0);
    uid_t before = geteuid();
    if (before == 0) /* who is root may do all */
        assert_int_equal(chmod(m->root, 0755) | seteuid(65534), 0);
    LOOK(m, docker);
    if (before == 0)
        assert_int_equal(seteuid(0), 0);
    ASSERT_FOUND(m, MISSING, "may not use");
    close(fd);
}

static void docker_host(void **state)
{
    struct machine *m = *state;
    char host[128], longest[300] = "unix:///";
    m->options.docker_host = "tcp://127.0.0.1:2375";
    LOOK(m, docker);
    ASSERT_FOUND(m, UNKNOWN, "only unix://");
    snprintf(host, sizeof host, "unix://%s/none", m->root);
    m->options.docker_host = host;
    LOOK(m, docker);
    ASSERT_FOUND(m, MISSING, "/none");
    memset(longest + 8, 'x', sizeof longest - 9);
    m->options.docker_host = longest;
    LOOK(m, docker);
    ASSERT_FOUND(m, UNKNOWN, "too long");
}

#define ON_MACHINE(test) cmocka_unit_test_setup_teardown(test, machine_make, machine_remove)
int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_MACHINE(an_engine_tells_its_version),
        ON_MACHINE(hostile_answers),
        ON_MACHINE(one_that_never_stops),
        ON_MACHINE(one_that_hangs),
        ON_MACHINE(absent_is_not_forbidden),
        ON_MACHINE(docker_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
