/* SPDX-License-Identifier: Apache-2.0 */
/* Users: a change goes to the database first, then into memory, which cannot fail any more by then. */
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "access/accounts_internal.h"
#include "base/clock.h"
#include "base/text.h"

/* --- names --- */

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool name_is_right(const char *name)
{
    size_t len = strnlen(name, ACCOUNTS_NAME_MAX + 1);
    if (len == 0 || len > ACCOUNTS_NAME_MAX || !(name[0] >= 'a' && name[0] <= 'z') || !is_alnum(name[len - 1]))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!is_alnum(name[i]) && !strchr("._@-", name[i]))
            return false;
    }
    return true;
}

int accounts_check_name(const char *name, struct tw_error *error)
{
    if (name_is_right(name))
        return 0;
    CLEANUP_FREE char *shown = text_line(name, strnlen(name, ACCOUNTS_NAME_MAX + 1), 80);
    return error_set(error, TW_INVALID_ARGUMENT,
        "'%s' cannot be the name of a user: that has 1 to %d of a-z, 0-9, '.', '_', '-' and '@', begins with a letter "
        "and "
        "ends with a letter or digit",
        shown ? shown : "?", ACCOUNTS_NAME_MAX);
}

/* --- in memory --- */

/* Where a user of this name is, or is to be. */
static size_t place_of(const struct accounts *a, const char *name, bool *ret_found)
{
    size_t low = 0, high = a->n_users;
    *ret_found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(a->users[middle]->name, name);
        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct user *user_get(const struct accounts *a, const char *name)
{
    bool found;
    size_t at = place_of(a, name, &found);
    return found ? a->users[at] : NULL;
}

struct user *user_find(const struct accounts *a, const char *name, struct tw_error *error)
{
    struct user *user = user_get(a, name);
    if (user)
        return user;
    CLEANUP_FREE char *shown = text_line(name, strnlen(name, ACCOUNTS_NAME_MAX + 1), 80);
    error_set(error, TW_NOT_FOUND, "there is no user '%s'", shown ? shown : "?");
    return NULL;
}

static int make_room(struct accounts *a, struct tw_error *error)
{
    if (a->n_users < a->cap_users)
        return 0;
    size_t cap = a->cap_users ? 2 * a->cap_users : 16;
    struct user **users = realloc(a->users, cap * sizeof(struct user *));
    if (!users)
        return error_oom(error);
    a->users = users;
    a->cap_users = cap;
    return 0;
}

/* There is room. */
static void put_in(struct accounts *a, struct user *user)
{
    bool found;
    size_t at = place_of(a, user->name, &found);
    memmove(a->users + at + 1, a->users + at, (a->n_users - at) * sizeof(struct user *));
    a->users[at] = user;
    a->n_users++;
}

static void free_hash(char *hash)
{
    if (hash)
        sodium_memzero(hash, strlen(hash));
    free(hash);
}

static void user_free(struct user *user)
{
    if (user)
        free_hash(user->state.hash);
    free(user);
}

static void cleanup_user(struct user **user)
{
    user_free(*user);
}

static struct user *user_new(void)
{
    struct user *user = calloc(1, sizeof *user);
    if (user)
        list_init(&user->tokens);
    return user;
}

static void forget(struct accounts *a, struct user *user)
{
    bool found;
    size_t at = place_of(a, user->name, &found);
    list_for_each_safe (it, &user->tokens)
        token_forget(a, CONTAINER_OF(it, struct api_token, link));
    a->n_users--;
    memmove(a->users + at, a->users + at + 1, (a->n_users - at) * sizeof(struct user *));
    user_free(user);
}

void users_free(struct accounts *a)
{
    while (a->n_users > 0)
        forget(a, a->users[a->n_users - 1]);
    free(a->users);
    a->users = NULL;
    a->cap_users = 0;
}

/* --- from the database --- */

static int read_hash(struct accounts *a, const struct db_query *q, char **ret, struct tw_error *error)
{
    char hash[ACCOUNTS_HASH_MAX + 1];
    if (db_is_null(q, 4))
        return 0;
    if (!accounts_read_text(q, 4, ACCOUNTS_HASH_MAX, hash))
        return accounts_fail_damaged(a, "users", error);
    *ret = strdup(hash);
    sodium_memzero(hash, sizeof hash);
    return *ret ? 0 : error_oom(error);
}

static int load_one(struct accounts *a, const struct db_query *q, struct tw_error *error)
{
    CLEANUP(cleanup_user) struct user *user = user_new();
    if (!user || make_room(a, error) < 0)
        return error_oom(error);
    int64_t role = db_int(q, 2);
    if (!accounts_read_text(q, 1, ACCOUNTS_NAME_MAX, user->name) || !name_is_right(user->name) ||
        user_get(a, user->name) || role < 0 || role >= ROLE_MAX)
        return accounts_fail_damaged(a, "users", error);
    if (read_hash(a, q, &user->state.hash, error) < 0)
        return -1;
    user->id = db_int(q, 0);
    user->state.role = (enum role)role;
    user->state.disabled = db_int(q, 3) != 0;
    user->state.generation = db_u64(q, 5);
    user->created_us = db_u64(q, 6);
    user->state.changed_us = db_u64(q, 7);
    put_in(a, STEAL(user));
    return 0;
}

int users_load(struct accounts *a, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&a->db, ACCOUNTS_SQL_USERS);
    int r;
    while ((r = db_step(&q, error)) > 0) {
        if (load_one(a, &q, error) < 0)
            return -1;
    }
    return r;
}

