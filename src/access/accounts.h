/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The accounts of a node: users with a role and perhaps a password, and their API tokens, in a database file of their own. All of
 * it is in memory as well: who somebody is, is answered without the disk.
 *
 * Everything here belongs to one thread, the loop's. What changes something writes to the disk before it returns, a few
 * milliseconds; it is what administrators do, seldom. If it fails nothing has changed, except that after a failed disk the
 * change may yet be there at the next start.
 *
 * Names are never given twice: tasks and files belong to a user by name, and whoever had the name again would inherit them. The
 * name of a removed user stays taken, and so does the number, which no other user ever gets.
 */
#ifndef ACCESS_ACCOUNTS_H
#define ACCESS_ACCOUNTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <taskworker/error.h>

#include "access/rights.h"
#include "access/token.h"

#define ACCOUNTS_FIRST_USER "admin"

enum {
    ACCOUNTS_NAME_MAX = 64,       /* bytes of a user's name */
    ACCOUNTS_TOKEN_NAME_MAX = 64, /* bytes of a token's name */
    ACCOUNTS_HASH_MAX = 127,      /* bytes of a password's hash */
    ACCOUNTS_USERS_MAX = 10000,
    ACCOUNTS_USER_TOKENS_MAX = 256, /* of one user, those included that are of no use any more */
};

struct accounts;

struct accounts_options {
    const char *path;     /* of the file; its folder has to be there, and nobody else may write to it */
    unsigned patience_ms; /* how long to wait for another program to let go of the file; 0: 2 s */
};

/*
 * Opens the accounts, or makes them: then, and until accounts_first_shown(), there is a new first token of the administrator
 * ACCOUNTS_FIRST_USER in *ret_first (show it once and wipe it); else its text is "". So a start that was cut short before
 * anybody saw the token locks nobody out: the next one makes another, and the one before is of no use.
 */
int accounts_open(
    const struct accounts_options *options, struct accounts **ret, struct token *ret_first, struct tw_error *error);
/* The first token has been shown: from now on it is like any other. */
int accounts_first_shown(struct accounts *accounts, struct tw_error *error);
/* Writes what accounts_flush() would, as far as it can. NULL is allowed. Returns NULL. */
struct accounts *accounts_close(struct accounts *accounts);

/* --- who is there? --- */

/* Somebody who has shown who he is. A copy: it says what was true then. */
struct who {
    char user[ACCOUNTS_NAME_MAX + 1]; /* as which tasks and files are owned */
    int64_t user_id;
    enum role role;               /* as which he is here: the user's, or the token's if that is lower */
    char token[TOKEN_ID_LEN + 1]; /* its public id; "": he came in without one */
    uint64_t generation;          /* of the user; see accounts_still_valid() */
};

#define ACCOUNTS_VERDICTS(X)                                                                 \
    X(OK, "ok")                                                                              \
    X(MALFORMED, "that is not a token: one is \"twt_\" and 48 characters")                   \
    X(MISTYPED, "the token is mistyped or cut: copy it again")                               \
    X(UNKNOWN, "the token is not known here: it is another node's, or its user was removed") \
    X(REVOKED, "the token was revoked: have another one made")                               \
    X(EXPIRED, "the token has expired: have another one made")                               \
    X(DISABLED, "the account is disabled: ask an administrator of the node")

/* A closed list, for logs; each has a sentence, which may be told: but for UNKNOWN only who has the token gets to hear it. */
enum accounts_verdict {
#define X(name, text) ACCOUNTS_##name,
    ACCOUNTS_VERDICTS(X)
#undef X
        ACCOUNTS_VERDICT_MAX
};

const char *accounts_verdict_to_string(enum accounts_verdict verdict);

/*
 * Whose token is this? Any bytes; the disk is not touched. now_us: wall clock. Unless the verdict is OK, *ret is nobody: his role is
 * ROLE_MAX, which may do nothing.
 */
enum accounts_verdict accounts_check_token(
    struct accounts *accounts, const char *text, size_t len, uint64_t now_us, struct who *ret);

/* A user whom another proof has shown, such as a client certificate or a password. NOT_FOUND, or PERMISSION_DENIED: disabled. */
int accounts_who(struct accounts *accounts, const char *user, struct who *ret, struct tw_error *error);

