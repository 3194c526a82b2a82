/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much there may be. Two bounds: what all contents take on disk, uploads included (a content counts once, however many
 * files share it), and what the files of one owner add up to. An upload sets aside what it needs before it writes it, so that
 * many at once cannot pass the bounds together; when it is committed, the database counts it instead, in the same breath
 * (under db_lock). What is set aside is in the uploads alone: there is no second count that could go wrong.
 */
#include <string.h>

#include "base/error.h"
#include "files/internal.h"

enum { AHEAD_BYTES = 8 << 20, AHEAD_SHARE = 16 };

struct use {
    uint64_t total, owner, files; /* bytes on disk; bytes and number of the owner's files */
    uint64_t replaced;            /* bytes of the version that the upload would take the place of */
};

static int look(struct tw_storage *s, const char *owner, const char *name, struct use *ret, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&s->db, FILES_SQL_USE);
    db_bind_text(&q, 1, owner);
    db_bind_text(&q, 2, name);
    int r = db_step(&q, error);
    if (r <= 0)
        return r < 0 ? -1 : error_set(error, TW_DATA_LOSS, "%s has lost its totals", s->root.db_path);
    *ret = (struct use){db_u64(&q, 0), db_u64(&q, 1), db_u64(&q, 2), db_u64(&q, 3)};
    return 0;
}

/* Under `lock`. */
static uint64_t reserved_of(const struct tw_storage *s, const char *owner)
{
    uint64_t sum = 0;
    list_for_each (it, &s->uploads) {
        const struct tw_upload *u = CONTAINER_OF(it, struct tw_upload, link);
        if (!owner || !strcmp(u->owner, owner))
            sum += u->reserved;
    }
    return sum;
}

uint64_t quota_reserved(struct tw_storage *s, const char *owner)
{
    pthread_mutex_lock(&s->lock);
    uint64_t sum = reserved_of(s, owner);
    pthread_mutex_unlock(&s->lock);
    return sum;
}

static int fail_total(const struct use *use, uint64_t reserved, uint64_t more, uint64_t max, struct tw_error *error)
{
    return error_set(error, TW_RESOURCE_EXHAUSTED,
        "the storage is full: %llu of its %llu bytes are taken, %llu are set aside, and %llu more are needed: delete "
        "files or raise the bound",
        (unsigned long long)use->total, (unsigned long long)max, (unsigned long long)reserved,
        (unsigned long long)more);
}

static int fail_owner(const char *owner, uint64_t used, uint64_t more, uint64_t max, struct tw_error *error)
{
    return error_set(error, TW_RESOURCE_EXHAUSTED,
        "the files of '%.100s' have %llu of the %llu bytes that one owner may have, and %llu more are needed: delete "
        "some",
        owner, (unsigned long long)used, (unsigned long long)max, (unsigned long long)more);
}

static uint64_t room(uint64_t used, uint64_t max)
{
    return max > used ? max - used : 0;
}

/* 0; 1: it is the bound of all, where cleaning up may help; -1: that of the owner. */
static int reserve_locked(struct tw_upload *u, const struct use *use, uint64_t need, bool ahead, struct tw_error *error)
{
    const struct limits *limits = &u->storage->limits;
    uint64_t all = reserved_of(u->storage, NULL), own = use->owner + reserved_of(u->storage, u->owner);
    uint64_t more = need - u->reserved, left = room(use->total + all, limits->max_bytes);
    /* The version before is gone when this one is there. Two uploads may both reckon with that: the commit looks again. */
    uint64_t own_left = room(own - MIN(use->replaced, own), limits->max_owner_bytes);
    if (limits->max_owner_bytes && more > own_left)
        return fail_owner(u->owner, own, more, limits->max_owner_bytes, error);
    if (more > left) {
        fail_total(use, all, more, limits->max_bytes, error);
        return 1;
    }
    /* Where room is short nobody takes more of it than he needs. */
    if (limits->max_owner_bytes)
        left = MIN(left, own_left);
    u->reserved = need + (ahead && left / AHEAD_SHARE >= AHEAD_BYTES ? AHEAD_BYTES : 0);
    return 0;
}

static int reserve(struct tw_upload *u, uint64_t need, bool ahead, struct tw_error *error)
{
    struct use use = {0};
    CATALOG_LOCKED(u->storage);
    if (look(u->storage, u->owner, u->name, &use, error) < 0)
        return -1;
    pthread_mutex_lock(&u->storage->lock);
    int r = reserve_locked(u, &use, need, ahead, error);
    pthread_mutex_unlock(&u->storage->lock);
    return r;
}

int quota_reserve(struct tw_upload *u, uint64_t need, bool ahead, struct tw_error *error)
{
    if (need <= u->reserved)
        return 0;
    int r = reserve(u, need, ahead, error);
    if (r <= 0)
        return r;
    struct tw_storage_gc_report report = {0};
    struct tw_error other;
    if (gc_collect(u->storage, &report, &other) < 0)
        return -1;
    return reserve(u, need, ahead, error) == 0 ? 0 : -1;
}

int quota_check_owner(struct tw_storage *s, const char *owner, struct tw_error *error)
{
    struct use use = {0};
    if (look(s, owner, "", &use, error) < 0)
        return -1;
    pthread_mutex_lock(&s->lock);
    struct limits limits = s->limits;
    pthread_mutex_unlock(&s->lock);
    if (limits.max_owner_bytes && use.owner > limits.max_owner_bytes)
        return error_set(error, TW_RESOURCE_EXHAUSTED,
            "the files of '%.100s' would have %llu of the %llu bytes that one owner may have: delete some", owner,
            (unsigned long long)use.owner, (unsigned long long)limits.max_owner_bytes);
    if (use.files > limits.max_owner_files)
        return error_set(error, TW_RESOURCE_EXHAUSTED,
            "'%.100s' has %llu files, which is as many as one owner may have: delete some", owner,
            (unsigned long long)limits.max_owner_files);
    return 0;
}
