/* SPDX-License-Identifier: Apache-2.0 */
/* The audit log on disk, as the one that writes it sees it. For one thread, which waits for the disk. */
#ifndef ACCESS_AUDIT_CHAIN_H
#define ACCESS_AUDIT_CHAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "access/audit_folder.h"

enum { AUDIT_BATCH_MAX = 64 }; /* records written at once */

struct audit_chain {
    int dir_fd, lock_fd, fd; /* fd: the file that is written, -1: none yet */
    uint64_t max_bytes;
    size_t keep;
    uint64_t *files; /* the number in the name of each, in order; the last one is written */
    size_t n_files;
    struct audit_head last; /* the newest record */
    uint64_t head_seq;      /* of the head on disk */
    uint64_t bytes;         /* of the file, without what a failed write may have left */
    bool torn;              /* something is left */
    bool dirty;             /* not synced */
    bool too_many;          /* files, to be looked at */
    struct buf batch;
};

/* What opening found, for the log's first record of this life. */
struct audit_found {
    bool fresh;         /* nothing at all: a new log */
    uint64_t cut_bytes; /* of an unfinished last line */
    uint64_t damaged;   /* lines at the end that are no records */
    bool head_missing;
    bool head_ahead; /* the head remembers what the files have not */
};

int audit_chain_open(struct audit_chain *c, const char *path, uint64_t max_bytes, size_t keep, struct audit_found *ret,
    struct tw_error *error);
void audit_chain_close(struct audit_chain *c);

/* All of them behind the last one, or none. Sets seq, prev and hash of each; n <= AUDIT_BATCH_MAX. */
int audit_chain_write(struct audit_chain *c, struct audit_entry *const *entries, size_t n);
/* What was written is on disk. After an error nobody knows; the next record begins a new file. */
int audit_chain_sync(struct audit_chain *c);
/* Remembers the last record that is on disk, if it is not yet. */
int audit_chain_remember(struct audit_chain *c);

/* A record of the log's own. */
void audit_own_entry(struct audit_entry *e, const char *action, const char *object, enum audit_outcome outcome,
    const char *fmt, ...) PRINTF_LIKE(5, 6);

/* The detail of the "audit.removed" of a file whose last record was this. */
void audit_removed_detail(char out[AUDIT_DETAIL_MAX + 1], const struct audit_head *last);

#endif
