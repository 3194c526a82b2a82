/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two jobs of libuv's pool, each at most once at a time: one reads the machine, the other the database. Each has data of its own
 * and comes back to the loop, which alone touches series and history. A job that does not come back (a file system that hangs)
 * means no new samples, or none that are kept, and nothing else.
 */
#include "node/monitor/monitor.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/timer.h"
#include "base/util.h"
#include "node/monitor/collect.h"
#include "node/monitor/file.h"

/* After a failure the database is left alone for some time. */
enum { INTERVAL_MS = 1000, FLUSH_MS = 10000, AGAIN_MS = 60000, SOON_MS = 200 };

struct monitor {
    uv_loop_t *loop;
    struct monitor_options options;
    char *path, *disk_path, *root;
    uv_timer_t *timer;

    uv_work_t collect_req;
    bool collecting;
    struct collector collector; /* these two are the pool's while it is collecting */
    struct collect_reading reading;
    size_t hints[MONITOR_DEVICES_MAX]; /* the index of each value of the last reading */
    struct monitor_sample sample;
    struct series_set set;
    struct history history;

    uv_work_t file_req;
    bool filing, file_open, file_failed, was_loaded;
    struct db db; /* these five are the pool's while it is filing */
    struct file_past *past;
    struct file_batch *batch;
    int file_result;
    struct tw_error file_error;
    uint64_t file_due_us; /* monotonic */
    uint32_t next_id;

    bool closing, flushed;
    void (*closed)(void *ctx);
    void *closed_ctx;
};

static void step_close(struct monitor *m);

/* --- the database --- */

static void file_work(uv_work_t *req)
{
    struct monitor *m = CONTAINER_OF(req, struct monitor, file_req);
    if (m->batch)
        m->file_result = file_write(&m->db, m->batch, &m->file_error);
    else
        m->file_result = file_open(&m->db, m->path, &m->past, &m->file_error);
    /* Opened anew next time, which puts it aside. */
    if (m->batch && m->file_result < 0 && m->file_error.code == TW_DATA_LOSS)
        db_close(&m->db);
}

/* Said once, until it works again. */
static void report(struct monitor *m)
{
    if (m->file_result < 0 && !m->file_failed)
        log_warning("what the monitoring shows of the past is not kept: %s", m->file_error.message);
    else if (m->file_result == 0 && m->file_failed)
        log_info("what the monitoring shows of the past is kept again");
    m->file_failed = m->file_result < 0;
}

static void on_filed(uv_work_t *req, int status UNUSED)
{
    struct monitor *m = CONTAINER_OF(req, struct monitor, file_req);
    struct file_batch *batch = STEAL(m->batch);
    struct file_past *past = STEAL(m->past);
    m->filing = false;
    m->file_open = m->db.handle != NULL;
    report(m);
    if (batch && m->file_result < 0)
        file_give_back(&m->history, batch);
    if (past)
        file_merge(&m->history, past, clock_monotonic_us(), &m->next_id);
    if (past && !m->was_loaded && !m->closing && m->options.loaded)
        m->options.loaded(m->options.ctx);
    m->was_loaded = m->was_loaded || past;
    file_batch_free(batch);
    file_past_free(past);
    if (m->file_result < 0)
        m->file_due_us = clock_monotonic_us() + (uint64_t)AGAIN_MS * 1000;
    step_close(m);
}

/* Opens the database, or writes what there is. */
static void start_filing(struct monitor *m)
{
    unsigned ms = m->options.flush_ms ? m->options.flush_ms : (unsigned)FLUSH_MS;
    m->file_due_us = clock_monotonic_us() + (uint64_t)ms * 1000;
    m->file_error = (struct tw_error){0};
    if (m->file_open && !(m->batch = file_gather(&m->history, &m->next_id)))
        return;                                                                 /* no memory right now */
    m->filing = uv_queue_work(m->loop, &m->file_req, file_work, on_filed) == 0; /* fails only without a job */
}

/* --- samples --- */

static void collect_work(uv_work_t *req)
{
    struct monitor *m = CONTAINER_OF(req, struct monitor, collect_req);
    collect_read(&m->collector, clock_wall_us(), clock_monotonic_us(), &m->reading);
}

static void take_reading(struct monitor *m)
{
    const struct collect_reading *r = &m->reading;
    uint64_t now_us = clock_monotonic_us();
    for (size_t i = 0; i < MONITOR_SERIES_MAX; i++)
        m->sample.values[i] = i < MONITOR_FIXED_MAX ? r->fixed[i] : (double)NAN;
    for (size_t i = 0; i < r->n_devices; i++) {
        const struct collect_value *v = &r->devices[i];
        int at = series_of_device(&m->set, v->device, v->label, now_us, m->hints[i]);
        if (at < 0)
            continue;
        m->hints[i] = (size_t)at;
        m->sample.values[at] = v->value;
    }
    for (size_t i = MONITOR_FIXED_MAX; i < m->set.n; i++) {
        const struct series *s = &m->set.all[i];
        if (s->name && s->read)
            m->sample.values[i] = s->read(s->ctx);
    }
    m->sample.wall_us = r->wall_us;
    m->sample.n = m->set.n;
}

