/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Putting a file. It is written to tmp/ as it comes, hashed on the way. The commit sees to it that the content is there under
 * its hash, durable, or is there already; then one transaction makes the file refer to it. A crash before that leaves a file
 * in tmp/, or a content that no row refers to: both are swept up. A failure takes them away at once.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"
#include "files/digest.h"
#include "files/internal.h"

/* What has been written is sent to the disk in pieces of this, so that the commit need not wait for all of it. */
enum { FLUSH_BYTES = 8 << 20 };

/* --- its beginning and its end --- */

static void upload_free(struct tw_upload *u)
{
    if (!u)
        return;
    struct tw_storage *s = u->storage;
    fd_close(&u->fd);
    if (!u->published)
        tmp_remove(&s->root, u->tmp);
    pthread_mutex_lock(&s->lock);
    list_remove(&u->link); /* what it had set aside is free now that the disk is */
    pthread_mutex_unlock(&s->lock);
    digest_free(&u->hash);
    free(u->owner);
    free(u->name);
    free(u);
}

static int fail_upload(struct tw_upload *u, int err, struct tw_error *error)
{
    CLEANUP_FREE char *what = NULL;
    if (asprintf(&what, ROOT_TMP "/%s", u->tmp) < 0)
        what = NULL;
    return root_fail(&u->storage->root, err < 0 ? -err : err, "write", what ? what : ROOT_TMP, error);
}