/* --- changes --- */

static int check_never_used(struct accounts *a, const char *name, struct tw_error *error)
{
    char when[CLOCK_TEXT_MAX];
    if (user_get(a, name))
        return error_set(error, TW_ALREADY_EXISTS, "there is a user '%s' already", name);
    CLEANUP_QUERY struct db_query q = db_query(&a->db, ACCOUNTS_SQL_USER_REMOVED);
    db_bind_text(&q, 1, name);
    int r = db_step(&q, error);
    if (r <= 0)
        return r;
    return error_set(error, TW_ALREADY_EXISTS,
        "the name '%s' was that of a user who was removed at %s, and what he left would be the new one's: choose "
        "another "
        "name",
        name, clock_format(db_u64(&q, 0), when));
}

static int insert(struct accounts *a, struct user *user, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&a->db, ACCOUNTS_SQL_USER_ADD);
    db_bind_text(&q, 1, user->name);
    db_bind_int(&q, 2, user->state.role);
    db_bind_u64(&q, 3, user->created_us);
    int r = db_step(&q, error);
    if (r <= 0)
        return r < 0 ? -1 : accounts_fail_damaged(a, "users", error);
    user->id = db_int(&q, 0);
    /* The row was returned, but it is on disk only when the statement has come to its end. */
    return db_run(&q, error);
}

int accounts_add_user(struct accounts *a, const char *name, enum role role, struct tw_error *error)
{
    if (accounts_check_name(name, error) < 0)
        return -1;
    if ((unsigned)role >= ROLE_MAX)
        return error_set(error, TW_INVALID_ARGUMENT, "there is no role %d", (int)role);
    if (check_never_used(a, name, error) < 0)
        return -1;
    if (a->n_users >= ACCOUNTS_USERS_MAX)
        return error_set(error, TW_RESOURCE_EXHAUSTED,
            "there are %d users, which is as many as there may be: remove some", ACCOUNTS_USERS_MAX);
    CLEANUP(cleanup_user) struct user *user = user_new();
    if (!user || make_room(a, error) < 0)
        return error_oom(error);
    memcpy(user->name, name, strlen(name) + 1);
    user->state.role = role;
    user->state.generation = 1;
    user->created_us = user->state.changed_us = clock_wall_us();
    if (insert(a, user, error) < 0)
        return -1;
    put_in(a, STEAL(user));
    return 0;
}

/* Whoever locks the last one out has nobody left who could let him in again. */
static int check_not_last_admin(const struct accounts *a, const struct user *user, struct tw_error *error)
{
    if (user->state.role != ROLE_ADMIN || user->state.disabled)
        return 0;
    for (size_t i = 0; i < a->n_users; i++) {
        const struct user *other = a->users[i];
        if (other != user && other->state.role == ROLE_ADMIN && !other->state.disabled)
            return 0;
    }
    return error_set(error, TW_FAILED_PRECONDITION,
        "'%s' is the last administrator who is not disabled: make another one first", user->name);
}

static int remove_rows(struct accounts *a, const struct user *user, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query tokens = db_query(&a->db, ACCOUNTS_SQL_TOKENS_REMOVE);
    CLEANUP_QUERY struct db_query row = db_query(&a->db, ACCOUNTS_SQL_USER_REMOVE);
    db_bind_int(&tokens, 1, user->id);
    db_bind_int(&row, 1, user->id);
    db_bind_u64(&row, 2, clock_wall_us());
    return db_run(&tokens, error) < 0 || db_run(&row, error) < 0 ? -1 : 0;
}

int accounts_remove_user(struct accounts *a, const char *name, struct tw_error *error)
{
    struct user *user = user_find(a, name, error);
    if (!user || check_not_last_admin(a, user, error) < 0 || db_do(&a->db, ACCOUNTS_SQL_BEGIN, error) < 0)
        return -1;
    if (remove_rows(a, user, error) < 0 || db_do(&a->db, ACCOUNTS_SQL_COMMIT, error) < 0) {
        db_rollback(&a->db);
        return -1;
    }
    forget(a, user);
    return 0;
}