static void on_collected(uv_work_t *req, int status UNUSED)
{
    struct monitor *m = CONTAINER_OF(req, struct monitor, collect_req);
    m->collecting = false;
    if (m->closing) {
        step_close(m);
        return;
    }
    take_reading(m);
    history_add(&m->history, m->sample.wall_us, m->sample.values, m->sample.n);
    if (m->path && !m->filing && clock_monotonic_us() >= m->file_due_us)
        start_filing(m);
    if (m->options.sampled)
        m->options.sampled(m->options.ctx, &m->sample);
}

/* In the middle of each second of the clock: so each has one sample, however late the loop is now and then. */
static uint64_t until_next_ms(const struct monitor *m)
{
    if (m->options.interval_ms)
        return m->options.interval_ms;
    uint64_t wait = INTERVAL_MS - (clock_wall_us() / 1000 + INTERVAL_MS / 2) % INTERVAL_MS;
    return wait < SOON_MS ? wait + INTERVAL_MS : wait;
}

static void start_collecting(struct monitor *m)
{
    if (!m->collecting)
        m->collecting = uv_queue_work(m->loop, &m->collect_req, collect_work, on_collected) == 0;
}

static void on_timer(uv_timer_t *timer)
{
    struct monitor *m = timer->data;
    uv_timer_start(timer, on_timer, until_next_ms(m), 0);
    start_collecting(m);
}

/* --- life --- */

static void monitor_free(struct monitor *m)
{
    timer_free(&m->timer);
    collect_done(&m->collector);
    history_done(&m->history);
    series_set_done(&m->set);
    free(m->path);
    free(m->disk_path);
    free(m->root);
    free(m);
}

static bool copy_text(const char *from, char **to)
{
    *to = from ? strdup(from) : NULL;
    return !from || *to;
}

int monitor_open(uv_loop_t *loop, const struct monitor_options *options, struct monitor **ret, struct tw_error *error)
{
    struct monitor *m = calloc(1, sizeof *m);
    if (!m)
        return error_oom(error);
    m->loop = loop;
    m->options = *options;
    m->next_id = 1;
    m->timer = timer_new(loop, m);
    if (!m->timer || !copy_text(options->path, &m->path) || !copy_text(options->disk_path, &m->disk_path) ||
        !copy_text(options->root, &m->root) || collect_init(&m->collector, m->root, m->disk_path) < 0 ||
        series_set_init(&m->set, HISTORY_POINTS) < 0 || history_init(&m->history, &m->set) < 0) {
        monitor_free(m);
        return error_oom(error);
    }
    m->sample.n = m->set.n;
    for (size_t i = 0; i < MONITOR_SERIES_MAX; i++)
        m->sample.values[i] = NAN;
    uv_timer_start(m->timer, on_timer, until_next_ms(m), 0);
    uv_unref((uv_handle_t *)m->timer);
    start_collecting(m); /* what rates begin at */
    if (m->path)
        start_filing(m);
    *ret = m;
    return 0;
}

static void close_work(uv_work_t *req)
{
    struct monitor *m = CONTAINER_OF(req, struct monitor, file_req);
    if (m->batch)
        (void)file_write(&m->db, m->batch, NULL);
    db_close(&m->db); /* carries the write-ahead log over */
}

static void on_closed(uv_work_t *req, int status UNUSED)
{
    struct monitor *m = CONTAINER_OF(req, struct monitor, file_req);
    file_batch_free(STEAL(m->batch));
    m->filing = false;
    step_close(m);
}

static void step_close(struct monitor *m)
{
    if (!m->closing || m->collecting || m->filing)
        return;
    if (!m->flushed) { /* always by way of the pool, so that `closed` never comes from within monitor_close() */
        m->flushed = true;
        m->batch = m->file_open ? file_gather(&m->history, &m->next_id) : NULL;
        m->filing = uv_queue_work(m->loop, &m->file_req, close_work, on_closed) == 0;
        if (m->filing)
            return;
    }
    void (*closed)(void *ctx) = m->closed;
    void *ctx = m->closed_ctx;
    monitor_free(m);
    if (closed)
        closed(ctx);
}

void monitor_close(struct monitor *monitor, void (*closed)(void *ctx), void *ctx)
{
    if (!monitor)
        return;
    monitor->closing = true;
    monitor->closed = closed;
    monitor->closed_ctx = ctx;
    timer_free(&monitor->timer);
    step_close(monitor);
}

/* --- looking --- */

int monitor_add(
    struct monitor *monitor, const char *name, const char *unit, const char *help, double (*read)(void *ctx), void *ctx)
{
    int i = series_add(&monitor->set, name, unit, help, read, ctx);
    monitor->sample.n = monitor->set.n;
    return i;
}

const struct monitor_sample *monitor_latest(const struct monitor *monitor)
{
    return &monitor->sample;
}

bool monitor_series(const struct monitor *monitor, size_t index, struct monitor_series *ret)
{
    const struct series *s = index < monitor->set.n ? &monitor->set.all[index] : NULL;
    if (!s || !s->name)
        return false;
    *ret = (struct monitor_series){.name = s->name, .unit = s->unit, .help = s->help, .label_name = s->label_name};
    memcpy(ret->label, s->label, sizeof ret->label);
    return true;
}

size_t monitor_history(
    struct monitor *monitor, uint64_t from_us, uint64_t to_us, size_t max_points, monitor_point point, void *ctx)
{
    return history_read(&monitor->history, clock_wall_us(), from_us, to_us, max_points, point, ctx);
}
