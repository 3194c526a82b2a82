/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logging in by password, and giving passwords. An Argon2id hash takes tens of milliseconds and 19 MiB, so it is made on a thread of
 * its own, one after the other; the answer comes on the loop. All calls are for the loop's thread.
 *
 * Who asks for a user that is not there, that has no password or is disabled waits as long, and gets the same answer, as one
 * with a wrong password. Wrong ones make the next wait longer (delays.h), for that user from that address alone. The queue is
 * bounded, and one address has only a part of it.
 */
#ifndef ACCESS_LOGINS_H
#define ACCESS_LOGINS_H

#include <stddef.h>
#include <stdint.h>

#include <taskworker/error.h>

#include "access/accounts.h"
#include "access/password.h"

enum {
    LOGINS_QUEUED_MAX = 16,    /* that wait, or are looked at, all together */
    LOGINS_ADDRESS_MAX = 4,    /* from one address */
    LOGINS_ADDRESS_BYTES = 64, /* of its text */
};

struct uv_loop_s;
struct logins;
struct login; /* one call */

struct logins_options {
    struct uv_loop_s *loop;
    struct accounts *accounts;  /* have to outlive the logins */
    struct password_cost cost;  /* of new hashes; those with others are made anew when their password comes by */
    uint64_t (*clock_us)(void); /* NULL: the monotonic one */
};

int logins_new(const struct logins_options *options, struct logins **ret, struct tw_error *error);
/* Waits for the hash that is being made. What was not answered is, with UNAVAILABLE, and then `closed` is called: both from the loop. */
void logins_close(struct logins *logins, void (*closed)(void *ctx), void *ctx);

/*
 * Comes once, from the loop, unless the login is cancelled. error NULL: `who` it is; he came in without a token. UNAUTHENTICATED: it was
 * not the right one; RESOURCE_EXHAUSTED: no memory; UNAVAILABLE: the logins are closed.
 */
typedef void (*logins_fn)(void *ctx, const struct who *who, const struct tw_error *error);

/*
 * `address`: whence, without the port, and of an IPv6 address its network (who has one has all of it); longer than
 * LOGINS_ADDRESS_BYTES is cut. All is copied; wipe the password. -1, and `fn` is not called: RESOURCE_EXHAUSTED with retry_ms, it is
 * too soon or too many wait; INVALID_ARGUMENT: too long for a password.
 */
int logins_check(struct logins *logins, const char *user, const char *address, const char *password, size_t len,
    logins_fn fn, void *ctx, struct login **ret, struct tw_error *error);

/* Gives a user a password, once it is allowed (password_check()) and hashed. `who` is that user, as he is then. */
int logins_set_password(struct logins *logins, const char *user, const char *address, const char *password, size_t len,
    logins_fn fn, void *ctx, struct login **ret, struct tw_error *error);

/* `fn` will not be called; before that it has not been. A password that was to be set may be, or not. */
void login_cancel(struct login *login);

#endif
