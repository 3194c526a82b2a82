/* SPDX-License-Identifier: Apache-2.0 */
/* The files of an audit log: their names, their lines in either direction, and the remembered head. */
#ifndef ACCESS_AUDIT_FOLDER_H
#define ACCESS_AUDIT_FOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "access/audit_line.h"

void audit_file_name(uint64_t first_seq, char out[AUDIT_NAME_MAX]);

/* The number in each name, in order; free *ret. 0 or -errno. */
int audit_files_list(int dir_fd, uint64_t **ret, size_t *ret_n);

/* -ENOENT: there is none; -EBADMSG: it is not one. */
int audit_head_read(int dir_fd, struct audit_head *ret);
/* For the one that holds the lock. */
int audit_head_write(int dir_fd, const struct audit_head *head);

enum { AUDIT_READER_BYTES = 65536 };

struct audit_reader {
    int fd;
    bool backward;
    bool tail_seen; /* backward: what is behind the last newline has been passed over */
    uint64_t at;    /* forward: read up to here; backward: what is in front of here is still to be read */
    char *data;
    size_t begin, end; /* in data: what was read and not given */
    uint64_t rest;     /* bytes behind the last newline; known at the end, backward with the first line */
};

/* -errno; a link is refused (-ELOOP), and what is no file (-EINVAL). */
int audit_reader_open(struct audit_reader *r, int dir_fd, uint64_t first_seq, bool backward);
void audit_reader_done(struct audit_reader *r);
/*
 * 1: the next line, without its newline, valid until the next call; 0: no more; -errno. What is longer than any line may be comes in
 * pieces, which are none.
 */
int audit_reader_next(struct audit_reader *r, const char **ret, size_t *ret_len);

#endif
