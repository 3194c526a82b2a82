/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The logs of running tasks, a file each: logs/<low byte of seq>/<seq>.log. Appends go straight
 * into the page cache from the loop thread, where they survive the death of the process; the end of
 * the task makes them durable (write.c).
 *
 * That output went missing must survive a crash too, and be noted when the disk has no room for a
 * note: the file's owner-execute bit says it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/parse.h"
#include "store/internal.h"

enum {
    MODE_WHOLE = 0600,
    MODE_TRUNCATED = 0700,
    SCAN_BUFFER = 2 * (STORE_LOG_HEADER + STORE_LOG_RECORD_MAX), /* a whole record always fits */
    NAME_LEN = 40,
};

struct store_log {
    struct list link;
    struct store *store;
    uint64_t seq;
    size_t max_bytes;
    int fd; /* -1: no file yet */
    struct log_state state;
    bool broken; /* what an earlier attempt left could not be read */
    bool sealed;
};

/* --- records --- */

static uint32_t get_u32le(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put_u32le(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

bool store_log_parse(const uint8_t **data, size_t *len, struct store_log_record *ret)
{
    const uint8_t *p = *data;
    if (*len < STORE_LOG_HEADER)
        return false;
    uint32_t size = get_u32le(p);
    bool stream_ok = p[4] == TW_STREAM_STDOUT || p[4] == TW_STREAM_STDERR;
    /* After a power cut there may be anything in a log: zeros, old blocks. */
    if (size == 0 || size > STORE_LOG_RECORD_MAX || !stream_ok || p[5] || p[6] || p[7])
        return false;
    if (*len - STORE_LOG_HEADER < size)
        return false;
    *ret = (struct store_log_record){
        .stream = (enum tw_stream)p[4],
        .wall_us = get_u32le(p + 8) | (uint64_t)get_u32le(p + 12) << 32,
        .data = p + STORE_LOG_HEADER,
        .len = size,
        .size = STORE_LOG_HEADER + size,
    };
    *data += ret->size;
    *len -= ret->size;
    return true;
}

int tasklog_scan(int fd, uint64_t limit, struct log_state *ret)
{
    struct log_state state = {0};
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    state.truncated = (st.st_mode & S_IXUSR) != 0;
    CLEANUP_FREE uint8_t *buffer = malloc(SCAN_BUFFER);
    if (!buffer)
        return -ENOMEM;
    for (bool more = true; more && state.end < limit;) {
        ssize_t n = pread(fd, buffer, SCAN_BUFFER, (off_t)state.end);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        const uint8_t *p = buffer;
        size_t left = (size_t)n;
        more = false;
        struct store_log_record record;
        while (state.end < limit && store_log_parse(&p, &left, &record)) {
            state.end += record.size;
            state.kept += record.len;
            more = true;
        }
    }
    *ret = state;
    return 0;
}

/* --- files --- */

static void shard_name(uint64_t seq, char out[NAME_LEN])
{
    snprintf(out, NAME_LEN, "%02x", (unsigned)(seq & 0xff));
}

static void file_name(uint64_t seq, char out[NAME_LEN])
{
    snprintf(out, NAME_LEN, "%02x/%llu.log", (unsigned)(seq & 0xff), (unsigned long long)seq);
}

int tasklog_open_file(const struct folder *f, uint64_t seq, int flags)
{
    char name[NAME_LEN], shard[NAME_LEN];
    file_name(seq, name);
    int fd = openat(f->logs_fd, name, flags | O_CLOEXEC | O_NOFOLLOW, MODE_WHOLE);
    if (fd >= 0 || errno != ENOENT || !(flags & O_CREAT))
        return fd < 0 ? -errno : fd;
    shard_name(seq, shard);
    if (mkdirat(f->logs_fd, shard, 0700) == 0)
        errno = fchmodat(f->logs_fd, shard, 0700, 0) < 0 ? errno : EEXIST; /* whatever the umask is */
    if (errno != EEXIST)
        return -errno;
    fd = openat(f->logs_fd, name, flags | O_CLOEXEC | O_NOFOLLOW, MODE_WHOLE);
    return fd < 0 ? -errno : fd;
}

void tasklog_unlink(const struct folder *f, uint64_t seq)
{
    char name[NAME_LEN];
    file_name(seq, name);
    if (unlinkat(f->logs_fd, name, 0) < 0 && errno != ENOENT)
        log_warning("cannot remove %s/logs/%s: %s", f->path, name, strerror(errno));
}

int tasklog_sync(const struct folder *f, uint64_t seq, int fd)
{
    char shard[NAME_LEN];
    shard_name(seq, shard);
    if (fsync(fd) < 0)
        return -errno;
    CLEANUP_FD int dir = openat(f->logs_fd, shard, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (dir < 0 || fsync(dir) < 0 || fsync(f->logs_fd) < 0)
        return -errno;
    return 0;
}

/* --- the writer --- */

/* Takes up what an earlier attempt left, in this life of the node or one before: whole records
 * stay, a torn tail goes. */
static int take_up(struct store_log *log)
{
    int fd = tasklog_open_file(&log->store->folder, log->seq, O_RDWR);
    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    int r = tasklog_scan(fd, UINT64_MAX, &log->state);
    if (r == 0 && ftruncate(fd, (off_t)log->state.end) < 0)
        r = -errno;
    if (r < 0)
        fd_close(&fd);
    else
        log->fd = fd;
    return r;
}

struct store_log *store_log_open(struct store *store, uint64_t seq, size_t max_bytes)
{
    struct store_log *log = calloc(1, sizeof *log);
    if (!log)
        return NULL;
    *log = (struct store_log){.store = store, .seq = seq, .max_bytes = max_bytes, .fd = -1};
    list_push(&store->logs, &log->link);
    int r = take_up(log);
    if (r < 0) {
        /* The task runs without; what is in the file stays readable. */
        log_warning("cannot go on with the log of task %llu in %s: %s", (unsigned long long)seq, store->folder.path,
            strerror(-r));
        log->broken = log->sealed = true;
        log->state.truncated = true;
    }
    return log;
}

void store_log_free(struct store_log *log)
{
    if (!log)
        return;
    list_remove(&log->link);
    fd_close(&log->fd);
    free(log);
}

static void mark_truncated(struct store_log *log)
{
    if (!log->state.truncated && log->fd >= 0)
        (void)fchmod(log->fd, MODE_TRUNCATED);
    log->state.truncated = true;
}

static int make_file(struct store_log *log)
{
    int fd = tasklog_open_file(&log->store->folder, log->seq, O_RDWR | O_CREAT);
    if (fd < 0)
        return fd;
    log->fd = fd;
    return fchmod(fd, log->state.truncated ? MODE_TRUNCATED : MODE_WHOLE) < 0 ? -errno : 0;
}

static int append_record(struct store_log *log, enum tw_stream stream, const uint8_t *data, size_t len)
{
    int r = log->fd < 0 ? make_file(log) : 0;
    if (r < 0)
        return r;
    uint64_t now = clock_wall_us();
    uint8_t header[STORE_LOG_HEADER] = {[4] = (uint8_t)stream};
    put_u32le(header, (uint32_t)len);
    put_u32le(header + 8, (uint32_t)now);
    put_u32le(header + 12, (uint32_t)(now >> 32));
    struct iovec iov[] = {{header, sizeof header}, {(void *)data, len}};
    ssize_t n;
    do
        n = pwritev(log->fd, iov, ARRAY_LEN(iov), (off_t)log->state.end);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)(sizeof header + len)) {
        log->state.end += (uint64_t)n;
        log->state.kept += len;
        return 0;
    }
    r = n < 0 ? -errno : -ENOSPC; /* a short write to a file is a disk that has just become full */
    if (ftruncate(log->fd, (off_t)log->state.end) < 0)
        log_debug("a log's torn tail stays until it is taken up: %s", strerror(errno));
    return r;
}

size_t store_log_append(struct store_log *log, enum tw_stream stream, const void *data, size_t len)
{
    struct store *store = log->store;
    const uint8_t *p = data;
    size_t kept = 0;
    while (kept < len && !log->sealed) {
        uint64_t room = log->state.kept < log->max_bytes ? log->max_bytes - log->state.kept : 0;
        size_t part = (size_t)MIN((uint64_t)(len - kept), room);
        part = MIN(part, (size_t)STORE_LOG_RECORD_MAX);
        int r = part == 0 ? 0 : append_record(log, stream, p + kept, part);
        if (r < 0 && !store->log_failed)
            log_warning("output of tasks is lost: cannot write to %s/logs: %s", store->folder.path, strerror(-r));
        if (part > 0)
            store->log_failed = r < 0; /* said once, until it has worked again */
        if (part == 0 || r < 0)
            break;
        kept += part;
    }
    if (kept < len)
        mark_truncated(log);
    return kept;
}

uint64_t store_log_end(const struct store_log *log)
{
    return log->state.end;
}

uint64_t store_log_size(const struct store_log *log, bool *ret_truncated)
{
    if (ret_truncated)
        *ret_truncated = log->state.truncated;
    return log->state.kept;
}

struct store_log *tasklog_find(struct store *store, uint64_t seq)
{
    list_for_each (it, &store->logs) {
        struct store_log *log = CONTAINER_OF(it, struct store_log, link);
        if (log->seq == seq)
            return log;
    }
    return NULL;
}

bool tasklog_seal(struct store_log *log, struct log_state *ret)
{
    log->sealed = true;
    *ret = log->state;
    return !log->broken;
}

/* --- sweeping at start --- */

typedef int (*sweep_fn)(struct store *store, int dir_fd, const char *name, struct tw_error *error);

static int for_each_name(struct store *store, int parent_fd, const char *folder, sweep_fn each, struct tw_error *error)
{
    CLEANUP_FD int fd = openat(parent_fd, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir)
        return error_set_errno(error, errno, "cannot read the folder %s of %s", folder, store->folder.path);
    int dir_fd = fd_steal(&fd), r = 0;
    for (struct dirent *e; r == 0 && (e = readdir(dir));) {
        if (e->d_name[0] != '.')
            r = each(store, dir_fd, e->d_name, error);
    }
    closedir(dir);
    return r;
}

static int sweep_log(struct store *store, int dir_fd, const char *name, struct tw_error *error)
{
    char number[NAME_LEN], *dot;
    uint64_t seq;
    if (strlen(name) >= sizeof number)
        return 0;
    memcpy(number, name, strlen(name) + 1);
    dot = strchr(number, '.');
    if (!dot || strcmp(dot, ".log") != 0)
        return 0; /* not ours, not touched */
    *dot = '\0';
    if (parse_u64(number, 1, INT64_MAX, &seq) < 0)
        return 0;
    CLEANUP_QUERY struct db_query q = db_query(&store->writer, STORE_SQL_LOG);
    db_bind_u64(&q, 1, seq);
    int r = db_step(&q, error);
    if (r < 0)
        return -1;
    bool in_use = r > 0 && (db_int(&q, 0) < TW_TASK_COMPLETED || (!db_is_null(&q, 1) && db_is_null(&q, 2)));
    if (!in_use && unlinkat(dir_fd, name, 0) < 0)
        log_warning("cannot remove the log %s in %s: %s", name, store->folder.path, strerror(errno));
    return 0;
}

static int sweep_shard(struct store *store, int dir_fd, const char *name, struct tw_error *error)
{
    if (strlen(name) != 2 || strspn(name, "0123456789abcdef") != 2)
        return 0;
    return for_each_name(store, dir_fd, name, sweep_log, error);
}

static int sweep_file(struct store *store, int dir_fd, const char *name, struct tw_error *error)
{
    (void)dir_fd;
    if (strlen(name) != PAYLOAD_NAME_MAX - 1 || strspn(name, "0123456789abcdef") != PAYLOAD_NAME_MAX - 1)
        return 0;
    CLEANUP_QUERY struct db_query q = db_query(&store->writer, STORE_SQL_FILE_USED);
    db_bind_text(&q, 1, name);
    int r = db_step(&q, error);
    if (r == 0)
        payload_unlink(&store->folder, name);
    return r < 0 ? -1 : 0;
}

int tasklog_sweep(struct store *store, struct tw_error *error)
{
    if (for_each_name(store, store->folder.logs_fd, ".", sweep_shard, error) < 0)
        return -1;
    return for_each_name(store, store->folder.files_fd, ".", sweep_file, error);
}
