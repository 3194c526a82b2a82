/* SPDX-License-Identifier: Apache-2.0 */
/* The tokens of users. One that was revoked stays in the lists, until its user needs the room for others. */
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "access/accounts_internal.h"
#include "base/clock.h"
#include "base/text.h"

/* --- in memory --- */

static struct api_token *token_new(const uint8_t digest[TOKEN_DIGEST_BYTES])
{
    struct api_token *token = calloc(1, sizeof *token);
    if (!token)
        return NULL;
    memcpy(token->digest, digest, TOKEN_DIGEST_BYTES);
    token_id(digest, token->id);
    list_init(&token->link);
    list_init(&token->dirty);
    return token;
}

void token_forget(struct accounts *a, struct api_token *token)
{
    (void)map_remove(&a->tokens, token->id);
    list_remove(&token->dirty);
    list_remove(&token->link);
    if (token->user)
        token->user->n_tokens--;
    free(token);
}

/* Into the map first, which alone can fail: there it is found by its digest only once it has a user. */
static void give(struct api_token *token, struct user *user)
{
    token->user = user;
    list_push(&user->tokens, &token->link);
    user->n_tokens++;
}

static bool is_dead(const struct api_token *token, uint64_t now_us)
{
    return token->revoked_us != 0 || (token->expires_us != 0 && token->expires_us <= now_us);
}

/* --- from the database --- */

static int load_one(struct accounts *a, const struct db_query *q, struct tw_error *error)
{
    uint8_t digest[TOKEN_DIGEST_BYTES];
    char name[ACCOUNTS_NAME_MAX + 1];
    struct user *user = accounts_read_text(q, 1, ACCOUNTS_NAME_MAX, name) ? user_get(a, name) : NULL;
    int64_t role = db_int(q, 3);
    if (!accounts_read_bytes(q, 0, sizeof digest, digest) || !user || role < 0 || role >= ROLE_MAX)
        return accounts_fail_damaged(a, "tokens", error);
    struct api_token *token = token_new(digest);
    if (!token || map_put(&a->tokens, token->id, token) < 0) {
        free(token);
        return error_oom(error);
    }
    give(token, user);
    if (!accounts_read_text(q, 2, ACCOUNTS_TOKEN_NAME_MAX, token->name))
        return accounts_fail_damaged(a, "tokens", error);
    token->role = (enum role)role;
    token->created_us = db_u64(q, 4);
    token->expires_us = db_u64(q, 5);
    token->used_us = db_u64(q, 6);
    token->revoked_us = db_u64(q, 7);
    token->first = db_int(q, 8) != 0;
    return 0;
}

int tokens_load(struct accounts *a, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&a->db, ACCOUNTS_SQL_TOKENS);
    int r;
    while ((r = db_step(&q, error)) > 0) {
        if (load_one(a, &q, error) < 0)
            return -1;
    }
    return r;
}

/* --- changes --- */

static int check_name(const struct user *user, const char *name, struct tw_error *error)
{
    size_t len = strnlen(name, ACCOUNTS_TOKEN_NAME_MAX + 1);
    if (len == 0 || len > ACCOUNTS_TOKEN_NAME_MAX || !text_is_utf8(name, len) || text_has_control(name, len))
        return error_set(error, TW_INVALID_ARGUMENT,
            "the name of a token is 1 to %d bytes of text in UTF-8 without control characters",
            ACCOUNTS_TOKEN_NAME_MAX);
    list_for_each (it, &user->tokens) {
        const struct api_token *token = CONTAINER_OF(it, struct api_token, link);
        if (!token->revoked_us && !strcmp(token->name, name))
            return error_set(error, TW_ALREADY_EXISTS,
                "'%s' has a token '%s' already (%s): revoke that one, or choose another name", user->name, name,
                token->id);
    }
    return 0;
}

/* Whose room a further token takes: *ret NULL, there is room. */
static int find_room(const struct user *user, uint64_t now_us, struct api_token **ret, struct tw_error *error)
{
    *ret = NULL;
    if (user->n_tokens < ACCOUNTS_USER_TOKENS_MAX)
        return 0;
    list_for_each (it, &user->tokens) {
        struct api_token *token = CONTAINER_OF(it, struct api_token, link);
        if (is_dead(token, now_us)) {
            *ret = token;
            return 0;
        }
    }
    return error_set(error, TW_RESOURCE_EXHAUSTED,
        "'%s' has %d tokens, which is as many as a user may have: revoke some", user->name, ACCOUNTS_USER_TOKENS_MAX);
}

static int delete_row(struct accounts *a, const struct api_token *token, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&a->db, ACCOUNTS_SQL_TOKEN_REMOVE);
    db_bind_blob(&q, 1, token->digest, sizeof token->digest);
    return db_run(&q, error);
}

