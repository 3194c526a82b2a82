/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets from files, and from a terminal that does not show them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/util.h"
#include "cli/secret.h"

enum { DEADLINE_MS = 20000 };

/* --- files --- */

static int read_bytes(const void *data, size_t len, char **ret, struct tw_error *error)
{
    char path[] = "/tmp/secret-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), len);
    close(fd);
    int r = secret_read(path, ret, error);
    unlink(path);
    return r;
}

static void expect(const char *text, const char *expected)
{
    struct tw_error error;
    CLEANUP_TOKEN_TEXT char *secret = NULL;
    assert_int_equal(read_bytes(text, strlen(text), &secret, &error), 0);
    assert_string_equal(secret, expected);
}

static void refuse(const void *data, size_t len, const char *words)
{
    struct tw_error error;
    CLEANUP_TOKEN_TEXT char *secret = NULL;
    assert_int_equal(read_bytes(data, len, &secret, &error), -1);
    assert_null(secret);
    if (!strstr(error.message, words))
        fail_msg("%s", error.message);
}

static void test_files(void **state UNUSED)
{
    struct tw_error error;
    char *secret = NULL, text[SECRET_MAX + 3];
    expect("correct horse\n", "correct horse");
    expect("correct horse", "correct horse");
    expect("  blanks count \r\n", "  blanks count ");
    refuse("", 0, "is empty");
    refuse("\n", 1, "is empty");
    refuse("one\ntwo\n", 8, "more than one line");
    refuse("\n\n", 2, "more than one line");
    refuse("a\0b\n", 4, "NUL");
    memset(text, 'x', sizeof text);
    text[SECRET_MAX] = '\n';
    assert_int_equal(read_bytes(text, SECRET_MAX + 1, &secret, &error), 0);
    assert_int_equal(strlen(secret), SECRET_MAX);
    credentials_wipe(&secret);
    text[SECRET_MAX] = 'x';
    refuse(text, SECRET_MAX + 1, "more than 1024 bytes");
    refuse(text, sizeof text, "more than 1024 bytes");
    assert_int_equal(secret_read("/nonexistent/file", &secret, &error), -1);
    assert_int_equal(error.code, TW_NOT_FOUND);
}

/* --- a terminal --- */

struct session {
    int master, result; /* what the program has read comes out of `result` */
    pid_t pid;
    char shown[4096]; /* all that the terminal has shown */
    size_t n;
};

typedef int (*ask_fn)(char **ret, struct tw_error *error);

static int ask_hidden(char **ret, struct tw_error *error)
{
    return secret_ask("Password: ", false, ret, error);
}

static int ask_shown(char **ret, struct tw_error *error)
{
    return secret_ask("User: ", true, ret, error);
}

static int ask_new(char **ret, struct tw_error *error)
{
    return secret_ask_new("New: ", ret, error);
}

static void begin(struct session *s, ask_fn ask)
{
    int pipes[2];
    *s = (struct session){0};
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    s->pid = forkpty(&s->master, NULL, NULL, NULL);
    assert_true(s->pid >= 0);
    if (s->pid == 0) {
        struct tw_error error = {0};
        char *secret = NULL;
        int r = ask(&secret, &error);
        dprintf(pipes[1], "%s", r == 0 ? secret : error.message);
        credentials_wipe(&secret);
        _exit(r == 0 ? 0 : 1);
    }
    close(pipes[1]);
    s->result = pipes[0];
}

static void wait_for(struct session *s, const char *words)
{
    struct pollfd ready = {.fd = s->master, .events = POLLIN};
    while (!strstr(s->shown, words)) {
        if (poll(&ready, 1, DEADLINE_MS) <= 0)
            fail_msg("never: %s, only: %s", words, s->shown);
        ssize_t n = read(s->master, s->shown + s->n, sizeof s->shown - 1 - s->n);
        if (n <= 0)
            fail_msg("the terminal has gone before %s: %s", words, s->shown);
        s->n += (size_t)n;
        s->shown[s->n] = '\0';
    }
}

static void type(struct session *s, const char *text)
{
    assert_int_equal(write(s->master, text, strlen(text)), strlen(text));
}

static bool echoes(const struct session *s)
{
    struct termios t;
    assert_int_equal(tcgetattr(s->master, &t), 0);
    return t.c_lflag & ECHO;
}

static int end(struct session *s, char result[600])
{
    int status;
    size_t len = 0;
    ssize_t n;
    while ((n = read(s->result, result + len, 599 - len)) > 0)
        len += (size_t)n;
    result[len] = '\0';
    assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
    close(s->result);
    close(s->master);
    return status;
}

static void test_hidden(void **state UNUSED)
{
    struct session s;
    char result[600];
    begin(&s, ask_hidden);
    wait_for(&s, "Password: ");
    assert_false(echoes(&s));
    type(&s, "correct horse\n");
    wait_for(&s, "\n");
    int status = end(&s, result);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_string_equal(result, "correct horse");
    assert_null(strstr(s.shown, "horse"));
}

static void test_shown(void **state UNUSED)
{
    struct session s;
    char result[600];
    begin(&s, ask_shown);
    wait_for(&s, "User: ");
    type(&s, "ann\n");
    wait_for(&s, "ann");
    (void)end(&s, result);
    assert_string_equal(result, "ann");
}

static void test_twice(void **state UNUSED)
{
    static const char *const second[] = {"correct horse\n", "correct hearse\n"};
    for (size_t i = 0; i < ARRAY_LEN(second); i++) {
        struct session s;
        char result[600];
        begin(&s, ask_new);
        wait_for(&s, "New: ");
        type(&s, "correct horse\n");
        wait_for(&s, "Once more: ");
        type(&s, second[i]);
        int status = end(&s, result);
        assert_int_equal(WEXITSTATUS(status), i);
        assert_string_equal(result, i == 0 ? "correct horse" : "these are not the same");
    }
}

/* Whoever interrupts it gets his terminal back. */
static void test_interrupted(void **state UNUSED)
{
    struct session s;
    char result[600];
    /* The terminal lasts as long as somebody has it open. */
    begin(&s, ask_hidden);
    wait_for(&s, "Password: ");
    CLEANUP_FREE char *name = strdup(ptsname(s.master));
    int slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(slave >= 0);
    type(&s, "half a passw\x03");
    int status;
    assert_int_equal(waitpid(s.pid, &status, 0), s.pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
    assert_true(echoes(&s));
    assert_int_equal(read(s.result, result, sizeof result), 0);
    close(slave);
    close(s.result);
    close(s.master);
}

static void test_end_of_input(void **state UNUSED)
{
    struct session s;
    char result[600];
    begin(&s, ask_hidden);
    wait_for(&s, "Password: ");
    type(&s, "\x04");
    int status = end(&s, result);
    assert_int_equal(WEXITSTATUS(status), 1);
    assert_string_equal(result, "what was typed is empty");
}

static void test_no_terminal(void **state UNUSED)
{
    int pipes[2];
    char text[600] = "";
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct tw_error error = {0};
        char *secret = NULL;
        (void)setsid();
        int r = secret_ask("Password: ", false, &secret, &error);
        dprintf(pipes[1], "%d %s", r, error.message);
        _exit(0);
    }
    close(pipes[1]);
    assert_true(read(pipes[0], text, sizeof text - 1) > 0);
    close(pipes[0]);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_string_equal(text, "-1 there is no terminal to ask on");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_hidden),
        cmocka_unit_test(test_shown),
        cmocka_unit_test(test_twice),
        cmocka_unit_test(test_interrupted),
        cmocka_unit_test(test_end_of_input),
        cmocka_unit_test(test_no_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