/*
 * Whether what was true then is true now, for those who keep a struct who: streams, sessions. It is not when the user was removed or
 * disabled (also if enabled again since), got another role or password, or when the token was revoked or has expired. A token of
 * a user who got another password is good still: the check of it gives a new struct who.
 */
bool accounts_still_valid(const struct accounts *accounts, const struct who *who, uint64_t now_us);

/* --- users --- */

/* The strings are borrowed until the next change. */
struct accounts_user {
    const char *name;
    int64_t id;
    enum role role;
    bool disabled, has_password;
    uint64_t created_us, changed_us; /* wall clock */
    size_t tokens;                   /* that can be used, or could but for their time */
};

/* 1 to 64 of a-z, 0-9, '.', '_', '-' and '@', with a letter in front and a letter or digit at the end. */
int accounts_check_name(const char *name, struct tw_error *error);

int accounts_add_user(struct accounts *accounts, const char *name, enum role role, struct tw_error *error);
/* With his tokens. What he owns is not touched. */
int accounts_remove_user(struct accounts *accounts, const char *name, struct tw_error *error);
int accounts_set_disabled(struct accounts *accounts, const char *name, bool disabled, struct tw_error *error);
/* Of the tokens, those that were limited to a lower role stay so. */
int accounts_set_role(struct accounts *accounts, const char *name, enum role role, struct tw_error *error);
/* `hash`: an Argon2id string as logins.h makes it; NULL: none, he cannot log in by password. */
int accounts_set_password(struct accounts *accounts, const char *name, const char *hash, struct tw_error *error);
/* The same password hashed with other costs: nothing else changes. ABORTED: the account is not what it was for `who`. */
int accounts_rehash(struct accounts *accounts, const struct who *who, const char *hash, struct tw_error *error);
/* NULL: there is no such user, or he has none. Borrowed until the next change; a secret. */
const char *accounts_hash(const struct accounts *accounts, const char *name);

int accounts_find_user(
    const struct accounts *accounts, const char *name, struct accounts_user *ret, struct tw_error *error);

/* False: that is enough. It must not change anything. */
typedef bool (*accounts_user_fn)(void *ctx, const struct accounts_user *user);
/* In the order of their names, those behind `after` (NULL: all). */
void accounts_list_users(const struct accounts *accounts, const char *after, accounts_user_fn fn, void *ctx);

/* --- tokens --- */

struct accounts_token {
    const char *id, *name, *user;
    enum role role; /* what it is limited to; the user's own may be lower by now */
    uint64_t created_us;
    uint64_t expires_us; /* 0: never */
    uint64_t used_us;    /* 0: never */
    uint64_t revoked_us; /* 0: it was not */
};

/*
 * Makes a token for a user and hands it out in *ret, for the only time: wipe it. `name`: 1 to 64 bytes of UTF-8, unique among those of the
 * user that are not revoked. `role`: at most the user's own. expires_us: 0, or in the future. A user who has as many as there may
 * be loses the eldest of those that are of no use any more.
 */
int accounts_add_token(struct accounts *accounts, const char *user, const char *name, enum role role,
    uint64_t expires_us, struct token *ret, struct tw_error *error);
/* By its public id; with `user` only if it is his: else NOT_FOUND. It stays in the lists. Again: as if it were the first time. */
int accounts_revoke_token(struct accounts *accounts, const char *id, const char *user, struct tw_error *error);

typedef bool (*accounts_token_fn)(void *ctx, const struct accounts_token *token);
/* Of one user, the eldest first. NOT_FOUND: the user. */
int accounts_list_tokens(
    const struct accounts *accounts, const char *user, accounts_token_fn fn, void *ctx, struct tw_error *error);

/* By its public id; the strings are borrowed until the next change. NOT_FOUND. */
int accounts_find_token(
    const struct accounts *accounts, const char *id, struct accounts_token *ret, struct tw_error *error);

/* Writes when tokens were last used, for those that were since the last time. For a timer, such as one of a minute. */
int accounts_flush(struct accounts *accounts, struct tw_error *error);

#endif
