/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. A login is made on the loop, with a copy of all that it needs: the password (in memory that is locked, guarded
 * and wiped) and the user's hash. It goes to the thread by one list and comes back by another; in between nobody else looks at it.
 * What became of the account meanwhile is seen on the loop, when it is back: if that is not what it was, the login has failed.
 *
 * For who is not there the thread matches against a hash of nothing, which it makes at the first login, with the costs of now.
 */
#include "access/logins.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>
#include <uv.h>

#include "access/delays.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/list.h"

enum { RETRY_MS = 1000 };

enum login_kind { LOGIN_CHECK, LOGIN_SET };

struct login {
    struct list link;  /* in `waiting` or `done`; under the lock */
    struct list known; /* in `all`; the loop's */
    struct logins *logins;
    enum login_kind kind;
    bool waiting; /* under the lock */
    bool cancelled;
    logins_fn fn;
    void *ctx;
    struct delays_key delay;
    struct who who; /* as the account was when it began; role ROLE_MAX: there is none, or none that could come in */
    char address[LOGINS_ADDRESS_BYTES + 1];
    /* The thread's, from the queue until it is back. */
    char *password; /* sodium_malloc */
    size_t password_len;
    struct password_hash hash;  /* to match with; "": there is none */
    struct password_hash fresh; /* "": none was made */
    int result;                 /* as of password_matches() */
};

struct logins {
    uv_async_t wake;
    struct accounts *accounts;
    struct password_cost cost;
    uint64_t (*clock_us)(void);
    struct delays *delays;
    struct list all; /* struct login; of the loop's thread */
    size_t n;
    void (*closed)(void *ctx);
    void *closed_ctx;
    pthread_t thread;
    struct password_hash nobody; /* the thread's */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct list waiting, done; /* with `closing` under the lock */
    bool closing;
};

/* --- the thread --- */

static int match(struct logins *l, struct login *login)
{
    const char *password = login->password;
    if (!l->nobody.text[0]) /* the first login pays for this, whoever it is */
        (void)password_hash("", 0, &l->cost, &l->nobody);
    if (!login->hash.text[0])
        return l->nobody.text[0] && password_matches(&l->nobody, password, login->password_len) >= 0 ? 0 : -ENOMEM;
    int r = password_matches(&login->hash, password, login->password_len);
    if (r == 1 && password_is_outdated(&login->hash, &l->cost))
        (void)password_hash(password, login->password_len, &l->cost, &login->fresh); /* next time, then */
    return r;
}

static void work(struct logins *l, struct login *login)
{
    login->result = login->kind == LOGIN_CHECK
        ? match(l, login)
        : password_hash(login->password, login->password_len, &l->cost, &login->fresh);
    sodium_free(STEAL(login->password));
}

