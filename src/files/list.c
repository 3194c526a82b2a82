/* SPDX-License-Identifier: Apache-2.0 */
/* Many files: lists by page, and what they add up to. */
#include <string.h>

#include "base/error.h"
#include "files/internal.h"

/* --- files --- */

void tw_file_list_done(struct tw_file_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        tw_file_info_done(&list->files[i]);
    free(list->files);
    free(list->cursor);
    *list = (struct tw_file_list){0};
}

/* The first text behind all that begin with the prefix: no byte of UTF-8 is 0xff. NULL: no memory. */
static char *end_of_prefix(const char *prefix)
{
    size_t len = strlen(prefix);
    char *end = strdup(len ? prefix : "\xff");
    if (end && len)
        end[len - 1] = (char)((unsigned char)end[len - 1] + 1);
    return end;
}

struct page {
    const struct tw_file_list_options *options;
    size_t limit;
    char *prefix, *prefix_end;
    char *owner, *name; /* where the page before ended; "", "" */
};

static void page_done(struct page *p)
{
    free(p->prefix);
    free(p->prefix_end);
    free(p->owner);
    free(p->name);
}

static int page_init(struct page *p, const struct tw_file_list_options *o, struct tw_error *error)
{
    *p = (struct page){.options = o, .limit = o->limit && o->limit < PAGE_MAX ? o->limit : PAGE_MAX};
    const char *prefix = o->prefix ? o->prefix : "", *owner = o->owner ? o->owner : "";
    /* A name it need not be: "data/" begins many and is none. */
    if (strnlen(prefix, TW_FILE_NAME_MAX + 1) > TW_FILE_NAME_MAX)
        return error_set(error, TW_INVALID_ARGUMENT, "no name begins with more than %d bytes", TW_FILE_NAME_MAX);
    p->prefix = strdup(prefix);
    p->prefix_end = end_of_prefix(prefix);
    if (!p->prefix || !p->prefix_end)
        return error_oom(error);
    if (o->cursor && o->cursor[0])
        return name_from_cursor(o->cursor, &p->owner, &p->name, error);
    p->owner = strdup(o->any_owner ? "" : owner);
    p->name = strdup("");
    return p->owner && p->name ? 0 : error_oom(error);
}

static int load_page(struct tw_storage *s, const struct page *p, struct tw_file_list *ret, struct tw_error *error)
{
    CATALOG_LOCKED(s);
    CLEANUP_QUERY struct db_query q = db_query(&s->db, p->options->any_owner ? FILES_SQL_LIST_ALL : FILES_SQL_LIST);
    db_bind_text(&q, 1, p->owner);
    db_bind_text(&q, 2, p->name);
    db_bind_text(&q, 3, p->prefix);
    db_bind_text(&q, 4, p->prefix_end);
    db_bind_u64(&q, 5, p->limit + 1); /* one more says whether there is another page */
    int r;
    bool more = false;
    while ((r = db_step(&q, error)) > 0) {
        struct catalog_file file;
        more = ret->n == p->limit;
        if (more)
            continue;
        if (catalog_load(&q, &file, error) < 0)
            return -1;
        ret->files[ret->n++] = file.info;
    }
    if (r < 0 || !more)
        return r;
    const struct tw_file_info *last = &ret->files[ret->n - 1];
    ret->cursor = name_cursor(last->owner, last->name);
    return ret->cursor ? 0 : error_oom(error);
}

static int list(struct tw_storage *s, const struct page *p, struct tw_file_list *ret, struct tw_error *error)
{
    /* A cursor comes from outside: it must not lead to another owner's files. */
    const char *owner = p->options->owner ? p->options->owner : "";
    if (!p->options->any_owner && (!p->owner || strcmp(p->owner, owner) != 0))
        return error_set(error, TW_INVALID_ARGUMENT, "that is no cursor of this list of files");
    ret->files = calloc(p->limit, sizeof *ret->files);
    return ret->files ? load_page(s, p, ret, error) : error_oom(error);
}

