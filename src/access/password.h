/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passwords: which are taken, and their hashes by Argon2id, as strings that have the salt and the costs in them. Everything here is
 * for any thread; hashing and matching take tens of milliseconds and PASSWORD_MEMORY of memory: not on the loop.
 */
#ifndef ACCESS_PASSWORD_H
#define ACCESS_PASSWORD_H

#include <stdbool.h>
#include <stddef.h>

#include <taskworker/error.h>

#include "access/accounts.h"

enum {
    PASSWORD_MIN = 10, /* bytes */
    PASSWORD_MAX = 1024,
    /* Above what OWASP's Password Storage Cheat Sheet has for the least: 19 MiB and 2 passes, one lane. */
    PASSWORD_MEMORY = 19 << 20,
    PASSWORD_PASSES = 3,
};

struct password_cost {
    size_t memory;             /* bytes; 0: PASSWORD_MEMORY */
    unsigned long long passes; /* 0: PASSWORD_PASSES */
};

struct password_hash {
    char text[ACCOUNTS_HASH_MAX + 1];
};

/*
 * May this be the password of this user? PASSWORD_MIN to PASSWORD_MAX bytes of UTF-8 without NUL, and not the user's name, in whatever case.
 * Nothing is asked of what it is made of. It counts as its bytes: the same letters written in another normal form are another password.
 */
int password_check(const char *password, size_t len, const char *user, struct tw_error *error);

/* 0 or -ENOMEM. */
int password_hash(const char *password, size_t len, const struct password_cost *cost, struct password_hash *ret);
/* 1: it does, 0: it does not, -ENOMEM: nobody can tell. */
int password_matches(const struct password_hash *hash, const char *password, size_t len);
/* Was it made with other costs than these? */
bool password_is_outdated(const struct password_hash *hash, const struct password_cost *cost);

#endif
