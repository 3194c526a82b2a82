/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. The store is a folder that one process holds by a lock (folder.c) with a
 * database in it (schema.c, row.c), files for large inputs and results, and a log file for each
 * task that runs (tasklog.c). The loop thread keeps two queues. Writes go into the database by one
 * job at a time on the writer's connection, all that has gathered in one transaction (write.c);
 * reads go by a few jobs at a time on connections of their own (read.c). WAL lets both go on at
 * once. The rule that makes a crash harmless at any moment: a file is durable before the row that
 * refers to it is committed, and is removed only after the row that replaces it is; so every row's
 * file is there, and what no row refers to is rubbish that the next start sweeps away.
 */
#include <stdlib.h>
#include <string.h>

#include "store/internal.h"

static void store_free(struct store *store)
{
    for (size_t i = 0; i < STORE_READERS; i++)
        db_close(&store->readers[i].db);
    /* The writer last: the last connection to close takes the write-ahead log into the database and
     * removes it. */
    if (store->writer.handle)
        db_close(&store->writer);
    folder_close(&store->folder);
    free(store);
}

static int open_all(struct store *store, const char *path, struct tw_error *error)
{
    if (folder_open(&store->folder, path, error) < 0)
        return -1;
    if (schema_open_writer(&store->writer, &store->folder, error) < 0)
        return -1;
    for (size_t i = 0; i < STORE_READERS; i++) {
        if (schema_open_reader(&store->readers[i].db, &store->folder, error) < 0)
            return -1;
    }
    if (db_do_u64(&store->writer, STORE_SQL_LAST_EVENT, &store->last_event, error) < 0)
        return -1;
    store->told_event = store->last_event;
    return tasklog_sweep(store, error);
}

int store_open(uv_loop_t *loop, const struct store_options *options, struct store **ret, struct tw_error *error)
{
    struct store *store = calloc(1, sizeof *store);
    if (!store)
        return error_oom(error);
    store->loop = loop;
    store->wants_room = true;
    store->folder = (struct folder){.dir_fd = -1, .files_fd = -1, .logs_fd = -1, .lock_fd = -1};
    list_init(&store->logs);
    list_init(&store->writes);
    list_init(&store->batch);
    list_init(&store->reads);
    for (size_t i = 0; i < STORE_READERS; i++) {
        store->readers[i].store = store;
        list_init(&store->readers[i].batch);
    }
    if (open_all(store, options->path, error) < 0) {
        store_free(store);
        return -1;
    }
    *ret = store;
    return 0;
}

int store_get_number(struct store *store, const char *name, uint64_t *ret, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(&store->writer, STORE_SQL_NUMBER);
    db_bind_text(&q, 1, name);
    int r = db_step(&q, error);
    if (r == 0)
        return error_set(error, TW_NOT_FOUND, "%s holds no '%s'", store->folder.db_path, name);
    *ret = r > 0 ? db_u64(&q, 0) : 0;
    return r < 0 ? -1 : 0;
}

/* --- closing --- */

static void close_job(uv_work_t *req)
{
    struct store *store = CONTAINER_OF(req, struct store, close_req);
    for (size_t i = 0; i < STORE_READERS; i++)
        db_close(&store->readers[i].db);
    db_close(&store->writer);
}

static void close_job_done(uv_work_t *req, int status)
{
    (void)status;
    struct store *store = CONTAINER_OF(req, struct store, close_req);
    void (*closed)(void *ctx) = store->closed;
    void *ctx = store->closed_ctx;
    store_free(store);
    closed(ctx);
}

void store_settle(struct store *store)
{
    if (!store->closing || store->close_queued || store->writing || !list_empty(&store->writes) ||
        !list_empty(&store->reads))
        return;
    for (size_t i = 0; i < STORE_READERS; i++) {
        if (store->readers[i].busy)
            return;
    }
    store->close_queued = true;
    (void)uv_queue_work(store->loop, &store->close_req, close_job, close_job_done); /* fails only without a job */
}

void store_close(struct store *store, void (*done)(void *ctx), void *ctx)
{
    store->closed = done;
    store->closed_ctx = ctx;
    store->closing = true;
    store_settle(store);
}

/* --- recovery --- */

static int recover(struct db *db, void (*each)(void *ctx, struct store_task *task), void *ctx, struct tw_error *error)
{
    CLEANUP_QUERY struct db_query q = db_query(db, STORE_SQL_RECOVER);
    int step;
    while ((step = db_step(&q, error)) > 0) {
        struct store_task task;
        if (row_load(&q, true, &task, error) < 0)
            return -1;
        each(ctx, &task);
    }
    return step;
}

int store_recover(
    struct store *store, void (*each)(void *ctx, struct store_task *task), void *ctx, struct tw_error *error)
{
    /* Reads that `each` asks for may start at once in the pool: not on the connection that is in use here. */
    struct reader *reader = &store->readers[0];
    reader->busy = true;
    write_hold(store);
    int r = recover(&reader->db, each, ctx, error);
    reader->busy = false;
    write_release(store);
    read_kick(store);
    return r;
}
