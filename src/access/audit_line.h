/* SPDX-License-Identifier: Apache-2.0 */
/* A record as a line of the audit log, and back. audit.h has the format. */
#ifndef ACCESS_AUDIT_LINE_H
#define ACCESS_AUDIT_LINE_H

#include "access/audit.h"
#include "base/buf.h"

enum { AUDIT_LINE_MAX = 8192 }; /* with its newline; each byte of the texts may take six */

/* Copies at most max bytes of hostile text: invalid UTF-8 becomes U+FFFD, control characters spaces. `out` holds max + 1. */
void audit_text(char *out, size_t max, const char *s);

/* Appends the line of an entry, newline included, and fills in its hash. 0, or the error of the buffer. */
int audit_line_append(struct buf *out, struct audit_entry *entry);

enum audit_line_error {
    AUDIT_LINE_OK,
    AUDIT_LINE_SYNTAX, /* no record: *ret is not to be used */
    AUDIT_LINE_HASH,   /* a record, but not with this hash */
};
/* A line without its newline. What is taken is exactly what audit_line_append() writes. */
enum audit_line_error audit_line_parse(const char *line, size_t len, struct audit_entry *ret);

/* {"seq":7,"hash":"..."} and a newline, at most AUDIT_HEAD_MAX bytes. */
struct audit_head {
    uint64_t seq;
    uint8_t hash[AUDIT_HASH_BYTES];
};
enum { AUDIT_HEAD_MAX = 128 };
int audit_head_append(struct buf *out, const struct audit_head *head);
bool audit_head_parse(const char *data, size_t len, struct audit_head *ret);

#endif
