/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the log from its first record to its last, and stops where one does not fit. The head is read before the files are listed:
 * a writer that goes on meanwhile only adds to what the head says. What is in front of the oldest file has to be accounted for by an
 * "audit.removed" further on.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "access/audit_chain.h"
#include "access/audit_folder.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/util.h"

enum { TRIES = 5 }; /* the oldest file may be removed while it is looked for */

struct verifier {
    struct audit_report *report;
    int dir_fd, head_result;
    struct audit_head head;
    struct audit_head last; /* the record that the next one has to follow */
    bool begun;
    char missing[AUDIT_DETAIL_MAX + 1]; /* what an "audit.removed" has to say; "": nothing is missing */
    uint64_t first_file;
    uint64_t line;
};

const char *audit_problem_to_string(enum audit_problem problem)
{
    static const char *const names[] = {
#define X(name, text) [AUDIT_PROBLEM_##name] = text,
        AUDIT_PROBLEMS(X)
#undef X
    };
    return problem < AUDIT_PROBLEM_MAX ? names[problem] : "unknown";
}

/* 0, so that looking ends; of several, the first one stays. */
static int PRINTF_LIKE(3, 4) found(struct verifier *v, enum audit_problem problem, const char *fmt, ...)
{
    if (v->report->problem)
        return 0;
    v->report->problem = problem;
    v->report->line = v->line;
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(v->report->message, sizeof v->report->message, fmt, ap);
    va_end(ap);
    return 0;
}

#define LLU(n) ((unsigned long long)(n))

/* The first record there is. */
static int begin(struct verifier *v, const struct audit_entry *e)
{
    static const struct audit_head zero;
    v->begun = true;
    v->report->first_seq = e->seq;
    if (e->seq == 0)
        return found(v, AUDIT_PROBLEM_CHANGED, "there is no record 0");
    if (e->seq > v->first_file)
        return found(v, AUDIT_PROBLEM_REMOVED, "records %llu to %llu are missing", LLU(v->first_file), LLU(e->seq - 1));
    v->last.seq = e->seq - 1;
    memcpy(v->last.hash, e->prev, AUDIT_HASH_BYTES);
    if (e->seq > 1)
        audit_removed_detail(v->missing, &v->last);
    else if (memcmp(e->prev, zero.hash, AUDIT_HASH_BYTES) != 0)
        return found(v, AUDIT_PROBLEM_CHANGED, "record 1 names one before it");
    return 1;
}

/* 1: it follows the last one. */
static int check_entry(struct verifier *v, struct audit_reader *reader, const struct audit_entry *e)
{
    const char *line;
    size_t len;
    struct audit_entry next;
    uint64_t expected = v->last.seq + 1;
    if (e->seq > expected) {
        if (audit_reader_next(reader, &line, &len) > 0 && audit_line_parse(line, len, &next) == AUDIT_LINE_OK &&
            next.seq == expected)
            return found(
                v, AUDIT_PROBLEM_SWAPPED, "record %llu stands in front of record %llu", LLU(e->seq), LLU(expected));
        return found(v, AUDIT_PROBLEM_REMOVED, "records %llu to %llu are missing", LLU(expected), LLU(e->seq - 1));
    }
    if (e->seq < expected)
        return found(v, AUDIT_PROBLEM_INSERTED,
            "record %llu comes again, behind record %llu: one of the two was put in", LLU(e->seq), LLU(v->last.seq));
    if (memcmp(e->prev, v->last.hash, AUDIT_HASH_BYTES) != 0)
        return found(v, AUDIT_PROBLEM_CHANGED, "record %llu came behind another record %llu than is here", LLU(e->seq),
            LLU(v->last.seq));
    if (v->head_result == 0 && v->head.seq == e->seq && memcmp(v->head.hash, e->hash, AUDIT_HASH_BYTES) != 0)
        return found(v, AUDIT_PROBLEM_CHANGED, "record %llu is not the one that the head remembers", LLU(e->seq));
    return 1;
}

static int check_line(struct verifier *v, struct audit_reader *reader, const char *line, size_t len)
{
    struct audit_entry e;
    v->line++;
    enum audit_line_error bad = audit_line_parse(line, len, &e);
    if (bad)
        return found(v, AUDIT_PROBLEM_CHANGED,
            bad == AUDIT_LINE_HASH ? "this line has another hash than it says" : "this line is no record");
    if (!v->begun && begin(v, &e) == 0)
        return 0;
    if (check_entry(v, reader, &e) == 0)
        return 0;
    v->last.seq = e.seq;
    memcpy(v->last.hash, e.hash, AUDIT_HASH_BYTES);
    v->report->records++;
    if (v->missing[0] && !strcmp(e.action, "audit.removed") && !strcmp(e.detail, v->missing))
        v->missing[0] = '\0';
    return 1;
}

