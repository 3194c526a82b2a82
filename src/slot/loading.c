/* SPDX-License-Identifier: Apache-2.0 */
#include "slot/loading.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "slot/channel.h"

/* SIGRTMAX is the timer's, since a module may have its own use for SIGALRM. */
static int watched[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, 0};

static struct {
    int control;
    pid_t pid; /* a child of the code that is loaded has nothing to say here; 0: nothing is loaded */
    char subject[PROFILE_MODULE_MAX + 32];
    timer_t timer;
    bool has_timer;
    struct sigaction before[ARRAY_LEN(watched)];
} loading;

/*
 * The last word, also from a handler of a signal: of what it calls, snprintf() alone is not made for that, and with numbers and
 * short texts it neither allocates nor locks.
 */
static _Noreturn void give_up(const char *what, int number, const char *behind)
{
    struct slot_reply r = {
        .header = {SLOT_MAGIC, PROTOCOL_VERSION, SLOT_FAILED}, .stage = STAGE_SETTINGS, .error = ECANCELED};
    snprintf(r.detail, sizeof r.detail, "%.80s %s %d%s", loading.subject, what, number, behind);
    (void)channel_send(loading.control, &r, sizeof r, NULL, 0);
    _exit(1);
}

_Noreturn void loading_exit(int status)
{
    if (loading.pid == getpid())
        give_up("ended with status", status, " while it was being loaded");
    _exit(status);
}

static void on_exit_called(int status, void *arg UNUSED)
{
    if (loading.pid == getpid())
        loading_exit(status);
}

static void on_signal(int number)
{
    if (loading.pid != getpid())
        _exit(128 + number);
    if (number == SIGRTMAX)
        give_up("was still being loaded after", LOADING_MAX_S, " s");
    give_up("ended by signal", number, " while it was being loaded");
}

static void start_timer(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMAX};
    const struct itimerspec when = {.it_value.tv_sec = LOADING_MAX_S};
    loading.has_timer = timer_create(CLOCK_MONOTONIC, &event, &loading.timer) == 0;
    if (loading.has_timer)
        (void)timer_settime(loading.timer, 0, &when, NULL);
}

void loading_begin(int control)
{
    const struct sigaction action = {.sa_handler = on_signal};
    loading.control = control;
    loading.pid = getpid();
    watched[ARRAY_LEN(watched) - 1] = SIGRTMAX; /* no constant */
    for (size_t i = 0; i < ARRAY_LEN(watched); i++)
        (void)sigaction(watched[i], &action, &loading.before[i]);
    (void)on_exit(on_exit_called, NULL);
    start_timer();
}

void loading_next(const char *subject)
{
    snprintf(loading.subject, sizeof loading.subject, "%s", subject);
}

int loading_check(bool threads, struct slot_error *error)
{
    pid_t child;
    while ((child = waitpid(-1, NULL, WNOHANG)) > 0)
        ;
    errno = ECANCELED;
    if (child == 0)
        return slot_error_set(error, STAGE_SETTINGS, "%.80s left a process running", loading.subject);
    if (threads) /* no fork of the interpreter would have it, and some would wait for it for ever */
        return slot_error_set(error, STAGE_SETTINGS, "%.80s left a thread running", loading.subject);
    return 0;
}

void loading_end(void)
{
    if (loading.pid != getpid())
        _exit(1); /* a fork that the code has made, and that came out of it as well: it is no slot */
    loading.pid = 0;
    if (loading.has_timer)
        (void)timer_delete(loading.timer);
    for (size_t i = 0; i < ARRAY_LEN(watched); i++)
        (void)sigaction(watched[i], &loading.before[i], NULL);
}