int tw_storage_list(
    struct tw_storage *s, const struct tw_file_list_options *options, struct tw_file_list *ret, struct tw_error *error)
{
    struct tw_file_list_options o = {0};
    memcpy(&o, options, MIN(options->size, sizeof o));
    CLEANUP(page_done) struct page page;
    *ret = (struct tw_file_list){0};
    if (page_init(&page, &o, error) == 0 && list(s, &page, ret, error) == 0)
        return 0;
    tw_file_list_done(ret);
    return -1;
}

/* --- sums --- */

static int stat_all(struct tw_storage *s, struct tw_storage_stat *ret, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&s->db, FILES_SQL_STAT);
    int r = db_step(&q, error);
    if (r <= 0)
        return r < 0 ? -1 : error_set(error, TW_DATA_LOSS, "%s has lost its totals", s->root.db_path);
    ret->files = db_u64(&q, 0);
    ret->bytes = db_u64(&q, 1);
    ret->blobs = db_u64(&q, 2);
    ret->blob_bytes = db_u64(&q, 3);
    ret->unused_bytes = db_u64(&q, 4);
    ret->damaged_blobs = db_u64(&q, 5);
    ret->saved_bytes = ret->bytes - (ret->blob_bytes - ret->unused_bytes);
    return 0;
}

static int stat_owner(struct tw_storage *s, const char *owner, struct tw_storage_stat *ret, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&s->db, FILES_SQL_STAT_OWNER);
    db_bind_text(&q, 1, owner);
    int r = db_step(&q, error);
    if (r > 0) {
        ret->files = db_u64(&q, 0);
        ret->bytes = db_u64(&q, 1);
    }
    return r < 0 ? -1 : 0;
}

int tw_storage_stat(struct tw_storage *s, const char *owner, struct tw_storage_stat *ret, struct tw_error *error)
{
    *ret = (struct tw_storage_stat){0};
    CATALOG_LOCKED(s);
    if ((owner ? stat_owner(s, owner, ret, error) : stat_all(s, ret, error)) < 0)
        return -1;
    ret->reserved_bytes = quota_reserved(s, owner);
    pthread_mutex_lock(&s->lock);
    ret->max_bytes = s->limits.max_bytes;
    ret->max_owner_bytes = s->limits.max_owner_bytes;
    ret->max_owner_files = s->limits.max_owner_files;
    pthread_mutex_unlock(&s->lock);
    return 0;
}

void tw_owner_usage_free(struct tw_owner_usage *owners, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(owners[i].owner);
    free(owners);
}

static int load_owners(struct tw_storage *s, const char *after, size_t max, struct tw_owner_usage *ret, size_t *ret_n,
    struct tw_error *error)
{
    CATALOG_LOCKED(s);
    CLEANUP_QUERY struct db_query q = db_query(&s->db, FILES_SQL_OWNERS);
    db_bind_text(&q, 1, after);
    db_bind_u64(&q, 2, max);
    int r;
    while ((r = db_step(&q, error)) > 0) {
        struct tw_owner_usage *one = &ret[(*ret_n)++];
        *one = (struct tw_owner_usage){.owner = db_text(&q, 0), .files = db_u64(&q, 1), .bytes = db_u64(&q, 2)};
        if (!one->owner)
            return error_oom(error);
    }
    return r;
}

int tw_storage_owners(struct tw_storage *s, const char *after, size_t max, struct tw_owner_usage **ret, size_t *ret_n,
    struct tw_error *error)
{
    max = MIN(max, (size_t)PAGE_MAX);
    struct tw_owner_usage *owners = calloc(max + 1, sizeof *owners);
    size_t n = 0;
    if (!owners)
        return error_oom(error);
    if (load_owners(s, after, max, owners, &n, error) < 0) {
        tw_owner_usage_free(owners, n);
        return -1;
    }
    *ret = owners;
    *ret_n = n;
    return 0;
}