/* In the list before it is on disk: the sweep leaves alone what is there. */
static int enter(struct tw_upload *u, struct tw_error *error)
{
    int r = tmp_name(u->tmp);
    if (r < 0)
        return error_set_errno(error, r, "no random bytes");
    pthread_mutex_lock(&u->storage->lock);
    list_push(&u->storage->uploads, &u->link);
    pthread_mutex_unlock(&u->storage->lock);
    u->fd = openat(u->storage->root.tmp_fd, u->tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return u->fd < 0 ? fail_upload(u, errno, error) : 0;
}

static int check_options(const struct tw_put_options *o, struct tw_error *error)
{
    uint8_t sha[SHA_BYTES];
    if (name_check_owner(o->owner ? o->owner : "", error) < 0 || name_check(o->name, error) < 0)
        return -1;
    if (o->sha256 && name_sha_from_hex(o->sha256, sha) < 0)
        return error_set(error, TW_INVALID_ARGUMENT, "sha256 is %d hex digits in lower case", TW_SHA256_LEN);
    if (!o->unknown_length && o->length > INT64_MAX)
        return error_set(error, TW_INVALID_ARGUMENT, "no file has %llu bytes", (unsigned long long)o->length);
    return 0;
}

int tw_storage_put(
    struct tw_storage *s, const struct tw_put_options *options, struct tw_upload **ret, struct tw_error *error)
{
    struct tw_put_options o = {0};
    memcpy(&o, options, MIN(options->size, sizeof o));
    if (check_options(&o, error) < 0)
        return -1;
    struct tw_upload *u = calloc(1, sizeof *u);
    if (!u)
        return error_oom(error);
    *u = (struct tw_upload){.storage = s, .fd = -1, .base_version = o.base_version};
    list_init(&u->link);
    u->unknown_length = o.unknown_length;
    u->length = o.unknown_length ? 0 : o.length;
    u->wants_sha = o.sha256 && name_sha_from_hex(o.sha256, u->wanted) == 0;
    u->owner = strdup(o.owner ? o.owner : "");
    u->name = strdup(o.name);
    u->hash = digest_begin(NULL);
    int r = u->owner && u->name && u->hash ? 0 : error_oom(error);
    if (r < 0 || enter(u, error) < 0 || quota_reserve(u, u->length, false, error) < 0) {
        upload_free(u);
        return -1;
    }
    *ret = u;
    return 0;
}

void tw_upload_abort(struct tw_upload *u)
{
    upload_free(u);
}

/* --- its content --- */

static int write_some(struct tw_upload *u, const void *data, size_t len, struct tw_error *error)
{
    if (!u->unknown_length && len > u->length - u->size)
        return error_set(error, TW_INVALID_ARGUMENT, "'%.200s': more bytes come than the %llu that were announced",
            u->name, (unsigned long long)u->length);
    if (len > INT64_MAX - u->size)
        return error_set(error, TW_OUT_OF_RANGE, "'%.200s' is too large for any file", u->name);
    if (quota_reserve(u, u->size + len, true, error) < 0)
        return -1;
    int r = fd_write_all(u->fd, data, len);
    if (r < 0)
        return fail_upload(u, r, error);
    if (!digest_add(u->hash, data, len))
        return error_set(error, TW_INTERNAL, "SHA-256 failed");
    u->size += len;
    if (u->size - u->flushed >= FLUSH_BYTES) {
        /* Where it cannot be done, or fails, fsync says so. */
        (void)sync_file_range(u->fd, (off_t)u->flushed, (off_t)(u->size - u->flushed), SYNC_FILE_RANGE_WRITE);
        u->flushed = u->size;
    }
    return 0;
}

int tw_upload_write(struct tw_upload *u, const void *data, size_t len, struct tw_error *error)
{
    if (u->failed)
        return error_set(error, TW_FAILED_PRECONDITION, "the upload of '%.200s' has failed: abort it", u->name);
    if (len > 0 && write_some(u, data, len, error) < 0)
        u->failed = true;
    return u->failed ? -1 : 0;
}

/* --- its commit --- */

static int finish_hash(struct tw_upload *u, uint8_t ret[SHA_BYTES], struct tw_error *error)
{
    if (u->failed)
        return error_set(error, TW_FAILED_PRECONDITION, "the upload of '%.200s' has failed", u->name);
    if (!u->unknown_length && u->size != u->length)
        return error_set(error, TW_INVALID_ARGUMENT, "'%.200s': %llu bytes were announced, %llu have come", u->name,
            (unsigned long long)u->length, (unsigned long long)u->size);
    if (!digest_end(u->hash, ret))
        return error_set(error, TW_INTERNAL, "SHA-256 failed");
    if (u->wants_sha && memcmp(ret, u->wanted, SHA_BYTES) != 0)
        return error_set(
            error, TW_INVALID_ARGUMENT, "'%.200s': what has come has another SHA-256 than was announced", u->name);
    return 0;
}

/* 1: the content is there already. */
static int is_there(struct tw_upload *u, const uint8_t sha[SHA_BYTES], struct tw_error *error)
{
    int64_t id;
    uint64_t size;
    enum blob_state state;
    CATALOG_LOCKED(u->storage);
    int r = catalog_find_blob(u->storage, sha, &id, &size, &state, error);
    return r > 0 ? state == BLOB_GOOD && blob_look(&u->storage->root, sha, size) == 0 : r;
}

static int publish(struct tw_upload *u, const uint8_t sha[SHA_BYTES], struct tw_error *error)
{
    int r = fchmod(u->fd, 0400) < 0 || fsync(u->fd) < 0 ? -errno : 0;
    if (r == 0)
        r = blob_publish(&u->storage->root, u->tmp, sha);
    if (r < 0)
        return fail_upload(u, r, error);
    u->published = true;
    return 0;
}

static int add_blob(struct tw_upload *u, const uint8_t sha[SHA_BYTES], struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&u->storage->db, FILES_SQL_BLOB_ADD);
    db_bind_blob(&q, 1, sha, SHA_BYTES);
    db_bind_u64(&q, 2, u->size);
    db_bind_u64(&q, 3, clock_wall_us());
    return db_run(&q, error);
}

static int add_file(struct tw_upload *u, const uint8_t sha[SHA_BYTES], struct tw_error *error)
{
    char id[TMP_NAME_MAX];
    int r = tmp_name(id);
    if (r < 0)
        return error_set_errno(error, r, "no random bytes");
    CLEANUP_QUERY struct db_query owner = db_query(&u->storage->db, FILES_SQL_OWNER_ADD);
    db_bind_text(&owner, 1, u->owner);
    if (db_run(&owner, error) < 0)
        return -1;
    CLEANUP_QUERY struct db_query q = db_query(&u->storage->db, FILES_SQL_FILE_ADD);
    db_bind_text(&q, 1, id);
    db_bind_text(&q, 2, u->owner);
    db_bind_text(&q, 3, u->name);
    db_bind_blob(&q, 4, sha, SHA_BYTES);
    db_bind_u64(&q, 5, clock_wall_us());
    return db_run(&q, error);
}

