/* SPDX-License-Identifier: Apache-2.0 */
/* Looks through the files line by line, in either direction; hashes are audit_verify()'s business. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "access/audit_folder.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/util.h"

struct query {
    const struct audit_filter *filter;
    audit_entry_fn fn;
    void *ctx;
    uint64_t given, damaged;
};

static bool in_range(const struct audit_filter *f, const struct audit_entry *e)
{
    return e->seq > f->after_seq && (!f->before_seq || e->seq < f->before_seq);
}

static bool matches(const struct audit_filter *f, const struct audit_entry *e)
{
    if (e->wall_us < f->since_us || (f->until_us && e->wall_us > f->until_us))
        return false;
    if ((f->user && strcmp(f->user, e->user) != 0) || (f->object && strcmp(f->object, e->object) != 0))
        return false;
    if (f->by_outcome && f->outcome != e->outcome)
        return false;
    return !f->action_prefix || !strncmp(e->action, f->action_prefix, strlen(f->action_prefix));
}

/* 1: go on; 0: enough */
static int look_at_line(struct query *q, const char *line, size_t len)
{
    struct audit_entry e;
    if (audit_line_parse(line, len, &e) != AUDIT_LINE_OK) {
        q->damaged++;
        return 1;
    }
    if (!in_range(q->filter, &e))
        return 1;
    if (q->filter->look && !q->filter->look(q->ctx, e.seq))
        return 0;
    if (!matches(q->filter, &e))
        return 1;
    q->given++;
    return q->fn(q->ctx, &e) && q->given != q->filter->limit;
}

static int look_at_file(struct query *q, int dir_fd, uint64_t file)
{
    struct audit_reader reader;
    const char *line;
    size_t len;
    int r = audit_reader_open(&reader, dir_fd, file, !q->filter->oldest_first);
    if (r < 0)
        return r == -ENOENT ? 1 : r; /* removed meanwhile */
    int more = 1;
    while (more > 0 && (r = audit_reader_next(&reader, &line, &len)) > 0)
        more = look_at_line(q, line, len);
    audit_reader_done(&reader);
    return r < 0 ? r : more;
}

/* By what its name and the next one's say. */
static bool may_match(const struct audit_filter *f, const uint64_t *files, size_t n, size_t i)
{
    if (f->before_seq && files[i] >= f->before_seq)
        return false;
    return i + 1 == n || files[i + 1] > f->after_seq + 1 || f->after_seq == UINT64_MAX;
}

int audit_query(const char *path, const struct audit_filter *filter, audit_entry_fn fn, void *ctx,
    uint64_t *ret_damaged, struct tw_error *error)
{
    struct query q = {.filter = filter, .fn = fn, .ctx = ctx};
    CLEANUP_FREE uint64_t *files = NULL;
    size_t n;
    CLEANUP_FD int dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0)
        return error_set_errno(error, errno, "cannot open the audit log in %s", path);
    int r = audit_files_list(dir_fd, &files, &n);
    if (r < 0)
        return error_set_errno(error, r, "cannot list %s", path);
    r = 1;
    for (size_t k = 0; r > 0 && k < n; k++) {
        size_t i = filter->oldest_first ? k : n - 1 - k;
        if (may_match(filter, files, n, i))
            r = look_at_file(&q, dir_fd, files[i]);
    }
    if (ret_damaged)
        *ret_damaged = q.damaged;
    return r < 0 ? error_set_errno(error, r, "cannot read the audit log in %s", path) : 0;
}