/* `next` is what the user is to be; its hash, if it is another, is the caller's still when this fails. */
static int change(struct accounts *a, struct user *user, const struct user_state *next, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&a->db, ACCOUNTS_SQL_USER_CHANGE);
    db_bind_int(&q, 1, user->id);
    db_bind_int(&q, 2, next->role);
    db_bind_int(&q, 3, next->disabled);
    db_bind_text(&q, 4, next->hash);
    db_bind_u64(&q, 5, next->generation);
    db_bind_u64(&q, 6, next->changed_us);
    if (db_run(&q, error) < 0)
        return -1;
    if (user->state.hash != next->hash)
        free_hash(user->state.hash);
    user->state = *next;
    return 0;
}

/* What whoever holds a struct who has to hear of. */
static struct user_state next_generation(const struct user *user)
{
    struct user_state next = user->state;
    next.generation++;
    next.changed_us = clock_wall_us();
    return next;
}

int accounts_set_disabled(struct accounts *a, const char *name, bool disabled, struct tw_error *error)
{
    struct user *user = user_find(a, name, error);
    if (!user || (disabled && check_not_last_admin(a, user, error) < 0))
        return -1;
    struct user_state next = next_generation(user);
    next.disabled = disabled;
    return user->state.disabled == disabled ? 0 : change(a, user, &next, error);
}

int accounts_set_role(struct accounts *a, const char *name, enum role role, struct tw_error *error)
{
    struct user *user = user_find(a, name, error);
    if (!user)
        return -1;
    if ((unsigned)role >= ROLE_MAX)
        return error_set(error, TW_INVALID_ARGUMENT, "there is no role %d", (int)role);
    if (role != ROLE_ADMIN && check_not_last_admin(a, user, error) < 0)
        return -1;
    struct user_state next = next_generation(user);
    next.role = role;
    return user->state.role == role ? 0 : change(a, user, &next, error);
}

static int change_hash(
    struct accounts *a, struct user *user, struct user_state *next, const char *hash, struct tw_error *error)
{
    next->hash = hash ? strdup(hash) : NULL;
    if (hash && !next->hash)
        return error_oom(error);
    if (change(a, user, next, error) == 0)
        return 0;
    free_hash(next->hash);
    return -1;
}

int accounts_set_password(struct accounts *a, const char *name, const char *hash, struct tw_error *error)
{
    struct user *user = user_find(a, name, error);
    if (!user)
        return -1;
    if (hash &&
        (strnlen(hash, ACCOUNTS_HASH_MAX + 1) > ACCOUNTS_HASH_MAX ||
            strncmp(hash, crypto_pwhash_argon2id_STRPREFIX, sizeof crypto_pwhash_argon2id_STRPREFIX - 1) != 0))
        return error_set(error, TW_INVALID_ARGUMENT, "that is not the hash of a password");
    struct user_state next = next_generation(user);
    return change_hash(a, user, &next, hash, error);
}

int accounts_rehash(struct accounts *a, const struct who *who, const char *hash, struct tw_error *error)
{
    struct user *user = user_find(a, who->user, error);
    if (!user)
        return -1;
    if (user->id != who->user_id || user->state.generation != who->generation || !user->state.hash)
        return error_set(error, TW_ABORTED, "the account of '%s' was changed meanwhile", who->user);
    struct user_state next = user->state;
    return change_hash(a, user, &next, hash, error);
}

/* --- looking --- */

const char *accounts_hash(const struct accounts *a, const char *name)
{
    const struct user *user = user_get(a, name);
    return user ? user->state.hash : NULL;
}

static struct accounts_user info_of(const struct user *user)
{
    struct accounts_user info = {.name = user->name,
        .id = user->id,
        .role = user->state.role,
        .disabled = user->state.disabled,
        .has_password = user->state.hash != NULL,
        .created_us = user->created_us,
        .changed_us = user->state.changed_us};
    list_for_each (it, &user->tokens)
        info.tokens += CONTAINER_OF(it, struct api_token, link)->revoked_us == 0;
    return info;
}

int accounts_find_user(const struct accounts *a, const char *name, struct accounts_user *ret, struct tw_error *error)
{
    const struct user *user = user_find(a, name, error);
    if (!user)
        return -1;
    *ret = info_of(user);
    return 0;
}

void accounts_list_users(const struct accounts *a, const char *after, accounts_user_fn fn, void *ctx)
{
    bool found = false;
    size_t at = after ? place_of(a, after, &found) : 0;
    for (at += found; at < a->n_users; at++) {
        const struct accounts_user info = info_of(a->users[at]);
        if (!fn(ctx, &info))
            return;
    }
}
