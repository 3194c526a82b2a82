/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checking everything: the database, on a connection of its own that sees one moment of it, and then each content against its
 * hash, one after the other, with nothing held but a pin.
 */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/text.h"
#include "files/internal.h"

/* --- the database --- */

static int count_again(struct db *db, struct tw_fsck_report *report, struct tw_error *error)
{
    int64_t damage = 0, wrong = 0;
    if (db_get_int(db, "SELECT count(*) FROM pragma_quick_check WHERE quick_check <> 'ok'", &damage, error) < 0)
        return -1;
    if (damage)
        return error_set(error, TW_DATA_LOSS,
            "%s is damaged: restore it from a backup, or save what is left with `sqlite3 FILE .recover`", db->path);
    if (db_get_int(db,
            "SELECT (SELECT count(*) FROM blobs b WHERE refs <> (SELECT count(*) FROM files f WHERE f.blob = b.id)) + "
            "(SELECT count(*) FROM owners o LEFT JOIN (SELECT f.owner, count(*) AS n, sum(b.size) AS bytes FROM files "
            "f "
            "JOIN blobs b ON b.id = f.blob GROUP BY f.owner) c ON c.owner = o.id WHERE o.files IS NOT c.n OR o.bytes "
            "IS "
            "NOT c.bytes) + "
            "(SELECT t.blobs <> (SELECT count(*) FROM blobs) OR t.bytes <> (SELECT coalesce(sum(size), 0) FROM blobs) "
            "FROM totals t)",
            &wrong, error) < 0)
        return -1;
    report->wrong_counts = (uint64_t)wrong;
    return 0;
}

static int check_database(struct tw_storage *s, struct tw_fsck_report *report, struct tw_error *error)
{
    struct db db;
    if (catalog_open_reader(&db, &s->root, error) < 0)
        return -1;
    int r = count_again(&db, report, error);
    db_close(&db);
    return r;
}

/* --- the contents --- */

struct walk {
    struct tw_storage *storage;
    tw_fsck_progress *progress;
    void *ctx;
    uint64_t done, total;
    struct tw_fsck_report report;
};

static bool on_read(void *ctx, uint64_t n)
{
    struct walk *w = ctx;
    w->done += n;
    return !w->progress || w->progress(w->ctx, w->done, MAX(w->done, w->total));
}

/* What is open is looked at, and marked only if it is still what is there under its hash. */
static int settle(
    struct walk *w, const struct catalog_blob *blob, int fd, enum blob_state found, struct tw_error *error)
{
    struct tw_fsck_report *report = &w->report;
    report->damaged += found == BLOB_DAMAGED;
    report->missing += found == BLOB_MISSING;
    report->healed += found == BLOB_GOOD && blob->state != BLOB_GOOD;
    if (found == blob->state)
        return 0;
    char hex[TW_SHA256_LEN + 1];
    text_hex(blob->sha, SHA_BYTES, hex);
    log_write(found == BLOB_GOOD ? LOG_INFO : LOG_ERROR, "the content %s is %s", hex,
        found == BLOB_GOOD          ? "right again"
            : found == BLOB_MISSING ? "gone"
                                    : "damaged");
    CATALOG_LOCKED(w->storage);
    if (fd >= 0 && !blob_is_same(&w->storage->root, blob->sha, fd))
        return 0;
    return catalog_mark(w->storage, blob->id, found, error);
}

static int check_content(struct walk *w, const struct catalog_blob *blob, int fd, struct tw_error *error)
{
    uint64_t before = w->done;
    int r = fd >= 0 ? content_check(fd, blob->size, blob->sha, on_read, w) : 0;
    if (r == -ECANCELED)
        return error_set(error, TW_CANCELLED, "the check was stopped");
    if (r == -ENOMEM)
        return error_oom(error);
    w->done = before + blob->size;
    w->report.blobs++;
    w->report.bytes += blob->size;
    /* A disk that cannot read it back has lost it, as far as anybody here can tell. */
    return settle(w, blob, fd, r == 1 ? BLOB_GOOD : fd == -ENOENT ? BLOB_MISSING : BLOB_DAMAGED, error);
}

static int next_content(
    struct walk *w, struct catalog_blob *blob, struct pin **ret_pin, int *ret_fd, struct tw_error *error)
{
    CATALOG_LOCKED(w->storage);
    int r = catalog_next_blob(w->storage, blob->id, blob, error);
    if (r <= 0)
        return r;
    *ret_pin = pin_take(w->storage, blob->sha);
    if (!*ret_pin)
        return error_oom(error);
    *ret_fd = blob_open(&w->storage->root, blob->sha, blob->size);
    if (*ret_fd >= 0 || *ret_fd == -ENOENT || *ret_fd == -EBADMSG)
        return 1;
    pin_drop(w->storage, STEAL(*ret_pin));
    return root_fail(&w->storage->root, -*ret_fd, "read", ROOT_BLOBS, error);
}

static int check_contents(struct walk *w, struct tw_error *error)
{
    struct catalog_blob blob = {0};
    for (;;) {
        CLEANUP_FD int fd = -1;
        struct pin *pin = NULL;
        int r = next_content(w, &blob, &pin, &fd, error);
        if (r <= 0)
            return r;
        r = check_content(w, &blob, fd, error);
        pin_drop(w->storage, pin);
        if (r < 0)
            return -1;
    }
}

static int count_lost(struct tw_storage *s, uint64_t *ret, struct tw_error *error)
{
    CATALOG_LOCKED(s);
    return db_do_u64(&s->db, FILES_SQL_LOST_FILES, ret, error);
}

int tw_storage_fsck(
    struct tw_storage *s, tw_fsck_progress *progress, void *ctx, struct tw_fsck_report *ret, struct tw_error *error)
{
    struct walk w = {.storage = s, .progress = progress, .ctx = ctx};
    struct tw_storage_stat stat;
    if (check_database(s, &w.report, error) < 0 || tw_storage_stat(s, NULL, &stat, error) < 0)
        return -1;
    w.total = stat.blob_bytes;
    if (check_contents(&w, error) < 0 || count_lost(s, &w.report.lost_files, error) < 0)
        return -1;
    if (ret)
        *ret = w.report;
    return 0;
}
