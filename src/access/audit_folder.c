/* SPDX-License-Identifier: Apache-2.0 */
#include "access/audit_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/parse.h"

#define NAME_PREFIX "audit-"
#define NAME_SUFFIX ".jsonl"
enum { NAME_DIGITS = 20, FILES_MAX = 100000 };

void audit_file_name(uint64_t first_seq, char out[AUDIT_NAME_MAX])
{
    (void)snprintf(out, AUDIT_NAME_MAX, NAME_PREFIX "%020llu" NAME_SUFFIX, (unsigned long long)first_seq);
}

static bool parse_name(const char *name, uint64_t *ret)
{
    char number[NAME_DIGITS + 1], again[AUDIT_NAME_MAX];
    if (strlen(name) != strlen(NAME_PREFIX) + NAME_DIGITS + strlen(NAME_SUFFIX))
        return false;
    memcpy(number, name + strlen(NAME_PREFIX), NAME_DIGITS);
    number[NAME_DIGITS] = '\0';
    if (parse_u64(number, 0, UINT64_MAX, ret) < 0)
        return false;
    audit_file_name(*ret, again);
    return !strcmp(name, again);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void close_folder(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

int audit_files_list(int dir_fd, uint64_t **ret, size_t *ret_n)
{
    CLEANUP_FD int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* with an offset of its own */
    CLEANUP(close_folder) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir)
        return -errno;
    (void)fd_steal(&fd);
    CLEANUP_FREE uint64_t *files = NULL;
    size_t n = 0, cap = 0;
    uint64_t first_seq;
    for (struct dirent *e; (errno = 0, e = readdir(dir));) {
        if (!parse_name(e->d_name, &first_seq))
            continue;
        if (n == FILES_MAX)
            return -E2BIG;
        if (n == cap) {
            cap = cap ? cap * 2 : 16;
            uint64_t *more = realloc(files, cap * sizeof *files);
            if (!more)
                return -ENOMEM;
            files = more;
        }
        files[n++] = first_seq;
    }
    if (errno)
        return -errno;
    if (n > 0)
        qsort(files, n, sizeof *files, compare);
    *ret = STEAL(files);
    *ret_n = n;
    return 0;
}

/* --- the head --- */

int audit_head_read(int dir_fd, struct audit_head *ret)
{
    char data[AUDIT_HEAD_MAX];
    CLEANUP_FD int fd = openat(dir_fd, "head", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    ssize_t n = fd_read_all(fd, data, sizeof data);
    if (n < 0)
        return (int)n;
    return audit_head_parse(data, (size_t)n, ret) ? 0 : -EBADMSG;
}

/* The folder is not synced: after a loss of power there is this one or the one before, and an older head is still a head. */
int audit_head_write(int dir_fd, const struct audit_head *head)
{
    CLEANUP_BUF struct buf text = BUF_INIT(AUDIT_HEAD_MAX);
    int r = audit_head_append(&text, head);
    if (r < 0)
        return r;
    if (unlinkat(dir_fd, "head.new", 0) < 0 && errno != ENOENT)
        return -errno;
    CLEANUP_FD int fd = openat(dir_fd, "head.new", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    r = fd_write_all(fd, text.data, text.len);
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    if (r == 0 && renameat(dir_fd, "head.new", dir_fd, "head") < 0)
        r = -errno;
    if (r < 0)
        (void)unlinkat(dir_fd, "head.new", 0);
    return r;
}

/* --- lines --- */

int audit_reader_open(struct audit_reader *r, int dir_fd, uint64_t first_seq, bool backward)
{
    char name[AUDIT_NAME_MAX];
    struct stat st;
    audit_file_name(first_seq, name);
    *r = (struct audit_reader){.fd = -1, .backward = backward};
    CLEANUP_FD int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    r->data = malloc(AUDIT_READER_BYTES);
    if (!r->data)
        return -ENOMEM;
    r->at = backward ? (uint64_t)st.st_size : 0;
    r->fd = fd_steal(&fd);
    return 0;
}

void audit_reader_done(struct audit_reader *r)
{
    fd_close(&r->fd);
    free(r->data);
    r->data = NULL;
}

static ssize_t read_at(int fd, char *data, size_t len, uint64_t at)
{
    ssize_t n;
    do
        n = pread(fd, data, len, (off_t)at);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static int give(const char *line, size_t len, const char **ret, size_t *ret_len)
{
    *ret = line;
    *ret_len = len;
    return 1;
}

static int next_forward(struct audit_reader *r, const char **ret, size_t *ret_len)
{
    for (;;) {
        char *line = r->data + r->begin, *newline = memchr(line, '\n', r->end - r->begin);
        if (newline) {
            r->begin = (size_t)(newline + 1 - r->data);
            return give(line, (size_t)(newline - line), ret, ret_len);
        }
        r->end -= r->begin;
        memmove(r->data, line, r->end);
        r->begin = 0;
        if (r->end == AUDIT_READER_BYTES) {
            r->begin = r->end;
            return give(r->data, r->end, ret, ret_len);
        }
        ssize_t n = read_at(r->fd, r->data + r->end, AUDIT_READER_BYTES - r->end, r->at);
        if (n < 0)
            return (int)n;
        if (n == 0) {
            r->rest = r->end;
            return 0;
        }
        r->at += (uint64_t)n;
        r->end += (size_t)n;
    }
}

/* Puts what is in front of the buffer's bytes in front of them. */
static int load_before(struct audit_reader *r)
{
    size_t more = MIN((size_t)AUDIT_READER_BYTES - r->end, r->at);
    memmove(r->data + more, r->data, r->end);
    for (size_t done = 0; done < more;) {
        ssize_t n = read_at(r->fd, r->data + done, more - done, r->at - more + done);
        if (n <= 0)
            return n < 0 ? (int)n : -EIO; /* it has become shorter */
        done += (size_t)n;
    }
    r->at -= more;
    r->end += more;
    return 0;
}

static void pass_over_tail(struct audit_reader *r)
{
    char *newline = memrchr(r->data, '\n', r->end);
    size_t keep = newline ? (size_t)(newline + 1 - r->data) : 0;
    r->rest += r->end - keep;
    r->end = keep;
    r->tail_seen = newline != NULL;
}

static int next_backward(struct audit_reader *r, const char **ret, size_t *ret_len)
{
    for (;;) {
        if (r->end > 0 && !r->tail_seen)
            pass_over_tail(r);
        if (r->end > 0) {
            char *before = memrchr(r->data, '\n', r->end - 1);
            size_t from = before ? (size_t)(before + 1 - r->data) : 0, to = r->end - 1;
            if (before || r->at == 0 || r->end == AUDIT_READER_BYTES) {
                r->end = from;
                return give(r->data + from, to - from, ret, ret_len);
            }
        }
        if (r->at == 0)
            return 0;
        int e = load_before(r);
        if (e < 0)
            return e;
    }
}

int audit_reader_next(struct audit_reader *r, const char **ret, size_t *ret_len)
{
    return r->backward ? next_backward(r, ret, ret_len) : next_forward(r, ret, ret_len);
}