static int insert_row(
    struct accounts *a, const struct api_token *token, const struct user *user, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&a->db, ACCOUNTS_SQL_TOKEN_ADD);
    db_bind_blob(&q, 1, token->digest, sizeof token->digest);
    db_bind_int(&q, 2, user->id);
    db_bind_text(&q, 3, token->name);
    db_bind_int(&q, 4, token->role);
    db_bind_u64(&q, 5, token->created_us);
    db_bind_u64(&q, 6, token->expires_us);
    db_bind_int(&q, 7, token->first);
    return db_run(&q, error);
}

static int store(struct accounts *a, const struct api_token *token, const struct user *user,
    const struct api_token *instead_of, struct tw_error *error)
{
    if (db_do(&a->db, ACCOUNTS_SQL_BEGIN, error) < 0)
        return -1;
    if ((instead_of && delete_row(a, instead_of, error) < 0) || insert_row(a, token, user, error) < 0 ||
        db_do(&a->db, ACCOUNTS_SQL_COMMIT, error) < 0) {
        db_rollback(&a->db);
        return -1;
    }
    return 0;
}

int token_add(struct accounts *a, struct user *user, const char *name, enum role role, uint64_t expires_us, bool first,
    struct token *ret, struct tw_error *error)
{
    uint64_t now_us = clock_wall_us();
    struct api_token *old;
    if (check_name(user, name, error) < 0 || find_room(user, now_us, &old, error) < 0)
        return -1;
    CLEANUP_TOKEN struct token made = {0};
    if (token_make(&made) < 0)
        return error_set(error, TW_INTERNAL, "the system has no random bytes for a token");
    struct api_token *token = token_new(made.digest);
    /* Two of the same id are as likely as a token that is guessed; if there ever are, the second one is not made. */
    int r = token ? map_put(&a->tokens, token->id, token) : -1;
    if (r < 0) {
        free(token);
        return error_oom(error);
    }
    token->role = role;
    token->created_us = now_us;
    token->expires_us = expires_us;
    token->first = first;
    memcpy(token->name, name, strlen(name) + 1);
    if (store(a, token, user, old, error) < 0) {
        token_forget(a, token);
        return -1;
    }
    give(token, user);
    if (old)
        token_forget(a, old);
    *ret = made;
    return 0;
}

int token_remove(struct accounts *a, struct api_token *token, struct tw_error *error)
{
    if (delete_row(a, token, error) < 0)
        return -1;
    token_forget(a, token);
    return 0;
}

int accounts_add_token(struct accounts *a, const char *user_name, const char *name, enum role role, uint64_t expires_us,
    struct token *ret, struct tw_error *error)
{
    struct user *user = user_find(a, user_name, error);
    if (!user)
        return -1;
    if ((unsigned)role >= ROLE_MAX || role > user->state.role)
        return error_set(error, TW_INVALID_ARGUMENT, "a token of '%s' can be limited to %s at most, which is his role",
            user->name, role_to_string(user->state.role));
    if (expires_us && expires_us <= clock_wall_us())
        return error_set(error, TW_INVALID_ARGUMENT, "the token would have expired already");
    return token_add(a, user, name, role, expires_us, false, ret, error);
}

static int fail_no_token(const char *id, struct tw_error *error)
{
    CLEANUP_FREE char *shown = text_line(id, strnlen(id, TOKEN_ID_LEN + 1), 40);
    return error_set(error, TW_NOT_FOUND, "there is no token '%s'", shown ? shown : "?");
}

int accounts_revoke_token(struct accounts *a, const char *id, const char *user, struct tw_error *error)
{
    struct api_token *token = map_get(&a->tokens, id);
    if (!token || (user && strcmp(token->user->name, user) != 0))
        return fail_no_token(id, error);
    if (token->revoked_us)
        return 0;
    uint64_t now_us = clock_wall_us();
    CLEANUP_QUERY struct db_query q = db_query(&a->db, ACCOUNTS_SQL_TOKEN_REVOKE);
    db_bind_blob(&q, 1, token->digest, sizeof token->digest);
    db_bind_u64(&q, 2, now_us);
    if (db_run(&q, error) < 0)
        return -1;
    token->revoked_us = now_us;
    return 0;
}

static struct accounts_token info_of(const struct api_token *token)
{
    return (struct accounts_token){.id = token->id,
        .name = token->name,
        .user = token->user->name,
        .role = token->role,
        .created_us = token->created_us,
        .expires_us = token->expires_us,
        .used_us = token->used_us,
        .revoked_us = token->revoked_us};
}