static int change_file(struct tw_upload *u, int64_t seq, const uint8_t sha[SHA_BYTES], struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&u->storage->db, FILES_SQL_FILE_CHANGE);
    db_bind_int(&q, 1, seq);
    db_bind_blob(&q, 2, sha, SHA_BYTES);
    db_bind_u64(&q, 3, clock_wall_us());
    return db_run(&q, error);
}

static int fail_stale(const struct tw_upload *u, uint64_t version, struct tw_error *error)
{
    return error_set(error, TW_ABORTED,
        "'%.200s' is at version %llu and not at %llu, which this is made for: begin again with that", u->name,
        (unsigned long long)version, (unsigned long long)u->base_version);
}

/* In the transaction. */
static int write_rows(
    struct tw_upload *u, const uint8_t sha[SHA_BYTES], bool is_new, struct catalog_file *ret, struct tw_error *error)
{
    struct tw_storage *s = u->storage;
    struct catalog_file old = {0};
    int known = catalog_find_name(s, u->owner, u->name, &old, error);
    tw_file_info_done(&old.info);
    if (known < 0)
        return -1;
    if (u->base_version && (!known || old.info.version != u->base_version))
        return fail_stale(u, known ? old.info.version : 0, error);
    if (is_new && add_blob(u, sha, error) < 0)
        return -1;
    int r = known ? change_file(u, old.seq, sha, error) : add_file(u, sha, error);
    if (r < 0 || quota_check_owner(s, u->owner, error) < 0)
        return -1;
    r = catalog_find_name(s, u->owner, u->name, ret, error);
    return r == 0 ? error_set(error, TW_INTERNAL, "'%.200s' was not written", u->name) : r < 0 ? -1 : 0;
}

static int write_and_commit(
    struct tw_upload *u, const uint8_t sha[SHA_BYTES], bool is_new, struct catalog_file *ret, struct tw_error *error)
{
    struct db *db = &u->storage->db;
    if (db_do(db, FILES_SQL_BEGIN, error) < 0)
        return -1;
    if (write_rows(u, sha, is_new, ret, error) == 0 && db_do(db, FILES_SQL_COMMIT, error) == 0)
        return 0;
    db_rollback(db);
    tw_file_info_done(&ret->info);
    return -1;
}

/* 1: the content that was there is not, or not good, any more. */
static int record(
    struct tw_upload *u, const uint8_t sha[SHA_BYTES], bool is_new, struct catalog_file *ret, struct tw_error *error)
{
    struct tw_storage *s = u->storage;
    int64_t id;
    uint64_t size;
    enum blob_state state = BLOB_MISSING;
    CATALOG_LOCKED(s);
    if (!is_new) {
        int r = catalog_find_blob(s, sha, &id, &size, &state, error);
        if (r < 0 || state != BLOB_GOOD)
            return r < 0 ? -1 : 1;
    }
    if (write_and_commit(u, sha, is_new, ret, error) < 0)
        return -1;
    pthread_mutex_lock(&s->lock);
    u->reserved = 0; /* the database counts it now */
    pthread_mutex_unlock(&s->lock);
    return 0;
}

/* The content was pinned before this: what is found to be there stays. */
static int commit(struct tw_upload *u, const uint8_t sha[SHA_BYTES], struct catalog_file *ret, struct tw_error *error)
{
    int there = is_there(u, sha, error);
    int r = there > 0 ? record(u, sha, false, ret, error) : 1;
    if (there < 0 || r <= 0)
        return there < 0 ? -1 : r;
    return publish(u, sha, error) < 0 ? -1 : record(u, sha, true, ret, error);
}

static int commit_pinned(struct tw_upload *u, struct tw_file_info *ret, struct tw_error *error)
{
    uint8_t sha[SHA_BYTES];
    struct catalog_file file = {0};
    if (finish_hash(u, sha, error) < 0)
        return -1;
    struct pin *pin = pin_take(u->storage, sha);
    if (!pin)
        return error_oom(error);
    int r = commit(u, sha, &file, error);
    pin_drop(u->storage, pin);
    if (r < 0) {
        (void)blob_drop_stray(u->storage, sha);
        return -1;
    }
    if (ret)
        *ret = file.info;
    else
        tw_file_info_done(&file.info);
    return 0;
}

int tw_upload_commit(struct tw_upload *u, struct tw_file_info *ret, struct tw_error *error)
{
    int r = commit_pinned(u, ret, error);
    if (r == 0)
        gc_wake(u->storage); /* the version before may have been the last to use its content */
    upload_free(u);
    return r;
}
