/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. A storage is a folder that one process holds by a lock (root.c), with contents in it under their hash
 * (blob.c) and a database (schema.c, catalog.c) that says which file of which owner has which content. One mutex, db_lock, is
 * around the database; what takes long (reading, writing, hashing, removing contents) is done outside of it, on descriptors
 * and under pins. A second one, never held while anything waits for the disk, guards the few things in memory.
 *
 * Two rules make a crash harmless at any moment. A content is durable before a row that refers to it is committed, and is
 * taken away only after the last such row is gone; so each row's content is there, and what no row refers to is rubbish that
 * the sweep removes. And a name is moved to its next version by one transaction: who looks sees one or the other, whole.
 */
#include <string.h>

#include "base/error.h"
#include "files/internal.h"

#define DEFAULT_MAX_BYTES (UINT64_C(10) << 30)
#define DEFAULT_MAX_FILES 1000000

static struct limits limits_of(const struct tw_storage_options *o)
{
    return (struct limits){
        .max_bytes = o->max_bytes ? o->max_bytes : DEFAULT_MAX_BYTES,
        .max_owner_bytes = o->max_owner_bytes,
        .max_owner_files = o->max_owner_files ? o->max_owner_files : DEFAULT_MAX_FILES,
        .retention_us = o->retention_us,
    };
}

/* Timed waits of its condition are on the clock that nobody sets. */
static int init_locks(struct tw_storage *s)
{
    pthread_condattr_t attr;
    int r = pthread_condattr_init(&attr);
    if (r != 0)
        return r;
    r = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    if (r == 0)
        r = pthread_cond_init(&s->woken, &attr);
    pthread_condattr_destroy(&attr);
    if (r != 0)
        return r;
    (void)pthread_mutex_init(&s->db_lock, NULL); /* never fails */
    (void)pthread_mutex_init(&s->lock, NULL);
    return 0;
}

/* Not for one whose locks could not be made. */
static void storage_free(struct tw_storage *s)
{
    gc_stop(s);
    db_close(&s->db);
    root_close(&s->root);
    map_done(&s->pins);
    pthread_cond_destroy(&s->woken);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->db_lock);
    free(s);
}

static int open_all(struct tw_storage *s, const struct tw_storage_options *o, struct tw_error *error)
{
    struct tw_storage_gc_report report = {0};
    if (root_open(&s->root, o->path, error) < 0 || catalog_open(&s->db, &s->root, error) < 0)
        return -1;
    /* Uploads of a life before: their room is not to be missed. Contents may be many: that is the cleaner's to look at. */
    if (sweep_tmp(s, &report, error) < 0)
        return -1;
    return o->no_background ? 0 : gc_start(s, error);
}

int tw_storage_open(const struct tw_storage_options *options, struct tw_storage **ret, struct tw_error *error)
{
    struct tw_storage_options o = {0};
    memcpy(&o, options, MIN(options->size, sizeof o));
    struct tw_storage *s = calloc(1, sizeof *s);
    if (!s)
        return error_oom(error);
    s->root = (struct root){.dir_fd = -1, .blobs_fd = -1, .tmp_fd = -1, .lock_fd = -1};
    s->limits = limits_of(&o);
    list_init(&s->uploads);
    map_init(&s->pins);
    int r = init_locks(s);
    if (r != 0) {
        free(s);
        return error_set_errno(error, r, "cannot make locks");
    }
    if (open_all(s, &o, error) < 0) {
        storage_free(s);
        return -1;
    }
    *ret = s;
    return 0;
}

void tw_storage_close(struct tw_storage *s)
{
    if (s)
        storage_free(s);
}

void tw_storage_reload(struct tw_storage *s, const struct tw_storage_options *options)
{
    struct tw_storage_options o = {0};
    memcpy(&o, options, MIN(options->size, sizeof o));
    pthread_mutex_lock(&s->lock);
    s->limits = limits_of(&o);
    pthread_mutex_unlock(&s->lock);
}
