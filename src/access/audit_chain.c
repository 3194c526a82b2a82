/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records are appended by one write() for many. A write that fails is cut off again, so a file ends with a whole line unless a crash
 * came in between; opening cuts that off. A line is acknowledged only once it is whole and synced, so nothing is lost that way.
 *
 * When there are too many files the oldest goes, and the log says so: the record "audit.removed", which is on disk before the file is
 * unlinked, holds the seq and hash of its last record. The first record of the oldest file that is there has to name just these as
 * what came before, so who removes the oldest file in another way cannot pass it off as this.
 */
#include "access/audit_chain.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"

enum { LOCK_PATIENCE_MS = 1000, OWN_RECORDS = 4 };

void audit_own_entry(
    struct audit_entry *e, const char *action, const char *object, enum audit_outcome outcome, const char *fmt, ...)
{
    *e = (struct audit_entry){.wall_us = clock_wall_us() / 1000 * 1000, .outcome = outcome};
    audit_text(e->action, AUDIT_ACTION_MAX, action);
    audit_text(e->object, AUDIT_OBJECT_MAX, object);
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(e->detail, sizeof e->detail, fmt, ap);
    va_end(ap);
}

void audit_removed_detail(char out[AUDIT_DETAIL_MAX + 1], const struct audit_head *last)
{
    char hex[2 * AUDIT_HASH_BYTES + 1];
    text_hex(last->hash, AUDIT_HASH_BYTES, hex);
    (void)snprintf(out, AUDIT_DETAIL_MAX + 1, "last %llu %s", (unsigned long long)last->seq, hex);
}

/* --- writing --- */

static int cut_to(int fd, uint64_t bytes)
{
    return ftruncate(fd, (off_t)bytes) < 0 ? -errno : 0;
}

static int write_batch(struct audit_chain *c)
{
    int r = fd_write_all(c->fd, c->batch.data, c->batch.len);
    if (r < 0) {
        c->torn = cut_to(c->fd, c->bytes) < 0;
        return r;
    }
    c->bytes += c->batch.len;
    c->dirty = true;
    return 0;
}

static int append(struct audit_chain *c, struct audit_entry *const *entries, size_t n)
{
    struct audit_head last = c->last;
    buf_reset(&c->batch);
    for (size_t i = 0; i < n; i++) {
        entries[i]->seq = last.seq + 1;
        memcpy(entries[i]->prev, last.hash, AUDIT_HASH_BYTES);
        int r = audit_line_append(&c->batch, entries[i]);
        if (r < 0)
            return r;
        last.seq++;
        memcpy(last.hash, entries[i]->hash, AUDIT_HASH_BYTES);
    }
    int r = write_batch(c);
    if (r == 0)
        c->last = last;
    return r;
}

int audit_chain_sync(struct audit_chain *c)
{
    if (!c->dirty)
        return 0;
    c->dirty = false;
    if (fdatasync(c->fd) == 0)
        return 0;
    int r = -errno;
    fd_close(&c->fd); /* what the kernel has of it is not to be relied on any more */
    return r;
}

int audit_chain_remember(struct audit_chain *c)
{
    if (c->head_seq == c->last.seq)
        return 0;
    int r = audit_head_write(c->dir_fd, &c->last);
    if (r == 0)
        c->head_seq = c->last.seq;
    return r;
}

/* --- files --- */

static int next_file(struct audit_chain *c)
{
    char name[AUDIT_NAME_MAX];
    struct audit_entry entry, *one = &entry;
    uint64_t *files = realloc(c->files, (c->n_files + 1) * sizeof *files);
    if (!files)
        return -ENOMEM;
    c->files = files;
    audit_file_name(c->last.seq + 1, name);
    CLEANUP_FD int fd = openat(c->dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || fsync(c->dir_fd) < 0) {
        int r = -errno;
        if (fd >= 0)
            (void)unlinkat(c->dir_fd, name, 0);
        return r;
    }
    fd_close(&c->fd);
    c->fd = fd_steal(&fd);
    c->bytes = 0;
    c->torn = false;
    c->files[c->n_files++] = c->last.seq + 1;
    c->too_many = c->n_files > c->keep;
    if (c->n_files == 1)
        return 0;
    char former[AUDIT_NAME_MAX];
    audit_file_name(c->files[c->n_files - 2], former);
    audit_own_entry(&entry, "audit.rotated", name, AUDIT_OK, "goes on from %s", former);
    return append(c, &one, 1);
}

