/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The history's database: a row for each place of the rings, written over when its turn comes again, with the values of the series
 * that are known then, and a table of those series. So it stays as large as it is once the rings are full.
 *
 * The functions that touch the disk block, and are for one thread at a time; what goes in and out is data of its own, which the
 * loop makes of the history and puts into it.
 */
#ifndef NODE_MONITOR_FILE_H
#define NODE_MONITOR_FILE_H

#include "base/buf.h"
#include "base/sqlite.h"
#include "node/monitor/history.h"

enum { FILE_NAME_MAX = 96, FILE_BATCH_ROWS = 512 };

struct file_series {
    uint32_t id;
    char name[FILE_NAME_MAX], label[MONITOR_LABEL_MAX];
};

/* Rows to write. */
struct file_batch {
    struct {
        uint32_t place;
        uint64_t at;
        size_t len; /* of its bytes */
    } rows[FILE_BATCH_ROWS];
    size_t n_rows;
    struct buf bytes;
    bool with_series; /* the table of series is written anew */
    struct file_series series[MONITOR_SERIES_MAX];
    size_t n_series;
    uint32_t next_id;
};

/* All that is in a database. */
struct file_past {
    struct file_series series[MONITOR_SERIES_MAX];
    size_t n_series;
    uint32_t next_id;
    uint64_t *at;                          /* HISTORY_POINTS */
    uint32_t *columns[MONITOR_SERIES_MAX]; /* as of struct series */
    bool is_new;                           /* there was none, or it was damaged and has been put aside as PATH.broken */
};

/* What is damaged is put aside once; another program's is refused. *ret is to be freed with file_past_free(). */
int file_open(struct db *db, const char *path, struct file_past **ret, struct tw_error *error);
int file_write(struct db *db, const struct file_batch *batch, struct tw_error *error);
void file_past_free(struct file_past *past); /* NULL is allowed */
void file_batch_free(struct file_batch *batch);

/* --- for the loop's thread --- */

/* What is not on disk, at most FILE_BATCH_ROWS of it, and takes it for written. NULL: no memory. *next_id: see file_merge(). */
struct file_batch *file_gather(struct history *h, uint32_t *next_id);
/* The batch was not written after all. */
void file_give_back(struct history *h, const struct file_batch *batch);
/* Puts the past where the history has nothing of its own yet. *next_id: of a series that has none. */
void file_merge(struct history *h, const struct file_past *past, uint64_t now_us, uint32_t *next_id);

#endif
