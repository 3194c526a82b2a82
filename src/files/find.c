/* SPDX-License-Identifier: Apache-2.0 */
/* One file: what is known of it, and its end. */
#include "base/error.h"
#include "files/internal.h"

void tw_file_info_done(struct tw_file_info *info)
{
    free(info->owner);
    free(info->name);
    info->owner = info->name = NULL;
}

int tw_storage_find(
    struct tw_storage *s, const struct tw_file_ref *ref, struct tw_file_info *ret, struct tw_error *error)
{
    struct catalog_file file;
    CATALOG_LOCKED(s);
    if (catalog_find(s, ref, &file, error) < 0)
        return -1;
    *ret = file.info;
    return 0;
}

static int remove_row(struct tw_storage *s, int64_t seq, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&s->db, FILES_SQL_FILE_REMOVE);
    db_bind_int(&q, 1, seq);
    return db_run(&q, error);
}

int tw_storage_delete(struct tw_storage *s, const struct tw_file_ref *ref, struct tw_error *error)
{
    struct catalog_file file;
    {
        CATALOG_LOCKED(s);
        if (catalog_find(s, ref, &file, error) < 0)
            return -1;
        tw_file_info_done(&file.info);
        if (remove_row(s, file.seq, error) < 0)
            return -1;
    }
    gc_wake(s);
    return 0;
}
