/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Getting a file. What is open is pinned, so it stays on disk, and its descriptor leads to the same bytes whatever happens to
 * the name. A content is hashed while it is read; its last bytes are held back until the hash is right.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "files/digest.h"
#include "files/internal.h"

struct tw_file {
    struct tw_storage *storage;
    struct pin *pin;
    struct catalog_file row;
    int fd;
    uint64_t at;
    EVP_MD_CTX *hash;
    bool is_damaged;
};

static int fail_damaged(const struct catalog_file *row, struct tw_error *error)
{
    return error_set(error, TW_DATA_LOSS, "the content of '%.200s' is %s: put it again, or restore it from a backup",
        row->info.name, row->state == BLOB_MISSING ? "gone" : "damaged");
}

/* Under db_lock. A mark that cannot be written is made by the next who looks. */
static void mark(struct tw_storage *s, struct catalog_file *row, enum blob_state state)
{
    struct tw_error error;
    log_error(
        "the content %s of file %s is %s", row->info.sha256, row->info.id, state == BLOB_MISSING ? "gone" : "damaged");
    row->state = state;
    if (catalog_mark(s, row->blob, state, &error) < 0)
        log_warning("cannot mark it: %s", error.message);
}

/* Under db_lock, so that the pin comes before anybody could remove what was found. */
static int open_content(struct tw_file *f, struct tw_error *error)
{
    struct tw_storage *s = f->storage;
    if (f->row.state != BLOB_GOOD)
        return fail_damaged(&f->row, error);
    f->pin = pin_take(s, f->row.sha);
    if (!f->pin)
        return error_oom(error);
    f->fd = blob_open(&s->root, f->row.sha, f->row.info.size);
    if (f->fd >= 0)
        return 0;
    if (f->fd != -ENOENT && f->fd != -EBADMSG)
        return error_set_errno(error, f->fd, "cannot read '%.200s'", f->row.info.name);
    mark(s, &f->row, f->fd == -ENOENT ? BLOB_MISSING : BLOB_DAMAGED);
    return fail_damaged(&f->row, error);
}

int tw_storage_get(struct tw_storage *s, const struct tw_file_ref *ref, struct tw_file **ret, struct tw_error *error)
{
    struct tw_file *f = calloc(1, sizeof *f);
    if (!f)
        return error_oom(error);
    f->storage = s;
    f->fd = -1;
    f->hash = digest_begin(NULL);
    int r = f->hash ? 0 : error_oom(error);
    if (r == 0) {
        CATALOG_LOCKED(s);
        r = catalog_find(s, ref, &f->row, error);
        if (r == 0)
            r = open_content(f, error);
    }
    if (r < 0) {
        tw_file_close(f);
        return -1;
    }
    *ret = f;
    return 0;
}

const struct tw_file_info *tw_file_info(const struct tw_file *f)
{
    return &f->row.info;
}

int tw_file_fd(const struct tw_file *f)
{
    return f->fd;
}

void tw_file_close(struct tw_file *f)
{
    if (!f)
        return;
    fd_close(&f->fd);
    pin_drop(f->storage, f->pin);
    digest_free(&f->hash);
    tw_file_info_done(&f->row.info);
    free(f);
}

/* What was put again meanwhile is another file under the same hash, and has nothing to do with this one. */
static int found_damaged(struct tw_file *f, struct tw_error *error)
{
    f->is_damaged = true;
    f->row.state = BLOB_DAMAGED;
    f->row.info.is_damaged = true;
    CATALOG_LOCKED(f->storage);
    if (blob_is_same(&f->storage->root, f->row.sha, f->fd))
        mark(f->storage, &f->row, BLOB_DAMAGED);
    return fail_damaged(&f->row, error);
}

static bool hash_is_right(struct tw_file *f)
{
    uint8_t got[SHA_BYTES];
    return digest_end(f->hash, got) && !memcmp(got, f->row.sha, SHA_BYTES);
}

ssize_t tw_file_read(struct tw_file *f, void *data, size_t len, struct tw_error *error)
{
    if (f->is_damaged)
        return fail_damaged(&f->row, error);
    uint64_t left = f->row.info.size - f->at;
    left = MIN(left, (uint64_t)SSIZE_MAX);
    len = (size_t)MIN((uint64_t)len, left);
    if (len == 0)
        return 0;
    ssize_t n;
    do
        n = pread(f->fd, data, len, (off_t)f->at);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return error_set_errno(error, errno, "cannot read '%.200s'", f->row.info.name);
    if (n == 0 || !digest_add(f->hash, data, (size_t)n))
        return found_damaged(f, error);
    f->at += (uint64_t)n;
    if (f->at == f->row.info.size && !hash_is_right(f))
        return found_damaged(f, error);
    return n;
}

int tw_file_verify(struct tw_file *f, struct tw_error *error)
{
    if (f->is_damaged)
        return fail_damaged(&f->row, error);
    int r = content_check(f->fd, f->row.info.size, f->row.sha, NULL, NULL);
    if (r == -ENOMEM || !digest_begin(f->hash))
        return error_oom(error);
    f->at = 0;
    if (r < 0)
        return error_set_errno(error, r, "cannot read '%.200s'", f->row.info.name);
    return r == 0 ? found_damaged(f, error) : 0;
}
