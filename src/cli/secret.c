/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/util.h"

/* A line with its end, and one byte to see that there is more. */
struct line {
    char text[SECRET_MAX + 3];
    size_t len;
};

static void wipe_line(struct line *line)
{
    explicit_bzero(line, sizeof *line);
}
#define CLEANUP_LINE CLEANUP(wipe_line)

/* Without its end. -1: it is none that could be meant. */
static int take_line(const struct line *line, const char *what, char **ret, struct tw_error *error)
{
    const char *end = memchr(line->text, '\n', line->len);
    size_t len = end ? (size_t)(end - line->text) : line->len;
    if (end && len + 1 < line->len)
        return error_set(error, TW_INVALID_ARGUMENT, "%s has more than one line", what);
    if (len > 0 && line->text[len - 1] == '\r')
        len--;
    if (len == 0)
        return error_set(error, TW_INVALID_ARGUMENT, "%s is empty", what);
    if (len > SECRET_MAX)
        return error_set(error, TW_INVALID_ARGUMENT, "%s has more than %d bytes", what, (int)SECRET_MAX);
    if (memchr(line->text, 0, len))
        return error_set(error, TW_INVALID_ARGUMENT, "%s has a NUL character in it", what);
    *ret = strndup(line->text, len);
    return *ret ? 0 : error_oom(error);
}

int secret_read(const char *path, char **ret, struct tw_error *error)
{
    struct line line CLEANUP_LINE = {0};
    bool standard = !strcmp(path, "-");
    CLEANUP_FD int opened = standard ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    int fd = standard ? STDIN_FILENO : opened;
    const char *what = standard ? "what comes from standard input" : path;
    *ret = NULL;
    if (fd < 0)
        return error_set_errno(error, errno, "cannot read %s", path);
    while (line.len < sizeof line.text) {
        ssize_t n = read(fd, line.text + line.len, sizeof line.text - line.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(error, errno, "cannot read %s", what);
        if (n == 0)
            break;
        line.len += (size_t)n;
    }
    return take_line(&line, what, ret, error);
}

/* --- the terminal --- */

struct terminal {
    int fd, signals;
    struct termios before;
    sigset_t mask;
};

/* Signals wait until the terminal is as it was. */
static int terminal_begin(struct terminal *t, bool show)
{
    static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_LEN(ending); i++)
        sigaddset(&set, ending[i]);
    struct termios now;
    t->signals = -1;
    if (tcgetattr(t->fd, &t->before) < 0 || sigprocmask(SIG_BLOCK, &set, &t->mask) < 0)
        return -errno;
    t->signals = signalfd(-1, &set, SFD_CLOEXEC);
    now = t->before;
    if (!show)
        now.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
    now.c_lflag |= ICANON | ISIG;
    if (t->signals >= 0 && tcsetattr(t->fd, TCSAFLUSH, &now) == 0)
        return 0;
    int r = -errno;
    fd_close(&t->signals);
    (void)sigprocmask(SIG_SETMASK, &t->mask, NULL);
    return r;
}

/* What has come of signals is delivered here, and may not return. */
static void terminal_end(struct terminal *t)
{
    (void)tcsetattr(t->fd, TCSAFLUSH, &t->before);
    fd_close(&t->signals);
    (void)sigprocmask(SIG_SETMASK, &t->mask, NULL);
}

/* A whole line, or the end of all: 1. A signal has come: 0. The terminal has gone: -errno. */
static int terminal_read(const struct terminal *t, struct line *line)
{
    struct pollfd ready[] = {{.fd = t->fd, .events = POLLIN}, {.fd = t->signals, .events = POLLIN}};
    line->len = 0;
    for (;;) {
        if (poll(ready, ARRAY_LEN(ready), -1) < 0 && errno != EINTR)
            return -errno;
        if (ready[1].revents)
            return 0;
        if (!ready[0].revents)
            continue;
        ssize_t n = read(t->fd, line->text + line->len, sizeof line->text - line->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : 1;
        line->len += (size_t)n;
        if (line->len == sizeof line->text || line->text[line->len - 1] == '\n')
            return 1;
    }
}

static int write_all(int fd, const char *text)
{
    size_t len = strlen(text);
    return write(fd, text, len) == (ssize_t)len ? 0 : -EIO;
}

static int ask_once(struct terminal *t, const char *prompt, bool show, struct line *line)
{
    int r = terminal_begin(t, show);
    if (r < 0)
        return r;
    r = write_all(t->fd, prompt);
    if (r == 0)
        r = terminal_read(t, line);
    if (!show)
        (void)write_all(t->fd, "\n");
    terminal_end(t);
    return r;
}

int secret_ask(const char *prompt, bool show, char **ret, struct tw_error *error)
{
    struct line line CLEANUP_LINE = {0};
    struct terminal t;
    int r;
    *ret = NULL;
    CLEANUP_FD int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return error_set(error, TW_FAILED_PRECONDITION, "there is no terminal to ask on");
    t.fd = fd;
    while ((r = ask_once(&t, prompt, show, &line)) == 0)
        ;
    if (r < 0)
        return error_set_errno(error, r, "cannot ask on the terminal");
    return take_line(&line, "what was typed", ret, error);
}

int secret_ask_new(const char *prompt, char **ret, struct tw_error *error)
{
    CLEANUP_TOKEN_TEXT char *again = NULL;
    if (secret_ask(prompt, false, ret, error) < 0 || !*ret)
        return -1;
    if (secret_ask("Once more: ", false, &again, error) == 0 && again && !strcmp(*ret, again))
        return 0;
    if (again)
        error_set(error, TW_INVALID_ARGUMENT, "these are not the same");
    credentials_wipe(ret);
    return -1;
}