static void *run(void *arg)
{
    struct logins *l = arg;
    pthread_mutex_lock(&l->lock);
    while (!l->closing) {
        struct login *login = LIST_FIRST(&l->waiting, struct login, link);
        if (!login) {
            pthread_cond_wait(&l->changed, &l->lock);
            continue;
        }
        list_remove(&login->link);
        login->waiting = false;
        pthread_mutex_unlock(&l->lock);
        work(l, login);
        pthread_mutex_lock(&l->lock);
        list_push(&l->done, &login->link);
        uv_async_send(&l->wake);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* Signals are for the loop's thread. */
static int start_thread(struct logins *l)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int r = -pthread_create(&l->thread, NULL, run, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r;
}

static void stop_thread(struct logins *l)
{
    pthread_mutex_lock(&l->lock);
    l->closing = true;
    pthread_cond_signal(&l->changed);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
}

/* --- a login on the loop --- */

static void login_free(struct login *login)
{
    if (!login)
        return;
    list_remove(&login->known);
    list_remove(&login->link); /* it is in a list only where there is no thread any more */
    login->logins->n--;
    sodium_free(login->password);
    sodium_memzero(login, sizeof *login);
    free(login);
}

static int fail_wrong(struct tw_error *error)
{
    return error_set(error, TW_UNAUTHENTICATED, "the user name or the password is wrong, or the account is disabled");
}

/* Is the account what it was when this began? */
static bool same_account(const struct login *login, struct who *ret)
{
    return login->who.role != ROLE_MAX && accounts_who(login->logins->accounts, login->who.user, ret, NULL) == 0 &&
        ret->user_id == login->who.user_id && ret->generation == login->who.generation;
}

static int finish_check(struct login *login, struct who *ret, struct tw_error *error)
{
    struct logins *l = login->logins;
    if (login->result < 0) {
        delays_give_back(l->delays, login->delay);
        return error_oom(error);
    }
    if (login->result == 0 || !same_account(login, ret))
        return fail_wrong(error);
    delays_succeeded(l->delays, login->delay);
    if (login->fresh.text[0])
        (void)accounts_rehash(l->accounts, ret, login->fresh.text, NULL); /* else the old one stays good */
    return 0;
}

static int finish_set(struct login *login, struct who *ret, struct tw_error *error)
{
    struct accounts *accounts = login->logins->accounts;
    struct accounts_user user;
    if (login->result < 0)
        return error_oom(error);
    if (accounts_find_user(accounts, login->who.user, &user, error) < 0 ||
        accounts_set_password(accounts, login->who.user, login->fresh.text, error) < 0)
        return -1;
    if (accounts_who(accounts, login->who.user, ret, NULL) < 0)
        *ret = login->who; /* he is disabled: it may be set all the same */
    return 0;
}

static void finish(struct login *login)
{
    struct who who = {.role = ROLE_MAX};
    struct tw_error error = {0};
    int r = login->kind == LOGIN_CHECK ? finish_check(login, &who, &error) : finish_set(login, &who, &error);
    logins_fn fn = login->fn;
    void *ctx = login->ctx;
    bool cancelled = login->cancelled;
    login_free(login);
    if (!cancelled)
        fn(ctx, r == 0 ? &who : NULL, r == 0 ? NULL : &error);
}

static void on_wake(uv_async_t *wake)
{
    struct logins *l = wake->data;
    for (;;) {
        pthread_mutex_lock(&l->lock);
        struct login *login = LIST_FIRST(&l->done, struct login, link);
        if (login)
            list_remove(&login->link);
        pthread_mutex_unlock(&l->lock);
        if (!login)
            return;
        finish(login);
    }
}

static size_t count_from(const struct logins *l, const char *address)
{
    size_t n = 0;
    list_for_each (it, &l->all)
        n += !strcmp(CONTAINER_OF(it, struct login, known)->address, address);
    return n;
}

static int fail_closed(struct tw_error *error)
{
    return error_set(error, TW_UNAVAILABLE, "the node is stopping");
}

static int fail_full(struct tw_error *error)
{
    error_set(error, TW_RESOURCE_EXHAUSTED, "too many logins are waiting: try again in a moment");
    if (error)
        error->retry_ms = RETRY_MS;
    return -1;
}

static int fail_too_soon(uint64_t wait_us, struct tw_error *error)
{
    error_set(error, TW_RESOURCE_EXHAUSTED, "there were too many wrong passwords from here: try again in %llu s",
        (unsigned long long)((wait_us + 999999) / 1000000));
    if (error)
        error->retry_ms = (uint32_t)((wait_us + 999) / 1000);
    return -1;
}

static struct login *login_new(
    struct logins *l, const char *address, const char *password, size_t len, struct tw_error *error)
{
    if (l->closed) {
        fail_closed(error);
        return NULL;
    }
    struct login *login = calloc(1, sizeof *login);
    char *copy = login ? sodium_malloc(MAX(len, (size_t)1)) : NULL;
    if (!copy) {
        free(login);
        error_oom(error);
        return NULL;
    }
    if (len > 0)
        memcpy(copy, password, len);
    login->password = copy;
    login->password_len = len;
    login->logins = l;
    login->who.role = ROLE_MAX;
    memcpy(login->address, address, strnlen(address, LOGINS_ADDRESS_BYTES));
    list_init(&login->link);
    list_init(&login->known);
    list_push(&l->all, &login->known);
    l->n++;
    if (l->n > LOGINS_QUEUED_MAX || count_from(l, login->address) > LOGINS_ADDRESS_MAX) {
        login_free(login);
        fail_full(error);
        return NULL;
    }
    return login;
}

static void enqueue(struct login *login, enum login_kind kind, logins_fn fn, void *ctx)
{
    struct logins *l = login->logins;
    login->kind = kind;
    login->fn = fn;
    login->ctx = ctx;
    pthread_mutex_lock(&l->lock);
    login->waiting = true;
    list_push(&l->waiting, &login->link);
    pthread_cond_signal(&l->changed);
    pthread_mutex_unlock(&l->lock);
}

int logins_check(struct logins *l, const char *user, const char *address, const char *password, size_t len,
    logins_fn fn, void *ctx, struct login **ret, struct tw_error *error)
{
    if (len > PASSWORD_MAX)
        return error_set(error, TW_INVALID_ARGUMENT, "a password has at most %d bytes", (int)PASSWORD_MAX);
    struct login *login = login_new(l, address, password, len, error);
    if (!login)
        return -1;
    login->delay = delays_key(l->delays, user, login->address);
    uint64_t wait_us = delays_try(l->delays, login->delay, l->clock_us());
    if (wait_us > 0) {
        login_free(login);
        return fail_too_soon(wait_us, error);
    }
    const char *hash =
        accounts_who(l->accounts, user, &login->who, NULL) == 0 ? accounts_hash(l->accounts, user) : NULL;
    if (hash)
        memcpy(login->hash.text, hash, strlen(hash) + 1);
    enqueue(login, LOGIN_CHECK, fn, ctx);
    *ret = login;
    return 0;
}

int logins_set_password(struct logins *l, const char *user, const char *address, const char *password, size_t len,
    logins_fn fn, void *ctx, struct login **ret, struct tw_error *error)
{
    struct accounts_user account = {0};
    if (accounts_find_user(l->accounts, user, &account, error) < 0 || password_check(password, len, user, error) < 0)
        return -1;
    struct login *login = login_new(l, address, password, len, error);
    if (!login)
        return -1;
    /* A name is never given twice, so it is enough to remember that. */
    memcpy(login->who.user, user, strlen(user) + 1); /* one that there is: it is not too long */
    login->who.user_id = account.id;
    enqueue(login, LOGIN_SET, fn, ctx);
    *ret = login;
    return 0;
}

void login_cancel(struct login *login)
{
    struct logins *l = login->logins;
    pthread_mutex_lock(&l->lock);
    bool waiting = login->waiting;
    if (waiting)
        list_remove(&login->link);
    pthread_mutex_unlock(&l->lock);
    login->cancelled = true; /* only the loop looks at that */
    if (waiting)
        login_free(login);
}

/* --- all of them --- */

static void logins_free(struct logins *l)
{
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
    delays_free(l->delays);
    sodium_memzero(l, sizeof *l);
    free(l);
}

int logins_new(const struct logins_options *options, struct logins **ret, struct tw_error *error)
{
    struct logins *l = calloc(1, sizeof *l);
    if (!l)
        return error_oom(error);
    l->accounts = options->accounts;
    l->cost = options->cost;
    l->clock_us = options->clock_us ? options->clock_us : clock_monotonic_us;
    l->delays = delays_new();
    list_init(&l->all);
    list_init(&l->waiting);
    list_init(&l->done);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->changed, NULL);
    if (!l->delays) {
        logins_free(l);
        return error_oom(error);
    }
    int r = start_thread(l);
    if (r == 0 && (r = uv_async_init(options->loop, &l->wake, on_wake)) < 0) /* it is used once there is a login */
        stop_thread(l);
    if (r < 0) {
        logins_free(l);
        return error_set_errno(error, r, "cannot start the thread for logins");
    }
    l->wake.data = l;
    *ret = l;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct logins *l = handle->data;
    struct tw_error error = {0};
    fail_closed(&error);
    for (struct login *login; (login = LIST_FIRST(&l->all, struct login, known));) {
        logins_fn fn = login->fn;
        void *ctx = login->ctx;
        bool cancelled = login->cancelled;
        login_free(login);
        if (!cancelled)
            fn(ctx, NULL, &error);
    }
    void (*closed)(void *ctx) = l->closed;
    void *ctx = l->closed_ctx;
    logins_free(l);
    closed(ctx);
}

void logins_close(struct logins *l, void (*closed)(void *ctx), void *ctx)
{
    l->closed = closed;
    l->closed_ctx = ctx;
    stop_thread(l);
    uv_close((uv_handle_t *)&l->wake, on_closed);
}