int accounts_find_token(const struct accounts *a, const char *id, struct accounts_token *ret, struct tw_error *error)
{
    const struct api_token *token = map_get(&a->tokens, id);
    if (!token)
        return fail_no_token(id, error);
    *ret = info_of(token);
    return 0;
}

int accounts_list_tokens(
    const struct accounts *a, const char *user_name, accounts_token_fn fn, void *ctx, struct tw_error *error)
{
    const struct user *user = user_find(a, user_name, error);
    if (!user)
        return -1;
    list_for_each (it, &user->tokens) {
        const struct accounts_token info = info_of(CONTAINER_OF(it, struct api_token, link));
        if (!fn(ctx, &info))
            break;
    }
    return 0;
}

static int write_used(struct accounts *a, const struct api_token *token, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&a->db, ACCOUNTS_SQL_TOKEN_USED);
    db_bind_blob(&q, 1, token->digest, sizeof token->digest);
    db_bind_u64(&q, 2, token->used_us);
    return db_run(&q, error);
}

int accounts_flush(struct accounts *a, struct tw_error *error)
{
    if (list_empty(&a->dirty))
        return 0;
    int r = db_do(&a->db, ACCOUNTS_SQL_BEGIN, error);
    list_for_each (it, &a->dirty) {
        if (r == 0)
            r = write_used(a, CONTAINER_OF(it, struct api_token, dirty), error);
    }
    if (r < 0 || db_do(&a->db, ACCOUNTS_SQL_COMMIT, error) < 0) {
        db_rollback(&a->db);
        return -1;
    }
    while (!list_empty(&a->dirty))
        list_remove(a->dirty.next);
    return 0;
}

/* --- the check --- */

static enum accounts_verdict judge(const struct api_token *token, uint64_t now_us)
{
    if (token->revoked_us)
        return ACCOUNTS_REVOKED;
    if (token->expires_us && token->expires_us <= now_us)
        return ACCOUNTS_EXPIRED;
    return token->user->state.disabled ? ACCOUNTS_DISABLED : ACCOUNTS_OK;
}

static void fill_who(const struct user *user, const struct api_token *token, struct who *ret)
{
    *ret = (struct who){.user_id = user->id, .role = user->state.role, .generation = user->state.generation};
    memcpy(ret->user, user->name, sizeof ret->user);
    if (token) {
        ret->role = MIN(user->state.role, token->role);
        memcpy(ret->token, token->id, sizeof ret->token);
    }
}

enum accounts_verdict accounts_check_token(
    struct accounts *a, const char *text, size_t len, uint64_t now_us, struct who *ret)
{
    uint8_t digest[TOKEN_DIGEST_BYTES];
    char id[TOKEN_ID_LEN + 1];
    *ret = (struct who){.role = ROLE_MAX};
    enum token_form form = token_parse(text, len, digest);
    if (form != TOKEN_RIGHT)
        return form == TOKEN_FOREIGN ? ACCOUNTS_MALFORMED : ACCOUNTS_MISTYPED;
    token_id(digest, id);
    struct api_token *token = map_get(&a->tokens, id);
    if (!token || sodium_memcmp(token->digest, digest, sizeof digest) != 0)
        return ACCOUNTS_UNKNOWN;
    enum accounts_verdict verdict = judge(token, now_us);
    if (verdict != ACCOUNTS_OK)
        return verdict;
    token->used_us = MAX(token->used_us, now_us);
    if (list_empty(&token->dirty))
        list_push(&a->dirty, &token->dirty);
    fill_who(token->user, token, ret);
    return ACCOUNTS_OK;
}

int accounts_who(struct accounts *a, const char *name, struct who *ret, struct tw_error *error)
{
    *ret = (struct who){.role = ROLE_MAX};
    const struct user *user = user_find(a, name, error);
    if (!user)
        return -1;
    if (user->state.disabled)
        return error_set(error, TW_PERMISSION_DENIED, "%s", accounts_verdict_to_string(ACCOUNTS_DISABLED));
    fill_who(user, NULL, ret);
    return 0;
}

bool accounts_still_valid(const struct accounts *a, const struct who *who, uint64_t now_us)
{
    const struct user *user = user_get(a, who->user);
    if (!user || user->id != who->user_id || user->state.generation != who->generation || user->state.disabled)
        return false;
    if (!who->token[0])
        return true;
    const struct api_token *token = map_get(&a->tokens, who->token);
    return token && token->user == user && judge(token, now_us) == ACCOUNTS_OK;
}

const char *accounts_verdict_to_string(enum accounts_verdict verdict)
{
    static const char *const texts[] = {
#define X(name, text) [ACCOUNTS_##name] = text,
        ACCOUNTS_VERDICTS(X)
#undef X
    };
    return (unsigned)verdict < ACCOUNTS_VERDICT_MAX ? texts[verdict] : "unknown";
}