/* 1: all of it fits; 0: a problem; -errno. */
static int check_file(struct verifier *v, uint64_t file, bool newest)
{
    struct audit_reader reader;
    const char *line;
    size_t len;
    int r = audit_reader_open(&reader, v->dir_fd, file, false);
    if (r < 0)
        return r;
    audit_file_name(file, v->report->file);
    v->line = 0;
    v->report->files++;
    int good = 1;
    while (good > 0 && (r = audit_reader_next(&reader, &line, &len)) > 0)
        good = check_line(v, &reader, line, len);
    uint64_t rest = reader.rest;
    audit_reader_done(&reader);
    if (r < 0)
        return r;
    if (good > 0 && newest)
        v->report->unfinished_bytes = rest;
    else if (good > 0 && rest > 0)
        good = found(v, AUDIT_PROBLEM_CHANGED, "the file ends in the middle of a line, and is not the newest");
    return good;
}

static int check_files(struct verifier *v, const uint64_t *files, size_t n)
{
    int r = 1;
    v->first_file = n > 0 ? files[0] : 0;
    for (size_t i = 0; r > 0 && i < n; i++)
        r = check_file(v, files[i], i + 1 == n);
    return r;
}

/* What no single line shows. The cut first: what accounts for the beginning may have been in the tail. */
static void check_ends(struct verifier *v, size_t n_files)
{
    if (v->head_result == 0 && v->head.seq > v->last.seq)
        found(v, AUDIT_PROBLEM_CUT, "records %llu to %llu are missing at the end", LLU(v->last.seq + 1),
            LLU(v->head.seq));
    if (v->missing[0] && !v->report->problem) {
        v->line = 1;
        audit_file_name(v->first_file, v->report->file);
        found(v, AUDIT_PROBLEM_REMOVED, "records 1 to %llu are missing, and not by rotation",
            LLU(v->report->first_seq - 1));
    }
    if (!v->report->problem && (v->head_result == -EBADMSG || (v->head_result == -ENOENT && n_files > 0))) {
        (void)snprintf(v->report->file, sizeof v->report->file, "head");
        found(v, AUDIT_PROBLEM_HEAD,
            v->head_result == -ENOENT ? "there is no head: whether the tail was cut cannot be said"
                                      : "the head is damaged: whether the tail was cut cannot be said");
    }
}

/* 1: done; 0: again, a file went meanwhile; -1 */
static int verify_once(const char *path, int dir_fd, struct audit_report *report, struct tw_error *error)
{
    *report = (struct audit_report){0};
    struct verifier v = {.report = report, .dir_fd = dir_fd};
    CLEANUP_FREE uint64_t *files = NULL;
    size_t n;
    v.head_result = audit_head_read(dir_fd, &v.head);
    if (v.head_result < 0 && v.head_result != -ENOENT && v.head_result != -EBADMSG)
        return error_set_errno(error, v.head_result, "cannot read %s/head", path);
    report->head_seq = v.head_result == 0 ? v.head.seq : 0;
    int r = audit_files_list(dir_fd, &files, &n);
    if (r < 0)
        return error_set_errno(error, r, "cannot list %s", path);
    r = check_files(&v, files, n);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return error_set_errno(error, r, "cannot read %s/%s", path, report->file);
    if (r > 0)
        check_ends(&v, n);
    report->last_seq = v.last.seq;
    memcpy(report->last_hash, v.last.hash, AUDIT_HASH_BYTES);
    if (!report->problem)
        report->file[0] = '\0';
    return 1;
}

int audit_verify(const char *path, struct audit_report *ret, struct tw_error *error)
{
    CLEANUP_FD int dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0)
        return error_set_errno(error, errno, "cannot open the audit log in %s", path);
    for (int i = 0; i < TRIES; i++) {
        int r = verify_once(path, dir_fd, ret, error);
        if (r != 0)
            return r < 0 ? -1 : 0;
    }
    return error_set(error, TW_UNAVAILABLE, "the files in %s change too fast to be read: try again", path);
}
