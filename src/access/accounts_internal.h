/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the accounts share. */
#ifndef ACCESS_ACCOUNTS_INTERNAL_H
#define ACCESS_ACCOUNTS_INTERNAL_H

#include "access/accounts.h"
#include "base/list.h"
#include "base/map.h"
#include "base/sqlite.h"

/* Columns in the order in which they are read. */
#define USER_COLUMNS "id, name, role, disabled, password, generation, created_us, changed_us"
#define TOKEN_COLUMNS "t.digest, u.name, t.name, t.role, t.created_us, t.expires_us, t.used_us, t.revoked_us, t.first"

#define ACCOUNTS_STATEMENTS(X)                                                                                      \
    X(BEGIN, "BEGIN IMMEDIATE")                                                                                     \
    X(COMMIT, "COMMIT")                                                                                             \
    X(USERS, "SELECT " USER_COLUMNS " FROM users WHERE removed_us = 0 ORDER BY name")                               \
    X(USERS_EVER, "SELECT count(*) FROM users")                                                                     \
    X(USER_REMOVED, "SELECT removed_us FROM users WHERE name = ?1")                                                 \
    X(USER_ADD,                                                                                                     \
        "INSERT INTO users (name, role, disabled, generation, created_us, changed_us) VALUES (?1, ?2, 0, 1, ?3, "   \
        "?3) RETURNING id")                                                                                         \
    X(USER_CHANGE,                                                                                                  \
        "UPDATE users SET role = ?2, disabled = ?3, password = ?4, generation = ?5, changed_us = ?6 WHERE id = ?1") \
    X(USER_REMOVE,                                                                                                  \
        "UPDATE users SET disabled = 1, password = NULL, generation = generation + 1, changed_us = ?2, "            \
        "removed_us = ?2 WHERE id = ?1")                                                                            \
    X(TOKENS,                                                                                                       \
        "SELECT " TOKEN_COLUMNS                                                                                     \
        " FROM tokens t LEFT JOIN users u ON u.id = t.user AND u.removed_us = 0 ORDER BY t.seq")                    \
    X(TOKEN_ADD,                                                                                                    \
        "INSERT INTO tokens (digest, user, name, role, created_us, expires_us, first) "                             \
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")                                                                      \
    X(TOKEN_REVOKE, "UPDATE tokens SET revoked_us = ?2 WHERE digest = ?1")                                          \
    X(TOKEN_USED, "UPDATE tokens SET used_us = ?2 WHERE digest = ?1")                                               \
    X(TOKEN_REMOVE, "DELETE FROM tokens WHERE digest = ?1")                                                         \
    X(TOKENS_REMOVE, "DELETE FROM tokens WHERE user = ?1")                                                          \
    X(FIRST_DUE, "SELECT value FROM meta WHERE key = 'first_due'")                                                  \
    X(FIRST_SHOWN, "UPDATE meta SET value = 0 WHERE key = 'first_due'")

enum accounts_sql {
#define X(name, sql) ACCOUNTS_SQL_##name,
    ACCOUNTS_STATEMENTS(X)
#undef X
        ACCOUNTS_SQL_MAX
};

struct user_state {
    enum role role;
    bool disabled;
    char *hash; /* owned by the user; NULL: none */
    uint64_t generation;
    uint64_t changed_us;
};

struct user {
    int64_t id;
    uint64_t created_us;
    struct user_state state;
    struct list tokens; /* struct api_token, the eldest first */
    size_t n_tokens;
    char name[ACCOUNTS_NAME_MAX + 1];
};

struct api_token {
    struct list link;  /* of its user's */
    struct list dirty; /* in the accounts' list when used_us is not on disk */
    struct user *user;
    uint8_t digest[TOKEN_DIGEST_BYTES];
    enum role role;
    uint64_t created_us, expires_us, used_us, revoked_us;
    bool first; /* the administrator's first one, which perhaps nobody has seen */
    char id[TOKEN_ID_LEN + 1];
    char name[ACCOUNTS_TOKEN_NAME_MAX + 1];
};

struct accounts {
    struct db db;
    struct user **users; /* in the order of their names */
    size_t n_users, cap_users;
    struct map tokens; /* struct api_token, by id */
    struct list dirty;
};

/* --- accounts_file.c: the file and its layout --- */

/* Its mode and owner are looked at before it is opened. */
int accounts_file_open(struct db *db, const char *path, unsigned patience_ms, struct tw_error *error);
/* Columns of a row that may have been tampered with: false: that is no text (bytes) of such a length. */
bool accounts_read_text(const struct db_query *q, int column, size_t max, char *ret);
bool accounts_read_bytes(const struct db_query *q, int column, size_t len, void *ret);
int accounts_fail_damaged(const struct accounts *a, const char *table, struct tw_error *error);

/* --- accounts_users.c --- */

/* NULL: there is none. */
struct user *user_get(const struct accounts *a, const char *name);
struct user *user_find(const struct accounts *a, const char *name, struct tw_error *error);
int users_load(struct accounts *a, struct tw_error *error);
void users_free(struct accounts *a);

/* --- accounts_tokens.c --- */

/* After the users. */
int tokens_load(struct accounts *a, struct tw_error *error);
int token_add(struct accounts *a, struct user *user, const char *name, enum role role, uint64_t expires_us, bool first,
    struct token *ret, struct tw_error *error);
int token_remove(struct accounts *a, struct api_token *token, struct tw_error *error);
/* The same in memory alone. */
void token_forget(struct accounts *a, struct api_token *token);

#endif
