/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. The database has one writer, this process, which holds it locked; so all of it is read once, at the
 * start, and memory is what is asked from then on. A change is written first (accounts_users.c, accounts_tokens.c) and made in
 * memory when it is on disk. Only when a token was last used goes the other way round, and may be lost.
 *
 * A token is found by its id, which follows from its digest, in a hash map; then the whole digest is compared. The map's keys
 * are hashes of random secrets, so how long a look-up takes tells nothing that would help to find one.
 *
 * Each user has a generation, a number that goes up when he gets another role or password, or is disabled or enabled. Who keeps
 * a struct who has that number and can see whether it is still the same.
 */
#include "access/accounts.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "access/accounts_internal.h"
#include "base/clock.h"

#define FIRST_TOKEN "first"

/* Is there anything that only somebody can have done who was let in, and so has seen a token? */
static bool is_touched(const struct accounts *a, const struct user *user)
{
    if (!user || a->n_users > 1 || user->state.generation > 1)
        return true;
    list_for_each (it, &user->tokens) {
        const struct api_token *token = CONTAINER_OF(it, struct api_token, link);
        if (!token->first || token->used_us || token->revoked_us)
            return true;
    }
    return false;
}

/* Every step may be the last one of this start: the next goes on from there. */
static int make_first(struct accounts *a, struct token *ret, struct tw_error *error)
{
    uint64_t ever = 0, due = 0;
    if (db_do_u64(&a->db, ACCOUNTS_SQL_FIRST_DUE, &due, error) < 0 ||
        db_do_u64(&a->db, ACCOUNTS_SQL_USERS_EVER, &ever, error) < 0)
        return -1;
    if (!due)
        return 0;
    if (!ever && accounts_add_user(a, ACCOUNTS_FIRST_USER, ROLE_ADMIN, error) < 0)
        return -1;
    struct user *user = user_get(a, ACCOUNTS_FIRST_USER);
    if (is_touched(a, user))
        return accounts_first_shown(a, error);
    list_for_each_safe (it, &user->tokens) { /* of a former start, whose token perhaps nobody saw */
        if (token_remove(a, CONTAINER_OF(it, struct api_token, link), error) < 0)
            return -1;
    }
    return token_add(a, user, FIRST_TOKEN, ROLE_ADMIN, 0, true, ret, error);
}

int accounts_first_shown(struct accounts *a, struct tw_error *error)
{
    return db_do(&a->db, ACCOUNTS_SQL_FIRST_SHOWN, error);
}

static void free_all(struct accounts *a)
{
    users_free(a);
    map_done(&a->tokens);
    db_close(&a->db);
    free(a);
}

int accounts_open(
    const struct accounts_options *options, struct accounts **ret, struct token *ret_first, struct tw_error *error)
{
    *ret_first = (struct token){0};
    if (sodium_init() < 0)
        return error_set(error, TW_INTERNAL, "libsodium cannot be used here");
    struct accounts *a = calloc(1, sizeof *a);
    if (!a)
        return error_oom(error);
    map_init(&a->tokens);
    list_init(&a->dirty);
    if (accounts_file_open(&a->db, options->path, options->patience_ms, error) < 0 || users_load(a, error) < 0 ||
        tokens_load(a, error) < 0 || make_first(a, ret_first, error) < 0) {
        free_all(a);
        return -1;
    }
    *ret = a;
    return 0;
}

struct accounts *accounts_close(struct accounts *a)
{
    if (!a)
        return NULL;
    (void)accounts_flush(a, NULL);
    free_all(a);
    return NULL;
}