/* What the second file says of the record in front of it. */
static bool last_of_oldest(struct audit_chain *c, struct audit_head *ret)
{
    struct audit_reader reader;
    struct audit_entry e;
    const char *line;
    size_t len;
    if (audit_reader_open(&reader, c->dir_fd, c->files[1], false) < 0)
        return false;
    bool good = audit_reader_next(&reader, &line, &len) > 0 && audit_line_parse(line, len, &e) == AUDIT_LINE_OK;
    if (good) {
        ret->seq = e.seq - 1;
        memcpy(ret->hash, e.prev, AUDIT_HASH_BYTES);
    }
    audit_reader_done(&reader);
    return good;
}

static int remove_oldest(struct audit_chain *c)
{
    char name[AUDIT_NAME_MAX], detail[AUDIT_DETAIL_MAX + 1] = "what came next cannot be read";
    struct audit_entry entry, *one = &entry;
    struct audit_head last;
    audit_file_name(c->files[0], name);
    if (last_of_oldest(c, &last))
        audit_removed_detail(detail, &last);
    audit_own_entry(&entry, "audit.removed", name, AUDIT_OK, "%s", detail);
    int r = append(c, &one, 1);
    if (r == 0)
        r = audit_chain_sync(c);
    if (r < 0)
        return r;
    if (unlinkat(c->dir_fd, name, 0) < 0 && errno != ENOENT)
        c->too_many = false; /* with the next file it is tried again, not before: that would be a record each time */
    else
        memmove(c->files, c->files + 1, --c->n_files * sizeof *c->files);
    return 0;
}

/* A file that can be written, and no more of them than there may be. */
static int prepare(struct audit_chain *c)
{
    struct stat st;
    int r = 0;
    if (c->fd >= 0 && fstat(c->fd, &st) == 0 && st.st_nlink == 0)
        fd_close(&c->fd); /* somebody removed it: what goes there would be for nobody */
    if (c->fd >= 0 && c->torn) {
        r = cut_to(c->fd, c->bytes);
        if (r < 0)
            return r;
        c->torn = false;
    }
    if (c->fd < 0 || c->bytes >= c->max_bytes) {
        if (c->fd >= 0)
            r = audit_chain_sync(c);
        if (r == 0)
            r = next_file(c);
    }
    while (r == 0 && c->too_many) {
        r = remove_oldest(c);
        c->too_many = c->too_many && c->n_files > c->keep;
    }
    return r;
}

int audit_chain_write(struct audit_chain *c, struct audit_entry *const *entries, size_t n)
{
    int r = prepare(c);
    return r < 0 ? r : append(c, entries, n);
}

/* --- opening --- */

