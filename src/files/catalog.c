/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of the database and what they say. */
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"
#include "files/internal.h"

void catalog_lock(struct tw_storage *s)
{
    pthread_mutex_lock(&s->db_lock);
}

void catalog_unlock(struct tw_storage **s)
{
    pthread_mutex_unlock(&(*s)->db_lock);
}

static int fail_damaged(const struct db_query *q, struct tw_error *error)
{
    return error_set(error, TW_DATA_LOSS, "%s holds what cannot be: restore it from a backup", q->db->path);
}

int catalog_load(const struct db_query *q, struct catalog_file *ret, struct tw_error *error)
{
    size_t id_len, sha_len;
    const char *id = db_blob(q, 1, &id_len);
    const void *sha = db_blob(q, 4, &sha_len);
    if (id_len != TW_FILE_ID_LEN || sha_len != SHA_BYTES)
        return fail_damaged(q, error);
    *ret = (struct catalog_file){.seq = db_int(q, 0), .blob = db_int(q, 10), .state = (enum blob_state)db_int(q, 9)};
    struct tw_file_info *info = &ret->info;
    memcpy(ret->sha, sha, SHA_BYTES);
    memcpy(info->id, id, TW_FILE_ID_LEN);
    text_hex(sha, SHA_BYTES, info->sha256);
    info->size = db_u64(q, 5);
    info->created_us = db_u64(q, 6);
    info->modified_us = db_u64(q, 7);
    info->version = db_u64(q, 8);
    info->is_damaged = ret->state != BLOB_GOOD;
    info->owner = db_text(q, 2);
    info->name = db_text(q, 3);
    if (!info->owner || !info->name) {
        tw_file_info_done(info);
        return error_oom(error);
    }
    return 0;
}

int catalog_find_name(
    struct tw_storage *s, const char *owner, const char *name, struct catalog_file *ret, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&s->db, FILES_SQL_FIND_NAME);
    db_bind_text(&q, 1, owner);
    db_bind_text(&q, 2, name);
    int r = db_step(&q, error);
    return r > 0 && catalog_load(&q, ret, error) < 0 ? -1 : r;
}

static int find_id(
    struct tw_storage *s, const struct tw_file_ref *ref, struct catalog_file *ret, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&s->db, FILES_SQL_FIND_ID);
    db_bind_text(&q, 1, ref->id);
    db_bind_text(&q, 2, ref->any_owner ? NULL : ref->owner ? ref->owner : "");
    int r = db_step(&q, error);
    return r > 0 && catalog_load(&q, ret, error) < 0 ? -1 : r;
}

int catalog_find(struct tw_storage *s, const struct tw_file_ref *ref, struct catalog_file *ret, struct tw_error *error)
{
    if (!ref->id && !ref->name)
        return error_set(error, TW_INVALID_ARGUMENT, "which file is meant: name its id or its name");
    int r = ref->id ? find_id(s, ref, ret, error)
                    : catalog_find_name(s, ref->owner ? ref->owner : "", ref->name, ret, error);
    if (r != 0)
        return r < 0 ? -1 : 0;
    const char *what = ref->id ? ref->id : ref->name;
    CLEANUP_FREE char *shown = text_line(what, strlen(what), 100);
    return error_set(error, TW_NOT_FOUND, "there is no file '%s'", shown ? shown : "?");
}

int catalog_find_blob(struct tw_storage *s, const uint8_t sha[SHA_BYTES], int64_t *ret_id, uint64_t *ret_size,
    enum blob_state *ret_state, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&s->db, FILES_SQL_BLOB);
    db_bind_blob(&q, 1, sha, SHA_BYTES);
    int r = db_step(&q, error);
    if (r > 0) {
        *ret_id = db_int(&q, 0);
        *ret_size = db_u64(&q, 1);
        *ret_state = (enum blob_state)db_int(&q, 2);
    }
    return r;
}

int catalog_next_blob(struct tw_storage *s, int64_t after, struct catalog_blob *ret, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&s->db, FILES_SQL_BLOB_AFTER);
    db_bind_int(&q, 1, after);
    int r = db_step(&q, error);
    if (r <= 0)
        return r;
    size_t len;
    const void *sha = db_blob(&q, 1, &len);
    if (len != SHA_BYTES)
        return fail_damaged(&q, error);
    *ret = (struct catalog_blob){.id = db_int(&q, 0), .size = db_u64(&q, 2), .state = (enum blob_state)db_int(&q, 3)};
    memcpy(ret->sha, sha, SHA_BYTES);
    return 1;
}

int catalog_mark(struct tw_storage *s, int64_t blob, enum blob_state state, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&s->db, FILES_SQL_BLOB_MARK);
    db_bind_int(&q, 1, blob);
    db_bind_int(&q, 2, state);
    db_bind_u64(&q, 3, clock_wall_us());
    return db_run(&q, error);
}