static int open_folder(struct audit_chain *c, const char *path, struct tw_error *error)
{
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return error_set_errno(error, errno, "cannot make the folder %s of the audit log", path);
    c->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (c->dir_fd < 0 || fchmod(c->dir_fd, 0700) < 0)
        return error_set_errno(error, errno, "cannot use the folder %s of the audit log", path);
    c->lock_fd = openat(c->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (c->lock_fd < 0)
        return error_set_errno(error, errno, "cannot open %s/lock", path);
    int r = fd_lock(c->lock_fd, LOCK_PATIENCE_MS);
    if (r == -EAGAIN)
        return error_set(error, TW_FAILED_PRECONDITION, "another process writes the audit log in %s", path);
    return r < 0 ? error_set_errno(error, r, "cannot lock %s/lock", path) : 0;
}

/* The last record of a file that is one, and how many lines behind it are none. 1: found; 0: there is none. */
static int find_last(struct audit_chain *c, uint64_t file, struct audit_found *found, uint64_t *ret_rest)
{
    struct audit_reader reader;
    struct audit_entry e;
    const char *line;
    size_t len;
    int r = audit_reader_open(&reader, c->dir_fd, file, true);
    if (r < 0)
        return r;
    while ((r = audit_reader_next(&reader, &line, &len)) > 0 && audit_line_parse(line, len, &e) != AUDIT_LINE_OK)
        found->damaged++;
    if (r > 0) {
        c->last.seq = e.seq;
        memcpy(c->last.hash, e.hash, AUDIT_HASH_BYTES);
    }
    *ret_rest = reader.rest;
    audit_reader_done(&reader);
    return r;
}

static int open_for_writing(struct audit_chain *c, const char *name, uint64_t rest, struct audit_found *found)
{
    struct stat st;
    c->fd = openat(c->dir_fd, name, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
    if (c->fd < 0 || fstat(c->fd, &st) < 0)
        return -errno;
    c->bytes = (uint64_t)st.st_size - MIN(rest, (uint64_t)st.st_size);
    found->cut_bytes += rest;
    return rest > 0 ? cut_to(c->fd, c->bytes) : 0;
}

/* The newest record, of the last file that has one. A file without any, which a crash may have left, goes. */
static int find_end(struct audit_chain *c, const char *path, struct audit_found *found, struct tw_error *error)
{
    int r = audit_files_list(c->dir_fd, &c->files, &c->n_files);
    if (r < 0)
        return error_set_errno(error, r, "cannot list %s", path);
    for (size_t i = c->n_files; i-- > 0;) {
        char name[AUDIT_NAME_MAX];
        uint64_t rest = 0, damaged = found->damaged;
        audit_file_name(c->files[i], name);
        r = find_last(c, c->files[i], found, &rest);
        bool empty = r == 0 && found->damaged == damaged && i + 1 == c->n_files;
        if (r < 0 || (empty && unlinkat(c->dir_fd, name, 0) < 0))
            return error_set_errno(error, r < 0 ? r : errno, "cannot read %s/%s", path, name);
        found->cut_bytes += empty ? rest : 0;
        c->n_files -= empty;
        int opened = !empty && i + 1 == c->n_files ? open_for_writing(c, name, rest, found) : 0;
        if (opened < 0)
            return error_set_errno(error, opened, "cannot write %s/%s", path, name);
        if (r > 0)
            break;
    }
    c->last.seq += found->damaged;
    return 0;
}

/*
 * Where the head remembers more than the files have, the log goes on from there: the gap stays in the chain, for audit_verify to find,
 * instead of being written over.
 */
static int meet_head(struct audit_chain *c, const char *path, struct audit_found *found, struct tw_error *error)
{
    struct audit_head head;
    int r = audit_head_read(c->dir_fd, &head);
    if (r == 0) {
        c->head_seq = head.seq;
        found->head_ahead = head.seq > c->last.seq ||
            (head.seq == c->last.seq && memcmp(head.hash, c->last.hash, AUDIT_HASH_BYTES) != 0);
        if (found->head_ahead)
            c->last = head;
        return 0;
    }
    if (r != -ENOENT && r != -EBADMSG)
        return error_set_errno(error, r, "cannot read %s/head", path);
    found->fresh = r == -ENOENT && c->n_files == 0;
    found->head_missing = !found->fresh;
    c->head_seq = UINT64_MAX;
    r = audit_chain_remember(c);
    return r < 0 ? error_set_errno(error, r, "cannot write %s/head", path) : 0;
}

int audit_chain_open(struct audit_chain *c, const char *path, uint64_t max_bytes, size_t keep, struct audit_found *ret,
    struct tw_error *error)
{
    *c = (struct audit_chain){.dir_fd = -1, .lock_fd = -1, .fd = -1, .max_bytes = max_bytes, .keep = keep};
    *ret = (struct audit_found){0};
    buf_init(&c->batch, (size_t)AUDIT_LINE_MAX * (AUDIT_BATCH_MAX + OWN_RECORDS));
    if (open_folder(c, path, error) < 0 || find_end(c, path, ret, error) < 0 || meet_head(c, path, ret, error) < 0) {
        audit_chain_close(c);
        return -1;
    }
    c->too_many = c->fd >= 0 && c->n_files > c->keep;
    return 0;
}

void audit_chain_close(struct audit_chain *c)
{
    fd_close(&c->fd);
    fd_close(&c->lock_fd);
    fd_close(&c->dir_fd);
    free(c->files);
    c->files = NULL;
    buf_done(&c->batch);
}
